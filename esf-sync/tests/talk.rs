//! Every call of a client and a server on threads, over real sockets.

mod support;

use std::{sync::mpsc, thread, time::Duration};

use esf_sync::{
    Bytes, CallError, CloseReason, ConnectError, Credential, CredentialKind, Cursor, Decision, DeviceKind, Elapsed,
    Event, Failure, Handlers, LoginCode, LoginRequest, MessageOptions, Mode, PreQuery, Rights, SHUT_DOWN_GRACE,
    SendError, ServerEvent, State, To,
};
use support::*;

#[test]
fn messages_of_each_kind_arrive_and_queries_are_answered() {
    let (_server, url) = open_server();
    let alice = connect(&url, "alice");
    let (_bob, inbox) = listener(&url, "bob");
    alice.send(to("bob"), 7, "plain").unwrap();
    alice.send_certainly(to("bob"), 8, "certain").unwrap();
    alice.send_message(to("bob"), 9, "tagged", "tag", MessageOptions::default()).unwrap();
    let came: Vec<_> = (0..3).map(|_| inbox.recv_timeout(PATIENCE).unwrap()).collect();
    let seen: Vec<_> = came.iter().map(|came| (came.what.as_str(), came.info_type, came.body.as_str())).collect();
    assert_eq!(seen, [("information", 7, "plain"), ("information", 8, "certain"), ("tag", 9, "tagged")]);
    assert_eq!(came.iter().map(|came| came.certain).collect::<Vec<_>>(), [false, true, false]);
    assert!(came.iter().all(|came| came.from == "alice"));

    assert_eq!(alice.query(to("bob"), 0, "echo").unwrap(), "echo");
    let failed = alice.query(to("bob"), FAIL, "").unwrap_err();
    assert_eq!(failed, CallError::Failed(Failure::HandlerFailed));
    let panicked = alice.query(to("bob"), PANIC, "").unwrap_err();
    assert_eq!(panicked.failure(), Some(Failure::HandlerFailed));
    assert_eq!(alice.query(to("bob"), 0, "still there").unwrap(), "still there");
    assert_eq!(alice.query(to("nobody"), 0, "").unwrap_err().failure(), Some(Failure::Offline));
    alice.settled().unwrap();
    assert_eq!(alice.buffered_bytes(), 0);
}

#[test]
fn looks_and_requests() {
    let rights = Rights::LIST.with(Rights::KICK);
    let (server, url) = listen(esf_sync::server().authenticator(move |_: LoginRequest| Decision::accept_with(rights)));
    let alice = connect(&url, "alice");
    let bob = connect(&url, "bob");
    assert!(alice.is_connected() && alice.state() == State::Online);
    assert_eq!(alice.rights(), rights);
    assert_eq!(alice.protocol().as_deref(), Some("esf.v1"));
    assert!(alice.ping(To::Server).unwrap() < PATIENCE);
    assert!(alice.ping(to("bob")).unwrap() < PATIENCE);
    assert_eq!(alice.is_online(&[user("bob"), user("carol")]).unwrap(), [true, false]);
    assert_eq!(alice.my_devices().unwrap().len(), 1);
    let page = alice.online_users(Cursor::START).unwrap();
    assert_eq!(page.users.len(), 2);
    alice.kick_out(&user("bob")).unwrap();
    assert_eq!(bob.closed().reason, CloseReason::Kicked);
    until(|| !server.is_online(&user("bob")));
    assert_eq!(server.stats().online, 1);
    assert!(matches!(bob.send(to("alice"), 1, "late"), Err(SendError::Closed(_))));
}

#[test]
fn events_are_an_iterator_that_ends() {
    let (server, url) = open_server();
    let mut of_server = server.events();
    let alice = connect(&url, "alice");
    let mut events = alice.events();
    assert_eq!(events.next().map(|event| matches!(event, Event::LoginCompleted { mode: Mode::Fresh, .. })), Some(true));
    assert_eq!(events.next_within(Duration::from_millis(20)), Err(Elapsed), "nothing else happens");
    assert_eq!(events.next_within(Duration::ZERO), Err(Elapsed));
    let taken = thread::spawn(move || events.collect::<Vec<_>>());
    assert_eq!(alice.log_off().reason, CloseReason::LoggedOff);
    assert_eq!(taken.join().unwrap(), [Event::Closed { reason: CloseReason::LoggedOff }]);
    assert_eq!(alice.close_info().map(|info| (info.clean, info.code)), Some((true, Some(4011))));

    assert!(matches!(of_server.next(), Some(Ok(ServerEvent::Connected { .. }))));
    assert!(matches!(of_server.next_within(PATIENCE), Ok(Some(Ok(ServerEvent::Disconnected { .. })))));
    server.shut_down(Duration::ZERO);
    assert_eq!(of_server.count(), 0, "and it ends with the server");
}

