//! Servers that misbehave: what the client at their mercy does about it.

use std::{
    io::Write as _,
    net::{Shutdown, TcpListener},
    sync::Arc,
    thread,
};

use bytes::Bytes;
use esf_proto::{
    close::CloseReason,
    failure::Failure,
    ids::{DeviceKind, InstanceId},
    login::{LoginCode, Mode},
    wire::{Address, Envelope, Flags, Frame, Kind, LoginResult},
};
use esf_tests::by_hand::{
    bytes_of, disguised, extended, extension, frame_of, no_frames, welcome, with_tail, without_tail,
};
use serde_json::{Value, json};

use super::Victims;
use crate::kit::{
    Peer, Runtime,
    inbox::{self, Inbox},
    raw::{End, RawLink, SERVER, reply_to_request, upgraded},
    spec::{Call, ClientSpec},
    until,
};

const INVALID: CloseReason = CloseReason::InvalidMessage;
const BEN: Address<'static> = Address::Engine { user: "ben", device: DeviceKind::PHONE, instance: InstanceId(8) };
const HEARTBEAT_ACK: Frame<'static> = Frame::HeartbeatAck { nonce: 0 };

/// A client whose server is made by hand.
pub(super) struct AtTheMercy {
    pub(super) peer: Box<dyn Peer>,
    listener: Arc<TcpListener>,
    pub(super) inbox: Arc<Inbox>,
}

pub(super) fn listener() -> (Arc<TcpListener>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("ws://{}", listener.local_addr().expect("an address"));
    (Arc::new(listener), url)
}

impl AtTheMercy {
    /// It has begun to connect.
    pub(super) fn new(runtime: &dyn Runtime) -> Self {
        let (listener, url) = listener();
        let spec = ClientSpec { user: "ann".into(), start: true, ..ClientSpec::default() };
        let inbox = Arc::new(Inbox::new());
        let peer = runtime.connect(&url, &spec, inbox.clone()).expect("it starts");
        Self { peer, listener, inbox }
    }

    /// The server's end of its next connection, after its login.
    pub(super) fn accept(&self) -> RawLink {
        loop {
            let link = RawLink::accept(&self.listener);
            // A client of another test may look here for a server that had this port before.
            if self.peer.look()["instance"] == link.engine.instance.0 {
                return link;
            }
        }
    }

    /// The same, with the client let in.
    pub(super) fn welcome(&self) -> RawLink {
        let mut link = self.accept();
        link.welcome();
        until("it is logged in", || {
            let look = self.peer.look();
            if look["connected"] == true { Ok(()) } else { Err(look.to_string()) }
        });
        link
    }

    /// It ends for this reason, as the server and its application see it.
    fn ends(&self, what: &str, link: &mut RawLink, reason: CloseReason) {
        assert_eq!(link.end(), End::Closed(Some(reason.websocket_code()), Some(reason)), "{what}");
        let closed: Call = serde_json::from_value(json!({ "do": "closed" })).expect("a call");
        assert_eq!(self.peer.call(&closed).wait(), json!({ "ended": format!("{reason:?}") }), "{what}");
        assert_eq!(self.peer.look()["stats"]["violations"], 1, "{what}");
    }

    /// It gives up this connection and comes back.
    fn comes_back(&self, what: &str) {
        let link = self.welcome();
        assert_eq!(link.engine.user.as_str(), "ann", "{what}");
    }

    fn counts(&self, name: &str) -> u64 {
        self.peer.look()["stats"][name].as_u64().unwrap_or_else(|| panic!("no counter is called {name}"))
    }
}

/// A message from ben to the client.
fn send<'a>(link: &'a RawLink, text: &'a str) -> Frame<'a> {
    Frame::Send {
        envelope: Envelope::new(Address::of_engine(&link.engine), BEN, 0),
        info_type: 1,
        body: text.as_bytes(),
    }
}

/// Each of these ends a client that is logged in.
fn end_it(runtime: &dyn Runtime, rows: Vec<(String, Bytes, CloseReason)>) {
    for (what, bytes, reason) in rows {
        let client = AtTheMercy::new(runtime);
        let mut link = client.welcome();
        link.push(bytes);
        client.ends(&what, &mut link, reason);
    }
}

