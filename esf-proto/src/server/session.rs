//! One login. It survives its links: a resume gives it to a newer one in one step.

use alloc::{boxed::Box, collections::VecDeque, sync::Arc};

use bytes::{Bytes, BytesMut};

use super::{
    Config, Counters, Generation, LoginClaim, Outbox,
    command::{HubChange, HubCommand, HubEvent, Repeat},
    control::Control,
    counters::Cause,
    parked::{Parked, Step, Ticket, Verdict},
    stored::is_storable,
    transitions::{SessionState, check_session},
};
use crate::{
    close::CloseReason,
    failure::Failure,
    ids::{Engine, InstanceId, SessionId, Source, UserId},
    login::{ResumeSecret, Rights},
    session::{
        budget::Budget,
        dedupe::Dedupe,
        frames::FrameBytes,
        hop::{Counts, Hop},
        inbound::{IncomingQuery, Message},
        lanes::Lane,
        receiving::Receiving,
        timers::TimerKind,
    },
    time::Instant,
    wire::{Address, DecodeError, Envelope, Frame, Header, Kind, LastRoute, RawFrame},
};

/// One login of one engine: its counts, its replay window, what it has for the server's application.
///
/// It lives in a cell behind a lock, with its [`Outbox`] beside it behind another. The lock of a cell is never taken
/// while the lock of an outbox or of the hub is held.
#[derive(Debug)]
pub struct Session {
    pub(super) config: Arc<Config>,
    pub(super) counters: Arc<Counters>,
    pub(super) budget: Arc<Budget>,
    id: SessionId,
    origin: SessionId,
    pub(super) engine: Engine,
    pub(super) server: InstanceId,
    pub(super) rights: Rights,
    credential_version: u64,
    takes_messages: bool,
    login_number: u64,

    pub(super) state: SessionState,
    generation: Generation,
    attempt: u32,
    secret: ResumeSecret,
    old_secret: Option<ResumeSecret>,
    /// The latest time that it was told.
    pub(super) now: Instant,
    until: Option<Instant>,
    turn: u64,
    pub(super) close: Option<CloseReason>,
    probes: Probes,

    pub(super) hop: Hop,
    /// Whether a frame takes effect as it comes: nothing is waited for, and nobody is asked about each.
    pub(super) is_straight: bool,
    pub(super) parked: Option<Box<Parked>>,
    pub(super) last_ticket: Ticket,
    control: Control,
    pub(super) dedupe: Dedupe,
    pub(super) inbox: VecDeque<(Message, usize)>,
    pub(super) inbox_bytes: usize,
    queries: VecDeque<(IncomingQuery, usize)>,
    query_bytes: usize,
    /// One of the two got more since the application was woken.
    pub(super) arrived: bool,
    /// Blobs to the server's application, if there ever was one.
    pub(super) receiving: Option<Box<Receiving>>,
    pub(super) last_route: LastRoute,
    pub(super) commands: VecDeque<HubCommand>,
    changes: VecDeque<HubChange>,
}

/// What an application's query costs beside its body.
const QUERY_COST: usize = 64;

/// Whether the link has shown life since somebody asked. Probes are numbered, so that several may ask at a time and
/// none takes the answer to an earlier one for its own.
#[derive(Debug, Clone, Copy, Default)]
struct Probes {
    asked: u64,
    pinged: u64,
    answered: u64,
}

/// What a new session starts with.
#[derive(Debug)]
pub struct NewSession {
    /// Its id.
    pub id: SessionId,
    /// The first session of its engine: its own id if there was none before.
    pub origin: SessionId,
    /// Whose it is.
    pub engine: Engine,
    /// The login's attempt.
    pub attempt: u32,
    /// What the login may do.
    pub rights: Rights,
    /// Which of the user's credentials opened it.
    pub credential_version: u64,
    /// Whether it is a target for messages.
    pub takes_messages: bool,
    /// The login number.
    pub login_number: u64,
    /// 128 random bits.
    pub secret: ResumeSecret,
    /// This life of the server.
    pub server: InstanceId,
    /// What an earlier session of the same engine left.
    pub dedupe: Dedupe,
}

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

