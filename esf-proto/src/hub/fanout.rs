//! What goes to many: broadcasts, events of groups, presence. It leaves in slices, so that others come between, and in
//! order where there is one to keep.

mod acquaintance;

use alloc::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    vec,
    vec::Vec,
};
use core::ops::Bound;

use self::acquaintance::Acquaintance;
pub(super) use self::acquaintance::Relations;
use super::{Hub, Reach, Whose, groups::Group};
use crate::{
    failure::Failure,
    ids::{DeviceKind, Engine, GroupId, InstanceId, SessionId, Source, UserId},
    server::{Change, SERVER},
    session::{budget::Budget, lanes::cost},
    time::Instant,
    wire::{Address, Flags, RawFrame},
};

/// Members that a slice visits …
const SLICE: usize = 64;
/// … and copies that it makes, where several broadcasts go together.
const COPIES: usize = 512;
/// Broadcasts of a session that may wait …
const WAITING: usize = 64;
/// … and their bytes, one of any size aside.
const WAITING_BYTES: usize = 256 * 1024;
/// Events of a group that may wait.
const EVENTS: usize = 1024;
/// What all broadcasts and events that wait may hold.
const ALL_BYTES: usize = 64 << 20;
/// A group tells of groupmates up to so many devices.
const TALKATIVE: usize = 1000;

/// Something on its way to many, and how far it has come.
#[derive(Debug)]
pub struct Fanout {
    what: What,
    /// Charged while it waits.
    cost: usize,
    /// How often others were looked at again when this one was taken.
    taken: u64,
}

#[derive(Debug)]
enum What {
    Broadcast(Broadcast),
    Blob(ToGroup),
    Event { group: GroupId, frame: RawFrame, by: SessionId, whom: Whom, after: Option<(UserId, SessionId)> },
    Presence(Presence),
    Acquaintance(Acquaintance),
}

#[derive(Debug)]
struct Broadcast {
    group: GroupId,
    /// At least one. Those of one sender that wait at the same time go together: each member is visited once for all.
    frames: Vec<RawFrame>,
    by: SessionId,
    /// `None` for the server.
    from: Option<Engine>,
    after: Option<(UserId, SessionId)>,
}

/// A blob that is to be offered to a group.
#[derive(Debug)]
pub(super) struct ToGroup {
    pub(super) group: GroupId,
    pub(super) frame: RawFrame,
    pub(super) id: u64,
    pub(super) stream: u64,
    pub(super) by: SessionId,
    pub(super) origin: SessionId,
    /// `None` for the server.
    pub(super) from: Option<Engine>,
}

/// Who of a group hears an event.
#[derive(Debug)]
enum Whom {
    AllBut(Option<UserId>),
    One(UserId),
}

#[derive(Debug)]
struct Presence {
    subject: UserId,
    change: Change,
    contacts: Arc<[UserId]>,
    /// The next contact.
    contact: usize,
    groups: Vec<GroupId>,
    /// The group that it is at.
    group: usize,
    after: Option<(UserId, SessionId)>,
}

/// A member that missed a broadcast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// The group.
    pub group: GroupId,
    /// Who sent it.
    pub from: Source,
    /// Who missed it.
    pub to: UserId,
    /// Why.
    pub failure: Failure,
}

/// How a slice went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There is more.
    More,
    /// Whether its sender is a member is not known yet.
    Waits,
    /// That was the last.
    Done,
}

impl Fanout {
    pub(super) fn broadcast(frame: &RawFrame, by: SessionId, from: Option<Engine>) -> Option<Self> {
        let Ok(Address::Group { group }) = frame.envelope().map(|envelope| envelope.to) else { return None };
        let group = GroupId::parse(group).ok()?;
        let frame = frame.kept();
        let cost = cost(frame.len());
        Some(Self {
            what: What::Broadcast(Broadcast { group, frames: vec![frame], by, from, after: None }),
            cost,
            taken: 0,
        })
    }

