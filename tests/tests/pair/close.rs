//! Every close reason: who says it, as a frame and as a WebSocket code, and whether the client comes back.
//!
//! Two have nobody yet who says them: 17, rate limited, is kept for limits on addresses, and 19, internal error, for
//! faults of a server that it notices. That a client heeds them is tested with a server by hand.

use std::time::Duration;

use bytes::Bytes;
use esf_proto::{
    client::{Config as ClientConfig, Credential, Event},
    close::CloseReason,
    ids::DeviceKind,
    login::CredentialKind,
    server::{Config, Relogin},
    wire::{Flags, Frame, Kind},
};
use esf_tests::{
    by_hand::{bytes_of, frame_of},
    raw::{LoginWith, RawLink},
    wire_between::{Down, Up},
    world::{Who, World, client_config},
};

const SECONDS: Duration = Duration::from_secs(1);

/// What brings a reason about: a world, and the client that is told.
type Scene = fn() -> (World, Who);

/// The reasons that a server can tell a client of this project, and how it comes to it.
const SCENES: &[(CloseReason, Scene)] = &[
    (CloseReason::InvalidMessage, || misbehaves(Bytes::new())),
    (CloseReason::WrongUserId, || {
        let mut elsewhere = World::new();
        let other = RawLink::join(&mut elsewhere, "somebody-else", 1);
        misbehaves(other.plain("ben", "as somebody else"))
    }),
    (CloseReason::PushedOut, || {
        let (mut world, ann) = with_ann(Config::default());
        world.join("ann");
        (world, ann)
    }),
    (CloseReason::NewConnectionIgnored, || {
        let (mut world, _first) = with_ann(Config { relogin: Relogin::IgnoreNew, ..Config::default() });
        let second = world.join("ann");
        world.advance(3 * SECONDS);
        (world, second)
    }),
    (CloseReason::ChannelOverflow, || {
        let mut world = World::new();
        // Its heartbeats are rare, so that it does not miss their answers before the server gives up.
        let rare = ClientConfig { heartbeat: 300 * SECONDS, ..client_config("ann") };
        let (ann, ben) = (world.join_with(rare), world.join("ben"));
        world.link(ann).hold_down = true;
        for _ in 0..4 {
            world.send(ben, "ann", &"x".repeat(30_000));
        }
        world.advance(31 * SECONDS);
        world.link(ann).hold_down = false;
        world.run();
        (world, ann)
    }),
    (CloseReason::UnauthorisedClientType, || {
        let mut world = World::with(Config { devices: vec![DeviceKind::PHONE], ..Config::default() });
        let ann = world.join("ann");
        (world, ann)
    }),
    (CloseReason::ConnectionLimit, || {
        let mut world = World::with(Config { max_commands: 1, ..Config::default() });
        let command = || ClientConfig { takes_messages: false, ..client_config("ann") };
        world.join_with(command());
        let second = world.join_with(command());
        (world, second)
    }),
    (CloseReason::Kicked, || {
        let (mut world, ann) = with_ann(Config::default());
        world.node.kick_out(world.now, "ann").expect("it is online");
        world.run();
        (world, ann)
    }),
    (CloseReason::GoingAway, || {
        let (mut world, ann) = with_ann(Config::default());
        world.node.close();
        world.run();
        (world, ann)
    }),
    (CloseReason::LoginTimeout, || {
        let mut world = World::new();
        world.authenticates = false;
        let ann = world.join("ann");
        world.advance(15 * SECONDS);
        (world, ann)
    }),
    (CloseReason::LoginFailed, || {
        let mut world = World::new();
        let credential = Credential { kind: CredentialKind::Password, bytes: Bytes::from_static(b"wrong") };
        let ann = world.join_with(ClientConfig { credential, ..client_config("ann") });
        (world, ann)
    }),
    (CloseReason::TooLarge, || misbehaves(Bytes::from_static(&[0xFF; 4]))),
    (CloseReason::Unsupported, || misbehaves(frame_of(0x80, Flags::MUST_UNDERSTAND.bits(), b""))),
];

fn with_ann(config: Config) -> (World, Who) {
    let mut world = World::with(config);
    let ann = world.join("ann");
    (world, ann)
}

/// A client whose bytes are not its own.
fn misbehaves(message: Bytes) -> (World, Who) {
    let (mut world, ann) = with_ann(Config::default());
    world.link(ann).up.push_back(Up::Message(message));
    world.run();
    (world, ann)
}

/// Why the client's first link ended, as its events say.
fn end_of(world: &mut World, who: Who) -> Option<CloseReason> {
    world.engine(who).events.iter().find_map(|event| match event {
        Event::ConnectionInterrupted { reason } | Event::Closed { reason } => Some(*reason),
        _ => None,
    })
}

