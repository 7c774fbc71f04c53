use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use esf_proto::{close::CloseReason, failure::Failure, ids::UserId};
use futures_util::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::{
    admission::Limits,
    client::{Client as Engine, ClientBuilder, Config, ConnectError, Event, PreQuery},
    memory::{Duplex, duplex},
    runtime::BoxStream,
    server::{Decision, LoginRequest, Server, ServerBuilder, ServerEvent},
    testing::Virtual,
};

const FAR: &str = "192.0.2.1:1000";
const HERE: &str = "127.0.0.1:1000";

fn limits(connections: usize, logins: u32, pre_queries: u32) -> Admission {
    let limits = Limits {
        connections_per_address: connections,
        logins_per_address: logins,
        pre_queries_per_address: pre_queries,
        ..Limits::default()
    };
    Admission { limits, ..Admission::default() }
}

fn start(runtime: &Arc<Virtual>, admission: Admission) -> Server {
    let builder = ServerBuilder::new(runtime.clone()).open().admission(admission);
    builder.pre_query(async |_, body| Ok(body)).start().unwrap()
}

/// Asks for a WebSocket as a connection from `from`: the status, and the stream.
fn ask(runtime: &Arc<Virtual>, server: &Server, from: &str, fields: &str) -> (String, Duplex) {
    let (mut here, there) = duplex(1 << 16);
    server.serve_stream_from(Box::new(there), from.parse().unwrap());
    let request = format!(
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: esf.v1\r\n{fields}\r\n"
    );
    let mut status = [0; 12];
    runtime.block_on(async {
        here.write_all(request.as_bytes()).await.unwrap();
        here.read_exact(&mut status).await.unwrap();
    });
    (String::from_utf8_lossy(&status[9..]).into_owned(), here)
}

fn status(runtime: &Arc<Virtual>, server: &Server, from: &str, fields: &str) -> String {
    let (status, stream) = ask(runtime, server, from, fields);
    // It stays open for the rest of the test.
    std::mem::forget(stream);
    status
}

/// A client whose connections come from `from`.
fn engine(runtime: &Arc<Virtual>, server: &Server, name: &str, from: &str, pre_query: bool) -> ClientBuilder {
    let (server, from): (_, SocketAddr) = (server.clone(), from.parse().unwrap());
    let mut config = Config::new(UserId::parse(name, 64).unwrap());
    config.pre_query = pre_query.then(|| PreQuery { info_type: 1, body: "version?".into() });
    ClientBuilder::new(runtime.clone(), "ws://in.memory", config).connector(move || {
        let (here, there) = duplex(1 << 16);
        server.serve_stream_from(Box::new(there), from);
        std::future::ready(Ok(Box::new(here) as BoxStream))
    })
}

#[test]
fn an_address_has_as_many_connections_as_it_may_and_others_have_theirs() {
    let runtime = Virtual::new();
    let server = start(&runtime, limits(2, 0, 0));
    let (first, one) = ask(&runtime, &server, FAR, "");
    assert_eq!(first, "101");
    assert_eq!(status(&runtime, &server, "192.0.2.1:2000", ""), "101", "another port is the same address");
    assert_eq!(status(&runtime, &server, FAR, ""), "429");
    assert_eq!(status(&runtime, &server, "192.0.2.2:1000", ""), "101");
    assert_eq!(server.stats().counter("connections_refused_by_address"), 1);
    drop(one);
    runtime.run();
    assert_eq!(status(&runtime, &server, FAR, ""), "101", "whoever goes makes room");
    // What a stranger says of itself counts for nothing.
    assert_eq!(status(&runtime, &server, FAR, "X-Forwarded-For: 198.51.100.9\r\n"), "429");
}

#[test]
fn the_addresses_of_one_64_are_one() {
    let runtime = Virtual::new();
    let server = start(&runtime, limits(1, 0, 0));
    assert_eq!(status(&runtime, &server, "[2001:db8::1]:1", ""), "101");
    assert_eq!(status(&runtime, &server, "[2001:db8::2]:1", ""), "429");
    assert_eq!(status(&runtime, &server, "[2001:db8:0:1::1]:1", ""), "101");
}

#[test]
fn this_machine_is_not_limited_by_address() {
    let runtime = Virtual::new();
    let server = start(&runtime, limits(1, 1, 1));
    for from in [HERE, "[::1]:1", "127.1.2.3:1", "[::ffff:127.0.0.1]:1"] {
        for _ in 0..3 {
            assert_eq!(status(&runtime, &server, from, ""), "101", "{from}");
        }
    }
    for name in ["alice", "bob", "carol"] {
        assert!(runtime.block_on(engine(&runtime, &server, name, HERE, true).connect()).is_ok());
    }
}

#[test]
fn whom_a_trusted_proxy_brings_counts_for_his_own_address() {
    let runtime = Virtual::new();
    let admission = Admission { proxies: vec!["127.0.0.1".parse().unwrap()], ..limits(1, 0, 0) };
    let server = start(&runtime, admission);
    let brought = |address: &str| status(&runtime, &server, HERE, &format!("X-Forwarded-For: {address}\r\n"));
    assert_eq!(brought("192.0.2.1"), "101");
    assert_eq!(brought("192.0.2.1"), "429");
    assert_eq!(brought("192.0.2.2"), "101");
    assert_eq!(brought("192.0.2.3, 192.0.2.2"), "429", "what stands before is hearsay");
    assert_eq!(status(&runtime, &server, "[::1]:1", "X-Forwarded-For: 192.0.2.1\r\n"), "101", "that is no proxy");
    // It is known only when it asked, and a request that is none is answered as what it is.
    assert_eq!(
        status(&runtime, &server, HERE, "Origin: https://evil.example\r\nX-Forwarded-For: 192.0.2.1\r\n"),
        "403"
    );
    assert_eq!(server.stats().counter("connections_refused_by_address"), 2);
}

