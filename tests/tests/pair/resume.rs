//! A client that is away for a while, one that is away for too long, and a server that goes.

use std::time::Duration;

use esf_proto::{
    client::{Config as ClientConfig, Event, State},
    close::CloseReason,
    failure::Failure,
    ids::MessageId,
    login::{LoginCode, Mode},
};
use esf_tests::{
    raw::RawLink,
    wire_between::Down,
    world::{Answering, Outcome, Who, World, client_config, user},
};

const WINDOW: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(290);
const MILLISECOND: Duration = Duration::from_millis(1);

fn certain(world: &mut World, from: Who, text: &str) -> MessageId {
    world.send_certainly_to(from, &user("ben"), text, LONG)
}

fn failed(failure: Failure) -> Option<Outcome> {
    Some(Outcome::Failed(failure))
}

fn relogons(world: &mut World, who: Who) -> Vec<Option<Mode>> {
    let mode = |event: &Event| match event {
        Event::RelogonCompleted { code: LoginCode::Succeed, mode } => Some(*mode),
        _ => None,
    };
    world.engine(who).events.iter().filter_map(mode).collect()
}

// Within the window.

#[test]
fn what_is_sent_to_a_sleeping_user_arrives_in_order_when_he_is_back() {
    let mut world = World::new();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    let own = world.query_to(ben, &user("anna"), "asked before", LONG);
    world.away(ben);
    let mut ids = Vec::new();
    for number in 0..100 {
        world.send(anna, "ben", &format!("{number} plain"));
        ids.push(certain(&mut world, anna, &format!("{number} certain")));
    }
    let asked = world.query_to(anna, &user("ben"), "are you there?", LONG);
    world.advance(Duration::from_secs(50));
    assert!(ids.iter().all(|id| world.outcome(anna, *id).is_none()));
    world.back(ben);
    world.until_online(ben);
    world.advance(Duration::from_secs(1));
    let sent: Vec<String> =
        (0..100).flat_map(|number| [format!("{number} plain"), format!("{number} certain")]).collect();
    assert_eq!(world.texts(ben), sent);
    assert!(ids.iter().all(|id| world.outcome(anna, *id) == Some(Outcome::Acked)));
    assert_eq!(world.outcome(anna, asked), Some(Outcome::Replied("are you there?".into())));
    assert_eq!(world.outcome(ben, own), Some(Outcome::Replied("asked before".into())));
    assert_eq!(relogons(&mut world, ben), [Some(Mode::Resumed)]);
}

#[test]
fn the_events_of_a_cut_come_in_their_order() {
    let mut world = World::new();
    let anna = world.join("anna");
    world.cut(anna);
    world.until_online(anna);
    let expected = [
        Event::ConnectionInterrupted { reason: CloseReason::NetworkInterrupted },
        Event::ConnectionRebuildStart,
        Event::RelogonCompleted { code: LoginCode::Succeed, mode: Some(Mode::Resumed) },
    ];
    assert_eq!(world.engine(anna).events[1..], expected);
}

#[test]
fn a_close_that_says_nothing_special_leaves_the_session_there() {
    for code in [None, Some(1000), Some(1001), Some(1006), Some(4000), Some(4999)] {
        let mut world = World::new();
        let anna = world.join("anna");
        world.link(anna).down.push_back(Down::Close(code));
        world.run();
        world.until_online(anna);
        assert_eq!(relogons(&mut world, anna), [Some(Mode::Resumed)], "{code:?}");
    }
}

#[test]
fn a_code_tells_the_reason_though_the_frame_that_said_it_is_lost() {
    let mut world = World::new();
    let anna = world.join("anna");
    world.link(anna).down.push_back(Down::Close(Some(CloseReason::Kicked.websocket_code())));
    world.run();
    assert_eq!(world.closed(anna), Some(CloseReason::Kicked));
    assert!(world.engine(anna).events.contains(&Event::BeingKickedOut));
}

