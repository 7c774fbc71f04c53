//! Rows 5, 7, 8, 10, 11 and 12: what comes before a login, instead of it, after it, or never.

use std::time::Duration;

use bytes::Bytes;
use esf_proto::{
    close::CloseReason,
    login::LoginCode,
    server::AppResponse,
    wire::{Address, Envelope, Flags, Frame, Kind, LoginResult, PRELOGIN_MAX_FRAME},
};
use esf_tests::{
    by_hand::{bytes_of, frame_of, lying, replaced, with_tail},
    raw::LoginWith,
};

use super::Scene;

const INVALID: CloseReason = CloseReason::InvalidMessage;

// Row 5.

/// One frame of every kind but login, query before login and close.
fn anything(scene: &Scene) -> Vec<(String, Bytes)> {
    let mallory = &scene.mallory;
    let to_server = Envelope::new(Address::Server { instance: 0 }, Address::of_engine(&mallory.engine), 1);
    let frames = [
        Frame::PreReply { status: Ok(()), body: b"" },
        Frame::LoginResult(LoginResult::Refused { result: LoginCode::Failed, cause: "" }),
        Frame::Count { received: 0, taken: 0 },
        Frame::Heartbeat { nonce: 1 },
        Frame::HeartbeatAck { nonce: 1 },
        Frame::GoAway { retry_after_ms: 1 },
        Frame::Send { envelope: mallory.envelope("ben", 0), info_type: 1, body: b"psst" },
        Frame::Certain { envelope: mallory.envelope("ben", 1), ttl_ms: 1_000, info_type: 1, body: b"psst" },
        Frame::EngineMessage { envelope: mallory.envelope("ben", 0), info_type: 1, tag: "t", body: b"psst" },
        Frame::Query { envelope: mallory.envelope("ben", 1), ttl_ms: 1_000, info_type: 1, body: b"psst" },
        Frame::Request { envelope: to_server, ttl_ms: 1_000, method: 4, cursor: b"", body: b"\0\0" },
        Frame::Ack { envelope: to_server },
        Frame::Reply { envelope: to_server, body: b"" },
        Frame::Response { envelope: to_server, status: Ok(()), cursor: b"", body: b"" },
    ];
    let named = frames.iter().map(|frame| (format!("{:?}", frame.kind()), bytes_of(frame)));
    let unknown = [0x00, 0x0A, 0x0B, 0x0C, 0x12, 0x7F, 0x80].map(|kind| (format!("{kind:#x}"), frame_of(kind, 0, &[])));
    named.chain(unknown).collect()
}

#[test]
fn anything_before_the_login_closes_the_link_and_has_no_effect() {
    for (what, bytes) in anything(&Scene::before_login()) {
        Scene::before_login().closes(&what, bytes, INVALID);
    }
}

#[test]
fn a_kind_that_must_be_understood_is_unsupported_before_the_login_too() {
    for kind in [0x0C, 0x7F, 0x80] {
        let frame = frame_of(kind, Flags::MUST_UNDERSTAND.bits(), &[]);
        Scene::before_login().closes(&format!("kind {kind:#x}"), frame, CloseReason::Unsupported);
    }
}

#[test]
fn anything_between_a_login_and_its_result_closes_the_link() {
    for (what, bytes) in anything(&Scene::before_login()) {
        let mut scene = Scene::before_login();
        scene.world.authenticates = false;
        let login = scene.mallory.login_frame(LoginWith::default());
        scene.send(login.clone());
        assert!(scene.mallory.is_open());
        scene.closes(&what, bytes, INVALID);
        // Both in one message: the login is in, what follows it is not let through.
        let mut scene = Scene::before_login();
        scene.world.authenticates = false;
        let psst = scene.mallory.plain("ben", "psst");
        let before = scene.world.closes(INVALID);
        scene.send([login, psst].concat().into());
        scene.was_closed("a message behind the login", before, INVALID);
    }
}

#[test]
fn a_second_query_before_login_closes_the_link_whether_the_first_was_answered_or_not() {
    let ask = || bytes_of(&Frame::PreQuery { info_type: 1, body: b"version?" });
    for answered in [true, false] {
        let mut scene = Scene::before_login();
        scene.world.authenticates = answered;
        scene.send(ask());
        assert_eq!(scene.mallory.kinds().contains(&Some(Kind::PreReply)), answered);
        scene.closes("a second query before login", ask(), INVALID);
    }
}

