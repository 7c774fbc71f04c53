//! Who gets the place of a user and device, and that nobody is pushed out by its own ghost. The traces are the
//! counter-examples of the delivery model's `push`.

use std::time::Duration;

use esf_proto::{
    client::{Config, Event},
    close::CloseReason,
    failure::Failure,
    ids::DeviceKind,
    login::{LoginCode, Mode},
    server::{Config as ServerConfig, Relogin},
};
use esf_tests::world::{Outcome, Who, World, client_config, user};

const MINUTE: Duration = Duration::from_secs(60);

/// Logs a client in, but the server's answer is lost; the client does not try again until it is `back`.
fn join_without_an_answer(world: &mut World, name: &str) -> Who {
    let who = world.start(client_config(name));
    lose_the_answer(world, who);
    who
}

/// The client's next login succeeds at the server, and the answer is lost.
fn lose_the_answer(world: &mut World, who: Who) {
    world.authenticates = false;
    world.back(who);
    while !world.is_logging_in(who) {
        world.advance(Duration::from_millis(10));
    }
    world.link(who).hold_down = true;
    world.authenticates = true;
    world.run();
    world.away(who);
}

fn pushed_out(world: &mut World, who: Who) -> bool {
    world.engine(who).events.contains(&Event::BeingPushedOut)
}

#[test]
fn the_newer_login_takes_the_place_and_the_older_does_not_come_back() {
    let mut world = World::new();
    let (old, ben) = (world.join("anna"), world.join("ben"));
    let new = world.join("anna");
    let told = &world.engine(old).events;
    assert_eq!(told[told.len() - 2..], [Event::BeingPushedOut, Event::Closed { reason: CloseReason::PushedOut }]);
    world.advance(10 * MINUTE);
    assert!(world.is_online(new));
    world.send(ben, "anna", "hello");
    world.run();
    assert_eq!((world.texts(old).len(), world.texts(new)), (0, vec!["hello".to_owned()]));
    assert_eq!(world.counter("closed_pushed_out"), 1);
}

#[test]
fn a_login_whose_answer_was_lost_is_made_again_and_pushes_nobody_out() {
    // User(0); Login(0, false); Login(0, true): refused as an older login, because it was automatic or another engine.
    let mut world = World::new();
    let anna = join_without_an_answer(&mut world, "anna");
    assert!(world.node.is_online("anna"));
    world.back(anna);
    world.until_online(anna);
    assert!(!pushed_out(&mut world, anna));
    assert_eq!(world.counter("closed_pushed_out"), 0);
    assert!(world.engine(anna).events.iter().any(|event| matches!(event, Event::LoginCompleted { .. })));
}

#[test]
fn the_same_engine_with_a_secret_that_nobody_knows_is_still_the_same_engine() {
    // User(0); Login(0, true); Crash; Login(0, false); Login(0, true): its own session, with another secret, is there.
    let mut world = World::new();
    let anna = world.join("anna");
    world.engine(anna).network = false;
    world.restart_server();
    lose_the_answer(&mut world, anna);
    assert!(world.node.is_online("anna"));
    world.back(anna);
    world.until_online(anna);
    assert!(!pushed_out(&mut world, anna));
    let last = world.engine(anna).events.last().cloned();
    assert_eq!(last, Some(Event::RelogonCompleted { code: LoginCode::Succeed, mode: Some(Mode::Fresh) }));
}

#[test]
fn after_a_restart_of_the_server_the_login_that_was_chosen_last_wins_whoever_comes_first() {
    // User(0); Login(0, true); Cut(0); User(1); Expire; Login(1, true); Crash; Login(0, true); Login(1, true).
    for older_first in [true, false] {
        let mut world = World::new();
        let older = world.join("anna");
        world.away(older);
        world.advance(2 * MINUTE);
        let newer = world.join("anna");
        world.engine(newer).network = false;
        world.restart_server();
        for who in if older_first { [older, newer] } else { [newer, older] } {
            world.back(who);
            world.advance(MINUTE);
        }
        assert!(world.is_online(newer), "older first: {older_first}");
        assert!(pushed_out(&mut world, older), "older first: {older_first}");
        assert_eq!(world.closed(older), Some(CloseReason::PushedOut));
    }
}

#[test]
fn a_wall_clock_that_steps_back_does_not_make_a_newer_login_older() {
    let mut world = World::new();
    let older = world.join("anna");
    world.away(older);
    world.advance(2 * MINUTE);
    world.set_wall(1);
    let newer = world.join("anna");
    world.back(older);
    world.advance(MINUTE);
    assert!(world.is_online(newer));
    assert_eq!(world.closed(older), Some(CloseReason::PushedOut));
}

