//! What the server's application does with messages before they go on (ESF-516).

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use esf_driver::node::{Asked, Judge, Judged};
use esf_proto::{
    client::{Event, MessageOptions, Policy, SendOptions},
    failure::Failure,
    ids::MessageId,
    server::{Config, Verdict},
    time::Instant,
    wire::Kind,
};
use esf_tests::{
    blobs::content,
    people::{People, group},
    world::{Outcome, Who, World, user},
};

const SECOND: Duration = Duration::from_secs(1);
const REFUSED: Verdict = Verdict::Refuse(Failure::NotAllowed);

/// What the application does.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Does {
    #[default]
    Passes,
    Refuses,
    /// Nothing yet with what this user sends.
    Waits(&'static str),
}

#[derive(Default)]
struct State {
    does: Does,
    seen: Vec<Kind>,
    waiting: Vec<Asked>,
}

#[derive(Clone, Default)]
struct Application(Arc<Mutex<State>>);

impl Judge for Application {
    fn judge(&self, _now: Instant, asked: &Asked) -> Judged {
        let mut state = self.0.lock().expect("whole");
        state.seen.extend(asked.frame().kind());
        match state.does {
            Does::Passes => Judged::Now(Verdict::Pass),
            Does::Refuses => Judged::Now(REFUSED),
            Does::Waits(user) if asked.engine().user.as_str() != user => Judged::Now(Verdict::Pass),
            Does::Waits(_) => {
                let (state, asked) = (self.0.clone(), asked.clone());
                Judged::Later(Box::new(move || state.lock().expect("whole").waiting.push(asked)))
            }
        }
    }
}

impl Application {
    fn does(&self, does: Does) {
        self.0.lock().expect("whole").does = does;
    }

    fn waiting(&self) -> Vec<Asked> {
        std::mem::take(&mut self.0.lock().expect("whole").waiting)
    }

    fn seen(&self) -> Vec<Kind> {
        std::mem::take(&mut self.0.lock().expect("whole").seen)
    }
}

fn three() -> (World, Application, [Who; 3]) {
    let mut people = People::default();
    people.set_group("red", &["anna", "ben", "cleo"]);
    let mut world = World::with(Config { store: true, intercepts: true, ..Config::default() });
    world.people = people;
    let application = Application::default();
    world.node.set_judge(Box::new(application.clone()));
    let all = ["anna", "ben", "cleo"].map(|name| world.join(name));
    (world, application, all)
}

const TOLD: MessageOptions = MessageOptions { policy: Policy::Queue, echo: false, tell: Some(7) };

/// One of everything that may be sent, to "ben" and his group; the three that have an outcome.
fn one_of_each(world: &mut World, from: Who) -> [MessageId; 3] {
    let (now, body) = (world.now, Bytes::from_static(b"hello"));
    world.send_to(from, &user("ben"), "hello", SendOptions { tell: Some(7), ..SendOptions::default() });
    let session = world.session(from);
    session.broadcast(now, &group("red"), 1, body.clone(), TOLD).expect("room");
    session.send_message(now, &user("ben"), 1, body, "tag", TOLD).expect("room");
    let certain = world.send_certainly(from, "ben", "hello");
    let query = world.query(from, "ben", "hello");
    let blob = world.send_blob(from, &user("ben"), &content(1000));
    world.broadcast_blob(from, &group("red"), &content(1000));
    world.run();
    [certain, query, blob]
}

fn told(world: &World, who: Who) -> Vec<Failure> {
    let failure = |event: &Event| match event {
        Event::Undeliverable { note: 7, failure } => Some(*failure),
        _ => None,
    };
    world.events(who).iter().filter_map(failure).collect()
}

#[test]
fn everything_that_people_say_is_shown_and_passes() {
    let (mut world, application, [anna, ben, _]) = three();
    let ids = one_of_each(&mut world, anna);
    let outcomes = ids.map(|id| world.outcome(anna, id));
    assert_eq!(outcomes, [Some(Outcome::Acked), Some(Outcome::Replied("hello".into())), Some(Outcome::Acked)]);
    assert_eq!(world.texts(ben).len(), 4);
    assert_eq!(world.engine(ben).blobs.whole().len(), 2);
    assert!(told(&world, anna).is_empty());
    let mut seen = application.seen();
    seen.sort_by_key(|kind| *kind as u8);
    let all = [Kind::Send, Kind::Certain, Kind::Broadcast, Kind::EngineMessage, Kind::Query, Kind::BlobOffer];
    assert_eq!(seen, [&all[..], &[Kind::BlobOffer]].concat(), "and no ack, reply or fragment");
    world.send(anna, "", "to the server");
    world.run();
    assert_eq!(application.seen(), [Kind::Send], "also what goes to the server itself");
    assert_eq!(world.inbox.len(), 1);
    assert_eq!((world.counter("intercepted"), world.counter("interceptions_failed")), (0, 0));
}

