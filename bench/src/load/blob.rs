//! One blob from client to client, and the same bytes over raw TCP.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::SocketAddr,
    time::{Duration, Instant},
};

use esf_proto::wire::Kind;
use mio::{Events, Interest, Poll, Token, net::TcpStream};
use serde::{Deserialize, Serialize};

use super::{
    STALLED, cpu,
    frames::{FrameReader, Seen},
};
use crate::{Problem, wire};

/// Bytes of a fragment: the most that there may be (ESF-342).
const FRAGMENT: usize = 16 * 1024;
/// Bytes that may be under way beyond what the other side holds, and after how many it says so (ESF-341).
const WINDOW: u64 = 256 * 1024;
const CREDIT_STEP: u64 = 64 * 1024;
/// A fragment's frame without its data, and where in it the offset stands.
const FRAGMENT_HEAD: usize = 24;
const OFFSET_AT: usize = 15;
const LAST_AT: usize = 23;
/// What the blob is called on the wire.
const STREAM: u64 = 0x5EED_5EED;
const ID: u64 = 1;

const SENDER_NAME: &str = "a";
const RECEIVER_NAME: &str = "b";
const SENDER: Token = Token(0);
const RECEIVER: Token = Token(1);

/// What one process of the generator is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BlobSpec {
    /// The server.
    pub address: SocketAddr,
    /// The server's process.
    pub server: u32,
    /// Whether it is a relay of raw TCP.
    pub raw: bool,
    /// Bytes of the blob; without it, it goes on until it was measured.
    pub total: Option<u64>,
    /// How long nothing is counted yet.
    pub warm_up: Duration,
    /// How long is counted.
    pub measure: Duration,
}

/// What it saw.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct BlobOutcome {
    /// Bytes of the blob that arrived.
    pub bytes: u64,
    /// In how many seconds.
    pub seconds: f64,
    /// Nanoseconds that the server was on a processor.
    pub server_cpu_ns: u64,
    /// Nanoseconds that the generator was.
    pub load_cpu_ns: u64,
}

/// The two clients.
struct Pair {
    sender: Side,
    receiver: Side,
    /// Their engines.
    instances: (u64, u64),
    /// What the sender may still send, as one buffer of whole fragments.
    fragments: Vec<u8>,
    raw: bool,
    total: u64,
    /// Bytes that were sent, and up to where more may be.
    next: u64,
    until: u64,
    /// Bytes that arrived, and how many of them the receiver has told.
    held: u64,
    told: u64,
    ended: bool,
    acked: bool,
}

struct Side {
    stream: TcpStream,
    frames: FrameReader,
    backlog: Vec<u8>,
}

/// Sends as the spec says.
///
/// # Errors
/// The server cannot be reached, breaks a connection, or stops.
pub fn run(spec: &BlobSpec) -> Result<BlobOutcome, Problem> {
    let mut poll = Poll::new()?;
    let mut pair = Pair::open(spec)?;
    for (token, side) in [(SENDER, &mut pair.sender), (RECEIVER, &mut pair.receiver)] {
        poll.registry().register(&mut side.stream, token, Interest::READABLE | Interest::WRITABLE)?;
    }
    let mut buffer = vec![0; 256 * 1024];
    let mut events = Events::with_capacity(16);
    let begin = Instant::now();
    let (mut heard, mut heard_at) = (0, begin);
    let mut window = spec.total.map(|_| (begin, 0, cpu(spec.server)));
    loop {
        poll.poll(&mut events, Some(Duration::from_millis(20)))?;
        for event in &events {
            if event.is_writable() {
                pair.flush(event.token())?;
            }
            if event.is_readable() {
                pair.read(event.token(), &mut buffer)?;
            }
        }
        pair.send()?;
        let now = Instant::now();
        if pair.held != heard {
            (heard, heard_at) = (pair.held, now);
        } else if now - heard_at > STALLED {
            return Err(format!("the blob stands still after {} bytes", pair.held).into());
        }
        let over = match (spec.total, window) {
            (Some(_), _) => pair.acked,
            (None, Some((since, ..))) => now - since >= spec.measure,
            (None, None) => {
                if now - begin >= spec.warm_up {
                    window = Some((now, pair.held, cpu(spec.server)));
                }
                false
            }
        };
        if let Some((since, before, (server, own))) = window.filter(|_| over) {
            let (server_now, own_now) = cpu(spec.server);
            return Ok(BlobOutcome {
                bytes: pair.held - before,
                seconds: since.elapsed().as_secs_f64(),
                server_cpu_ns: server_now.saturating_sub(server),
                load_cpu_ns: own_now.saturating_sub(own),
            });
        }
    }
}

