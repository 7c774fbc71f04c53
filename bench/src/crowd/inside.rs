//! Many people on one node, without sockets: what `esf-bench-core` runs, since it counts the heap.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant as Clock},
};

use bytes::{Bytes, BytesMut};
use esf_driver::{
    endpoint::Endpoint as _,
    node::{Conn, Inputs, Node},
};
use esf_proto::{
    close::CloseReason,
    ids::{GroupId, InstanceId, UserId},
    login::Rights,
    server::{AppResponse, Config},
    store::{Person, StoreRequest, StoreResponse},
    time::{Instant, UnixMillis},
    wire::{Frame, Header, Kind, PresenceStage, RawFrame},
};
use serde::{Deserialize, Serialize};

use crate::{Problem, wire};

const START: Instant = Instant::from_micros(1_000_000);
const GROUP: &str = "all";
const BODY: usize = 64;
/// Whoever has this many contacts has half of them on either side of the row of users, so far from each other.
const STRIDE: usize = 97;
/// Frames after which a client says what it has, as the library's client does at 32.
const COUNT_FRAMES: u32 = 32;

/// A broadcast to all.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Broadcasting {
    /// Members of the group, all of them online.
    pub members: usize,
    /// Broadcasts in all …
    pub broadcasts: usize,
    /// … of which so many come together.
    pub together: usize,
}

/// What it cost.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct BroadcastCost {
    /// Copies that arrived.
    pub deliveries: u64,
    /// Nanoseconds until all of them were in the outboxes.
    pub put_ns: f64,
    /// Nanoseconds in which the links of the members have handed them out.
    pub handed_out_ns: f64,
    /// Heap allocations in that time.
    pub allocations: u64,
}

/// Logins of people who have contacts, and then a storm of them.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Meeting {
    /// Users.
    pub users: usize,
    /// Contacts of each.
    pub contacts: usize,
    /// Seconds of the storm in which each comes and goes.
    pub storm: u64,
}

/// How it went.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct MeetingCost {
    /// Seconds on the clock until all were logged in and had heard of all their contacts.
    pub login_seconds: f64,
    /// Bytes of the heap for each user after that.
    pub bytes: f64,
    /// What they heard: of how many contacts in all.
    pub updates: u64,
    /// Logins in the storm.
    pub flaps: u64,
    /// Seconds on the clock that it took.
    pub storm_seconds: f64,
    /// What was heard in the storm.
    pub storm_updates: u64,
    /// The most that anybody heard of one contact within a second of the storm.
    pub most: u64,
}

/// What the heap has had so far: allocations, and bytes that are in use.
pub type Heap = fn() -> (usize, usize);

/// A broadcast after the other, each to all.
///
/// # Errors
/// Somebody is not let in, or misses one.
pub fn broadcast(spec: Broadcasting, heap: Heap) -> Result<BroadcastCost, Problem> {
    let mut hall = Hall::new(spec.members, Relations::Group)?;
    let frame = wire::broadcast((&name(0), 1), GROUP, BODY);
    let mut cost = BroadcastCost { deliveries: 0, put_ns: 0.0, handed_out_ns: 0.0, allocations: 0 };
    // Everybody has counted a few times before it is looked at.
    let warm_up = (COUNT_FRAMES as usize * 4).div_ceil(spec.together);
    for round in 0..warm_up + spec.broadcasts.div_ceil(spec.together) {
        let measured = round >= warm_up;
        let mut batch = vec![frame.clone(); spec.together];
        let (allocations, _) = heap();
        let begin = Clock::now();
        hall.now = hall.now + Duration::from_millis(1);
        hall.people[0].conn()?.handle_batch(hall.now, &mut batch);
        hall.carry_out();
        let put = begin.elapsed();
        let mut arrived = 0;
        for person in &mut hall.people {
            arrived += person.take(hall.now, |_| ())?;
        }
        let all = begin.elapsed();
        if arrived != (spec.members * spec.together) as u64 {
            return Err(format!("{arrived} copies of {} broadcasts arrived", spec.together).into());
        }
        if measured {
            cost.deliveries += arrived;
            cost.put_ns += put.as_nanos() as f64;
            cost.handed_out_ns += (all - put).as_nanos() as f64;
            cost.allocations += (heap().0 - allocations) as u64;
        }
    }
    Ok(cost)
}

