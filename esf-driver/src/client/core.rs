//! What the handles, the task and the handlers of one client share: the session behind a lock.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use esf_proto::{
    client::{Action, Event as Out, Session, State},
    close::CloseReason,
    failure::Failure,
    ids::{LinkId, MessageId},
    login::{LoginCode, Mode},
    session::{
        blob::{BlobEvent, BlobId, BlobRead, TakeBlob},
        frames::FrameBytes,
        inbound::{IncomingQuery, Message, QueryToken},
    },
    store::StoreId,
    time::Instant,
};

use super::{
    ClientStats, CloseInfo, SendError,
    calls::{CallError, Outcome},
    event::Event,
};
use crate::{
    blob::{Line, Transfer},
    completion::{Teller, Told, completion},
    dispatch::{Handling, Inbox},
    events::EventQueue,
    notify::Worker,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    tasks::Tasks,
};

/// Queries that wait for a handler; the session bounds those that are open, this bounds those whose time is over.
const QUERIES: usize = 256;

/// Bytes that are fetched under one lock, about.
const BATCH_BYTES: usize = 16 * 1024;

/// One client.
pub(super) struct Shared {
    core: Mutex<Core>,
    pub(super) url: String,
    pub(super) runtime: Arc<dyn Tasks>,
    pub(super) events: EventQueue<Event>,
    /// The client's task.
    pub(super) task: Worker,
    /// The task itself pulls messages now, so nobody needs to wake it for that.
    pub(super) task_pulls: AtomicBool,
    pub(super) handling: Arc<Handling>,
    pub(super) links_too_large: AtomicU64,
    pub(super) links_violated: AtomicU64,
}

/// What the lock protects.
pub(super) struct Core {
    pub(super) session: Session,
    /// Who waits for the outcome of what.
    open: HashMap<MessageId, Teller<Outcome>>,
    pub(super) actions: VecDeque<Action>,
    queries: VecDeque<IncomingQuery>,
    /// Blobs that are being sent.
    pub(super) sending: HashMap<MessageId, Arc<Transfer>>,
    /// What happened to blobs that arrive; the session bounds how many there are.
    blobs: VecDeque<BlobEvent>,
    /// What the session held when it closed.
    last_messages: VecDeque<Message>,
    /// Who waits for a change.
    waiting: Vec<Teller<()>>,
    pub(super) protocol: Option<String>,
    pub(super) close_info: Option<CloseInfo>,
    /// The first login was refused.
    pub(super) refused: Option<(LoginCode, String)>,
    /// Why the first attempt to connect that failed did so, or the first link that ended without a login.
    pub(super) unreachable: Option<String>,
    /// Sessions that were not gone on with after a cut.
    lost_sessions: u64,
    pub(super) task_ended: bool,
    /// What those who wait were last told of.
    told: Option<Looks>,
}

/// All that anybody waits for.
#[derive(PartialEq, Eq)]
struct Looks {
    state: State,
    settled: bool,
    lost_sessions: u64,
    unreachable: bool,
    task_ended: bool,
}

impl Shared {
    pub(super) fn new(session: Session, url: String, runtime: Arc<dyn Tasks>, handling: Arc<Handling>) -> Arc<Self> {
        let core = Core {
            session,
            open: HashMap::new(),
            actions: VecDeque::new(),
            queries: VecDeque::new(),
            sending: HashMap::new(),
            blobs: VecDeque::new(),
            last_messages: VecDeque::new(),
            waiting: Vec::new(),
            protocol: None,
            close_info: None,
            refused: None,
            unreachable: None,
            lost_sessions: 0,
            task_ended: false,
            told: None,
        };
        Arc::new(Self {
            core: Mutex::new(core),
            url,
            runtime,
            events: EventQueue::default(),
            task: Worker::default(),
            task_pulls: AtomicBool::new(false),
            handling,
            links_too_large: AtomicU64::new(0),
            links_violated: AtomicU64::new(0),
        })
    }

