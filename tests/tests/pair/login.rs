//! Logging in: every result with its cause, what the authenticator sees, and logins that take no messages.

use std::time::Duration;

use bytes::Bytes;
use esf_driver::{endpoint::Endpoint, node::ServerEvent};
use esf_proto::{
    client::{Config as ClientConfig, Credential, Event, PreQuery, State},
    close::CloseReason,
    failure::Failure,
    ids::{DeviceKind, InstanceId},
    login::{CredentialKind, LoginCode, Mode, Rights},
    server::{AppRequest, AppResponse, Config, LinkState},
    wire::{self, Frame, Header, Kind, Login, LoginResult},
};
use esf_tests::{
    by_hand::{bytes_of, frame_of},
    raw::{LoginWith, RawLink},
    world::{Outcome, World, client_config},
};

/// The result of a login that was refused, and the words for it.
fn refusal(link: &mut RawLink) -> Option<(LoginCode, String)> {
    link.take_received().iter().find_map(|frame| match frame.decode() {
        Ok(Frame::LoginResult(LoginResult::Refused { result, cause })) => Some((result, cause.to_owned())),
        _ => None,
    })
}

fn with_password(name: &str, password: &'static [u8]) -> ClientConfig {
    let credential = Credential { kind: CredentialKind::Password, bytes: Bytes::from_static(password) };
    ClientConfig { credential, ..client_config(name) }
}

// Results.

#[test]
fn a_good_login_is_told_its_limits_rights_and_the_server() {
    let mut world = World::with(Config {
        max_frame: 1 << 16,
        window: 1 << 15,
        resume_window: Duration::from_secs(7),
        max_user_id: 20,
        product: "test/1".into(),
        ..Config::default()
    });
    let admin = world.join("admin");
    let instance = world.node.instance();
    let session = world.session(admin);
    let limits = session.limits();
    assert_eq!((limits.max_frame, limits.window, limits.max_user_id), (1 << 16, 1 << 15, 20));
    assert_eq!(limits.resume_window, Duration::from_secs(7));
    assert_eq!(limits.heartbeat_limit, Some(Duration::from_secs(30)));
    assert_eq!(session.rights(), Rights::KICK.with(Rights::LIST));
    let server = session.server().expect("a server");
    assert_eq!((server.product.as_str(), server.instance), ("test/1", instance));
    let events = &world.engine(admin).events;
    assert!(matches!(events[..], [Event::LoginCompleted { mode: Mode::Fresh, login_number: 1.., .. }]), "{events:?}");
    let ann = world.join("ann");
    assert_eq!(world.session(ann).rights(), Rights::NONE);
}

#[test]
fn the_limit_of_silence_follows_the_heartbeat() {
    for (heartbeat, limit) in [(1, 30), (5, 30), (10, 30), (11, 33), (300, 900)] {
        let mut world = World::new();
        let config = ClientConfig { heartbeat: Duration::from_secs(heartbeat), ..client_config("ann") };
        let ann = world.join_with(config);
        let told = world.session(ann).limits().heartbeat_limit;
        assert_eq!(told, Some(Duration::from_secs(limit)), "a heartbeat each {heartbeat} s");
    }
    let mut world = World::with(Config { liveness: Duration::ZERO, ..Config::default() });
    let ann = world.join("ann");
    assert_eq!(world.session(ann).limits().heartbeat_limit, None, "0 is never");
}

#[test]
fn a_refused_credential_is_a_result_with_its_cause_and_ends_the_client() {
    let mut world = World::new();
    let ann = world.join_with(with_password("ann", b"wrong"));
    let (code, reason) = (LoginCode::Failed, CloseReason::LoginFailed);
    let cause = String::from("the password is wrong");
    assert_eq!(world.engine(ann).events, [Event::LoginRefused { code, cause, reason }, Event::Closed { reason }]);
    assert_eq!(world.counter("logins_refused"), 1);
    assert_eq!(world.closes(CloseReason::LoginFailed), 1);
    world.advance(Duration::from_secs(120));
    assert_eq!(world.session(ann).stats().connects, 1, "it does not come back by itself");
    assert!(!world.node.is_online("ann"));
}

