//! One value from whoever has it to whoever waits for it, as a task or as a thread.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use crate::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Both ends of one value.
pub(crate) fn completion<T>() -> (Teller<T>, Told<T>) {
    let slot = Arc::new(Mutex::new(Slot { value: None, waker: None, over: false }));
    (Teller(slot.clone()), Told(slot))
}

/// Tells the value. Dropped without, it says that there will be none.
#[derive(Debug)]
pub(crate) struct Teller<T>(Arc<Mutex<Slot<T>>>);

/// The value that will be told; `None` if it never will.
#[derive(Debug)]
pub(crate) struct Told<T>(Arc<Mutex<Slot<T>>>);

#[derive(Debug)]
struct Slot<T> {
    value: Option<T>,
    waker: Option<Waker>,
    /// One end is gone.
    over: bool,
}

impl<T> Teller<T> {
    /// Tells it. Whoever has stopped waiting does not mind.
    pub(crate) fn tell(self, value: T) {
        lock(&self.0).value = Some(value);
        // Dropping this wakes.
    }

    /// Whether nobody waits any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        lock(&self.0).over
    }
}

impl<T> Drop for Teller<T> {
    fn drop(&mut self) {
        let mut slot = lock(&self.0);
        slot.over = true;
        let waker = slot.waker.take();
        drop(slot);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Told<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut slot = lock(&self.0);
        if slot.value.is_some() || slot.over {
            return Poll::Ready(slot.value.take());
        }
        match &mut slot.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            waker => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl<T> Drop for Told<T> {
    fn drop(&mut self) {
        lock(&self.0).over = true;
    }
}

/// A slot is whole after every step, so a panic elsewhere leaves nothing half done in it.
fn lock<T>(slot: &Mutex<Slot<T>>) -> MutexGuard<'_, Slot<T>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
