//! The hub under logins, ends, frames and answers of a store in any order, beside a list of who is there.

mod ends;

use std::{collections::BTreeSet, rc::Rc, time::Duration};

use esf_proto::{
    close::CloseReason,
    failure::Failure,
    hub::{Place, Stage},
    ids::{DeviceKind, Engine, GroupId, InstanceId, SessionId, To, UserId},
    login::Rights,
    server::{Config, LoginClaim, Relogin, SessionState, Verdict},
    store::{Person, StoreId, StoreResponse},
    wire::{
        Address, Direction, Envelope, Flags, Frame, Header, Hop, Method, RawFrame,
        requests::{OfGroup, OfMember},
    },
};

use super::{
    Input,
    crowd::{GROUPS, STORE_TIMEOUT},
    frames::{Cast, encoded},
    town::{Cell, Town},
};

const STEPS: usize = 300;
const NAMES: [&str; 4] = ["ann", "ben", "zoe", MANY];
/// A user with so many devices that a group goes out in two slices.
const MANY: &str = "many";
/// Its devices; those of others are at most the first of them.
const MANY_FROM: DeviceKind = DeviceKind(2);
const COMMANDS: usize = 2;
const WINDOW: u32 = 16 << 10;
/// What volatile messages of a session may hold while it waits for a verdict.
const VOLATILE: usize = 64 << 10;

/// Runs a hub.
///
/// # Panics
/// If the directory is not what was entered, a frame comes to somebody for whom it is not, or something is left.
pub fn hub_operations(data: &[u8]) {
    let mut input = Input::new(data);
    let choices = input.byte();
    let config = Config {
        relogin: if choices & 1 == 0 { Relogin::ReplaceOld } else { Relogin::IgnoreNew },
        exclusive: if choices & 2 == 0 { vec![] } else { vec![vec![DeviceKind(0), DeviceKind(1)]] },
        max_commands: COMMANDS,
        max_frame: 4 << 10,
        budget: 8 << 10,
        queue: 2 << 10,
        max_open: 8,
        max_open_queries: 4,
        max_open_query_bytes: 1 << 10,
        global_budget: if choices & 4 == 0 { 1 << 30 } else { 16 << 10 },
        window: WINDOW,
        store: choices & 8 != 0,
        keeps_messages: choices & 8 != 0,
        intercepts: choices & 0x60 == 0x40,
        store_timeout: STORE_TIMEOUT,
        quit_on_offline: choices & 16 == 0,
        max_dynamic_groups: 3,
        max_group_members: 3,
        ..Config::default()
    };
    let mut run = Run { town: Town::new(config.clone()), config, cells: Vec::new(), ids: Vec::new() };
    if choices & 0xE8 == 0xE8 {
        run.many_log_in();
    }
    for _ in 0..STEPS {
        if input.is_over() {
            break;
        }
        run.step(&mut input);
        run.look();
    }
    run.settle();
    run.end();
    run.fetch_all();
    run.over();
}

struct Run {
    town: Town,
    config: Config,
    /// Everybody who is there, and whoever has ended since the last look.
    cells: Vec<Rc<Cell>>,
    /// What the server's application asked and has no outcome yet.
    ids: Vec<u64>,
}