#[test]
fn questions_whose_time_is_over_do_not_keep_later_ones_out() {
    let mut world = World::new();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    world.away(ben);
    let short: Vec<MessageId> =
        (0..256).map(|_| world.query_to(anna, &user("ben"), "quick!", Duration::from_secs(2))).collect();
    world.advance(Duration::from_secs(3));
    assert!(short.iter().all(|id| world.outcome(anna, *id) == failed(Failure::TimedOut)));
    let later = world.query_to(anna, &user("ben"), "take your time", LONG);
    world.run();
    assert_eq!(world.outcome(anna, later), None);
    world.back(ben);
    world.until_online(ben);
    world.run();
    assert_eq!(world.outcome(anna, later), Some(Outcome::Replied("take your time".into())));
    let asked = world.engine(ben).events.iter().filter(|event| matches!(event, Event::Query(_))).count();
    assert_eq!(asked, 1, "the others were withdrawn");
}

#[test]
fn messages_whose_time_is_over_make_room_in_a_sleeping_users_queue() {
    let mut world = World::new();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    world.away(ben);
    let body = "x".repeat(100_000);
    for _ in 0..12 {
        world.send_certainly_to(anna, &user("ben"), &body, Duration::from_secs(5));
    }
    world.advance(Duration::from_secs(2));
    let refused = world.send_certainly_to(anna, &user("ben"), &body, LONG);
    world.advance(Duration::from_secs(1));
    assert_eq!(world.outcome(anna, refused), failed(Failure::Busy));
    world.advance(Duration::from_secs(3));
    let taken = world.send_certainly_to(anna, &user("ben"), &body, LONG);
    world.back(ben);
    world.until_online(ben);
    world.advance(Duration::from_secs(1));
    assert_eq!(world.outcome(anna, taken), Some(Outcome::Acked));
    assert_eq!(world.texts(ben).len(), 1);
}

// The window's end.

#[test]
fn the_window_is_as_long_as_it_says() {
    for (away, expected) in [(WINDOW - MILLISECOND, Mode::Resumed), (WINDOW, Mode::Fresh)] {
        let mut world = World::new();
        let mut anna = RawLink::open(&world, "anna", 7);
        let welcome = anna.login(&mut world, Default::default()).expect("a welcome");
        anna.drop_link(&mut world);
        world.advance(away);
        let again = esf_tests::raw::LoginWith {
            attempt: 2,
            interactive: false,
            login_number: welcome.login_number,
            resume: Some((welcome.secret, 0)),
            ..Default::default()
        };
        let mut anna = RawLink::open(&world, "anna", 7);
        assert_eq!(anna.login(&mut world, again).expect("a welcome").mode, expected, "{away:?}");
    }
}

#[test]
fn at_the_windows_end_each_held_message_has_the_outcome_of_how_far_it_came() {
    let mut world = World::new();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    let arrived = certain(&mut world, anna, "arrived");
    world.advance(Duration::from_secs(1));
    world.link(ben).hold_down = true;
    let under_way = certain(&mut world, anna, "under way");
    let asked = world.query_to(anna, &user("ben"), "under way", LONG);
    world.run();
    world.away(ben);
    let held = certain(&mut world, anna, "held");
    let asked_later = world.query_to(anna, &user("ben"), "held", LONG);
    let expires = world.send_certainly_to(anna, &user("ben"), "short", Duration::from_secs(20));
    world.advance(WINDOW - MILLISECOND);
    assert_eq!(world.outcome(anna, arrived), Some(Outcome::Acked));
    assert_eq!(world.outcome(anna, expires), failed(Failure::TimedOut));
    let waiting = [under_way, asked, held, asked_later];
    assert_eq!(waiting.map(|id| world.outcome(anna, id)), [None, None, None, None]);
    world.advance(MILLISECOND);
    let outcomes = waiting.map(|id| world.outcome(anna, id));
    let (lost, offline) = (failed(Failure::ConnectionLost), failed(Failure::Offline));
    assert_eq!(outcomes, [lost.clone(), lost, offline.clone(), offline]);
    world.back(ben);
    world.until_online(ben);
    world.run();
    assert_eq!(world.texts(ben), ["arrived"]);
    assert_eq!(relogons(&mut world, ben), [Some(Mode::Fresh)]);
}

