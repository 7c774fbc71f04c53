use super::*;
use crate::{
    ids::DeviceKind,
    server::testing::{at, login, placed, raw},
    wire::Flags,
};
use std::{string::ToString, vec, vec::Vec};

fn link_with(config: Config) -> (Link, Arc<Counters>) {
    let counters = Arc::new(Counters::default());
    (Link::new(&Arc::new(config), &counters, LinkId(1), at(0)), counters)
}

fn link() -> Link {
    link_with(Config::default()).0
}

fn frame(link: &mut Link, now: u64, frame: &Frame<'_>) -> Option<RawFrame> {
    link.handle_frame(at(now), Ok(raw(frame, Flags::default())))
}

fn attached(config: Config) -> (Link, Arc<Counters>) {
    let (mut link, counters) = link_with(config);
    frame(&mut link, 0, &Frame::Login(login()));
    link.handle_response(AppResponse::Accept(Rights::NONE.into()));
    let claim = link.poll_login().unwrap();
    link.handle_placed(at(0), &claim, &placed());
    assert!(link.poll_transmit().is_some());
    (link, counters)
}

fn told(link: &mut Link) -> Vec<RawFrame> {
    core::iter::from_fn(|| link.poll_transmit()).map(|frame| RawFrame::parse(frame).unwrap()).collect()
}

fn read(read: u64) -> Transport {
    Transport { read, ..Transport::default() }
}

/// Nothing more may come out of a link.
fn assert_silent(link: &mut Link) {
    assert!(link.poll_transmit().is_none() && link.poll_action().is_none());
    assert!(link.poll_request().is_none() && link.poll_login().is_none() && link.poll_left().is_none());
    assert_eq!(link.poll_timeout(), None);
}

#[test]
fn a_login_is_judged_placed_and_welcomed() {
    let mut link = link();
    assert_eq!((link.max_frame(), link.max_message()), (8_192, 8_192));
    assert!(frame(&mut link, 0, &Frame::Login(login())).is_none());
    let Some(AppRequest::Authenticate(request)) = link.poll_request() else { panic!("the credential is to be judged") };
    assert_eq!((request.user.as_str(), &request.credential[..]), ("ann", &b"secret"[..]));
    link.handle_response(AppResponse::Accept(Rights::KICK.into()));
    let claim = link.poll_login().unwrap();
    assert_eq!((claim.rights, claim.heartbeat), (Rights::KICK, Duration::from_secs(5)));
    link.handle_placed(at(0), &claim, &placed());
    assert_eq!((link.max_frame(), link.max_message()), (1 << 20, (1 << 20) + (64 << 10)));
    assert!(frame(&mut link, 0, &Frame::Heartbeat { nonce: 1 }).is_some(), "for the session");
}

#[test]
fn a_welcome_goes_out_whatever_the_product_is_called() {
    let (mut link, _) = link_with(Config { product: "ä".repeat(200), ..Config::default() });
    frame(&mut link, 0, &Frame::Login(login()));
    link.handle_response(AppResponse::Accept(Rights::NONE.into()));
    let claim = link.poll_login().unwrap();
    link.handle_placed(at(0), &claim, &placed());
    let frames = told(&mut link);
    let Ok(Frame::LoginResult(LoginResult::Succeed(welcome))) = frames[0].decode() else { panic!("a welcome") };
    assert_eq!(welcome.product, "ä".repeat(127));
}

#[test]
fn a_refused_login_is_told_why_and_closed() {
    let cases: Vec<(Login<'_>, LoginCode, CloseReason)> = vec![
        (
            Login { device: DeviceKind(6), ..login() },
            LoginCode::ClientTypeMismatched,
            CloseReason::UnauthorisedClientType,
        ),
        (Login { heartbeat_ms: 999, ..login() }, LoginCode::Failed, CloseReason::LoginFailed),
        (Login { heartbeat_ms: 300_001, ..login() }, LoginCode::Failed, CloseReason::LoginFailed),
    ];
    for (login, code, reason) in cases {
        let mut link = link();
        frame(&mut link, 0, &Frame::Login(login));
        let frames = told(&mut link);
        assert!(matches!(
            frames[0].decode(),
            Ok(Frame::LoginResult(LoginResult::Refused { result, .. })) if result == code
        ));
        assert!(matches!(frames[1].decode(), Ok(Frame::Close { reason: told, .. }) if told == reason));
        assert_eq!(link.poll_action(), Some(LinkAction::Close(reason)));
        assert_silent(&mut link);
    }
}

