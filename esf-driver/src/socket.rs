//! A WebSocket over any non-blocking stream: messages in and out, with every buffer bounded.

use std::io::{ErrorKind, Read, Write};

use bytes::Bytes;
use esf_proto::{close::CloseReason, session::frames::FrameBytes};
use tungstenite::{
    Error, Message,
    protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext, frame::coding::CloseCode},
};

use crate::{buffered::Buffered, endpoint::Transport, metered::Metered};

/// What tungstenite reads at once. Its default of 128 KiB would cost that much memory a connection and is filled with
/// zeros at each read.
const BUFFER: usize = 4 * 1024;
/// What is collected before it is written, if no flush comes first.
const COLLECTED: usize = 16 * 1024;
/// What the head of a WebSocket frame and the pongs in between may add to the largest message.
const OVERHEAD: usize = 1024;
/// The largest WebSocket message that we send is one frame or 64 KiB.
pub(crate) const LARGEST_BATCH: usize = 64 * 1024;

/// A WebSocket that never blocks: `T` returns [`ErrorKind::WouldBlock`] instead.
#[derive(Debug)]
pub struct Socket<T> {
    stream: Buffered<Metered<T>>,
    /// `None` while it rests.
    websocket: Option<Box<WebSocketContext>>,
    max_message: usize,
    /// The stream took less than was fed; nothing more is fed until a flush went through.
    blocked: bool,
    unflushed: bool,
    role: Role,
    /// Bytes that were read before the WebSocket began.
    ahead: u64,
    /// Bytes of what was read that are accounted for: the whole messages that came out. A
    /// message is counted as its shortest form, so this is never more than what was used up.
    accounted: u64,
    /// A close was said or heard, or something broke: the WebSocket must not be built anew.
    closing: bool,
}

/// What came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A binary message.
    Message(Bytes),
    /// A text message.
    Text,
    /// A ping or a pong, which needs no answer from us.
    Control,
    /// The peer's close, with its code if it had one. The answer is flushed like anything else.
    Close(Option<u16>),
}

/// Why no more can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SocketError {
    /// The stream ended, or broke.
    #[error("the connection broke")]
    Ended,
    /// A message is larger than the limit. Nothing may be read any more; a close may still be sent.
    #[error("a WebSocket message is too large")]
    TooLarge,
    /// The peer does not speak WebSocket.
    #[error("the peer broke the WebSocket protocol: {0}")]
    Violation(String),
}

impl<T: Read + Write> Socket<T> {
    /// Speaks WebSocket over `stream`, on which the HTTP part is done and of which `read_ahead` was read already.
    pub fn new(stream: T, read_ahead: Vec<u8>, role: Role, max_message: usize) -> Self {
        let ahead = read_ahead.len() as u64;
        let begun = !read_ahead.is_empty();
        let begin = || WebSocketContext::from_partially_read(read_ahead, role, Some(config(max_message)));
        Self {
            stream: Buffered::new(Metered::new(stream)),
            websocket: begun.then(|| Box::new(begin())),
            max_message,
            blocked: false,
            unflushed: false,
            role,
            ahead,
            accounted: 0,
            closing: false,
        }
    }

    /// Sets the largest message that is accepted, in bytes.
    pub fn set_max_message(&mut self, max_message: usize) {
        if self.max_message != max_message {
            self.max_message = max_message;
            if let Some(websocket) = &mut self.websocket {
                websocket.set_config(|config| limit(config, max_message));
            }
        }
    }

