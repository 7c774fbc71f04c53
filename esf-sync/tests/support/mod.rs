//! What the tests over real sockets share.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use esf_sync::{
    Bytes, Client, Config, Context, Event, Events, Handler, HandlerFailed, Server, ServerBuilder, To, UserId,
};

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
pub fn open_server() -> (Server, String) {
    listen(esf_sync::server().open())
}

pub fn listen(builder: ServerBuilder) -> (Server, String) {
    let server = builder.listen("127.0.0.1:0").expect("a free port");
    let url = url(&server);
    (server, url)
}

pub fn url(server: &Server) -> String {
    format!("ws://{}", server.local_addr().expect("an address"))
}

pub fn connect(url: &str, name: &str) -> Client {
    esf_sync::connect(url, config(name)).expect("logs in")
}

/// A client whose messages and queries go to the test.
pub fn listener(url: &str, name: &str) -> (Client, Receiver<Came>) {
    let (handler, inbox) = recorder();
    (esf_sync::client(url, config(name)).handler(handler).connect().expect("logs in"), inbox)
}

/// Fails the test if `call` takes longer than `limit`.
pub fn within<T: Send + 'static>(limit: Duration, call: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(call()));
    told.recv_timeout(limit).expect("in time")
}

/// Waits until `holds`.
pub fn until(mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "it never came about");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The next event that `wanted` takes; the others are skipped.
pub fn event<T>(events: &mut Events, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
    loop {
        let event = events.next_within(PATIENCE).expect("in time").expect("the event comes before the end");
        if let Some(found) = wanted(event) {
            return found;
        }
    }
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

/// Records what comes. The type number says what becomes of it.
#[derive(Clone)]
pub struct Recorder(mpsc::Sender<Came>);

/// A query whose handler fails.
pub const FAIL: u32 = 3;
/// Whose handler panics.
pub const PANIC: u32 = 2;

pub fn recorder() -> (Recorder, Receiver<Came>) {
    let (came, inbox) = mpsc::channel();
    (Recorder(came), inbox)
}

impl Recorder {
    fn record(&self, what: &str, context: &Context, info_type: u32, body: &Bytes) {
        let from = context.source.user().map_or("server".into(), ToString::to_string);
        let body = String::from_utf8_lossy(body).into_owned();
        // A test that has ended does not mind.
        let _ = self.0.send(Came { what: what.to_owned(), from, info_type, body, certain: context.id.is_some() });
        assert_ne!(info_type, PANIC, "as the test wants");
    }
}

impl Handler for Recorder {
    fn information(&self, context: Context, info_type: u32, body: Bytes) {
        self.record("information", &context, info_type, &body);
    }

    fn query(&self, context: Context, info_type: u32, body: Bytes) -> Result<Bytes, HandlerFailed> {
        self.record("query", &context, info_type, &body);
        if info_type == FAIL { Err(HandlerFailed) } else { Ok(body) }
    }

    fn engine_message(&self, context: Context, info_type: u32, tag: Box<str>, body: Bytes) {
        self.record(&tag, &context, info_type, &body);
    }
}

/// A relay of bytes before a server, which the test can stop: then it reads nothing from either side.
pub struct Stopper {
    pub url: String,
    stopped: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Stopper {
    pub fn before(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("ws://{}", listener.local_addr().expect("an address"));
        let target = server.local_addr().expect("an address");
        let stopped = std::sync::Arc::<std::sync::atomic::AtomicBool>::default();
        let flag = stopped.clone();
        thread::spawn(move || {
            for near in listener.incoming() {
                let (Ok(near), Ok(far)) = (near, TcpStream::connect(target)) else { return };
                let (near_too, far_too) = (near.try_clone().expect("a handle"), far.try_clone().expect("a handle"));
                let (one, other) = (flag.clone(), flag.clone());
                thread::spawn(move || carry(near, far, &one));
                thread::spawn(move || carry(far_too, near_too, &other));
            }
        });
        Self { url, stopped }
    }

    pub fn stop(&self, stopped: bool) {
        self.stopped.store(stopped, std::sync::atomic::Ordering::SeqCst);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, stopped: &std::sync::atomic::AtomicBool) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        while stopped.load(std::sync::atomic::Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(5));
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
    let _ = from.shutdown(std::net::Shutdown::Both);
}
