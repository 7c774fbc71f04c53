//! The handle of a server, with calls that block.

use std::{io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use esf_proto::{
    failure::Failure,
    ids::{GroupId, To, UserId},
    server::Config,
};

use super::{
    Listener, Stream, Threads,
    blob::{BlobSource, Bridged as BridgedSource, SendingBlob},
    handler::{Handler, Places, Watch, bridge},
    hooks::{self, Hooks, Interceptor},
    serve,
    wait::{Elapsed, run, run_within},
};
use crate::{
    admission::Admission,
    blob::BlobOptions,
    client::{CertainOptions, Delivered},
    handler::AnyHandler,
    server::{self, Decision, Lagged, LoginClaim, LoginRequest, ServerEvent, ServerStats},
    store::Store,
    sync::{Arc, Mutex, PoisonError},
    tasks::Tasks,
};

/// Threads for messages, threads for queries, threads for blobs and threads for logins, unless the application says
/// otherwise.
const HANDLERS: usize = 64;

/// Decides who may log in. Also any `Fn(LoginRequest) -> Decision`.
///
/// It runs on a thread and may block: others log in meanwhile, while there is a thread left. A decision that takes longer
/// than the login may take comes too late.
pub trait Authenticator: Send + Sync + 'static {
    /// Decides about one login.
    fn authenticate(&self, login: LoginRequest) -> Decision;

    /// Makes the reconnect ticket for a login that got its place, opaque and of at most 512 bytes: later logins show it
    /// as [`LoginRequest::ticket`]. Empty for none, which is the default. Called while the login waits, so it is quick.
    fn ticket(&self, login: &LoginClaim, login_number: u64) -> Bytes {
        let _ = (login, login_number);
        Bytes::new()
    }

    /// A user was kicked out: tickets of theirs are to be good no more. Called once for each kick, so it is quick.
    fn kicked(&self, user: &UserId) {
        let _ = user;
    }
}

impl<F: Fn(LoginRequest) -> Decision + Send + Sync + 'static> Authenticator for F {
    fn authenticate(&self, login: LoginRequest) -> Decision {
        self(login)
    }
}

/// Lets the server's core ask an authenticator that blocks, on a thread.
struct Bridged<A>(A);

impl<A: Authenticator> server::Authenticator for Bridged<A> {
    async fn authenticate(&self, login: LoginRequest) -> Decision {
        self.0.authenticate(login)
    }

    fn ticket(&self, login: &LoginClaim, login_number: u64) -> Bytes {
        self.0.ticket(login, login_number)
    }

    fn kicked(&self, user: &UserId) {
        self.0.kicked(user);
    }
}

/// Builds a [`Server`]. An adapter gives one out with its threads.
#[must_use = "a server that is not started serves nobody"]
pub struct ServerBuilder {
    builder: server::ServerBuilder,
    threads: Arc<dyn Threads>,
    tasks: Arc<dyn Tasks>,
    make_handler: Box<dyn FnOnce(Option<Watch>) -> Arc<dyn AnyHandler> + Send>,
    handlers: usize,
    watches: bool,
}

impl ServerBuilder {
    /// A server on `threads` that lets nobody in.
    pub fn new(threads: Arc<impl Threads>) -> Self {
        let builder = Self {
            builder: server::ServerBuilder::on(threads.clone()),
            tasks: threads.clone(),
            threads,
            make_handler: Box::new(|_| bridge((), None)),
            handlers: HANDLERS,
            watches: false,
        };
        builder.handler_threads(HANDLERS)
    }

    /// The settings of the protocol. By default all are the protocol's, and all sessions together may hold a quarter of
    /// the machine's memory.
    pub fn config(self, config: Config) -> Self {
        self.with(|builder| builder.config(config))
    }

    /// Changes settings of the protocol.
    pub fn configure(self, change: impl FnOnce(&mut Config)) -> Self {
        self.with(|builder| builder.configure(change))
    }

    /// Who may log in.
    pub fn authenticator(self, authenticator: impl Authenticator) -> Self {
        self.with(|builder| builder.authenticator(Bridged(authenticator)))
    }

    /// Lets every name in without a credential: for trials and trusted networks.
    pub fn open(self) -> Self {
        self.with(server::ServerBuilder::open)
    }

    /// Answers queries before login. Without it they are `Unsupported`.
    pub fn pre_query<F>(self, answer: F) -> Self
    where
        F: Fn(u32, Bytes) -> Result<Bytes, Failure> + Send + Sync + 'static,
    {
        let answer = Arc::new(answer);
        self.with(|builder| {
            builder.pre_query(move |info_type, body| {
                let answer = answer.clone();
                async move { answer(info_type, body) }
            })
        })
    }

