//! Handlers that block.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use bytes::Bytes;
use esf_proto::ids::GroupId;

use super::BlobStream;
use crate::{
    blob::{self, BlobChoice, BlobOffer},
    completion::completion,
    handler::{self, AnyHandler, Context, HandlerFailed},
    notify::Notify,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    tasks::Tasks,
};

/// Handles what arrives, at a client or at a server, each call on a thread of a bounded number of them.
///
/// Messages of one source are handled one at a time, in order; those of several sources at the same time. Queries
/// start in order and may overlap. A handler that is slow or panics delays neither the connection nor, while there is a
/// thread left, the messages of others. One that never returns keeps its thread for ever: a thread cannot be stopped. What
/// waits behind it waits as long, unless the server has a limit for handlers.
///
/// A handler may send, and may wait for a query of its own. A message handler that waits for a certain send to a peer
/// whose handler does the same waits until the time of one of them is over.
pub trait Handler: Send + Sync + 'static {
    /// A message arrived. Does nothing by default.
    fn information(&self, context: Context, info_type: u32, body: Bytes) {
        let _ = (context, info_type, body);
    }

    /// Somebody asks; the result is the answer.
    ///
    /// # Errors
    /// The asker sees `HandlerFailed`, which is also the default.
    fn query(&self, context: Context, info_type: u32, body: Bytes) -> Result<Bytes, HandlerFailed> {
        let _ = (context, info_type, body);
        Err(HandlerFailed)
    }

    /// A message with a tag arrived (`send_message`). Does nothing by default.
    fn engine_message(&self, context: Context, info_type: u32, tag: Box<str>, body: Bytes) {
        let _ = (context, info_type, tag, body);
    }

    /// A message to a group arrived, in order with the other messages of its source. Does nothing by default.
    fn broadcast(&self, context: Context, group: GroupId, info_type: u32, body: Bytes) {
        let _ = (context, group, info_type, body);
    }

    /// Somebody wants to send a blob: how it is to be taken. Whole by default.
    ///
    /// This is asked where the connection is served, so it decides at once, and must not wait for anything that comes on
    /// that connection. Whoever has to think first takes the stream and refuses that.
    fn blob_offered(&self, context: &Context, offer: &BlobOffer) -> BlobChoice {
        let _ = (context, offer);
        BlobChoice::Whole
    }

    /// A blob that was taken whole is here, and its sender knows. Blobs are handled at the same time, also those of one
    /// source; their memory counts as taken until their handlers return. Does nothing by default.
    fn blob(&self, context: Context, info_type: u32, name: Box<str>, body: Bytes) {
        let _ = (context, info_type, name, body);
    }

    /// A blob that is taken as a stream begins. Refuses it by default.
    fn blob_stream(&self, context: Context, stream: BlobStream) {
        let _ = (context, stream);
    }
}

/// Handles nothing.
impl Handler for () {
    fn blob_offered(&self, _: &Context, _: &BlobOffer) -> BlobChoice {
        BlobChoice::suiting(false, false)
    }
}

type Function<T> = Box<dyn Fn(Context, u32, Bytes) -> T + Send + Sync>;
type Named = Box<dyn Fn(Context, u32, Box<str>, Bytes) + Send + Sync>;
type Grouped = Box<dyn Fn(Context, GroupId, u32, Bytes) + Send + Sync>;
type Streamed = Box<dyn Fn(Context, BlobStream) + Send + Sync>;

/// A [`Handler`] made of closures.
#[derive(Default)]
pub struct Handlers {
    information: Option<Function<()>>,
    query: Option<Function<Result<Bytes, HandlerFailed>>>,
    engine_message: Option<Named>,
    broadcast: Option<Grouped>,
    blob: Option<Named>,
    blob_stream: Option<Streamed>,
}

impl Handlers {
    /// Handles nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Handles messages with `function`.
    #[must_use]
    pub fn information(mut self, function: impl Fn(Context, u32, Bytes) + Send + Sync + 'static) -> Self {
        self.information = Some(Box::new(function));
        self
    }

    /// Answers queries with `function`.
    #[must_use]
    pub fn query<F>(mut self, function: F) -> Self
    where
        F: Fn(Context, u32, Bytes) -> Result<Bytes, HandlerFailed> + Send + Sync + 'static,
    {
        self.query = Some(Box::new(function));
        self
    }

    /// Handles messages with a tag with `function`.
    #[must_use]
    pub fn engine_message(mut self, function: impl Fn(Context, u32, Box<str>, Bytes) + Send + Sync + 'static) -> Self {
        self.engine_message = Some(Box::new(function));
        self
    }

    /// Handles messages to groups with `function`.
    #[must_use]
    pub fn broadcast(mut self, function: impl Fn(Context, GroupId, u32, Bytes) + Send + Sync + 'static) -> Self {
        self.broadcast = Some(Box::new(function));
        self
    }

    /// Handles blobs, whole, with `function`. Without this and [`blob_stream`](Self::blob_stream) they are refused as
    /// `Rejected`.
    #[must_use]
    pub fn blob(mut self, function: impl Fn(Context, u32, Box<str>, Bytes) + Send + Sync + 'static) -> Self {
        self.blob = Some(Box::new(function));
        self
    }

