//! A few connections whose messages are for people who are away, and how long each waits until its message is stored.

use std::{
    collections::VecDeque,
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

/// What one process of the generator is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredSpec {
    /// The server.
    pub address: SocketAddr,
    /// The server's process.
    pub server: u32,
    /// Connections that send.
    pub senders: usize,
    /// Users who are away, one after the other the next to be written to.
    pub receivers: usize,
    /// Messages of each connection that wait for their answer.
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
pub struct StoredOutcome {
    /// Messages that were answered, a second.
    pub rate: f64,
    /// Microseconds from a message to its answer: the median, and 99 of 100.
    pub p50: f64,
    /// See [`StoredOutcome::p50`].
    pub p99: f64,
    /// Microseconds of the server's processor for each.
    pub server_cpu_us: f64,
    /// Microseconds of the generator's.
    pub load_cpu_us: f64,
}

/// A connection that sends.
struct Sender {
    line: Line,
    message: Vec<u8>,
    /// Where the message's number stands, and the digits of its receiver.
    id_at: usize,
    to_at: usize,
    id: u64,
    /// When those were sent that have no answer. The store answers in order.
    open: VecDeque<Instant>,
}

/// Sends as the spec says.
///
/// # Errors
/// The server cannot be reached, breaks a connection, does not store a message, or stops answering.
pub fn run(spec: &StoredSpec) -> Result<StoredOutcome, Problem> {
    let mut poll = Poll::new()?;
    let mut senders = Vec::with_capacity(spec.senders);
    for at in 0..spec.senders {
        let mut sender = Sender::open(spec, at)?;
        poll.registry().register(&mut sender.line.stream, Token(at), Interest::READABLE | Interest::WRITABLE)?;
        senders.push(sender);
    }
    let mut next = 0;
    for sender in &mut senders {
        sender.send(spec.in_flight, &mut next, spec.receivers)?;
    }

    let mut buffer = vec![0; 64 * 1024];
    let mut events = Events::with_capacity(1024);
    let mut waits: Vec<u32> = Vec::new();
    let begin = Instant::now();
    let mut heard = begin;
    let mut window: Option<(Instant, (u64, u64))> = None;
    loop {
        poll.poll(&mut events, Some(Duration::from_millis(20)))?;
        for event in &events {
            let sender = &mut senders[event.token().0];
            if event.is_readable() {
                let answers = sender.line.read(&mut buffer)?;
                if answers > 0 {
                    heard = Instant::now();
                    for _ in 0..answers {
                        let sent = sender.open.pop_front().ok_or("an answer to nothing")?;
                        waits.push(u32::try_from((heard - sent).as_micros())?);
                    }
                    sender.send(answers, &mut next, spec.receivers)?;
                }
            }
            if event.is_writable() {
                sender.line.flush()?;
            }
        }
        let now = Instant::now();
        if now - heard > STALLED {
            return Err(format!("no message was stored for {STALLED:?}, after {}", waits.len()).into());
        }
        match window {
            None if now - begin >= spec.warm_up => {
                waits.clear();
                window = Some((Instant::now(), cpu(spec.server)));
            }
            Some((since, (server, own))) if now - since >= spec.measure => {
                let (server_now, own_now) = cpu(spec.server);
                let each = |ns: u64| ns as f64 / 1000.0 / waits.len().max(1) as f64;
                let (server_cpu_us, load_cpu_us) = (each(server_now - server), each(own_now - own));
                let rate = waits.len() as f64 / since.elapsed().as_secs_f64();
                waits.sort_unstable();
                let (p50, p99) = (percentile(&waits, 500), percentile(&waits, 990));
                return Ok(StoredOutcome { rate, p50, p99, server_cpu_us, load_cpu_us });
            }
            _ => {}
        }
    }
}

impl Sender {
    fn open(spec: &StoredSpec, at: usize) -> Result<Self, Problem> {
        let (name, instance) = (format!("s{at}"), at as u64 + 1);
        let stream = wire::log_in(spec.address, &name, instance)?;
        let line = Line::new(stream, at, Batch::Nothing, Incoming::Esf(EsfReader::default()))?;
        let message = |to: usize, id| wire::message(&wire::storable((&name, instance), &receiver(to), id, spec.body));
        let (bytes, marked) = (message(0, 0), message(11_111_111, u64::MAX));
        let mut differs = bytes.iter().zip(&marked).enumerate().filter(|(_, (one, other))| one != other);
        let (to_at, _) = differs.next().ok_or("a message without a receiver")?;
        let (id_at, _) = differs.nth(DIGITS - 1).ok_or("a message without a number")?;
        Ok(Self { line, message: bytes, id_at, to_at, id: 0, open: VecDeque::new() })
    }

    fn send(&mut self, messages: usize, next: &mut usize, receivers: usize) -> Result<(), Problem> {
        let mut bytes = Vec::with_capacity(messages * self.message.len());
        for _ in 0..messages {
            self.id += 1;
            self.message[self.id_at..self.id_at + 8].copy_from_slice(&self.id.to_le_bytes());
            self.message[self.to_at..self.to_at + DIGITS].copy_from_slice(&receiver(*next).as_bytes()[1..]);
            *next = (*next + 1) % receivers;
            bytes.extend(&self.message);
        }
        self.open.extend(std::iter::repeat_n(Instant::now(), messages));
        self.line.send_bytes(&bytes)
    }
}

/// Digits in the name of a receiver, so that all of them are as long.
const DIGITS: usize = 8;

fn receiver(at: usize) -> String {
    format!("r{at:0DIGITS$}")
}
