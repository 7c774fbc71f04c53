//! The links of a session come and go, each fenced by the one after it, until the session ends.

use bytes::Bytes;

use super::Session;
use crate::{
    close::CloseReason,
    failure::Failure,
    ids::{Engine, InstanceId, Source, UserId},
    login::ResumeSecret,
    server::{
        Generation, LoginClaim, Outbox,
        command::{HubChange, HubCommand},
        control::Control,
        stored::is_storable,
        transitions::SessionState,
    },
    session::{hop::Counts, lanes::Lane},
    time::Instant,
    wire::{Address, Envelope, Kind, RawFrame},
};

/// What became of an attempt to go on with a session on a new link.
#[derive(Debug, PartialEq, Eq)]
pub enum TakeOver {
    /// The link has the session now.
    Resumed {
        /// The generation of the new link.
        generation: Generation,
        /// Frames that the server has received in this session.
        received: u32,
    },
    /// A later attempt was here before: the link is closed, nothing changes.
    Stale,
    /// The secret is not this session's, or none was shown: the login starts afresh.
    Fresh,
    /// The session ended meanwhile.
    Gone,
    /// The stated count is impossible: the link is closed, nothing changes but the highest attempt seen.
    Violation,
}

/// Whether the link has shown life since somebody asked. Probes are numbered, so that several may ask at a time and
/// none takes the answer to an earlier one for its own.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Probes {
    asked: u64,
    pinged: u64,
    answered: u64,
}

impl Session {
    /// A newer link of the same engine wants the session: raises the generation, reads the count and gives the session
    /// to the new link, all in this one step (ESF-220). The older link is fenced from here on, and what the new login
    /// may do is what the session may do.
    pub fn take_over(&mut self, claim: &LoginClaim, secret: ResumeSecret) -> TakeOver {
        if self.state == SessionState::Ended {
            return TakeOver::Gone;
        }
        if claim.attempt <= self.attempt && !broken!(AttemptIgnored) {
            self.counters.attempts_stale.add(1);
            return TakeOver::Stale;
        }
        // Seen, whatever becomes of it: the session's end tells it on (ESF-104).
        self.attempt = claim.attempt;
        let known = |shown: &ResumeSecret| {
            let old = self.old_secret.is_some_and(|old| old.matches(shown));
            self.secret.matches(shown) | old
        };
        let Some(resume) = claim.resume.filter(|resume| known(&resume.secret)) else { return TakeOver::Fresh };
        let budget = &self.budget;
        if self.hop.rewind(resume.received, |cost| budget.release(cost)).is_err() {
            return TakeOver::Violation;
        }
        self.rights = claim.rights;
        self.credential_version = claim.credential_version;
        self.generation = self.generation.next();
        self.old_secret = (!broken!(OldSecretForgotten)).then_some(resume.secret);
        self.secret = secret;
        self.until = None;
        self.close = None;
        self.show_life();
        self.control = Control::default();
        if self.state == SessionState::Detached {
            self.change_window(None);
        }
        self.set_state(SessionState::Attached);
        self.control.count();
        let now = self.now;
        self.with_receiving(|receiving| receiving.on_link(now, true));
        let Counts { received, .. } = broken!(TakeoverReadsLate, self.hop.told(), else self.hop.counts());
        TakeOver::Resumed { generation: self.generation, received }
    }

    /// The link of this generation is gone and may come back: the resume window opens. No-op for a fenced link.
    pub fn detach(&mut self, now: Instant, generation: Generation) {
        let now = self.clock(now);
        if self.is_held_by(generation) || broken!(OldDeathCounts) && self.state == SessionState::Attached {
            let until = if broken!(WindowSkipped) { now } else { now + self.config.resume_window };
            self.until = Some(until);
            self.control = Control::default();
            self.set_state(SessionState::Detached);
            self.change_window(Some(until));
        }
    }

