//! The other side of a client session, by hand.

use core::time::Duration;
use std::{collections::BTreeSet, vec, vec::Vec};

use bytes::{Bytes, BytesMut};

use crate::{
    client::{Action, Config, Event, Message, Seed, Session, State},
    close::CloseReason,
    failure::Failure,
    ids::{DeviceKind, InstanceId, LinkId, MessageId, To, UserId},
    login::{Mode, ResumeSecret, Rights},
    time::Instant,
    wire::{Address, Envelope, Frame, Header, Hop, Kind, LoginResult, RawFrame, Welcome},
};

pub(super) const SERVER: Address<'static> = Address::Server { instance: 900 };
pub(super) const ANN: Address<'static> =
    Address::Engine { user: "ann", device: DeviceKind::SERVICE, instance: InstanceId(7) };
pub(super) const BOB: Address<'static> =
    Address::Engine { user: "bob", device: DeviceKind::PHONE, instance: InstanceId(8) };

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(super) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(super) fn user(name: &str) -> UserId {
    UserId::parse(name, 255).unwrap()
}

pub(super) fn to_bob() -> To {
    To::User(user("bob"))
}

pub(super) fn body(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// Frames of the server as one WebSocket message.
pub(super) fn message(frames: &[Frame<'_>]) -> Bytes {
    let mut out = BytesMut::new();
    for frame in frames {
        frame.encode(Header::default(), &mut out).unwrap();
    }
    out.freeze()
}

pub(super) fn welcome(mode: Mode, received: u32) -> Welcome<'static> {
    Welcome {
        mode,
        secret: ResumeSecret([3; 16]),
        received,
        login_number: 11,
        server_instance: InstanceId(900),
        rights: Rights::KICK,
        max_frame: 1 << 20,
        window: 256 << 10,
        resume_window_ms: 60_000,
        heartbeat_limit_ms: 30_000,
        max_blob: 64 << 20,
        max_user_id: 64,
        server_time_ms: 1_234,
        product: "hand/1",
        ticket: b"ticket",
    }
}

pub(super) fn fresh() -> Frame<'static> {
    Frame::LoginResult(LoginResult::Succeed(welcome(Mode::Fresh, 0)))
}

pub(super) fn resumed(received: u32) -> Frame<'static> {
    Frame::LoginResult(LoginResult::Succeed(welcome(Mode::Resumed, received)))
}

pub(super) fn close(reason: CloseReason) -> Frame<'static> {
    Frame::Close { reason, text: "" }
}

/// An envelope to the client under test.
pub(super) fn from(from: Address<'static>, id: u64) -> Envelope<'static> {
    Envelope::new(ANN, from, id)
}

pub(super) fn information(text: &'static str) -> Frame<'static> {
    Frame::Send { envelope: from(BOB, 0), info_type: 1, body: text.as_bytes() }
}

pub(super) fn certain(id: u64) -> Frame<'static> {
    Frame::Certain { envelope: from(BOB, id), ttl_ms: 30_000, info_type: 1, body: b"certain" }
}

pub(super) fn query(id: u64) -> Frame<'static> {
    Frame::Query { envelope: from(BOB, id), ttl_ms: 30_000, info_type: 2, body: b"question" }
}

pub(super) fn ack(id: u64) -> Frame<'static> {
    Frame::Ack { envelope: from(BOB, id) }
}

pub(super) fn failure(about: Kind, id: u64, code: Failure) -> Frame<'static> {
    Frame::Failure { envelope: from(SERVER, id), about: about as u8, code }
}

/// A client session, and time.
pub(super) struct Hand {
    pub(super) session: Session,
    pub(super) now: Instant,
    pub(super) link: LinkId,
    actions: Vec<Action>,
}

impl Hand {
    pub(super) fn new() -> Self {
        Self::with(Config::new(user("ann")))
    }

    pub(super) fn with(config: Config) -> Self {
        Self::with_jitter(config, 1)
    }

    pub(super) fn with_jitter(config: Config, jitter: u64) -> Self {
        let now = Instant::from_micros(1_000_000);
        let session = Session::new(config, Seed { instance: InstanceId(7), jitter }, now);
        let mut hand = Self { session, now, link: LinkId(0), actions: Vec::new() };
        hand.drain_actions();
        hand
    }

    /// A session that is logged in.
    pub(super) fn online() -> Self {
        Self::new().log_in()
    }

    pub(super) fn log_in(mut self) -> Self {
        self.connect();
        self.give(&[fresh()]);
        assert_eq!(self.session.state(), State::Online);
        let events = self.events();
        assert!(matches!(events[..], [Event::LoginCompleted { .. }]), "{events:?}");
        self
    }

    /// The link is there; takes the login frame, which must be the only one.
    pub(super) fn connect(&mut self) {
        self.session.handle_connected(self.now, self.link);
        let sent = self.sent();
        assert_eq!(kinds(&sent), [Kind::Login]);
    }

