//! What the hub knows of people beside their logins: contacts, groups, and what was told of them (ESF-333, ESF-334).

use alloc::{boxed::Box, collections::VecDeque, sync::Arc, vec::Vec};
use core::time::Duration;

use bytes::Bytes;

use super::{Fanout, Hub, Party, Person, fanout::Relations, jobs::Purpose};
use crate::{
    failure::Failure,
    ids::{DeviceKind, Engine, GroupId, SessionId, UserId},
    server::{Change, Outbox, PeopleRequest},
    store::{self, JobId, StoreFailed, StoreRequest, StoreResponse},
    time::Instant,
};

/// Requests of a user that wait until the store has said who the user is.
const WAITING: usize = 16;
/// People whose presence is looked at under one lock.
const TOLD_AT_ONCE: usize = 64;
/// How long until a store that failed is asked again.
const RETRY: Duration = Duration::from_secs(30);

/// What is known of somebody who is, or was a moment ago, online.
#[derive(Debug)]
pub(super) struct Social<H> {
    /// Whether the store has said who this is.
    known: bool,
    /// Whether it failed when it was asked last, so that it is asked again.
    stale: bool,
    /// The request that will.
    asked: Option<JobId>,
    pub(super) contacts: Arc<[UserId]>,
    /// The groups that are not dynamic, in order.
    pub(super) groups: Vec<GroupId>,
    /// The number of the answer that said these.
    pub(super) answer: u64,
    /// The contacts before that answer; of the first answer these as well.
    pub(super) before: Arc<[UserId]>,
    /// The groups that are new by it, though it was not the first.
    pub(super) fresh: Vec<GroupId>,
    /// The devices that others were told to be online, in order.
    pub(super) told: Vec<DeviceKind>,
    /// Devices that a list showed before others were told of them.
    shown: Vec<DeviceKind>,
    /// From when on they may be told again.
    quiet_until: Instant,
    due: Option<Instant>,
    waiting: VecDeque<(Asker<H>, PeopleRequest)>,
}

impl<H> Social<H> {
    fn new() -> Self {
        Self {
            known: false,
            stale: false,
            asked: None,
            contacts: Arc::new([]),
            groups: Vec::new(),
            answer: 0,
            before: Arc::new([]),
            fresh: Vec::new(),
            told: Vec::new(),
            shown: Vec::new(),
            quiet_until: Instant::ZERO,
            due: None,
            waiting: VecDeque::new(),
        }
    }

    /// Whether the store is about to say who this is.
    pub(super) fn is_awaited(&self) -> bool {
        self.asked.is_some() && !self.known
    }
}

/// Who asked, and the way to its outbox.
#[derive(Debug, Clone)]
pub(super) struct Asker<H> {
    pub(super) session: SessionId,
    pub(super) engine: Engine,
    pub(super) handle: H,
    pub(super) id: u64,
}

/// Which list a page of names becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) kind: ListKind,
    /// How many names were asked for.
    pub(super) limit: usize,
}

/// Which list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListKind {
    Contacts,
    OnlineContacts,
    Members,
    MembersOfDynamic,
}

/// The answer to a request about people, to be put into the asker's outbox after the hub's lock is released.
#[derive(Debug)]
pub struct Reply<H> {
    /// The asker's handle.
    pub handle: H,
    id: u64,
    answer: Result<(Bytes, Bytes), Failure>,
}

impl<H> Reply<H> {
    pub(super) fn new(asker: Asker<H>, answer: Result<(Bytes, Bytes), Failure>) -> Self {
        Self { handle: asker.handle, id: asker.id, answer }
    }

    /// Puts it into the outbox that the handle leads to.
    pub fn put(self, outbox: &mut Outbox) {
        match self.answer {
            Ok((cursor, body)) => outbox.respond(self.id, Ok(()), &cursor, &body),
            Err(failure) => outbox.respond(self.id, Err(failure), &[], &[]),
        }
    }
}

impl<H: Clone> Hub<H> {
    // The store.

    /// The next request for the store.
    #[must_use]
    pub fn poll_request(&mut self) -> Option<(JobId, StoreRequest)> {
        self.jobs.poll()
    }

    /// Whether [`Hub::poll_request`] has something.
    #[must_use]
    pub fn has_request(&self) -> bool {
        self.jobs.has_request()
    }

