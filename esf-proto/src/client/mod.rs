//! The client's end: one engine's session, from its first link to its end.
//!
//! A [`Session`] outlives its links. It says when to connect and when to give a link up, logs in, resumes, counts,
//! sends again, tells duplicates apart and answers for the application what needs no application. It does no IO: a
//! driver hands in what happened (`handle_…`), the application gives commands, and both pull what comes of it:
//!
//! 1. [`poll_transmit`](Session::poll_transmit) while the link can take more,
//! 2. [`poll_action`](Session::poll_action), [`poll_event`](Session::poll_event) and, while the application's queue has
//!    room, [`poll_message`](Session::poll_message) until `None`,
//! 3. then [`poll_timeout`](Session::poll_timeout), and [`handle_timeout`](Session::handle_timeout) when it is time.
//!
//! All of that after every call that takes `&mut self`. Every operation that returned an id ends in exactly one of
//! `Acked`, `Stored`, `Replied`, `Responded` and `Failed`. [`Event::Closed`] is the last event; all that can still be pulled after
//! it is the last frame of the last link, and the action that closes that link.

use alloc::collections::VecDeque;

use bytes::Bytes;

mod backoff;
mod blobs;
mod commands;
mod config;
mod events;
mod groups;
mod inbound;
mod inbox;
mod incoming;
mod link;
mod login;
mod outbound;
mod stats;
mod stored;
#[cfg(test)]
mod tests;
pub mod transitions;
mod watch;

pub use commands::{CertainOptions, MessageOptions, Policy, SendError, SendOptions};
pub use config::{Config, ConfigError, Credential, MAX_TTL, PreQuery, Retry, Seed};
pub use events::{Action, Event, GroupChange, Transmit};
pub use login::{Limits, Server};
pub use stats::Stats;
pub use transitions::State;

pub use crate::session::{
    blob::{BlobEvent, BlobId, BlobNeed, BlobRead, IncomingBlob, OutgoingBlob, TakeBlob},
    inbound::{IncomingQuery, Message, MessageKind, QueryToken, Stored},
    timers::TimerKind,
    transport::Transport,
};

use self::{
    backoff::Backoff, inbound::LastHeard, inbox::Inbox, incoming::Incoming, link::Link, login::Held, stored::StoredIn,
    transitions::On,
};
use crate::{
    close::CloseReason,
    ids::{Engine, LinkId, To},
    login::Rights,
    session::{
        arena::Arena,
        budget::Budget,
        hop::Hop,
        lanes::{Lane, Lanes},
        pending::Pending,
        receiving::Receiving,
        senders::Senders,
        sending::{Sending, StreamIds},
        timers::Timers,
    },
    time::Instant,
    wire::Stamp,
};

/// Events that may wait to be taken, besides those that end an operation.
const EVENTS: usize = 4096;

/// One engine at the client's end; see the [module](self) for how to run it.
#[derive(Debug)]
pub struct Session {
    config: Config,
    me: Engine,
    now: Instant,
    state: State,
    timers: Timers,
    backoff: Backoff,
    /// Somebody waits until the server has counted everything.
    count_wanted: bool,
    stats: Stats,

    /// The present link; a frame or an end of any other is a no-op.
    link: Option<Link>,
    last_link: u64,
    attempt: u32,

    /// What the last welcome said.
    held: Option<Held>,
    limits: Limits,

    hop: Hop,
    lanes: Lanes,
    budget: Budget,
    pending: Pending,
    senders: Senders,
    stored: StoredIn,
    inbox: Inbox,
    incoming: Incoming,
    sending: Sending,
    receiving: Receiving,
    stream_ids: StreamIds,
    arena: Arena,
    last_heard: LastHeard,
    /// To whom the last plain message went.
    last_stamp: Option<(To, Stamp)>,

    /// The last frame of a link that the session has done with.
    farewell: Option<Transmit>,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
    #[cfg(test)]
    ways: alloc::vec::Vec<(transitions::StateName, On, transitions::StateName)>,
}

