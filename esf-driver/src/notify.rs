//! Wakers that wait for other threads and tasks.

use std::task::{Context, Poll, Waker};

use crate::sync::{Mutex, PoisonError};

/// The one task, or thread, that does some work: whoever has work for it wakes it.
#[derive(Debug, Default)]
pub(crate) struct Worker(Mutex<Option<Waker>>);

impl Worker {
    /// Wakes `waker` at the next [`wake`](Self::wake), and nobody else any more.
    pub(crate) fn register(&self, waker: &Waker) {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(present) => present.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    /// Wakes it, once until it registers again.
    pub(crate) fn wake(&self) {
        let waker = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Wakes whoever waits for a condition. Whoever changes what the others look at calls [`notify`](Self::notify) afterwards.
#[derive(Debug, Default)]
pub(crate) struct Notify(Mutex<Vec<Waker>>);

impl Notify {
    pub(crate) fn notify(&self) {
        let wakers = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Ready once `holds`.
    pub(crate) fn poll(&self, cx: &mut Context<'_>, mut holds: impl FnMut() -> bool) -> Poll<()> {
        if holds() {
            return Poll::Ready(());
        }
        let mut wakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            wakers.push(cx.waker().clone());
        }
        drop(wakers);
        // It may have come true in between, with nobody to wake yet.
        if holds() { Poll::Ready(()) } else { Poll::Pending }
    }

    pub(crate) async fn until(&self, mut holds: impl FnMut() -> bool) {
        std::future::poll_fn(|cx| self.poll(cx, &mut holds)).await;
    }
}
