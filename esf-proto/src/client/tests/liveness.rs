//! Heartbeats, silence, clocks that jump, and bytes that stand still.

use super::harness::*;
use crate::{
    client::{Action, Config, Event, State, TimerKind, Transport},
    close::CloseReason,
    wire::{Frame, Kind},
};
use core::time::Duration;

fn heartbeat(hand: &mut Hand) -> bool {
    hand.sent_kinds().contains(&Kind::Heartbeat)
}

#[test]
fn a_heartbeat_goes_out_each_interval_with_a_count_if_anything_changed() {
    let mut hand = Hand::online();
    let mut nonces = std::vec![];
    for _ in 0..3 {
        hand.pass(secs(5) - ms(1));
        assert!(!heartbeat(&mut hand));
        hand.give(&[information("x")]);
        hand.pass(ms(1));
        let sent = hand.sent();
        assert_eq!(kinds(&sent), [Kind::Count, Kind::Heartbeat], "the count is told early");
        let Ok(Frame::Heartbeat { nonce }) = sent[1].decode() else { panic!("no heartbeat") };
        nonces.push(nonce);
        hand.give(&[Frame::HeartbeatAck { nonce }]);
    }
    assert_eq!(nonces, [1, 2, 3]);
    hand.pass(secs(5));
    assert_eq!(hand.sent_kinds(), [Kind::Heartbeat], "nothing changed");
}

#[test]
fn silence_for_10_s_after_a_heartbeat_ends_the_link() {
    let mut hand = Hand::online();
    let link = hand.link;
    hand.pass(secs(15) - ms(1));
    assert_eq!(hand.session.state(), State::Online);
    hand.pass(ms(1));
    assert!(matches!(hand.session.state(), State::Waiting { .. }));
    assert_eq!(hand.events(), [Event::ConnectionInterrupted { reason: CloseReason::HeartbeatTimeout }]);
    assert_eq!(hand.actions(), [Action::Close { link, reason: Some(CloseReason::HeartbeatTimeout) }]);
    assert_eq!(hand.sent_kinds(), [Kind::Close], "nothing of the dead link but its last word");
    assert_eq!(hand.session.stats().silent_links, 1);
}

#[test]
fn any_byte_is_a_sign_of_life() {
    let mut hand = Hand::online();
    for read in 1..20 {
        hand.pass(secs(9));
        // Bytes of a frame that is not whole yet, or a pong.
        hand.session.handle_transport(hand.now, hand.link, Transport { read, written: 0, unflushed: false });
    }
    assert_eq!(hand.session.state(), State::Online);
    let still = Transport { read: 19, written: 99, unflushed: false };
    for _ in 0..10 {
        hand.session.handle_transport(hand.now, hand.link, still);
        hand.pass(secs(2));
    }
    let lost = Event::ConnectionInterrupted { reason: CloseReason::HeartbeatTimeout };
    assert!(hand.events().contains(&lost), "the same total is no new byte");
}

#[test]
fn a_timer_that_fires_late_begins_the_wait_anew() {
    let mut hand = Hand::online();
    hand.pass(secs(5));
    hand.sent();
    // The process sleeps for an hour in the middle of the wait.
    hand.now = hand.now + secs(3_600);
    hand.timeout();
    assert_eq!(hand.session.state(), State::Online);
    assert!(heartbeat(&mut hand));
    hand.pass(secs(10) - ms(1));
    assert_eq!(hand.session.state(), State::Online);
    hand.pass(ms(1));
    assert!(matches!(hand.session.state(), State::Waiting { .. }));
}

#[test]
fn a_timer_that_is_a_little_late_is_not_excused() {
    let mut hand = Hand::online();
    hand.pass(secs(5));
    hand.now = hand.now + secs(12);
    hand.timeout();
    assert!(matches!(hand.session.state(), State::Waiting { .. }));
}

#[test]
fn the_interval_is_a_setting_and_the_wait_is_not() {
    let mut config = Config::new(user("ann"));
    config.heartbeat = secs(60);
    let mut hand = Hand::with(config).log_in();
    hand.pass(secs(60) - ms(1));
    assert!(!heartbeat(&mut hand));
    hand.pass(ms(1));
    assert!(heartbeat(&mut hand));
    hand.pass(secs(10));
    assert!(matches!(hand.session.state(), State::Waiting { .. }));
}

#[test]
fn heartbeats_that_cannot_go_out_do_not_pile_up() {
    let mut hand = Hand::online();
    for read in 1..10 {
        hand.pass(secs(5));
        hand.session.handle_transport(hand.now, hand.link, Transport { read, written: 0, unflushed: true });
        if read == 5 {
            break;
        }
    }
    let beats = hand.sent_kinds().into_iter().filter(|kind| *kind == Kind::Heartbeat).count();
    assert_eq!(beats, 1);
}

#[test]
fn bytes_that_stand_still_for_30_s_end_the_link() {
    let mut hand = Hand::online();
    let turn = |hand: &mut Hand, wait: Duration, read, written| {
        hand.session.handle_transport(hand.now, hand.link, Transport { read, written, unflushed: true });
        hand.pass(wait);
    };
    // Slow, but they move.
    for step in 1..10 {
        turn(&mut hand, secs(9), step, step);
    }
    for step in 10..12 {
        turn(&mut hand, secs(9), step, 9);
    }
    turn(&mut hand, secs(3) - ms(1), 12, 9);
    assert_eq!(hand.session.state(), State::Online);
    assert_eq!(hand.session.poll_timeout(), Some((hand.now + ms(1), TimerKind::Overflow)));
    turn(&mut hand, ms(1), 13, 9);
    assert!(matches!(hand.session.state(), State::Waiting { .. }));
    assert_eq!(hand.events(), [Event::ConnectionInterrupted { reason: CloseReason::ChannelOverflow }]);
    assert_eq!(hand.session.stats().overflows, 1);
}

#[test]
fn bytes_do_not_stand_still_while_the_process_sleeps() {
    let mut hand = Hand::online();
    let still = |read| Transport { read, written: 5, unflushed: true };
    hand.session.handle_transport(hand.now, hand.link, still(1));
    hand.now = hand.now + secs(3_600);
    hand.timeout();
    hand.session.handle_transport(hand.now, hand.link, still(2));
    assert_eq!(hand.session.state(), State::Online);
    hand.pass(secs(5));
    assert_eq!(hand.session.state(), State::Online);
}

#[test]
fn timers_never_spin_even_if_nothing_can_be_sent() {
    let mut hand = Hand::online();
    for _ in 0..40 {
        hand.give(&[information("x"), query(1), certain(1)]);
        // `pass` fails when a timer fires again at once; nothing is pulled.
        hand.pass(ms(250));
        hand.messages();
    }
    hand.certainly("x");
    hand.pass(secs(200));
}

#[test]
fn a_hurried_count_is_asked_for_after_the_last_frame_that_waits_and_once() {
    let mut hand = Hand::online();
    hand.session.hurry_count(hand.now);
    assert_eq!(hand.sent_kinds(), [], "everything is counted");
    hand.certainly("one");
    hand.certainly("two");
    hand.session.hurry_count(hand.now);
    assert_eq!(hand.sent_kinds(), [Kind::Certain, Kind::Certain, Kind::Heartbeat]);
    hand.certainly("three");
    assert_eq!(hand.sent_kinds(), [Kind::Certain], "asked once");
}
