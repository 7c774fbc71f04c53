//! What an application does with what others send it.

use std::sync::Arc;

use bytes::Bytes;
use esf_proto::{
    ids::{GroupId, MessageId, Source, To},
    time::UnixMillis,
};

use crate::{
    blob::{BlobChoice, BlobOffer, BlobStream},
    tasks::BoxFuture,
};

/// Handles what arrives, at a client or at a server.
///
/// Messages of one source are handled one at a time, in order; those of several sources at the same time. Queries
/// start in order and may overlap. A handler that is slow, panics or never returns delays neither the connection nor the
/// messages of others: handlers of messages run in tasks of their own, and those of queries as soon as they wait for
/// something. One that takes longer than the limit of its client or server is dropped where it waits.
///
/// Up to its first wait an asynchronous handler of a query may run where its connection is served. What computes for long or
/// blocks belongs on a thread for that, as everywhere in asynchronous code.
///
/// A handler may send, and may wait for a query of its own. A message handler that waits for a certain send to a peer
/// whose handler does the same waits until the time of one of them is over.
pub trait Handler: Send + Sync + 'static {
    /// A message arrived. Does nothing by default.
    fn information(&self, context: Context, info_type: u32, body: Bytes) -> impl Future<Output = ()> + Send {
        let _ = (context, info_type, body);
        std::future::ready(())
    }

    /// Somebody asks; the result is the answer. Fails by default, which the asker sees as `HandlerFailed`.
    fn query(
        &self,
        context: Context,
        info_type: u32,
        body: Bytes,
    ) -> impl Future<Output = Result<Bytes, HandlerFailed>> + Send {
        let _ = (context, info_type, body);
        std::future::ready(Err(HandlerFailed))
    }

    /// A message with a tag arrived (`send_message`). Does nothing by default.
    fn engine_message(
        &self,
        context: Context,
        info_type: u32,
        tag: Box<str>,
        body: Bytes,
    ) -> impl Future<Output = ()> + Send {
        let _ = (context, info_type, tag, body);
        std::future::ready(())
    }

    /// A message to a group arrived, in order with the other messages of its source. Does nothing by default.
    fn broadcast(
        &self,
        context: Context,
        group: GroupId,
        info_type: u32,
        body: Bytes,
    ) -> impl Future<Output = ()> + Send {
        let _ = (context, group, info_type, body);
        std::future::ready(())
    }

    /// Somebody wants to send a blob: how it is to be taken. Whole by default.
    ///
    /// This is asked where the connection is served, so it decides at once. Whoever has to think first takes the stream
    /// and refuses that.
    fn blob_offered(&self, context: &Context, offer: &BlobOffer) -> BlobChoice {
        let _ = (context, offer);
        BlobChoice::Whole
    }

    /// A blob that was taken whole is here, and its sender knows. Blobs are handled at the same time, also those of one
    /// source; their memory counts as taken until their handlers return. Does nothing by default.
    fn blob(&self, context: Context, info_type: u32, name: Box<str>, body: Bytes) -> impl Future<Output = ()> + Send {
        let _ = (context, info_type, name, body);
        std::future::ready(())
    }

    /// A blob that is taken as a stream begins. It lasts as long as it lasts: the limit of handlers is that of the time
    /// between one piece and the call for the next. Refuses it by default.
    fn blob_stream(&self, context: Context, stream: BlobStream) -> impl Future<Output = ()> + Send {
        let _ = (context, stream);
        std::future::ready(())
    }
}

/// Where something came from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Context {
    /// The server, or a user with device and instance.
    pub source: Source,
    /// The group that it went to, if it is a broadcast or a blob to one.
    pub group: Option<GroupId>,
    /// The number of a certain send; `None` for a plain one, for a query and for a blob.
    pub id: Option<MessageId>,
    /// When the sender says it sent it.
    pub sent_at: Option<UnixMillis>,
    /// To whom an engine message went, if it is the echo of what another device of this user sent.
    pub echo_of: Option<To>,
    /// When the server stored a message that came while this user was offline, by the server's clock.
    pub accepted_at: Option<UnixMillis>,
}

/// A query was not answered. The asker sees `HandlerFailed`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the handler failed")]
pub struct HandlerFailed;

/// Handles nothing.
impl Handler for () {
    fn blob_offered(&self, _: &Context, _: &BlobOffer) -> BlobChoice {
        BlobChoice::suiting(false, false)
    }
}

