//! One login. It survives its links: a resume gives it to a newer one in one step.

mod links;
mod transmit;

use alloc::{boxed::Box, collections::VecDeque, sync::Arc};

use bytes::BytesMut;

use self::links::Probes;
pub use self::links::TakeOver;
use super::{
    Config, Counters, Generation, Outbox,
    command::{HubChange, HubCommand, HubEvent, Repeat},
    control::Control,
    counters::Cause,
    parked::{Parked, Step, Ticket, Verdict},
    transitions::{SessionState, check_session},
};
use crate::{
    close::CloseReason,
    failure::Failure,
    ids::{Engine, InstanceId, SessionId, Source},
    login::{ResumeSecret, Rights},
    session::{
        budget::Budget,
        dedupe::Dedupe,
        hop::{Counts, Hop},
        inbound::{IncomingQuery, Message},
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
///
/// What is looked at whenever frames are handed out lies together, in this order: among thousands it is in no cache.
#[derive(Debug)]
#[repr(C)]
pub struct Session {
    /// The latest time that it was told.
    pub(super) now: Instant,
    generation: Generation,
    pub(super) state: SessionState,
    /// Whether a frame takes effect as it comes: nothing is waited for, and nobody is asked about each.
    pub(super) is_straight: bool,
    pub(super) close: Option<CloseReason>,
    /// Something came for the server's application since it was woken.
    pub(super) arrived: bool,
    control: Control,
    pub(super) hop: Hop,
    /// Blobs to the server's application, if there ever was one.
    pub(super) receiving: Option<Box<Receiving>>,
    pub(super) commands: VecDeque<HubCommand>,
    changes: VecDeque<HubChange>,
    probes: Probes,
    pub(super) budget: Arc<Budget>,

    pub(super) config: Arc<Config>,
    pub(super) counters: Arc<Counters>,
    pub(super) parked: Option<Box<Parked>>,
    pub(super) last_ticket: Ticket,
    pub(super) last_route: LastRoute,
    id: SessionId,
    origin: SessionId,
    pub(super) engine: Engine,
    pub(super) server: InstanceId,
    pub(super) rights: Rights,
    credential_version: u64,
    takes_messages: bool,
    login_number: u64,
    attempt: u32,
    secret: ResumeSecret,
    old_secret: Option<ResumeSecret>,
    until: Option<Instant>,
    turn: u64,
    pub(super) dedupe: Dedupe,
    pub(super) inbox: VecDeque<(Message, usize)>,
    pub(super) inbox_bytes: usize,
    queries: VecDeque<(IncomingQuery, usize)>,
    query_bytes: usize,
}

/// What an application's query costs beside its body.
const QUERY_COST: usize = 64;

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
