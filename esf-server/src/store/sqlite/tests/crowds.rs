//! A user with a million contacts, and a group of a hundred thousand.

use std::time::Instant;

use esf_tokio::{
    DeviceKind,
    store::{Person, StoreRequest},
};

use super::*;

const MILLION: usize = 1_000_000;
const HUNDRED_THOUSAND: usize = 100_000;

/// Names that count up, each with what makes a row of it.
fn insert(store: &OnDisk, count: usize, row: &str) {
    let sql = format!(
        "WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < {}) INSERT INTO {row} FROM n",
        count - 1
    );
    store.with(|hands| hands.told(hands.connection.execute_batch(&sql)));
}

fn ask(store: &OnDisk, request: StoreRequest) -> StoreResponse {
    try_ask(store, request).unwrap()
}

/// Asks, and says how long that took.
fn timed(store: &OnDisk, request: StoreRequest) -> (StoreResponse, Duration) {
    let began = Instant::now();
    (ask(store, request), began.elapsed())
}

/// All names of a list, by pages of 1,000.
fn all(store: &OnDisk, page: impl Fn(Option<UserId>) -> StoreRequest) -> (Vec<UserId>, Duration) {
    let (mut names, mut slowest): (Vec<UserId>, _) = (Vec::new(), Duration::ZERO);
    loop {
        let (answer, took) = timed(store, page(names.last().cloned()));
        let StoreResponse::Names(more) = answer else { panic!("{answer:?}") };
        slowest = slowest.max(took);
        let last = more.len() < 1_000;
        names.extend(more);
        if last {
            return (names, slowest);
        }
    }
}

#[test]
fn a_login_asks_for_no_more_of_a_million_contacts_than_it_may_have() {
    let store = on_disk(StoreLimits::default(), Users::Everybody);
    insert(&store, MILLION, "contact (user, contact) SELECT 'anna', printf('u%06d', n)");
    let who = |name: &str, max_contacts| StoreRequest::Person {
        user: user(name),
        device: DeviceKind::PHONE,
        max_contacts,
        max_groups: 256,
    };
    // The first one opens files and fills caches.
    timed(&store, who("nobody", 10_000));
    let (answer, took) = timed(&store, who("anna", 10_000));
    let StoreResponse::Person(Person { contacts, cut, .. }) = answer else { panic!("{answer:?}") };
    assert_eq!((contacts.len(), cut), (10_000, true));
    let (names, slowest) = all(&store, |after| StoreRequest::Contacts { user: user("anna"), after, limit: 1_000 });
    assert!(names.iter().map(UserId::to_string).eq((0..MILLION).map(|number| format!("u{number:06}"))));
    // Whoever reads a list waits for a page of it, wherever that is.
    assert!(took.max(slowest) < Duration::from_secs(5), "{took:?} {slowest:?}");
}

#[test]
fn a_group_of_a_hundred_thousand_is_read_by_pages_and_found_by_its_members() {
    let store = on_disk(StoreLimits::default(), Users::Everybody);
    let all_of_us = GroupId::parse("all").unwrap();
    assert!(store.create_group(&all_of_us));
    insert(&store, HUNDRED_THOUSAND, "member (group_id, user) SELECT 'all', printf('u%06d', n)");
    let page = |after| StoreRequest::Members { group: all_of_us.clone(), after, limit: 1_000 };
    let (names, slowest) = all(&store, page);
    assert!(names.iter().map(UserId::to_string).eq((0..HUNDRED_THOUSAND).map(|number| format!("u{number:06}"))));
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    let who = |name: &str| StoreRequest::Person {
        user: user(name),
        device: DeviceKind::PHONE,
        max_contacts: 10_000,
        max_groups: 256,
    };
    for (name, groups) in [("u000000", 1), ("u099999", 1), ("u100000", 0)] {
        let (answer, took) = timed(&store, who(name));
        let StoreResponse::Person(person) = answer else { panic!("{answer:?}") };
        assert_eq!(person.groups.len(), groups, "{name}");
        assert!(took < Duration::from_secs(5), "{name}: {took:?}");
    }
    // Its end is told of each of its members.
    let (told, heard) = mpsc::channel();
    let asked = SqliteStore::open(&store.directory.0, StoreLimits::default(), Users::Everybody).unwrap();
    asked.watch_relations(move |user| told.send(user).unwrap()).unwrap();
    assert!(store.delete_group(&all_of_us));
    let names: std::collections::BTreeSet<UserId> =
        (0..HUNDRED_THOUSAND).map(|_| heard.recv_timeout(Duration::from_secs(60)).unwrap()).collect();
    assert_eq!(names.len(), HUNDRED_THOUSAND);
    assert_eq!(ask(&store, page(None)), StoreResponse::NotFound);
}
