//! A server on one thread, as the unit tests of its parts need it: the hub, and cells that nobody locks.

use alloc::{rc::Rc, string::String, sync::Arc};
use core::{cell::RefCell, time::Duration};
use std::vec::Vec;

use bytes::Bytes;

use crate::{
    failure::Failure,
    hub::{Entry, Fanout, Hub, Missed, Party, Place, Progress, Reach, Stage, Whose},
    ids::{DeviceKind, Engine, InstanceId, SessionId, Source, UserId},
    login::{CredentialKind, ResumeSecret, Rights},
    server::{Config, Counters, Desk, Generation, HubChange, HubEvent, LoginClaim, Outbox, Placed, Session},
    session::{budget::Budget, dedupe::Dedupe},
    time::{Instant, UnixMillis},
    wire::{Address, Credential, Envelope, Flags, Frame, Header, Kind, Login, RawFrame},
};

pub(crate) const SERVER_ID: InstanceId = InstanceId(900);

pub(crate) fn at(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

pub(crate) fn engine(name: &str, device: DeviceKind, instance: u64) -> Engine {
    Engine { user: UserId::parse(name, 255).unwrap(), device, instance: InstanceId(instance) }
}

/// A phone of this name.
pub(crate) fn phone(name: &str) -> Engine {
    engine(name, DeviceKind::PHONE, 7)
}

pub(crate) fn to(user: &str) -> Address<'_> {
    Address::User { user }
}

pub(crate) fn raw(frame: &Frame<'_>, flags: Flags) -> RawFrame {
    RawFrame::parse(frame.to_bytes(Header { flags, ..Header::default() }).unwrap()).unwrap()
}

pub(crate) fn plain(from: &Engine, to: Address<'_>, flags: Flags, id: u64, body: &[u8]) -> RawFrame {
    let envelope = Envelope::new(to, Address::of_engine(from), id);
    raw(&Frame::Send { envelope, info_type: 1, body }, flags)
}

pub(crate) fn certain(from: &Engine, to: Address<'_>, id: u64, ttl_ms: u32) -> RawFrame {
    let envelope = Envelope::new(to, Address::of_engine(from), id);
    raw(&Frame::Certain { envelope, ttl_ms, info_type: 1, body: b"certain" }, Flags::default())
}

pub(crate) fn query(from: &Engine, to: Address<'_>, id: u64, ttl_ms: u32, body: &[u8]) -> RawFrame {
    let envelope = Envelope::new(to, Address::of_engine(from), id);
    raw(&Frame::Query { envelope, ttl_ms, info_type: 1, body }, Flags::default())
}

pub(crate) fn ack(from: &Engine, to: &Engine, id: u64) -> RawFrame {
    let envelope = Envelope::new(Address::of_engine(to), Address::of_engine(from), id);
    raw(&Frame::Ack { envelope }, Flags::default())
}

pub(crate) fn count(received: u32, taken: u32) -> RawFrame {
    raw(&Frame::Count { received, taken }, Flags::default())
}

/// An honest first login of this engine.
pub(crate) fn claim(engine: &Engine) -> LoginClaim {
    LoginClaim {
        engine: engine.clone(),
        attempt: 1,
        interactive: true,
        login_number: 0,
        takes_messages: true,
        rights: Rights::NONE,
        credential_version: 0,
        resume: None,
        heartbeat: Duration::from_secs(5),
    }
}

/// A session and its outbox with nobody beside them.
pub(crate) fn alone(config: Config) -> (Session, Outbox) {
    let (config, counters) = (Arc::new(config), Arc::new(Counters::default()));
    let global = Arc::new(Budget::new(config.global_budget));
    let claim = claim(&phone("ann"));
    let entry = Entry { session: SessionId(1), origin: SessionId(1), number: 1, dedupe: Dedupe::default() };
    Session::new(&config, &counters, &global, entry.session(&claim, ResumeSecret([1; 16]), SERVER_ID))
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) session: RefCell<Session>,
    pub(crate) outbox: RefCell<Outbox>,
}

pub(crate) type Cell = Rc<Inner>;

