//! Crowds at their real size: what one of them can make the hub do is bounded, however many they are.

use alloc::{format, string::String, sync::Arc, vec::Vec};
use core::{cell::Cell as Counter, time::Duration};

use crate::{
    close::CloseReason,
    hub::{Fanout, Progress, Reach, Whose},
    ids::{DeviceKind, Engine, GroupId, SessionId, UserId},
    server::{
        Config, Outbox,
        testing::{Cell, Town, engine, raw},
    },
    store::{Person, StoreRequest, StoreResponse},
    time::Instant,
    wire::{Address, Envelope, Flags, Frame, PresenceStage},
};

/// The largest number of outputs of a slice.
const SLICE: usize = 256;
const GROUP: usize = 100_000;
const MILLION: usize = 1_000_000;

fn name(number: usize) -> UserId {
    UserId::parse(&format!("u{number:06}"), 64).unwrap()
}

fn on_phone(number: usize) -> Engine {
    engine(&name(number), DeviceKind::PHONE, 1)
}

fn town() -> Town {
    Town::new(Config { store: true, ..Config::default() })
}

/// The store says who everybody is of whom it was asked. Nobody is told yet.
fn answer(town: &mut Town, who: impl Fn(&UserId, usize) -> Person) {
    while let Some((job, request)) = town.hub.poll_request() {
        let StoreRequest::Person { user, max_contacts, .. } = request else { panic!("{request:?}") };
        town.hub.handle_response(town.now, job, Ok(StoreResponse::Person(who(&user, max_contacts))));
    }
}

/// Counts outputs on their way.
struct Visits<'a>(&'a Town, Counter<usize>);

impl Reach<Cell> for Visits<'_> {
    fn visit<R>(&self, whose: Whose<'_, Cell>, visit: impl FnOnce(&mut Outbox) -> R) -> R {
        self.1.set(self.1.get() + 1);
        match whose {
            Whose::Session(cell) => visit(&mut cell.outbox.borrow_mut()),
            Whose::Server => visit(&mut self.0.desk.borrow_mut()),
        }
    }
}

/// Carries one on to its end, and says how many outputs its slices had.
fn slices(town: &Town, mut fanout: Fanout) -> Vec<usize> {
    let mut outputs = Vec::new();
    loop {
        let reach = Visits(town, Counter::new(0));
        let progress = town.hub.carry_on(town.now, &mut fanout, &reach, &mut |_| ());
        outputs.push(reach.1.get());
        if progress != Progress::More {
            return outputs;
        }
    }
}

/// Time passes, and whoever is to be told is. Says how many outputs the largest slice had.
fn pass_to(town: &mut Town, now: Instant) -> usize {
    town.now = now;
    while town.hub.handle_timeout(town.now) {}
    let mut most = 0;
    while let Some(fanout) = town.hub.poll_fanout() {
        most = slices(town, fanout).into_iter().fold(most, usize::max);
    }
    most
}

/// Users of whom a session heard that they came or went.
fn heard(town: &mut Town, cell: &Cell) -> Vec<String> {
    let of_user = |stage| matches!(stage, PresenceStage::ContactOnline | PresenceStage::ContactOffline);
    let mut users = Vec::new();
    for frame in town.received(cell) {
        if let Ok(Frame::Presence { events, .. }) = frame.decode() {
            let about = events.iter().filter(|event| of_user(event.stage)).filter_map(|event| event.who.user());
            users.extend(about.map(String::from));
        }
    }
    users
}

/// The store knows a million contacts of one user. The hub takes as many as it has room for, and tells no more than
/// these; whoever is one of the others hears nothing and is harmed by nothing.
#[test]
#[cfg_attr(miri, ignore = "counts too far for an interpreter")]
fn of_a_million_contacts_as_many_are_told_as_may_be() {
    let mut town = town();
    let names: Vec<UserId> = (0..MILLION).map(name).collect();
    let popular = UserId::parse("popular", 64).unwrap();
    let who = |user: &UserId, max: usize| match *user == popular {
        // A store that keeps to nothing that it was asked.
        true => {
            assert_eq!(max, 10_000);
            Person { contacts: names.iter().rev().cloned().collect(), ..Person::default() }
        }
        false => Person { contacts: Vec::from([popular.clone()]), ..Person::default() },
    };
    let numbers = [0, 5_000, 9_999, 10_000, 999_999];
    let cells: Vec<Cell> = numbers.iter().map(|number| town.join(&on_phone(*number))).collect();
    answer(&mut town, who);
    pass_to(&mut town, Instant::from_micros(3_000_000));
    let star = town.join(&engine(&popular, DeviceKind::PHONE, 1));
    answer(&mut town, who);
    let now = town.now;
    let most = pass_to(&mut town, now + Duration::from_secs(2));
    assert!(most <= SLICE, "{most}");
    let told: Vec<bool> = cells.iter().map(|cell| heard(&mut town, cell) == ["popular"]).collect();
    assert_eq!(told, [true, true, true, false, false]);
    assert_eq!(town.counters.relations_cut.get(), 1);
    // What they do reaches those who know of it.
    heard(&mut town, &star);
    for cell in &cells {
        town.end(cell, CloseReason::LoggedOff);
    }
    let now = town.now;
    pass_to(&mut town, now);
    assert_eq!(heard(&mut town, &star).len(), cells.len());
}

