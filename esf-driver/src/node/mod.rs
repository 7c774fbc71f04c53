//! One server's protocol core on many threads: the hub behind a read-write lock, a cell for each session, a
//! [`Conn`] for each link. No runtime, no IO, no clock: an adapter (or a test under virtual time) drives it.
//!
//! Lock order: a session's lock or the desk's, then the hub's read lock, then one outbox's lock. The hub's write lock
//! is taken while no other is held.

mod cell;
mod conn;
mod crowd;
mod desk;
mod judging;
mod mail;
mod revoked;

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    task::Waker,
    time::Duration,
};

use bytes::Bytes;
use esf_proto::{
    close::CloseReason,
    failure::Failure,
    hub::{Hub, Mail},
    ids::{Engine, GroupId, InstanceId, LinkId, Source, To, UserId},
    login::Rights,
    server::{Config, Counters, HubChange, LoginClaim},
    session::budget::Budget,
    time::{Instant, UnixMillis},
    wire::{Address, Frame, PRELOGIN_MAX_FRAME, RawFrame},
};

use crate::sync::{
    Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard,
    atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
};

pub use cell::Cell;
use cell::LinkWaker;
pub use conn::Conn;
use crowd::Crowd;
use desk::OwnEnd;
use judging::Judging;
pub use judging::{Asked, Judge, Judged};
use revoked::Revoked;

/// What waits for the server's application and is not fetched; beyond it the oldest goes.
const EVENTS: usize = 4096;
/// The largest frame is at least that of a login.
const LEAST_FRAME: u32 = PRELOGIN_MAX_FRAME as u32;

/// What a node takes from outside: randomness and the wall clock.
pub struct Inputs {
    /// This life of the server: 64 random bits.
    pub instance: InstanceId,
    /// Keys of the directory's hash: random, so that nobody can choose names that collide.
    pub keys: (u64, u64),
    /// A source of 128-bit secrets.
    pub secrets: Box<dyn FnMut() -> [u8; 16] + Send>,
    /// The wall clock.
    pub wall: Box<dyn Fn() -> UnixMillis + Send + Sync>,
    /// Who makes reconnect tickets: `()` makes none.
    pub tickets: Box<dyn Tickets>,
}

/// Makes reconnect tickets, and gives them up.
pub trait Tickets: Send + Sync {
    /// The ticket for a login that got its place; empty for none. Called while the login waits, with no lock held.
    fn ticket(&self, login: &LoginClaim, login_number: u64) -> Bytes;

    /// A user was kicked out: tickets of theirs are to be good no more. Called with no lock held.
    fn kicked(&self, user: &UserId);
}

impl Tickets for () {
    fn ticket(&self, _login: &LoginClaim, _login_number: u64) -> Bytes {
        Bytes::new()
    }

    fn kicked(&self, _user: &UserId) {}
}

impl<T: Tickets + ?Sized> Tickets for Arc<T> {
    fn ticket(&self, login: &LoginClaim, login_number: u64) -> Bytes {
        (**self).ticket(login, login_number)
    }

    fn kicked(&self, user: &UserId) {
        (**self).kicked(user);
    }
}

/// Something that the server's application may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerEvent {
    /// Somebody logged in afresh; a resume is no event.
    Connected {
        /// Who.
        engine: Engine,
        /// Whether messages may be addressed to it.
        takes_messages: bool,
        /// Where it comes from, if that is known.
        address: Option<IpAddr>,
    },
    /// A session ended.
    Disconnected {
        /// Whose.
        engine: Engine,
        /// Why; `NetworkInterrupted` if its resume window ran out.
        reason: CloseReason,
    },
    /// A newer login took the place of a session; that it is disconnected follows.
    PushedOut {
        /// Whose session ends.
        engine: Engine,
        /// Who took its place.
        by: Engine,
    },
    /// A plain message went nowhere: at once, or when the session ended that held it.
    TransmitFailed {
        /// Who sent it.
        from: Source,
        /// To whom.
        to: To,
        /// The application's number for what it means.
        info_type: u32,
        /// Why; `ConnectionLost` if it may have arrived.
        failure: Failure,
    },
    /// A member of a group that is online missed a broadcast, or a blob to the group, while its sender went on with it.
    BroadcastFailed {
        /// The group.
        group: GroupId,
        /// Who sent it.
        from: Source,
        /// Who missed it, on one of its devices.
        to: UserId,
        /// Why.
        failure: Failure,
    },
}

