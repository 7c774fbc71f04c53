//! When to try again: full jitter.

use core::time::Duration;

use super::config::Retry;

/// A link that was of use for so long starts the series anew when it ends.
pub(super) const STEADY: Duration = Duration::from_secs(10);
/// Even the luckiest draw waits so long, so that nothing spins.
const LEAST: Duration = Duration::from_millis(1);

/// Draws how long to wait before the next attempt (ESF-602): anything from nothing to a limit that doubles with each
/// attempt in vain, so that a thousand clients that lost the same server do not come back at the same time.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    retry: Retry,
    in_vain: u32,
    jitter: Jitter,
}

impl Backoff {
    pub(super) const fn new(retry: Retry, seed: u64) -> Self {
        Self { retry, in_vain: 0, jitter: Jitter(seed) }
    }

    /// The wait before the next attempt; `resumable` says whether the server may still hold the session.
    pub(super) fn next(&mut self, resumable: bool) -> Duration {
        let cap = if resumable { self.retry.cap_resume } else { self.retry.cap };
        let factor = 1u32.checked_shl(self.in_vain).unwrap_or(u32::MAX);
        self.in_vain = self.in_vain.saturating_add(1);
        let limit = self.retry.base.saturating_mul(factor).min(cap);
        self.jitter.below(limit).max(LEAST)
    }

    /// The wait that a server asked for, and some jitter on top: up to as much again, 5 s at most by default.
    pub(super) fn asked_for(&mut self, wait: Duration) -> Duration {
        let spread = wait.max(self.retry.base).min(self.retry.cap_resume);
        wait.saturating_add(self.jitter.below(spread)).max(LEAST)
    }

    /// A link was steady: the next series starts from the base.
    pub(super) const fn reset(&mut self) {
        self.in_vain = 0;
    }
}

/// SplitMix64: good enough to spread clients, and the same for the same seed.
#[derive(Debug, Clone)]
struct Jitter(u64);

impl Jitter {
    /// Anything from zero to just under `limit`, in microseconds.
    fn below(&mut self, limit: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // The upper half of the product of two 64-bit numbers is below each of them.
        let scaled = (u128::from(z) * limit.as_micros()) >> 64;
        Duration::from_micros(u64::try_from(scaled).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests;