impl Session {
    /// A session that asks for its first link at once.
    #[must_use]
    pub fn new(config: Config, seed: Seed, now: Instant) -> Self {
        let config = config.within_limits();
        let limits = Limits::default();
        let budget = config.budget.max(limits.max_frame.saturating_mul(2));
        let mut session = Self {
            me: Engine { user: config.user.clone(), device: config.device, instance: seed.instance },
            now,
            state: State::Connecting,
            timers: Timers::default(),
            backoff: Backoff::new(config.retry, seed.jitter),
            count_wanted: false,
            stats: Stats::default(),
            link: None,
            last_link: 0,
            attempt: 0,
            held: None,
            limits,
            hop: Hop::new(0),
            lanes: Lanes::default(),
            budget: Budget::new(budget),
            pending: Pending::new(budget),
            senders: Senders::default(),
            stored: StoredIn::default(),
            inbox: Inbox::new(config.queue),
            incoming: Incoming::default(),
            sending: Sending::default(),
            receiving: Receiving::default(),
            stream_ids: StreamIds::new((seed.jitter, seed.instance.0)),
            arena: Arena::default(),
            last_heard: LastHeard::default(),
            last_stamp: None,
            farewell: None,
            actions: VecDeque::new(),
            events: VecDeque::new(),
            #[cfg(test)]
            ways: alloc::vec::Vec::new(),
            config,
        };
        session.open_link();
        session
    }

    // Inputs: what happened outside.

    /// The link is there: the WebSocket is open.
    pub fn handle_connected(&mut self, now: Instant, link: LinkId) {
        self.tick(now);
        if self.is_present(link) && self.state == State::Connecting {
            self.begin_login();
        }
    }

    /// The link could not be had: no connection, or the server refused the WebSocket.
    pub fn handle_connect_failed(&mut self, now: Instant, link: LinkId) {
        self.handle_link_closed(now, link, None);
    }

    /// A binary WebSocket message arrived: one or more whole frames.
    pub fn handle_message(&mut self, now: Instant, link: LinkId, message: Bytes) {
        self.tick(now);
        if self.is_open(link) {
            self.heard();
            self.receive(message);
        }
    }

    /// A text message arrived, which has no place in this protocol (ESF-021).
    pub fn handle_text(&mut self, now: Instant, link: LinkId) {
        self.tick(now);
        if self.is_open(link) {
            self.violated(CloseReason::InvalidMessage);
        }
    }

    /// How far the link's transport is; told once a turn of the driver's loop.
    pub fn handle_transport(&mut self, now: Instant, link: LinkId, transport: Transport) {
        self.tick(now);
        if self.is_present(link) {
            self.observe(transport);
        }
    }

    /// The link is gone, with this WebSocket close code if there was one: 4000 + n tells a reason even if the frame
    /// that said it was lost.
    pub fn handle_link_closed(&mut self, now: Instant, link: LinkId, code: Option<u16>) {
        self.tick(now);
        if self.is_present(link) {
            let reason = code.and_then(CloseReason::from_websocket_code);
            self.lose_link(reason.unwrap_or(CloseReason::NetworkInterrupted));
        }
    }