#[test]
fn a_proxy_that_names_nobody_is_the_client_itself() {
    let runtime = Virtual::new();
    let admission = Admission { proxies: vec!["192.0.2.0/24".parse().unwrap()], ..limits(1, 0, 0) };
    let server = start(&runtime, admission);
    assert_eq!(status(&runtime, &server, FAR, ""), "101");
    assert_eq!(status(&runtime, &server, FAR, "X-Forwarded-For: unknown\r\n"), "429");
    assert_eq!(server.stats().counter("proxies_silent"), 2);
}

#[test]
fn logins_of_one_address_come_at_their_pace() {
    let runtime = Virtual::new();
    let server = start(&runtime, limits(0, 2, 0));
    for name in ["alice", "bob"] {
        assert!(runtime.block_on(engine(&runtime, &server, name, FAR, false).connect()).is_ok());
    }
    let late = engine(&runtime, &server, "carol", FAR, false);
    let refused = runtime.block_on(late.connect());
    let Err(ConnectError::Unreachable { cause, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(cause, CloseReason::RateLimited.text());
    assert!(runtime.block_on(engine(&runtime, &server, "dave", "192.0.2.2:1", false).connect()).is_ok());
    assert_eq!(server.stats().counter("logins_too_often"), 1);
    assert_eq!(server.stats().counter("closed_rate_limited"), 1);

    // One that is patient comes in as soon as it may, and not much later.
    let patient = engine(&runtime, &server, "erin", FAR, false).start().unwrap();
    runtime.advance(Duration::from_secs(29));
    assert!(!patient.is_connected());
    runtime.advance(Duration::from_secs(16));
    assert!(patient.is_connected());
    assert!(server.stats().counter("logins_too_often") <= 3, "it waits as long as it was told");
}

#[test]
fn queries_before_login_of_one_address_come_at_their_pace() {
    let runtime = Virtual::new();
    let server = start(&runtime, limits(0, 0, 1));
    let alice: Engine = runtime.block_on(engine(&runtime, &server, "alice", FAR, true).connect()).unwrap();
    let asked = engine(&runtime, &server, "bob", FAR, true).start().unwrap();
    let mut events = asked.events();
    runtime.run();
    assert!(!asked.is_connected());
    assert_eq!(server.stats().counter("pre_queries_too_often"), 1);
    assert_eq!(server.stats().counter("closed_rate_limited"), 1);
    assert!(runtime.block_on(engine(&runtime, &server, "carol", FAR, false).connect()).is_ok(), "a login is no query");
    runtime.advance(Duration::from_secs(100));
    assert!(asked.is_connected());
    let answer = runtime.block_on(async {
        loop {
            if let Some(Event::PreReply { result, .. }) = events.next().await {
                return result;
            }
        }
    });
    assert_eq!(answer, Err(Failure::ConnectionLost), "it is asked once");
    drop(alice);
}

#[test]
fn what_is_admitted_can_change_while_it_runs() {
    let runtime = Virtual::new();
    let server = start(&runtime, limits(1, 0, 0));
    assert_eq!(status(&runtime, &server, FAR, ""), "101");
    assert_eq!(status(&runtime, &server, FAR, ""), "429");
    let page = "Origin: https://chat.example\r\n";
    assert_eq!(status(&runtime, &server, HERE, page), "403");
    let mut admission = server.admission();
    admission.limits.connections_per_address = 2;
    admission.origins.allow("https://chat.example");
    server.set_admission(admission.clone());
    assert_eq!(status(&runtime, &server, FAR, ""), "101");
    assert_eq!(status(&runtime, &server, FAR, ""), "429");
    assert_eq!(status(&runtime, &server, HERE, page), "101");
    // Whoever was refused is gone by then.
    runtime.advance(Duration::from_secs(2));
    assert_eq!(server.stats().connections, 3);
    admission.limits.connections = 2;
    server.set_admission(admission);
    assert_eq!(status(&runtime, &server, HERE, ""), "503");
    runtime.advance(Duration::from_secs(2));
    assert_eq!(server.stats().connections, 3, "those that are open stay");
}

#[test]
fn the_application_is_told_where_a_login_comes_from() {
    let runtime = Virtual::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let server = ServerBuilder::new(runtime.clone())
        .authenticator(move |login: LoginRequest| {
            log.lock().unwrap().push(login.address);
            std::future::ready(Decision::accept())
        })
        .start()
        .unwrap();
    let mut events = server.events();
    let alice = runtime.block_on(engine(&runtime, &server, "alice", "[::ffff:192.0.2.1]:7", false).connect()).unwrap();
    let from = Some("192.0.2.1".parse().unwrap());
    assert_eq!(*seen.lock().unwrap(), [from]);
    let Some(Ok(ServerEvent::Connected { address, .. })) = runtime.block_on(events.next()) else { panic!("no event") };
    assert_eq!(address, from);
    drop(alice);
}
