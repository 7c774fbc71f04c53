//! Frames that wait, or may have to go out again, in order: small ones lie one after the other in one piece of memory.

use alloc::{collections::VecDeque, vec::Vec};

use bytes::Bytes;

/// Frames under this size are copied, so that a few bytes never pin a whole read buffer.
const COPY_BELOW: usize = 1024;

/// The bytes of a frame on its way out.
#[derive(Debug, Clone)]
pub enum FrameBytes<'a> {
    /// They lie in somebody's memory, until the call ends that gave them.
    Slice(&'a [u8]),
    /// They can be kept.
    Shared(Bytes),
}

impl FrameBytes<'_> {
    /// The bytes, kept: copied if they cannot be.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Slice(bytes) => Bytes::copy_from_slice(bytes),
            Self::Shared(bytes) => bytes,
        }
    }
}

impl core::ops::Deref for FrameBytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Slice(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// A queue of frames, each with what its owner knows of it.
///
/// A small frame is a copy in the queue's own memory, which grows on demand, is used again from the start whenever the
/// queue is empty, and is given back by [`FrameQueue::rest`]. A large one is shared.
#[derive(Debug)]
pub(crate) struct FrameQueue<M> {
    entries: VecDeque<(Stored, M)>,
    bytes: Vec<u8>,
    /// Where the first small frame that is left begins.
    start: usize,
}

#[derive(Debug)]
enum Stored {
    /// So many of the queue's bytes.
    Here(usize),
    Shared(Bytes),
}

/// A place in a queue, from which one can go on reading while frames come in at the end and leave at the front.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// Frames before it.
    pub(crate) frames: usize,
    bytes: usize,
}

impl<M> Default for FrameQueue<M> {
    fn default() -> Self {
        Self { entries: VecDeque::new(), bytes: Vec::new(), start: 0 }
    }
}

impl<M> FrameQueue<M> {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Puts a frame at the end: shared if it can be kept as it is, copied otherwise.
    #[inline]
    pub(crate) fn push(&mut self, frame: FrameBytes<'_>, meta: M) {
        let stored = match frame {
            FrameBytes::Slice(bytes) => self.copy(bytes),
            FrameBytes::Shared(bytes) => Stored::Shared(bytes),
        };
        self.entries.push_back((stored, meta));
    }

    /// Puts somebody else's frame at the end: copied if it is small, since it may be part of something large.
    #[inline]
    pub(crate) fn push_copy(&mut self, frame: &Bytes, meta: M) {
        let stored = if frame.len() < COPY_BELOW { self.copy(frame) } else { Stored::Shared(frame.clone()) };
        self.entries.push_back((stored, meta));
    }

    /// Puts a frame of `len` bytes at the end, which `write` appends to what it gets: the queue's memory if it is small.
    pub(crate) fn write(&mut self, len: usize, meta: M, write: impl FnOnce(&mut Vec<u8>)) {
        let stored = if len < COPY_BELOW {
            write(&mut self.bytes);
            Stored::Here(len)
        } else {
            let mut frame = Vec::with_capacity(len);
            write(&mut frame);
            Stored::Shared(frame.into())
        };
        self.entries.push_back((stored, meta));
    }

    /// Puts a frame at the head.
    pub(crate) fn push_front(&mut self, frame: Bytes, meta: M) {
        self.entries.push_front((Stored::Shared(frame), meta));
    }

    /// What the owner knows of the first frame, and its length.
    pub(crate) fn front(&self) -> Option<(usize, &M)> {
        self.entries.front().map(|(stored, meta)| (stored.len(), meta))
    }