/// How far a shutdown has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Running = 0,
    /// Clients were asked to leave.
    Draining = 1,
    /// Whoever is left is closed.
    Closing = 2,
}

/// One server's protocol core.
pub struct Node {
    config: Arc<Config>,
    counters: Arc<Counters>,
    global: Arc<Budget>,
    hub: RwLock<Hub<Arc<Cell>>>,
    desk: OwnEnd,
    crowd: Crowd,
    mail: Option<Mutex<Mail<Arc<Cell>>>>,
    instance: InstanceId,
    secrets: Mutex<Box<dyn FnMut() -> [u8; 16] + Send>>,
    wall: Box<dyn Fn() -> UnixMillis + Send + Sync>,
    tickets: Box<dyn Tickets>,
    revoked: Revoked,
    judging: Judging,
    next_link: AtomicU64,
    links: Mutex<BTreeMap<LinkId, Arc<LinkWaker>>>,
    stage: AtomicU8,
    retry_after_ms: AtomicU64,
    events: Mutex<VecDeque<ServerEvent>>,
    events_lost: AtomicU64,
    event_waker: LinkWaker,
    housekeeper: LinkWaker,
}

impl Node {
    /// A node with nobody on it.
    #[must_use]
    pub fn new(mut config: Config, inputs: Inputs) -> Arc<Self> {
        // A client takes no server to mean less, and one that held it to less would close its link again and again.
        config.max_frame = config.max_frame.max(LEAST_FRAME);
        // The mail is driven here.
        config.keeps_messages = config.store;
        let config = Arc::new(config);
        let counters = Arc::new(Counters::default());
        let global = Arc::new(Budget::new(config.global_budget));
        let hub = Hub::new(&config, &counters, inputs.instance, inputs.keys);
        // Whoever knows one of the two knows nothing of the other.
        let stream_keys = (inputs.keys.1.rotate_left(32) ^ 0x6573_662d_626c_6f62, inputs.keys.0.rotate_left(32));
        Arc::new(Self {
            desk: OwnEnd::new(&config, &counters, &global, inputs.instance, stream_keys),
            crowd: Crowd::new(&global),
            mail: config.keeps_messages.then(|| Mutex::new(Mail::new(&config, &counters, &global))),
            global,
            hub: RwLock::new(hub),
            config,
            counters,
            instance: inputs.instance,
            secrets: Mutex::new(inputs.secrets),
            wall: inputs.wall,
            tickets: inputs.tickets,
            revoked: Revoked::default(),
            judging: Judging::default(),
            next_link: AtomicU64::new(1),
            links: Mutex::default(),
            stage: AtomicU8::new(Stage::Running as u8),
            retry_after_ms: AtomicU64::new(0),
            events: Mutex::default(),
            events_lost: AtomicU64::new(0),
            event_waker: LinkWaker::default(),
            housekeeper: LinkWaker::default(),
        })
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// This life of the server.
    #[must_use]
    pub fn instance(&self) -> InstanceId {
        self.instance
    }

    /// Every counter of this server.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Bytes that all sessions hold together.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.global.used()
    }

    /// Links that are open.
    #[must_use]
    pub fn links(&self) -> usize {
        lock(&self.links).len()
    }

    /// Users that are online.
    #[must_use]
    pub fn online(&self) -> usize {
        self.hub().online()
    }

    /// Whether a user is online.
    #[must_use]
    pub fn is_online(&self, user: &str) -> bool {
        self.hub().is_online(user)
    }

