//! Login: every result, what goes before it, and how it comes again.

use super::harness::*;
use crate::{
    client::{Action, Config, ConfigError, Credential, Event, PreQuery, State, TimerKind},
    close::CloseReason,
    failure::Failure,
    ids::{DeviceKind, InstanceId},
    login::{CredentialKind, LoginCode, Mode, ResumeSecret, Rights},
    time::Instant,
    wire::{Frame, Kind, LoginResult, Resume},
};
use bytes::Bytes;
use std::{vec, vec::Vec};

/// Connects by hand and returns the login frame.
fn login_frame(hand: &mut Hand, check: impl FnOnce(crate::wire::Login<'_>)) {
    hand.session.handle_connected(hand.now, hand.link);
    let sent = hand.sent();
    let Ok(Frame::Login(login)) = sent[0].decode() else { panic!("{sent:?}") };
    check(login);
}

#[test]
fn the_first_login_says_who_it_is_and_is_interactive() {
    let mut config = Config::new(user("ann"));
    config.device = DeviceKind::PHONE;
    config.credential = Credential { kind: CredentialKind::Password, bytes: body("secret") };
    config.system_token = body("token");
    config.takes_messages = false;
    let mut hand = Hand::with(config);
    assert_eq!(hand.session.state(), State::Connecting);
    login_frame(&mut hand, |login| {
        assert_eq!((login.user, login.device, login.instance), ("ann", DeviceKind::PHONE, InstanceId(7)));
        assert_eq!((login.credential.kind, login.credential.bytes), (CredentialKind::Password, &b"secret"[..]));
        assert_eq!((login.system_token, login.ticket), (&b"token"[..], &b""[..]));
        assert_eq!((login.attempt, login.interactive, login.takes_messages), (1, true, false));
        assert_eq!((login.heartbeat_ms, login.login_number, login.resume), (5_000, 0, None));
    });
    assert_eq!(hand.session.state(), State::LoggingIn);
}

#[test]
fn a_welcome_tells_rights_limits_and_the_server() {
    let mut hand = Hand::new();
    hand.connect();
    hand.give(&[fresh()]);
    assert_eq!(hand.events(), [Event::LoginCompleted { mode: Mode::Fresh, login_number: 11, rights: Rights::KICK }]);
    assert_eq!(hand.session.state(), State::Online);
    assert_eq!(hand.session.rights(), Rights::KICK);
    assert_eq!((hand.session.limits().max_frame, hand.session.limits().window), (1 << 20, 256 << 10));
    assert_eq!(hand.session.limits().resume_window, secs(60));
    assert_eq!(hand.session.max_message(), (1 << 20) + (64 << 10));
    let server = hand.session.server().unwrap();
    assert_eq!((server.instance, server.product.as_str()), (InstanceId(900), "hand/1"));
}

#[test]
fn each_refusal_ends_the_session_with_its_code_and_reason() {
    for (code, reason) in [
        (LoginCode::Failed, CloseReason::LoginFailed),
        (LoginCode::Failed, CloseReason::ConnectionLimit),
        (LoginCode::HadLoggedOn, CloseReason::NewConnectionIgnored),
        (LoginCode::VersionMismatched, CloseReason::VersionMismatched),
        (LoginCode::ClientTypeMismatched, CloseReason::UnauthorisedClientType),
    ] {
        let mut hand = Hand::new();
        hand.connect();
        hand.give(&[Frame::LoginResult(LoginResult::Refused { result: code, cause: "because" }), close(reason)]);
        assert_eq!(
            hand.events(),
            [Event::LoginRefused { code, cause: "because".into(), reason }, Event::Closed { reason }]
        );
        assert_eq!(hand.session.state(), State::Closed(reason));
        assert_eq!(hand.session.poll_timeout(), None);
    }
}

#[test]
fn a_refusal_whose_close_is_lost_ends_the_session_all_the_same() {
    let refused = Frame::LoginResult(LoginResult::Refused { result: LoginCode::HadLoggedOn, cause: "" });
    let reason = CloseReason::NewConnectionIgnored;
    let ended =
        [Event::LoginRefused { code: LoginCode::HadLoggedOn, cause: "".into(), reason }, Event::Closed { reason }];
    // The link just breaks.
    let mut hand = Hand::new();
    hand.connect();
    hand.give(&[refused]);
    assert_eq!(hand.events(), []);
    hand.cut();
    assert_eq!(hand.events(), ended);
    // Nothing comes at all.
    let mut hand = Hand::new();
    hand.connect();
    hand.give(&[refused]);
    hand.pass(secs(2));
    assert_eq!(hand.events(), ended);
    assert_eq!(hand.actions(), [Action::Drop { link: hand.link }]);
}

#[test]
fn a_later_login_is_automatic_resumes_and_counts_its_attempts() {
    let mut hand = Hand::online();
    hand.give(&[information("one"), information("two")]);
    hand.cut();
    hand.await_link();
    // This attempt comes to nothing.
    login_frame(&mut hand, |login| assert_eq!(login.attempt, 2));
    hand.cut();
    hand.await_link();
    login_frame(&mut hand, |login| {
        assert_eq!((login.attempt, login.interactive), (3, false));
        assert_eq!((login.login_number, login.ticket), (11, &b"ticket"[..]));
        assert_eq!(login.resume, Some(Resume { secret: ResumeSecret([3; 16]), received: 2 }));
    });
}

#[test]
fn a_login_stays_interactive_until_one_succeeded() {
    let mut hand = Hand::new();
    hand.connect();
    hand.cut();
    hand.await_link();
    login_frame(&mut hand, |login| {
        assert_eq!((login.attempt, login.interactive, login.resume), (2, true, None));
    });
}

#[test]
fn a_question_before_login_goes_first_and_is_answered_before_the_login() {
    let mut config = Config::new(user("ann"));
    config.pre_query = Some(PreQuery { info_type: 9, body: body("version?") });
    let mut hand = Hand::with(config);
    hand.session.handle_connected(hand.now, hand.link);
    let sent = hand.sent();
    assert_eq!(sent[0].decode(), Ok(Frame::PreQuery { info_type: 9, body: b"version?" }));
    assert_eq!(sent.len(), 1, "nothing else goes out before the answer");
    hand.give(&[Frame::PreReply { status: Ok(()), body: b"1.0" }]);
    assert_eq!(hand.events(), [Event::PreReply { status: Ok(()), body: body("1.0") }]);
    assert_eq!(hand.sent_kinds(), [Kind::Login]);
    hand.give(&[fresh()]);
    hand.cut();
    hand.await_link();
    hand.connect();
}

#[test]
fn a_question_before_login_whose_link_breaks_is_not_asked_again() {
    let mut config = Config::new(user("ann"));
    config.pre_query = Some(PreQuery { info_type: 9, body: body("register me") });
    let mut hand = Hand::with(config);
    // It waits for the first link that is there.
    hand.session.handle_connect_failed(hand.now, hand.link);
    hand.await_link();
    hand.session.handle_connected(hand.now, hand.link);
    assert_eq!(hand.sent_kinds(), [Kind::PreQuery]);
    hand.cut();
    assert_eq!(hand.events(), [Event::PreReply { status: Err(Failure::ConnectionLost), body: Bytes::new() }]);
    hand.await_link();
    hand.connect();
}

#[test]
fn a_question_before_login_has_its_outcome_when_the_session_ends() {
    let mut config = Config::new(user("ann"));
    config.pre_query = Some(PreQuery { info_type: 9, body: body("register me") });
    for (asked, failure) in [(false, Failure::Offline), (true, Failure::ConnectionLost)] {
        let mut hand = Hand::with(config.clone());
        if asked {
            hand.session.handle_connected(hand.now, hand.link);
            hand.sent();
        }
        hand.session.log_off(hand.now);
        let reason = CloseReason::LoggedOff;
        assert_eq!(
            hand.events(),
            [Event::PreReply { status: Err(failure), body: Bytes::new() }, Event::Closed { reason }]
        );
    }
}

#[test]
fn a_refused_login_in_between_is_told_as_a_relogon() {
    let mut hand = Hand::online();
    let id = hand.certainly("pending");
    hand.reconnect();
    hand.events();
    let refused = Frame::LoginResult(LoginResult::Refused { result: LoginCode::Failed, cause: "new password" });
    hand.give(&[refused, close(CloseReason::LoginFailed)]);
    assert_eq!(
        hand.events(),
        [
            Event::RelogonCompleted { code: LoginCode::Failed, mode: None },
            Event::Failed { id, failure: Failure::Offline },
            Event::Closed { reason: CloseReason::LoginFailed },
        ]
    );
}

#[test]
fn an_automatic_login_that_is_too_old_is_told_as_pushed_out() {
    let mut hand = Hand::online();
    hand.reconnect();
    hand.events();
    let refused = Frame::LoginResult(LoginResult::Refused { result: LoginCode::HadLoggedOn, cause: "" });
    hand.give(&[refused]);
    // The close frame is lost; the WebSocket code tells.
    hand.session.handle_link_closed(hand.now, hand.link, Some(4004));
    assert_eq!(
        hand.events(),
        [
            Event::RelogonCompleted { code: LoginCode::HadLoggedOn, mode: None },
            Event::BeingPushedOut,
            Event::Closed { reason: CloseReason::PushedOut },
        ]
    );
}

#[test]
fn a_login_without_a_result_is_given_up_and_tried_again() {
    let mut hand = Hand::new();
    hand.connect();
    let link = hand.link;
    hand.pass(secs(30) - ms(1));
    assert_eq!(hand.session.state(), State::LoggingIn);
    hand.pass(ms(1));
    assert!(matches!(hand.session.state(), State::Waiting { .. }));
    assert_eq!(hand.actions(), [Action::Close { link, reason: Some(CloseReason::LoginTimeout) }]);
    assert_eq!(hand.sent_kinds(), [Kind::Close]);
}

#[test]
fn a_connection_that_does_not_come_is_given_up_and_tried_again() {
    let mut hand = Hand::new();
    let link = hand.link;
    hand.pass(secs(10));
    assert_eq!(hand.actions(), [Action::Drop { link }]);
    hand.await_link();
    assert_eq!(hand.events(), [], "a first connection that fails is told by the state only");
}

#[test]
fn a_login_that_fits_into_no_frame_ends_the_session_instead_of_spinning() {
    let mut config = Config::new(user("ann"));
    config.credential = Credential { kind: CredentialKind::Token, bytes: Bytes::from(vec![0; 8_192]) };
    assert_eq!(config.check(), Err(ConfigError::LoginTooLarge { limit: 8_192 }));
    let mut hand = Hand::with(config);
    hand.session.handle_connected(hand.now, hand.link);
    assert_eq!(hand.sent_kinds(), []);
    assert_eq!(hand.events(), [Event::Closed { reason: CloseReason::TooLarge }]);

    let mut config = Config::new(user("ann"));
    assert_eq!(config.check(), Ok(()));
    config.pre_query = Some(PreQuery { info_type: 0, body: Bytes::from(vec![0; 8_192]) });
    assert_eq!(config.check(), Err(ConfigError::PreQueryTooLarge { limit: 8_192 }));
}

#[test]
fn frames_out_of_place_before_the_welcome_close_the_link() {
    let out_of_place: Vec<Frame<'_>> = vec![
        information("early"),
        Frame::Count { received: 0, taken: 0 },
        Frame::HeartbeatAck { nonce: 1 },
        Frame::PreReply { status: Ok(()), body: b"" },
        Frame::Heartbeat { nonce: 1 },
        resumed(0),
    ];
    for frame in out_of_place {
        let mut hand = Hand::new();
        hand.connect();
        hand.give(&[frame]);
        assert_eq!(hand.session.state(), State::Closed(CloseReason::InvalidMessage), "{frame:?}");
        assert_eq!(hand.sent_kinds(), [Kind::Close]);
        assert_eq!(hand.session.stats().violations, 1);
    }
}

