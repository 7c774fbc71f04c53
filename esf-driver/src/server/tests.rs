mod store;

use std::{
    collections::VecDeque,
    io,
    sync::{Mutex, atomic::AtomicU64},
    task::{Poll, Waker},
};

use bytes::Bytes;
use esf_proto::{close::CloseReason, ids::To, time::Instant};

use super::*;
use crate::{
    client::{Client, ClientBuilder, Config as ClientConfig},
    handler::{Context, Handlers},
    memory::duplex,
    runtime::{BoxStream, Listener},
    tasks::BoxFuture,
    testing::Virtual,
};

fn client(runtime: &Arc<Virtual>, server: &Server, name: &str) -> ClientBuilder {
    let server = server.clone();
    let config = ClientConfig::new(UserId::parse(name, 64).unwrap());
    ClientBuilder::new(runtime.clone(), "ws://in.memory", config).connector(move || {
        let (here, there) = duplex(1 << 16);
        server.serve_stream(Box::new(there));
        std::future::ready(Ok(Box::new(here) as BoxStream))
    })
}

type Lines = Arc<Mutex<Vec<Arc<Mutex<Option<crate::memory::Duplex>>>>>>;

/// A client whose connections the test can take away.
fn on_lines(runtime: &Arc<Virtual>, server: &Server, config: ClientConfig) -> (ClientBuilder, Lines) {
    let (server, lines) = (server.clone(), Lines::default());
    let kept = lines.clone();
    let builder = ClientBuilder::new(runtime.clone(), "ws://in.memory", config).connector(move || {
        let (here, there) = duplex(1 << 16);
        let here = Arc::new(Mutex::new(Some(here)));
        kept.lock().unwrap().push(here.clone());
        server.serve_stream(Box::new(there));
        std::future::ready(Ok(Box::new(Cut(here)) as BoxStream))
    });
    (builder, lines)
}

fn cut(lines: &Lines, nth: usize) {
    lines.lock().unwrap()[nth].lock().unwrap().take().expect("it was there");
}

fn connect(runtime: &Arc<Virtual>, server: &Server, name: &str) -> Client {
    runtime.block_on(client(runtime, server, name).connect()).unwrap()
}

/// A listener whose results are a script; then it waits for ever.
struct Script {
    results: VecDeque<io::Result<BoxStream>>,
    /// What to answer when the script is over, again and again.
    forever: Option<io::ErrorKind>,
    accepts: Arc<AtomicU64>,
}

const FROM: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

impl Listener for Script {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxStream, SocketAddr)>> {
        self.accepts.fetch_add(1, Ordering::SeqCst);
        let next = self.results.pop_front().or(self.forever.map(|kind| Err(kind.into())));
        match next {
            Some(result) => Box::pin(std::future::ready(result.map(|stream| (stream, FROM)))),
            None => Box::pin(std::future::pending()),
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(FROM)
    }
}

/// A listener to whom nobody comes, and who tells when it goes.
struct Lonely(Arc<AtomicBool>);

impl Listener for Lonely {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxStream, SocketAddr)>> {
        Box::pin(std::future::pending())
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(FROM)
    }
}

