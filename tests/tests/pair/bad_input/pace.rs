//! Rows 16 to 18 and 20: peers that stand still, crowds, and clocks that jump.

use std::time::Duration;

use bytes::Bytes;
use esf_proto::{
    client::State,
    close::CloseReason,
    failure::Failure,
    ids::MessageId,
    server::{Config, LinkState, Relogin},
    wire::{Address, Envelope, Frame, RawFrame},
};
use esf_tests::{
    by_hand::bytes_of,
    raw::{LoginWith, RawLink},
    world::{Answering, Outcome, Who, World, user},
};

use super::Scene;

const KIB: usize = 1024;
const OVERFLOW: CloseReason = CloseReason::ChannelOverflow;

/// The scene's mallory stops reading; what she sends still arrives.
fn with_deaf_mallory() -> Scene {
    let mut scene = Scene::new();
    scene.mallory.reads = false;
    scene
}

/// Certain messages of `size` bytes from ann to `to`, until the server says Busy.
fn fill(world: &mut World, from: Who, to: &str, size: usize) -> Vec<MessageId> {
    let mut accepted = Vec::new();
    for round in 0.. {
        assert!(round < 10_000, "there is no end to what may wait");
        let (now, body) = (world.now, Bytes::from(vec![b'.'; size]));
        let id = world.session(from).send_certainly(now, &user(to), 1, body, None).expect("room at the sender");
        // Counts that are due make room at the sender.
        world.advance(Duration::ZERO);
        if world.outcome(from, id) == Some(Outcome::Failed(Failure::Busy)) {
            break;
        }
        accepted.push(id);
    }
    accepted
}

// Row 16.

#[test]
fn a_peer_that_stops_reading_is_closed_after_30_s_and_its_senders_get_busy() {
    let mut scene = with_deaf_mallory();
    let busy = scene.world.counter("busy");
    let waiting = fill(&mut scene.world, scene.others.ann, "mallory", 8 * KIB);
    let bytes = waiting.len() * 8 * KIB;
    assert!((900 * KIB..=KIB * KIB).contains(&bytes), "one sender gets half of the budget, not {bytes}");
    assert_eq!(scene.world.counter("busy"), busy + 1);
    assert_eq!(scene.world.counter("busy_share"), busy + 1, "one source has its half");
    let still_in = |scene: &mut Scene, seconds| {
        let before = scene.world.now;
        scene.mallory.pass(&mut scene.world, Duration::from_secs(seconds));
        // Her heartbeats come: she is alive, only deaf.
        scene.mallory.send(&mut scene.world, &Frame::Heartbeat { nonce: 1 });
        assert_eq!(scene.world.now.since(before), Duration::from_secs(seconds));
        scene.mallory.conn.state()
    };
    let closed = scene.world.closes(OVERFLOW);
    assert_eq!(still_in(&mut scene, 29), LinkState::Attached);
    assert_eq!(still_in(&mut scene, 1), LinkState::Closing);
    assert_eq!(scene.world.closes(OVERFLOW), closed + 1);
    assert!(scene.world.node.is_online("mallory"), "she may come back within the resume window");
    scene.others.are_unharmed(&mut scene.world, "a peer that stops reading");
}

#[test]
fn a_peer_that_reads_a_byte_a_second_stays() {
    let mut scene = with_deaf_mallory();
    fill(&mut scene.world, scene.others.ann, "mallory", 8 * KIB);
    for _ in 0..120 {
        scene.mallory.pass(&mut scene.world, Duration::from_secs(1));
        scene.mallory.transport.written += 1;
        scene.mallory.send(&mut scene.world, &Frame::Heartbeat { nonce: 1 });
    }
    assert_eq!(scene.mallory.conn.state(), LinkState::Attached);
    assert_eq!(scene.world.closes(OVERFLOW), 0);
    scene.others.are_unharmed(&mut scene.world, "a peer that reads a byte a second");
}

#[test]
fn a_deaf_peer_makes_no_queue_of_answers() {
    // She asks and never listens: what the server has to say to her is bounded.
    let mut scene = with_deaf_mallory();
    let heartbeats = bytes_of(&Frame::Heartbeat { nonce: 1 });
    let unknown = {
        let plain = scene.mallory.plain("ben", "");
        esf_tests::by_hand::disguised(&plain, 0x7F, 0)
    };
    let many = |frame: &[u8]| Bytes::from(frame.repeat(60_000 / frame.len()));
    for _ in 0..200 {
        scene.mallory.push_only(&scene.world, many(&heartbeats));
        scene.mallory.push_only(&scene.world, many(&unknown));
    }
    assert!(scene.world.node.held_bytes() <= scene.world.node.config().session_budget());
    assert!(scene.world.counter("answers_dropped") > 0);
    scene.mallory.reads = true;
    scene.mallory.pump(&mut scene.world);
    let frames = scene.mallory.take_received();
    let acks = frames.iter().filter(|frame| matches!(frame.decode(), Ok(Frame::HeartbeatAck { .. }))).count();
    assert!((1..=64).contains(&acks), "{acks} answers to heartbeats waited");
    scene.others.are_unharmed(&mut scene.world, "a deaf peer that asks");
}

