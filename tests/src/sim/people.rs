//! Contacts, groups and presence: who is whose contact and in which group by the word of the store, how that store
//! answers, and what each client was told of the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::mpsc,
    time::Duration,
};

use bytes::Bytes;
use esf_driver::store::{MemoryStore, Store as _, StoreAnswer, StoreFailed, StoreLimits, StoreRequest, StoreResponse};
use esf_proto::{
    failure::Failure,
    ids::{DeviceKind, GroupId, MessageId, UserId},
    store::JobId,
    time::{Instant, UnixMillis},
    wire::requests::{Members, MyGroups, OnlineUsers},
};

use super::{
    Event, Sim, Waking,
    ledger::{Kind, Party, Target},
    plan::{PLACES, USERS},
    random::Random,
};

/// Who is woken when the node has a request for its store.
pub(super) const STORE: usize = usize::MAX - 2;
/// Groups by their ids: two of the store, two dynamic ones, and one that is nowhere.
pub const GROUPS: [&str; 5] = ["team", "all hands", "~chess", "~tea", "nowhere"];
/// So many of them are the store's.
pub(super) const OF_STORE: usize = 2;
/// The first and the last that are dynamic.
pub(super) const DYNAMIC: std::ops::RangeInclusive<usize> = 2..=3;
/// What is answered later than this comes too late, by any clock.
const TOO_LATE: Duration = Duration::from_secs(14);
/// What the store has not answered by then, the server has given up.
const GIVEN_UP: Duration = Duration::from_secs(16);
/// A store that is well has answered by then.
const SOON: Duration = Duration::from_secs(1);
/// Until somebody who was not told a list asks for it again.
const ASKS_AGAIN: Duration = Duration::from_secs(2);

/// A group's id.
pub(super) fn group(of: usize) -> GroupId {
    GroupId::parse(GROUPS[of]).expect("a group's id")
}

fn name(user: usize) -> UserId {
    UserId::parse(USERS[user], 64).expect("a name")
}

/// How the store answers at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Soon.
    Well,
    /// In up to so long.
    Slow(Duration),
    /// Not at all.
    Silent,
    /// That it cannot.
    Fails,
    /// Soon, and then once more.
    Twice,
}

/// An answer of the store that is under way.
type Answer = (u64, JobId, Result<StoreResponse, StoreFailed>);

/// What the store says, and what was asked.
#[derive(Debug)]
pub struct People {
    /// Whether there is a store.
    there: bool,
    contacts: BTreeSet<(usize, usize)>,
    pub(super) members: [BTreeSet<usize>; GROUPS.len()],
    /// Who ever asked to be in a dynamic group, or was pulled into it.
    candidates: [BTreeSet<usize>; GROUPS.len()],
    store: MemoryStore,
    pub(super) manner: Manner,
    pub(super) manner_until: Instant,
    /// It ever was not well.
    misbehaved: bool,
    answers: Vec<Option<Answer>>,
    /// The last request about each user, and when one was answered last, in this life of the server.
    asked: BTreeMap<usize, JobId>,
    known: BTreeMap<usize, Vec<Instant>>,
    /// What it was asked about the stored messages of each user: by which request, from when to when.
    mail: Vec<(usize, JobId, Instant, Option<Instant>)>,
    /// Broadcasts that somebody missed: group, sender, who, when.
    pub(super) missed: Vec<(GroupId, Option<Party>, UserId, Instant)>,
    /// The last broadcast of each sender that came to each engine, by group.
    last: BTreeMap<(Party, usize, usize), u32>,
    /// The broadcasts of the last roll call.
    pub(super) calls: Vec<u32>,
}

/// What a request asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Listing {
    Contacts,
    Members(usize),
    Groups,
}

/// What a client was told in its present session.
#[derive(Debug, Default)]
pub struct Seen {
    /// What it asked for and has not heard of.
    wanted: BTreeSet<Listing>,
    asked: BTreeMap<MessageId, Listing>,
    /// When it asks again.
    looks_at: Instant,
    pub(super) online: BTreeSet<usize>,
    pub(super) devices: BTreeSet<(usize, DeviceKind)>,
    pub(super) mates: BTreeSet<usize>,
    /// The last event about each, and when it came.
    told: BTreeMap<(usize, Option<DeviceKind>, bool), (bool, Instant)>,
    pub(super) groups: Vec<usize>,
}

