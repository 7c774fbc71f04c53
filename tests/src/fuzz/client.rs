//! A client session under everything that a server, a network and an application can do to it.
//!
//! Beside it runs what an honest server knows of the hop ([`Peer`]). Whatever comes, what the client hands out is what
//! the counts allow; as long as the server keeps to the rules of the hop, the client does not close for what other users
//! sent; and in the end every operation has had one outcome.

mod application;
mod peer;

use std::time::Duration;

use bytes::Bytes;
use esf_proto::{
    client::{Action, Config, PreQuery, Seed, Session, State, Transport},
    close::CloseReason,
    ids::{DeviceKind, Engine, InstanceId, LinkId, UserId},
    login::{LoginCode, Mode, ResumeSecret, Rights},
    time::Instant,
    wire::{Address, Envelope, Flags, Frame, Header, LoginResult, Welcome},
};

use self::{application::Application, peer::Peer};
use super::{
    Input,
    frames::{Cast, encoded, spoiled},
};

/// What the server announces.
const MAX_FRAME: u32 = 16 << 10;
const WINDOW: u32 = 4 << 10;
const STEPS: usize = 600;
/// Longer than every time to live and every timer.
const AGES: Duration = Duration::from_secs(400);

/// Runs one client's life.
///
/// # Panics
/// If the client does what no client may.
pub fn client_inputs(data: &[u8]) {
    let mut input = Input::new(data);
    let me = Engine { user: user("ann"), device: DeviceKind::PHONE, instance: InstanceId(11) };
    let others = [(1, "ben", 21), (2, "ben", 22), (2, "zoe", 31)].map(|(device, name, instance)| Engine {
        user: user(name),
        device: DeviceKind(device),
        instance: InstanceId(instance),
    });
    let mut life = Life::begin(&me, &others, &mut input);
    for _ in 0..STEPS {
        if input.is_over() {
            break;
        }
        life.step(&mut input);
        life.drain();
    }
    life.end();
}

fn user(name: &str) -> UserId {
    UserId::parse(name, 255).expect("a name")
}

struct Life<'a> {
    session: Session,
    now: Instant,
    /// The link that the session has, and whether it is connected.
    link: Option<(LinkId, bool)>,
    last_link: LinkId,
    transport: Transport,
    /// Whether the transport takes what is handed out.
    writable: bool,
    application: Application,
    peer: Peer,
    cast: Cast<'a>,
}

impl<'a> Life<'a> {
    fn begin(me: &'a Engine, others: &'a [Engine], input: &mut Input<'_>) -> Self {
        let choices = input.byte();
        let mut config = Config { device: me.device, ..Config::new(me.user.clone()) };
        config.takes_messages = choices & 1 == 0;
        config.reconnect = choices & 6 != 6;
        config.budget = if choices & 8 == 0 { 2 << 20 } else { 1 };
        config.queue = if choices & 16 == 0 { 256 << 10 } else { 512 };
        config.pre_query = (choices & 32 != 0).then(|| PreQuery { info_type: 1, body: "before".into() });
        let now = Instant::from_micros(1_000_000);
        let mut to = vec![Address::of_engine(me), Address::User { user: &me.user }];
        to.push(Address::Device { user: &me.user, device: me.device });
        let mut from: Vec<_> = others.iter().map(Address::of_engine).collect();
        from.extend([Address::Server { instance: 900 }, Address::of_engine(me)]);
        let mut life = Self {
            session: Session::new(config, Seed { instance: me.instance, jitter: 5 }, now),
            now,
            link: None,
            last_link: LinkId(0),
            transport: Transport::default(),
            writable: true,
            application: Application::default(),
            peer: Peer::new(me.clone()),
            cast: Cast { from, to, ids: (1..8).collect(), streams: vec![1, 2, 3] },
        };
        life.drain();
        life
    }

