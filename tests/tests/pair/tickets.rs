//! Reconnect tickets, login numbers that outlive the server, and credentials that are given up.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use esf_driver::endpoint::Endpoint as _;
use esf_proto::{
    client::{Event, State},
    close::CloseReason,
    ids::UserId,
    login::{LoginCode, Mode},
    wire::{Frame, LoginResult, MAX_TICKET},
};
use esf_tests::{
    raw::{LoginWith, RawLink},
    world::{World, client_config},
};

const MINUTE: Duration = Duration::from_secs(60);

fn with_tickets() -> World {
    let world = World::new();
    world.accounts.gives_tickets.store(true, Relaxed);
    world
}

fn by_ticket(world: &World) -> u64 {
    world.accounts.by_ticket.load(Relaxed)
}

fn name(name: &str) -> UserId {
    UserId::parse(name, 64).expect("a name")
}

/// The ticket of the last welcome.
fn ticket(link: &mut RawLink) -> Vec<u8> {
    let tickets = link.take_received().into_iter().filter_map(|frame| match frame.decode() {
        Ok(Frame::LoginResult(LoginResult::Succeed(welcome))) => Some(welcome.ticket.to_vec()),
        _ => None,
    });
    tickets.last().expect("a welcome")
}

fn login_number(events: &[Event]) -> u64 {
    let number = |event: &Event| match event {
        Event::LoginCompleted { login_number, .. } => Some(*login_number),
        _ => None,
    };
    events.iter().find_map(number).expect("a login")
}

// Tickets.

#[test]
fn a_ticket_opens_later_logins_also_after_a_restart_of_the_server() {
    let mut world = with_tickets();
    let ann = world.join("ann");
    assert_eq!(by_ticket(&world), 0, "the first login has none");
    world.accounts.locked.store(true, Relaxed);
    world.cut(ann);
    world.until_online(ann);
    assert_eq!(by_ticket(&world), 1);
    world.restart_server();
    world.until_online(ann);
    assert_eq!(by_ticket(&world), 2);
    let events = &world.engine(ann).events;
    let fresh = Event::RelogonCompleted { code: LoginCode::Succeed, mode: Some(Mode::Fresh) };
    assert_eq!(events.last(), Some(&fresh));
}

#[test]
fn a_ticket_that_is_no_good_leaves_the_login_to_the_credential() {
    let mut world = with_tickets();
    let (ann, ben) = (world.join("ann"), world.join("ben"));
    world.accounts.version.store(1, Relaxed);
    world.cut(ann);
    world.until_online(ann);
    assert_eq!(by_ticket(&world), 0);
    // And when that is no good either, the login is refused like any other.
    world.accounts.version.store(2, Relaxed);
    world.accounts.locked.store(true, Relaxed);
    world.cut(ben);
    world.advance(MINUTE);
    assert_eq!(world.closed(ben), Some(CloseReason::LoginFailed));
}

#[test]
fn a_ticket_is_good_for_its_user_and_device_only() {
    let mut world = with_tickets();
    let mut ann = RawLink::join(&mut world, "ann", 1);
    let ticket = ticket(&mut ann);
    let shown = LoginWith { ticket: &ticket, password: b"wrong", ..LoginWith::default() };
    let mut thief = RawLink::open(&world, "ben", 2);
    assert_eq!(thief.login(&mut world, shown), Err(Some(LoginCode::Failed)));
    let mut other = RawLink::open(&world, "ann", 3);
    other.engine.device = esf_proto::ids::DeviceKind::PHONE;
    assert_eq!(other.login(&mut world, shown), Err(Some(LoginCode::Failed)));
    assert!(world.node.is_online("ann"));
}

#[test]
fn a_ticket_that_is_too_large_is_not_told() {
    for (size, told) in [(MAX_TICKET, MAX_TICKET), (MAX_TICKET + 1, 0)] {
        let mut world = with_tickets();
        world.accounts.ticket_size.store(size, Relaxed);
        let mut link = RawLink::join(&mut world, "ann", 1);
        assert_eq!(ticket(&mut link).len(), told);
    }
}

#[test]
fn the_number_that_a_ticket_proves_counts_instead_of_the_stated_one() {
    let mut world = with_tickets();
    let mut old = RawLink::join(&mut world, "ann", 1);
    let ticket = ticket(&mut old);
    let new = RawLink::join(&mut world, "ann", 2);
    // The older engine comes back by itself and claims to be the newest.
    let mut ghost = RawLink::open(&world, "ann", 3);
    let claims = LoginWith { ticket: &ticket, login_number: 1 << 50, interactive: false, ..LoginWith::default() };
    assert_eq!(ghost.login(&mut world, claims), Err(Some(LoginCode::HadLoggedOn)));
    assert_eq!((ghost.closed(), new.closed()), (Some(CloseReason::PushedOut), None));
}

#[test]
fn a_kick_gives_the_tickets_up_and_one_of_nobody_does_not() {
    let mut world = with_tickets();
    world.join("ann");
    world.node.kick_out(world.now, "ann").expect("she is online");
    world.run();
    assert!(world.node.kick_out(world.now, "nobody").is_err());
    assert_eq!(*world.accounts.kicked.lock().expect("a list"), ["ann"]);
}

