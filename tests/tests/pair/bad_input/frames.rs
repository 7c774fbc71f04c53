//! Rows 1 to 4 and 22: bytes that are no frame, text, unknown kinds, what is too large, extensions.

use bytes::Bytes;
use esf_proto::{
    close::CloseReason,
    failure::Failure,
    ids::{DeviceKind, InstanceId},
    server::Config,
    wire::{Address, Envelope, Flags, Frame, GroupEventKind, Kind, PresenceList, RawFrame},
};
use esf_tests::{
    by_hand::{bytes_of, disguised, extended, extension, frame_of, no_frames, replaced, with_tail, without_tail},
    raw::{LoginWith, RawLink},
};

use super::Scene;

const INVALID: CloseReason = CloseReason::InvalidMessage;
/// The largest frame of a server with its defaults.
const MAX_FRAME: u32 = 1 << 20;

// Row 1.

#[test]
fn bytes_that_are_no_frame_close_a_link_that_is_logged_in() {
    for (what, bytes, reason) in no_frames() {
        Scene::new().closes(what, bytes, reason);
    }
}

#[test]
fn bytes_that_are_no_frame_close_a_link_before_its_login() {
    for (what, bytes, reason) in no_frames() {
        Scene::before_login().closes(what, bytes, reason);
    }
}

#[test]
fn a_payload_that_is_not_its_layout_closes_the_link_and_is_not_relayed() {
    type Made = fn(&RawLink) -> Bytes;
    let cases: &[(&str, Made)] = &[
        ("an envelope that is cut off", |from| without_tail(&from.plain("ben", ""), 5)),
        ("no payload", |_| frame_of(Kind::Send as u8, 0, &[])),
        ("an ack with a byte too much", |from| with_tail(&bytes_of(&ack(from)), &[0])),
        ("a count with a byte too much", |_| with_tail(&bytes_of(&Frame::Count { received: 0, taken: 0 }), &[0])),
        ("a count that is cut off", |_| without_tail(&bytes_of(&Frame::Count { received: 0, taken: 0 }), 1)),
        ("a name that is not UTF-8", |from| replaced(&from.plain("ben", "hi"), b"ben", b"b\xFFn")),
        ("an empty name", |from| replaced(&from.plain("x", "hi"), &[1, 1, b'x'], &[1, 0, b'x'])),
        ("an unknown form of address", |from| replaced(&from.plain("ben", "hi"), &[1, 3, b'b'], &[9, 3, b'b'])),
        ("a user instead of an engine in `from`", |from| from_form(from, 1)),
        ("a device instead of an engine in `from`", |from| from_form(from, 2)),
        ("a group in `from`", |from| from_form(from, 4)),
        ("an ack to a user instead of an engine", |from| {
            let send = Frame::Send { envelope: from.envelope("ben", 1), info_type: 0, body: &[] };
            disguised(&without_tail(&bytes_of(&send), 4), Kind::Ack as u8, 0)
        }),
        ("a failure with a code outside its table", |from| {
            let frame = Frame::Failure { envelope: answer(from), about: Kind::Certain as u8, code: Failure::Offline };
            with_tail(&without_tail(&bytes_of(&frame), 1), &[250])
        }),
        ("a tag that is longer than the frame", |from| {
            let frame = Frame::EngineMessage { envelope: from.envelope("ben", 0), info_type: 1, tag: "ab", body: &[] };
            replaced(&bytes_of(&frame), &[2, 0, b'a', b'b'], &[3, 0, b'a', b'b'])
        }),
        ("a cursor that is longer than the frame", |from| {
            let envelope = Envelope::new(server(), Address::of_engine(&from.engine), 1);
            let frame = Frame::Request { envelope, ttl_ms: 1_000, method: 1, cursor: b"cc", body: &[] };
            replaced(&bytes_of(&frame), &[2, 0, b'c', b'c'], &[3, 0, b'c', b'c'])
        }),
        ("volatile where it may not be", |from| {
            disguised(&bytes_of(&certain(from)), Kind::Certain as u8, Flags::VOLATILE.bits())
        }),
        ("a close reason outside its table", |_| frame_of(Kind::Close as u8, 0, &[20, 0, 0])),
    ];
    for (what, bytes) in cases {
        let scene = Scene::new();
        let message = bytes(&scene.mallory);
        scene.closes(what, message, INVALID);
    }
}