#[test]
fn calls_have_their_time() {
    let (release, held) = mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let handler = Handlers::new().query(move |_, _, body| {
        let _ = held.lock().unwrap().recv();
        Ok(body)
    });
    let (_server, url) = listen(esf_sync::server().open().handler(handler));
    let alice = connect(&url, "alice");
    let timed_out = alice.query_within(To::Server, 1, "slow", Duration::from_millis(100)).unwrap_err();
    assert_eq!(timed_out.failure(), Some(Failure::TimedOut));
    release.send(()).unwrap();
    release.send(()).unwrap();
    assert_eq!(alice.query_within(To::Server, 1, "quick", PATIENCE).unwrap(), "quick");
    assert_eq!(alice.closed_within(Duration::from_millis(10)), Err(Elapsed));
    assert_eq!(alice.settled_within(PATIENCE), Ok(Ok(())));
}

#[test]
fn logins_are_decided_on_threads_and_a_refusal_is_an_error() {
    let authenticator = |login: LoginRequest| {
        if login.user.as_str() == "slow" {
            thread::sleep(Duration::from_millis(300));
        }
        match &login.credential[..] {
            b"secret" => Decision::accept(),
            _ => Decision::refuse("wrong name or password"),
        }
    };
    let pre_query = |info_type, body: Bytes| if info_type == 1 { Ok(body) } else { Err(Failure::NotAllowed) };
    let (_server, url) = listen(esf_sync::server().authenticator(authenticator).pre_query(pre_query));
    let with = |name: &str, password: &'static str| {
        let mut config = config(name);
        config.credential = Credential { kind: CredentialKind::Password, bytes: password.into() };
        config
    };
    let slow = with("slow", "secret");
    let other = url.clone();
    let slow = thread::spawn(move || esf_sync::connect(&other, slow).map(drop));
    let mut asks = with("alice", "secret");
    asks.pre_query = Some(PreQuery { info_type: 1, body: "before".into() });
    let alice = esf_sync::connect(&url, asks).unwrap();
    let answer = event(&mut alice.events(), |event| match event {
        Event::PreReply { result } => Some(result),
        _ => None,
    });
    assert_eq!(answer, Ok("before".into()));
    let refused = esf_sync::connect(&url, with("alice", "wrong")).map(drop).unwrap_err();
    let ConnectError::Refused { code, cause } = refused else { panic!("{refused}") };
    assert_eq!((code, cause.as_str()), (LoginCode::Failed, "wrong name or password"));
    slow.join().unwrap().unwrap();
}

#[test]
fn a_newer_login_pushes_the_older_out_and_devices_are_apart() {
    let (_server, url) = open_server();
    let old = connect(&url, "alice");
    let mut phone = config("alice");
    phone.device = DeviceKind::PHONE;
    let phone = esf_sync::connect(&url, phone).unwrap();
    let new = connect(&url, "alice");
    let mut events = old.events();
    event(&mut events, |event| (event == Event::BeingPushedOut).then_some(()));
    assert_eq!(old.closed().reason, CloseReason::PushedOut);
    assert_eq!(new.my_devices().unwrap().len(), 2);
    assert!(phone.is_connected());
}

#[test]
fn the_server_sends_and_asks() {
    let (server, url) = open_server();
    let (_alice, inbox) = listener(&url, "alice");
    server.send(to("alice"), 5, "plain").unwrap();
    server.send_certainly(to("alice"), 5, "certain").unwrap();
    assert_eq!(server.query(to("alice"), 0, "echo").unwrap(), "echo");
    assert_eq!(inbox.recv_timeout(PATIENCE).unwrap().from, "server");
    assert_eq!(server.send_certainly(to("nobody"), 5, ""), Err(Failure::Offline));
    server.kick_out(&user("alice")).unwrap();
}

