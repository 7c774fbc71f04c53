//! What is decided before a client starts.

use std::sync::Arc;

use esf_proto::{
    client::{Config, ConfigError, Seed, Session, State},
    close::CloseReason,
    ids::InstanceId,
    login::LoginCode,
};

use super::{
    Client, HANDLER_LIMIT, Handle, WeakClient,
    core::{Core, Post, Shared},
    dial::Dialer,
};
use crate::{
    dispatch::{Dispatch, Gates, HandlerCounters, Handling, InPlace},
    handler::AnyHandler,
    random,
    tasks::Tasks,
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

pub(crate) type MakeHandler = Box<dyn FnOnce(WeakClient) -> Arc<dyn AnyHandler> + Send>;

/// Builds a [`Client`]. An adapter gives one out with its runtime.
#[must_use = "a client that is not started does nothing"]
#[cfg(feature = "async")]
pub struct ClientBuilder {
    plan: Plan,
    runtime: Arc<dyn crate::runtime::Runtime>,
    connector: Option<super::task::Connector>,
}

/// What every client is started from.
pub(crate) struct Plan {
    pub(crate) tasks: Arc<dyn Tasks>,
    pub(crate) url: String,
    pub(crate) config: Config,
    pub(crate) handler: MakeHandler,
    pub(crate) origin: Option<String>,
    pub(crate) coalesce: bool,
    /// What of it is handled at the same time.
    pub(crate) gates: Gates,
}

#[cfg(feature = "async")]
impl ClientBuilder {
    /// A client on `runtime` for the server at `url`, such as `ws://127.0.0.1:4540`.
    pub fn new(runtime: Arc<impl crate::runtime::Runtime>, url: &str, config: Config) -> Self {
        Self { plan: Plan::new(runtime.clone(), url, config), runtime, connector: None }
    }

    /// Handles what others send. Without a handler messages are dropped and queries fail.
    pub fn handler(self, handler: impl crate::handler::Handler) -> Self {
        self.handler_with(|_| handler)
    }

    /// Handles what others send with a handler that sends something itself. It gets a handle that does not keep the
    /// client alive.
    pub fn handler_with<H: crate::handler::Handler>(
        mut self,
        make: impl FnOnce(WeakClient) -> H + Send + 'static,
    ) -> Self {
        self.plan.handler = Box::new(|client| Arc::new(make(client)));
        self
    }

    /// Connects in a way of one's own, such as TLS or an in-memory connection, instead of by TCP. Called for every
    /// attempt.
    pub fn connector<F, R>(mut self, connect: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = std::io::Result<crate::runtime::BoxStream>> + Send + 'static,
    {
        self.connector = Some(Box::new(move || Box::pin(connect())));
        self
    }

    /// Sends an `Origin`, as a web page would.
    pub fn origin(mut self, origin: &str) -> Self {
        self.plan.origin = Some(origin.to_owned());
        self
    }

    /// Puts frames that are ready at the same time into one WebSocket message. Off by default.
    pub fn coalesce(mut self, coalesce: bool) -> Self {
        self.plan.coalesce = coalesce;
        self
    }

    /// Starts the client, which connects and logs in by itself.
    ///
    /// # Errors
    /// The URL, the origin or the settings cannot be used.
    pub fn start(self) -> Result<Client, ConnectError> {
        let runtime = self.runtime;
        let (client, dialer) = self.plan.start()?;
        let connector = self.connector.unwrap_or_else(|| {
            let (runtime, host, port) = (runtime.clone(), dialer.url().host().to_owned(), dialer.url().port());
            Box::new(move || {
                let (runtime, host) = (runtime.clone(), host.clone());
                Box::pin(async move { runtime.connect(&host, port).await })
            })
        });
        let tasks = client.shared().runtime.clone();
        runtime.spawn(Box::pin(super::task::Task { dialer, runtime: tasks, connector }.run()));
        Ok(client)
    }

    /// Starts the client and waits until it is logged in.
    ///
    /// # Errors
    /// The first attempt came to nothing, or the login was refused; the client has ended then.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        self.start()?.logged_in(false).await
    }

    /// Starts the client and waits until it is logged in, for as long as the server cannot be reached.
    ///
    /// # Errors
    /// The login was refused; the client has ended then.
    pub async fn connect_patiently(self) -> Result<Client, ConnectError> {
        self.start()?.logged_in(true).await
    }
}

impl Plan {
    pub(crate) fn new(tasks: Arc<dyn Tasks>, url: &str, config: Config) -> Self {
        Self {
            tasks,
            url: url.to_owned(),
            config,
            handler: Box::new(|_| Arc::new(())),
            origin: None,
            coalesce: false,
            gates: Gates::new(SOURCES, QUERIES),
        }
    }

    /// Makes the client, and what its connections are made by.
    pub(crate) fn start(self) -> Result<(Client, Dialer), ConnectError> {
        let url: Url = self.url.parse().map_err(|error| ConnectError::Url { url: self.url.clone(), error })?;
        self.config.check()?;
        if self.origin.as_ref().is_some_and(|origin| !origin.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(ConnectError::Origin);
        }
        let (instance, jitter) = random::u64().zip(random::u64()).ok_or(ConnectError::Random)?;
        let seed = Seed { instance: InstanceId(instance), jitter };
        let connect_timeout = self.config.connect_timeout;
        let session = Session::new(self.config, seed, self.tasks.now());
        let mut shared = None;
        let handle = Arc::new_cyclic(|weak| {
            let handling = Arc::new(Handling {
                handler: (self.handler)(WeakClient(weak.clone())),
                runtime: self.tasks.clone(),
                gates: self.gates,
                limit: HANDLER_LIMIT,
                counters: HandlerCounters::default(),
                in_place: InPlace::default(),
            });
            Handle { shared: shared.insert(Shared::new(session, self.url, self.tasks, handling)).clone() }
        });
        let shared = handle.shared.clone();
        let dispatch = Dispatch::new(Post(shared.clone()), shared.handling.clone());
        Ok((Client(handle), Dialer::new(shared, dispatch, url, self.origin, self.coalesce, connect_timeout)))
    }
}

impl Client {
    /// Waits for the first login; the client itself if that succeeded. With patience an attempt that failed is waited
    /// out.
    pub(crate) async fn logged_in(self, patiently: bool) -> Result<Self, ConnectError> {
        let url = (!patiently).then(|| self.shared().url.clone());
        let result = self.shared().wait_for(|core| first_result(core, url.as_ref())).await;
        result.map(|()| self)
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
