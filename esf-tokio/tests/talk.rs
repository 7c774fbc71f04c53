//! Two people and a server over real sockets: every call, and what becomes of it.

mod support;

use std::time::Duration;

use esf_tokio::{
    Bytes, CallError, CloseReason, ConnectError, Cursor, Decision, DeviceKind, Event, Failure, LoginCode, LoginRequest,
    MessageOptions, Mode, PreQuery, Rights, SendError, SendOptions, ServerEvent, State, To,
};
use support::*;

type Test = Result<(), Box<dyn std::error::Error>>;

const OFFLINE: Result<(), CallError> = Err(CallError::Failed(Failure::Offline));

#[tokio::test]
async fn certain_messages_arrive_in_order_and_one_to_nobody_fails() -> Test {
    let (_server, url) = open_server().await;
    let alice = connect(&url, "alice").await;
    let (_bob, mut inbox) = listener(&url, "bob").await;
    for n in 0..100 {
        soon(alice.send_certainly(to("bob"), 7, n.to_string())).await?;
    }
    for n in 0..100 {
        let came = soon(inbox.recv()).await.ok_or("it came")?;
        assert_eq!((came.body.as_str(), came.from.as_str(), came.info_type), (n.to_string().as_str(), "alice", 7));
        assert!(came.certain);
    }
    assert_eq!(soon(alice.send_certainly(to("nobody"), 7, "?")).await, OFFLINE);
    Ok(())
}

#[tokio::test]
async fn plain_messages_arrive_in_order_and_settle() -> Test {
    let (_server, url) = open_server().await;
    let alice = connect(&url, "alice").await;
    let (_bob, mut inbox) = listener(&url, "bob").await;
    for n in 0..1000 {
        alice.send(to("bob"), 7, n.to_string())?;
    }
    soon(alice.settled()).await?;
    assert_eq!(alice.buffered_bytes(), 0);
    for n in 0..1000 {
        assert_eq!(soon(inbox.recv()).await.ok_or("it came")?.body, n.to_string());
    }
    Ok(())
}

#[tokio::test]
async fn queries_are_answered_and_a_slow_one_blocks_nobody() -> Test {
    let (server, url) = listen(esf_tokio::server().open().handler(recorder().0)).await;
    let alice = connect(&url, "alice").await;
    let (bob, mut inbox) = listener(&url, "bob").await;
    let stuck = tokio::spawn({
        let alice = alice.clone();
        async move { alice.query_within(to("bob"), NEVER, "?", Duration::from_millis(300)).await }
    });
    assert_eq!(soon(inbox.recv()).await.ok_or("it came")?.info_type, NEVER);
    assert_eq!(soon(alice.query(to("bob"), ECHO, "hello")).await?, "hello");
    let failed = Err(CallError::Failed(Failure::HandlerFailed));
    assert_eq!(soon(alice.query(to("bob"), PANIC, "?")).await, failed);
    assert_eq!(soon(alice.query(to("bob"), FAIL, "?")).await, failed);
    assert_eq!(soon(bob.query(to("alice"), ECHO, "?")).await, failed, "nobody handles it");
    assert_eq!(soon(alice.query(To::Server, ECHO, "server?")).await?, "server?");
    assert_eq!(soon(alice.query(To::Server, PANIC, "?")).await, failed);
    assert_eq!(soon(alice.query(To::Server, ECHO, "still there?")).await?, "still there?");
    assert_eq!(soon(stuck).await?, Err(CallError::Failed(Failure::TimedOut)));
    assert_eq!((bob.stats().handlers_panicked, server.stats().counter("handlers_panicked")), (1, 1));
    Ok(())
}

#[tokio::test]
async fn messages_to_the_server_reach_its_handler_in_order() -> Test {
    let (handler, mut inbox) = recorder();
    let (_server, url) = listen(esf_tokio::server().open().handler(handler)).await;
    let alice = connect(&url, "alice").await;
    for n in 0..500 {
        alice.send(To::Server, 7, n.to_string())?;
    }
    soon(alice.send_certainly(To::Server, 8, "last")).await?;
    for n in 0..500 {
        assert_eq!(soon(inbox.recv()).await.ok_or("it came")?.body, n.to_string());
    }
    assert!(soon(inbox.recv()).await.ok_or("it came")?.certain);
    Ok(())
}