impl Session {
    /// A new session with a link of generation 1, and its outbox.
    #[must_use]
    pub fn new(
        config: &Arc<Config>,
        counters: &Arc<Counters>,
        global: &Arc<Budget>,
        new: NewSession,
    ) -> (Self, Outbox) {
        let budget = Arc::new(Budget::within(global.clone(), config.session_budget()));
        let mut outbox = Outbox::new(config, counters, &budget, Source::Engine(new.engine.clone()), new.server);
        if config.keeps_messages && new.takes_messages {
            outbox.await_stored();
        }
        let session = Self {
            config: config.clone(),
            counters: counters.clone(),
            budget,
            id: new.id,
            origin: new.origin,
            engine: new.engine,
            server: new.server,
            rights: new.rights,
            credential_version: new.credential_version,
            takes_messages: new.takes_messages,
            login_number: new.login_number,
            state: SessionState::Attached,
            generation: Generation::FIRST,
            attempt: new.attempt,
            secret: new.secret,
            old_secret: None,
            now: Instant::ZERO,
            until: None,
            turn: 0,
            close: None,
            probes: Probes::default(),
            hop: Hop::new(config.window),
            is_straight: !config.intercepts,
            parked: None,
            last_ticket: Ticket(0),
            control: Control::default(),
            dedupe: new.dedupe,
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            queries: VecDeque::new(),
            query_bytes: 0,
            arrived: false,
            receiving: None,
            last_route: LastRoute::default(),
            commands: VecDeque::new(),
            changes: VecDeque::new(),
        };
        (session, outbox)
    }

    // Looks.

    /// The session's id.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The first session of its engine.
    #[must_use]
    pub fn origin(&self) -> SessionId {
        self.origin
    }

    /// Whose it is.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What the login may do.
    #[must_use]
    pub fn rights(&self) -> Rights {
        self.rights
    }

    /// Which of the user's credentials opened it, or the link that has it now.
    #[must_use]
    pub fn credential_version(&self) -> u64 {
        self.credential_version
    }

    /// The login number.
    #[must_use]
    pub fn login_number(&self) -> u64 {
        self.login_number
    }

    /// The secret that resumes it.
    #[must_use]
    pub fn secret(&self) -> ResumeSecret {
        self.secret
    }

    /// Whether it is a target for messages.
    #[must_use]
    pub fn takes_messages(&self) -> bool {
        self.takes_messages
    }

    /// Where it is in its life.
    #[must_use]
    pub fn state(&self) -> SessionState {
        self.state
    }

