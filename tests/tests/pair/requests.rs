//! Requests: ping, who is online, kick, and what is answered to those who may not or ask wrongly.

use std::time::Duration;

use bytes::Bytes;
use esf_driver::node::ServerEvent;
use esf_proto::{
    client::Event,
    close::CloseReason,
    failure::Failure,
    ids::{DeviceKind, MessageId, To, UserId},
    server::Config,
    wire::{
        Address, Envelope, Frame, Method,
        requests::{DeviceEntry, Devices, Online, OnlineUsers},
    },
};
use esf_tests::{
    raw::RawLink,
    world::{Outcome, Who, World, user},
};

const NOT_ALLOWED: Outcome = Outcome::Responded(Err(Failure::NotAllowed), Bytes::new(), Bytes::new());

fn name(name: &str) -> UserId {
    UserId::parse(name, 64).expect("a user name")
}

/// The body of a response that succeeded.
fn body(world: &mut World, who: Who, id: MessageId) -> Bytes {
    world.run();
    match world.outcome(who, id) {
        Some(Outcome::Responded(Ok(()), body, cursor)) if cursor.is_empty() => body,
        other => panic!("a whole response was expected, not {other:?}"),
    }
}

// Ping.

fn ping(world: &mut World, who: Who, to: &To) -> MessageId {
    let now = world.now;
    world.session(who).ping(now, to).expect("room")
}

#[test]
fn a_ping_measures_the_way_to_the_server_and_to_a_user() {
    for (peer, slow) in [("", false), ("ben", true)] {
        let mut world = World::new();
        let (anna, ben) = (world.join("anna"), world.join("ben"));
        let link = world.link(if slow { ben } else { anna });
        link.hold_up = true;
        let id = ping(&mut world, anna, &user(peer));
        world.advance(Duration::from_millis(120));
        world.link(if slow { ben } else { anna }).hold_up = false;
        world.run();
        let responded = |event: &Event| match event {
            Event::Responded { id: of, status, round_trip, .. } if *of == id => Some((*status, *round_trip)),
            _ => None,
        };
        let answer = world.engine(anna).events.iter().find_map(responded);
        assert_eq!(answer, Some((Ok(()), Duration::from_millis(120))), "{peer}");
    }
}

#[test]
fn a_ping_of_somebody_who_is_not_there_is_offline() {
    let mut world = World::new();
    let (anna, _ben) = (world.join("anna"), world.join("ben"));
    let nobody = ping(&mut world, anna, &user("nobody"));
    let tablet = ping(&mut world, anna, &To::Device(name("ben"), DeviceKind::TABLET));
    world.run();
    assert_eq!(world.outcome(anna, nobody), Some(Outcome::Failed(Failure::Offline)));
    assert_eq!(world.outcome(anna, tablet), Some(Outcome::Failed(Failure::Offline)));
}

#[test]
fn a_ping_needs_no_application_at_the_other_end() {
    let mut world = World::new();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    world.engine(ben).takes = false;
    let id = ping(&mut world, anna, &user("ben"));
    assert!(body(&mut world, anna, id).is_empty());
    assert!(!world.engine(ben).events.iter().any(|event| matches!(event, Event::Query(_))));
}

// Who is online.

fn online(world: &mut World, who: Who, users: &[&str]) -> Vec<bool> {
    let now = world.now;
    let users: Vec<UserId> = users.iter().map(|user| name(user)).collect();
    let id = world.session(who).is_online(now, &users).expect("room");
    let body = body(world, who, id);
    Online::decode(&body).expect("a list").collect()
}

#[test]
fn a_user_is_online_until_the_resume_window_ends() {
    let mut world = World::new();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    assert_eq!(online(&mut world, anna, &["ben", "nobody", "anna", "BEN"]), [true, false, true, false]);
    world.away(ben);
    world.advance(Duration::from_secs(59));
    assert_eq!(online(&mut world, anna, &["ben"]), [true]);
    world.advance(Duration::from_secs(1));
    assert_eq!(online(&mut world, anna, &["ben"]), [false]);
    let gone = world.session(ben).engine().clone();
    let event = ServerEvent::Disconnected { engine: gone, reason: CloseReason::NetworkInterrupted };
    assert!(world.server_events.contains(&event));
}

#[test]
fn a_user_is_offline_as_soon_as_the_last_device_logged_off() {
    let mut world = World::new();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    let phone = world.join_on("ben", DeviceKind::PHONE);
    for (who, expected) in [(ben, true), (phone, false)] {
        let now = world.now;
        world.session(who).log_off(now);
        world.run();
        assert_eq!(online(&mut world, anna, &["ben"]), [expected]);
        assert_eq!(world.closed(who), Some(CloseReason::LoggedOff));
    }
}

