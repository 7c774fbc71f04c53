//! Rules of the protocol that show only in the very frames of a link.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use esf_proto::{
    close::CloseReason,
    failure::Failure,
    ids::{DeviceKind, InstanceId},
    login::{LoginCode, Mode},
    server::{Config, Relogin},
    wire::{Address, Envelope, Flags, Frame, Header, Hop, Kind, Method, RawFrame},
};
use esf_tests::{
    by_hand::{bytes_of, flagged},
    raw::{LoginWith, RawLink},
    world::World,
};

const SECOND: Duration = Duration::from_secs(1);

fn joined(world: &mut World, name: &str, instance: u64) -> RawLink {
    let mut link = RawLink::join(world, name, instance);
    link.take_received();
    link
}

/// Frames that came, but for counts.
fn arrived(link: &mut RawLink, world: &mut World) -> Vec<RawFrame> {
    link.pump(world);
    link.take_received().into_iter().filter(|frame| frame.kind() != Some(Kind::Count)).collect()
}

fn counts(frames: &[RawFrame]) -> Vec<(u32, u32)> {
    let count = |frame: &RawFrame| match frame.decode() {
        Ok(Frame::Count { received, taken }) => Some((received, taken)),
        _ => None,
    };
    frames.iter().filter_map(count).collect()
}

fn failures(frames: &[RawFrame]) -> Vec<(u8, u64, Failure)> {
    let told = |frame: &RawFrame| match frame.decode() {
        Ok(Frame::Failure { envelope, about, code }) => Some((about, envelope.id, code)),
        _ => None,
    };
    frames.iter().filter_map(told).collect()
}

// What is relayed.

#[test]
fn every_kind_is_relayed_as_the_very_bytes_that_came() {
    let mut world = World::new();
    let (mut ann, mut ben) = (joined(&mut world, "ann", 1), joined(&mut world, "ben", 2));
    let (ann_is, ben_is) = (ann.engine.clone(), ben.engine.clone());
    let (ann_at, ben_at) = (Address::of_engine(&ann_is), Address::of_engine(&ben_is));
    let there = |id| Envelope::new(Address::User { user: "ben" }, ann_at, id);
    let back = |id| Envelope::new(ann_at, ben_at, id);
    let exchanges = [
        (Frame::Send { envelope: there(0), info_type: 1, body: b"a" }, None),
        (Frame::EngineMessage { envelope: there(0), info_type: 1, tag: "t", body: b"b" }, None),
        (
            Frame::Certain { envelope: there(1), ttl_ms: 9_000, info_type: u32::MAX, body: b"c" },
            Some(Frame::Ack { envelope: back(1) }),
        ),
        (
            Frame::Query { envelope: there(2), ttl_ms: 9_000, info_type: 0, body: b"d" },
            Some(Frame::Reply { envelope: back(2), body: b"e" }),
        ),
        (
            Frame::Request { envelope: there(3), ttl_ms: 9_000, method: Method::Ping as u16, cursor: b"", body: b"" },
            Some(Frame::Response { envelope: back(3), status: Ok(()), cursor: b"", body: b"" }),
        ),
    ];
    for (frame, answer) in exchanges {
        // Extensions, reserved flags and hop flags go as they are.
        let mut bytes = BytesMut::new();
        let header = Header { flags: Flags::from_bits(0xC0), hop: Hop::from_bits(0x81) };
        frame.encode_with(header, &[(1, &7u64.to_le_bytes()), (99, b"later")], &mut bytes).expect("a frame");
        let bytes = bytes.freeze();
        ann.push(&mut world, bytes.clone());
        let came = arrived(&mut ben, &mut world);
        assert_eq!(came.iter().map(RawFrame::bytes).collect::<Vec<_>>(), [&bytes], "{:?}", frame.kind());
        if let Some(answer) = answer {
            let bytes = bytes_of(&answer);
            ben.push(&mut world, bytes.clone());
            let came = arrived(&mut ann, &mut world);
            assert_eq!(came.iter().map(RawFrame::bytes).collect::<Vec<_>>(), [&bytes], "{:?}", answer.kind());
        }
    }
}