    /// Time has passed. A call too early or too often changes nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.tick(now);
        while let Some((due, kind)) = self.timers.pop_due(self.now) {
            self.on_timer(due, kind);
        }
        self.expire();
        self.receiving.handle_timeout(self.now);
        self.answer_blobs();
        self.offer_later();
        self.plan_count();
    }

    // Outputs.

    /// What is to be done with a link.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What happened.
    ///
    /// When `Closed` is taken, messages that were not pulled are gone: a driver whose queue was full pulls them first.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        let Some(event) = self.events.pop_front() else { return self.poll_blob_event() };
        if matches!(event, Event::Closed { .. }) {
            self.inbox.clear();
        }
        Some(event)
    }

    fn poll_blob_event(&mut self) -> Option<Event> {
        if let Some(event) = self.receiving.poll_event() {
            return Some(Event::Blob(event));
        }
        let (id, held, total) = self.sending.poll_progress()?;
        Some(Event::BlobProgress { id, held, total })
    }

    /// The next message. To be pulled only when the application's queue has room: to pull is to take (ESF-206), and
    /// what is taken makes room for more to come.
    #[must_use]
    pub fn poll_message(&mut self) -> Option<Message> {
        let (message, taken) = self.inbox.pop()?;
        if taken > 0 {
            self.hop.take(self.now, taken);
        }
        Some(message)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due, and what for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, TimerKind)> {
        let count = if self.is_logged_in() && self.link.as_ref().is_some_and(|link| !link.count_now) {
            self.hop.count_due().map(|at| (at, TimerKind::Count))
        } else {
            None
        };
        let outcome = self.pending.next_deadline().map(|at| (at, TimerKind::Outcome));
        let expiry = self.incoming.next_deadline().map(|at| (at, TimerKind::Expiry));
        let blobs = [self.receiving.poll_timeout(), self.sending.poll_timeout()].into_iter().flatten();
        let blob = blobs.min().map(|at| (at, TimerKind::Blob));
        [self.timers.next(), count, outcome, expiry, blob].into_iter().flatten().min()
    }

    // Looks.

    /// Where the session is.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// This engine, as others see it.
    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.me
    }

    /// What the last login may do; nothing before the first.
    #[must_use]
    pub fn rights(&self) -> Rights {
        self.held.as_ref().map_or(Rights::NONE, |held| held.rights)
    }

    /// What the server allows; the protocol's defaults before the first login.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Who the server is, after the first login.
    #[must_use]
    pub fn server(&self) -> Option<&Server> {
        self.held.as_ref().map(|held| &held.server)
    }

    /// Bytes of frames that wait to go out or to be counted by the server.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.budget.used()
    }

    /// Frames that wait to go out or to be counted by the server. When it is 0, the server has everything that was
    /// sent.
    #[must_use]
    pub fn uncounted_frames(&self) -> usize {
        let waiting: usize =
            [Lane::Interactive, Lane::Message, Lane::Volatile].map(|lane| self.lanes.len(lane)).iter().sum();
        waiting + self.hop.uncounted()
    }

    /// Asks the server to count at once what was handed out, instead of within its 100 ms: a heartbeat follows the last
    /// frame that waits, since its answer brings the count (ESF-207). Watch [`uncounted_frames`](Self::uncounted_frames).
    pub fn hurry_count(&mut self, now: Instant) {
        self.tick(now);
        self.count_wanted = true;
    }

    /// Operations that have no outcome yet.
    #[must_use]
    pub fn open_operations(&self) -> usize {
        self.pending.len()
    }

    /// Queries of others that wait for [`reply`](Self::reply).
    #[must_use]
    pub fn open_queries(&self) -> usize {
        self.incoming.len()
    }

    /// Messages that wait to be taken.
    #[must_use]
    pub fn waiting_messages(&self) -> usize {
        self.inbox.len()
    }

    /// The largest WebSocket message to accept, in bytes: the largest frame and 64 KiB.
    #[must_use]
    pub const fn max_message(&self) -> usize {
        self.limits.max_frame.saturating_add(64 << 10)
    }

    /// What was counted since the start.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    // What every part uses.

    /// Time never goes back, whatever the driver says.
    fn tick(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn is_present(&mut self, link: LinkId) -> bool {
        let present = self.link.as_ref().is_some_and(|present| present.id == link);
        self.stats.stale_inputs += u64::from(!present);
        present
    }

    /// Whether something can arrive on this link: it is the present one, and it is there.
    fn is_open(&mut self, link: LinkId) -> bool {
        self.is_present(link) && self.state != State::Connecting
    }

    const fn is_logged_in(&self) -> bool {
        matches!(self.state, State::Online | State::LoggingOff)
    }

    const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed(_))
    }

    /// The only place where the state changes.
    fn set_state(&mut self, on: On, to: State) {
        debug_assert!(
            transitions::allows(self.state.name(), on, to.name()),
            "no way from {:?} to {to:?} on {on:?}",
            self.state
        );
        #[cfg(test)]
        self.ways.push((self.state.name(), on, to.name()));
        self.state = to;
    }

    /// An event that must not get lost: it ends something, or its number is bounded elsewhere.
    fn tell(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// An event that a peer could cause without end: dropped when nobody takes events.
    fn tell_if_room(&mut self, event: Event) {
        if self.events.len() < EVENTS {
            self.events.push_back(event);
        } else {
            self.stats.events_dropped += 1;
        }
    }
}
