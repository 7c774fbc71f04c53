//! At most once, by order instead of a clock (ESF-310).

use alloc::{boxed::Box, collections::VecDeque};

use super::blob::STREAMS;

/// How many ids of one sender are remembered beside the highest.
const REMEMBERED: usize = 1024;

/// What a receiving engine knows of the certain sends of one sending engine: the highest id that it accepted live and
/// the last 1,024. Costs nothing until the first id comes.
#[derive(Debug, Clone, Default)]
pub struct Dedupe(Option<Box<Seen>>);

#[derive(Debug, Clone, Default)]
struct Seen {
    highest: u64,
    /// Accepted ids, ascending.
    last: VecDeque<u64>,
    /// The last blobs that came whole, in any order of their ids.
    blobs: VecDeque<u64>,
}

/// What to do with a certain send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is new: run it and acknowledge it.
    Run,
    /// It was run: acknowledge it again.
    Again,
    /// A later one of this sender was accepted and this one is not known: refuse it with `ConnectionLost`.
    Late,
}

impl Dedupe {
    /// What to do with `id`. Changes nothing: a receiver that has no room refuses it and may be asked again.
    #[must_use]
    pub fn check(&self, id: u64) -> Verdict {
        match &self.0 {
            Some(seen) if id > seen.highest && !seen.has_stored_from(id) => Verdict::Run,
            Some(seen) if seen.last.binary_search(&id).is_ok() => Verdict::Again,
            Some(seen) if id > seen.highest => Verdict::Run,
            Some(_) => Verdict::Late,
            None => Verdict::Run,
        }
    }

    /// What to do with `id`, which is remembered if it is to be run.
    pub fn accept(&mut self, id: u64) -> Verdict {
        let verdict = self.check(id);
        if verdict == Verdict::Run {
            let seen = self.0.get_or_insert_default();
            seen.keep(id);
            seen.highest = id;
        }
        verdict
    }

    /// Whether a stored message `id` is new; it is remembered. Only the ids that are remembered count: what was stored comes
    /// later than what was not.
    pub fn accept_stored(&mut self, id: u64) -> bool {
        let seen = self.0.get_or_insert_default();
        let is_new = seen.last.binary_search(&id).is_err();
        if is_new {
            seen.keep(id);
        }
        is_new
    }

    /// Remembers that the blob `id` came whole. As many are kept as a sender may have under way: one that was answered
    /// before those cannot be offered again.
    pub fn keep_blob(&mut self, id: u64) {
        let seen = self.0.get_or_insert_default();
        if !seen.blobs.contains(&id) {
            if seen.blobs.len() == STREAMS {
                seen.blobs.pop_front();
            }
            seen.blobs.push_back(id);
        }
    }

    /// Whether the blob `id` came whole before.
    #[must_use]
    pub fn has_blob(&self, id: u64) -> bool {
        self.0.as_ref().is_some_and(|seen| seen.blobs.contains(&id))
    }

    /// How many ids are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |seen| seen.last.len() + seen.blobs.len())
    }

    /// Whether no id was accepted yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl Seen {
    /// Whether ids above the highest that was accepted live are remembered, this one or a later one.
    fn has_stored_from(&self, id: u64) -> bool {
        self.last.back().is_some_and(|last| *last >= id)
    }

    /// Remembers an id that is not remembered yet. Most are above all others.
    fn keep(&mut self, id: u64) {
        if self.last.len() == REMEMBERED {
            self.last.pop_front();
        }
        match self.last.back() {
            Some(last) if *last > id => {
                if let Err(at) = self.last.binary_search(&id) {
                    self.last.insert(at, id);
                }
            }
            _ => self.last.push_back(id),
        }
    }
}

#[cfg(test)]
mod tests;
