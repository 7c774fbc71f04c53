//! A session that waits: one frame of its client is looked at outside, and what the client says behind it waits in its
//! order (ESF-516).

use alloc::{boxed::Box, collections::VecDeque};

use super::{Session, command::HubCommand};
use crate::{
    close::CloseReason,
    failure::Failure,
    session::{blob::STREAMS, lanes::VOLATILE_LIMIT, lanes::cost},
    time::Instant,
    wire::{Flags, Frame, Header, Kind, RawFrame},
};

use super::transitions::SessionState;

/// Names what a session waits for. Never used twice by a session.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(super) u64);

/// What becomes of a frame that was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on its way.
    Pass,
    /// It goes nowhere, and its sender is told why if it waits for an outcome or asked to be told.
    Refuse(Failure),
    /// It goes nowhere, and nobody is told by this session.
    Drop,
}

/// How far a frame has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// It has just arrived.
    New,
    /// The server's application has let it pass.
    Judged,
    /// The store does not have it yet.
    LookedUp,
}

/// The frame that is looked at, and what came behind it.
#[derive(Debug)]
pub(super) struct Parked {
    ticket: Ticket,
    frame: RawFrame,
    /// How far it has come when it goes on.
    step: Step,
    behind: Behind,
}

/// Frames that wait behind another, in order.
#[derive(Debug, Default)]
struct Behind {
    frames: VecDeque<RawFrame>,
    /// Bytes of windowed frames. They were not taken yet, so the window bounds them.
    windowed: usize,
    /// Bytes of volatile frames.
    volatile: usize,
    /// Queries, requests and offers of blobs …
    questions: usize,
    /// … and their bytes.
    question_bytes: usize,
    /// Offers among them.
    offers: usize,
    /// Ends of blobs whose offer waits.
    ends: usize,
}

/// How a frame waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// It does not: what belongs to the hop, answers, and what is refused anyway.
    None,
    Message,
    Volatile,
    Question,
    EndOfBlob,
}

fn class(frame: &RawFrame) -> Class {
    match frame.kind() {
        Some(kind) if kind.is_windowed() && frame.is_volatile() => Class::Volatile,
        Some(kind) if kind.is_windowed() => Class::Message,
        Some(Kind::Query | Kind::Request | Kind::BlobOffer) => Class::Question,
        Some(Kind::BlobEnd | Kind::BlobCancel) => Class::EndOfBlob,
        _ => Class::None,
    }
}

impl Behind {
    /// Counts a frame in, or out again.
    fn count(&mut self, frame: &RawFrame, more: bool) {
        let change = |sum: &mut usize, by: usize| {
            *sum = if more { *sum + by } else { sum.saturating_sub(by) };
        };
        match class(frame) {
            Class::None => {}
            Class::Message => change(&mut self.windowed, frame.len()),
            Class::Volatile => change(&mut self.volatile, frame.len()),
            Class::EndOfBlob => change(&mut self.ends, 1),
            Class::Question => {
                change(&mut self.questions, 1);
                change(&mut self.question_bytes, frame.len());
                if frame.kind() == Some(Kind::BlobOffer) {
                    change(&mut self.offers, 1);
                }
            }
        }
    }
}

impl Session {
    /// Whether the session waits for something that [`Session::resume`] is to tell.
    #[must_use]
    pub fn is_parked(&self) -> bool {
        self.parked.is_some()
    }

    /// Whether the session waits for this.
    pub(super) fn is_waiting_for(&self, ticket: Ticket) -> bool {
        self.parked.as_ref().is_some_and(|parked| parked.ticket == ticket)
    }

    /// What the session waited for with this ticket is there. Its frame goes on as `verdict` says, and what came behind it
    /// follows, until one of that waits in its turn. Ignored if the session does not wait for it; it may have ended, and
    /// then plain messages of it still go on.
    ///
    /// What follows comes from [`Session::poll_hub`], as after a frame.
    pub fn resume(&mut self, now: Instant, ticket: Ticket, verdict: Verdict) {
        let now = self.clock(now);
        let Some(parked) = self.parked.take_if(|parked| parked.ticket == ticket) else { return };
        let Parked { frame, step, mut behind, .. } = *parked;
        self.budget.release(cost(frame.len()));
        let went_on = match verdict {
            Verdict::Pass => self.go_on(frame, step),
            Verdict::Refuse(failure) => {
                self.refuse_frame(&frame, failure);
                if broken!(RefusedGoesOn) { self.go_on(frame, step) } else { Ok(()) }
            }
            Verdict::Drop => Ok(()),
        };
        let mut outcome = went_on;
        while let (Ok(()), None) = (outcome, &self.parked) {
            let next = broken!(ParkedBackwards, behind.frames.pop_back(), else behind.frames.pop_front());
            let Some(frame) = next else { break };
            behind.count(&frame, false);
            self.budget.release(cost(frame.len()));
            if frame.is_windowed() {
                self.hop.take(now, frame.len());
            }
            outcome = self.go_on(frame, Step::New);
        }
        if let Err(reason) = outcome {
            self.close = Some(reason);
        }
        match &mut self.parked {
            Some(parked) => parked.behind = behind,
            // Only what breaks a rule leaves something behind.
            None => behind.frames.iter().for_each(|frame| self.budget.release(cost(frame.len()))),
        }
        self.is_straight = self.parked.is_none() && !self.config.intercepts;
    }

