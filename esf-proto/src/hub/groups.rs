//! Who is in which group: those of the store, by the devices that are online, and dynamic ones (ESF-335 to ESF-337).

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use bytes::Bytes;
use hashbrown::HashMap;

use super::{Fanout, Hub, SipKeys};
use crate::{
    failure::Failure,
    ids::{GroupId, SessionId, UserId},
    server::SERVER,
    wire::{Address, Envelope, Frame, GroupEventKind, Header, RawFrame},
};

/// Dynamic groups that a user may be in …
const JOINED: usize = 256;
/// … of how many nobody pulls it into another one …
const PULLED: usize = 128;
/// … and that it may have made.
const MADE: usize = 64;
/// The longest tag.
const MAX_TAG: usize = 1024;

/// Every group that somebody online is in, and every dynamic one.
#[derive(Debug)]
pub(super) struct Groups<H> {
    groups: HashMap<GroupId, Group<H>, SipKeys>,
    /// The dynamic groups of whoever is in one or has made one.
    of: BTreeMap<UserId, Membership>,
    dynamic: usize,
}

/// A group as far as it is online.
#[derive(Debug)]
pub(super) struct Group<H> {
    /// The devices of its members that are online, by user.
    pub(super) seats: BTreeMap<(UserId, SessionId), H>,
    pub(super) dynamic: Option<Box<Dynamic>>,
}

/// A dynamic group.
#[derive(Debug)]
pub(super) struct Dynamic {
    pub(super) creator: UserId,
    pub(super) members: BTreeSet<UserId>,
    pub(super) tag: Box<str>,
}

#[derive(Debug, Default)]
struct Membership {
    groups: BTreeSet<GroupId>,
    made: usize,
}

impl<H> Group<H> {
    fn new() -> Self {
        Self { seats: BTreeMap::new(), dynamic: None }
    }

    fn is_empty(&self) -> bool {
        self.seats.is_empty() && self.dynamic.is_none()
    }
}

impl<H> Groups<H> {
    pub(super) fn new(keys: SipKeys) -> Self {
        Self { groups: HashMap::with_hasher(keys), of: BTreeMap::new(), dynamic: 0 }
    }

    pub(super) fn get(&self, group: &str) -> Option<&Group<H>> {
        self.groups.get(group)
    }

    /// A dynamic group.
    pub(super) fn dynamic(&self, group: &str) -> Option<&Dynamic> {
        self.groups.get(group)?.dynamic.as_deref()
    }

    /// The dynamic groups that somebody is in, in order.
    pub(super) fn dynamic_of(&self, user: &str) -> impl Iterator<Item = &GroupId> {
        self.of.get(user).into_iter().flat_map(|membership| &membership.groups)
    }

    /// Whether somebody is in a dynamic group.
    pub(super) fn is_member(&self, user: &str) -> bool {
        self.of.get(user).is_some_and(|membership| !membership.groups.is_empty())
    }

    fn joined(&self, user: &str) -> usize {
        self.of.get(user).map_or(0, |membership| membership.groups.len())
    }

    fn made(&self, user: &str) -> usize {
        self.of.get(user).map_or(0, |membership| membership.made)
    }

    fn take_seat(&mut self, group: &GroupId, user: &UserId, session: SessionId, handle: H) {
        let group = self.groups.entry(group.clone()).or_insert_with(Group::new);
        group.seats.insert((user.clone(), session), handle);
    }

    fn leave_seat(&mut self, group: &str, user: &UserId, session: SessionId) {
        let Some(found) = self.groups.get_mut(group) else { return };
        found.seats.remove(&(user.clone(), session));
        if found.is_empty() {
            self.groups.remove(group);
        }
    }

    /// A new dynamic group with nobody in it yet.
    fn make(&mut self, group: &GroupId, creator: &UserId) {
        let dynamic = Dynamic { creator: creator.clone(), members: BTreeSet::new(), tag: "".into() };
        self.groups.entry(group.clone()).or_insert_with(Group::new).dynamic = Some(Box::new(dynamic));
        self.of.entry(creator.clone()).or_default().made += 1;
        self.dynamic += 1;
    }

    fn enter(&mut self, group: &GroupId, user: &UserId) {
        if let Some(dynamic) = self.groups.get_mut(group).and_then(|group| group.dynamic.as_mut()) {
            dynamic.members.insert(user.clone());
            self.of.entry(user.clone()).or_default().groups.insert(group.clone());
        }
    }

