//! Windows and queues: what a slow handler may hold up, and what it may not. The traces are the counter-examples of the
//! delivery model's `window`.

use std::time::Duration;

use esf_proto::{
    client::{SendError, SendOptions},
    failure::Failure,
    ids::MessageId,
    server::Config,
};
use esf_tests::world::{Answering, Outcome, Who, World, user};

const LONG: Duration = Duration::from_secs(290);

/// A server whose window holds four messages of [`kilobyte`] size and a bit.
fn narrow() -> World {
    World::with(Config { window: 5_000, ..Config::default() })
}

fn kilobyte(label: &str) -> String {
    format!("{label:<1024}")
}

fn labels(world: &World, who: Who) -> Vec<String> {
    world.texts(who).iter().map(|text| text.trim_end().to_owned()).collect()
}

/// An application whose handler of messages takes one at a time and awaits a query of its own before the next.
struct Asking {
    who: Who,
    peer: &'static str,
    awaits: Option<MessageId>,
    handled: Vec<String>,
}

impl Asking {
    fn start(world: &mut World, who: Who, peer: &'static str) -> Self {
        world.engine(who).takes = false;
        Self { who, peer, awaits: None, handled: Vec::new() }
    }

    /// Goes on if it can; its query must be answered, not time out.
    fn step(&mut self, world: &mut World) -> bool {
        if let Some(id) = self.awaits {
            let Some(outcome) = world.outcome(self.who, id) else { return false };
            assert!(matches!(outcome, Outcome::Replied(_)), "{} asked and got {outcome:?}", self.peer);
            self.awaits = None;
            return true;
        }
        let Some(message) = world.session(self.who).poll_message() else { return false };
        self.handled.push(String::from_utf8_lossy(&message.body).trim_end().to_owned());
        self.awaits = Some(world.query_to(self.who, &user(self.peer), "may I?", LONG));
        true
    }
}

