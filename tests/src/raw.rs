//! A link driven by hand, frame by frame: for what no honest client does.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use esf_driver::{
    endpoint::{Endpoint, LinkAction},
    node::Conn,
};
use esf_proto::{
    close::CloseReason,
    ids::{DeviceKind, Engine, InstanceId, UserId},
    login::{CredentialKind, LoginCode, ResumeSecret},
    session::transport::Transport,
    wire::{Address, Credential, Envelope, Frame, Frames, Header, Kind, Login, LoginResult, RawFrame, Resume, Welcome},
};

use crate::world::World;

/// A link whose client side is the test itself.
pub struct RawLink {
    /// The server's end.
    pub conn: Conn,
    /// What the server sees of the transport.
    pub transport: Transport,
    /// Who it says it is.
    pub engine: Engine,
    /// Whether it reads what the server sends. If not, the transport takes nothing more.
    pub reads: bool,
    received: Vec<RawFrame>,
    closed: Option<Option<CloseReason>>,
    pings: usize,
}

/// A login as the test wants it; the defaults are an honest first one.
#[derive(Debug, Clone, Copy)]
pub struct LoginWith<'a> {
    /// Counts up in the engine.
    pub attempt: u32,
    /// Whether a person or program logs in anew.
    pub interactive: bool,
    /// Whether it is a target for messages.
    pub takes_messages: bool,
    /// The login number of an earlier login.
    pub login_number: u64,
    /// The password.
    pub password: &'a [u8],
    /// The ticket.
    pub ticket: &'a [u8],
    /// The session to go on with: secret and count.
    pub resume: Option<(ResumeSecret, u32)>,
    /// Milliseconds between heartbeats.
    pub heartbeat_ms: u32,
}

impl Default for LoginWith<'_> {
    fn default() -> Self {
        Self {
            attempt: 1,
            interactive: true,
            takes_messages: true,
            login_number: 0,
            password: b"",
            ticket: b"",
            resume: None,
            heartbeat_ms: 5_000,
        }
    }
}

/// The parts of a welcome that tests look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Welcomed {
    /// Resumes the session.
    pub secret: ResumeSecret,
    /// Fresh or resumed.
    pub mode: esf_proto::login::Mode,
    /// What the server has received.
    pub received: u32,
    /// The login number.
    pub login_number: u64,
}

impl RawLink {
    /// A link to the world's server, before its login, for an engine of this name and instance.
    ///
    /// # Panics
    /// If it is no user name.
    #[must_use]
    pub fn open(world: &World, name: &str, instance: u64) -> Self {
        Self {
            conn: Conn::accept(&world.node, world.now),
            transport: Transport::default(),
            engine: Engine {
                user: UserId::parse(name, 255).expect("a user name"),
                device: DeviceKind::SERVICE,
                instance: InstanceId(instance),
            },
            reads: true,
            received: Vec::new(),
            closed: None,
            pings: 0,
        }
    }

    /// A link that is logged in.
    #[must_use]
    pub fn join(world: &mut World, name: &str, instance: u64) -> Self {
        let mut link = Self::open(world, name, instance);
        link.login(world, LoginWith::default()).expect("a welcome");
        link
    }

    /// Logs in; the welcome, or the result that refused it (`None`: closed without a result).
    ///
    /// # Errors
    /// The login's result when it is no success.
    pub fn login(&mut self, world: &mut World, with: LoginWith<'_>) -> Result<Welcomed, Option<LoginCode>> {
        let frame = self.login_frame(with);
        self.push(world, frame);
        self.login_answer()
    }

    /// The answer to a login that was sent before.
    ///
    /// # Errors
    /// The login's result when it is no success.
    pub fn login_answer(&mut self) -> Result<Welcomed, Option<LoginCode>> {
        for frame in &self.received {
            match frame.decode() {
                Ok(Frame::LoginResult(LoginResult::Succeed(Welcome {
                    secret, mode, received, login_number, ..
                }))) => return Ok(Welcomed { secret, mode, received, login_number }),
                Ok(Frame::LoginResult(LoginResult::Refused { result, .. })) => return Err(Some(result)),
                _ => {}
            }
        }
        Err(None)
    }

    /// The bytes of a login frame.
    ///
    /// # Panics
    /// If it cannot be encoded.
    #[must_use]
    pub fn login_frame(&self, with: LoginWith<'_>) -> Bytes {
        let login = Login {
            instance: self.engine.instance,
            attempt: with.attempt,
            interactive: with.interactive,
            takes_messages: with.takes_messages,
            device: self.engine.device,
            heartbeat_ms: with.heartbeat_ms,
            login_number: with.login_number,
            user: &self.engine.user,
            credential: Credential { kind: CredentialKind::Password, bytes: with.password },
            system_token: b"",
            ticket: with.ticket,
            resume: with.resume.map(|(secret, received)| Resume { secret, received }),
        };
        Frame::Login(login).to_bytes(Header::default()).expect("a login frame")
    }

