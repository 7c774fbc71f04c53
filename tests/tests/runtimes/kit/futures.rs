//! Runtimes whose calls are futures: all but their constructors is the same, since the handles are.

use std::{
    future::poll_fn,
    io,
    net::IpAddr,
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use esf_driver::{
    blob::{BlobChoice, BlobOffer, BlobStream, SendingBlob},
    blocking::Elapsed,
    client::{CallError, Client, ClientBuilder, Config, Cursor, Ended, WeakClient},
    handler::{Context, Handler, HandlerFailed},
    runtime::{BoxFuture, BoxStream},
    server::{
        Authenticator, Decision, Hooks, Intercepted, Interceptor, Judgement, LoginClaim, LoginRequest, Server,
        ServerBuilder, ServerEvent,
    },
};
use esf_proto::{
    close::CloseReason,
    failure::Failure,
    ids::{Engine, GroupId, Source, To, UserId},
};
use serde_json::{Value, json};

use super::{
    Host, PATIENCE, Peer, Pending, Runtime,
    calls::{call_client, call_server, look_at_client, look_at_server},
    inbox::{ASKS_BACK, BROKEN_OFF, FAILS, Inbox, NEVER, PANICS, STREAM_WAITS, WAITS},
    spec::{Blob, Call, ClientSpec, Elsewhere, Intercepts, ServerSpec, Verdict, group, user},
    words,
};

/// What differs between such runtimes.
pub(crate) trait Adapter: Copy + Send + Sync + 'static {
    fn client(self, url: &str, config: Config) -> ClientBuilder;
    fn server(self) -> ServerBuilder;
    fn block_on<T>(self, future: impl Future<Output = T>) -> T;
    fn spawn(self, task: BoxFuture<'static, ()>);
    fn sleep(self, time: Duration) -> BoxFuture<'static, ()>;
    /// A stream of the runtime's, as its users would make one.
    fn stream(self, stream: TcpStream) -> io::Result<BoxStream>;
    /// Sends a file as a blob.
    fn send_file(self, client: &Client, blob: &Blob, path: &str) -> BoxFuture<'static, io::Result<SendingBlob>>;
}

/// A client.
struct AsyncPeer<A> {
    adapter: A,
    client: Client,
}

/// A server.
struct AsyncHost<A> {
    adapter: A,
    server: Server,
}

impl<A: Adapter> Runtime for A {
    fn connect(&self, url: &str, spec: &ClientSpec, inbox: Arc<Inbox>) -> Result<Box<dyn Peer>, Value> {
        let adapter = *self;
        let mut builder = adapter.client(url, spec.config()).coalesce(spec.coalesce);
        if let Some(origin) = &spec.origin {
            builder = builder.origin(origin);
        }
        if spec.handles {
            builder = builder.handler_with(|client| Scripted { inbox, client });
        }
        if spec.elsewhere {
            let address = url.trim_start_matches("ws://").to_owned();
            builder = builder
                .connector(move || std::future::ready(TcpStream::connect(&address).and_then(|s| adapter.stream(s))));
        }
        let client = if spec.start {
            builder.start()
        } else if let Some(limit) = spec.give_up_ms {
            let limit = Duration::from_millis(limit);
            let connecting = async move { within(adapter, limit, builder.connect_patiently()).await };
            adapter.in_time(connecting)?.map_err(|_| json!("given up"))?
        } else if spec.patient {
            adapter.in_time(builder.connect_patiently())?
        } else {
            adapter.in_time(builder.connect())?
        };
        let client = client.map_err(|error| words::not_connected(&error))?;
        Ok(Box::new(AsyncPeer { adapter, client }))
    }

    fn serve(&self, address: Option<&str>, spec: &ServerSpec, inbox: Arc<Inbox>) -> Box<dyn Host> {
        let adapter = *self;
        let mut builder = adapter.server().configure(|config| spec.configure(config)).coalesce(spec.coalesce);
        if spec.authenticates {
            builder = builder.authenticator(Judge { spec: spec.clone(), judged: AtomicUsize::new(0) });
        }
        for origin in &spec.origins {
            builder = builder.allow_origin(origin);
        }
        if spec.pre_query {
            builder = builder.pre_query(async |info_type, body| match info_type {
                5 => Ok(Bytes::from([b"re: ", &body[..]].concat())),
                _ => Err(Failure::NotFound),
            });
        }
        if spec.hooks {
            builder = builder.hooks(Told(inbox.clone()));
        }
        if let Some(does) = spec.intercepts {
            builder = builder.interceptor(Censor { does });
        }
        if spec.handles {
            builder = builder.handler(Scripted { inbox, client: WeakClient::default() });
        }
        if let Some(store) = spec.store() {
            builder = builder.store(store);
        }
        if let Some(limit) = spec.handler_limit_ms {
            builder = builder.handler_limit(Duration::from_millis(limit));
        }
        if let Some(connections) = spec.max_connections {
            builder = builder.max_connections(connections);
        }
        let server = adapter.block_on(async {
            match address {
                Some(address) => builder.listen(address).await,
                None => builder.start(),
            }
        });
        Box::new(AsyncHost { adapter, server: server.expect("a server") })
    }
}

/// An authenticator as the scenario describes it.
struct Judge {
    spec: ServerSpec,
    judged: AtomicUsize,
}

impl Authenticator for Judge {
    async fn authenticate(&self, login: LoginRequest) -> Decision {
        match self.spec.judge(&login, self.judged.fetch_add(1, Ordering::SeqCst)) {
            Verdict::Accept(accepted) => Decision::Accept(accepted),
            Verdict::Refuse(cause) => Decision::refuse(cause),
            Verdict::Later => Decision::Later { retry_after: Duration::from_millis(20) },
            Verdict::Never => std::future::pending().await,
            Verdict::Panics => panic!("as the scenario wants"),
        }
    }

    fn ticket(&self, login: &LoginClaim, _: u64) -> Bytes {
        self.spec.ticket(&login.engine.user)
    }
}

/// Waits for `future` for `limit` at most, and drops it then.
async fn within<T>(adapter: impl Adapter, limit: Duration, future: impl Future<Output = T>) -> Result<T, Elapsed> {
    let (mut future, mut sleep) = (std::pin::pin!(future), adapter.sleep(limit));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Ok(value)),
        Poll::Pending => sleep.as_mut().poll(cx).map(|()| Err(Elapsed)),
    })
    .await
}

