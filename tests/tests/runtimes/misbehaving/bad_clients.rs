//! Clients that misbehave. The numbers are those of the table of bad input in docs/PROTOCOL.md.

use std::{io::Write as _, sync::Arc, time::Duration};

use bytes::Bytes;
use esf_proto::{
    close::CloseReason,
    failure::Failure,
    ids::{DeviceKind, InstanceId},
    login::{LoginCode, Mode, ResumeSecret},
    wire::{Address, Envelope, Flags, Frame, Kind, LoginResult, Method},
};
use esf_tests::by_hand::{
    bytes_of, disguised, extended, extension, flagged, frame_of, lying, no_frames, replaced, with_tail, without_tail,
};
use serde_json::json;

use super::Victims;
use crate::kit::{
    Runtime,
    inbox::{Inbox, STREAM},
    raw::{End, RawLink, answer, tcp},
    spec::{Call, ClientSpec},
    until,
};

const INVALID: CloseReason = CloseReason::InvalidMessage;
const TO_SERVER: Address<'static> = Address::Server { instance: 0 };
const HEARTBEAT: Frame<'static> = Frame::Heartbeat { nonce: 1 };

/// A client of the name `mallory` before its login.
fn stranger(victims: &Victims) -> RawLink {
    RawLink::open(&victims.url, "mallory", 66)
}

/// One that is logged in.
fn mallory(victims: &Victims) -> RawLink {
    let mut link = stranger(victims);
    link.log_in();
    link
}

/// The link ends with this reason, in a frame and as a code, and it is counted.
fn closes(victims: &Victims, what: &str, mut link: RawLink, reason: CloseReason, message: Bytes) {
    let name = format!("closed_{}", snake(reason));
    let before = victims.counter(&name);
    link.push(message);
    was_closed(what, &mut link, reason);
    until(what, || match victims.counter(&name) - before {
        1 => Ok(()),
        count => Err(format!("{name} rose by {count}")),
    });
}

fn was_closed(what: &str, link: &mut RawLink, reason: CloseReason) {
    assert_eq!(link.end(), End::Closed(Some(reason.websocket_code()), Some(reason)), "{what}");
}

