//! The same rows with the client at the receiving end: a server that misbehaves, and what another user can make an
//! honest server relay. The first closes the link, the second never does.

use bytes::{Bytes, BytesMut};
use esf_proto::{
    client::{Action, BlobEvent, BlobRead, Event, Seed, Session, State, TakeBlob},
    close::CloseReason,
    failure::Failure,
    ids::{DeviceKind, InstanceId, LinkId, MessageId},
    login::{LoginCode, Mode},
    time::Instant,
    wire::{Address, Envelope, Flags, Frame, Header, Hop, Kind, LoginResult},
};
use esf_tests::{
    by_hand::{
        bytes_of, disguised, extended, extension, flagged, frame_of, lying, no_frames, welcome, with_tail, without_tail,
    },
    world::{Outcome, client_config, user},
};

use super::Scene;

const INVALID: CloseReason = CloseReason::InvalidMessage;
const SERVER: Address<'static> = Address::Server { instance: 900 };
const ANN: Address<'static> = Address::Engine { user: "ann", device: DeviceKind::SERVICE, instance: InstanceId(7) };
const BEN: Address<'static> = Address::Engine { user: "ben", device: DeviceKind::PHONE, instance: InstanceId(8) };

/// A client whose server is the test itself, with a certain send that waits for its outcome.
struct AtTheMercy {
    session: Session,
    pending: MessageId,
}

const LINK: LinkId = LinkId(1);
const NOW: Instant = Instant::from_micros(1_000_000);

impl AtTheMercy {
    fn before_login() -> Self {
        let mut session = Session::new(client_config("ann"), Seed { instance: InstanceId(7), jitter: 1 }, NOW);
        assert_eq!(session.poll_action(), Some(Action::Connect { link: LINK }));
        session.handle_connected(NOW, LINK);
        let pending = session.send_certainly(NOW, &user("ben"), 1, "hi".into(), None).expect("room");
        let mut client = Self { session, pending };
        client.drain();
        client
    }

    fn new() -> Self {
        let mut client = Self::before_login();
        client.give(bytes_of(&welcome(Mode::Fresh)));
        assert_eq!(client.session.state(), State::Online);
        client
    }

    fn give(&mut self, message: Bytes) {
        self.session.handle_message(NOW, LINK, message);
        self.drain();
    }

    fn drain(&mut self) {
        while self.session.poll_transmit(NOW).is_some() {}
    }

    /// The server's message ends the session for this reason: told as a frame and a code, counted, and with one
    /// outcome for what was pending.
    fn closes(mut self, what: &str, message: Bytes, reason: CloseReason) {
        self.session.handle_message(NOW, LINK, message);
        self.was_closed(what, reason);
    }

    fn was_closed(mut self, what: &str, reason: CloseReason) {
        let last = std::iter::from_fn(|| self.session.poll_transmit(NOW)).last().expect("a farewell");
        assert_eq!(last.frame, bytes_of(&Frame::Close { reason, text: reason.text() }), "{what}");
        assert_eq!(self.session.poll_action(), Some(Action::Close { link: LINK, reason: Some(reason) }), "{what}");
        assert_eq!(self.session.stats().violations, 1, "{what} is counted");
        let events: Vec<Event> = std::iter::from_fn(|| self.session.poll_event()).collect();
        let ends = events.iter().filter(|event| matches!(event, Event::Failed { id, .. } if *id == self.pending));
        assert_eq!(ends.count(), 1, "{what}: {events:?}");
        assert_eq!(events.last(), Some(&Event::Closed { reason }), "{what}");
    }

    /// The message is bad, and not this link's fault.
    fn bears(&mut self, what: &str, message: Bytes, counter: &str) {
        let count = |session: &Session| {
            let found = session.stats().iter().find(|(name, _)| *name == counter);
            found.unwrap_or_else(|| panic!("there is no counter {counter}")).1
        };
        let before = count(&self.session);
        self.give(message);
        assert_eq!(self.session.state(), State::Online, "{what}");
        assert_eq!(count(&self.session), before + 1, "{what} is counted");
        assert_eq!(self.session.stats().violations, 0, "{what}");
    }
}

fn send(text: &str) -> Frame<'_> {
    Frame::Send { envelope: Envelope::new(ANN, BEN, 0), info_type: 1, body: text.as_bytes() }
}

// A server that misbehaves.

#[test]
fn bytes_that_are_no_frame_end_the_session() {
    for (what, bytes, reason) in no_frames() {
        AtTheMercy::before_login().closes(what, bytes.clone(), reason);
        AtTheMercy::new().closes(what, bytes, reason);
    }
}

