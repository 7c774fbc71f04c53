//! How long a message of others takes while a broadcast is under way.

use std::{
    fs,
    net::SocketAddr,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token};
use serde::{Deserialize, Serialize};

use super::{
    STALLED,
    line::{Batch, EsfReader, Incoming, Line},
};
use crate::{Problem, report::percentile, wire};

/// The group that the server has everybody in whose name begins with `m`.
pub const GROUP: &str = "all";
/// Between two messages of the others, and between two broadcasts.
const PACE: Duration = Duration::from_millis(1);
const PAUSE: Duration = Duration::from_millis(20);

/// What one process of the generator is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OthersSpec {
    /// The server.
    pub address: SocketAddr,
    /// Members of the group that is broadcast to.
    pub members: usize,
    /// Whether there are broadcasts.
    pub broadcasts: bool,
    /// Bytes of a message's body.
    pub body: usize,
    /// How long nothing is counted yet.
    pub warm_up: Duration,
    /// How long is counted.
    pub measure: Duration,
}

/// What it saw.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct OthersOutcome {
    /// Messages of the others that count: if there are broadcasts, those during one.
    pub messages: usize,
    /// Microseconds that they took: the median, and 99 of 100.
    pub p50: f64,
    /// See [`OthersOutcome::p50`].
    pub p99: f64,
    /// Broadcasts that reached all, and in how many milliseconds in the mean.
    pub broadcasts: u64,
    /// See [`OthersOutcome::broadcasts`].
    pub each_ms: f64,
}

#[derive(Default)]
struct Shared {
    under_way: AtomicBool,
    over: AtomicBool,
    broadcasts: AtomicU64,
    micros: AtomicU64,
}

/// Measures as the spec says: a thread for the members, and one for two others, who come first.
///
/// # Errors
/// The server cannot be reached, breaks a connection, or stops.
pub fn run(spec: &OthersSpec) -> Result<OthersOutcome, Problem> {
    let shared = Shared::default();
    let mut members = Crowd::open(spec)?;
    thread::scope(|scope| {
        let crowd = scope.spawn(|| {
            let ended = if spec.broadcasts { members.broadcast(&shared) } else { Ok(()) };
            shared.over.store(true, SeqCst);
            ended
        });
        let waits = talk(spec, &shared);
        shared.over.store(true, SeqCst);
        crowd.join().map_err(|_| "the members' thread panicked")??;
        let mut waits = waits?;
        waits.sort_unstable();
        let broadcasts = shared.broadcasts.load(SeqCst);
        Ok(OthersOutcome {
            messages: waits.len(),
            p50: percentile(&waits, 500),
            p99: percentile(&waits, 990),
            broadcasts,
            each_ms: shared.micros.load(SeqCst) as f64 / 1000.0 / broadcasts.max(1) as f64,
        })
    })
}

/// One writes to the other, one message at a time.
fn talk(spec: &OthersSpec, shared: &Shared) -> Result<Vec<u32>, Problem> {
    let frame = wire::plain(("a", 1), "b", spec.body);
    let sender = wire::log_in(spec.address, "a", 1)?;
    let receiver = wire::log_in(spec.address, "b", 2)?;
    let esf = || Incoming::Esf(EsfReader::default());
    let mut sender = Line::new(sender, 0, Batch::whole(&wire::message(&frame), 1), esf())?;
    let mut receiver = Line::new(receiver, 0, Batch::Nothing, esf())?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut sender.stream, Token(0), Interest::READABLE)?;
    poll.registry().register(&mut receiver.stream, Token(1), Interest::READABLE)?;
    let (mut events, mut buffer, mut waits) = (Events::with_capacity(4), vec![0; 64 * 1024], Vec::new());
    let begin = Instant::now();
    while begin.elapsed() < spec.warm_up + spec.measure {
        let counts = begin.elapsed() >= spec.warm_up;
        let during = shared.under_way.load(SeqCst);
        let sent = Instant::now();
        sender.send(1)?;
        let mut arrived = 0;
        while arrived == 0 {
            poll.poll(&mut events, Some(STALLED))?;
            if events.is_empty() {
                return Err(format!("a message takes more than {STALLED:?}").into());
            }
            for event in &events {
                if event.token().0 == 1 {
                    arrived += receiver.read(&mut buffer)?;
                } else {
                    sender.read(&mut buffer)?;
                }
            }
        }
        if counts && (during || !spec.broadcasts) {
            waits.push(u32::try_from(sent.elapsed().as_micros())?);
        }
        thread::sleep(PACE);
    }
    Ok(waits)
}

/// The members, of whom the first one sends.
struct Crowd {
    poll: Poll,
    lines: Vec<Line>,
}

impl Crowd {
    fn open(spec: &OthersSpec) -> Result<Self, Problem> {
        let poll = Poll::new()?;
        let mut lines = Vec::with_capacity(spec.members);
        for at in 0..spec.members {
            let (name, instance) = (format!("m{at}"), at as u64 + 10);
            let stream = wire::log_in(spec.address, &name, instance)?;
            let frame = wire::broadcast((&name, instance), GROUP, spec.body);
            let out = if at == 0 { Batch::whole(&wire::message(&frame), 1) } else { Batch::Nothing };
            let mut line = Line::new(stream, at, out, Incoming::Esf(EsfReader::default()))?;
            poll.registry().register(&mut line.stream, Token(at), Interest::READABLE)?;
            lines.push(line);
        }
        Ok(Self { poll, lines })
    }

    /// One broadcast after the other, until it is over.
    fn broadcast(&mut self, shared: &Shared) -> Result<(), Problem> {
        give_way();
        let (mut events, mut buffer) = (Events::with_capacity(1024), vec![0; 64 * 1024]);
        while !shared.over.load(SeqCst) {
            thread::sleep(PAUSE);
            let begin = Instant::now();
            shared.under_way.store(true, SeqCst);
            self.lines[0].send(1)?;
            let mut copies = 0;
            while copies < self.lines.len() {
                self.poll.poll(&mut events, Some(STALLED))?;
                if events.is_empty() {
                    return Err(format!("{copies} copies, and none for {STALLED:?}").into());
                }
                for event in &events {
                    copies += self.lines[event.token().0].read(&mut buffer)?;
                }
            }
            shared.under_way.store(false, SeqCst);
            shared.broadcasts.fetch_add(1, SeqCst);
            shared.micros.fetch_add(u64::try_from(begin.elapsed().as_micros())?, SeqCst);
        }
        Ok(())
    }
}

/// From here on this thread takes only what others leave, so that what it reads delays nobody here. Where that cannot be
/// had the others seem slower than they are.
fn give_way() {
    let Ok(own) = fs::read_link("/proc/thread-self") else { return };
    let Some(thread) = own.file_name() else { return };
    let _ = Command::new("renice").args(["-n", "19", "-p"]).arg(thread).stdout(Stdio::null()).status();
}