#[test]
fn nothing_is_held_for_a_session_that_ended() {
    let mut world = World::new();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    world.away(ben);
    for number in 0..50 {
        world.send(anna, "ben", &format!("{number}"));
        certain(&mut world, anna, "held");
        world.query_to(anna, &user("ben"), "?", LONG);
    }
    world.advance(Duration::from_secs(1));
    assert!(world.node.held_bytes() > 1_000);
    world.advance(WINDOW);
    assert_eq!(world.node.held_bytes(), 0);
    assert_eq!((world.session(anna).open_operations(), world.session(anna).queued_bytes()), (0, 0));
}

#[test]
fn a_client_that_may_not_reconnect_ends_with_its_link() {
    let mut world = World::new();
    let ben = world.join("ben");
    let anna = world.join_with(ClientConfig { reconnect: false, ..client_config("anna") });
    world.link(anna).hold_up = true;
    let handed = certain(&mut world, anna, "under way");
    world.run();
    world.cut(anna);
    world.run();
    assert_eq!(world.closed(anna), Some(CloseReason::NetworkInterrupted));
    assert_eq!(world.outcome(anna, handed), failed(Failure::ConnectionLost));
    assert!(world.texts(ben).is_empty());
}

#[test]
fn a_log_off_ends_everything_with_its_outcome_before_the_last_event() {
    let mut world = World::new();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    world.engine(ben).answering = Answering::Never;
    let asked = world.query_to(anna, &user("ben"), "?", LONG);
    world.run();
    let queued = certain(&mut world, anna, "queued");
    let now = world.now;
    world.session(anna).log_off(now);
    world.run();
    assert_eq!(world.outcome(anna, asked), failed(Failure::ConnectionLost));
    assert_eq!(world.outcome(anna, queued), failed(Failure::Offline));
    assert_eq!(world.engine(anna).events.last(), Some(&Event::Closed { reason: CloseReason::LoggedOff }));
    assert!(!world.node.is_online("anna"));
    world.reply(ben, Ok("too late"));
    world.run();
    assert!(world.is_online(ben));
}

// A server that goes.

#[test]
fn a_client_that_is_asked_to_go_stays_away_as_long_as_it_was_told() {
    let mut world = World::new();
    let anna = world.join("anna");
    let told = Duration::from_secs(20);
    world.node.drain(told);
    world.run();
    assert!(world.engine(anna).events.contains(&Event::GoAway { retry_after: told }));
    let interrupted = Event::ConnectionInterrupted { reason: CloseReason::GoingAway };
    assert!(world.engine(anna).events.contains(&interrupted));
    assert_eq!(world.node.links(), 0, "it closed its link itself");
    world.restart_server();
    world.advance(told - MILLISECOND);
    assert_eq!(world.counter("links"), 0);
    world.advance(Duration::from_secs(5) + MILLISECOND);
    assert!(world.is_online(anna));
}

#[test]
fn a_server_that_goes_sends_newcomers_away_with_a_time() {
    let mut world = World::new();
    let told = Duration::from_secs(20);
    world.node.drain(told);
    let anna = world.join("anna");
    assert!(world.engine(anna).events.contains(&Event::GoAway { retry_after: told }));
    let State::Waiting { until } = world.session(anna).state() else { panic!("it waits") };
    assert!(until >= world.now + told);
    let mut raw = RawLink::open(&world, "ben", 7);
    assert_eq!(raw.login(&mut world, Default::default()), Err(None));
    assert_eq!(raw.closed(), Some(CloseReason::GoingAway));
}

#[test]
fn who_does_not_go_is_closed_in_the_end_and_keeps_what_it_has() {
    let mut world = World::new();
    let (anna, mut stays) = (world.join("anna"), RawLink::join(&mut world, "ben", 7));
    let sent = certain(&mut world, anna, "last call");
    world.run();
    world.node.drain(Duration::from_secs(1));
    world.run();
    stays.pump(&mut world);
    assert!(stays.is_open(), "it may still finish");
    world.node.close();
    stays.pump(&mut world);
    assert_eq!(stays.closed(), Some(CloseReason::GoingAway));
    assert_eq!(stays.take_texts(), ["last call"]);
    assert_eq!(world.outcome(anna, sent), None, "it was asked to go before an ack came");
}
