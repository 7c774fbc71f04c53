//! What the server's application itself sends to people.

use std::time::Duration;

use esf_driver::store::{MemoryStore, StoreLimits};
use esf_proto::{
    failure::Failure,
    ids::{DeviceKind, InstanceId, MessageId, Source, To, UserId},
    server::DeskEvent,
    store::StoreRequest,
};
use esf_tests::{
    people::name,
    world::{Answering, World, client_config, user},
};

const TTL: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);
/// A time to live longer than a resume window.
const LONG: Duration = Duration::from_secs(200);

/// What became of all that the server's application sent, in the order of their numbers.
fn outcomes(world: &World) -> Vec<DeskEvent> {
    let mut outcomes: Vec<DeskEvent> = std::iter::from_fn(|| world.node.poll_outcome(world.now)).collect();
    outcomes.sort_by_key(|outcome| match outcome {
        DeskEvent::Acked { id } | DeskEvent::Stored { id } => id.0,
        DeskEvent::Replied { id, .. } | DeskEvent::Failed { id, .. } => id.0,
    });
    outcomes
}

fn store(world: &mut World, to: &str, text: &str) -> MessageId {
    let id = world.store_by_server(&user(to), text, LONG);
    world.run();
    id
}

fn is_put(request: &StoreRequest) -> bool {
    matches!(request, StoreRequest::Put { .. })
}

#[test]
fn a_plain_message_of_the_server_has_no_user_as_its_source() {
    let mut world = World::new();
    let anna = world.join("anna");
    world.node.send(world.now, &user("anna"), 7, b"hello").expect("anna is there");
    world.run();
    let message = &world.engine(anna).messages[0];
    assert_eq!((message.source.user(), message.info_type, &message.body[..]), (None, 7, &b"hello"[..]));
    assert_eq!(world.node.send(world.now, &user("nobody"), 7, b""), Err(Failure::Offline));
    assert_eq!(world.node.send(world.now, &user(""), 7, b""), Err(Failure::NotAllowed));
}

#[test]
fn a_certain_message_of_the_server_is_acknowledged_and_one_to_nobody_is_refused() {
    let mut world = World::new();
    let anna = world.join("anna");
    let good = world.node.send_certainly(world.now, &user("anna"), 1, b"once", TTL).expect("an id");
    let bad = world.node.send_certainly(world.now, &user("nobody"), 1, b"", TTL).expect("an id");
    world.run();
    let mut outcomes: Vec<DeskEvent> = std::iter::from_fn(|| world.node.poll_outcome(world.now)).collect();
    outcomes.sort_by_key(|outcome| matches!(outcome, DeskEvent::Failed { .. }));
    assert_eq!(outcomes, [DeskEvent::Acked { id: good }, DeskEvent::Failed { id: bad, failure: Failure::Offline }]);
    assert_eq!(world.texts(anna), ["once"]);
    assert!(matches!(world.engine(anna).messages[0].source, Source::Server(InstanceId(_))));
}

#[test]
fn the_server_asks_and_is_answered_or_times_out() {
    let mut world = World::new();
    let anna = world.join("anna");
    let id = world.node.query(world.now, &user("anna"), 1, b"who?", TTL).expect("an id");
    world.run();
    assert_eq!(world.node.poll_outcome(world.now), Some(DeskEvent::Replied { id, body: "who?".into() }));
    world.engine(anna).answering = Answering::Never;
    let id = world.node.query(world.now, &user("anna"), 1, b"still?", TTL).expect("an id");
    world.advance(TTL - Duration::from_millis(1));
    assert_eq!(world.node.poll_outcome(world.now), None);
    world.advance(Duration::from_millis(1));
    assert_eq!(world.node.poll_outcome(world.now), Some(DeskEvent::Failed { id, failure: Failure::TimedOut }));
}

#[test]
fn what_the_server_sent_survives_a_cut_and_ends_with_the_session() {
    let mut world = World::new();
    let anna = world.join("anna");
    world.engine(anna).network = false;
    world.cut(anna);
    let id = world.node.send_certainly(world.now, &user("anna"), 1, b"held", TTL).expect("an id");
    world.engine(anna).network = true;
    world.advance(Duration::from_secs(10));
    assert_eq!(world.node.poll_outcome(world.now), Some(DeskEvent::Acked { id }));
    assert_eq!(world.texts(anna), ["held"]);
    let now = world.now;
    world.session(anna).log_off(now);
    let id = world.node.send_certainly(world.now, &user("anna"), 1, b"late", TTL).expect("an id");
    world.run();
    let outcome = world.node.poll_outcome(world.now);
    assert!(matches!(outcome, Some(DeskEvent::Failed { id: of, .. }) if of == id), "{outcome:?}");
}

// What is kept for whoever is offline.

#[test]
fn what_the_server_sends_is_kept_when_it_is_durable_and_comes_once_from_no_user() {
    let mut world = World::with_store(StoreLimits::default());
    world.people.holds = Some(is_put);
    let id = store(&mut world, "ben", "hello");
    assert_eq!(outcomes(&world), [], "nothing is promised before it is durable");
    world.people.holds = None;
    world.run();
    assert_eq!(outcomes(&world), [DeskEvent::Stored { id }]);
    let ben = world.join("ben");
    let message = world.engine(ben).messages[0].clone();
    assert_eq!((message.source.user(), message.id, &message.body[..]), (None, Some(id), &b"hello"[..]));
    assert!(message.stored.is_some());
    assert_eq!((world.store().waiting(), world.session(ben).remembered_stored()), (0, 0), "confirmed and gone");
    let live = store(&mut world, "ben", "live");
    assert_eq!(outcomes(&world), [DeskEvent::Acked { id: live }]);
    assert_eq!(world.texts(ben), ["hello", "live"]);
    assert_eq!(world.counter("messages_stored"), 1);
}