#[test]
fn a_text_message_ends_the_session() {
    for mut client in [AtTheMercy::before_login(), AtTheMercy::new()] {
        client.session.handle_text(NOW, LINK);
        client.was_closed("a text message", INVALID);
    }
}

#[test]
fn what_is_too_large_ends_the_session_by_its_length_alone() {
    let over = Bytes::from(((1u32 << 20) - 3).to_le_bytes().to_vec());
    AtTheMercy::new().closes("a length over 1 MiB", over, CloseReason::TooLarge);
}

#[test]
fn malformed_extensions_end_the_session() {
    let time = extension(1, &7u64.to_le_bytes());
    let twice = [&time[..], &time].concat();
    for frame in [bytes_of(&send("hi")), bytes_of(&Frame::HeartbeatAck { nonce: 1 })] {
        AtTheMercy::new().closes("longer than the frame", extended(&frame, 500, &time), INVALID);
        AtTheMercy::new().closes("cut off", extended(&frame, 5, &time[..5]), INVALID);
        AtTheMercy::new().closes("a tag twice", extended(&frame, 22, &twice), INVALID);
    }
}

#[test]
fn frames_out_of_place_end_the_session() {
    let refused = Frame::LoginResult(LoginResult::Refused { result: LoginCode::Failed, cause: "" });
    let cases = [
        ("a second welcome", bytes_of(&welcome(Mode::Fresh))),
        ("a resume on a link that is logged in", bytes_of(&welcome(Mode::Resumed))),
        ("a refusal after the welcome", bytes_of(&refused)),
        ("an answer to a query before login", bytes_of(&Frame::PreReply { status: Ok(()), body: b"" })),
        ("a query before login", bytes_of(&Frame::PreQuery { info_type: 1, body: b"" })),
        ("a heartbeat", bytes_of(&Frame::Heartbeat { nonce: 1 })),
        ("a login", frame_of(Kind::Login as u8, 0, &[1, 0])),
        ("a login of another version", frame_of(Kind::Login as u8, 0, &[9, 0])),
        ("a count of what was not sent", bytes_of(&Frame::Count { received: 2, taken: 0 })),
        ("bytes taken that were not sent", bytes_of(&Frame::Count { received: 1, taken: 1 << 20 })),
        ("a close reason outside its table", frame_of(Kind::Close as u8, 0, &[20, 0, 0])),
        ("a count that is cut off", without_tail(&bytes_of(&Frame::Count { received: 0, taken: 0 }), 1)),
        ("a byte behind a count", with_tail(&bytes_of(&Frame::Count { received: 0, taken: 0 }), &[0])),
    ];
    for (what, bytes) in cases {
        AtTheMercy::new().closes(what, bytes, INVALID);
    }
    let early = [
        ("a resume that was not asked for", bytes_of(&welcome(Mode::Resumed))),
        ("a message before the welcome", bytes_of(&send("hi"))),
        ("a count before the welcome", bytes_of(&Frame::Count { received: 0, taken: 0 })),
        ("an unknown routed kind before the welcome", disguised(&bytes_of(&send("hi")), 0x7F, 0)),
        ("a welcome that is cut off", without_tail(&bytes_of(&welcome(Mode::Fresh)), 1)),
    ];
    for (what, bytes) in early {
        AtTheMercy::before_login().closes(what, bytes, INVALID);
    }
}

#[test]
fn kinds_that_must_be_understood_end_the_session_and_others_are_skipped() {
    let routed = bytes_of(&send("hi"));
    for kind in [0x0C, 0x80, 0x0D, 0x0F] {
        AtTheMercy::new().bears("unknown, of the hop", frame_of(kind, 0, b"more"), "skipped");
        let must = frame_of(kind, Flags::MUST_UNDERSTAND.bits(), b"more");
        AtTheMercy::new().closes("unknown, of the hop", must, CloseReason::Unsupported);
    }
    for kind in [0x7F, Kind::FileEnd as u8, Kind::BlobState as u8, Kind::FileOffer as u8] {
        AtTheMercy::new().bears("unknown and routed", disguised(&routed, kind, 0), "skipped");
        let must = disguised(&routed, kind, Flags::MUST_UNDERSTAND.bits());
        AtTheMercy::new().closes("unknown and routed", must, CloseReason::Unsupported);
    }
}

