//! Measures the core without sockets, with a counted heap. `esf-bench` starts it.
#![expect(clippy::print_stdout, reason = "its result is read from there")]

use std::{
    alloc::System,
    sync::{Arc, Barrier},
    thread,
    time::Instant as Clock,
};

use bytes::{Bytes, BytesMut};
use esf_bench::{
    Problem,
    core_path::{CoreOutcome, CoreSpec},
    crowd::inside,
    wire,
};
use esf_driver::{
    endpoint::Endpoint as _,
    node::{Conn, Inputs, Node},
};
use esf_proto::{
    client::{Action, Config as ClientConfig, SendOptions, Session},
    ids::{InstanceId, LinkId, To, UserId},
    login::Rights,
    server::{AppResponse, Config as ServerConfig},
    time::{Instant, UnixMillis},
    wire::{Frame, Header, Kind},
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const BODY: usize = 64;
/// How far the receiver is from the sender in the row of users, so that neither is warm from the other's turn.
const STRIDE: usize = 7919;
/// Messages of each user before anything is measured: two counts of 128 frames and some more.
const STEADY: usize = 320;
const START: Instant = Instant::from_micros(1_000_000);

fn main() -> Result<(), Problem> {
    let spec = std::env::args().nth(1).ok_or("started by esf-bench, with what is to be measured")?;
    let outcome = match serde_json::from_str(&spec)? {
        CoreSpec::Path { users, messages, batch } => serde_json::to_string(&path(users, messages, batch)?)?,
        CoreSpec::Hub { users, messages, threads, apart } => {
            serde_json::to_string(&hub(users, messages, threads, apart)?)?
        }
        CoreSpec::Broadcast(spec) => serde_json::to_string(&inside::broadcast(spec, heap)?)?,
        CoreSpec::Presence(spec) => serde_json::to_string(&inside::meeting(spec, heap)?)?,
    };
    println!("{outcome}");
    Ok(())
}

fn heap() -> (usize, usize) {
    let stats = HEAP.stats();
    (stats.allocations + stats.reallocations, stats.bytes_allocated - stats.bytes_deallocated)
}

fn node() -> Arc<Node> {
    let mut secret = 0u128;
    let secrets = Box::new(move || {
        secret += 1;
        secret.to_le_bytes()
    });
    let wall = Box::new(|| UnixMillis(1_700_000_000_000));
    Node::new(
        ServerConfig::default(),
        Inputs { instance: InstanceId(1), keys: (1, 2), secrets, wall, tickets: Box::new(()) },
    )
}

fn name(at: usize) -> String {
    format!("user{at}")
}

/// The neighbour that a user writes to.
fn target(at: usize, users: usize) -> usize {
    (at + STRIDE) % users
}

// The whole path.

/// A client and its link's two ends, which hand each other what they have.
struct User {
    session: Session,
    link: LinkId,
    conn: Conn,
    to: To,
    messages: u64,
}

impl User {
    fn join(node: &Arc<Node>, at: usize, users: usize, wire: &mut Wire) -> Result<Self, Problem> {
        let seed = esf_proto::client::Seed { instance: InstanceId(at as u64 + 1), jitter: at as u64 };
        let mut session = Session::new(ClientConfig::new(UserId::parse(&name(at), 64)?), seed, START);
        let Some(Action::Connect { link }) = session.poll_action() else { return Err("it does not connect".into()) };
        session.handle_connected(START, link);
        let to = To::User(UserId::parse(&name(target(at, users)), 64)?);
        let mut user = Self { session, link, conn: Conn::accept(node, START), to, messages: 0 };
        user.exchange(START, wire);
        user.conn.poll_request().ok_or("nobody asks whether it may log in")?;
        user.conn.handle_response(START, AppResponse::Accept(Rights::NONE.into()));
        user.exchange(START, wire);
        Ok(user)
    }

    /// A turn of both ends, as the link loop drives them: all outputs are drained, then the timers are looked at.
    fn exchange(&mut self, now: Instant, wire: &mut Wire) {
        self.hand_over(now, wire);
        while self.conn.transmit(now, |frame| wire.put(frame)) > 0 {}
        for message in wire.messages().drain(..) {
            self.session.handle_message(now, self.link, message);
        }
        while self.session.poll_message().is_some() {
            self.messages += 1;
        }
        while self.session.poll_event().is_some() || self.session.poll_action().is_some() {}
        // What the client has to say about what it took.
        self.hand_over(now, wire);
        if self.session.poll_timeout().is_some_and(|(at, _)| at <= now) {
            self.session.handle_timeout(now);
        }
        if self.conn.poll_timeout().is_some_and(|at| at <= now) {
            self.conn.handle_timeout(now);
        }
    }
}

impl User {
    /// What the client sends goes to the server.
    fn hand_over(&mut self, now: Instant, wire: &mut Wire) {
        while self.session.transmit_with(now, |_, frame| wire.put(&frame)).is_some() {}
        let messages = wire.messages();
        if self.conn.takes_batches() {
            self.conn.handle_batch(now, messages);
        }
        for message in messages.drain(..) {
            self.conn.handle_message(now, message);
        }
    }
}

/// What is between the ends: the bytes of a turn, each frame a message, as a transport would hand them over.
#[derive(Default)]
struct Wire {
    bytes: BytesMut,
    lengths: Vec<usize>,
    messages: Vec<Bytes>,
}

impl Wire {
    fn put(&mut self, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
        self.lengths.push(frame.len());
    }

    fn messages(&mut self) -> &mut Vec<Bytes> {
        let mut all = self.bytes.split().freeze();
        self.messages.extend(self.lengths.drain(..).map(|len| all.split_to(len)));
        &mut self.messages
    }
}

fn path(users: usize, messages: usize, batch: usize) -> Result<CoreOutcome, Problem> {
    let node = node();
    let mut wire = Wire::default();
    let mut all = (0..users).map(|at| User::join(&node, at, users, &mut wire)).collect::<Result<Vec<_>, _>>()?;
    let body = Bytes::from(vec![7; BODY]);
    let mut now = START;
    let mut run = |messages: usize, batch: usize, all: &mut Vec<User>| {
        for at in (0..users).cycle().take(messages / batch) {
            now = Instant::from_micros(now.as_micros() + 1);
            let sender = &mut all[at];
            for _ in 0..batch {
                sender.session.send(now, &sender.to, 1, body.clone(), SendOptions::default())?;
            }
            sender.exchange(now, &mut wire);
            all[target(at, users)].exchange(now, &mut wire);
        }
        Ok::<_, Problem>(())
    };
    // Everybody has sent and counted before it is looked at: a steady state, in which buffers have the size that they keep.
    run(users * STEADY, 16, &mut all)?;
    let arrived = |all: &[User]| all.iter().map(|user| user.messages).sum::<u64>();
    let (before, heap, clock) = (arrived(&all), Region::new(HEAP), Clock::now());
    run(messages, batch, &mut all)?;
    let (ns, heap) = (clock.elapsed().as_nanos() as f64, heap.change());
    let arrived = arrived(&all) - before;
    if arrived != (messages / batch * batch) as u64 {
        return Err(format!("{arrived} of {messages} messages arrived").into());
    }
    Ok(CoreOutcome { messages: arrived, ns, allocations: (heap.allocations + heap.reallocations) as u64 })
}

// The server's part, on threads.

/// A link of the server, and the frame that its client sends.
struct Fed {
    conn: Conn,
    frame: Bytes,
    batch: Vec<Bytes>,
    received: u32,
    taken: u32,
}

fn hub(users: usize, messages: usize, threads: usize, apart: bool) -> Result<CoreOutcome, Problem> {
    const BATCH: usize = 16;
    let shared = node();
    let share = users / threads;
    let mut parts: Vec<Vec<Fed>> = Vec::new();
    for part in 0..threads {
        let node = if apart { node() } else { shared.clone() };
        parts.push(
            (0..share)
                .map(|at| {
                    // Whose messages cross from thread to thread, as they do in a server.
                    let (me, to) = if apart {
                        (at, target(at, share))
                    } else {
                        let me = at * threads + part;
                        (me, target(me, share * threads))
                    };
                    fed(&node, me, to)
                })
                .collect::<Result<_, _>>()?,
        );
    }
    let start = Arc::new(Barrier::new(threads + 1));
    let workers: Vec<_> = parts
        .into_iter()
        .map(|mut part| {
            let start = start.clone();
            thread::spawn(move || {
                let mut now = START;
                let feed = |rounds: usize, now: &mut Instant, part: &mut Vec<Fed>| {
                    for at in (0..share).cycle().take(rounds) {
                        *now = Instant::from_micros(now.as_micros() + 1);
                        part[at].turn(*now, BATCH);
                    }
                };
                feed(share * STEADY / BATCH, &mut now, &mut part);
                start.wait();
                feed(messages / BATCH, &mut now, &mut part);
                part
            })
        })
        .collect();
    start.wait();
    let clock = Clock::now();
    let ended: Result<Vec<_>, _> = workers.into_iter().map(thread::JoinHandle::join).collect();
    let ns = clock.elapsed().as_nanos() as f64;
    // The sessions end with their links: after the clock has stopped.
    drop(ended.map_err(|_| "a thread panicked")?);
    Ok(CoreOutcome { messages: (messages / BATCH * BATCH * threads) as u64, ns, allocations: 0 })
}

fn fed(node: &Arc<Node>, me: usize, to: usize) -> Result<Fed, Problem> {
    let mut conn = Conn::accept(node, START);
    let (name, instance) = (name(me), me as u64 + 1);
    conn.handle_message(START, wire::login(&name, instance));
    conn.poll_request().ok_or("nobody asks whether it may log in")?;
    conn.handle_response(START, AppResponse::Accept(Rights::NONE.into()));
    while conn.poll_transmit(START).is_some() {}
    let frame = wire::plain((&name, instance), &self::name(to), BODY);
    Ok(Fed { conn, frame, batch: Vec::new(), received: 0, taken: 0 })
}

impl Fed {
    /// Its client sends a batch, and gets what others have sent to it.
    fn turn(&mut self, now: Instant, batch: usize) {
        self.batch.extend((0..batch).map(|_| self.frame.clone()));
        self.conn.handle_batch(now, &mut self.batch);
        let before = self.received;
        let (received, taken) = (&mut self.received, &mut self.taken);
        let mut count = |frame: &[u8]| {
            if frame[4] == Kind::Send as u8 {
                *received += 1;
                *taken += frame.len() as u32;
            }
        };
        while self.conn.transmit(now, |frame| count(frame)) > 0 {}
        if self.received / 32 != before / 32 {
            let mut count = BytesMut::new();
            let frame = Frame::Count { received: self.received, taken: self.taken };
            if frame.encode(Header::default(), &mut count).is_ok() {
                self.conn.handle_message(now, count.freeze());
            }
        }
    }
}
