//! The turns of a link, for either role, over any stream that does not block.

use std::{
    io::{ErrorKind, Read, Write},
    time::Duration,
};

use bytes::Bytes;
use esf_proto::{close::CloseReason, session::frames::FrameBytes, time::Instant};

use crate::{
    endpoint::Endpoint,
    socket::{Incoming, LARGEST_BATCH, Socket, SocketError},
    step::{Drain, Step},
};

#[cfg(feature = "async")]
mod running;

#[cfg(feature = "async")]
pub(crate) use running::RunningLink;

/// What one turn reads and feeds at most before others run: a busy link yields.
const MESSAGES_A_TURN: usize = 64;
const FRAMES_A_TURN: usize = 256;
/// Room for messages that arrive together which a link keeps from one turn to the next.
const KEPT_ROOM: usize = 32;
const BYTES_A_TURN: usize = 256 * 1024;
/// A link on which nothing moved for so long is idle, and gives its buffers back.
const REST_AFTER: Duration = Duration::from_secs(1);

/// A link, turn by turn: reads all that is ready, hands it to the endpoint, feeds all that the endpoint has, flushes once.
pub(crate) struct Link<T, E> {
    pub(crate) socket: Socket<T>,
    pub(crate) endpoint: E,
    drain: Drain,
    /// How many bytes had moved on the stream when they last did, and when that was.
    moved: (u64, Instant),
    reading: Reading,
    /// Messages that came out of one read of the stream and are not handed in yet; empty between turns.
    arrived: Vec<Bytes>,
    /// How far the stream was when the endpoint last heard in the middle of a turn that all is flushed.
    told_flushed: Option<u64>,
    /// Frames on their way into one WebSocket message, where that is wanted.
    batch: Option<Batch>,
}

/// How a link ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkEnd {
    /// The peer's WebSocket close code, or the one that we closed with because of the peer's bytes.
    pub code: Option<u16>,
    /// Whether both ends said that they close.
    pub clean: bool,
    /// What was wrong with the peer's bytes below the frames.
    pub fault: Option<Fault>,
}

/// What can be wrong with a peer's bytes below the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A WebSocket message was larger than the limit.
    TooLarge,
    /// They are no WebSocket.
    Violation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Open,
    /// A message was too large. What follows is read and forgotten, so that our close is not lost in a reset.
    Discarding,
    /// The peer's close is in; our answer must go out.
    Closed(Option<u16>),
}

/// Frames that are to be one WebSocket message.
#[derive(Debug, Default)]
struct Batch(Vec<u8>);

/// What a turn leaves.
pub(crate) enum Next {
    /// There is more to do, after others ran.
    Again,
    /// Nothing to do until bytes, the waker, or this instant.
    Wait(Option<Instant>),
}

impl<T: Read + Write, E: Endpoint> Link<T, E> {
    pub(crate) fn new(socket: Socket<T>, endpoint: E, coalesce: bool) -> Self {
        Self {
            socket,
            endpoint,
            drain: Drain::default(),
            moved: (0, Instant::ZERO),
            reading: Reading::Open,
            arrived: Vec::new(),
            told_flushed: None,
            batch: coalesce.then(Batch::default),
        }
    }

    /// Does what there is to do. After an error the endpoint is to be told that the link is closed.
    pub(crate) fn turn(&mut self, now: Instant) -> Result<Next, LinkEnd> {
        let more = self.take_in(now);
        // What was read before the end came is the endpoint's too.
        self.hand_in_arrived(now);
        let more = more?;
        let transport = self.socket.transport();
        self.endpoint.handle_transport(now, transport);
        self.socket.set_max_message(self.endpoint.max_message());
        if transport.unflushed && self.flush()? && matches!(self.reading, Reading::Closed(_)) {
            return Err(self.end(true, None));
        }
        match self.hand_out(now)? {
            Next::Wait(_) if more => Ok(Next::Again),
            Next::Wait(at) => Ok(Next::Wait([at, self.plan_rest(now)].into_iter().flatten().min())),
            Next::Again => Ok(Next::Again),
        }
    }

    /// Gives the buffers back when the link has become idle, and at once after what came alone, such as a heartbeat; says
    /// when to look again.
    fn plan_rest(&mut self, now: Instant) -> Option<Instant> {
        let transport = self.socket.transport();
        let (moved, (before, since)) = (transport.read + transport.written, self.moved);
        if moved != before {
            self.moved = (moved, now);
        }
        let idle = since + REST_AFTER <= now;
        if idle && self.socket.is_awake() {
            self.socket.rest();
            self.arrived = Vec::new();
            self.endpoint.rest();
            self.batch = self.batch.is_some().then(Batch::default);
        }
        // What holds half of a message cannot rest, and is not asked again before more of it came.
        let again = self.socket.is_awake() && (moved != before || !idle);
        again.then(|| self.moved.1 + REST_AFTER)
    }

    /// Hands in what is ready; whether there may be more.
    fn take_in(&mut self, now: Instant) -> Result<bool, LinkEnd> {
        let stop = self.socket.transport().read + BYTES_A_TURN as u64;
        for _ in 0..MESSAGES_A_TURN {
            match self.reading {
                Reading::Open => match self.socket.read() {
                    Ok(Some(incoming)) => self.hand_in(now, incoming),
                    Ok(None) => return Ok(false),
                    Err(SocketError::TooLarge) => {
                        tracing::debug!("a WebSocket message is larger than the limit");
                        self.reading = Reading::Discarding;
                        self.drain.close(now, Some(CloseReason::TooLarge));
                    }
                    Err(SocketError::Violation(what)) => {
                        tracing::debug!(what, "the peer broke the WebSocket protocol");
                        return Err(self.end(false, Some(Fault::Violation)));
                    }
                    Err(SocketError::Ended) => return Err(self.end(false, None)),
                },
                Reading::Discarding => match self.socket.stream_mut().read(&mut [0; 4096]) {
                    Ok(0) => return Err(self.end(false, None)),
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                    Err(_) => return Err(self.end(false, None)),
                },
                Reading::Closed(_) => return Ok(false),
            }
            if self.socket.transport().read >= stop {
                break;
            }
        }
        Ok(true)
    }