    /// Gives the session something to do, and wakes the task for what comes of it.
    pub(super) fn command<T>(&self, command: impl FnOnce(&mut Session, Instant) -> T) -> T {
        let value = self.input(command);
        self.task.wake();
        value
    }

    /// The same from the client's own task.
    pub(super) fn input<T>(&self, input: impl FnOnce(&mut Session, Instant) -> T) -> T {
        self.change(|core, now| input(&mut core.session, now))
    }

    /// Changes the state and takes out what comes of it.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Core, Instant) -> T) -> T {
        let mut core = self.lock();
        // Under the lock, so that time never goes back for the session.
        let now = self.runtime.now();
        let value = change(&mut core, now);
        core.drain(now, &self.events);
        value
    }

    /// Nobody runs the session any more: what has no outcome will not get one, and nothing more is taken.
    pub(super) fn end(&self) {
        self.change(|core, now| {
            core.session.log_off(now);
            core.open.clear();
            for (_, transfer) in core.sending.drain() {
                transfer.end(Err(Failure::ConnectionLost));
            }
            core.task_ended = true;
        });
        self.events.end();
    }

    /// The next frames of the session, as many of `most` as it has now for this link, under one lock. Says how many bytes
    /// they had.
    pub(super) fn transmit(
        &self,
        now: Instant,
        link: LinkId,
        most: usize,
        mut feed: impl FnMut(&FrameBytes<'_>),
    ) -> usize {
        let mut core = self.lock();
        let (mut frames, mut bytes) = (0, 0);
        while frames < most && bytes < BATCH_BYTES {
            let sent = core.session.transmit_with(now, |of, frame| {
                // The last word of a link that is gone already is left out.
                if of == link {
                    frames += 1;
                    bytes += frame.len();
                    feed(&frame);
                }
            });
            if sent.is_none() {
                break;
            }
        }
        core.drain(now, &self.events);
        bytes
    }

    /// Changes what is beside the session, of which nothing comes.
    pub(super) fn set_aside<T>(&self, change: impl FnOnce(&mut Core) -> T) -> T {
        change(&mut self.lock())
    }

    pub(super) fn look<T>(&self, look: impl FnOnce(&Core) -> T) -> T {
        look(&self.lock())
    }

    /// Starts an operation that has an outcome, and says where that will be.
    pub(super) fn open(
        &self,
        command: impl FnOnce(&mut Session, Instant) -> Result<MessageId, SendError>,
    ) -> Result<Told<Outcome>, SendError> {
        let opened = self.change(|core, now| {
            let id = command(&mut core.session, now)?;
            let (tell, outcome) = completion();
            core.open.insert(id, tell);
            Ok(outcome)
        });
        self.task.wake();
        opened
    }

    /// Waits until `look` finds what it looks for.
    pub(super) async fn wait_for<T>(&self, mut look: impl FnMut(&Core) -> Option<T>) -> T {
        loop {
            let changed = {
                let mut core = self.lock();
                if let Some(value) = look(&core) {
                    return value;
                }
                core.waiting.retain(|waiting| !waiting.is_abandoned());
                // This is what it has looked at; those who wait already were told of it.
                core.told = Some(core.looks());
                let (tell, changed) = completion();
                core.waiting.push(tell);
                changed
            };
            // It ends in any case with a change.
            let _ = changed.await;
        }
    }

    pub(super) async fn settled(&self) -> Result<(), CallError> {
        let lost = self.look(|core| core.lost_sessions);
        self.command(Session::hurry_count);
        self.wait_for(|core| match core.closed() {
            Some(_) => Some(Err(CallError::Failed(Failure::ConnectionLost))),
            _ if core.lost_sessions != lost => Some(Err(CallError::Failed(Failure::ConnectionLost))),
            _ if core.session.uncounted_frames() == 0 => Some(Ok(())),
            _ => None,
        })
        .await
    }

    pub(super) fn stats(&self) -> ClientStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let handlers = &self.handling.counters;
        ClientStats {
            session: self.look(|core| *core.session.stats()),
            handlers_panicked: read(&handlers.panicked),
            handlers_cut_off: read(&handlers.cut_off),
            queries_refused: read(&handlers.refused),
            links_too_large: read(&self.links_too_large),
            links_violated: read(&self.links_violated),
        }
    }

    /// The session is whole after every call, so a panic elsewhere leaves nothing half done in it.
    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    /// An attempt to reach the server came to nothing. The first is told, however late somebody looks.
    pub(super) fn fail_to_reach(&mut self, cause: &(impl ToString + ?Sized)) {
        self.unreachable.get_or_insert_with(|| cause.to_string());
    }

    /// Takes out what the session says and brings it to whom it concerns.
    fn drain(&mut self, now: Instant, events: &EventQueue<Event>) {
        while let Some(action) = self.session.poll_action() {
            self.actions.push_back(action);
        }
        if matches!(self.session.state(), State::Closed(_)) {
            // They are gone once `Closed` is taken.
            while let Some(message) = self.session.poll_message() {
                self.last_messages.push_back(message);
            }
        }
        while let Some(event) = self.session.poll_event() {
            if let Some(event) = self.route(now, event) {
                events.push(event);
            }
        }
        while let Some(need) = self.session.poll_blob_need() {
            if let Some(transfer) = self.sending.get(&need.id) {
                transfer.need(need);
            }
        }
        if !self.waiting.is_empty() {
            self.tell_change();
        }
    }

    /// Wakes whoever waits, if something changed that anybody waits for.
    fn tell_change(&mut self) {
        let present = self.looks();
        if self.told.as_ref() != Some(&present) {
            self.told = Some(present);
            for waiting in self.waiting.drain(..) {
                waiting.tell(());
            }
        }
    }

    fn looks(&self) -> Looks {
        Looks {
            state: self.session.state(),
            settled: self.session.uncounted_frames() == 0,
            lost_sessions: self.lost_sessions,
            unreachable: self.unreachable.is_some(),
            task_ended: self.task_ended,
        }
    }

    /// What of an event is for the application.
    fn route(&mut self, now: Instant, event: Out) -> Option<Event> {
        match event {
            Out::Acked { id } => self.tell(id, Outcome::Acked),
            Out::Stored { id } => self.tell(id, Outcome::Stored),
            Out::Replied { id, body } => self.tell(id, Outcome::Replied(body)),
            Out::Responded { id, status, cursor, body, round_trip } => {
                self.tell(id, Outcome::Responded { status, cursor, body, round_trip });
            }
            Out::Failed { id, failure } => self.tell(id, Outcome::Failed(failure)),
            Out::Blob(event) => self.blobs.push_back(event),
            Out::BlobProgress { id, held, .. } => {
                if let Some(transfer) = self.sending.get(&id) {
                    transfer.progress(held);
                }
            }
            Out::Query(query) if self.queries.len() < QUERIES => self.queries.push_back(query),
            Out::Query(query) => self.session.reply(now, query.token, Err(Failure::Busy)),
            Out::LoginCompleted { mode, rights, .. } => return Some(Event::LoginCompleted { mode, rights }),
            Out::LoginRefused { code, cause, .. } => {
                self.refused = Some((code, cause.clone()));
                return Some(Event::LoginRefused { code, cause });
            }
            Out::ConnectionInterrupted { reason } => return Some(Event::ConnectionInterrupted { reason }),
            Out::ConnectionRebuildStart => return Some(Event::ConnectionRebuildStart),
            Out::RelogonCompleted { code, mode } => {
                self.lost_sessions += u64::from(mode == Some(Mode::Fresh));
                return Some(Event::RelogonCompleted { code, mode });
            }
            Out::Undeliverable { note, failure } => return Some(Event::Undeliverable { note, failure }),
            Out::ContactConnected { user } => return Some(Event::ContactConnected { user }),
            Out::ContactOffline { user } => return Some(Event::ContactOffline { user }),
            Out::ContactDeviceConnected { user, device } => {
                return Some(Event::ContactDeviceConnected { user, device });
            }
            Out::ContactDeviceOffline { user, device } => return Some(Event::ContactDeviceOffline { user, device }),
            Out::GroupmateConnected { user } => return Some(Event::GroupmateConnected { user }),
            Out::GroupmateOffline { user } => return Some(Event::GroupmateOffline { user }),
            Out::Group { group, event } => return Some(Event::Group { group, event }),
            Out::PreReply { status, body } => return Some(Event::PreReply { result: status.map(|()| body) }),
            Out::BeingPushedOut => return Some(Event::BeingPushedOut),
            Out::BeingKickedOut => return Some(Event::BeingKickedOut),
            Out::GoAway { retry_after } => return Some(Event::GoAway { retry_after }),
            Out::Closed { reason } => return Some(Event::Closed { reason }),
            _ => {}
        }
        None
    }

    fn tell(&mut self, id: MessageId, outcome: Outcome) {
        if let Some(waiting) = self.open.remove(&id) {
            waiting.tell(outcome);
        } else if let Some(transfer) = self.sending.remove(&id) {
            transfer.end(match outcome {
                Outcome::Failed(failure) => Err(failure),
                _ => Ok(()),
            });
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.session.poll_timeout().map(|(at, _)| at)
    }

    /// Whether the session is over, and for what reason. One whose task is gone has lost its network.
    pub(super) fn closed(&self) -> Option<CloseReason> {
        match self.session.state() {
            State::Closed(reason) => Some(reason),
            _ => self.task_ended.then_some(CloseReason::NetworkInterrupted),
        }
    }
}

