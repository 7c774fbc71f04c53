//! Waiting as a thread for what would wake a task.

use std::{
    cell::Cell,
    pin::pin,
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant as StdInstant},
};

use esf_proto::time::Instant;

use crate::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    tasks::Timer,
};

/// The time was over before anything came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the time is over")]
pub struct Elapsed;

/// Wakes one thread.
#[derive(Debug, Default)]
pub(super) struct Signal {
    state: Mutex<SignalState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct SignalState {
    woken: bool,
    /// Whether the thread waits: to notify a condition costs a system call, also when nobody does.
    waiting: bool,
}

impl Signal {
    /// Waits until it is woken, or until `at`. A wake since the last wait counts.
    pub(super) fn wait_until(&self, at: Option<StdInstant>) {
        let mut state = self.lock();
        while !state.woken {
            let left = at.map(|at| at.saturating_duration_since(StdInstant::now()));
            state.waiting = true;
            state = match left {
                Some(Duration::ZERO) => break,
                Some(left) => self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        *state = SignalState::default();
    }

    fn lock(&self) -> MutexGuard<'_, SignalState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut state = self.lock();
        state.woken = true;
        // Once is enough, however often it is woken before it looks.
        if std::mem::take(&mut state.waiting) {
            drop(state);
            self.changed.notify_one();
        }
    }
}

thread_local! {
    /// The first of the timers that the present look of [`run`] waits for.
    static FIRST_TIMER: Cell<Option<StdInstant>> = const { Cell::new(None) };
}

/// Waits on this thread until `future` is done. It may wait for what this crate has to wait for, and for [`Clock`]'s
/// timers: those of a runtime would need that runtime.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    wait(None, |cx| future.as_mut().poll(cx)).unwrap_or_else(|Elapsed| unreachable!("it has all the time"))
}

/// The same for `limit` at most.
pub(super) fn run_within<T>(limit: Duration, future: impl Future<Output = T>) -> Result<T, Elapsed> {
    let mut future = pin!(future);
    wait(StdInstant::now().checked_add(limit), |cx| future.as_mut().poll(cx))
}

fn wait<T>(limit: Option<StdInstant>, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Result<T, Elapsed> {
    let signal = Arc::new(Signal::default());
    let waker = Waker::from(signal.clone());
    // A handler that runs in here may wait for something itself.
    let outer = FIRST_TIMER.take();
    let result = loop {
        FIRST_TIMER.set(None);
        if let Poll::Ready(value) = poll(&mut Context::from_waker(&waker)) {
            break Ok(value);
        }
        if limit.is_some_and(|limit| limit <= StdInstant::now()) {
            break Err(Elapsed);
        }
        signal.wait_until([limit, FIRST_TIMER.get()].into_iter().flatten().min());
    };
    FIRST_TIMER.set(outer);
    result
}

/// A monotonic clock, with timers for [`run`].
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    epoch: StdInstant,
}

impl Default for Clock {
    fn default() -> Self {
        Self { epoch: StdInstant::now() }
    }
}

impl Clock {
    /// Now.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::ZERO + self.epoch.elapsed()
    }

    /// A timer that is not set.
    #[must_use]
    pub fn timer(&self) -> Box<dyn Timer> {
        Box::new(*self)
    }
}

impl Timer for Clock {
    fn poll_until(&mut self, _: &mut Context<'_>, at: Instant) -> Poll<()> {
        let left = at.since(self.now());
        if left.is_zero() {
            return Poll::Ready(());
        }
        let at = StdInstant::now().checked_add(left);
        FIRST_TIMER.set([FIRST_TIMER.get(), at].into_iter().flatten().min());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests;
