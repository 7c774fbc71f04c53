//! The drain order of a link, once, for every kind of loop.
//!
//! A loop hands in what arrived, then calls [`Drain::next`] and does what it says until it says [`Step::Wait`]. All
//! that is ready is fed and then flushed once.

use std::time::Duration;

use esf_proto::{close::CloseReason, session::frames::FrameBytes, time::Instant};

use crate::endpoint::{Endpoint, LinkAction};

/// How long a closing link may take to hand out what was queued before its close.
pub const CLOSE_DRAIN: Duration = Duration::from_secs(3);
/// How long the peer has to answer a WebSocket close.
pub const CLOSE_ANSWER: Duration = Duration::from_secs(1);

/// Timers are looked at when a turn begins, and again after so many steps of a long one.
const TIMERS_EVERY: u8 = 64;

/// What a loop does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Feed a WebSocket ping.
    Ping,
    /// Frames of so many bytes were fed.
    Transmit(usize),
    /// Feed a WebSocket close, flush, and wait for the peer's for [`CLOSE_ANSWER`]. Nothing is fed after it.
    Close(Option<CloseReason>),
    /// Flush what was fed.
    Flush,
    /// Drop the connection.
    Drop,
    /// Wait for bytes, the waker, room to write, or this instant.
    Wait(Option<Instant>),
}

/// Where in the order a link is.
#[derive(Debug, Default)]
pub struct Drain {
    fed: bool,
    /// Steps since the timers were looked at.
    steps: u8,
    closing: Option<Closing>,
}

#[derive(Debug, Clone, Copy)]
struct Closing {
    reason: Option<CloseReason>,
    told: bool,
    deadline: Instant,
}

impl Drain {
    /// The next step at `now`, where `can_write` says whether the WebSocket can take another message, and `feed` gives it
    /// one.
    ///
    /// Due timers come first, then what the endpoint wants done with the link, then frames while there is room; a
    /// close waits until the last frame is fed, for [`CLOSE_DRAIN`] at most; one flush ends the turn.
    pub fn next(
        &mut self,
        now: Instant,
        can_write: bool,
        endpoint: &mut impl Endpoint,
        feed: &mut impl FnMut(&FrameBytes<'_>),
    ) -> Step {
        // Asked for every frame, so not looked at for every frame.
        if self.steps == 0 && endpoint.poll_timeout().is_some_and(|at| at <= now) {
            endpoint.handle_timeout(now);
        }
        self.steps = (self.steps + 1) % TIMERS_EVERY;
        if let Some(step) = self.act(now, can_write, endpoint) {
            return step;
        }
        match &mut self.closing {
            Some(closing) if closing.deadline <= now => return Step::Drop,
            Some(Closing { told: true, .. }) => {}
            closing if can_write => {
                let bytes = endpoint.transmit(now, &mut *feed);
                if bytes > 0 {
                    return self.feed(Step::Transmit(bytes));
                }
                if let Some(closing) = closing {
                    closing.told = true;
                    closing.deadline = now + CLOSE_ANSWER;
                    let reason = closing.reason;
                    return self.feed(Step::Close(reason));
                }
                // Looking for a frame may have shown what is to be done with the link: a ping for somebody's probe.
                if let Some(step) = self.act(now, can_write, endpoint) {
                    return step;
                }
                if self.closing.is_some() {
                    return self.next(now, can_write, endpoint, feed);
                }
            }
            _ => {}
        }
        if std::mem::take(&mut self.fed) {
            return Step::Flush;
        }
        self.steps = 0;
        let own = self.closing.map(|closing| closing.deadline);
        Step::Wait([own, endpoint.poll_timeout()].into_iter().flatten().min())
    }

    /// What the endpoint wants done with the link: a step at once, or a close that comes after the last frame.
    fn act(&mut self, now: Instant, can_write: bool, endpoint: &mut impl Endpoint) -> Option<Step> {
        while let Some(action) = endpoint.poll_action() {
            match (action, self.closing) {
                (LinkAction::Drop, _) => return Some(Step::Drop),
                (LinkAction::Ping, None) if can_write => return Some(self.feed(Step::Ping)),
                (LinkAction::Close { reason }, None) => {
                    self.closing = Some(Closing { reason, told: false, deadline: now + CLOSE_DRAIN });
                }
                // A ping into a full pipe or a closing link proves nothing; the first close stands.
                (LinkAction::Ping | LinkAction::Close { .. }, _) => {}
            }
        }
        None
    }

    /// Closes for a reason that the loop found itself, such as a WebSocket message that is too large.
    pub fn close(&mut self, now: Instant, reason: Option<CloseReason>) {
        self.closing.get_or_insert(Closing { reason, told: false, deadline: now + CLOSE_DRAIN });
    }

    /// The peer closed: nothing more is fed, and the answer to it has [`CLOSE_ANSWER`] to go out.
    pub fn answer_close(&mut self, now: Instant) {
        self.closing = Some(Closing { reason: None, told: true, deadline: now + CLOSE_ANSWER });
    }

    fn feed(&mut self, step: Step) -> Step {
        self.fed = true;
        step
    }
}

#[cfg(test)]
mod tests;