impl Drop for Lonely {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn what_a_server_listened_on_is_free_when_it_is_shut_down() -> io::Result<()> {
    let runtime = Virtual::new();
    let server = ServerBuilder::new(runtime.clone()).start()?;
    let gone = [Arc::default(), Arc::<AtomicBool>::default()];
    for gone in &gone {
        server.serve(Box::new(Lonely(gone.clone())))?;
    }
    runtime.block_on(server.shut_down(Duration::ZERO));
    assert!(gone.iter().all(|gone| gone.load(Ordering::SeqCst)));
    Ok(())
}

#[test]
fn errors_of_accept_are_waited_out_and_end_nothing() {
    let runtime = Virtual::new();
    let server = ServerBuilder::new(runtime.clone()).open().start().unwrap();
    let (here, there) = duplex(1 << 16);
    let full = || Err(io::Error::from_raw_os_error(24));
    let accepts = Arc::new(AtomicU64::new(0));
    let results =
        VecDeque::from([full(), full(), Err(io::ErrorKind::ConnectionAborted.into()), Ok(Box::new(there) as _)]);
    server.serve(Box::new(Script { results, forever: None, accepts: accepts.clone() })).unwrap();
    let config = ClientConfig::new(UserId::parse("alice", 64).unwrap());
    let here = Mutex::new(Some(here));
    let alice = ClientBuilder::new(runtime.clone(), "ws://in.memory", config).connector(move || {
        let stream = here.lock().unwrap().take().map(|here| Box::new(here) as BoxStream);
        std::future::ready(stream.ok_or_else(|| io::ErrorKind::ConnectionRefused.into()))
    });
    assert!(runtime.block_on(alice.connect()).is_ok());
    assert_eq!((accepts.load(Ordering::SeqCst), server.stats().counter("accept_errors")), (5, 2));
    assert_eq!(server.local_addr(), Some(FROM));
}

#[test]
fn a_system_that_cannot_accept_is_not_asked_without_end() {
    let runtime = Virtual::new();
    let server = ServerBuilder::new(runtime.clone()).open().start().unwrap();
    let accepts = Arc::new(AtomicU64::new(0));
    let forever = Some(io::ErrorKind::OutOfMemory);
    server.serve(Box::new(Script { results: VecDeque::new(), forever, accepts: accepts.clone() })).unwrap();
    runtime.advance(Duration::from_secs(60));
    let accepts = accepts.load(Ordering::SeqCst);
    assert!((50..80).contains(&accepts), "about once a second: {accepts} in a minute");
    runtime.block_on(server.shut_down(SHUT_DOWN_GRACE));
    runtime.advance(Duration::from_secs(2));
    assert_eq!(runtime.running(), 0, "the shutdown ends the listener and the housekeeping");
}

#[test]
fn connections_that_cannot_be_accepted_are_told_once_a_minute() {
    let mut log = shortage::RareLog::default();
    let at = |seconds: u64| Instant::from_micros(seconds * 1_000_000);
    assert_eq!(log.failed(at(5)), Some(1));
    assert_eq!((log.failed(at(6)), log.failed(at(64))), (None, None));
    assert_eq!(log.failed(at(65)), Some(3), "with how often it happened");
    assert_eq!(log.failed(at(66)), None);
}

/// Holds a handler until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<(bool, Vec<Waker>)>>);

impl Gate {
    fn open(&self) {
        let mut gate = self.0.lock().unwrap();
        gate.0 = true;
        gate.1.drain(..).for_each(Waker::wake);
    }

