//! Two links of one engine, the older one still sending. The traces are the counter-examples of the delivery model's
//! `hop`.

use std::time::Duration;

use esf_proto::{close::CloseReason, ids::MessageId, login::Mode};
use esf_tests::{
    raw::{LoginWith, RawLink},
    world::{Outcome, World},
};

/// The newer link resumes the session while the older one goes on sending.
fn resumed(world: &mut World, old: &RawLink, with: LoginWith<'_>) -> RawLink {
    let mut new = RawLink::open(world, "anna", old.engine.instance.0);
    let welcome = new.login(world, with).expect("a welcome");
    assert_eq!(welcome.mode, Mode::Resumed);
    new
}

fn anna_and_ben(world: &mut World) -> (RawLink, LoginWith<'static>, esf_tests::world::Who) {
    let ben = world.join("ben");
    let mut anna = RawLink::open(world, "anna", 7);
    let welcome = anna.login(world, LoginWith::default()).expect("a welcome");
    let again = LoginWith {
        attempt: 2,
        interactive: false,
        login_number: welcome.login_number,
        resume: Some((welcome.secret, 0)),
        ..LoginWith::default()
    };
    (anna, again, ben)
}

#[test]
fn what_the_old_link_sends_before_the_takeover_is_counted_and_routed() {
    let mut world = World::new();
    let (mut old, again, ben) = anna_and_ben(&mut world);
    let first = old.plain("ben", "first");
    old.push(&mut world, first);
    let mut new = RawLink::open(&world, "anna", 7);
    let welcome = new.login(&mut world, again).expect("a welcome");
    assert_eq!((welcome.mode, welcome.received), (Mode::Resumed, 1));
    assert_eq!(world.texts(ben), ["first"]);
}

#[test]
fn what_the_old_link_sends_after_the_takeover_changes_nothing() {
    // Send; Send; GiveUp; Connect; Decode(0); Decode(1); RouteIt(0); ...: routed twice, or lost.
    let mut world = World::new();
    let (mut old, again, ben) = anna_and_ben(&mut world);
    let (first, second) = (old.plain("ben", "first"), old.plain("ben", "second"));
    old.push(&mut world, first);
    let mut new = resumed(&mut world, &old, again);
    old.push(&mut world, second.clone());
    assert_eq!(world.texts(ben), ["first"], "the fenced link's frame has no effect");
    assert_eq!(world.counter("fenced"), 1);
    new.push(&mut world, second);
    assert_eq!(world.texts(ben), ["first", "second"], "once each, in order");
}

#[test]
fn the_old_link_is_told_that_it_is_superseded_and_its_death_changes_nothing() {
    let mut world = World::new();
    let (mut old, again, ben) = anna_and_ben(&mut world);
    let mut new = resumed(&mut world, &old, again);
    old.pump(&mut world);
    assert_eq!(old.closed(), Some(CloseReason::Superseded));
    old.drop_link(&mut world);
    world.send(ben, "anna", "still there?");
    world.run();
    new.pump(&mut world);
    assert_eq!(new.take_texts(), ["still there?"]);
    assert!(new.is_open());
}

#[test]
fn the_death_of_the_old_link_before_it_is_noticed_changes_nothing() {
    let mut world = World::new();
    let (old, again, ben) = anna_and_ben(&mut world);
    let mut new = resumed(&mut world, &old, again);
    old.drop_link(&mut world);
    world.send(ben, "anna", "still there?");
    world.run();
    new.pump(&mut world);
    assert_eq!(new.take_texts(), ["still there?"]);
}

#[test]
fn a_late_login_of_the_same_engine_does_not_kill_its_newer_link() {
    // GiveUp; Connect; GiveUp; Connect; Decode(2); CRecv; Decode(1): attempt 2 arrives after attempt 3.
    let mut world = World::new();
    let (old, again, ben) = anna_and_ben(&mut world);
    let mut third = resumed(&mut world, &old, LoginWith { attempt: 3, ..again });
    let mut second = RawLink::open(&world, "anna", 7);
    assert_eq!(second.login(&mut world, again), Err(None));
    assert_eq!(second.closed(), Some(CloseReason::Superseded));
    assert_eq!(world.counter("attempts_stale"), 1);
    world.send(ben, "anna", "hello");
    world.run();
    third.pump(&mut world);
    assert_eq!(third.take_texts(), ["hello"]);
}

