//! Broadcasts, and dynamic groups.

use std::time::Duration;

use bytes::Bytes;
use esf_driver::node::ServerEvent;
use esf_proto::{
    client::{Event, GroupChange, MessageKind, MessageOptions, Policy, SendError, Session},
    failure::Failure,
    ids::{DeviceKind, MessageId, Source},
    server::Config,
    time::Instant,
    wire::requests::{Joining, Members, MyGroups},
};
use esf_tests::{
    people::{People, group, name},
    world::{Outcome, Who, World},
};

const SECOND: Duration = Duration::from_secs(1);

fn red(members: &[&str]) -> World {
    let mut people = People::default();
    people.set_group("red", members);
    World::with_people(people)
}

fn broadcast(world: &mut World, from: Who, id: &str, text: &'static str, options: MessageOptions) {
    let (now, body) = (world.now, Bytes::from_static(text.as_bytes()));
    world.session(from).broadcast(now, &group(id), 1, body, options).expect("room for a broadcast");
    world.run();
}

const TOLD: MessageOptions = MessageOptions { policy: Policy::Queue, echo: false, tell: Some(7) };

fn undeliverable(world: &World, who: Who) -> Vec<Failure> {
    let failure = |event: &Event| match event {
        Event::Undeliverable { note: 7, failure } => Some(*failure),
        _ => None,
    };
    world.events(who).iter().filter_map(failure).collect()
}

/// What a request came to.
fn ask(
    world: &mut World,
    who: Who,
    request: impl FnOnce(&mut Session, Instant) -> Result<MessageId, SendError>,
) -> Result<Bytes, Failure> {
    let now = world.now;
    let id = request(world.session(who), now).expect("room for a request");
    world.run();
    match world.outcome(who, id) {
        Some(Outcome::Responded(status, body, _)) => status.map(|()| body),
        other => panic!("a response was expected, not {other:?}"),
    }
}

fn join(world: &mut World, who: Who, id: &str) -> Result<bool, Failure> {
    let body = ask(world, who, |session, now| session.join_group(now, &group(id)))?;
    Ok(Joining::decode(&body).expect("a joining").created)
}

/// What a client heard of groups since this was asked last.
fn news(world: &mut World, who: Who) -> Vec<(String, GroupChange)> {
    let events = std::mem::take(&mut world.engine(who).events);
    let of_group = |event: Event| match event {
        Event::Group { group, event } => Some((group.as_str().to_owned(), event)),
        _ => None,
    };
    events.into_iter().filter_map(of_group).collect()
}

fn in_chess(change: GroupChange) -> Vec<(String, GroupChange)> {
    vec![("~chess".to_owned(), change)]
}

// Broadcast.

#[test]
fn a_broadcast_reaches_every_device_of_the_members_but_the_senders() {
    let mut world = red(&["anna", "ben", "cleo"]);
    let (anna, tablet) = (world.join("anna"), world.join_on("anna", DeviceKind::TABLET));
    let (ben, phone) = (world.join("ben"), world.join_on("ben", DeviceKind::PHONE));
    let stranger = world.join("dan");
    broadcast(&mut world, anna, "red", "hello", TOLD);
    for who in [ben, phone] {
        assert_eq!(world.texts(who), ["hello"]);
        let message = &world.engine(who).messages[0];
        assert_eq!(message.kind, MessageKind::Broadcast { group: group("red") });
        assert_eq!(message.source.user(), Some(&name("anna")));
    }
    for who in [anna, tablet, stranger] {
        assert!(world.texts(who).is_empty());
    }
    broadcast(&mut world, anna, "red", "echo", MessageOptions { echo: true, ..TOLD });
    assert_eq!((world.texts(anna), world.texts(tablet)), (vec!["echo".to_owned()], vec!["echo".to_owned()]));
    assert!(undeliverable(&world, anna).is_empty());
    assert_eq!(world.counter("broadcasts"), 2);
}

#[test]
fn a_stranger_may_not_and_an_unknown_group_looks_the_same() {
    let mut world = red(&["ben"]);
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    for id in ["red", "blue", "~none"] {
        broadcast(&mut world, anna, id, "let me in", TOLD);
    }
    assert_eq!(undeliverable(&world, anna), [Failure::NotAllowed; 3]);
    broadcast(&mut world, anna, "red", "let me in", MessageOptions::default());
    assert!(world.texts(ben).is_empty());
    assert_eq!(undeliverable(&world, anna).len(), 3, "told only when asked");
    broadcast(&mut world, ben, "red", "alone", TOLD);
    assert!(undeliverable(&world, ben).is_empty(), "nobody else is no failure");
}

