//! The load generator: connections in pairs, a fixed number of messages in flight in each.
//!
//! It is a process of its own on a core of its own, and has to be cheaper than what it loads: every byte that it sends
//! is made before, and what it receives is counted by its length wherever all messages are alike. One generator serves
//! limits, subject and peers, so that they see the same pattern.

mod blob;
mod broadcast;
mod frames;
mod line;
mod others;
mod query;
mod stored;
mod talk;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token};
use serde::{Deserialize, Serialize};

pub use blob::{BlobOutcome, BlobSpec, run as run_blob};
pub use broadcast::{BroadcastSpec, run as run_broadcast};
pub use others::{GROUP, OthersOutcome, OthersSpec, run as run_others};
pub use query::{QueryLoad, QueryOutcome, QuerySpec, run as run_queries};
pub use stored::{StoredOutcome, StoredSpec, run as run_stored};
pub use talk::Talk;

use crate::{Problem, process};

/// What one process of the generator is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    /// The server.
    pub address: SocketAddr,
    /// The server's process, whose processor time is looked at.
    pub server: u32,
    /// What is spoken.
    pub talk: Talk,
    /// Pairs of a sender and a receiver; of echoing connections, connections.
    pub pairs: usize,
    /// Messages of a pair that are under way; one more may go when the receiver has one.
    pub in_flight: usize,
    /// Bytes of a message's body.
    pub body: usize,
    /// How long nothing is counted yet.
    pub warm_up: Duration,
    /// How long is counted.
    pub measure: Duration,
}

/// What it saw.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Outcome {
    /// Messages that arrived.
    pub messages: u64,
    /// In how many seconds.
    pub seconds: f64,
    /// Nanoseconds that the server was on a processor.
    pub server_cpu_ns: u64,
    /// Nanoseconds that the generator was.
    pub load_cpu_ns: u64,
}

impl Outcome {
    /// Messages a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.messages as f64 / self.seconds
    }

    /// Microseconds of the server's processor for a message.
    #[must_use]
    pub fn server_cpu_us(&self) -> f64 {
        self.server_cpu_ns as f64 / 1000.0 / self.messages.max(1) as f64
    }
}

/// After how long without a message something is wrong.
const STALLED: Duration = Duration::from_secs(5);

/// Loads the server as the spec says.
///
/// # Errors
/// The server cannot be reached, breaks a connection, or stops answering.
pub fn run(spec: &Spec) -> Result<Outcome, Problem> {
    let mut poll = Poll::new()?;
    let mut lines = talk::open(spec)?;
    for (token, line) in lines.iter_mut().enumerate() {
        poll.registry().register(&mut line.stream, Token(token), Interest::READABLE | Interest::WRITABLE)?;
    }
    for line in lines.iter_mut().filter(|line| line.sends()) {
        line.send(spec.in_flight)?;
    }

    let mut buffer = vec![0; 64 * 1024];
    let mut events = Events::with_capacity(1024);
    let mut messages = 0;
    let begin = Instant::now();
    let (mut heard, mut heard_at) = (0, begin);
    let mut window = None;
    loop {
        poll.poll(&mut events, Some(Duration::from_millis(20)))?;
        for event in &events {
            let at = event.token().0;
            if event.is_readable() {
                let arrived = lines[at].read(&mut buffer)?;
                if arrived > 0 {
                    messages += arrived as u64;
                    let partner = lines[at].partner;
                    lines[partner].send(arrived)?;
                }
            }
            if event.is_writable() {
                lines[at].flush()?;
            }
        }
        let now = Instant::now();
        if messages != heard {
            (heard, heard_at) = (messages, now);
        } else if now - heard_at > STALLED {
            return Err(format!("no message arrived for {STALLED:?}, after {messages}").into());
        }
        match window {
            None if now - begin >= spec.warm_up => window = Some((Instant::now(), messages, cpu(spec.server))),
            Some((since, before, (server, own))) if now - since >= spec.measure => {
                let (server_now, own_now) = cpu(spec.server);
                return Ok(Outcome {
                    messages: messages - before,
                    seconds: since.elapsed().as_secs_f64(),
                    server_cpu_ns: server_now.saturating_sub(server),
                    load_cpu_ns: own_now.saturating_sub(own),
                });
            }
            _ => {}
        }
    }
}

fn cpu(server: u32) -> (u64, u64) {
    (process::cpu_ns(server), process::cpu_ns(std::process::id()))
}