#[test]
fn a_login_that_was_pushed_out_is_told_so_when_it_tries_again() {
    // User(0); Login(0, false); User(1); Login(1, false); Login(0, true); Login(1, true): each pushes the other out.
    let mut world = World::new();
    let older = join_without_an_answer(&mut world, "anna");
    let newer = join_without_an_answer(&mut world, "anna");
    world.back(older);
    world.advance(Duration::from_secs(10));
    let refusal = Event::LoginRefused {
        code: LoginCode::HadLoggedOn,
        cause: "a newer login took the place".to_owned(),
        reason: CloseReason::PushedOut,
    };
    assert!(world.engine(older).events.contains(&refusal));
    assert_eq!(world.closed(older), Some(CloseReason::PushedOut));
    world.back(newer);
    world.until_online(newer);
    assert_eq!(world.counter("closed_pushed_out"), 1, "only the answer to the older one's second attempt");
}

#[test]
fn two_tabs_do_not_push_each_other_out_for_ever() {
    let mut world = World::new();
    let (first, second) = (world.join("anna"), world.start(client_config("anna")));
    world.engine(second).network = false;
    for round in 0..30 {
        match round % 5 {
            0 => world.cut(first),
            1 => world.give_up(second),
            2 => world.restart_server(),
            3 => world.server_gives_up(first),
            _ => world.cut(second),
        }
        world.back(second);
        world.advance(Duration::from_secs(30));
    }
    assert!(world.is_online(second), "the one that was chosen last");
    assert_eq!(world.closed(first), Some(CloseReason::PushedOut));
    let pushes = world.engine(first).events.iter().filter(|event| **event == Event::BeingPushedOut).count();
    assert_eq!((pushes, pushed_out(&mut world, second)), (1, false));
}

// IgnoreNew.

fn keeps_older() -> World {
    World::with(ServerConfig { relogin: Relogin::IgnoreNew, ..ServerConfig::default() })
}

#[test]
fn an_older_login_that_shows_life_stays() {
    let mut world = keeps_older();
    let old = world.join("anna");
    let new = world.join("anna");
    world.advance(Duration::from_secs(2));
    assert_eq!(world.closed(new), Some(CloseReason::NewConnectionIgnored));
    assert!(matches!(world.engine(new).events[0], Event::LoginRefused { code: LoginCode::HadLoggedOn, .. }));
    world.advance(MINUTE);
    assert!(world.is_online(old));
}

#[test]
fn an_older_login_that_shows_no_life_for_two_seconds_is_replaced() {
    let mut world = keeps_older();
    let old = world.join("anna");
    world.die(old);
    let new = world.join("anna");
    world.advance(Duration::from_millis(1_900));
    assert!(!world.is_online(new), "the older one still has time to answer");
    world.advance(Duration::from_millis(100));
    assert!(world.is_online(new));
    assert_eq!(world.counter("closed_new_connection_ignored"), 0);
}

#[test]
fn an_older_login_without_a_link_is_replaced_at_once() {
    let mut world = keeps_older();
    let old = world.join("anna");
    world.away(old);
    let new = world.join("anna");
    assert!(world.is_online(new));
    world.back(old);
    world.advance(MINUTE);
    assert_eq!(world.closed(old), Some(CloseReason::PushedOut));
}

#[test]
fn an_answer_to_an_earlier_probe_says_nothing_about_now() {
    let mut world = keeps_older();
    let old = world.join("anna");
    // Somebody asks and is gone before the answer is looked at.
    let asker = world.start(client_config("anna"));
    world.run();
    world.away(asker);
    world.advance(Duration::from_secs(5));
    world.die(old);
    let new = world.join("anna");
    world.advance(Duration::from_secs(2));
    assert!(world.is_online(new), "{:?}", world.engine(new).events);
}

#[test]
fn two_that_ask_at_the_same_time_hear_the_same_answer() {
    let mut world = keeps_older();
    let old = world.join("anna");
    let askers = [world.start(client_config("anna")), world.start(client_config("anna"))];
    world.advance(Duration::from_secs(5));
    assert!(world.is_online(old));
    assert_eq!(askers.map(|asker| world.closed(asker)), [Some(CloseReason::NewConnectionIgnored); 2]);
}