    /// Ends every session of a user: the server's application may.
    ///
    /// # Errors
    /// [`Failure::Offline`] if there is none.
    pub fn kick_out(&self, now: Instant, user: &str) -> Result<(), Failure> {
        let victims = self.hub().sessions_of(user);
        if victims.is_empty() {
            return Err(Failure::Offline);
        }
        for victim in victims {
            victim.with(self, now, |session, outbox| session.end(now, CloseReason::Kicked, outbox));
        }
        // The name as the victim has it: it has one.
        if let Ok(user) = UserId::parse(user, u8::MAX) {
            self.tickets.kicked(&user);
        }
        Ok(())
    }

    /// Ends every session of a user that a credential of a version below `below` has opened, those of logins that are
    /// under way included (ESF-123).
    pub fn revoke(&self, now: Instant, user: &UserId, below: u64) {
        // First, so that a login which this does not see in the directory sees it.
        self.revoked.note(now, user, below, self.config.login_timeout * 2);
        let sessions = self.hub().sessions_of(user);
        for cell in sessions {
            self.end_if_revoked(now, &cell);
        }
    }

    fn end_if_revoked(&self, now: Instant, cell: &Arc<Cell>) {
        let Some(below) = self.revoked.below(&cell.engine().user) else { return };
        cell.with(self, now, |session, outbox| {
            if session.credential_version() < below {
                session.end(now, CloseReason::LoginFailed, outbox);
            }
        });
    }

    /// Draws login numbers from `from` on and, as long as that is enough, below `below`: see
    /// [`Hub::reserve_numbers`].
    pub fn reserve_login_numbers(&self, from: u64, below: u64) {
        self.hub_mut(|hub| hub.reserve_numbers(from, below));
    }

    /// The next event for the server's application. The oldest are dropped when nobody fetches them.
    #[must_use]
    pub fn poll_event(&self) -> Option<ServerEvent> {
        lock(&self.events).pop_front()
    }

    /// Events that were dropped because nobody fetched them.
    #[must_use]
    pub fn events_lost(&self) -> u64 {
        self.events_lost.load(Relaxed)
    }

    /// Wakes `waker` when there is an event.
    pub fn register_events(&self, waker: &Waker) {
        self.event_waker.register(waker);
    }

    // Housekeeping of sessions that have no link to do it.