/// An interceptor as the scenario describes it.
struct Censor {
    does: Intercepts,
}

impl Interceptor for Censor {
    async fn intercept(&self, message: Intercepted) -> Judgement {
        if message.from.user.as_str() != "mallory" {
            return Judgement::Pass;
        }
        match self.does {
            Intercepts::Passes => Judgement::Pass,
            Intercepts::Refuses => Judgement::Refuse,
            Intercepts::Panics => panic!("as the scenario wants"),
            Intercepts::Never => std::future::pending().await,
        }
    }
}

/// Hooks that record what they hear.
struct Told(Arc<Inbox>);

impl Told {
    fn tell(&self, event: ServerEvent) {
        self.0.tell(words::server_event(Ok(event)));
    }
}

impl Hooks for Told {
    async fn connected(&self, engine: Engine, takes_messages: bool, address: Option<IpAddr>) {
        assert_ne!(engine.user.as_str(), "panics", "as the scenario wants");
        self.tell(ServerEvent::Connected { engine, takes_messages, address });
    }

    async fn disconnected(&self, engine: Engine, reason: CloseReason) {
        self.tell(ServerEvent::Disconnected { engine, reason });
    }

    async fn pushed_out(&self, engine: Engine, by: Engine) {
        self.tell(ServerEvent::PushedOut { engine, by });
    }

