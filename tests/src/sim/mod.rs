//! The simulator: many clients and a server under one virtual clock and one seed, a random set of faults, and the
//! invariants checked after every step.
//!
//! The server is the very [`Node`](esf_driver::node::Node) and [`Conn`](esf_driver::node::Conn)s that a real server
//! runs, the clients are client sessions, and between a machine and its line stands the driver's own order of draining
//! ([`Drain`](esf_driver::step::Drain)). Simulated are lines, clocks, processes and applications. What is promised is kept
//! apart from all that: [`counts`] is a second book of each hop, [`ledger`] one of everything that was sent, [`letters`]
//! one of what the store has to have.
//!
//! | to add | touch |
//! |---|---|
//! | something that goes wrong | a row of [`faults::FAULTS`] |
//! | something that is said | a row of [`workload::WORKS`] |
//! | something that must hold | a row of [`invariants::INVARIANTS`], or of the two books |

pub mod attacker;
pub mod blobs;
pub mod client;
pub mod clock;
pub mod counts;
pub mod drive;
pub mod faults;
pub mod gatherings;
pub mod invariants;
pub mod judge;
pub mod ledger;
pub mod letters;
pub mod line;
pub mod links;
pub mod people;
pub mod plan;
pub mod random;
pub mod report;
pub mod server;
pub mod store;
pub mod trace;
pub mod trouble;
pub mod workload;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    task::Wake,
    time::Duration,
};

use esf_proto::time::Instant;

use self::{
    attacker::Attacker,
    client::Engine,
    faults::{Active, FAULTS},
    judge::Judges,
    ledger::Ledger,
    links::Link,
    people::People,
    plan::{PLACES, Plan},
    random::Random,
    report::{Options, Report, Violation},
    server::Server,
    store::SimStore,
    trace::Trace,
};

/// What is planned for some moment.
#[derive(Debug, Clone, Copy)]
pub enum Event {
    /// A client's timers.
    Client(usize),
    /// A server's link has something due.
    Conn(usize),
    /// The node has something due.
    Node,
    /// Something arrives at the server's end of a link.
    Up(usize),
    /// Something arrives at the client's end.
    Down(usize),
    /// A client's attempt to connect has its result.
    Connected(usize, esf_proto::ids::LinkId, bool),
    /// The application answers a login.
    Answered(usize),
    /// The server hears that a link is dead.
    ServerLearns(usize),
    /// The client hears it.
    ClientLearns(usize),
    /// A client's application does something.
    Application(usize),
    /// The server's application takes what came while it did nothing.
    Desk,
    /// A client's handler answers a query.
    Reply(usize, esf_proto::session::inbound::QueryToken, u32),
    /// The server's handler answers one.
    DeskReply(usize, esf_proto::session::inbound::QueryToken, u32),
    /// Somebody says something.
    Work,
    /// A fault strikes.
    Fault(usize),
    /// A line moves again.
    Moves(usize),
    /// A process starts at a place.
    Start(usize),
    /// The server starts again.
    Restart,
    /// The server looks after what it keeps.
    Upkeep,
    /// The store does what it was asked.
    Stores(usize),
    /// The store answers.
    Stored(usize),
    /// The server's application has judged what somebody sends.
    Judged(usize),
    /// The handler of a message of the store returns.
    Handled(usize, esf_proto::store::StoreId),
    /// The server is about to know who a user is.
    Known(usize, usize),
    /// Somebody who has read a stored message leaves.
    Leaves(usize),
    /// Somebody writes what is to be stored to a user who has just gone.
    WritesTo(usize),
    /// Whoever has written to a user who was away writes again.
    WritesAgain(usize),
    /// A client asks for lists that it was not told.
    Look(usize),
}