    /// Bytes that it holds in all.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.budget.used()
    }

    /// Whether something came for the server's application since this was last asked. What it leaves here because it is
    /// busy is no reason to wake it again.
    #[must_use]
    pub fn take_application_wake(&mut self) -> bool {
        let blobs = self.receiving.as_ref().is_some_and(|receiving| receiving.has_event());
        core::mem::take(&mut self.arrived) || blobs
    }

    /// Whether a link of this generation has the session.
    #[must_use]
    pub fn is_held_by(&self, generation: Generation) -> bool {
        self.state == SessionState::Attached && (self.generation == generation || broken!(GenerationIgnored))
    }

    // Links come and go.

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
        let stores = outbox.stores();
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
    fn show_life(&mut self) {
        self.probes.pinged = self.probes.asked;
        self.probes.answered = self.probes.asked;
    }

    // Frames.

    /// A frame came on the link of this generation. A fenced link's frames change nothing.
    pub fn handle_frame(&mut self, now: Instant, generation: Generation, frame: RawFrame) {
        if let Some(message) = self.handle_repeat(now, generation, frame) {
            self.relay(message);
        }
    }

    /// The same for a caller that knows a [`Way`](crate::hub::Way): gives a plain message back that goes to whom the
    /// last one went, if nothing waits for the hub before it. It goes that way now, or to [`Session::relay`].
    #[must_use]
    #[inline]
    pub fn handle_repeat(&mut self, now: Instant, generation: Generation, frame: RawFrame) -> Option<Repeat> {
        let now = self.clock(now);
        if !self.is_held_by(generation) || self.close.is_some() {
            self.counters.fenced.add(1);
            return None;
        }
        // The client has its welcome, so it will not ask with the older secret again.
        self.old_secret = None;
        self.show_life();
        let frame = if self.parked.is_some() { self.wait_behind(now, frame)? } else { frame };
        if frame.is_counted() {
            if frame.is_windowed() {
                // Whatever becomes of it here, it leaves the window: the server never withholds a count.
                self.hop.on_taken_frame(now, frame.len());
            } else {
                self.hop.on_frame(now, frame.len());
            }
        }
        if let Some((route, turn)) = self.is_straight.then(|| self.known_route(&frame)).flatten() {
            if self.commands.is_empty() && frame.kind_byte() == Kind::Send as u8 {
                return Some(Repeat { frame, route, turn });
            }
            self.commands.push_back(HubCommand::Relay { frame, route });
        } else if let Err(reason) = self.effect(frame) {
            self.close = Some(reason);
        }
        None
    }

    /// Has the hub find out where a message goes.
    pub fn relay(&mut self, message: Repeat) {
        let Repeat { frame, route, .. } = message;
        self.commands.push_back(HubCommand::Relay { frame, route });
    }

    /// The store has said whether it has a message that this session waits to send again; `None` if it failed.
    pub fn looked_up(&mut self, now: Instant, ticket: Ticket, id: u64, found: Option<bool>) {
        let verdict = match found {
            Some(true) => Verdict::Drop,
            Some(false) => Verdict::Pass,
            None => Verdict::Refuse(Failure::Internal),
        };
        if found == Some(true) && self.is_waiting_for(ticket) {
            let engine = self.engine.clone();
            let from = Address::Server { instance: self.server.0 };
            let envelope = Envelope::new(Address::of_engine(&engine), from, id);
            self.tell(&Frame::Accepted { envelope }, false);
        }
        self.resume(now, ticket, verdict);
    }

    /// Takes back what waits for this session's client and is to be stored by now.
    pub fn withdraw(&mut self, now: Instant, outbox: &mut Outbox) {
        let now = self.clock(now);
        outbox.withdraw_due(now);
        if self.state != SessionState::Ended {
            self.commands.push_back(HubCommand::Withdraw);
        }
    }

    /// What the hub says in answer to a command of this session.
    pub fn handle_hub(&mut self, event: HubEvent) {
        match event {
            HubEvent::Violation => self.close = Some(CloseReason::InvalidMessage),
            HubEvent::Query(query) => self.accept_query(query),
            // The application hears of it; the sender heard already if it asked to.
            HubEvent::TransmitFailed { .. } | HubEvent::Missed(_) => {}
            HubEvent::Kick { user, id } => self.changes.push_back(HubChange::Kick { user, id }),
            // Nobody wants to judge it.
            HubEvent::Judge { ticket, .. } => self.resume(self.now, ticket, Verdict::Pass),
            HubEvent::LookedUp { ticket, id, found } => self.looked_up(self.now, ticket, id, found),
            HubEvent::Request(request) => self.changes.push_back(HubChange::Request(request)),
            // Whoever drives the hub carries it on.
            HubEvent::Broadcast(_) => {}
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant, outbox: &mut Outbox) {
        let now = self.clock(now);
        match self.state {
            SessionState::Attached => {
                outbox.expire(now);
                self.find_slow(now, outbox);
                self.with_receiving(|receiving| receiving.handle_timeout(now));
                if self.hop.poll_count(now).is_some() {
                    self.control.count();
                }
            }
            SessionState::Detached if self.until.is_some_and(|until| until <= now) => {
                self.counters.sessions_expired.add(1);
                self.end(now, CloseReason::NetworkInterrupted, outbox);
            }
            SessionState::Detached | SessionState::Ended => {}
        }
    }

    /// When [`Session::handle_timeout`] is to be called.
    #[must_use]
    pub fn poll_timeout(&self, outbox: &Outbox) -> Option<(Instant, TimerKind)> {
        match self.state {
            SessionState::Attached => {
                let count = self.hop.count_due().map(|at| (at, TimerKind::Count));
                let expiry = outbox.open.first_deadline().map(|at| (at, TimerKind::Outcome));
                let own = self.receiving.as_ref().and_then(|receiving| receiving.poll_timeout());
                let streams = outbox.streams_out.poll_timeout().into_iter().chain(own).map(|at| (at, TimerKind::Blob));
                count.into_iter().chain(expiry).chain(streams).min()
            }
            SessionState::Detached => self.until.map(|at| (at, TimerKind::ResumeWindow)),
            SessionState::Ended => None,
        }
    }

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
                if lane == Lane::Volatile && !broken!(VolatileCounted) {
                    self.budget.release(waiting.cost);
                } else {
                    self.hop.hand_out(frame.clone(), waiting.cost, lane == Lane::Message);
                }
                // By reference: a handle that was just written would be waited for if it were moved.
                send(&frame)
            });
            if more != Some(true) {
                return;
            }
        }
    }

    /// What the hub is to do now, under this session's lock.
    #[must_use]
    pub fn poll_hub(&mut self) -> Option<HubCommand> {
        self.commands.pop_front()
    }

    /// What is to change in the directory, after this session's lock is released.
    #[must_use]
    pub fn poll_change(&mut self) -> Option<HubChange> {
        self.changes.pop_front()
    }

    /// The next message for the server's application; those that wait outlive the session's end.
    #[must_use]
    pub fn poll_message(&mut self) -> Option<Message> {
        let (message, cost) = self.inbox.pop_front()?;
        self.inbox_bytes -= cost;
        if !broken!(InboxNotReleased) {
            self.budget.release(cost);
        }
        Some(message)
    }

    /// The next query for the server's application.
    #[must_use]
    pub fn poll_query(&mut self) -> Option<IncomingQuery> {
        let (query, cost) = self.queries.pop_front()?;
        self.query_bytes -= cost;
        self.budget.release(cost);
        Some(query)
    }

    /// Nothing has moved for a while: gives the memory back that is kept only so that the next burst finds it.
    pub fn rest(&mut self, outbox: &mut Outbox) {
        self.hop.rest();
        self.control.rest();
        self.inbox.shrink_to_fit();
        self.queries.shrink_to_fit();
        self.commands.shrink_to_fit();
        self.changes.shrink_to_fit();
        outbox.rest();
    }

    /// What a frame does: what concerns the hop at once, the rest as a command to the hub or for the application.
    fn effect(&mut self, frame: RawFrame) -> Result<(), CloseReason> {
        if frame.is_routed() {
            return self.routed(frame, Step::New);
        }
        match frame.decode() {
            Ok(Frame::Fragment { .. }) => self.fragment(frame),
            Ok(Frame::Credit { stream, offset }) => {
                self.commands.push_back(HubCommand::Credit { stream, offset });
                Ok(())
            }
            Ok(Frame::Count { received, taken }) => {
                let mut freed = 0;
                let counted = self.hop.on_count(Counts { received, taken }, |cost| freed += cost);
                self.budget.release(freed);
                counted.map_err(|_| CloseReason::InvalidMessage)
            }
            Ok(Frame::Heartbeat { nonce }) => {
                if !self.control.beat(nonce) {
                    self.counters.answers_dropped.add(1);
                }
                if self.hop.poll_count_early().is_some() {
                    self.control.count();
                }
                Ok(())
            }
            // A second login, whatever is in it, a query after login, or what only a server says.
            Ok(_) | Err(DecodeError::Version(_) | DecodeError::UserId) => Err(CloseReason::InvalidMessage),
            Err(error) if error.is_skippable() => {
                self.counters.unknown_skipped.add(1);
                Ok(())
            }
            Err(error) => Err(error.close_reason()),
        }
    }

    /// Two links may tell their times in either order; it never goes back.
    pub(super) fn clock(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    fn change_window(&mut self, until: Option<Instant>) {
        self.turn += 1;
        self.changes.push_back(HubChange::Window { until, turn: self.turn });
    }

    /// Queues a query for the server's application. Its entry may be over long before the application fetches it, so
    /// what waits has a bound of its own.
    fn accept_query(&mut self, query: IncomingQuery) {
        let cost = QUERY_COST + query.body.len();
        let fits = self.queries.is_empty()
            || self.queries.len() < self.config.max_open_queries
                && self.query_bytes + cost <= self.config.max_open_query_bytes;
        let charged = if fits { self.budget.try_charge(cost).map_err(Cause::from) } else { Err(Cause::Application) };
        if let Err(cause) = charged {
            self.counters.busy(cause);
            self.commands.push_back(HubCommand::Refuse { id: query.token.0, failure: Failure::Busy });
            return;
        }
        self.query_bytes += cost;
        self.queries.push_back((query, cost));
        self.arrived = true;
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

    pub(super) fn tell(&mut self, frame: &Frame<'_>, charged: bool) {
        let mut bytes = BytesMut::with_capacity(frame.encoded_len());
        if frame.encode(Header::default(), &mut bytes).is_ok() {
            self.commands.push_back(HubCommand::Tell { frame: bytes.freeze(), charged });
        }
    }

    fn set_state(&mut self, to: SessionState) {
        check_session(self.state, to);
        self.state = to;
    }
}

#[cfg(test)]
mod tests;