#[test]
fn what_stands_before_the_bad_bytes_has_its_effect_and_what_follows_has_none() {
    let mut scene = Scene::new();
    let honest = scene.mallory.plain("ben", "honest");
    let late = scene.mallory.plain("ben", "late");
    let before = scene.world.closes(INVALID);
    scene.send([&honest[..], &frame_of(Kind::Send as u8, 0, &[]), &late].concat().into());
    scene.send(late);
    assert_eq!(scene.world.texts(scene.others.ben), ["honest"]);
    scene.was_closed("a bad frame between good ones", before, INVALID);
}

#[test]
fn a_kind_that_only_the_server_sends_closes_the_link() {
    let cases = [
        ("a login result", frame_of(Kind::LoginResult as u8, 0, &[1, 0, 0])),
        ("the answer to a query before login", frame_of(Kind::PreReply as u8, 0, &[0])),
        ("the answer to a heartbeat", bytes_of(&Frame::HeartbeatAck { nonce: 1 })),
        ("go away", bytes_of(&Frame::GoAway { retry_after_ms: 1 })),
    ];
    for (what, bytes) in cases {
        Scene::new().closes(what, bytes, INVALID);
    }
    for what in ["who came and went", "what happened in a group", "stored", "accepted", "confirmed to somebody"] {
        let scene = Scene::new();
        let envelope = Envelope::new(Address::User { user: "ben" }, Address::of_engine(&scene.mallory.engine), 0);
        let events = PresenceList::decode(b"\x01\x02\x01\x04anna").expect("a list");
        let bytes = match what {
            "who came and went" => bytes_of(&Frame::Presence { envelope, events }),
            "stored" => bytes_of(&Frame::Stored { envelope, accepted_at_ms: 1, tries: 0, frame: b"" }),
            "accepted" | "confirmed to somebody" => {
                let ben = Address::Engine { user: "ben", device: DeviceKind::DESKTOP, instance: InstanceId(1) };
                let envelope = Envelope::new(ben, envelope.from, 1);
                bytes_of(&if what == "accepted" { Frame::Accepted { envelope } } else { Frame::Confirm { envelope } })
            }
            _ => bytes_of(&Frame::GroupEvent {
                envelope,
                event: GroupEventKind::Removed,
                group: "~chess",
                detail: "anna",
            }),
        };
        scene.closes(what, bytes, INVALID);
    }
}

// Row 2.

#[test]
fn a_text_message_closes_the_link_before_and_after_login() {
    for mut scene in [Scene::before_login(), Scene::new()] {
        let before = scene.world.closes(INVALID);
        scene.mallory.push_text(&mut scene.world);
        scene.was_closed("a text message", before, INVALID);
    }
}

// Row 3.

/// Numbers of a hop that this version does not speak: unknown ones and reserved ones.
const HOP: [u8; 6] = [0x00, 0x0C, 0x0D, 0x0F, 0x80, 0xFF];

#[test]
fn an_unknown_kind_of_a_hop_is_skipped_and_counted() {
    let mut scene = Scene::new();
    for kind in HOP {
        scene.lets_off(&format!("kind {kind:#x}"), frame_of(kind, 0, b"whatever"), "unknown_skipped");
    }
    assert!(scene.mallory.take_received().iter().all(|frame| frame.kind() != Some(Kind::Failure)));
}

#[test]
fn an_unknown_kind_that_must_be_understood_closes_the_link() {
    for kind in HOP {
        let frame = frame_of(kind, Flags::MUST_UNDERSTAND.bits(), b"whatever");
        Scene::new().closes(&format!("kind {kind:#x}"), frame, CloseReason::Unsupported);
    }
    for (kind, to) in unknown_routed("ben") {
        let scene = Scene::new();
        let frame = routed(&scene.mallory, kind, Flags::MUST_UNDERSTAND, to);
        scene.closes(&format!("kind {kind:#x}"), frame, CloseReason::Unsupported);
    }
}

#[test]
fn an_unknown_routed_kind_is_answered_unsupported_and_not_relayed() {
    for to in ["ben", ""] {
        let mut scene = Scene::new();
        let heard = scene.world.session(scene.others.ben).stats().frames_in;
        for (kind, to) in unknown_routed(to) {
            let frame = routed(&scene.mallory, kind, Flags::NONE, to);
            let refused = scene.world.counter("unknown_refused");
            scene.send(frame);
            assert_eq!(scene.world.counter("unknown_refused"), refused + 1, "kind {kind:#x} is counted");
            let answers = scene.mallory.take_received();
            let told = |frame: &RawFrame| match frame.decode() {
                Ok(Frame::Failure { envelope, about, code }) => Some((envelope.id, about, code)),
                _ => None,
            };
            let told: Vec<_> = answers.iter().filter_map(told).collect();
            assert_eq!(told, [(5, kind, Failure::Unsupported)]);
        }
        assert_eq!(scene.world.session(scene.others.ben).stats().frames_in, heard, "nothing was relayed");
        assert!(scene.mallory.is_open());
        scene.others.are_unharmed(&mut scene.world, "unknown kinds");
    }
}

