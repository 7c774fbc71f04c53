//! What a cut leaves: replay both ways, a fresh session, and every outcome.

use super::harness::*;
use crate::{
    client::{Config, Event, QueryToken, SendOptions, State},
    close::CloseReason,
    failure::Failure,
    ids::MessageId,
    login::{LoginCode, Mode},
    wire::{Frame, Kind, LoginResult},
};

fn send(hand: &mut Hand, text: &'static str) {
    hand.session.send(hand.now, &to_bob(), 1, body(text), SendOptions::default()).unwrap();
}

#[test]
fn a_resume_counts_first_then_replays_what_is_missing_then_sends_what_waits() {
    let mut hand = Hand::online();
    for text in ["a", "b", "c"] {
        send(&mut hand, text);
    }
    assert_eq!(texts(&hand.sent()), ["a", "b", "c"]);
    hand.give(&[information("x"), information("y")]);
    hand.cut();
    send(&mut hand, "d");
    hand.await_link();
    hand.connect();
    hand.give(&[resumed(1)]);
    assert_eq!(hand.session.state(), State::Online);
    let sent = hand.sent();
    assert_eq!(sent[0].decode(), Ok(Frame::Count { received: 2, taken: 0 }));
    assert_eq!(texts(&sent), ["b", "c", "d"]);
    assert_eq!(hand.session.stats().replayed, 2);
    assert_eq!(
        hand.events(),
        [
            Event::ConnectionInterrupted { reason: CloseReason::NetworkInterrupted },
            Event::ConnectionRebuildStart,
            Event::RelogonCompleted { code: LoginCode::Succeed, mode: Some(Mode::Resumed) },
        ]
    );
}

#[test]
fn a_resume_when_the_server_had_nothing_replays_all_with_the_same_bytes() {
    let mut hand = Hand::online();
    hand.certainly("a");
    hand.ask();
    let first = hand.sent();
    for _ in 0..2 {
        hand.reconnect();
        hand.give(&[resumed(0)]);
        assert_eq!(hand.sent()[1..], first[..]);
    }
}

#[test]
fn the_server_replays_and_nothing_runs_twice_or_is_lost() {
    let mut hand = Hand::online();
    hand.give(&[certain(1), certain(2)]);
    hand.cut();
    hand.await_link();
    hand.session.handle_connected(hand.now, hand.link);
    let sent = hand.sent();
    let Ok(Frame::Login(login)) = sent[0].decode() else { panic!("no login") };
    assert_eq!(login.resume.unwrap().received, 2);
    hand.give(&[resumed(0), certain(3)]);
    assert_eq!(
        hand.messages().iter().map(|message| message.id).collect::<std::vec::Vec<_>>(),
        [1, 2, 3].map(|id| Some(MessageId(id)))
    );
}

#[test]
fn acks_that_the_server_has_not_counted_are_replayed() {
    let mut hand = Hand::online();
    hand.give(&[certain(1)]);
    assert_eq!(hand.sent_kinds(), [Kind::Ack]);
    hand.reconnect();
    hand.give(&[resumed(0)]);
    assert_eq!(hand.sent_kinds(), [Kind::Count, Kind::Ack]);
    hand.reconnect();
    hand.give(&[resumed(1)]);
    assert_eq!(hand.sent_kinds(), [Kind::Count]);
}

#[test]
fn an_outcome_counts_once_over_a_resume() {
    let mut hand = Hand::online();
    let id = hand.certainly("a");
    hand.sent();
    hand.give(&[ack(1)]);
    hand.reconnect();
    hand.give(&[resumed(1), ack(1)]);
    assert_eq!(hand.outcomes(), [(id.0, "acked")]);
    assert_eq!(hand.session.stats().answers_unasked, 1);
}

#[test]
fn counts_that_no_honest_server_can_state_close_the_link() {
    for received in [2, u32::MAX] {
        let mut hand = Hand::online();
        send(&mut hand, "a");
        hand.sent();
        hand.reconnect();
        hand.give(&[resumed(received)]);
        assert_eq!(hand.session.state(), State::Closed(CloseReason::InvalidMessage));
    }
    let mut hand = Hand::online();
    send(&mut hand, "a");
    hand.sent();
    hand.give(&[Frame::Count { received: 2, taken: 0 }]);
    assert_eq!(hand.session.state(), State::Closed(CloseReason::InvalidMessage));
}