impl People {
    pub(super) fn new(random: &Random, there: bool) -> Self {
        let mut random = random.apart(4);
        let store = MemoryStore::open(StoreLimits::default()).with_clock(|| UnixMillis(1_700_000_000_000));
        let (mut contacts, mut members) = (BTreeSet::new(), <[BTreeSet<usize>; GROUPS.len()]>::default());
        for one in 0..USERS.len() {
            for other in (one + 1..USERS.len()).filter(|_| random.percent(60)) {
                contacts.extend([(one, other), (other, one)]);
                store.add_contact(&name(one), &name(other));
            }
        }
        for (of, members) in members.iter_mut().enumerate().take(OF_STORE) {
            store.create_group(&group(of));
            for user in (0..USERS.len()).filter(|_| random.percent(70)) {
                members.insert(user);
                store.add_member(&group(of), &name(user));
            }
        }
        if !there {
            contacts.clear();
            members.iter_mut().for_each(BTreeSet::clear);
        }
        Self {
            there,
            contacts,
            members,
            candidates: Default::default(),
            store,
            manner: Manner::Well,
            manner_until: Instant::ZERO,
            misbehaved: false,
            answers: Vec::new(),
            asked: BTreeMap::new(),
            known: BTreeMap::new(),
            mail: Vec::new(),
            missed: Vec::new(),
            last: BTreeMap::new(),
            calls: Vec::new(),
        }
    }

    /// The store is another than it was until then.
    pub(super) fn misbehaves(&mut self, manner: Manner, until: Instant) {
        (self.manner, self.manner_until) = (manner, until);
        self.misbehaved = true;
    }

    /// The server that asked is gone.
    pub(super) fn server_is_gone(&mut self) {
        self.asked.clear();
        self.known.clear();
        self.mail.clear();
    }

    /// Whether messages to a user waited in that time since the store did not say what it has for the user (ESF-353). The
    /// server gives up after 15 s by its clock.
    pub(super) fn held_mail(&self, user: usize, since: Instant, until: Instant) -> bool {
        self.mail.iter().any(|(of, _, asked, answered)| {
            let end = answered.unwrap_or(*asked + GIVEN_UP);
            *of == user && *asked <= until && end >= since && end.since(*asked) > SOON
        })
    }

    pub(super) fn are_contacts(&self, one: usize, other: usize) -> bool {
        self.contacts.contains(&(one, other))
    }

    /// Whether a user is a member of a group, or may be.
    fn may_be_in(&self, user: usize, of: usize) -> bool {
        self.members[of].contains(&user) || self.candidates[of].contains(&user)
    }

    pub(super) fn are_mates(&self, one: usize, other: usize) -> bool {
        self.members.iter().any(|members| members.contains(&one) && members.contains(&other))
    }

    /// Somebody may be in a dynamic group from now on.
    pub(super) fn may_enter(&mut self, user: usize, of: usize) {
        if DYNAMIC.contains(&of) {
            self.candidates[of].insert(user);
        }
    }

    /// A member missed a broadcast.
    pub(super) fn note_missed(&mut self, group: GroupId, from: Option<Party>, user: UserId, at: Instant) {
        self.missed.push((group, from, user, at));
    }

    fn carry_out(&self, request: StoreRequest) -> Result<StoreResponse, StoreFailed> {
        let (says, hears) = mpsc::channel();
        self.store.submit(request, StoreAnswer::new(move |answer| drop(says.send(answer))));
        hears.try_recv().unwrap_or_else(|_| Err(StoreFailed::new("no answer")))
    }
}

fn number_of(user: &str) -> Option<usize> {
    USERS.iter().position(|name| *name == user)
}

impl Sim {
    // The store.

