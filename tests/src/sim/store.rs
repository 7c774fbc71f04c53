//! The store of the server's process: slow or quick, well or not. What it has done outlives the server; what it was asked
//! and has not done by the time the server dies is lost.
//!
//! It keeps no more order than the seam asks for: messages are put in the order in which that was asked, and whoever looks
//! for one sees those; everything else is done at some time between question and answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    time::Duration,
};

use esf_driver::store::{MemoryStore, Store as _, StoreAnswer, StoreFailed, StoreLimits, StoreRequest, StoreResponse};
use esf_proto::{
    ids::{DeviceKind, UserId},
    store::{JobId, StoreId},
    time::{Instant, UnixMillis},
};

use super::{
    Event, Sim, Waking,
    letters::Letters,
    people::number_of,
    plan::{PLACES, USERS},
    random::Random,
};

/// Who is woken when the node has a request for its store.
pub(super) const STORE: usize = usize::MAX - 2;
/// What is answered later than this comes too late, by any clock.
const TOO_LATE: Duration = Duration::from_secs(14);
/// What the store has not answered by then, the server has given up.
const GIVEN_UP: Duration = Duration::from_secs(16);
/// A store that is well has answered by then.
const SOON: Duration = Duration::from_secs(1);

/// Of a hundred messages that become durable the server dies with so many, where servers die.
const CRASHES: u64 = 3;

/// How the store is at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It answers soon.
    Well,
    /// In up to so long.
    Slow(Duration),
    /// Not at all; it may do what it was asked.
    Silent,
    /// That it cannot; it may have done it.
    Fails,
    /// Soon, and then once more.
    Twice,
}

/// Something that it was asked.
#[derive(Debug)]
struct Asked {
    life: u64,
    job: JobId,
    request: StoreRequest,
    /// What it will answer, as soon as it is known.
    answer: Option<Result<StoreResponse, StoreFailed>>,
}

/// Something that was asked about the messages to a user, or from one.
#[derive(Debug)]
struct Errand {
    user: usize,
    life: u64,
    job: JobId,
    asked: Instant,
    answered: Option<Instant>,
    /// The server hears in time that it was done.
    well: bool,
}

/// The store, and what is asked of it.
#[derive(Debug)]
pub struct SimStore {
    /// What it has done.
    pub(super) memory: MemoryStore,
    wall: Arc<AtomicU64>,
    pub(super) manner: Manner,
    pub(super) manner_until: Instant,
    /// It ever was not well.
    pub(super) misbehaved: bool,
    asked: Vec<Asked>,
    errands: Vec<Errand>,
    /// When the last message is put that it was asked to.
    puts_until: Instant,
    pub(super) letters: Letters,
    /// How long it takes at most when it is well, in ms.
    quick: u64,
}

impl SimStore {
    pub(super) fn new(random: &Random, wall: &Arc<AtomicU64>) -> Self {
        let mut random = random.apart(5);
        let mut limits = StoreLimits::default();
        limits.max_messages = *random.one_of(&[1_000, 1_000, 30, 6]);
        if random.percent(20) {
            limits.max_age = random.millis(5_000, 40_000);
        }
        let clock = wall.clone();
        let memory = MemoryStore::open(limits.clone()).with_clock(move || UnixMillis(clock.load(Relaxed)));
        Self {
            memory,
            wall: wall.clone(),
            manner: Manner::Well,
            manner_until: Instant::ZERO,
            misbehaved: false,
            asked: Vec::new(),
            errands: Vec::new(),
            puts_until: Instant::ZERO,
            letters: Letters::new(limits),
            quick: *random.one_of(&[20, 20, 400]),
        }
    }

    /// The store is another than it was until then.
    pub(super) fn misbehaves(&mut self, manner: Manner, until: Instant) {
        (self.manner, self.manner_until) = (manner, until);
        self.misbehaved = true;
    }

    /// The server that asked is gone.
    pub(super) fn server_is_gone(&mut self, now: Instant) {
        for errand in &mut self.errands {
            errand.answered.get_or_insert(now);
        }
        // What was asked before is not done any more.
        self.puts_until = now;
    }