/// The name of a reason as counters have it.
fn snake(reason: CloseReason) -> String {
    let name = format!("{reason:?}");
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

/// The link stays, and its server answers it; the message is counted under this name.
fn is_borne(victims: &Victims, what: &str, link: &mut RawLink, message: Bytes, counter: &str) {
    let before = victims.counter(counter);
    link.push(message);
    link.push(bytes_of(&HEARTBEAT));
    link.next_of(Kind::HeartbeatAck);
    assert_eq!(victims.counter(counter), before + 1, "{what}: {counter}");
}

const GOOD: &str = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: esf.v1\r\n";

// Row 9.

pub(super) fn requests_that_are_none(runtime: &dyn Runtime) {
    let victims = Victims::new(runtime);
    let huge = format!("{GOOD}X: {}\r\n\r\n", "x".repeat(100_000));
    let many = format!("{GOOD}{}\r\n", "A: b\r\n".repeat(65));
    let rows = [
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", "426", "requests_plain"),
        (&format!("{GOOD}Origin: https://evil.example\r\n\r\n"), "403", "requests_of_strange_origin"),
        ("GET /nowhere HTTP/1.1\r\n\r\n", "404", "requests_not_found"),
        (&format!("{}\r\n", GOOD.replace("esf.v1", "esf.v9")), "400", "requests_bad"),
        (&format!("{}\r\n", GOOD.replace("Version: 13", "Version: 12")), "4", "requests_bad"),
        ("\x16\x03\x01\x02", "400", "requests_bad"),
        (&huge, "431", "requests_too_large"),
        (&many, "431", "requests_too_large"),
    ];
    for (request, status, counter) in rows {
        let before = victims.counter(counter);
        let answer = answer(tcp(&victims.url), request.as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request:.60}: {answer}");
        until(counter, || if victims.counter(counter) == before + 1 { Ok(()) } else { Err("not counted".into()) });
    }
    victims.noticed_nothing("requests that are none");
}

pub(super) fn handshakes_that_never_end(runtime: &dyn Runtime) {
    let victims = Victims::with(runtime, json!({ "login_timeout_ms": 300 }));
    assert_eq!(answer(tcp(&victims.url), b""), "", "not a word");
    assert_eq!(answer(tcp(&victims.url), b"GET / HTTP/1.1\r\nHost: "), "", "half a request");
    until("both are counted", || match victims.counter("handshakes_timed_out") {
        2 => Ok(()),
        count => Err(count.to_string()),
    });
    victims.noticed_nothing("handshakes that never end");
}

pub(super) fn early_ends(runtime: &dyn Runtime) {
    let victims = Victims::new(runtime);
    for bytes in [&b""[..], b"GET / HT", format!("{GOOD}\r\n").as_bytes()] {
        tcp(&victims.url).write_all(bytes).expect("sends");
    }
    stranger(&victims).break_off();
    let mut half = stranger(&victims);
    let login = half.login(None);
    // The head of a masked message of the login's length, and half of it.
    half.push_raw(&[0x82, 0x80 | u8::try_from(login.len()).expect("short"), 0, 0, 0, 0]);
    half.push_raw(&login[..20]);
    half.break_off();
    let mut unanswered = stranger(&victims);
    unanswered.push(unanswered.login(None));
    unanswered.break_off();
    mallory(&victims).break_off();
    let mut within = mallory(&victims);
    within.push_raw(&[0x82, 0xFE, 0x10]);
    within.break_off();
    let mut answers_nothing = mallory(&victims);
    answers_nothing.close(None);
    drop(answers_nothing);
    until("nobody is left but the two", || match victims.server.look()["connections"].as_u64() {
        Some(2) => Ok(()),
        other => Err(format!("{other:?} connections")),
    });
    victims.noticed_nothing("early ends");
}

pub(super) fn bytes_that_are_no_websocket(runtime: &dyn Runtime) {
    let victims = Victims::new(runtime);
    let ping = [&[0x89, 0xFE, 0, 126, 0, 0, 0, 0][..], &[7; 126]].concat();
    let rows: [(&str, &[u8]); 7] = [
        ("reserved bits", &[0xF2, 0x80, 0, 0, 0, 0]),
        ("a reserved opcode", &[0x83, 0x80, 0, 0, 0, 0]),
        ("no mask", &[0x82, 0x02, b'h', b'i']),
        ("a continuation of nothing", &[0x80, 0x80, 0, 0, 0, 0]),
        ("a ping in fragments", &[0x09, 0x80, 0, 0, 0, 0]),
        ("a ping of 126 bytes", &ping),
        ("a length of 2^63", &[0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ];
    for logged_in in [false, true] {
        for (what, bytes) in rows {
            let mut link = if logged_in { mallory(&victims) } else { stranger(&victims) };
            link.push_raw(bytes);
            let end = link.end();
            // What is no WebSocket is dropped; what is too large for one is told so.
            assert!(matches!(end, End::Gone | End::Closed(Some(1002 | 4001 | 4015), _)), "{what}: {end:?}");
        }
    }
    victims.noticed_nothing("bytes that are no WebSocket");
}

// Rows 1 and 2.

pub(super) fn bytes_that_are_no_frame(runtime: &dyn Runtime) {
    let victims = Victims::new(runtime);
    for (what, bytes, reason) in no_frames() {
        closes(&victims, what, stranger(&victims), reason, bytes.clone());
        closes(&victims, what, mallory(&victims), reason, bytes);
    }
    for mut link in [stranger(&victims), mallory(&victims)] {
        link.push_text();
        was_closed("a text message", &mut link, INVALID);
    }
    victims.noticed_nothing("bytes that are no frame");
}

pub(super) fn payloads_that_are_not_their_layout(runtime: &dyn Runtime) {
    let victims = Victims::new(runtime);
    let count = bytes_of(&Frame::Count { received: 0, taken: 0 });
    type Made = fn(&RawLink) -> Bytes;
    let rows: [(&str, Made); 8] = [
        ("an envelope that is cut off", |link| without_tail(&link.plain("bob", ""), 5)),
        ("no payload", |_| frame_of(Kind::Send as u8, 0, &[])),
        ("a name that is not UTF-8", |link| replaced(&link.plain("bob", "hi"), b"bob", b"b\xFFb")),
        ("a name that is longer than the frame", |link| {
            replaced(&link.plain("bob", "hi"), &[1, 3, b'b'], &[1, 250, b'b'])
        }),
        ("an empty name", |link| replaced(&link.plain("x", "hi"), &[1, 1, b'x'], &[1, 0, b'x'])),
        ("an unknown form of address", |link| replaced(&link.plain("bob", "hi"), &[1, 3, b'b'], &[9, 3, b'b'])),
        ("a tag that is longer than the frame", |link| {
            let envelope = link.to(Address::User { user: "bob" }, 0);
            let frame = Frame::EngineMessage { envelope, info_type: 1, tag: "ab", body: &[] };
            replaced(&bytes_of(&frame), &[2, 0, b'a', b'b'], &[3, 0, b'a', b'b'])
        }),
        ("volatile where it may not be", |link| {
            let envelope = link.to(Address::User { user: "bob" }, 1);
            flagged(&Frame::Certain { envelope, ttl_ms: 1, info_type: 1, body: b"" }, Flags::NONE)
                .iter()
                .enumerate()
                .map(|(at, byte)| if at == 5 { Flags::VOLATILE.bits() } else { *byte })
                .collect()
        }),
    ];
    for (what, bytes) in rows {
        let link = mallory(&victims);
        let message = bytes(&link);
        closes(&victims, what, link, INVALID, message);
    }
    for (what, bytes) in [("a byte behind a count", with_tail(&count, &[0])), ("half a count", without_tail(&count, 4))]
    {
        closes(&victims, what, mallory(&victims), INVALID, bytes);
    }
    victims.noticed_nothing("payloads that are not their layout");
}

// Rows 5 and 12.

/// One frame of every kind that has no place before a login.
fn anything(link: &RawLink) -> Vec<(String, Bytes)> {
    let (to_bob, to_server) = (link.to(Address::User { user: "bob" }, 1), link.to(TO_SERVER, 1));
    let frames = [
        Frame::PreReply { status: Ok(()), body: b"" },
        Frame::LoginResult(LoginResult::Refused { result: LoginCode::Failed, cause: "" }),
        Frame::Count { received: 0, taken: 0 },
        HEARTBEAT,
        Frame::HeartbeatAck { nonce: 1 },
        Frame::GoAway { retry_after_ms: 1 },
        Frame::Send { envelope: to_bob, info_type: 1, body: b"psst" },
        Frame::Certain { envelope: to_bob, ttl_ms: 1_000, info_type: 1, body: b"psst" },
        Frame::EngineMessage { envelope: to_bob, info_type: 1, tag: "t", body: b"psst" },
        Frame::Query { envelope: to_bob, ttl_ms: 1_000, info_type: 1, body: b"psst" },
        Frame::Request { envelope: to_server, ttl_ms: 1_000, method: 4, cursor: b"", body: b"\0\0" },
        Frame::Ack { envelope: to_server },
        Frame::Reply { envelope: to_server, body: b"" },
    ];
    let named = frames.iter().map(|frame| (format!("{:?}", frame.kind()), bytes_of(frame)));
    let unknown = [0x00, 0x0A, 0x0B, 0x12, 0x7F, 0x80].map(|kind| (format!("{kind:#x}"), frame_of(kind, 0, &[])));
    named.chain(unknown).collect()
}

pub(super) fn what_has_no_place_before_the_login(runtime: &dyn Runtime) {
    let settings = json!({ "users": { "alice": {}, "bob": {}, "mallory": { "decision": "never" } } });
    let victims = Victims::with(runtime, settings);
    for (what, bytes) in anything(&stranger(&victims)) {
        closes(&victims, &what, stranger(&victims), INVALID, bytes.clone());
        // And while the login waits for its result.
        let mut waiting = stranger(&victims);
        waiting.push(waiting.login(None));
        closes(&victims, &what, waiting, INVALID, bytes);
    }
    let ask = bytes_of(&Frame::PreQuery { info_type: 1, body: b"version?" });
    let mut twice = stranger(&victims);
    twice.push(ask.clone());
    closes(&victims, "a second query before login", twice, INVALID, ask);
    victims.noticed_nothing("anything before the login");
}

pub(super) fn what_has_no_place_after_the_login(runtime: &dyn Runtime) {
    let victims = Victims::new(runtime);
    let rows = [
        ("a login result", frame_of(Kind::LoginResult as u8, 0, &[1, 0, 0])),
        ("the answer to a query before login", frame_of(Kind::PreReply as u8, 0, &[0])),
        ("a query before login", bytes_of(&Frame::PreQuery { info_type: 1, body: b"" })),
        ("the answer to a heartbeat", bytes_of(&Frame::HeartbeatAck { nonce: 1 })),
        ("go away", bytes_of(&Frame::GoAway { retry_after_ms: 1 })),
        ("a close reason outside its table", frame_of(Kind::Close as u8, 0, &[20, 0, 0])),
        ("a second login", stranger(&victims).login(None)),
    ];
    for (what, bytes) in rows {
        closes(&victims, what, mallory(&victims), INVALID, bytes);
    }
    // What stands before the bad frame has its effect, what follows has none.
    let link = mallory(&victims);
    let frames = [link.plain("nobody", "honest"), frame_of(Kind::Send as u8, 0, &[]), link.plain("bob", "late")];
    closes(&victims, "a bad frame between good ones", link, INVALID, frames.concat().into());
    victims.noticed_nothing("what has no place");
}

// Rows 7, 8, 10 and 11.

pub(super) fn logins_that_are_none(runtime: &dyn Runtime) {
    let victims = Victims::new(runtime);
    let login = stranger(&victims).login(None);
    let named = |name: &[u8]| {
        let at = login.windows(8).position(|window| window == b"\x07mallory").expect("the name");
        let length = [u8::try_from(name.len()).expect("short")];
        let bytes = [&login[..at], &length, name, &login[at + 8..]].concat();
        lying(&bytes, u32::try_from(bytes.len() - 4).expect("short"))
    };
    for (what, name) in
        [("empty", &b""[..]), ("of 65 bytes", &[b'x'; 65]), ("reserved", b"_root"), ("not UTF-8", b"mall\xFFry")]
    {
        closes(&victims, &format!("a name {what}"), stranger(&victims), CloseReason::WrongUserId, named(name));
    }
    for version in [0u16, 2, u16::MAX] {
        let mut link = stranger(&victims);
        link.push(with_tail(&frame_of(Kind::Login as u8, 0, &version.to_le_bytes()), b"whatever"));
        let result = link.next().expect("a result");
        let expected = LoginResult::Refused { result: LoginCode::VersionMismatched, cause: "" };
        assert!(
            matches!((result.decode(), &expected), (Ok(Frame::LoginResult(LoginResult::Refused { result, .. })),
                LoginResult::Refused { result: code, .. }) if result == *code),
            "version {version}: {result:?}"
        );
        was_closed("another version", &mut link, CloseReason::VersionMismatched);
    }
    for kept in (7..login.len()).step_by(3) {
        let cut = lying(&login[..kept], u32::try_from(kept - 4).expect("short"));
        closes(&victims, &format!("{kept} bytes of a login"), stranger(&victims), INVALID, cut);
    }
    let tail = |bytes: &[u8]| [&login[..login.len() - 8], bytes].concat();
    let numbers = [
        ("a credential kind of 4", tail(&[4, 0, 0, 0, 0, 0, 0, 0])),
        ("a resume byte of 2", tail(&[0, 0, 0, 0, 0, 0, 0, 2])),
        ("a credential longer than the frame", tail(&[0, 0xFF, 0xFF, 0, 0, 0, 0, 0])),
    ];
    for (what, bytes) in numbers {
        closes(&victims, what, stranger(&victims), INVALID, bytes.into());
    }
    victims.noticed_nothing("logins that are none");
}

pub(super) fn logins_that_never_come_or_never_end(runtime: &dyn Runtime) {
    let settings = json!({
        "login_timeout_ms": 300, "users": { "alice": {}, "bob": {}, "mallory": { "decision": "never" } },
    });
    let victims = Victims::with(runtime, settings);
    was_closed("no login", &mut stranger(&victims), CloseReason::LoginTimeout);
    let mut undecided = stranger(&victims);
    undecided.push(undecided.login(None));
    was_closed("a login that nobody decides", &mut undecided, CloseReason::LoginTimeout);
    victims.noticed_nothing("endless logins");
}

// Row 3.

pub(super) fn kinds_that_nobody_knows(runtime: &dyn Runtime) {
    let victims = Victims::new(runtime);
    let must = Flags::MUST_UNDERSTAND.bits();
    let mut link = mallory(&victims);
    for kind in [0x00, 0x0C, 0x0F, 0x80, 0xFF] {
        let what = format!("kind {kind:#x}");
        is_borne(&victims, &what, &mut link, frame_of(kind, 0, b"more"), "unknown_skipped");
        closes(&victims, &what, mallory(&victims), CloseReason::Unsupported, frame_of(kind, must, b"more"));
        link = mallory(&victims);
    }
    for kind in [0x1F, 0x7F, Kind::BlobState as u8, Kind::FileOffer as u8] {
        let what = format!("kind {kind:#x}");
        let routed = disguised(&link.plain("bob", "more"), kind, 0);
        link.push(routed.clone());
        let answer = link.next_of(Kind::Failure);
        let unsupported = matches!(
            answer.decode(),
            Ok(Frame::Failure { about, code: Failure::Unsupported, .. }) if about == kind
        );
        assert!(unsupported, "{what}: {answer:?}");
        closes(&victims, &what, mallory(&victims), CloseReason::Unsupported, disguised(&routed, kind, must));
        link = mallory(&victims);
    }
    victims.noticed_nothing("unknown kinds");
}

// Row 6.

pub(super) fn somebody_else_in_from(runtime: &dyn Runtime) {
    let victims = Victims::new(runtime);
    let (device, instance) = (DeviceKind::SERVICE, InstanceId(66));
    let rows = [
        ("another's name", Address::Engine { user: "bob", device, instance }),
        ("a name that differs in case", Address::Engine { user: "Mallory", device, instance }),
        ("another device", Address::Engine { user: "mallory", device: DeviceKind::PHONE, instance }),
        ("another instance", Address::Engine { user: "mallory", device, instance: InstanceId(67) }),
        ("the server", TO_SERVER),
    ];
    for (what, from) in rows {
        let to_alice = Envelope::new(Address::User { user: "alice" }, from, 1);
        let frames = [
            Frame::Send { envelope: to_alice, info_type: 1, body: b"psst" },
            Frame::Certain { envelope: to_alice, ttl_ms: 1_000, info_type: 1, body: b"psst" },
            Frame::Query { envelope: to_alice, ttl_ms: 1_000, info_type: 1, body: b"psst" },
            Frame::EngineMessage { envelope: to_alice, info_type: 1, tag: "t", body: b"psst" },
            Frame::Request { envelope: to_alice, ttl_ms: 1_000, method: 1, cursor: b"", body: b"" },
            Frame::Ack { envelope: Envelope::new(TO_SERVER, from, 1) },
        ];
        for frame in &frames {
            let what = format!("{what} in a {:?}", frame.kind());
            closes(&victims, &what, mallory(&victims), CloseReason::WrongUserId, bytes_of(frame));
        }
    }
    victims.noticed_nothing("somebody else in from");
}

// Row 4.

pub(super) fn what_is_too_large(runtime: &dyn Runtime) {
    let victims = Victims::with(runtime, json!({ "max_frame": 16384 }));
    let large = |bytes: u32| Bytes::from((bytes - 4).to_le_bytes().to_vec());
    let sized = |link: &RawLink, bytes: usize| {
        let fixed = link.plain("nobody", "").len();
        link.plain("nobody", &"x".repeat(bytes - fixed))
    };
    let rows = [
        ("a length over 8 KiB before login", stranger(&victims), large(8_193)),
        ("a length over the limit", mallory(&victims), large(16_385)),
    ];
    for (what, link, bytes) in rows {
        closes(&victims, what, link, CloseReason::TooLarge, bytes);
    }
    // What is too large for a WebSocket message is not read, and so no frame tells it.
    for (mut link, len) in [(stranger(&victims), 8_193), (mallory(&victims), 16_384 + 65_537)] {
        link.push(vec![0; len].into());
        assert!(matches!(link.end(), End::Closed(Some(4015), _)), "a message of {len} bytes");
    }
    until("both are counted", || match victims.counter("messages_too_large") {
        2 => Ok(()),
        count => Err(count.to_string()),
    });
    let link = mallory(&victims);
    let frame = sized(&link, 16_385);
    closes(&victims, "a frame of one byte too many", link, CloseReason::TooLarge, frame);
    let mut link = mallory(&victims);
    let frame = sized(&link, 16_384);
    is_borne(&victims, "the largest frame", &mut link, frame, "offline");
    victims.noticed_nothing("what is too large");
}

// Row 22.

pub(super) fn extensions_that_are_none(runtime: &dyn Runtime) {
    let victims = Victims::new(runtime);
    let time = extension(1, &7u64.to_le_bytes());
    let rows: [(&str, u16, Vec<u8>); 5] = [
        ("longer than the frame", 500, time.clone()),
        ("cut off within a value", 10, time[..10].to_vec()),
        ("a value that is longer than they are", 11, replaced(&time, &[8, 0], &[9, 0]).to_vec()),
        ("a tag twice", 22, [&time[..], &time].concat()),
        ("tags that descend", 15, [&extension(2, b"x")[..], &time].concat()),
    ];
    for (what, stated, extensions) in rows {
        let link = mallory(&victims);
        let message = extended(&link.plain("bob", "hi"), stated, &extensions);
        closes(&victims, what, link, INVALID, message);
        let login = stranger(&victims).login(None);
        closes(&victims, what, stranger(&victims), INVALID, extended(&login, stated, &extensions));
    }
    victims.noticed_nothing("extensions");
}

// Row 13.

pub(super) fn answers_to_nothing(runtime: &dyn Runtime) {
    let victims = Victims::new(runtime);
    let mut link = mallory(&victims);
    let somebody = Address::Engine { user: "alice", device: DeviceKind(0), instance: InstanceId(1) };
    let own = link.engine.clone();
    for (to_whom, to) in [("another instance", somebody), ("the server", TO_SERVER)] {
        let envelope = Envelope::new(to, Address::of_engine(&own), 1);
        let frames = [
            Frame::Ack { envelope },
            Frame::Reply { envelope, body: b"forged" },
            Frame::Response { envelope, status: Ok(()), cursor: b"", body: b"" },
            Frame::Failure { envelope, about: Kind::Query as u8, code: Failure::Offline },
        ];
        for frame in &frames {
            let what = format!("a {:?} to {to_whom}", frame.kind());
            is_borne(&victims, &what, &mut link, bytes_of(frame), "answers_unasked");
        }
    }
    victims.noticed_nothing("answers to nothing");
}

// Rows 19 and 21.

pub(super) fn what_is_not_allowed_or_over(runtime: &dyn Runtime) {
    let victims = Victims::new(runtime);
    let mut link = mallory(&victims);
    for (what, method, body) in [("a kick", Method::Kick, &b"\x03bob"[..]), ("a list", Method::OnlineUsers, b"\0\0")] {
        let envelope = link.to(TO_SERVER, 1);
        let request = Frame::Request { envelope, ttl_ms: 1_000, method: method as u16, cursor: b"", body };
        let request = bytes_of(&request);
        link.push(request);
        let response = link.next_of(Kind::Response);
        let refused = matches!(response.decode(), Ok(Frame::Response { status: Err(Failure::NotAllowed), .. }));
        assert!(refused, "{what}: {response:?}");
    }
    let query = |link: &RawLink, to, ttl_ms| {
        bytes_of(&Frame::Query { envelope: link.to(to, 9), ttl_ms, info_type: 0, body: b"late" })
    };
    let late = query(&link, Address::User { user: "bob" }, 0);
    link.push(late);
    let failure = link.next_of(Kind::Failure);
    assert!(matches!(failure.decode(), Ok(Frame::Failure { code: Failure::TimedOut, .. })), "{failure:?}");
    let group = query(&link, Address::User { user: "nobody" }, 1_000);
    link.push(group);
    let failure = link.next_of(Kind::Failure);
    assert!(matches!(failure.decode(), Ok(Frame::Failure { code: Failure::Offline, .. })), "{failure:?}");
    assert_eq!((victims.counter("not_allowed"), victims.counter("expired")), (2, 1));
    victims.noticed_nothing("what is not allowed");
}

// Row 14.

pub(super) fn counts_and_secrets_that_cannot_be(runtime: &dyn Runtime) {
    let victims = Victims::new(runtime);
    for (what, received, taken) in
        [("received from the future", 1, 0), ("from the far future", u32::MAX, 0), ("taken from the future", 0, 1)]
    {
        let count = bytes_of(&Frame::Count { received, taken });
        closes(&victims, what, mallory(&victims), INVALID, count);
    }
    let mut zoe = RawLink::open(&victims.url, "zoe", 77);
    let secret = zoe.log_in();
    // Somebody else with her secret, and she herself with one that is not hers: fresh sessions, and hers is untouched.
    let mut thief = RawLink::open(&victims.url, "mallory", 66);
    thief.push(thief.login(Some((secret, 0))));
    assert_eq!(thief.welcomed().1, Mode::Fresh);
    zoe.push(bytes_of(&HEARTBEAT));
    zoe.next_of(Kind::HeartbeatAck);
    // A count from the future in a login: the session stays as it was.
    let mut liar = RawLink::open(&victims.url, "zoe", 77);
    liar.push(liar.login(Some((secret, 9))));
    was_closed("a login with a count from the future", &mut liar, INVALID);
    zoe.push(bytes_of(&HEARTBEAT));
    zoe.next_of(Kind::HeartbeatAck);
    let mut wrong = RawLink::open(&victims.url, "zoe", 77);
    wrong.push(wrong.login(Some((ResumeSecret([9; 16]), 0))));
    assert_eq!(wrong.welcomed().1, Mode::Fresh);
    was_closed("the link that was replaced", &mut zoe, CloseReason::Superseded);
    victims.noticed_nothing("counts and secrets");
}

// Rows 23 to 25.

pub(super) fn fragments_and_credits_that_may_not_be(runtime: &dyn Runtime) {
    let victims = Victims::new(runtime);
    let piece = |offset, len| bytes_of(&Frame::Fragment { stream: 5, offset, last: false, data: &vec![7; len] });
    let sending = |total| {
        let mut link = mallory(&victims);
        let envelope = link.to(TO_SERVER, 1);
        // The server's application takes it as a stream.
        let offer = Frame::BlobOffer { envelope, stream: 5, total, info_type: STREAM, name: "" };
        let offer = bytes_of(&offer);
        link.push(offer);
        link.next_of(Kind::Credit);
        link
    };
    let rows = [
        ("beyond a gap", piece(1, 10)),
        ("far beyond a gap", piece(u64::MAX, 10)),
        ("empty", piece(0, 0)),
        ("over 16 KiB", piece(0, 16 * 1024 + 1)),
    ];
    for (what, bytes) in rows {
        closes(&victims, what, sending(None), INVALID, bytes);
    }
    let mut link = mallory(&victims);
    is_borne(&victims, "a fragment of no stream", &mut link, piece(0, 10), "fragments_ignored");
    let credit = bytes_of(&Frame::Credit { stream: 99, offset: 1 << 40 });
    is_borne(&victims, "a credit of no stream", &mut link, credit, "credits_ignored");
    let mut link = sending(None);
    link.push(piece(0, 10));
    is_borne(&victims, "a fragment that came already", &mut link, piece(0, 10), "fragments_ignored");
    let mut link = sending(Some(5));
    link.push(piece(0, 10));
    assert_eq!(blob_failure(&mut link), Failure::Malformed, "past the total");
    link.push(bytes_of(&HEARTBEAT));
    link.next_of(Kind::HeartbeatAck);
    victims.noticed_nothing("fragments");
}

/// Why the blob that the link offered failed.
fn blob_failure(link: &mut RawLink) -> Failure {
    match link.next_of(Kind::Failure).decode() {
        Ok(Frame::Failure { about, code, .. }) if about == Kind::BlobOffer as u8 => code,
        other => panic!("no failure of a blob but {other:?}"),
    }
}

pub(super) fn credits_of_who_receives_that_may_not_be(runtime: &dyn Runtime) {
    let victims = Victims::new(runtime);
    let credit = |stream, offset| bytes_of(&Frame::Credit { stream, offset });
    // Alice sends mallory a blob; `piece` says whether its first piece has come.
    let receiving = |piece: bool| {
        let mut link = mallory(&victims);
        let call = json!({ "do": "blob", "to": "mallory", "body": { "noise": 1 << 20 } });
        let sent = victims.peers[0].call(&serde_json::from_value(call).expect("a call"));
        let Ok(Frame::BlobOffer { stream, .. }) = link.next_of(Kind::BlobOffer).decode() else { panic!("an offer") };
        if piece {
            link.push(credit(stream, 0));
            link.next_of(Kind::Fragment);
        }
        (link, stream, sent)
    };
    for beyond in [1 << 20, u64::MAX] {
        let (link, stream, sent) = receiving(true);
        closes(&victims, "beyond what was handed out", link, INVALID, credit(stream, beyond));
        assert_ne!(sent.wait(), json!("ok"));
        let (mut link, stream, sent) = receiving(false);
        link.push(credit(stream, beyond));
        assert_eq!(sent.wait(), json!({ "failed": "Malformed" }), "a first credit of what never was");
        link.push(bytes_of(&HEARTBEAT));
        link.next_of(Kind::HeartbeatAck);
    }
    let (mut link, stream, _) = receiving(true);
    link.push(credit(stream, 1000));
    is_borne(&victims, "one that shrinks", &mut link, credit(stream, 999), "credits_ignored");
    is_borne(&victims, "the same again", &mut link, credit(stream, 1000), "credits_ignored");
    victims.noticed_nothing("credits");
}

// Row 15.

pub(super) fn an_old_link_that_goes_on_after_a_takeover(runtime: &dyn Runtime) {
    let victims = Victims::new(runtime);
    let mut old = mallory(&victims);
    let mut new = stranger(&victims);
    new.push(new.login(None));
    assert_eq!(new.welcomed().1, Mode::Fresh);
    for _ in 0..3 {
        old.push(old.plain("bob", "late"));
    }
    was_closed("the old link", &mut old, CloseReason::Superseded);
    new.push(bytes_of(&HEARTBEAT));
    new.next_of(Kind::HeartbeatAck);
    victims.noticed_nothing("a takeover");
}

// Row 16.

pub(super) fn who_stops_reading(runtime: &dyn Runtime) {
    let settings = json!({ "overflow_ms": 2000, "resume_window_ms": 100, "max_frame": 33554432 });
    let victims = Victims::with(runtime, settings);
    let deaf = mallory(&victims);
    // More than the kernel takes for a connection whose other end does not read.
    let call = json!({ "do": "send", "to": "mallory", "body": { "noise": 24 << 20 }, "tell": 1 });
    let call = serde_json::from_value(call).expect("a call");
    assert_eq!(victims.peers[0].call(&call).wait(), json!("ok"));
    let told = loop {
        let event = victims.peers[0].event();
        if event["event"] != "LoginCompleted" {
            break event;
        }
    };
    assert_eq!(told, json!({ "event": "Undeliverable", "note": 1, "failure": "ConnectionLost" }));
    assert_eq!(victims.counter("closed_channel_overflow"), 1);
    drop(deaf);
    victims.noticed_nothing("a peer that stopped reading");
}

pub(super) fn who_reads_slowly(runtime: &dyn Runtime) {
    const BODY: usize = 24 << 20;
    let victims = Victims::with(runtime, json!({ "overflow_ms": 2000, "max_frame": 33554432 }));
    let mut slow = mallory(&victims);
    let call = json!({ "do": "send", "to": "mallory", "body": { "noise": BODY }, "tell": 1 });
    let call = serde_json::from_value(call).expect("a call");
    assert_eq!(victims.peers[0].call(&call).wait(), json!("ok"));
    // It takes longer than bytes may stand still, but they never do.
    slow.read_slowly(BODY, BODY / 50, Duration::from_millis(70));
    assert_eq!(victims.counter("closed_channel_overflow"), 0);
    assert_eq!(victims.server.look()["links"], 3);
    victims.noticed_nothing("a peer that reads slowly");
}

// What the server's application does to messages, for better or worse.

/// A client of the name `mallory` that keeps to the rules, and what it is to call.
fn caller(runtime: &dyn Runtime, victims: &Victims) -> impl Fn(serde_json::Value) -> serde_json::Value + use<> {
    let spec = ClientSpec { user: "mallory".into(), handles: false, ..ClientSpec::default() };
    let peer = runtime.connect(&victims.url, &spec, Arc::new(Inbox::new())).expect("logs in");
    move |call| peer.call(&serde_json::from_value(call).expect("a call")).wait()
}

pub(super) fn interceptors_that_refuse_panic_or_never_return(runtime: &dyn Runtime) {
    let rows = [
        ("refuses", "NotAllowed", "intercepted"),
        ("panics", "Internal", "interceptions_failed"),
        ("never", "Internal", "interceptions_failed"),
    ];
    for (does, failure, counter) in rows {
        let victims = Victims::with(runtime, json!({ "intercepts": does, "intercept_limit_ms": 200 }));
        let mallory = caller(runtime, &victims);
        let calls = [
            json!({ "do": "certain", "to": "bob", "body": "let me" }),
            json!({ "do": "query", "to": "bob", "body": "may I?" }),
            json!({ "do": "certain", "body": "to the server" }),
            json!({ "do": "blob", "to": "bob", "body": { "noise": 100_000 } }),
            json!({ "do": "blob", "group": "~all", "body": { "noise": 100_000 } }),
        ];
        let calls_made = calls.len() as u64;
        for call in calls {
            let outcome = mallory(call.clone());
            assert_eq!(outcome, json!({ "failed": failure }), "{does}: {call}");
        }
        assert_eq!(victims.counter(counter), calls_made, "{does}");
        victims.noticed_nothing(does);
    }
}

pub(super) fn blobs_to_groups_that_may_not_be(runtime: &dyn Runtime) {
    let victims = Victims::new(runtime);
    let mallory = caller(runtime, &victims);
    let blob = json!({ "do": "blob", "group": "~none", "body": { "noise": 100_000 } });
    assert_eq!(mallory(blob.clone()), json!({ "failed": "NotAllowed" }), "there is no such group");
    let join: Call = serde_json::from_value(json!({ "do": "join", "group": "~none" })).expect("a call");
    assert_eq!(victims.peers[0].call(&join).wait(), json!(true));
    assert_eq!(mallory(blob.clone()), json!({ "failed": "NotAllowed" }), "it is another's");
    assert_eq!(mallory(json!({ "do": "join", "group": "~mine" })), json!(true));
    let own = json!({ "do": "blob", "group": "~mine", "body": { "noise": 100_000 } });
    assert_eq!(mallory(own), json!("ok"), "nobody else is there");
    victims.noticed_nothing("blobs to groups");
}
