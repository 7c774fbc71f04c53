//! One small table of timers for every machine.

use crate::time::Instant;

macro_rules! timer_kinds {
    ($($(#[doc = $doc:expr])* $name:ident,)*) => {
        /// What a timer is for; `poll_timeout` tells it, so that a trace reads well.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum TimerKind { $($(#[doc = $doc])* $name,)* }

        impl TimerKind {
            const ALL: [Self; COUNT] = [$(Self::$name,)*];
        }

        const COUNT: usize = [$(stringify!($name),)*].len();
    };
}

timer_kinds! {
    /// The login must be in.
    Login,
    /// Something must have been heard.
    Liveness,
    /// The server pings after a silence.
    Ping,
    /// The client's next heartbeat.
    Heartbeat,
    /// The answer to a heartbeat.
    HeartbeatAnswer,
    /// A count frame is due.
    Count,
    /// Bytes handed to the transport have not moved.
    Overflow,
    /// A connection must be there.
    Connect,
    /// The next attempt to connect.
    Retry,
    /// A command's time to live.
    Outcome,
    /// A queued frame's time to live.
    Expiry,
    /// A session without a link ends.
    ResumeWindow,
    /// An older login must answer.
    Probe,
    /// What is remembered of an ended login is forgotten.
    Forget,
    /// The peer must have closed.
    Closing,
    /// A blob must go on.
    Blob,
}

/// When each kind of timer fires.
#[derive(Debug, Clone, Default)]
pub(crate) struct Timers([Option<Instant>; COUNT]);

impl Timers {
    pub(crate) fn set(&mut self, kind: TimerKind, at: Instant) {
        if let Some(slot) = self.0.get_mut(kind as usize) {
            *slot = Some(at);
        }
    }

    pub(crate) fn clear(&mut self, kind: TimerKind) {
        if let Some(slot) = self.0.get_mut(kind as usize) {
            *slot = None;
        }
    }

    pub(crate) fn get(&self, kind: TimerKind) -> Option<Instant> {
        self.0.get(kind as usize).copied().flatten()
    }

    /// The earliest timer.
    pub(crate) fn next(&self) -> Option<(Instant, TimerKind)> {
        TimerKind::ALL.iter().filter_map(|kind| self.get(*kind).map(|at| (at, *kind))).min()
    }

    /// Takes the earliest timer that is due.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(Instant, TimerKind)> {
        let (at, kind) = self.next().filter(|(at, _)| *at <= now)?;
        self.clear(kind);
        Some((at, kind))
    }
}

#[cfg(test)]
mod tests;