    /// Whether messages of a user waited in that time since the store did not say what it has for the user (ESF-353). The
    /// server gives up after 15 s by its clock.
    pub(super) fn held_mail(&self, user: usize, since: Instant, until: Instant) -> bool {
        self.errands.iter().any(|errand| {
            let end = errand.answered.unwrap_or(errand.asked + GIVEN_UP);
            errand.user == user && errand.asked <= until && end >= since && end.since(errand.asked) > SOON
        })
    }

    /// Whether the store did badly in that time what was asked about a user's messages.
    pub(super) fn failed(&self, user: usize, since: Instant, until: Instant) -> bool {
        self.errands.iter().any(|errand| {
            let end = errand.answered.unwrap_or(errand.asked + GIVEN_UP);
            errand.user == user && errand.asked <= until && end >= since && !errand.well
        }) || self.held_mail(user, since, until)
    }

    /// The time of day, as the server has it.
    pub(super) fn wall(&self) -> u64 {
        self.wall.load(Relaxed)
    }

    fn carry_out(&self, request: StoreRequest) -> Result<StoreResponse, StoreFailed> {
        let (says, hears) = mpsc::channel();
        self.memory.submit(request, StoreAnswer::new(move |answer| drop(says.send(answer))));
        hears.try_recv().unwrap_or_else(|_| Err(StoreFailed::new("no answer")))
    }

    /// The messages that wait for a user on a device, by their numbers.
    pub(super) fn waiting(&self, user: usize, device: DeviceKind) -> Vec<StoreId> {
        let Ok(user) = UserId::parse(USERS[user], 64) else { return Vec::new() };
        let most = usize::MAX;
        let all = StoreRequest::Fetch { user, device, after: StoreId(0), max_messages: most, max_bytes: most };
        match self.carry_out(all) {
            Ok(StoreResponse::Messages { messages, .. }) => messages.iter().map(|message| message.id).collect(),
            _ => Vec::new(),
        }
    }
}

/// Whose messages a request is about: who waits for its answer.
fn users_of(request: &StoreRequest) -> [Option<usize>; 2] {
    match request {
        StoreRequest::Put { key, user, .. } => {
            [number_of(user), key.user.as_ref().and_then(|sender| number_of(sender))]
        }
        StoreRequest::Find { key } => [key.user.as_ref().and_then(|sender| number_of(sender)), None],
        StoreRequest::Fetch { user, .. } | StoreRequest::Tried { user, .. } => [number_of(user), None],
        StoreRequest::Confirm { user, .. } => [number_of(user), None],
        _ => [None, None],
    }
}

impl Sim {
    /// Hands the node's requests to the store.
    pub(super) fn turn_store(&mut self) {
        let Some(node) = self.server.node.clone() else { return };
        node.register_store(&Waking::waker(STORE, &self.ready));
        while let Some((job, request)) = node.poll_request() {
            self.trace.mix(job.0);
            self.say("store", || format!("is asked {}: {request:?}", job.0));
            self.store_is_asked(job, request);
            if self.violation.is_some() {
                return;
            }
        }
    }

    /// Decides when the store does something, and when it says so.
    fn store_is_asked(&mut self, job: JobId, request: StoreRequest) {
        let (now, life) = (self.now, self.server.life);
        let manner = if now < self.store.manner_until { self.store.manner } else { Manner::Well };
        let most = match manner {
            Manner::Slow(most) => u64::try_from(most.as_millis()).unwrap_or(0),
            Manner::Silent => 5_000,
            Manner::Well | Manner::Fails | Manner::Twice => self.store.quick,
        };
        let mut answered = self.chance.millis(0, most);
        let mut done = self.chance.millis(0, u64::try_from(answered.as_millis()).unwrap_or(0));
        if manner == Manner::Well && self.is_met(&request) {
            // As long as a login takes, and not so long that it is late.
            done = self.chance.millis(300, 900);
            answered = done;
        }
        let is_done = !matches!(manner, Manner::Silent | Manner::Fails) || self.chance.percent(40);
        if matches!(request, StoreRequest::Put { .. } | StoreRequest::Find { .. }) {
            done = done.max(self.store.puts_until.since(now));
            answered = answered.max(done);
        }
        if is_done && matches!(request, StoreRequest::Put { .. }) {
            self.store.puts_until = now + done;
        }
        let well = answered < TOO_LATE && !matches!(manner, Manner::Silent | Manner::Fails);
        for user in users_of(&request).into_iter().flatten() {
            let errand = Errand { user, life, job, asked: now, answered: None, well };
            self.store.errands.push(errand);
        }
        self.letters_are_asked_for(&request);
        let fails = (manner == Manner::Fails).then(|| Err(StoreFailed::new("it is to fail")));
        let who = if let StoreRequest::Person { user, .. } = &request { number_of(user) } else { None };
        if let Some(user) = who {
            let number = self.store.asked.len();
            self.people.asks_about(user, number);
            if well {
                self.plan_in(answered, Event::Known(user, number));
            }
        }
        if let StoreRequest::Fetch { user, after: StoreId(0), .. } = &request
            && !self.quiet
            && self.chance.percent(60)
            && let Some(user) = number_of(user)
        {
            // Whoever has written to them writes again just then.
            let soon = self.chance.millis(0, u64::try_from(answered.as_millis()).unwrap_or(0).min(500));
            self.plan_in(soon, Event::WritesAgain(user));
        }
        let number = self.store.asked.len();
        self.store.asked.push(Asked { life, job, request, answer: fails });
        if is_done {
            self.plan_in(done, Event::Stores(number));
        }
        let times = match manner {
            Manner::Silent => 0,
            Manner::Twice => 2,
            _ => 1,
        };
        for time in 0..times {
            self.plan_in(answered + Duration::from_millis(time * 70), Event::Stored(number));
        }
    }

