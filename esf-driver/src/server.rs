//! The handle of a server.

use std::{collections::HashMap, net::SocketAddr, task::Waker, time::Duration};

use esf_proto::{
    failure::Failure,
    ids::{Engine, UserId},
    server::{AppRequest, AppResponse},
    time::Instant,
};

pub use crate::node::ServerEvent;
pub use esf_proto::server::{Config, Relogin};

#[cfg(feature = "async")]
mod accept;
mod arrival;
mod auth;
mod blobs;
mod builder;
mod courier;
mod door;
mod endpoint;
mod hooks;
mod intercept;
mod sends;
mod shortage;
mod stats;
#[cfg(all(test, feature = "async"))]
mod tests;

pub use self::{
    arrival::{Arrival, Arrived, REFUSAL},
    auth::{Accepted, Authenticator, Decision, LoginClaim, LoginRequest},
    builder::ServerBuilder,
    endpoint::ServerEndpoint,
    hooks::Hooks,
    intercept::{Intercepted, InterceptedKind, Interceptor, Judgement, Recipient},
    shortage::Shortage,
    stats::ServerStats,
};
use self::{
    auth::{AnyAuthenticator, PreQueryHandler},
    blobs::Sendings,
    door::{Client, Door},
    endpoint::CellInbox,
    sends::Calls,
    stats::DriverCounters,
};
use crate::{
    admission::Admission,
    completion::Teller,
    dispatch::{Dispatch, Handling},
    events::{EventQueue, Next},
    node::Node,
    notify::{Notify, Worker},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    tasks::{Tasks, catch_panic, within},
};

/// How long a shutdown takes at most, unless the caller says otherwise.
pub const SHUT_DOWN_GRACE: Duration = Duration::from_secs(5);
/// What of the grace is kept for closing those who did not leave by themselves.
const CLOSING_SHARE: Duration = Duration::from_secs(1);
/// When clients that were asked to leave may come back.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Logins and queries before login that the application decides about at the same time. More than the costly checks that
/// an application lets wait, so that cheap ones pass them.
const DECISIONS: usize = 1024;

/// A server: listeners and streams, and everybody who is logged in over them.
///
/// It is a handle: clones are the same server, on any thread. The server runs until it is shut down, whether or not a
/// handle is left.
#[derive(Clone)]
pub struct Server(Arc<Shared>);

/// What is served at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Path {
    Esf,
}

/// What the handles, links and listeners of one server share.
struct Shared {
    node: Arc<Node>,
    runtime: Arc<dyn Tasks>,
    /// Where streams come from that this server accepts itself.
    #[cfg(feature = "async")]
    sockets: Option<Arc<dyn crate::runtime::Runtime>>,
    door: Door,
    authenticator: Arc<dyn AnyAuthenticator>,
    pre_query: Option<PreQueryHandler>,
    handling: Arc<Handling>,
    /// Logins and queries before login that the application decides about at the same time.
    decisions: usize,
    coalesce: bool,
    has_hooks: bool,
    state: State,
}

/// What changes while a server runs.
#[derive(Default)]
struct State {
    counters: DriverCounters,
    decisions: AtomicUsize,
    addresses: Mutex<Vec<SocketAddr>>,
    dispatches: Mutex<HashMap<Engine, Weak<Dispatch<CellInbox>>>>,
    /// No more connections are taken.
    stopping: AtomicBool,
    /// Tasks that accept.
    listening: AtomicUsize,
    /// Whoever is left is dropped.
    cut_off: AtomicBool,
    ended: AtomicBool,
    changed: Notify,
    events: EventQueue<ServerEvent>,
    /// Those for the hooks, if there are any.
    hooked: EventQueue<ServerEvent>,
    calls: Calls,
    blobs: Sendings,
    housekeeper: Worker,
    courier: Worker,
}

/// Does what no link does: ends sessions whose clients did not come back, passes on events and outcomes.
///
/// When it is dropped, everybody is told that nobody keeps house any more.
pub(crate) struct Housekeeper(Arc<Shared>);

/// When there is more to do.
pub(crate) enum Keeping {
    /// When it is woken, or at this instant.
    Wait(Option<Instant>),
    /// Never: the server is over.
    Over,
}

impl Housekeeper {
    pub(crate) fn register(&self, waker: &Waker) {
        let Shared { node, state, .. } = &*self.0;
        state.housekeeper.register(waker);
        node.register(waker);
        node.register_events(waker);
        node.register_outcomes(waker);
    }

    pub(crate) fn next(&self) -> Keeping {
        let Shared { node, state, runtime, .. } = &*self.0;
        let now = runtime.now();
        if node.poll_timeout().is_some_and(|at| at <= now) {
            node.handle_timeout(now);
        }
        while let Some(event) = node.poll_event() {
            if self.0.has_hooks {
                state.hooked.push(event.clone());
            }
            state.events.push(event);
        }
        node.move_blobs(now);
        while let Some(outcome) = node.poll_outcome(now) {
            if let Some(outcome) = state.blobs.complete(outcome) {
                state.calls.complete(outcome);
            }
        }
        state.blobs.look_after(node);
        if state.ended.load(Ordering::SeqCst) { Keeping::Over } else { Keeping::Wait(node.poll_timeout()) }
    }
}