#[test]
fn a_login_before_the_query_is_answered_closes_the_link() {
    let mut scene = Scene::before_login();
    scene.world.authenticates = false;
    scene.send(bytes_of(&Frame::PreQuery { info_type: 1, body: b"version?" }));
    let login = scene.mallory.login_frame(LoginWith::default());
    scene.closes("an impatient login", login, INVALID);
}

#[test]
fn a_close_before_the_login_is_heeded_without_a_word() {
    let mut scene = Scene::before_login();
    scene.send(bytes_of(&Frame::Close { reason: CloseReason::LoggedOff, text: "never mind" }));
    assert_eq!(scene.mallory.closed(), Some(CloseReason::LoggedOff));
    assert_eq!(scene.mallory.take_received(), []);
    assert_eq!(scene.world.closes(CloseReason::LoggedOff), 0, "the server closed nothing");
}

// Row 7.

#[test]
fn a_user_id_that_is_none_closes_the_link_without_a_result() {
    let named = |name: &str| {
        let scene = Scene::before_login();
        // The name in the frame is as long as the wire allows; the server's own limit is smaller.
        let login = scene.mallory.login_frame(LoginWith::default());
        let tail = [&[7u8][..], b"mallory"].concat();
        let by = [&[u8::try_from(name.len()).expect("short")][..], name.as_bytes()].concat();
        let at = login.windows(8).position(|window| window == tail).expect("the name");
        let bytes = [&login[..at], &by, &login[at + 8..]].concat();
        let length = u32::try_from(bytes.len() - 4).expect("short");
        (scene, lying(&bytes, length))
    };
    let long = "x".repeat(65);
    let longest = "é".repeat(127);
    for (what, name) in [
        ("an empty name", ""),
        ("a name of 65 bytes", &long),
        ("a name of 254 bytes", &longest),
        ("a reserved name", "_root"),
        ("the reserved letter alone", "_"),
    ] {
        let (mut scene, login) = named(name);
        let before = scene.world.closes(CloseReason::WrongUserId);
        scene.send(login);
        assert_eq!(scene.mallory.kinds(), [Some(Kind::Close)], "{what} gets no result");
        scene.was_closed(what, before, CloseReason::WrongUserId);
    }
    let (scene, login) = named("mallory");
    scene.closes("not UTF-8", replaced(&login, b"mallory", b"mall\xFFry"), CloseReason::WrongUserId);
    let (mut scene, login) = named(&"x".repeat(64));
    scene.send(login);
    assert!(scene.mallory.login_answer().is_ok(), "64 bytes are allowed");
    let (mut scene, login) = named("Mallory_é");
    scene.send(login);
    assert!(scene.mallory.login_answer().is_ok(), "any other text is allowed");
}

// Row 8.

#[test]
fn another_version_is_told_so_whatever_follows_it() {
    for version in [0u16, 2, u16::MAX] {
        for rest in [&b""[..], b"\xFF\xFF\xFF", &[0; 200]] {
            let mut scene = Scene::before_login();
            let login = frame_of(Kind::Login as u8, 0, &version.to_le_bytes());
            let login = with_tail(&login, rest);
            let before = scene.world.closes(CloseReason::VersionMismatched);
            let refused = scene.world.counter("logins_refused");
            scene.send(login);
            assert_eq!(scene.mallory.login_answer(), Err(Some(LoginCode::VersionMismatched)));
            assert_eq!(scene.mallory.kinds(), [Some(Kind::LoginResult), Some(Kind::Close)]);
            assert_eq!(scene.world.counter("logins_refused"), refused + 1);
            scene.was_closed(&format!("version {version}"), before, CloseReason::VersionMismatched);
        }
    }
}

#[test]
fn a_login_that_is_cut_off_closes_the_link() {
    let login = Scene::before_login().mallory.login_frame(LoginWith::default());
    for kept in 7..login.len() {
        let length = u32::try_from(kept - 4).expect("short");
        Scene::before_login().closes(&format!("{kept} bytes of a login"), lying(&login[..kept], length), INVALID);
    }
    Scene::before_login().closes("a byte behind a login", with_tail(&login, &[0]), INVALID);
    assert!(login.len() < PRELOGIN_MAX_FRAME);
}