#[test]
fn a_cause_is_cut_to_255_bytes_of_whole_letters() {
    let mut world = World::new();
    world.authenticates = false;
    let mut link = RawLink::open(&world, "ann", 1);
    let login = link.login_frame(LoginWith::default());
    link.push(&mut world, login);
    let cause = format!("x{}", "é".repeat(200));
    link.conn.handle_response(world.now, AppResponse::Refuse { cause });
    link.pump(&mut world);
    let (code, cause) = refusal(&mut link).expect("a refusal");
    assert_eq!((code, cause), (LoginCode::Failed, format!("x{}", "é".repeat(127))));
}

#[test]
fn a_device_kind_that_may_not_log_in_is_told_so_before_the_credential_is_looked_at() {
    let mut world = World::with(Config { devices: vec![DeviceKind::PHONE, DeviceKind(200)], ..Config::default() });
    for (device, lets_in) in [(DeviceKind::PHONE, true), (DeviceKind(200), true), (DeviceKind::BROWSER, false)] {
        let mut link = RawLink::open(&world, "ann", u64::from(device.0));
        link.engine.device = device;
        world.authenticates = false;
        let login = link.login_frame(LoginWith::default());
        link.push(&mut world, login);
        assert_eq!(link.conn.state() == LinkState::Authenticating, lets_in, "{device}");
        if !lets_in {
            assert_eq!(link.closed(), Some(CloseReason::UnauthorisedClientType));
            let (code, cause) = refusal(&mut link).expect("a refusal");
            assert_eq!(code, LoginCode::ClientTypeMismatched);
            assert!(cause.contains("device kind 1"), "{cause}");
        }
    }
    assert_eq!(world.counter("logins_refused"), 1);
}

#[test]
fn reserved_device_kinds_are_refused_and_all_others_let_in() {
    let mut world = World::new();
    for device in 0..=u8::MAX {
        let who = world.join_on("ann", DeviceKind(device));
        let reserved = (6..=15).contains(&device);
        assert_eq!(world.is_online(who), !reserved, "device kind {device}");
        if reserved {
            assert_eq!(world.closed(who), Some(CloseReason::UnauthorisedClientType));
            assert!(matches!(
                world.engine(who).events[0],
                Event::LoginRefused { code: LoginCode::ClientTypeMismatched, .. }
            ));
        }
    }
    assert_eq!(world.counter("logins_refused"), 10);
    // Online once per kind: all of them at the same time.
    assert_eq!(world.node.online(), 1);
    assert_eq!(world.counter("logins"), 246);
    assert_eq!(world.closes(CloseReason::PushedOut), 0);
}

#[test]
fn a_heartbeat_interval_outside_1_s_to_5_min_is_refused() {
    let mut world = World::new();
    for (instance, heartbeat_ms, lets_in) in [
        (1, 0, false),
        (2, 999, false),
        (3, 1_000, true),
        (4, 300_000, true),
        (5, 300_001, false),
        (6, u32::MAX, false),
    ] {
        let mut link = RawLink::open(&world, "ann", instance);
        let got = link.login(&mut world, LoginWith { heartbeat_ms, ..LoginWith::default() });
        assert_eq!(got.is_ok(), lets_in, "{heartbeat_ms} ms");
        if !lets_in {
            assert_eq!(got, Err(Some(LoginCode::Failed)));
            assert_eq!(link.closed(), Some(CloseReason::LoginFailed));
            let (_, cause) = refusal(&mut link).expect("a refusal");
            assert!(cause.contains("heartbeat"), "{cause}");
        }
    }
    assert_eq!(world.counter("logins_refused"), 4);
}

