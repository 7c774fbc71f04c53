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

/// A timer that is not set. Nobody lives to see it fire.
const NEVER: Instant = Instant::from_micros(u64::MAX);

/// When each kind of timer fires.
#[derive(Debug, Clone)]
pub(crate) struct Timers([Instant; COUNT]);

impl Default for Timers {
    fn default() -> Self {
        Self([NEVER; COUNT])
    }
}

impl Timers {
    pub(crate) fn set(&mut self, kind: TimerKind, at: Instant) {
        if let Some(slot) = self.0.get_mut(kind as usize) {
            *slot = at;
        }
    }

    pub(crate) fn clear(&mut self, kind: TimerKind) {
        if let Some(slot) = self.0.get_mut(kind as usize) {
            *slot = NEVER;
        }
    }

    pub(crate) fn get(&self, kind: TimerKind) -> Option<Instant> {
        self.0.get(kind as usize).copied().filter(|at| *at != NEVER)
    }

    /// The earliest timer.
    pub(crate) fn next(&self) -> Option<(Instant, TimerKind)> {
        let at = self.0.iter().copied().min().filter(|at| *at != NEVER)?;
        TimerKind::ALL.iter().zip(&self.0).find(|(_, timer)| **timer == at).map(|(kind, _)| (at, *kind))
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