    async fn transmit_failed(&self, from: Source, to: To, info_type: u32, failure: Failure) {
        self.tell(ServerEvent::TransmitFailed { from, to, info_type, failure });
    }

    async fn broadcast_failed(&self, group: GroupId, from: Source, to: UserId, failure: Failure) {
        self.tell(ServerEvent::BroadcastFailed { group, from, to, failure });
    }
}

/// Waits that are given up.
struct Within<A>(A);

impl<A: Adapter> Within<A> {
    async fn settled(&self, client: &Client, limit: Duration) -> Result<Result<(), CallError>, Elapsed> {
        within(self.0, limit, client.settled()).await
    }

    async fn closed(&self, client: &Client, limit: Duration) -> Result<Ended, Elapsed> {
        within(self.0, limit, client.closed()).await
    }
}

/// What every such runtime does alike.
trait AdapterExt: Adapter {
    /// Waits, but not for ever: a scenario that hangs fails.
    fn in_time<T: Send + 'static>(self, future: impl Future<Output = T> + Send + 'static) -> Result<T, Value> {
        let (tell, outcome) = mpsc::channel();
        self.spawn(Box::pin(async move {
            let _ = tell.send(future.await);
        }));
        outcome.recv_timeout(PATIENCE).map_err(|error| json!({ "hangs": error.to_string() }))
    }

    /// Polls a future once, so that what it asks for is asked for, in the order in which the scenario says it.
    fn first_poll<T>(self, future: &mut BoxFuture<'static, T>) -> Poll<T> {
        self.block_on(poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))))
    }

    fn start(self, mut future: BoxFuture<'static, Value>) -> Pending {
        let (tell, pending) = Pending::new();
        match self.first_poll(&mut future) {
            Poll::Ready(value) => {
                let _ = tell.send(value);
            }
            Poll::Pending => self.spawn(Box::pin(async move {
                let _ = tell.send(future.await);
            })),
        }
        pending
    }
}

impl<A: Adapter> AdapterExt for A {}

impl<A: Adapter> AsyncPeer<A> {
    fn future(&self, call: &Call) -> BoxFuture<'static, Value> {
        let (adapter, client, call) = (self.adapter, self.client.clone(), call.clone());
        Box::pin(async move {
            let send_blob = async |client: &Client, blob: &Blob| send_blob(adapter, client, blob).await;
            call_client!(client, &call, send_blob, Within(adapter); .await)
        })
    }
}

impl<A: Adapter> Peer for AsyncPeer<A> {
    fn call(&self, call: &Call) -> Pending {
        self.adapter.start(self.future(call))
    }

    fn abandon(&self, call: &Call) {
        // Another thread may be so quick that it has its outcome already, which is as good.
        let _ = self.adapter.first_poll(&mut self.future(call));
    }

    fn event(&self) -> Value {
        let mut events = self.client.events();
        let next = async move { events.next().await.map_or(Value::Null, words::event) };
        self.adapter.in_time(next).unwrap_or_else(|_| json!("no event"))
    }

    fn look(&self) -> Value {
        look_at_client!(self.client)
    }
}

impl<A: Adapter> Host for AsyncHost<A> {
    fn call(&self, call: &Call) -> Pending {
        let (server, call) = (self.server.clone(), call.clone());
        self.adapter.start(Box::pin(async move { call_server!(server, &call; .await) }))
    }

    fn event(&self) -> Value {
        let mut events = self.server.events();
        let next = async move { events.next().await.map_or(Value::Null, words::server_event) };
        self.adapter.in_time(next).unwrap_or_else(|_| json!("no event"))
    }

    fn look(&self) -> Value {
        look_at_server!(self.server)
    }

    fn serve(&self, stream: TcpStream, what: Elsewhere) {
        let stream = self.adapter.stream(stream).expect("a stream");
        match what {
            Elsewhere::Stream => self.server.serve_stream(stream),
            Elsewhere::Websocket => self.server.serve_websocket(stream, Vec::new()),
        }
    }

