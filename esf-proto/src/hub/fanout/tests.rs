//! Lanes and turns of what goes to many; who hears of whom in slices.

use core::time::Duration;
use std::{format, vec::Vec};

use super::*;
use crate::{
    close::CloseReason,
    server::{
        Config, LoginClaim,
        testing::{Cell, SERVER_ID, Town, at, claim, engine, phone, raw},
    },
    store::{Person, StoreRequest, StoreResponse},
    wire::{Envelope, Frame, PresenceStage},
};

fn group(id: &str) -> GroupId {
    GroupId::parse(id).unwrap()
}

fn user(name: &str) -> UserId {
    UserId::parse(name, 255).unwrap()
}

fn message(from: &Engine, to: &str, flags: Flags, body: &[u8]) -> RawFrame {
    let envelope = Envelope::new(Address::Group { group: to }, Address::of_engine(from), 1);
    raw(&Frame::Broadcast { envelope, info_type: 1, body }, flags)
}

fn by(session: u64, body: &[u8]) -> Fanout {
    let from = phone("ann");
    Fanout::broadcast(&message(&from, "red", Flags::NONE, body), SessionId(session), Some(from)).unwrap()
}

fn fanouts() -> (Fanouts, Arc<Budget>) {
    let global = Arc::new(Budget::new(1 << 30));
    (Fanouts::new(&global), global)
}

fn sender(fanout: &Fanout) -> SessionId {
    match &fanout.what {
        What::Broadcast(broadcast) => broadcast.by,
        other => panic!("{other:?}"),
    }
}

// Lanes.