#[test]
fn an_engine_may_be_named_and_only_that_one_gets_it() {
    let mut world = World::new();
    let (mut ann, mut ben) = (joined(&mut world, "ann", 1), joined(&mut world, "ben", 2));
    let mut phone = RawLink::open(&world, "ben", 3);
    phone.engine.device = DeviceKind::PHONE;
    phone.login(&mut world, LoginWith::default()).expect("a welcome");
    phone.take_received();
    let mut command = RawLink::open(&world, "ben", 4);
    command.login(&mut world, LoginWith { takes_messages: false, ..LoginWith::default() }).expect("a welcome");
    command.take_received();
    let at = |device, instance| Address::Engine { user: "ben", device, instance: InstanceId(instance) };
    let targets = [
        (1, at(DeviceKind::SERVICE, 2), true),
        (2, at(DeviceKind::SERVICE, 3), false),
        (3, at(DeviceKind::PHONE, 2), false),
        (4, at(DeviceKind::SERVICE, 4), false),
    ];
    let from = ann.engine.clone();
    for (id, to, arrives) in targets {
        let envelope = Envelope::new(to, Address::of_engine(&from), id);
        let message = bytes_of(&Frame::Certain { envelope, ttl_ms: 9_000, info_type: 1, body: b"hi" });
        ann.push(&mut world, message);
        assert_eq!(arrived(&mut ben, &mut world).len(), usize::from(arrives), "message {id}");
        assert_eq!(arrived(&mut phone, &mut world), [], "message {id}");
        assert_eq!(arrived(&mut command, &mut world), [], "message {id}: it takes none");
        let refused = if arrives { vec![] } else { vec![(Kind::Certain as u8, id, Failure::Offline)] };
        assert_eq!(failures(&arrived(&mut ann, &mut world)), refused);
    }
}

#[test]
fn a_failure_of_a_receiver_is_told_by_the_server_under_the_same_number() {
    let mut world = World::new();
    let (mut ann, mut ben) = (joined(&mut world, "ann", 1), joined(&mut world, "ben", 2));
    let to_ben = Envelope::new(Address::User { user: "ben" }, Address::of_engine(&ann.engine), 5);
    let ask = bytes_of(&Frame::Query { envelope: to_ben, ttl_ms: 9_000, info_type: 0, body: b"?" });
    ann.push(&mut world, ask);
    arrived(&mut ben, &mut world);
    let to_ann = Envelope::new(Address::of_engine(&ann.engine), Address::of_engine(&ben.engine), 5);
    let failed = Frame::Failure { envelope: to_ann, about: Kind::Query as u8, code: Failure::HandlerFailed };
    let failed = bytes_of(&failed);
    ben.push(&mut world, failed);
    assert_eq!(failures(&arrived(&mut ann, &mut world)), [(Kind::Query as u8, 5, Failure::HandlerFailed)]);
}

#[test]
fn nothing_but_a_broadcast_goes_to_a_group() {
    let mut world = World::new();
    let mut ann = joined(&mut world, "ann", 1);
    let before = world.counter("not_allowed");
    let group = |from, id| Envelope::new(Address::Group { group: "friends" }, from, id);
    let from = ann.engine.clone();
    let envelope = |id| group(Address::of_engine(&from), id);
    let frames = [
        flagged(&Frame::Send { envelope: envelope(1), info_type: 1, body: b"" }, Flags::TELL),
        flagged(&Frame::EngineMessage { envelope: envelope(2), info_type: 1, tag: "", body: b"" }, Flags::TELL),
        bytes_of(&Frame::Certain { envelope: envelope(3), ttl_ms: 9_000, info_type: 1, body: b"" }),
        bytes_of(&Frame::Query { envelope: envelope(4), ttl_ms: 9_000, info_type: 1, body: b"" }),
        bytes_of(&Frame::Request { envelope: envelope(5), ttl_ms: 9_000, method: 1, cursor: b"", body: b"" }),
    ];
    for frame in frames {
        ann.push(&mut world, frame);
    }
    let kinds = [Kind::Send, Kind::EngineMessage, Kind::Certain, Kind::Query, Kind::Request];
    let expected: Vec<_> = kinds.iter().zip(1..).map(|(kind, id)| (*kind as u8, id, Failure::NotAllowed)).collect();
    assert_eq!(failures(&arrived(&mut ann, &mut world)), expected);
    assert_eq!(world.counter("not_allowed"), before + 5);
    assert!(ann.is_open());
}

