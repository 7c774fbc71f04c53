//! What smol brings: clock, timers, tasks, TCP.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant as StdInstant},
};

use esf_driver::{
    blob::Blocking,
    runtime::{BoxFuture, BoxStream, Listener, Runtime, Tasks, Timer},
    tcp::tune,
};
use esf_proto::time::Instant;
use smol::{
    Executor, Timer as Sleep,
    net::{TcpListener, TcpStream},
};

/// smol, as the driver uses it: its reactor, which is there once for the process, and an executor.
#[derive(Debug)]
pub struct Smol {
    /// `None` for smol's own.
    executor: Option<Arc<Executor<'static>>>,
    epoch: StdInstant,
}

impl Smol {
    /// Runs tasks on smol's global executor.
    #[must_use]
    pub fn global() -> Self {
        Self { executor: None, epoch: StdInstant::now() }
    }

    /// Runs tasks on an executor of the application's own, which has to run as long as its clients and servers are to.
    /// Pass it to [`ClientBuilder::new`](crate::ClientBuilder::new) or [`ServerBuilder::new`](crate::ServerBuilder::new).
    #[must_use]
    pub fn on(executor: Arc<Executor<'static>>) -> Self {
        Self { executor: Some(executor), ..Self::global() }
    }
}

impl Tasks for Smol {
    fn now(&self) -> Instant {
        Instant::ZERO + self.epoch.elapsed()
    }

    fn timer(&self) -> Box<dyn Timer> {
        Box::new(SmolTimer { epoch: self.epoch, set: None, sleep: Sleep::never() })
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        match &self.executor {
            Some(executor) => executor.spawn(task),
            None => smol::spawn(task),
        }
        .detach();
    }

    fn polls_in_place(&self) -> bool {
        true
    }
}

impl Runtime for Smol {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move {
            let stream = TcpStream::connect((host, port)).await?;
            tune(&stream)?;
            Ok(crate::io(stream))
        })
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener = TcpListener::bind(address).await?;
            Ok(Box::new(SmolListener(listener)) as Box<dyn Listener>)
        })
    }
}

impl Blocking for Smol {
    async fn run<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
        smol::unblock(work).await
    }
}

/// A timer that is moved rather than made anew.
struct SmolTimer {
    epoch: StdInstant,
    set: Option<Instant>,
    sleep: Sleep,
}

impl Timer for SmolTimer {
    fn poll_until(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        if self.set != Some(at) {
            self.set = Some(at);
            self.sleep.set_at(self.epoch + Duration::from_micros(at.as_micros()));
        }
        let fired = Pin::new(&mut self.sleep).poll(cx).map(drop);
        if fired.is_ready() {
            // One that has fired never fires again by itself.
            self.set = None;
        }
        fired
    }
}

/// A TCP listener.
struct SmolListener(TcpListener);

impl Listener for SmolListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxStream, SocketAddr)>> {
        Box::pin(async move {
            let (stream, from) = self.0.accept().await?;
            // It fails for one that is gone already, which whoever reads it will see.
            let _ = tune(&stream);
            Ok((crate::io(stream), from))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

#[cfg(test)]
mod tests;