#[test]
fn a_server_that_cannot_check_a_login_now_says_when_to_come_back() {
    let mut world = World::new();
    world.authenticates = false;
    let mut link = RawLink::open(&world, "ann", 1);
    let login = link.login_frame(LoginWith::default());
    link.push(&mut world, login.clone());
    let retry_after = Duration::from_millis(2_500);
    link.conn.handle_response(world.now, AppResponse::Later { retry_after });
    link.pump(&mut world);
    assert_eq!(link.closed(), Some(CloseReason::GoingAway));
    let frames = link.take_received();
    let told: Vec<Frame<'_>> = frames.iter().map(|frame| frame.decode().expect("a frame")).collect();
    let close = Frame::Close { reason: CloseReason::GoingAway, text: CloseReason::GoingAway.text() };
    assert_eq!(told, [Frame::GoAway { retry_after_ms: 2_500 }, close]);
    assert_eq!(world.closes(CloseReason::GoingAway), 1);
}

#[test]
fn an_address_that_asks_too_often_is_told_how_long_to_wait() {
    for before_login in [false, true] {
        let mut world = World::new();
        world.authenticates = false;
        let mut link = RawLink::open(&world, "ann", 1);
        let asked = if before_login {
            Frame::PreQuery { info_type: 1, body: b"?" }.to_bytes(Header::default()).expect("a frame")
        } else {
            link.login_frame(LoginWith::default())
        };
        link.push(&mut world, asked);
        let retry_after = Duration::from_millis(1_500);
        link.conn.handle_response(world.now, AppResponse::TooOften { retry_after });
        link.pump(&mut world);
        assert_eq!(link.closed(), Some(CloseReason::RateLimited));
        let frames = link.take_received();
        let told: Vec<Frame<'_>> = frames.iter().map(|frame| frame.decode().expect("a frame")).collect();
        let close = Frame::Close { reason: CloseReason::RateLimited, text: CloseReason::RateLimited.text() };
        assert_eq!(told, [Frame::GoAway { retry_after_ms: 1_500 }, close]);
        assert_eq!(world.closes(CloseReason::RateLimited), 1);
    }
}

// Attempts.

#[test]
fn an_attempt_that_is_not_above_the_last_is_refused_without_effect() {
    let mut world = World::new();
    let mut first = RawLink::open(&world, "ann", 1);
    first.login(&mut world, LoginWith { attempt: 5, ..LoginWith::default() }).expect("a welcome");
    for (before, attempt) in [0, 1, 4, 5].into_iter().enumerate() {
        let mut late = RawLink::open(&world, "ann", 1);
        assert_eq!(late.login(&mut world, LoginWith { attempt, ..LoginWith::default() }), Err(None));
        assert_eq!(late.closed(), Some(CloseReason::Superseded));
        assert!(first.is_open());
        assert_eq!(world.counter("attempts_stale"), before as u64 + 1);
    }
    // Another instance, device or user counts for itself.
    for (name, device, instance) in [("ann", 4, 2), ("ann", 2, 1), ("ben", 4, 1)] {
        let mut other = RawLink::open(&world, name, instance);
        other.engine.device = DeviceKind(device);
        assert!(other.login(&mut world, LoginWith::default()).is_ok());
    }
}

#[test]
fn an_attempt_is_remembered_for_60_s_after_the_log_off() {
    // Also where sessions wait for their clients less long than that.
    let mut world = World::with_resume_window(Duration::from_secs(5));
    let mut first = RawLink::open(&world, "ann", 1);
    first.login(&mut world, LoginWith { attempt: 5, ..LoginWith::default() }).expect("a welcome");
    first.send(&mut world, &Frame::Close { reason: CloseReason::LoggedOff, text: "" });
    assert!(!world.node.is_online("ann"));
    let again = |world: &mut World, attempt| {
        let mut link = RawLink::open(world, "ann", 1);
        link.login(world, LoginWith { attempt, ..LoginWith::default() }).is_ok()
    };
    world.advance(Duration::from_secs(59));
    assert!(!again(&mut world, 5), "a login that was under way at the log-off");
    world.advance(Duration::from_secs(2));
    assert!(again(&mut world, 5));
}

// What the authenticator sees.

