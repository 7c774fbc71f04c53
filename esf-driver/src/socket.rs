//! A WebSocket over any non-blocking stream: messages in and out, with every buffer bounded.

use std::io::{ErrorKind, Read, Write};

use bytes::Bytes;
use esf_proto::close::CloseReason;
use tungstenite::{
    Error, Message, WebSocket,
    protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
};

use crate::{endpoint::Transport, metered::Metered};

/// What tungstenite reads at once, and what it collects before it writes. Its default of 128 KiB would cost that much
/// memory a connection and is filled with zeros at each read.
const BUFFER: usize = 4 * 1024;
/// What the head of a WebSocket frame and the pongs in between may add to the largest message.
const OVERHEAD: usize = 1024;
/// The largest WebSocket message that we send is one frame or 64 KiB.
pub(crate) const LARGEST_BATCH: usize = 64 * 1024;

/// A WebSocket that never blocks: `T` returns [`ErrorKind::WouldBlock`] instead.
#[derive(Debug)]
pub struct Socket<T> {
    websocket: WebSocket<Metered<T>>,
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
    /// A message larger than the buffers went through: they are larger now, and stay so.
    grown: bool,
    /// One did since somebody asked.
    grew: bool,
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
        let mut config = buffers();
        limit(&mut config, max_message);
        let ahead = read_ahead.len() as u64;
        let websocket = WebSocket::from_partially_read(Metered::new(stream), read_ahead, role, Some(config));
        Self {
            websocket,
            max_message,
            blocked: false,
            unflushed: false,
            role,
            ahead,
            accounted: 0,
            grown: false,
            grew: false,
            closing: false,
        }
    }

    /// Sets the largest message that is accepted, in bytes.
    pub fn set_max_message(&mut self, max_message: usize) {
        if self.max_message != max_message {
            self.max_message = max_message;
            self.websocket.set_config(|config| limit(config, max_message));
        }
    }

    /// What came in, or `None` while nothing does.
    ///
    /// # Errors
    /// [`SocketError`] is the last word.
    pub fn read(&mut self) -> Result<Option<Incoming>, SocketError> {
        let read = self.websocket.read();
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
        !self.blocked && self.websocket.can_write()
    }

    /// Hands a binary message to the WebSocket; it goes out with the next flush at the latest.
    ///
    /// # Errors
    /// [`SocketError::Ended`] when the stream broke.
    pub fn feed(&mut self, message: Bytes) -> Result<(), SocketError> {
        self.write(Message::Binary(message))
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
        match self.websocket.flush() {
            // A server's flush of the answer to a close says that the connection is closed: it is, and all is out.
            Ok(()) | Err(Error::ConnectionClosed) => {
                self.blocked = false;
                self.unflushed = false;
                Ok(true)
            }
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
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
        self.websocket.get_ref().bytes_read() + self.ahead == self.accounted
    }

    /// Whether something waits for a flush.
    #[must_use]
    pub fn needs_flush(&self) -> bool {
        self.unflushed
    }

    /// How far the stream is.
    #[must_use]
    pub fn transport(&self) -> Transport {
        let stream = self.websocket.get_ref();
        Transport { read: stream.bytes_read(), written: stream.bytes_written(), unflushed: self.unflushed }
    }

    /// The stream itself, for what is below the WebSocket; it is always there.
    pub fn stream_mut(&mut self) -> Option<&mut T> {
        self.websocket.get_mut().stream_mut()
    }

    /// Whether a large message went through since the last call, so that the buffers may be given back later.
    pub fn take_grew(&mut self) -> bool {
        std::mem::take(&mut self.grew)
    }

    /// Gives the memory back that large messages took: tungstenite's buffers never shrink, so the WebSocket is built anew.
    /// Only at a server, and only while nothing is in them in either direction; else nothing happens.
    pub fn shrink(&mut self) {
        // All that was read came out as whole messages, so nothing waits inside, not even half of a frame. That holds
        // with the masks of clients only: without them two fragments may be shorter than the one frame that is counted.
        let empty = self.role == Role::Server && self.is_drained() && !self.unflushed && !self.blocked;
        if !self.grown || self.closing || !empty {
            return;
        }
        let mut config = buffers();
        limit(&mut config, self.max_message);
        let stream = self.websocket.get_mut().take();
        self.websocket = WebSocket::from_raw_socket(stream, self.role, Some(config));
        self.grown = false;
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
        self.note_size(message.len());
    }

    fn note_size(&mut self, len: usize) {
        let large = len > BUFFER;
        self.grown |= large;
        self.grew |= large;
    }

    fn write(&mut self, message: Message) -> Result<(), SocketError> {
        self.unflushed = true;
        self.closing |= message.is_close();
        self.note_size(message.len());
        match self.websocket.write(message) {
            Ok(()) => Ok(()),
            // It was taken, and waits inside.
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                self.blocked = true;
                Ok(())
            }
            Err(_) => Err(SocketError::Ended),
        }
    }
}

fn buffers() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(BUFFER).write_buffer_size(BUFFER)
}

fn limit(config: &mut WebSocketConfig, max_message: usize) {
    config.max_message_size = Some(max_message);
    config.max_frame_size = Some(max_message);
    // At most one buffer waits when the next message is fed, and no message that we send is larger than what we accept.
    config.max_write_buffer_size = BUFFER + max_message.max(LARGEST_BATCH) + OVERHEAD;
}

#[cfg(test)]
mod tests;