#[test]
fn of_two_that_wait_for_the_same_dead_login_the_first_to_get_the_place_keeps_it() {
    let mut world = keeps_older();
    let old = world.join("anna");
    world.die(old);
    let askers = [world.start(client_config("anna")), world.start(client_config("anna"))];
    world.advance(Duration::from_secs(10));
    let online = askers.iter().filter(|asker| world.is_online(**asker)).count();
    let refused =
        askers.iter().filter(|asker| world.closed(**asker) == Some(CloseReason::NewConnectionIgnored)).count();
    assert_eq!((online, refused), (1, 1));
}

#[test]
fn an_older_login_that_resumes_while_it_is_asked_shows_life() {
    let mut world = keeps_older();
    let old = world.join("anna");
    // Half open: the client has a newer link soon, the ping on the old one is lost.
    world.link(old).hold_down = true;
    let new = world.join("anna");
    world.give_up(old);
    world.advance(Duration::from_secs(3));
    assert!(world.is_online(old));
    assert_eq!(world.closed(new), Some(CloseReason::NewConnectionIgnored));
}

// Device kinds.

#[test]
fn devices_that_exclude_each_other_push_each_other_out_and_others_stay() {
    let exclusive = vec![vec![DeviceKind::PHONE, DeviceKind::TABLET]];
    let mut world = World::with(ServerConfig { exclusive, ..ServerConfig::default() });
    let desktop = world.join_on("anna", DeviceKind::DESKTOP);
    let phone = world.join_on("anna", DeviceKind::PHONE);
    let tablet = world.join_on("anna", DeviceKind::TABLET);
    assert_eq!(world.closed(phone), Some(CloseReason::PushedOut));
    assert!(world.is_online(desktop) && world.is_online(tablet));
    // Ben's devices are nobody's but his.
    let ben = world.join_on("ben", DeviceKind::PHONE);
    assert!(world.is_online(ben) && world.is_online(tablet));
}

#[test]
fn where_older_logins_stay_each_device_that_excludes_the_new_one_is_asked() {
    let exclusive = vec![vec![DeviceKind::PHONE, DeviceKind::BROWSER], vec![DeviceKind::TABLET, DeviceKind::BROWSER]];
    let config = ServerConfig { exclusive, relogin: Relogin::IgnoreNew, ..ServerConfig::default() };
    let mut world = World::with(config);
    let phone = world.join_on("anna", DeviceKind::PHONE);
    let tablet = world.join_on("anna", DeviceKind::TABLET);
    world.die(phone);
    let browser = world.join_on("anna", DeviceKind::BROWSER);
    world.advance(Duration::from_secs(5));
    assert_eq!(world.closed(browser), Some(CloseReason::NewConnectionIgnored), "the tablet lives");
    assert!(world.is_online(tablet));
}

// Logins that take no messages.

fn command(name: &str) -> Config {
    Config { takes_messages: false, ..client_config(name) }
}

#[test]
fn a_command_pushes_nobody_out_and_is_not_pushed_out() {
    let mut world = World::new();
    let anna = world.join("anna");
    let commands = [world.join_with(command("anna")), world.join_with(command("anna"))];
    assert!(world.is_online(anna) && commands.iter().all(|command| world.is_online(*command)));
    let newer = world.join("anna");
    assert!(pushed_out(&mut world, anna));
    assert!(world.is_online(newer) && commands.iter().all(|command| world.is_online(*command)));
}

#[test]
fn a_command_is_nobodys_target_and_yet_is_answered() {
    let mut world = World::new();
    let (ben, cli) = (world.join("ben"), world.join_with(command("anna")));
    assert!(!world.node.is_online("anna"));
    let refused = world.send_certainly(ben, "anna", "anybody there?");
    let asked = world.query(cli, "ben", "who are you?");
    let sent = world.send_certainly(cli, "ben", "hello");
    world.run();
    assert_eq!(world.outcome(ben, refused), Some(Outcome::Failed(Failure::Offline)));
    assert_eq!(world.outcome(cli, asked), Some(Outcome::Replied("who are you?".into())));
    assert_eq!(world.outcome(cli, sent), Some(Outcome::Acked));
    assert!(world.texts(cli).is_empty());
}

#[test]
fn a_command_resumes_like_any_other_engine() {
    let mut world = World::new();
    let (ben, cli) = (world.join("ben"), world.join_with(command("anna")));
    world.link(cli).hold_down = true;
    let id = world.send_certainly_to(cli, &user("ben"), "once", Duration::from_secs(60));
    world.run();
    world.cut(cli);
    world.until_online(cli);
    world.run();
    assert_eq!(world.outcome(cli, id), Some(Outcome::Acked));
    assert_eq!(world.texts(ben), ["once"]);
    assert_eq!(world.counter("resumes"), 1);
}