#[test]
fn the_authenticator_sees_everything_that_may_decide() {
    let mut world = World::new();
    let mut link = RawLink::open(&world, "ann", 1);
    for (kind, interactive) in [
        (CredentialKind::None, true),
        (CredentialKind::Password, true),
        (CredentialKind::Md5Hex, false),
        (CredentialKind::Token, false),
    ] {
        let login = Login {
            instance: InstanceId(1),
            attempt: 1,
            interactive,
            takes_messages: true,
            device: DeviceKind::TABLET,
            heartbeat_ms: 5_000,
            login_number: 0,
            user: "ann",
            credential: wire::Credential { kind, bytes: b"secret" },
            system_token: b"from the application",
            ticket: b"an old ticket",
            resume: None,
        };
        link = RawLink::open(&world, "ann", 1);
        link.conn.handle_message(world.now, Frame::Login(login).to_bytes(Header::default()).expect("a login"));
        let Some(AppRequest::Authenticate(request)) = link.conn.poll_request() else { panic!("no question") };
        assert_eq!((&*request.user, request.device), ("ann", DeviceKind::TABLET));
        assert_eq!((request.credential_kind, &request.credential[..]), (kind, &b"secret"[..]));
        assert_eq!(&request.system_token[..], b"from the application");
        assert_eq!(&request.ticket[..], b"an old ticket");
        assert_eq!(request.interactive, interactive);
        assert!(!format!("{request:?}").contains("secret"), "a credential is never printed");
        assert!(link.conn.poll_request().is_none(), "it is asked once");
    }
    link.conn.handle_response(world.now, AppResponse::Accept(Rights::LIST.into()));
    link.pump(&mut world);
    assert!(link.login_answer().is_ok());
}

#[test]
fn a_user_id_is_compared_byte_by_byte() {
    let mut world = World::new();
    let (small, large) = (world.join("ann"), world.join("Ann"));
    world.send(small, "Ann", "to the other");
    world.run();
    assert_eq!(world.texts(large), ["to the other"]);
    assert_eq!(world.texts(small), [] as [&str; 0]);
    assert_eq!(world.node.online(), 2);
}

// The query before login.

#[test]
fn a_query_before_login_is_answered_and_the_login_follows() {
    let mut world = World::new();
    let ask = PreQuery { info_type: 7, body: Bytes::from_static(b"may I?") };
    let ann = world.join_with(ClientConfig { pre_query: Some(ask), ..client_config("ann") });
    let events = &world.engine(ann).events;
    assert_eq!(events[0], Event::PreReply { status: Ok(()), body: Bytes::from_static(b"may I?") });
    assert!(matches!(events[1], Event::LoginCompleted { .. }));
    assert!(world.is_online(ann));
    // It is asked once: not on the next link.
    world.cut(ann);
    world.until_online(ann);
    let replies = world.engine(ann).events.iter().filter(|event| matches!(event, Event::PreReply { .. }));
    assert_eq!(replies.count(), 1);
}

#[test]
fn a_query_before_login_that_fails_is_told_and_the_login_may_follow() {
    let mut world = World::new();
    world.authenticates = false;
    let mut link = RawLink::open(&world, "ann", 1);
    link.conn.handle_message(world.now, bytes_of(&Frame::PreQuery { info_type: 7, body: b"may I?" }));
    let Some(AppRequest::PreQuery { info_type, body }) = link.conn.poll_request() else { panic!("no question") };
    assert_eq!((info_type, &body[..]), (7, &b"may I?"[..]));
    link.conn.handle_response(world.now, AppResponse::PreReply(Err(Failure::NotAllowed)));
    link.pump(&mut world);
    let frames = link.take_received();
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0].decode(), Ok(Frame::PreReply { status: Err(Failure::NotAllowed), body: b"" }));
    world.authenticates = true;
    assert!(link.login(&mut world, LoginWith::default()).is_ok());
}

// Logins that take no messages.

fn command(name: &str) -> ClientConfig {
    ClientConfig { takes_messages: false, ..client_config(name) }
}

