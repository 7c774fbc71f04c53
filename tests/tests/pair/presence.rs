//! Contacts and who hears when they come and go.

use std::time::Duration;

use bytes::Bytes;
use esf_proto::{
    client::{Config as ClientConfig, Event},
    close::CloseReason,
    failure::Failure,
    ids::DeviceKind,
    store::StoreRequest,
    wire::requests::{Members, OnlineUsers},
};
use esf_tests::{
    people::{People, name},
    world::{Outcome, Who, World, client_config},
};

const SECOND: Duration = Duration::from_secs(1);

fn friends(pairs: &[(&str, &str)]) -> World {
    let mut people = People::default();
    for (one, other) in pairs {
        people.befriend(one, other);
    }
    World::with_people(people)
}

/// What a client heard of others since this was asked last, in words.
fn news(world: &mut World, who: Who) -> Vec<String> {
    let events = std::mem::take(&mut world.engine(who).events);
    let words = |event: &Event| match event {
        Event::ContactConnected { user } => Some(format!("{user} on")),
        Event::ContactOffline { user } => Some(format!("{user} off")),
        Event::ContactDeviceConnected { user, device } => Some(format!("{user}/{device} on")),
        Event::ContactDeviceOffline { user, device } => Some(format!("{user}/{device} off")),
        Event::GroupmateConnected { user } => Some(format!("mate {user} on")),
        Event::GroupmateOffline { user } => Some(format!("mate {user} off")),
        _ => None,
    };
    events.iter().filter_map(words).collect()
}

fn log_off(world: &mut World, who: Who) {
    let now = world.now;
    world.session(who).log_off(now);
    world.run();
}

#[test]
fn contacts_hear_of_a_login_after_a_second_and_of_a_log_off_at_once() {
    let mut world = friends(&[("anna", "ben")]);
    let (anna, cleo) = (world.join("anna"), world.join("cleo"));
    world.advance(SECOND * 2);
    let ben = world.join_on("ben", DeviceKind::PHONE);
    world.advance(SECOND - Duration::from_millis(1));
    assert!(news(&mut world, anna).is_empty(), "not yet");
    world.advance(Duration::from_millis(1));
    assert_eq!(news(&mut world, anna), ["ben on", "ben/2 on"]);
    world.advance(SECOND);
    log_off(&mut world, ben);
    assert_eq!(news(&mut world, anna), ["ben/2 off", "ben off"]);
    world.advance(SECOND * 5);
    assert!(news(&mut world, anna).is_empty() && news(&mut world, cleo).is_empty(), "strangers hear nothing");
}

#[test]
fn a_second_device_is_told_as_a_device_only() {
    let mut world = friends(&[("anna", "ben")]);
    let anna = world.join("anna");
    world.join_on("ben", DeviceKind::PHONE);
    world.advance(SECOND * 2);
    news(&mut world, anna);
    let tablet = world.join_on("ben", DeviceKind::TABLET);
    world.advance(SECOND * 2);
    assert_eq!(news(&mut world, anna), ["ben/3 on"]);
    log_off(&mut world, tablet);
    assert_eq!(news(&mut world, anna), ["ben/3 off"]);
}

#[test]
fn a_flap_within_the_window_is_silent() {
    let mut world = friends(&[("anna", "ben")]);
    let anna = world.join("anna");
    world.advance(SECOND * 2);
    for _ in 0..10 {
        let ben = world.join("ben");
        world.advance(Duration::from_millis(90));
        log_off(&mut world, ben);
    }
    world.advance(SECOND * 3);
    assert!(news(&mut world, anna).is_empty());
}

#[test]
fn nobody_is_told_twice_of_anybody_within_a_second() {
    let mut world = friends(&[("anna", "ben")]);
    let anna = world.join("anna");
    world.advance(SECOND * 2);
    let ben = world.join_on("ben", DeviceKind::PHONE);
    world.advance(SECOND);
    assert_eq!(news(&mut world, anna), ["ben on", "ben/2 on"]);
    world.advance(SECOND / 2);
    log_off(&mut world, ben);
    assert!(news(&mut world, anna).is_empty(), "told half a second ago");
    world.advance(SECOND / 2);
    assert_eq!(news(&mut world, anna), ["ben/2 off", "ben off"]);
}