#[derive(Debug)]
struct Planned {
    at: Instant,
    order: u64,
    event: Event,
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Planned {}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Planned {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// Who was woken by the work of another.
#[derive(Debug, Default)]
pub struct Ready(Mutex<Vec<usize>>);

impl Ready {
    fn push(&self, who: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(who);
    }

    fn pop(&self) -> Option<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

/// Wakes one link, or the node.
#[derive(Debug)]
pub struct Waking {
    who: usize,
    ready: Arc<Ready>,
}

impl Waking {
    pub(super) fn waker(who: usize, ready: &Arc<Ready>) -> std::task::Waker {
        Arc::new(Self { who, ready: ready.clone() }).into()
    }
}

impl Wake for Waking {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.push(self.who);
    }
}

/// The world of one seed.
#[derive(Debug)]
pub struct Sim {
    pub(super) now: Instant,
    queue: BinaryHeap<Reverse<Planned>>,
    order: u64,
    pub(super) random: Random,
    pub(super) chance: Random,
    pub(super) plan: Plan,
    pub(super) engines: Vec<Engine>,
    /// The engine that is at each place at present.
    pub(super) at_place: Vec<Option<usize>>,
    pub(super) links: Vec<Link>,
    pub(super) server: Server,
    pub(super) ledger: Ledger,
    pub(super) people: People,
    pub(super) store: SimStore,
    pub(super) judges: Judges,
    pub(super) trace: Trace,
    pub(super) faults: Vec<Active>,
    pub(super) attacker: Attacker,
    pub(super) has_attacker: bool,
    pub(super) ready: Arc<Ready>,
    pub(super) calls: u64,
    pub(super) cuts: u64,
    pub(super) placed: u64,
    /// Until when each user may be kicked by what somebody asked for.
    pub(super) kicked_until: Vec<Instant>,
    /// How long whoever is at a place stays away next.
    pub(super) away_for: Vec<Option<Duration>>,
    pub(super) quiet: bool,
    pub(super) violation: Option<Violation>,
    /// Whether there is a WebSocket between a machine and its line.
    pub(super) over_websocket: bool,
    /// What arrived in one piece and is not handed in yet.
    unpacked: VecDeque<line::Item>,
    out: Vec<bytes::Bytes>,
}

/// No seed has nearly as many events.
const MOST_EVENTS: u64 = 5_000_000;
/// How long the quiet time after a run may last until everything has its outcome.
const PATIENCE: Duration = Duration::from_secs(400);
/// How long it lasts at least.
const REST: Duration = Duration::from_secs(20);

/// Until then the server has asked its store again by itself.
const RETRIED: Duration = Duration::from_secs(50);
/// How often the counts are looked at, a second apart: something may just have gone out.
const COUNTED: usize = 5;

/// Runs one seed.
#[must_use]
pub fn run(seed: u64, options: &Options) -> Report {
    let random = Random::new(seed);
    let plan = Plan::of(&random, &options.left_out);
    let mut sim = Sim::new(random, plan, options);
    sim.live();
    Report::of(seed, sim)
}

impl Sim {
    fn new(random: Random, plan: Plan, options: &Options) -> Self {
        let ready = Arc::<Ready>::default();
        let judges = Judges::new();
        let server = Server::new(&random, &plan, &ready, &judges);
        let store = SimStore::new(&random, &server.wall);
        let mut sim = Self {
            now: Instant::from_micros(1_000_000),
            queue: BinaryHeap::new(),
            order: 0,
            chance: random.apart(2),
            faults: Active::of(&random, &plan),
            server,
            at_place: vec![None; PLACES.len()],
            engines: Vec::new(),
            links: Vec::new(),
            ledger: Ledger::default(),
            people: People::new(&random, plan.server.store, &store.memory),
            store,
            judges,
            trace: Trace::new(options.trace),
            ready,
            attacker: Attacker::default(),
            has_attacker: false,
            calls: 0,
            cuts: 0,
            placed: 0,
            kicked_until: vec![Instant::ZERO; plan::USERS.len()],
            away_for: vec![None; PLACES.len()],
            quiet: false,
            violation: None,
            over_websocket: options.websocket,
            unpacked: VecDeque::new(),
            out: Vec::new(),
            random,
            plan,
        };
        for place in 0..sim.plan.places {
            let later = sim.chance.millis(0, 500);
            sim.plan_in(later, Event::Start(place));
        }
        sim.plan_in(Duration::from_secs(1), Event::Work);
        sim.plan_in(Duration::from_secs(60), Event::Upkeep);
        for fault in 0..sim.faults.len() {
            faults::begin(&mut sim, fault);
        }
        sim
    }

    /// The time of faults, then the quiet time in which everything has to come to its end.
    fn live(&mut self) {
        let end = self.now + self.plan.length;
        self.until(end);
        if self.violation.is_some() {
            return;
        }
        self.say("world", || "everything is well from here on".into());
        self.quiet = true;
        faults::heal(self);
        let rest = self.now + REST;
        self.until(rest);
        let patience = self.now + PATIENCE;
        while self.violation.is_none() && self.now < patience && !self.is_at_rest() {
            let next = self.now + Duration::from_secs(5);
            self.until(next);
            if self.now > rest + RETRIED {
                self.asks_about_the_unknown();
            }
        }
        // Who is gone without a word is offline after the resume window and as long as presence waits.
        let settled = self.now + self.plan.server.resume_window + Duration::from_secs(3);
        self.until(settled);
        if self.violation.is_none() {
            self.roll_call();
        }
        // Of what went out last the counts are still under way.
        for _ in 0..COUNTED {
            let settled = self.now + Duration::from_secs(1);
            self.until(settled);
            if invariants::everything_is_counted(self).is_ok() {
                break;
            }
        }
        if self.violation.is_none() {
            invariants::at_rest(self);
        }
    }

    fn is_at_rest(&self) -> bool {
        self.ledger.open().is_empty()
            && self.everybody_looked()
            && self.has_its_mail()
            && self.engines.iter().all(|engine| engine.requests.is_empty() && (engine.online || engine.is_gone()))
            && self.server.node.as_ref().is_none_or(|node| node.held_bytes() == 0)
    }

    fn until(&mut self, end: Instant) {
        while self.violation.is_none() {
            if self.queue.peek().is_none_or(|Reverse(planned)| planned.at > end) {
                break;
            }
            let Some(Reverse(Planned { at, event, .. })) = self.queue.pop() else { break };
            self.now = self.now.max(at);
            if self.order > MOST_EVENTS {
                return self.violate("9 timers", "more happens than can".into());
            }
            self.trace.mix(self.now.as_micros());
            self.happens(at, event);
            self.run_ready();
        }
        self.now = self.now.max(end);
    }

    fn happens(&mut self, at: Instant, event: Event) {
        match event {
            // Timers that were set anew have an event that is void.
            Event::Client(engine) if self.engines[engine].armed == Some(at) => {
                self.engines[engine].armed = None;
                self.turn_client(engine);
            }
            Event::Conn(link) if self.links[link].armed == Some(at) => {
                self.links[link].armed = None;
                self.turn_server(link);
            }
            Event::Node if self.server.armed == Some(at) => {
                self.server.armed = None;
                self.turn_node();
            }
            Event::Client(_) | Event::Conn(_) | Event::Node => {}
            Event::Up(link) => self.arrive_up(link),
            Event::Down(link) => self.arrive_down(link),
            Event::Connected(engine, id, there) => self.connected(engine, id, there),
            Event::Answered(link) => self.answered(link),
            Event::ServerLearns(link) => self.server_learns(link),
            Event::ClientLearns(link) => self.client_learns(link),
            Event::Application(engine) => self.turn_client(engine),
            Event::Desk => self.turn_applications(),
            Event::Reply(engine, token, number) => self.reply(engine, token, number),
            Event::DeskReply(app, token, number) => self.reply_of_server(app, token, number),
            Event::Work => workload::work(self),
            Event::Fault(fault) => faults::strike(self, fault),
            Event::Moves(link) => self.moves(link),
            // Whoever was to come back has come when everything became well.
            Event::Start(place) if self.quiet || self.at_place[place].is_some() => {}
            Event::Start(place) => self.start(place),
            Event::Restart => self.server_starts(),
            Event::Upkeep => self.upkeep(),
            Event::Stores(asked) => self.stores(asked),
            Event::Stored(asked) => self.stored(asked),
            Event::Judged(case) => self.is_judged(case),
            Event::Handled(engine, id) => self.handler_returns(engine, id),
            Event::Known(user, asked) => self.knows(user, asked),
            Event::Leaves(engine) => self.leaves(engine),
            Event::WritesTo(user) => workload::writes_to(self, user),
            Event::WritesAgain(user) => workload::writes_again(self, user),
            Event::Look(engine) => self.looks(engine),
        }
    }

    /// Those who were woken have their turn.
    fn run_ready(&mut self) {
        for _ in 0..100_000 {
            match self.ready.pop() {
                None => return,
                Some(server::NODE) => self.turn_node(),
                Some(judge::JUDGE) => self.turn_judges(),
                Some(store::STORE) => self.turn_store(),
                Some(attacker::ATTACKER) => self.attacker_turn(),
                Some(link) => self.turn_server(link),
            }
            if self.violation.is_some() {
                return;
            }
        }
        self.violate("9 timers", "links wake each other without end".into());
    }

    pub(super) fn plan_at(&mut self, at: Instant, event: Event) {
        self.order += 1;
        self.queue.push(Reverse(Planned { at, order: self.order, event }));
    }

    pub(super) fn plan_in(&mut self, after: Duration, event: Event) {
        self.plan_at(self.now + after, event);
    }

    /// Something that must never be. The first is kept.
    pub(super) fn violate(&mut self, invariant: &'static str, text: String) {
        if self.violation.is_none() {
            let (now, text) = (self.now, text);
            self.trace.line(now, "VIOLATION", &format!("{invariant}: {text}"));
            self.violation = Some(Violation { at: now, invariant, text });
        }
    }

    pub(super) fn judge(&mut self, invariant: &'static str, wrong: Option<String>, who: impl FnOnce(&Self) -> String) {
        if let Some(text) = wrong {
            let who = who(self);
            self.violate(invariant, format!("{who}: {text}"));
        }
    }

    /// A line of the trace.
    pub(super) fn say(&mut self, who: &str, what: impl FnOnce() -> String) {
        if self.trace.is_written() {
            let what = what();
            self.trace.line(self.now, who, &what);
        }
    }

    /// What an engine does, as a line of the trace.
    pub(super) fn tell(&mut self, engine: usize, what: impl FnOnce() -> String) {
        if self.trace.is_written() {
            let what = what();
            self.trace.line(self.now, &self.engines[engine].name, &what);
        }
    }

    /// The faults that this seed has.
    pub(super) fn fault_names(&self) -> Vec<&'static str> {
        FAULTS.iter().zip(&self.plan.faults).filter(|(_, there)| **there).map(|(fault, _)| fault.name).collect()
    }
}
