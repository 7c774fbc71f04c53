use core::time::Duration;
use std::{string::ToString, vec::Vec};

use crate::{
    failure::Failure,
    ids::{DeviceKind, Engine},
    server::{
        Config,
        testing::{Town, ack, certain, claim, counted_kinds, engine, phone, plain, query, raw, to},
    },
    wire::{Address, Envelope, Flags, Frame, Kind, RawFrame},
};

fn desktop(user: &str) -> Engine {
    engine(user, DeviceKind::DESKTOP, 8)
}

fn failure(from: &Engine, to: &Engine, about: Kind, id: u64, code: Failure) -> RawFrame {
    let envelope = Envelope::new(Address::of_engine(to), Address::of_engine(from), id);
    raw(&Frame::Failure { envelope, about: about as u8, code }, Flags::default())
}

fn tagged(from: &Engine, to: Address<'_>) -> RawFrame {
    let envelope = Envelope::new(to, Address::of_engine(from), 0);
    raw(&Frame::EngineMessage { envelope, info_type: 1, tag: "t", body: b"m" }, Flags::ECHO)
}

#[test]
fn a_message_goes_to_all_devices_a_question_to_the_last_and_a_named_one_to_that() {
    let mut town = Town::new(Config::default());
    let bob = phone("bob");
    let other = town.join(&bob);
    let (phone_cell, desk_cell) = (town.join(&phone("ann")), town.join(&desktop("ann")));
    let named = Address::Device { user: "ann", device: DeviceKind::PHONE };
    let absent = Address::Device { user: "ann", device: DeviceKind::TABLET };
    town.frame(&other, certain(&bob, to("ann"), 1, 1_000));
    town.frame(&other, query(&bob, to("ann"), 2, 1_000, b"?"));
    town.frame(&other, query(&bob, named, 3, 1_000, b"?"));
    town.frame(&other, query(&bob, absent, 4, 1_000, b"?"));
    assert_eq!(counted_kinds(&town.received(&phone_cell)), [Kind::Query, Kind::Certain]);
    assert_eq!(counted_kinds(&town.received(&desk_cell)), [Kind::Query, Kind::Certain]);
    assert_eq!(town.failures(&other), [(4, Failure::Offline)]);
}

#[test]
fn the_first_ack_is_the_outcome_and_it_fails_with_the_last_copy() {
    let mut town = Town::new(Config::default());
    let bob = phone("bob");
    let other = town.join(&bob);
    let (first, second) = (phone("ann"), desktop("ann"));
    let (first_cell, second_cell) = (town.join(&first), town.join(&second));
    town.frame(&other, certain(&bob, to("ann"), 1, 1_000));
    town.frame(&first_cell, failure(&first, &bob, Kind::Certain, 1, Failure::Busy));
    assert!(town.received(&other).iter().all(|frame| !frame.is_counted()), "the other device may still have it");
    town.frame(&second_cell, ack(&second, &bob, 1));
    assert_eq!(counted_kinds(&town.received(&other)), [Kind::Ack]);
    town.frame(&other, certain(&bob, to("ann"), 2, 1_000));
    town.frame(&first_cell, failure(&first, &bob, Kind::Certain, 2, Failure::Busy));
    town.frame(&second_cell, failure(&second, &bob, Kind::Certain, 2, Failure::ConnectionLost));
    assert_eq!(town.failures(&other), [(2, Failure::ConnectionLost)]);
}

