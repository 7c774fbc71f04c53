//! What an adapter brings: a clock, timers, tasks and sockets.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use esf_proto::time::Instant;
use futures_io::{AsyncRead, AsyncWrite};

/// A future on the heap that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A stream of bytes in both directions: a socket, a TLS session, an in-memory duplex.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for T {}

/// Any [`ByteStream`]. One type for all keeps the loops compiled once; the indirect call is nothing beside the system
/// call behind it.
pub type BoxStream = Box<dyn ByteStream>;

/// An asynchronous runtime.
pub trait Runtime: Send + Sync + 'static {
    /// Now, on a monotonic clock of the runtime's own epoch.
    fn now(&self) -> Instant;

    /// A timer that is not set.
    fn timer(&self) -> Box<dyn Timer>;

    /// Runs a task on its own. It may be called from any thread.
    fn spawn(&self, task: BoxFuture<'static, ()>);

    /// Connects by TCP, without delay for small packets.
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<BoxStream>>;

    /// Listens on a TCP address, `host:port`; port 0 takes a free one.
    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>>;
}

/// One timer of a runtime.
pub trait Timer: Send {
    /// Ready once the clock has reached `at`; until then the waker is woken at that time. A call with another instant
    /// sets the timer anew.
    fn poll_until(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()>;
}

/// Something that accepts streams.
pub trait Listener: Send {
    /// The next stream and where it comes from.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxStream, SocketAddr)>>;

    /// The address that it listens on.
    ///
    /// # Errors
    /// What the system says.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// A timer that is set anew only when it must fire earlier, so that a busy link with a distant timeout does not touch
/// the runtime's timers at every turn.
pub(crate) struct Alarm {
    timer: Box<dyn Timer>,
    set: Option<Instant>,
}

impl Alarm {
    pub(crate) fn new(runtime: &dyn Runtime) -> Self {
        Self { timer: runtime.timer(), set: None }
    }

    /// Ready once `at` has come; never for `None`.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, now: Instant, at: Option<Instant>) -> Poll<()> {
        let Some(at) = at else { return Poll::Pending };
        if at <= now {
            return Poll::Ready(());
        }
        loop {
            let set = *self.set.get_or_insert(at);
            let set = if at < set { at } else { set };
            self.set = Some(set);
            if self.timer.poll_until(cx, set).is_pending() {
                return Poll::Pending;
            }
            self.set = None;
            if set >= at {
                return Poll::Ready(());
            }
        }
    }
}

/// Waits until `at`.
pub(crate) async fn sleep_until(runtime: &dyn Runtime, at: Instant) {
    let mut timer = runtime.timer();
    std::future::poll_fn(|cx| timer.poll_until(cx, at)).await;
}

/// Waits for `future` for `limit` at most; `None` when the time is over, with the future dropped.
pub(crate) async fn within<T>(runtime: &dyn Runtime, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let at = runtime.now() + limit;
    // Most futures are ready at once and need no timer.
    let mut timer = None;
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => timer.get_or_insert_with(|| runtime.timer()).poll_until(cx, at).map(|()| None),
    })
    .await
}