    /// Whether something is to happen just while this is done: the receiver of what is to be stored comes back, or
    /// somebody writes to one whose messages are fetched.
    fn is_met(&mut self, request: &StoreRequest) -> bool {
        if self.quiet || !self.chance.percent(20) {
            return false;
        }
        let soon = self.chance.millis(0, 100);
        match request {
            StoreRequest::Put { user, .. } => self.comes_back(user, soon),
            StoreRequest::Fetch { after, .. } => *after == StoreId(0),
            _ => false,
        }
    }

    /// Somebody who is away comes back, to one of the places. Says whether there is one.
    pub(super) fn comes_back(&mut self, user: &UserId, after: Duration) -> bool {
        let empty = |place: &usize| self.at_place[*place].is_none() && *USERS[PLACES[*place].user] == **user;
        let place = (0..self.plan.places).find(empty);
        if let Some(place) = place {
            self.plan_in(after, Event::Start(place));
        }
        place.is_some()
    }

    /// The store does what it was asked, unless the process is gone that had it in its queue.
    pub(super) fn stores(&mut self, number: usize) {
        let asked = &self.store.asked[number];
        if asked.life != self.server.life || self.server.node.is_none() {
            return;
        }
        let request = asked.request.clone();
        self.wall_passes();
        let answer = self.store.carry_out(request.clone());
        let (now, wall) = (self.now, self.store.wall());
        if let Ok(response) = &answer
            && let Some(text) = self.store.letters.is_done(now, wall, &request, response, &self.ledger)
        {
            self.violate("11 stored", text);
        }
        self.say("store", || format!("does {number}: {answer:?}"));
        if let StoreRequest::Put { user, .. } = &request
            && self.has_fault("the server restarts")
            && !self.quiet
            && self.chance.percent(CRASHES)
        {
            let down = self.chance.millis(1, 2_000);
            let back = down + self.chance.millis(0, 1_000);
            self.comes_back(user, back);
            self.server_dies(down);
        }
        // One that fails may have done it all the same.
        self.store.asked[number].answer.get_or_insert(answer);
    }

    /// The store answers.
    pub(super) fn stored(&mut self, number: usize) {
        let (now, asked) = (self.now, &self.store.asked[number]);
        let (life, job) = (asked.life, asked.job);
        let Some(node) = self.server.node.clone().filter(|_| life == self.server.life) else { return };
        let Some(answer) = asked.answer.clone() else { return };
        let request = asked.request.clone();
        self.say("store", || format!("answers {}: {answer:?}", job.0));
        for errand in self.store.errands.iter_mut().rev().filter(|errand| (errand.life, errand.job) == (life, job)) {
            errand.answered.get_or_insert(now);
        }
        self.letters_are_answered(&request);
        node.handle_response(self.server.clock.shows(now), job, answer);
        self.calls += 1;
        self.turn_node();
        // Something may have waited for this longer than its session lived.
        self.turn_applications();
    }
}