    /// Carries the node's requests to the store.
    pub(super) fn turn_store(&mut self) {
        let Some(node) = self.server.node.clone() else { return };
        node.register_store(&Waking::waker(STORE, &self.ready));
        let life = self.server.life;
        while let Some((job, request)) = node.poll_request() {
            self.trace.mix(job.0);
            self.say("store", || format!("is asked {request:?}"));
            if let StoreRequest::Person { user, .. } = &request
                && let Some(user) = number_of(user)
            {
                self.people.asked.insert(user, job);
            }
            let about_mail = match &request {
                StoreRequest::Fetch { user, .. } | StoreRequest::Tried { user, .. } => number_of(user),
                StoreRequest::Confirm { user, .. } => number_of(user),
                _ => None,
            };
            if let Some(user) = about_mail {
                self.people.mail.push((user, job, self.now, None));
            }
            let manner = if self.now < self.people.manner_until { self.people.manner } else { Manner::Well };
            let (after, answer) = match manner {
                Manner::Silent => continue,
                Manner::Fails => (self.chance.millis(0, 20), Err(StoreFailed::new("it is to fail"))),
                Manner::Slow(most) => {
                    let most = u64::try_from(most.as_millis()).unwrap_or(0);
                    (self.chance.millis(0, most), self.people.carry_out(request.clone()))
                }
                Manner::Well | Manner::Twice => (self.chance.millis(0, 20), self.people.carry_out(request.clone())),
            };
            if let (StoreRequest::Person { user, .. }, Ok(_)) = (&request, &answer)
                && let Some(user) = number_of(user)
                && after < TOO_LATE
            {
                self.plan_in(after, Event::Known(user, job));
            }
            for time in 0..if manner == Manner::Twice { 2 } else { 1 } {
                self.people.answers.push(Some((life, job, answer.clone())));
                let number = self.people.answers.len() - 1;
                self.plan_in(after + Duration::from_millis(time * 70), Event::Stored(number));
            }
        }
    }

    /// The server is about to know who a user is, if this is what it waits for.
    pub(super) fn knows(&mut self, user: usize, job: JobId) {
        if self.people.asked.get(&user) == Some(&job) {
            let now = self.now;
            self.people.known.entry(user).or_default().push(now);
        }
    }

    /// The store answers.
    pub(super) fn stored(&mut self, number: usize) {
        let Some((life, job, answer)) = self.people.answers[number].take() else { return };
        let Some(node) = self.server.node.clone().filter(|_| life == self.server.life) else { return };
        self.say("store", || format!("answers {}: {answer:?}", job.0));
        let now = self.now;
        if let Some((.., answered)) = self.people.mail.iter_mut().find(|(_, of, ..)| *of == job) {
            answered.get_or_insert(now);
        }
        node.handle_response(self.server.clock.shows(self.now), job, answer);
        self.calls += 1;
        self.turn_node();
    }

    /// Whether the server knows who an engine's user is since the engine's session began, and whether it did by then.
    pub(super) fn is_known(&self, engine: usize, by: Instant) -> bool {
        let of = &self.engines[engine];
        let known = self.people.known.get(&PLACES[of.place].user);
        let since = |known: &Vec<Instant>| known.iter().any(|known| *known >= of.began && *known <= by);
        !self.people.there || known.is_some_and(since)
    }

    /// The same of any device of its user that is online.
    fn user_is_known(&self, engine: usize) -> bool {
        let user = |engine: usize| PLACES[self.engines[engine].place].user;
        let there = |other: &usize| user(*other) == user(engine) && !self.engines[*other].is_gone();
        (0..self.engines.len()).filter(there).any(|other| self.is_known(other, self.now))
    }

    /// The server is told to ask again about whom it could not ask.
    pub(super) fn asks_about_the_unknown(&mut self) {
        let Some(node) = self.server.node.clone() else { return };
        let local = self.server.clock.shows(self.now);
        for engine in 0..self.engines.len() {
            if self.engines[engine].online && !self.user_is_known(engine) {
                node.relations_changed(local, &name(PLACES[self.engines[engine].place].user));
            }
        }
    }

    // What clients ask for and hear.

    /// A session begins: nothing that was told in an older one holds.
    pub(super) fn begins_to_look(&mut self, engine: usize) {
        let user = PLACES[self.engines[engine].place].user;
        let mut wanted = BTreeSet::new();
        if self.people.there {
            wanted.insert(Listing::Contacts);
            wanted.extend((0..OF_STORE).filter(|of| self.people.members[*of].contains(&user)).map(Listing::Members));
        }
        self.engines[engine].seen = Seen { wanted, ..Seen::default() };
        self.looks(engine);
    }