#[test]
fn an_answer_of_a_stranger_is_dropped_and_counted() {
    let mut town = Town::new(Config::default());
    let (ann, bob, eve) = (phone("ann"), phone("bob"), phone("eve"));
    let (_ann, other, stranger) = (town.join(&ann), town.join(&bob), town.join(&eve));
    town.frame(&other, certain(&bob, to("ann"), 1, 1_000));
    town.frame(&stranger, ack(&eve, &bob, 1));
    town.frame(&stranger, failure(&eve, &bob, Kind::Certain, 1, Failure::Busy));
    town.frame(&stranger, ack(&eve, &engine("bob", DeviceKind::PHONE, 99), 1));
    town.frame(&stranger, ack(&eve, &phone("nobody"), 1));
    assert_eq!(town.counters.answers_unasked.get(), 4);
    assert!(town.received(&other).iter().all(|frame| !frame.is_counted()));
    assert!(stranger.session.borrow().is_held_by(crate::server::Generation::FIRST), "nobody is closed for it");
}

#[test]
fn what_cannot_be_asked_fails_at_once() {
    let mut town = Town::new(Config::default());
    let bob = phone("bob");
    let other = town.join(&bob);
    let group = Address::Group { group: "g" };
    town.frame(&other, certain(&bob, to("nobody"), 1, 1_000));
    town.frame(&other, certain(&bob, to("bob"), 2, 0));
    town.frame(&other, certain(&bob, group, 3, 1_000));
    town.frame(&other, query(&bob, Address::Server { instance: 0 }, 4, 0, b"?"));
    town.frame(&other, plain(&bob, group, Flags::TELL, 5, b"m"));
    let told = town.failures(&other);
    use Failure::{NotAllowed, Offline, TimedOut};
    assert_eq!(told, [(1, Offline), (2, TimedOut), (3, NotAllowed), (4, TimedOut), (5, NotAllowed)]);
    let counters = &town.counters;
    assert_eq!((counters.offline.get(), counters.expired.get(), counters.not_allowed.get()), (1, 2, 2));
}

#[test]
fn a_long_time_to_live_is_cut() {
    let mut town = Town::new(Config::default());
    let bob = phone("bob");
    let (other, _ann) = (town.join(&bob), town.join(&phone("ann")));
    town.frame(&other, certain(&bob, to("ann"), 1, u32::MAX));
    town.now = town.now + Duration::from_secs(300);
    town.handle_timeout(&other);
    assert_eq!(town.failures(&other), [(1, Failure::TimedOut)]);
}

#[test]
fn a_plain_message_that_went_nowhere_is_told_to_the_servers_application() {
    let mut town = Town::new(Config::default());
    let bob = phone("bob");
    let (other, ann) = (town.join(&bob), town.join(&phone("ann")));
    town.frame(&other, plain(&bob, to("nobody"), Flags::default(), 0, b"a"));
    town.frame(&other, plain(&bob, to("nobody"), Flags::VOLATILE, 0, b"b"));
    assert_eq!(town.lost, [("a".to_string(), Failure::Offline), ("b".to_string(), Failure::Offline)]);
    // A volatile one that finds the queue busy is only counted.
    town.lost.clear();
    town.frame(&other, plain(&bob, to("ann"), Flags::default(), 0, b"c"));
    town.frame(&other, plain(&bob, to("ann"), Flags::VOLATILE, 0, b"d"));
    assert_eq!((town.lost.len(), town.counters.volatile_dropped.get()), (0, 1));
    assert_eq!(counted_kinds(&town.received(&ann)), [Kind::Send]);
}

#[test]
fn an_echo_goes_once_to_each_other_device_of_the_sender_whomever_the_message_is_for() {
    let mut town = Town::new(Config::default());
    let bob = phone("bob");
    let (other, twin, ann) = (town.join(&bob), town.join(&desktop("bob")), town.join(&phone("ann")));
    for target in [to("ann"), Address::Server { instance: 0 }, to("bob"), to("nobody")] {
        town.frame(&other, tagged(&bob, target));
        assert_eq!(counted_kinds(&town.received(&twin)), [Kind::EngineMessage], "{target:?}");
    }
    let named = desktop("bob");
    for target in [Address::Device { user: "bob", device: DeviceKind::DESKTOP }, Address::of_engine(&named)] {
        town.frame(&other, tagged(&bob, target));
        assert_eq!(counted_kinds(&town.received(&twin)), [Kind::EngineMessage], "the message and no echo: {target:?}");
    }
    assert_eq!(counted_kinds(&town.received(&ann)), [Kind::EngineMessage]);
    assert_eq!(counted_kinds(&town.received(&other)), [Kind::EngineMessage], "to all of bob's devices");
}