// Login numbers.

#[test]
fn login_numbers_go_on_above_the_last_life_of_the_server_when_its_clock_steps_back() {
    let mut world = World::new();
    let start = 1_700_000_000_000;
    world.set_wall(start);
    world.node.reserve_login_numbers(0, start + 60_000);
    let old = world.join("ann");
    let first = login_number(&world.engine(old).events);
    assert_eq!(first, start);
    world.away(old);
    world.restart_server();
    world.set_wall(start - 3_600_000);
    world.node.reserve_login_numbers(start + 60_000, start + 120_000);
    let new = world.join("ann");
    assert_eq!(login_number(&world.engine(new).events), start + 60_000);
    world.back(old);
    world.advance(MINUTE);
    assert_eq!(world.closed(old), Some(CloseReason::PushedOut));
    assert!(world.engine(old).events.contains(&Event::BeingPushedOut));
    assert!(world.is_online(new), "the older login replaced nobody");
}

#[test]
fn a_clock_that_runs_ahead_is_not_followed_beyond_what_is_reserved() {
    let mut world = World::new();
    world.set_wall(5_000);
    world.node.reserve_login_numbers(1_000, 1_004);
    let drawn: Vec<u64> = ["ann", "ben", "cleo", "dora"]
        .map(|user| {
            let who = world.join(user);
            login_number(&world.engine(who).events)
        })
        .into();
    // Nobody is turned away because the store is late.
    assert_eq!(drawn, [1_001, 1_002, 1_003, 1_004]);
}

#[test]
fn a_clock_that_runs_ahead_leaves_room_for_logins_below_what_is_reserved() {
    let mut world = World::new();
    let start = 1_700_000_000_000;
    world.set_wall(start + 86_400_000);
    world.node.reserve_login_numbers(0, start + 600_000);
    let (first, old) = (world.join("ann"), world.join("ben"));
    assert_eq!(login_number(&world.engine(first).events), start + 569_999);
    assert_eq!(login_number(&world.engine(old).events), start + 570_000);
    world.away(old);
    world.restart_server();
    world.set_wall(start);
    world.node.reserve_login_numbers(start + 600_000, start + 1_200_000);
    let new = world.join("ben");
    assert!(login_number(&world.engine(new).events) > login_number(&world.engine(old).events));
    world.back(old);
    world.advance(MINUTE);
    assert_eq!(world.closed(old), Some(CloseReason::PushedOut));
    assert!(world.is_online(new), "the older login replaced nobody");
}

// Credentials that are given up.

#[test]
fn a_credential_that_is_given_up_ends_what_it_opened_and_nothing_else() {
    let mut world = with_tickets();
    let (old, ben) = (world.join("ann"), world.join("ben"));
    world.accounts.version.store(5, Relaxed);
    let new = world.join_on("ann", esf_proto::ids::DeviceKind(20));
    world.node.revoke(world.now, &name("ann"), 5);
    world.run();
    assert_eq!(world.closed(old), Some(CloseReason::LoginFailed));
    world.advance(MINUTE);
    assert_eq!(world.session(old).stats().connects, 1, "it does not come back by itself");
    assert!(world.is_online(new) && world.is_online(ben));
}

#[test]
fn a_session_that_waits_for_its_client_ends_too_and_cannot_be_resumed() {
    let mut world = with_tickets();
    let ann = world.join("ann");
    world.away(ann);
    world.accounts.version.store(5, Relaxed);
    world.accounts.locked.store(true, Relaxed);
    world.node.revoke(world.now, &name("ann"), 5);
    world.run();
    assert!(!world.node.is_online("ann"));
    world.back(ann);
    world.advance(MINUTE);
    assert_eq!(world.closed(ann), Some(CloseReason::LoginFailed));
}

#[test]
fn a_session_that_was_resumed_with_the_new_credential_stays() {
    let mut world = with_tickets();
    let ann = world.join("ann");
    world.accounts.version.store(5, Relaxed);
    world.cut(ann);
    world.until_online(ann);
    world.node.revoke(world.now, &name("ann"), 5);
    world.run();
    assert!(world.is_online(ann));
}

#[test]
fn a_login_that_was_judged_before_its_credential_was_given_up_takes_nobodys_place() {
    let mut world = with_tickets();
    world.accounts.version.store(5, Relaxed);
    let new = world.join("ann");
    world.accounts.version.store(4, Relaxed);
    world.authenticates = false;
    let late = world.start(client_config("ann"));
    while !world.is_logging_in(late) {
        world.advance(Duration::from_millis(10));
    }
    world.node.revoke(world.now, &name("ann"), 5);
    world.authenticates = true;
    world.run();
    assert_eq!(world.closed(late), Some(CloseReason::LoginFailed));
    assert!(matches!(world.session(late).state(), State::Closed(_)));
    assert!(world.is_online(new));
    // What was noted for logins under way is forgotten when none can be any more.
    world.advance(MINUTE);
    world.node.revoke(world.now, &name("ben"), 5);
    world.accounts.version.store(0, Relaxed);
    let mut link = RawLink::open(&world, "ann", 77);
    assert!(link.login(&mut world, LoginWith::default()).is_ok());
    assert!(link.conn.poll_timeout().is_some());
}