    /// The offer of a blob to a group, of which its sender's outbox knows.
    pub(super) fn blob(
        frame: &RawFrame,
        id: u64,
        stream: u64,
        by: SessionId,
        origin: SessionId,
        from: Option<Engine>,
    ) -> Option<Self> {
        let Ok(Address::Group { group }) = frame.envelope().map(|envelope| envelope.to) else { return None };
        let group = GroupId::parse(group).ok()?;
        let (frame, cost) = (frame.kept(), cost(frame.len()));
        Some(Self { what: What::Blob(ToGroup { group, frame, id, stream, by, origin, from }), cost, taken: 0 })
    }

    /// To the members of a group, but for one.
    pub(super) fn event(group: GroupId, frame: RawFrame, by: SessionId, not: Option<UserId>) -> Self {
        let cost = cost(frame.len());
        Self { what: What::Event { group, frame, by, whom: Whom::AllBut(not), after: None }, cost, taken: 0 }
    }

    /// To one user.
    pub(super) fn event_to(group: GroupId, frame: RawFrame, by: SessionId, whom: UserId) -> Self {
        let cost = cost(frame.len());
        Self { what: What::Event { group, frame, by, whom: Whom::One(whom), after: None }, cost, taken: 0 }
    }

    pub(super) fn presence(subject: UserId, change: Change, contacts: Arc<[UserId]>, groups: Vec<GroupId>) -> Self {
        let presence = Presence { subject, change, contacts, contact: 0, groups, group: 0, after: None };
        Self { what: What::Presence(presence), cost: 0, taken: 0 }
    }

    /// Frames in it.
    fn frames(&self) -> usize {
        match &self.what {
            What::Broadcast(broadcast) => broadcast.frames.len(),
            _ => 1,
        }
    }

    /// Whether `next`, of the same lane, can go together with this one: nothing of either has gone.
    fn goes_with(&self, next: &Self) -> bool {
        match (&self.what, &next.what) {
            (What::Broadcast(own), What::Broadcast(next)) => {
                own.after.is_none() && next.after.is_none() && own.group == next.group
            }
            _ => false,
        }
    }

    fn take_in(&mut self, next: Self) {
        if let (What::Broadcast(own), What::Broadcast(of_next)) = (&mut self.what, next.what) {
            own.frames.extend(of_next.frames);
            self.cost += next.cost;
        }
    }

    /// Whether it tells who came or went.
    #[must_use]
    pub const fn is_presence(&self) -> bool {
        matches!(self.what, What::Presence(_) | What::Acquaintance(_))
    }

    /// The first frame, if it is a broadcast of a client or a blob: what its sender is to be told about.
    #[must_use]
    pub fn frame(&self) -> Option<&RawFrame> {
        match &self.what {
            What::Broadcast(Broadcast { frames, from: Some(_), .. }) => frames.first(),
            What::Blob(ToGroup { frame, .. }) => Some(frame),
            _ => None,
        }
    }

    /// The broadcasts that go together, in their order; none if it is something else.
    #[must_use]
    pub fn broadcasts(&self) -> &[RawFrame] {
        match &self.what {
            What::Broadcast(broadcast) => &broadcast.frames,
            _ => &[],
        }
    }

    fn lane(&self) -> Lane {
        match &self.what {
            What::Broadcast(broadcast) => Lane::Sender(broadcast.by),
            What::Blob(blob) => Lane::Sender(blob.by),
            What::Event { group, .. } => Lane::Group(group.clone()),
            What::Presence(presence) => Lane::Subject(presence.subject.clone()),
            What::Acquaintance(acquaintance) => Lane::Subject(acquaintance.subject.clone()),
        }
    }
}

/// Among which a fan-out keeps its order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Sender(SessionId),
    Group(GroupId),
    Subject(UserId),
}