#[test]
fn more_than_a_window_of_messages_ends_the_session() {
    let mut client = AtTheMercy::new();
    let message = bytes_of(&send(&"x".repeat(8 << 10)));
    let fit = (256 << 10) / message.len();
    for _ in 0..fit {
        client.give(message.clone());
    }
    assert_eq!((client.session.state(), client.session.waiting_messages()), (State::Online, fit));
    client.closes("a message beyond the window", message, INVALID);
}

// What another user can make an honest server relay, and more than that.

#[test]
fn nothing_that_another_user_wrote_ends_the_session() {
    let mut client = AtTheMercy::new();
    let to_me = Envelope::new(ANN, BEN, 1);
    let earlier = Address::Engine { user: "ann", device: DeviceKind::SERVICE, instance: InstanceId(6) };
    let payload_of_nothing = frame_of(Kind::Send as u8, 0, b"\x09");
    let malformed = [
        ("a payload that is none", payload_of_nothing),
        ("an envelope that is cut off", frame_of(Kind::Certain as u8, 0, &bytes_of(&send("hi"))[7..20])),
        ("an ack with a byte too much", with_tail(&bytes_of(&Frame::Ack { envelope: to_me }), &[0])),
        ("a message that comes from a group", disguised(&group_from(), Kind::Send as u8, 0)),
    ];
    for (what, bytes) in malformed {
        client.bears(what, bytes, "malformed");
    }
    let unasked = [
        ("an ack", Frame::Ack { envelope: Envelope::new(ANN, BEN, 77) }),
        ("a reply", Frame::Reply { envelope: to_me, body: b"" }),
        ("a response", Frame::Response { envelope: to_me, status: Ok(()), cursor: b"", body: b"" }),
        ("a failure of what was not sent", failure(BEN, 77, Kind::Certain as u8)),
        ("a failure about a kind that nobody knows", failure(SERVER, 1, 0xEE)),
        ("another's ack of what was sent to ben", Frame::Ack { envelope: Envelope::new(ANN, ZOE, 1) }),
    ];
    for (what, frame) in unasked {
        client.bears(what, bytes_of(&frame), "answers_unasked");
    }
    let misaddressed = [
        ("a message to an older life of this engine", Envelope::new(earlier, BEN, 1)),
        ("a message to somebody else", Envelope::new(Address::User { user: "zoe" }, BEN, 1)),
        (
            "a message to another device",
            Envelope::new(Address::Device { user: "ann", device: DeviceKind::PHONE }, BEN, 1),
        ),
        ("a message to the server", Envelope::new(SERVER, BEN, 1)),
    ];
    for (what, envelope) in misaddressed {
        client.bears(what, bytes_of(&Frame::Send { envelope, info_type: 1, body: b"" }), "misaddressed");
    }
    let certain = |id| Frame::Certain { envelope: Envelope::new(ANN, BEN, id), ttl_ms: 1, info_type: 1, body: b"" };
    client.give(bytes_of(&certain(5)));
    client.bears("a certain message once more", bytes_of(&certain(5)), "duplicates");
    client.bears("a certain message of the past", bytes_of(&certain(4)), "late");
    let mut again = BytesMut::new();
    certain(5).encode(Header { hop: Hop::AGAIN, ..Header::default() }, &mut again).expect("a frame");
    client.bears("a resend of what was run", again.freeze(), "duplicates");
    client.bears("a volatile unknown kind", disguised(&flagged(&send("hi"), Flags::VOLATILE), 0x7F, 0), "skipped");
    // It still works: the answer that it waits for is its outcome.
    client.give(bytes_of(&Frame::Ack { envelope: to_me }));
    let events: Vec<Event> = std::iter::from_fn(|| client.session.poll_event()).collect();
    assert!(events.contains(&Event::Acked { id: client.pending }), "{events:?}");
}

const ZOE: Address<'static> = Address::Engine { user: "zoe", device: DeviceKind::PHONE, instance: InstanceId(9) };

