//! Connections that break, servers that stop, and applications that misbehave.

mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use esf_tokio::{
    Client, CloseReason, ConnectError, Decision, Event, LoginRequest, Mode, Retry, SHUT_DOWN_GRACE, State, To, UserId,
};
use support::*;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

type Test = Result<(), Box<dyn std::error::Error>>;

/// A TCP proxy whose connections the test cuts.
struct Proxy {
    url: String,
    cut: Arc<tokio::sync::Notify>,
}

impl Proxy {
    async fn start(url: &str) -> std::io::Result<Self> {
        let target = url.trim_start_matches("ws://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let proxy = Self { url: format!("ws://{}", listener.local_addr()?), cut: Arc::new(tokio::sync::Notify::new()) };
        let cut = proxy.cut.clone();
        tokio::spawn(async move {
            let mut running = JoinSet::new();
            loop {
                tokio::select! {
                    () = cut.notified() => running = JoinSet::new(),
                    accepted = listener.accept() => {
                        let Ok((mut here, _)) = accepted else { continue };
                        let target = target.clone();
                        running.spawn(async move {
                            let mut there = TcpStream::connect(target).await?;
                            tokio::io::copy_bidirectional(&mut here, &mut there).await
                        });
                    }
                }
            }
        });
        Ok(proxy)
    }

    /// Breaks every connection, without a word to either end.
    fn cut(&self) {
        self.cut.notify_one();
    }
}

/// A client that comes back at once.
async fn eager(url: &str, name: &str, handler: impl esf_tokio::Handler) -> Result<Client, ConnectError> {
    let mut config = config(name);
    let soon = Duration::from_millis(50);
    config.retry = Retry { base: Duration::from_millis(10), cap_resume: soon, cap: soon };
    esf_tokio::client(url, config).handler(handler).connect().await
}

#[tokio::test]
async fn cuts_lose_nothing_and_double_nothing() -> Test {
    let (server, url) = open_server().await;
    let (up, down) = (Proxy::start(&url).await?, Proxy::start(&url).await?);
    let (handler, mut inbox) = recorder();
    let alice = eager(&up.url, "alice", ()).await?;
    let bob = eager(&down.url, "bob", handler).await?;
    let mut certain = JoinSet::new();
    for n in 0..300 {
        alice.send(to("bob"), 7, format!("plain {n}"))?;
        let (alice, body) = (alice.clone(), format!("certain {n}"));
        certain.spawn(async move { alice.send_certainly(to("bob"), 7, body).await });
        tokio::task::yield_now().await;
        if n % 60 == 30 {
            if n % 120 == 30 {
                up.cut();
            } else {
                down.cut();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    while let Some(outcome) = soon(certain.join_next()).await {
        assert_eq!(outcome?, Ok(()));
    }
    soon(alice.settled()).await?;
    let mut came: Vec<String> = Vec::new();
    while came.len() < 600 {
        came.push(soon(inbox.recv()).await.ok_or("it comes")?.body);
    }
    let plain: Vec<String> = came.iter().filter(|body| body.starts_with("plain")).cloned().collect();
    assert_eq!(plain, (0..300).map(|n| format!("plain {n}")).collect::<Vec<_>>(), "each once, in order");
    came.sort();
    came.dedup();
    assert_eq!(came.len(), 600, "nothing twice");
    assert!(inbox.try_recv().is_err(), "and nothing after it");
    assert!(server.stats().counter("resumes") >= 2, "the connections were cut");
    assert_eq!(alice.stats().session.logins, alice.stats().session.resumes + 1, "and every one was resumed");
    drop(bob);
    Ok(())
}

#[tokio::test]
async fn a_cut_is_told_and_queries_outlive_it() -> Test {
    let (_server, url) = open_server().await;
    let proxy = Proxy::start(&url).await?;
    let (_bob, mut inbox) = listener(&url, "bob").await;
    let alice = eager(&proxy.url, "alice", ()).await?;
    let mut events = alice.events();
    proxy.cut();
    event(&mut events, |event| matches!(event, Event::ConnectionInterrupted { .. }).then_some(())).await;
    alice.send(to("bob"), 7, "said while away")?;
    event(&mut events, |event| (event == Event::ConnectionRebuildStart).then_some(())).await;
    let mode = event(&mut events, |event| match event {
        Event::RelogonCompleted { mode, .. } => Some(mode),
        _ => None,
    })
    .await;
    assert_eq!(mode, Some(Mode::Resumed));
    assert_eq!(soon(inbox.recv()).await.ok_or("it comes")?.body, "said while away");
    assert_eq!(soon(alice.query(to("bob"), ECHO, "?")).await?, "?");
    Ok(())
}

#[tokio::test]
async fn a_server_that_comes_back_finds_its_clients_again() -> Test {
    let (server, url) = open_server().await;
    let alice = eager(&url, "alice", ()).await?;
    let mut events = alice.events();
    let began = Instant::now();
    soon(server.shut_down(SHUT_DOWN_GRACE)).await;
    assert!(began.elapsed() < SHUT_DOWN_GRACE, "clients that leave are not waited for");
    assert_eq!(server.stats().links, 0);
    event(&mut events, |event| matches!(event, Event::GoAway { .. }).then_some(())).await;
    let address = url.trim_start_matches("ws://");
    let again = esf_tokio::server().open().listen(address).await?;
    let mode = event(&mut events, |event| match event {
        Event::RelogonCompleted { mode, .. } => Some(mode),
        _ => None,
    })
    .await;
    assert_eq!(mode, Some(Mode::Fresh));
    assert!(again.is_online(&UserId::parse("alice", 64)?));
    Ok(())
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_those_who_stay() -> Test {
    let (server, url) = open_server().await;
    // A peer that never reads a word: it cannot have heard that it should leave.
    let mut deaf = TcpStream::connect(url.trim_start_matches("ws://")).await?;
    let request = "GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: esf.v1\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut deaf, request.as_bytes()).await?;
    until(|| server.stats().links == 1).await;
    let began = Instant::now();
    soon(server.shut_down(Duration::from_millis(600))).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    until(|| server.stats().links == 0 && server.stats().connections == 0).await;
    assert!(matches!(esf_tokio::connect(&url, config("late")).await, Err(ConnectError::Unreachable { .. })));
    Ok(())
}

#[tokio::test]
async fn an_authenticator_that_never_answers_harms_nobody_else() -> Test {
    let stuck = async |login: LoginRequest| {
        if login.user.as_str() == "stuck" {
            std::future::pending::<()>().await;
        }
        Decision::accept()
    };
    let server =
        esf_tokio::server().authenticator(stuck).configure(|config| config.login_timeout = Duration::from_millis(400));
    let (server, url) = listen(server).await;
    let waiting = esf_tokio::client(&url, config("stuck")).start()?;
    let alice = connect(&url, "alice").await;
    until(|| server.stats().counter("closed_login_timeout") > 0).await;
    assert!(soon(alice.ping(To::Server)).await.is_ok());
    assert!(!matches!(waiting.state(), State::Online | State::Closed(_)), "it goes on trying: {:?}", waiting.state());
    Ok(())
}

#[tokio::test]
async fn handlers_that_never_return_are_dropped_in_time_and_harm_nobody() -> Test {
    let (handler, mut inbox) = recorder();
    let server = esf_tokio::server().open().handler(handler).handler_limit(Duration::from_millis(300));
    let (server, url) = listen(server).await;
    let (alice, bob) = (connect(&url, "alice").await, connect(&url, "bob").await);
    alice.send(To::Server, NEVER, "stuck")?;
    alice.send(To::Server, ECHO, "after it")?;
    bob.send(To::Server, ECHO, "meanwhile")?;
    let mut came = Vec::new();
    for _ in 0..3 {
        came.push(soon(inbox.recv()).await.ok_or("it comes")?.body);
    }
    assert_eq!(came[2], "after it", "its own source waits, others do not: {came:?}");
    assert_eq!(server.stats().counter("handlers_cut_off"), 1);
    assert!(alice.is_connected() && bob.is_connected());
    Ok(())
}

#[tokio::test]
async fn streams_from_elsewhere_are_served() -> Test {
    let server = esf_tokio::server().open().handler(recorder().0).start()?;
    let serving = server.clone();
    let alice = esf_tokio::client("ws://in.memory", config("alice"))
        .connector(move || {
            let (here, there) = tokio::io::duplex(4096);
            serving.serve_stream(esf_tokio::io(there));
            std::future::ready(Ok(esf_tokio::io(here)))
        })
        .connect()
        .await?;
    assert_eq!(soon(alice.query(To::Server, ECHO, "x".repeat(100_000))).await?.len(), 100_000);

    // One that was upgraded elsewhere: here, by the test.
    let (mut here, there) = tokio::io::duplex(4096);
    server.serve_websocket(esf_tokio::io(there), Vec::new());
    // A text message, masked with zeros, has no place here: close code 4001.
    tokio::io::AsyncWriteExt::write_all(&mut here, &[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']).await?;
    let mut answer = Vec::new();
    soon(tokio::io::AsyncReadExt::read_to_end(&mut here, &mut answer)).await?;
    assert!(answer.windows(4).any(|bytes| bytes[0] == 0x88 && bytes[2..] == 4001u16.to_be_bytes()), "{answer:?}");
    soon(alice.log_off()).await;
    soon(server.shut_down(SHUT_DOWN_GRACE)).await;
    Ok(())
}

#[tokio::test]
async fn a_client_that_may_not_reconnect_ends_with_its_connection() -> Test {
    let (_server, url) = open_server().await;
    let proxy = Proxy::start(&url).await?;
    let mut once = config("alice");
    once.reconnect = false;
    let alice = esf_tokio::connect(&proxy.url, once).await?;
    proxy.cut();
    assert_eq!(soon(alice.closed()).await.reason, CloseReason::NetworkInterrupted);
    Ok(())
}
