//! Messages and queries from one application to another, and what becomes of each.

use std::time::Duration;

use bytes::Bytes;
use esf_driver::node::ServerEvent;
use esf_proto::{
    client::{Event, MessageKind, MessageOptions, Policy, SendOptions},
    failure::Failure,
    ids::{DeviceKind, MessageId, Source, To},
    server::Config,
    wire::{Address, Envelope, Frame, Kind},
};
use esf_tests::{
    raw::RawLink,
    world::{Answering, Outcome, Who, World, user},
};

const LONG: Duration = Duration::from_secs(290);

fn undeliverable(world: &mut World, who: Who) -> Vec<(u64, Failure)> {
    let told = |event: &Event| match event {
        Event::Undeliverable { note, failure } => Some((*note, *failure)),
        _ => None,
    };
    world.engine(who).events.iter().filter_map(told).collect()
}

fn tell(note: u64) -> SendOptions {
    SendOptions { tell: Some(note), ..SendOptions::default() }
}

fn discard(note: u64) -> SendOptions {
    SendOptions { policy: Policy::Discard, tell: Some(note) }
}

fn device(name: &str, kind: DeviceKind) -> To {
    match user(name) {
        To::User(name) => To::Device(name, kind),
        other => other,
    }
}

fn failed(failure: Failure) -> Option<Outcome> {
    Some(Outcome::Failed(failure))
}

// Plain sends.

#[test]
fn a_message_comes_with_its_source_and_type() {
    let mut world = World::new();
    let (anna, ben) = (world.join_on("anna", DeviceKind::PHONE), world.join("ben"));
    let now = world.now;
    world.session(anna).send(now, &user("ben"), 77, Bytes::from_static(b"hi"), SendOptions::default()).expect("room");
    world.run();
    let from = world.session(anna).engine().clone();
    let message = &world.engine(ben).messages[0];
    assert_eq!(message.source, Source::Engine(from));
    assert_eq!((message.info_type, &message.body[..], message.id), (77, &b"hi"[..], None));
    assert_eq!(message.kind, MessageKind::Information);
}

#[test]
fn a_plain_message_to_nobody_is_dropped_and_told_to_the_server_and_to_whoever_asked() {
    let mut world = World::new();
    let anna = world.join("anna");
    world.send(anna, "nobody", "quietly");
    world.send_to(anna, &user("nobody"), "aloud", tell(5));
    world.run();
    assert_eq!(undeliverable(&mut world, anna), [(5, Failure::Offline)]);
    let from = Source::Engine(world.session(anna).engine().clone());
    let event = ServerEvent::TransmitFailed { from, to: user("nobody"), info_type: 1, failure: Failure::Offline };
    assert_eq!(world.server_events.iter().filter(|seen| **seen == event).count(), 2);
}

#[test]
fn a_message_to_oneself_comes_back() {
    let mut world = World::new();
    let anna = world.join("anna");
    let id = world.send_certainly(anna, "anna", "note to self");
    world.run();
    assert_eq!(world.texts(anna), ["note to self"]);
    assert_eq!(world.outcome(anna, id), Some(Outcome::Acked));
}

#[test]
fn what_may_be_discarded_arrives_at_an_idle_receiver_and_is_dropped_at_a_busy_one() {
    let mut world = World::with(Config { window: 5_000, ..Config::default() });
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    world.send_to(anna, &user("ben"), "is typing", discard(1));
    world.run();
    assert_eq!(world.texts(ben), ["is typing"]);
    world.engine(ben).takes = false;
    for _ in 0..8 {
        world.send(anna, "ben", &"x".repeat(1_000));
    }
    world.advance(Duration::from_secs(1));
    world.send_to(anna, &user("ben"), "is typing", discard(2));
    world.run();
    assert_eq!(undeliverable(&mut world, anna), [(2, Failure::Busy)]);
    assert_eq!(world.counter("volatile_dropped"), 1);
    world.engine(ben).takes = true;
    world.advance(Duration::from_secs(1));
    assert_eq!(world.texts(ben).len(), 9);
}