#[test]
fn my_devices_are_listed_with_whether_they_have_a_link() {
    let mut world = World::new();
    let (desktop, phone) = (world.join_on("anna", DeviceKind::DESKTOP), world.join_on("anna", DeviceKind::PHONE));
    world.join("ben");
    world.away(desktop);
    let now = world.now;
    let id = world.session(phone).my_devices(now).expect("room");
    let body = body(&mut world, phone, id);
    let instance = |world: &mut World, who| world.session(who).engine().instance;
    let expected = [(desktop, DeviceKind::DESKTOP, false), (phone, DeviceKind::PHONE, true)]
        .map(|(who, device, connected)| DeviceEntry { device, instance: instance(&mut world, who), connected });
    assert_eq!(Devices::decode(&body).expect("a list").collect::<Vec<DeviceEntry>>(), expected);
}

fn page(world: &mut World, who: Who, limit: u16, cursor: &[u8]) -> (Vec<String>, Bytes) {
    let now = world.now;
    let id = world.session(who).online_users(now, limit, cursor).expect("room");
    world.run();
    let Some(Outcome::Responded(Ok(()), body, cursor)) = world.outcome(who, id) else {
        panic!("a page was expected, not {:?}", world.outcome(who, id))
    };
    let users = OnlineUsers::decode(&body).expect("a page");
    (users.map(|user| user.user.to_owned()).collect(), cursor)
}

#[test]
fn online_users_come_in_pages_and_nobody_twice() {
    let mut world = World::new();
    let admin = world.join("admin");
    for user in ["eve", "ben", "dora", "carl", "anna"] {
        world.join(user);
    }
    world.join_on("ben", DeviceKind::PHONE);
    let (first, cursor) = page(&mut world, admin, 2, &[]);
    assert_eq!(first, ["admin", "anna"]);
    // Somebody comes and somebody goes between two pages.
    world.join("aaron");
    let now = world.now;
    assert_eq!(world.node.kick_out(now, "carl"), Ok(()));
    world.run();
    let (second, cursor) = page(&mut world, admin, 2, &cursor);
    assert_eq!(second, ["ben", "dora"]);
    let (third, cursor) = page(&mut world, admin, 2, &cursor);
    assert_eq!((third, cursor), (vec!["eve".to_owned()], Bytes::new()));
    let (all, cursor) = page(&mut world, admin, 0, &[]);
    assert_eq!((all.len(), cursor.is_empty()), (6, true));
}

#[test]
fn online_users_need_the_right_to_list() {
    let mut world = World::new();
    let anna = world.join("anna");
    let now = world.now;
    let id = world.session(anna).online_users(now, 0, &[]).expect("room");
    world.run();
    assert_eq!(world.outcome(anna, id), Some(NOT_ALLOWED));
    assert!(world.is_online(anna));
}

#[test]
fn a_forged_cursor_is_malformed_or_shows_nothing_that_the_list_does_not() {
    let mut world = World::new();
    let (admin, _) = (world.join("admin"), world.join("ben"));
    let now = world.now;
    let id = world.session(admin).online_users(now, 10, &[0xff, 0xfe]).expect("room");
    world.run();
    assert_eq!(world.outcome(admin, id), Some(Outcome::Responded(Err(Failure::Malformed), Bytes::new(), Bytes::new())));
    let (names, _) = page(&mut world, admin, 10, b"b");
    assert_eq!(names, ["ben"]);
    let (names, cursor) = page(&mut world, admin, 10, "\u{10ffff}".repeat(100).as_bytes());
    assert_eq!((names.len(), cursor.len()), (0, 0));
    assert!(world.is_online(admin));
}

// Kick.

fn kick(world: &mut World, who: Who, user: &str) -> Option<Outcome> {
    let now = world.now;
    let id = world.session(who).kick_out(now, &name(user)).expect("room");
    world.run();
    world.outcome(who, id)
}

const DONE: Option<Outcome> = Some(Outcome::Responded(Ok(()), Bytes::new(), Bytes::new()));

#[test]
fn a_kick_ends_every_device_and_none_comes_back() {
    let mut world = World::new();
    let admin = world.join("admin");
    let devices = [DeviceKind::DESKTOP, DeviceKind::PHONE].map(|device| world.join_on("ben", device));
    let asleep = world.join_on("ben", DeviceKind::TABLET);
    world.away(asleep);
    assert_eq!(kick(&mut world, admin, "ben"), DONE);
    for device in devices {
        let events = &world.engine(device).events;
        assert_eq!(events[events.len() - 2..], [Event::BeingKickedOut, Event::Closed { reason: CloseReason::Kicked }]);
    }
    assert!(!world.node.is_online("ben"));
    world.advance(Duration::from_secs(120));
    assert!(devices.iter().all(|device| !world.is_online(*device)));
    assert_eq!(world.counter("closed_kicked"), 2);
}