#[test]
fn who_waits_in_its_resume_window_is_online() {
    let mut world = friends(&[("anna", "ben")]);
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    world.advance(SECOND * 2);
    news(&mut world, anna);
    world.away(ben);
    world.advance(SECOND * 50);
    assert!(news(&mut world, anna).is_empty());
    world.advance(SECOND * 12);
    assert_eq!(news(&mut world, anna), ["ben/4 off", "ben off"], "its window is over");
}

#[test]
fn a_push_out_by_the_same_device_is_silent() {
    let mut world = friends(&[("anna", "ben")]);
    let (anna, old) = (world.join("anna"), world.join("ben"));
    world.advance(SECOND * 2);
    news(&mut world, anna);
    world.join("ben");
    world.advance(SECOND * 2);
    assert_eq!(world.closed(old), Some(CloseReason::PushedOut));
    assert!(news(&mut world, anna).is_empty());
}

/// A receiver that is away hears the latest state of each, and nothing before it.
#[test]
fn what_waits_is_the_latest_state_of_each() {
    let mut world = friends(&[("anna", "ben"), ("anna", "cleo")]);
    let anna = world.join("anna");
    world.advance(SECOND * 2);
    world.away(anna);
    for _ in 0..5 {
        let ben = world.join("ben");
        world.advance(SECOND * 2);
        log_off(&mut world, ben);
    }
    world.join("cleo");
    world.advance(SECOND * 2);
    world.back(anna);
    world.until_online(anna);
    assert_eq!(news(&mut world, anna), ["ben/4 off", "ben off", "cleo on", "cleo/4 on"]);
}

#[test]
fn a_login_that_takes_no_messages_is_no_news() {
    let mut world = friends(&[("anna", "ben")]);
    let anna = world.join("anna");
    let command = ClientConfig { takes_messages: false, ..client_config("ben") };
    let ben = world.join_with(command);
    world.advance(SECOND * 2);
    log_off(&mut world, ben);
    world.advance(SECOND * 2);
    assert!(news(&mut world, anna).is_empty());
}

#[test]
fn hundreds_of_contacts_come_in_frames_of_fifty() {
    let names: Vec<String> = (0..120).map(|number| format!("user{number:03}")).collect();
    let pairs: Vec<(&str, &str)> = names.iter().map(|name| ("anna", name.as_str())).collect();
    let mut world = friends(&pairs);
    let anna = world.join("anna");
    world.advance(SECOND * 2);
    let before = world.session(anna).stats().frames_in;
    for name in &names {
        let who = world.start(client_config(name));
        let _ = who;
    }
    world.run();
    world.link(anna).hold_down = true;
    world.advance(SECOND * 2);
    world.link(anna).hold_down = false;
    world.run();
    let heard = news(&mut world, anna);
    assert_eq!(heard.len(), 240);
    let frames = world.session(anna).stats().frames_in - before;
    assert!(frames < 20, "{frames} frames for 240 events");
}

// Lists.

fn page(world: &World, who: Who, id: esf_proto::ids::MessageId) -> (Bytes, Bytes) {
    match world.outcome(who, id) {
        Some(Outcome::Responded(Ok(()), body, cursor)) => (body, cursor),
        other => panic!("a page was expected, not {other:?}"),
    }
}

#[test]
fn contacts_are_listed_by_pages_with_who_is_online() {
    let mut world = friends(&[("anna", "ben"), ("anna", "cleo"), ("anna", "dan"), ("ben", "eve")]);
    let (anna, _) = (world.join("anna"), world.join("cleo"));
    let (mut cursor, mut all) = (Bytes::new(), Vec::new());
    loop {
        let now = world.now;
        let id = world.session(anna).contacts(now, 2, &cursor).expect("room");
        world.run();
        let (body, next) = page(&world, anna, id);
        all.extend(Members::decode(&body).expect("members").map(|one| (one.user.to_owned(), one.online)));
        cursor = next;
        if cursor.is_empty() {
            break;
        }
    }
    let expected = [("ben", false), ("cleo", true), ("dan", false)];
    assert!(all.iter().map(|(user, online)| (user.as_str(), *online)).eq(expected), "{all:?}");
    let now = world.now;
    let id = world.session(anna).online_contacts(now, 0, &[]).expect("room");
    world.run();
    let (body, cursor) = page(&world, anna, id);
    let online: Vec<_> = OnlineUsers::decode(&body).expect("users").map(|one| one.user.to_owned()).collect();
    assert!(online == ["cleo"] && cursor.is_empty());
}

