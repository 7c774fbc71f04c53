//! Contacts, groups and presence at a client (ESF-330 to ESF-339).

use bytes::{Bytes, BytesMut};

use super::{Event, GroupChange, MessageOptions, SendError, Session, commands::plain_flags};
use crate::{
    ids::{GroupId, MessageId, To, UserId},
    time::Instant,
    wire::{
        Address, EncodeError, Envelope, Flags, Frame, GroupEventKind, Header, Method, PresenceList, PresenceStage,
        requests::{MAX_LIST, MembersQuery, OfGroup, OfMember, OfTag, PageQuery},
    },
};

impl Session {
    /// Sends to the members of a group that are online. Only a member may: with `tell` in the options an
    /// [`Event::Undeliverable`] says that this user is none. With `echo` the devices of this user get it too, this one
    /// among them.
    ///
    /// # Errors
    /// It is not taken, and the error has the body.
    pub fn broadcast(
        &mut self,
        now: Instant,
        group: &GroupId,
        info_type: u32,
        body: Bytes,
        options: MessageOptions,
    ) -> Result<(), SendError> {
        self.tick(now);
        let echo = if options.echo { Flags::ECHO } else { Flags::NONE };
        let flags = plain_flags(options.policy, options.tell).with(echo);
        let from = self.me.clone();
        let envelope = Envelope::new(Address::Group { group }, Address::of_engine(&from), options.tell.unwrap_or(0));
        let frame = Frame::Broadcast { envelope, info_type, body: &body };
        let len = frame.encoded_len();
        let lane = match self.admit_plain(len, options.policy, options.tell) {
            Ok(Some(lane)) => lane,
            Ok(None) => return Ok(()),
            Err(refused) => return Err(refused.with(body, self)),
        };
        self.lanes.write(lane, len, |out| frame.encode_measured(Header::flags(flags), len, out));
        Ok(())
    }

    /// Asks for a page of at most `limit` contacts of this user (0 is the server's choice), from the last page's cursor
    /// on; [`requests::Members`](crate::wire::requests::Members) reads the response.
    ///
    /// # Errors
    /// It is not taken.
    pub fn contacts(&mut self, now: Instant, limit: u16, cursor: &[u8]) -> Result<MessageId, SendError> {
        self.page(now, Method::Contacts, limit, cursor)
    }

    /// Asks for a page of the contacts that are online;
    /// [`requests::OnlineUsers`](crate::wire::requests::OnlineUsers) reads the response.
    ///
    /// # Errors
    /// It is not taken.
    pub fn online_contacts(&mut self, now: Instant, limit: u16, cursor: &[u8]) -> Result<MessageId, SendError> {
        self.page(now, Method::OnlineContacts, limit, cursor)
    }

    /// Asks for a page of the groups of this user; [`requests::MyGroups`](crate::wire::requests::MyGroups) reads the
    /// response.
    ///
    /// # Errors
    /// It is not taken.
    pub fn my_groups(&mut self, now: Instant, limit: u16, cursor: &[u8]) -> Result<MessageId, SendError> {
        self.page(now, Method::MyGroups, limit, cursor)
    }

    /// Asks for a page of the members of a group; [`requests::Members`](crate::wire::requests::Members) reads the
    /// response. For members, and for whoever may list.
    ///
    /// # Errors
    /// It is not taken.
    pub fn group_members(
        &mut self,
        now: Instant,
        group: &GroupId,
        limit: u16,
        cursor: &[u8],
    ) -> Result<MessageId, SendError> {
        let query = MembersQuery { group, limit: limit.min(MAX_LIST) };
        self.ask_server(now, Method::GroupMembers, cursor, |out| query.encode(out))
    }

    /// Enters a dynamic group, whose id starts with `~`, and makes it if it is not there;
    /// [`requests::Joining`](crate::wire::requests::Joining) reads the response.
    ///
    /// # Errors
    /// It is not taken.
    pub fn join_group(&mut self, now: Instant, group: &GroupId) -> Result<MessageId, SendError> {
        self.ask_server(now, Method::GroupJoin, &[], |out| OfGroup { group }.encode(out))
    }