pub(super) fn replies_that_are_no_websocket(runtime: &dyn Runtime) {
    let victims = Victims::new(runtime);
    let accept = |request: &str| {
        let key = request.split("Sec-WebSocket-Key: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        tungstenite::handshake::derive_accept_key(key.unwrap_or_default().as_bytes())
    };
    type Reply = Box<dyn FnOnce(&str) -> Vec<u8> + Send>;
    let switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    let rows: Vec<(&str, Reply)> = vec![
        ("no HTTP", Box::new(|_| b"SSH-2.0-OpenSSH_9.6\r\n".to_vec())),
        ("301 Moved", Box::new(|_| b"HTTP/1.1 301 Moved\r\nContent-Length: 0\r\n\r\n".to_vec())),
        ("200", Box::new(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec())),
        ("end of file", Box::new(|_| Vec::new())),
        ("", Box::new(move |_| format!("{switching}Sec-WebSocket-Accept: c29tZWJvZHkgZWxzZSdz\r\n\r\n").into_bytes())),
        (
            "",
            Box::new(move |request| {
                format!("{switching}Sec-WebSocket-Accept: {}\r\n\r\n", accept(request)).into_bytes()
            }),
        ),
        ("", Box::new(move |_| format!("{switching}X: {}", "x".repeat(100_000)).into_bytes())),
    ];
    for (number, (words, reply)) in rows.into_iter().enumerate() {
        let (listener, url) = listener();
        let server = thread::spawn(move || {
            let stream = reply_to_request(&listener, reply);
            let _ = stream.shutdown(Shutdown::Write);
            // Held until the client has gone, so that nothing is lost in a reset.
            let _ = std::io::Read::read_to_end(&mut &stream, &mut Vec::new());
        });
        let spec = ClientSpec { user: "ann".into(), ..ClientSpec::default() };
        let outcome = runtime.connect(&url, &spec, Arc::new(Inbox::new()));
        let cause = outcome.err().unwrap_or_else(|| panic!("reply {number} is no server"));
        let told = cause["unreachable"].as_str().unwrap_or_else(|| panic!("reply {number}: {cause}"));
        assert!(told.contains(words), "reply {number}: {told}");
        server.join().expect("the server ends");
    }
    victims.noticed_nothing("replies that are no WebSocket");
}

pub(super) fn handshakes_and_logins_that_never_end(runtime: &dyn Runtime) {
    let victims = Victims::new(runtime);
    // They are given up, in ten seconds and fifteen; until then they hold nothing up, also not their own client's end.
    let client = AtTheMercy::new(runtime);
    let (silent, _) = client.listener.accept().expect("a client comes");
    client.peer.call(&serde_json::from_value(json!({ "do": "close" })).expect("a call")).wait();
    let closed: Call = serde_json::from_value(json!({ "do": "closed" })).expect("a call");
    assert_eq!(client.peer.call(&closed).wait(), json!({ "ended": "LoggedOff" }));
    drop(silent);

    let client = AtTheMercy::new(runtime);
    let mut undecided = client.accept();
    client.peer.call(&serde_json::from_value(json!({ "do": "close" })).expect("a call")).wait();
    assert_eq!(client.peer.call(&closed).wait(), json!({ "ended": "LoggedOff" }));
    assert_ne!(undecided.end(), End::Closed(Some(4001), Some(INVALID)));
    victims.noticed_nothing("endless handshakes and logins");
}

pub(super) fn early_ends(runtime: &dyn Runtime) {
    let victims = Victims::new(runtime);
    let client = AtTheMercy::new(runtime);
    for _ in 0..2 {
        drop(client.listener.accept().expect("a client comes"));
    }
    client.accept().break_off();
    let mut half = client.accept();
    let result = bytes_of(&welcome(Mode::Fresh));
    half.push_raw(&[0x82, u8::try_from(result.len()).expect("short")]);
    half.push_raw(&result[..30]);
    half.break_off();
    client.welcome().break_off();
    let mut within = client.welcome();
    within.push_raw(&[0x82, 126, 0x10]);
    within.break_off();
    let mut closes = client.welcome();
    closes.close(None);
    client.comes_back("early ends");
    assert_eq!(client.counts("violations"), 0);
    victims.noticed_nothing("early ends");
}

pub(super) fn bytes_that_are_no_websocket(runtime: &dyn Runtime) {
    let victims = Victims::new(runtime);
    let ping = [&[0x89, 126, 0, 126][..], &[7; 126]].concat();
    let rows: [(&str, &[u8]); 6] = [
        ("reserved bits", &[0xF2, 0]),
        ("a reserved opcode", &[0x83, 0]),
        ("a mask", &[0x82, 0x82, 0, 0, 0, 0, b'h', b'i']),
        ("a continuation of nothing", &[0x80, 0]),
        ("a ping in fragments", &[0x09, 0]),
        ("a ping of 126 bytes", &ping),
    ];
    for (what, bytes) in rows {
        let client = AtTheMercy::new(runtime);
        let mut early = client.accept();
        early.push_raw(bytes);
        let _ = early.end();
        let mut late = client.welcome();
        late.push_raw(bytes);
        let _ = late.end();
        client.comes_back(what);
        assert_eq!(client.peer.look()["links_violated"], 2, "{what}");
    }
    // Without a handshake of tungstenite's, so that nothing of it is read ahead.
    let client = AtTheMercy::new(runtime);
    let stream = reply_to_request(&client.listener, |request| {
        let key = request.split("Sec-WebSocket-Key: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let accept = tungstenite::handshake::derive_accept_key(key.unwrap_or_default().as_bytes());
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Protocol: esf.v1\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        )
        .into_bytes()
    });
    let mut socket = upgraded(stream);
    socket.get_mut().write_all(&[0xFF; 64]).expect("sends");
    client.comes_back("noise right after the handshake");
    victims.noticed_nothing("bytes that are no WebSocket");
}

pub(super) fn bytes_that_are_no_frame(runtime: &dyn Runtime) {
    let victims = Victims::new(runtime);
    for (what, bytes, reason) in no_frames() {
        let client = AtTheMercy::new(runtime);
        let mut link = client.accept();
        link.push(bytes);
        client.ends(what, &mut link, reason);
    }
    end_it(runtime, no_frames().into_iter().map(|(what, bytes, reason)| (what.to_owned(), bytes, reason)).collect());
    for logged_in in [false, true] {
        let client = AtTheMercy::new(runtime);
        let mut link = if logged_in { client.welcome() } else { client.accept() };
        link.push_text();
        client.ends("a text message", &mut link, INVALID);
    }
    let over = Bytes::from(((1u32 << 20) - 3).to_le_bytes().to_vec());
    let time = extension(1, &7u64.to_le_bytes());
    let twice = [&time[..], &time].concat();
    let rows = [
        ("a length over 1 MiB", over, CloseReason::TooLarge),
        ("a message over 1 MiB and 64 KiB", Bytes::from(vec![0; (1 << 20) + (64 << 10) + 1]), CloseReason::TooLarge),
        ("extensions longer than the frame", extended(&bytes_of(&HEARTBEAT_ACK), 500, &time), INVALID),
        ("a tag twice", extended(&bytes_of(&HEARTBEAT_ACK), 22, &twice), INVALID),
    ];
    for (what, bytes, reason) in rows {
        let client = AtTheMercy::new(runtime);
        let mut link = client.welcome();
        link.push(bytes);
        let end = link.end();
        // What is too large for a WebSocket message is not read, and so no frame tells it.
        assert!(matches!(end, End::Closed(code, _) if code == Some(reason.websocket_code())), "{what}: {end:?}");
    }
    victims.noticed_nothing("bytes that are no frame");
}

pub(super) fn what_is_out_of_place(runtime: &dyn Runtime) {
    let victims = Victims::new(runtime);
    let refused = Frame::LoginResult(LoginResult::Refused { result: LoginCode::Failed, cause: "" });
    let count = bytes_of(&Frame::Count { received: 0, taken: 0 });
    let rows = [
        ("a second welcome", bytes_of(&welcome(Mode::Fresh))),
        ("a refusal after the welcome", bytes_of(&refused)),
        ("an answer to a query before login", bytes_of(&Frame::PreReply { status: Ok(()), body: b"" })),
        ("a query before login", bytes_of(&Frame::PreQuery { info_type: 1, body: b"" })),
        ("a heartbeat", bytes_of(&Frame::Heartbeat { nonce: 1 })),
        ("a login", frame_of(Kind::Login as u8, 0, &[1, 0])),
        ("a count of what was not sent", bytes_of(&Frame::Count { received: 9, taken: 0 })),
        ("bytes taken that were not sent", bytes_of(&Frame::Count { received: 0, taken: 1 << 20 })),
        ("a close reason outside its table", frame_of(Kind::Close as u8, 0, &[20, 0, 0])),
        ("a count that is cut off", without_tail(&count, 1)),
        ("a byte behind a count", with_tail(&count, &[0])),
    ];
    end_it(runtime, rows.into_iter().map(|(what, bytes)| (what.to_owned(), bytes, INVALID)).collect());
    type Made = fn(&RawLink) -> Bytes;
    let early: [(&str, Made); 5] = [
        ("a resume that was not asked for", |_| bytes_of(&welcome(Mode::Resumed))),
        ("a message before the welcome", |link| bytes_of(&send(link, "hi"))),
        ("a count before the welcome", |_| bytes_of(&Frame::Count { received: 0, taken: 0 })),
        ("an unknown routed kind before the welcome", |link| disguised(&bytes_of(&send(link, "hi")), 0x7F, 0)),
        ("a welcome that is cut off", |_| without_tail(&bytes_of(&welcome(Mode::Fresh)), 1)),
    ];
    for (what, bytes) in early {
        let client = AtTheMercy::new(runtime);
        let mut link = client.accept();
        let bytes = bytes(&link);
        link.push(bytes);
        client.ends(what, &mut link, INVALID);
    }
    victims.noticed_nothing("what is out of place");
}

pub(super) fn kinds_that_must_be_understood(runtime: &dyn Runtime) {
    let victims = Victims::new(runtime);
    let must = Flags::MUST_UNDERSTAND.bits();
    for kind in [0x0C, 0x0F, 0x80] {
        let row = (format!("kind {kind:#x}"), frame_of(kind, must, b"more"), CloseReason::Unsupported);
        end_it(runtime, vec![row]);
    }
    for kind in [0x7F, Kind::BlobState as u8, Kind::FileOffer as u8] {
        let client = AtTheMercy::new(runtime);
        let mut link = client.welcome();
        let bytes = disguised(&bytes_of(&send(&link, "hi")), kind, must);
        link.push(bytes);
        client.ends(&format!("kind {kind:#x}"), &mut link, CloseReason::Unsupported);
    }
    victims.noticed_nothing("kinds that must be understood");
}

pub(super) fn what_another_user_wrote_is_borne(runtime: &dyn Runtime) {
    let victims = Victims::new(runtime);
    let client = AtTheMercy::new(runtime);
    let mut link = client.welcome();
    let own = link.engine.clone();
    let to_me = Envelope::new(Address::of_engine(&own), BEN, 77);
    let other = Envelope::new(Address::User { user: "zoe" }, BEN, 1);
    let certain = |id| {
        let envelope = Envelope::new(Address::of_engine(&own), BEN, id);
        bytes_of(&Frame::Certain { envelope, ttl_ms: 1, info_type: 1, body: b"once" })
    };
    let failure = Frame::Failure { envelope: to_me, about: Kind::Certain as u8, code: Failure::Offline };
    let rows = [
        ("a payload that is none", frame_of(Kind::Send as u8, 0, b"\x09"), "malformed"),
        ("an ack with a byte too much", with_tail(&bytes_of(&Frame::Ack { envelope: to_me }), &[0]), "malformed"),
        ("an ack of nothing", bytes_of(&Frame::Ack { envelope: to_me }), "answers_unasked"),
        ("a reply to nothing", bytes_of(&Frame::Reply { envelope: to_me, body: b"" }), "answers_unasked"),
        ("a failure of nothing", bytes_of(&failure), "answers_unasked"),
        (
            "a message to somebody else",
            bytes_of(&Frame::Send { envelope: other, info_type: 1, body: b"" }),
            "misaddressed",
        ),
        ("an unknown kind of the hop", frame_of(0x80, 0, b"more"), "skipped"),
        ("an unknown routed kind", disguised(&bytes_of(&send(&link, "hi")), 0x7F, 0), "skipped"),
        ("a fragment of no stream", fragment(), "fragments_ignored"),
        ("a credit of no stream", bytes_of(&Frame::Credit { stream: 9, offset: 1 }), "credits_ignored"),
    ];
    for (what, bytes, counter) in rows {
        let before = client.counts(counter);
        link.push(bytes);
        until(what, || match client.counts(counter) {
            count if count == before + 1 => Ok(()),
            count => Err(format!("{counter} went from {before} to {count}")),
        });
    }
    // A certain message that comes twice is handled once, and one of the past not at all.
    for message in [certain(5), certain(5), certain(4)] {
        link.push(message);
    }
    link.push(bytes_of(&send(&link, "last")));
    assert_eq!(client.inbox.next()["body"], "once");
    assert_eq!(client.inbox.next()["body"], "last");
    assert_eq!(client.inbox.rest(), [] as [Value; 0]);
    assert_eq!((client.counts("violations"), client.counts("connects")), (0, 1));
    // And it asks, and is answered.
    let ping: Call = serde_json::from_value(json!({ "do": "ping" })).expect("a call");
    let pending = client.peer.call(&ping);
    let request = link.next_of(Kind::Request);
    let Ok(Frame::Request { envelope, .. }) = request.decode() else { panic!("{request:?}") };
    let envelope = Envelope::new(Address::of_engine(&own), SERVER, envelope.id);
    link.push(bytes_of(&Frame::Response { envelope, status: Ok(()), cursor: b"", body: b"" }));
    assert_eq!(pending.wait(), json!("ok"));
    victims.noticed_nothing("what another user wrote");
}

fn fragment() -> Bytes {
    bytes_of(&Frame::Fragment { stream: 9, offset: 0, last: false, data: b"piece" })
}

/// A fragment of so many bytes.
fn piece(stream: u64, offset: u64, len: usize) -> Bytes {
    bytes_of(&Frame::Fragment { stream, offset, last: false, data: &vec![7; len] })
}

pub(super) fn fragments_that_may_not_be(runtime: &dyn Runtime) {
    const STREAM: u64 = 5;
    let victims = Victims::new(runtime);
    let client = AtTheMercy::new(runtime);
    let mut link = client.welcome();
    let me = link.engine.clone();
    let offer = |id, stream, total| {
        let envelope = Envelope::new(Address::of_engine(&me), BEN, id);
        bytes_of(&Frame::BlobOffer { envelope, stream, total, info_type: inbox::STREAM, name: "" })
    };
    link.push(offer(1, STREAM, None));
    link.next_of(Kind::Credit);
    let rows = [
        ("beyond a gap", piece(STREAM, 1, 10)),
        ("far beyond a gap", piece(STREAM, u64::MAX, 10)),
        ("empty", piece(STREAM, 0, 0)),
        ("over 16 KiB", piece(STREAM, 0, 16 * 1024 + 1)),
        ("of no stream", piece(STREAM + 1, 0, 10)),
    ];
    for (what, bytes) in rows {
        let before = client.counts("fragments_ignored");
        link.push(bytes);
        until(what, || match client.counts("fragments_ignored") {
            count if count == before + 1 => Ok(()),
            count => Err(format!("{count} after {before}")),
        });
    }
    link.push(piece(STREAM, 0, 10));
    let envelope = Envelope::new(Address::of_engine(&me), BEN, 1);
    link.push(bytes_of(&Frame::BlobEnd { envelope, stream: STREAM, total: 10 }));
    link.next_of(Kind::Ack);
    let came = client.inbox.next();
    assert_eq!((&came["what"], &came["from"]), (&json!("stream"), &json!("ben")));
    // One that is longer than was said fails alone.
    link.push(offer(2, STREAM + 2, Some(5)));
    link.next_of(Kind::Credit);
    link.push(piece(STREAM + 2, 0, 10));
    let failed = link.next_of(Kind::Failure);
    assert!(matches!(failed.decode(), Ok(Frame::Failure { code: Failure::Malformed, .. })), "{failed:?}");
    assert_eq!(client.inbox.next(), json!({ "what": "stream", "ended": "Malformed" }));
    assert_eq!((client.counts("violations"), client.counts("connects")), (0, 1));
    victims.noticed_nothing("fragments");
}

pub(super) fn credits_that_may_not_be(runtime: &dyn Runtime) {
    let victims = Victims::new(runtime);
    let client = AtTheMercy::new(runtime);
    let mut link = client.welcome();
    let credit = |stream, offset| bytes_of(&Frame::Credit { stream, offset });
    let blob = json!({ "do": "blob", "to": "ben", "body": { "noise": 1 << 20 } });
    let blob: Call = serde_json::from_value(blob).expect("a call");
    for beyond in [(1 << 20) + 1, u64::MAX] {
        let sent = client.peer.call(&blob);
        let Ok(Frame::BlobOffer { stream, .. }) = link.next_of(Kind::BlobOffer).decode() else { panic!("an offer") };
        link.push(credit(stream, 0));
        link.next_of(Kind::Fragment);
        link.push(credit(stream, beyond));
        assert_eq!(sent.wait(), json!({ "failed": "Malformed" }));
    }
    let _goes_on = client.peer.call(&blob);
    let Ok(Frame::BlobOffer { stream, .. }) = link.next_of(Kind::BlobOffer).decode() else { panic!("an offer") };
    link.push(credit(stream, 0));
    link.next_of(Kind::Fragment);
    link.push(credit(stream, 1000));
    for (what, bytes) in [("one that shrinks", credit(stream, 999)), ("one of no stream", credit(stream ^ 1, 0))] {
        let before = client.counts("credits_ignored");
        link.push(bytes);
        until(what, || match client.counts("credits_ignored") {
            count if count == before + 1 => Ok(()),
            count => Err(format!("{count} after {before}")),
        });
    }
    assert_eq!((client.counts("violations"), client.counts("connects")), (0, 1));
    victims.noticed_nothing("credits");
}