type Function<T> = Box<dyn Fn(Context, u32, Bytes) -> BoxFuture<'static, T> + Send + Sync>;
type Named = Box<dyn Fn(Context, u32, Box<str>, Bytes) -> BoxFuture<'static, ()> + Send + Sync>;
type Grouped = Box<dyn Fn(Context, GroupId, u32, Bytes) -> BoxFuture<'static, ()> + Send + Sync>;
type Streamed = Box<dyn Fn(Context, BlobStream) -> BoxFuture<'static, ()> + Send + Sync>;

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
    pub fn information<F, R>(mut self, function: F) -> Self
    where
        F: Fn(Context, u32, Bytes) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        self.information = Some(Box::new(move |context, info_type, body| Box::pin(function(context, info_type, body))));
        self
    }

    /// Answers queries with `function`.
    #[must_use]
    pub fn query<F, R>(mut self, function: F) -> Self
    where
        F: Fn(Context, u32, Bytes) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Bytes, HandlerFailed>> + Send + 'static,
    {
        self.query = Some(Box::new(move |context, info_type, body| Box::pin(function(context, info_type, body))));
        self
    }

    /// Handles messages with a tag with `function`.
    #[must_use]
    pub fn engine_message<F, R>(mut self, function: F) -> Self
    where
        F: Fn(Context, u32, Box<str>, Bytes) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        self.engine_message =
            Some(Box::new(move |context, info_type, tag, body| Box::pin(function(context, info_type, tag, body))));
        self
    }

    /// Handles messages to groups with `function`.
    #[must_use]
    pub fn broadcast<F, R>(mut self, function: F) -> Self
    where
        F: Fn(Context, GroupId, u32, Bytes) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        self.broadcast =
            Some(Box::new(move |context, group, info_type, body| Box::pin(function(context, group, info_type, body))));
        self
    }

    /// Handles blobs, whole, with `function`. Without this and [`blob_stream`](Self::blob_stream) they are refused as
    /// `Rejected`.
    #[must_use]
    pub fn blob<F, R>(mut self, function: F) -> Self
    where
        F: Fn(Context, u32, Box<str>, Bytes) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        self.blob =
            Some(Box::new(move |context, info_type, name, body| Box::pin(function(context, info_type, name, body))));
        self
    }

    /// Handles blobs, as streams, with `function`; none is taken whole then.
    #[must_use]
    pub fn blob_stream<F, R>(mut self, function: F) -> Self
    where
        F: Fn(Context, BlobStream) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        self.blob_stream = Some(Box::new(move |context, stream| Box::pin(function(context, stream))));
        self
    }
}

impl Handler for Handlers {
    async fn information(&self, context: Context, info_type: u32, body: Bytes) {
        if let Some(function) = &self.information {
            function(context, info_type, body).await;
        }
    }

    async fn query(&self, context: Context, info_type: u32, body: Bytes) -> Result<Bytes, HandlerFailed> {
        match &self.query {
            Some(function) => function(context, info_type, body).await,
            None => Err(HandlerFailed),
        }
    }

    async fn engine_message(&self, context: Context, info_type: u32, tag: Box<str>, body: Bytes) {
        if let Some(function) = &self.engine_message {
            function(context, info_type, tag, body).await;
        }
    }

    async fn broadcast(&self, context: Context, group: GroupId, info_type: u32, body: Bytes) {
        if let Some(function) = &self.broadcast {
            function(context, group, info_type, body).await;
        }
    }

    fn blob_offered(&self, _: &Context, _: &BlobOffer) -> BlobChoice {
        BlobChoice::suiting(self.blob_stream.is_some(), self.blob.is_some())
    }

    async fn blob(&self, context: Context, info_type: u32, name: Box<str>, body: Bytes) {
        if let Some(function) = &self.blob {
            function(context, info_type, name, body).await;
        }
    }

    async fn blob_stream(&self, context: Context, stream: BlobStream) {
        if let Some(function) = &self.blob_stream {
            function(context, stream).await;
        }
    }
}

/// A [`Handler`] behind a pointer.
pub(crate) trait AnyHandler: Send + Sync {
    fn information(&self, context: Context, info_type: u32, body: Bytes) -> BoxFuture<'_, ()>;
    fn query(
        self: Arc<Self>,
        context: Context,
        info_type: u32,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, HandlerFailed>>;
    fn engine_message(&self, context: Context, info_type: u32, tag: Box<str>, body: Bytes) -> BoxFuture<'_, ()>;
    fn broadcast(&self, context: Context, group: GroupId, info_type: u32, body: Bytes) -> BoxFuture<'_, ()>;
    fn blob_offered(&self, context: &Context, offer: &BlobOffer) -> BlobChoice;
    fn blob(&self, context: Context, info_type: u32, name: Box<str>, body: Bytes) -> BoxFuture<'_, ()>;
    fn blob_stream(&self, context: Context, stream: BlobStream) -> BoxFuture<'_, ()>;
}

impl<H: Handler> AnyHandler for H {
    fn information(&self, context: Context, info_type: u32, body: Bytes) -> BoxFuture<'_, ()> {
        Box::pin(Handler::information(self, context, info_type, body))
    }

    fn query(
        self: Arc<Self>,
        context: Context,
        info_type: u32,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, HandlerFailed>> {
        Box::pin(async move { Handler::query(&*self, context, info_type, body).await })
    }

    fn engine_message(&self, context: Context, info_type: u32, tag: Box<str>, body: Bytes) -> BoxFuture<'_, ()> {
        Box::pin(Handler::engine_message(self, context, info_type, tag, body))
    }

    fn broadcast(&self, context: Context, group: GroupId, info_type: u32, body: Bytes) -> BoxFuture<'_, ()> {
        Box::pin(Handler::broadcast(self, context, group, info_type, body))
    }

    fn blob_offered(&self, context: &Context, offer: &BlobOffer) -> BlobChoice {
        Handler::blob_offered(self, context, offer)
    }

    fn blob(&self, context: Context, info_type: u32, name: Box<str>, body: Bytes) -> BoxFuture<'_, ()> {
        Box::pin(Handler::blob(self, context, info_type, name, body))
    }

    fn blob_stream(&self, context: Context, stream: BlobStream) -> BoxFuture<'_, ()> {
        Box::pin(Handler::blob_stream(self, context, stream))
    }
}