    fn step(&mut self, input: &mut Input<'a>) {
        match input.below(24) {
            0 => self.connected(),
            1 => self.welcome(Mode::Fresh, 0),
            2 => {
                let received = self.peer.some_count(input);
                self.welcome(Mode::Resumed, received);
            }
            3 => self.honest(&Frame::LoginResult(LoginResult::Refused { result: LoginCode::Failed, cause: "no" })),
            4 => {
                let (received, taken) = (self.peer.some_count(input), self.peer.some_taken(input));
                self.honest(&Frame::Count { received, taken });
            }
            5 | 6 => self.relay(input),
            7 => self.kept(input),
            8 => self.answer(input),
            9 => {
                let frame = self.cast.frame_of(esf_proto::wire::Kind::Fragment, input);
                self.honest(&frame);
            }
            10 => self.credit(input),
            11 => self.any_frame(input, false),
            12 => self.any_frame(input, true),
            13 => self.give(Bytes::copy_from_slice(input.bytes()), false),
            14 => match self.link {
                Some((link, true)) => self.session.handle_text(self.now, link),
                _ => self.session.handle_text(self.now, LinkId(input.number())),
            },
            15..=18 => self.application.command(self.now, &mut self.session, input),
            19 | 20 => self.pass(input.duration()),
            21 => self.lose(input),
            22 => self.transport(input),
            _ => match input.below(4) {
                0 => self.application.takes = !self.application.takes,
                1 => self.writable = !self.writable,
                2 => self.session.hurry_count(self.now),
                _ => self.wake(),
            },
        }
    }

    // The network.

    fn connected(&mut self) {
        if let Some((link, connected @ false)) = &mut self.link {
            *connected = true;
            self.peer.begin_link();
            self.transport = Transport::default();
            self.session.handle_connected(self.now, *link);
        }
    }

    fn lose(&mut self, input: &mut Input<'_>) {
        let link = if input.rarely(4) { Some(LinkId(input.number())) } else { self.link.map(|(link, _)| link) };
        let code = match input.below(4) {
            0 => None,
            1 => Some(4000 + u16::from(input.byte())),
            _ => u16::try_from(input.number()).ok(),
        };
        if let Some(link) = link {
            self.session.handle_link_closed(self.now, link, code);
            self.link = self.link.filter(|(present, _)| *present != link);
        }
    }

    fn transport(&mut self, input: &mut Input<'_>) {
        let Some((link, true)) = self.link else { return };
        self.transport.read += u64::from(input.byte());
        self.transport.written += u64::from(input.byte());
        self.transport.unflushed = input.flag();
        self.session.handle_transport(self.now, link, self.transport);
    }

    // The server.

    fn welcome(&mut self, mode: Mode, received: u32) {
        self.honest(&Frame::LoginResult(LoginResult::Succeed(Welcome {
            mode,
            secret: ResumeSecret([7; 16]),
            received,
            login_number: 1,
            server_instance: InstanceId(900),
            rights: Rights::NONE,
            max_frame: MAX_FRAME,
            window: WINDOW,
            resume_window_ms: 60_000,
            heartbeat_limit_ms: 30_000,
            max_blob: 1 << 20,
            max_user_id: 64,
            server_time_ms: 1,
            product: "fuzz",
            ticket: b"",
        })));
    }

    /// Something that another user sent, sound but otherwise anything: no reason to close the link.
    fn relay(&mut self, input: &mut Input<'a>) {
        let frame = self.cast.routed(input);
        if let Some(bytes) = encoded(&frame, input) {
            self.give(bytes.freeze(), true);
        }
    }

    /// A message that was stored, or word that one is gone from the store.
    fn kept(&mut self, input: &mut Input<'a>) {
        let server = Address::Server { instance: 900 };
        let me = self.cast.to[0];
        let known = self.application.stored();
        if !known.is_empty() && input.rarely(3) {
            return self.honest(&Frame::Confirm { envelope: Envelope::new(me, server, input.of(&known)) });
        }
        let kept = self.cast.stored(input);
        let Ok(kept) = kept.to_bytes(Header { flags: Flags::STORE, ..Header::default() }) else { return };
        let id = if input.flag() || known.is_empty() { u64::from(input.byte()) } else { input.of(&known) };
        let envelope = Envelope::new(me, server, id);
        self.honest(&Frame::Stored { envelope, accepted_at_ms: 1, tries: 0, frame: &kept });
    }