    /// Sends a frame.
    ///
    /// # Panics
    /// If it cannot be encoded.
    pub fn send(&mut self, world: &mut World, frame: &Frame<'_>) {
        self.push(world, frame.to_bytes(Header::default()).expect("a frame"));
    }

    /// Sends bytes as one WebSocket message, and lets everything happen.
    pub fn push(&mut self, world: &mut World, message: Bytes) {
        self.transport.read += message.len() as u64;
        self.conn.handle_message(world.now, message);
        self.pump(world);
        world.run();
        self.pump(world);
    }

    /// Sends bytes without the server's end being pumped: what is under way on another thread.
    pub fn push_only(&mut self, world: &World, message: Bytes) {
        self.transport.read += message.len() as u64;
        self.conn.handle_message(world.now, message);
    }

    /// Fetches what the server has for this link.
    pub fn pump(&mut self, world: &mut World) {
        let now = world.now;
        self.transport.unflushed = !self.reads;
        self.conn.handle_transport(now, self.transport);
        while let Some(request) = world.authenticates.then(|| self.conn.poll_request()).flatten() {
            self.conn.handle_response(now, world.accounts.answer(request));
        }
        while self.reads {
            let Some(message) = self.conn.poll_transmit(now) else { break };
            self.transport.written += message.len() as u64;
            self.received.extend(Frames::new(message, usize::MAX).map(|frame| frame.expect("a frame of the server")));
        }
        while let Some(action) = self.conn.poll_action() {
            match action {
                LinkAction::Ping => self.pings += 1,
                LinkAction::Close { reason } => self.closed = Some(reason),
                LinkAction::Drop => self.closed = Some(None),
            }
        }
        world.meet(self.conn.cell());
    }

    /// Lets this link's timers fire.
    pub fn fire(&mut self, world: &mut World) {
        if self.conn.poll_timeout().is_some_and(|at| at <= world.now) {
            self.conn.handle_timeout(world.now);
        }
        self.pump(world);
    }

    /// Sends a text message.
    pub fn push_text(&mut self, world: &mut World) {
        self.conn.handle_text(world.now);
        self.pump(world);
        world.run();
    }

    /// Lets time pass for this link and the world, from timer to timer.
    pub fn pass(&mut self, world: &mut World, duration: Duration) {
        let end = world.now + duration;
        loop {
            self.pump(world);
            let next = self.conn.poll_timeout().filter(|at| *at <= end).unwrap_or(end);
            let step = next.since(world.now);
            world.advance(step);
            if next >= end {
                break;
            }
            self.fire(world);
        }
        self.fire(world);
        world.run();
        self.pump(world);
    }

    /// The transport is gone.
    pub fn drop_link(mut self, world: &mut World) {
        self.conn.handle_closed(world.now, None);
        world.run();
    }

    /// Why the server closed the link; `Some(None)` without a reason.
    #[must_use]
    pub fn closed(&self) -> Option<CloseReason> {
        self.closed.flatten()
    }

    /// The reason in the close frame that came last.
    #[must_use]
    pub fn told(&self) -> Option<CloseReason> {
        match self.received.last()?.decode() {
            Ok(Frame::Close { reason, .. }) => Some(reason),
            _ => None,
        }
    }

    /// The kinds of what was received since the last call of [`RawLink::take_received`].
    #[must_use]
    pub fn kinds(&self) -> Vec<Option<Kind>> {
        self.received.iter().map(RawFrame::kind).collect()
    }

    /// Whether the server has left the link open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    /// WebSocket pings so far.
    #[must_use]
    pub fn pings(&self) -> usize {
        self.pings
    }

    /// Everything that was received since the last call.
    pub fn take_received(&mut self) -> Vec<RawFrame> {
        std::mem::take(&mut self.received)
    }

    /// The bodies of the messages that were received since the last call, as text.
    pub fn take_texts(&mut self) -> Vec<String> {
        let frames = self.take_received();
        let body = |frame: &RawFrame| match frame.decode() {
            Ok(Frame::Send { body, .. } | Frame::Certain { body, .. } | Frame::Query { body, .. }) => {
                Some(String::from_utf8_lossy(body).into_owned())
            }
            _ => None,
        };
        frames.iter().filter_map(body).collect()
    }

    /// An envelope from this engine to a user.
    #[must_use]
    pub fn envelope<'a>(&'a self, to: &'a str, id: u64) -> Envelope<'a> {
        Envelope::new(Address::User { user: to }, Address::of_engine(&self.engine), id)
    }

    /// The bytes of a plain send to a user.
    ///
    /// # Panics
    /// If it cannot be encoded.
    #[must_use]
    pub fn plain(&self, to: &str, text: &str) -> Bytes {
        let mut out = BytesMut::new();
        let frame = Frame::Send { envelope: self.envelope(to, 0), info_type: 1, body: text.as_bytes() };
        frame.encode(Header::default(), &mut out).expect("a send");
        out.freeze()
    }
}