    /// Takes a member out, and the group away with the last one.
    fn leave(&mut self, group: &GroupId, user: &UserId) {
        let Some(found) = self.groups.get_mut(group) else { return };
        let Some(dynamic) = &mut found.dynamic else { return };
        dynamic.members.remove(user);
        let orphaned = dynamic.members.is_empty().then(|| dynamic.creator.clone());
        if orphaned.is_some() {
            found.dynamic = None;
            self.dynamic -= 1;
        }
        if found.is_empty() {
            self.groups.remove(group);
        }
        if let Some(membership) = self.of.get_mut(user) {
            membership.groups.remove(group);
        }
        if let Some(membership) = orphaned.as_ref().and_then(|creator| self.of.get_mut(creator)) {
            membership.made -= 1;
        }
        for user in orphaned.iter().chain([user]) {
            if self.of.get(user).is_some_and(|membership| membership.groups.is_empty() && membership.made == 0) {
                self.of.remove(user);
            }
        }
    }
}

impl<H: Clone> Hub<H> {
    // Seats: the devices of members that are online.

    /// Every device of a user that is online is in this group from now on.
    pub(super) fn take_seats(&mut self, user: &UserId, group: &GroupId) {
        let devices = self.people.get(user).into_iter().flat_map(|person| &person.devices);
        for login in devices {
            self.groups.take_seat(group, user, login.session, login.handle.clone());
        }
    }

    /// Every device of a user that is online is in this group no more.
    pub(super) fn leave_seats(&mut self, user: &UserId, group: &GroupId) {
        let devices = self.people.get(user).into_iter().flat_map(|person| &person.devices);
        for login in devices {
            self.groups.leave_seat(group, user, login.session);
        }
    }

    pub(super) fn take_all_seats(&mut self, user: &UserId) {
        for group in self.all_groups_of(user) {
            self.take_seats(user, &group);
        }
    }

    /// A device is gone.
    pub(super) fn leave_all_seats(&mut self, user: &UserId, session: SessionId) {
        for group in self.all_groups_of(user) {
            self.groups.leave_seat(&group, user, session);
        }
    }

    /// The groups of somebody, those of the store first.
    pub(super) fn all_groups_of(&self, user: &UserId) -> Vec<GroupId> {
        let social = self.people.get(user).and_then(|person| person.social.as_ref());
        let of_store = social.into_iter().flat_map(|social| &social.groups);
        of_store.chain(self.groups.dynamic_of(user)).cloned().collect()
    }

    /// Whether somebody is in a group, as far as is known.
    pub(super) fn is_in(&self, user: &UserId, group: &str) -> bool {
        if let Some(dynamic) = self.groups.dynamic(group) {
            return dynamic.members.contains(user);
        }
        let social = self.people.get(user).and_then(|person| person.social.as_ref());
        social.is_some_and(|social| social.groups.binary_search_by(|known| known.as_str().cmp(group)).is_ok())
    }

    // Dynamic groups.

    /// Enters a dynamic group, and makes it if it is not there. Says whether it did that.
    pub(super) fn join(&mut self, user: &UserId, session: SessionId, group: &GroupId) -> Result<bool, Failure> {
        let there = self.people.get(user).is_some_and(|person| !person.devices.is_empty());
        if !group.is_dynamic() || !there {
            return Err(Failure::NotAllowed);
        }
        let made = match self.groups.dynamic(group) {
            Some(dynamic) if dynamic.members.contains(user) => return Ok(false),
            Some(dynamic) if dynamic.members.len() >= self.config.max_group_members => return Err(Failure::Busy),
            found => found.is_none(),
        };
        let full = self.groups.joined(user) >= JOINED
            || made && (self.groups.made(user) >= MADE || self.groups.dynamic >= self.config.max_dynamic_groups);
        if full {
            return Err(Failure::Busy);
        }
        if made {
            self.groups.make(group, user);
        }
        self.enter(user, session, group);
        Ok(made)
    }

    /// Leaves a dynamic group.
    pub(super) fn quit(&mut self, user: &UserId, session: SessionId, group: &GroupId) -> Result<(), Failure> {
        self.as_member(user, group)?;
        self.leave(user, session, group);
        Ok(())
    }

    /// Leaves every dynamic group.
    pub(super) fn quit_all(&mut self, user: &UserId) {
        let groups: Vec<GroupId> = self.groups.dynamic_of(user).cloned().collect();
        for group in groups {
            self.leave(user, SERVER, &group);
        }
    }

    /// Tells somebody of a group.
    pub(super) fn invite(&mut self, by: (&UserId, SessionId), group: &GroupId, whom: &UserId) -> Result<(), Failure> {
        if self.as_member(by.0, group)?.members.contains(whom) {
            return Ok(());
        }
        if !self.is_online(whom) {
            return Err(Failure::Offline);
        }
        self.tell_one(by.1, group, whom, GroupEventKind::Invited, by.0);
        Ok(())
    }