    /// An answer to something that may be open, from whom it was asked.
    fn answer(&mut self, input: &mut Input<'a>) {
        self.cast.ids = self.application.ids();
        let kinds = esf_proto::wire::Kind::ALL.iter().copied().filter(|kind| kind.is_answer() && kind.is_built());
        let kinds: Vec<_> = kinds.collect();
        let kind = input.of(&kinds);
        let frame = self.cast.frame_of(kind, input);
        self.honest(&frame);
    }

    fn credit(&mut self, input: &mut Input<'a>) {
        let streams = self.peer.streams();
        let stream = if streams.is_empty() { 1 } else { input.of(&streams) };
        let offset = if input.flag() { self.peer.reached(stream) } else { input.number() };
        self.honest(&Frame::Credit { stream, offset });
    }

    fn any_frame(&mut self, input: &mut Input<'a>, spoil: bool) {
        let frame = self.cast.frame(input);
        if let Some(bytes) = encoded(&frame, input) {
            let bytes = if spoil { spoiled(bytes, input) } else { bytes.freeze() };
            self.give(bytes, false);
        }
    }

    /// A frame that a server may send here.
    fn honest(&mut self, frame: &Frame<'_>) {
        if let Ok(bytes) = frame.to_bytes(Header::default()) {
            self.give(bytes, true);
        }
    }

    fn give(&mut self, message: Bytes, honest: bool) {
        let Some((link, true)) = self.link else { return };
        let state = self.session.state();
        let honest = self.peer.gives(&message, state) && honest;
        let before = self.session.stats().violations;
        self.session.handle_message(self.now, link, message);
        let violations = self.session.stats().violations - before;
        assert!(!honest || violations == 0, "the server kept to the rules, and yet the client closed in {state:?}");
    }

    // Time.

    fn pass(&mut self, duration: Duration) {
        self.now = self.now + duration;
        self.wake();
    }

    fn wake(&mut self) {
        self.session.handle_timeout(self.now);
        if let Some((next, kind)) = self.session.poll_timeout() {
            assert!(next > self.now, "{kind:?} is due again at once");
        }
    }

    // Outputs.

    fn drain(&mut self) {
        if self.writable {
            let mut frames = 0;
            while let Some(transmit) = self.session.poll_transmit(self.now) {
                frames += 1;
                assert!(frames < 100_000, "it never stops sending");
                let confirmed = |id| self.application.has_confirmed(id);
                self.peer.gets(&transmit.frame, self.session.limits().max_frame, &confirmed);
            }
        }
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::Connect { link } => {
                    assert!(link > self.last_link, "a link's number is used once");
                    self.last_link = link;
                    self.link = Some((link, false));
                }
                Action::Close { link, .. } | Action::Drop { link } => {
                    self.link = self.link.filter(|(present, _)| *present != link);
                }
            }
        }
        self.application.drain(self.now, &mut self.session);
        let most = 2 * self.session.limits().max_frame.max(1 << 20).max(2 << 20) + (512 << 10);
        assert!(self.session.queued_bytes() <= 2 * most, "the outbox has no end");
        assert!(self.session.open_queries() <= 256);
        if let State::Closed(_) = self.session.state() {
            assert!(self.session.poll_timeout().is_none(), "a session that is over waits for nothing");
        }
    }

    /// Nobody answers any more: what was asked ends all the same, and then the session.
    fn end(mut self) {
        self.writable = true;
        self.application.takes = true;
        let until = self.now + AGES;
        let mut wakes = 0;
        loop {
            self.drain();
            if let Some((link, _)) = self.link.take() {
                self.session.handle_connect_failed(self.now, link);
                continue;
            }
            let Some((next, _)) = self.session.poll_timeout().filter(|(next, _)| *next <= until) else { break };
            wakes += 1;
            assert!(wakes < 10_000, "it spins");
            self.now = self.now.max(next);
            self.wake();
        }
        self.drain();
        self.application.only_blobs_are_open();
        self.session.log_off(self.now);
        self.drain();
        self.pass(AGES);
        self.drain();
        self.application.is_over();
        assert!(matches!(self.session.state(), State::Closed(_)));
        let held = (self.session.queued_bytes(), self.session.blob_bytes(), self.session.open_operations());
        assert_eq!(held, (0, 0, 0), "something is left");
        self.session.handle_link_closed(self.now, self.last_link, Some(CloseReason::Kicked.websocket_code()));
        self.drain();
    }
}