    fn hand_in(&mut self, now: Instant, incoming: Incoming) {
        match incoming {
            Incoming::Message(message) if self.endpoint.takes_batches() => {
                self.arrived.push(message);
                // A message shares the memory that the next read of the stream would use again.
                if self.socket.is_drained() {
                    self.hand_in_arrived(now);
                }
            }
            Incoming::Message(message) => {
                self.endpoint.handle_message(now, message);
                // The message that ends a login may be followed at once by one that only the new limit permits.
                self.socket.set_max_message(self.endpoint.max_message());
            }
            Incoming::Text => {
                self.hand_in_arrived(now);
                self.endpoint.handle_text(now);
            }
            Incoming::Control => {}
            Incoming::Close(code) => {
                self.hand_in_arrived(now);
                self.reading = Reading::Closed(code);
                self.drain.answer_close(now);
            }
        }
    }

    fn hand_in_arrived(&mut self, now: Instant) {
        if !self.arrived.is_empty() {
            self.endpoint.handle_batch(now, &mut self.arrived);
            // An idle link keeps little room for messages.
            if self.arrived.capacity() > KEPT_ROOM {
                self.arrived = Vec::new();
            }
        }
    }

    /// Does what the drain order says until there is nothing to do.
    fn hand_out(&mut self, now: Instant) -> Result<Next, LinkEnd> {
        let (mut frames, mut bytes) = (0, 0);
        let mut told = self.socket.needs_flush();
        loop {
            if frames >= FRAMES_A_TURN || bytes >= BYTES_A_TURN {
                self.feed_batch()?;
                self.flush()?;
                return Ok(Next::Again);
            }
            let Self { socket, drain, endpoint, batch, .. } = self;
            let (can_write, mut fed) = (socket.can_write(), Ok(()));
            let step = drain.next(now, can_write, endpoint, &mut |frame| {
                frames += 1;
                let now = match batch {
                    None => socket.feed_frame(frame),
                    Some(batch) => batch.add(frame, socket),
                };
                // Only a failure is written down: this is done for each frame.
                if now.is_err() {
                    fed = now;
                }
            });
            fed.map_err(|_| self.end(false, None))?;
            if !matches!(step, Step::Transmit(_)) {
                self.feed_batch()?;
            }
            match step {
                Step::Transmit(fed) => bytes += fed,
                Step::Ping => self.socket.feed_ping().map_err(|_| self.end(false, None))?,
                Step::Close(reason) => self.socket.feed_close(reason).map_err(|_| self.end(false, None))?,
                Step::Flush => {
                    self.flush()?;
                }
                Step::Drop => return Err(self.end(matches!(self.reading, Reading::Closed(_)), None)),
                Step::Wait(_) if self.socket.needs_flush() && !told => {
                    // The endpoint watches over bytes that do not move, so it hears of them before the silence.
                    told = true;
                    self.endpoint.handle_transport(now, self.socket.transport());
                }
                Step::Wait(at) => {
                    if !self.tell_flushed(now) {
                        return Ok(Next::Wait(at));
                    }
                }
            }
        }
    }

    /// Tells the endpoint that all is flushed, if it waits for that and has not heard of it.
    fn tell_flushed(&mut self, now: Instant) -> bool {
        let transport = self.socket.transport();
        let news = !transport.unflushed && self.told_flushed != Some(transport.written) && self.endpoint.wants_flush();
        if news {
            self.told_flushed = Some(transport.written);
            self.endpoint.handle_transport(now, transport);
        }
        news
    }

    fn feed_batch(&mut self) -> Result<(), LinkEnd> {
        let Self { batch, socket, .. } = self;
        let fed = batch.as_mut().map_or(Ok(()), |batch| batch.feed(socket));
        fed.map_err(|_| self.end(false, None))
    }

    fn flush(&mut self) -> Result<bool, LinkEnd> {
        self.socket.flush().map_err(|_| self.end(false, None))
    }

    fn end(&self, clean: bool, fault: Option<Fault>) -> LinkEnd {
        match self.reading {
            Reading::Open => LinkEnd { code: None, clean, fault },
            Reading::Closed(code) => LinkEnd { code, clean, fault },
            Reading::Discarding => LinkEnd {
                code: Some(CloseReason::TooLarge.websocket_code()),
                clean: false,
                fault: Some(Fault::TooLarge),
            },
        }
    }
}

impl Batch {
    /// Adds a frame, after it has fed what would be too large with it.
    fn add<T: Read + Write>(&mut self, frame: &FrameBytes<'_>, socket: &mut Socket<T>) -> Result<(), SocketError> {
        if self.0.len() + frame.len() > LARGEST_BATCH {
            self.feed(socket)?;
        }
        if self.0.is_empty() && frame.len() > LARGEST_BATCH {
            return socket.feed_frame(frame);
        }
        self.0.extend_from_slice(frame);
        Ok(())
    }

    fn feed<T: Read + Write>(&mut self, socket: &mut Socket<T>) -> Result<(), SocketError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let fed = socket.feed_frame(&FrameBytes::Slice(&self.0));
        self.0.clear();
        fed
    }
}

#[cfg(all(test, feature = "async"))]
mod tests;