#[cfg(feature = "async")]
impl Housekeeper {
    /// Does it as a task, until the server is over.
    async fn keep_house(self) {
        let mut alarm = crate::tasks::Alarm::new(&*self.0.runtime);
        std::future::poll_fn(|cx| {
            self.register(cx.waker());
            let Keeping::Wait(at) = self.next() else { return std::task::Poll::Ready(()) };
            if alarm.poll(cx, self.0.runtime.now(), at).is_ready() {
                // There is more to do, and those to whom something goes come first.
                cx.waker().wake_by_ref();
            }
            std::task::Poll::Pending
        })
        .await;
    }
}

impl Drop for Housekeeper {
    fn drop(&mut self) {
        self.0.state.events.end();
        self.0.state.hooked.end();
        self.0.state.calls.end();
        self.0.state.blobs.end();
    }
}

/// A listener of a server, which is gone when this is.
pub(crate) struct Listening(Arc<Shared>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.state.listening.fetch_sub(1, Ordering::SeqCst);
        self.0.state.changed.notify();
    }
}

/// Takes the events of a server.
pub struct ServerEvents(Arc<Shared>);

impl Server {
    /// What it takes now.
    #[must_use]
    pub fn admission(&self) -> Admission {
        self.0.door.settled().admission.clone()
    }

    /// Takes something else from now on. Connections that are open stay.
    pub fn set_admission(&self, admission: Admission) {
        self.0.door.set(admission);
    }

    /// The address of the first listener.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        lock(&self.0.state.addresses).first().copied()
    }

    /// Takes no more connections, asks every client to leave, and closes whoever is left towards the end of `grace`.
    /// Returns when all are gone, or when `grace` is over and the rest was dropped; what it listened on is free then.
    /// [`SHUT_DOWN_GRACE`] is a good choice.
    ///
    /// Dropping the future leaves the server where it is: no more connections are taken.
    pub async fn shut_down(&self, grace: Duration) {
        let Shared { node, runtime, .. } = &*self.0;
        let end = runtime.now() + grace;
        self.stop();
        node.drain(RETRY_AFTER);
        self.0.wait_empty(grace.saturating_sub(CLOSING_SHARE.min(grace / 2))).await;
        node.close();
        self.0.wait_empty(end.since(runtime.now())).await;
        let silent = self.0.state.changed.until(|| self.0.state.listening.load(Ordering::SeqCst) == 0);
        // They were told at the beginning and have nothing else to wait for.
        let _ = within(&*self.0.runtime, CLOSING_SHARE, silent).await;
        self.cut_off();
    }

    /// Takes no more connections.
    pub(crate) fn stop(&self) {
        self.0.state.stopping.store(true, Ordering::SeqCst);
        self.0.state.changed.notify();
    }

    /// Drops whoever is left: the server is over.
    pub(crate) fn cut_off(&self) {
        let Shared { node, state, .. } = &*self.0;
        self.stop();
        state.cut_off.store(true, Ordering::SeqCst);
        // So that every link that is left looks.
        node.close();
        state.ended.store(true, Ordering::SeqCst);
        state.housekeeper.wake();
        state.courier.wake();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.0.is_stopping()
    }

    pub(crate) fn coalesces(&self) -> bool {
        self.0.coalesce
    }

    pub(crate) fn tasks(&self) -> Arc<dyn Tasks> {
        self.0.runtime.clone()
    }

    /// It listens there, until what this returns is dropped.
    pub(crate) fn listens_on(&self, address: SocketAddr) -> Listening {
        lock(&self.0.state.addresses).push(address);
        self.0.state.listening.fetch_add(1, Ordering::SeqCst);
        Listening(self.0.clone())
    }

    /// Ends every login of a user.
    ///
    /// # Errors
    /// `Offline` if there is none.
    pub fn kick_out(&self, user: &UserId) -> Result<(), Failure> {
        self.0.node.kick_out(self.0.runtime.now(), user)
    }

    /// Ends every login of a user that a credential of a version below `below` opened, as [`Accepted`] told it: their
    /// password was changed, say, or they are no more.
    pub fn revoke(&self, user: &UserId, below: u64) {
        self.0.node.revoke(self.0.runtime.now(), user, below);
    }

    /// Draws login numbers from `from` on and, as long as that is enough, below `below`. A server that keeps `below`
    /// durably and ahead of time, and starts its next life from it, never draws one twice, also when its clock steps
    /// back. Without this the clock counts.
    pub fn reserve_login_numbers(&self, from: u64, below: u64) {
        self.0.node.reserve_login_numbers(from, below);
    }

    /// Whether a user is online.
    #[must_use]
    pub fn is_online(&self, user: &UserId) -> bool {
        self.0.node.is_online(user)
    }

    /// What the server has counted and holds.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        let Shared { node, state, handling, .. } = &*self.0;
        let handlers = &handling.counters;
        let handlers = [
            ("handlers_panicked", handlers.panicked.load(Ordering::Relaxed)),
            ("handlers_cut_off", handlers.cut_off.load(Ordering::Relaxed)),
            ("queries_to_server_refused", handlers.refused.load(Ordering::Relaxed)),
            ("events_lost", node.events_lost()),
        ];
        ServerStats {
            connections: self.0.door.connections(),
            links: node.links(),
            online: node.online(),
            held_bytes: node.held_bytes(),
            counters: node.counters().iter().chain(state.counters.iter()).chain(handlers).collect(),
        }
    }

    /// The events of this server. There is one queue: two that look share what is in it. Nobody needs to look.
    #[must_use]
    pub fn events(&self) -> ServerEvents {
        ServerEvents(self.0.clone())
    }
}

