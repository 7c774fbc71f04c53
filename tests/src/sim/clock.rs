//! Clocks that do not agree: each machine of the world has its own.

use std::time::Duration;

use esf_proto::time::Instant;

/// One machine's clock: where it stood when the world began, and how fast it goes.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    offset: u64,
    /// Millionths by which it is fast.
    drift: i64,
}

const MILLION: i128 = 1_000_000;

impl Clock {
    /// A clock that is `drift` millionths too fast.
    #[must_use]
    pub const fn new(offset: u64, drift: i64) -> Self {
        Self { offset, drift }
    }

    /// What it shows at this moment of the world.
    #[must_use]
    pub fn shows(&self, now: Instant) -> Instant {
        if self.drift == 0 {
            return Instant::from_micros(self.offset + now.as_micros());
        }
        let passed = i128::from(now.as_micros()) * (MILLION + i128::from(self.drift)) / MILLION;
        Instant::from_micros(self.offset + u64::try_from(passed).unwrap_or(0))
    }

    /// The first moment of the world at which it shows `at`.
    #[must_use]
    pub fn reaches(&self, at: Instant) -> Instant {
        let passed = at.as_micros().saturating_sub(self.offset);
        if self.drift == 0 {
            return Instant::from_micros(passed);
        }
        let guess = i128::from(passed) * MILLION / (MILLION + i128::from(self.drift));
        let mut moment = Instant::from_micros(u64::try_from(guess).unwrap_or(u64::MAX));
        while self.shows(moment) < at {
            moment = moment + Duration::from_micros(1);
        }
        moment
    }
}
