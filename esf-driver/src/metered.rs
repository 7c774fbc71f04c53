//! Counts the bytes of a stream.

use std::io::{self, Read, Write};

/// A stream that counts what passes. Any received byte is a sign of life, and a written count that stands still while
/// bytes wait is a peer that has stopped reading: neither can be seen above the WebSocket.
#[derive(Debug)]
pub struct Metered<T> {
    stream: T,
    read: u64,
    written: u64,
}

impl<T> Metered<T> {
    /// Counts from zero.
    pub fn new(stream: T) -> Self {
        Self { stream, read: 0, written: 0 }
    }

    /// Bytes read so far.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.read
    }

    /// Bytes written so far.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.written
    }

    /// The stream itself. What passes it there is not counted.
    pub fn stream_mut(&mut self) -> &mut T {
        &mut self.stream
    }
}

impl<T: Read> Read for Metered<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.read += count as u64;
        Ok(count)
    }
}

impl<T: Write> Write for Metered<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.stream.write(bytes)?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests;