// Counts and resume.

#[test]
fn the_server_tells_a_count_after_128_frames_64_kib_or_100_ms() {
    let mut world = World::new();
    let mut ann = joined(&mut world, "ann", 1);
    let small = ann.plain("nobody", "");
    let len = u32::try_from(small.len()).expect("short");
    ann.push(&mut world, Bytes::from(small.repeat(127)));
    ann.fire(&mut world);
    assert_eq!(counts(&ann.take_received()), []);
    ann.push(&mut world, small.clone());
    ann.fire(&mut world);
    assert_eq!(counts(&ann.take_received()), [(128, 128 * len)]);
    let large = ann.plain("nobody", &"x".repeat(64 << 10));
    let large_len = u32::try_from(large.len()).expect("short");
    ann.push(&mut world, large);
    ann.fire(&mut world);
    assert_eq!(counts(&ann.take_received()), [(129, 128 * len + large_len)]);
    ann.push(&mut world, small);
    ann.pass(&mut world, Duration::from_millis(99));
    assert_eq!(counts(&ann.take_received()), []);
    ann.pass(&mut world, Duration::from_millis(1));
    assert_eq!(counts(&ann.take_received()), [(130, 129 * len + large_len)]);
    // A volatile message is not counted; a query is, and takes nothing of the window.
    let volatile = Frame::Send { envelope: ann.envelope("nobody", 0), info_type: 1, body: b"" };
    let volatile = flagged(&volatile, Flags::VOLATILE);
    ann.push(&mut world, volatile);
    let ask = bytes_of(&Frame::Query { envelope: ann.envelope("nobody", 1), ttl_ms: 1, info_type: 1, body: b"" });
    ann.push(&mut world, ask);
    ann.pass(&mut world, SECOND);
    assert_eq!(counts(&ann.take_received()), [(131, 129 * len + large_len)]);
}

#[test]
fn after_a_resume_the_server_counts_first_then_replays_and_then_sends_what_is_new() {
    let mut world = World::new();
    let ben = world.join("ben");
    let mut old = RawLink::open(&world, "ann", 1);
    let welcome = old.login(&mut world, LoginWith::default()).expect("a welcome");
    let sent = old.plain("ben", "hello");
    old.push(&mut world, sent);
    world.send(ben, "ann", "handed out");
    world.run();
    old.pump(&mut world);
    old.drop_link(&mut world);
    world.send(ben, "ann", "waits");
    world.run();
    let mut new = RawLink::open(&world, "ann", 1);
    let with = LoginWith { attempt: 2, interactive: false, resume: Some((welcome.secret, 0)), ..LoginWith::default() };
    let again = new.login(&mut world, with).expect("a welcome");
    assert_eq!((again.mode, again.received), (Mode::Resumed, 1));
    new.pump(&mut world);
    let kinds = [Kind::LoginResult, Kind::Count, Kind::Send, Kind::Send].map(Some);
    assert_eq!(new.kinds(), kinds);
    assert_eq!(new.take_texts(), ["handed out", "waits"]);
}

