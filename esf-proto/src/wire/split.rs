//! Cutting bytes into frames: a WebSocket message, or a bare byte stream.

use core::{fmt, iter::FusedIterator};

use bytes::{Bytes, BytesMut};

use super::{DecodeError, RawFrame, raw::frame_size};

/// Frames under this size are copied by whoever keeps them for long.
const COPY_BELOW: usize = 1024;

/// The frames of one WebSocket message: one or more whole ones (ESF-018).
///
/// After an error it ends. A message that is empty or ends within a frame is [`DecodeError::Truncated`]. The frames
/// share the message's memory: whoever keeps one under 1 KiB for long copies it first. A larger one that is less than
/// a quarter of its message has memory of its own, so that nobody can make one frame that waits hold a whole message.
#[derive(Clone)]
pub struct Frames {
    left: Bytes,
    whole: usize,
    max_frame: usize,
    ended: bool,
}

impl Frames {
    /// Over `message`, in which a frame has at most `max_frame` bytes.
    #[must_use]
    pub const fn new(message: Bytes, max_frame: usize) -> Self {
        Self { whole: message.len(), left: message, max_frame, ended: false }
    }
}

impl Iterator for Frames {
    type Item = Result<RawFrame, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let frame = match whole_frame(&self.left, self.max_frame) {
            Ok(Some(len)) => RawFrame::parse(self.take(len)),
            Ok(None) => Err(DecodeError::Truncated),
            Err(error) => Err(error),
        };
        self.ended = self.left.is_empty() || frame.is_err();
        Some(frame)
    }
}

impl Frames {
    #[inline]
    fn take(&mut self, len: usize) -> Bytes {
        let frame = self.left.split_to(len);
        if len >= COPY_BELOW && len < self.whole / 4 { Bytes::copy_from_slice(&frame) } else { frame }
    }
}

impl FusedIterator for Frames {}

impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames").field("left", &self.left.len()).finish_non_exhaustive()
    }
}

/// The frames of messages that came together. Most are one frame each, which is not taken out of its message first.
#[derive(Debug)]
pub struct FramesOf<I> {
    messages: I,
    of_one: Option<Frames>,
    max_frame: usize,
}

impl<I: Iterator<Item = Bytes>> FramesOf<I> {
    /// Over `messages`, in which a frame has at most `max_frame` bytes.
    pub const fn new(messages: I, max_frame: usize) -> Self {
        Self { messages, of_one: None, max_frame }
    }
}

impl<I: Iterator<Item = Bytes>> Iterator for FramesOf<I> {
    type Item = Result<RawFrame, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(frames) = &mut self.of_one {
                if let Some(frame) = frames.next() {
                    return Some(frame);
                }
                self.of_one = None;
            }
            let message = self.messages.next()?;
            if whole_frame(&message, self.max_frame).is_ok_and(|len| len == Some(message.len())) {
                return Some(RawFrame::parse(message));
            }
            self.of_one = Some(Frames::new(message, self.max_frame));
        }
    }
}

/// Cuts a byte stream that carries frames one after the other (ESF-019).
///
/// Holds at most the beginning of one frame besides what was pushed and not pulled yet. After an error nothing in the
/// stream can be trusted, so it says that error for ever.
pub struct Splitter {
    buffer: BytesMut,
    max_frame: usize,
    failed: Option<DecodeError>,
}

impl Splitter {
    /// For frames of at most `max_frame` bytes.
    #[must_use]
    pub fn new(max_frame: usize) -> Self {
        Self { buffer: BytesMut::new(), max_frame, failed: None }
    }

    /// Changes the limit for the frames that have not been pulled yet: after a login it is another.
    pub const fn set_max_frame(&mut self, max_frame: usize) {
        self.max_frame = max_frame;
    }

    /// Takes the next bytes of the stream. Pull the frames before pushing more.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next whole frame, or `None` until more bytes are pushed.
    ///
    /// # Errors
    /// What is wrong with the next frame; a frame over the limit is refused as soon as its length is known.
    pub fn next_frame(&mut self) -> Result<Option<RawFrame>, DecodeError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let frame = whole_frame(&self.buffer, self.max_frame)
            .and_then(|len| len.map(|len| RawFrame::parse(self.buffer.split_to(len).freeze())).transpose());
        if let Err(error) = frame {
            self.failed = Some(error);
            self.buffer = BytesMut::new();
        }
        frame
    }
}

impl fmt::Debug for Splitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Splitter")
            .field("buffered", &self.buffer.len())
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

/// Bytes of the frame at the front, if it is whole; never more than there are.
#[inline]
fn whole_frame(bytes: &[u8], max_frame: usize) -> Result<Option<usize>, DecodeError> {
    let Some(declared) = bytes.first_chunk() else { return Ok(None) };
    let size = frame_size(u32::from_le_bytes(*declared))?;
    let limit = max_frame as u64;
    if size > limit {
        return Err(DecodeError::TooLarge { size, limit });
    }
    Ok(usize::try_from(size).ok().filter(|len| *len <= bytes.len()))
}
