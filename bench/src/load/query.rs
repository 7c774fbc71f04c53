//! Many connections that ask the server's application, and how long each waits for its answer.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token};
use serde::{Deserialize, Serialize};

use super::{
    STALLED, cpu,
    line::{Batch, EsfReader, Incoming, Line},
};
use crate::{Problem, report::percentile, wire};

/// After how long a client says what it has at the latest (ESF-207).
const COUNT_AFTER: Duration = Duration::from_millis(100);

/// What one process of the generator is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QuerySpec {
    /// The server.
    pub address: SocketAddr,
    /// The server's process.
    pub server: u32,
    /// Connections, which ask in turn.
    pub connections: usize,
    /// The loads, one after the other.
    pub loads: Vec<QueryLoad>,
    /// Bytes of a question and of its answer.
    pub body: usize,
    /// How long nothing is counted yet, in each load.
    pub warm_up: Duration,
    /// How long is counted.
    pub measure: Duration,
}

/// How many questions are open at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryLoad {
    /// Connections that wait for answers; when one has all of its own, the next in the row asks.
    pub asking: usize,
    /// Questions that each of them asks at once.
    pub burst: usize,
}

/// What it saw under one load.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct QueryOutcome {
    /// Answers a second.
    pub rate: f64,
    /// Microseconds from the question to the answer: the median, 99 and 99.9 of 100.
    pub p50: f64,
    /// See [`QueryOutcome::p50`].
    pub p99: f64,
    /// See [`QueryOutcome::p50`].
    pub p999: f64,
    /// Nanoseconds that the server was on a processor.
    pub server_cpu_ns: u64,
    /// Nanoseconds that the generator was.
    pub load_cpu_ns: u64,
    /// Answers in all.
    pub answers: u64,
}

impl QueryOutcome {
    /// Microseconds of the server's processor for each answer.
    #[must_use]
    pub fn server_cpu_us(&self) -> f64 {
        self.server_cpu_ns as f64 / 1000.0 / self.answers.max(1) as f64
    }

    /// Microseconds of the generator's.
    #[must_use]
    pub fn load_cpu_us(&self) -> f64 {
        self.load_cpu_ns as f64 / 1000.0 / self.answers.max(1) as f64
    }
}

/// A connection that asks, and waits for all answers before it asks again.
struct Asker {
    line: Line,
    question: Vec<u8>,
    /// Where the query's number stands.
    id_at: usize,
    id: u64,
    open: usize,
    asked: Instant,
    counted: Instant,
}

/// Asks as the spec says, one load after the other on the same connections.
///
/// # Errors
/// The server cannot be reached, breaks a connection, or stops answering.
pub fn run(spec: &QuerySpec) -> Result<Vec<QueryOutcome>, Problem> {
    let mut poll = Poll::new()?;
    let mut askers = Vec::with_capacity(spec.connections);
    for token in 0..spec.connections {
        let mut asker = Asker::open(spec, token)
            .map_err(|problem| format!("connection {} of {}: {problem}", token + 1, spec.connections))?;
        poll.registry().register(&mut asker.line.stream, Token(token), Interest::READABLE | Interest::WRITABLE)?;
        askers.push(asker);
    }
    let mut crowd = Crowd { askers, next: 0 };
    spec.loads.iter().map(|load| crowd.load(&mut poll, spec, *load)).collect()
}

/// All of them, and whose turn it is.
struct Crowd {
    askers: Vec<Asker>,
    next: usize,
}