#[test]
fn after_fresh_all_counts_begin_at_0() {
    let mut world = World::new();
    let mut old = joined(&mut world, "ann", 1);
    let small = old.plain("nobody", "");
    let len = u32::try_from(small.len()).expect("short");
    old.push(&mut world, Bytes::from(small.repeat(5)));
    let mut new = RawLink::open(&world, "ann", 1);
    let welcome = new.login(&mut world, LoginWith { attempt: 2, ..LoginWith::default() }).expect("a welcome");
    assert_eq!((welcome.mode, welcome.received), (Mode::Fresh, 0));
    new.take_received();
    new.push(&mut world, small);
    new.send(&mut world, &Frame::Heartbeat { nonce: 1 });
    assert_eq!(counts(&new.take_received()), [(1, len)]);
    new.send(&mut world, &Frame::Count { received: 1, taken: 0 });
    assert_eq!(new.closed(), Some(CloseReason::InvalidMessage), "nothing was handed out in this session");
}

// Times to live.

#[test]
fn a_time_to_live_above_5_min_is_taken_as_5_min() {
    let mut world = World::new();
    let _silent = joined(&mut world, "silent", 2);
    let mut ann = joined(&mut world, "ann", 1);
    let ask = Frame::Query { envelope: ann.envelope("silent", 7), ttl_ms: u32::MAX, info_type: 1, body: b"?" };
    let ask = bytes_of(&ask);
    ann.push(&mut world, ask);
    let mut told = Vec::new();
    for second in 1..=301 {
        ann.pass(&mut world, SECOND);
        ann.send(&mut world, &Frame::Heartbeat { nonce: second });
        let frames = arrived(&mut ann, &mut world);
        told.extend(failures(&frames).into_iter().map(|failure| (second, failure)));
    }
    assert_eq!(told, [(300, (Kind::Query as u8, 7, Failure::TimedOut))]);
}

// Logins.

#[test]
fn who_is_logged_on_is_told_only_after_a_good_credential() {
    let mut world = World::with(Config { relogin: Relogin::IgnoreNew, ..Config::default() });
    let _first = joined(&mut world, "ann", 1);
    let mut stranger = RawLink::open(&world, "ann", 2);
    let wrong = LoginWith { password: b"wrong", ..LoginWith::default() };
    assert_eq!(stranger.login(&mut world, wrong), Err(Some(LoginCode::Failed)), "and not that she is there");
    assert_eq!(stranger.closed(), Some(CloseReason::LoginFailed));
    // The same words whether she is logged on, exists, or neither.
    let mut nobody = RawLink::open(&world, "nobody", 3);
    assert!(nobody.login(&mut world, wrong).is_err());
    assert_eq!(stranger.take_received(), nobody.take_received());
}

#[test]
fn a_login_number_is_above_all_before_it_and_a_larger_one_that_is_stated_is_believed_up_to_2_53() {
    let mut world = World::new();
    let number = |world: &mut World, instance, interactive, login_number| {
        let mut link = RawLink::open(world, "ann", instance);
        let with = LoginWith { interactive, login_number, ..LoginWith::default() };
        link.login(world, with).map(|welcome| welcome.login_number)
    };
    let first = number(&mut world, 1, true, 0).expect("a welcome");
    assert!(first >= 1_700_000_000_000, "the time of day");
    let second = number(&mut world, 2, true, 0).expect("a welcome");
    assert_eq!(second, first + 1, "no time has passed");
    world.advance(10 * SECOND);
    let third = number(&mut world, 3, true, 0).expect("a welcome");
    assert_eq!(third, first + 10_000);
    // Another server gave it a larger one.
    let stated = third + 1_000_000;
    assert_eq!(number(&mut world, 4, false, stated), Ok(stated));
    assert_eq!(number(&mut world, 5, true, 0), Ok(stated + 1));
    assert_eq!(number(&mut world, 6, false, stated), Err(Some(LoginCode::HadLoggedOn)), "an older one comes back");
    // What no server can have given is not believed: it is as if nothing was stated.
    assert_eq!(number(&mut world, 7, false, (1 << 53) + 1), Err(Some(LoginCode::HadLoggedOn)));
    assert_eq!(number(&mut world, 8, true, u64::MAX), Ok(stated + 2));
}