/// What the dispatch of a client pulls from.
pub(super) struct Post(pub(super) Arc<Shared>);

impl Inbox for Post {
    fn poll_message(&self) -> Option<Message> {
        let message =
            self.0.change(|core, _| core.last_messages.pop_front().or_else(|| core.session.poll_message()))?;
        if !self.0.task_pulls.load(Ordering::Relaxed) {
            // What was taken may be due to be told.
            self.0.task.wake();
        }
        Some(message)
    }

    fn poll_query(&self) -> Option<IncomingQuery> {
        self.0.set_aside(|core| core.queries.pop_front())
    }

    fn reply(&self, token: QueryToken, result: Result<Bytes, Failure>) {
        self.0.command(|session, now| session.reply(now, token, result));
    }

    fn poll_blob(&self) -> Option<BlobEvent> {
        self.0.set_aside(|core| core.blobs.pop_front())
    }

    fn accept_blob(&self, blob: BlobId, take: TakeBlob) {
        self.0.command(|session, now| session.accept_blob(now, blob, take));
    }

    fn read_blob(&self, blob: BlobId) -> BlobRead {
        // What was read may be due to be told.
        self.0.command(|session, now| session.read_blob(now, blob))
    }

    fn finish_blob(&self, blob: BlobId, outcome: Result<(), Failure>) {
        self.0.command(|session, now| session.finish_blob(now, blob, outcome));
    }

    fn confirm(&self, id: StoreId) {
        self.0.command(|session, now| session.confirm(now, id));
    }

    fn is_over(&self) -> bool {
        self.0.look(|core| core.closed().is_some())
    }
}

impl Line for Shared {
    fn give(&self, id: MessageId, offset: u64, bytes: Bytes, last: bool) {
        self.command(|session, now| session.give_blob(now, id, offset, bytes, last));
    }

    fn cancel(&self, id: MessageId) {
        self.command(|session, now| session.cancel_blob(now, id));
    }
}
