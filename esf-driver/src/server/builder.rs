//! What is decided before a server starts.

use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use esf_proto::{failure::Failure, ids::InstanceId, server::Config, time::UnixMillis};

use super::{
    DECISIONS, Housekeeper, Server, Shared, State,
    auth::{AnyAuthenticator, Authenticator, Decision, LoginRequest, PreQueryHandler},
    courier::Courier,
    door::Door,
    hooks::{AnyHooks, Hooks},
    intercept::{AnyInterceptor, Interceptor, Watchman},
};
use crate::{
    admission::Admission,
    client::HANDLER_LIMIT,
    dispatch::{Gates, HandlerCounters, Handling, InPlace},
    handler::{AnyHandler, Handler},
    node::{Inputs, Node},
    random,
    store::Store,
    tasks::Tasks,
};

/// Sessions whose messages to the server are handled at the same time.
const SOURCES: usize = 1024;
/// Queries to the server that are handled at the same time.
const QUERIES: usize = 4096;

/// Builds a [`Server`]. An adapter gives one out with its runtime.
#[must_use = "a server that is not started serves nobody"]
pub struct ServerBuilder {
    tasks: Arc<dyn Tasks>,
    #[cfg(feature = "async")]
    sockets: Option<Arc<dyn crate::runtime::Runtime>>,
    gates: Gates,
    decisions: usize,
    config: Config,
    authenticator: Arc<dyn AnyAuthenticator>,
    pre_query: Option<PreQueryHandler>,
    handler: Arc<dyn AnyHandler>,
    handler_limit: Duration,
    interceptor: Option<Arc<dyn AnyInterceptor>>,
    /// On how many threads the interceptor may block, if it may.
    interceptors: Option<usize>,
    hooks: Option<Arc<dyn AnyHooks>>,
    admission: Admission,
    coalesce: bool,
    store: Option<Arc<dyn Store>>,
}

impl ServerBuilder {
    /// A server on `runtime` that lets nobody in.
    #[cfg(feature = "async")]
    pub fn new(runtime: Arc<impl crate::runtime::Runtime>) -> Self {
        Self { sockets: Some(runtime.clone()), ..Self::on(runtime) }
    }

    /// A server that lets nobody in, on tasks alone: its streams are accepted elsewhere.
    pub(crate) fn on(tasks: Arc<dyn Tasks>) -> Self {
        let mut config = Config::default();
        if let Some(memory) = total_memory() {
            config.global_budget = memory / 4;
        }
        Self {
            tasks,
            #[cfg(feature = "async")]
            sockets: None,
            gates: Gates::new(SOURCES, QUERIES),
            decisions: DECISIONS,
            config,
            authenticator: Arc::new(async |_: LoginRequest| Decision::refuse("this server lets nobody in")),
            pre_query: None,
            handler: Arc::new(()),
            handler_limit: HANDLER_LIMIT,
            interceptor: None,
            interceptors: None,
            hooks: None,
            admission: Admission::default(),
            coalesce: false,
            store: None,
        }
    }

