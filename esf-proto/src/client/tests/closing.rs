//! Every way in which a link or the session ends from outside, and log-off.

use super::harness::*;
use crate::{
    client::{Action, Config, Event, QueryToken, SendError, SendOptions, State},
    close::CloseReason,
    failure::Failure,
    ids::{DeviceKind, InstanceId},
    login::{LoginCode, Mode},
    time::Instant,
    wire::{Address, Envelope, Frame, Kind},
};
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// How long the session waits for its next attempt.
fn wait(hand: &Hand) -> Duration {
    match hand.session.state() {
        State::Waiting { until } => until.since(hand.now),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_reason_reconnects_or_ends_as_the_table_says_by_frame_and_by_code() {
    for reason in CloseReason::ALL {
        for by_frame in [true, false] {
            let mut hand = Hand::online();
            let link = hand.link;
            if by_frame {
                hand.give(&[close(*reason)]);
                assert_eq!(hand.actions(), [Action::Close { link, reason: None }]);
            } else {
                hand.session.handle_link_closed(hand.now, link, Some(reason.websocket_code()));
            }
            if reason.may_reconnect() {
                assert_eq!(hand.events(), [Event::ConnectionInterrupted { reason: *reason }]);
                assert!(matches!(hand.session.state(), State::Waiting { .. }));
                continue;
            }
            assert_eq!(hand.session.state(), State::Closed(*reason));
            let mut expected = std::vec![Event::Closed { reason: *reason }];
            match reason {
                CloseReason::PushedOut => expected.insert(0, Event::BeingPushedOut),
                CloseReason::Kicked => expected.insert(0, Event::BeingKickedOut),
                _ => {}
            }
            assert_eq!(hand.events(), expected);
        }
    }
}

#[test]
fn other_websocket_codes_are_an_interrupted_network() {
    for code in [None, Some(1000), Some(1001), Some(1006), Some(1009), Some(3999), Some(4020), Some(65_535)] {
        let mut hand = Hand::online();
        hand.session.handle_link_closed(hand.now, hand.link, code);
        assert_eq!(hand.events(), [Event::ConnectionInterrupted { reason: CloseReason::NetworkInterrupted }]);
    }
}

#[test]
fn what_follows_a_close_in_the_same_message_is_not_read() {
    let mut hand = Hand::online();
    hand.give(&[close(CloseReason::Internal), information("late")]);
    assert_eq!(hand.messages().len(), 0);
    // The close is the last frame that was looked at.
    assert_eq!((hand.session.stats().frames_in, hand.session.stats().violations), (2, 0));
}

#[test]
fn at_the_end_each_pending_id_has_its_outcome_before_closed() {
    let mut hand = Hand::online();
    let out = hand.certainly("handed out");
    let asked = hand.ask();
    let told = SendOptions { tell: Some(4), ..SendOptions::default() };
    hand.session.send(hand.now, &to_bob(), 1, body("handed out"), told).unwrap();
    hand.sent();
    let waits = hand.certainly("waits");
    let told = SendOptions { tell: Some(5), ..SendOptions::default() };
    hand.session.send(hand.now, &to_bob(), 1, body("waits"), told).unwrap();
    hand.give(&[close(CloseReason::Kicked)]);
    assert_eq!(
        hand.events(),
        [
            Event::BeingKickedOut,
            Event::Failed { id: out, failure: Failure::ConnectionLost },
            Event::Failed { id: asked, failure: Failure::ConnectionLost },
            Event::Failed { id: waits, failure: Failure::Offline },
            Event::Undeliverable { note: 4, failure: Failure::ConnectionLost },
            Event::Undeliverable { note: 5, failure: Failure::Offline },
            Event::Closed { reason: CloseReason::Kicked },
        ]
    );
    assert_eq!(hand.session.queued_bytes(), 0);
}

#[test]
fn after_closed_nothing_comes_out_and_nothing_is_taken() {
    let mut hand = Hand::online();
    hand.give(&[information("not pulled"), query(1), close(CloseReason::Kicked)]);
    let events = hand.events();
    assert_eq!(events.last(), Some(&Event::Closed { reason: CloseReason::Kicked }));
    hand.actions();
    let link = hand.link;
    hand.give(&[information("late"), fresh()]);
    hand.session.handle_connected(hand.now, link);
    hand.session.handle_text(hand.now, link);
    hand.session.handle_link_closed(hand.now, link, None);
    hand.session.reply(hand.now, QueryToken(1), Ok(Bytes::new()));
    hand.session.log_off(hand.now);
    hand.pass(secs(100));
    assert_eq!(
        hand.session.send(hand.now, &to_bob(), 1, body("x"), SendOptions::default()),
        Err(SendError::Closed(body("x")))
    );
    assert_eq!(hand.session.query(hand.now, &to_bob(), 1, body("y"), None), Err(SendError::Closed(body("y"))));
    assert_eq!(hand.session.ping(hand.now, &to_bob()), Err(SendError::Closed(Bytes::new())));
    assert_eq!(hand.session.poll_message(), None);
    assert_eq!(hand.session.poll_event(), None);
    assert_eq!(hand.session.poll_action(), None);
    assert_eq!(hand.session.poll_transmit(hand.now), None);
    assert_eq!(hand.session.poll_timeout(), None);
    assert_eq!(hand.session.state(), State::Closed(CloseReason::Kicked));
}

#[test]
fn messages_can_be_pulled_until_closed_was_taken() {
    let mut hand = Hand::online();
    hand.give(&[certain(1), certain(2), close(CloseReason::PushedOut)]);
    assert_eq!(hand.messages().len(), 2, "they were acknowledged");
}

#[test]
fn a_stored_message_that_is_handled_after_the_end_leaves_nothing_behind() {
    let mut hand = Hand::online();
    let kept = message(&[certain(1)]);
    hand.give(&[Frame::Stored { envelope: from(SERVER, 9), accepted_at_ms: 1, tries: 0, frame: &kept }]);
    let stored: Vec<_> = hand.messages().into_iter().filter_map(|message| message.stored).collect();
    hand.give(&[close(CloseReason::Kicked)]);
    for stored in &stored {
        hand.session.confirm(hand.now, stored.id);
    }
    assert_eq!((stored.len(), hand.session.queued_bytes()), (1, 0));
}

#[test]
fn violations_are_told_by_frame_and_code_and_end_the_session() {
    let cases: [(&str, Bytes, CloseReason); 6] = [
        ("no frame", Bytes::from_static(b"hello, world"), CloseReason::TooLarge),
        ("empty", Bytes::new(), CloseReason::InvalidMessage),
        ("a length that lies", Bytes::from_static(&[200, 0, 0, 0, 7, 0, 0]), CloseReason::InvalidMessage),
        ("too short for a header", Bytes::from_static(&[1, 0, 0, 0, 7]), CloseReason::InvalidMessage),
        ("a frame for servers", message(&[Frame::Heartbeat { nonce: 1 }]), CloseReason::InvalidMessage),
        ("a second welcome", message(&[fresh()]), CloseReason::InvalidMessage),
    ];
    for (name, bytes, reason) in cases {
        let mut hand = Hand::online();
        let link = hand.link;
        hand.give_bytes(bytes);
        assert_eq!(hand.session.state(), State::Closed(reason), "{name}");
        assert_eq!(hand.actions(), [Action::Close { link, reason: Some(reason) }]);
        let sent = hand.sent();
        assert_eq!(sent[0].decode(), Ok(Frame::Close { reason, text: reason.text() }));
        assert_eq!(hand.events(), [Event::Closed { reason }]);
        assert_eq!(hand.session.stats().violations, 1);
    }
    let mut hand = Hand::online();
    hand.session.handle_text(hand.now, hand.link);
    assert_eq!(hand.session.state(), State::Closed(CloseReason::InvalidMessage));
}

#[test]
fn waits_grow_and_know_whether_a_resume_is_possible() {
    let longest = |attempts: usize| {
        (0..60)
            .map(|jitter| {
                let mut hand = Hand::with_jitter(Config::new(user("ann")), jitter).log_in();
                hand.cut();
                for _ in 0..attempts {
                    hand.await_link();
                    hand.session.handle_connect_failed(hand.now, hand.link);
                }
                wait(&hand)
            })
            .max()
            .unwrap()
    };
    assert!(longest(0) <= ms(200) && longest(0) > ms(150), "{:?}", longest(0));
    assert!(longest(2) <= ms(800) && longest(2) > ms(600), "{:?}", longest(2));
    let capped = longest(8);
    assert!(capped <= secs(5) && capped > secs(4), "{capped:?}");
    // The window of 60 s is over after so many attempts.
    let over = longest(60);
    assert!(over <= secs(30) && over > secs(25), "{over:?}");
}

#[test]
fn the_resume_window_runs_from_the_cut() {
    let longest = (0..60).map(|jitter| {
        let mut hand = Hand::with_jitter(Config::new(user("ann")), jitter).log_in();
        for nonce in 0..40 {
            hand.pass(secs(3));
            hand.give(&[Frame::HeartbeatAck { nonce }]);
        }
        hand.cut();
        for _ in 0..8 {
            hand.await_link();
            hand.session.handle_connect_failed(hand.now, hand.link);
        }
        wait(&hand)
    });
    let longest = longest.max().unwrap();
    assert!(longest <= secs(5) && longest > secs(4), "{longest:?}");
}

#[test]
fn a_steady_link_starts_the_series_anew() {
    let waits = |steady: bool| {
        (0..40)
            .map(|jitter| {
                let mut hand = Hand::with_jitter(Config::new(user("ann")), jitter).log_in();
                for _ in 0..8 {
                    hand.reconnect();
                    hand.give(&[resumed(0)]);
                    hand.sent();
                }
                if steady {
                    for _ in 0..4 {
                        hand.pass(secs(3));
                        hand.give(&[Frame::HeartbeatAck { nonce: 0 }]);
                        hand.sent();
                    }
                }
                hand.cut();
                wait(&hand)
            })
            .max()
            .unwrap()
    };
    assert!(waits(true) <= ms(200));
    assert!(waits(false) > secs(4));
}

#[test]
fn go_away_is_obeyed_and_the_session_is_kept() {
    let mut hand = Hand::online();
    let id = hand.certainly("a");
    hand.sent();
    let link = hand.link;
    hand.give(&[Frame::GoAway { retry_after_ms: 20_000 }, information("not read")]);
    assert_eq!(
        hand.events(),
        [Event::GoAway { retry_after: secs(20) }, Event::ConnectionInterrupted { reason: CloseReason::GoingAway },]
    );
    assert_eq!(hand.actions(), [Action::Close { link, reason: Some(CloseReason::GoingAway) }]);
    assert!(wait(&hand) >= secs(20) && wait(&hand) <= secs(25), "{:?}", wait(&hand));
    let last = hand.session.poll_transmit(hand.now).unwrap();
    assert_eq!(last.link, link);
    hand.pass(secs(19));
    assert!(matches!(hand.session.state(), State::Waiting { .. }));
    hand.await_link();
    hand.connect();
    hand.give(&[resumed(1), ack(id.0)]);
    assert_eq!(hand.outcomes(), [(id.0, "acked")]);
    assert_eq!(hand.messages().len(), 0);
}

#[test]
fn go_away_before_the_result_of_a_login_is_obeyed_too() {
    let mut hand = Hand::new();
    hand.connect();
    hand.give(&[Frame::GoAway { retry_after_ms: 1_000 }]);
    assert!(wait(&hand) >= secs(1));
    assert_eq!(hand.sent_kinds(), [Kind::Close]);
    hand.await_link();
    hand.connect();
    hand.give(&[fresh()]);
    assert!(matches!(hand.events().last(), Some(Event::LoginCompleted { .. })));
}

#[test]
fn log_off_hands_out_answers_withdraws_what_waits_and_says_so() {
    let mut hand = Hand::online();
    let out = hand.certainly("handed out");
    hand.sent();
    let waits = hand.certainly("waits");
    let asks = hand.ask();
    let told = SendOptions { tell: Some(5), ..SendOptions::default() };
    hand.session.send(hand.now, &to_bob(), 1, body("plain"), told).unwrap();
    hand.give(&[certain(1)]);
    hand.session.log_off(hand.now);
    assert_eq!(hand.session.state(), State::LoggingOff);
    assert_eq!(
        hand.events(),
        [
            Event::Failed { id: asks, failure: Failure::Offline },
            Event::Failed { id: waits, failure: Failure::Offline },
            Event::Undeliverable { note: 5, failure: Failure::Offline },
        ]
    );
    assert_eq!(
        hand.session.send_certainly(hand.now, &to_bob(), 1, body("no"), None),
        Err(SendError::Closed(body("no")))
    );
    let link = hand.link;
    let sent = hand.sent();
    assert_eq!(kinds(&sent), [Kind::Ack, Kind::Close]);
    assert!(matches!(sent[1].decode(), Ok(Frame::Close { reason: CloseReason::LoggedOff, .. })));
    assert_eq!(hand.actions(), [Action::Close { link, reason: Some(CloseReason::LoggedOff) }]);
    assert_eq!(
        hand.events(),
        [Event::Failed { id: out, failure: Failure::ConnectionLost }, Event::Closed { reason: CloseReason::LoggedOff },]
    );
}

#[test]
fn what_arrives_while_it_logs_off_is_not_acknowledged_but_answers_count() {
    let mut hand = Hand::online();
    let id = hand.certainly("a");
    hand.sent();
    hand.session.log_off(hand.now);
    let other = Address::Engine { user: "ann", device: DeviceKind::SERVICE, instance: InstanceId(6) };
    hand.give(&[Frame::Ack { envelope: Envelope::new(other, BOB, id.0) }]);
    assert_eq!(hand.outcomes(), []);
    hand.give(&[certain(1), query(2), ack(id.0)]);
    assert_eq!(hand.outcomes(), [(id.0, "acked")]);
    assert_eq!(hand.sent_kinds(), [Kind::Close]);
    assert_eq!(hand.messages().len(), 0);
}

#[test]
fn a_log_off_whose_link_takes_nothing_ends_all_the_same() {
    let mut hand = Hand::online();
    hand.give(&[certain(1)]);
    hand.session.log_off(hand.now);
    // Nothing is pulled.
    hand.pass(secs(2));
    assert_eq!(hand.events(), [Event::Closed { reason: CloseReason::LoggedOff }]);
    // And one whose link breaks.
    let mut hand = Hand::online();
    hand.session.log_off(hand.now);
    hand.cut();
    assert_eq!(hand.events(), [Event::Closed { reason: CloseReason::LoggedOff }]);
}

#[test]
fn log_off_without_a_login_ends_at_once() {
    let closed = [Event::Closed { reason: CloseReason::LoggedOff }];
    let mut hand = Hand::new();
    let link = hand.link;
    hand.session.log_off(hand.now);
    assert_eq!((hand.events(), hand.actions()), (closed.to_vec(), std::vec![Action::Drop { link }]));

    let mut hand = Hand::new();
    hand.connect();
    hand.session.log_off(hand.now);
    assert_eq!(hand.sent_kinds(), [Kind::Close]);
    assert_eq!(
        (hand.events(), hand.actions()),
        (closed.to_vec(), std::vec![Action::Close { link, reason: Some(CloseReason::LoggedOff) }])
    );

    let mut hand = Hand::online();
    hand.cut();
    hand.events();
    hand.session.log_off(hand.now);
    assert_eq!((hand.events(), hand.actions()), (closed.to_vec(), std::vec![]));
    hand.pass(secs(100));
    assert_eq!(hand.session.poll_timeout(), None);
}

#[test]
fn the_session_says_once_that_it_connects_again() {
    let mut hand = Hand::online();
    hand.cut();
    for _ in 0..5 {
        hand.await_link();
        hand.session.handle_connect_failed(hand.now, hand.link);
    }
    hand.await_link();
    hand.connect();
    hand.give(&[resumed(0)]);
    assert_eq!(
        hand.events(),
        [
            Event::ConnectionInterrupted { reason: CloseReason::NetworkInterrupted },
            Event::ConnectionRebuildStart,
            Event::RelogonCompleted { code: LoginCode::Succeed, mode: Some(Mode::Resumed) },
        ]
    );
    assert!(hand.now > Instant::ZERO);
}