#[test]
fn a_kick_ends_all_sessions_of_a_user_those_without_a_link_and_those_that_take_no_messages_too() {
    let mut world = World::new();
    let mut links: Vec<RawLink> = Vec::new();
    for (instance, device, takes_messages) in [(1, 1, true), (2, 2, true), (3, 5, false)] {
        let mut link = RawLink::open(&world, "ann", instance);
        link.engine.device = DeviceKind(device);
        link.login(&mut world, LoginWith { takes_messages, ..LoginWith::default() }).expect("a welcome");
        links.push(link);
    }
    links.swap_remove(1).drop_link(&mut world);
    let mut admin = joined(&mut world, "admin", 9);
    let server = Envelope::new(Address::Server { instance: 0 }, Address::of_engine(&admin.engine), 1);
    let method = Method::Kick as u16;
    let kick = bytes_of(&Frame::Request { envelope: server, ttl_ms: 9_000, method, cursor: b"", body: b"\x03ann" });
    admin.push(&mut world, kick);
    for link in &mut links {
        link.pump(&mut world);
        assert_eq!(link.closed(), Some(CloseReason::Kicked), "{:?}", link.engine);
    }
    assert!(!world.node.is_online("ann"));
    let response = arrived(&mut admin, &mut world);
    assert!(matches!(response[0].decode(), Ok(Frame::Response { status: Ok(()), .. })));
}

// Closing.

#[test]
fn nothing_that_follows_a_close_has_an_effect() {
    let mut world = World::new();
    let ben = world.join("ben");
    let mut ann = joined(&mut world, "ann", 1);
    let close = bytes_of(&Frame::Close { reason: CloseReason::LoggedOff, text: "" });
    let late = ann.plain("ben", "late");
    ann.push(&mut world, [close, late.clone()].concat().into());
    ann.push(&mut world, late);
    assert!(world.texts(ben).is_empty());
    assert!(!world.node.is_online("ann"));
    assert_eq!(ann.take_received(), [], "a close is not answered with frames");
}

#[test]
fn an_answer_finds_its_engine_by_instance_and_never_its_successor() {
    let mut world = World::new();
    let (mut ann, mut ben) = (joined(&mut world, "ann", 1), joined(&mut world, "ben", 2));
    let ask = bytes_of(&Frame::Query { envelope: ann.envelope("ben", 1), ttl_ms: 9_000, info_type: 1, body: b"?" });
    ann.push(&mut world, ask.clone());
    arrived(&mut ben, &mut world);
    // Another engine of hers takes the place, and asks under the same number.
    let mut next = joined(&mut world, "ann", 3);
    let mut same = BytesMut::from(&ask[..]);
    let at = ask.windows(8).position(|window| window == 1u64.to_le_bytes()).expect("the instance");
    same[at..at + 8].copy_from_slice(&InstanceId(3).0.to_le_bytes());
    next.push(&mut world, same.freeze());
    arrived(&mut ben, &mut world);
    let unasked = world.counter("answers_unasked");
    let to_old = Envelope::new(Address::of_engine(&ann.engine), Address::of_engine(&ben.engine), 1);
    let reply = bytes_of(&Frame::Reply { envelope: to_old, body: b"for the old one" });
    ben.push(&mut world, reply);
    assert_eq!(arrived(&mut next, &mut world), []);
    assert_eq!(world.counter("answers_unasked"), unasked + 1);
    let to_new = Envelope::new(Address::of_engine(&next.engine), Address::of_engine(&ben.engine), 1);
    let reply = bytes_of(&Frame::Reply { envelope: to_new, body: b"for the new one" });
    ben.push(&mut world, reply);
    assert_eq!(arrived(&mut next, &mut world).len(), 1);
}
