//! Frames that go to many.

use super::Outbox;
use crate::{
    failure::Failure,
    ids::SessionId,
    session::lanes::{Lane, Queued, cost},
    time::Instant,
    wire::RawFrame,
};

impl Outbox {
    /// Broadcasts of one source that come together, each in memory of its own. All receivers share that: a copy for each
    /// would be most of what a broadcast costs. Gives how many were accepted; `refused` hears why others were not.
    pub(crate) fn offer_broadcasts<'a>(
        &mut self,
        now: Instant,
        frames: impl Iterator<Item = &'a RawFrame> + Clone,
        source: SessionId,
        mut refused: impl FnMut(&RawFrame, Failure),
    ) -> u64 {
        let mut accepted = 0;
        let charged = self.charge_together(&frames, source);
        for frame in frames {
            let offered = if charged { Ok(()) } else { self.offer_broadcast(now, frame, source) };
            if offered.is_ok() && !frame.is_volatile() {
                let (frame, cost) = (frame.bytes().clone(), cost(frame.len()));
                self.push(Lane::Message, Queued { frame, deadline: None, cost, tag: source.0 });
            }
            match offered {
                Ok(()) => accepted += 1,
                Err(failure) => refused(frame, failure),
            }
        }
        accepted
    }

    /// Charges for all of them in one step, if that is no more than each alone would get.
    fn charge_together<'a>(
        &mut self,
        frames: &(impl Iterator<Item = &'a RawFrame> + Clone),
        source: SessionId,
    ) -> bool {
        let all = frames.clone().map(|frame| cost(frame.len())).sum::<usize>();
        let is_little = self.budget.used() + all <= self.budget.limit() / 2;
        !self.ended && is_little && !frames.clone().any(RawFrame::is_volatile) && self.charge(source, all).is_ok()
    }

    /// Charges for one, or queues it if it is volatile.
    fn offer_broadcast(&mut self, now: Instant, frame: &RawFrame, source: SessionId) -> Result<(), Failure> {
        if self.ended {
            return Err(Failure::Offline);
        }
        if frame.is_volatile() {
            return self.offer_volatile(frame, source);
        }
        self.admit_or_expire(now, source, false, frame.len())
    }
}

#[cfg(test)]
mod tests;
