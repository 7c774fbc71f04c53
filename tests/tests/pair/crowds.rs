//! Lists of a million contacts and of a group of a hundred thousand, page by page.

use std::time::{Duration, Instant as Clock};

use bytes::Bytes;
use esf_proto::{
    client::{SendError, Session},
    ids::{MessageId, UserId},
    store::{Person, StoreRequest, StoreResponse},
    time::Instant,
    wire::requests::{Members, OnlineUsers},
};
use esf_tests::{
    people::{People, group, name},
    world::{Outcome, Who, World},
};

const MILLION: usize = 1_000_000;
const HUNDRED_THOUSAND: usize = 100_000;
/// Far more than it takes, and far less than if each page were looked for from the beginning.
const PATIENCE: Duration = Duration::from_secs(120);

fn number(user: &UserId) -> Option<usize> {
    user.as_str().strip_prefix('u')?.parse().ok()
}

fn user(number: usize) -> UserId {
    name(&format!("u{number:06}"))
}

/// A page of `u000000` and so on.
fn page(of: usize, after: Option<&UserId>, limit: usize) -> StoreResponse {
    let first = after.map_or(0, |after| number(after).map_or(of, |number| number + 1));
    StoreResponse::Names((first..of).take(limit).map(user).collect())
}

/// Anna has a million contacts, each of whom has no other; and all are in the group `all`.
fn of_all(request: &StoreRequest) -> Option<StoreResponse> {
    Some(match request {
        StoreRequest::Person { user: who, max_contacts, .. } if who.as_str() == "anna" => {
            let contacts = (0..*max_contacts).map(user).collect();
            StoreResponse::Person(Person {
                exists: true,
                contacts,
                groups: vec![group("all")],
                cut: true,
                stored: false,
            })
        }
        StoreRequest::Person { .. } => StoreResponse::Person(Person {
            exists: true,
            contacts: vec![name("anna")],
            groups: vec![group("all")],
            ..Person::default()
        }),
        StoreRequest::Contacts { after, limit, .. } => page(MILLION, after.as_ref(), *limit),
        StoreRequest::Members { after, limit, .. } => page(HUNDRED_THOUSAND, after.as_ref(), *limit),
        _ => return None,
    })
}

fn crowd() -> World {
    let mut people = People::default();
    people.makes_up = Some(of_all);
    World::with_people(people)
}

type Asked = Result<MessageId, SendError>;

/// All pages of a list, each read by `read`; says how many there were.
fn list(
    world: &mut World,
    who: Who,
    ask: impl Fn(&mut Session, Instant, &[u8]) -> Asked,
    mut read: impl FnMut(&[u8]),
) -> usize {
    let (mut cursor, mut pages) = (Bytes::new(), 0);
    loop {
        let now = world.now;
        let id = ask(world.session(who), now, &cursor).expect("room for a request");
        world.run();
        let Some(Outcome::Responded(Ok(()), body, next)) = world.outcome(who, id) else {
            panic!("a page was expected, not {:?}", world.outcome(who, id))
        };
        world.engine(who).events.clear();
        read(&body);
        (cursor, pages) = (next, pages + 1);
        if cursor.is_empty() {
            return pages;
        }
    }
}

#[test]
fn a_million_contacts_are_listed_page_by_page_and_the_last_of_them_is_online_for_it() {
    let mut world = crowd();
    let began = Clock::now();
    let anna = world.join("anna");
    for number in [0, MILLION - 1] {
        world.join(user(number).as_str());
    }
    world.advance(Duration::from_secs(2));
    let (mut at, mut online) = (0, Vec::new());
    let contacts = |session: &mut Session, now: Instant, cursor: &[u8]| session.contacts(now, 1_000, cursor);
    let pages = list(&mut world, anna, contacts, |body| {
        for member in Members::decode(body).expect("members") {
            assert_eq!(member.user, user(at).as_str());
            if member.online {
                online.push(at);
            }
            at += 1;
        }
    });
    assert_eq!((at, online), (MILLION, vec![0, MILLION - 1]));
    assert!((1_000..3_000).contains(&pages), "{pages}");
    // Those who are online are found in it, too.
    let mut users = Vec::new();
    let online = |session: &mut Session, now: Instant, cursor: &[u8]| session.online_contacts(now, 1_000, cursor);
    list(&mut world, anna, online, |body| {
        users.extend(OnlineUsers::decode(body).expect("users").map(|one| one.user.to_owned()));
    });
    assert_eq!(users, [user(0).as_str(), user(MILLION - 1).as_str()]);
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
}

#[test]
fn a_group_of_a_hundred_thousand_is_listed_page_by_page_and_costs_those_who_are_there() {
    let mut world = crowd();
    let began = Clock::now();
    let all: Vec<Who> = (0..300).map(|number| world.join(user(number * 300).as_str())).collect();
    let (mut at, mut online) = (0, 0);
    let members =
        |session: &mut Session, now: Instant, cursor: &[u8]| session.group_members(now, &group("all"), 1_000, cursor);
    list(&mut world, all[0], members, |body| {
        for member in Members::decode(body).expect("members") {
            assert_eq!(member.user, user(at).as_str());
            assert_eq!(member.online, at % 300 == 0 && at < 90_000, "{at}");
            online += usize::from(member.online);
            at += 1;
        }
    });
    assert_eq!((at, online), (HUNDRED_THOUSAND, 300));
    let (now, body) = (world.now, Bytes::from_static(b"hello"));
    let options = esf_proto::client::MessageOptions::default();
    world.session(all[0]).broadcast(now, &group("all"), 1, body, options).expect("room for a broadcast");
    world.run();
    assert!(world.texts(all[0]).is_empty());
    assert!(all[1..].iter().all(|who| world.texts(*who) == ["hello"]));
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
}
