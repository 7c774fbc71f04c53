//! Messages for those who are not online: kept by the store, delivered at the next login, confirmed after the handler.

use std::time::Duration;

use esf_driver::store::StoreLimits;
use esf_proto::{
    client::{Config as ClientConfig, Message, MessageKind},
    failure::Failure,
    ids::{DeviceKind, MessageId, To, UserId},
    server::Config as ServerConfig,
    store::StoreRequest,
    wire::{Address, Envelope, Frame, Kind},
};
use esf_tests::{
    people::name,
    raw::RawLink,
    world::{Outcome, Who, World, client_config, user},
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// A time to live longer than a resume window.
const LONG: Duration = Duration::from_secs(200);
const STORED: Option<Outcome> = Some(Outcome::Stored);
const ACKED: Option<Outcome> = Some(Outcome::Acked);

fn world() -> World {
    World::with_store(StoreLimits::default())
}

fn failed(failure: Failure) -> Option<Outcome> {
    Some(Outcome::Failed(failure))
}

fn store(world: &mut World, from: Who, to: &str, text: &str) -> MessageId {
    let id = world.send_stored(from, &user(to), text, LONG);
    world.run();
    id
}

fn on(user: &str, device: DeviceKind) -> To {
    To::Device(UserId::parse(user, 64).unwrap(), device)
}

fn is_put(request: &StoreRequest) -> bool {
    matches!(request, StoreRequest::Put { .. })
}

fn is_find(request: &StoreRequest) -> bool {
    matches!(request, StoreRequest::Find { .. })
}

fn is_fetch(request: &StoreRequest) -> bool {
    matches!(request, StoreRequest::Fetch { .. })
}

fn is_confirm(request: &StoreRequest) -> bool {
    matches!(request, StoreRequest::Confirm { .. })
}

fn asked(world: &World, of: fn(&StoreRequest) -> bool) -> usize {
    world.people.asked.iter().filter(|request| of(request)).count()
}

fn release(world: &mut World) {
    world.people.holds = None;
    world.run();
}

/// What handlers of messages ran, beside what was only to be confirmed.
fn ran(world: &mut World, who: Who) -> Vec<String> {
    let run = |message: &&Message| message.kind != MessageKind::Repeated;
    let text = |message: &Message| String::from_utf8_lossy(&message.body).into_owned();
    world.engine(who).messages.iter().filter(run).map(text).collect()
}

/// The engine's process ends and starts again, and the session that it had is over.
fn restart(world: &mut World, who: Who, name: &str) -> Who {
    world.die(who);
    world.join(name)
}

// A message is kept …

#[test]
fn a_message_for_somebody_offline_is_answered_when_it_is_durable_and_comes_at_the_next_login() {
    let mut world = world();
    let anna = world.join("anna");
    world.people.holds = Some(is_put);
    let id = store(&mut world, anna, "ben", "hello");
    world.advance(SECOND);
    assert_eq!(world.outcome(anna, id), None, "nothing is promised before it is durable");
    release(&mut world);
    assert_eq!(world.outcome(anna, id), STORED);
    let accepted = world.store().clone();
    assert_eq!(accepted.waiting(), 1);
    world.advance(MINUTE);
    let ben = world.join("ben");
    let message = world.engine(ben).messages[0].clone();
    assert_eq!((&*message.body, message.id), (&b"hello"[..], Some(id)));
    assert_eq!(message.source.user().map(UserId::as_str), Some("anna"));
    let stored = message.stored.expect("where it came from");
    assert_eq!((stored.accepted_at.0, stored.tries), (1_700_000_001_000, 0));
    assert_eq!(world.store().waiting(), 0, "confirmed and gone");
    assert_eq!(world.session(ben).remembered_stored(), 0, "the server has said so");
    assert_eq!(world.counter("messages_stored"), 1);
    world.advance(MINUTE);
    let ben = restart(&mut world, ben, "ben");
    assert_eq!(world.texts(ben), [""; 0]);
}

#[test]
fn an_online_receiver_gets_it_live_and_the_store_hears_nothing() {
    let mut world = world();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    let id = store(&mut world, anna, "ben", "hello");
    assert_eq!(world.outcome(anna, id), ACKED);
    assert_eq!(world.engine(ben).messages[0].stored, None);
    assert_eq!(asked(&world, is_put), 0);
}

#[test]
fn the_store_has_a_word_of_its_own_for_why_not() {
    let mut world = World::with_store(limits(2));
    let anna = world.join("anna");
    for _ in 0..2 {
        let id = store(&mut world, anna, "ben", "fits");
        assert_eq!(world.outcome(anna, id), STORED);
    }
    let full = store(&mut world, anna, "ben", "one too many");
    assert_eq!(world.outcome(anna, full), failed(Failure::QuotaFull));
    let other = store(&mut world, anna, "carl", "has a box of his own");
    assert_eq!(world.outcome(anna, other), STORED);
    world.people.fails = true;
    let broken = store(&mut world, anna, "dora", "x");
    assert_eq!(world.outcome(anna, broken), failed(Failure::Internal));
    world.people.fails = false;
    let users = esf_driver::store::MemoryStore::new(StoreLimits::default());
    world.people.keeps = Some(users.clone());
    let nobody = store(&mut world, anna, "nobody", "x");
    assert_eq!(world.outcome(anna, nobody), failed(Failure::NoSuchUser));
    assert_eq!(world.counter("messages_not_stored"), 3);
    let plain = world.send_certainly(anna, "nobody", "x");
    world.run();
    assert_eq!(world.outcome(anna, plain), failed(Failure::Offline), "only the store tells");
}

fn limits(messages: usize) -> StoreLimits {
    let mut limits = StoreLimits::default();
    limits.max_messages = messages;
    limits
}

#[test]
fn a_store_that_does_not_answer_may_keep_it_yet_after_15_s_and_a_late_or_second_answer_is_nobodys() {
    let mut world = world();
    let anna = world.join("anna");
    world.people.holds = Some(is_put);
    let id = store(&mut world, anna, "ben", "hello");
    world.advance(14 * SECOND);
    assert_eq!(world.outcome(anna, id), None);
    world.advance(2 * SECOND);
    assert_eq!(world.outcome(anna, id), failed(Failure::TimedOut));
    release(&mut world);
    assert_eq!(world.counter("store_unasked"), 1);
    assert!(world.is_online(anna));
    let next = store(&mut world, anna, "ben", "next");
    assert_eq!(world.outcome(anna, next), STORED);
}

#[test]
fn without_a_store_and_to_an_engine_it_is_as_if_nobody_had_asked_for_it() {
    let mut world = World::new();
    let anna = world.join("anna");
    let id = store(&mut world, anna, "ben", "hello");
    assert_eq!(world.outcome(anna, id), failed(Failure::Offline));
}

#[test]
fn the_server_and_groups_store_nothing() {
    let mut world = world();
    let anna = world.join("anna");
    let id = store(&mut world, anna, "", "hello");
    assert_eq!(world.outcome(anna, id), failed(Failure::NotAllowed));
    assert!(world.inbox.is_empty());
}

#[test]
fn a_message_that_could_not_come_out_of_the_store_again_is_too_large() {
    let mut world = world();
    let anna = world.join("anna");
    let (now, max) = (world.now, world.session(anna).limits().max_frame);
    let options = esf_proto::client::CertainOptions { store_if_offline: true, ..Default::default() };
    let body = vec![7; max - 200];
    let refused = world.session(anna).send_certainly_with(now, &user("ben"), 1, body.clone().into(), options);
    assert!(matches!(refused, Err(esf_proto::client::SendError::TooLarge { .. })), "{refused:?}");
    let live = world.session(anna).send_certainly(now, &user("ben"), 1, body.into(), None);
    assert!(live.is_ok());
}

#[test]
fn messages_under_way_to_the_store_hold_up_nobody() {
    let mut world = world();
    let (anna, carl) = (world.join("anna"), world.join("carl"));
    world.people.holds = Some(is_put);
    let ids: Vec<MessageId> = (0..100).map(|n| store(&mut world, anna, "ben", &n.to_string())).collect();
    assert_eq!(world.people.waiting(), 100, "all at once");
    world.send(anna, "carl", "meanwhile");
    world.run();
    assert_eq!(world.texts(carl), ["meanwhile"]);
    release(&mut world);
    assert!(ids.iter().all(|id| world.outcome(anna, *id) == STORED));
    let ben = world.join("ben");
    assert_eq!(world.texts(ben), (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
}

// … and none overtakes it. The model's counter-examples.

#[test]
fn a_login_waits_for_the_store_jobs_of_its_user() {
    let mut world = world();
    let anna = world.join("anna");
    world.people.holds = Some(is_put);
    let first = store(&mut world, anna, "ben", "first");
    let ben = world.join("ben");
    assert!(world.is_online(ben), "only messages wait");
    let second = store(&mut world, anna, "ben", "second");
    world.send(anna, "ben", "third");
    let asks = world.query(ben, "anna", "answered?");
    world.run();
    assert_eq!(world.outcome(ben, asks), Some(Outcome::Replied("answered?".into())), "answers do not wait");
    assert_eq!((world.texts(ben), world.outcome(anna, second)), (vec![], None));
    assert_eq!(asked(&world, is_fetch), 1, "anna's own");
    release(&mut world);
    assert_eq!(world.outcome(anna, first), STORED);
    assert_eq!(world.outcome(anna, second), ACKED);
    assert_eq!(world.texts(ben), ["first", "second", "third"]);
}

#[test]
fn what_is_sent_again_is_looked_up_first_also_when_its_receiver_is_online() {
    let mut world = world();
    let anna = world.join("anna");
    world.link(anna).hold_down = true;
    let id = store(&mut world, anna, "ben", "once");
    assert_eq!(world.store().waiting(), 1);
    assert_eq!(world.outcome(anna, id), None, "the answer is lost");
    world.engine(anna).network = false;
    world.restart_server();
    let ben = world.join("ben");
    assert_eq!(world.texts(ben), ["once"]);
    // Confirmed, and its key is still known; also another engine of ben does not get it again.
    let ben = restart(&mut world, ben, "ben");
    world.back(anna);
    world.until_online(anna);
    world.run();
    assert_eq!(world.outcome(anna, id), STORED);
    assert_eq!((world.texts(ben).len(), asked(&world, is_find)), (0, 1));
    assert_eq!(world.store().waiting(), 0);
}

#[test]
fn what_was_sent_behind_a_look_up_waits_for_it_and_nobody_else_does() {
    let mut world = World::with_store_and(
        StoreLimits::default(),
        ServerConfig { resume_window: SECOND, ..ServerConfig::default() },
    );
    let (anna, ben, carl) = (world.join("anna"), world.join("ben"), world.join("carl"));
    world.link(anna).hold_up = true;
    let again = world.send_stored(anna, &user("ben"), "again", LONG);
    world.run();
    world.away(anna);
    world.advance(2 * SECOND);
    world.people.holds = Some(is_find);
    world.back(anna);
    world.until_online(anna);
    world.send(anna, "ben", "behind");
    world.send(anna, "carl", "to another");
    world.send(carl, "anna", "to the one who waits");
    let asks = world.query(carl, "anna", "answers go?");
    world.advance(2 * SECOND);
    assert_eq!((world.texts(ben), world.texts(carl)), (vec![], vec![]));
    assert_eq!(world.texts(anna), ["to the one who waits"]);
    assert_eq!(world.outcome(carl, asks), Some(Outcome::Replied("answers go?".into())));
    assert!(world.is_online(anna), "its heartbeats are answered");
    release(&mut world);
    assert_eq!(world.texts(ben), ["again", "behind"]);
    assert_eq!(world.texts(carl), ["to another"]);
    assert_eq!(world.outcome(anna, again), ACKED);
}

#[test]
fn a_look_up_that_fails_loses_the_message_for_its_sender_and_nothing_behind_it() {
    let mut world = world();
    let anna = world.join("anna");
    world.link(anna).hold_down = true;
    let id = store(&mut world, anna, "ben", "once");
    world.people.holds = Some(is_find);
    world.restart_server();
    let ben = world.join("ben");
    world.until_online(anna);
    world.send(anna, "ben", "behind");
    world.advance(16 * SECOND);
    assert_eq!(world.outcome(anna, id), failed(Failure::ConnectionLost));
    assert_eq!(world.texts(ben), ["once", "behind"]);
    release(&mut world);
    assert_eq!(world.counter("store_unasked"), 1);
}

#[test]
fn it_is_confirmed_after_its_handler_and_so_survives_a_receiver_that_dies_before() {
    let mut world = world();
    let anna = world.join("anna");
    let id = store(&mut world, anna, "ben", "hello");
    let ben = world.join("ben");
    assert_eq!(world.outcome(anna, id), STORED);
    let other = world.join("carl");
    store(&mut world, anna, "dora", "to dora");
    let dora = world.start(client_config("dora"));
    world.engine(dora).confirms = false;
    world.run();
    assert_eq!((world.texts(ben), world.texts(dora)), (vec!["hello".into()], vec!["to dora".into()]));
    assert_eq!(world.store().waiting(), 1);
    let dora = restart(&mut world, dora, "dora");
    assert_eq!(world.texts(dora), ["to dora"]);
    assert_eq!(world.engine(dora).messages[0].stored.as_ref().unwrap().tries, 1);
    assert_eq!(world.store().waiting(), 0);
    assert!(world.texts(other).is_empty());
}

// Held messages move to the store.

#[test]
fn a_message_that_waits_for_a_sleeper_is_stored_when_its_window_ends() {
    let mut world = world();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    world.away(ben);
    let ids = ["one", "two"].map(|text| store(&mut world, anna, "ben", text));
    world.advance(59 * SECOND);
    assert_eq!(world.outcome(anna, ids[0]), None);
    world.advance(2 * SECOND);
    assert_eq!(ids.map(|id| world.outcome(anna, id)), [STORED, STORED]);
    let three = store(&mut world, anna, "ben", "three");
    assert_eq!(world.outcome(anna, three), STORED);
    world.back(ben);
    world.until_online(ben);
    assert_eq!(world.texts(ben), ["one", "two", "three"]);
    assert_eq!(world.store().waiting(), 0);
}

#[test]
fn a_message_that_waits_is_stored_5_s_before_its_time_is_over() {
    let mut world = world();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    world.away(ben);
    let short = world.send_stored(anna, &user("ben"), "short", 4 * SECOND);
    let id = world.send_stored(anna, &user("ben"), "kept", 30 * SECOND);
    let later = world.send_stored(anna, &user("ben"), "later", 40 * SECOND);
    world.send(anna, "ben", "plain");
    world.run();
    world.advance(Duration::from_millis(1_900));
    assert_eq!(world.outcome(anna, short), None);
    world.advance(Duration::from_millis(200));
    assert_eq!(world.outcome(anna, short), STORED);
    world.advance(22 * SECOND);
    assert_eq!(world.outcome(anna, id), None);
    world.advance(SECOND);
    assert_eq!(world.outcome(anna, id), STORED);
    world.back(ben);
    world.until_online(ben);
    world.advance(SECOND);
    assert_eq!(world.outcome(anna, later), ACKED);
    assert_eq!(world.texts(ben), ["short", "kept", "later", "plain"]);
    assert_eq!(world.store().waiting(), 0);
}

#[test]
fn what_is_taken_back_from_a_slow_receiver_comes_before_what_was_behind_it() {
    let mut world =
        World::with_store_and(StoreLimits::default(), ServerConfig { window: 4096, ..ServerConfig::default() });
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    world.engine(ben).takes = false;
    world.send(anna, "ben", &"x".repeat(4060));
    let id = world.send_stored(anna, &user("ben"), "kept", 30 * SECOND);
    world.send(anna, "ben", "behind");
    world.people.holds = Some(is_put);
    world.advance(26 * SECOND);
    world.engine(ben).takes = true;
    world.advance(SECOND);
    assert_eq!(world.texts(ben).len(), 1, "what was behind it waits until it is known where it is");
    release(&mut world);
    assert_eq!(world.outcome(anna, id), STORED);
    assert_eq!(world.texts(ben)[1..], ["kept", "behind"]);
    assert_eq!(world.store().waiting(), 0);
}

#[test]
fn what_was_handed_out_and_not_counted_at_the_end_of_the_window_is_stored_and_runs_once() {
    let mut world = world();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    // One is lost on the way; the other arrives, and neither its ack nor its count do.
    world.link(ben).hold_up = true;
    let arrived = store(&mut world, anna, "ben", "arrived");
    world.link(ben).hold_down = true;
    let lost = store(&mut world, anna, "ben", "lost");
    assert_eq!(world.texts(ben), ["arrived"]);
    world.away(ben);
    world.advance(61 * SECOND);
    assert_eq!([arrived, lost].map(|id| world.outcome(anna, id)), [STORED, STORED]);
    world.back(ben);
    world.until_online(ben);
    assert_eq!(ran(&mut world, ben), ["arrived", "lost"]);
    assert_eq!(world.store().waiting(), 0, "the one that it had is confirmed as well");
}

#[test]
fn a_stored_message_that_came_live_before_is_confirmed_only_when_that_was_handled() {
    let mut world = world();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    world.engine(ben).takes = false;
    world.link(ben).hold_up = true;
    store(&mut world, anna, "ben", "arrived");
    world.away(ben);
    world.advance(61 * SECOND);
    world.back(ben);
    world.until_online(ben);
    world.advance(SECOND);
    assert_eq!((ran(&mut world, ben).len(), world.store().waiting()), (0, 1));
    world.engine(ben).takes = true;
    world.advance(SECOND);
    assert_eq!((ran(&mut world, ben), world.store().waiting()), (vec!["arrived".into()], 0));
}

// Several devices.

#[test]
fn it_is_stored_once_when_the_last_device_is_gone_and_not_at_all_if_one_had_it() {
    let mut world = world();
    let anna = world.join("anna");
    let (phone, desk) = (world.join_on("ben", DeviceKind::PHONE), world.join_on("ben", DeviceKind::DESKTOP));
    world.away(phone);
    let one = store(&mut world, anna, "ben", "one");
    assert_eq!(world.outcome(anna, one), ACKED);
    world.away(desk);
    let two = store(&mut world, anna, "ben", "two");
    world.advance(30 * SECOND);
    world.advance(31 * SECOND);
    assert_eq!(world.outcome(anna, two), STORED);
    assert_eq!(world.store().waiting(), 1);
    world.back(desk);
    world.until_online(desk);
    assert_eq!(world.texts(desk), ["one", "two"]);
    world.back(phone);
    world.until_online(phone);
    assert_eq!(world.texts(phone), [""; 0]);
}

#[test]
fn a_message_to_a_device_waits_for_that_one_and_one_to_the_user_goes_to_the_first() {
    let mut world = world();
    let anna = world.join("anna");
    let id = world.send_stored(anna, &on("ben", DeviceKind::PHONE), "phone", LONG);
    store(&mut world, anna, "ben", "user");
    assert_eq!(world.outcome(anna, id), STORED);
    let desk = world.start(ClientConfig { device: DeviceKind::DESKTOP, ..client_config("ben") });
    world.engine(desk).confirms = false;
    world.run();
    let phone = world.join_on("ben", DeviceKind::PHONE);
    assert_eq!((world.texts(desk), world.texts(phone)), (vec!["user".into()], vec!["phone".into()]));
    // Whoever had it is gone without a confirm: the other one gets it.
    let now = world.now;
    world.session(desk).log_off(now);
    world.run();
    assert_eq!(world.texts(phone), ["phone", "user"]);
    assert_eq!(world.store().waiting(), 0);
}

// Delivery.

#[test]
fn a_long_tail_comes_by_pages_in_order_and_within_the_budget() {
    let mut world =
        World::with_store_and(StoreLimits::default(), ServerConfig { window: 16 * 1024, ..ServerConfig::default() });
    let anna = world.join("anna");
    let texts: Vec<String> = (0..400).map(|n| format!("{n:0>500}")).collect();
    for text in &texts {
        store(&mut world, anna, "ben", text);
    }
    let ben = world.start(client_config("ben"));
    world.engine(ben).takes = false;
    world.run();
    world.send(anna, "ben", "live");
    world.run();
    let held = world.node.held_bytes();
    assert!(held < 64 * 1024, "{held}");
    world.engine(ben).takes = true;
    world.advance(5 * SECOND);
    let mut all = texts;
    all.push("live".into());
    assert!(world.texts(ben) == all, "{} came", world.texts(ben).len());
    assert_eq!(world.store().waiting(), 0);
}

#[test]
fn a_resume_within_the_tail_brings_the_rest_once() {
    let mut world =
        World::with_store_and(StoreLimits::default(), ServerConfig { window: 4096, ..ServerConfig::default() });
    let anna = world.join("anna");
    let texts: Vec<String> = (0..50).map(|n| format!("{n:0>300}")).collect();
    for text in &texts {
        store(&mut world, anna, "ben", text);
    }
    let ben = world.start(client_config("ben"));
    world.engine(ben).next_pass = Some((3, 5));
    world.run();
    assert!(world.texts(ben).len() < 50);
    world.cut(ben);
    world.until_online(ben);
    world.advance(SECOND);
    assert!(world.texts(ben) == texts, "{} came", world.texts(ben).len());
    assert_eq!(world.store().waiting(), 0);
}

#[test]
fn a_message_that_is_never_confirmed_becomes_a_dead_letter() {
    let mut world = world();
    let anna = world.join("anna");
    store(&mut world, anna, "ben", "poison");
    for tries in 0..5 {
        let ben = world.start(client_config("ben"));
        world.engine(ben).confirms = false;
        world.run();
        assert_eq!(world.engine(ben).messages[0].stored.as_ref().unwrap().tries, tries);
        world.die(ben);
        world.server_learns(ben);
    }
    world.advance(2 * MINUTE);
    let ben = world.join("ben");
    assert_eq!(world.texts(ben), [""; 0]);
    assert_eq!(world.store().dead_letters().len(), 1);
}

#[test]
fn a_store_that_fails_at_login_keeps_nobody_out_and_is_asked_again() {
    let mut world = world();
    let anna = world.join("anna");
    store(&mut world, anna, "ben", "kept");
    world.people.fails = true;
    let ben = world.join("ben");
    world.send(anna, "ben", "live");
    world.run();
    assert_eq!(world.texts(ben), ["live"]);
    world.people.fails = false;
    world.advance(31 * SECOND);
    assert_eq!(world.texts(ben), ["live", "kept"]);
    // One that does not answer holds up the messages of that login for 15 s, and of nobody else.
    store(&mut world, anna, "carl", "kept");
    world.people.holds = Some(is_fetch);
    let carl = world.join("carl");
    world.send(anna, "carl", "live");
    world.send(anna, "ben", "to ben");
    world.advance(14 * SECOND);
    assert_eq!((world.texts(carl).len(), world.texts(ben).len()), (0, 3));
    world.advance(2 * SECOND);
    assert_eq!(world.texts(carl), ["live"]);
    world.people.holds = None;
    world.advance(30 * SECOND);
    assert_eq!(world.texts(carl), ["live", "kept"]);
}

#[test]
fn a_restart_of_the_server_loses_nothing_that_was_stored() {
    let mut world = world();
    let anna = world.join("anna");
    let ids = ["one", "two", "three"].map(|text| store(&mut world, anna, "ben", text));
    let ben = world.start(client_config("ben"));
    world.engine(ben).confirms = false;
    world.run();
    assert_eq!(world.texts(ben).len(), 3);
    world.restart_server();
    world.until_online(anna);
    world.until_online(ben);
    assert_eq!(ids.map(|id| world.outcome(anna, id)), [STORED, STORED, STORED]);
    assert_eq!(world.texts(ben).len(), 3, "it runs once in the life of an engine");
    assert_eq!(world.store().waiting(), 3, "and is there until its handler has returned");
    let now = world.now;
    let stored: Vec<_> = world.engine(ben).messages.iter().map(|message| message.stored.clone().unwrap().id).collect();
    for id in stored {
        world.session(ben).confirm(now, id);
        world.session(ben).confirm(now, id);
    }
    world.advance(SECOND);
    assert_eq!((world.store().waiting(), world.session(ben).remembered_stored()), (0, 0));
}

#[test]
fn a_confirm_that_is_lost_is_said_again() {
    let mut world = world();
    let anna = world.join("anna");
    store(&mut world, anna, "ben", "one");
    let ben = world.start(client_config("ben"));
    world.people.holds = Some(is_confirm);
    world.run();
    assert_eq!((world.texts(ben).len(), world.store().waiting()), (1, 1));
    world.restart_server();
    world.people.holds = None;
    world.people.fails = true;
    world.run();
    world.people.fails = false;
    world.until_online(ben);
    world.advance(31 * SECOND);
    assert_eq!(world.texts(ben), ["one"]);
    assert_eq!((world.store().waiting(), world.session(ben).remembered_stored()), (0, 0));
}

#[test]
fn a_confirm_twice_of_nothing_or_of_anothers_message_changes_nothing() {
    let mut world = world();
    let anna = world.join("anna");
    store(&mut world, anna, "ben", "ben's");
    store(&mut world, anna, "carl", "carl's");
    let mut carl = RawLink::join(&mut world, "carl", 7);
    let stored: Vec<u64> =
        carl.take_received().iter().filter_map(|frame| frame.envelope().ok()).map(|of| of.id).collect();
    assert_eq!(stored, [2]);
    let from = carl.engine.clone();
    let mut confirm = |world: &mut World, id: u64| {
        let envelope = Envelope::new(Address::Server { instance: 0 }, Address::of_engine(&from), id);
        carl.send(world, &Frame::Confirm { envelope });
        world.run();
        carl.pump(world);
        let told = carl.take_received();
        assert!(carl.is_open());
        told.iter().filter(|frame| frame.kind() == Some(Kind::Confirm)).count()
    };
    assert_eq!(confirm(&mut world, 1), 1, "another's");
    assert_eq!(confirm(&mut world, 99), 1, "nobody's");
    assert_eq!(world.store().waiting(), 2);
    assert_eq!(confirm(&mut world, 2), 1);
    assert_eq!(confirm(&mut world, 2), 1, "twice");
    assert_eq!(world.store().waiting(), 1);
    let ben = world.join("ben");
    assert_eq!(world.texts(ben), ["ben's"]);
}

#[test]
fn confirms_without_end_are_bounded_and_hurt_only_who_says_them() {
    let mut world = world();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    let mut mallory = RawLink::join(&mut world, "mallory", 7);
    world.people.holds = Some(is_confirm);
    let from = mallory.engine.clone();
    for id in 0..10_000 {
        let envelope = Envelope::new(Address::Server { instance: 0 }, Address::of_engine(&from), id);
        mallory.push_only(&world, Frame::Confirm { envelope }.to_bytes(Default::default()).unwrap());
    }
    world.run();
    assert_eq!(asked(&world, is_confirm), 1, "one at a time");
    assert!(world.counter("confirms_dropped") > 1_000);
    let id = store(&mut world, anna, "ben", "goes");
    assert_eq!((world.outcome(anna, id), world.texts(ben)), (ACKED, vec!["goes".into()]));
}

#[test]
fn a_sender_or_receiver_that_is_removed_meanwhile_is_no_harm() {
    let mut world = world();
    let users = esf_driver::store::MemoryStore::new(StoreLimits::default());
    for user in ["anna", "ben"] {
        users.add_user(&name(user));
    }
    world.people.keeps = Some(users.clone());
    let anna = world.join("anna");
    store(&mut world, anna, "ben", "one");
    users.remove_user(&name("anna"));
    let ben = world.start(client_config("ben"));
    world.engine(ben).confirms = false;
    world.run();
    assert_eq!(world.texts(ben), ["one"]);
    users.remove_user(&name("ben"));
    let (now, id) = (world.now, world.engine(ben).messages[0].stored.clone().unwrap().id);
    world.session(ben).confirm(now, id);
    world.advance(SECOND);
    assert!(world.is_online(ben));
    assert_eq!(world.session(ben).remembered_stored(), 0);
    let gone = store(&mut world, anna, "ben", "live");
    assert_eq!(world.outcome(anna, gone), ACKED, "who is on is on");
    let now = world.now;
    world.session(ben).log_off(now);
    world.run();
    let gone = store(&mut world, anna, "ben", "two");
    assert_eq!(world.outcome(anna, gone), failed(Failure::NoSuchUser));
}

#[test]
fn who_is_pushed_out_leaves_what_waited_to_the_newer_login_in_order() {
    let mut world = world();
    let (anna, old) = (world.join("anna"), world.join("ben"));
    world.away(old);
    store(&mut world, anna, "ben", "first");
    world.people.holds = Some(is_put);
    let new = world.join("ben");
    world.send(anna, "ben", "second");
    world.run();
    assert_eq!(world.texts(new), [""; 0]);
    release(&mut world);
    assert_eq!(world.texts(new), ["first", "second"]);
    assert_eq!(world.store().waiting(), 0);
}
