//! Plain threads: calls that block, so each that a scenario does not wait for has a thread.

use std::{
    io,
    net::IpAddr,
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use esf_driver::{
    blob::{BlobChoice, BlobOffer},
    client::{CallError, Cursor, Ended},
    handler::{Context, HandlerFailed},
    server::{Decision, Intercepted, Judgement, LoginClaim, LoginRequest, ServerEvent},
};
use esf_proto::{
    close::CloseReason,
    failure::Failure,
    ids::{Engine, GroupId, Source, To, UserId},
};
use esf_sync::{
    Authenticator, BlobFile, BlobStream, Client, Elapsed, Handler, Hooks, Interceptor, Server, Stream, Tcp, WeakClient,
};
use serde_json::{Value, json};

use super::{
    Host, PATIENCE, Peer, Pending, Runtime,
    calls::{call_client, call_server, look_at_client, look_at_server},
    inbox::{ASKS_BACK, BROKEN_OFF, FAILS, Inbox, NEVER, PANICS, STREAM_WAITS, WAITS},
    spec::{Blob, Call, ClientSpec, Elsewhere, Intercepts, ServerSpec, Verdict, group, user},
    words,
};

#[derive(Clone, Copy)]
pub(crate) struct Threads;

/// A client.
struct ThreadPeer {
    client: Client,
}

/// A server.
struct ThreadHost {
    server: Server,
}

fn stream(stream: TcpStream) -> io::Result<Arc<dyn Stream>> {
    Ok(Arc::new(Tcp::new(stream)?))
}

impl Runtime for Threads {
    fn connect(&self, url: &str, spec: &ClientSpec, inbox: Arc<Inbox>) -> Result<Box<dyn Peer>, Value> {
        let mut builder = esf_sync::client(url, spec.config()).coalesce(spec.coalesce);
        if let Some(origin) = &spec.origin {
            builder = builder.origin(origin);
        }
        if spec.handles {
            builder = builder.handler_with(|client| Scripted { inbox, client });
        }
        if spec.elsewhere {
            let address = url.trim_start_matches("ws://").to_owned();
            builder = builder.connector(move || stream(TcpStream::connect(&address)?));
        }
        let client = if spec.start {
            builder.start()
        } else if let Some(limit) = spec.give_up_ms {
            builder.connect_within(Duration::from_millis(limit)).map_err(|_| json!("given up"))?
        } else if spec.patient {
            builder.connect_within(PATIENCE).map_err(|elapsed| json!({ "hangs": elapsed.to_string() }))?
        } else {
            builder.connect()
        };
        let client = client.map_err(|error| words::not_connected(&error))?;
        Ok(Box::new(ThreadPeer { client }))
    }

    fn serve(&self, address: Option<&str>, spec: &ServerSpec, inbox: Arc<Inbox>) -> Box<dyn Host> {
        let mut builder = esf_sync::server().configure(|config| spec.configure(config)).coalesce(spec.coalesce);
        if spec.authenticates {
            let judged = AtomicUsize::new(0);
            builder = builder.authenticator(Judge { spec: spec.clone(), judged, inbox: inbox.clone() });
        }
        for origin in &spec.origins {
            builder = builder.allow_origin(origin);
        }
        if spec.pre_query {
            builder = builder.pre_query(|info_type, body| match info_type {
                5 => Ok(Bytes::from([b"re: ", &body[..]].concat())),
                _ => Err(Failure::NotFound),
            });
        }
        if spec.hooks {
            builder = builder.hooks(Told(inbox.clone()));
        }
        if let Some(does) = spec.intercepts {
            builder = builder.interceptor(Censor { does, inbox: inbox.clone() });
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
        let server = match address {
            Some(address) => builder.listen(address),
            None => builder.start(),
        };
        Box::new(ThreadHost { server: server.expect("a server") })
    }
}

/// An authenticator as the scenario describes it.
struct Judge {
    spec: ServerSpec,
    judged: AtomicUsize,
    inbox: Arc<Inbox>,
}

impl Authenticator for Judge {
    fn authenticate(&self, login: LoginRequest) -> Decision {
        match self.spec.judge(&login, self.judged.fetch_add(1, Ordering::SeqCst)) {
            Verdict::Accept(accepted) => Decision::Accept(accepted),
            Verdict::Refuse(cause) => Decision::refuse(cause),
            Verdict::Later => Decision::Later { retry_after: Duration::from_millis(20) },
            Verdict::Never => {
                self.inbox.over.wait();
                Decision::refuse("the scenario is over")
            }
            Verdict::Panics => panic!("as the scenario wants"),
        }
    }

    fn ticket(&self, login: &LoginClaim, _: u64) -> Bytes {
        self.spec.ticket(&login.engine.user)
    }
}

/// An interceptor as the scenario describes it.
struct Censor {
    does: Intercepts,
    inbox: Arc<Inbox>,
}

impl Interceptor for Censor {
    fn intercept(&self, message: Intercepted) -> Judgement {
        if message.from.user.as_str() != "mallory" {
            return Judgement::Pass;
        }
        match self.does {
            Intercepts::Passes => Judgement::Pass,
            Intercepts::Refuses => Judgement::Refuse,
            Intercepts::Panics => panic!("as the scenario wants"),
            Intercepts::Never => {
                self.inbox.over.wait();
                Judgement::Pass
            }
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
    fn connected(&self, engine: Engine, takes_messages: bool, address: Option<IpAddr>) {
        assert_ne!(engine.user.as_str(), "panics", "as the scenario wants");
        self.tell(ServerEvent::Connected { engine, takes_messages, address });
    }

    fn disconnected(&self, engine: Engine, reason: CloseReason) {
        self.tell(ServerEvent::Disconnected { engine, reason });
    }

    fn pushed_out(&self, engine: Engine, by: Engine) {
        self.tell(ServerEvent::PushedOut { engine, by });
    }

    fn transmit_failed(&self, from: Source, to: To, info_type: u32, failure: Failure) {
        self.tell(ServerEvent::TransmitFailed { from, to, info_type, failure });
    }

    fn broadcast_failed(&self, group: GroupId, from: Source, to: UserId, failure: Failure) {
        self.tell(ServerEvent::BroadcastFailed { group, from, to, failure });
    }
}

/// Waits that are given up.
struct Within;

impl Within {
    fn settled(&self, client: &Client, limit: Duration) -> Result<Result<(), CallError>, Elapsed> {
        client.settled_within(limit)
    }

    fn closed(&self, client: &Client, limit: Duration) -> Result<Ended, Elapsed> {
        client.closed_within(limit)
    }
}

/// Does `call` on a thread of its own.
fn start(call: impl FnOnce() -> Value + Send + 'static) -> Pending {
    let (tell, pending) = Pending::new();
    thread::spawn(move || tell.send(call()));
    pending
}

impl Peer for ThreadPeer {
    fn call(&self, call: &Call) -> Pending {
        let begun = || self.client.stats().session.operations;
        let before = begun();
        let waits = matches!(call, Call::Settled { .. } | Call::Closed { .. } | Call::LogOff | Call::Close);
        let (client, call) = (self.client.clone(), call.clone());
        let (tell, asked) = mpsc::channel();
        let pending = start(move || {
            let outcome = call_client!(client, &call, send_blob, Within;);
            // Before whoever waits for the outcome can see that the client is still held here.
            drop(client);
            let _ = tell.send(());
            outcome
        });
        // What a scenario does next must not overtake what it has just asked for. A wait shows nowhere until it is over.
        let limit = if waits { Duration::from_millis(50) } else { PATIENCE };
        let asking = Instant::now();
        while begun() == before && asking.elapsed() < limit {
            if asked.recv_timeout(Duration::from_millis(1)) != Err(mpsc::RecvTimeoutError::Timeout) {
                break;
            }
        }
        pending
    }

    fn abandon(&self, call: &Call) {
        drop(self.call(call));
    }

    fn event(&self) -> Value {
        let next = self.client.events().next_within(PATIENCE);
        next.map_or_else(|_| json!("no event"), |event| event.map_or(Value::Null, words::event))
    }

    fn look(&self) -> Value {
        look_at_client!(self.client)
    }
}

impl Host for ThreadHost {
    fn call(&self, call: &Call) -> Pending {
        let (server, call) = (self.server.clone(), call.clone());
        start(move || call_server!(server, &call;))
    }

    fn event(&self) -> Value {
        let next = self.server.events().next_within(PATIENCE);
        next.map_or_else(|_| json!("no event"), |event| event.map_or(Value::Null, words::server_event))
    }

    fn look(&self) -> Value {
        look_at_server!(self.server)
    }

    fn serve(&self, accepted: TcpStream, what: Elsewhere) {
        let stream = stream(accepted).expect("a stream");
        match what {
            Elsewhere::Stream => self.server.serve_stream(stream),
            Elsewhere::Websocket => self.server.serve_websocket(stream, Vec::new()),
        }
    }

    fn url(&self) -> String {
        format!("ws://{}", self.server.local_addr().expect("it listens"))
    }
}

fn send_blob(client: &Client, blob: &Blob) -> Value {
    let (to, body): (To, Bytes) = ((&blob.to).into(), (&blob.body).into());
    let sent = if blob.file {
        let file = super::file(&body);
        client.send_blob(to, blob.info_type, &blob.name, BlobFile::open(&file.path).expect("a file"))
    } else if let Some(id) = &blob.group {
        client.broadcast_blob(&group(id), blob.info_type, &blob.name, body)
    } else {
        client.send_blob(to, blob.info_type, &blob.name, body)
    };
    let sending = match sent {
        Ok(sending) => sending,
        Err(error) => return words::refused(&error),
    };
    if blob.cancel {
        let _ = sending.further_than(sending.progress());
        sending.cancel();
    }
    match blob.give_up_ms.map(Duration::from_millis) {
        None => words::blob(sending.outcome()),
        Some(limit) => words::waited(sending.outcome_within(limit), words::blob),
    }
}

/// Does what the numbers of `inbox` say.
struct Scripted {
    inbox: Arc<Inbox>,
    client: WeakClient,
}

impl Scripted {
    fn act(&self, what: &str, context: &Context, info_type: u32, body: &Bytes) {
        self.inbox.record(what, context, info_type, body);
        match info_type {
            PANICS => panic!("as the scenario wants"),
            NEVER => self.inbox.over.wait(),
            WAITS => self.inbox.released.wait(),
            ASKS_BACK => {
                let (Some(client), Some(user)) = (self.client.upgrade(), context.source.user().cloned()) else {
                    return;
                };
                let answer = client.query(To::User(user), 0, body.clone());
                let answer = words::called(answer, |answer| words::body(&answer));
                self.inbox.tell(json!({ "what": "answer", "body": answer }));
            }
            _ => {}
        }
    }
}

impl Handler for Scripted {
    fn information(&self, context: Context, info_type: u32, body: Bytes) {
        self.act("information", &context, info_type, &body);
    }

    fn query(&self, context: Context, info_type: u32, body: Bytes) -> Result<Bytes, HandlerFailed> {
        self.act("query", &context, info_type, &body);
        if info_type == FAILS { Err(HandlerFailed) } else { Ok(body) }
    }

    fn engine_message(&self, context: Context, info_type: u32, tag: Box<str>, body: Bytes) {
        self.act(&tag, &context, info_type, &body);
    }

    fn broadcast(&self, context: Context, group: GroupId, info_type: u32, body: Bytes) {
        self.act(&format!("broadcast {group}"), &context, info_type, &body);
    }

    fn blob_offered(&self, _: &Context, offer: &BlobOffer) -> BlobChoice {
        Inbox::choose(offer)
    }

    fn blob(&self, context: Context, info_type: u32, name: Box<str>, body: Bytes) {
        self.act(&format!("blob {name}"), &context, info_type, &body);
    }

    fn blob_stream(&self, context: Context, mut stream: BlobStream) {
        let info_type = stream.offer().info_type;
        if info_type == STREAM_WAITS {
            self.inbox.record("stream begins", &context, info_type, &[]);
            self.inbox.released.wait();
        }
        let mut all = Vec::new();
        loop {
            match stream.next() {
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
