//! A link's end at the server, with what it has for the server's application.

use std::{
    pin::Pin,
    task::{Context, Poll, Wake, Waker},
};

use bytes::Bytes;
use esf_proto::{
    close::CloseReason,
    failure::Failure,
    server::AppResponse,
    session::{
        blob::{BlobEvent, BlobId, BlobRead, TakeBlob},
        frames::FrameBytes,
        inbound::{IncomingQuery, Message, QueryToken},
    },
    time::Instant,
};

use super::{
    Shared,
    door::{Client, Connection},
};
use crate::{
    completion::{Told, completion},
    dispatch::{Dispatch, Inbox},
    endpoint::{Endpoint, LinkAction, Transport},
    node::{Cell, Conn},
    notify::Worker,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
    tasks::Tasks,
};

/// One link of a server.
pub struct ServerEndpoint {
    conn: Conn,
    shared: Arc<Shared>,
    /// Counted for as long as this lives.
    _connection: Connection,
    client: Client,
    /// Where the application's answer to the login or to the query before it will be.
    answer: Option<Told<AppResponse>>,
    task: Waker,
    work: Arc<Work>,
    dispatch: Option<Arc<Dispatch<CellInbox>>>,
}

impl ServerEndpoint {
    pub(super) fn new(connection: Connection, client: Client, accepted: Instant) -> Self {
        let shared = connection.shared().clone();
        Self {
            _connection: connection,
            conn: Conn::accept(&shared.node, accepted).with_address(client.address),
            shared,
            client,
            answer: None,
            task: Waker::noop().clone(),
            work: Arc::default(),
            dispatch: None,
        }
    }

    /// Closes the link before anything came on it.
    pub(super) fn close(&mut self, reason: CloseReason) {
        self.conn.close(reason);
    }

    /// Brings the application what came for it, and the link what the application says.
    fn serve_application(&mut self, now: Instant) {
        while self.poll_answer(now).is_ready() {
            let Some(request) = self.conn.poll_request() else { break };
            let (answer, will_be) = completion();
            self.answer = Some(will_be);
            self.shared.ask_application(self.client, request, answer);
        }
        if let Some(cell) = self.conn.cell().filter(|_| self.dispatch.is_none()) {
            self.dispatch = Some(self.shared.dispatch_of(cell));
            self.work.arrived.store(true, Ordering::Relaxed);
        }
        if self.work.arrived.swap(false, Ordering::Relaxed) {
            self.conn.register_application(&Waker::from(self.work.clone()));
            if let Some(dispatch) = &self.dispatch {
                dispatch.pump();
            }
        }
    }

    /// Ready while no answer is awaited.
    fn poll_answer(&mut self, now: Instant) -> Poll<()> {
        let Some(answer) = &mut self.answer else { return Poll::Ready(()) };
        match Pin::new(answer).poll(&mut Context::from_waker(&self.task)) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(response)) => self.conn.handle_response(now, response),
            // It will not come. The login's time runs out.
            Poll::Ready(None) => {}
        }
        self.answer = None;
        Poll::Ready(())
    }
}

impl std::fmt::Debug for ServerEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerEndpoint").field("conn", &self.conn).finish_non_exhaustive()
    }
}

impl Endpoint for ServerEndpoint {
    fn handle_message(&mut self, now: Instant, message: Bytes) {
        self.conn.handle_message(now, message);
    }

    fn handle_batch(&mut self, now: Instant, messages: &mut Vec<Bytes>) {
        self.conn.handle_batch(now, messages);
    }

    fn takes_batches(&self) -> bool {
        self.conn.takes_batches()
    }

    fn handle_text(&mut self, now: Instant) {
        self.conn.handle_text(now);
    }

    fn handle_transport(&mut self, now: Instant, transport: Transport) {
        self.conn.handle_transport(now, transport);
        self.serve_application(now);
    }