#[test]
fn what_may_be_discarded_does_not_wait_for_a_link() {
    let mut world = World::new();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    world.away(anna);
    world.send_to(anna, &user("ben"), "is typing", discard(1));
    world.send_to(anna, &user("ben"), "hello", tell(2));
    world.back(anna);
    world.until_online(anna);
    world.run();
    assert_eq!(undeliverable(&mut world, anna), [(1, Failure::Busy)]);
    assert_eq!(world.texts(ben), ["hello"]);
}

// Certain sends.

#[test]
fn a_user_who_does_not_exist_looks_like_one_who_is_offline() {
    let mut world = World::new();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    let now = world.now;
    world.session(ben).log_off(now);
    world.run();
    for name in ["ben", "nobody"] {
        let (sent, asked) = (world.send_certainly(anna, name, "?"), world.query(anna, name, "?"));
        world.run();
        assert_eq!(world.outcome(anna, sent), failed(Failure::Offline));
        assert_eq!(world.outcome(anna, asked), failed(Failure::Offline));
    }
}

#[test]
fn a_certain_message_carries_its_number() {
    let mut world = World::new();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    let ids = ["one", "two"].map(|text| world.send_certainly(anna, "ben", text));
    world.run();
    assert_eq!(ids, [MessageId(1), MessageId(2)]);
    let got: Vec<Option<MessageId>> = world.engine(ben).messages.iter().map(|message| message.id).collect();
    assert_eq!(got, ids.map(Some));
}

#[test]
fn what_expires_before_it_was_handed_out_is_withdrawn() {
    let mut world = World::new();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    world.away(ben);
    let id = world.send_certainly_to(anna, &user("ben"), "too late", Duration::from_secs(3));
    world.advance(Duration::from_millis(2_999));
    assert_eq!(world.outcome(anna, id), None);
    world.advance(Duration::from_millis(1));
    assert_eq!(world.outcome(anna, id), failed(Failure::TimedOut));
    world.back(ben);
    world.until_online(ben);
    world.advance(Duration::from_secs(1));
    assert!(world.texts(ben).is_empty());
    assert_eq!(world.counter("resumes"), 1);
}

#[test]
fn what_was_handed_out_is_replayed_though_its_time_is_over() {
    let mut world = World::new();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    world.link(ben).hold_down = true;
    let id = world.send_certainly_to(anna, &user("ben"), "late, but here", Duration::from_secs(3));
    world.run();
    world.away(ben);
    world.advance(Duration::from_secs(4));
    assert_eq!(world.outcome(anna, id), failed(Failure::TimedOut));
    world.back(ben);
    world.until_online(ben);
    world.advance(Duration::from_secs(1));
    assert_eq!(world.texts(ben), ["late, but here"]);
}

// Queries.

#[test]
fn a_query_is_answered_or_fails_at_its_handler() {
    let mut world = World::new();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    let good = world.query(anna, "ben", "marco");
    world.run();
    world.engine(ben).answering = Answering::Fails;
    let bad = world.query(anna, "ben", "marco");
    world.run();
    assert_eq!(world.outcome(anna, good), Some(Outcome::Replied("marco".into())));
    assert_eq!(world.outcome(anna, bad), failed(Failure::HandlerFailed));
}

#[test]
fn replies_may_come_in_any_order_and_one_that_never_comes_holds_up_nobody() {
    let mut world = World::new();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    world.engine(ben).answering = Answering::Never;
    let ids = ["a", "b", "c"].map(|text| world.query(anna, "ben", text));
    world.run();
    world.engine(ben).queries.swap(0, 2);
    world.reply(ben, Ok("to c"));
    world.run();
    assert_eq!(ids.map(|id| world.outcome(anna, id)), [None, None, Some(Outcome::Replied("to c".into()))]);
    world.reply(ben, Ok("to b"));
    world.advance(Duration::from_secs(30));
    let expected = [failed(Failure::TimedOut), Some(Outcome::Replied("to b".into())), failed(Failure::TimedOut)];
    assert_eq!(ids.map(|id| world.outcome(anna, id))[..2], [expected[0].clone(), expected[1].clone()]);
}

#[test]
fn a_reply_after_its_time_changes_nothing() {
    let mut world = World::new();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    world.engine(ben).answering = Answering::Never;
    let id = world.query_to(anna, &user("ben"), "quick!", Duration::from_secs(1));
    world.advance(Duration::from_secs(1));
    assert_eq!(world.outcome(anna, id), failed(Failure::TimedOut));
    world.reply(ben, Ok("too late"));
    world.run();
    assert_eq!(world.outcome(anna, id), failed(Failure::TimedOut));
    assert!(world.is_online(anna) && world.is_online(ben));
}