/// The names of the contacts that are online by the list.
fn online(world: &mut World, who: Who) -> Vec<String> {
    let now = world.now;
    let id = world.session(who).online_contacts(now, 0, &[]).unwrap();
    world.run();
    let (body, _) = page(world, who, id);
    OnlineUsers::decode(&body).unwrap().map(|entry| entry.user.to_owned()).collect()
}

/// A flap is silent, so a list must not show what it has for a moment.
#[test]
fn a_list_in_the_middle_of_a_flap_is_true_after_it() {
    let mut world = friends(&[("anna", "ben")]);
    let (anna, old) = (world.join("anna"), world.join("ben"));
    world.advance(SECOND * 2);
    world.away(old);
    world.advance(SECOND * 60 + Duration::from_millis(500));
    let listed = online(&mut world, anna);
    let ben = world.join("ben");
    world.advance(SECOND * 2);
    news(&mut world, anna);
    assert_eq!(listed, ["ben"], "gone for a moment and back, and nobody is told of that");
    log_off(&mut world, ben);
    world.advance(SECOND * 2);
    news(&mut world, anna);

    let ben = world.join("ben");
    world.advance(Duration::from_millis(300));
    assert_eq!(online(&mut world, anna), ["ben"], "there, and not told yet");
    log_off(&mut world, ben);
    world.advance(SECOND);
    assert_eq!(news(&mut world, anna), ["ben/4 off", "ben off"]);
}

/// What a list shows while news are put off is what is told when they come.
#[test]
fn a_list_while_news_wait_for_a_second_to_pass_is_true_after_it() {
    let mut world = friends(&[("anna", "ben")]);
    let (anna, half) = (world.join("anna"), SECOND / 2);
    world.advance(SECOND * 2);
    let ben = world.join("ben");
    world.advance(SECOND);
    assert_eq!(news(&mut world, anna), ["ben on", "ben/4 on"]);
    world.advance(half / 2);
    log_off(&mut world, ben);
    assert_eq!(online(&mut world, anna), ["ben"], "gone, and not told yet");
    let again = world.join("ben");
    world.advance(SECOND * 2);
    assert!(news(&mut world, anna).is_empty(), "back before it was told");

    log_off(&mut world, again);
    assert_eq!(news(&mut world, anna), ["ben/4 off", "ben off"]);
    world.advance(half / 5);
    let ben = world.join("ben");
    world.advance(half / 5);
    assert_eq!(online(&mut world, anna), ["ben"], "there, and not told yet");
    log_off(&mut world, ben);
    assert!(news(&mut world, anna).is_empty(), "told less than a second ago");
    world.advance(SECOND);
    assert_eq!(news(&mut world, anna), ["ben/4 off", "ben off"], "which the list had shown");
    assert!(online(&mut world, anna).is_empty());
}

#[test]
fn without_a_store_nobody_has_contacts() {
    let mut world = World::new();
    let (anna, _) = (world.join("anna"), world.join("ben"));
    let now = world.now;
    let id = world.session(anna).contacts(now, 0, &[]).expect("room");
    world.advance(SECOND * 2);
    let (body, cursor) = page(&world, anna, id);
    assert_eq!((Members::decode(&body).expect("members").len(), cursor.len()), (0, 0));
    assert!(news(&mut world, anna).is_empty());
}

// A store that misbehaves.

