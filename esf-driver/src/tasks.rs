//! Tasks and the waiting in them, without a runtime's name.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use esf_proto::time::Instant;

/// A future on the heap that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A clock, timers and tasks.
pub trait Tasks: Send + Sync + 'static {
    /// Now, on a monotonic clock of an epoch of its own.
    fn now(&self) -> Instant;

    /// A timer that is not set.
    fn timer(&self) -> Box<dyn Timer>;

    /// Runs a task on its own. It may be called from any thread.
    fn spawn(&self, task: BoxFuture<'static, ()>);

    /// Whether futures return soon when they are polled, as asynchronous ones should, so that one which is likely to be
    /// ready may be polled right away instead of in a task. Not where handlers block.
    fn polls_in_place(&self) -> bool {
        false
    }
}

/// One timer.
pub trait Timer: Send {
    /// Ready once the clock has reached `at`; until then the waker is woken at that time. A call with another instant
    /// sets the timer anew.
    fn poll_until(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()>;
}

/// A timer that is set anew only when it must fire earlier, so that a busy link with a distant timeout does not touch
/// the runtime's timers at every turn.
#[cfg(feature = "async")]
pub(crate) struct Alarm {
    timer: Box<dyn Timer>,
    set: Option<Instant>,
}

#[cfg(feature = "async")]
impl Alarm {
    pub(crate) fn new(runtime: &dyn Tasks) -> Self {
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
#[cfg(feature = "async")]
pub(crate) async fn sleep_until(runtime: &dyn Tasks, at: Instant) {
    let mut timer = runtime.timer();
    std::future::poll_fn(|cx| timer.poll_until(cx, at)).await;
}

/// Waits for `future` for `limit` at most; `None` when the time is over, with the future dropped.
pub(crate) async fn within<T>(runtime: &dyn Tasks, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
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

/// Waits for `future`; what it panics with is the error. The panic hook has reported it then.
pub(crate) async fn catch_panic<T>(future: impl Future<Output = T>) -> std::thread::Result<T> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}