    fn handle_closed(&mut self, now: Instant, code: Option<u16>) {
        self.serve_application(now);
        self.conn.handle_closed(now, code);
        if let Some(dispatch) = &self.dispatch {
            // It is told once at most, by its last turn.
            let alone = Alone { runtime: self.shared.runtime.clone(), dispatch: Arc::downgrade(dispatch) };
            let _ = self.work.alone.set(alone);
        }
        // What came just before the end is the application's too.
        self.serve_application(now);
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<Bytes> {
        self.conn.poll_transmit(now)
    }

    fn transmit(&mut self, now: Instant, feed: impl FnMut(&FrameBytes<'_>)) -> usize {
        self.conn.transmit(now, feed)
    }

    fn poll_action(&mut self) -> Option<LinkAction> {
        if self.shared.is_cut_off() { Some(LinkAction::Drop) } else { self.conn.poll_action() }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.conn.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.conn.handle_timeout(now);
    }

    fn rest(&mut self) {
        self.conn.rest();
    }

    fn wants_flush(&self) -> bool {
        self.conn.wants_flush()
    }

    fn register(&mut self, waker: &Waker) {
        self.conn.register(waker);
        self.work.task.register(waker);
        self.task.clone_from(waker);
    }

    fn max_message(&self) -> usize {
        self.conn.max_message()
    }
}

/// Remembers that a session has something for the application. A session wakes under its own lock, so nothing may be
/// pulled right there.
#[derive(Default)]
struct Work {
    arrived: AtomicBool,
    task: Worker,
    /// The link is gone: who pulls what its session still has, such as the end of a blob.
    alone: OnceLock<Alone>,
}

struct Alone {
    runtime: Arc<dyn Tasks>,
    dispatch: Weak<Dispatch<CellInbox>>,
}

impl Wake for Work {
    fn wake(self: Arc<Self>) {
        self.arrived.store(true, Ordering::Relaxed);
        let Some(alone) = self.alone.get() else { return self.task.wake() };
        if let Some(dispatch) = alone.dispatch.upgrade() {
            alone.runtime.spawn(Box::pin(async move {
                dispatch.inbox().cell.await_application();
                dispatch.pump();
            }));
        }
    }
}

/// What the dispatch of one session pulls from. It outlives the session's links, so that order holds across them.
pub(super) struct CellInbox {
    cell: Arc<Cell>,
    shared: Arc<Shared>,
}

impl Inbox for CellInbox {
    fn poll_message(&self) -> Option<Message> {
        self.cell.poll_message()
    }

    fn poll_query(&self) -> Option<IncomingQuery> {
        self.cell.poll_query()
    }

    fn reply(&self, token: QueryToken, result: Result<Bytes, Failure>) {
        self.cell.reply(token, result.as_deref().map_err(|failure| *failure));
    }

    fn poll_blob(&self) -> Option<BlobEvent> {
        self.cell.poll_blob_event()
    }

    fn accept_blob(&self, blob: BlobId, take: TakeBlob) {
        self.cell.accept_blob(&self.shared.node, self.shared.runtime.now(), blob, take);
    }

    fn read_blob(&self, blob: BlobId) -> BlobRead {
        self.cell.read_blob(self.shared.runtime.now(), blob)
    }

    fn finish_blob(&self, blob: BlobId, outcome: Result<(), Failure>) {
        self.cell.finish_blob(&self.shared.node, self.shared.runtime.now(), blob, outcome);
    }

    fn is_over(&self) -> bool {
        self.cell.is_over()
    }
}

impl Drop for CellInbox {
    fn drop(&mut self) {
        let mut dispatches = self.shared.dispatches();
        // Another one may have taken the place already.
        if dispatches.get(self.cell.engine()).is_some_and(|dispatch| dispatch.strong_count() == 0) {
            dispatches.remove(self.cell.engine());
        }
    }
}

impl Shared {
    /// The dispatch of a session: the one that there is, while a link or a handler holds it. If it is that of an earlier
    /// session of the same engine, another one follows it.
    fn dispatch_of(self: &Arc<Self>, cell: &Arc<Cell>) -> Arc<Dispatch<CellInbox>> {
        let mut dispatches = self.dispatches();
        let known = dispatches.get(cell.engine()).and_then(Weak::upgrade);
        if let Some(known) = known.as_ref().filter(|known| Arc::ptr_eq(&known.inbox().cell, cell)) {
            return known.clone();
        }
        let inbox = CellInbox { cell: cell.clone(), shared: self.clone() };
        let dispatch = Dispatch::new(inbox, self.handling.clone());
        dispatches.insert(cell.engine().clone(), Arc::downgrade(&dispatch));
        drop(dispatches);
        if let Some(before) = known {
            dispatch.follow(&before);
        }
        dispatch
    }
}