#[test]
fn before_its_login_a_link_may_ask_once_and_nothing_else() {
    let mut link = link();
    let question = Frame::PreQuery { info_type: 3, body: b"version?" };
    frame(&mut link, 0, &question);
    assert!(matches!(link.poll_request(), Some(AppRequest::PreQuery { info_type: 3, .. })));
    link.handle_response(AppResponse::PreReply(Ok(Bytes::from_static(b"1"))));
    assert!(matches!(told(&mut link)[0].decode(), Ok(Frame::PreReply { status: Ok(()), body: b"1" })));
    frame(&mut link, 0, &question);
    assert!(matches!(told(&mut link)[0].decode(), Ok(Frame::Close { reason: CloseReason::InvalidMessage, .. })));
    for early in [Frame::Heartbeat { nonce: 1 }, Frame::Count { received: 0, taken: 0 }] {
        let (mut link, counters) = link_with(Config::default());
        frame(&mut link, 0, &early);
        assert_eq!(link.state(), LinkState::Closing);
        assert_eq!(counters.closed[CloseReason::InvalidMessage as usize].get(), 1);
    }
}

#[test]
fn an_answer_before_login_that_no_client_may_take_is_too_large() {
    let mut link = link();
    frame(&mut link, 0, &Frame::PreQuery { info_type: 3, body: b"" });
    link.handle_response(AppResponse::PreReply(Ok(Bytes::from(vec![0; 9_000]))));
    let frames = told(&mut link);
    assert!(matches!(frames[0].decode(), Ok(Frame::PreReply { status: Err(Failure::TooLarge), .. })));
}

#[test]
fn a_login_and_its_judge_have_their_time() {
    let mut link = link();
    assert_eq!(link.poll_timeout(), Some((at(15_000), TimerKind::Login)));
    frame(&mut link, 10_000, &Frame::Login(login()));
    assert_eq!(link.poll_timeout(), Some((at(25_000), TimerKind::Login)));
    link.handle_timeout(at(25_000));
    assert_eq!(told(&mut link).len(), 1);
    assert_eq!(link.poll_action(), Some(LinkAction::Close(CloseReason::LoginTimeout)));
    link.handle_response(AppResponse::Accept(Rights::NONE.into()));
    assert_silent(&mut link);
}

#[test]
fn silence_is_met_with_pings_and_then_with_the_end() {
    let (mut link, _) = attached(Config::default());
    link.handle_transport(at(5_000), read(10));
    let mut pings = 0;
    while let Some((due, _)) = link.poll_timeout() {
        link.handle_timeout(due);
        assert!(link.poll_timeout().is_none_or(|(next, _)| next > due), "a timer that was handled lies ahead");
        match link.poll_action() {
            Some(LinkAction::Ping) => pings += 1,
            _ if link.state() == LinkState::Closing => {
                assert_eq!(due, at(35_000));
                break;
            }
            _ => {}
        }
    }
    assert_eq!((pings, link.poll_left()), (2, Some(CloseReason::HeartbeatTimeout)));
}

#[test]
fn a_late_timer_of_liveness_waits_anew() {
    let (mut link, counters) = attached(Config::default());
    link.handle_timeout(at(600_000));
    assert_eq!(link.state(), LinkState::Attached);
    assert!(counters.timers_late.get() > 0);
    link.handle_timeout(at(630_000));
    assert_eq!(link.state(), LinkState::Closing);
}

#[test]
fn a_server_that_never_pings_and_never_gives_up_has_no_timer() {
    let (mut link, _) = attached(Config { ping_after: Duration::ZERO, liveness: Duration::ZERO, ..Config::default() });
    link.handle_timeout(at(1_000_000));
    assert_eq!((link.poll_timeout(), link.state()), (None, LinkState::Attached));
}