    /// Ends the session: what was never handed out is `Offline`, what was and is not counted is `ConnectionLost`
    /// (ESF-221). Its link, if it has one, closes for `reason`.
    pub fn end(&mut self, now: Instant, reason: CloseReason, outbox: &mut Outbox) {
        let now = self.clock(now);
        if self.state == SessionState::Ended {
            return;
        }
        if self.state == SessionState::Attached {
            self.close = Some(reason);
        }
        self.set_state(SessionState::Ended);
        self.until = None;
        let stores = outbox.stores() && !broken!(HeldDropped);
        for (frame, cost) in self.hop.take_uncounted() {
            if stores && is_storable(&frame) {
                outbox.withdraw(frame, cost, true);
                continue;
            }
            self.budget.release(cost);
            self.copy_lost(frame, Failure::ConnectionLost, true);
        }
        let unsent = outbox.drop_stored();
        for (lane, queued) in outbox.end() {
            if stores && is_storable(&queued.frame) {
                outbox.withdraw(queued.frame, queued.cost, false);
                continue;
            }
            self.budget.release(queued.cost);
            let expired = queued.deadline.is_some_and(|at| at <= now);
            if lane != Lane::Volatile && !expired {
                self.copy_lost(queued.frame, Failure::Offline, false);
            }
        }
        if stores {
            self.commands.push_back(HubCommand::Withdraw);
        }
        self.end_streams(reason, outbox);
        // Messages stay for the application, which takes what was accepted; nobody waits for answers any more.
        for (_, cost) in self.queries.drain(..) {
            self.budget.release(cost);
        }
        self.query_bytes = 0;
        self.control = Control::default();
        let dedupe = core::mem::take(&mut self.dedupe);
        self.changes.push_back(HubChange::Ended { reason, dedupe, attempt: self.attempt, unsent });
    }

    /// Why the link of this generation is to be closed, if it is.
    #[must_use]
    pub fn poll_close(&mut self, generation: Generation) -> Option<CloseReason> {
        if self.generation != generation {
            return Some(CloseReason::Superseded);
        }
        self.close.take()
    }

    // Probes.

    /// Somebody else logs in and wants to know whether this link still lives (ESF-116). Returns the probe's number.
    pub fn probe(&mut self) -> u64 {
        self.probes.asked += 1;
        self.probes.asked
    }

    /// Whether the link of this generation is to be pinged for a probe.
    #[must_use]
    pub fn poll_probe(&mut self, generation: Generation) -> bool {
        let asked = self.probes.pinged < self.probes.asked && self.is_held_by(generation);
        if asked {
            self.probes.pinged = self.probes.asked;
        }
        asked
    }

    /// Bytes came on the link of this generation after it was pinged.
    pub fn handle_alive(&mut self, generation: Generation) {
        if self.is_held_by(generation) {
            self.probes.answered = self.probes.pinged;
        }
    }

    /// Whether the link has shown life since the probe of this number.
    #[must_use]
    pub fn probe_answered(&self, number: u64) -> bool {
        self.probes.answered >= number && self.state == SessionState::Attached
    }

    /// A login or a frame of the engine itself, just now.
    pub(super) fn show_life(&mut self) {
        self.probes.pinged = self.probes.asked;
        self.probes.answered = self.probes.asked;
    }

    /// Tells the sender of a frame that this session could not deliver it.
    fn copy_lost(&mut self, frame: Bytes, failure: Failure, handed_out: bool) {
        let Ok(frame) = RawFrame::parse(frame) else { return };
        let (Some(about), Ok(envelope)) = (frame.kind(), frame.envelope()) else { return };
        match about {
            Kind::Send | Kind::EngineMessage if self.is_target(&envelope) => {
                // Nobody knows whether another device of the user got it.
                let to_all = matches!(envelope.to, Address::User { .. });
                let failure = if to_all { Failure::ConnectionLost } else { failure };
                if broken!(HeldAnsweredTwice) {
                    self.commands.push_back(HubCommand::Lost { frame: frame.clone(), failure });
                }
                self.commands.push_back(HubCommand::Lost { frame, failure });
            }
            Kind::Certain | Kind::Query | Kind::Request | Kind::BlobOffer => {
                let asker = match envelope.from {
                    Address::Engine { user, device, instance } => {
                        let Ok(user) = UserId::parse(user, u8::MAX) else { return };
                        Source::Engine(Engine { user, device, instance })
                    }
                    Address::Server { instance } => Source::Server(InstanceId(instance)),
                    _ => return,
                };
                self.commands.push_back(HubCommand::CopyFailed { asker, id: envelope.id, failure, handed_out });
            }
            _ => {}
        }
    }

    /// Whether a frame is for this engine, and no echo of what another device of its user sent to somebody else.
    fn is_target(&self, envelope: &Envelope<'_>) -> bool {
        let own = &self.engine;
        match envelope.to {
            Address::User { user } => user == own.user.as_str(),
            Address::Device { user, device } => (user, device) == (own.user.as_str(), own.device),
            to => to == Address::of_engine(own),
        }
    }
}
