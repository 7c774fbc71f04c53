//! What the tests over real sockets share.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::{future::Future, time::Duration};

use esf_tokio::{
    Bytes, Client, Config, Context, Event, Events, Handler, HandlerFailed, Server, ServerBuilder, To, UserId,
};
use tokio::sync::mpsc;

/// How long anything may take. Nothing waits for it unless it fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn user(name: &str) -> UserId {
    UserId::parse(name, 64).expect("a name")
}

pub fn to(name: &str) -> To {
    To::User(user(name))
}

pub fn config(name: &str) -> Config {
    Config::new(user(name))
}

/// An open server on a free port, and its URL.
pub async fn open_server() -> (Server, String) {
    listen(esf_tokio::server().open()).await
}

pub async fn listen(builder: ServerBuilder) -> (Server, String) {
    let server = builder.listen("127.0.0.1:0").await.expect("a free port");
    let url = format!("ws://{}", server.local_addr().expect("an address"));
    (server, url)
}

pub async fn connect(url: &str, name: &str) -> Client {
    esf_tokio::connect(url, config(name)).await.expect("logs in")
}

/// A client whose messages and queries go to the test.
pub async fn listener(url: &str, name: &str) -> (Client, Inbox) {
    let (handler, inbox) = recorder();
    (esf_tokio::client(url, config(name)).handler(handler).connect().await.expect("logs in"), inbox)
}

/// Fails the test if `future` takes too long.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

/// Waits until `holds`.
pub async fn until(mut holds: impl FnMut() -> bool) {
    soon(async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// The next event that `wanted` takes; the others are skipped.
pub async fn event<T>(events: &mut Events, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
    soon(async {
        loop {
            let event = events.next().await.expect("the event comes before the end");
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    })
    .await
}

/// What a handler got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Came {
    /// `information`, `query`, or the tag.
    pub what: String,
    pub from: String,
    pub info_type: u32,
    pub body: String,
    pub certain: bool,
}

pub type Inbox = mpsc::UnboundedReceiver<Came>;

/// Records what comes. The type number of a query says what becomes of it.
#[derive(Clone)]
pub struct Recorder {
    came: mpsc::UnboundedSender<Came>,
}

/// A query that is answered with its body.
pub const ECHO: u32 = 0;
/// A query or message whose handler never returns.
pub const NEVER: u32 = 1;
/// A query or message whose handler panics.
pub const PANIC: u32 = 2;
/// A query whose handler fails.
pub const FAIL: u32 = 3;

pub fn recorder() -> (Recorder, Inbox) {
    let (came, inbox) = mpsc::unbounded_channel();
    (Recorder { came }, inbox)
}

impl Recorder {
    async fn record(&self, what: &str, context: &Context, info_type: u32, body: &Bytes) {
        let from = context.source.user().map_or("server".into(), ToString::to_string);
        let body = String::from_utf8_lossy(body).into_owned();
        let what = what.to_owned();
        let _ = self.came.send(Came { what, from, info_type, body, certain: context.id.is_some() });
        match info_type {
            NEVER => std::future::pending().await,
            PANIC => panic!("as the test wants"),
            _ => {}
        }
    }
}

impl Handler for Recorder {
    async fn information(&self, context: Context, info_type: u32, body: Bytes) {
        self.record("information", &context, info_type, &body).await;
    }

    async fn query(&self, context: Context, info_type: u32, body: Bytes) -> Result<Bytes, HandlerFailed> {
        self.record("query", &context, info_type, &body).await;
        if info_type == FAIL { Err(HandlerFailed) } else { Ok(body) }
    }

    async fn engine_message(&self, context: Context, info_type: u32, tag: Box<str>, body: Bytes) {
        self.record(&tag, &context, info_type, &body).await;
    }
}
