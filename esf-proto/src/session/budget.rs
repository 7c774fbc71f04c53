//! Bytes that a session may hold, charged where a frame is accepted.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What a session borrows from the global budget beyond what it holds, at most: so that frames that come and go one by
/// one need not touch what all threads share.
const STEP: usize = 4096;
/// A parent with less than this many steps lends smaller ones.
const STEPS: usize = 16 * 1024;

/// A number of bytes that may be held at a time, counted without a lock (ESF-510).
///
/// A session's budget has the global one as its parent, from which it borrows in steps. The parent refuses a session
/// that holds more than what the parent has left: as memory fills up, the largest queues are refused first and a small
/// one still gets its room.
#[derive(Debug)]
pub struct Budget {
    used: AtomicUsize,
    limit: usize,
    /// What the parent has lent: as much as is used, and up to two steps more. Nothing while nothing is used.
    lent: AtomicUsize,
    parent: Option<Arc<Budget>>,
}

/// Which budget has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The one that was asked.
    Own,
    /// Its parent.
    Parent,
}

impl Budget {
    /// A budget of its own of `limit` bytes.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit, lent: AtomicUsize::new(0), parent: None }
    }

    /// A budget of `limit` bytes inside `parent`.
    #[must_use]
    pub const fn within(parent: Arc<Self>, limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit, lent: AtomicUsize::new(0), parent: Some(parent) }
    }

    /// Another budget of `limit` bytes inside the same parent.
    #[must_use]
    pub fn beside(&self, limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit, lent: AtomicUsize::new(0), parent: self.parent.clone() }
    }

    /// Takes `bytes` from the budget and says whether they were there; takes nothing if not. An unused budget
    /// admits one frame of any size, so that no limit makes a permitted frame impossible.
    #[must_use]
    pub fn charge(&self, bytes: usize) -> bool {
        self.try_charge(bytes).is_ok()
    }

    /// The same.
    ///
    /// # Errors
    /// They were not there, here or in the parent.
    pub fn try_charge(&self, bytes: usize) -> Result<(), Full> {
        let before = self.used.fetch_add(bytes, Relaxed);
        let after = before.saturating_add(bytes);
        let fits = before == 0 || after <= self.limit;
        let granted = if !fits {
            Err(Full::Own)
        } else if self.borrow(after) {
            Ok(())
        } else {
            Err(Full::Parent)
        };
        if granted.is_err() {
            self.used.fetch_sub(bytes, Relaxed);
        }
        granted
    }

    /// Takes `bytes` even when they are not there: for what must be kept and is bounded elsewhere.
    pub fn force(&self, bytes: usize) {
        let after = self.used.fetch_add(bytes, Relaxed).saturating_add(bytes);
        self.borrow_by_force(after);
    }

    /// Gives `bytes` back that were taken before.
    pub fn release(&self, bytes: usize) {
        let after = self.used.fetch_sub(bytes, Relaxed).saturating_sub(bytes);
        let Some(parent) = &self.parent else { return };
        let (lent, step) = (self.lent.load(Relaxed), parent.step());
        if after != 0 && lent <= after.saturating_add(2 * step) {
            return;
        }
        // One that holds nothing owes nothing.
        let keep = if after == 0 { 0 } else { after.saturating_add(step) };
        if lent > keep && self.lent.compare_exchange(lent, keep, Relaxed, Relaxed).is_ok() {
            parent.used.fetch_sub(lent - keep, Relaxed);
            // Somebody may have taken what was given back meanwhile.
            self.borrow_by_force(self.used.load(Relaxed));
        }
    }

    /// Bytes taken at present.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// Bytes that may be taken in all.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Sees to it that the parent has lent `held` bytes.
    fn borrow(&self, held: usize) -> bool {
        let Some(parent) = &self.parent else { return true };
        let lent = self.lent.load(Relaxed);
        if held <= lent {
            return true;
        }
        // More than is needed, if it may be used: at first nothing, then as much again, then a step. It is no more than
        // `held`, which the parent has to have free in any case.
        let wanted = held.saturating_add(lent.min(parent.step())).min(self.limit).max(held);
        let granted = parent.lend(held, wanted - lent);
        if granted {
            self.lent.fetch_add(wanted - lent, Relaxed);
        }
        granted
    }

    fn borrow_by_force(&self, held: usize) {
        let Some(parent) = &self.parent else { return };
        let more = held.saturating_sub(self.lent.load(Relaxed));
        if more > 0 {
            parent.used.fetch_add(more, Relaxed);
            self.lent.fetch_add(more, Relaxed);
        }
    }

    fn lend(&self, held: usize, bytes: usize) -> bool {
        let before = self.used.fetch_add(bytes, Relaxed);
        let granted = held.max(bytes) <= self.limit.saturating_sub(before);
        if !granted {
            self.used.fetch_sub(bytes, Relaxed);
        }
        granted
    }

    const fn step(&self) -> usize {
        let share = self.limit / STEPS;
        if share < STEP { share } else { STEP }
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        if let Some(parent) = &self.parent {
            parent.used.fetch_sub(*self.lent.get_mut(), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
