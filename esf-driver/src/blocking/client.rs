//! The handle of a client, with calls that block.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use esf_proto::{
    client::{Limits, State},
    ids::{Engine, GroupId, To, UserId},
    login::Rights,
};

use super::{
    Stream, Threads,
    blob::{BlobSource, Bridged, SendingBlob},
    dial::{Connect, dial},
    handler::{Handler, bridge},
    wait::{Elapsed, run, run_within},
};
use crate::{
    blob::BlobOptions,
    client::{
        self, CallError, CertainOptions, ClientStats, CloseInfo, Config, ConnectError, Cursor, Delivered, Device,
        Ended, Event, MessageOptions, OnlinePage, Plan, SendError, SendOptions,
    },
    dispatch::Gates,
};

/// Threads for messages and threads for queries, unless the application says otherwise.
const HANDLERS: usize = 16;

/// Builds a [`Client`]. An adapter gives one out with its threads.
#[must_use = "a client that is not started does nothing"]
pub struct ClientBuilder {
    plan: Plan,
    threads: Arc<dyn Threads>,
    connect: Option<Arc<Connect>>,
}

impl ClientBuilder {
    /// A client on `threads` for the server at `url`, such as `ws://127.0.0.1:4540`.
    pub fn new(threads: Arc<impl Threads>, url: &str, config: Config) -> Self {
        let plan = Plan { gates: Gates::of_threads(HANDLERS), ..Plan::new(threads.clone(), url, config) };
        Self { plan, threads, connect: None }
    }

    /// Handles what others send. Without a handler messages are dropped and queries fail.
    pub fn handler(self, handler: impl Handler) -> Self {
        self.handler_with(|_| handler)
    }

    /// Handles what others send with a handler that sends something itself. It gets a handle that does not keep the
    /// client alive.
    pub fn handler_with<H: Handler>(mut self, make: impl FnOnce(WeakClient) -> H + Send + 'static) -> Self {
        self.plan.handler = Box::new(|client| bridge(make(WeakClient(client)), None));
        self
    }

    /// How many handlers of messages run at the same time, how many of queries and how many of blobs, each on a thread; 16
    /// by default. Messages and queries beyond that wait, and their senders see `Busy` in the end; blobs are refused so.
    pub fn handler_threads(mut self, threads: usize) -> Self {
        self.plan.gates = Gates::of_threads(threads);
        self
    }

    /// Connects in a way of one's own, such as TLS or an in-memory connection, instead of by TCP. Called for every
    /// attempt, on a thread of its own.
    pub fn connector(mut self, connect: impl Fn() -> io::Result<Arc<dyn Stream>> + Send + Sync + 'static) -> Self {
        self.connect = Some(Arc::new(connect));
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
        let threads = self.threads;
        let tasks = self.plan.tasks.clone();
        let (client, dialer) = self.plan.start()?;
        let connect = self.connect.unwrap_or_else(|| {
            let (threads, host, port) = (threads.clone(), dialer.url().host().to_owned(), dialer.url().port());
            let limit = dialer.connect_timeout();
            Arc::new(move || threads.connect(&host, port, limit))
        });
        threads.spawn(Box::pin(async move { dial(&tasks, dialer, &connect) }));
        Ok(Client(client))
    }

    /// Starts the client and waits until it is logged in.
    ///
    /// # Errors
    /// The first attempt came to nothing, or the login was refused; the client has ended then.
    pub fn connect(self) -> Result<Client, ConnectError> {
        run(self.start()?.0.logged_in(false)).map(Client)
    }

    /// Starts the client and waits until it is logged in, for as long as the server cannot be reached.
    ///
    /// # Errors
    /// The login was refused; the client has ended then.
    pub fn connect_patiently(self) -> Result<Client, ConnectError> {
        run(self.start()?.0.logged_in(true)).map(Client)
    }

    /// The same, for `limit` at most.
    ///
    /// # Errors
    /// The time is over, and the client has ended; else as there.
    pub fn connect_within(self, limit: Duration) -> Result<Result<Client, ConnectError>, Elapsed> {
        match self.start() {
            Ok(client) => Ok(run_within(limit, client.0.logged_in(true))?.map(Client)),
            Err(error) => Ok(Err(error)),
        }
    }
}

/// A client: one user on one device, who stays logged in across connections until the client ends.
///
/// It is a handle: clones are the same client, on any thread. When the last one goes, the client logs off by itself, and
/// its threads end; nobody waits for that.
///
/// Commands queue, within a budget of bytes, while there is no connection. Calls that wait block their thread until
/// there is an outcome; each has one in time, whatever happens to the connection.
#[derive(Debug, Clone)]
pub struct Client(pub(super) client::Client);

/// A handle that does not keep its client alive: for a handler that sends.
#[derive(Debug, Clone, Default)]
pub struct WeakClient(client::WeakClient);

impl WeakClient {
    /// The client, while somebody else holds it.
    #[must_use]
    pub fn upgrade(&self) -> Option<Client> {
        self.0.upgrade().map(Client)
    }
}

