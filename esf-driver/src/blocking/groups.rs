//! The calls of a client about contacts and groups, which block.

use bytes::Bytes;
use esf_proto::ids::{GroupId, UserId};

use super::{Client, wait::run};
use crate::client::{CallError, Cursor, GroupPage, Joined, MemberPage, MessageOptions, OnlinePage, SendError};

impl Client {
    /// Sends a message to the members of a group that are online. Only a member may: whoever asks to be told in the
    /// options hears it as `Undeliverable` if it is none.
    ///
    /// # Errors
    /// It is not taken, and the error has the body.
    pub fn broadcast(
        &self,
        group: &GroupId,
        info_type: u32,
        body: impl Into<Bytes>,
        options: MessageOptions,
    ) -> Result<(), SendError> {
        self.0.broadcast(group, info_type, body, options)
    }

    /// A page of the contacts of this user.
    ///
    /// # Errors
    /// `Internal` if the server's store does not answer; otherwise as [`query`](Self::query).
    pub fn contacts(&self, from: Cursor) -> Result<MemberPage, CallError> {
        run(self.0.contacts(from))
    }

    /// A page of the contacts that are online.
    ///
    /// # Errors
    /// As [`contacts`](Self::contacts).
    pub fn online_contacts(&self, from: Cursor) -> Result<OnlinePage, CallError> {
        run(self.0.online_contacts(from))
    }

    /// [`contacts`](Self::contacts) under its older name.
    ///
    /// # Errors
    /// As there.
    pub fn friends(&self, from: Cursor) -> Result<MemberPage, CallError> {
        self.contacts(from)
    }

    /// [`online_contacts`](Self::online_contacts) under its older name.
    ///
    /// # Errors
    /// As there.
    pub fn online_friends(&self, from: Cursor) -> Result<OnlinePage, CallError> {
        self.online_contacts(from)
    }

    /// A page of the members of a group, with who of them is online.
    ///
    /// # Errors
    /// `NotAllowed` for whoever is no member and may not list; otherwise as [`contacts`](Self::contacts).
    pub fn group_members(&self, group: &GroupId, from: Cursor) -> Result<MemberPage, CallError> {
        run(self.0.group_members(group, from))
    }

    /// A page of the groups that this user is in.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub fn my_groups(&self, from: Cursor) -> Result<GroupPage, CallError> {
        run(self.0.my_groups(from))
    }

    /// Enters a dynamic group, whose id starts with `~`, and makes it if it is not there.
    ///
    /// # Errors
    /// `NotAllowed` if it is not dynamic, `Busy` if it or this user has as many as may be; otherwise as
    /// [`query`](Self::query).
    pub fn join_group(&self, group: &GroupId) -> Result<Joined, CallError> {
        run(self.0.join_group(group))
    }

    /// Leaves a dynamic group.
    ///
    /// # Errors
    /// `NotAllowed` for whoever is no member; otherwise as [`query`](Self::query).
    pub fn quit_group(&self, group: &GroupId) -> Result<(), CallError> {
        run(self.0.quit_group(group))
    }

    /// Invites somebody into a dynamic group that this user is in.
    ///
    /// # Errors
    /// `NotAllowed` for whoever is no member, `Offline`; otherwise as [`query`](Self::query).
    pub fn invite(&self, group: &GroupId, user: &UserId) -> Result<(), CallError> {
        run(self.0.invite(group, user))
    }

    /// Takes somebody into a dynamic group that this user has made.
    ///
    /// # Errors
    /// `NotAllowed` for others without the right to groups, `Offline`, `Busy`; otherwise as [`query`](Self::query).
    pub fn pull_in(&self, group: &GroupId, user: &UserId) -> Result<(), CallError> {
        run(self.0.pull_in(group, user))
    }

    /// Puts somebody out of a dynamic group that this user has made.
    ///
    /// # Errors
    /// `NotAllowed` for others without the right to groups, `NotFound` if the user is no member; otherwise as
    /// [`query`](Self::query).
    pub fn remove_member(&self, group: &GroupId, user: &UserId) -> Result<(), CallError> {
        run(self.0.remove_member(group, user))
    }

    /// Changes the tag of a dynamic group that this user is in; at most 1,024 bytes.
    ///
    /// # Errors
    /// `NotAllowed` for whoever is no member, `TooLarge`; otherwise as [`query`](Self::query).
    pub fn tag_group(&self, group: &GroupId, tag: &str) -> Result<(), CallError> {
        run(self.0.tag_group(group, tag))
    }
}
