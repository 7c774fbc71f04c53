//! Collects what goes out on a stream.

use std::io::{self, ErrorKind, Read, Write};

/// A stream whose writes wait here, and take memory, until a flush. A write takes everything; a flush may not.
#[derive(Debug)]
pub(crate) struct Buffered<T> {
    stream: T,
    out: Vec<u8>,
    /// Bytes of `out` that the stream has taken.
    taken: usize,
}

impl<T> Buffered<T> {
    pub(crate) fn new(stream: T) -> Self {
        Self { stream, out: Vec::new(), taken: 0 }
    }

    pub(crate) fn get_ref(&self) -> &T {
        &self.stream
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        &mut self.stream
    }

    /// Puts two parts behind what waits.
    pub(crate) fn put<const N: usize>(&mut self, head: [u8; N], body: &[u8]) {
        self.out.reserve(N + body.len());
        self.out.extend_from_slice(&head);
        self.out.extend_from_slice(body);
    }

    /// Bytes that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.out.len() - self.taken
    }

    /// Whether it has memory that [`Self::rest`] would give back.
    pub(crate) fn is_awake(&self) -> bool {
        self.out.capacity() > 0
    }

    /// Gives the memory back if nothing waits.
    pub(crate) fn rest(&mut self) {
        if self.waiting() == 0 {
            self.out = Vec::new();
        }
    }
}

impl<T: Read> Read for Buffered<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl<T: Write> Write for Buffered<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        while let Some(waiting) = self.out.get(self.taken..).filter(|waiting| !waiting.is_empty()) {
            match self.stream.write(waiting) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.taken += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.taken = 0;
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests;
