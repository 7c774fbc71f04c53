//! Events that wait for an application that may never look.

use std::{
    collections::VecDeque,
    task::{Context, Poll, Waker},
};

use crate::sync::{Mutex, MutexGuard, PoisonError};

/// Events that are kept when nobody takes them; beyond that the oldest is dropped.
pub(crate) const EVENTS: usize = 1024;

/// A bounded queue of events that never holds up whoever fills it.
#[derive(Debug)]
pub(crate) struct EventQueue<T>(Mutex<State<T>>);

#[derive(Debug)]
struct State<T> {
    events: VecDeque<T>,
    lost: u64,
    ended: bool,
    wakers: Vec<Waker>,
}

/// What the next look at a queue gives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<T> {
    Event(T),
    /// So many events were dropped before the next one.
    Lagged(u64),
    /// There will be no more.
    Ended,
}

impl<T> Default for EventQueue<T> {
    fn default() -> Self {
        Self(Mutex::new(State { events: VecDeque::new(), lost: 0, ended: false, wakers: Vec::new() }))
    }
}

impl<T> EventQueue<T> {
    pub(crate) fn push(&self, event: T) {
        let mut state = self.lock();
        if state.events.len() >= EVENTS {
            state.events.pop_front();
            state.lost += 1;
        }
        state.events.push_back(event);
        wake(state);
    }

    /// No more events come.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        wake(state);
    }

    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Next<T>> {
        let mut state = self.lock();
        if state.lost > 0 {
            return Poll::Ready(Next::Lagged(std::mem::take(&mut state.lost)));
        }
        if let Some(event) = state.events.pop_front() {
            return Poll::Ready(Next::Event(event));
        }
        if state.ended {
            return Poll::Ready(Next::Ended);
        }
        if !state.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake<T>(mut state: MutexGuard<'_, State<T>>) {
    let wakers = std::mem::take(&mut state.wakers);
    drop(state);
    wakers.into_iter().for_each(Waker::wake);
}

#[cfg(all(test, feature = "async"))]
mod tests;