    /// Handles what is sent to the server itself. Without a handler messages are dropped and queries fail.
    pub fn handler(mut self, handler: impl Handler) -> Self {
        self.make_handler = Box::new(|watch| bridge(handler, watch));
        self
    }

    /// Where people, groups and messages are kept. Without one nobody has contacts, there are no groups but dynamic ones,
    /// and no message is stored. An `Arc` of a store is one too, for who goes on using it.
    pub fn store(self, store: impl Store) -> Self {
        self.with(|builder| builder.store(store))
    }

    /// How many handlers of messages run at the same time, how many of queries, how many of blobs, and how many logins
    /// are decided about, each on a thread; 64 by default. Messages and queries beyond that wait, and their senders see
    /// `Busy` in the end; blobs are refused as `Busy`, and logins are told to come later. An interceptor has as many
    /// threads.
    pub fn handler_threads(mut self, threads: usize) -> Self {
        self.handlers = threads;
        self.with(|builder| builder.at_once(threads))
    }

    /// How long a handler may take. Beyond that what waits behind it goes on, and its asker sees `HandlerFailed`; the
    /// thread itself, which cannot be stopped, goes on too, and counts among those of
    /// [`handler_threads`](Self::handler_threads) until it returns. There is no limit by default, and with one each handler
    /// takes a second thread, which watches it.
    pub fn handler_limit(mut self, limit: Duration) -> Self {
        self.watches = true;
        self.with(|builder| builder.handler_limit(limit))
    }

    /// Shows each message, query and blob of a client to `interceptor` before it goes on: see there.
    pub fn interceptor(self, interceptor: impl Interceptor) -> Self {
        self.with(|builder| builder.interceptor(hooks::Bridged(interceptor)))
    }

    /// How long the interceptor may take with one of them. 5 s by default; then it is refused as `Internal`. The thread
    /// goes on until the interceptor returns.
    pub fn intercept_limit(self, limit: Duration) -> Self {
        self.with(|builder| builder.intercept_limit(limit))
    }

    /// Tells `hooks` what happens.
    pub fn hooks(self, hooks: impl Hooks) -> Self {
        self.with(|builder| builder.hooks(hooks::Bridged(hooks)))
    }

    /// Lets web pages of this origin connect, beside those of this machine. `*` lets every page connect.
    pub fn allow_origin(self, origin: &str) -> Self {
        self.with(|builder| builder.allow_origin(origin))
    }

    /// How many connections to take at the same time, with two threads each; the others are told to come later.
    pub fn max_connections(self, connections: usize) -> Self {
        self.with(|builder| builder.max_connections(connections))
    }

    /// Who may connect, and how often: everything that [`Server::set_admission`] can change later.
    pub fn admission(self, admission: Admission) -> Self {
        self.with(|builder| builder.admission(admission))
    }

    /// Puts frames that are ready at the same time into one WebSocket message. Off by default.
    pub fn coalesce(self, coalesce: bool) -> Self {
        self.with(|builder| builder.coalesce(coalesce))
    }

    /// Starts the server without a listener: for streams that are accepted elsewhere.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn start(self) -> io::Result<Server> {
        let tasks = self.tasks;
        // One for each message, query and blob that may be handled at the same time.
        let watch = || Watch { tasks: tasks.clone(), places: Places::new(self.handlers.saturating_mul(3)) };
        let handler = (self.make_handler)(self.watches.then(watch));
        let (server, housekeeper) = self.builder.any_handler(handler).build()?;
        self.threads.spawn(Box::pin(async move { serve::keep_house(&*tasks, &housekeeper) }));
        Ok(Server(Arc::new(Handle { server, threads: self.threads, listeners: Mutex::default() })))
    }

    /// Starts the server and listens on `address`, `host:port`; port 0 takes a free one.
    ///
    /// # Errors
    /// What the system says about the address, or that it has no random numbers.
    pub fn listen(self, address: &str) -> io::Result<Server> {
        let server = self.start()?;
        server.listen(address)?;
        Ok(server)
    }

    fn with(self, change: impl FnOnce(server::ServerBuilder) -> server::ServerBuilder) -> Self {
        Self { builder: change(self.builder), ..self }
    }
}

/// A server: listeners and streams, and everybody who is logged in over them, each connection on two threads.
///
/// It is a handle: clones are the same server, on any thread. When the last one goes, every connection is dropped and the
/// threads end; nobody waits for that. [`shut_down`](Self::shut_down) is the polite way.
#[derive(Clone)]
pub struct Server(Arc<Handle>);