/// A group of a hundred thousand who are all online: what is sent to it goes out by slices, others go between them, and
/// nobody is told of groupmates.
#[test]
#[cfg_attr(miri, ignore = "counts too far for an interpreter")]
fn a_group_of_a_hundred_thousand_is_served_by_slices() {
    let mut town = town();
    let red = GroupId::parse("red").unwrap();
    let mut cells = Vec::with_capacity(GROUP);
    while cells.len() < GROUP {
        // No more than may be asked of the store at the same time.
        cells.extend((cells.len()..).take(10_000).map(|number| town.join(&on_phone(number))));
        answer(&mut town, |_, _| Person { groups: Vec::from([red.clone()]), ..Person::default() });
    }
    let most = pass_to(&mut town, Instant::from_micros(3_000_000));
    assert_eq!(most, 0, "nobody is told of so many mates");
    let from = on_phone(7);
    let frame = |body: &[u8]| {
        let envelope = Envelope::new(Address::Group { group: "red" }, Address::of_engine(&from), 0);
        raw(&Frame::Broadcast { envelope, info_type: 1, body }, Flags::NONE)
    };
    let fanout = Fanout::broadcast(&frame(b"hello"), SessionId(8), Some(from.clone())).unwrap();
    let outputs = slices(&town, fanout);
    assert_eq!(outputs.iter().sum::<usize>(), GROUP - 1);
    assert!(outputs.iter().all(|outputs| *outputs <= SLICE), "{outputs:?}");
    for (number, cell) in cells.iter().enumerate().step_by(997).chain([(7, &cells[7]), (GROUP - 1, &cells[GROUP - 1])])
    {
        assert_eq!(town.received(cell).len(), usize::from(number != 7), "{number}");
    }
    // Half of them leave between two slices.
    let mut fanout = Fanout::broadcast(&frame(b"who is left?"), SessionId(8), Some(from.clone())).unwrap();
    let reach = |town: &Town, fanout: &mut Fanout| {
        let reach = Visits(town, Counter::new(0));
        (town.hub.carry_on(town.now, fanout, &reach, &mut |_| ()), reach.1.get())
    };
    let (progress, first) = reach(&town, &mut fanout);
    assert!(progress == Progress::More && (1..SLICE).contains(&first), "{first}");
    for cell in &cells[GROUP / 2..] {
        town.end(cell, CloseReason::LoggedOff);
    }
    let mut all = first;
    loop {
        let (progress, outputs) = reach(&town, &mut fanout);
        all += outputs;
        if progress == Progress::Done {
            break;
        }
    }
    assert_eq!(all, GROUP / 2 - 1);
}

/// A thousand people, each with a hundred contacts, come and go ten times a second.
#[test]
#[cfg_attr(miri, ignore = "counts too far for an interpreter")]
fn a_thousand_who_flap_ten_times_a_second_are_told_once_a_second_at_most() {
    const PEOPLE: usize = 1_000;
    const CONTACTS: usize = 100;
    const SECONDS: u64 = 3;
    let mut town = town();
    let names: Arc<[UserId]> = (0..PEOPLE).map(name).collect();
    let number = |user: &UserId| user.as_str()[1..].parse::<usize>().unwrap_or(0);
    let watcher = UserId::parse("watcher", 64).unwrap();
    let who = |user: &UserId, _: usize| {
        let around =
            |at: usize| (1..=CONTACTS / 2).flat_map(move |by| [(at + by) % PEOPLE, (at + PEOPLE - by) % PEOPLE]);
        let mut contacts: Vec<UserId> = if *user == watcher {
            names.to_vec()
        } else {
            let mut theirs: Vec<UserId> = around(number(user)).map(|of| names[of].clone()).collect();
            theirs.push(watcher.clone());
            theirs
        };
        contacts.sort();
        Person { contacts, ..Person::default() }
    };
    // Each of their lives is another engine.
    let join_all = |town: &mut Town, life: u64| -> Vec<Cell> {
        names.iter().map(|name| town.join(&engine(name, DeviceKind::PHONE, life))).collect()
    };
    let watch = town.join(&engine(&watcher, DeviceKind::PHONE, 1));
    answer(&mut town, who);
    let start = Instant::from_micros(10_000_000);
    pass_to(&mut town, start);
    let mut told = 0;
    for tenth in 0..SECONDS * 10 {
        let at = start + Duration::from_millis(tenth * 100);
        town.now = at;
        let cells = join_all(&mut town, tenth + 1);
        answer(&mut town, who);
        pass_to(&mut town, at + Duration::from_millis(50));
        for cell in &cells {
            // It came and went before anybody was told, so it hears of nobody either.
            assert_eq!(town.received(cell).len(), 0);
            town.end(cell, CloseReason::LoggedOff);
        }
        let most = pass_to(&mut town, at + Duration::from_millis(99));
        assert!(most <= SLICE, "{most}");
        told += heard(&mut town, &watch).len();
    }
    assert_eq!(told, 0, "none of them was there for a second");
    // Those who stay are told, once.
    let cells = join_all(&mut town, 1_000);
    answer(&mut town, who);
    let now = town.now;
    let most = pass_to(&mut town, now + Duration::from_secs(2));
    assert!(most <= SLICE, "{most}");
    let mut all = heard(&mut town, &watch);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), PEOPLE);
    assert_eq!(heard(&mut town, &cells[0]).len(), CONTACTS, "their contacts, and of the watcher they know by the list");
}