impl Client {
    /// Sends without confirmation. Does not wait.
    ///
    /// # Errors
    /// It is not taken, and the error has the body.
    pub fn send(&self, to: To, info_type: u32, body: impl Into<Bytes>) -> Result<(), SendError> {
        self.0.send(to, info_type, body)
    }

    /// Sends without confirmation: whether it may be dropped, and whether to be told if it came to nothing.
    ///
    /// # Errors
    /// It is not taken, and the error has the body.
    pub fn send_with(
        &self,
        to: To,
        info_type: u32,
        body: impl Into<Bytes>,
        options: SendOptions,
    ) -> Result<(), SendError> {
        self.0.send_with(to, info_type, body, options)
    }

    /// Sends a message with a tag, which the other side's handler gets as an engine's message.
    ///
    /// # Errors
    /// It is not taken, and the error has the body.
    pub fn send_message(
        &self,
        to: To,
        info_type: u32,
        body: impl Into<Bytes>,
        tag: &str,
        options: MessageOptions,
    ) -> Result<(), SendError> {
        self.0.send_message(to, info_type, body, tag, options)
    }

    /// Sends with confirmation: when this returns, the receiving engine has the message, before its handler ran. It
    /// survives reconnects and runs at most once at each receiving engine.
    ///
    /// # Errors
    /// [`CallError::Refused`] has the body of what was not sent. Of the failures, `ConnectionLost` and `TimedOut` mean
    /// that it may have arrived.
    pub fn send_certainly(&self, to: To, info_type: u32, body: impl Into<Bytes>) -> Result<(), CallError> {
        run(self.0.send_certainly(to, info_type, body))
    }

    /// [`send_certainly`](Self::send_certainly) with a time to live of its own, 5 minutes at most.
    ///
    /// # Errors
    /// As there.
    pub fn send_certainly_within(
        &self,
        to: To,
        info_type: u32,
        body: impl Into<Bytes>,
        ttl: Duration,
    ) -> Result<(), CallError> {
        run(self.0.send_certainly_within(to, info_type, body, ttl))
    }

    /// [`send_certainly`](Self::send_certainly) as the options say: with
    /// [`store_if_offline`](CertainOptions::store_if_offline) the server keeps the message for a user who is offline, and
    /// delivers it at the next login. Then this returns [`Delivered::Stored`] once it is durable.
    ///
    /// # Errors
    /// As there. Of one that was to be stored: `QuotaFull`, `NoSuchUser`, or `Offline` if the server stores nothing.
    pub fn send_certainly_with(
        &self,
        to: To,
        info_type: u32,
        body: impl Into<Bytes>,
        options: CertainOptions,
    ) -> Result<Delivered, CallError> {
        run(self.0.send_certainly_with(to, info_type, body, options))
    }

    /// Asks the server's application or one device of a user, and waits for the answer of its handler.
    ///
    /// # Errors
    /// [`CallError::Refused`] has the body of what was not sent; `HandlerFailed` comes from the other side's handler.
    pub fn query(&self, to: To, info_type: u32, body: impl Into<Bytes>) -> Result<Bytes, CallError> {
        run(self.0.query(to, info_type, body))
    }

    /// [`query`](Self::query) with a time to live of its own, 5 minutes at most.
    ///
    /// # Errors
    /// As there.
    pub fn query_within(
        &self,
        to: To,
        info_type: u32,
        body: impl Into<Bytes>,
        ttl: Duration,
    ) -> Result<Bytes, CallError> {
        run(self.0.query_within(to, info_type, body, ttl))
    }

    /// The round trip to the server, or to a device of a user.
    ///
    /// # Errors
    /// `Offline` for a user who is not there; otherwise as [`query`](Self::query).
    pub fn ping(&self, to: To) -> Result<Duration, CallError> {
        run(self.0.ping(to))
    }