/// What ends the server when the last handle goes.
struct Handle {
    server: server::Server,
    threads: Arc<dyn Threads>,
    listeners: Mutex<Vec<Arc<dyn Listener>>>,
}

impl Handle {
    fn stop_listening(&self) {
        let listeners = std::mem::take(&mut *self.listeners.lock().unwrap_or_else(PoisonError::into_inner));
        listeners.iter().for_each(|listener| listener.shut_down());
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.server.cut_off();
        self.stop_listening();
    }
}

impl Server {
    /// Listens on `address`, `host:port`, as often as wanted; port 0 takes a free one. The address is the one taken.
    ///
    /// # Errors
    /// What the system says.
    pub fn listen(&self, address: &str) -> io::Result<SocketAddr> {
        self.serve(self.0.threads.listen(address)?)
    }

    /// Accepts from a listener that is there already, on a thread of its own.
    ///
    /// # Errors
    /// What the system says when it is asked for the address.
    pub fn serve(&self, listener: Arc<dyn Listener>) -> io::Result<SocketAddr> {
        let address = listener.local_addr()?;
        let listening = self.0.server.listens_on(address);
        self.0.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(listener.clone());
        let (tasks, server) = (self.0.server.tasks(), self.0.server.clone());
        self.0.threads.spawn(Box::pin(async move { serve::accept(&tasks, &server, listener, listening) }));
        Ok(address)
    }

    /// Serves a stream that was accepted elsewhere, or an in-memory one. The HTTP request is read from it.
    pub fn serve_stream(&self, stream: Arc<dyn Stream>) {
        serve::serve(&self.0.server.tasks(), &self.0.server, stream, None);
    }

    /// The same for a stream whose other side is known: its limits by address count, and if it is a trusted proxy, those
    /// of whom it brings.
    pub fn serve_stream_from(&self, stream: Arc<dyn Stream>, from: SocketAddr) {
        serve::serve(&self.0.server.tasks(), &self.0.server, stream, Some(from));
    }

    /// Serves a WebSocket that was opened elsewhere, with the sub-protocol `esf.v1`: `read_ahead` is what was read of it
    /// already.
    pub fn serve_websocket(&self, stream: Arc<dyn Stream>, read_ahead: Vec<u8>) {
        serve::serve_websocket(&self.0.server.tasks(), &self.0.server, stream, read_ahead);
    }

    /// What it takes now.
    #[must_use]
    pub fn admission(&self) -> Admission {
        self.0.server.admission()
    }

    /// Takes something else from now on. Connections that are open stay.
    pub fn set_admission(&self, admission: Admission) {
        self.0.server.set_admission(admission);
    }

