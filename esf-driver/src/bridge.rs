//! An asynchronous stream as a non-blocking one.

use std::{
    io::{self, ErrorKind, Read, Write},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use futures_io::{AsyncRead, AsyncWrite};

use crate::runtime::BoxStream;

/// Lets tungstenite, which knows `Read` and `Write`, use an asynchronous stream: what would wait is
/// [`ErrorKind::WouldBlock`], and the task is woken when it need not wait any more. One task uses it, so one waker
/// serves both directions.
pub(crate) struct Bridge {
    stream: BoxStream,
    waker: Waker,
}

impl Bridge {
    pub(crate) fn new(stream: BoxStream) -> Self {
        Self { stream, waker: Waker::noop().clone() }
    }

    /// The task to wake from now on.
    pub(crate) fn set_waker(&mut self, waker: &Waker) {
        self.waker.clone_from(waker);
    }
}

impl Read for Bridge {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        or_would_block(Pin::new(&mut self.stream).poll_read(&mut Context::from_waker(&self.waker), buffer))
    }
}

impl Write for Bridge {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        or_would_block(Pin::new(&mut self.stream).poll_write(&mut Context::from_waker(&self.waker), bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        or_would_block(Pin::new(&mut self.stream).poll_flush(&mut Context::from_waker(&self.waker)))
    }
}

fn or_would_block<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}