    /// Handles blobs, as streams, with `function`; none is taken whole then.
    #[must_use]
    pub fn blob_stream(mut self, function: impl Fn(Context, BlobStream) + Send + Sync + 'static) -> Self {
        self.blob_stream = Some(Box::new(function));
        self
    }
}

impl Handler for Handlers {
    fn information(&self, context: Context, info_type: u32, body: Bytes) {
        if let Some(function) = &self.information {
            function(context, info_type, body);
        }
    }

    fn query(&self, context: Context, info_type: u32, body: Bytes) -> Result<Bytes, HandlerFailed> {
        self.query.as_ref().map_or(Err(HandlerFailed), |function| function(context, info_type, body))
    }

    fn engine_message(&self, context: Context, info_type: u32, tag: Box<str>, body: Bytes) {
        if let Some(function) = &self.engine_message {
            function(context, info_type, tag, body);
        }
    }

    fn broadcast(&self, context: Context, group: GroupId, info_type: u32, body: Bytes) {
        if let Some(function) = &self.broadcast {
            function(context, group, info_type, body);
        }
    }

    fn blob_offered(&self, _: &Context, _: &BlobOffer) -> BlobChoice {
        BlobChoice::suiting(self.blob_stream.is_some(), self.blob.is_some())
    }

    fn blob(&self, context: Context, info_type: u32, name: Box<str>, body: Bytes) {
        if let Some(function) = &self.blob {
            function(context, info_type, name, body);
        }
    }

    fn blob_stream(&self, context: Context, stream: BlobStream) {
        if let Some(function) = &self.blob_stream {
            function(context, stream);
        }
    }
}

/// Lets the dispatch run a handler that blocks: it is called when its future is first looked at, which is on a thread
/// of its own, and the future is ready then.
struct Bridged<H> {
    handler: Arc<H>,
    watch: Option<Watch>,
}

/// How handlers are run that may be left behind: each on a thread apart from the one that waits for it.
#[derive(Clone)]
pub(super) struct Watch {
    pub(super) tasks: Arc<dyn Tasks>,
    /// A place for each of the threads; one that was left keeps its own until it returns.
    pub(super) places: Arc<Places>,
}

/// Places for threads.
pub(super) struct Places {
    free: Mutex<usize>,
    freed: Notify,
}

impl Places {
    pub(super) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self { free: Mutex::new(places), freed: Notify::default() })
    }

    async fn enter(self: Arc<Self>) -> Place {
        let taken = || {
            let mut free = self.lock();
            let is_free = *free > 0;
            *free -= usize::from(is_free);
            is_free
        };
        self.freed.until(taken).await;
        Place(self)
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place, given back when dropped.
struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.lock() += 1;
        self.0.freed.notify();
    }
}

pub(super) fn bridge(handler: impl Handler, watch: Option<Watch>) -> Arc<dyn AnyHandler> {
    Arc::new(Bridged { handler: Arc::new(handler), watch })
}

impl<H: Handler> Bridged<H> {
    async fn call<T: Send + 'static>(&self, call: impl FnOnce(&H) -> T + Send + 'static) -> T {
        let Some(Watch { tasks, places }) = &self.watch else { return call(&self.handler) };
        let place = places.clone().enter().await;
        let (teller, told) = completion();
        let handler = self.handler.clone();
        tasks.spawn(Box::pin(async move {
            let _place = place;
            teller.tell(catch_unwind(AssertUnwindSafe(|| call(&handler))));
        }));
        match told.await {
            Some(Ok(value)) => value,
            Some(Err(panic)) => resume_unwind(panic),
            None => panic!("there is no thread for a handler"),
        }
    }
}

impl<H: Handler> handler::Handler for Bridged<H> {
    async fn information(&self, context: Context, info_type: u32, body: Bytes) {
        self.call(move |handler| handler.information(context, info_type, body)).await;
    }

    async fn query(&self, context: Context, info_type: u32, body: Bytes) -> Result<Bytes, HandlerFailed> {
        self.call(move |handler| handler.query(context, info_type, body)).await
    }

    async fn engine_message(&self, context: Context, info_type: u32, tag: Box<str>, body: Bytes) {
        self.call(move |handler| handler.engine_message(context, info_type, tag, body)).await;
    }

    async fn broadcast(&self, context: Context, group: GroupId, info_type: u32, body: Bytes) {
        self.call(move |handler| handler.broadcast(context, group, info_type, body)).await;
    }

    fn blob_offered(&self, context: &Context, offer: &BlobOffer) -> BlobChoice {
        self.handler.blob_offered(context, offer)
    }

    async fn blob(&self, context: Context, info_type: u32, name: Box<str>, body: Bytes) {
        self.call(move |handler| handler.blob(context, info_type, name, body)).await;
    }

    async fn blob_stream(&self, context: Context, stream: blob::BlobStream) {
        self.call(move |handler| handler.blob_stream(context, BlobStream::new(stream))).await;
    }
}