/// All log in and hear of each other; then all come and go, each at its own pace.
///
/// # Errors
/// Somebody is not let in, or does not hear of a contact.
pub fn meeting(spec: Meeting, heap: Heap) -> Result<MeetingCost, Problem> {
    let (_, before) = heap();
    let begin = Clock::now();
    let mut hall = Hall::new(spec.users, Relations::Contacts(spec.contacts))?;
    hall.now = hall.now + Duration::from_secs(2);
    hall.carry_out();
    let mut updates = 0;
    for person in &mut hall.people {
        person.take(hall.now, |_| updates += 1)?;
    }
    let login_seconds = begin.elapsed().as_secs_f64();
    if updates != (spec.users * spec.contacts) as u64 {
        return Err(format!("{updates} of {} times somebody heard of a contact", spec.users * spec.contacts).into());
    }
    for person in &mut hall.people {
        person.count(hall.now)?;
        person.conn()?.rest();
    }
    let bytes = (heap().1 as f64 - before as f64) / spec.users as f64;
    let begin = Clock::now();
    let storm = storm(&mut hall, Duration::from_secs(spec.storm))?;
    Ok(MeetingCost {
        login_seconds,
        bytes,
        updates,
        flaps: storm.flaps,
        storm_seconds: begin.elapsed().as_secs_f64(),
        storm_updates: storm.updates,
        most: storm.most,
    })
}

/// What a storm has brought.
struct Storm {
    flaps: u64,
    updates: u64,
    most: u64,
}

/// Everybody comes and goes, quickly or slowly, and everybody listens while online.
fn storm(hall: &mut Hall, length: Duration) -> Result<Storm, Problem> {
    const STEP: Duration = Duration::from_millis(50);
    const WINDOW: Duration = Duration::from_secs(1);
    let end = hall.now + length;
    let mut next: Vec<Instant> = (0..hall.people.len()).map(|at| hall.now + STEP * pace(at as u64)).collect();
    // By receiver and contact: since when it was counted, and how often.
    let mut heard: HashMap<(usize, UserId), (Instant, u64)> = HashMap::new();
    let mut storm = Storm { flaps: 0, updates: 0, most: 0 };
    let mut turn = 0;
    while hall.now < end {
        hall.now = hall.now + STEP;
        let now = hall.now;
        for (at, next) in next.iter_mut().enumerate().filter(|(_, next)| **next <= now) {
            turn += 1;
            *next = hall.now + STEP * pace(turn);
            if hall.people[at].conn.is_some() {
                hall.people[at].leave(hall.now)?;
            } else {
                storm.flaps += 1;
                hall.enter(at)?;
            }
        }
        hall.carry_out();
        for (at, person) in hall.people.iter_mut().enumerate().filter(|(_, person)| person.conn.is_some()) {
            person.take(now, |contact| {
                storm.updates += 1;
                let (since, times) = heard.entry((at, contact)).or_insert((now, 0));
                if now.since(*since) >= WINDOW {
                    (*since, *times) = (now, 0);
                }
                *times += 1;
                storm.most = storm.most.max(*times);
            })?;
        }
    }
    Ok(storm)
}

/// Steps until somebody's next turn: from one to thirty, with no pattern that two share.
fn pace(turn: u64) -> u32 {
    let mixed = turn.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    1 + ((mixed >> 40) % 30) as u32
}

/// A node, and those who are on it.
struct Hall {
    node: Arc<Node>,
    people: Vec<Someone>,
    names: Vec<UserId>,
    relations: Relations,
    now: Instant,
    logins: u64,
}

/// What the store says of each.
#[derive(Clone, Copy)]
enum Relations {
    /// All are in one group.
    Group,
    /// Each has so many contacts.
    Contacts(usize),
}

/// One of them, with the link that there is while it is online.
#[derive(Default)]
struct Someone {
    conn: Option<Conn>,
    received: u32,
    taken: u32,
    told: u32,
}

impl Hall {
    /// All of them online.
    fn new(people: usize, relations: Relations) -> Result<Self, Problem> {
        let names = (0..people).map(|at| UserId::parse(&name(at), 64)).collect::<Result<Vec<_>, _>>()?;
        let mut hall = Self { node: node(), people: Vec::new(), names, relations, now: START, logins: 0 };
        hall.people.resize_with(people, Someone::default);
        for at in 0..people {
            hall.enter(at)?;
        }
        hall.now = hall.now + Duration::from_micros(1);
        Ok(hall)
    }

    fn enter(&mut self, at: usize) -> Result<(), Problem> {
        self.logins += 1;
        // The first in is the one whose frames are made with this number.
        let (name, instance) = (name(at), self.logins);
        let mut conn = Conn::accept(&self.node, self.now);
        conn.handle_message(self.now, wire::login(&name, instance));
        conn.poll_request().ok_or("nobody asks whether it may log in")?;
        conn.handle_response(self.now, AppResponse::Accept(Rights::NONE.into()));
        self.people[at] = Someone { conn: Some(conn), ..Someone::default() };
        self.answer();
        self.people[at].take(self.now, |_| ())?;
        Ok(())
    }

