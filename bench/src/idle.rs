//! What a connection holds in memory while nothing happens on it.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use esf_proto::wire::{Frame, Frames};
use serde::{Deserialize, Serialize};
use tungstenite::{Error, Message, WebSocket, protocol::Role};

use crate::{
    Plan, Problem,
    process::{LOAD_CORE, Running, pinned, resident},
    report::{Report, Row},
    subject::Subject,
    wire,
};

/// What each connection has sent and received before it is idle.
const BODIES: [(&str, usize); 2] = [("64B", 64), ("64KiB", 64 * 1024)];
/// How often an idle client looks for a ping.
const LOOK: Duration = Duration::from_secs(4);

/// What the clients' process is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IdleSpec {
    /// The server.
    pub address: SocketAddr,
    /// Connections.
    pub connections: usize,
    /// Bytes of the message that each sends to the next one.
    pub body: usize,
}

/// The server's resident memory a connection, some time after each has sent and received one message.
///
/// # Errors
/// A server or the clients fail.
pub fn run(plan: &Plan, report: &mut Report) -> Result<(), Problem> {
    for (size, body) in BODIES {
        let subject = Subject::esf(plan)?;
        let before = resident(subject.process.id())?;
        let spec = IdleSpec { address: subject.address, connections: plan.idle, body };
        let mut command = pinned(LOAD_CORE, std::env::current_exe()?);
        let mut clients = Running::start(command.arg("load-idle").arg(serde_json::to_string(&spec)?))?;
        clients.word_after("ready")?;
        let busy = resident(subject.process.id())?;
        thread::sleep(plan.rest);
        let after = resident(subject.process.id())?;
        let each = |now: u64| now.saturating_sub(before) as f64 / plan.idle as f64;
        eprintln!(
            "{} connections after {size}: {:.0} bytes each at once, {:.0} bytes after {:?}",
            plan.idle,
            each(busy),
            each(after),
            plan.rest
        );
        report.results.push(Row::new(format!("idle/{size}"), each(after), "bytes"));
    }
    if plan.rest < Duration::from_secs(60) {
        report.notes.push(format!("idle: the memory was looked at after {:?} instead of 60 s", plan.rest));
    }
    Ok(())
}

/// The clients: logs in, lets each send a message to the next, says that it is ready, and answers pings for ever.
///
/// # Errors
/// The server breaks a connection.
pub fn clients(spec: &IdleSpec, ready: impl FnOnce()) -> Result<(), Problem> {
    let name = |at: usize| format!("i{}", at % spec.connections);
    let mut sockets = Vec::with_capacity(spec.connections);
    for at in 0..spec.connections {
        let stream = wire::log_in(spec.address, &name(at), at as u64 + 1)
            .map_err(|problem| format!("connection {} of {}: {problem}", at + 1, spec.connections))?;
        sockets.push(WebSocket::from_raw_socket(stream, Role::Client, None));
    }
    for at in 0..sockets.len() {
        let message = wire::plain((&name(at), at as u64 + 1), &name(at + 1), spec.body);
        sockets[at].send(Message::Binary(message))?;
        let next = (at + 1) % spec.connections;
        receive(&mut sockets[next])?;
    }
    for socket in &mut sockets {
        socket.get_mut().set_nonblocking(true)?;
    }
    ready();
    loop {
        sockets.iter_mut().try_for_each(answer_pings)?;
        thread::sleep(LOOK);
    }
}

/// Waits for the message and says that it is here.
fn receive(socket: &mut WebSocket<TcpStream>) -> Result<(), Problem> {
    loop {
        let Message::Binary(bytes) = socket.read()? else { continue };
        for frame in Frames::new(bytes, usize::MAX) {
            let frame = frame?;
            match frame.decode()? {
                Frame::Send { .. } => {
                    let taken = u32::try_from(frame.len())?;
                    socket.send(Message::Binary(wire::count(1, taken)))?;
                    return Ok(());
                }
                Frame::Close { reason, .. } => return Err(format!("the server closed: {reason:?}").into()),
                _ => {}
            }
        }
    }
}

fn answer_pings(socket: &mut WebSocket<TcpStream>) -> Result<(), Problem> {
    loop {
        match socket.read() {
            Ok(Message::Ping(_)) => socket.flush()?,
            Ok(_) => {}
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