#[test]
fn the_server_counts_each_reason_that_it_tells_and_the_client_hears_it() {
    for (reason, scene) in SCENES {
        let (mut world, who) = scene();
        assert_eq!(world.closes(*reason), 1, "{reason:?} is counted");
        if *reason == CloseReason::LoginTimeout {
            // Nothing was interrupted yet; the client waits to connect again.
            assert_eq!(end_of(&mut world, who), None);
            assert!(!world.is_online(who));
        } else {
            assert_eq!(end_of(&mut world, who), Some(*reason));
        }
    }
}

#[test]
fn a_client_comes_back_by_itself_exactly_where_the_table_says_so() {
    for (reason, scene) in SCENES {
        let (mut world, who) = scene();
        world.authenticates = true;
        let connects = world.session(who).stats().connects;
        world.advance(120 * SECONDS);
        let came_back = world.session(who).stats().connects > connects;
        // A login that was refused is over, also for a reason that lets others come back.
        let refused = *reason == CloseReason::ConnectionLimit;
        assert_eq!(came_back, reason.may_reconnect() && !refused, "{reason:?}");
        assert_eq!(world.closed(who), (!came_back).then_some(*reason), "{reason:?}");
        let stays_away = [CloseReason::GoingAway].contains(reason);
        assert_eq!(world.is_online(who), came_back && !stays_away, "{reason:?}");
    }
}

#[test]
fn the_frame_and_the_code_say_the_same() {
    for (reason, _) in SCENES {
        // The code alone, as a browser sees it: the frame is lost.
        let (mut world, ann) = with_ann(Config::default());
        world.link(ann).down.push_back(Down::Close(Some(4_000 + *reason as u16)));
        world.run();
        assert_eq!(end_of(&mut world, ann), Some(*reason), "code {}", reason.websocket_code());
        // The frame alone.
        let (mut world, ann) = with_ann(Config::default());
        let frame = bytes_of(&Frame::Close { reason: *reason, text: "for people" });
        world.link(ann).down.push_back(Down::Message(frame));
        world.run();
        assert_eq!(end_of(&mut world, ann), Some(*reason), "frame {reason:?}");
    }
}

#[test]
fn every_reason_has_its_number_and_its_code() {
    let table: Vec<(u8, u16, bool)> = CloseReason::ALL
        .iter()
        .map(|reason| (*reason as u8, reason.websocket_code(), reason.may_reconnect()))
        .collect();
    let again = [0, 3, 6, 8, 10, 12, 17, 19];
    let expected: Vec<_> = (0..20).map(|n| (n, 4_000 + u16::from(n), again.contains(&n))).collect();
    assert_eq!(table, expected);
}

#[test]
fn every_reason_is_told_by_somebody_here_or_stands_in_the_list_of_those_that_are_not() {
    use CloseReason as R;
    let told = SCENES.iter().map(|(reason, _)| *reason);
    // Told by the tests below, and those that nothing built can cause.
    let below = [R::NetworkInterrupted, R::HeartbeatTimeout, R::LoggedOff, R::VersionMismatched, R::Superseded];
    let nobody = [R::RateLimited, R::Internal];
    let mut all: Vec<u8> = told.chain(below).chain(nobody).map(|reason| reason as u8).collect();
    all.sort_unstable();
    assert_eq!(all, (0..20).collect::<Vec<u8>>());
}

// The others.

#[test]
fn a_link_that_breaks_without_a_word_is_an_interrupted_network() {
    for code in [None, Some(1_000), Some(1_001), Some(1_006), Some(3_999), Some(4_020)] {
        let (mut world, ann) = with_ann(Config::default());
        world.link(ann).down.push_back(Down::Close(code));
        world.run();
        assert_eq!(end_of(&mut world, ann), Some(CloseReason::NetworkInterrupted), "{code:?}");
        world.until_online(ann);
        assert_eq!(world.closed(ann), None);
    }
}

#[test]
fn the_server_opens_the_resume_window_for_every_end_that_allows_to_come_back() {
    let again = |code: Option<u16>| {
        let mut world = World::new();
        let mut link = RawLink::join(&mut world, "ann", 1);
        esf_driver::endpoint::Endpoint::handle_closed(&mut link.conn, world.now, code);
        world.run();
        world.node.is_online("ann")
    };
    for code in [None, Some(1_000), Some(1_001), Some(1_006), Some(1_009), Some(3_000), Some(4_020)] {
        assert!(again(code), "{code:?}");
    }
    for reason in CloseReason::ALL {
        // The reason 18 ends the link only.
        let stays = reason.may_reconnect() || *reason == CloseReason::Superseded;
        assert_eq!(again(Some(reason.websocket_code())), stays, "{reason:?}");
    }
}

