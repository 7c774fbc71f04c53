//! What the server's application itself sends to people.

use std::time::Duration;

use esf_proto::{
    failure::Failure,
    ids::{InstanceId, Source},
    server::DeskEvent,
};
use esf_tests::world::{Answering, World, user};

const TTL: Duration = Duration::from_secs(30);

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