#[test]
fn an_unknown_routed_kind_is_counted_unless_it_is_volatile() {
    let mut scene = Scene::new();
    let to = Address::User { user: "ben" };
    for flags in [Flags::NONE, Flags::VOLATILE, Flags::NONE] {
        let frame = routed(&scene.mallory, 0x7F, flags, to);
        scene.send(frame);
    }
    scene.send(bytes_of(&Frame::Heartbeat { nonce: 1 }));
    let counts = scene.mallory.take_received();
    let received = |frame: &RawFrame| match frame.decode() {
        Ok(Frame::Count { received, .. }) => Some(received),
        _ => None,
    };
    assert_eq!(counts.iter().filter_map(received).next_back(), Some(2));
    scene.others.are_unharmed(&mut scene.world, "unknown kinds");
}

#[test]
fn flags_that_mean_nothing_are_ignored_and_relayed() {
    let mut scene = Scene::new();
    let mut ben = RawLink::join(&mut scene.world, "raw-ben", 9);
    ben.take_received();
    let sent = disguised(&scene.mallory.plain("raw-ben", "hi"), Kind::Send as u8, 0xC0 | Flags::STORE.bits());
    scene.send(sent.clone());
    ben.pump(&mut scene.world);
    assert_eq!(ben.take_received().iter().map(RawFrame::bytes).collect::<Vec<_>>(), [&sent]);
    assert!(scene.mallory.is_open());
}

// Row 4.

#[test]
fn a_frame_over_8_kib_before_login_closes_the_link() {
    let login = |bytes: usize| {
        let scene = Scene::before_login();
        let fixed = scene.mallory.login_frame(LoginWith::default()).len();
        let password = vec![b'x'; bytes - fixed];
        let frame = scene.mallory.login_frame(LoginWith { password: &password, ..LoginWith::default() });
        assert_eq!(frame.len(), bytes);
        (scene, frame)
    };
    let (scene, frame) = login(8_193);
    scene.closes("a login of 8,193 bytes", frame, CloseReason::TooLarge);
    let (mut scene, frame) = login(8_192);
    scene.send(frame);
    assert!(scene.mallory.login_answer().is_ok(), "8,192 bytes are allowed");
}

#[test]
fn a_length_over_the_limit_closes_the_link_before_the_bytes_come() {
    let over = |limit: u32| Bytes::from((limit - 3).to_le_bytes().to_vec());
    let exact = |limit: u32| Bytes::from((limit - 4).to_le_bytes().to_vec());
    Scene::before_login().closes("a length over 8 KiB", over(8_192), CloseReason::TooLarge);
    Scene::before_login().closes("a length of 8 KiB and nothing behind it", exact(8_192), INVALID);
    Scene::new().closes("a length over 1 MiB", over(MAX_FRAME), CloseReason::TooLarge);
    Scene::new().closes("a length of 1 MiB and nothing behind it", exact(MAX_FRAME), INVALID);
}

#[test]
fn a_frame_over_the_servers_limit_closes_the_link_and_is_not_relayed() {
    let config = || Config { max_frame: 64 << 10, ..Config::default() };
    let sized = |from: &RawLink, bytes: usize| {
        let fixed = from.plain("ben", "").len();
        from.plain("ben", &"x".repeat(bytes - fixed))
    };
    let scene = Scene::with(config());
    let frame = sized(&scene.mallory, (64 << 10) + 1);
    scene.closes("a frame of one byte too many", frame, CloseReason::TooLarge);
    let mut scene = Scene::with(config());
    let frame = sized(&scene.mallory, 64 << 10);
    scene.send(frame);
    assert!(scene.mallory.is_open(), "the largest frame is allowed");
    assert_eq!(scene.world.texts(scene.others.ben).len(), 1);
}

// Row 22.

