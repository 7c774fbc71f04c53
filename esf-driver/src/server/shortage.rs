//! What to do when the system cannot accept: wait, and say so now and then.

use std::{
    io::{self, ErrorKind},
    sync::atomic::Ordering,
    time::Duration,
};

use esf_proto::time::Instant;

use super::{Server, Shared};

/// How long to wait after the system could not accept, at first and at most. It has run out of something that takes a
/// while to come back.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// How short the system is of what a connection takes.
#[derive(Debug)]
pub struct Shortage {
    backoff: Duration,
    log: RareLog,
}

impl Default for Shortage {
    fn default() -> Self {
        Self { backoff: BACKOFF.0, log: RareLog::default() }
    }
}

impl Shortage {
    /// One came through, which is not yet the end of the shortage.
    pub fn ease(&mut self) {
        self.backoff = (self.backoff / 2).max(BACKOFF.0);
    }
}

impl Server {
    /// A listener could not accept: how long to wait before the next attempt; `None` if the error was that of one
    /// connection. For whoever writes an adapter.
    pub fn handle_accept_error(&self, shortage: &mut Shortage, error: &io::Error) -> Option<Duration> {
        self.0.handle_accept_error(shortage, error)
    }
}

impl Shared {
    pub(super) fn handle_accept_error(&self, shortage: &mut Shortage, error: &io::Error) -> Option<Duration> {
        if is_of_one_connection(error) {
            return None;
        }
        if let Some(failures) = shortage.log.failed(self.runtime.now()) {
            tracing::warn!(
                %error, failures,
                "cannot accept connections; those that are open live on. \
                 If there are too many open files, raise that limit or lower that of connections"
            );
        }
        self.state.counters.accept_errors.fetch_add(1, Ordering::Relaxed);
        let pause = shortage.backoff;
        shortage.backoff = (pause * 2).min(BACKOFF.1);
        Some(pause)
    }
}

/// Says now and then what happens again and again.
#[derive(Debug, Default)]
pub(super) struct RareLog {
    told: Option<Instant>,
    untold: u64,
}

impl RareLog {
    const EVERY: Duration = Duration::from_secs(60);

    /// It happened once more: how often since it was last told, if it is to be told now.
    pub(super) fn failed(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        if self.told.is_some_and(|told| now.since(told) < Self::EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// Whether an error of `accept` is about the one connection that would have been accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::Interrupted
    )
}