    /// The settings of the protocol. By default all are the protocol's, and all sessions together may hold a quarter of
    /// the machine's memory.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Changes settings of the protocol.
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Who may log in.
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.authenticator = Arc::new(authenticator);
        self
    }

    /// Lets every name in without a credential: for trials and trusted networks.
    pub fn open(self) -> Self {
        self.authenticator(async |_: LoginRequest| Decision::accept())
    }

    /// Answers queries before login. Without it they are `Unsupported`.
    pub fn pre_query<F, R>(mut self, answer: F) -> Self
    where
        F: Fn(u32, Bytes) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Bytes, Failure>> + Send + 'static,
    {
        self.pre_query = Some(Box::new(move |info_type, body| Box::pin(answer(info_type, body))));
        self
    }

    /// Handles what is sent to the server itself. Without a handler messages are dropped and queries fail.
    pub fn handler(mut self, handler: impl Handler) -> Self {
        self.handler = Arc::new(handler);
        self
    }

    pub(crate) fn any_handler(mut self, handler: Arc<dyn AnyHandler>) -> Self {
        self.handler = handler;
        self
    }

    /// So many handlers of each kind, and so many decisions about logins, at the same time.
    pub(crate) fn at_once(mut self, threads: usize) -> Self {
        self.gates = Gates::of_threads(threads);
        self.decisions = threads;
        self.interceptors = Some(threads);
        self
    }

    /// Where people, groups and messages are kept. Without one nobody has contacts, there are no groups but dynamic ones,
    /// and no message is stored. An `Arc` of a store is one too, for who goes on using it.
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// How long a handler may take before it is dropped. 5 minutes by default.
    pub fn handler_limit(mut self, limit: Duration) -> Self {
        self.handler_limit = limit;
        self
    }

    /// Shows each message, query and blob of a client to `interceptor` before it goes on: see there.
    pub fn interceptor(mut self, interceptor: impl Interceptor) -> Self {
        self.interceptor = Some(Arc::new(interceptor));
        self
    }

    /// How long the interceptor may take with one of them. 5 s by default; then it is refused as `Internal`.
    pub fn intercept_limit(self, limit: Duration) -> Self {
        self.configure(|config| config.intercept_limit = limit)
    }

    /// Tells `hooks` what happens.
    pub fn hooks(mut self, hooks: impl Hooks) -> Self {
        self.hooks = Some(Arc::new(hooks));
        self
    }

    /// Lets web pages of this origin connect, beside those of this machine. `*` lets every page connect.
    pub fn allow_origin(mut self, origin: &str) -> Self {
        self.admission.origins.allow(origin);
        self
    }

    /// How many connections to take at the same time; the others are told to come later. 100,000 by default.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.admission.limits.connections = connections;
        self
    }

    /// Who may connect, and how often: everything that [`Server::set_admission`] can change later.
    pub fn admission(mut self, admission: Admission) -> Self {
        self.admission = admission;
        self
    }

    /// Puts frames that are ready at the same time into one WebSocket message. Off by default.
    pub fn coalesce(mut self, coalesce: bool) -> Self {
        self.coalesce = coalesce;
        self
    }

    /// Starts the server without a listener: for streams that are accepted elsewhere.
    ///
    /// # Errors
    /// The system has no random numbers.
    #[cfg(feature = "async")]
    pub fn start(self) -> io::Result<Server> {
        let (server, housekeeper) = self.build()?;
        server.0.runtime.spawn(Box::pin(housekeeper.keep_house()));
        Ok(server)
    }

    /// The server, and what keeps house for it.
    pub(crate) fn build(mut self) -> io::Result<(Server, Housekeeper)> {
        let random = || random::u64().ok_or_else(|| io::Error::other("the system gave no random numbers"));
        let inputs = Inputs {
            instance: InstanceId(random()?),
            keys: (random()?, random()?),
            secrets: Box::new(|| {
                let mut secret = [0; 16];
                // It gave some above. Without them nobody could log in safely, so the login ends here.
                random::fill(&mut secret).expect("the system gives random numbers");
                secret
            }),
            wall: Box::new(wall_clock),
            tickets: Box::new(self.authenticator.clone()),
        };
        self.config.store = self.store.is_some();
        self.config.intercepts = self.interceptor.is_some();
        let handling = Arc::new(Handling {
            handler: self.handler,
            runtime: self.tasks.clone(),
            gates: self.gates,
            limit: self.handler_limit,
            counters: HandlerCounters::default(),
            in_place: InPlace::default(),
        });
        let shared = Arc::new(Shared {
            node: Node::new(self.config, inputs),
            runtime: self.tasks,
            #[cfg(feature = "async")]
            sockets: self.sockets,
            door: Door::new(self.admission),
            authenticator: self.authenticator,
            pre_query: self.pre_query,
            handling,
            decisions: self.decisions,
            coalesce: self.coalesce,
            has_hooks: self.hooks.is_some(),
            state: State::default(),
        });
        if let Some(interceptor) = self.interceptor {
            let watchman = Watchman::new(interceptor, &shared.runtime, &shared.node, self.interceptors);
            shared.node.set_judge(Box::new(watchman));
        }
        if let Some(hooks) = self.hooks {
            shared.runtime.spawn(Box::pin(shared.clone().call_hooks(hooks)));
        }
        if let Some(store) = self.store {
            shared.runtime.spawn(Box::pin(Courier::new(&shared, store).carry()));
        }
        Ok((Server(shared.clone()), Housekeeper(shared)))
    }

    /// Starts the server and listens on `address`, `host:port`; port 0 takes a free one.
    ///
    /// # Errors
    /// What the system says about the address, or that it has no random numbers.
    #[cfg(feature = "async")]
    pub async fn listen(self, address: &str) -> io::Result<Server> {
        let server = self.start()?;
        match server.listen(address).await {
            Ok(_) => Ok(server),
            Err(error) => {
                server.shut_down(Duration::ZERO).await;
                Err(error)
            }
        }
    }
}

fn wall_clock() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The machine's memory in bytes, where the system tells it in a file.
fn total_memory() -> Option<usize> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()?.checked_mul(1024)
}