#[test]
fn a_kick_without_the_right_is_not_allowed_and_one_of_nobody_is_offline() {
    let mut world = World::new();
    let (admin, anna, ben) = (world.join("admin"), world.join("anna"), world.join("ben"));
    assert_eq!(kick(&mut world, anna, "ben"), Some(NOT_ALLOWED));
    assert_eq!(kick(&mut world, anna, "nobody"), Some(NOT_ALLOWED), "who may not kick does not learn who is there");
    let offline = Outcome::Responded(Err(Failure::Offline), Bytes::new(), Bytes::new());
    assert_eq!(kick(&mut world, admin, "nobody"), Some(offline));
    assert!([admin, anna, ben].iter().all(|who| world.is_online(*who)));
}

#[test]
fn what_waited_for_somebody_who_is_kicked_has_its_outcome() {
    let mut world = World::new();
    let (admin, anna, ben) = (world.join("admin"), world.join("anna"), world.join("ben"));
    world.link(ben).hold_down = true;
    let handed = world.send_certainly(anna, "ben", "under way");
    world.run();
    assert_eq!(kick(&mut world, admin, "ben"), DONE);
    assert_eq!(world.outcome(anna, handed), Some(Outcome::Failed(Failure::ConnectionLost)));
}

#[test]
fn who_kicks_himself_is_gone() {
    let mut world = World::new();
    let admin = world.join("admin");
    let _ = kick(&mut world, admin, "admin");
    assert_eq!(world.closed(admin), Some(CloseReason::Kicked));
    assert!(!world.node.is_online("admin"));
}

// Wrong requests.

/// The answer to a request that no honest client makes.
fn ask(
    world: &mut World,
    link: &mut RawLink,
    to: Address<'_>,
    method: u16,
    body: &[u8],
) -> Option<Result<(), Failure>> {
    let me = link.engine.clone();
    let envelope = Envelope::new(to, Address::of_engine(&me), 1);
    link.send(world, &Frame::Request { envelope, ttl_ms: 1_000, method, cursor: &[], body });
    link.take_received().iter().find_map(|frame| match frame.decode() {
        Ok(Frame::Response { status, .. }) => Some(status),
        Ok(Frame::Failure { code, .. }) => Some(Err(code)),
        _ => None,
    })
}

#[test]
fn a_method_that_nobody_built_is_unsupported_and_the_link_stays() {
    let mut world = World::new();
    let mut link = RawLink::join(&mut world, "anna", 7);
    let server = Address::Server { instance: 0 };
    for method in [0, 6, 999, u16::MAX] {
        assert_eq!(ask(&mut world, &mut link, server, method, &[]), Some(Err(Failure::Unsupported)), "{method}");
    }
    assert!(link.is_open());
}

#[test]
fn a_user_is_asked_for_nothing_but_a_ping() {
    let mut world = World::new();
    let ben = world.join("ben");
    let mut link = RawLink::join(&mut world, "anna", 7);
    let to_ben = Address::User { user: "ben" };
    for method in [Method::IsOnline as u16, Method::MyDevices as u16, Method::Kick as u16, 999] {
        assert_eq!(ask(&mut world, &mut link, to_ben, method, &[]), Some(Err(Failure::NotAllowed)), "{method}");
    }
    assert_eq!(ask(&mut world, &mut link, to_ben, Method::Ping as u16, &[]), Some(Ok(())));
    assert!(link.is_open() && world.is_online(ben));
}

#[test]
fn a_body_that_is_not_what_its_method_says_is_malformed_and_the_link_stays() {
    let mut world = World::with(Config::default());
    let mut link = RawLink::join(&mut world, "admin", 7);
    let server = Address::Server { instance: 0 };
    let wrong: [(Method, &[u8]); 8] = [
        (Method::Ping, b"x"),
        (Method::IsOnline, &[2, 0, 1, b'a']),
        (Method::IsOnline, &[1, 0, 1, b'a', 9]),
        (Method::IsOnline, &[1, 0, 1, 0xff]),
        (Method::MyDevices, b"x"),
        (Method::OnlineUsers, &[1]),
        (Method::Kick, &[0]),
        (Method::Kick, &[3, b'b']),
    ];
    for (method, body) in wrong {
        let answer = ask(&mut world, &mut link, server, method as u16, body);
        assert_eq!(answer, Some(Err(Failure::Malformed)), "{method:?} {body:?}");
    }
    assert!(link.is_open());
    assert_eq!(world.counter("requests_malformed"), 8);
}