// Row 17.

#[test]
fn an_application_of_the_server_that_never_takes_makes_its_senders_busy_and_delays_nobody() {
    let mut scene = Scene::new();
    scene.world.answering = Answering::Never;
    let (busy, ann) = (scene.world.counter("busy"), scene.others.ann);
    let accepted = fill(&mut scene.world, ann, "", 4 * KIB);
    assert!((240 * KIB..=256 * KIB).contains(&(accepted.len() * 4 * KIB)), "{} messages", accepted.len());
    assert_eq!(scene.world.counter("busy"), busy + 1);
    assert_eq!(scene.world.counter("busy_application"), 1);
    assert!(accepted.iter().all(|id| scene.world.outcome(ann, *id) == Some(Outcome::Acked)));
    scene.world.advance(Duration::from_secs(60));
    scene.others.are_unharmed(&mut scene.world, "an application that never takes");
    scene.world.answering = Answering::Echo;
    scene.world.run();
    assert_eq!(scene.world.inbox.len(), accepted.len());
    scene.world.advance(Duration::from_secs(1));
    assert_eq!(scene.world.node.held_bytes(), 0);
}

#[test]
fn a_query_handler_of_the_server_that_never_returns_holds_its_places_until_their_time_is_over() {
    let mut scene = Scene::new();
    scene.world.answering = Answering::Never;
    let ask = |mallory: &RawLink, id| {
        let to_server = Envelope::new(Address::Server { instance: 0 }, Address::of_engine(&mallory.engine), id);
        bytes_of(&Frame::Query { envelope: to_server, ttl_ms: 30_000, info_type: 1, body: b"?" })
    };
    let outcomes = |mallory: &mut RawLink| {
        let outcome = |frame: &RawFrame| match frame.decode() {
            Ok(Frame::Failure { envelope, code, .. }) => Some((envelope.id, Err(code))),
            Ok(Frame::Reply { envelope, .. }) => Some((envelope.id, Ok(()))),
            _ => None,
        };
        mallory.take_received().iter().filter_map(outcome).collect::<Vec<_>>()
    };
    for id in 1..=257 {
        let query = ask(&scene.mallory, id);
        scene.send(query);
    }
    assert_eq!(outcomes(&mut scene.mallory), [(257, Err(Failure::Busy))]);
    scene.mallory.pass(&mut scene.world, Duration::from_secs(29));
    scene.mallory.send(&mut scene.world, &Frame::Heartbeat { nonce: 1 });
    assert_eq!(outcomes(&mut scene.mallory), []);
    scene.mallory.pass(&mut scene.world, Duration::from_secs(1));
    let over: Vec<_> = (1..=256).map(|id| (id, Err(Failure::TimedOut))).collect();
    assert_eq!(outcomes(&mut scene.mallory), over);
    scene.world.answering = Answering::Echo;
    let query = ask(&scene.mallory, 258);
    scene.send(query);
    assert_eq!(outcomes(&mut scene.mallory), [(258, Ok(()))]);
    scene.others.are_unharmed(&mut scene.world, "a handler that never returns");
}

#[test]
fn a_client_whose_handler_never_returns_shuts_its_window_and_stays() {
    let mut world = World::new();
    let others = esf_tests::bystanders::Bystanders::join(&mut world);
    let slow = world.join("slow");
    world.engine(slow).takes = false;
    let accepted = fill(&mut world, others.ann, "slow", 8 * KIB);
    let acked = accepted.iter().filter(|id| world.outcome(others.ann, **id) == Some(Outcome::Acked)).count();
    assert_eq!(acked, 31, "as many as fit into the window of 256 KiB");
    let waiting = (accepted.len() - acked) * 8 * KIB;
    assert!((800 * KIB..=KIB * KIB).contains(&waiting), "the others wait at the server: {waiting}");
    // A question is no message: it passes them and is answered.
    let asked = world.query(others.ben, "slow", "still there?");
    world.run();
    assert_eq!(world.outcome(others.ben, asked), Some(Outcome::Replied("still there?".into())));
    // What has waited longest is still within its time when the handler comes back.
    world.advance(Duration::from_secs(25));
    assert!(world.is_online(slow));
    assert_eq!(world.session(slow).stats().connects, 1);
    others.are_unharmed(&mut world, "a handler that never returns");
    world.engine(slow).takes = true;
    world.advance(Duration::from_secs(1));
    assert_eq!(world.texts(slow).len(), accepted.len());
    assert!(accepted.iter().all(|id| world.outcome(others.ann, *id) == Some(Outcome::Acked)));
    world.advance(Duration::from_secs(10));
    assert_eq!(world.node.held_bytes(), 0, "all memory is given back");
}