#[test]
fn a_login_that_takes_no_messages_is_nobodys_target_and_gets_its_answers() {
    let mut world = World::new();
    let ben = world.join("ben");
    let ann = world.join_with(command("ann"));
    assert!(world.is_online(ann));
    assert!(!world.node.is_online("ann"), "it is online to nobody");
    let lost = world.send_certainly(ben, "ann", "hello?");
    let pinged = world.query(ben, "ann", "hello?");
    let told = world.send_certainly(ann, "ben", "hi");
    let asked = world.query(ann, "ben", "how are you?");
    world.run();
    assert_eq!(world.outcome(ben, lost), Some(Outcome::Failed(Failure::Offline)));
    assert_eq!(world.outcome(ben, pinged), Some(Outcome::Failed(Failure::Offline)));
    assert_eq!(world.outcome(ann, told), Some(Outcome::Acked));
    assert_eq!(world.outcome(ann, asked), Some(Outcome::Replied("how are you?".into())));
    assert!(matches!(world.server_events[..], [_, ServerEvent::Connected { takes_messages: false, .. }]));
}

#[test]
fn a_login_that_takes_no_messages_holds_no_place_and_pushes_nobody_out() {
    let mut world = World::new();
    let ann = world.join("ann");
    let commands: Vec<_> = (0..3).map(|_| world.join_with(command("ann"))).collect();
    assert!(commands.iter().chain([&ann]).all(|who| world.is_online(*who)));
    let second = world.join("ann");
    assert_eq!(world.closed(ann), Some(CloseReason::PushedOut));
    assert!(commands.iter().chain([&second]).all(|who| world.is_online(*who)), "a push-out is among those who take");
}

#[test]
fn a_user_has_at_most_64_logins_that_take_no_messages() {
    let mut world = World::new();
    let commands: Vec<_> = (0..64).map(|_| world.join_with(command("ann"))).collect();
    assert!(commands.iter().all(|who| world.is_online(*who)));
    let mut one_more = RawLink::open(&world, "ann", 1);
    let with = LoginWith { takes_messages: false, ..LoginWith::default() };
    assert_eq!(one_more.login(&mut world, with), Err(Some(LoginCode::Failed)));
    assert_eq!(one_more.closed(), Some(CloseReason::ConnectionLimit));
    assert_eq!(world.closes(CloseReason::ConnectionLimit), 1);
    let other = world.join_with(command("ben"));
    assert!(world.is_online(other), "the limit is each user's own");
    let now = world.now;
    world.session(commands[0]).log_off(now);
    world.run();
    let mut one_more = RawLink::open(&world, "ann", 2);
    assert!(one_more.login(&mut world, with).is_ok(), "a place that was given back");
}

#[test]
fn a_login_that_takes_no_messages_resumes_too() {
    let mut world = World::new();
    let (ann, ben) = (world.join_with(command("ann")), world.join("ben"));
    world.cut(ann);
    let told = world.send_certainly(ann, "ben", "while away");
    world.until_online(ann);
    world.run();
    assert_eq!(world.outcome(ann, told), Some(Outcome::Acked));
    assert_eq!(world.session(ann).stats().resumes, 1);
    assert_eq!(world.texts(ben), ["while away"]);
}

// Without a result.

#[test]
fn a_client_that_gets_no_result_tries_again_until_it_does() {
    let mut world = World::new();
    world.authenticates = false;
    let ann = world.join("ann");
    assert_eq!(world.session(ann).state(), State::LoggingIn);
    world.advance(Duration::from_secs(16));
    assert_eq!(world.closes(CloseReason::LoginTimeout), 1, "a close that may reconnect");
    world.authenticates = true;
    world.until_online(ann);
    let events = &world.engine(ann).events;
    assert!(matches!(events[..], [Event::LoginCompleted { .. }]), "{events:?}");
}

#[test]
fn a_version_that_the_server_does_not_speak_ends_the_client_that_asks_for_it() {
    let mut world = World::new();
    let mut link = RawLink::open(&world, "ann", 1);
    link.push(&mut world, frame_of(Kind::Login as u8, 0, &[2, 0]));
    let (code, cause) = refusal(&mut link).expect("a refusal");
    assert_eq!(code, LoginCode::VersionMismatched);
    assert_eq!(cause, "this server speaks version 1, not 2");
    assert_eq!(link.closed(), Some(CloseReason::VersionMismatched));
}
