//! Limits how many handlers run at the same time.

use std::collections::VecDeque;

use crate::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

/// The gates of one client or server.
pub(crate) struct Gates {
    /// For sources whose messages are being handled.
    pub(crate) messages: Arc<Gate>,
    /// For queries.
    pub(crate) queries: Arc<Gate>,
    /// For blobs, where nobody waits.
    pub(crate) blobs: Arc<Gate>,
}

impl Gates {
    /// As many blobs as the core admits.
    pub(crate) fn new(messages: usize, queries: usize) -> Self {
        Self {
            messages: Gate::new(Kind::Messages, messages),
            queries: Gate::new(Kind::Queries, queries),
            blobs: Gate::new(Kind::Blobs, usize::MAX),
        }
    }

    /// So many of each, for handlers that take a thread each.
    pub(crate) fn of_threads(threads: usize) -> Self {
        Self { blobs: Gate::new(Kind::Blobs, threads), ..Self::new(threads, threads) }
    }
}

/// Which gate.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Messages,
    Queries,
    Blobs,
}

/// Lets so many in; the others are told when there is room.
pub(crate) struct Gate {
    kind: Kind,
    limit: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    inside: usize,
    /// Who was refused, each once, in order.
    waiting: VecDeque<Arc<dyn Visitor>>,
}

/// Something that enters.
pub(crate) trait Visitor: Send + Sync {
    /// There is room again for one that was refused.
    fn handle_room(self: Arc<Self>);

    /// Whether it waits at this gate. The gate's alone to change.
    fn waits(&self, kind: Kind) -> &AtomicBool;
}

/// A place behind a gate, given back when dropped.
pub(crate) struct Place(Arc<Gate>);

impl Gate {
    fn new(kind: Kind, limit: usize) -> Arc<Self> {
        Arc::new(Self { kind, limit: limit.max(1), state: Mutex::default() })
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// A place, if there is one now.
    pub(crate) fn try_enter(self: &Arc<Self>) -> Option<Place> {
        let mut state = self.lock();
        let fits = state.inside < self.limit;
        state.inside += usize::from(fits);
        fits.then(|| Place(self.clone()))
    }

    /// A place for `who`; if there is none, `who` is told when there is one again.
    pub(crate) fn enter<P: Visitor + 'static>(self: &Arc<Self>, who: &Arc<P>) -> Option<Place> {
        let mut state = self.lock();
        if state.inside < self.limit {
            state.inside += 1;
            return Some(Place(self.clone()));
        }
        if !who.waits(self.kind).swap(true, Ordering::Relaxed) {
            state.waiting.push_back(who.clone());
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let gate = &self.0;
        let mut state = gate.lock();
        state.inside -= 1;
        // Whoever is told may have nothing to do any more: it came in meanwhile, as it can without being told. Then the
        // place is for the next.
        while state.inside < gate.limit {
            let Some(next) = state.waiting.pop_front() else { return };
            next.waits(gate.kind).store(false, Ordering::Relaxed);
            drop(state);
            next.handle_room();
            state = gate.lock();
        }
    }
}

#[cfg(test)]
mod tests;