/// The hub and everybody on it.
#[derive(Debug)]
pub(crate) struct Town {
    pub(crate) now: Instant,
    pub(crate) wall: UnixMillis,
    pub(crate) config: Arc<Config>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) global: Arc<Budget>,
    pub(crate) hub: Hub<Cell>,
    pub(crate) desk: RefCell<Outbox>,
    /// Plain messages that went nowhere: body and failure.
    pub(crate) lost: Vec<(String, Failure)>,
    /// Members that a broadcast did not reach.
    pub(crate) missed: Vec<Missed>,
}

struct Outboxes<'a>(&'a RefCell<Outbox>);

impl Reach<Cell> for Outboxes<'_> {
    fn visit<R>(&self, whose: Whose<'_, Cell>, visit: impl FnOnce(&mut Outbox) -> R) -> R {
        match whose {
            Whose::Session(cell) => visit(&mut cell.outbox.borrow_mut()),
            Whose::Server => visit(&mut self.0.borrow_mut()),
        }
    }
}

impl Town {
    pub(crate) fn new(config: Config) -> Self {
        let (config, counters) = (Arc::new(config), Arc::new(Counters::default()));
        let global = Arc::new(Budget::new(config.global_budget));
        let (_, desk) = Desk::new(&config, &counters, &global, SERVER_ID);
        Self {
            now: at(1_000),
            wall: UnixMillis(1_000),
            hub: Hub::new(&config, &counters, SERVER_ID, (1, 2)),
            config,
            counters,
            global,
            desk: RefCell::new(desk),
            lost: Vec::new(),
            missed: Vec::new(),
        }
    }

    /// What becomes of a login. The caller ends whoever was replaced.
    pub(crate) fn login(&mut self, claim: &LoginClaim, stage: Stage, silent: &[SessionId]) -> Place<Cell> {
        let (config, counters, global) = (&self.config, &self.counters, &self.global);
        self.hub.login(self.now, self.wall, claim, stage, silent, |entry: Entry| {
            let new = entry.session(claim, ResumeSecret([1; 16]), SERVER_ID);
            let (session, outbox) = Session::new(config, counters, global, new);
            Rc::new(Inner { session: RefCell::new(session), outbox: RefCell::new(outbox) })
        })
    }

    /// Logs an engine in where nobody else is in its way.
    pub(crate) fn join(&mut self, engine: &Engine) -> Cell {
        self.join_with(&claim(engine))
    }

    pub(crate) fn join_with(&mut self, claim: &LoginClaim) -> Cell {
        match self.login(claim, Stage::First, &[]) {
            Place::New { handle, replaced } if replaced.is_empty() => handle,
            other => panic!("{other:?} is no free place"),
        }
    }

    /// A frame comes on the first link of a session.
    pub(crate) fn frame(&mut self, cell: &Cell, frame: RawFrame) {
        cell.session.borrow_mut().handle_frame(self.now, Generation::FIRST, frame);
        self.settle(cell);
    }

    pub(crate) fn end(&mut self, cell: &Cell, reason: crate::close::CloseReason) {
        cell.session.borrow_mut().end(self.now, reason, &mut cell.outbox.borrow_mut());
        self.settle(cell);
    }

    pub(crate) fn detach(&mut self, cell: &Cell) {
        cell.session.borrow_mut().detach(self.now, Generation::FIRST);
        self.settle(cell);
    }

    pub(crate) fn handle_timeout(&mut self, cell: &Cell) {
        cell.session.borrow_mut().handle_timeout(self.now, &mut cell.outbox.borrow_mut());
        self.settle(cell);
    }

    /// Everything that goes out on the first link of a session.
    pub(crate) fn received(&mut self, cell: &Cell) -> Vec<RawFrame> {
        let (mut session, mut outbox) = (cell.session.borrow_mut(), cell.outbox.borrow_mut());
        core::iter::from_fn(|| session.poll_transmit(self.now, Generation::FIRST, &mut outbox))
            .map(|frame| RawFrame::parse(frame).unwrap())
            .collect()
    }

    /// The failures that go out on the first link of a session: id and code.
    pub(crate) fn failures(&mut self, cell: &Cell) -> Vec<(u64, Failure)> {
        let frames = self.received(cell);
        let failure = |frame: &RawFrame| match frame.decode() {
            Ok(Frame::Failure { envelope, code, .. }) => Some((envelope.id, code)),
            _ => None,
        };
        frames.iter().filter_map(failure).collect()
    }