    /// What came in, or `None` while nothing does.
    ///
    /// # Errors
    /// [`SocketError`] is the last word.
    pub fn read(&mut self) -> Result<Option<Incoming>, SocketError> {
        if self.websocket.is_none() && !self.wake()? {
            return Ok(None);
        }
        let (websocket, stream) = self.parts();
        let read = websocket.read(stream);
        match &read {
            Ok(message) => self.account(message),
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.closing = true,
        }
        match read {
            Ok(Message::Binary(message)) => Ok(Some(Incoming::Message(message))),
            Ok(Message::Text(_)) => Ok(Some(Incoming::Text)),
            Ok(Message::Ping(_)) => {
                // The pong waits inside until the next call.
                self.unflushed = true;
                Ok(Some(Incoming::Control))
            }
            Ok(Message::Pong(_) | Message::Frame(_)) => Ok(Some(Incoming::Control)),
            Ok(Message::Close(frame)) => {
                self.unflushed = true;
                Ok(Some(Incoming::Close(frame.map(|frame| frame.code.into()))))
            }
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(Error::Capacity(_)) => Err(SocketError::TooLarge),
            Err(Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)) => {
                Err(SocketError::Ended)
            }
            Err(error @ (Error::Protocol(_) | Error::Utf8(_))) => Err(SocketError::Violation(error.to_string())),
            Err(_) => Err(SocketError::Ended),
        }
    }

    /// Whether another message may be fed.
    #[must_use]
    pub fn can_write(&self) -> bool {
        !self.blocked && self.websocket.as_ref().is_none_or(|websocket| websocket.can_write())
    }

    /// Hands a binary message to the WebSocket; it goes out with the next flush at the latest.
    ///
    /// # Errors
    /// [`SocketError::Ended`] when the stream broke.
    pub fn feed(&mut self, message: Bytes) -> Result<(), SocketError> {
        self.feed_frame(&FrameBytes::Shared(message))
    }

    /// The same with bytes that need not live on. At a server, which masks nothing, they are copied once: to where they
    /// wait for the flush.
    ///
    /// # Errors
    /// As [`Self::feed`].
    pub fn feed_frame(&mut self, message: &FrameBytes<'_>) -> Result<(), SocketError> {
        if self.role == Role::Client {
            return self.write(Message::Binary(message.clone().into_bytes()));
        }
        self.unflushed = true;
        // A head that says: binary, whole, not masked (RFC 6455, 5.2).
        let len = message.len();
        match (u8::try_from(len), u16::try_from(len)) {
            (Ok(len @ 0..126), _) => self.stream.put([BINARY, len], message),
            (_, Ok(len)) => {
                let [high, low] = len.to_be_bytes();
                self.stream.put([BINARY, 126, high, low], message);
            }
            _ => {
                self.stream.put([BINARY, 127], &(len as u64).to_be_bytes());
                self.stream.put([], message);
            }
        }
        self.flush_if_much()
    }

    /// Hands a ping to the WebSocket.
    ///
    /// # Errors
    /// As [`Self::feed`].
    pub fn feed_ping(&mut self) -> Result<(), SocketError> {
        self.write(Message::Ping(Bytes::new()))
    }

    /// Hands a close to the WebSocket: 4000 + n and its text for a reason, 1000 without one. Nothing may be fed after it.
    ///
    /// # Errors
    /// As [`Self::feed`].
    pub fn feed_close(&mut self, reason: Option<CloseReason>) -> Result<(), SocketError> {
        let (code, text) =
            reason.map_or((CloseCode::Normal, ""), |reason| (CloseCode::from(reason.websocket_code()), reason.text()));
        self.write(Message::Close(Some(CloseFrame { code, reason: text.into() })))
    }

    /// Hands all that was fed to the stream; `false` when the stream does not take all of it now.
    ///
    /// # Errors
    /// As [`Self::feed`].
    pub fn flush(&mut self) -> Result<bool, SocketError> {
        let inside = self.websocket.as_mut().map_or(Ok(()), |websocket| websocket.flush(&mut self.stream));
        let flushed = match inside {
            // A server's flush of a close says that the connection is closed: nothing is inside any more.
            Ok(()) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => self.stream.flush(),
            Err(Error::Io(error)) => Err(error),
            Err(_) => return Err(SocketError::Ended),
        };
        match flushed {
            Ok(()) => {
                self.blocked = false;
                self.unflushed = false;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.blocked = true;
                Ok(false)
            }
            Err(_) => Err(SocketError::Ended),
        }
    }

    /// Whether all that was read came out as whole messages, as far as can be told, so that the next read goes to the
    /// stream.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.stream.get_ref().bytes_read() + self.ahead == self.accounted
    }

    /// Whether something waits for a flush.
    #[must_use]
    pub fn needs_flush(&self) -> bool {
        self.unflushed
    }

    /// How far the stream is.
    #[must_use]
    pub fn transport(&self) -> Transport {
        let stream = self.stream.get_ref();
        Transport { read: stream.bytes_read(), written: stream.bytes_written(), unflushed: self.unflushed }
    }

    /// The stream itself, for what is below the WebSocket.
    pub fn stream_mut(&mut self) -> &mut T {
        self.stream.get_mut().stream_mut()
    }

    /// Whether it holds memory that [`rest`](Self::rest) would give back.
    #[must_use]
    pub fn is_awake(&self) -> bool {
        self.websocket.is_some() || self.stream.is_awake()
    }

    /// Gives the memory of the WebSocket back until the next message: tungstenite's buffers never shrink, and even small ones
    /// are most of what an idle connection takes. Only at a server, and only while nothing is in them in either direction;
    /// else nothing happens.
    pub fn rest(&mut self) {
        // All that was read came out as whole messages, so nothing waits inside, not even half of a frame. That holds
        // with the masks of clients only: without them two fragments may be shorter than the one frame that is counted.
        if self.role == Role::Server && self.is_drained() && !self.unflushed && !self.blocked && !self.closing {
            self.websocket = None;
            self.stream.rest();
        }
    }

    /// Builds the WebSocket anew if something came; says whether it did.
    fn wake(&mut self) -> Result<bool, SocketError> {
        let mut first = [0; BUFFER];
        match self.stream.read(&mut first) {
            Ok(count) if count > 0 => {
                let mut read = Vec::with_capacity(BUFFER);
                read.extend_from_slice(&first[..count]);
                let websocket = WebSocketContext::from_partially_read(read, self.role, Some(config(self.max_message)));
                self.websocket = Some(Box::new(websocket));
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Ok(_) | Err(_) => {
                self.closing = true;
                Err(SocketError::Ended)
            }
        }
    }

    /// The WebSocket, awake, and its stream.
    fn parts(&mut self) -> (&mut WebSocketContext, &mut Buffered<Metered<T>>) {
        let Self { websocket, stream, role, max_message, .. } = self;
        let new = || Box::new(WebSocketContext::new(*role, Some(config(*max_message))));
        (websocket.get_or_insert_with(new), stream)
    }

    /// Counts a message that came out, as one frame: no way to send it with a mask takes less.
    fn account(&mut self, message: &Message) {
        let len = message.len() as u64;
        let length_field = match len {
            0..126 => 0,
            126..65_536 => 2,
            _ => 8,
        };
        // Only clients mask.
        let mask = if self.role == Role::Server { 4 } else { 0 };
        self.accounted += 2 + length_field + mask + len;
        self.closing |= message.is_close();
    }

    fn write(&mut self, message: Message) -> Result<(), SocketError> {
        self.unflushed = true;
        self.closing |= message.is_close();
        let (websocket, stream) = self.parts();
        match websocket.write(stream, message) {
            Ok(()) => self.flush_if_much(),
            // It was taken, and waits: a close is flushed at once.
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                self.blocked = true;
                Ok(())
            }
            Err(_) => Err(SocketError::Ended),
        }
    }

    /// Much of what waits goes out before the flush, so that no more than this and one message ever waits.
    #[inline]
    fn flush_if_much(&mut self) -> Result<(), SocketError> {
        if self.stream.waiting() > COLLECTED {
            let (blocked, unflushed) = (self.blocked, self.unflushed);
            self.flush()?;
            // A flush is still owed to whoever fed.
            (self.blocked, self.unflushed) = (blocked || self.blocked, unflushed);
        }
        Ok(())
    }
}

/// The first byte of a binary message that is one WebSocket frame.
const BINARY: u8 = 0x82;

fn config(max_message: usize) -> WebSocketConfig {
    let mut config = WebSocketConfig::default().read_buffer_size(BUFFER).write_buffer_size(0);
    limit(&mut config, max_message);
    config
}

fn limit(config: &mut WebSocketConfig, max_message: usize) {
    config.max_message_size = Some(max_message);
    config.max_frame_size = Some(max_message);
    // Nothing waits inside: what is written goes to our own buffer. No message that we send is larger than what we accept.
    config.max_write_buffer_size = max_message.max(LARGEST_BATCH) + OVERHEAD;
}

#[cfg(test)]
mod tests;