#[test]
fn bytes_that_stand_still_close_the_link_and_those_that_move_do_not() {
    let (mut link, _) = attached(Config { ping_after: Duration::ZERO, liveness: Duration::ZERO, ..Config::default() });
    let stuck = |written| Transport { written, unflushed: true, ..Transport::default() };
    link.handle_transport(at(0), stuck(1));
    link.handle_transport(at(29_000), stuck(2));
    assert_eq!(link.poll_timeout(), Some((at(59_000), TimerKind::Overflow)));
    link.handle_transport(at(58_000), stuck(2));
    link.handle_timeout(at(59_000));
    assert_eq!(link.poll_left(), Some(CloseReason::ChannelOverflow));
    link.handle_transport(at(60_000), stuck(2));
    assert_eq!(link.poll_timeout(), None, "a closing link waits for nothing here");
}

#[test]
fn time_that_goes_back_is_not_believed() {
    let (mut link, _) = attached(Config { ping_after: Duration::ZERO, ..Config::default() });
    link.handle_transport(at(20_000), read(1));
    link.handle_transport(at(10_000), read(2));
    link.handle_timeout(at(30_000));
    assert_eq!(link.poll_timeout(), Some((at(50_000), TimerKind::Liveness)));
}

#[test]
fn after_the_transport_is_gone_nothing_comes_out() {
    let (mut link, _) = attached(Config::default());
    link.ping();
    link.close(CloseReason::Kicked);
    assert_eq!(link.poll_left(), Some(CloseReason::Kicked));
    link.handle_closed(None);
    link.handle_transport(at(1), Transport { unflushed: true, ..read(1) });
    link.handle_text();
    frame(&mut link, 1, &Frame::Heartbeat { nonce: 1 });
    link.go_away(Duration::ZERO);
    link.close(CloseReason::Kicked);
    link.handle_timeout(at(1_000_000));
    assert_silent(&mut link);
}

#[test]
fn a_place_that_comes_after_the_link_has_closed_changes_nothing() {
    let mut link = link();
    frame(&mut link, 0, &Frame::Login(login()));
    link.handle_response(AppResponse::Accept(Rights::NONE.into()));
    let claim = link.poll_login().unwrap();
    link.close(CloseReason::GoingAway);
    told(&mut link);
    link.poll_action().unwrap();
    link.handle_placed(at(0), &claim, &placed());
    assert_eq!((told(&mut link), link.poll_left()), (vec![], None));
}

#[test]
fn how_a_link_ended_is_told_by_its_frame_or_by_its_code() {
    for (code, reason) in [
        (Some(4011), CloseReason::LoggedOff),
        (Some(1000), CloseReason::NetworkInterrupted),
        (Some(4999), CloseReason::NetworkInterrupted),
        (None, CloseReason::NetworkInterrupted),
    ] {
        let (mut link, _) = attached(Config::default());
        link.handle_closed(code);
        assert_eq!(link.poll_left(), Some(reason), "{code:?}");
        assert_silent(&mut link);
    }
    let (mut link, counters) = attached(Config::default());
    frame(&mut link, 1, &Frame::Close { reason: CloseReason::LoggedOff, text: "" });
    assert_eq!(link.poll_left(), Some(CloseReason::LoggedOff));
    assert_eq!(link.poll_action(), Some(LinkAction::Close(CloseReason::LoggedOff)));
    assert_eq!(counters.closed.iter().map(super::super::Counter::get).sum::<u64>(), 0, "it was not this server");
}

#[test]
fn a_client_that_is_told_to_come_later_is_told_when() {
    let mut link = link();
    frame(&mut link, 0, &Frame::Login(login()));
    link.handle_response(AppResponse::Later { retry_after: Duration::from_millis(700) });
    let frames = told(&mut link);
    assert!(matches!(frames[0].decode(), Ok(Frame::GoAway { retry_after_ms: 700 })));
    assert!(matches!(frames[1].decode(), Ok(Frame::Close { reason: CloseReason::GoingAway, .. })));
}

#[test]
fn a_cause_is_cut_between_characters() {
    let mut link = link();
    frame(&mut link, 0, &Frame::Login(login()));
    link.handle_response(AppResponse::Refuse { cause: "ä".repeat(200) });
    let frames = told(&mut link);
    let Ok(Frame::LoginResult(LoginResult::Refused { cause, .. })) = frames[0].decode() else { panic!("refused") };
    assert_eq!(cause.to_string(), "ä".repeat(127));
}
