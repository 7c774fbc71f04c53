//! Peers that do not behave, over real sockets: each is told why and counted, and those beside it notice nothing.

mod support;

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use esf_proto::{
    login::CredentialKind,
    wire::{Credential, Frame, Header, Login},
};
use esf_tokio::{
    CloseReason, DeviceKind, Event, Failure, InstanceId, SendError, SendOptions, Server, ServerBuilder, To,
};
use support::*;
use tokio::runtime::Runtime;
use tungstenite::{Message, WebSocket, client::IntoClientRequest as _, protocol::Role};

/// A server on a runtime of its own, with two clients who must not notice anything.
struct Scene {
    runtime: Runtime,
    server: Server,
    address: String,
    alice: esf_tokio::Client,
    bob: esf_tokio::Client,
}

impl Scene {
    fn new(configure: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let (server, address, alice, bob) = runtime.block_on(async {
            let (server, url) = listen(configure(esf_tokio::server().open())).await;
            let alice = connect(&url, "alice").await;
            let (bob, _) = listener(&url, "bob").await;
            (server, url.trim_start_matches("ws://").to_owned(), alice, bob)
        });
        Self { runtime, server, address, alice, bob }
    }

    /// A connection without a word on it yet.
    fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// A WebSocket before its login.
    fn websocket(&self) -> WebSocket<TcpStream> {
        let mut request = format!("ws://{}/", self.address).into_client_request().expect("a request");
        request.headers_mut().insert("Sec-WebSocket-Protocol", "esf.v1".parse().expect("a value"));
        tungstenite::client(request, self.tcp()).expect("a WebSocket").0
    }

    /// A WebSocket that is logged in as `name`.
    fn logged_in(&self, name: &str) -> WebSocket<TcpStream> {
        let mut websocket = self.websocket();
        websocket.send(login(name)).expect("sends");
        assert!(matches!(websocket.read(), Ok(Message::Binary(_))), "the welcome");
        websocket
    }

    fn counter(&self, name: &str) -> u64 {
        self.server.stats().counter(name)
    }

    fn until(&self, holds: impl FnMut() -> bool) {
        self.runtime.block_on(until(holds));
    }

    /// The two who were there from the start are still there, on their first connections.
    fn nobody_noticed(self) {
        self.runtime.block_on(async {
            assert_eq!(
                soon(self.alice.query(to("bob"), ECHO, "still there?")).await.as_deref(),
                Ok(&b"still there?"[..])
            );
            for client in [&self.alice, &self.bob] {
                assert_eq!(client.stats().session.connects, 1);
            }
            soon(self.server.shut_down(Duration::from_secs(5))).await;
        });
    }
}

fn login(name: &str) -> Message {
    let login = Login {
        instance: InstanceId(7),
        attempt: 1,
        interactive: true,
        takes_messages: true,
        device: DeviceKind::BROWSER,
        heartbeat_ms: 5000,
        login_number: 0,
        user: name,
        credential: Credential { kind: CredentialKind::None, bytes: &[] },
        system_token: &[],
        ticket: &[],
        resume: None,
    };
    Message::Binary(Frame::Login(login).to_bytes(Header::default()).expect("a frame"))
}

/// The close code that comes, after whatever else does.
fn close_code(websocket: &mut WebSocket<TcpStream>) -> Option<u16> {
    loop {
        match websocket.read() {
            Ok(Message::Close(frame)) => return frame.map(|frame| frame.code.into()),
            Ok(_) => {}
            Err(error) => panic!("no close came: {error}"),
        }
    }
}

/// What is answered to these bytes until the connection ends.
fn answer(mut stream: TcpStream, request: &[u8]) -> String {
    stream.write_all(request).expect("sends");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer, then the end");
    answer
}

const GOOD: &str = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: esf.v1\r\n";

#[test]
fn requests_that_are_refused_learn_why() {
    let scene = Scene::new(|server| server.allow_origin("https://chat.example"));
    let huge = format!("{GOOD}X: {}\r\n\r\n", "x".repeat(100_000));
    let evil = format!("{}Origin: https://evil.example\r\n\r\n", GOOD.replace("GET / ", "GET /nowhere "));
    let rows = [
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", "426 Upgrade Required", "requests_plain"),
        (&evil, "403 Forbidden", "requests_of_strange_origin"),
        ("GET /nowhere HTTP/1.1\r\n\r\n", "404 Not Found", "requests_not_found"),
        (&format!("{}\r\n", GOOD.replace("esf.v1", "esf.v9")), "400 Bad Request", "requests_bad"),
        (&huge, "431 Request Header Fields Too Large", "requests_too_large"),
        ("\x16\x03\x01\x02", "400 Bad Request", "requests_bad"),
    ];
    for (request, status, counter) in rows {
        let before = scene.counter(counter);
        let answer = answer(scene.tcp(), request.as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body);
        assert!(body.is_some_and(|body| body.len() > 10), "a line of text: {answer}");
        assert_eq!(scene.counter(counter), before + 1, "{counter}");
    }
    let allowed = format!("{GOOD}Origin: https://chat.example\r\n\r\n");
    let mut stream = scene.tcp();
    stream.write_all(allowed.as_bytes()).expect("sends");
    let mut line = [0; 12];
    stream.read_exact(&mut line).expect("an answer");
    assert_eq!(&line, b"HTTP/1.1 101");
    scene.nobody_noticed();
}

