//! Brings what arrived to the handler: in order where order is promised, at the same time where it is not.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    time::Duration,
};

use bytes::Bytes;
use esf_proto::{
    failure::Failure,
    ids::Source,
    session::{
        blob::{BlobEvent, BlobId, BlobRead, TakeBlob},
        inbound::{IncomingQuery, Message, MessageKind, QueryToken},
    },
    store::StoreId,
};

use crate::{
    handler::{AnyHandler, Context},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    tasks::{Tasks, catch_panic, within},
};

mod blobs;
mod gate;
mod queries;

use blobs::Blobs;
pub(crate) use gate::Gates;
use gate::{Kind, Place, Visitor};
pub(crate) use queries::InPlace;

/// Bytes of messages that wait for handlers, of one client or of one session at a server.
const QUEUE: usize = 256 * 1024;
/// What a message costs in the queue beside its body.
const MESSAGE_COST: usize = 128;
/// Messages of one source that are handled before others that wait get their turn.
const BURST: usize = 32;

/// Where messages and queries come from: the core of a client, or a session at a server.
pub(crate) trait Inbox: Send + Sync + 'static {
    /// The next message. To pull it is to take it, so it is pulled only when the queue has room.
    fn poll_message(&self) -> Option<Message>;
    /// The next query.
    fn poll_query(&self) -> Option<IncomingQuery>;
    /// Ends a query.
    fn reply(&self, token: QueryToken, result: Result<Bytes, Failure>);
    /// The next thing that happened to a blob.
    fn poll_blob(&self) -> Option<BlobEvent>;
    /// Takes a blob that was offered.
    fn accept_blob(&self, blob: BlobId, take: TakeBlob);
    /// The next bytes of a blob that is taken as a stream.
    fn read_blob(&self, blob: BlobId) -> BlobRead;
    /// Has done with a blob.
    fn finish_blob(&self, blob: BlobId, outcome: Result<(), Failure>);
    /// A stored message was handled. A server gets none.
    fn confirm(&self, id: StoreId) {
        let _ = id;
    }
    /// Whether nothing more comes.
    fn is_over(&self) -> bool;
}

/// What all handlers of one client or server share.
pub(crate) struct Handling {
    pub(crate) handler: Arc<dyn AnyHandler>,
    pub(crate) runtime: Arc<dyn Tasks>,
    pub(crate) gates: Gates,
    /// How long a handler may take.
    pub(crate) limit: Duration,
    pub(crate) counters: HandlerCounters,
    pub(crate) in_place: InPlace,
}

/// What happened to handlers.
#[derive(Debug, Default)]
pub(crate) struct HandlerCounters {
    pub(crate) panicked: AtomicU64,
    pub(crate) cut_off: AtomicU64,
    pub(crate) refused: AtomicU64,
}

/// The dispatch of one inbox.
pub(crate) struct Dispatch<I> {
    inbox: I,
    handling: Arc<Handling>,
    state: Mutex<State>,
    /// Apart from the rest, since an offer asks the handler meanwhile.
    blobs: Mutex<Blobs>,
    chain: Mutex<Chain<I>>,
    waits: [AtomicBool; 3],
}

/// The dispatches of one engine's sessions, one after the other: messages of a source are handled one at a time, in
/// order, also when its session was lost and it has another.
struct Chain<I> {
    /// Its messages come first, while there are any.
    before: Weak<Dispatch<I>>,
    /// Waits for this one, perhaps with nobody else to hold it.
    after: Option<Arc<Dispatch<I>>>,
}

#[derive(Default)]
struct State {
    /// Cost of the messages that wait or are being handled.
    held: usize,
    /// The messages that wait, for every source of which one waits or is being handled.
    sources: HashMap<Source, VecDeque<Message>>,
    /// Sources with messages and no worker, in the order of their turn.
    idle: VecDeque<Source>,
    /// A query that found no place yet.
    next_query: Option<IncomingQuery>,
    /// Queries that tasks wait for, by who asked.
    asked: HashMap<Source, usize>,
}

impl<I: Inbox> Dispatch<I> {
    pub(crate) fn new(inbox: I, handling: Arc<Handling>) -> Arc<Self> {
        let chain = Chain { before: Weak::new(), after: None };
        let (state, blobs, chain) = (Mutex::default(), Mutex::default(), Mutex::new(chain));
        Arc::new(Self { inbox, handling, state, blobs, chain, waits: Default::default() })
    }

    /// Handles no message before those of `before`, whose inbox gets no more.
    pub(crate) fn follow(self: &Arc<Self>, before: &Arc<Self>) {
        self.chain().before = Arc::downgrade(before);
        before.chain().after = Some(self.clone());
    }

    pub(crate) fn inbox(&self) -> &I {
        &self.inbox
    }

    /// Pulls what there is room for and starts handlers for it. Called whenever something may have arrived; never with
    /// a lock of the inbox held.
    pub(crate) fn pump(self: &Arc<Self>) {
        self.pump_all(true);
    }

