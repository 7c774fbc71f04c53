//! When somebody had reason to be slow or to lose something: what excuses an outcome that is not the best.

use esf_proto::time::Instant;

/// The troubled times of one party.
#[derive(Debug, Default, Clone)]
pub struct Trouble {
    spans: Vec<(Instant, Instant)>,
    since: Option<Instant>,
}

impl Trouble {
    /// Trouble from now on, until [`Trouble::ends`].
    pub fn begins(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// What began is over, at this time.
    pub fn ends(&mut self, until: Instant) {
        if let Some(since) = self.since.take() {
            self.span(since, until);
        }
    }

    /// Trouble from `from` to `until`.
    pub fn span(&mut self, from: Instant, until: Instant) {
        if let Some((_, last)) = self.spans.last_mut().filter(|(first, last)| *first <= from && *last >= from) {
            *last = (*last).max(until);
        } else {
            self.spans.push((from, until.max(from)));
        }
    }

    /// Whether there was none from `from` to `until`.
    #[must_use]
    pub fn none(&self, from: Instant, until: Instant) -> bool {
        self.since.is_none_or(|since| since > until)
            && self.spans.iter().all(|(first, last)| *last < from || *first > until)
    }
}
