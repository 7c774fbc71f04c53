//! One connection that sends, and many that all get it.

use std::time::{Duration, Instant};

use esf_proto::wire::Kind;
use mio::{Events, Interest, Poll, Token};
use serde::{Deserialize, Serialize};

use super::{
    Outcome, STALLED, cpu,
    line::{Batch, EsfReader, Incoming, Line},
};
use crate::{Problem, wire};

/// A group that whoever joins first makes.
const GROUP: &str = "~all";
/// How long nothing comes before it begins. All hear who has joined, and who is online about a second after that, and
/// what the server still has to tell of that is no broadcast.
const QUIET: Duration = Duration::from_millis(1_500);

/// What one process of the generator is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BroadcastSpec {
    /// The server.
    pub address: std::net::SocketAddr,
    /// The server's process.
    pub server: u32,
    /// Whether it speaks ESF; else it gives each WebSocket message to every connection.
    pub esf: bool,
    /// Connections; all of them get what the first one sends, itself too.
    pub connections: usize,
    /// Broadcasts that are under way.
    pub in_flight: usize,
    /// Bytes of a message's body.
    pub body: usize,
    /// How long nothing is counted yet.
    pub warm_up: Duration,
    /// How long is counted.
    pub measure: Duration,
}

/// Broadcasts as the spec says. The messages of the outcome are the copies that arrived.
///
/// # Errors
/// The server cannot be reached, breaks a connection, or stops.
pub fn run(spec: &BroadcastSpec) -> Result<Outcome, Problem> {
    let mut poll = Poll::new()?;
    let mut lines = Vec::with_capacity(spec.connections);
    for at in 0..spec.connections {
        let mut line =
            open(spec, at).map_err(|problem| format!("connection {} of {}: {problem}", at + 1, spec.connections))?;
        poll.registry().register(&mut line.stream, Token(at), Interest::READABLE | Interest::WRITABLE)?;
        lines.push(line);
    }
    let mut buffer = vec![0; 64 * 1024];
    let mut events = Events::with_capacity(1024);
    let mut quiet_since = Instant::now();
    while quiet_since.elapsed() < QUIET {
        if move_bytes(&mut poll, &mut events, &mut lines, &mut buffer)? != (0, false) {
            quiet_since = Instant::now();
        }
    }

    let begin = Instant::now();
    let (mut copies, mut sent) = (0, 0);
    let (mut heard, mut heard_at) = (0, begin);
    let mut window = None;
    loop {
        // One may go for each that has reached everybody.
        let more = copies / spec.connections + spec.in_flight - sent;
        if more > 0 {
            lines[0].send(more)?;
            sent += more;
        }
        copies += move_bytes(&mut poll, &mut events, &mut lines, &mut buffer)?.0;
        let now = Instant::now();
        if copies != heard {
            (heard, heard_at) = (copies, now);
        } else if now - heard_at > STALLED {
            return Err(format!("{copies} copies of {sent} broadcasts, and none for {STALLED:?}").into());
        }
        match window {
            None if now - begin >= spec.warm_up => window = Some((Instant::now(), copies, cpu(spec.server))),
            Some((since, before, (server, own))) if now - since >= spec.measure => {
                let (server_now, own_now) = cpu(spec.server);
                return Ok(Outcome {
                    messages: (copies - before) as u64,
                    seconds: since.elapsed().as_secs_f64(),
                    server_cpu_ns: server_now.saturating_sub(server),
                    load_cpu_ns: own_now.saturating_sub(own),
                });
            }
            _ => {}
        }
    }
}

/// Reads and writes what can be read and written now: copies that came, and whether anything did.
fn move_bytes(
    poll: &mut Poll,
    events: &mut Events,
    lines: &mut [Line],
    buffer: &mut [u8],
) -> Result<(usize, bool), Problem> {
    poll.poll(events, Some(Duration::from_millis(20)))?;
    let (mut copies, mut some) = (0, false);
    for event in &*events {
        let line = &mut lines[event.token().0];
        if event.is_readable() {
            copies += line.read(buffer)?;
            some = true;
        }
        if event.is_writable() {
            line.flush()?;
        }
    }
    Ok((copies, some))
}

fn open(spec: &BroadcastSpec, at: usize) -> Result<Line, Problem> {
    let (name, instance) = (format!("m{at}"), at as u64 + 1);
    // All get what the first one sends.
    let frame = wire::broadcast(("m0", 1), GROUP, spec.body);
    let out = if at == 0 { Batch::whole(&wire::message(&frame), spec.in_flight) } else { Batch::Nothing };
    if !spec.esf {
        let mut stream = wire::connect(spec.address)?;
        wire::upgrade(&mut stream, "/", None)?;
        let head = if frame.len() < 126 { 2 } else { 4 };
        return Line::new(stream, at, out, Incoming::Alike { size: head + frame.len(), first: 0x82, alive: None });
    }
    let mut stream = wire::log_in(spec.address, &name, instance)?;
    std::io::Write::write_all(&mut stream, &wire::message(&wire::join((&name, instance), 1, GROUP)))?;
    // Others may be told to join meanwhile.
    let mut received = 0;
    loop {
        let frame = wire::read_message(&mut stream)?;
        match frame.get(4) {
            Some(kind) if *kind == Kind::Response as u8 => break,
            Some(kind) if *kind == Kind::GroupEvent as u8 => received += 1,
            Some(kind) if *kind == Kind::Count as u8 => {}
            _ => return Err(format!("{name} does not join: {}", frame.escape_ascii()).into()),
        }
    }
    Line::new(stream, at, out, Incoming::Esf(EsfReader::after(received + 1)))
}