    /// Leaves a dynamic group.
    ///
    /// # Errors
    /// It is not taken.
    pub fn quit_group(&mut self, now: Instant, group: &GroupId) -> Result<MessageId, SendError> {
        self.ask_server(now, Method::GroupQuit, &[], |out| OfGroup { group }.encode(out))
    }

    /// Invites somebody into a dynamic group that this user is in.
    ///
    /// # Errors
    /// It is not taken.
    pub fn invite(&mut self, now: Instant, group: &GroupId, user: &UserId) -> Result<MessageId, SendError> {
        self.ask_server(now, Method::GroupInvite, &[], |out| OfMember { group, user }.encode(out))
    }

    /// Takes somebody into a dynamic group that this user has made, or may change as an administrator.
    ///
    /// # Errors
    /// It is not taken.
    pub fn pull_in(&mut self, now: Instant, group: &GroupId, user: &UserId) -> Result<MessageId, SendError> {
        self.ask_server(now, Method::GroupPullIn, &[], |out| OfMember { group, user }.encode(out))
    }

    /// Puts somebody out of a dynamic group that this user has made, or may change as an administrator.
    ///
    /// # Errors
    /// It is not taken.
    pub fn remove_member(&mut self, now: Instant, group: &GroupId, user: &UserId) -> Result<MessageId, SendError> {
        self.ask_server(now, Method::GroupRemove, &[], |out| OfMember { group, user }.encode(out))
    }

    /// Changes the tag of a dynamic group that this user is in.
    ///
    /// # Errors
    /// It is not taken.
    pub fn tag_group(&mut self, now: Instant, group: &GroupId, tag: &str) -> Result<MessageId, SendError> {
        self.ask_server(now, Method::GroupTag, &[], |out| OfTag { group, tag }.encode(out))
    }

    fn page(&mut self, now: Instant, method: Method, limit: u16, cursor: &[u8]) -> Result<MessageId, SendError> {
        let query = PageQuery { limit: limit.min(MAX_LIST) };
        self.ask_server(now, method, cursor, |out| {
            query.encode(out);
            Ok(())
        })
    }

    fn ask_server(
        &mut self,
        now: Instant,
        method: Method,
        cursor: &[u8],
        body: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>,
    ) -> Result<MessageId, SendError> {
        let mut out = BytesMut::new();
        body(&mut out).map_err(|_| SendError::TooLong(Bytes::new()))?;
        self.request(now, &To::Server, method, cursor, &out, None)
    }

    // What the server tells.

    pub(super) fn on_presence(&mut self, events: &PresenceList<'_>) {
        for event in events.iter() {
            let (name, device) = match event.who {
                Address::User { user } => (user, None),
                Address::Device { user, device } => (user, Some(device)),
                _ => continue,
            };
            let Some(user) = self.inbox.name(name) else {
                self.stats.malformed += 1;
                continue;
            };
            let event = match (event.stage, device) {
                (PresenceStage::ContactOnline, _) => Event::ContactConnected { user },
                (PresenceStage::ContactOffline, _) => Event::ContactOffline { user },
                (PresenceStage::ContactDeviceOnline, Some(device)) => Event::ContactDeviceConnected { user, device },
                (PresenceStage::ContactDeviceOffline, Some(device)) => Event::ContactDeviceOffline { user, device },
                (PresenceStage::GroupmateOnline, _) => Event::GroupmateConnected { user },
                (PresenceStage::GroupmateOffline, _) => Event::GroupmateOffline { user },
                _ => continue,
            };
            self.tell_if_room(event);
        }
    }

    pub(super) fn on_group_event(&mut self, event: GroupEventKind, group: &str, detail: &str) {
        let Ok(group) = GroupId::parse(group) else { return };
        let change = if event == GroupEventKind::Tagged {
            Some(GroupChange::Tagged(detail.into()))
        } else {
            self.inbox.name(detail).map(|user| match event {
                GroupEventKind::Joined => GroupChange::Joined(user),
                GroupEventKind::Left => GroupChange::Left(user),
                GroupEventKind::Invited => GroupChange::Invited(user),
                GroupEventKind::PulledIn => GroupChange::PulledIn(user),
                GroupEventKind::Removed | GroupEventKind::Tagged => GroupChange::Removed(user),
            })
        };
        match change {
            Some(event) => self.tell_if_room(Event::Group { group, event }),
            None => self.stats.malformed += 1,
        }
    }
}
