//! The session that is cut: everything that a client and a server's application can ask of each other, on one connection.

use std::{
    collections::HashMap,
    fmt::Debug,
    future::poll_fn,
    sync::{Arc, Mutex, OnceLock},
    task::{Poll, Waker},
    time::Duration,
};

use esf_sync::Handlers;
use esf_tokio::{Bytes, Config, Context, Event, Handler, HandlerFailed, Mode, Retry, Server, To};

use crate::{Client, proxy::Proxy, user};

/// The body of a blob: little, since each byte of it costs a run.
const BLOB: [u8; 300] = [b'b'; 300];

/// What the server's application sends.
const PLAIN: &str = "plain of the server";
const CERTAIN: &str = "certain of the server";
const QUERY: &str = "query of the server";

/// What the server's application notes when its query is answered.
const ANSWER: &str = r#"query of the server: Ok(b"query of the server")"#;

/// What came, in its order, and whoever waits for it.
#[derive(Default)]
pub(crate) struct Log(Mutex<(Vec<String>, Vec<Waker>)>);

impl Log {
    fn note(&self, line: impl Into<String>) {
        let mut log = self.0.lock().expect("a log");
        log.0.push(line.into());
        log.1.drain(..).for_each(Waker::wake);
    }

    fn ended(&self, what: &str, outcome: &impl Debug) {
        self.note(format!("{what}: {outcome:?}"));
    }

    fn got(&self, name: &str, blob: &[u8]) {
        self.note(format!("blob {name}: {}", blob == BLOB));
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().expect("a log").0.clone()
    }