#[test]
fn a_handshake_may_come_in_single_bytes_but_not_for_ever() {
    let scene = Scene::new(|server| server.configure(|config| config.login_timeout = Duration::from_millis(700)));
    let mut stream = scene.tcp();
    stream.set_nodelay(true).expect("no delay");
    for byte in format!("{GOOD}\r\n").bytes() {
        stream.write_all(&[byte]).expect("sends");
    }
    let mut line = [0; 12];
    stream.read_exact(&mut line).expect("an answer");
    assert_eq!(&line, b"HTTP/1.1 101");

    let began = Instant::now();
    let endless = answer(scene.tcp(), b"GET / HTTP/1.1\r\nHost: ");
    assert_eq!(endless, "", "nobody waits for the rest");
    assert!(began.elapsed() < PATIENCE / 2);
    scene.until(|| scene.counter("handshakes_timed_out") == 1);
    scene.nobody_noticed();
}

#[test]
fn who_does_not_log_in_is_closed() {
    let scene = Scene::new(|server| server.configure(|config| config.login_timeout = Duration::from_millis(300)));
    assert_eq!(close_code(&mut scene.websocket()), Some(CloseReason::LoginTimeout.websocket_code()));
    assert_eq!(scene.counter("closed_login_timeout"), 1);
    scene.nobody_noticed();
}

#[test]
fn what_is_no_frame_closes_with_its_reason() {
    let scene = Scene::new(|server| server);
    let close = |message: Message| {
        let mut websocket = scene.websocket();
        websocket.send(message).expect("sends");
        close_code(&mut websocket)
    };
    let invalid = Some(CloseReason::InvalidMessage.websocket_code());
    assert_eq!(close(Message::text("hello")), invalid);
    assert_eq!(close(Message::binary(vec![0xff; 20])), Some(CloseReason::TooLarge.websocket_code()), "a lying length");
    assert_eq!(close(Message::binary(vec![])), invalid);
    let mut logged_in = scene.logged_in("mallory");
    logged_in.send(login("mallory")).expect("sends");
    assert_eq!(close_code(&mut logged_in), invalid, "a second login on the same link");

    let mut broken = scene.websocket();
    broken.get_mut().write_all(&[0xf2, 0x80, 0, 0, 0, 0]).expect("sends");
    assert!(broken.read().is_err(), "what is no WebSocket is dropped");
    scene.until(|| scene.counter("websocket_violations") == 1);
    scene.nobody_noticed();
}

#[test]
fn messages_that_are_too_large_are_told_so_before_and_after_login() {
    let scene = Scene::new(|server| server.configure(|config| config.max_frame = 16 * 1024));
    let mut before = scene.websocket();
    before.send(Message::binary(vec![0; 8193])).expect("sends");
    assert_eq!(close_code(&mut before), Some(4015));
    let mut after = scene.logged_in("mallory");
    after.send(Message::binary(vec![0; 16 * 1024 + 64 * 1024 + 1])).expect("sends");
    assert_eq!(close_code(&mut after), Some(4015));
    scene.until(|| scene.counter("messages_too_large") == 2);
    let too_large = scene.alice.send(to("bob"), 1, vec![0; 16 * 1024]);
    assert!(matches!(too_large, Err(SendError::TooLarge { body, .. }) if body.len() == 16 * 1024), "refused at home");
    scene.nobody_noticed();
}

/// More than the kernel takes for a connection whose other end does not read.
const LARGE: usize = 24 << 20;

/// A scene for frames of that size, with little patience for bytes that do not move.
fn large_scene() -> Scene {
    Scene::new(|server| {
        server.configure(|config| {
            config.max_frame = 32 << 20;
            config.overflow = Duration::from_millis(500);
            config.resume_window = Duration::from_millis(100);
        })
    })
}

#[test]
fn a_peer_that_stops_reading_is_closed_and_its_senders_are_told() {
    let scene = large_scene();
    let deaf = scene.logged_in("deaf");
    let mut events = scene.alice.events();
    for note in 1..=2 {
        let tell = SendOptions { tell: Some(note), ..SendOptions::default() };
        let to = To::Device(user("deaf"), DeviceKind::BROWSER);
        scene.alice.send_with(to, 1, vec![7; LARGE], tell).expect("taken");
        scene.runtime.block_on(soon(scene.alice.settled())).expect("the server has it");
    }
    let mut told = Vec::new();
    while told.len() < 2 {
        told.push(scene.runtime.block_on(event(&mut events, |event| match event {
            Event::Undeliverable { note, failure } => Some((note, failure)),
            _ => None,
        })));
    }
    told.sort_by_key(|(note, _)| *note);
    // The first was on its way, the second was never handed out.
    assert_eq!(told, [(1, Failure::ConnectionLost), (2, Failure::Offline)]);
    assert_eq!(scene.counter("closed_channel_overflow"), 1);
    scene.until(|| scene.server.stats().links == 2);
    drop(deaf);
    scene.nobody_noticed();
}

