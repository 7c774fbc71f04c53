//! What tokio brings: clock, timers, tasks, TCP.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use esf_driver::{
    blob::Blocking,
    runtime::{BoxFuture, BoxStream, Listener, Runtime, Tasks, Timer},
    tcp::tune,
};
use esf_proto::time::Instant;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Handle,
    task::spawn_blocking,
    time::{Instant as TokioInstant, Sleep, sleep_until},
};

use crate::io::io;

/// A tokio runtime, as the driver uses it.
#[derive(Debug)]
pub struct Tokio {
    handle: Handle,
    epoch: TokioInstant,
}

impl Tokio {
    /// The runtime that this is called in.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn current() -> Self {
        Self { handle: Handle::current(), epoch: TokioInstant::now() }
    }
}

impl Tasks for Tokio {
    fn now(&self) -> Instant {
        Instant::ZERO + self.epoch.elapsed()
    }

    fn timer(&self) -> Box<dyn Timer> {
        Box::new(TokioTimer { handle: self.handle.clone(), epoch: self.epoch, sleep: None })
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.handle.spawn(task);
    }

    fn polls_in_place(&self) -> bool {
        true
    }
}

impl Runtime for Tokio {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move {
            let stream = TcpStream::connect((host, port)).await?;
            tune(&stream)?;
            Ok(io(stream))
        })
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener = TcpListener::bind(address).await?;
            Ok(Box::new(TokioListener(listener)) as Box<dyn Listener>)
        })
    }
}

impl Blocking for Tokio {
    async fn run<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
        spawn_blocking(work).await.unwrap_or_else(|_| Err(io::Error::other("the runtime ends")))
    }
}

/// A timer that is made when it is first waited for, and moved after that.
struct TokioTimer {
    handle: Handle,
    epoch: TokioInstant,
    sleep: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Timer for TokioTimer {
    fn poll_until(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let deadline = self.epoch + Duration::from_micros(at.as_micros());
        let (set, sleep) = match &mut self.sleep {
            Some((set, sleep)) => (set, sleep),
            sleep => {
                // The task may have been polled by another executor; the timer belongs to this runtime.
                let _context = self.handle.enter();
                let (set, sleep) = sleep.insert((at, Box::pin(sleep_until(deadline))));
                (set, sleep)
            }
        };
        if *set != at {
            *set = at;
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(cx)
    }
}

/// A TCP listener.
struct TokioListener(TcpListener);

impl Listener for TokioListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxStream, SocketAddr)>> {
        Box::pin(async move {
            let (stream, from) = self.0.accept().await?;
            // It fails for one that is gone already, which whoever reads it will see.
            let _ = tune(&stream);
            Ok((io(stream), from))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
