//! Signs of life, and what their absence does on either side.

use std::time::Duration;

use esf_driver::endpoint::Endpoint;
use esf_proto::{
    client::{Config as ClientConfig, Event},
    close::CloseReason,
    server::{Config, LinkState},
    wire::{Frame, Kind, RawFrame},
};
use esf_tests::{
    raw::{LoginWith, RawLink},
    world::{Outcome, World, client_config},
};

const SECOND: Duration = Duration::from_secs(1);
const SILENCE: CloseReason = CloseReason::HeartbeatTimeout;

fn logged_in(world: &mut World, heartbeat_ms: u32) -> RawLink {
    let mut link = RawLink::open(world, "mallory", 66);
    link.login(world, LoginWith { heartbeat_ms, ..LoginWith::default() }).expect("a welcome");
    link.take_received();
    link
}

/// How many seconds the link lives when it says nothing.
fn seconds_of_silence(world: &mut World, link: &mut RawLink) -> u32 {
    let before = world.now;
    while link.is_open() {
        link.pass(world, SECOND);
        assert!(world.now.since(before) < Duration::from_secs(3_600), "it lives for ever");
    }
    u32::try_from(world.now.since(before).as_secs()).expect("seconds")
}

// Heartbeats.

#[test]
fn a_heartbeat_is_answered_with_its_nonce_and_a_count_if_anything_changed() {
    let mut world = World::new();
    let mut link = logged_in(&mut world, 5_000);
    link.send(&mut world, &Frame::Heartbeat { nonce: 7 });
    assert_eq!(link.kinds(), [Some(Kind::HeartbeatAck)]);
    assert_eq!(link.take_received()[0].decode(), Ok(Frame::HeartbeatAck { nonce: 7 }));
    let hello = link.plain("nobody", "hello");
    let taken = u32::try_from(hello.len()).expect("short");
    link.push(&mut world, hello);
    link.send(&mut world, &Frame::Heartbeat { nonce: u32::MAX });
    let frames = link.take_received();
    let said: Vec<Frame<'_>> = frames.iter().map(|frame: &RawFrame| frame.decode().expect("a frame")).collect();
    assert_eq!(said, [Frame::Count { received: 1, taken }, Frame::HeartbeatAck { nonce: u32::MAX }]);
}

#[test]
fn a_client_sends_a_heartbeat_each_interval_and_stays_for_hours() {
    let mut world = World::new();
    let quick = world.join_with(ClientConfig { heartbeat: SECOND, ..client_config("quick") });
    let slow = world.join_with(ClientConfig { heartbeat: Duration::from_secs(300), ..client_config("slow") });
    let before = [quick, slow].map(|who| world.session(who).stats().frames_out);
    world.advance(Duration::from_secs(3_600));
    let sent = [quick, slow].map(|who| world.session(who).stats().frames_out);
    assert_eq!([sent[0] - before[0], sent[1] - before[1]], [3_600, 12], "heartbeats and nothing else");
    for who in [quick, slow] {
        assert!(world.is_online(who));
        assert_eq!(world.session(who).stats().connects, 1);
    }
    assert_eq!(world.closes(SILENCE), 0);
}

#[test]
fn a_client_that_hears_nothing_for_10_s_after_a_heartbeat_gives_the_link_up_and_resumes() {
    let mut world = World::new();
    let (ann, ben) = (world.join("ann"), world.join("ben"));
    world.link(ann).hold_down = true;
    world.send(ben, "ann", "into the hole");
    world.advance(Duration::from_millis(14_999));
    assert!(world.is_online(ann), "5 s to the heartbeat and 10 s after it");
    world.advance(Duration::from_millis(1));
    assert!(!world.is_online(ann));
    let interrupted = Event::ConnectionInterrupted { reason: SILENCE };
    assert_eq!(world.engine(ann).events.last(), Some(&interrupted));
    world.until_online(ann);
    world.run();
    assert_eq!(world.texts(ann), ["into the hole"], "nothing is lost");
    assert_eq!(world.session(ann).stats().silent_links, 1);
}

// The server's side.

#[test]
fn the_server_pings_after_10_s_of_silence_and_again_each_10_s() {
    let mut world = World::new();
    let mut link = logged_in(&mut world, 5_000);
    link.pass(&mut world, Duration::from_millis(9_999));
    assert_eq!(link.pings(), 0);
    link.pass(&mut world, Duration::from_millis(1));
    assert_eq!(link.pings(), 1);
    // The pong counts, as any byte does: the next ping is 10 s after it.
    link.pass(&mut world, 4 * SECOND);
    link.transport.read += 6;
    link.pass(&mut world, Duration::from_millis(9_999));
    assert_eq!(link.pings(), 1);
    link.pass(&mut world, Duration::from_millis(1));
    assert_eq!(link.pings(), 2);
    link.pass(&mut world, 10 * SECOND);
    assert_eq!(link.pings(), 3);
}