impl Crowd {
    fn load(&mut self, poll: &mut Poll, spec: &QuerySpec, load: QueryLoad) -> Result<QueryOutcome, Problem> {
        let mut buffer = vec![0; 64 * 1024];
        let mut events = Events::with_capacity(1024);
        let mut waits: Vec<u32> = Vec::new();
        let begin = Instant::now();
        let mut asking = load.asking.min(self.askers.len());
        for _ in 0..asking {
            self.ask(begin, load.burst)?;
        }
        let mut window: Option<(Instant, (u64, u64))> = None;
        let mut result = None;
        let mut heard = begin;
        while asking > 0 {
            poll.poll(&mut events, Some(Duration::from_millis(20)))?;
            let now = Instant::now();
            match window {
                None if now - begin >= spec.warm_up => {
                    waits.clear();
                    window = Some((now, cpu(spec.server)));
                }
                Some((since, (server, own))) if result.is_none() && now - since >= spec.measure => {
                    let (server_now, own_now) = cpu(spec.server);
                    result = Some(outcome(&mut waits, now - since, (server_now - server, own_now - own)));
                }
                _ => {}
            }
            for event in &events {
                let asker = &mut self.askers[event.token().0];
                if event.is_readable() {
                    let answers = asker.line.read(&mut buffer)?;
                    if answers > 0 {
                        asker.open = asker.open.checked_sub(answers).ok_or("an answer to nothing")?;
                        let (done, answered) = (asker.open == 0, Instant::now());
                        let wait = u32::try_from((answered - asker.asked).as_micros())?;
                        waits.extend(std::iter::repeat_n(wait, answers));
                        heard = now;
                        if done && result.is_none() {
                            self.ask(answered, load.burst)?;
                        } else if done {
                            asking -= 1;
                        }
                    }
                }
                if event.is_writable() {
                    self.askers[event.token().0].line.flush()?;
                }
            }
            if now - heard > STALLED {
                return Err(format!("no answer for {STALLED:?}, with {asking} connections asking").into());
            }
        }
        result.ok_or_else(|| "the load ended before it was measured".into())
    }

    /// Lets the next one ask that has no question open.
    fn ask(&mut self, now: Instant, burst: usize) -> Result<(), Problem> {
        for _ in 0..self.askers.len() {
            let at = self.next;
            self.next = (at + 1) % self.askers.len();
            if self.askers[at].open == 0 {
                return self.askers[at].ask(now, burst);
            }
        }
        Err("all connections have a question open".into())
    }
}

impl Asker {
    fn open(spec: &QuerySpec, token: usize) -> Result<Self, Problem> {
        let (name, instance) = (format!("q{token}"), token as u64 + 1);
        let stream = wire::log_in(spec.address, &name, instance)?;
        let line = Line::new(stream, token, Batch::Nothing, Incoming::Esf(EsfReader::default()))?;
        let question = wire::message(&wire::query((&name, instance), 0, spec.body));
        let marked = wire::message(&wire::query((&name, instance), u64::MAX, spec.body));
        let id_at = question.iter().zip(&marked).position(|(a, b)| a != b).ok_or("a query without a number")?;
        let now = Instant::now();
        Ok(Self { line, question, id_at, id: 0, open: 0, asked: now, counted: now })
    }

    fn ask(&mut self, now: Instant, burst: usize) -> Result<(), Problem> {
        let mut bytes = Vec::with_capacity(burst * self.question.len() + 64);
        if now - self.counted >= COUNT_AFTER {
            self.counted = now;
            bytes = self.line.count_now();
        }
        for _ in 0..burst {
            self.id += 1;
            self.question[self.id_at..self.id_at + 8].copy_from_slice(&self.id.to_le_bytes());
            bytes.extend(&self.question);
        }
        (self.open, self.asked) = (burst, now);
        self.line.send_bytes(&bytes)
    }
}

fn outcome(waits: &mut [u32], time: Duration, (server, own): (u64, u64)) -> QueryOutcome {
    waits.sort_unstable();
    QueryOutcome {
        rate: waits.len() as f64 / time.as_secs_f64(),
        p50: percentile(waits, 500),
        p99: percentile(waits, 990),
        p999: percentile(waits, 999),
        server_cpu_ns: server,
        load_cpu_ns: own,
        answers: waits.len() as u64,
    }
}