#[test]
fn the_server_hears_why_nothing_is_kept() {
    let mut limits = StoreLimits::default();
    limits.max_messages = 1;
    let mut world = World::with_store(limits.clone());
    let users = MemoryStore::new(limits);
    users.add_user(&name("ben"));
    world.people.keeps = Some(users);
    let kept = store(&mut world, "ben", "fits");
    let full = store(&mut world, "ben", "one too many");
    let nobody = store(&mut world, "nobody", "x");
    world.people.fails = true;
    let broken = store(&mut world, "carl", "x");
    world.people.fails = false;
    let plain = world.node.send_certainly(world.now, &user("ben"), 1, b"x", TTL).expect("an id");
    let failed = |id, failure| DeskEvent::Failed { id, failure };
    let expected = [
        DeskEvent::Stored { id: kept },
        failed(full, Failure::QuotaFull),
        failed(nobody, Failure::NoSuchUser),
        failed(broken, Failure::Internal),
        failed(plain, Failure::Offline),
    ];
    assert_eq!(outcomes(&world), expected);
    let own = world.node.send_storable(world.now, &To::Server, 1, b"x", TTL);
    assert_eq!(own, Err(Failure::NotAllowed));
    let large = vec![0; world.node.config().max_frame as usize - 300];
    assert_eq!(world.node.send_storable(world.now, &user("ben"), 1, &large, TTL), Err(Failure::TooLarge));
}

#[test]
fn without_a_store_what_the_server_wants_kept_finds_nobody() {
    let mut world = World::new();
    let id = store(&mut world, "ben", "hello");
    assert_eq!(outcomes(&world), [DeskEvent::Failed { id, failure: Failure::Offline }]);
}

#[test]
fn what_the_server_sends_to_a_sleeper_is_kept_when_its_window_ends_or_its_time_is_near() {
    let mut world = World::with_store(StoreLimits::default());
    let ben = world.join("ben");
    world.away(ben);
    let short = world.store_by_server(&user("ben"), "short", Duration::from_secs(20));
    let long = store(&mut world, "ben", "long");
    world.advance(Duration::from_secs(14));
    assert_eq!(outcomes(&world), []);
    world.advance(2 * SECOND);
    assert_eq!(outcomes(&world), [DeskEvent::Stored { id: short }]);
    world.advance(Duration::from_secs(43));
    assert_eq!(outcomes(&world), []);
    world.advance(2 * SECOND);
    assert_eq!(outcomes(&world), [DeskEvent::Stored { id: long }]);
    world.back(ben);
    world.until_online(ben);
    assert_eq!((world.texts(ben), world.store().waiting()), (vec!["short".into(), "long".into()], 0));
}

#[test]
fn a_restarted_server_is_another_sender_and_what_it_kept_before_comes_first() {
    let mut world = World::with_store(StoreLimits::default());
    let phone = To::Device(UserId::parse("ben", 64).expect("a name"), DeviceKind::PHONE);
    let first = store(&mut world, "ben", "first");
    world.store_by_server(&phone, "phone", LONG);
    world.run();
    // Handled and not confirmed: the next life of the server says it again.
    let ben = world.start(client_config("ben"));
    world.engine(ben).confirms = false;
    world.run();
    assert_eq!(world.texts(ben), ["first"]);
    world.restart_server();
    let second = store(&mut world, "ben", "second");
    assert_eq!(first, second, "numbers begin again");
    world.until_online(ben);
    world.advance(2 * Duration::from_secs(60));
    assert_eq!(world.texts(ben), ["first", "second"], "and name another message");
    let keys: Vec<InstanceId> = world.engine(ben).messages.iter().map(|message| instance(&message.source)).collect();
    assert_ne!(keys[0], keys[1]);
    let phone = world.join_on("ben", DeviceKind::PHONE);
    assert_eq!(world.texts(phone), ["phone"]);
    assert_eq!(world.store().waiting(), 2, "what was not confirmed");
    let other = world.join_on("carl", DeviceKind::PHONE);
    assert_eq!(world.texts(other), [""; 0]);
}

fn instance(source: &Source) -> InstanceId {
    match source {
        Source::Server(instance) => *instance,
        Source::Engine(engine) => panic!("it is from {engine:?}"),
    }
}

#[test]
fn a_login_waits_for_what_the_server_has_under_way_to_the_store() {
    let mut world = World::with_store(StoreLimits::default());
    world.people.holds = Some(is_put);
    store(&mut world, "ben", "first");
    let ben = world.join("ben");
    store(&mut world, "ben", "second");
    world.node.send(world.now, &user("ben"), 1, b"third").expect("ben is there");
    world.run();
    assert_eq!(world.texts(ben), [""; 0]);
    world.people.holds = None;
    world.run();
    assert_eq!(world.texts(ben), ["first", "second", "third"]);
}