// Engine messages.

fn tagged(world: &mut World, from: Who, to: &To, options: MessageOptions) {
    let now = world.now;
    world.session(from).send_message(now, to, 3, Bytes::from_static(b"body"), "tag", options).expect("room");
}

fn tags(world: &mut World, who: Who) -> Vec<String> {
    let tag = |kind: &MessageKind| match kind {
        MessageKind::EngineMessage { tag } => tag.to_string(),
        MessageKind::Broadcast { group } => group.to_string(),
        MessageKind::Information | MessageKind::Repeated => "no tag".to_owned(),
    };
    world.engine(who).messages.iter().map(|message| tag(&message.kind)).collect()
}

#[test]
fn an_engine_message_has_its_tag_and_goes_to_no_handler() {
    let mut world = World::new();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    tagged(&mut world, anna, &user("ben"), MessageOptions::default());
    world.send(anna, "ben", "plain");
    tagged(&mut world, anna, &user("nobody"), MessageOptions { tell: Some(9), ..MessageOptions::default() });
    world.run();
    assert_eq!(tags(&mut world, ben), ["tag", "no tag"]);
    assert_eq!(undeliverable(&mut world, anna), [(9, Failure::Offline)]);
}

#[test]
fn an_echo_goes_to_the_senders_other_devices_and_to_nobody_else() {
    let mut world = World::new();
    let (anna, phone) = (world.join("anna"), world.join_on("anna", DeviceKind::PHONE));
    let (ben, carl) = (world.join("ben"), world.join("carl"));
    tagged(&mut world, anna, &user("ben"), MessageOptions { echo: true, ..MessageOptions::default() });
    tagged(&mut world, anna, &user("ben"), MessageOptions::default());
    world.run();
    let seen = [anna, phone, ben, carl].map(|who| tags(&mut world, who).len());
    assert_eq!(seen, [0, 1, 2, 0]);
}

#[test]
fn an_echo_of_a_message_to_oneself_comes_once_to_each_device() {
    let mut world = World::new();
    let (anna, phone) = (world.join("anna"), world.join_on("anna", DeviceKind::PHONE));
    tagged(&mut world, anna, &user("anna"), MessageOptions { echo: true, ..MessageOptions::default() });
    world.run();
    assert_eq!((tags(&mut world, anna).len(), tags(&mut world, phone).len()), (1, 1));
}

// Several devices.

#[test]
fn all_devices_get_a_certain_message_and_the_first_ack_is_the_outcome() {
    let mut world = World::new();
    let anna = world.join("anna");
    let (desktop, phone) = (world.join_on("ben", DeviceKind::DESKTOP), world.join_on("ben", DeviceKind::PHONE));
    world.link(phone).hold_down = true;
    let id = world.send_certainly(anna, "ben", "to all");
    world.run();
    assert_eq!(world.outcome(anna, id), Some(Outcome::Acked));
    world.link(phone).hold_down = false;
    world.run();
    assert_eq!((world.texts(desktop), world.texts(phone)), (vec!["to all".into()], vec!["to all".to_owned()]));
    assert_eq!(world.counter("answers_unasked"), 1, "the phone's ack came after the outcome");
}

#[test]
fn a_certain_message_fails_when_every_device_is_gone_and_may_have_arrived_if_one_was_handed_it() {
    for handed_first in [true, false] {
        let mut world = World::with_resume_window(Duration::from_secs(5));
        let anna = world.join("anna");
        let (desktop, phone) = (world.join_on("ben", DeviceKind::DESKTOP), world.join_on("ben", DeviceKind::PHONE));
        world.link(desktop).hold_down = true;
        world.away(phone);
        let id = world.send_certainly_to(anna, &user("ben"), "?", LONG);
        world.run();
        // The desktop was handed a copy, the phone was not. One after the other is gone.
        if handed_first {
            world.away(desktop);
            world.advance(Duration::from_secs(4));
        }
        assert_eq!(world.outcome(anna, id), None);
        world.advance(Duration::from_secs(2));
        if !handed_first {
            world.away(desktop);
            world.advance(Duration::from_secs(6));
        }
        world.advance(Duration::from_secs(5));
        assert_eq!(world.outcome(anna, id), failed(Failure::ConnectionLost), "handed first: {handed_first}");
    }
}

