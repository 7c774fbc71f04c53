//! What goes out on the present link, in its order.

use bytes::Bytes;

use super::{Event, Session, State, Transmit, link::Stage};
use crate::{
    close::CloseReason,
    failure::Failure,
    ids::{LinkId, MessageId},
    session::{
        frames::FrameBytes,
        hop::Counts,
        lanes::{Lane, Waiting},
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
        self.transmit_with(now, |link, frame| Transmit { link, frame: frame.into_bytes() })
    }

    /// [`Session::poll_transmit`] without a copy of a small frame that lives longer than the call: its bytes are there
    /// while `send` runs.
    pub fn transmit_with<R>(&mut self, now: Instant, send: impl FnOnce(LinkId, FrameBytes<'_>) -> R) -> Option<R> {
        self.tick(now);
        if let Some(last) = self.farewell.take() {
            return Some(self.send_kept(last.link, last.frame, send));
        }
        let link = self.link.as_ref()?.id;
        let frame = match self.state {
            State::LoggingIn => self.next_of_login(),
            State::Online | State::LoggingOff => {
                self.tell_blob_ends();
                let mut frame = self.next_count().or_else(|| self.next_heartbeat());
                if frame.is_none() {
                    if let Some(replayed) = self.hop.next_replay() {
                        self.stats.replayed += 1;
                        self.stats.count_out(replayed.len());
                        return Some(send(link, replayed));
                    }
                    frame = self.next_credit();
                }
                if frame.is_none() {
                    if let Some(lane) = self.next_lane() {
                        return self.hand_out(lane, |frame| send(link, frame));
                    }
                    frame = self.next_hurry().or_else(|| self.next_fragment());
                }
                frame
            }
            _ => None,
        };
        if let Some(frame) = frame {
            return Some(self.send_kept(link, frame, send));
        }
        if self.state == State::LoggingOff && self.lanes.is_empty() {
            self.say_farewell();
            let last = self.farewell.take()?;
            return Some(self.send_kept(last.link, last.frame, send));
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

    fn send_kept<R>(&mut self, link: LinkId, frame: Bytes, send: impl FnOnce(LinkId, FrameBytes<'_>) -> R) -> R {
        self.stats.count_out(frame.len());
        send(link, FrameBytes::Shared(frame))
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

    /// The lane of the next frame that goes out for the first time.
    fn next_lane(&self) -> Option<Lane> {
        if !self.hop.may_hand_out() {
            return None;
        }
        self.lanes.next(|len| self.hop.admits(len)).map(|(lane, _)| lane)
    }

    /// Hands out the first frame of a lane.
    fn hand_out<R>(&mut self, lane: Lane, send: impl FnOnce(FrameBytes<'_>) -> R) -> Option<R> {
        let Self { lanes, hop, budget, pending, sending, stats, now, .. } = self;
        lanes.pop_with(lane, |frame, Waiting { cost, tag, .. }| {
            if lane == Lane::Volatile {
                budget.release(cost);
            } else {
                hop.hand_out(frame.clone(), cost, lane == Lane::Message);
                if tag != 0 {
                    pending.handed_out(*now, MessageId(tag));
                    sending.handed_out(MessageId(tag));
                }
            }
            stats.count_out(frame.len());
            send(frame)
        })
    }
}