    /// Asks for what it was not told.
    pub(super) fn looks(&mut self, engine: usize) {
        // Whoever may list everything is answered before the server knows that it is in a group and has it hear of that.
        let waits = !self.user_is_known(engine);
        let of = &mut self.engines[engine];
        if of.is_gone() || !of.online {
            return;
        }
        let local = of.clock.shows(self.now);
        for listing in of.seen.wanted.clone() {
            let of = &mut self.engines[engine];
            if of.seen.asked.values().any(|asked| *asked == listing) {
                continue;
            }
            if waits && matches!(listing, Listing::Members(_)) {
                self.queue_look(engine);
                continue;
            }
            let taken = match listing {
                Listing::Contacts => of.session.online_contacts(local, 0, &[]),
                Listing::Members(group_of) => of.session.group_members(local, &group(group_of), 0, &[]),
                Listing::Groups => of.session.my_groups(local, 0, &[]),
            };
            let Ok(id) = taken else {
                self.queue_look(engine);
                break;
            };
            of.requests.insert(id, "list");
            of.seen.asked.insert(id, listing);
        }
        self.plan_in(Duration::from_millis(1), Event::Application(engine));
    }

    /// Has it ask again in a while, if that is not planned.
    fn queue_look(&mut self, engine: usize) {
        let (now, seen) = (self.now, &mut self.engines[engine].seen);
        if seen.looks_at <= now {
            seen.looks_at = now + ASKS_AGAIN;
            self.plan_in(ASKS_AGAIN, Event::Look(engine));
        }
    }

    /// A request came to nothing, maybe one for a list.
    pub(super) fn list_failed(&mut self, engine: usize, id: MessageId, failure: Failure) {
        let Some(listing) = self.engines[engine].seen.asked.remove(&id) else { return };
        let of_store = matches!(failure, Failure::Internal | Failure::NotAllowed);
        if of_store && !self.people.misbehaved {
            let name = &self.engines[engine].name;
            return self.violate("7 presence", format!("{name} asks for {listing:?} and hears: {failure}"));
        }
        if self.engines[engine].seen.wanted.contains(&listing) {
            self.queue_look(engine);
        }
    }

    /// A list comes.
    pub(super) fn list_comes(&mut self, engine: usize, id: MessageId, body: &Bytes) {
        let Some(listing) = self.engines[engine].seen.asked.remove(&id) else { return };
        let me = PLACES[self.engines[engine].place].user;
        let mut strangers = Vec::new();
        let seen = &mut self.engines[engine].seen;
        seen.wanted.remove(&listing);
        match listing {
            Listing::Contacts => {
                seen.online.clear();
                seen.devices.clear();
                for entry in OnlineUsers::decode(body).into_iter().flatten() {
                    let Some(user) = number_of(entry.user).filter(|user| self.people.are_contacts(me, *user)) else {
                        strangers.push(entry.user.to_owned());
                        continue;
                    };
                    seen.online.insert(user);
                    seen.devices.extend(entry.devices().map(|device| (user, device)));
                }
            }
            Listing::Members(of) => {
                for entry in Members::decode(body).into_iter().flatten() {
                    let Some(user) = number_of(entry.user).filter(|user| self.people.members[of].contains(user)) else {
                        strangers.push(entry.user.to_owned());
                        continue;
                    };
                    if entry.online {
                        seen.mates.insert(user);
                    } else {
                        seen.mates.remove(&user);
                    }
                }
            }
            Listing::Groups => {
                let groups = MyGroups::decode(body).into_iter().flatten();
                seen.groups = groups.filter_map(|entry| GROUPS.iter().position(|of| *of == entry.group)).collect();
            }
        }
        if let Some(stranger) = strangers.first() {
            let text = format!("{} is told of {stranger} in {listing:?}", self.engines[engine].name);
            self.violate("10 strangers", text);
        }
    }