#[test]
fn fresh_resends_certain_ones_in_order_ahead_of_what_waits_and_loses_queries() {
    let mut hand = Hand::online();
    let first = hand.certainly("first");
    let asked = hand.ask();
    send(&mut hand, "plain");
    let second = hand.certainly("second");
    hand.sent();
    hand.cut();
    send(&mut hand, "waits");
    let third = hand.certainly("third");
    let waiting = hand.ask();
    hand.await_link();
    hand.connect();
    hand.events();
    hand.give(&[fresh()]);
    assert_eq!(
        hand.events(),
        [
            Event::RelogonCompleted { code: LoginCode::Succeed, mode: Some(Mode::Fresh) },
            Event::Failed { id: asked, failure: Failure::ConnectionLost },
        ]
    );
    let sent = hand.sent();
    assert_eq!(kinds(&sent)[0], Kind::Query, "what waits of queries goes out, once");
    assert_eq!(sent[0].envelope().unwrap().id, waiting.0);
    assert_eq!(texts(&sent), ["+first", "+second", "waits", "third"]);
    let ids: std::vec::Vec<u64> = sent[1..3].iter().map(|frame| frame.envelope().unwrap().id).collect();
    assert_eq!(ids, [first.0, second.0], "under their old ids");
    assert_eq!(hand.session.stats().resent, 2);
    hand.give(&[ack(first.0), ack(second.0), ack(third.0)]);
    assert_eq!(hand.outcomes(), [(first.0, "acked"), (second.0, "acked"), (third.0, "acked")]);
}

#[test]
fn a_resend_that_still_waits_is_not_queued_twice() {
    let mut hand = Hand::online();
    hand.certainly("a");
    hand.certainly("b");
    hand.sent();
    for _ in 0..3 {
        hand.reconnect();
        hand.give(&[fresh()]);
    }
    assert_eq!(texts(&hand.sent()), ["+a", "+b"]);
    // Handed out in the new session, then lost again.
    hand.reconnect();
    hand.give(&[fresh()]);
    assert_eq!(texts(&hand.sent()), ["+a", "+b"]);
}

#[test]
fn once_resent_every_failure_is_told_as_lost() {
    let mut hand = Hand::online();
    let resent = hand.certainly("a");
    hand.sent();
    hand.reconnect();
    hand.give(&[fresh()]);
    let new = hand.certainly("b");
    hand.sent();
    hand.give(&[failure(Kind::Certain, resent.0, Failure::Offline), failure(Kind::Certain, new.0, Failure::Offline)]);
    assert_eq!(hand.outcomes(), [(resent.0, "lost"), (new.0, "offline")]);
}

#[test]
fn an_answer_withdraws_a_resend_that_waits() {
    let mut hand = Hand::online();
    let id = hand.certainly("a");
    hand.sent();
    hand.reconnect();
    hand.give(&[fresh(), ack(id.0)]);
    assert_eq!(hand.outcomes(), [(id.0, "acked")]);
    assert_eq!(texts(&hand.sent()), [""; 0]);
    assert_eq!(hand.session.queued_bytes(), 0);
}

#[test]
fn answers_that_were_not_counted_go_again_after_fresh_and_counted_ones_do_not() {
    let mut hand = Hand::online();
    hand.give(&[query(5), certain(1), certain(2)]);
    let token = hand.events().into_iter().find_map(|event| match event {
        Event::Query(query) => Some(query.token),
        _ => None,
    });
    hand.session.reply(hand.now, token.unwrap(), Ok(body("answer")));
    assert_eq!(hand.sent_kinds(), [Kind::Ack, Kind::Ack, Kind::Reply]);
    hand.give(&[Frame::Count { received: 1, taken: 0 }]);
    hand.cut();
    // An answer that was never handed out comes after those that were.
    hand.await_link();
    hand.connect();
    hand.give(&[fresh(), certain(3)]);
    let sent = hand.sent();
    assert_eq!(kinds(&sent), [Kind::Ack, Kind::Reply, Kind::Ack]);
    let ids: std::vec::Vec<u64> = sent.iter().map(|frame| frame.envelope().unwrap().id).collect();
    assert_eq!(ids, [2, 5, 3]);
    // They are counted anew in the new session.
    hand.give(&[Frame::Count { received: 3, taken: 0 }]);
    assert_eq!((hand.session.queued_bytes(), hand.session.uncounted_frames()), (0, 0));
}

