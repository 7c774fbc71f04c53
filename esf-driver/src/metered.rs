//! Counts the bytes of a stream.

use std::io::{self, Read, Write};

/// A stream that counts what passes. Any received byte is a sign of life, and a written count that stands still while
/// bytes wait is a peer that has stopped reading: neither can be seen above the WebSocket.
#[derive(Debug)]
pub struct Metered<T> {
    /// `None` once it was taken out.
    stream: Option<T>,
    read: u64,
    written: u64,
}

impl<T> Metered<T> {
    /// Counts from zero.
    pub fn new(stream: T) -> Self {
        Self { stream: Some(stream), read: 0, written: 0 }
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

    /// The stream itself, unless it was taken out. What passes it there is not counted.
    pub fn stream_mut(&mut self) -> Option<&mut T> {
        self.stream.as_mut()
    }

    /// Takes the stream out, with its counts. What is left is a connection that is not there.
    #[must_use]
    pub fn take(&mut self) -> Self {
        Self { stream: self.stream.take(), read: self.read, written: self.written }
    }

    fn present(&mut self) -> io::Result<&mut T> {
        self.stream.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl<T: Read> Read for Metered<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.present()?.read(buffer)?;
        self.read += count as u64;
        Ok(count)
    }
}

impl<T: Write> Write for Metered<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.present()?.write(bytes)?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.present()?.flush()
    }
}

#[cfg(test)]
mod tests;