/// What waits to go to many. Those of a sender, of a group and about a user go one after the other, and everybody's take
/// turns: one who sends much delays nobody but itself.
#[derive(Debug)]
pub struct Fanouts {
    lanes: BTreeMap<Lane, VecDeque<Fanout>>,
    ring: VecDeque<Lane>,
    /// Those that wait until it is known who their sender is.
    parked: Vec<Lane>,
    unparked: u64,
    budget: Budget,
}

impl Fanouts {
    /// Nothing that waits, charged to what all sessions may hold.
    #[must_use]
    pub fn new(global: &Arc<Budget>) -> Self {
        let budget = Budget::within(global.clone(), ALL_BYTES);
        Self { lanes: BTreeMap::new(), ring: VecDeque::new(), parked: Vec::new(), unparked: 0, budget }
    }

    /// Puts something at the end of its lane.
    ///
    /// # Errors
    /// There is no room: too much of its sender or group waits, or too much of all.
    pub fn push(&mut self, fanout: Fanout) -> Result<(), Failure> {
        let lane = fanout.lane();
        let waiting = self.lanes.get(&lane);
        let sum = |of: fn(&Fanout) -> usize| waiting.map_or(0, |waiting| waiting.iter().map(of).sum::<usize>());
        let (count, bytes) = (sum(Fanout::frames), sum(|waiting| waiting.cost));
        let fits = match lane {
            Lane::Sender(_) => count < WAITING && (count == 0 || bytes + fanout.cost <= WAITING_BYTES),
            Lane::Group(_) => count < EVENTS,
            // At most one is begun for each change of a user's or of its relations, and those are as rare as they are told.
            Lane::Subject(_) => true,
        };
        if !fits || !self.budget.charge(fanout.cost) {
            return Err(Failure::Busy);
        }
        match self.lanes.get_mut(&lane) {
            Some(waiting) => waiting.push_back(fanout),
            None => {
                self.lanes.insert(lane.clone(), VecDeque::from([fanout]));
                self.ring.push_back(lane);
            }
        }
        Ok(())
    }

    /// The next that may go on; its lane waits until it is [put back](Self::put_back).
    #[must_use]
    pub fn take_next(&mut self) -> Option<Fanout> {
        let lane = self.ring.pop_front()?;
        let waiting = self.lanes.get_mut(&lane)?;
        let mut fanout = waiting.pop_front()?;
        while waiting.front().is_some_and(|next| fanout.goes_with(next)) {
            if let Some(next) = waiting.pop_front() {
                fanout.take_in(next);
            }
        }
        fanout.taken = self.unparked;
        Some(fanout)
    }

    /// What [`Fanouts::take_next`] gave, after a slice of it.
    pub fn put_back(&mut self, fanout: Fanout, progress: Progress) {
        let lane = fanout.lane();
        let Some(waiting) = self.lanes.get_mut(&lane) else { return };
        // What it waits for may have come while it was away.
        let parks = progress == Progress::Waits && fanout.taken == self.unparked;
        if progress == Progress::Done {
            self.budget.release(fanout.cost);
        } else {
            waiting.push_front(fanout);
        }
        if waiting.is_empty() {
            self.lanes.remove(&lane);
        } else if parks {
            self.parked.push(lane);
        } else {
            self.ring.push_back(lane);
        }
    }

    /// More is known of somebody: those that waited for it are looked at again.
    pub fn unpark(&mut self) {
        self.unparked += 1;
        self.ring.extend(self.parked.drain(..));
    }

    /// Whether something goes before this one, which was not put in yet: of the same sender, group or user.
    #[must_use]
    pub fn has_before(&self, fanout: &Fanout) -> bool {
        self.lanes.contains_key(&fanout.lane())
    }

    /// Whether [`Fanouts::take_next`] has something.
    #[must_use]
    pub fn has_next(&self) -> bool {
        !self.ring.is_empty()
    }
}