    /// Has a frame wait until [`Session::resume`] tells what becomes of it.
    pub(super) fn park(&mut self, frame: &RawFrame, step: Step) -> Ticket {
        debug_assert!(self.parked.is_none(), "one waits already");
        self.last_ticket.0 += 1;
        let ticket = self.last_ticket;
        let frame = frame.kept();
        self.budget.force(cost(frame.len()));
        self.parked = Some(Box::new(Parked { ticket, frame, step, behind: Behind::default() }));
        self.is_straight = false;
        ticket
    }

    /// A frame came while another is waited for: gives it back if it need not wait.
    ///
    /// Everything that waits here is bounded: messages by the window, since they are not taken before they go on, the
    /// rest by how much of it may be open.
    pub(super) fn wait_behind(&mut self, now: Instant, frame: RawFrame) -> Option<RawFrame> {
        let Some(parked) = &mut self.parked else { return Some(frame) };
        let behind = &mut parked.behind;
        let len = frame.len();
        match class(&frame) {
            Class::None => return Some(frame),
            // The fragments and the end of a stream whose offer went on do not wait.
            Class::EndOfBlob if behind.offers == 0 && parked.frame.kind() != Some(Kind::BlobOffer) => {
                return Some(frame);
            }
            Class::EndOfBlob => {
                self.hop.on_frame(now, len);
                if behind.ends >= 2 * STREAMS {
                    self.close = Some(CloseReason::InvalidMessage);
                    return None;
                }
            }
            Class::Message => {
                self.hop.on_frame(now, len);
                let window = usize::try_from(self.config.window).unwrap_or(usize::MAX);
                if behind.windowed > 0 && behind.windowed + len > window {
                    self.close = Some(CloseReason::InvalidMessage);
                    return None;
                }
            }
            Class::Volatile => {
                if behind.volatile + len > VOLATILE_LIMIT {
                    self.counters.volatile_dropped.add(1);
                    return None;
                }
            }
            Class::Question => {
                self.hop.on_frame(now, len);
                let fits = behind.questions == 0
                    || behind.questions < self.config.max_open_queries
                        && behind.question_bytes + len <= self.config.max_open_query_bytes;
                if !fits {
                    self.counters.busy(super::counters::Cause::Queries);
                    self.refuse_frame(&frame, Failure::Busy);
                    return None;
                }
            }
        }
        let frame = frame.kept();
        behind.count(&frame, true);
        self.budget.force(cost(len));
        behind.frames.push_back(frame);
        None
    }

    /// A frame that was received before takes its effect.
    fn go_on(&mut self, frame: RawFrame, step: Step) -> Result<(), CloseReason> {
        let is_plain = matches!(class(&frame), Class::Message | Class::Volatile) && frame.kind() != Some(Kind::Certain);
        if self.state == SessionState::Ended && !is_plain {
            // Nobody waits for its outcome; an engine that comes back asks again.
            return Ok(());
        }
        self.routed(frame, step)
    }

    /// Tells the client that a frame of its own goes nowhere, if it is to hear of that.
    pub(super) fn refuse_frame(&mut self, frame: &RawFrame, failure: Failure) {
        let (Some(kind), Ok(envelope)) = (frame.kind(), frame.envelope()) else { return };
        match kind {
            Kind::Certain | Kind::Query | Kind::Request => self.fail(envelope.id, kind, failure),
            Kind::BlobOffer => {
                let (to, from) = self.answer_addresses();
                let envelope = crate::wire::Envelope::new(to, from, envelope.id);
                let told = Frame::Failure { envelope, about: kind as u8, code: failure }.to_bytes(Header::default());
                if let Ok(told) = told {
                    self.commands.push_back(HubCommand::TellOfBlob(told));
                }
            }
            _ if frame.flags().contains(Flags::TELL) => self.fail(envelope.id, kind, failure),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