#[test]
fn a_client_that_hears_nothing_says_why_it_leaves() {
    let (mut world, ann) = with_ann(Config::default());
    world.link(ann).hold_down = true;
    world.link(ann).hold_up = true;
    world.advance(15 * SECONDS);
    assert_eq!(end_of(&mut world, ann), Some(CloseReason::HeartbeatTimeout));
    let up = &world.first_link(ann).up;
    let farewell =
        bytes_of(&Frame::Close { reason: CloseReason::HeartbeatTimeout, text: CloseReason::HeartbeatTimeout.text() });
    assert!(up.iter().any(|up| matches!(up, Up::Message(message) if *message == farewell)));
    assert!(up.iter().any(|up| matches!(up, Up::Close(Some(4_003)))));
    world.until_online(ann);
}

#[test]
fn a_log_off_ends_the_session_at_once_and_the_client_stays_away() {
    let (mut world, ann) = with_ann(Config::default());
    let now = world.now;
    world.session(ann).log_off(now);
    world.run();
    assert!(!world.node.is_online("ann"));
    assert_eq!(world.closed(ann), Some(CloseReason::LoggedOff));
    assert_eq!(world.closes(CloseReason::LoggedOff), 0, "the client said it, not the server");
    world.advance(120 * SECONDS);
    assert_eq!(world.session(ann).stats().connects, 1);
}

#[test]
fn a_version_that_is_not_spoken_is_told_so() {
    let mut world = World::new();
    let mut link = RawLink::open(&world, "ann", 1);
    link.push(&mut world, frame_of(Kind::Login as u8, 0, &[2, 0]));
    let reason = Some(CloseReason::VersionMismatched);
    assert_eq!((link.closed(), link.told()), (reason, reason));
}

#[test]
fn a_link_whose_session_went_to_a_newer_one_is_told_so_and_the_session_lives() {
    let mut world = World::new();
    let mut old = RawLink::open(&world, "ann", 1);
    let welcome = old.login(&mut world, LoginWith::default()).expect("a welcome");
    let mut new = RawLink::open(&world, "ann", 1);
    let with = LoginWith { attempt: 2, resume: Some((welcome.secret, 0)), ..LoginWith::default() };
    new.login(&mut world, with).expect("a welcome");
    old.pump(&mut world);
    let reason = Some(CloseReason::Superseded);
    assert_eq!((old.closed(), old.told()), (reason, reason));
    assert!(new.is_open());
    assert!(world.node.is_online("ann"));
}

// Stopping.

#[test]
fn a_server_that_stops_asks_all_to_leave_and_closes_who_stays() {
    let (mut world, ann) = with_ann(Config::default());
    let mut stays = RawLink::join(&mut world, "stays", 1);
    stays.take_received();
    let mut waiting = RawLink::open(&world, "waiting", 2);
    world.node.drain(Duration::from_millis(1_500));
    world.run();
    stays.pump(&mut world);
    waiting.pump(&mut world);
    // A client goes, keeps its session, and comes back after the time that it was told.
    assert!(world.engine(ann).events.contains(&Event::GoAway { retry_after: Duration::from_millis(1_500) }));
    assert_eq!(end_of(&mut world, ann), Some(CloseReason::GoingAway));
    assert!(world.node.is_online("ann"), "it may resume");
    let connects = world.session(ann).stats().connects;
    world.advance(Duration::from_millis(1_499));
    assert_eq!(world.session(ann).stats().connects, connects);
    world.advance(6 * SECONDS);
    assert!(world.session(ann).stats().connects > connects);
    // Whoever is not logged in yet, and whoever comes now, is told when to come back.
    let mut late = RawLink::open(&world, "late", 3);
    late.pump(&mut world);
    for link in [&mut waiting, &mut late] {
        assert_eq!(link.closed(), Some(CloseReason::GoingAway));
        let frames = link.take_received();
        assert_eq!(frames[0].decode(), Ok(Frame::GoAway { retry_after_ms: 1_500 }));
        assert_eq!(frames.len(), 2, "and the close");
    }
    // Who stays is closed in the end.
    assert!(stays.is_open());
    assert_eq!(stays.kinds(), [Some(Kind::GoAway)]);
    world.node.close();
    stays.pump(&mut world);
    assert_eq!((stays.closed(), stays.told()), (Some(CloseReason::GoingAway), Some(CloseReason::GoingAway)));
}
