//! One end of one link: what the driver's loop does between a machine and its transport, over a simulated line.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use esf_driver::{
    endpoint::Endpoint,
    pump::Pump,
    socket::{Incoming, SocketError},
    step::{Drain, Step},
};
use esf_proto::{close::CloseReason, session::frames::FrameBytes, time::Instant};

use super::{
    line::{Item, Line},
    random::Random,
};

/// Which end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The client's.
    Client,
    /// The server's.
    Server,
}

/// The largest message before a machine says what it takes.
const FIRST: usize = 8 * 1024;

/// The state of the loop of one end.
#[derive(Debug)]
pub struct End {
    drain: Drain,
    told_flushed: Option<u64>,
    /// How many frames go into one message at most.
    coalesce: usize,
    waiting: Vec<Bytes>,
    waiting_bytes: usize,
    /// The WebSocket, in the form that has one.
    websocket: Option<WebSocket>,
}

/// A WebSocket over a line, and how its bytes are torn.
#[derive(Debug)]
struct WebSocket {
    pump: Pump,
    torn: Random,
    bytes: Vec<u8>,
}

/// What one turn did.
#[derive(Debug, Default)]
pub struct Turn {
    /// Something went out, or changed.
    pub moved: bool,
    /// The end is over.
    pub over: bool,
    /// Why the machine closes, once it has said so.
    pub closing: Option<Option<CloseReason>>,
    /// When its timers want another turn, by its own clock.
    pub wait: Option<Instant>,
    /// Calls into the machine.
    pub calls: u64,
    /// A fragment went out while bytes before it were not flushed.
    pub bulk_ahead: bool,
    /// A timer was due right after it had fired.
    pub spins: bool,
}

/// Frames of a turn at most: a machine that never stops is a fault.
const MOST: usize = 200_000;
const FRAGMENT: u8 = 0x0B;
/// Bytes of several frames in one message at most (ESF-018).
const LARGEST: usize = 64 * 1024;

impl End {
    /// An end whose loop puts so many frames into one message at most.
    #[must_use]
    pub fn new(coalesce: usize) -> Self {
        Self {
            drain: Drain::default(),
            told_flushed: None,
            coalesce,
            waiting: Vec::new(),
            waiting_bytes: 0,
            websocket: None,
        }
    }

    /// The same with a WebSocket below, whose bytes arrive in pieces of any length.
    #[must_use]
    pub fn over_websocket(self, role: Role, torn: Random) -> Self {
        let pump = if role == Role::Client { Pump::client(FIRST) } else { Pump::server(FIRST) };
        Self { websocket: Some(WebSocket { pump, torn, bytes: Vec::new() }), ..self }
    }

    /// What the bytes that arrived mean; `line` is for what the WebSocket answers by itself.
    pub fn unpack(&mut self, now: Instant, bytes: &[u8], limit: usize, line: &mut Line, into: &mut VecDeque<Item>) {
        let Some(WebSocket { pump, .. }) = &mut self.websocket else { return };
        pump.set_max_message(limit);
        pump.handle_bytes(bytes);
        loop {
            into.push_back(match pump.poll_incoming() {
                Ok(None) => break,
                Ok(Some(Incoming::Message(message))) => Item::Message(message),
                Ok(Some(Incoming::Text)) => Item::Text,
                Ok(Some(Incoming::Control)) => Item::Pong,
                Ok(Some(Incoming::Close(code))) => Item::Close(code),
                Err(SocketError::Ended) => Item::End,
                // No honest end breaks the WebSocket, or says more than it may.
                Err(error) => Item::Wrong(format!("{error:?}")),
            });
            if matches!(into.back(), Some(Item::End | Item::Wrong(_))) {
                break;
            }
        }
        self.write_out(now, line);
    }

    /// Puts what the WebSocket has onto the line, torn anywhere.
    fn write_out(&mut self, now: Instant, line: &mut Line) {
        let Some(WebSocket { pump, torn, bytes }) = &mut self.websocket else { return };
        while pump.poll_bytes(bytes).unwrap_or(false) {
            let mut left = Bytes::copy_from_slice(bytes);
            while !left.is_empty() {
                let small = torn.percent(20);
                let most = if small { 40 } else { 70_000 };
                let piece = left.split_to(left.len().min(torn.between(1, most) as usize));
                line.feed(now, Item::Bytes(piece), torn.number());
            }
            pump.handle_written();
        }
    }