#[test]
fn a_peer_that_reads_slowly_is_kept() {
    let scene = large_scene();
    let mut slow = scene.logged_in("slow");
    scene.alice.send(to("slow"), 1, vec![7; LARGE]).expect("taken");
    // A little at a time, for longer than bytes that stand still would be borne.
    let began = Instant::now();
    let (mut total, mut buffer) = (0, vec![0; 128 * 1024]);
    while total < LARGE {
        total += slow.get_mut().read(&mut buffer).expect("it is still connected");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(began.elapsed() > Duration::from_millis(700));
    assert_eq!(scene.counter("closed_channel_overflow"), 0);
    scene.nobody_noticed();
}

#[test]
fn one_connection_too_many_is_told_to_come_later() {
    let scene = Scene::new(|server| server.max_connections(3));
    let third = scene.websocket();
    let fourth = answer(scene.tcp(), b"");
    assert!(fourth.starts_with("HTTP/1.1 503 "), "{fourth}");
    assert_eq!(scene.counter("connections_refused"), 1);
    // One that was upgraded elsewhere is past the 503: it is closed.
    let elsewhere = scene.runtime.block_on(async {
        let (mut here, there) = tokio::io::duplex(4096);
        scene.server.serve_websocket(esf_tokio::io(there), Vec::new());
        let mut answer = Vec::new();
        soon(tokio::io::AsyncReadExt::read_to_end(&mut here, &mut answer)).await.expect("an answer, then the end");
        answer
    });
    let code = CloseReason::ConnectionLimit.websocket_code().to_be_bytes();
    assert!(elsewhere.windows(4).any(|bytes| bytes[0] == 0x88 && bytes[2..] == code), "{elsewhere:?}");
    assert_eq!((scene.counter("connections_refused"), scene.counter("closed_connection_limit")), (2, 1));
    drop(third);
    scene.until(|| scene.server.stats().connections == 2);
    assert!(scene.websocket().can_write());
    scene.nobody_noticed();
}

#[test]
fn a_server_that_is_no_websocket_is_an_error_that_says_so() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("ws://{}", listener.local_addr().expect("an address"));
    let replies = ["SSH-2.0-OpenSSH_9.6\r\n", "HTTP/1.1 301 Moved\r\nContent-Length: 0\r\n\r\n", ""];
    let server = std::thread::spawn(move || -> io::Result<()> {
        for reply in replies {
            let (mut stream, _) = listener.accept()?;
            // The request first, so that nothing is unread and the reply is not lost in a reset.
            let _ = stream.read(&mut [0; 4096])?;
            stream.write_all(reply.as_bytes())?;
        }
        Ok(())
    });
    let runtime = Runtime::new().expect("a runtime");
    for words in ["no HTTP", "301 Moved", "end of file"] {
        let error = runtime.block_on(soon(esf_tokio::connect(&url, config("alice")))).expect_err("no server");
        assert!(error.to_string().contains(words), "{error}");
    }
    server.join().expect("the server ends").expect("no error");
}

#[test]
fn what_a_server_breaks_ends_the_connection_and_not_the_client() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("ws://{}", listener.local_addr().expect("an address"));
    let runtime = Runtime::new().expect("a runtime");
    let alice = runtime.block_on(async { esf_tokio::client(&url, config("alice")).start().expect("starts") });
    for _ in 0..2 {
        let (mut stream, _) = listener.accept().expect("the client comes back");
        let mut request = [0; 4096];
        let len = stream.read(&mut request).expect("a request");
        let request = String::from_utf8_lossy(&request[..len]).into_owned();
        let key = request.split("Sec-WebSocket-Key: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let accept = tungstenite::handshake::derive_accept_key(key.expect("a key").as_bytes());
        write!(
            stream,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Protocol: esf.v1\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        )
        .expect("sends");
        let mut websocket = WebSocket::from_raw_socket(stream, Role::Server, None);
        assert!(matches!(websocket.read(), Ok(Message::Binary(_))), "the login");
        // A frame with reserved bits.
        websocket.get_mut().write_all(&[0xf2, 0]).expect("sends");
    }
    runtime.block_on(until(|| alice.stats().links_violated == 2));
    assert!(!matches!(alice.state(), esf_tokio::State::Closed(_)));
    assert!(runtime.block_on(async { alice.send(To::Server, 1, "queued") }).is_ok());
}