fn failure(from: Address<'static>, id: u64, about: u8) -> Frame<'static> {
    Frame::Failure { envelope: Envelope::new(ANN, from, id), about, code: Failure::Offline }
}

/// A send whose `from` has the form of a group.
fn group_from() -> Bytes {
    let honest = bytes_of(&send("hi"));
    let own = [&[3, 3][..], b"ben"].concat();
    let at = honest.windows(own.len()).position(|window| window == own).expect("the sender");
    // A group's address has no device and no instance.
    let bytes = [&honest[..at], &[4, 3], b"ben", &honest[at + own.len() + 9..]].concat();
    let length = u32::try_from(bytes.len() - 4).expect("short");
    lying(&bytes, length)
}

#[test]
fn what_a_user_can_send_through_a_server_leaves_the_receiver_as_it_was() {
    // The same through a real server: what it relays, its receiver bears; what it does not, never arrives.
    let mut scene = Scene::new();
    let ann = Address::User { user: "ann" };
    let from = scene.mallory.engine.clone();
    let envelope = |id| Envelope::new(ann, Address::of_engine(&from), id);
    let certain = |id| Frame::Certain { envelope: envelope(id), ttl_ms: 60_000, info_type: 1, body: b"" };
    let request = |method| Frame::Request { envelope: envelope(1), ttl_ms: 1_000, method, cursor: b"", body: b"junk" };
    let must = Flags::MUST_UNDERSTAND;
    let messages = [
        bytes_of(&certain(u64::MAX)),
        bytes_of(&certain(u64::MAX)),
        bytes_of(&certain(1)),
        bytes_of(&certain(0)),
        flagged(&certain(2), must),
        flagged(&certain(3), Flags::from_bits(0xC0)),
        bytes_of(&request(1)),
        bytes_of(&request(2)),
        bytes_of(&request(u16::MAX)),
        bytes_of(&Frame::Query { envelope: envelope(0), ttl_ms: u32::MAX, info_type: u32::MAX, body: &[0xFF; 100] }),
        bytes_of(&Frame::Query { envelope: envelope(0), ttl_ms: 1, info_type: 0, body: b"" }),
        flagged(&Frame::Send { envelope: envelope(u64::MAX), info_type: 0, body: b"" }, Flags::VOLATILE),
        flagged(
            &Frame::EngineMessage { envelope: envelope(0), info_type: 0, tag: "\0\u{202e}", body: b"" },
            Flags::TELL.with(Flags::ECHO),
        ),
    ];
    for message in messages {
        scene.send(message);
        assert!(scene.mallory.is_open(), "{:?}", scene.mallory.closed());
        assert!(scene.world.is_online(scene.others.ann));
    }
    scene.others.are_unharmed(&mut scene.world, "odd messages");
    // A receiver's own memory of ids is per sender: mallory's largest id closes nobody else out.
    let told = scene.world.send_certainly(scene.others.ben, "ann", "me too");
    scene.world.run();
    assert_eq!(scene.world.outcome(scene.others.ben, told), Some(Outcome::Acked));
}

#[test]
fn fragments_and_credits_that_bring_nothing_are_counted() {
    let mut client = AtTheMercy::new();
    let offer =
        Frame::BlobOffer { envelope: Envelope::new(ANN, BEN, 1), stream: 5, total: None, info_type: 1, name: "" };
    client.session.handle_message(NOW, LINK, bytes_of(&offer));
    let Some(Event::Blob(BlobEvent::Offered(offered))) =
        std::iter::from_fn(|| client.session.poll_event()).find(|event| matches!(event, Event::Blob(_)))
    else {
        panic!("an offer");
    };
    let piece = |stream, offset, len| bytes_of(&Frame::Fragment { stream, offset, last: false, data: &vec![7; len] });
    client.bears("before it is taken", piece(5, 0, 10), "fragments_ignored");
    client.session.accept_blob(NOW, offered.blob, TakeBlob::Stream);
    client.drain();
    let ignored = [
        ("unknown stream", piece(6, 0, 10)),
        ("beyond a gap", piece(5, 1, 10)),
        ("empty", piece(5, 0, 0)),
        ("over 16 KiB", piece(5, 0, 16 * 1024 + 1)),
        ("at the end of numbers", piece(5, u64::MAX, 10)),
    ];
    for (what, bytes) in ignored {
        client.bears(what, bytes, "fragments_ignored");
    }
    client.give(piece(5, 0, 10));
    assert_eq!(client.session.read_blob(NOW, offered.blob), BlobRead::Data(vec![7; 10].into()));
    client.bears("again", piece(5, 0, 10), "fragments_ignored");
    for at in 0..16 {
        client.give(piece(5, 10 + at * 16 * 1024, 16 * 1024 - usize::from(at == 15) * 10));
    }
    assert_eq!(client.session.blob_bytes(), 256 * 1024 - 10);
    client.bears("past the window", piece(5, 256 * 1024, 10), "fragments_ignored");
    client.bears("a credit for no stream", bytes_of(&Frame::Credit { stream: 5, offset: 0 }), "credits_ignored");
}