    /// Somebody comes or goes: a contact, a device of one (which), or one who shares a group (`mate`).
    pub(super) fn is_told(
        &mut self,
        engine: usize,
        user: &UserId,
        device: Option<DeviceKind>,
        mate: bool,
        online: bool,
    ) {
        let me = PLACES[self.engines[engine].place].user;
        let known = number_of(user).filter(|user| *user != me);
        let mates = |other| {
            let dynamic = |of| self.people.may_be_in(me, of) && self.people.may_be_in(other, of);
            self.people.are_mates(me, other) || DYNAMIC.into_iter().any(dynamic)
        };
        let may = known.filter(|other| if mate { mates(*other) } else { self.people.are_contacts(me, *other) });
        let Some(other) = may else {
            let text = format!("{} is told of {user}, who is a stranger", self.engines[engine].name);
            return self.violate("10 strangers", text);
        };
        let (now, lasting) = (self.now, !mate || self.people.are_mates(me, other));
        let of = &mut self.engines[engine];
        let before = of.seen.told.insert((other, device, mate), (online, now));
        // What waited for it meanwhile is told as the latest state alone, which may be what it was.
        let twice = before.filter(|(state, at)| *state == online && lasting && of.trouble.none(*at, now));
        // Who becomes known is told anew, also to those who share a dynamic group and heard before.
        let known = self.people.known.get(&other);
        // (The news take a moment to be heard.)
        let twice = twice.filter(|(_, at)| {
            let anew = |known: &Instant| *known + Duration::from_secs(1) >= *at;
            online && !(mate && known.is_some_and(|known| known.iter().any(anew)))
        });
        match (device, mate) {
            (Some(device), _) if online => drop(of.seen.devices.insert((other, device))),
            (Some(device), _) => drop(of.seen.devices.remove(&(other, device))),
            (None, true) if online => drop(of.seen.mates.insert(other)),
            (None, true) => drop(of.seen.mates.remove(&other)),
            (None, false) if online => drop(of.seen.online.insert(other)),
            (None, false) => drop(of.seen.online.remove(&other)),
        }
        if twice.is_some() && self.plan.manners.bandwidth == 0 {
            let text = format!("{} hears twice that {user} is online: {online}", self.engines[engine].name);
            self.violate("7 flap", text);
        }
    }

    /// A broadcast comes to an engine.
    pub(super) fn broadcast_comes(&mut self, by: Party, number: u32, group: &GroupId) {
        let Some(sent) = self.ledger.sent(number).filter(|sent| sent.kind == Kind::Broadcast) else {
            return self.violate("10 from", format!("#{number} comes to {by:?} as a broadcast"));
        };
        let (Party::Engine(engine), Target::Group(of)) = (by, sent.to) else {
            return self.violate("10 from", format!("#{number} comes to {by:?}: {sent:?}"));
        };
        let user = |engine: usize| PLACES[self.engines[engine].place].user;
        let me = user(engine);
        let from = sent.from;
        let sender = if let Party::Engine(from) = from { Some(user(from)) } else { None };
        let wrong = if group.as_str() != GROUPS[of] {
            Some("of another group")
        } else if !self.people.may_be_in(me, of) {
            Some("in which the receiver is not")
        } else if sender.is_some_and(|sender| !self.people.may_be_in(sender, of)) {
            Some("in which the sender is not")
        } else if sender == Some(me) && !sent.echo {
            Some("though it sent it itself")
        } else {
            None
        };
        if let Some(wrong) = wrong {
            return self.violate("10 groups", format!("#{number} comes to {by:?}, of {group}, {wrong}: {sent:?}"));
        }
        let before = self.people.last.insert((from, engine, of), number);
        if let Some(before) = before.filter(|before| *before > number) {
            self.violate("2 order", format!("#{number} of {from:?} to {group} comes to {by:?} after #{before}"));
        }
    }

    // At rest.

    /// Whether everybody was told what they asked for, and the server knows everybody.
    pub(super) fn everybody_looked(&self) -> bool {
        let there = || self.engines.iter().enumerate().filter(|(_, of)| of.online && !of.is_gone());
        there().all(|(engine, of)| of.seen.wanted.is_empty() && self.user_is_known(engine))
    }

    /// Everybody says in which groups they are, and then one thing to each; it is heard by whoever is in the group.
    pub(super) fn roll_call(&mut self) {
        let there: Vec<usize> = (0..self.engines.len()).filter(|engine| self.engines[*engine].online).collect();
        for engine in &there {
            self.engines[*engine].seen.wanted.insert(Listing::Groups);
            self.looks(*engine);
        }
        let later = self.now + Duration::from_secs(5);
        self.until(later);
        for engine in there {
            for of in self.engines[engine].seen.groups.clone() {
                let number = super::workload::broadcasts_to(self, engine, of, 8, true, false);
                self.people.calls.push(number);
            }
            self.turn_client(engine);
        }
        let later = self.now + Duration::from_secs(5);
        self.until(later);
    }
}