/// Right after a login the store has not said yet who the sender is: the broadcast waits for that.
#[test]
fn a_broadcast_waits_until_it_is_known_who_sends_it() {
    let mut world = red(&["anna", "ben"]);
    let ben = world.join("ben");
    world.people.silent = true;
    let anna = world.join("anna");
    for text in ["one", "two"] {
        broadcast(&mut world, anna, "red", text, TOLD);
    }
    world.advance(SECOND * 3);
    assert!(world.texts(ben).is_empty() && undeliverable(&world, anna).is_empty());
    world.people.silent = false;
    world.run();
    assert_eq!(world.texts(ben), ["one", "two"]);
}

#[test]
fn broadcasts_of_one_engine_stay_in_order_over_slices() {
    let names: Vec<String> = (0..300).map(|number| format!("user{number:03}")).collect();
    let members: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = red(&members);
    let all: Vec<Who> = names.iter().map(|name| world.join(name)).collect();
    let now = world.now;
    for text in ["1", "2", "3", "4", "5"] {
        let body = Bytes::from_static(text.as_bytes());
        world.session(all[7]).broadcast(now, &group("red"), 1, body, MessageOptions::default()).expect("room");
    }
    world.run();
    for (at, who) in all.into_iter().enumerate().filter(|(at, _)| *at != 7) {
        assert_eq!(world.texts(who), ["1", "2", "3", "4", "5"], "member {at}");
    }
}

#[test]
fn too_many_broadcasts_that_wait_are_busy() {
    let mut world = red(&["anna", "ben"]);
    let ben = world.join("ben");
    world.people.silent = true;
    let anna = world.join("anna");
    for _ in 0..70 {
        broadcast(&mut world, anna, "red", "again", TOLD);
    }
    assert_eq!(undeliverable(&world, anna), [Failure::Busy; 6]);
    world.people.silent = false;
    world.run();
    assert_eq!(world.texts(ben).len(), 64);
}

#[test]
fn who_has_no_room_misses_it_and_the_server_hears_of_that() {
    let mut people = People::default();
    people.set_group("red", &["anna", "ben", "cleo"]);
    let mut world = World::with(Config { store: true, budget: 64 << 10, max_frame: 8 << 10, ..Config::default() });
    world.people = people;
    let (anna, ben, cleo) = (world.join("anna"), world.join("ben"), world.join("cleo"));
    world.advance(SECOND);
    world.away(cleo);
    for _ in 0..30 {
        let (now, body) = (world.now, Bytes::from(vec![0; 4 << 10]));
        world.session(anna).broadcast(now, &group("red"), 1, body, TOLD).expect("room");
        world.advance(SECOND);
    }
    assert_eq!(world.engine(ben).messages.len(), 30, "the slow one delays nobody");
    assert!(undeliverable(&world, anna).is_empty(), "the sender does not hear of it");
    let missed = world.server_events.iter().filter(|event| match event {
        ServerEvent::BroadcastFailed { group: of, from: Source::Engine(from), to, failure } => {
            assert_eq!((of, &from.user, to, failure), (&group("red"), &name("anna"), &name("cleo"), &Failure::Busy));
            true
        }
        _ => false,
    });
    let missed = missed.count() as u64;
    assert!(missed > 10 && missed == world.counter("broadcasts_missed"), "{missed}");
}

/// Of one person two devices are in the group, and one of them is asleep.
#[test]
fn a_slow_device_of_a_member_misses_what_the_other_gets() {
    let mut world = World::with(Config { store: true, budget: 64 << 10, max_frame: 8 << 10, ..Config::default() });
    world.people.set_group("red", &["anna", "ben"]);
    let anna = world.join("anna");
    let (slow, quick) = (world.join_on("ben", DeviceKind::PHONE), world.join_on("ben", DeviceKind::TABLET));
    world.advance(SECOND);
    world.away(slow);
    for _ in 0..30 {
        let (now, body) = (world.now, Bytes::from(vec![0; 4 << 10]));
        world.session(anna).broadcast(now, &group("red"), 1, body, TOLD).expect("room");
        world.advance(SECOND);
    }
    assert_eq!(world.engine(quick).messages.len(), 30);
    let missed = |event: &&ServerEvent| matches!(event, ServerEvent::BroadcastFailed { to, failure: Failure::Busy, .. } if *to == name("ben"));
    let missed = world.server_events.iter().filter(missed).count();
    world.back(slow);
    world.until_online(slow);
    world.advance(SECOND);
    assert_eq!(world.engine(slow).messages.len(), 30 - missed, "each was told");
    assert!((10..30).contains(&missed), "{missed}");
    assert!(undeliverable(&world, anna).is_empty());
}