#[test]
fn a_result_before_the_login_went_out_closes_the_link() {
    let mut hand = Hand::new();
    hand.session.handle_connected(hand.now, hand.link);
    hand.give(&[fresh()]);
    assert_eq!(hand.session.state(), State::Closed(CloseReason::InvalidMessage));
}

#[test]
fn settings_outside_their_range_are_cut_to_it() {
    let mut config = Config::new(user("ann"));
    config.heartbeat = ms(10);
    let mut hand = Hand::with(config);
    login_frame(&mut hand, |login| assert_eq!(login.heartbeat_ms, 1_000));
    let mut config = Config::new(user("ann"));
    config.heartbeat = secs(10_000);
    let mut hand = Hand::with(config);
    login_frame(&mut hand, |login| assert_eq!(login.heartbeat_ms, 300_000));
}

#[test]
fn a_server_cannot_allow_less_than_a_login_or_more_than_memory() {
    for (said, taken) in [(0, 8_192), (u32::MAX, 64 << 20)] {
        let mut hand = Hand::new();
        hand.connect();
        let mut welcome = welcome(Mode::Fresh, 0);
        welcome.max_frame = said;
        hand.give(&[Frame::LoginResult(LoginResult::Succeed(welcome))]);
        assert_eq!(hand.session.limits().max_frame, taken);
    }
}