    fn send(&mut self, now: Instant, line: &mut Line, item: Item, chance: u64) {
        let Some(WebSocket { pump, .. }) = &mut self.websocket else {
            line.feed(now, item, chance);
            return;
        };
        // What cannot be said any more is lost with its link.
        let _ = match item {
            Item::Message(message) => pump.feed(message),
            Item::Ping => pump.feed_ping(),
            Item::Close(code) => pump.feed_close(code.and_then(CloseReason::from_websocket_code)),
            _ => Ok(()),
        };
        self.write_out(now, line);
    }

    /// Does what the machine wants done: `out` gets every frame in its order, `line` what goes over the wire. `read` is
    /// what came in so far.
    pub fn turn<E: Endpoint>(
        &mut self,
        (now, local): (Instant, Instant),
        endpoint: &mut E,
        line: &mut Line,
        read: u64,
        chance: u64,
        out: &mut Vec<Bytes>,
    ) -> Turn {
        let mut turn = Turn { calls: 1, ..Turn::default() };
        let transport = line.transport(now, read);
        endpoint.handle_transport(local, transport);
        let mut unflushed = transport.unflushed;
        let mut bulk = 0;
        if endpoint.poll_timeout().is_some_and(|at| at <= local) {
            endpoint.handle_timeout(local);
            turn.calls += 1;
            turn.moved = true;
            turn.spins = endpoint.poll_timeout().is_some_and(|at| at <= local);
        }
        for _ in 0..MOST {
            let fed = out.len();
            let mut feed = |frame: &FrameBytes<'_>| out.push(frame.clone().into_bytes());
            match self.drain.next(local, line.can_write(now), endpoint, &mut feed) {
                Step::Transmit(_) => {
                    turn.moved = true;
                    for frame in &out[fed..] {
                        if frame.get(4) == Some(&FRAGMENT) {
                            bulk += 1;
                            turn.bulk_ahead |= unflushed || bulk > 1;
                        }
                        self.put(now, line, chance, frame.clone());
                    }
                    continue;
                }
                Step::Flush => {
                    self.flush(now, line, chance);
                    continue;
                }
                Step::Ping => {
                    self.flush(now, line, chance);
                    self.send(now, line, Item::Ping, chance);
                }
                Step::Close(reason) => {
                    self.flush(now, line, chance);
                    turn.closing = Some(reason);
                    let code = reason.map_or(1000, CloseReason::websocket_code);
                    self.send(now, line, Item::Close(Some(code)), chance);
                }
                Step::Drop => {
                    turn.over = true;
                    return turn;
                }
                Step::Wait(at) => {
                    let transport = line.transport(now, read);
                    let news =
                        !transport.unflushed && self.told_flushed != Some(transport.written) && endpoint.wants_flush();
                    if news || transport.unflushed && !unflushed {
                        self.told_flushed = Some(transport.written);
                        (unflushed, bulk) = (transport.unflushed, 0);
                        endpoint.handle_transport(local, transport);
                        turn.calls += 1;
                        continue;
                    }
                    turn.wait = at;
                    return turn;
                }
            }
            turn.moved = true;
        }
        turn.spins = true;
        turn
    }

    fn put(&mut self, now: Instant, line: &mut Line, chance: u64, frame: Bytes) {
        if self.waiting_bytes + frame.len() > LARGEST {
            self.flush(now, line, chance);
        }
        self.waiting_bytes += frame.len();
        self.waiting.push(frame);
        if self.waiting.len() >= self.coalesce {
            self.flush(now, line, chance);
        }
    }

    fn flush(&mut self, now: Instant, line: &mut Line, chance: u64) {
        self.waiting_bytes = 0;
        let message = match self.waiting.len() {
            0 => return,
            1 => self.waiting.pop().unwrap_or_default(),
            _ => {
                let mut joined = BytesMut::with_capacity(self.waiting.iter().map(Bytes::len).sum());
                self.waiting.drain(..).for_each(|frame| joined.extend_from_slice(&frame));
                joined.freeze()
            }
        };
        self.send(now, line, Item::Message(message), chance);
    }
}

/// The frames of a message, by their length fields.
#[derive(Debug)]
pub struct Parts<'a>(pub &'a [u8]);

impl<'a> Iterator for Parts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let length = self.0.get(..4)?.try_into().ok().map(u32::from_le_bytes)?;
        let end = usize::try_from(length).ok()?.checked_add(4)?;
        let (frame, rest) = self.0.split_at_checked(end)?;
        self.0 = rest;
        Some(frame)
    }
}