#[test]
fn a_certain_message_that_no_device_was_handed_is_offline_when_all_are_gone() {
    let mut world = World::with_resume_window(Duration::from_secs(5));
    let anna = world.join("anna");
    let (desktop, phone) = (world.join_on("ben", DeviceKind::DESKTOP), world.join_on("ben", DeviceKind::PHONE));
    world.away(desktop);
    world.away(phone);
    let id = world.send_certainly_to(anna, &user("ben"), "?", LONG);
    world.advance(Duration::from_secs(6));
    assert_eq!(world.outcome(anna, id), failed(Failure::Offline));
}

#[test]
fn a_device_that_is_gone_does_not_fail_what_another_holds() {
    let mut world = World::with_resume_window(Duration::from_secs(5));
    let anna = world.join("anna");
    let (desktop, phone) = (world.join_on("ben", DeviceKind::DESKTOP), world.join_on("ben", DeviceKind::PHONE));
    world.away(desktop);
    world.link(phone).hold_down = true;
    let id = world.send_certainly_to(anna, &user("ben"), "?", LONG);
    world.advance(Duration::from_secs(6));
    assert_eq!(world.outcome(anna, id), None);
    world.link(phone).hold_down = false;
    world.run();
    assert_eq!(world.outcome(anna, id), Some(Outcome::Acked));
}

#[test]
fn a_device_that_cannot_say_whether_it_ran_makes_every_failure_connection_lost() {
    // One device refuses a message as late: it may have run it once. The other never got it.
    let mut world = World::with_resume_window(Duration::from_secs(5));
    let anna = world.join("anna");
    let phone = world.join_on("ben", DeviceKind::PHONE);
    let mut late = RawLink::join(&mut world, "ben", 7);
    world.away(phone);
    let id = world.send_certainly_to(anna, &user("ben"), "?", LONG);
    world.run();
    let (asker, me) = (world.session(anna).engine().clone(), late.engine.clone());
    let envelope = Envelope::new(Address::of_engine(&asker), Address::of_engine(&me), id.0);
    late.send(&mut world, &Frame::Failure { envelope, about: Kind::Certain as u8, code: Failure::ConnectionLost });
    assert_eq!(world.outcome(anna, id), None, "the phone may still take it");
    world.advance(Duration::from_secs(6));
    assert_eq!(world.outcome(anna, id), failed(Failure::ConnectionLost));
}

#[test]
fn a_query_goes_to_the_device_that_logged_on_last_or_to_the_named_one_and_runs_once() {
    let mut world = World::new();
    let anna = world.join("anna");
    let (desktop, phone) = (world.join_on("ben", DeviceKind::DESKTOP), world.join_on("ben", DeviceKind::PHONE));
    // A resume is no login.
    world.cut(desktop);
    world.until_online(desktop);
    for who in [desktop, phone] {
        world.engine(who).answering = Answering::Never;
    }
    world.query(anna, "ben", "to whom?");
    world.query_to(anna, &device("ben", DeviceKind::DESKTOP), "to the desktop", LONG);
    world.run();
    let asked = |world: &mut World, who| -> Vec<Bytes> {
        world.engine(who).queries.iter().map(|query| query.body.clone()).collect()
    };
    assert_eq!(asked(&mut world, phone), ["to whom?"]);
    assert_eq!(asked(&mut world, desktop), ["to the desktop"]);
}

#[test]
fn what_is_for_one_device_goes_to_no_other() {
    let mut world = World::new();
    let anna = world.join("anna");
    let (desktop, phone) = (world.join_on("ben", DeviceKind::DESKTOP), world.join_on("ben", DeviceKind::PHONE));
    let there = world.send_certainly_to(anna, &device("ben", DeviceKind::PHONE), "phone", LONG);
    let absent = world.send_certainly_to(anna, &device("ben", DeviceKind::TABLET), "tablet", LONG);
    let asked = world.query_to(anna, &device("ben", DeviceKind::TABLET), "tablet", LONG);
    world.run();
    assert_eq!(world.outcome(anna, there), Some(Outcome::Acked));
    assert_eq!(world.outcome(anna, absent), failed(Failure::Offline));
    assert_eq!(world.outcome(anna, asked), failed(Failure::Offline));
    assert_eq!((world.texts(phone), world.texts(desktop).len()), (vec!["phone".to_owned()], 0));
}