#[tokio::test]
async fn the_end_of_a_server_is_an_outcome_of_what_it_asked() -> Test {
    let (server, url) = open_server().await;
    let (_bob, mut inbox) = listener(&url, "bob").await;
    assert_eq!(soon(server.query(to("bob"), FAIL, "?")).await, Err(Failure::HandlerFailed));
    let pending = tokio::spawn({
        let server = server.clone();
        async move { server.query(to("bob"), NEVER, "?").await }
    });
    for info_type in [FAIL, NEVER] {
        assert_eq!(soon(inbox.recv()).await.ok_or("it came")?.info_type, info_type);
    }
    soon(server.shut_down(Duration::ZERO)).await;
    assert_eq!(soon(pending).await?, Err(Failure::ConnectionLost));
    // Bob's session is still kept, but nobody is left to hear of an outcome.
    assert!(soon(server.query(to("bob"), ECHO, "?")).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_dropped_future_cancels_nothing() -> Test {
    let (_server, url) = open_server().await;
    let alice = connect(&url, "alice").await;
    let (_bob, mut inbox) = listener(&url, "bob").await;
    {
        let mut certain = Box::pin(alice.send_certainly(to("bob"), 7, "certain"));
        let mut query = Box::pin(alice.query(to("bob"), ECHO, "query"));
        assert!(futures_util::poll!(&mut certain).is_pending());
        assert!(futures_util::poll!(&mut query).is_pending());
    }
    let mut came = [soon(inbox.recv()).await.ok_or("it came")?.body, soon(inbox.recv()).await.ok_or("it came")?.body];
    came.sort();
    assert_eq!(came, ["certain", "query"]);
    assert_eq!(soon(alice.query(to("bob"), ECHO, "next")).await?, "next");
    Ok(())
}

#[tokio::test]
async fn engine_messages_carry_their_tag_and_echo_to_own_devices() -> Test {
    let (_server, url) = open_server().await;
    let alice = connect(&url, "alice").await;
    let (handler, mut own) = recorder();
    let mut phone = config("alice");
    phone.device = DeviceKind::PHONE;
    let _phone = esf_tokio::client(&url, phone).handler(handler).connect().await?;
    let (_bob, mut inbox) = listener(&url, "bob").await;
    alice.send_message(to("bob"), 7, "hi", "greeting", MessageOptions { echo: true, ..MessageOptions::default() })?;
    for inbox in [&mut inbox, &mut own] {
        let came = soon(inbox.recv()).await.ok_or("it came")?;
        assert_eq!((came.what.as_str(), came.body.as_str(), came.from.as_str()), ("greeting", "hi", "alice"));
    }
    Ok(())
}

#[tokio::test]
async fn who_asks_is_told_of_a_plain_send_that_went_nowhere() -> Test {
    let (server, url) = open_server().await;
    let alice = connect(&url, "alice").await;
    let (mut events, mut server_events) = (alice.events(), server.events());
    alice.send_with(to("nobody"), 7, "?", SendOptions { tell: Some(42), ..SendOptions::default() })?;
    let told = event(&mut events, |event| match event {
        Event::Undeliverable { note, failure } => Some((note, failure)),
        _ => None,
    })
    .await;
    assert_eq!(told, (42, Failure::Offline));
    loop {
        let event = soon(server_events.next()).await.ok_or("the event comes")??;
        if let ServerEvent::TransmitFailed { info_type, failure, .. } = event {
            assert_eq!((info_type, failure), (7, Failure::Offline));
            return Ok(());
        }
    }
}

#[tokio::test]
async fn pings_lists_and_kicks() -> Test {
    let admins = async |login: LoginRequest| {
        let rights = if login.user.as_str() == "admin" { Rights::KICK.with(Rights::LIST) } else { Rights::NONE };
        Decision::accept_with(rights)
    };
    let (server, url) = listen(esf_tokio::server().authenticator(admins)).await;
    let (admin, bob) = (connect(&url, "admin").await, connect(&url, "bob").await);
    let not_allowed = CallError::Failed(Failure::NotAllowed);
    assert!(soon(bob.ping(To::Server)).await? < PATIENCE);
    assert!(soon(bob.ping(to("admin"))).await? < PATIENCE);
    assert_eq!(soon(bob.ping(to("nobody"))).await, Err(CallError::Failed(Failure::Offline)));
    assert_eq!(soon(bob.is_online(&[user("admin"), user("nobody")])).await?, [true, false]);
    let devices = soon(bob.my_devices()).await?;
    assert_eq!(devices.len(), 1);
    assert_eq!((devices[0].instance, devices[0].connected), (bob.engine().instance, true));
    assert_eq!(soon(bob.online_users(Cursor::START)).await, Err(not_allowed.clone()));
    let page = soon(admin.online_users(Cursor::START)).await?;
    let mut names: Vec<&str> = page.users.iter().map(|online| online.user.as_str()).collect();
    names.sort_unstable();
    assert_eq!((names, page.next), (vec!["admin", "bob"], None));
    assert_eq!(soon(bob.kick_out(&user("admin"))).await, Err(not_allowed));
    assert_eq!((admin.rights().contains(Rights::KICK), bob.rights()), (true, Rights::NONE));

    let mut events = bob.events();
    soon(admin.kick_out(&user("bob"))).await?;
    event(&mut events, |event| (event == Event::BeingKickedOut).then_some(())).await;
    assert_eq!(soon(bob.closed()).await.reason, CloseReason::Kicked);
    assert_eq!(soon(events.next()).await, Some(Event::Closed { reason: CloseReason::Kicked }));
    assert_eq!(soon(events.next()).await, None, "nothing comes after it");
    assert!(!server.is_online(&user("bob")) && server.is_online(&user("admin")));
    server.kick_out(&user("admin"))?;
    assert_eq!(soon(admin.closed()).await.reason, CloseReason::Kicked);
    assert!(matches!(admin.send(to("bob"), 1, "late"), Err(SendError::Closed(body)) if body == "late"));
    Ok(())
}

#[tokio::test]
async fn a_second_login_pushes_the_first_out_for_good() -> Test {
    let (server, url) = open_server().await;
    let first = connect(&url, "alice").await;
    let mut events = first.events();
    let second = connect(&url, "alice").await;
    event(&mut events, |event| (event == Event::BeingPushedOut).then_some(())).await;
    assert_eq!(soon(first.closed()).await.reason, CloseReason::PushedOut);
    until(|| first.close_info().is_some_and(|info| info.code == Some(4004))).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(second.is_connected(), "the older one does not come back");
    assert_eq!(server.stats().counter("logins"), 2);
    Ok(())
}

#[tokio::test]
async fn logins_are_the_applications_to_decide() -> Test {
    let (_server, url) = listen(esf_tokio::server()).await;
    let refused = esf_tokio::connect(&url, config("alice")).await;
    assert!(matches!(refused, Err(ConnectError::Refused { code: LoginCode::Failed, .. })), "nobody by default");

    let decide = async |login: LoginRequest| match login.user.as_str() {
        "alice" if login.credential == "secret" => Decision::accept(),
        "panic" => panic!("as the test wants"),
        _ => Decision::refuse("wrong name or password"),
    };
    let (server, url) = listen(esf_tokio::server().authenticator(decide)).await;
    let mut wrong = config("alice");
    wrong.credential.bytes = Bytes::from_static(b"guess");
    let mut right = wrong.clone();
    right.credential.bytes = Bytes::from_static(b"secret");
    let Err(ConnectError::Refused { code, cause }) = soon(esf_tokio::connect(&url, wrong)).await else {
        panic!("refused")
    };
    assert_eq!((code, cause.as_str()), (LoginCode::Failed, "wrong name or password"));
    let panics = esf_tokio::client(&url, config("panic")).start()?;
    until(|| server.stats().counter("authenticators_panicked") > 0).await;
    assert_eq!(soon(esf_tokio::connect(&url, right)).await?.state(), State::Online, "others are not harmed");
    assert!(!matches!(panics.state(), State::Closed(_)), "it is told to come back");
    Ok(())
}

#[tokio::test]
async fn a_question_before_the_login_is_answered() -> Test {
    let server = esf_tokio::server().open().pre_query(|info_type, body| async move {
        if info_type == 5 {
            Ok(Bytes::from(format!("re: {}", String::from_utf8_lossy(&body))))
        } else {
            Err(Failure::NotFound)
        }
    });
    let (_server, url) = listen(server).await;
    for (info_type, expected) in [(5, Ok(Bytes::from("re: version?"))), (6, Err(Failure::NotFound))] {
        let mut config = config("alice");
        config.pre_query = Some(PreQuery { info_type, body: "version?".into() });
        let alice = soon(esf_tokio::connect(&url, config)).await?;
        let result = event(&mut alice.events(), |event| match event {
            Event::PreReply { result } => Some(result),
            _ => None,
        })
        .await;
        assert_eq!(result, expected);
        soon(alice.log_off()).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_client_tells_about_its_connection() -> Test {
    let (server, url) = open_server().await;
    let alice = connect(&url, "alice").await;
    assert_eq!((alice.protocol().as_deref(), alice.extensions()), (Some("esf.v1"), ""));
    assert_eq!((alice.state(), alice.close_info()), (State::Online, None));
    assert_eq!(alice.limits().max_frame, 1 << 20);
    let first = soon(alice.events().next()).await;
    assert_eq!(first, Some(Event::LoginCompleted { mode: Mode::Fresh, rights: Rights::NONE }));
    assert_eq!(soon(alice.log_off()).await.reason, CloseReason::LoggedOff);
    let info = alice.close_info().ok_or("a connection has ended")?;
    assert!(info.clean, "both ends said so: {info:?}");
    assert_eq!((alice.protocol(), info.code), (None, Some(4011)));
    until(|| server.stats().links == 0 && server.stats().online == 0).await;
    Ok(())
}

#[tokio::test]
async fn the_last_handle_logs_off() -> Test {
    let (server, url) = open_server().await;
    let (alice, _inbox) = listener(&url, "alice").await;
    let (weak, clone) = (alice.downgrade(), alice.clone());
    drop(alice);
    assert!(weak.upgrade().is_some_and(|alice| alice.is_connected()));
    drop(clone);
    assert!(weak.upgrade().is_none());
    until(|| !server.is_online(&user("alice"))).await;
    Ok(())
}

#[tokio::test]
async fn a_handler_may_send_through_its_own_client() -> Test {
    use esf_tokio::{Context, Handlers};
    let (_server, url) = open_server().await;
    let (alice, mut inbox) = listener(&url, "alice").await;
    let _bob = esf_tokio::client(&url, config("bob"))
        .handler_with(|bob| {
            Handlers::new().information(move |context: Context, info_type, body| {
                let bob = bob.clone();
                async move {
                    let (Some(bob), Some(asker)) = (bob.upgrade(), context.source.user().cloned()) else { return };
                    bob.query(To::User(asker), info_type, body).await.expect("alice answers");
                }
            })
        })
        .connect()
        .await?;
    alice.send(to("bob"), ECHO, "and back")?;
    let came = soon(inbox.recv()).await.ok_or("it came")?;
    assert_eq!((came.what.as_str(), came.body.as_str(), came.from.as_str()), ("query", "and back", "bob"));
    Ok(())
}

#[tokio::test]
async fn events_that_nobody_reads_harm_nobody() -> Test {
    let (_server, url) = open_server().await;
    let alice = connect(&url, "alice").await;
    let told = |note| SendOptions { tell: Some(note), ..SendOptions::default() };
    for note in 1..=1500 {
        alice.send_with(to("nobody"), 7, "?", told(note))?;
    }
    soon(alice.settled()).await?;
    assert_eq!(soon(alice.is_online(&[user("alice")])).await?, [true], "the client goes on");
    let mut events = alice.events();
    let Some(Event::Lagged(lost)) = soon(events.next()).await else { panic!("the loss is told") };
    assert!(lost >= 1500 + 1 - 1024, "{lost} of 1,501");
    let next = soon(events.next()).await;
    assert!(matches!(next, Some(Event::Undeliverable { note, .. }) if note == lost), "the first was the login");
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_or_waited_for() -> Test {
    let (server, url) = open_server().await;
    server.shut_down(Duration::ZERO).await;
    let error = soon(esf_tokio::connect(&url, config("alice"))).await.expect_err("nobody is there");
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    let bad = esf_tokio::client("http://localhost", config("alice")).start().expect_err("no such scheme");
    assert!(bad.to_string().contains("ws://"), "{bad}");

    let patient = tokio::spawn(esf_tokio::client(&url, config("alice")).connect_patiently());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!patient.is_finished());
    let address = url.strip_prefix("ws://").ok_or("a URL")?;
    let _again = esf_tokio::server().open().listen(address).await?;
    assert!(soon(patient).await??.is_connected());
    Ok(())
}
