//! The memory under a pump.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Read, Write},
};

/// Bytes that wait to go out before no more are taken. A heartbeat waits behind no more than this.
pub const ROOM: usize = 32 * 1024;

/// A stream in memory that never blocks: what was handed in is read, what is written waits to be taken out.
///
/// It is flushed when all that was written was taken out and went out, so that whoever is above knows of bytes that do not
/// move.
#[derive(Debug, Default)]
pub struct Pipe {
    incoming: VecDeque<u8>,
    outgoing: Vec<u8>,
    /// What was taken out has not yet gone out.
    lent: bool,
    ended: bool,
}

impl Pipe {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.incoming.extend(bytes);
    }

    pub(super) fn end(&mut self) {
        self.ended = true;
        self.lent = false;
    }

    pub(super) fn has_bytes(&self) -> bool {
        !self.lent && !self.outgoing.is_empty()
    }

    pub(super) fn lend(&mut self, buffer: &mut Vec<u8>) -> bool {
        if !self.has_bytes() {
            return false;
        }
        buffer.clear();
        std::mem::swap(&mut self.outgoing, buffer);
        self.lent = true;
        true
    }

    pub(super) fn take_back(&mut self) {
        self.lent = false;
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.incoming.is_empty() && !self.ended {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.incoming.read(buffer)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.ended {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let count = bytes.len().min(ROOM - self.outgoing.len().min(ROOM));
        if count == 0 && !bytes.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.outgoing.extend(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        // After the end nothing moves any more, so there is nothing to wait for.
        if self.ended || (self.outgoing.is_empty() && !self.lent) { Ok(()) } else { Err(ErrorKind::WouldBlock.into()) }
    }
}