    /// The store's answer. One to nothing that is open is counted and ignored.
    pub fn handle_response(&mut self, now: Instant, job: JobId, answer: Result<StoreResponse, StoreFailed>) {
        let meant = broken!(AnswerOfAnother, self.jobs.open.keys().next().copied().unwrap_or(job), else job);
        match self.jobs.take(meant) {
            Some(purpose) => self.answered(now, meant, purpose, answer.ok()),
            None => self.counters.store_unasked.add(1),
        }
    }

    /// The contacts or groups of a user are others than before.
    pub fn relations_changed(&mut self, now: Instant, user: &UserId) {
        if self.people.contains_key(user) {
            self.ask_who(now, user);
        }
    }

    /// Time has passed: says whether there is more to do now.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        for _ in 0..TOLD_AT_ONCE {
            if let Some((job, purpose)) = self.jobs.pop_due(now) {
                self.answered(now, job, purpose, None);
                continue;
            }
            if self.due.first().is_none_or(|(at, _)| *at > now) {
                return false;
            }
            let Some((_, user)) = self.due.pop_first() else { return false };
            self.tell(now, &user);
        }
        true
    }

    /// The next answer to a request about people.
    #[must_use]
    pub fn poll_reply(&mut self) -> Option<Reply<H>> {
        self.replies.pop_front()
    }

    /// The next thing that is to be told to many.
    #[must_use]
    pub fn poll_fanout(&mut self) -> Option<Fanout> {
        self.fanouts.pop_front()
    }

    fn answered(&mut self, now: Instant, job: JobId, purpose: Purpose<H>, answer: Option<StoreResponse>) {
        if answer.is_none() {
            self.counters.store_failed.add(1);
        }
        match purpose {
            Purpose::Person(user) => {
                let person = match answer {
                    Some(StoreResponse::Person(person)) => Some(person),
                    _ => None,
                };
                self.knows(now, job, &user, person);
            }
            Purpose::List(asker, listing) => {
                let answer = match answer {
                    Some(StoreResponse::Names(names)) => self.page_of(&names, listing),
                    // A group that is not there looks like one that others are in.
                    Some(StoreResponse::NotFound) => Err(Failure::NotAllowed),
                    _ => Err(Failure::Internal),
                };
                self.reply(asker, answer);
            }
        }
    }

    pub(super) fn reply(&mut self, asker: Asker<H>, answer: Result<(Bytes, Bytes), Failure>) {
        match answer {
            Err(Failure::NotAllowed) => self.counters.not_allowed.add(1),
            Err(Failure::Malformed) => self.counters.requests_malformed.add(1),
            _ => {}
        }
        self.replies.push_back(Reply::new(asker, answer));
        self.changed = true;
    }

    /// Asks the store who somebody is. What it said before holds until it answers.
    fn ask_who(&mut self, now: Instant, user: &UserId) {
        if !self.config.store {
            return;
        }
        let Some(person) = self.people.get(user) else { return };
        let request = StoreRequest::Person {
            user: user.clone(),
            device: person.devices.last().map_or(DeviceKind::COMMAND_LINE, |login| login.device),
            max_contacts: self.config.max_contacts,
            max_groups: self.config.max_groups,
        };
        let job = self.jobs.ask(now + self.config.store_timeout, Purpose::Person(user.clone()), request);
        let social = self.social(user);
        if let Some(social) = social {
            // Too much is open: as if it had failed.
            social.asked = job.or(social.asked);
            if job.is_none() {
                social.stale = true;
                self.due_at(now + RETRY, user);
            }
        }
        self.changed = true;
    }

    /// The store has said who somebody is, or has failed to.
    fn knows(&mut self, now: Instant, job: JobId, user: &UserId, person: Option<store::Person>) {
        // A broadcast of theirs may have waited for this, also if they are gone meanwhile.
        self.changed = true;
        self.judged += 1;
        let Some(social) = self.social(user).filter(|social| social.asked == Some(job)) else { return };
        social.asked = None;
        match person {
            Some(person) => {
                self.relate(user, person);
                self.due_at(now + self.config.presence_window, user);
            }
            None => {
                if let Some(social) = self.social(user) {
                    social.stale = true;
                }
                self.due_at(now + RETRY, user);
            }
        }
        while let Some((asker, request)) = self.social(user).and_then(|social| social.waiting.pop_front()) {
            self.carry_out_request(now, asker, &request);
        }
    }

    /// Somebody has these contacts and groups from now on.
    fn relate(&mut self, user: &UserId, mut person: store::Person) {
        let answer = self.judged;
        let (max_contacts, max_groups) = (self.config.max_contacts, self.config.max_groups);
        // A store may not keep to what it was asked for.
        if person.cut || person.contacts.len() > max_contacts || person.groups.len() > max_groups {
            self.counters.relations_cut.add(1);
        }
        if !person.contacts.is_sorted() {
            person.contacts.sort_unstable();
        }
        person.contacts.truncate(max_contacts);
        person.groups.truncate(max_groups);
        let contacts = self.names.share(person.contacts);
        let Some(social) = self.social(user) else { return };
        social.stale = false;
        let is_first = !core::mem::replace(&mut social.known, true);
        if is_first {
            social.told.clear();
        }
        let mut groups: Vec<GroupId> = person.groups.into_iter().filter(|group| !group.is_dynamic()).collect();
        groups.sort_unstable();
        groups.dedup();
        let before = core::mem::replace(&mut social.contacts, contacts.clone());
        let left = core::mem::replace(&mut social.groups, groups.clone());
        social.answer = answer;
        // Whoever has just come asks who is there.
        social.before = if is_first || before == contacts { contacts } else { before };
        social.fresh = groups.iter().filter(|group| !is_first && left.binary_search(group).is_err()).cloned().collect();
        for group in left.iter().filter(|group| groups.binary_search(group).is_err()) {
            self.leave_seats(user, group);
        }
        for group in &groups {
            self.take_seats(user, group);
        }
        self.acquaint_with_new(user);
    }

    /// Has those that the last answer brought, and this user, hear of each other.
    fn acquaint_with_new(&mut self, user: &UserId) {
        let mut known = self.all_groups_of(user);
        let Some(social) = self.social(user) else { return };
        if Arc::ptr_eq(&social.before, &social.contacts) && social.fresh.is_empty() {
            return;
        }
        known.retain(|group| !social.fresh.contains(group));
        let change = Change::between(&[], &social.told);
        let relations = Relations {
            answer: social.answer,
            contacts: social.contacts.clone(),
            before: social.before.clone(),
            known,
            fresh: social.fresh.clone(),
        };
        self.fanouts.push_back(Fanout::acquaintance(user.clone(), change, relations));
    }

    // Requests.

    /// Carries out a request about contacts or groups. Its answer comes from [`Hub::poll_reply`].
    pub fn people_request(&mut self, now: Instant, party: &Party<'_, H>, request: PeopleRequest) {
        let asker = Asker {
            session: party.session,
            engine: party.engine.clone(),
            handle: party.handle.clone(),
            id: request.id,
        };
        match self.social(&party.engine.user) {
            Some(social) if social.is_awaited() => {
                if social.waiting.len() < WAITING {
                    social.waiting.push_back((asker, request));
                } else {
                    self.reply(asker, Err(Failure::Busy));
                }
            }
            _ => self.carry_out_request(now, asker, &request),
        }
    }

    // Presence.

    /// A login of this user was entered.
    pub(super) fn came(&mut self, now: Instant, user: &UserId) {
        let due = now + self.config.presence_window;
        let is_new = self.social(user).is_none();
        if self.config.store || self.groups.is_member(user) {
            self.make_social(user);
        }
        self.take_all_seats(user);
        self.ask_who(now, user);
        if let Some(social) = self.social(user) {
            if is_new {
                // Whoever was forgotten may have been told to be gone a moment ago.
                social.quiet_until = due;
            }
            self.due_at(due, user);
        }
    }

    /// A login of this user has ended; `at_once` if it meant to.
    pub(super) fn went(&mut self, now: Instant, user: &UserId, session: SessionId, at_once: bool) {
        self.leave_all_seats(user, session);
        let is_gone = self.people.get(user).is_some_and(|person| person.devices.is_empty());
        if at_once && is_gone && self.config.quit_on_offline {
            self.quit_all(user);
        }
        if let Some(social) = self.social(user) {
            // At once, but nobody hears of anybody twice within a window. With nothing to tell it is for letting go.
            let is_news = !(is_gone && social.told.is_empty() && social.shown.is_empty());
            let soonest = if is_news { now.max(social.quiet_until) } else { now };
            if at_once || !broken!(EndUntold) {
                self.due_at(if at_once { soonest } else { now + self.config.presence_window }, user);
            }
        }
    }

    /// Has others hear of a user at this time, or earlier if that was planned.
    fn due_at(&mut self, at: Instant, user: &UserId) {
        let Some(social) = self.people.get_mut(user).and_then(|person| person.social.as_mut()) else { return };
        match social.due {
            Some(due) if due <= at => return,
            Some(due) => {
                self.due.remove(&(due, user.clone()));
            }
            None => {}
        }
        social.due = Some(at);
        self.due.insert((at, user.clone()));
        self.changed = true;
    }

    /// Has others hear how the presence of a user has changed since they heard last, if it has.
    fn tell(&mut self, now: Instant, user: &UserId) {
        let Some(Person { devices, social: Some(social), .. }) = self.people.get_mut(user) else { return };
        social.due = None;
        if social.is_awaited() && !devices.is_empty() {
            // Told when the store has said to whom.
            return;
        }
        if devices.is_empty() && self.config.quit_on_offline {
            self.quit_all(user);
        }
        let contacts: Option<Arc<[UserId]>> =
            broken!(PresenceToStrangers, self.social(user).map(|social| social.contacts.clone()), else None);
        let strangers: Option<Arc<[UserId]>> = contacts.map(|contacts| {
            let known = contacts.iter().filter_map(|name| self.people.get(name)?.social.as_ref());
            known.flat_map(|social| social.contacts.iter().cloned()).collect()
        });
        let Some(Person { devices, social: Some(social), .. }) = self.people.get_mut(user) else { return };
        let mut is: Vec<DeviceKind> = devices.iter().map(|login| login.device).collect();
        is.sort_unstable();
        is.dedup();
        let ask = self.config.store && (!social.known || social.stale) && !is.is_empty();
        let shown = core::mem::take(&mut social.shown);
        let change = Change::since_shown(&social.told, &shown, &is);
        let flap = broken!(FlapTold, Some(Change { online: Some(!is.is_empty()), devices: Vec::new() }), else None);
        if let Some(change) = change.or(flap) {
            social.told = is;
            social.quiet_until = now + self.config.presence_window;
            let contacts = strangers.unwrap_or_else(|| social.contacts.clone());
            let mut groups = social.groups.clone();
            groups.extend(self.groups.dynamic_of(user).cloned());
            if !contacts.is_empty() || !groups.is_empty() {
                self.fanouts.push_back(Fanout::presence(user.clone(), change, contacts, groups));
                self.changed = true;
            }
        }
        if ask {
            self.ask_who(now, user);
        }
        self.forget_if_gone(user);
    }

    /// The devices of a user as a list shows them. It shows the state that the news which are told later build upon: what
    /// is gone and not told yet is still there, nobody is there whose contacts could not be told, and what is there
    /// before it is told is remembered, so that its end is told even if its beginning never is.
    pub(super) fn show(&mut self, user: &UserId, by_store: bool) -> Vec<DeviceKind> {
        let Some(person) = self.people.get_mut(user) else { return Vec::new() };
        let mut is: Vec<DeviceKind> = person.devices.iter().map(|login| login.device).collect();
        is.sort_unstable();
        is.dedup();
        let Some(social) = person.social.as_deref_mut() else { return is };
        if by_store && !social.known {
            return Vec::new();
        }
        let new: Vec<DeviceKind> = is.iter().filter(|device| !social.told.contains(device)).copied().collect();
        social.shown.retain(|device| !new.contains(device));
        social.shown.extend(new);
        let gone: Vec<DeviceKind> = social.told.iter().filter(|device| !is.contains(device)).copied().collect();
        is.extend(gone);
        is
    }

    /// Lets go of a user of whom there is no login and nothing left to tell.
    pub(super) fn forget_if_gone(&mut self, user: &UserId) {
        let gone = |person: &Person<H>| {
            let told = person.social.as_ref().is_none_or(|social| social.told.is_empty() && social.due.is_none());
            told && person.devices.is_empty() && person.commands.is_empty()
        };
        if self.people.get(user).is_some_and(gone) {
            self.people.remove(user);
        }
    }

    pub(super) fn social(&mut self, user: &UserId) -> Option<&mut Social<H>> {
        self.people.get_mut(user)?.social.as_deref_mut()
    }

    /// What is known of somebody who is there, with room for it if there was none.
    pub(super) fn make_social(&mut self, user: &UserId) {
        if let Some(person) = self.people.get_mut(user) {
            if person.social.is_none() {
                let mut social = Social::new();
                if !self.config.store {
                    // Nobody was told of who they share a group with from now on: those hear it from the group.
                    social.told = person.devices.iter().map(|login| login.device).collect();
                    social.told.sort_unstable();
                    social.told.dedup();
                }
                person.social = Some(Box::new(social));
            }
        }
    }
}