#[test]
fn extensions_that_are_malformed_close_the_link_and_are_not_relayed() {
    let time = extension(1, &7u64.to_le_bytes());
    let len = |block: &[u8]| u16::try_from(block.len()).expect("short");
    let block = |parts: &[&[u8]]| parts.concat();
    let cases: Vec<(&str, u16, Vec<u8>)> = vec![
        ("extensions that are longer than the frame", 500, time.clone()),
        ("extensions that are cut off within a tag", 1, vec![1]),
        ("extensions that are cut off within a value", len(&time) - 1, time[..time.len() - 1].to_vec()),
        ("a value that is longer than the extensions", len(&time), replaced(&time, &[8, 0], &[9, 0]).to_vec()),
        ("a tag twice", 2 * len(&time), block(&[&time, &time])),
        ("tags that descend", len(&time) + 4, block(&[&extension(2, b"x"), &time])),
        ("a byte behind the last extension", len(&time) + 1, block(&[&time, &[0]])),
    ];
    for (what, stated, extensions) in &cases {
        let scene = Scene::new();
        let message = extended(&scene.mallory.plain("ben", "hi"), *stated, extensions);
        scene.closes(what, message, INVALID);
        let beat = bytes_of(&Frame::Heartbeat { nonce: 1 });
        Scene::new().closes(what, extended(&beat, *stated, extensions), INVALID);
        let scene = Scene::before_login();
        let login = scene.mallory.login_frame(LoginWith::default());
        scene.closes(what, extended(&login, *stated, extensions), INVALID);
    }
    let no_length = frame_of(Kind::Heartbeat as u8, Flags::EXTENSIONS.bits(), &[1]);
    Scene::new().closes("extensions without their length", no_length, INVALID);
}

#[test]
fn extensions_that_are_not_known_are_skipped_and_relayed() {
    let mut scene = Scene::new();
    let ben = scene.others.ben;
    let extensions = [extension(1, &7u64.to_le_bytes()), extension(9, b"later"), extension(200, b"")].concat();
    let message = extended(&scene.mallory.plain("ben", "hi"), extensions.len().try_into().expect("short"), &extensions);
    scene.send(message);
    let odd = extension(1, b"not eight bytes");
    let message = extended(&scene.mallory.plain("ben", "odd"), odd.len().try_into().expect("short"), &odd);
    scene.send(message);
    let got: Vec<_> = scene.world.engine(ben).messages.iter().map(|message| message.sent_at.map(|at| at.0)).collect();
    assert_eq!(got, [Some(7), None], "a sender's time of another length is as if it were not there");
    assert!(scene.mallory.is_open());
    scene.others.are_unharmed(&mut scene.world, "unknown extensions");
}

// Frames.

fn server() -> Address<'static> {
    Address::Server { instance: 0 }
}

fn certain(from: &RawLink) -> Frame<'_> {
    Frame::Certain { envelope: from.envelope("ben", 1), ttl_ms: 1_000, info_type: 1, body: b"" }
}

fn answer(from: &RawLink) -> Envelope<'_> {
    Envelope::new(server(), Address::of_engine(&from.engine), 1)
}

fn ack(from: &RawLink) -> Frame<'_> {
    Frame::Ack { envelope: answer(from) }
}

/// A send whose `from` is mallory in another form of address.
fn from_form(from: &RawLink, form: u8) -> Bytes {
    let name: &[u8] = from.engine.user.as_str().as_bytes();
    let own = [&[3, 7], name].concat();
    replaced(&from.plain("ben", "hi"), &own, &[&[form, 7], name].concat())
}

/// Every routed kind that is reserved, and two that have no number, each with a `to` that is right for it.
fn unknown_routed(to: &str) -> Vec<(u8, Address<'_>)> {
    let reserved = Kind::ALL.iter().filter(|kind| !kind.is_built() && (0x10..0x80).contains(&(**kind as u8)));
    let numbers = reserved.map(|kind| *kind as u8).chain([0x1F, 0x7F]);
    let target = if to.is_empty() { server() } else { Address::User { user: to } };
    numbers
        .map(|kind| match Kind::from_u8(kind) {
            Some(Kind::Accepted) => (kind, server()),
            _ => (kind, target),
        })
        .collect()
}

fn routed(from: &RawLink, kind: u8, flags: Flags, to: Address<'_>) -> Bytes {
    let envelope = Envelope::new(to, Address::of_engine(&from.engine), 5);
    // The payload of an accepted stand-in: the envelope and some bytes. An answer has the same address forms.
    let shape = Frame::Send { envelope, info_type: 1, body: b"more" };
    disguised(&bytes_of(&shape), kind, flags.bits())
}