#[test]
fn dedupe_survives_fresh() {
    let mut hand = Hand::online();
    hand.give(&[certain(4)]);
    assert_eq!(hand.messages().len(), 1);
    hand.sent();
    hand.reconnect();
    hand.give(&[fresh()]);
    hand.sent();
    hand.give_again(&certain(4));
    assert_eq!(hand.messages().len(), 0);
    assert_eq!(hand.sent_kinds(), [Kind::Ack], "acknowledged again");
    hand.give_again(&certain(3));
    let sent = hand.sent();
    assert!(matches!(sent[0].decode(), Ok(Frame::Failure { code: Failure::ConnectionLost, .. })));
    assert_eq!((hand.session.stats().duplicates, hand.session.stats().late), (1, 1));
}

#[test]
fn a_plain_send_that_asks_to_be_told_is_told_what_became_of_it() {
    let mut hand = Hand::online();
    let told = |note| SendOptions { tell: Some(note), ..SendOptions::default() };
    for (note, text) in [(1, "counted"), (2, "lost")] {
        hand.session.send(hand.now, &to_bob(), 1, body(text), told(note)).unwrap();
    }
    hand.sent();
    hand.give(&[Frame::Count { received: 1, taken: 0 }]);
    hand.cut();
    hand.session.send(hand.now, &to_bob(), 1, body("waits"), told(3)).unwrap();
    hand.events();
    hand.await_link();
    hand.connect();
    hand.give(&[fresh()]);
    let undeliverable = |hand: &mut Hand| {
        hand.events()
            .into_iter()
            .filter(|event| matches!(event, Event::Undeliverable { .. }))
            .collect::<std::vec::Vec<_>>()
    };
    assert_eq!(undeliverable(&mut hand), [Event::Undeliverable { note: 2, failure: Failure::ConnectionLost }]);
    assert_eq!(texts(&hand.sent()), ["waits"]);
    hand.give(&[failure(Kind::Send, 3, Failure::Offline)]);
    assert_eq!(undeliverable(&mut hand), [Event::Undeliverable { note: 3, failure: Failure::Offline }]);
}

#[test]
fn timers_run_while_there_is_no_link_and_withdraw_what_waits() {
    let mut hand = Hand::online();
    let out = hand.certainly("handed out");
    hand.sent();
    hand.cut();
    let waits = hand.certainly("waits");
    let asked = hand.session.query(hand.now, &to_bob(), 2, body("?"), Some(secs(5))).unwrap();
    let bytes = hand.session.queued_bytes();
    hand.pass(secs(5));
    assert_eq!(hand.outcomes(), [(asked.0, "timed out")]);
    assert!(hand.session.queued_bytes() < bytes, "its room is given back");
    hand.pass(secs(25));
    assert_eq!(hand.outcomes(), [(out.0, "timed out"), (waits.0, "timed out")]);
    hand.session.handle_connected(hand.now, hand.link);
    hand.sent();
    hand.give(&[fresh()]);
    assert_eq!(texts(&hand.sent()), [""; 0], "nothing goes out that has its outcome");
    assert_eq!(hand.session.queued_bytes(), 0);
    assert_eq!(hand.session.stats().timed_out, 3);
}

#[test]
fn a_frame_that_was_handed_out_is_replayed_even_if_its_time_is_over() {
    let mut hand = Hand::online();
    let id = hand.session.send_certainly(hand.now, &to_bob(), 1, body("late"), Some(ms(50))).unwrap();
    hand.sent();
    hand.cut();
    hand.pass(ms(50));
    assert_eq!(hand.outcomes(), [(id.0, "timed out")]);
    hand.await_link();
    hand.connect();
    hand.give(&[resumed(0)]);
    assert_eq!(texts(&hand.sent()), ["late"]);
}

#[test]
fn messages_of_an_older_session_do_not_count_as_taken_in_the_new_one() {
    let mut hand = Hand::online();
    hand.give(&[information("old")]);
    hand.reconnect();
    hand.give(&[fresh(), information("new")]);
    hand.sent();
    assert_eq!(hand.messages().len(), 2);
    hand.pass(ms(100));
    let len = message(&[information("new")]).len();
    assert_eq!(hand.sent()[0].decode(), Ok(Frame::Count { received: 1, taken: u32::try_from(len).unwrap() }));
}