impl Pair {
    fn open(spec: &BlobSpec) -> Result<Self, Problem> {
        // A server that has seen an earlier process of the generator takes this for other engines, which they are.
        let instance = u64::from(std::process::id()) * 2;
        let instances = (instance, instance + 1);
        let (sender, receiver) = if spec.raw {
            (wire::connect(spec.address)?, wire::connect(spec.address)?)
        } else {
            let receiver = wire::log_in(spec.address, RECEIVER_NAME, instances.1)?;
            (wire::log_in(spec.address, SENDER_NAME, instances.0)?, receiver)
        };
        let fragment = wire::message(&wire::fragment(STREAM, 0, false, &[7; FRAGMENT]));
        let mut pair = Self {
            sender: Side::new(sender)?,
            receiver: Side::new(receiver)?,
            instances,
            fragments: fragment.repeat((WINDOW as usize).div_ceil(FRAGMENT)),
            raw: spec.raw,
            total: spec.total.unwrap_or(u64::MAX),
            next: 0,
            until: if spec.raw { u64::MAX } else { 0 },
            held: 0,
            told: 0,
            ended: false,
            acked: false,
        };
        if !spec.raw {
            let offer = wire::blob_offer(pair.from(), RECEIVER_NAME, ID, STREAM, spec.total);
            pair.sender.write(&wire::message(&offer))?;
        }
        Ok(pair)
    }

    fn from(&self) -> (&'static str, u64) {
        (SENDER_NAME, self.instances.0)
    }

    /// Sends what may be sent and what the socket takes.
    fn send(&mut self) -> Result<(), Problem> {
        let frame = self.fragments.len() / (WINDOW as usize / FRAGMENT);
        let head = frame - FRAGMENT;
        while self.sender.backlog.is_empty() && self.next < self.until.min(self.total) {
            if self.raw {
                let written = self.sender.write_some(&self.fragments)?;
                self.next += written as u64;
                if written < self.fragments.len() {
                    break;
                }
                continue;
            }
            // As many whole fragments as go; the last of all may be short.
            let whole = (self.until.min(self.total) - self.next) / FRAGMENT as u64;
            let count = (whole as usize).min(self.fragments.len() / frame);
            for (at, fragment) in self.fragments.chunks_mut(frame).take(count).enumerate() {
                let offset = self.next + (at * FRAGMENT) as u64;
                let esf = head - FRAGMENT_HEAD;
                fragment[esf + OFFSET_AT..esf + OFFSET_AT + 8].copy_from_slice(&offset.to_le_bytes());
                fragment[esf + LAST_AT] = u8::from(offset + FRAGMENT as u64 == self.total);
            }
            self.sender.write(&self.fragments[..count * frame])?;
            self.next += (count * FRAGMENT) as u64;
            let rest = self.total - self.next;
            if rest < FRAGMENT as u64 && rest > 0 && self.next + rest <= self.until {
                let fragment = wire::fragment(STREAM, self.next, true, &vec![7; rest as usize]);
                self.sender.write(&wire::message(&fragment))?;
                self.next = self.total;
            } else if count == 0 {
                break;
            }
            if self.next == self.total {
                let end = wire::blob_end(self.from(), RECEIVER_NAME, ID, STREAM, self.total);
                self.sender.write(&wire::message(&end))?;
            }
        }
        Ok(())
    }

