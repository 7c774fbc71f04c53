//! Contacts, groups and presence: who is whose contact and in which group by the word of the store, and what each client
//! was told of the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use esf_driver::store::MemoryStore;
use esf_proto::{
    failure::Failure,
    ids::{DeviceKind, GroupId, MessageId, UserId},
    time::Instant,
    wire::requests::{Members, MyGroups, OnlineUsers},
};

use super::{
    Event, Sim,
    ledger::{Kind, Party, Target},
    plan::{PLACES, USERS},
    random::Random,
};

/// Groups by their ids: two of the store, two dynamic ones, and one that is nowhere.
pub const GROUPS: [&str; 5] = ["team", "all hands", "~chess", "~tea", "nowhere"];
/// So many of them are the store's.
pub(super) const OF_STORE: usize = 2;
/// The first and the last that are dynamic.
pub(super) const DYNAMIC: std::ops::RangeInclusive<usize> = 2..=3;
/// Until somebody who was not told a list asks for it again.
const ASKS_AGAIN: Duration = Duration::from_secs(2);

/// A group's id.
pub(super) fn group(of: usize) -> GroupId {
    GroupId::parse(GROUPS[of]).expect("a group's id")
}

fn name(user: usize) -> UserId {
    UserId::parse(USERS[user], 64).expect("a name")
}

/// What the store says, and what was asked.
#[derive(Debug)]
pub struct People {
    /// Whether there is a store.
    there: bool,
    contacts: BTreeSet<(usize, usize)>,
    pub(super) members: [BTreeSet<usize>; GROUPS.len()],
    /// Who ever asked to be in a dynamic group, or was pulled into it.
    candidates: [BTreeSet<usize>; GROUPS.len()],
    /// The last request about each user, and when one was answered last, in this life of the server.
    asked: BTreeMap<usize, usize>,
    known: BTreeMap<usize, Vec<Instant>>,
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
    pub(super) fn new(random: &Random, there: bool, store: &MemoryStore) -> Self {
        let mut random = random.apart(4);
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
            asked: BTreeMap::new(),
            known: BTreeMap::new(),
            missed: Vec::new(),
            last: BTreeMap::new(),
            calls: Vec::new(),
        }
    }

    /// The server that asked is gone.
    pub(super) fn server_is_gone(&mut self) {
        self.asked.clear();
        self.known.clear();
    }

    /// The server asks who a user is.
    pub(super) fn asks_about(&mut self, user: usize, number: usize) {
        self.asked.insert(user, number);
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
}

/// The place of a user in the table of users.
pub(super) fn number_of(user: &str) -> Option<usize> {
    USERS.iter().position(|name| *name == user)
}

impl Sim {
    // What the server knows.

    /// The server is about to know who a user is, if this is what it waits for.
    pub(super) fn knows(&mut self, user: usize, number: usize) {
        if self.people.asked.get(&user) == Some(&number) {
            let now = self.now;
            self.people.known.entry(user).or_default().push(now);
        }
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
        if of_store && !self.store.misbehaved {
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
