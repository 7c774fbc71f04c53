//! What the hub has asked the store and is to hear of (see [`store`](crate::store)).

use alloc::collections::{BTreeMap, VecDeque};

use super::people::{Asker, Listing};
use crate::{
    ids::UserId,
    store::{JobId, StoreRequest},
    time::Instant,
};

/// Requests that may be open at a time.
const OPEN: usize = 65_536;

/// The open requests. They end in the order in which they were asked, if the store does not answer.
#[derive(Debug)]
pub(super) struct Jobs<P> {
    pub(super) open: BTreeMap<JobId, (Instant, P)>,
    requests: VecDeque<(JobId, StoreRequest)>,
    last: u64,
}

/// What an answer is for.
#[derive(Debug)]
pub(super) enum Purpose<H> {
    /// To know somebody.
    Person(UserId),
    /// To answer a request.
    List(Asker<H>, Listing),
}

impl<P> Jobs<P> {
    /// None yet. Their numbers are above `last`.
    pub(super) const fn above(last: u64) -> Self {
        Self { open: BTreeMap::new(), requests: VecDeque::new(), last }
    }

    /// Whether [`Jobs::ask`] would ask.
    pub(super) fn has_room(&self) -> bool {
        self.open.len() < OPEN
    }

    /// Asks; `None` if too much is open.
    pub(super) fn ask(&mut self, until: Instant, purpose: P, request: StoreRequest) -> Option<JobId> {
        if !self.has_room() {
            return None;
        }
        self.last += 1;
        let id = JobId(self.last);
        self.open.insert(id, (until, purpose));
        self.requests.push_back((id, request));
        Some(id)
    }

    /// The next request for the store. One whose time is over is not asked any more.
    pub(super) fn poll(&mut self) -> Option<(JobId, StoreRequest)> {
        loop {
            let (id, request) = self.requests.pop_front()?;
            if self.open.contains_key(&id) {
                return Some((id, request));
            }
        }
    }

    /// Whether [`Jobs::poll`] has something.
    pub(super) fn has_request(&self) -> bool {
        !self.requests.is_empty()
    }

    /// What an answer is for, if anybody waits for it.
    pub(super) fn take(&mut self, id: JobId) -> Option<P> {
        self.open.remove(&id).map(|(_, purpose)| purpose)
    }

    /// A request whose time is over.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(JobId, P)> {
        let first = self.open.first_entry().filter(|entry| entry.get().0 <= now)?;
        let (id, (_, purpose)) = first.remove_entry();
        // One that nobody fetched must not wait for ever.
        while self.requests.front().is_some_and(|(waits, _)| *waits <= id) {
            self.requests.pop_front();
        }
        Some((id, purpose))
    }

    /// When [`Jobs::pop_due`] has something.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.open.first_key_value().map(|(_, (until, _))| *until)
    }
}

#[cfg(test)]
mod tests;