    fn url(&self) -> String {
        format!("ws://{}", self.server.local_addr().expect("it listens"))
    }
}

async fn send_blob(adapter: impl Adapter, client: &Client, blob: &Blob) -> Value {
    let (to, body): (To, Bytes) = ((&blob.to).into(), (&blob.body).into());
    let sending = if blob.file {
        let file = super::file(&body);
        adapter.send_file(client, blob, &file.path).await.expect("a file")
    } else {
        let sent = match &blob.group {
            Some(id) => client.broadcast_blob(&group(id), blob.info_type, &blob.name, body),
            None => client.send_blob(to, blob.info_type, &blob.name, body),
        };
        match sent {
            Ok(sending) => sending,
            Err(error) => return words::refused(&error),
        }
    };
    if blob.cancel {
        let _ = sending.further_than(sending.progress()).await;
        sending.cancel();
    }
    match blob.give_up_ms.map(Duration::from_millis) {
        None => words::blob(sending.outcome().await),
        Some(limit) => words::waited(within(adapter, limit, sending.outcome()).await, words::blob),
    }
}

/// Does what the numbers of `inbox` say.
struct Scripted {
    inbox: Arc<Inbox>,
    client: WeakClient,
}

impl Scripted {
    async fn act(&self, what: &str, context: &Context, info_type: u32, body: &Bytes) {
        self.inbox.record(what, context, info_type, body);
        match info_type {
            PANICS => panic!("as the scenario wants"),
            NEVER => self.inbox.over.pass().await,
            WAITS => self.inbox.released.pass().await,
            ASKS_BACK => {
                let (Some(client), Some(user)) = (self.client.upgrade(), context.source.user().cloned()) else {
                    return;
                };
                let answer = client.query(To::User(user), 0, body.clone()).await;
                let answer = words::called(answer, |answer| words::body(&answer));
                self.inbox.tell(json!({ "what": "answer", "body": answer }));
            }
            _ => {}
        }
    }
}

impl Handler for Scripted {
    async fn information(&self, context: Context, info_type: u32, body: Bytes) {
        self.act("information", &context, info_type, &body).await;
    }

    async fn query(&self, context: Context, info_type: u32, body: Bytes) -> Result<Bytes, HandlerFailed> {
        self.act("query", &context, info_type, &body).await;
        if info_type == FAILS { Err(HandlerFailed) } else { Ok(body) }
    }

    async fn engine_message(&self, context: Context, info_type: u32, tag: Box<str>, body: Bytes) {
        self.act(&tag, &context, info_type, &body).await;
    }

    async fn broadcast(&self, context: Context, group: GroupId, info_type: u32, body: Bytes) {
        self.act(&format!("broadcast {group}"), &context, info_type, &body).await;
    }

    fn blob_offered(&self, _: &Context, offer: &BlobOffer) -> BlobChoice {
        Inbox::choose(offer)
    }

    async fn blob(&self, context: Context, info_type: u32, name: Box<str>, body: Bytes) {
        self.act(&format!("blob {name}"), &context, info_type, &body).await;
    }

    async fn blob_stream(&self, context: Context, mut stream: BlobStream) {
        let info_type = stream.offer().info_type;
        if info_type == STREAM_WAITS {
            self.inbox.record("stream begins", &context, info_type, &[]);
            self.inbox.released.pass().await;
        }
        let mut all = Vec::new();
        loop {
            match stream.next().await {
                Ok(Some(_)) if info_type == BROKEN_OFF => return stream.refuse(Failure::QuotaFull),
                Ok(Some(piece)) => all.extend_from_slice(&piece),
                Ok(None) => break,
                Err(error) => return self.inbox.tell(json!({ "what": "stream", "ended": words::name(error) })),
            }
        }
        stream.finish();
        self.inbox.record("stream", &context, info_type, &all);
    }
}
