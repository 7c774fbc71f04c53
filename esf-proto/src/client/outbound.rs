//! What goes out on the present link, in its order.

use bytes::Bytes;

use super::{Event, Session, State, Transmit, link::Stage};
use crate::{
    close::CloseReason,
    failure::Failure,
    ids::MessageId,
    session::{
        frames::FrameBytes,
        hop::Counts,
        lanes::{Lane, Queued},
    },
    time::Instant,
    wire::{Frame, Header, PRELOGIN_MAX_FRAME},
};

impl Session {
    /// The next frame to send, whole; a driver may put several into one WebSocket message. To be pulled only when the
    /// link can take more.
    ///
    /// The last frame of a link that the session has done with comes first; on the present link it is what belongs to
    /// the login, then counts and heartbeats, then what is replayed, then answers and questions, then messages, as far
    /// as the window goes.
    #[must_use]
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        self.tick(now);
        if let Some(last) = self.farewell.take() {
            return Some(self.sent(last));
        }
        let link = self.link.as_ref()?.id;
        let frame = match self.state {
            State::LoggingIn => self.next_of_login(),
            State::Online | State::LoggingOff => self.next_of_session(),
            _ => None,
        };
        if let Some(frame) = frame {
            return Some(self.sent(Transmit { link, frame }));
        }
        if self.state == State::LoggingOff && self.lanes.is_empty() {
            self.say_farewell();
            let last = self.farewell.take()?;
            return Some(self.sent(last));
        }
        None
    }

    /// What open operations waited too long for, and queries that nobody waits for any more.
    pub(super) fn expire(&mut self) {
        let mut waited = false;
        while let Some((id, open)) = self.pending.pop_expired(self.now) {
            waited |= open.handed_out.is_none();
            self.stats.timed_out += 1;
            self.tell(Event::Failed { id, failure: Failure::TimedOut });
        }
        if waited {
            let budget = &self.budget;
            self.lanes.expire(self.now, |_, queued| budget.release(queued.cost));
        }
        while self.incoming.pop_expired(self.now).is_some() {
            self.stats.queries_expired += 1;
        }
    }

    /// A count that is due goes out with the next frame; until then its timer is silent.
    pub(super) fn plan_count(&mut self) {
        if let Some(link) = &mut self.link {
            link.count_now |= self.hop.count_due().is_some_and(|due| due <= self.now);
        }
    }

    fn sent(&mut self, transmit: Transmit) -> Transmit {
        self.stats.frames_out += 1;
        self.stats.bytes_out += transmit.frame.len() as u64;
        transmit
    }

    fn next_of_login(&mut self) -> Option<Bytes> {
        let link = self.link.as_mut()?;
        let frame = match link.stage {
            Stage::AskFirst => {
                link.stage = Stage::Asked;
                self.pre_query_frame()
            }
            Stage::LogIn => {
                link.stage = Stage::LoginSent;
                self.login_frame()
            }
            Stage::Asked | Stage::LoginSent => return None,
        };
        let fits = frame.filter(|frame| frame.len() <= PRELOGIN_MAX_FRAME);
        if fits.is_none() {
            // No login with this configuration can ever be sent.
            self.abandon(None, CloseReason::TooLarge);
        }
        fits
    }

    fn next_of_session(&mut self) -> Option<Bytes> {
        self.tell_blob_ends();
        self.next_count()
            .or_else(|| self.next_heartbeat())
            .or_else(|| self.next_replay())
            .or_else(|| self.next_credit())
            .or_else(|| self.next_new())
            .or_else(|| self.next_hurry())
            .or_else(|| self.next_fragment())
    }

    /// The heartbeat that brings the count of what just went out, once all of it did.
    fn next_hurry(&mut self) -> Option<Bytes> {
        if !self.lanes.is_empty() || !core::mem::take(&mut self.count_wanted) || self.hop.uncounted() == 0 {
            return None;
        }
        self.beat();
        self.next_heartbeat()
    }

    fn next_count(&mut self) -> Option<Bytes> {
        let link = self.link.as_mut()?;
        let counts = if core::mem::take(&mut link.count_now) {
            Some(self.hop.tell_count())
        } else if link.heartbeat_now {
            self.hop.poll_count_early()
        } else {
            self.hop.poll_count(self.now)
        };
        let Counts { received, taken } = counts?;
        self.arena.encode(&Frame::Count { received, taken }, Header::default()).ok()
    }

    fn next_heartbeat(&mut self) -> Option<Bytes> {
        let link = self.link.as_mut()?;
        if !core::mem::take(&mut link.heartbeat_now) {
            return None;
        }
        link.nonce = link.nonce.wrapping_add(1);
        self.arena.encode(&Frame::Heartbeat { nonce: link.nonce }, Header::default()).ok()
    }

    fn next_replay(&mut self) -> Option<Bytes> {
        let frame = self.hop.next_replay()?.into_bytes();
        self.stats.replayed += 1;
        Some(frame)
    }

    fn next_new(&mut self) -> Option<Bytes> {
        if !self.hop.may_hand_out() {
            return None;
        }
        let hop = &self.hop;
        let (lane, Queued { frame, cost, tag, .. }) = self.lanes.pop(|len| hop.admits(len))?;
        if lane == Lane::Volatile {
            self.budget.release(cost);
        } else {
            self.hop.hand_out(FrameBytes::Shared(frame.clone()), cost, lane == Lane::Message);
            if tag != 0 {
                self.pending.handed_out(self.now, MessageId(tag));
                self.sending.handed_out(MessageId(tag));
            }
        }
        Some(frame)
    }
}