    /// Takes somebody into a group.
    pub(super) fn pull_in(
        &mut self,
        by: (&UserId, SessionId),
        is_admin: bool,
        group: &GroupId,
        whom: &UserId,
    ) -> Result<(), Failure> {
        let dynamic = self.as_owner(by.0, is_admin, group)?;
        let (known, members) = (dynamic.members.contains(whom), dynamic.members.len());
        if known {
            return Ok(());
        }
        if !self.is_online(whom) {
            return Err(Failure::Offline);
        }
        if members >= self.config.max_group_members || self.groups.joined(whom) >= PULLED {
            return Err(Failure::Busy);
        }
        self.enter(whom, by.1, group);
        self.tell_one(by.1, group, whom, GroupEventKind::PulledIn, by.0);
        Ok(())
    }

    /// Puts somebody out of a group.
    pub(super) fn put_out(
        &mut self,
        by: (&UserId, SessionId),
        is_admin: bool,
        group: &GroupId,
        whom: &UserId,
    ) -> Result<(), Failure> {
        let dynamic = self.as_owner(by.0, is_admin, group)?;
        if whom == by.0 {
            return Err(Failure::NotAllowed);
        }
        if !dynamic.members.contains(whom) {
            return Err(Failure::NotFound);
        }
        self.leave(whom, by.1, group);
        self.tell_one(by.1, group, whom, GroupEventKind::Removed, by.0);
        Ok(())
    }

    /// Changes the tag of a group.
    pub(super) fn tag(&mut self, by: (&UserId, SessionId), group: &GroupId, tag: &str) -> Result<(), Failure> {
        let same = &*self.as_member(by.0, group)?.tag == tag;
        if tag.len() > MAX_TAG {
            return Err(Failure::TooLarge);
        }
        if same {
            return Ok(());
        }
        if let Some(dynamic) = self.groups.groups.get_mut(group).and_then(|found| found.dynamic.as_mut()) {
            dynamic.tag = tag.into();
        }
        self.tell_group(by.1, group, GroupEventKind::Tagged, tag, None);
        Ok(())
    }

    /// The group, if it is dynamic and this user in it.
    fn as_member(&self, user: &UserId, group: &GroupId) -> Result<&Dynamic, Failure> {
        let dynamic = self.groups.dynamic(group).filter(|dynamic| dynamic.members.contains(user));
        dynamic.ok_or(Failure::NotAllowed)
    }

    /// The group, if it is dynamic and this user may say who is in it.
    fn as_owner(&self, user: &UserId, is_admin: bool, group: &GroupId) -> Result<&Dynamic, Failure> {
        let may = |dynamic: &&Dynamic| is_admin || dynamic.creator == *user && dynamic.members.contains(user);
        self.groups.dynamic(group).filter(may).ok_or(Failure::NotAllowed)
    }

    fn enter(&mut self, user: &UserId, by: SessionId, group: &GroupId) {
        self.make_social(user);
        self.groups.enter(group, user);
        self.take_seats(user, group);
        self.tell_group(by, group, GroupEventKind::Joined, user, Some(user));
    }

    fn leave(&mut self, user: &UserId, by: SessionId, group: &GroupId) {
        if !broken!(SeatKept) {
            self.leave_seats(user, group);
        }
        self.groups.leave(group, user);
        self.tell_group(by, group, GroupEventKind::Left, user, None);
    }

    /// Has the members of a group hear something, but for `not`.
    fn tell_group(
        &mut self,
        by: SessionId,
        group: &GroupId,
        event: GroupEventKind,
        detail: &str,
        not: Option<&UserId>,
    ) {
        let others = |(user, _): &(UserId, SessionId)| Some(user) != not;
        if self.groups.get(group).is_some_and(|group| group.seats.keys().any(others)) {
            let frame = self.event(Address::Group { group }, group, event, detail);
            let fanout = frame.map(|frame| Fanout::event(group.clone(), frame, by, not.cloned()));
            self.fanouts.extend(fanout);
            self.changed = true;
        }
    }

    fn tell_one(&mut self, by: SessionId, group: &GroupId, whom: &UserId, event: GroupEventKind, detail: &str) {
        let frame = self.event(Address::User { user: whom }, group, event, detail);
        self.fanouts.extend(frame.map(|frame| Fanout::event_to(group.clone(), frame, by, whom.clone())));
        self.changed = true;
    }

    fn event(&self, to: Address<'_>, group: &str, event: GroupEventKind, detail: &str) -> Option<RawFrame> {
        let envelope = Envelope::new(to, Address::Server { instance: self.server.0 }, 0);
        let bytes: Bytes = Frame::GroupEvent { envelope, event, group, detail }.to_bytes(Header::default()).ok()?;
        RawFrame::parse(bytes).ok()
    }
}
