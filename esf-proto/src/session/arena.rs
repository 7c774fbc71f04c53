//! Small copies that cost no allocation each.

use alloc::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::wire::{EncodeError, Frame, Header, RawFrame};

/// Parts under this size are copied before they are kept, so that a few bytes never pin a whole read buffer.
const COPY_BELOW: usize = 1024;
const CHUNK: usize = 4096;
/// The first chunk is smaller: most sessions say little.
const FIRST_CHUNK: usize = 512;
/// Spent chunks that are kept to be used again.
const SPENT: usize = 8;

/// Chunks of memory that small byte strings are cut from. A spent chunk is used again when the last string in it is
/// gone, so that steady traffic allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    chunk: Option<BytesMut>,
    /// Whether `chunk` is the small first one, which is not used again.
    first: bool,
    spent: VecDeque<BytesMut>,
}

impl Arena {
    /// A part of `frame` as bytes that may be kept for long: copied if small, else shared with the frame.
    pub(crate) fn keep(&mut self, frame: &RawFrame, part: &[u8]) -> Bytes {
        if part.is_empty() {
            return Bytes::new();
        }
        if part.len() >= COPY_BELOW {
            return frame.share(part);
        }
        let mut chunk = self.chunk_for(part.len());
        chunk.extend_from_slice(part);
        let kept = chunk.split().freeze();
        self.chunk = Some(chunk);
        kept
    }

    /// `frame` as bytes.
    pub(crate) fn encode(&mut self, frame: &Frame<'_>, header: Header) -> Result<Bytes, EncodeError> {
        let len = frame.encoded_len();
        if len >= COPY_BELOW {
            return frame.to_bytes(header);
        }
        let mut chunk = self.chunk_for(len);
        let encoded = frame.encode(header, &mut chunk).map(|()| chunk.split().freeze());
        self.chunk = Some(chunk);
        encoded
    }

    /// An empty chunk with room for `len` bytes.
    fn chunk_for(&mut self, len: usize) -> BytesMut {
        match self.chunk.take() {
            Some(chunk) if chunk.capacity() >= len => return chunk,
            Some(_) if self.first => {}
            Some(spent) => self.spent.push_back(spent),
            None if len <= FIRST_CHUNK => {
                self.first = true;
                return BytesMut::with_capacity(FIRST_CHUNK);
            }
            None => {}
        }
        self.first = false;
        // The oldest is the one whose strings are most likely gone.
        if self.spent.front_mut().is_some_and(|oldest| oldest.try_reclaim(CHUNK)) || self.spent.len() >= SPENT {
            let oldest = self.spent.pop_front().unwrap_or_default();
            if oldest.capacity() >= CHUNK {
                return oldest;
            }
        }
        BytesMut::with_capacity(CHUNK)
    }
}

#[cfg(test)]
mod tests;