    async fn pass(&self) {
        std::future::poll_fn(|cx| {
            let mut gate = self.0.lock().unwrap();
            gate.1.push(cx.waker().clone());
            if gate.0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// A handler that notes the type of each message that got past the gate.
fn gated() -> (Gate, Arc<Mutex<Vec<u32>>>, Handlers) {
    let (gate, seen) = (Gate::default(), Arc::new(Mutex::new(Vec::new())));
    let (held, log) = (gate.clone(), seen.clone());
    let handler = Handlers::new().information(move |_: Context, info_type: u32, _: Bytes| {
        let (gate, log) = (held.clone(), log.clone());
        async move {
            gate.pass().await;
            log.lock().unwrap().push(info_type);
        }
    });
    (gate, seen, handler)
}

#[test]
fn the_order_of_messages_to_the_server_holds_across_links() {
    let runtime = Virtual::new();
    let (gate, seen, handler) = gated();
    let server = ServerBuilder::new(runtime.clone()).open().handler(handler).start().unwrap();
    let config = ClientConfig::new(UserId::parse("alice", 64).unwrap());
    let (builder, lines) = on_lines(&runtime, &server, config);
    let alice = runtime.block_on(builder.connect()).unwrap();
    for n in 0..10 {
        alice.send(To::Server, n, "").unwrap();
    }
    runtime.run();
    // The line breaks while the first message is being handled and the others wait.
    cut(&lines, 0);
    runtime.advance(Duration::from_secs(10));
    assert!(alice.is_connected());
    assert_eq!(lines.lock().unwrap().len(), 2);
    for n in 10..20 {
        alice.send(To::Server, n, "").unwrap();
    }
    runtime.run();
    assert!(seen.lock().unwrap().is_empty(), "one at a time, whichever link it came on");
    gate.open();
    runtime.run();
    assert_eq!(*seen.lock().unwrap(), (0..20).collect::<Vec<_>>());
    assert_eq!(server.0.dispatches().len(), 1);
    runtime.block_on(alice.log_off());
    runtime.advance(Duration::from_secs(5));
    assert!(server.0.dispatches().is_empty(), "nothing is kept of a session that is gone");
}

#[test]
fn what_a_busy_application_leaves_waits_without_waking_anybody() {
    let runtime = Virtual::new();
    let (gate, seen, handler) = gated();
    let server = ServerBuilder::new(runtime.clone()).open().handler(handler).start().unwrap();
    let alice = connect(&runtime, &server, "alice");
    let (mut sent, body) = (0, vec![0; 8 * 1024]);
    for _ in 0..6 {
        sent += (0..8).filter(|_| alice.send(To::Server, 1, body.clone()).is_ok()).count();
        // Panics if a task wakes itself for ever.
        runtime.run();
    }
    assert!(sent * 8 > 256, "more than waits for handlers: {sent}");
    gate.open();
    runtime.run();
    assert_eq!(seen.lock().unwrap().len(), sent);
}

#[test]
fn the_order_of_messages_to_the_server_holds_across_sessions() {
    let runtime = Virtual::new();
    let (gate, seen, handler) = gated();
    let server = ServerBuilder::new(runtime.clone()).open();
    let server = server.configure(|config| config.resume_window = Duration::from_millis(1));
    let server = server.handler(handler).start().unwrap();
    let config = ClientConfig::new(UserId::parse("alice", 64).unwrap());
    let (builder, lines) = on_lines(&runtime, &server, config);
    let alice = runtime.block_on(builder.connect()).unwrap();
    for session in 0..3 {
        for n in 0..10 {
            alice.send(To::Server, session * 10 + n, "").unwrap();
        }
        runtime.run();
        // The session is lost while its first message is being handled and the others wait.
        let last = lines.lock().unwrap().len() - 1;
        cut(&lines, last);
        runtime.advance(Duration::from_secs(10));
        assert!(alice.is_connected());
    }
    assert_eq!((alice.stats().session.logins, alice.stats().session.resumes), (4, 0), "each session was lost");
    assert!(seen.lock().unwrap().is_empty(), "one at a time, whichever session it came in");
    gate.open();
    runtime.run();
    assert_eq!(*seen.lock().unwrap(), (0..30).collect::<Vec<_>>());
    runtime.block_on(alice.log_off());
    runtime.advance(Duration::from_secs(5));
    assert!(server.0.dispatches().is_empty(), "nothing is kept of a session that is gone");
}

/// A stream that ends when the test takes it away. It is looked at again when something is sent to it or by its timers.
struct Cut(Arc<Mutex<Option<crate::memory::Duplex>>>);

impl Cut {
    fn with<T>(
        &self,
        act: impl FnOnce(std::pin::Pin<&mut crate::memory::Duplex>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match self.0.lock().unwrap().as_mut() {
            Some(stream) => act(std::pin::Pin::new(stream)),
            None => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }
}

impl futures_io::AsyncRead for Cut {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.with(|stream| stream.poll_read(cx, buffer))
    }
}

impl futures_io::AsyncWrite for Cut {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.with(|stream| stream.poll_write(cx, bytes))
    }

    fn poll_flush(self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_flush(cx))
    }

    fn poll_close(self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_close(cx))
    }
}

#[test]
fn too_many_logins_at_once_are_put_off_and_come_in_later() {
    let runtime = Virtual::new();
    let gate = Gate::default();
    let held = gate.clone();
    let server = ServerBuilder::new(runtime.clone())
        .authenticator(move |_: LoginRequest| {
            let gate = held.clone();
            async move {
                gate.pass().await;
                Decision::accept()
            }
        })
        .start()
        .unwrap();
    let clients: Vec<Client> =
        (0..DECISIONS + 5).map(|n| client(&runtime, &server, &format!("user{n}")).start().unwrap()).collect();
    runtime.run();
    assert_eq!(server.stats().counter("logins_put_off"), 5);
    gate.open();
    runtime.advance(Duration::from_secs(20));
    assert_eq!(clients.iter().filter(|client| client.is_connected()).count(), DECISIONS + 5);
    assert_eq!(server.0.state.decisions.load(Ordering::SeqCst), 0);
}

#[test]
fn a_session_without_a_link_ends_by_itself_and_the_application_hears_of_it() {
    let runtime = Virtual::new();
    let server = ServerBuilder::new(runtime.clone()).open().start().unwrap();
    let mut events = server.events();
    let mut config = ClientConfig::new(UserId::parse("alice", 64).unwrap());
    config.reconnect = false;
    let (builder, lines) = on_lines(&runtime, &server, config);
    let alice = runtime.block_on(builder.connect()).unwrap();
    let Some(Ok(ServerEvent::Connected { engine, .. })) = runtime.block_on(events.next()) else {
        panic!("the login is told")
    };
    assert_eq!(engine, alice.engine());
    cut(&lines, 0);
    runtime.advance(Duration::from_secs(59));
    assert!(server.is_online(&engine.user), "for the resume window");
    runtime.advance(Duration::from_secs(10));
    assert!(!server.is_online(&engine.user));
    let reason = CloseReason::NetworkInterrupted;
    assert_eq!(runtime.block_on(events.next()), Some(Ok(ServerEvent::Disconnected { engine, reason })));
    runtime.block_on(server.shut_down(Duration::ZERO));
    assert_eq!(runtime.block_on(events.next()), None);
}

#[test]
fn a_shutdown_asks_closes_and_comes_to_an_end() {
    let runtime = Virtual::new();
    let server = ServerBuilder::new(runtime.clone()).open().start().unwrap();
    let alice = connect(&runtime, &server, "alice");
    // A link that never logs in, and does not answer a close either.
    let (_deaf, there) = duplex(1 << 16);
    server.serve_websocket(Box::new(there), Vec::new());
    runtime.run();
    assert_eq!(server.stats().links, 2);
    let began = runtime.now();
    runtime.block_on(server.shut_down(SHUT_DOWN_GRACE));
    assert!(runtime.now().since(began) <= SHUT_DOWN_GRACE);
    runtime.run();
    assert_eq!((server.stats().links, server.stats().connections), (0, 0));
    assert!(!alice.is_connected());
    let (here, there) = duplex(1 << 16);
    server.serve_stream(Box::new(there));
    let mut answer = String::new();
    let mut here = here;
    let read = futures_util::AsyncReadExt::read_to_string(&mut here, &mut answer);
    runtime.block_on(read).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

#[test]
#[cfg(target_pointer_width = "64")]
fn what_a_connection_keeps_for_as_long_as_it_lasts_is_small() {
    let runtime = Virtual::new();
    let server = ServerBuilder::new(runtime).open().start().unwrap();
    let (here, _there) = duplex(1);
    let connection = server.0.clone().serve(Box::new(here), None);
    let future = size_of_val(&connection);
    assert!(future <= 256, "the future of a connection: {future} bytes");
    let link = size_of::<crate::link::RunningLink<ServerEndpoint>>();
    assert!(link <= 1024, "its link: {link} bytes");
}
