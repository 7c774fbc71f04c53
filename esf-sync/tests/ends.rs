//! Nothing that ends hangs: calls, closes and drops, whatever the other side and the handlers do.

mod support;

use std::{
    io::Write as _,
    net::{TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use esf_sync::{Bytes, CloseReason, Event, Failure, Handlers, SHUT_DOWN_GRACE, SendError, State, To};
use support::*;

/// How long a log-off may take when nobody answers: what is queued has 3 seconds, the answer to a close one.
const LOG_OFF: Duration = Duration::from_secs(8);

/// A port where connections are taken and nothing is ever said.
fn deaf() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    (listener, url)
}

#[test]
fn a_client_that_never_got_an_answer_is_closed_at_once() {
    let (_listener, url) = deaf();
    let client = esf_sync::client(&url, config("alice")).start().unwrap();
    thread::sleep(Duration::from_millis(50));
    assert_eq!(client.state(), State::Connecting);
    let began = Instant::now();
    let ended = within(LOG_OFF, move || (client.log_off(), client.events().last()));
    assert_eq!(ended.0.reason, CloseReason::LoggedOff);
    assert!(matches!(ended.1, Some(Event::Closed { .. })), "{:?}", ended.1);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[test]
fn a_client_whose_connecting_blocks_is_closed_at_once() {
    let (_release, held) = mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let client = esf_sync::client("ws://nowhere", config("alice"))
        .connector(move || {
            let _ = held.lock().unwrap().recv();
            Err(std::io::ErrorKind::TimedOut.into())
        })
        .start()
        .unwrap();
    thread::sleep(Duration::from_millis(20));
    let began = Instant::now();
    assert_eq!(within(LOG_OFF, move || client.log_off()).reason, CloseReason::LoggedOff);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[test]
fn a_log_off_does_not_wait_for_a_server_that_stopped() {
    let (server, _) = open_server();
    let stopper = Stopper::before(&server);
    let client = connect(&stopper.url, "alice");
    stopper.stop(true);
    let ended = within(LOG_OFF, move || client.log_off());
    assert_eq!(ended.reason, CloseReason::LoggedOff);
}

#[test]
fn nothing_waits_for_a_connection_that_is_full() {
    let (server, _) = open_server();
    let stopper = Stopper::before(&server);
    let client = connect(&stopper.url, "alice");
    let (_bob, _inbox) = listener(&url(&server), "bob");
    stopper.stop(true);
    // Until the client itself takes no more, which is long after the sockets are full.
    let body = Bytes::from(vec![7; 64 * 1024]);
    let mut sent = 0;
    let refused = loop {
        match client.send(To::Server, 1, body.clone()) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, SendError::Busy(_)), "{refused}");
    assert!(sent > 10);
    let began = Instant::now();
    let query = client.query_within(To::Server, 1, "", Duration::from_millis(300)).unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(5), "{query}");
    // The last handle goes while its thread blocks in writing.
    let mut events = client.events();
    let began = Instant::now();
    drop(client);
    assert!(began.elapsed() < Duration::from_secs(1), "a drop waits for nobody");
    let last = within(LOG_OFF, move || {
        let last = events.by_ref().last();
        (last, events.next())
    });
    assert_eq!(last, (Some(Event::Closed { reason: CloseReason::LoggedOff }), None));
}

#[test]
fn a_handler_that_blocks_holds_up_neither_others_nor_the_end() {
    let (_release, held) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    let held = std::sync::Mutex::new(held);
    let handler = Handlers::new()
        .information(move |_, _, _| {
            tell.send(()).unwrap();
            // For ever: the other end is held by the test.
            let _ = held.lock().unwrap().recv();
        })
        .query(|_, _, body| Ok(body));
    let (server, url) = open_server();
    let alice = connect(&url, "alice");
    let bob = esf_sync::client(&url, config("bob")).handler(handler).connect().unwrap();
    alice.send_certainly(to("bob"), 1, "blocks").unwrap();
    told.recv_timeout(PATIENCE).unwrap();
    alice.send_certainly(to("bob"), 1, "arrives all the same").unwrap();
    assert_eq!(alice.query(to("bob"), 1, "and is answered").unwrap(), "and is answered");
    assert_eq!(within(LOG_OFF, move || bob.log_off()).reason, CloseReason::LoggedOff);
    assert_eq!(alice.query(to("bob"), 1, "").unwrap_err().failure(), Some(Failure::Offline));
    let began = Instant::now();
    server.shut_down(SHUT_DOWN_GRACE);
    assert!(began.elapsed() < SHUT_DOWN_GRACE, "everybody left when asked");
}

#[test]
fn a_server_is_dropped_with_its_clients_connected() {
    let (server, url) = open_server();
    let mut settings = config("alice");
    settings.reconnect = false;
    let alice = esf_sync::connect(&url, settings).unwrap();
    let address = server.local_addr().unwrap();
    let mut of_server = server.events();
    let other = server.clone();
    drop(server);
    assert!(alice.ping(To::Server).is_ok(), "a clone of it lives on");
    let began = Instant::now();
    drop(other);
    assert!(began.elapsed() < Duration::from_secs(1), "a drop waits for nobody");
    let ended = alice.closed_within(PATIENCE).expect("the client hears of it");
    assert_ne!(ended.reason, CloseReason::LoggedOff);
    within(PATIENCE, move || while of_server.next().is_some() {});
    until(|| TcpStream::connect(address).is_err());
}

#[test]
fn a_shutdown_does_not_wait_for_those_who_stay() {
    let (server, url) = open_server();
    let address = server.local_addr().unwrap();
    let _alice = connect(&url, "alice");
    // One that said nothing, one in the middle of its request, and one that reads nothing.
    let _silent = TcpStream::connect(address).unwrap();
    let mut halfway = TcpStream::connect(address).unwrap();
    halfway.write_all(b"GET / HT").unwrap();
    let stopper = Stopper::before(&server);
    let _deaf = connect(&stopper.url, "deaf");
    stopper.stop(true);
    until(|| server.stats().connections == 4);
    let began = Instant::now();
    server.shut_down(Duration::from_secs(2));
    let took = began.elapsed();
    assert!(took < Duration::from_millis(2_900), "{took:?}");
    TcpListener::bind(address).expect("the address is free when it returns");
    server.shut_down(Duration::ZERO);
}

#[test]
fn who_says_nothing_is_dropped_in_time() {
    let (server, _) = listen(esf_sync::server().open().configure(|config| {
        config.login_timeout = Duration::from_millis(200);
    }));
    let mut silent = TcpStream::connect(server.local_addr().unwrap()).unwrap();
    silent.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    until(|| server.stats().counter("handshakes_timed_out") == 1);
    until(|| server.stats().connections == 0);
    assert_eq!(std::io::Read::read(&mut silent, &mut [0; 10]).unwrap_or(0), 0, "it is closed");
}

#[test]
fn a_call_ends_when_its_client_does() {
    let (_release, held) = mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let handler = Handlers::new().query(move |_, _, body| {
        let _ = held.lock().unwrap().recv();
        Ok(body)
    });
    let (_server, url) = listen(esf_sync::server().open().handler(handler));
    let alice = connect(&url, "alice");
    let asking = alice.clone();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(asking.query(To::Server, 1, "for ever")));
    thread::sleep(Duration::from_millis(50));
    alice.close();
    let outcome = told.recv_timeout(LOG_OFF).expect("in time").unwrap_err();
    assert_eq!(outcome.failure(), Some(Failure::ConnectionLost));
}
