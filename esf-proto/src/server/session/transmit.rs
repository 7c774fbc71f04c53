//! What a session hands out to its link, and in which order.

use bytes::Bytes;

use super::Session;
use crate::{
    server::{Generation, Outbox, command::HubCommand},
    session::{frames::FrameBytes, lanes::Lane},
    time::Instant,
};

impl Session {
    /// The next frame for the link of this generation. What it gives is counted and kept until the client has it.
    #[must_use]
    pub fn poll_transmit(&mut self, now: Instant, generation: Generation, outbox: &mut Outbox) -> Option<Bytes> {
        let mut next = None;
        self.transmit_while(now, generation, outbox, |frame| {
            next = Some(frame.clone().into_bytes());
            false
        });
        next
    }

    /// The next frames, one after the other, until there is none or `send` says that it is enough. A small frame is not
    /// copied for it: its bytes are there while `send` runs.
    pub fn transmit_while(
        &mut self,
        now: Instant,
        generation: Generation,
        outbox: &mut Outbox,
        mut send: impl FnMut(&FrameBytes<'_>) -> bool,
    ) {
        let now = self.clock(now);
        if !self.is_held_by(generation) {
            return;
        }
        outbox.link_streams(now, generation);
        while let Some(frame) = self.control.pop(&mut self.hop) {
            if !send(&frame) {
                return;
            }
        }
        while let Some(frame) = self.hop.next_replay() {
            if !send(&frame) {
                return;
            }
        }
        while let Some(frame) = outbox.next_credit(now).or_else(|| self.next_own_credit()) {
            if !send(&FrameBytes::Shared(frame)) {
                return;
            }
        }
        while self.hop.may_hand_out() {
            let lane = outbox.next(now, |len| self.hop.admits(len));
            if lane != Some(Lane::Interactive) && outbox.has_news() {
                if let Some((frame, cost)) = outbox.next_news() {
                    self.hop.hand_out(FrameBytes::Shared(frame.clone()), cost, false);
                    if !send(&FrameBytes::Shared(frame)) {
                        return;
                    }
                    continue;
                }
            }
            if lane != Some(Lane::Interactive) && outbox.has_stored() {
                if let Some((frame, cost)) = outbox.next_stored(|len| self.hop.admits(len)) {
                    if outbox.take_drained() {
                        self.commands.push_back(HubCommand::TailDrained);
                    }
                    self.hop.hand_out(FrameBytes::Shared(frame.clone()), cost, true);
                    if !send(&FrameBytes::Shared(frame)) {
                        return;
                    }
                    continue;
                }
            }
            let Some(lane) = lane else { return };
            let more = outbox.pop_with(lane, |frame, waiting| {
                let more = send(&frame);
                if lane == Lane::Volatile && !broken!(VolatileCounted) {
                    self.budget.release(waiting.cost);
                } else {
                    self.hop.hand_out(frame, waiting.cost, lane == Lane::Message);
                }
                more
            });
            if more != Some(true) {
                return;
            }
        }
    }
}
