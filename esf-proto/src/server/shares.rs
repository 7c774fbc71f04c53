//! No sender may hold more than half of a queue.

use alloc::collections::BTreeMap;

use crate::ids::SessionId;

/// How many bytes of a queue came from whom.
///
/// While less than half of the queue is full nobody can hold more than half, so nothing is kept then. The table is made
/// when the queue passes half and goes when the queue falls below a quarter: the quick path pays nothing for it.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    held: Option<BTreeMap<SessionId, usize>>,
}

impl Shares {
    /// Whether `source` may add `bytes` to a queue that holds `queued` of at most `limit`.
    pub(crate) fn admit<I: Iterator<Item = (SessionId, usize)>>(
        &mut self,
        source: SessionId,
        bytes: usize,
        queued: usize,
        limit: usize,
        entries: impl FnOnce() -> I,
    ) -> bool {
        let half = limit / 2;
        if queued == 0 || queued + bytes <= half {
            if queued < limit / 4 {
                self.held = None;
            } else {
                self.add(source, bytes);
            }
            return true;
        }
        let held = self.held.get_or_insert_with(|| {
            let mut held = BTreeMap::new();
            for (source, bytes) in entries() {
                *held.entry(source).or_insert(0) += bytes;
            }
            held
        });
        // A source that is refused leaves no trace: there is no end of sources that may try.
        let share = held.get(&source).copied().unwrap_or(0);
        if share + bytes > half {
            return false;
        }
        held.insert(source, share + bytes);
        true
    }

    fn add(&mut self, source: SessionId, bytes: usize) {
        if let Some(held) = &mut self.held {
            *held.entry(source).or_insert(0) += bytes;
        }
    }

    /// A frame of `source` left the queue.
    pub(crate) fn remove(&mut self, source: SessionId, bytes: usize) {
        let Some(held) = &mut self.held else { return };
        let Some(share) = held.get_mut(&source) else { return };
        *share = share.saturating_sub(bytes);
        if *share == 0 {
            held.remove(&source);
        }
    }
}

#[cfg(test)]
mod tests;