// To the server.

#[test]
fn the_servers_application_gets_messages_and_answers_queries() {
    let mut world = World::new();
    let anna = world.join("anna");
    world.send(anna, "", "plain");
    let sent = world.send_certainly(anna, "", "certain");
    let asked = world.query(anna, "", "marco");
    tagged(&mut world, anna, &To::Server, MessageOptions::default());
    world.run();
    assert_eq!(world.outcome(anna, sent), Some(Outcome::Acked));
    assert_eq!(world.outcome(anna, asked), Some(Outcome::Replied("marco".into())));
    let from = Source::Engine(world.session(anna).engine().clone());
    assert!(world.inbox.iter().all(|message| message.source == from));
    let bodies: Vec<&Bytes> = world.inbox.iter().map(|message| &message.body).collect();
    assert_eq!(bodies, ["plain", "certain", "body"]);
    assert_eq!(world.inbox[2].kind, MessageKind::EngineMessage { tag: "tag".into() });
}

#[test]
fn a_query_to_the_server_fails_with_its_handler_or_with_time() {
    let mut world = World::new();
    let anna = world.join("anna");
    world.answering = Answering::Fails;
    let bad = world.query(anna, "", "?");
    world.run();
    world.answering = Answering::Never;
    let never = world.query(anna, "", "?");
    world.advance(Duration::from_secs(30));
    assert_eq!(world.outcome(anna, bad), failed(Failure::HandlerFailed));
    assert_eq!(world.outcome(anna, never), failed(Failure::TimedOut));
}

#[test]
fn what_a_client_sent_before_it_logged_off_reaches_the_servers_application() {
    let mut world = World::new();
    let anna = world.join("anna");
    world.link(anna).hold_up = true;
    world.send(anna, "", "last words");
    world.send_certainly(anna, "", "certainly");
    world.run();
    let now = world.now;
    world.session(anna).log_off(now);
    world.run();
    // Messages and farewell come in one go, before the application looks.
    world.link(anna).hold_up = false;
    world.run();
    let bodies: Vec<&Bytes> = world.inbox.iter().map(|message| &message.body).collect();
    assert_eq!(bodies, ["last words", "certainly"]);
    assert!(!world.node.is_online("anna"));
    assert_eq!(world.node.held_bytes(), 0);
}

#[test]
fn what_a_client_sent_before_it_logged_off_reaches_others() {
    let mut world = World::new();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    world.send(anna, "ben", "last words");
    world.run();
    let now = world.now;
    world.session(anna).log_off(now);
    world.run();
    assert_eq!(world.texts(ben), ["last words"]);
}

// Order.

#[test]
fn messages_of_one_device_to_one_target_keep_their_order_whatever_their_kind() {
    let mut world = World::with(Config { window: 5_000, ..Config::default() });
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    let mut sent = Vec::new();
    for number in 0..60 {
        let text = format!("{number} {}", "x".repeat(number * 10));
        match number % 3 {
            0 => world.send(anna, "ben", &text),
            1 => drop(world.send_certainly_to(anna, &user("ben"), &text, LONG)),
            _ => {
                let (now, body) = (world.now, Bytes::from(text.clone()));
                let options = MessageOptions::default();
                world.session(anna).send_message(now, &user("ben"), 1, body, "tag", options).expect("room");
            }
        }
        sent.push(text);
    }
    world.advance(Duration::from_secs(10));
    assert_eq!(world.texts(ben), sent);
}

#[test]
fn queries_of_one_device_to_one_target_keep_their_order() {
    let mut world = World::new();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    world.engine(ben).answering = Answering::Never;
    for number in 0..50 {
        world.query(anna, "ben", &number.to_string());
    }
    world.run();
    let asked: Vec<Bytes> = world.engine(ben).queries.iter().map(|query| query.body.clone()).collect();
    assert_eq!(asked, (0..50).map(|number| number.to_string().into()).collect::<Vec<Bytes>>());
}