/// Lets the handlers work until each has had `messages`, or no more comes.
fn work(world: &mut World, handlers: &mut [Asking], messages: usize) {
    let mut idle = 0;
    while idle < 20 && handlers.iter().any(|handler| handler.handled.len() < messages || handler.awaits.is_some()) {
        world.run();
        let moved = handlers.iter_mut().fold(false, |moved, handler| handler.step(world) | moved);
        idle = if moved { 0 } else { idle + 1 };
        if !moved {
            // What was taken is told within 100 ms.
            world.advance(Duration::from_millis(100));
        }
    }
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

#[test]
fn handlers_that_await_queries_of_their_own_do_not_stand_still_one_way() {
    // Send(0) x3; Hand; Read; Hand; Info(1); Hand(0, 0); Read(0, 0); Query(0, 0); Read; Hand: the reply behind the window.
    let mut world = narrow();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    let mut handlers = [Asking::start(&mut world, ben, "anna")];
    for label in numbered(40) {
        world.send(anna, "ben", &kilobyte(&label));
    }
    work(&mut world, &mut handlers, 40);
    assert_eq!(handlers[0].handled, numbered(40));
}

#[test]
fn handlers_that_await_queries_of_their_own_do_not_stand_still_both_ways() {
    // Both windows are full of messages, and both handlers wait for an answer of the other side.
    let mut world = narrow();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    let mut handlers = [Asking::start(&mut world, anna, "ben"), Asking::start(&mut world, ben, "anna")];
    for label in numbered(40) {
        world.send(anna, "ben", &kilobyte(&label));
        world.send(ben, "anna", &kilobyte(&label));
    }
    work(&mut world, &mut handlers, 40);
    assert_eq!(handlers[0].handled, numbered(40));
    assert_eq!(handlers[1].handled, numbered(40));
}

#[test]
fn answers_and_queries_pass_a_full_window() {
    let mut world = narrow();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    world.engine(ben).takes = false;
    for label in numbered(40) {
        world.send(anna, "ben", &kilobyte(&label));
    }
    world.advance(Duration::from_secs(1));
    assert_eq!(world.session(ben).waiting_messages(), 4, "the window is full, and the rest waits at the server");
    assert_eq!(world.session(anna).uncounted_frames(), 0);
    let own = world.query(ben, "anna", "can you hear me?");
    let sent = world.send_certainly(ben, "anna", "I am busy");
    let asked = world.query(anna, "ben", "can you hear me?");
    let ping = {
        let now = world.now;
        world.session(anna).ping(now, &user("ben")).expect("room")
    };
    world.run();
    assert_eq!(world.outcome(ben, own), Some(Outcome::Replied("can you hear me?".into())));
    assert_eq!(world.outcome(ben, sent), Some(Outcome::Acked));
    assert_eq!(world.outcome(anna, asked), Some(Outcome::Replied("can you hear me?".into())));
    assert!(matches!(world.outcome(anna, ping), Some(Outcome::Responded(Ok(()), ..))));
}

#[test]
fn no_more_than_a_window_is_out_and_what_is_taken_makes_room() {
    let mut world = narrow();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    world.engine(ben).takes = false;
    for label in numbered(40) {
        world.send(anna, "ben", &kilobyte(&label));
    }
    world.advance(Duration::from_secs(1));
    assert_eq!(world.session(ben).waiting_messages(), 4);
    assert!(world.session(ben).poll_message().is_some());
    world.advance(Duration::from_millis(99));
    assert_eq!(world.session(ben).waiting_messages(), 3);
    world.advance(Duration::from_millis(1));
    assert_eq!(world.session(ben).waiting_messages(), 4);
    world.engine(ben).takes = true;
    world.advance(Duration::from_secs(2));
    assert_eq!(labels(&world, ben), numbered(40)[1..]);
}

#[test]
fn an_empty_window_admits_one_message_of_any_size() {
    let mut world = narrow();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    world.engine(ben).takes = false;
    let large = "x".repeat(500_000);
    world.send(anna, "ben", &large);
    world.send(anna, "ben", "small");
    world.advance(Duration::from_secs(1));
    assert_eq!(world.session(ben).waiting_messages(), 1);
    assert_eq!(world.session(ben).poll_message().map(|message| message.body.len()), Some(500_000));
    world.advance(Duration::from_secs(1));
    assert_eq!(world.session(ben).poll_message().map(|message| message.body.len()), Some(5));
}

#[test]
fn the_reader_never_stops_while_nobody_takes_messages() {
    // Info(1); Read(1, 0); Hand(1, 0): the reader stood at a full queue, and nothing else came through.
    let mut world = narrow();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    world.engine(ben).takes = false;
    let ids: Vec<MessageId> =
        (0..40).map(|_| world.send_certainly_to(anna, &user("ben"), &kilobyte("m"), LONG)).collect();
    world.advance(Duration::from_secs(1));
    let acked = ids.iter().filter(|id| world.outcome(anna, **id) == Some(Outcome::Acked)).count();
    assert_eq!(acked, 4, "a message is acknowledged when it is there, not when its handler ran");
    // Heartbeats, counts and a resume go on as if nothing was.
    world.advance(Duration::from_secs(60));
    world.cut(ben);
    world.until_online(ben);
    world.run();
    assert_eq!(world.counter("resumes"), 1);
    assert_eq!((world.session(ben).waiting_messages(), world.session(ben).stats().violations), (4, 0));
    world.engine(ben).takes = true;
    world.advance(Duration::from_secs(3));
    assert_eq!(labels(&world, ben).len(), 40);
    assert!(ids.iter().all(|id| world.outcome(anna, *id) == Some(Outcome::Acked)));
}

#[test]
fn a_slow_handler_fills_its_own_outbox_and_its_senders_get_busy() {
    let mut world = World::new();
    let (anna, ben, carl) = (world.join("anna"), world.join("ben"), world.join("carl"));
    world.engine(ben).takes = false;
    let body = "x".repeat(4_000);
    let ids: Vec<MessageId> = (0..400).map(|_| world.send_certainly_to(anna, &user("ben"), &body, LONG)).collect();
    world.run();
    let busy = Some(Outcome::Failed(Failure::Busy));
    let refused = ids.iter().filter(|id| world.outcome(anna, **id) == busy).count();
    assert!(refused > 0 && refused < 200, "{refused} of 400");
    // One source fills no more than half: there is room for another, and it is only Ben who is slow.
    let from_carl = world.send_certainly_to(carl, &user("ben"), "me too", LONG);
    let to_carl = world.send_certainly(anna, "carl", "hello");
    world.run();
    assert_eq!(world.outcome(carl, from_carl), None);
    assert_eq!(world.outcome(anna, to_carl), Some(Outcome::Acked));
    assert!(world.node.held_bytes() < 2 << 20);
    // The link stays, and when Ben takes again everything that was accepted comes, once.
    world.advance(Duration::from_secs(120));
    assert!(world.is_online(ben));
    world.engine(ben).takes = true;
    world.advance(Duration::from_secs(5));
    assert_eq!(world.texts(ben).len(), 400 - refused + 1);
    let acked = ids.iter().filter(|id| world.outcome(anna, **id) == Some(Outcome::Acked)).count();
    assert_eq!(acked, 400 - refused);
    assert_eq!(world.outcome(carl, from_carl), Some(Outcome::Acked));
}

#[test]
fn a_slow_application_of_the_server_makes_its_senders_busy_and_holds_no_link_up() {
    let mut world = World::new();
    let (anna, _ben) = (world.join("anna"), world.join("ben"));
    world.answering = Answering::Never;
    let body = "x".repeat(4_000);
    let ids: Vec<MessageId> = (0..100).map(|_| world.send_certainly_to(anna, &user(""), &body, LONG)).collect();
    world.run();
    let busy = Some(Outcome::Failed(Failure::Busy));
    let refused = ids.iter().filter(|id| world.outcome(anna, **id) == busy).count();
    assert!(refused > 0 && refused < 50, "{refused} of 100");
    let acked = ids.iter().filter(|id| world.outcome(anna, **id) == Some(Outcome::Acked)).count();
    assert_eq!(acked, 100 - refused);
    // The server counts whatever its application does.
    world.advance(Duration::from_secs(1));
    assert_eq!(world.session(anna).uncounted_frames(), 0);
    let to_ben = world.send_certainly(anna, "ben", "hello");
    world.answering = Answering::Echo;
    world.run();
    assert_eq!(world.outcome(anna, to_ben), Some(Outcome::Acked));
    assert_eq!(world.inbox.len(), acked);
}

#[test]
fn a_client_that_cannot_hand_out_refuses_what_is_over_its_budget() {
    let mut world = World::new();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    world.away(anna);
    let body = "x".repeat(100_000);
    let (now, mut taken) = (world.now, 0);
    let refused = loop {
        match world.session(anna).send(now, &user("ben"), 1, body.clone().into(), SendOptions::default()) {
            Ok(()) => taken += 1,
            Err(refused) => break refused,
        }
    };
    assert!(matches!(&refused, SendError::Busy(given_back) if given_back.len() == body.len()), "{refused:?}");
    assert_eq!(taken, 20, "2 MiB");
    world.back(anna);
    world.until_online(anna);
    world.advance(Duration::from_secs(5));
    assert_eq!(world.texts(ben).len(), taken);
}

#[test]
fn what_the_server_sent_and_was_taken_does_not_count_as_its_share_for_ever() {
    // Room for some 60 messages, half of it for one sender.
    let config = Config { max_frame: 8_192, window: 4_096, budget: 64 << 10, ..Config::default() };
    let mut world = World::with(config);
    let (anna, ben, carl) = (world.join("anna"), world.join("ben"), world.join("carl"));
    world.engine(ben).takes = false;
    for label in numbered(22) {
        world.send(anna, "ben", &kilobyte(&label));
        world.send(carl, "ben", &kilobyte(&label));
    }
    world.run();
    for round in 0..60 {
        for _ in 0..3 {
            assert!(world.session(ben).poll_message().is_some());
            world.advance(Duration::from_millis(100));
        }
        world.send(anna, "ben", &kilobyte("a"));
        world.send(carl, "ben", &kilobyte("c"));
        world.run();
        let sent = world.node.send(world.now, &user("ben"), 1, kilobyte("s").as_bytes());
        assert_eq!(sent, Ok(()), "round {round}");
    }
    assert_eq!(world.counter("busy"), 0);
}