#[test]
fn events_that_the_servers_application_never_reads_are_dropped_oldest_first_and_counted() {
    let mut scene = Scene::new();
    let nobody = scene.mallory.plain("nobody", "");
    scene.mallory.push_only(&scene.world, Bytes::from(nobody.repeat(5_000)));
    assert_eq!(scene.world.node.events_lost(), 5_000 - 4_096);
    let before = scene.world.server_events.len();
    scene.world.run();
    assert_eq!(scene.world.server_events.len() - before, 4_096);
    scene.others.are_unharmed(&mut scene.world, "events that nobody reads");
}

// Row 18.

#[test]
fn a_thousand_senders_to_one_slow_receiver_share_its_budget() {
    let mut scene = with_deaf_mallory();
    let mut senders: Vec<RawLink> =
        (0..1_000).map(|n| RawLink::join(&mut scene.world, &format!("sender{n}"), n + 1_000)).collect();
    let body = vec![b'.'; 8 * KIB];
    let busy = scene.world.counter("busy");
    for (n, sender) in senders.iter_mut().enumerate() {
        let envelope = sender.envelope("mallory", 1);
        let frame = bytes_of(&Frame::Certain { envelope, ttl_ms: 30_000, info_type: 1, body: &body });
        sender.push_only(&scene.world, frame);
        let held = scene.world.node.held_bytes();
        // The budget of the slow one, and the room for an answer to each who asks.
        assert!(held <= 2 * KIB * KIB + (n + 1) * 256, "{held} bytes after {n} senders");
    }
    let mut refused = 0;
    for sender in &mut senders {
        sender.pump(&mut scene.world);
        let told = |frame: RawFrame| match frame.decode() {
            Ok(Frame::Failure { code, .. }) => Some(code),
            _ => None,
        };
        let told: Vec<Failure> = sender.take_received().into_iter().filter_map(told).collect();
        assert!(sender.is_open());
        refused += told.len();
        assert!(told.iter().all(|code| *code == Failure::Busy), "{told:?}");
    }
    let expected = 1_000 - 2 * KIB / 8;
    assert!((expected..expected + 10).contains(&refused), "{refused} were refused");
    assert_eq!(scene.world.counter("busy"), busy + refused as u64);
    scene.others.are_unharmed(&mut scene.world, "a thousand senders");
}

#[test]
fn one_loud_sender_leaves_half_of_a_slow_receiver_to_the_others() {
    let mut scene = with_deaf_mallory();
    let (ann, ben) = (scene.others.ann, scene.others.ben);
    let of_ann = fill(&mut scene.world, ann, "mallory", 8 * KIB).len() * 8 * KIB;
    let of_ben = fill(&mut scene.world, ben, "mallory", 8 * KIB).len() * 8 * KIB;
    for (whose, bytes) in [("ann", of_ann), ("ben", of_ben)] {
        assert!((900 * KIB..=KIB * KIB).contains(&bytes), "{whose} got {bytes}");
    }
    scene.others.are_unharmed(&mut scene.world, "two loud senders");
}

// Row 20.

const MINUTES: Duration = Duration::from_secs(300);

#[test]
fn a_jump_of_minutes_closes_nobody() {
    let mut scene = Scene::new();
    let late = scene.world.counter("timers_late");
    for _ in 0..3 {
        scene.world.jump(MINUTES);
        scene.mallory.fire(&mut scene.world);
        assert!(scene.mallory.is_open());
        scene.world.advance(Duration::from_secs(7));
        scene.mallory.send(&mut scene.world, &Frame::Heartbeat { nonce: 1 });
    }
    assert!(scene.world.counter("timers_late") >= late + 9, "three links, three jumps");
    scene.others.are_unharmed(&mut scene.world, "a clock that jumps");
}

#[test]
fn a_peer_that_stays_silent_after_a_jump_is_given_up_after_a_whole_wait_more() {
    let mut scene = Scene::new();
    scene.world.jump(MINUTES);
    scene.mallory.fire(&mut scene.world);
    scene.mallory.pass(&mut scene.world, Duration::from_millis(29_999));
    assert!(scene.mallory.is_open());
    scene.mallory.pass(&mut scene.world, Duration::from_millis(1));
    assert_eq!(scene.mallory.closed(), Some(CloseReason::HeartbeatTimeout));
    scene.others.are_unharmed(&mut scene.world, "a jump and a silent peer");
}