    /// Which of these users are online, at most 1,000 at once.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub fn is_online(&self, users: &[UserId]) -> Result<Vec<bool>, CallError> {
        run(self.0.is_online(users))
    }

    /// The devices that this user is logged in with, this one among them.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub fn my_devices(&self) -> Result<Vec<Device>, CallError> {
        run(self.0.my_devices())
    }

    /// A page of the users who are online. Needs the right to list.
    ///
    /// # Errors
    /// `NotAllowed` without the right; otherwise as [`query`](Self::query).
    pub fn online_users(&self, from: Cursor) -> Result<OnlinePage, CallError> {
        run(self.0.online_users(from))
    }

    /// Ends every login of a user. Needs the right to kick.
    ///
    /// # Errors
    /// `NotAllowed` without the right, `Offline` for a user who is not there; otherwise as [`query`](Self::query).
    pub fn kick_out(&self, user: &UserId) -> Result<(), CallError> {
        run(self.0.kick_out(user))
    }

    /// Sends a blob: bytes of any length, in fragments between everything else. `name` is for the receiver, who gets it
    /// as it is; it may be empty. Does not wait: the handle that this returns does.
    ///
    /// It goes on by itself, also across reconnects and restarts of the server, with a thread that reads the source.
    ///
    /// # Errors
    /// It is not taken: 8 blobs are under way already, the name has more than 1,024 bytes, or the client has ended.
    pub fn send_blob(
        &self,
        to: To,
        info_type: u32,
        name: &str,
        source: impl BlobSource,
    ) -> Result<SendingBlob, SendError> {
        self.send_blob_with(to, info_type, name, source, BlobOptions::default())
    }

    /// [`send_blob`](Self::send_blob) in fragments of a size of its own.
    ///
    /// # Errors
    /// As there.
    pub fn send_blob_with(
        &self,
        to: To,
        info_type: u32,
        name: &str,
        source: impl BlobSource,
        options: BlobOptions,
    ) -> Result<SendingBlob, SendError> {
        self.0.send_blob_with(to, info_type, name, Bridged(source), options).map(SendingBlob)
    }

    /// Sends a blob to the members of a group that are online, on 256 devices at most. Only a member may.
    ///
    /// All of them are sent it at once, as fast as the slowest takes it; one that makes no progress for 20 s is left out.
    /// It is done when everybody who is still there has it whole. Who missed it is told to the server's application. It
    /// fails as `NotAllowed` for whoever is no member, as `TooLarge` in a group with more devices online, and as the last
    /// member failed if nobody has it. In a group where nobody else is online it is done at once.
    ///
    /// # Errors
    /// As of [`send_blob`](Self::send_blob).
    pub fn broadcast_blob(
        &self,
        group: &GroupId,
        info_type: u32,
        name: &str,
        source: impl BlobSource,
    ) -> Result<SendingBlob, SendError> {
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
    ) -> Result<SendingBlob, SendError> {
        self.0.broadcast_blob_with(group, info_type, name, Bridged(source), options).map(SendingBlob)
    }

    /// Waits until the server has counted everything that was sent so far. A plain send has then left this client for
    /// good; whether it arrives is the server's business. It waits for as long as there is no connection.
    ///
    /// # Errors
    /// `ConnectionLost`: the client ended, or what was under way went down with its session and may have arrived.
    pub fn settled(&self) -> Result<(), CallError> {
        run(self.0.settled())
    }

    /// The same, for `limit` at most.
    ///
    /// # Errors
    /// The time is over.
    pub fn settled_within(&self, limit: Duration) -> Result<Result<(), CallError>, Elapsed> {
        run_within(limit, self.0.settled())
    }

    /// Logs off and waits until the server knows, a few seconds at most. What was queued and not sent is withdrawn: wait
    /// for [`settled`](Self::settled) before, if it matters.
    pub fn log_off(&self) -> Ended {
        run(self.0.log_off())
    }

    /// Logs off without waiting for it.
    pub fn close(&self) {
        self.0.close();
    }

    /// Waits until the client ended, for whatever reason.
    #[must_use]
    pub fn closed(&self) -> Ended {
        run(self.0.closed())
    }

    /// The same, for `limit` at most.
    ///
    /// # Errors
    /// The time is over.
    pub fn closed_within(&self, limit: Duration) -> Result<Ended, Elapsed> {
        run_within(limit, self.0.closed())
    }

    /// Where the client is.
    #[must_use]
    pub fn state(&self) -> State {
        self.0.state()
    }

    /// Whether the client is logged in over a connection that works, as far as it knows.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.0.is_connected()
    }

    /// This client as others see it.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.0.engine()
    }

    /// What the last login may do; nothing before the first.
    #[must_use]
    pub fn rights(&self) -> Rights {
        self.0.rights()
    }

    /// What the server allows; the protocol's defaults before the first login.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.0.limits()
    }

    /// Bytes of frames that wait to go out, or to be counted by the server.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.0.buffered_bytes()
    }

    /// The sub-protocol of the present connection.
    #[must_use]
    pub fn protocol(&self) -> Option<String> {
        self.0.protocol()
    }

    /// The WebSocket extensions of the present connection: none are offered, so none are in use.
    #[must_use]
    pub fn extensions(&self) -> &'static str {
        self.0.extensions()
    }

    /// How the last connection ended; `None` before one did.
    #[must_use]
    pub fn close_info(&self) -> Option<CloseInfo> {
        self.0.close_info()
    }

    /// What was counted since the start.
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        self.0.stats()
    }

    /// The events of this client, from the first on. There is one queue: two that look share what is in it. Nobody needs
    /// to look.
    #[must_use]
    pub fn events(&self) -> Events {
        Events(self.0.events())
    }

    /// A handle that does not keep the client alive.
    #[must_use]
    pub fn downgrade(&self) -> WeakClient {
        WeakClient(self.0.downgrade())
    }
}

/// Takes the events of a client. As an iterator it waits for each, and ends after [`Event::Closed`].
pub struct Events(client::Events);

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        run(self.0.next())
    }
}

impl Events {
    /// The next event, waited for for `limit` at most; `None` after [`Event::Closed`] was taken. With
    /// [`Duration::ZERO`] it does not wait.
    ///
    /// # Errors
    /// The time is over. Nothing is lost.
    pub fn next_within(&mut self, limit: Duration) -> Result<Option<Event>, Elapsed> {
        run_within(limit, self.0.next())
    }
}