impl<H: Clone> Hub<H> {
    /// Carries a fan-out on by a slice of at most 64 members and 512 copies, with shared access. `missed` hears of members that a
    /// broadcast did not reach.
    pub fn carry_on(
        &self,
        now: Instant,
        fanout: &mut Fanout,
        reach: &impl Reach<H>,
        missed: &mut impl FnMut(Missed),
    ) -> Progress {
        match &mut fanout.what {
            What::Broadcast(broadcast) => self.broadcast(now, broadcast, reach, missed),
            What::Blob(blob) => self.offer_to_members(now, blob, reach, missed),
            What::Event { group, frame, by, whom: Whom::One(user), .. } => {
                let _ = group;
                for login in self.people.get(user).into_iter().flat_map(|person| &person.devices) {
                    reach.visit(Whose::Session(&login.handle), |outbox| outbox.group_event(frame, *by));
                }
                Progress::Done
            }
            What::Event { group, frame, by, whom: Whom::AllBut(not), after } => {
                let Some(group) = self.groups.get(group) else { return Progress::Done };
                slice(group, after, SLICE, |user, _, handle| {
                    if not.as_ref() != Some(user) {
                        reach.visit(Whose::Session(handle), |outbox| outbox.group_event(frame, *by));
                    }
                })
            }
            What::Presence(presence) => self.tell_presence(presence, reach),
            What::Acquaintance(acquaintance) => self.acquaint(acquaintance, reach),
        }
    }

    /// Whether it is a broadcast that one slice carries out.
    #[must_use]
    pub fn is_one_slice(&self, fanout: &Fanout) -> bool {
        let What::Broadcast(Broadcast { group, .. }) = &fanout.what else { return false };
        self.groups.get(group).is_none_or(|group| group.seats.len() <= SLICE)
    }

    fn broadcast(
        &self,
        now: Instant,
        broadcast: &mut Broadcast,
        reach: &impl Reach<H>,
        missed: &mut impl FnMut(Missed),
    ) -> Progress {
        let Broadcast { group: id, frames, by, from, after } = broadcast;
        if after.is_none() {
            let person = from.as_ref().and_then(|engine| self.people.get(&engine.user));
            if person.and_then(|person| person.social.as_ref()).is_some_and(|social| social.is_awaited()) {
                return Progress::Waits;
            }
            let member = |engine: &Engine| self.is_in(&engine.user, id) || broken!(StrangerBroadcasts);
            if from.as_ref().is_some_and(|engine| !member(engine)) {
                frames.iter().for_each(|frame| self.refuse_broadcast(from.as_ref(), frame, reach));
                return Progress::Done;
            }
            self.counters.broadcasts.add(frames.len() as u64);
        }
        let Some(group) = self.groups.get(id) else { return Progress::Done };
        let echo = |frame: &RawFrame| frame.flags().contains(Flags::ECHO) || broken!(EchoToSender);
        let own = from.as_ref().and_then(|engine| self.people.get(&engine.user));
        let own = own.map_or(&[][..], |person| &person.devices);
        let most = (COPIES / frames.len().max(1)).clamp(1, SLICE);
        let (mut relayed, mut failures) = (0, Vec::new());
        let progress = slice(group, after, most, |user, session, handle| {
            // By session: names are as cold as the members.
            let is_own = own.iter().any(|login| login.session == session);
            if is_own && !frames.iter().any(echo) {
                return;
            }
            reach.visit(Whose::Session(handle), |outbox| {
                let frames = frames.iter().filter(|frame| !is_own || echo(frame));
                relayed += outbox.offer_broadcasts(now, frames, *by, |frame, failure| {
                    // One whose session ends just now is no member that is online; volatile ones were counted where they
                    // were dropped (ESF-326).
                    if failure != Failure::Offline && !frame.is_volatile() {
                        failures.push(failure);
                    }
                });
            });
            for failure in failures.drain(..) {
                self.counters.broadcasts_missed.add(1);
                let from = from.as_ref().map_or(Source::Server(self.server), |from| Source::Engine(from.clone()));
                missed(Missed { group: id.clone(), from, to: user.clone(), failure });
            }
        });
        self.counters.relayed.add(relayed);
        progress
    }