impl Run {
    fn step<'a>(&mut self, input: &mut Input<'a>) {
        let what = input.below(32);
        if what < 4 || self.cells.is_empty() {
            return self.log_in(input);
        }
        let cell = self.cells[input.below(self.cells.len())].clone();
        match what {
            4 => self.town.detach(&cell),
            5 => {
                let reason = input.of(CloseReason::ALL);
                self.town.end(&cell, reason);
            }
            6 => self.town.pass(&self.cells, input.duration()),
            7 => self.desk(input),
            8 => self.town.serve(&cell),
            9 | 10 => {
                self.receives(&cell);
                if input.flag() {
                    self.town.count(&cell);
                }
            }
            11 | 12 => self.town.answer(input, &NAMES),
            13 => drop(self.town.carry_on(input.flag())),
            14 => self.town.carry_all(),
            15 => self.announce(input),
            16 => {
                let user = UserId::parse(input.of(&NAMES), 255).expect("a name");
                self.town.relations_changed(&user);
            }
            17 => self.request(&cell, input),
            18 => {
                let cast = cast(cell.session.borrow().engine());
                self.say(&cell, &cast.broadcast(input), input);
            }
            24..=26 => {
                let cast = cast(cell.session.borrow().engine());
                let (frame, again) = (cast.storable(input), input.rarely(4));
                self.say_with(&cell, &frame, Header { flags: Flags::STORE, hop: again_if(again) });
            }
            27 | 28 => {
                let cast = cast(cell.session.borrow().engine());
                let id = self.town.library.post.some_id(input);
                self.say_with(&cell, &cast.confirm(id), Header::default());
            }
            29 | 30 => {
                let verdict = match input.below(8) {
                    0 => Verdict::Drop,
                    1 | 2 => Verdict::Refuse(input.of(Failure::ALL)),
                    _ => Verdict::Pass,
                };
                self.town.judge(verdict, input.rarely(8));
            }
            31 => {
                use StoreResponse::{KeepsNone, Known, NoSuchUser, NotFound, QuotaFull};
                self.town.library.post.mood = match input.below(8) {
                    1 => Some(QuotaFull),
                    2 => Some(NoSuchUser),
                    3 => Some(KeepsNone),
                    4 => Some(Known),
                    5 => Some(NotFound),
                    _ => None,
                };
            }
            _ => {
                let own = cell.session.borrow().engine().clone();
                let cast = cast(&own);
                let frame = if what < 23 { cast.routed(input) } else { cast.frame(input) };
                self.say(&cell, &frame, input);
            }
        }
    }

    /// A client sends a frame with this header.
    fn say_with(&mut self, cell: &Rc<Cell>, frame: &Frame<'_>, header: Header) {
        let Ok(bytes) = frame.to_bytes(header) else { return };
        self.town.frame(cell, RawFrame::parse(bytes).expect("what was encoded parses"));
    }

    /// A client sends a frame.
    fn say<'a>(&mut self, cell: &Rc<Cell>, frame: &Frame<'a>, input: &mut Input<'a>) {
        let mut frame = *frame;
        let number = self.town.broadcasts.next();
        if let Frame::Broadcast { info_type, .. } = &mut frame {
            *info_type = number;
        }
        let Some(bytes) = encoded(&frame, input) else { return };
        let raw = RawFrame::parse(bytes.freeze()).expect("what was encoded parses");
        let user = cell.session.borrow().engine().user.clone();
        match &frame {
            Frame::Broadcast { .. } => self.town.broadcasts.made(Some(cell), &raw),
            Frame::Request { method, body, .. } => {
                if let (Some(Method::GroupJoin), Ok(OfGroup { group })) =
                    (Method::from_u16(*method), OfGroup::decode(body))
                {
                    self.town.library.may_enter(&user, group);
                }
                if let (Some(Method::GroupPullIn), Ok(OfMember { group, user })) =
                    (Method::from_u16(*method), OfMember::decode(body))
                    && let Ok(user) = UserId::parse(user, 255)
                {
                    self.town.library.may_enter(&user, group);
                }
            }
            _ => {}
        }
        self.town.frame(cell, raw);
    }

    /// A client asks something about a group.
    fn request<'a>(&mut self, cell: &Rc<Cell>, input: &mut Input<'a>) {
        let cast = cast(cell.session.borrow().engine());
        self.say(cell, &cast.group_request(input), input);
    }

    /// The server's application sends to a group.
    fn announce(&mut self, input: &mut Input<'_>) {
        let group = GroupId::parse(input.of(&GROUPS)).expect("a group");
        self.town.announce(&group, input.bytes());
    }

    /// A user on more devices than a slice has outputs, but for a few, in every group of the store.
    fn many_log_in(&mut self) {
        let user = UserId::parse(MANY, 255).expect("a name");
        for device in MANY_FROM.0..=255 {
            self.enter(Engine { user: user.clone(), device: DeviceKind(device), instance: InstanceId(60) });
        }
        let groups = GROUPS.map(|id| GroupId::parse(id).expect("a group")).to_vec();
        self.town.introduce(&user, Person { exists: true, groups, ..Person::default() });
    }

    /// Somebody logs in whom nobody hinders.
    fn enter(&mut self, engine: Engine) -> Rc<Cell> {
        let claim = LoginClaim {
            engine,
            attempt: 1,
            interactive: true,
            login_number: 0,
            takes_messages: true,
            rights: Rights::NONE,
            credential_version: 0,
            resume: None,
            heartbeat: Duration::from_secs(5),
        };
        let Place::New { handle, .. } = self.town.log_in(&claim, Stage::First, &[]) else {
            panic!("nobody is in the way")
        };
        self.cells.push(handle.clone());
        handle
    }

    fn log_in(&mut self, input: &mut Input<'_>) {
        let bits = input.byte();
        let claim = LoginClaim {
            engine: Engine {
                user: UserId::parse(NAMES[usize::from(bits) % NAMES.len()], 255).expect("a name"),
                device: DeviceKind(input.below(3) as u8),
                instance: InstanceId(60 + input.below(4) as u64),
            },
            attempt: input.number32(),
            interactive: bits & 16 == 0,
            login_number: if bits & 32 == 0 { 0 } else { input.number() },
            takes_messages: bits & 64 == 0,
            rights: if bits & 128 == 0 { Rights::NONE } else { Rights::KICK.with(Rights::LIST) },
            credential_version: 0,
            resume: None,
            heartbeat: Duration::from_secs(5),
        };
        let same = self.live().find(|cell| *cell.session.borrow().engine() == claim.engine).cloned();
        let before: Vec<SessionId> = self.live().map(|cell| cell.session.borrow().id()).collect();
        let (mut stage, mut silent) = (Stage::First, Vec::new());
        // As a link does: its own older session is ended, older logins of others are asked for life and show none.
        for _ in 0..8 {
            match self.town.log_in(&claim, stage, &silent) {
                Place::Same { handle } => {
                    let known = same.as_ref().is_some_and(|same| Rc::ptr_eq(same, &handle));
                    assert!(known, "an engine goes on with its own session");
                    self.town.end(&handle, CloseReason::Superseded);
                    stage = Stage::Fresh;
                }
                Place::Probe { handle, session } => {
                    assert_eq!(self.config.relogin, Relogin::IgnoreNew);
                    assert_eq!(handle.session.borrow().id(), session);
                    assert!(!silent.contains(&session), "nobody is asked twice");
                    assert!(before.contains(&session), "somebody is asked who is there");
                    silent.push(session);
                    stage = Stage::Waited;
                    if input.rarely(4) {
                        return;
                    }
                }
                Place::New { handle, replaced } => return self.entered(&claim, handle, &replaced),
                Place::TooMany => {
                    assert!(!claim.takes_messages && self.commands_of(&claim.engine.user) >= COMMANDS);
                    return;
                }
                Place::Stale | Place::PushedOut => return,
            }
        }
        panic!("a login finds no end");
    }

    fn entered(&mut self, claim: &LoginClaim, handle: Rc<Cell>, replaced: &[Rc<Cell>]) {
        for old in replaced {
            let session = old.session.borrow();
            assert_eq!(session.engine().user, claim.engine.user, "nobody takes another user's place");
            assert!(self.config.excludes(session.engine().device, claim.engine.device));
            assert_eq!(session.state(), SessionState::Ended);
        }
        self.cells.push(handle);
    }

    fn desk(&mut self, input: &mut Input<'_>) {
        let user = UserId::parse(input.of(&NAMES), 255).expect("a name");
        let to = if input.flag() { To::User(user) } else { To::Device(user, DeviceKind(input.below(3) as u8)) };
        let (body, ttl) = (input.bytes(), input.duration());
        let made = match input.below(3) {
            0 => self.town.desk.send(&to, 1, body).map(|frame| (None, frame)),
            1 => self.town.desk.send_certainly(&to, 1, body, ttl).map(|(id, frame)| (Some(id), frame)),
            _ => self.town.desk.query(&to, 1, body, ttl).map(|(id, frame)| (Some(id), frame)),
        };
        let (id, frame) = made.expect("a small frame");
        if self.town.send(&frame).is_ok() {
            self.ids.extend(id.map(|id| id.0));
        }
    }

    /// A client gets what is for it, in nobody's name but that of somebody who may have been there.
    fn receives(&mut self, cell: &Rc<Cell>) {
        let engine = cell.session.borrow().engine().clone();
        for frame in self.town.received(cell) {
            let decoded = frame.decode().expect("the server relays what it understands");
            assert!(decoded.kind().direction() != Direction::ToServer, "{decoded:?} came to {engine:?}");
            match decoded {
                Frame::Stored { envelope, frame, .. } => {
                    let (by, now) = ((&engine, cell.session.borrow().id()), &self.cells);
                    let lives = |id| now.iter().any(|of| of.session.borrow().id() == id && is_live(of));
                    self.town.library.post.got(by, StoreId(envelope.id), frame, lives);
                }
                Frame::Accepted { envelope } => self.town.library.post.accepted(&engine, envelope.id),
                _ => {}
            }
            let Some(envelope) = decoded.envelope() else { continue };
            if self.is_of_group(cell, &engine, &decoded) {
                continue;
            }
            let echo = matches!(decoded, Frame::EngineMessage { .. }) && envelope.from.user() == Some(&engine.user);
            // These go where the offer went, whatever their sender writes: a client takes none that is not for it.
            let of_stream = matches!(decoded, Frame::BlobEnd { .. } | Frame::BlobCancel { .. });
            let mine = match envelope.to {
                Address::User { user } => user == engine.user.as_str(),
                Address::Device { user, device } => (user, device) == (engine.user.as_str(), engine.device),
                to => to == Address::of_engine(&engine),
            };
            assert!(mine || echo || of_stream, "{decoded:?} came to {engine:?}");
            let known = envelope.from.user().is_none_or(|user| NAMES.contains(&user));
            assert!(known, "{decoded:?} is from nobody");
        }
    }

    /// Whether this is for members of a group or about people; it is for nobody else.
    fn is_of_group(&mut self, cell: &Rc<Cell>, engine: &Engine, frame: &Frame<'_>) -> bool {
        match frame {
            Frame::Broadcast { info_type: number, .. } => {
                self.town.broadcasts.got(cell.session.borrow().id(), *number);
            }
            Frame::BlobOffer { envelope: Envelope { to: Address::Group { group }, .. }, .. } => {
                assert!(self.town.library.knew(&engine.user, group), "{frame:?} came to {engine:?}");
            }
            Frame::GroupEvent { envelope, group, .. } => {
                let own = envelope.to == Address::User { user: &engine.user };
                assert!(own || self.town.library.knew(&engine.user, group), "{frame:?} came to {engine:?}");
            }
            Frame::Presence { events, .. } => {
                for event in events.iter() {
                    let subject = UserId::parse(event.who.user().unwrap_or_default(), 255).expect("a name");
                    let may = self.town.library.may_hear_of(&engine.user, &subject);
                    assert!(may && subject != engine.user, "{engine:?} hears of {subject}");
                }
            }
            _ => return false,
        }
        true
    }

    fn live(&self) -> impl Iterator<Item = &Rc<Cell>> {
        self.cells.iter().filter(|cell| is_live(cell))
    }

    fn commands_of(&self, user: &str) -> usize {
        let of_user = self.live().filter(|cell| cell.session.borrow().engine().user.as_str() == user);
        of_user.filter(|cell| !cell.session.borrow().takes_messages()).count()
    }

    /// The directory is the list.
    fn look(&mut self) {
        self.cells.retain(|cell| cell.session.borrow().state() != SessionState::Ended);
        self.town.forget_ended();
        self.outcomes();
        for name in NAMES {
            if !self.cells.iter().any(|cell| cell.session.borrow().engine().user.as_str() == name) {
                self.town.library.left(name);
            }
        }
        let mut online = BTreeSet::new();
        let mut places = Vec::new();
        for cell in &self.cells {
            let session = cell.session.borrow();
            if session.takes_messages() {
                online.insert(session.engine().user.to_string());
            }
            // Those above exclude nothing.
            if session.takes_messages() && session.engine().device < MANY_FROM {
                places.push((session.engine().user.to_string(), session.engine().device));
            }
        }
        let hub = &self.town.hub;
        assert_eq!((hub.sessions(), hub.online()), (self.cells.len(), online.len()));
        for name in NAMES {
            assert_eq!(hub.is_online(name), online.contains(name), "{name}");
            let mut listed: Vec<_> = hub.sessions_of(name).iter().map(|cell| cell.session.borrow().id()).collect();
            let of_user = self.cells.iter().filter(|cell| cell.session.borrow().engine().user.as_str() == name);
            let mut there: Vec<_> = of_user.map(|cell| cell.session.borrow().id()).collect();
            listed.sort();
            there.sort();
            assert_eq!(listed, there, "{name}");
            assert!(self.commands_of(name) <= COMMANDS);
        }
        for (place, (user, device)) in places.iter().enumerate() {
            let rival = places[..place].iter().any(|(other, of)| other == user && self.config.excludes(*of, *device));
            assert!(!rival, "{user} is on twice with {device:?}");
        }
        let held: usize = self.cells.iter().map(|cell| cell.session.borrow().held_bytes()).sum();
        assert!(held <= self.town.global.used(), "what sessions hold is held of all");
        // A page of what was kept and what waits for a verdict are bounded by the window.
        let most = self.config.session_budget() + (4 << 10) + 4 * WINDOW as usize + VOLATILE;
        assert!(self.cells.iter().all(|cell| cell.session.borrow().held_bytes() <= most), "over the budget");
    }

    /// What the server's application asked has one outcome.
    fn outcomes(&mut self) {
        let mut outbox = self.town.desk_outbox.borrow_mut();
        while let Some(event) = self.town.desk.poll_event(self.town.now, &mut outbox) {
            use esf_proto::server::DeskEvent::{Acked, Failed, Replied, Stored};
            let (Acked { id } | Stored { id } | Replied { id, .. } | Failed { id, .. }) = event;
            let place = self.ids.iter().position(|open| *open == id.0);
            self.ids.remove(place.unwrap_or_else(|| panic!("{id:?} ends and is not open")));
        }
    }
}

fn is_live(cell: &Rc<Cell>) -> bool {
    cell.session.borrow().state() != SessionState::Ended
}

fn again_if(again: bool) -> Hop {
    if again { Hop::AGAIN } else { Hop::default() }
}

fn cast(own: &Engine) -> Cast<'static> {
    let name = NAMES.iter().find(|name| **name == own.user.as_str()).expect("one of them");
    let own = Address::Engine { user: name, device: own.device, instance: own.instance };
    let mut to: Vec<Address<'static>> = NAMES.iter().map(|user| Address::User { user }).collect();
    to.push(Address::Server { instance: 0 });
    for (user, device, instance) in [("ann", 0, 60), ("ben", 1, 61), ("ben", 0, 60), ("zoe", 2, 62)] {
        to.push(Address::Device { user, device: DeviceKind(device) });
        to.push(Address::Engine { user, device: DeviceKind(device), instance: InstanceId(instance) });
    }
    to.push(Address::Server { instance: 900 });
    to.extend(GROUPS.map(|group| Address::Group { group }));
    Cast { from: vec![own; 8], to, ids: (1..5).collect(), streams: vec![1, 2] }
}