#[test]
fn the_server_may_broadcast_to_any_group() {
    let mut world = red(&["anna", "ben"]);
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    world.node.broadcast(&group("red"), 3, b"from above").expect("room");
    world.run();
    for who in [anna, ben] {
        assert_eq!(world.texts(who), ["from above"]);
        assert!(matches!(world.engine(who).messages[0].source, Source::Server(_)));
    }
    assert_eq!(world.node.broadcast(&group("red"), 3, &vec![0; 2 << 20]), Err(Failure::TooLarge));
}

#[test]
fn members_are_listed_online_and_offline_to_members_only() {
    let mut world = red(&["anna", "ben", "cleo"]);
    let (anna, dan) = (world.join("anna"), world.join("dan"));
    let body = ask(&mut world, anna, |session, now| session.group_members(now, &group("red"), 0, &[])).expect("a page");
    let members: Vec<_> = Members::decode(&body).expect("members").map(|one| (one.user, one.online)).collect();
    assert_eq!(members, [("anna", true), ("ben", false), ("cleo", false)]);
    for id in ["red", "blue", "~none"] {
        let answer = ask(&mut world, dan, |session, now| session.group_members(now, &group(id), 0, &[]));
        assert_eq!(answer, Err(Failure::NotAllowed), "{id}");
    }
}

#[test]
fn groupmates_hear_of_each_other_once_however_many_groups_they_share() {
    let mut people = People::default();
    for id in ["red", "blue", "green"] {
        people.set_group(id, &["anna", "ben"]);
    }
    let mut world = World::with_people(people);
    let anna = world.join("anna");
    world.advance(SECOND * 2);
    let ben = world.join("ben");
    world.advance(SECOND * 2);
    let now = world.now;
    world.session(ben).log_off(now);
    world.run();
    let mates = |event: &&Event| matches!(event, Event::GroupmateConnected { .. } | Event::GroupmateOffline { .. });
    let heard: Vec<&Event> = world.events(anna).iter().filter(mates).collect();
    let user = name("ben");
    assert_eq!(heard, [&Event::GroupmateConnected { user: user.clone() }, &Event::GroupmateOffline { user }]);
}

// Dynamic groups.

#[test]
fn a_dynamic_group_is_made_by_the_first_and_gone_with_the_last() {
    let mut world = World::new();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    assert_eq!(join(&mut world, anna, "~chess"), Ok(true));
    assert_eq!(join(&mut world, ben, "~chess"), Ok(false));
    assert_eq!(join(&mut world, ben, "~chess"), Ok(false), "again changes nothing");
    assert_eq!(news(&mut world, anna), in_chess(GroupChange::Joined(name("ben"))));
    broadcast(&mut world, ben, "~chess", "e4", TOLD);
    assert_eq!(world.texts(anna), ["e4"]);
    let quit = |session: &mut Session, now| session.quit_group(now, &group("~chess"));
    assert!(ask(&mut world, anna, quit).is_ok());
    assert_eq!(news(&mut world, ben), in_chess(GroupChange::Left(name("anna"))));
    assert_eq!(ask(&mut world, anna, quit), Err(Failure::NotAllowed), "twice");
    assert!(ask(&mut world, ben, quit).is_ok());
    assert_eq!(join(&mut world, anna, "~chess"), Ok(true), "it was gone");
    assert_eq!(join(&mut world, anna, "chess"), Err(Failure::NotAllowed), "that is the store's");
}

#[test]
fn members_invite_and_tag_the_creator_pulls_in_and_removes() {
    let mut world = World::new();
    let (anna, ben, cleo) = (world.join("anna"), world.join("ben"), world.join("cleo"));
    let chess = group("~chess");
    join(&mut world, anna, "~chess").expect("made");
    join(&mut world, ben, "~chess").expect("joined");
    for who in [anna, ben] {
        news(&mut world, who);
    }
    assert!(ask(&mut world, ben, |session, now| session.invite(now, &chess, &name("cleo"))).is_ok());
    assert_eq!(news(&mut world, cleo), in_chess(GroupChange::Invited(name("ben"))));
    assert_eq!(ask(&mut world, cleo, |session, now| session.tag_group(now, &chess, "mine")), Err(Failure::NotAllowed));
    assert_eq!(
        ask(&mut world, ben, |session, now| session.pull_in(now, &chess, &name("cleo"))),
        Err(Failure::NotAllowed),
        "not the creator"
    );
    assert!(ask(&mut world, anna, |session, now| session.pull_in(now, &chess, &name("cleo"))).is_ok());
    assert_eq!(news(&mut world, cleo), in_chess(GroupChange::PulledIn(name("anna"))));
    assert_eq!(news(&mut world, ben), in_chess(GroupChange::Joined(name("cleo"))));
    assert!(ask(&mut world, ben, |session, now| session.tag_group(now, &chess, "white to move")).is_ok());
    for who in [ben, cleo] {
        assert_eq!(news(&mut world, who), in_chess(GroupChange::Tagged("white to move".to_owned())));
    }
    let mine = ask(&mut world, anna, |session, now| session.my_groups(now, 0, &[])).expect("a page");
    let mine = MyGroups::decode(&mine).expect("groups").next().expect("one");
    assert_eq!((mine.group, mine.dynamic, mine.mine, mine.tag), ("~chess", true, true, "white to move"));
    news(&mut world, anna);
    assert!(ask(&mut world, anna, |session, now| session.remove_member(now, &chess, &name("ben"))).is_ok());
    assert_eq!(news(&mut world, ben), in_chess(GroupChange::Removed(name("anna"))));
    assert_eq!(news(&mut world, cleo), in_chess(GroupChange::Left(name("ben"))));
    broadcast(&mut world, ben, "~chess", "still here?", TOLD);
    assert_eq!(undeliverable(&world, ben), [Failure::NotAllowed]);
}