#[test]
fn a_server_with_a_smaller_limit_gets_nothing_that_is_too_large_for_it() {
    let large = bytes::Bytes::from(std::vec![b'x'; 20_000]);
    let mut hand = Hand::online();
    let resent = hand.session.send_certainly(hand.now, &to_bob(), 1, large.clone(), None).unwrap();
    hand.sent();
    hand.cut();
    let waits = hand.session.send_certainly(hand.now, &to_bob(), 1, large.clone(), None).unwrap();
    let options = SendOptions { tell: Some(9), ..SendOptions::default() };
    hand.session.send(hand.now, &to_bob(), 1, large, options).unwrap();
    let small = hand.certainly("small");
    hand.await_link();
    hand.connect();
    hand.events();
    let mut welcome = welcome(Mode::Fresh, 0);
    welcome.max_frame = 10_000;
    hand.give(&[Frame::LoginResult(LoginResult::Succeed(welcome))]);
    assert_eq!(
        hand.events()[1..],
        [
            Event::Failed { id: waits, failure: Failure::TooLarge },
            Event::Undeliverable { note: 9, failure: Failure::TooLarge },
            Event::Failed { id: resent, failure: Failure::ConnectionLost },
        ]
    );
    assert_eq!(texts(&hand.sent()), ["small"]);
    hand.give(&[ack(small.0), Frame::Count { received: 1, taken: 0 }]);
    assert_eq!(hand.session.queued_bytes(), 0);
}

#[test]
fn a_reply_that_is_too_large_for_a_new_server_is_dropped() {
    let mut hand = Hand::online();
    hand.give(&[query(5), query(6)]);
    let large = bytes::Bytes::from(std::vec![b'x'; 20_000]);
    hand.session.reply(hand.now, QueryToken(1), Ok(large.clone()));
    hand.sent();
    hand.cut();
    hand.session.reply(hand.now, QueryToken(2), Ok(large));
    hand.await_link();
    hand.connect();
    let mut welcome = welcome(Mode::Fresh, 0);
    welcome.max_frame = 10_000;
    hand.give(&[Frame::LoginResult(LoginResult::Succeed(welcome))]);
    assert_eq!(hand.sent_kinds(), []);
    assert_eq!((hand.session.stats().answers_dropped, hand.session.queued_bytes()), (2, 0));
}

#[test]
fn a_resume_may_open_the_window_wider() {
    let mut hand = Hand::online();
    for _ in 0..2 {
        let large = bytes::Bytes::from(std::vec![b'x'; 200 << 10]);
        hand.session.send(hand.now, &to_bob(), 1, large, SendOptions::default()).unwrap();
    }
    assert_eq!(hand.sent_kinds(), [Kind::Send]);
    hand.reconnect();
    let mut welcome = welcome(Mode::Resumed, 1);
    welcome.window = 512 << 10;
    hand.give(&[Frame::LoginResult(LoginResult::Succeed(welcome))]);
    assert_eq!(hand.sent_kinds(), [Kind::Count, Kind::Send]);
}

#[test]
fn a_query_of_an_older_session_can_still_be_answered() {
    let mut hand = Hand::online();
    hand.give(&[query(5)]);
    hand.reconnect();
    hand.give(&[fresh()]);
    hand.sent();
    hand.session.reply(hand.now, QueryToken(1), Ok(body("answer")));
    assert_eq!(hand.sent_kinds(), [Kind::Reply]);
}

#[test]
fn a_link_that_the_session_has_done_with_changes_nothing() {
    let mut hand = Hand::online();
    let old = hand.link;
    hand.reconnect();
    hand.give(&[resumed(0)]);
    hand.sent();
    hand.events();
    hand.session.handle_message(hand.now, old, message(&[information("late"), close(CloseReason::Kicked)]));
    hand.session.handle_link_closed(hand.now, old, Some(4009));
    hand.session.handle_connected(hand.now, old);
    hand.session.handle_connect_failed(hand.now, old);
    hand.session.handle_text(hand.now, old);
    assert_eq!(hand.session.state(), State::Online);
    assert_eq!((hand.events().len(), hand.messages().len()), (0, 0));
    assert_eq!(hand.session.stats().stale_inputs, 5);
}

#[test]
fn without_reconnect_the_first_cut_ends_the_session() {
    let mut config = Config::new(user("ann"));
    config.reconnect = false;
    let mut hand = Hand::with(config).log_in();
    let handed_out = hand.certainly("a");
    hand.sent();
    let waits = hand.certainly("b");
    hand.cut();
    assert_eq!(
        hand.events(),
        [
            Event::Failed { id: handed_out, failure: Failure::ConnectionLost },
            Event::Failed { id: waits, failure: Failure::Offline },
            Event::Closed { reason: CloseReason::NetworkInterrupted },
        ]
    );
}