#[test]
fn time_that_goes_back_changes_nothing() {
    let mut hand = Hand::online();
    hand.pass(secs(3));
    let next = hand.session.poll_timeout();
    hand.session.handle_timeout(Instant::ZERO);
    assert_eq!(hand.session.poll_timeout(), next);
    hand.session.send_certainly(Instant::ZERO, &to_bob(), 1, body("x"), Some(secs(1))).unwrap();
    assert_eq!(hand.session.poll_timeout(), Some((hand.now + secs(1), TimerKind::Outcome)));
}

/// Each code has its reason, for when the close that follows it does not come.
#[test]
fn a_refusal_without_its_close_ends_for_the_reason_of_its_code() {
    let reasons = [
        (LoginCode::Failed, CloseReason::LoginFailed),
        (LoginCode::HadLoggedOn, CloseReason::NewConnectionIgnored),
        (LoginCode::VersionMismatched, CloseReason::VersionMismatched),
        (LoginCode::ClientTypeMismatched, CloseReason::UnauthorisedClientType),
    ];
    for (result, reason) in reasons {
        let mut hand = Hand::new();
        hand.connect();
        hand.give(&[Frame::LoginResult(LoginResult::Refused { result, cause: "" })]);
        hand.cut();
        assert_eq!(hand.session.state(), State::Closed(reason), "{result:?}");
    }
}

#[test]
fn what_is_printed_of_a_configuration_has_no_secret_in_it() {
    let credential = Credential { kind: CredentialKind::Password, bytes: "hunter2".into() };
    let config = Config { credential, system_token: "token-of-ann".into(), ..Config::new(user("ann")) };
    let printed = std::format!("{config:?}");
    assert!(printed.contains("ann") && printed.contains("Password"), "{printed}");
    assert!(!printed.contains("hunter2") && !printed.contains("token-of-ann"), "{printed}");
    assert!(!printed.contains("104, 117, 110"), "nor its bytes: {printed}");
}