#[test]
fn what_is_refused_goes_nowhere_and_its_sender_hears_that() {
    let (mut world, application, [anna, ben, cleo]) = three();
    application.does(Does::Refuses);
    let ids = one_of_each(&mut world, anna);
    assert_eq!(ids.map(|id| world.outcome(anna, id)), [(); 3].map(|()| Some(Outcome::Failed(Failure::NotAllowed))));
    assert_eq!(told(&world, anna), [Failure::NotAllowed; 3]);
    for who in [ben, cleo] {
        assert!(world.texts(who).is_empty() && world.engine(who).blobs.offers.is_empty());
    }
    assert_eq!(world.counter("intercepted"), 7);
    assert_eq!(world.session(anna).outgoing_blobs(), 0);
    assert!(world.is_online(anna));
    application.does(Does::Passes);
    world.send(anna, "ben", "after it");
    world.run();
    assert_eq!(world.texts(ben), ["after it"]);
}

#[test]
fn what_waits_keeps_its_senders_order_and_nobody_elses_time() {
    let (mut world, application, [anna, ben, cleo]) = three();
    application.does(Does::Waits("anna"));
    for number in 0..5 {
        world.send(anna, "ben", &format!("a{number}"));
    }
    world.run();
    world.send(cleo, "ben", "c0");
    world.run();
    assert_eq!(world.texts(ben), ["c0"]);
    for number in 0..5 {
        let waiting = application.waiting();
        assert_eq!(waiting.len(), 1, "one at a time");
        let now = world.now;
        world.node.judged(now, &waiting[0], if number == 2 { REFUSED } else { Verdict::Pass });
        // A second word changes nothing.
        world.node.judged(now, &waiting[0], REFUSED);
        world.run();
    }
    assert_eq!(world.texts(ben), ["c0", "a0", "a1", "a3", "a4"]);
    assert_eq!(world.counter("intercepted"), 1);
}

#[test]
fn no_verdict_in_time_is_a_failure_of_the_server() {
    let (mut world, application, [anna, ben, cleo]) = three();
    application.does(Does::Waits("anna"));
    let (first, second) = (world.send_certainly(anna, "ben", "one"), world.send_certainly(anna, "ben", "two"));
    world.advance(SECOND * 4);
    assert_eq!(world.outcome(anna, first), None);
    world.send(cleo, "ben", "others go on");
    world.advance(SECOND * 2);
    assert_eq!(world.outcome(anna, first), Some(Outcome::Failed(Failure::Internal)));
    assert_eq!(world.outcome(anna, second), None, "its own time has just begun");
    world.advance(SECOND * 5);
    assert_eq!(world.outcome(anna, second), Some(Outcome::Failed(Failure::Internal)));
    assert_eq!(world.counter("interceptions_failed"), 2);
    // A verdict that comes too late.
    let now = world.now;
    for asked in application.waiting() {
        assert!(!world.node.awaits(&asked));
        world.node.judged(now, &asked, Verdict::Pass);
    }
    world.run();
    assert_eq!(world.texts(ben), ["others go on"]);
    application.does(Does::Passes);
    world.send(anna, "ben", "and so does she");
    world.run();
    assert_eq!(world.texts(ben), ["others go on", "and so does she"]);
}

#[test]
fn who_is_gone_when_the_verdict_comes_has_said_it_all_the_same() {
    let (mut world, application, [anna, ben, _]) = three();
    application.does(Does::Waits("anna"));
    world.send(anna, "ben", "last words");
    world.send_certainly(anna, "ben", "to be confirmed");
    world.run();
    let now = world.now;
    world.session(anna).log_off(now);
    world.run();
    application.does(Does::Passes);
    for asked in application.waiting() {
        world.node.judged(now, &asked, Verdict::Pass);
    }
    world.run();
    assert_eq!(world.texts(ben), ["last words"]);
    world.advance(SECOND * 10);
    assert_eq!(world.node.held_bytes(), 0);
}

/// Verdicts that are there at once make nothing wait: a burst of one message after the other stays in its order.
#[test]
fn a_burst_goes_on_in_its_order() {
    let (mut world, application, [anna, ben, _]) = three();
    for number in 0..500 {
        world.send(anna, "ben", &number.to_string());
    }
    world.run();
    let expected: Vec<String> = (0..500).map(|number: u32| number.to_string()).collect();
    assert_eq!(world.texts(ben), expected);
    assert_eq!(application.seen().len(), 500);
}