    /// When [`Node::handle_timeout`] is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.crowd.has_next() {
            // At once.
            return Some(Instant::ZERO);
        }
        let hub = self.hub().poll_timeout();
        let others = [self.desk.poll_timeout(), self.judging.poll_timeout(), self.mail_timeout()];
        hub.into_iter().chain(others.into_iter().flatten()).min()
    }

    /// Ends the sessions whose resume window is over, and what the server's application asked too long ago; tells who
    /// came and went, and carries on what goes to many.
    pub fn handle_timeout(&self, now: Instant) {
        self.desk.expire(now);
        self.move_blobs(now);
        self.end_unjudged(now);
        if self.hub().poll_timeout().is_some_and(|at| at <= now) {
            self.end_waits(now);
        }
        self.mail_timed_out(now);
        self.fan_out(now);
    }

    fn end_waits(&self, now: Instant) {
        while let Some(cell) = self.hub_mut(|hub| hub.poll_due(now)) {
            cell.with(self, now, |session, outbox| session.handle_timeout(now, outbox));
        }
        while self.hub().poll_timeout().is_some_and(|at| at <= now) && self.hub_mut(|hub| hub.handle_timeout(now)) {}
    }

    /// Wakes `waker` when [`Node::poll_timeout`] has become earlier.
    pub fn register(&self, waker: &Waker) {
        self.housekeeper.register(waker);
    }

    fn wake_housekeeper(&self) {
        self.housekeeper.wake();
    }

    // Shutdown.

    /// Asks every client to leave and to come back after `retry_after`, and takes no login any more.
    pub fn drain(&self, retry_after: Duration) {
        let retry_after = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
        self.retry_after_ms.store(retry_after, Relaxed);
        self.enter(Stage::Draining);
    }

    /// Closes every link that is left.
    pub fn close(&self) {
        self.enter(Stage::Closing);
    }

    fn enter(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, Relaxed);
        for waker in lock(&self.links).values() {
            waker.wake();
        }
    }

    fn stage(&self) -> Stage {
        match self.stage.load(Relaxed) {
            0 => Stage::Running,
            1 => Stage::Draining,
            _ => Stage::Closing,
        }
    }

    fn retry_after(&self) -> Duration {
        Duration::from_millis(self.retry_after_ms.load(Relaxed))
    }

    // The hub.

    fn hub(&self) -> RwLockReadGuard<'_, Hub<Arc<Cell>>> {
        self.hub.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn hub_mut<R>(&self, change: impl FnOnce(&mut Hub<Arc<Cell>>) -> R) -> R {
        let mut hub = self.hub.write().unwrap_or_else(PoisonError::into_inner);
        let judged = hub.judged();
        let result = change(&mut hub);
        if !hub.take_changed() {
            return result;
        }
        let judged = hub.judged() != judged;
        let replies = self.take_outputs(&mut hub, judged);
        let asks = hub.has_request();
        drop(hub);
        if asks {
            self.wake_store();
        }
        for reply in replies {
            let cell = reply.handle.clone();
            cell.visit(|outbox| reply.put(outbox));
        }
        self.housekeeper.wake();
        result
    }

    /// Changes the directory as a session said; called with no lock held.
    fn apply(&self, now: Instant, cell: &Arc<Cell>, change: HubChange) {
        match change {
            HubChange::Window { until, turn } => {
                self.hub_mut(|hub| hub.set_window(&cell.party(cell, Rights::NONE), turn, until));
                self.housekeeper.wake();
            }
            HubChange::Ended { reason, dedupe, attempt, unsent } => {
                self.hub_mut(|hub| hub.remove(now, &cell.party(cell, Rights::NONE), reason, attempt, dedupe));
                self.close_tail(now, cell, &unsent);
                self.housekeeper.wake();
                self.tell(ServerEvent::Disconnected { engine: cell.engine().clone(), reason });
            }
            HubChange::Request(request) => {
                self.hub_mut(|hub| hub.people_request(now, &cell.party(cell, request.rights), request));
            }
            HubChange::Kick { user, id } => {
                let status = self.kick_out(now, &user);
                cell.visit(|outbox| outbox.respond(id, status, &[], &[]));
            }
        }
    }

    fn secret(&self) -> [u8; 16] {
        (lock(&self.secrets))()
    }

    fn wall(&self) -> UnixMillis {
        (self.wall)()
    }

    fn tell(&self, event: ServerEvent) {
        let mut events = lock(&self.events);
        if events.len() == EVENTS {
            events.pop_front();
            self.events_lost.fetch_add(1, Relaxed);
        }
        events.push_back(event);
        drop(events);
        self.event_waker.wake();
    }

    fn transmit_failed(&self, frame: &RawFrame, failure: Failure) {
        let info_type = match frame.decode() {
            Ok(Frame::Send { info_type, .. } | Frame::EngineMessage { info_type, .. }) => info_type,
            _ => return,
        };
        let Ok(envelope) = frame.envelope() else { return };
        let user = |name: &str| UserId::parse(name, u8::MAX).ok();
        let to = match envelope.to {
            Address::User { user: name } => user(name).map(To::User),
            Address::Device { user: name, device } | Address::Engine { user: name, device, .. } => {
                user(name).map(|user| To::Device(user, device))
            }
            Address::Server { .. } | Address::Group { .. } => return,
        };
        let from = match envelope.from {
            Address::Server { instance } => Some(Source::Server(InstanceId(instance))),
            Address::Engine { user: name, device, instance } => {
                user(name).map(|user| Source::Engine(Engine { user, device, instance }))
            }
            _ => return,
        };
        if let (Some(from), Some(to)) = (from, to) {
            self.tell(ServerEvent::TransmitFailed { from, to, info_type, failure });
        }
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("instance", &self.instance).finish_non_exhaustive()
    }
}

/// A panic elsewhere must not spread: every lock holds a whole value whenever it is free.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, feature = "async"))]
mod tests;
