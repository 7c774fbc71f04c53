//! What may happen between a message that is to be stored, its receiver's logins and deaths, and a crash of the server.
//! The traces are the counter-examples of the delivery model's `store`: each broke a promise while one of the rules was
//! missing. A is the sender, B the receiver; `Srv` is a frame at the server, `Commit` one in the store, `Answer` the
//! sender's, `Handler` B's that returns.

use std::time::Duration;

use esf_driver::store::StoreLimits;
use esf_proto::{
    client::{Message, MessageKind},
    ids::MessageId,
    store::StoreRequest,
};
use esf_tests::world::{Outcome, Who, World, client_config, user};

const STORED: Option<Outcome> = Some(Outcome::Stored);
const MINUTE: Duration = Duration::from_secs(60);
/// A time to live longer than a resume window.
const LONG: Duration = Duration::from_secs(200);

fn world() -> World {
    World::with_store(StoreLimits::default())
}

fn send(world: &mut World, from: Who, text: &str) -> MessageId {
    let id = world.send_stored(from, &user("ben"), text, LONG);
    world.run();
    id
}

fn is_put(request: &StoreRequest) -> bool {
    matches!(request, StoreRequest::Put { .. })
}

/// What the handlers of an engine ran.
fn ran(world: &mut World, who: Who) -> Vec<String> {
    let run = |message: &&Message| message.kind != MessageKind::Repeated;
    let text = |message: &Message| String::from_utf8_lossy(&message.body).into_owned();
    world.engine(who).messages.iter().filter(run).map(text).collect()
}

/// B logs in, and its handlers do not return yet.
fn join_and_wait(world: &mut World) -> Who {
    let ben = world.start(client_config("ben"));
    world.engine(ben).takes = false;
    world.run();
    ben
}

#[test]
fn what_its_receiver_had_and_did_not_handle_is_not_lost() {
    // Send; Srv; Commit; Answer; BLogin; Deliver; BRecv; Confirm; BDie: confirmed when it came, and gone with B.
    let mut world = world();
    let anna = world.join("anna");
    let id = send(&mut world, anna, "hello");
    assert_eq!(world.outcome(anna, id), STORED);
    let ben = join_and_wait(&mut world);
    assert_eq!((world.session(ben).remembered_stored(), world.store().waiting()), (1, 1), "it has come");
    world.die(ben);
    let ben = world.join("ben");
    assert_eq!((world.texts(ben), world.store().waiting()), (vec!["hello".into()], 0));
}

#[test]
fn what_was_on_its_way_to_the_store_comes_before_what_was_sent_behind_it() {
    // Send; Send; Srv; BLogin; Srv; Commit; Deliver; BRecv; Crash; BLogin; Deliver; BRecv; Handler; Handler: the second
    // went to B at once, the first out of the store after the crash.
    let mut world = world();
    let anna = world.join("anna");
    world.people.holds = Some(is_put);
    let first = send(&mut world, anna, "first");
    let ben = join_and_wait(&mut world);
    let second = send(&mut world, anna, "second");
    assert_eq!(world.session(ben).waiting_messages(), 0, "it waits for the first");
    // What becomes of them is not told to A before the crash.
    world.link(anna).hold_down = true;
    world.people.holds = None;
    world.run();
    world.restart_server();
    for who in [ben, anna] {
        world.until_online(who);
    }
    world.engine(ben).takes = true;
    world.advance(MINUTE);
    assert_eq!(ran(&mut world, ben), ["first", "second"]);
    assert_eq!(world.outcome(anna, first), STORED);
    assert!(matches!(world.outcome(anna, second), Some(Outcome::Acked | Outcome::Stored)));
    assert_eq!(world.store().waiting(), 0);
}