    /// Until a line like this one is there.
    async fn has(&self, line: &str) {
        poll_fn(|context| {
            let mut log = self.0.lock().expect("a log");
            if log.0.iter().any(|noted| noted == line) {
                return Poll::Ready(());
            }
            log.1.push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// The server's application: a log for each user. At the first message of a user it has something to say itself.
#[derive(Clone, Default)]
pub(crate) struct Application(Arc<Shared>);

#[derive(Default)]
struct Shared {
    logs: Mutex<HashMap<String, Arc<Log>>>,
    server: OnceLock<Serving>,
}

/// The server that it is the application of.
#[derive(Debug)]
pub(crate) enum Serving {
    Tasks(Server),
    Threads(esf_sync::Server),
}

impl Application {
    pub(crate) fn serve(&self, server: Serving) {
        assert!(self.0.server.set(server).is_ok(), "one server");
    }

    /// The same application, with handlers that block.
    pub(crate) fn blocking(&self) -> Handlers {
        let [one, two, three] = [0; 3].map(|_| self.clone());
        Handlers::new()
            .information(move |context, _, body| {
                let log = one.log(&context);
                log.note(text(&body));
                let Some(Serving::Threads(server)) = one.0.server.get().filter(|_| body == "plain 1") else { return };
                let to = To::User(context.source.user().expect("a user").clone());
                log.ended(PLAIN, &server.send(to.clone(), 1, PLAIN));
                log.ended(CERTAIN, &server.send_certainly(to.clone(), 1, CERTAIN));
                log.ended(QUERY, &server.query(to, 1, QUERY));
            })
            .query(move |context, _, body| {
                two.log(&context).note(text(&body));
                Ok(body)
            })
            .blob(move |context, _, name, body| three.log(&context).got(&name, &body))
    }

    fn log_of(&self, name: &str) -> Arc<Log> {
        self.0.logs.lock().expect("the logs").entry(name.to_owned()).or_default().clone()
    }

    fn log(&self, context: &Context) -> Arc<Log> {
        self.log_of(context.source.user().expect("a user").as_str())
    }
}

impl Handler for Application {
    async fn information(&self, context: Context, _: u32, body: Bytes) {
        let log = self.log(&context);
        log.note(text(&body));
        let Some(Serving::Tasks(server)) = self.0.server.get().filter(|_| body == "plain 1") else { return };
        let to = To::User(context.source.user().expect("a user").clone());
        log.ended(PLAIN, &server.send(to.clone(), 1, PLAIN));
        log.ended(CERTAIN, &server.send_certainly(to.clone(), 1, CERTAIN).await);
        log.ended(QUERY, &server.query(to, 1, QUERY).await);
    }

    async fn query(&self, context: Context, _: u32, body: Bytes) -> Result<Bytes, HandlerFailed> {
        self.log(&context).note(text(&body));
        Ok(body)
    }

    async fn blob(&self, context: Context, _: u32, name: Box<str>, body: Bytes) {
        self.log(&context).got(&name, &body);
    }
}

/// The client's application.
struct Receiver(Arc<Log>);

impl Handler for Receiver {
    async fn information(&self, _: Context, _: u32, body: Bytes) {
        self.0.note(text(&body));
    }

    async fn query(&self, _: Context, _: u32, body: Bytes) -> Result<Bytes, HandlerFailed> {
        self.0.note(text(&body));
        Ok(body)
    }

    async fn blob(&self, _: Context, _: u32, name: Box<str>, body: Bytes) {
        self.0.got(&name, &body);
    }
}

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}

/// One whole session of a user through the proxy, and everything that must be so whatever the proxy does.
pub(crate) async fn live(client: Client, application: &Application, proxy: &Proxy, name: &str) {
    let soon = Duration::from_millis(1);
    let retry = Retry { base: soon, cap_resume: soon, cap: soon };
    let config = Config { retry, ..Config::new(user(name)) };
    let (here, there) = (Arc::<Log>::default(), application.log_of(name));
    let builder = client(&proxy.url(), config).handler(Receiver(here.clone()));
    let client = builder.connect_patiently().await.expect("a login");
    let mut events = client.events();

    client.send(To::Server, 1, "plain 1").expect("room");
    let to_itself = client.send_certainly(To::User(user(name)), 1, "certain to itself");
    let to_server = client.send_certainly(To::Server, 1, "certain 2");
    let query = client.query(To::Server, 1, "query");
    let (to_itself, to_server, answer) = tokio::join!(to_itself, to_server, query);
    assert_eq!((to_itself, to_server, answer), (Ok(()), Ok(()), Ok("query".into())));
    for (to, name) in [(To::Server, "to the server"), (To::User(user(name)), "to itself")] {
        let blob = client.send_blob(to, 1, name, Bytes::from_static(&BLOB)).expect("room");
        assert_eq!(blob.outcome().await, Ok(()));
    }
    client.send(To::Server, 1, "plain 3").expect("room");
    there.has(ANSWER).await;
    client.settled().await.expect("the server has everything");
    here.has("blob to itself: true").await;
    let ended = client.log_off().await;
    // What the server has acknowledged or counted gets to its application, also when the client has gone.
    there.has("plain 3").await;
    there.has("blob to the server: true").await;

    assert_eq!(ended.reason, esf_tokio::CloseReason::LoggedOff);
    let mut interruptions = 0;
    while let Some(event) = events.next().await {
        match event {
            Event::ConnectionInterrupted { .. } => interruptions += 1,
            Event::RelogonCompleted { mode, .. } => assert_eq!(mode, Some(Mode::Resumed)),
            Event::Lagged(_) => panic!("events were lost"),
            _ => {}
        }
    }
    assert!(interruptions <= 1, "{interruptions} interruptions by one cut");
    // Messages come in their order, and so does what the server's application sends; queries and blobs go their own way.
    let mut there = there.lines();
    let apart = |lines: &mut Vec<String>, line: &str| {
        let place = lines.iter().position(|other| other == line);
        lines.remove(place.unwrap_or_else(|| panic!("{line} is not in {lines:?}")));
    };
    apart(&mut there, "query");
    apart(&mut there, "blob to the server: true");
    let outcomes = ["plain of the server: Ok(())", "certain of the server: Ok(())", ANSWER];
    assert_eq!(there, [&["plain 1"], &outcomes[..], &["certain 2", "plain 3"]].concat(), "at the server");
    let mut here = here.lines();
    for line in ["certain to itself", "query of the server", "blob to itself: true"] {
        apart(&mut here, line);
    }
    assert_eq!(here, ["plain of the server", "certain of the server"], "at the client");
}