    /// The sender is no member, or there is no such group: the two look the same.
    fn refuse_broadcast(&self, from: Option<&Engine>, frame: &RawFrame, reach: &impl Reach<H>) {
        self.counters.not_allowed.add(1);
        let Some(Engine { user, device, instance }) = from else { return };
        let (user, device, instance): (&UserId, DeviceKind, InstanceId) = (user, *device, *instance);
        if let Some(whose) = self.find_instance(user, device, instance) {
            reach.visit(whose, |outbox| outbox.refuse_broadcast(frame, Failure::NotAllowed));
        }
    }

    /// Tells contacts first, then group by group; who shares several groups hears it in the first of them.
    fn tell_presence(&self, presence: &mut Presence, reach: &impl Reach<H>) -> Progress {
        let Presence { subject, change, contacts, contact, groups, group, after } = presence;
        let mut left = SLICE;
        while let Some(name) = contacts.get(*contact) {
            let devices = self.people.get(name).map_or(&[][..], |person| &person.devices);
            // All devices of a contact hear it in one slice. A user has no more of them than a slice has outputs.
            if left < devices.len().clamp(1, SLICE) {
                return Progress::More;
            }
            *contact += 1;
            left -= 1;
            if name == subject {
                continue;
            }
            for login in devices {
                left = left.saturating_sub(1);
                reach.visit(Whose::Session(&login.handle), |outbox| outbox.presence(subject, change, true));
            }
        }
        while let Some(id) = groups.get(*group) {
            if change.online.is_none() {
                break;
            }
            // Looking whether an earlier group has told is work, too.
            let most = left / (1 + *group);
            if most == 0 {
                return Progress::More;
            }
            let earlier: Vec<&Group<H>> = groups
                .iter()
                .take(*group)
                .filter_map(|id| self.groups.get(id))
                .filter(|group| group.seats.len() <= TALKATIVE)
                .collect();
            let found = self.groups.get(id).filter(|group| group.seats.len() <= TALKATIVE);
            let mut told = 0;
            let progress = found.map_or(Progress::Done, |found| {
                slice(found, after, most, |user, session, handle| {
                    told += 1;
                    let seat = (user.clone(), session);
                    if user != subject && !earlier.iter().any(|group| group.seats.contains_key(&seat)) {
                        reach.visit(Whose::Session(handle), |outbox| outbox.presence(subject, change, false));
                    }
                })
            });
            if progress != Progress::Done {
                return Progress::More;
            }
            left = left.saturating_sub((told + 1) * (1 + *group));
            *group += 1;
            *after = None;
        }
        Progress::Done
    }

    /// Carries a fan-out on to its end, for a server on one thread.
    pub(super) fn carry_out_all(&self, now: Instant, mut fanout: Fanout, reach: &impl Reach<H>) {
        while self.carry_on(now, &mut fanout, reach, &mut |_| ()) == Progress::More {}
    }

    /// A message of the server's application to a group, to be carried on.
    #[must_use]
    pub fn broadcast_of_server(frame: &RawFrame) -> Option<Fanout> {
        Fanout::broadcast(frame, SERVER, None)
    }
}

/// Visits the seats of a group behind `after`, `most` of them, and notes where it is.
fn slice<H>(
    group: &Group<H>,
    after: &mut Option<(UserId, SessionId)>,
    most: usize,
    mut visit: impl FnMut(&UserId, SessionId, &H),
) -> Progress {
    let begin = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
    let mut seats = group.seats.range((begin, Bound::Unbounded));
    if broken!(SliceSkips) && after.is_some() {
        seats.next();
    }
    let mut last = None;
    for (seat, handle) in seats.by_ref().take(broken!(SliceSkips, 2, else most)) {
        visit(&seat.0, seat.1, handle);
        last = Some(seat);
    }
    let more = seats.next().is_some();
    if let (true, Some(last)) = (more, last) {
        *after = Some(last.clone());
        Progress::More
    } else {
        Progress::Done
    }
}

#[cfg(test)]
mod tests;
