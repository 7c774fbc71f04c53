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
mod tests {
    use super::*;

    fn frame(len: usize, fill: u8) -> RawFrame {
        let body = std::vec![fill; len];
        RawFrame::parse(Frame::PreQuery { info_type: 1, body: &body }.to_bytes(Header::default()).unwrap()).unwrap()
    }

    fn body(frame: &RawFrame) -> &[u8] {
        let Ok(Frame::PreQuery { body, .. }) = frame.decode() else { panic!("decodes") };
        body
    }

    #[test]
    fn copies_what_is_small_and_shares_what_is_large() {
        let mut arena = Arena::default();
        for (len, shared) in [(COPY_BELOW - 1, false), (COPY_BELOW, true)] {
            let frame = frame(len, 7);
            let kept = arena.keep(&frame, body(&frame));
            assert_eq!(kept, body(&frame));
            assert_eq!(kept.as_ptr() == body(&frame).as_ptr(), shared);
        }
    }

    #[test]
    fn neighbours_do_not_overwrite_each_other() {
        let mut arena = Arena::default();
        let kept: std::vec::Vec<_> = (0..=255)
            .map(|n| {
                let frame = frame(100, n);
                arena.keep(&frame, body(&frame))
            })
            .collect();
        assert!(kept.iter().zip(0..=255u8).all(|(bytes, n)| bytes[..] == [n; 100]));
    }

    #[test]
    fn encodes_as_the_frame_does() {
        let mut arena = Arena::default();
        for len in [0, 100, 5_000] {
            let body = std::vec![3; len];
            let frame = Frame::PreQuery { info_type: 1, body: &body };
            assert_eq!(arena.encode(&frame, Header::default()), frame.to_bytes(Header::default()));
        }
    }
}