#[test]
fn a_store_that_fails_keeps_nobody_out_and_is_asked_again() {
    let mut world = friends(&[("anna", "ben")]);
    world.people.fails = true;
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    let now = world.now;
    let id = world.session(anna).contacts(now, 0, &[]).expect("room");
    world.run();
    assert!(matches!(world.outcome(anna, id), Some(Outcome::Responded(Err(Failure::Internal), ..))));
    world.send(anna, "ben", "hi");
    world.advance(SECOND * 2);
    assert_eq!(world.texts(ben), ["hi"]);
    world.people.fails = false;
    world.advance(SECOND * 32);
    assert_eq!(news(&mut world, anna), ["ben on", "ben/4 on"], "as soon as the store works");
    assert!(world.counter("store_failed") >= 3);
}

#[test]
fn a_store_that_is_silent_fails_after_15_s_and_its_late_answer_is_nobodys() {
    let mut world = friends(&[("anna", "ben")]);
    let anna = world.join("anna");
    world.advance(SECOND * 2);
    world.people.silent = true;
    let now = world.now;
    let id = world.session(anna).contacts(now, 0, &[]).expect("room");
    world.advance(Duration::from_millis(14_900));
    assert_eq!(world.outcome(anna, id), None);
    world.advance(Duration::from_millis(200));
    assert!(matches!(world.outcome(anna, id), Some(Outcome::Responded(Err(Failure::Internal), ..))));
    world.people.silent = false;
    world.run();
    assert_eq!(world.counter("store_unasked"), 1);
}

#[test]
fn relations_that_change_are_asked_for_again() {
    let mut world = friends(&[]);
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    world.advance(SECOND * 2);
    world.people.befriend("anna", "ben");
    let now = world.now;
    world.node.relations_changed(now, &name("ben"));
    world.run();
    log_off(&mut world, ben);
    world.advance(SECOND);
    assert_eq!(news(&mut world, anna), ["ben/4 off", "ben off"]);
    let asked = world.people.asked.iter().filter(|asked| matches!(asked, StoreRequest::Person { .. }));
    assert_eq!(asked.count(), 3);
}

// Relations that change while both are online.

fn changed(world: &mut World, users: &[&str]) {
    let now = world.now;
    for user in users {
        world.node.relations_changed(now, &name(user));
    }
    world.run();
}

#[test]
fn who_become_contacts_while_online_hear_of_each_other_once() {
    for order in [["anna", "ben"], ["ben", "anna"]] {
        for together in [true, false] {
            let mut world = friends(&[("anna", "cleo"), ("ben", "cleo")]);
            let (anna, ben, cleo) = (world.join("anna"), world.join_on("ben", DeviceKind::PHONE), world.join("cleo"));
            world.advance(SECOND * 2);
            for who in [anna, ben, cleo] {
                news(&mut world, who);
            }
            world.people.befriend("anna", "ben");
            if together {
                changed(&mut world, &order);
            } else {
                changed(&mut world, &order[..1]);
                changed(&mut world, &order[1..]);
            }
            assert_eq!(news(&mut world, anna), ["ben on", "ben/2 on"], "{order:?} {together}");
            assert_eq!(news(&mut world, ben), ["anna on", "anna/4 on"], "{order:?} {together}");
            changed(&mut world, &["cleo", "anna", "ben"]);
            world.advance(SECOND * 5);
            assert!([anna, ben, cleo].map(|who| news(&mut world, who)).concat().is_empty(), "nothing is new");
            log_off(&mut world, ben);
            assert_eq!(news(&mut world, anna), ["ben/2 off", "ben off"]);
        }
    }
}

#[test]
fn who_are_contacts_no_more_hear_nothing_more() {
    let mut world = friends(&[("anna", "ben")]);
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    world.advance(SECOND * 2);
    for who in [anna, ben] {
        news(&mut world, who);
    }
    world.people.estrange("anna", "ben");
    changed(&mut world, &["anna", "ben"]);
    world.join_on("ben", DeviceKind::PHONE);
    world.advance(SECOND * 2);
    log_off(&mut world, anna);
    assert!([anna, ben].map(|who| news(&mut world, who)).concat().is_empty());
}