#[test]
fn the_server_gives_up_after_30_s_or_three_heartbeats_without_a_byte() {
    for (heartbeat_ms, seconds) in [(1_000, 30), (5_000, 30), (10_000, 30), (20_000, 60), (300_000, 900)] {
        let mut world = World::new();
        let mut link = logged_in(&mut world, heartbeat_ms);
        assert_eq!(seconds_of_silence(&mut world, &mut link), seconds, "a heartbeat each {heartbeat_ms} ms");
        assert_eq!((link.closed(), link.told()), (Some(SILENCE), Some(SILENCE)));
        assert_eq!(world.closes(SILENCE), 1);
        assert!(world.node.is_online("mallory"), "the resume window is open");
        world.advance(Duration::from_secs(60));
        assert!(!world.node.is_online("mallory"));
        assert_eq!(world.counter("sessions_expired"), 1);
    }
}

#[test]
fn the_servers_limit_is_a_setting_and_0_is_never() {
    let mut world = World::with(Config { liveness: Duration::from_secs(100), ..Config::default() });
    let mut link = logged_in(&mut world, 5_000);
    assert_eq!(seconds_of_silence(&mut world, &mut link), 100);
    let mut world = World::with(Config { liveness: Duration::ZERO, ..Config::default() });
    let mut link = logged_in(&mut world, 5_000);
    link.pass(&mut world, Duration::from_secs(3_600));
    assert!(link.is_open());
    assert_eq!(link.pings(), 360, "it still asks");
}

#[test]
fn any_byte_is_a_sign_of_life_whole_frame_or_not() {
    let mut world = World::new();
    let mut link = logged_in(&mut world, 5_000);
    for _ in 0..10 {
        link.pass(&mut world, 29 * SECOND);
        link.transport.read += 1;
    }
    assert!(link.is_open());
    assert_eq!(seconds_of_silence(&mut world, &mut link), 30);
}

#[test]
fn a_half_open_link_is_noticed_by_the_server_though_the_client_came_back_elsewhere() {
    let mut world = World::new();
    let (ann, ben) = (world.join("ann"), world.join("ben"));
    world.give_up(ann);
    world.until_online(ann);
    // The older link was fenced by the takeover: its silence later changes nothing.
    world.advance(Duration::from_secs(120));
    assert!(world.is_online(ann));
    assert_eq!(world.session(ann).stats().connects, 2);
    let told = world.send_certainly(ben, "ann", "hi");
    world.run();
    assert_eq!(world.outcome(ben, told), Some(Outcome::Acked));
}

// Bytes that do not move.

#[test]
fn bytes_that_do_not_move_for_30_s_close_the_link_and_any_that_do_put_it_off() {
    let mut world = World::new();
    let ben = world.join("ben");
    let mut link = logged_in(&mut world, 5_000);
    link.reads = false;
    world.send(ben, "mallory", "hello");
    world.run();
    let alive = |world: &mut World, link: &mut RawLink, seconds: u32| {
        link.pass(world, seconds * SECOND);
        link.transport.read += 1;
        link.pump(world);
        link.conn.state() == LinkState::Attached
    };
    assert!(alive(&mut world, &mut link, 29));
    link.transport.written += 1;
    assert!(alive(&mut world, &mut link, 29), "a byte moved");
    link.reads = true;
    assert!(alive(&mut world, &mut link, 29), "nothing waits any more");
    assert!(alive(&mut world, &mut link, 29), "nothing waits any more");
    link.reads = false;
    assert!(alive(&mut world, &mut link, 29));
    assert!(!alive(&mut world, &mut link, 1));
    assert_eq!(world.closes(CloseReason::ChannelOverflow), 1);
    assert!(world.node.is_online("mallory"), "it may come back");
}

// Timers.

#[test]
fn no_timer_spins_whatever_state_a_link_is_in() {
    // After a timeout was handled, the next is later than now.
    let mut world = World::new();
    let mut links = vec![
        RawLink::open(&world, "accepted", 1),
        logged_in(&mut world, 5_000),
        RawLink::join(&mut world, "deaf", 2),
        RawLink::open(&world, "authenticating", 3),
        RawLink::open(&world, "closing", 4),
    ];
    links[2].reads = false;
    world.authenticates = false;
    let login = links[3].login_frame(LoginWith::default());
    links[3].push(&mut world, login);
    links[4].push_text(&mut world);
    for _ in 0..200 {
        world.advance(SECOND);
        for link in &mut links {
            link.pump(&mut world);
            link.conn.handle_timeout(world.now);
            let next = link.conn.poll_timeout();
            assert!(next.is_none_or(|at| at > world.now), "{:?}: {next:?} at {:?}", link.conn.state(), world.now);
        }
    }
}
