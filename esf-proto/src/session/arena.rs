//! Small copies that cost no allocation each.

use bytes::{Bytes, BytesMut};

use crate::wire::{EncodeError, Frame, Header, RawFrame};

/// Parts under this size are copied before they are kept, so that a few bytes never pin a whole read buffer.
const COPY_BELOW: usize = 1024;
const CHUNK: usize = 4096;

/// Chunks of memory that small byte strings are cut from; a chunk goes when the last of them does.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    chunk: BytesMut,
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
        self.make_room(part.len());
        self.chunk.extend_from_slice(part);
        self.chunk.split().freeze()
    }

    /// `frame` as bytes.
    pub(crate) fn encode(&mut self, frame: &Frame<'_>, header: Header) -> Result<Bytes, EncodeError> {
        let len = frame.encoded_len();
        if len >= COPY_BELOW {
            return frame.to_bytes(header);
        }
        self.make_room(len);
        frame.encode(header, &mut self.chunk)?;
        Ok(self.chunk.split().freeze())
    }

    fn make_room(&mut self, len: usize) {
        if self.chunk.capacity() < len {
            self.chunk = BytesMut::with_capacity(CHUNK);
        }
    }
}

#[cfg(test)]
mod tests;
