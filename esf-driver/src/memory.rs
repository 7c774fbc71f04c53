//! An in-memory connection: for tests, and for a client and a server in one process.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Read as _},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

use futures_io::{AsyncRead, AsyncWrite};

/// Two ends of a connection that holds at most `capacity` bytes in each direction.
#[must_use]
pub fn duplex(capacity: usize) -> (Duplex, Duplex) {
    let up = Arc::new(Mutex::new(Pipe::new(capacity)));
    let down = Arc::new(Mutex::new(Pipe::new(capacity)));
    (Duplex { incoming: down.clone(), outgoing: up.clone() }, Duplex { incoming: up, outgoing: down })
}

/// One end of an in-memory connection. Dropping it ends both directions.
#[derive(Debug)]
pub struct Duplex {
    incoming: Arc<Mutex<Pipe>>,
    outgoing: Arc<Mutex<Pipe>>,
}

/// One direction.
#[derive(Debug)]
struct Pipe {
    bytes: VecDeque<u8>,
    capacity: usize,
    /// No more comes in.
    ended: bool,
    /// Nobody reads any more.
    broken: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn new(capacity: usize) -> Self {
        Self { bytes: VecDeque::new(), capacity, ended: false, broken: false, reader: None, writer: None }
    }

    fn wake(waker: &mut Option<Waker>) {
        if let Some(waker) = waker.take() {
            waker.wake();
        }
    }
}

impl AsyncRead for Duplex {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut pipe = lock(&self.incoming);
        if pipe.bytes.is_empty() && !pipe.ended {
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = pipe.bytes.read(buffer);
        Pipe::wake(&mut pipe.writer);
        Poll::Ready(count)
    }
}

impl AsyncWrite for Duplex {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut pipe = lock(&self.outgoing);
        if pipe.broken || pipe.ended {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        let count = bytes.len().min(pipe.capacity - pipe.bytes.len());
        if count == 0 && !bytes.is_empty() {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        pipe.bytes.extend(&bytes[..count]);
        Pipe::wake(&mut pipe.reader);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pipe = lock(&self.outgoing);
        pipe.ended = true;
        Pipe::wake(&mut pipe.reader);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Duplex {
    fn drop(&mut self) {
        let mut pipe = lock(&self.outgoing);
        pipe.ended = true;
        Pipe::wake(&mut pipe.reader);
        drop(pipe);
        let mut pipe = lock(&self.incoming);
        pipe.broken = true;
        Pipe::wake(&mut pipe.writer);
    }
}

/// A pipe is whole after every step, so a panic elsewhere leaves nothing half done in it.
fn lock(pipe: &Mutex<Pipe>) -> std::sync::MutexGuard<'_, Pipe> {
    pipe.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