    /// Answers as a store would. Each name is a new one, as a store has it.
    fn answer(&self) {
        while let Some((job, request)) = self.node.poll_request() {
            let StoreRequest::Person { user, .. } = request else {
                // Nothing is stored for anybody.
                let none = StoreResponse::Messages { messages: Vec::new(), more: false };
                self.node.handle_response(self.now, job, Ok(none));
                continue;
            };
            let at = user.strip_prefix("user").and_then(|at| at.parse::<usize>().ok()).unwrap_or_default();
            let (groups, contacts) = match self.relations {
                Relations::Group => (GroupId::parse(GROUP).ok().into_iter().collect(), Vec::new()),
                Relations::Contacts(contacts) => (Vec::new(), self.contacts_of(at, contacts)),
            };
            let person = Person { exists: true, contacts, groups, cut: false, stored: false };
            self.node.handle_response(self.now, job, Ok(StoreResponse::Person(person)));
        }
    }

    fn contacts_of(&self, at: usize, contacts: usize) -> Vec<UserId> {
        let all = self.names.len();
        let near = (1..=contacts / 2).flat_map(|far| [at + far * STRIDE, at + all * STRIDE - far * STRIDE]);
        let mut contacts: Vec<UserId> = near.filter_map(|at| UserId::parse(&self.names[at % all], 64).ok()).collect();
        contacts.sort_unstable();
        contacts
    }

    /// What a housekeeper does.
    fn carry_out(&self) {
        while self.node.poll_timeout().is_some_and(|at| at <= self.now) {
            self.node.handle_timeout(self.now);
            self.answer();
        }
    }
}

impl Someone {
    fn conn(&mut self) -> Result<&mut Conn, Problem> {
        self.conn.as_mut().ok_or_else(|| "somebody is not online".into())
    }

    fn leave(&mut self, now: Instant) -> Result<(), Problem> {
        let goodbye = Frame::Close { reason: CloseReason::LoggedOff, text: "" }.to_bytes(Header::default())?;
        self.conn()?.handle_message(now, goodbye);
        self.conn = None;
        Ok(())
    }

    /// Takes what there is, as a client does; says how many broadcasts there were, and tells of whom it heard.
    fn take(&mut self, now: Instant, mut heard: impl FnMut(UserId)) -> Result<u64, Problem> {
        let Self { conn: Some(conn), received, taken, .. } = self else { return Err("nobody takes".into()) };
        let (mut broadcasts, mut torn) = (0, false);
        while conn.transmit(now, |frame| match frame[4] {
            kind if kind == Kind::Broadcast as u8 => {
                broadcasts += 1;
                *received = received.wrapping_add(1);
                *taken = taken.wrapping_add(frame.len() as u32);
            }
            kind if kind == Kind::Presence as u8 => {
                *received = received.wrapping_add(1);
                torn |= !each_user(frame, &mut heard);
            }
            _ => {}
        }) > 0
        {}
        if torn {
            return Err("news that nobody can read".into());
        }
        if self.received.wrapping_sub(self.told) >= COUNT_FRAMES {
            self.count(now)?;
        }
        Ok(broadcasts)
    }

    /// Says what it has.
    fn count(&mut self, now: Instant) -> Result<(), Problem> {
        self.told = self.received;
        let mut count = BytesMut::new();
        Frame::Count { received: self.received, taken: self.taken }.encode(Header::default(), &mut count)?;
        self.conn()?.handle_message(now, count.freeze());
        Ok(())
    }
}

/// Each contact that comes or goes; what its devices do is told beside it.
fn each_user(frame: &[u8], heard: &mut impl FnMut(UserId)) -> bool {
    let Ok(frame) = RawFrame::parse(Bytes::copy_from_slice(frame)) else { return false };
    let Ok(Frame::Presence { events, .. }) = frame.decode() else { return false };
    let of_users = |stage| matches!(stage, PresenceStage::ContactOnline | PresenceStage::ContactOffline);
    for event in events.iter().filter(|event| of_users(event.stage)) {
        let Some(user) = event.who.name().and_then(|name| UserId::parse(name, u8::MAX).ok()) else { return false };
        heard(user);
    }
    true
}

fn name(at: usize) -> String {
    format!("user{at}")
}

fn node() -> Arc<Node> {
    let mut secret = 0u128;
    let secrets = Box::new(move || {
        secret += 1;
        secret.to_le_bytes()
    });
    let wall = Box::new(|| UnixMillis(1_700_000_000_000));
    let config = Config { store: true, ..Config::default() };
    Node::new(config, Inputs { instance: InstanceId(1), keys: (1, 2), secrets, wall, tickets: Box::new(()) })
}

#[cfg(test)]
mod tests;