    /// The address of the first listener.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.0.server.local_addr()
    }

    /// Takes no more connections, asks every client to leave, and closes whoever is left towards the end of `grace`.
    /// Returns when all are gone, or when `grace` is over and the rest was dropped.
    /// [`SHUT_DOWN_GRACE`](server::SHUT_DOWN_GRACE) is a good choice.
    pub fn shut_down(&self, grace: Duration) {
        self.0.server.stop();
        self.0.stop_listening();
        run(self.0.server.shut_down(grace));
    }

    /// Sends a message to a user, on every device or one. `Ok` says that it was queued there.
    ///
    /// # Errors
    /// `Offline`, `Busy`, `TooLarge`; `NotAllowed` to the server itself.
    pub fn send(&self, to: To, info_type: u32, body: impl Into<Bytes>) -> Result<(), Failure> {
        self.0.server.send(to, info_type, body)
    }

    /// Sends a message to the members of a group that are online. Who of them misses it is told as
    /// [`ServerEvent::BroadcastFailed`](crate::server::ServerEvent::BroadcastFailed).
    ///
    /// # Errors
    /// `TooLarge`; `Busy` if too many broadcasts of the application wait.
    pub fn broadcast(&self, group: &GroupId, info_type: u32, body: impl Into<Bytes>) -> Result<(), Failure> {
        self.0.server.broadcast(group, info_type, body)
    }

    /// Sends a blob to the members of a group that are online, on 256 devices at most.
    ///
    /// All of them are sent it at once, as fast as the slowest takes it; one that makes no progress for 20 s is left out.
    /// It is done when everybody who is still there has it whole, or at once where nobody is. Who missed it is told as
    /// [`ServerEvent::BroadcastFailed`](crate::server::ServerEvent::BroadcastFailed). It fails as `TooLarge` in a group
    /// with more devices online, and as the last member failed if nobody has it. The handle that this returns says how far
    /// it is and how it ends; it goes on without it.
    ///
    /// # Errors
    /// `Busy` with 8 blobs of the application under way, `TooLarge` for a name of more than 1,024 bytes, `ConnectionLost`
    /// once the server is over.
    pub fn broadcast_blob(
        &self,
        group: &GroupId,
        info_type: u32,
        name: &str,
        source: impl BlobSource,
    ) -> Result<SendingBlob, Failure> {
        self.broadcast_blob_with(group, info_type, name, source, BlobOptions::default())
    }

    /// [`broadcast_blob`](Self::broadcast_blob) in fragments of a size of its own.
    ///
    /// # Errors
    /// As there.
    pub fn broadcast_blob_with(
        &self,
        group: &GroupId,
        info_type: u32,
        name: &str,
        source: impl BlobSource,
        options: BlobOptions,
    ) -> Result<SendingBlob, Failure> {
        self.0.server.broadcast_blob_with(group, info_type, name, BridgedSource(source), options).map(SendingBlob)
    }

    /// The contacts or groups of a user are others than before: the store is asked for them again, if the user is
    /// online. Of two who become contacts, or are contacts no more, each has changed; they are told of each other once the
    /// store has said it of both.
    pub fn relations_changed(&self, user: &UserId) {
        self.0.server.relations_changed(user);
    }

    /// Sends a message that the receiving engine acknowledges, within 30 s.
    ///
    /// # Errors
    /// Why it did not arrive. `ConnectionLost` and `TimedOut` mean that it may have.
    pub fn send_certainly(&self, to: To, info_type: u32, body: impl Into<Bytes>) -> Result<(), Failure> {
        run(self.0.server.send_certainly(to, info_type, body))
    }

    /// [`send_certainly`](Self::send_certainly) as the options say: with
    /// [`store_if_offline`](CertainOptions::store_if_offline) the message is kept for a user who is offline, and delivered
    /// at the next login. Then this returns [`Delivered::Stored`] once it is durable.
    ///
    /// # Errors
    /// As there. Of one that was to be stored: `QuotaFull`, `NoSuchUser`, or `Offline` if the server has no store of
    /// messages.
    pub fn send_certainly_with(
        &self,
        to: To,
        info_type: u32,
        body: impl Into<Bytes>,
        options: CertainOptions,
    ) -> Result<Delivered, Failure> {
        run(self.0.server.send_certainly_with(to, info_type, body, options))
    }

    /// Asks one device of a user, and waits for the answer of its handler, 30 s at most.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn query(&self, to: To, info_type: u32, body: impl Into<Bytes>) -> Result<Bytes, Failure> {
        run(self.0.server.query(to, info_type, body))
    }

    /// Ends every login of a user.
    ///
    /// # Errors
    /// `Offline` if there is none.
    pub fn kick_out(&self, user: &UserId) -> Result<(), Failure> {
        self.0.server.kick_out(user)
    }

    /// Ends every login of a user that a credential of a version below `below` opened, as
    /// [`Accepted`](server::Accepted) told it: their password was changed, say, or they are no more.
    pub fn revoke(&self, user: &UserId, below: u64) {
        self.0.server.revoke(user, below);
    }

    /// Draws login numbers from `from` on and, as long as that is enough, below `below`. A server that keeps `below`
    /// durably and ahead of time, and starts its next life from it, never draws one twice, also when its clock steps
    /// back. Without this the clock counts.
    pub fn reserve_login_numbers(&self, from: u64, below: u64) {
        self.0.server.reserve_login_numbers(from, below);
    }

    /// Whether a user is online.
    #[must_use]
    pub fn is_online(&self, user: &UserId) -> bool {
        self.0.server.is_online(user)
    }

    /// What the server has counted and holds.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        self.0.server.stats()
    }

    /// The events of this server. There is one queue: two that look share what is in it. Nobody needs to look.
    #[must_use]
    pub fn events(&self) -> ServerEvents {
        ServerEvents(self.0.server.events())
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.server.fmt(f)
    }
}

/// Takes the events of a server. As an iterator it waits for each, and ends once the server was shut down and the last
/// one was taken. When nobody looked for a while, the oldest were dropped and `Err` says how many.
pub struct ServerEvents(server::ServerEvents);

impl Iterator for ServerEvents {
    type Item = Result<ServerEvent, Lagged>;

    fn next(&mut self) -> Option<Self::Item> {
        run(self.0.next())
    }
}

impl ServerEvents {
    /// The next event, waited for for `limit` at most; `None` once the server was shut down and the last one was taken.
    ///
    /// # Errors
    /// The time is over. Nothing is lost.
    pub fn next_within(&mut self, limit: Duration) -> Result<Option<Result<ServerEvent, Lagged>>, Elapsed> {
        run_within(limit, self.0.next())
    }
}
