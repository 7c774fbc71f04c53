//! Every way of the table is taken, and no other.

use std::{collections::BTreeSet, vec, vec::Vec};

use super::harness::*;
use crate::{
    client::{
        Config,
        transitions::{On, StateName, TRANSITIONS},
    },
    close::CloseReason,
    login::LoginCode,
    wire::{Frame, LoginResult},
};

type Way = (StateName, On, StateName);

fn once() -> Hand {
    let mut config = Config::new(user("ann"));
    config.reconnect = false;
    Hand::with(config)
}

fn connected() -> Hand {
    let mut hand = Hand::new();
    hand.connect();
    hand
}

/// Drives a session along each way.
fn drives() -> Vec<Hand> {
    let mut hands = vec![];
    let mut drive = |mut hand: Hand, act: &dyn Fn(&mut Hand)| {
        act(&mut hand);
        hands.push(hand);
    };
    let log_off = |hand: &mut Hand| hand.session.log_off(hand.now);
    let go_away = |hand: &mut Hand| hand.give(&[Frame::GoAway { retry_after_ms: 5 }]);
    drive(Hand::new(), &Hand::cut);
    drive(once(), &Hand::cut);
    drive(Hand::new(), &log_off);
    drive(connected(), &Hand::cut);
    drive(connected(), &|hand| hand.give(&[close(CloseReason::WrongUserId)]));
    drive(connected(), &go_away);
    drive(connected(), &log_off);
    drive(connected(), &|hand| {
        let refused = LoginResult::Refused { result: LoginCode::Failed, cause: "" };
        hand.give(&[Frame::LoginResult(refused), close(CloseReason::LoginFailed)]);
    });
    drive(Hand::online(), &Hand::reconnect);
    drive(Hand::online(), &|hand| hand.give(&[close(CloseReason::Kicked)]));
    drive(Hand::online(), &go_away);
    drive(Hand::online(), &|hand| {
        log_off(hand);
        hand.sent();
    });
    drive(Hand::online(), &|hand| {
        log_off(hand);
        hand.cut();
    });
    drive(Hand::online(), &|hand| {
        hand.cut();
        log_off(hand);
    });
    hands
}

#[test]
fn each_way_of_the_table_is_taken_and_no_other() {
    let taken: BTreeSet<Way> = drives().iter().flat_map(|hand| hand.session.ways.iter().copied()).collect();
    let table: BTreeSet<Way> = TRANSITIONS.iter().map(|way| (way.from, way.on, way.to)).collect();
    assert_eq!(taken, table);
    assert_eq!(table.len(), TRANSITIONS.len(), "no row stands there twice");
}

#[test]
fn each_name_of_the_table_is_used_and_closed_is_the_only_end() {
    for state in StateName::ALL {
        assert!(TRANSITIONS.iter().any(|way| way.from == *state || way.to == *state), "{}", state.text());
        let ends = TRANSITIONS.iter().all(|way| way.from != *state);
        assert_eq!(ends, *state == StateName::Closed);
    }
    for on in On::ALL {
        assert!(TRANSITIONS.iter().any(|way| way.on == *on), "{}", on.text());
    }
    assert!(TRANSITIONS.iter().all(|way| !way.rule.is_empty()));
}