#[test]
fn what_is_stored_while_its_receiver_logs_in_does_not_lie_there() {
    // Send; Srv; BLogin; Commit; Answer: B asked the store before it was there, and nobody asks again.
    let mut world = world();
    let anna = world.join("anna");
    world.people.holds = Some(is_put);
    let id = send(&mut world, anna, "hello");
    let ben = world.join("ben");
    world.people.holds = None;
    world.run();
    assert_eq!(world.outcome(anna, id), STORED);
    assert_eq!((world.texts(ben), world.store().waiting()), (vec!["hello".into()], 0));
}

#[test]
fn what_a_handler_ran_and_nobody_confirmed_comes_again_until_it_is_and_never_after() {
    // Send; Srv; Commit; BLogin; Deliver; BRecv; Crash; Handler; BDie; BLogin; Deliver; BRecv; Confirm; Handler:
    // confirmed before it ran, it ran once more after that.
    let mut world = world();
    let anna = world.join("anna");
    send(&mut world, anna, "hello");
    let ben = join_and_wait(&mut world);
    world.engine(ben).network = false;
    world.restart_server();
    world.engine(ben).takes = true;
    world.run();
    assert_eq!((ran(&mut world, ben), world.store().waiting()), (vec!["hello".into()], 1), "its confirm is not said");
    world.die(ben);
    let ben = join_and_wait(&mut world);
    assert_eq!(
        (world.session(ben).remembered_stored(), world.store().waiting()),
        (1, 1),
        "it has come, and did not run"
    );
    world.engine(ben).takes = true;
    world.run();
    assert_eq!((ran(&mut world, ben), world.store().waiting()), (vec!["hello".into()], 0));
    world.die(ben);
    world.until_online(anna);
    let ben = world.join("ben");
    world.advance(MINUTE);
    assert_eq!(ran(&mut world, ben), [""; 0]);
}

#[test]
fn what_was_confirmed_and_is_sent_again_runs_in_no_other_engine() {
    // Send; Srv; Commit; BLogin; Deliver; BRecv; Handler; Confirm; Crash; BDie; BLogin; Srv; Deliver; BRecv; Handler: its
    // key was forgotten with it, or nobody looked for it since B was online.
    let mut world = world();
    let anna = world.join("anna");
    world.link(anna).hold_down = true;
    let id = send(&mut world, anna, "hello");
    let ben = world.join("ben");
    assert_eq!((ran(&mut world, ben), world.store().waiting()), (vec!["hello".into()], 0));
    world.engine(anna).network = false;
    world.restart_server();
    world.die(ben);
    let ben = world.join("ben");
    assert_eq!(world.outcome(anna, id), None);
    world.back(anna);
    world.until_online(anna);
    world.advance(MINUTE);
    assert_eq!((world.outcome(anna, id), ran(&mut world, ben)), (STORED, Vec::new()));
}

#[test]
fn what_was_confirmed_and_is_sent_again_does_not_run_behind_what_was_sent_later() {
    // Send; Send; Srv; Srv; Commit; Commit; BLogin; Deliver; BRecv; Handler; Confirm; Crash; BDie; BLogin; Srv; Deliver;
    // Deliver; BRecv; BRecv; Handler; Handler: the second came out of the store and the first again.
    let mut world = world();
    let anna = world.join("anna");
    world.link(anna).hold_down = true;
    let ids = ["first", "second"].map(|text| send(&mut world, anna, text));
    let ben = world.start(client_config("ben"));
    world.engine(ben).confirms = false;
    world.run();
    let (now, first) = (world.now, world.engine(ben).messages[0].stored.as_ref().expect("where it came from").id);
    world.session(ben).confirm(now, first);
    world.run();
    assert_eq!((ran(&mut world, ben).len(), world.store().waiting()), (2, 1));
    world.restart_server();
    world.die(ben);
    world.until_online(anna);
    let ben = world.join("ben");
    world.advance(MINUTE);
    assert_eq!(ran(&mut world, ben), ["second"]);
    assert_eq!(ids.map(|id| world.outcome(anna, id)), [STORED, STORED]);
    assert_eq!(world.store().waiting(), 0);
}
