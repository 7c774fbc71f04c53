//! Waiting for a condition that other tasks bring about.

use std::{
    sync::{Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

/// Wakes whoever waits. Whoever changes what the others look at calls [`notify`](Self::notify) afterwards.
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
