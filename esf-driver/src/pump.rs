//! The pump: a WebSocket over memory. Bytes of the other side are handed in, bytes for it are taken out, and nothing
//! here knows a socket, a clock or a thread.
//!
//! [`Pump`] is the WebSocket alone: what comes in are messages. [`LinkPump`] is a whole link: the same pump with an
//! [`Endpoint`] behind it and the drain order between them, turn by turn the one that the loop of asynchronous runtimes
//! takes. It is for loops on plain threads, and for tests that want every byte and every instant in their hands.
//!
//! The HTTP part comes before: see [`http`](crate::http).
//!
//! ```
//! use esf_driver::{pump::Pump, socket::Incoming};
//!
//! let (mut client, mut server) = (Pump::client(8192), Pump::server(8192));
//! client.feed("one".into())?;
//! client.feed_ping()?;
//!
//! let mut wire = Vec::new();
//! client.poll_bytes(&mut wire)?;
//! client.handle_written();
//! server.handle_bytes(&wire);
//! assert_eq!(server.poll_incoming()?, Some(Incoming::Message("one".into())));
//! assert_eq!(server.poll_incoming()?, Some(Incoming::Control));
//! assert_eq!(server.poll_incoming()?, None);
//!
//! server.poll_bytes(&mut wire)?; // The pong.
//! client.handle_bytes(&wire);
//! assert_eq!(client.poll_incoming()?, Some(Incoming::Control));
//! # Ok::<(), esf_driver::socket::SocketError>(())
//! ```

use std::task::Waker;

use bytes::Bytes;
use esf_proto::{close::CloseReason, time::Instant};
use tungstenite::protocol::Role;

use crate::{
    endpoint::{Endpoint, Transport},
    link::{Link, LinkEnd, Next},
    socket::{Incoming, Socket, SocketError},
};

mod pipe;

pub use pipe::{Pipe, ROOM};

/// A WebSocket over memory.
#[derive(Debug)]
pub struct Pump {
    socket: Socket<Pipe>,
}

impl Pump {
    /// The client's side, which masks what it sends. Larger messages than `max_message` bytes are refused.
    #[must_use]
    pub fn client(max_message: usize) -> Self {
        Self::new(Role::Client, max_message)
    }

    /// The server's side.
    #[must_use]
    pub fn server(max_message: usize) -> Self {
        Self::new(Role::Server, max_message)
    }

    fn new(role: Role, max_message: usize) -> Self {
        Self { socket: Socket::new(Pipe::default(), Vec::new(), role, max_message) }
    }

    /// Bytes came. They wait, whole, until [`poll_incoming`](Self::poll_incoming) takes the messages out.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        self.socket.stream_mut().push(bytes);
    }

    /// No more bytes come, and none are taken.
    pub fn handle_end(&mut self) {
        self.socket.stream_mut().end();
    }

    /// The next thing that came, or `None` while it is not whole.
    ///
    /// # Errors
    /// [`SocketError`] is the last word.
    pub fn poll_incoming(&mut self) -> Result<Option<Incoming>, SocketError> {
        self.socket.read()
    }

    /// Whether another message may be fed: not while bytes that were taken out are on their way, nor while [`ROOM`]
    /// bytes wait.
    #[must_use]
    pub fn can_write(&self) -> bool {
        self.socket.can_write()
    }

    /// Feeds a binary message.
    ///
    /// # Errors
    /// The other side is gone, or closes.
    pub fn feed(&mut self, message: Bytes) -> Result<(), SocketError> {
        self.socket.feed(message)
    }

    /// Feeds a ping.
    ///
    /// # Errors
    /// As [`feed`](Self::feed).
    pub fn feed_ping(&mut self) -> Result<(), SocketError> {
        self.socket.feed_ping()
    }

    /// Feeds a close, with code 4000 + n for a reason and 1000 without one. Nothing may be fed after it.
    ///
    /// # Errors
    /// As [`feed`](Self::feed).
    pub fn feed_close(&mut self, reason: Option<CloseReason>) -> Result<(), SocketError> {
        self.socket.feed_close(reason)
    }

    /// Sets the largest message that is accepted, in bytes.
    pub fn set_max_message(&mut self, max_message: usize) {
        self.socket.set_max_message(max_message);
    }

    /// Puts the bytes that are to go out into `buffer`, instead of what was in it; `false` if there are none, or if those
    /// before were not [written](Self::handle_written).
    ///
    /// # Errors
    /// The other side is gone.
    pub fn poll_bytes(&mut self, buffer: &mut Vec<u8>) -> Result<bool, SocketError> {
        self.socket.flush()?;
        Ok(self.socket.stream_mut().lend(buffer))
    }

    /// The bytes that were taken out went out.
    pub fn handle_written(&mut self) {
        self.socket.stream_mut().take_back();
        // It cannot break here: the pipe is memory. That the other side is gone is said by the next call.
        let _ = self.socket.flush();
    }

    /// How far it is.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.socket.transport()
    }
}