    /// Takes the first frame out; its bytes are there while `take` runs.
    #[inline]
    pub(crate) fn pop_with<R>(&mut self, take: impl FnOnce(FrameBytes<'_>, M) -> R) -> Option<R> {
        let (stored, meta) = self.entries.pop_front()?;
        let (frame, here) = match stored {
            Stored::Shared(bytes) => (FrameBytes::Shared(bytes), 0),
            Stored::Here(len) => (FrameBytes::Slice(self.slice(self.start, len)), len),
        };
        let result = take(frame, meta);
        self.leave(here);
        Some(result)
    }

    /// Forgets the first frames, as many as there are of `frames`; `left` hears of each, and `cursor` stays where it is.
    pub(crate) fn forget(&mut self, frames: usize, cursor: &mut Cursor, mut left: impl FnMut(M)) {
        let frames = frames.min(self.entries.len());
        let mut bytes = 0;
        for (stored, meta) in self.entries.drain(..frames) {
            bytes += stored.here();
            left(meta);
        }
        self.leave(bytes);
        cursor.frames = cursor.frames.saturating_sub(frames);
        cursor.bytes = cursor.bytes.saturating_sub(bytes);
    }

    /// The frame at `cursor`, which goes on to the next one.
    pub(crate) fn next(&self, cursor: &mut Cursor) -> Option<FrameBytes<'_>> {
        let (stored, _) = self.entries.get(cursor.frames)?;
        let frame = match stored {
            Stored::Here(len) => FrameBytes::Slice(self.slice(self.start + cursor.bytes, *len)),
            Stored::Shared(bytes) => FrameBytes::Shared(bytes.clone()),
        };
        cursor.frames += 1;
        cursor.bytes += stored.here();
        Some(frame)
    }

    /// The place behind the last frame.
    pub(crate) fn end(&self) -> Cursor {
        Cursor { frames: self.entries.len(), bytes: self.bytes.len() - self.start }
    }

    /// Each frame's length and what its owner knows of it, the first one first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &M)> {
        self.entries.iter().map(|(stored, meta)| (stored.len(), meta))
    }

    /// Takes out every frame that `chosen` names by its length and what its owner knows of it. What stays moves together,
    /// so that the few that stay do not hold on to the memory of the many that went.
    pub(crate) fn take_out(&mut self, chosen: impl Fn(usize, &M) -> bool, mut out: impl FnMut(Bytes, M)) {
        if !self.iter().any(|(len, meta)| chosen(len, meta)) {
            return;
        }
        let mut all = core::mem::take(self);
        let mut sort = |frame: FrameBytes<'_>, meta| match frame {
            frame if chosen(frame.len(), &meta) => out(frame.into_bytes(), meta),
            FrameBytes::Shared(frame) => self.push_copy(&frame, meta),
            frame @ FrameBytes::Slice(_) => self.push(frame, meta),
        };
        while all.pop_with(&mut sort).is_some() {}
    }

    /// Everything that it holds, in order.
    pub(crate) fn into_frames(mut self) -> impl Iterator<Item = (Bytes, M)> {
        core::iter::from_fn(move || self.pop_with(|frame, meta| (frame.into_bytes(), meta)))
    }

    /// Gives the memory back that holds nothing.
    pub(crate) fn rest(&mut self) {
        self.entries.shrink_to_fit();
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.shrink_to_fit();
    }

    /// Room that it has: frames, and bytes of small ones.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.entries.capacity() + self.bytes.capacity()
    }

    #[inline]
    fn copy(&mut self, frame: &[u8]) -> Stored {
        self.bytes.extend_from_slice(frame);
        Stored::Here(frame.len())
    }

    /// Every length that was stored was that of bytes that are here.
    #[inline]
    fn slice(&self, at: usize, len: usize) -> &[u8] {
        self.bytes.get(at..at + len).unwrap_or_default()
    }

    /// So many bytes at the front are not needed any more. What is left moves there as soon as it is no more than what
    /// left, so that each byte that leaves pays for one that moves, and the memory in use stays small and warm.
    #[inline]
    fn leave(&mut self, bytes: usize) {
        self.start += bytes;
        if self.start >= self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        } else if self.start >= self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }
}

impl Stored {
    fn len(&self) -> usize {
        match self {
            Self::Here(len) => *len,
            Self::Shared(bytes) => bytes.len(),
        }
    }

    fn here(&self) -> usize {
        match self {
            Self::Here(len) => *len,
            Self::Shared(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests;
