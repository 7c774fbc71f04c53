//! What an application does with what others send it.

use bytes::Bytes;
use esf_proto::{
    ids::{MessageId, Source, To},
    time::UnixMillis,
};

use crate::runtime::BoxFuture;

/// Handles what arrives, at a client or at a server.
///
/// Messages of one source are handled one at a time, in order; those of several sources at the same time. Queries
/// start in order and may overlap. Handlers run in tasks of their own: one that is slow, panics or never returns delays
/// neither the connection nor the messages of others. One that takes longer than the limit of its client or server is
/// dropped where it waits.
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
}

/// Where something came from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Context {
    /// The server, or a user with device and instance.
    pub source: Source,
    /// The number of a certain send; `None` for a plain one and for a query.
    pub id: Option<MessageId>,
    /// When the sender says it sent it.
    pub sent_at: Option<UnixMillis>,
    /// To whom an engine message went, if it is the echo of what another device of this user sent.
    pub echo_of: Option<To>,
}

/// A query was not answered. The asker sees `HandlerFailed`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the handler failed")]
pub struct HandlerFailed;

/// Handles nothing.
impl Handler for () {}

type Function<T> = Box<dyn Fn(Context, u32, Bytes) -> BoxFuture<'static, T> + Send + Sync>;
type Tagged = Box<dyn Fn(Context, u32, Box<str>, Bytes) -> BoxFuture<'static, ()> + Send + Sync>;

/// A [`Handler`] made of closures.
#[derive(Default)]
pub struct Handlers {
    information: Option<Function<()>>,
    query: Option<Function<Result<Bytes, HandlerFailed>>>,
    engine_message: Option<Tagged>,
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
}

/// A [`Handler`] behind a pointer.
pub(crate) trait AnyHandler: Send + Sync {
    fn information(&self, context: Context, info_type: u32, body: Bytes) -> BoxFuture<'_, ()>;
    fn query(&self, context: Context, info_type: u32, body: Bytes) -> BoxFuture<'_, Result<Bytes, HandlerFailed>>;
    fn engine_message(&self, context: Context, info_type: u32, tag: Box<str>, body: Bytes) -> BoxFuture<'_, ()>;
}

impl<H: Handler> AnyHandler for H {
    fn information(&self, context: Context, info_type: u32, body: Bytes) -> BoxFuture<'_, ()> {
        Box::pin(Handler::information(self, context, info_type, body))
    }

    fn query(&self, context: Context, info_type: u32, body: Bytes) -> BoxFuture<'_, Result<Bytes, HandlerFailed>> {
        Box::pin(Handler::query(self, context, info_type, body))
    }

    fn engine_message(&self, context: Context, info_type: u32, tag: Box<str>, body: Bytes) -> BoxFuture<'_, ()> {
        Box::pin(Handler::engine_message(self, context, info_type, tag, body))
    }
}
