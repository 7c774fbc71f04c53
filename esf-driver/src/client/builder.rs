//! What is decided before a client starts.

use std::{io, sync::Arc};

use esf_proto::{
    client::{Config, ConfigError, Seed, Session, State},
    close::CloseReason,
    ids::InstanceId,
    login::LoginCode,
};

use super::{
    Client, HANDLER_LIMIT, Handle, WeakClient,
    core::{Core, Post, Shared},
    task::{Connector, Task},
};
use crate::{
    dispatch::{Dispatch, Gates, HandlerCounters, Handling},
    handler::{AnyHandler, Handler},
    random,
    runtime::{BoxStream, Runtime},
    url::{Url, UrlError},
};

/// Sources whose messages are handled at the same time.
const SOURCES: usize = 64;
/// Queries that are handled at the same time.
const QUERIES: usize = 256;

/// Why a client could not start, or could not log in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is none.
    #[error("`{url}` cannot be used: {error}")]
    Url {
        /// The text.
        url: String,
        /// What is wrong with it.
        error: UrlError,
    },
    /// The settings do not fit into a login.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The origin is no header value.
    #[error("the origin has characters that have no place in a header")]
    Origin,
    /// The system has no random numbers.
    #[error("the system gave no random numbers")]
    Random,
    /// There is no connection.
    #[error("cannot connect to {url}: {cause}")]
    Unreachable {
        /// Where.
        url: String,
        /// What the system or the server said.
        cause: String,
    },
    /// The server refused the login.
    #[error("the login was refused: {cause}")]
    Refused {
        /// The result.
        code: LoginCode,
        /// The server's words for it.
        cause: String,
    },
    /// The client ended before it was logged in.
    #[error("the connection was closed: {}", .0.text())]
    Closed(CloseReason),
}

type MakeHandler = Box<dyn FnOnce(WeakClient) -> Arc<dyn AnyHandler> + Send>;

/// Builds a [`Client`]. An adapter gives one out with its runtime.
#[must_use = "a client that is not started does nothing"]
pub struct ClientBuilder {
    runtime: Arc<dyn Runtime>,
    url: String,
    config: Config,
    handler: MakeHandler,
    connector: Option<Connector>,
    origin: Option<String>,
    coalesce: bool,
}

impl ClientBuilder {
    /// A client on `runtime` for the server at `url`, such as `ws://127.0.0.1:4540`.
    pub fn new(runtime: Arc<dyn Runtime>, url: &str, config: Config) -> Self {
        Self {
            runtime,
            url: url.to_owned(),
            config,
            handler: Box::new(|_| Arc::new(())),
            connector: None,
            origin: None,
            coalesce: false,
        }
    }

    /// Handles what others send. Without a handler messages are dropped and queries fail.
    pub fn handler(self, handler: impl Handler) -> Self {
        self.handler_with(|_| handler)
    }

    /// Handles what others send with a handler that sends something itself. It gets a handle that does not keep the
    /// client alive.
    pub fn handler_with<H: Handler>(mut self, make: impl FnOnce(WeakClient) -> H + Send + 'static) -> Self {
        self.handler = Box::new(|client| Arc::new(make(client)));
        self
    }

    /// Connects in a way of one's own, such as TLS or an in-memory connection, instead of by TCP. Called for every
    /// attempt.
    pub fn connector<F, R>(mut self, connect: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = io::Result<BoxStream>> + Send + 'static,
    {
        self.connector = Some(Box::new(move || Box::pin(connect())));
        self
    }

    /// Sends an `Origin`, as a web page would.
    pub fn origin(mut self, origin: &str) -> Self {
        self.origin = Some(origin.to_owned());
        self
    }

    /// Puts frames that are ready at the same time into one WebSocket message. Off by default.
    pub fn coalesce(mut self, coalesce: bool) -> Self {
        self.coalesce = coalesce;
        self
    }

    /// Starts the client, which connects and logs in by itself.
    ///
    /// # Errors
    /// The URL, the origin or the settings cannot be used.
    pub fn start(self) -> Result<Client, ConnectError> {
        let url: Url = self.url.parse().map_err(|error| ConnectError::Url { url: self.url.clone(), error })?;
        self.config.check()?;
        if self.origin.as_ref().is_some_and(|origin| !origin.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(ConnectError::Origin);
        }
        let (instance, jitter) = random::u64().zip(random::u64()).ok_or(ConnectError::Random)?;
        let runtime = self.runtime;
        let seed = Seed { instance: InstanceId(instance), jitter };
        let session = Session::new(self.config, seed, runtime.now());
        let connector = self.connector.unwrap_or_else(|| {
            let (runtime, host, port) = (runtime.clone(), url.host().to_owned(), url.port());
            Box::new(move || {
                let (runtime, host) = (runtime.clone(), host.clone());
                Box::pin(async move { runtime.connect(&host, port).await })
            })
        });

        let mut shared = None;
        let handle = Arc::new_cyclic(|weak| {
            let handling = Arc::new(Handling {
                handler: (self.handler)(WeakClient(weak.clone())),
                runtime: runtime.clone(),
                gates: Gates::new(SOURCES, QUERIES),
                limit: HANDLER_LIMIT,
                counters: HandlerCounters::default(),
            });
            Handle { shared: shared.insert(Shared::new(session, runtime.clone(), handling)).clone() }
        });
        let shared = handle.shared.clone();
        let dispatch = Dispatch::new(Post(shared.clone()), shared.handling.clone());
        let task = Task { shared, dispatch, connector, url, origin: self.origin, coalesce: self.coalesce };
        runtime.spawn(Box::pin(task.run()));
        Ok(Client(handle))
    }

    /// Starts the client and waits until it is logged in.
    ///
    /// # Errors
    /// The first attempt came to nothing, or the login was refused; the client has ended then.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        let url = self.url.clone();
        let client = self.start()?;
        let result = client.shared().wait_for(|core| first_result(core, Some(&url))).await;
        result.map(|()| client)
    }

    /// Starts the client and waits until it is logged in, for as long as the server cannot be reached.
    ///
    /// # Errors
    /// The login was refused; the client has ended then.
    pub async fn connect_patiently(self) -> Result<Client, ConnectError> {
        let client = self.start()?;
        let result = client.shared().wait_for(|core| first_result(core, None)).await;
        result.map(|()| client)
    }
}

/// How the first login went, once that is known. With `url`, an attempt that failed is a result too.
fn first_result(core: &Core, url: Option<&String>) -> Option<Result<(), ConnectError>> {
    if let Some(reason) = core.closed() {
        return Some(Err(match &core.refused {
            Some((code, cause)) => ConnectError::Refused { code: *code, cause: cause.clone() },
            None => ConnectError::Closed(reason),
        }));
    }
    if matches!(core.session.state(), State::Online | State::LoggingOff) {
        return Some(Ok(()));
    }
    let unreachable = |url: &String| {
        let cause = core.unreachable.clone()?;
        Some(Err(ConnectError::Unreachable { url: url.clone(), cause }))
    };
    url.and_then(unreachable)
}