/// The last byte of each body in it.
fn bodies(fanout: &Fanout) -> Vec<u8> {
    match &fanout.what {
        What::Broadcast(broadcast) => {
            broadcast.frames.iter().filter_map(|frame| frame.payload().last().copied()).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn to(id: &str, session: u64, body: &[u8]) -> Fanout {
    let from = phone("ann");
    Fanout::broadcast(&message(&from, id, Flags::NONE, body), SessionId(session), Some(from)).unwrap()
}

#[test]
fn senders_take_turns_and_each_keeps_its_order() {
    let (mut fanouts, global) = fanouts();
    for (session, group, body) in [(1, "red", b"a"), (1, "blue", b"b"), (2, "red", b"c")] {
        fanouts.push(to(group, session, body)).unwrap();
    }
    let first = fanouts.take_next().unwrap();
    let second = fanouts.take_next().unwrap();
    assert_eq!((sender(&first), sender(&second)), (SessionId(1), SessionId(2)));
    assert!(fanouts.take_next().is_none(), "the second of a sender waits for its first");
    fanouts.put_back(first, Progress::More);
    fanouts.put_back(second, Progress::Done);
    let first = fanouts.take_next().unwrap();
    assert_eq!(bodies(&first), b"a", "the same goes on");
    fanouts.put_back(first, Progress::Done);
    let last = fanouts.take_next().unwrap();
    assert_eq!(bodies(&last), b"b");
    fanouts.put_back(last, Progress::Done);
    assert!(!fanouts.has_next() && fanouts.take_next().is_none() && fanouts.lanes.is_empty());
    assert_eq!(global.used(), 0);
}

#[test]
fn what_a_sender_says_to_one_group_goes_together_in_order() {
    let (mut fanouts, global) = fanouts();
    for (group, body) in [("red", b"a"), ("red", b"b"), ("red", b"c"), ("blue", b"d"), ("red", b"e")] {
        fanouts.push(to(group, 1, body)).unwrap();
    }
    let first = fanouts.take_next().unwrap();
    assert_eq!(bodies(&first), b"abc");
    fanouts.push(to("red", 1, b"f")).unwrap();
    fanouts.put_back(first, Progress::Done);
    for expected in [b"d".as_slice(), b"ef"] {
        let next = fanouts.take_next().unwrap();
        assert_eq!(bodies(&next), expected);
        fanouts.put_back(next, Progress::Done);
    }
    assert!(!fanouts.has_next());
    assert_eq!(global.used(), 0, "each is given back");
}

#[test]
fn what_has_begun_takes_nothing_in() {
    let (mut fanouts, _) = fanouts();
    fanouts.push(by(1, b"a")).unwrap();
    let mut begun = fanouts.take_next().unwrap();
    if let What::Broadcast(broadcast) = &mut begun.what {
        broadcast.after = Some((user("ben"), SessionId(9)));
    }
    fanouts.push(by(1, b"b")).unwrap();
    assert!(fanouts.has_before(&by(1, b"")) && !fanouts.has_before(&by(2, b"")));
    fanouts.put_back(begun, Progress::More);
    assert_eq!(bodies(&fanouts.take_next().unwrap()), b"a");
}

#[test]
fn those_that_wait_together_count_one_by_one() {
    let (mut fanouts, _) = fanouts();
    for _ in 0..WAITING {
        fanouts.push(by(1, b"")).unwrap();
    }
    let all = fanouts.take_next().unwrap();
    fanouts.put_back(all, Progress::More);
    assert_eq!(fanouts.push(by(1, b"")), Err(Failure::Busy));
}

#[test]
fn one_that_waits_to_be_known_holds_nobody_else_up() {
    let (mut fanouts, _) = fanouts();
    fanouts.push(by(1, b"a")).unwrap();
    fanouts.push(by(2, b"b")).unwrap();
    let first = fanouts.take_next().unwrap();
    fanouts.put_back(first, Progress::Waits);
    let second = fanouts.take_next().unwrap();
    assert_eq!(sender(&second), SessionId(2));
    fanouts.put_back(second, Progress::Done);
    assert!(!fanouts.has_next());
    fanouts.unpark();
    let first = fanouts.take_next().unwrap();
    assert_eq!(sender(&first), SessionId(1));
    // What it waits for comes while it is looked at.
    fanouts.unpark();
    fanouts.put_back(first, Progress::Waits);
    assert_eq!(sender(&fanouts.take_next().unwrap()), SessionId(1));
}

#[test]
fn a_sender_has_so_many_waiting_and_others_their_own() {
    let (mut fanouts, _) = fanouts();
    for _ in 0..WAITING {
        fanouts.push(by(1, b"")).unwrap();
    }
    assert_eq!(fanouts.push(by(1, b"")), Err(Failure::Busy));
    assert_eq!(fanouts.push(by(2, &[0; 300 << 10])), Ok(()), "one of any size");
    assert_eq!(fanouts.push(by(2, b"")), Err(Failure::Busy));
}

#[test]
fn what_waits_of_a_sender_is_bounded_in_bytes() {
    let (mut fanouts, _) = fanouts();
    assert!(!fanouts.has_next());
    for _ in 0..2 {
        fanouts.push(by(1, &[0; 100 << 10])).unwrap();
        assert!(fanouts.has_next());
    }
    assert_eq!(fanouts.push(by(1, &[0; 100 << 10])), Err(Failure::Busy));
    assert_eq!(fanouts.push(by(1, b"")), Ok(()));
}

#[test]
fn a_fanout_that_is_refused_is_not_charged() {
    let global = Arc::new(Budget::new(10_000));
    let mut fanouts = Fanouts::new(&global);
    let mut pushed = 0;
    while fanouts.push(by(pushed, &[0; 1_000])).is_ok() {
        pushed += 1;
    }
    assert!((5..10).contains(&pushed), "{pushed}");
    while let Some(fanout) = fanouts.take_next() {
        fanouts.put_back(fanout, Progress::Done);
    }
    assert_eq!(global.used(), 0);
}

#[test]
#[cfg_attr(miri, ignore = "counts too far for an interpreter")]
fn events_of_a_group_are_bounded() {
    let (mut fanouts, _) = fanouts();
    let frame = message(&phone("ann"), "~g", Flags::NONE, b"");
    let event = || Fanout::event(group("~g"), frame.clone(), SessionId(1), None);
    for _ in 0..EVENTS {
        fanouts.push(event()).unwrap();
    }
    assert_eq!(fanouts.push(event()), Err(Failure::Busy));
}

// Slices.

/// The store says that everybody is in these groups and has these contacts.
fn tell(town: &mut Town, groups: &[&str], contacts: &[&str]) {
    while let Some((job, request)) = town.hub.poll_request() {
        assert!(matches!(request, StoreRequest::Person { .. }), "{request:?}");
        let person = Person {
            exists: true,
            contacts: contacts.iter().map(|name| user(name)).collect(),
            groups: groups.iter().map(|id| group(id)).collect(),
            ..Person::default()
        };
        town.hub.handle_response(town.now, job, Ok(StoreResponse::Person(person)));
    }
    town.pass_on();
}

fn town() -> Town {
    Town::new(Config { store: true, ..Config::default() })
}

fn people(town: &mut Town, count: usize) -> Vec<(Engine, Cell)> {
    let engines = (0..count).map(|number| engine(&format!("u{number:04}"), DeviceKind::PHONE, 1));
    engines.map(|engine| (engine.clone(), town.join(&engine))).collect()
}

struct Visits<'a>(&'a Town, core::cell::Cell<usize>);

impl Reach<Cell> for Visits<'_> {
    fn visit<R>(&self, whose: Whose<'_, Cell>, visit: impl FnOnce(&mut crate::server::Outbox) -> R) -> R {
        self.1.set(self.1.get() + 1);
        match whose {
            Whose::Session(cell) => visit(&mut cell.outbox.borrow_mut()),
            Whose::Server => visit(&mut self.0.desk.borrow_mut()),
        }
    }
}

/// Outputs of each slice.
fn slices(town: &Town, mut fanout: Fanout) -> Vec<usize> {
    let mut outputs = Vec::new();
    loop {
        let reach = Visits(town, core::cell::Cell::new(0));
        let progress = town.hub.carry_on(town.now, &mut fanout, &reach, &mut |_| ());
        outputs.push(reach.1.get());
        if progress != Progress::More {
            return outputs;
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "counts too far for an interpreter")]
fn a_broadcast_goes_out_in_slices_of_64_and_reaches_everybody_once() {
    let mut town = town();
    let all = people(&mut town, 600);
    tell(&mut town, &["red"], &[]);
    let frame = message(&all[3].0, "red", Flags::NONE, b"x");
    let fanout = Fanout::broadcast(&frame, SessionId(4), Some(all[3].0.clone())).unwrap();
    assert_eq!(slices(&town, fanout), [63, 64, 64, 64, 64, 64, 64, 64, 64, 24]);
    for (at, (_, cell)) in all.iter().enumerate() {
        assert_eq!(town.received(cell).len(), usize::from(at != 3), "{at}");
    }
}

#[test]
fn an_event_goes_to_all_members_but_the_one_whom_it_is_about() {
    let mut town = town();
    let all = people(&mut town, 3);
    tell(&mut town, &["red"], &[]);
    let frame = message(&all[0].0, "red", Flags::NONE, b"");
    let fanout = Fanout::event(group("red"), frame, SessionId(1), Some(all[1].0.user.clone()));
    slices(&town, fanout);
    let heard: Vec<usize> = all.iter().map(|(_, cell)| town.received(cell).len()).collect();
    assert_eq!(heard, [1, 0, 1]);
}

/// A volatile one that finds no room is dropped, as it may be anywhere; the other is missed.
#[test]
fn only_what_may_not_be_dropped_is_missed() {
    for (flags, is_missed) in [(Flags::VOLATILE, false), (Flags::NONE, true)] {
        let mut town = Town::new(Config { store: true, budget: 0, max_frame: 8 << 10, ..Config::default() });
        let all = people(&mut town, 2);
        tell(&mut town, &["red"], &[]);
        let from = &all[0].0;
        for _ in 0..10 {
            let frame = message(from, "red", flags, &[0; 8_000]);
            town.fan_out(Fanout::broadcast(&frame, SessionId(1), Some(from.clone())).unwrap());
        }
        assert!(town.received(&all[1].1).len() < 10, "there is no room for all");
        assert_eq!(!town.missed.is_empty(), is_missed, "{flags:?}");
    }
}

/// Its sender is forgotten before the store has said who that is.
#[test]
fn a_broadcast_that_waits_for_somebody_who_is_gone_is_looked_at_again() {
    let mut town = town();
    let ann = phone("ann");
    let cell = town.join(&ann);
    let (job, _) = town.hub.poll_request().unwrap();
    let mut fanout = Fanout::broadcast(&message(&ann, "red", Flags::NONE, b"x"), SessionId(1), Some(ann)).unwrap();
    let carry_on = |town: &Town, fanout: &mut Fanout| {
        town.hub.carry_on(town.now, fanout, &Visits(town, core::cell::Cell::new(0)), &mut |_| ())
    };
    assert_eq!(carry_on(&town, &mut fanout), Progress::Waits);
    town.end(&cell, CloseReason::LoggedOff);
    town.hub_timeout();
    let before = town.hub.judged();
    town.hub.handle_response(town.now, job, Ok(StoreResponse::NotFound));
    assert!(town.hub.judged() > before, "whoever keeps what waits looks at it again");
    assert_eq!(carry_on(&town, &mut fanout), Progress::Done);
}

/// Who comes and goes between two slices changes nothing for the others.
#[test]
#[cfg_attr(miri, ignore = "counts too far for an interpreter")]
fn members_come_and_go_between_slices() {
    let mut town = town();
    let all = people(&mut town, 600);
    tell(&mut town, &["red"], &[]);
    let frame = message(&all[0].0, "red", Flags::ECHO, b"x");
    let mut fanout = Fanout::broadcast(&frame, SessionId(1), Some(all[0].0.clone())).unwrap();
    let carry_on = |town: &Town, fanout: &mut Fanout| {
        town.hub.carry_on(town.now, fanout, &Visits(town, core::cell::Cell::new(0)), &mut |_| ())
    };
    assert_eq!(carry_on(&town, &mut fanout), Progress::More);
    for at in [10, 255, 256, 599] {
        town.end(&all[at].1, CloseReason::LoggedOff);
    }
    while carry_on(&town, &mut fanout) == Progress::More {}
    for at in (0..600).filter(|at| ![10, 255, 256, 599].contains(at)) {
        assert_eq!(town.received(&all[at].1).len(), 1, "{at}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "counts too far for an interpreter")]
fn a_group_that_is_gone_meanwhile_ends_the_broadcast() {
    let mut town = town();
    let all = people(&mut town, 300);
    tell(&mut town, &["red"], &[]);
    let frame = message(&all[0].0, "red", Flags::NONE, b"x");
    let mut fanout = Fanout::broadcast(&frame, SessionId(1), Some(all[0].0.clone())).unwrap();
    let carry_on = |town: &Town, fanout: &mut Fanout| {
        town.hub.carry_on(town.now, fanout, &Visits(town, core::cell::Cell::new(0)), &mut |_| ())
    };
    assert_eq!(carry_on(&town, &mut fanout), Progress::More);
    for (_, cell) in &all {
        town.end(cell, CloseReason::LoggedOff);
    }
    assert_eq!(carry_on(&town, &mut fanout), Progress::Done);
}

/// It is encoded once: members share its bytes.
#[test]
fn members_share_the_bytes_of_a_broadcast() {
    for len in [100, 4_096] {
        let mut town = town();
        let all = people(&mut town, 3);
        tell(&mut town, &["red"], &[]);
        let frame = message(&all[0].0, "red", Flags::NONE, &vec![7; len]);
        town.fan_out(Fanout::broadcast(&frame, SessionId(1), Some(all[0].0.clone())).unwrap());
        let places: Vec<*const u8> =
            all[1..].iter().map(|(_, cell)| town.received(cell).first().unwrap().payload().as_ptr()).collect();
        assert_eq!(places[0], places[1], "{len}");
    }
}

/// The store says in the middle of a broadcast that there is no such group any more.
#[test]
#[cfg_attr(miri, ignore = "counts too far for an interpreter")]
fn a_group_that_is_deleted_meanwhile_gets_no_more_of_the_broadcast() {
    let mut town = town();
    let all = people(&mut town, 600);
    tell(&mut town, &["red"], &[]);
    let frame = message(&all[0].0, "red", Flags::NONE, b"x");
    let mut fanout = Fanout::broadcast(&frame, SessionId(1), Some(all[0].0.clone())).unwrap();
    let carry_on = |town: &Town, fanout: &mut Fanout| {
        town.hub.carry_on(town.now, fanout, &Visits(town, core::cell::Cell::new(0)), &mut |_| ())
    };
    assert_eq!(carry_on(&town, &mut fanout), Progress::More);
    for (engine, _) in &all {
        town.hub.relations_changed(town.now, &engine.user);
    }
    tell(&mut town, &[], &[]);
    assert_eq!(carry_on(&town, &mut fanout), Progress::Done);
    let got = all.iter().filter(|(_, cell)| !town.received(cell).is_empty()).count();
    assert!((1..SLICE).contains(&got), "the first slice: {got}");
    let late = Fanout::broadcast(&frame, SessionId(1), Some(all[0].0.clone())).unwrap();
    assert_eq!(slices(&town, late).iter().sum::<usize>(), 1, "whoever sends another is told that it may not");
}

fn stages(town: &mut Town, cell: &Cell) -> Vec<PresenceStage> {
    let frames = town.received(cell);
    let stages = |frame: &RawFrame| match frame.decode() {
        Ok(Frame::Presence { events, .. }) => events.iter().map(|event| event.stage).collect(),
        _ => Vec::new(),
    };
    frames.iter().flat_map(stages).collect()
}

#[test]
#[cfg_attr(miri, ignore = "counts too far for an interpreter")]
fn presence_goes_out_in_slices_too() {
    let mut town = town();
    let all = people(&mut town, 600);
    let names: Vec<&str> = all.iter().map(|(engine, _)| engine.user.as_str()).collect();
    tell(&mut town, &[], &names);
    town.now = at(3_000);
    while town.hub.handle_timeout(town.now) {}
    let mut most = 0;
    while let Some(fanout) = town.hub.poll_fanout() {
        most = most.max(slices(&town, fanout).into_iter().max().unwrap_or(0));
    }
    assert!((25..=64).contains(&most), "{most}");
    // Of everybody else, the user and the device.
    assert_eq!(stages(&mut town, &all[7].1).len(), 599 * 2);
}

/// A contact on as many devices as there are kinds hears it on all of them, in a slice of its own.
#[test]
#[cfg_attr(miri, ignore = "counts too far for an interpreter")]
fn a_contact_on_every_device_has_a_slice_for_itself() {
    let mut town = town();
    for kind in 0..=255 {
        town.join(&engine("many", DeviceKind(kind), 1));
    }
    town.join(&phone("ben"));
    let subject = user("ann");
    let change = Change { online: Some(true), devices: Vec::from([(DeviceKind(0), true)]) };
    let fanout = Fanout::presence(subject, change, Arc::new([user("ben"), user("many"), user("zoe")]), Vec::new());
    assert_eq!(slices(&town, fanout), [1, 256, 0]);
}

#[test]
#[cfg_attr(miri, ignore = "counts too far for an interpreter")]
fn a_group_of_too_many_tells_nobody_of_groupmates() {
    for (size, heard) in [(TALKATIVE, 1), (TALKATIVE + 1, 0)] {
        let mut town = town();
        let all = people(&mut town, size - 1);
        tell(&mut town, &["red"], &[]);
        town.now = at(3_000);
        town.hub_timeout();
        stages(&mut town, &all[0].1);
        town.join(&phone("zoe"));
        tell(&mut town, &["red"], &[]);
        town.now = town.now + Duration::from_secs(2);
        town.hub_timeout();
        assert_eq!(stages(&mut town, &all[0].1).len(), heard, "{size}");
    }
}

#[test]
fn nothing_is_left_of_whom_nobody_thinks_any_more() {
    let mut town = town();
    let cell = town.join(&phone("ann"));
    tell(&mut town, &["red"], &["ben"]);
    town.now = at(3_000);
    town.hub_timeout();
    town.now = at(4_000);
    town.end(&cell, CloseReason::LoggedOff);
    town.hub_timeout();
    let command = LoginClaim { takes_messages: false, ..claim(&engine("cleo", DeviceKind::PHONE, 3)) };
    let cell = town.join_with(&command);
    town.end(&cell, CloseReason::LoggedOff);
    town.hub_timeout();
    assert!(town.hub.people.is_empty() && town.hub.due.is_empty());
    assert!(town.hub.groups.get("red").is_none());
}

#[test]
fn the_server_is_a_member_of_every_group() {
    let mut town = town();
    let cell = town.join(&phone("ann"));
    tell(&mut town, &["red"], &[]);
    let from = Address::Server { instance: SERVER_ID.0 };
    let envelope = Envelope::new(Address::Group { group: "red" }, from, 0);
    let frame = raw(&Frame::Broadcast { envelope, info_type: 1, body: b"x" }, Flags::NONE);
    let fanout = Hub::<Cell>::broadcast_of_server(&frame).unwrap();
    assert!(fanout.frame().is_none(), "it is told in another way");
    assert_eq!(slices(&town, fanout), [1]);
    assert_eq!(town.received(&cell).len(), 1);
}

/// Everybody's relations change at the same time, and both of each pair hear of the other once.
#[test]
fn pairs_that_are_new_are_told_once_and_in_slices() {
    for (groups, contacts) in [(&["red"][..], false), (&[], true)] {
        let mut town = town();
        let all = people(&mut town, 40);
        let names: Vec<&str> = all.iter().map(|(engine, _)| engine.user.as_str()).collect();
        tell(&mut town, &[], &[]);
        town.now = at(3_000);
        town.hub_timeout();
        for name in &names {
            town.hub.relations_changed(town.now, &user(name));
        }
        while let Some((job, _)) = town.hub.poll_request() {
            let contacts = names.iter().filter(|_| contacts).map(|name| user(name)).collect();
            let groups = groups.iter().map(|id| group(id)).collect();
            let person = Person { contacts, groups, ..Person::default() };
            town.hub.handle_response(town.now, job, Ok(StoreResponse::Person(person)));
        }
        let mut outputs = Vec::new();
        while let Some(fanout) = town.hub.poll_fanout() {
            outputs.extend(slices(&town, fanout));
        }
        assert_eq!(outputs.iter().sum::<usize>(), 40 * 39, "each of each other");
        assert!(outputs.iter().all(|outputs| *outputs <= SLICE + 2), "{outputs:?}");
        let each = if contacts { 2 } else { 1 };
        assert_eq!(stages(&mut town, &all[7].1).len(), 39 * each);
    }
}