    fn flush(&mut self, side: Token) -> Result<(), Problem> {
        if side == SENDER { self.sender.flush() } else { self.receiver.flush() }
    }

    fn read(&mut self, token: Token, buffer: &mut [u8]) -> Result<(), Problem> {
        loop {
            let side = if token == SENDER { &mut self.sender } else { &mut self.receiver };
            let read = match side.stream.read(buffer) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            if self.raw {
                self.held += read as u64;
            } else if token == SENDER {
                let (until, acked) = (&mut self.until, &mut self.acked);
                let answer = self.sender.frames.read(&buffer[..read], |seen| sender_hears(seen, until, acked))?;
                self.sender.write(&answer)?;
            } else {
                let (held, ended) = (&mut self.held, &mut self.ended);
                let mut offered = false;
                let found = |seen: Seen<'_>| receiver_hears(seen, held, &mut offered, ended);
                let mut answer = self.receiver.frames.read(&buffer[..read], found)?;
                if offered || self.held - self.told >= CREDIT_STEP || self.ended {
                    self.told = self.held;
                    answer.extend(wire::message(&wire::credit(STREAM, self.held)));
                }
                if self.ended && self.held == self.total {
                    // Once.
                    self.ended = false;
                    answer.extend(wire::message(&wire::ack((RECEIVER_NAME, self.instances.1), self.from(), ID)));
                }
                self.receiver.write(&answer)?;
            }
            if read < buffer.len() {
                return Ok(());
            }
        }
    }
}

fn sender_hears(seen: Seen<'_>, until: &mut u64, acked: &mut bool) -> Result<(), Problem> {
    const CREDIT: u8 = Kind::Credit as u8;
    const ACK: u8 = Kind::Ack as u8;
    const COUNT: u8 = Kind::Count as u8;
    match seen.kind() {
        CREDIT => {
            let offset = seen.prefix.get(OFFSET_AT..OFFSET_AT + 8).ok_or("a torn credit")?;
            *until = u64::from_le_bytes(offset.try_into()?) + WINDOW;
        }
        ACK => *acked = true,
        COUNT => {}
        _ => return Err(format!("the server says {}", seen.prefix.escape_ascii()).into()),
    }
    Ok(())
}

fn receiver_hears(seen: Seen<'_>, held: &mut u64, offered: &mut bool, ended: &mut bool) -> Result<(), Problem> {
    const FRAGMENT: u8 = Kind::Fragment as u8;
    const OFFER: u8 = Kind::BlobOffer as u8;
    const END: u8 = Kind::BlobEnd as u8;
    const COUNT: u8 = Kind::Count as u8;
    match seen.kind() {
        FRAGMENT => *held += (seen.len - FRAGMENT_HEAD) as u64,
        OFFER => *offered = true,
        END => *ended = true,
        COUNT => {}
        _ => return Err(format!("the server says {}", seen.prefix.escape_ascii()).into()),
    }
    Ok(())
}

impl Side {
    fn new(stream: std::net::TcpStream) -> Result<Self, Problem> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream: TcpStream::from_std(stream), frames: FrameReader::default(), backlog: Vec::new() })
    }

    /// Writes what the socket takes now, and keeps the rest.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let written = if self.backlog.is_empty() { self.write_some(bytes)? } else { 0 };
        self.backlog.extend_from_slice(&bytes[written..]);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Problem> {
        let waiting = std::mem::take(&mut self.backlog);
        self.write(&waiting)
    }

    /// Writes until the socket takes no more; how many bytes that were.
    fn write_some(&mut self, bytes: &[u8]) -> Result<usize, Problem> {
        let mut written = 0;
        while written < bytes.len() {
            match self.stream.write(&bytes[written..]) {
                Ok(more) => written += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(written)
    }
}