#[test]
fn a_handler_may_ask_and_messages_of_one_source_come_in_order() {
    let (_server, url) = open_server();
    let alice = connect(&url, "alice");
    let (tell, told) = mpsc::channel();
    let bob = esf_sync::client(&url, config("bob")).handler_with(move |me| {
        Handlers::new()
            .information(move |_, number, _| {
                if number % 10 == 0 {
                    // It goes over the connection that brought the message.
                    me.upgrade().expect("the client is there").ping(To::Server).expect("the server is there");
                }
                tell.send(number).expect("the test waits");
            })
            .query(|_, _, body| Ok(body))
    });
    let bob = bob.connect().unwrap();
    for number in 0..100 {
        alice.send(to("bob"), number, "").unwrap();
    }
    let came: Vec<u32> = (0..100).map(|_| told.recv_timeout(PATIENCE).unwrap()).collect();
    assert!(came.is_sorted(), "{came:?}");
    assert_eq!(bob.stats().handlers_panicked, 0);
}

#[test]
fn a_client_comes_back_to_a_server_that_comes_back() {
    let (server, url) = open_server();
    let address = server.local_addr().unwrap();
    let mut settings = config("alice");
    settings.retry.base = Duration::from_millis(10);
    let alice = esf_sync::connect(&url, settings).unwrap();
    let mut events = alice.events();
    server.shut_down(Duration::ZERO);
    event(&mut events, |event| matches!(event, Event::ConnectionInterrupted { .. }).then_some(()));
    let (sent, waits) = (alice.clone(), mpsc::channel());
    thread::spawn(move || waits.0.send(sent.query(To::Server, 1, "later")));
    let echo = Handlers::new().query(|_, _, body| Ok(body));
    let _server = esf_sync::server().open().handler(echo).listen(&address.to_string()).unwrap();
    assert_eq!(waits.1.recv_timeout(PATIENCE).unwrap().unwrap(), "later");
    event(&mut events, |event| matches!(event, Event::RelogonCompleted { code: LoginCode::Succeed, .. }).then_some(()));
}

#[test]
fn nobody_there_is_an_error_at_once_or_when_the_patience_ends() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("ws://{unused}");
    let error = esf_sync::connect(&url, config("alice")).map(drop).unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    let patient = esf_sync::client(&url, config("alice")).connect_within(Duration::from_millis(300));
    assert_eq!(patient.map(|_| ()), Err(Elapsed));
    assert!(matches!(esf_sync::connect("http://x", config("alice")), Err(ConnectError::Url { .. })));
}

#[test]
fn a_plain_request_learns_why_it_is_refused() {
    use std::io::{Read as _, Write as _};
    let (server, _) = listen(esf_sync::server().open().max_connections(2));
    let ask = |request: &str| {
        let mut stream = std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 426 "));
    assert!(ask("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 404 "));
    assert!(ask("hello").starts_with("HTTP/1.1 400 "));
    until(|| server.stats().connections == 0);
    let held: Vec<_> = (0..2).map(|_| std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap()).collect();
    until(|| server.stats().connections == 2);
    assert!(ask("GET / HTTP/1.1\r\n").starts_with("HTTP/1.1 503 "));
    drop(held);
    until(|| server.stats().connections == 0);
}

#[test]
fn tokio_at_the_other_end_makes_no_difference() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (_server, url) = open_server();
    let (bob, inbox) = listener(&url, "bob");
    let (answer, arrived) = runtime.block_on(async {
        let alice = esf_tokio::connect(&url, config("alice")).await.unwrap();
        let arrived = alice.send_certainly(to("bob"), 1, "from tokio").await;
        (alice.query(to("bob"), 0, "echo").await.unwrap(), arrived)
    });
    assert_eq!((answer, arrived), ("echo".into(), Ok(())));
    let came = [inbox.recv_timeout(PATIENCE).unwrap().body, inbox.recv_timeout(PATIENCE).unwrap().body];
    assert!(came.iter().any(|body| body == "from tokio"), "{came:?}");
    bob.log_off();

    let echo = esf_tokio::Handlers::new().query(|_, _, body| async { Ok(body) });
    let server = runtime.block_on(async { esf_tokio::server().open().handler(echo).listen("127.0.0.1:0").await });
    let server = server.unwrap();
    let url = format!("ws://{}", server.local_addr().unwrap());
    let alice = connect(&url, "alice");
    let (_bob, inbox) = listener(&url, "bob");
    assert_eq!(alice.query(To::Server, 1, "echo").unwrap(), "echo");
    alice.send_certainly(to("bob"), 1, "over tokio").unwrap();
    assert_eq!(inbox.recv_timeout(PATIENCE).unwrap().body, "over tokio");
    runtime.block_on(server.shut_down(SHUT_DOWN_GRACE));
    assert!(!alice.is_connected());
}