#[test]
fn a_client_that_awaits_a_heartbeat_when_it_falls_asleep_waits_anew() {
    let mut scene = Scene::new();
    let ann = scene.others.ann;
    scene.world.link(ann).hold_down = true;
    // Its heartbeat is out, the answer is under way.
    scene.world.advance(Duration::from_secs(6));
    scene.world.jump(MINUTES);
    assert!(scene.world.is_online(ann));
    scene.world.link(ann).hold_down = false;
    scene.world.run();
    assert_eq!(scene.world.session(ann).stats().silent_links, 0);
    scene.others.are_unharmed(&mut scene.world, "a client that slept");
}

#[test]
fn a_login_under_way_when_the_clock_jumps_is_not_closed_for_it() {
    for sent in [false, true] {
        let mut scene = Scene::before_login();
        scene.world.authenticates = false;
        let login = scene.mallory.login_frame(LoginWith::default());
        if sent {
            scene.send(login.clone());
        }
        let late = scene.world.counter("timers_late");
        scene.world.jump(MINUTES);
        scene.mallory.fire(&mut scene.world);
        assert!(scene.mallory.is_open(), "the wait for a login starts anew");
        assert_eq!(scene.world.counter("timers_late"), late + 3, "two bystanders and this one");
        scene.mallory.pass(&mut scene.world, Duration::from_millis(14_999));
        assert!(scene.mallory.is_open());
        scene.mallory.pass(&mut scene.world, Duration::from_millis(1));
        assert_eq!(scene.mallory.closed(), Some(CloseReason::LoginTimeout));
        scene.others.are_unharmed(&mut scene.world, "a jump during a login");
    }
}

#[test]
fn a_client_whose_clock_jumps_during_its_login_goes_on_with_it() {
    let mut scene = Scene::new();
    scene.world.authenticates = false;
    let zoe = scene.world.join("zoe");
    assert_eq!(scene.world.session(zoe).state(), State::LoggingIn);
    scene.world.jump(MINUTES);
    assert_eq!(scene.world.session(zoe).state(), State::LoggingIn);
    assert_eq!(scene.world.session(zoe).stats().connects, 1);
    assert_eq!(scene.world.closes(CloseReason::LoginTimeout), 0);
    scene.world.advance(Duration::from_secs(15));
    assert_eq!(scene.world.closes(CloseReason::LoginTimeout), 1);
    scene.others.are_unharmed(&mut scene.world, "a jump during a client's login");
}

#[test]
fn bytes_that_stand_still_over_a_jump_are_given_a_whole_wait_more() {
    let mut scene = with_deaf_mallory();
    fill(&mut scene.world, scene.others.ann, "mallory", 64 * KIB);
    scene.mallory.pass(&mut scene.world, Duration::from_secs(1));
    scene.world.jump(MINUTES);
    scene.mallory.fire(&mut scene.world);
    assert_eq!(scene.mallory.conn.state(), LinkState::Attached);
    scene.mallory.pass(&mut scene.world, Duration::from_secs(29));
    assert_eq!(scene.mallory.conn.state(), LinkState::Attached);
    scene.mallory.pass(&mut scene.world, Duration::from_secs(1));
    assert_eq!(scene.mallory.conn.state(), LinkState::Closing);
    scene.others.are_unharmed(&mut scene.world, "a jump while bytes stand still");
}

#[test]
fn a_jump_while_an_older_login_is_probed_gives_it_its_time_again() {
    let mut scene = Scene::with(Config { relogin: Relogin::IgnoreNew, ..Config::default() });
    let mut second = RawLink::open(&scene.world, "mallory", 67);
    let login = second.login_frame(LoginWith::default());
    second.push(&mut scene.world, login);
    scene.mallory.pump(&mut scene.world);
    assert_eq!(scene.mallory.pings(), 1);
    scene.world.jump(MINUTES);
    second.fire(&mut scene.world);
    assert_eq!(second.login_answer(), Err(None), "nobody is replaced for a clock that jumped");
    // The pong comes.
    scene.mallory.transport.read += 6;
    scene.mallory.fire(&mut scene.world);
    second.pass(&mut scene.world, Duration::from_secs(2));
    assert_eq!(second.closed(), Some(CloseReason::NewConnectionIgnored));
    assert!(scene.mallory.is_open());
    scene.others.are_unharmed(&mut scene.world, "a jump during a probe");
}