impl ServerEvents {
    /// The next event; `None` once the server was shut down and the last one was taken. When nobody looked for a while,
    /// the oldest were dropped and `Err` says how many.
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<ServerEvent, Lagged>> {
        match std::future::poll_fn(|cx| self.0.state.events.poll_next(cx)).await {
            Next::Event(event) => Some(Ok(event)),
            Next::Lagged(count) => Some(Err(Lagged(count))),
            Next::Ended => None,
        }
    }
}

/// So many events were dropped because nobody took them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} events were dropped because nobody took them")]
pub struct Lagged(pub u64);

impl Shared {
    fn is_stopping(&self) -> bool {
        self.state.stopping.load(Ordering::SeqCst)
    }

    fn is_cut_off(&self) -> bool {
        self.state.cut_off.load(Ordering::Relaxed)
    }

    fn dispatches(&self) -> MutexGuard<'_, HashMap<Engine, Weak<Dispatch<CellInbox>>>> {
        lock(&self.state.dispatches)
    }

    /// Waits until there is no link any more, for `limit` at most.
    async fn wait_empty(&self, limit: Duration) {
        let empty = self.state.changed.until(|| self.node.links() == 0);
        // Whether it is empty or the time is over, the shutdown goes on.
        let _ = within(&*self.runtime, limit, empty).await;
    }

    /// Asks the application about a login, or passes it a query before login.
    fn ask_application(self: &Arc<Self>, client: Client, request: AppRequest, answer: Teller<AppResponse>) {
        if let Some(retry_after) = self.asks_too_often(self.runtime.now(), client, &request) {
            answer.tell(AppResponse::TooOften { retry_after });
            return;
        }
        if self.state.decisions.fetch_add(1, Ordering::SeqCst) >= self.decisions {
            self.state.decisions.fetch_sub(1, Ordering::SeqCst);
            self.state.counters.logins_put_off.fetch_add(1, Ordering::Relaxed);
            answer.tell(match request {
                AppRequest::Authenticate(_) => AppResponse::Later { retry_after: RETRY_AFTER },
                AppRequest::PreQuery { .. } => AppResponse::PreReply(Err(Failure::Busy)),
            });
            return;
        }
        self.runtime.spawn(Box::pin(self.clone().decide(request, answer)));
    }

    async fn authenticate(&self, login: LoginRequest) -> Decision {
        let (user, device, address) = (login.user.clone(), login.device, login.address);
        let decision = self.authenticator.authenticate(login).await;
        if let Decision::Refuse { cause } = &decision {
            let address = address.map(tracing::field::display);
            tracing::info!(%user, %device, address, cause, "login refused");
        }
        decision
    }

    async fn decide(self: Arc<Self>, request: AppRequest, answer: Teller<AppResponse>) {
        let is_login = matches!(request, AppRequest::Authenticate(_));
        let decide = async {
            match request {
                AppRequest::Authenticate(login) => self.authenticate(login).await.into(),
                AppRequest::PreQuery { info_type, body } => AppResponse::PreReply(match &self.pre_query {
                    Some(pre_query) => pre_query(info_type, body).await,
                    None => Err(Failure::Unsupported),
                }),
            }
        };
        let caught = catch_panic(decide);
        let decided = within(&*self.runtime, self.node.config().login_timeout, caught).await;
        self.state.decisions.fetch_sub(1, Ordering::SeqCst);
        let response = match decided {
            Some(Ok(response)) => response,
            Some(Err(_)) => {
                // The panic itself was reported by the panic hook.
                tracing::error!("an authenticator or a handler of queries before login panicked");
                self.state.counters.authenticators_panicked.fetch_add(1, Ordering::Relaxed);
                if is_login {
                    AppResponse::Later { retry_after: RETRY_AFTER }
                } else {
                    AppResponse::PreReply(Err(Failure::HandlerFailed))
                }
            }
            // The link's own time for the login is over as well.
            None => return,
        };
        answer.tell(response);
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.local_addr()).field("node", &self.0.node).finish()
    }
}

/// What these locks protect is whole after every step, so a panic elsewhere leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