#[test]
fn whom_it_concerns_must_be_there() {
    let mut world = World::new();
    let (anna, _) = (world.join("anna"), world.join("ben"));
    let chess = group("~chess");
    join(&mut world, anna, "~chess").expect("made");
    let whom = name("nobody");
    let (offline, not_found) = (Err(Failure::Offline), Err(Failure::NotFound));
    assert_eq!(ask(&mut world, anna, |session, now| session.invite(now, &chess, &whom)), offline);
    assert_eq!(ask(&mut world, anna, |session, now| session.pull_in(now, &chess, &whom)), offline);
    assert_eq!(ask(&mut world, anna, |session, now| session.remove_member(now, &chess, &whom)), not_found);
    let own = ask(&mut world, anna, |session, now| session.remove_member(now, &chess, &name("anna")));
    assert_eq!(own, Err(Failure::NotAllowed));
    let long = "x".repeat(1025);
    assert_eq!(ask(&mut world, anna, |session, now| session.tag_group(now, &chess, &long)), Err(Failure::TooLarge));
}

#[test]
fn a_user_makes_64_groups_and_no_more() {
    let mut world = World::new();
    let anna = world.join("anna");
    for number in 0..64 {
        assert_eq!(join(&mut world, anna, &format!("~{number}")), Ok(true));
    }
    assert_eq!(join(&mut world, anna, "~64"), Err(Failure::Busy));
    assert!(ask(&mut world, anna, |session, now| session.quit_group(now, &group("~7"))).is_ok());
    assert_eq!(join(&mut world, anna, "~64"), Ok(true));
}

#[test]
fn a_group_has_as_many_members_as_may_be() {
    let mut world = World::with(Config { max_group_members: 2, ..Config::default() });
    let all = ["anna", "ben", "cleo"].map(|name| world.join(name));
    let joined = all.map(|who| join(&mut world, who, "~chess"));
    assert_eq!(joined, [Ok(true), Ok(false), Err(Failure::Busy)]);
}

#[test]
fn dynamic_groups_are_quit_with_the_last_device_unless_a_setting_keeps_them() {
    for quits in [true, false] {
        let mut world = World::with(Config { quit_on_offline: quits, ..Config::default() });
        let (anna, ben) = (world.join("anna"), world.join("ben"));
        let phone = world.join_on("ben", DeviceKind::PHONE);
        join(&mut world, anna, "~chess").expect("made");
        join(&mut world, ben, "~chess").expect("joined");
        news(&mut world, anna);
        for who in [ben, phone] {
            assert!(news(&mut world, anna).is_empty(), "a device is left");
            let now = world.now;
            world.session(who).log_off(now);
            world.run();
        }
        let expected = if quits { in_chess(GroupChange::Left(name("ben"))) } else { Vec::new() };
        assert_eq!(news(&mut world, anna), expected);
        let ben = world.join("ben");
        broadcast(&mut world, anna, "~chess", "e4", TOLD);
        assert_eq!(world.texts(ben).len(), usize::from(!quits), "{quits}");
    }
}

#[test]
fn who_is_cut_off_stays_in_the_group_for_the_resume_window() {
    let mut world = World::new();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    join(&mut world, anna, "~chess").expect("made");
    join(&mut world, ben, "~chess").expect("joined");
    news(&mut world, anna);
    world.away(ben);
    world.advance(SECOND * 50);
    broadcast(&mut world, anna, "~chess", "e4", TOLD);
    world.back(ben);
    world.until_online(ben);
    assert_eq!(world.texts(ben), ["e4"]);
    assert!(news(&mut world, anna).is_empty());
}