/// A whole link over memory: a pump, an [`Endpoint`], and the drain order between them.
///
/// Every input does all that there is to do at `now`. After one, take the bytes out, look whether it has
/// [ended](Self::end) (what bytes there are then are its last word, such as the answer to a close), and call [`handle_timeout`](Self::handle_timeout) when [`poll_timeout`](Self::poll_timeout) says so or when the waker that
/// was registered is woken. The work of a call is bounded by what was handed in, and by [`ROOM`].
pub struct LinkPump<E> {
    link: Link<Pipe, E>,
    timeout: Option<Instant>,
    end: Option<LinkEnd>,
}

impl<E: Endpoint> LinkPump<E> {
    /// A link of the client's side. `read_ahead` is what came behind the answer to its HTTP request; with `coalesce` frames
    /// that are ready at the same time share a WebSocket message. The first input may be a
    /// [`handle_timeout`](Self::handle_timeout).
    pub fn client(endpoint: E, read_ahead: Vec<u8>, coalesce: bool) -> Self {
        Self::new(Role::Client, endpoint, read_ahead, coalesce)
    }

    /// A link of the server's side.
    pub fn server(endpoint: E, read_ahead: Vec<u8>, coalesce: bool) -> Self {
        Self::new(Role::Server, endpoint, read_ahead, coalesce)
    }

    fn new(role: Role, endpoint: E, read_ahead: Vec<u8>, coalesce: bool) -> Self {
        let socket = Socket::new(Pipe::default(), read_ahead, role, endpoint.max_message());
        Self { link: Link::new(socket, endpoint, coalesce), timeout: None, end: None }
    }

    /// Keeps `waker` and wakes it once, when another thread made work for this link. To be called before the input that
    /// looks for that work.
    pub fn register(&mut self, waker: &Waker) {
        self.link.endpoint.register(waker);
    }

    /// Bytes came.
    pub fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
        self.link.socket.stream_mut().push(bytes);
        self.handle_timeout(now);
    }

    /// No more bytes come, and none are taken: the connection broke, or the other side ended it.
    pub fn handle_end(&mut self, now: Instant) {
        self.link.socket.stream_mut().end();
        self.handle_timeout(now);
    }

    /// The bytes that were taken out went out.
    pub fn handle_written(&mut self, now: Instant) {
        self.link.socket.stream_mut().take_back();
        self.handle_timeout(now);
    }

    /// Time has passed, or the waker was woken.
    pub fn handle_timeout(&mut self, now: Instant) {
        while self.end.is_none() {
            match self.link.turn(now) {
                Ok(Next::Again) => {}
                Ok(Next::Wait(at)) => {
                    self.timeout = at;
                    return;
                }
                Err(end) => {
                    self.timeout = None;
                    self.end = Some(end);
                    self.link.endpoint.handle_closed(now, end.code);
                }
            }
        }
    }

    /// Puts the bytes that are to go out into `buffer`, instead of what was in it; `false` if there are none, or if those
    /// before were not [written](Self::handle_written): what a link has handed out and not heard of is bounded.
    pub fn poll_bytes(&mut self, buffer: &mut Vec<u8>) -> bool {
        self.link.socket.stream_mut().lend(buffer)
    }

    /// Whether [`poll_bytes`](Self::poll_bytes) would give some.
    #[must_use]
    pub fn has_bytes(&mut self) -> bool {
        self.link.socket.stream_mut().has_bytes()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timeout
    }

    /// How it ended; the endpoint knows then, and no input does anything any more.
    #[must_use]
    pub fn end(&self) -> Option<LinkEnd> {
        self.end
    }

    /// The endpoint.
    pub fn endpoint(&self) -> &E {
        &self.link.endpoint
    }

    /// The endpoint, to give it something to do; call [`handle_timeout`](Self::handle_timeout) after it.
    pub fn endpoint_mut(&mut self) -> &mut E {
        &mut self.link.endpoint
    }
}

#[cfg(test)]
mod tests;
