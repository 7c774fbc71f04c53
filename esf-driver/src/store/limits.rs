//! How much a store keeps, and for how long.

use std::time::Duration;

/// How much a store of messages keeps, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreLimits {
    /// Messages that wait for one user. 1,000 by default; 0 keeps none.
    pub max_messages: usize,
    /// Bytes that wait for all users together, with [`OVERHEAD`](Self::OVERHEAD) for each message. 1 GiB by default.
    pub max_total: u64,
    /// How long a message waits. 30 days by default.
    pub max_age: Duration,
    /// A message that was handed out so often and never confirmed becomes a dead letter. 5 by default.
    pub max_tries: u8,
    /// How long the key of a confirmed message stays known: the longest time to live of a certain send and two resume
    /// windows, 7 minutes by default.
    pub keep_keys: Duration,
}

impl StoreLimits {
    /// What a message counts beside its frame in [`max_total`](Self::max_total), in bytes.
    pub const OVERHEAD: u64 = 256;

    /// What a message with a frame of so many bytes counts in [`max_total`](Self::max_total).
    #[must_use]
    pub fn charge(frame: usize) -> u64 {
        Self::OVERHEAD.saturating_add(frame as u64)
    }
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self {
            max_messages: 1000,
            max_total: 1 << 30,
            max_age: Duration::from_secs(30 * 24 * 60 * 60),
            max_tries: 5,
            keep_keys: Duration::from_secs(7 * 60),
        }
    }
}