#[test]
fn the_old_secret_is_good_until_the_first_frame_after_the_resume() {
    // Produce; GiveUp; Connect; GiveUp; Connect; Decode(1); Out(0); Decode(2): the answer to attempt 2 is lost, so
    // attempt 3 still shows the secret of attempt 1, though frames went down meanwhile.
    let mut world = World::new();
    let (old, again, ben) = anna_and_ben(&mut world);
    let _lost = resumed(&mut world, &old, again);
    world.send(ben, "anna", "one");
    world.run();
    let mut third = resumed(&mut world, &old, LoginWith { attempt: 3, ..again });
    assert_eq!(third.take_texts(), ["one"], "replayed, since no count covers it");
    // A frame of the client proves that it has the new secret: the older one is void.
    let hello = third.plain("ben", "hello");
    third.push(&mut world, hello);
    let mut thief = RawLink::open(&world, "anna", 7);
    let welcome = thief.login(&mut world, LoginWith { attempt: 4, ..again }).expect("a welcome");
    assert_eq!(welcome.mode, Mode::Fresh);
}

#[test]
fn a_resume_when_nothing_was_received_replays_all_in_order() {
    let mut world = World::new();
    let (old, again, ben) = anna_and_ben(&mut world);
    for text in ["one", "two", "three"] {
        world.send(ben, "anna", text);
    }
    world.run();
    let mut new = resumed(&mut world, &old, again);
    assert_eq!(new.take_texts(), ["one", "two", "three"]);
}

#[test]
fn a_resume_replays_only_what_the_client_lacks_and_new_frames_follow() {
    let mut world = World::new();
    let (mut old, again, ben) = anna_and_ben(&mut world);
    for text in ["one", "two", "three"] {
        world.send(ben, "anna", text);
    }
    world.run();
    old.pump(&mut world);
    let (secret, _) = again.resume.expect("a secret");
    world.send(ben, "anna", "four");
    let mut new = resumed(&mut world, &old, LoginWith { resume: Some((secret, 2)), ..again });
    world.run();
    new.pump(&mut world);
    assert_eq!(new.take_texts(), ["three", "four"]);
}

#[test]
fn three_takeovers_in_a_row_keep_order_and_count() {
    let mut world = World::new();
    let (mut link, again, ben) = anna_and_ben(&mut world);
    let mut with = again;
    for round in 0..3 {
        let text = link.plain("ben", &format!("round {round}"));
        link.push(&mut world, text);
        let mut next = RawLink::open(&world, "anna", 7);
        let welcome = next.login(&mut world, LoginWith { attempt: round + 2, ..with }).expect("a welcome");
        assert_eq!((welcome.mode, welcome.received), (Mode::Resumed, round + 1));
        with.resume = Some((welcome.secret, 0));
        let late = link.plain("ben", "late");
        link.push_only(&world, late);
        link = next;
    }
    world.run();
    assert_eq!(world.texts(ben), ["round 0", "round 1", "round 2"]);
}

#[test]
fn a_client_that_gives_up_half_way_loses_nothing_and_doubles_nothing() {
    let mut world = World::new();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    let mut ids: Vec<MessageId> = Vec::new();
    for round in 0..5 {
        ids.push(world.send_certainly(anna, "ben", &format!("{round}a")));
        world.run();
        // This one is under way when the client gives up; the server takes it only after the new login began.
        world.link(anna).hold_up = true;
        ids.push(world.send_certainly(anna, "ben", &format!("{round}b")));
        world.run();
        world.give_up(anna);
        world.link(anna).hold_up = false;
        world.advance(Duration::from_secs(6));
        assert!(world.is_online(anna), "round {round}");
    }
    assert!(ids.iter().all(|id| world.outcome(anna, *id) == Some(Outcome::Acked)));
    let expected: Vec<String> = (0..5).flat_map(|round| [format!("{round}a"), format!("{round}b")]).collect();
    assert_eq!(world.texts(ben), expected);
}
