//! Bytes that a session may hold, charged where a frame is accepted.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A number of bytes that may be held at a time, counted without a lock (ESF-510).
///
/// A session's budget has the global one as its parent. The parent refuses a session that holds more than what the
/// parent has left: as memory fills up, the largest queues are refused first and a small one still gets its room.
#[derive(Debug)]
pub struct Budget {
    used: AtomicUsize,
    limit: usize,
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
        Self { used: AtomicUsize::new(0), limit, parent: None }
    }

    /// A budget of `limit` bytes inside `parent`.
    #[must_use]
    pub const fn within(parent: Arc<Self>, limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit, parent: Some(parent) }
    }

    /// Another budget of `limit` bytes inside the same parent.
    #[must_use]
    pub fn beside(&self, limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit, parent: self.parent.clone() }
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
        } else if self.parent.as_ref().is_none_or(|parent| parent.lend(after, bytes)) {
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
        self.used.fetch_add(bytes, Relaxed);
        if let Some(parent) = &self.parent {
            parent.used.fetch_add(bytes, Relaxed);
        }
    }

    /// Gives `bytes` back that were taken before.
    pub fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Relaxed);
        if let Some(parent) = &self.parent {
            parent.used.fetch_sub(bytes, Relaxed);
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

    fn lend(&self, held: usize, bytes: usize) -> bool {
        let before = self.used.fetch_add(bytes, Relaxed);
        let granted = held <= self.limit.saturating_sub(before);
        if !granted {
            self.used.fetch_sub(bytes, Relaxed);
        }
        granted
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        if let Some(parent) = &self.parent {
            parent.used.fetch_sub(*self.used.get_mut(), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