#[test]
fn who_come_to_share_a_group_hear_of_each_other_once() {
    for members in [&["ben", "anna"][..], &["anna"]] {
        let mut world = friends(&[]);
        world.people.set_group("red", if members.len() == 1 { &["ben"] } else { &[] });
        world.people.set_group("blue", &["anna", "cleo"]);
        let (anna, ben, cleo) = (world.join("anna"), world.join("ben"), world.join("cleo"));
        world.advance(SECOND * 2);
        for who in [anna, ben, cleo] {
            news(&mut world, who);
        }
        // Cleo and anna share one already.
        world.people.set_group("red", &["anna", "ben"]);
        changed(&mut world, members);
        assert_eq!(news(&mut world, anna), ["mate ben on"], "{members:?}");
        assert_eq!(news(&mut world, ben), ["mate anna on"], "{members:?}");
        world.people.set_group("red", &["anna", "ben", "cleo"]);
        changed(&mut world, &["cleo"]);
        assert_eq!(news(&mut world, ben), ["mate cleo on"]);
        assert_eq!(news(&mut world, cleo), ["mate ben on"]);
        assert!(news(&mut world, anna).is_empty());
        world.people.set_group("red", &["anna", "cleo"]);
        changed(&mut world, &["ben"]);
        log_off(&mut world, ben);
        world.advance(SECOND);
        assert!([anna, cleo].map(|who| news(&mut world, who)).concat().is_empty(), "a mate no more");
    }
}

/// More than a slice holds.
#[test]
fn a_user_with_hundreds_of_new_contacts_hears_of_all() {
    let mut world = friends(&[]);
    let names: Vec<String> = (0..600).map(|number| format!("user{number:03}")).collect();
    let anna = world.join("anna");
    let others: Vec<Who> = names.iter().map(|name| world.join(name)).collect();
    world.advance(SECOND * 2);
    for name in &names {
        world.people.befriend("anna", name);
    }
    let everybody: Vec<&str> = std::iter::once("anna").chain(names.iter().map(String::as_str)).collect();
    changed(&mut world, &everybody);
    assert_eq!(news(&mut world, anna).len(), 1200);
    for other in others {
        assert_eq!(news(&mut world, other), ["anna on", "anna/4 on"]);
    }
}

#[test]
fn a_store_that_fails_at_a_change_is_asked_again() {
    let mut world = friends(&[]);
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    world.advance(SECOND * 2);
    world.people.befriend("anna", "ben");
    world.people.fails = true;
    changed(&mut world, &["anna", "ben"]);
    world.people.fails = false;
    assert!([anna, ben].map(|who| news(&mut world, who)).concat().is_empty());
    world.advance(SECOND * 31);
    assert_eq!(news(&mut world, anna), ["ben on", "ben/4 on"]);
    assert_eq!(news(&mut world, ben), ["anna on", "anna/4 on"]);
}

#[test]
fn a_stale_cursor_is_the_place_where_it_was() {
    let mut world = friends(&[("anna", "ben"), ("anna", "cleo"), ("anna", "dan")]);
    let anna = world.join("anna");
    let listed = |world: &mut World, cursor: &[u8]| {
        let now = world.now;
        let id = world.session(anna).contacts(now, 1, cursor).expect("room");
        world.run();
        let (body, next) = page(world, anna, id);
        let names: Vec<String> = Members::decode(&body).expect("members").map(|one| one.user.to_owned()).collect();
        (names, next)
    };
    let (first, next) = listed(&mut world, b"");
    assert_eq!(first, ["ben"]);
    // The one at the place is gone meanwhile, and so is the next.
    world.people.estrange("anna", "ben");
    world.people.estrange("anna", "cleo");
    let (second, next) = listed(&mut world, &next);
    assert_eq!(second, ["dan"]);
    let (third, end) = listed(&mut world, &next);
    assert!(third.is_empty() && end.is_empty(), "{third:?}");
}

#[test]
fn a_forged_cursor_is_malformed() {
    let mut world = friends(&[("anna", "ben")]);
    let anna = world.join("anna");
    for cursor in [&b"\xff\xfe"[..], b"_reserved", &[b'x'; 256]] {
        let now = world.now;
        let id = world.session(anna).contacts(now, 0, cursor).expect("room");
        world.run();
        let outcome = world.outcome(anna, id);
        assert!(matches!(outcome, Some(Outcome::Responded(Err(Failure::Malformed), ..))), "{outcome:?}");
    }
}