    fn pump_all(self: &Arc<Self>, in_place: bool) {
        self.pull_messages();
        // A runtime that is shut down drops a task at once, and with it its place, which pumps: so no lock is held
        // where a task is spawned.
        while let Some((source, place)) = self.next_worker() {
            self.handling.runtime.spawn(Box::pin(self.clone().work(source, place)));
        }
        self.pump_queries(in_place);
        self.pump_blobs();
    }

    /// Whether no dispatch before this one has messages left.
    fn is_first(&self) -> bool {
        let before = self.chain().before.upgrade();
        before.is_none_or(|before| {
            before.pump();
            before.is_drained()
        })
    }

    fn is_drained(&self) -> bool {
        self.is_first() && self.lock().sources.is_empty()
    }

    fn pull_messages(&self) {
        if !self.is_first() {
            return;
        }
        let mut state = self.lock();
        while state.held < QUEUE {
            let Some(message) = self.inbox.poll_message() else { return };
            state.held += cost(&message);
            match state.sources.entry(message.source.clone()) {
                Entry::Occupied(mut waiting) => waiting.get_mut().push_back(message),
                Entry::Vacant(vacant) => {
                    let source = vacant.key().clone();
                    vacant.insert(VecDeque::from([message]));
                    state.idle.push_back(source);
                }
            }
        }
    }

    fn next_worker(self: &Arc<Self>) -> Option<(Source, Place)> {
        let mut state = self.lock();
        if state.idle.is_empty() {
            return None;
        }
        let place = self.handling.gates.messages.enter(self)?;
        Some((state.idle.pop_front()?, place))
    }

    /// Handles the messages of one source, one at a time.
    async fn work(self: Arc<Self>, source: Source, place: Place) {
        for _ in 0..BURST {
            let Some(message) = self.next_of(&source) else { break };
            let cost = cost(&message);
            let stored = message.stored.as_ref().map(|stored| stored.id);
            let returned = self.run(self.handle(message)).await;
            if let (Some(id), Some(())) = (stored, returned) {
                self.inbox.confirm(id);
            }
            let was_full = {
                let mut state = self.lock();
                let was_full = state.held >= QUEUE;
                state.held -= cost;
                was_full
            };
            if was_full {
                self.pump();
            }
        }
        self.rest(source);
        // The place goes first, so that this dispatch may have it again if nobody else waits for one.
        drop(place);
        self.pump();
        let after = self.is_drained().then(|| self.chain().after.take()).flatten();
        if let Some(after) = after {
            after.pump();
        }
    }

    fn next_of(&self, source: &Source) -> Option<Message> {
        self.lock().sources.get_mut(source)?.pop_front()
    }

    /// Ends the turn of a source; if there is more of it, it queues up again.
    fn rest(&self, source: Source) {
        let mut state = self.lock();
        match state.sources.get(&source) {
            Some(waiting) if !waiting.is_empty() => state.idle.push_back(source),
            _ => {
                state.sources.remove(&source);
            }
        }
    }

    async fn handle(&self, message: Message) {
        let handler = &self.handling.handler;
        let Message { source, id, sent_at, echo_of, stored, .. } = message;
        let group = match &message.kind {
            MessageKind::Broadcast { group } => Some(group.clone()),
            _ => None,
        };
        let accepted_at = stored.map(|stored| stored.accepted_at);
        let context = Context { source, group, id, sent_at, echo_of, accepted_at };
        match message.kind {
            MessageKind::Information => handler.information(context, message.info_type, message.body).await,
            MessageKind::EngineMessage { tag } => {
                handler.engine_message(context, message.info_type, tag, message.body).await;
            }
            // It was handled before; the server is to hear so again.
            MessageKind::Repeated => {}
            MessageKind::Broadcast { group } => {
                handler.broadcast(context, group, message.info_type, message.body).await;
            }
        }
    }

    /// Runs a handler; `None` if it panicked or took too long.
    async fn run<T>(&self, handler: impl Future<Output = T>) -> Option<T> {
        let caught = catch_panic(handler);
        self.count(within(&*self.handling.runtime, self.handling.limit, caught).await)
    }

    fn count<T>(&self, ended: Option<std::thread::Result<T>>) -> Option<T> {
        match ended {
            Some(Ok(value)) => Some(value),
            Some(Err(_)) => {
                // The panic itself was reported by the panic hook.
                self.handling.counters.panicked.fetch_add(1, Ordering::Relaxed);
                tracing::error!("a handler panicked");
                None
            }
            None => {
                self.handling.counters.cut_off.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(limit = ?self.handling.limit, "a handler took too long and was dropped");
                None
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn chain(&self) -> MutexGuard<'_, Chain<I>> {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I: Inbox> Visitor for Dispatch<I> {
    fn handle_room(self: Arc<Self>) {
        // Whoever left has neither time nor stack for handlers of others.
        self.pump_all(false);
    }

    fn waits(&self, kind: Kind) -> &AtomicBool {
        match kind {
            Kind::Messages => &self.waits[0],
            Kind::Queries => &self.waits[1],
            Kind::Blobs => &self.waits[2],
        }
    }
}

fn cost(message: &Message) -> usize {
    message.body.len() + MESSAGE_COST
}

#[cfg(all(test, feature = "async"))]
mod tests;