    /// The link is cut; waits for the next one and connects it.
    pub(super) fn reconnect(&mut self) {
        self.cut();
        self.await_link();
        self.connect();
    }

    pub(super) fn cut(&mut self) {
        self.session.handle_link_closed(self.now, self.link, None);
        self.drain_actions();
    }

    /// Time passes until the session asks for a link.
    pub(super) fn await_link(&mut self) {
        let before = self.link;
        for _ in 0..100 {
            if self.link != before {
                return;
            }
            let (at, _) = self.session.poll_timeout().expect("waits for a link");
            self.now = self.now.max(at);
            self.timeout();
        }
        panic!("no link was asked for");
    }

    pub(super) fn give(&mut self, frames: &[Frame<'_>]) {
        self.give_bytes(message(frames));
    }

    pub(super) fn give_bytes(&mut self, message: Bytes) {
        self.session.handle_message(self.now, self.link, message);
        self.drain_actions();
    }

    /// A frame that is a resend after a fresh login.
    pub(super) fn give_again(&mut self, frame: &Frame<'_>) {
        let mut out = BytesMut::new();
        frame.encode(Header { hop: Hop::AGAIN, ..Header::default() }, &mut out).unwrap();
        self.give_bytes(out.freeze());
    }

    /// Time passes; every timer fires when it is due, and none spins.
    pub(super) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some((at, _)) = self.session.poll_timeout().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            self.timeout();
        }
        self.now = end;
        self.timeout();
    }

    pub(super) fn timeout(&mut self) {
        self.session.handle_timeout(self.now);
        if let Some((next, kind)) = self.session.poll_timeout() {
            assert!(next > self.now, "{kind:?} fires again at once");
        }
        self.drain_actions();
    }

    pub(super) fn sent(&mut self) -> Vec<RawFrame> {
        let mut sent = Vec::new();
        while let Some(transmit) = self.session.poll_transmit(self.now) {
            assert_eq!(transmit.link, self.link);
            sent.push(RawFrame::parse(transmit.frame).unwrap());
        }
        self.drain_actions();
        sent
    }

    pub(super) fn sent_kinds(&mut self) -> Vec<Kind> {
        kinds(&self.sent())
    }

    pub(super) fn events(&mut self) -> Vec<Event> {
        core::iter::from_fn(|| self.session.poll_event()).collect()
    }

    pub(super) fn messages(&mut self) -> Vec<Message> {
        core::iter::from_fn(|| self.session.poll_message()).collect()
    }

    /// Actions other than `Connect` since the last call.
    pub(super) fn actions(&mut self) -> Vec<Action> {
        self.drain_actions();
        core::mem::take(&mut self.actions)
    }

    fn drain_actions(&mut self) {
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::Connect { link } => {
                    assert!(link > self.link, "link numbers are never used twice");
                    self.link = link;
                }
                other => self.actions.push(other),
            }
        }
    }

    /// How each id ended; fails if one ended twice.
    pub(super) fn outcomes(&mut self) -> Vec<(u64, &'static str)> {
        let mut outcomes = Vec::new();
        let mut ids = BTreeSet::new();
        for event in self.events() {
            let (id, outcome) = match event {
                Event::Acked { id } => (id, "acked"),
                Event::Replied { id, .. } => (id, "replied"),
                Event::Responded { id, .. } => (id, "responded"),
                Event::Failed { id, failure } => (id, name(failure)),
                _ => continue,
            };
            assert!(ids.insert(id), "{id:?} ended twice");
            outcomes.push((id.0, outcome));
        }
        outcomes
    }

    pub(super) fn certainly(&mut self, text: &'static str) -> MessageId {
        self.session.send_certainly(self.now, &to_bob(), 1, body(text), None).unwrap()
    }

    pub(super) fn ask(&mut self) -> MessageId {
        self.session.query(self.now, &to_bob(), 2, body("question"), None).unwrap()
    }
}

fn name(failure: Failure) -> &'static str {
    match failure {
        Failure::Offline => "offline",
        Failure::Busy => "busy",
        Failure::TooLarge => "too large",
        Failure::ConnectionLost => "lost",
        Failure::TimedOut => "timed out",
        Failure::HandlerFailed => "handler failed",
        Failure::NotAllowed => "not allowed",
        _ => "another failure",
    }
}

pub(super) fn kinds(frames: &[RawFrame]) -> Vec<Kind> {
    frames.iter().map(|frame| frame.kind().unwrap()).collect()
}

/// The bodies of messages that were sent, with a `+` before those that were sent again.
pub(super) fn texts(frames: &[RawFrame]) -> Vec<std::string::String> {
    let mut texts = vec![];
    for frame in frames {
        let again = if frame.hop().contains(Hop::AGAIN) { "+" } else { "" };
        if let Frame::Send { body, .. } | Frame::Certain { body, .. } | Frame::EngineMessage { body, .. } =
            frame.decode().unwrap()
        {
            texts.push(std::format!("{again}{}", core::str::from_utf8(body).unwrap()));
        }
    }
    texts
}