#[test]
fn numbers_outside_their_table_in_a_login_close_the_link() {
    let scene = Scene::before_login();
    let login = scene.mallory.login_frame(LoginWith { password: b"pass", ..LoginWith::default() });
    // Behind the name: the kind of the credential, the credential, no token, no ticket, no resume.
    let own = [&b"mallory\x01\x04\0pass\0\0\0\0\0"[..]].concat();
    let with = |tail: &[u8]| replaced(&login, &own, &[b"mallory", tail].concat());
    let cases = [
        ("a credential kind of 4", with(b"\x04\x04\0pass\0\0\0\0\0")),
        ("a resume byte of 2", with(b"\x01\x04\0pass\0\0\0\0\x02")),
        ("a credential longer than the frame", with(b"\x01\xFF\xFFpass\0\0\0\0\0")),
        ("a ticket longer than it may be", with_tail(&with(b"\x01\x04\0pass\0\0\x01\x02\0"), &[0; 513])),
    ];
    for (what, bytes) in cases {
        Scene::before_login().closes(what, bytes, INVALID);
    }
}

// Rows 10 and 11.

#[test]
fn a_login_that_never_comes_is_waited_for_15_s() {
    let mut scene = Scene::before_login();
    let before = scene.world.closes(CloseReason::LoginTimeout);
    scene.mallory.pass(&mut scene.world, Duration::from_millis(14_999));
    assert!(scene.mallory.is_open());
    scene.mallory.pass(&mut scene.world, Duration::from_millis(1));
    scene.was_closed("no login", before, CloseReason::LoginTimeout);
}

#[test]
fn a_query_before_login_does_not_put_the_limit_off() {
    for answered in [true, false] {
        let mut scene = Scene::before_login();
        scene.world.authenticates = answered;
        let before = scene.world.closes(CloseReason::LoginTimeout);
        scene.mallory.pass(&mut scene.world, Duration::from_secs(14));
        scene.send(bytes_of(&Frame::PreQuery { info_type: 1, body: b"version?" }));
        assert!(scene.mallory.is_open());
        scene.mallory.pass(&mut scene.world, Duration::from_secs(1));
        scene.was_closed("no login", before, CloseReason::LoginTimeout);
    }
}

#[test]
fn a_login_that_the_authenticator_never_answers_is_closed_after_15_s_more() {
    let mut scene = Scene::before_login();
    scene.mallory.pass(&mut scene.world, Duration::from_secs(14));
    scene.world.authenticates = false;
    let login = scene.mallory.login_frame(LoginWith::default());
    scene.send(login);
    let before = scene.world.closes(CloseReason::LoginTimeout);
    scene.mallory.pass(&mut scene.world, Duration::from_millis(14_999));
    assert!(scene.mallory.is_open(), "the application has 15 s of its own");
    scene.mallory.pass(&mut scene.world, Duration::from_millis(1));
    // Its answer comes too late for anything.
    let late = AppResponse::Accept(esf_proto::login::Rights::KICK.into());
    scene.mallory.conn.handle_response(scene.world.now, late);
    scene.mallory.pump(&mut scene.world);
    assert_eq!(scene.mallory.login_answer(), Err(None));
    assert_eq!(scene.world.counter("logins"), 2, "those of the bystanders");
    scene.was_closed("an authenticator without an answer", before, CloseReason::LoginTimeout);
}

// Row 12.

#[test]
fn a_second_login_or_a_query_before_login_on_a_logged_in_link_closes_it() {
    let attempt = |attempt| LoginWith { attempt, ..LoginWith::default() };
    let scene = Scene::new();
    let same = scene.mallory.login_frame(attempt(2));
    scene.closes("a second login of the same engine", same, INVALID);
    let scene = Scene::new();
    let again = scene.mallory.login_frame(attempt(1));
    scene.closes("the same login once more", again, INVALID);
    let mut scene = Scene::new();
    scene.mallory.engine.user = esf_proto::ids::UserId::parse("ben", 255).expect("a name");
    let other = scene.mallory.login_frame(attempt(1));
    scene.closes("a login as somebody else", other, INVALID);
    let ask = bytes_of(&Frame::PreQuery { info_type: 1, body: b"version?" });
    Scene::new().closes("a query before login", ask, INVALID);
    let future = with_tail(&frame_of(Kind::Login as u8, 0, &[9, 0]), b"whatever");
    Scene::new().closes("a login of another version", future.clone(), INVALID);
    let mut scene = Scene::before_login();
    scene.world.authenticates = false;
    let login = scene.mallory.login_frame(attempt(1));
    scene.send(login);
    scene.closes("a login of another version behind a login", future, INVALID);
}