    /// The server's application sends a frame.
    pub(crate) fn send(&self, frame: &RawFrame) -> Result<(), Failure> {
        self.hub.send(self.now, frame, &Outboxes(&self.desk))
    }

    /// What the hub has for others goes to them.
    pub(crate) fn pass_on(&mut self) {
        while let Some(reply) = self.hub.poll_reply() {
            let cell = reply.handle.clone();
            reply.put(&mut cell.outbox.borrow_mut());
        }
        while let Some(fanout) = self.hub.poll_fanout() {
            self.fan_out(fanout);
        }
    }

    /// Time has passed for the hub.
    pub(crate) fn hub_timeout(&mut self) {
        while self.hub.handle_timeout(self.now) {}
        self.pass_on();
    }

    pub(crate) fn fan_out(&mut self, mut fanout: Fanout) {
        let missed = &mut |missed: Missed| self.missed.push(missed);
        while self.hub.carry_on(self.now, &mut fanout, &Outboxes(&self.desk), missed) == Progress::More {}
    }

    pub(crate) fn settle(&mut self, cell: &Cell) {
        let (id, origin, engine) = {
            let session = cell.session.borrow();
            (session.id(), session.origin(), session.engine().clone())
        };
        let rights = cell.session.borrow().rights();
        let party = Party { session: id, origin, engine: &engine, rights, handle: cell };
        loop {
            let Some(command) = cell.session.borrow_mut().poll_hub() else { break };
            let Some(event) = self.hub.carry_out(self.now, &party, command, &Outboxes(&self.desk)) else { continue };
            let event = match event {
                HubEvent::Broadcast(fanout) => {
                    self.fan_out(*fanout);
                    continue;
                }
                event => event,
            };
            if let HubEvent::TransmitFailed { frame, failure } = &event {
                let Ok(Frame::Send { body, .. } | Frame::EngineMessage { body, .. }) = frame.decode() else {
                    panic!("only plain messages are told so")
                };
                self.lost.push((String::from_utf8_lossy(body).into_owned(), *failure));
            }
            cell.session.borrow_mut().handle_hub(event);
        }
        loop {
            let Some(change) = cell.session.borrow_mut().poll_change() else { break };
            match change {
                HubChange::Window { until, turn } => self.hub.set_window(&party, turn, until),
                HubChange::Ended { reason, dedupe, attempt, .. } => {
                    self.hub.remove(self.now, &party, reason, attempt, dedupe);
                }
                HubChange::Request(request) => {
                    self.hub.people_request(self.now, &party, request);
                    self.pass_on();
                }
                HubChange::Kick { user, id } => {
                    let victims = self.hub.sessions_of(&user);
                    let status = if victims.is_empty() { Err(Failure::Offline) } else { Ok(()) };
                    for victim in victims {
                        self.end(&victim, crate::close::CloseReason::Kicked);
                    }
                    cell.outbox.borrow_mut().respond(id, status, &[], &[]);
                }
            }
        }
    }
}

/// An outbox of somebody with this much room.
pub(crate) fn outbox(config: Config) -> (Outbox, Arc<Budget>, Arc<Counters>) {
    let (config, counters) = (Arc::new(config), Arc::new(Counters::default()));
    let budget = Arc::new(Budget::new(config.session_budget()));
    let owner = Source::Engine(phone("ann"));
    (Outbox::new(&config, &counters, &budget, owner, SERVER_ID), budget, counters)
}

/// The kinds of what is counted among these frames.
pub(crate) fn counted_kinds(frames: &[RawFrame]) -> Vec<Kind> {
    frames.iter().filter(|frame| frame.is_counted()).filter_map(RawFrame::kind).collect()
}

/// An honest login frame.
pub(crate) fn login() -> Login<'static> {
    Login {
        instance: InstanceId(7),
        attempt: 1,
        interactive: true,
        takes_messages: true,
        device: DeviceKind::PHONE,
        heartbeat_ms: 5_000,
        login_number: 0,
        user: "ann",
        credential: Credential { kind: CredentialKind::Password, bytes: b"secret" },
        system_token: b"",
        ticket: b"",
        resume: None,
    }
}

pub(crate) fn placed() -> Placed {
    Placed {
        resumed: None,
        secret: ResumeSecret([1; 16]),
        login_number: 1,
        server: SERVER_ID,
        wall: UnixMillis(0),
        ticket: Bytes::new(),
    }
}