#[test]
fn what_the_servers_application_asks_ends_though_nobody_fetches_its_outcomes() {
    let town = Town::new(Config { max_frame: 64, budget: 500, ..Config::default() });
    let server = Address::Server { instance: crate::server::testing::SERVER_ID.0 };
    let asked = |id| {
        let envelope = Envelope::new(to("nobody"), server, id);
        town.send(&raw(&Frame::Certain { envelope, ttl_ms: 1_000, info_type: 1, body: b"" }, Flags::default()))
    };
    let accepted = (1..100).take_while(|id| asked(*id).is_ok()).count();
    assert_eq!(asked(100), Err(Failure::Offline), "no room to tell it later");
    let now = town.now;
    let told: Vec<_> = core::iter::from_fn(|| town.desk.borrow_mut().take(now)).collect();
    assert_eq!(told.len(), accepted);
}

#[test]
fn a_login_that_takes_no_messages_may_ask() {
    let mut town = Town::new(Config::default());
    let command = crate::server::LoginClaim { takes_messages: false, ..claim(&phone("bob")) };
    let cell = town.join_with(&command);
    town.join(&phone("ann"));
    town.frame(&cell, query(&phone("bob"), to("ann"), 1, 1_000, b"?"));
    assert_eq!(town.failures(&cell), []);
    assert_eq!(town.counters.relayed.get(), 1);
}

#[test]
fn nothing_that_has_an_outcome_goes_to_a_group() {
    let mut town = Town::new(Config::default());
    let ann = phone("ann");
    let cell = town.join(&ann);
    let envelope = |id| Envelope::new(Address::Group { group: "all" }, Address::of_engine(&ann), id);
    let frames = [
        Frame::Certain { envelope: envelope(1), ttl_ms: 1_000, info_type: 1, body: b"" },
        Frame::Query { envelope: envelope(2), ttl_ms: 1_000, info_type: 1, body: b"" },
        Frame::Request { envelope: envelope(3), ttl_ms: 1_000, method: 1, cursor: b"", body: b"" },
        Frame::BlobOffer { envelope: envelope(4), stream: 5, total: None, info_type: 1, name: "" },
    ];
    for frame in &frames {
        town.frame(&cell, raw(frame, Flags::default()));
    }
    let refused = town.received(&cell);
    let codes: Vec<_> = refused
        .iter()
        .map(|frame| match frame.decode() {
            Ok(Frame::Failure { envelope, code, .. }) => (envelope.id, code),
            Ok(Frame::Response { envelope, status: Err(code), .. }) => (envelope.id, code),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(codes, [1, 2, 3, 4].map(|id| (id, Failure::NotAllowed)));
}

#[test]
fn one_who_has_too_much_open_is_busy_whether_one_device_or_several_would_be_asked() {
    let mut town = Town::new(Config { max_open: 1, ..Config::default() });
    let bob = phone("bob");
    let other = town.join(&bob);
    let cells = [town.join(&phone("ann")), town.join(&desktop("ann")), town.join(&phone("eve"))];
    town.frame(&other, certain(&bob, to("eve"), 1, 1_000));
    town.frame(&other, certain(&bob, to("eve"), 2, 1_000));
    town.frame(&other, certain(&bob, to("ann"), 3, 1_000));
    assert_eq!(town.failures(&other), [(2, Failure::Busy), (3, Failure::Busy)]);
    let got = cells.map(|cell| counted_kinds(&town.received(&cell)));
    assert_eq!(got, [Vec::new(), Vec::new(), [Kind::Certain].into()]);
}
