//! Somebody who is logged in and means harm: valid frames in the wrong place, forged names, answers to what others
//! asked, counts and credits out of nothing, frames of others said again, and garbage.
//!
//! It knows more than anybody could: everything that went over every line, and what everybody waits for. Nothing of it
//! may change what the others see.

use bytes::{BufMut as _, Bytes, BytesMut};
use esf_driver::{
    endpoint::{Endpoint as _, LinkAction},
    node::Conn,
};
use esf_proto::{
    failure::Failure,
    ids::{DeviceKind, Engine, InstanceId, Source, UserId},
    login::CredentialKind,
    server::LinkState,
    session::transport::Transport,
    wire::{Address, Credential, Envelope, Flags, Frame, Header, Kind, Login},
};

use super::{
    Sim, Waking,
    invariants::BESIDE,
    ledger::{Party, Target},
    plan::{PLACES, USERS},
    random::Random,
};

/// Who is woken when it is the attacker's link.
pub(super) const ATTACKER: usize = usize::MAX - 1;
const NAME: &str = "mallory";
/// Numbers of messages from here on were entered nowhere.
const FOREIGN: u32 = 1 << 31;
/// Frames of others that it remembers.
const RECORDED: usize = 64;

/// The attacker.
#[derive(Debug, Default)]
pub struct Attacker {
    conn: Option<Conn>,
    lives: u64,
    transport: Transport,
    /// Whether it reads what comes.
    reads: bool,
    /// The streams that it opened last.
    streams: [u64; 4],
    counted: u32,
    recorded: Vec<Bytes>,
}

impl Attacker {
    /// The server that it was at is gone.
    pub(super) fn conn_is_gone(&mut self) {
        self.conn = None;
    }
}

impl Sim {
    /// What goes over a line, for whoever may say it again.
    pub(super) fn record(&mut self, frame: &Bytes) {
        if !self.has_attacker {
            return;
        }
        let at = self.chance.place(RECORDED * 4);
        let recorded = &mut self.attacker.recorded;
        if recorded.len() < RECORDED {
            recorded.push(frame.clone());
        } else if let Some(place) = recorded.get_mut(at) {
            *place = frame.clone();
        }
    }

    /// Whether somebody is the attacker, of whom nothing is entered anywhere.
    pub(super) fn is_stranger(&self, source: &Source) -> bool {
        source.user().is_some_and(|user| user.as_str() == NAME)
    }

    /// One act of the attacker.
    pub(super) fn attack(&mut self, random: &mut Random) {
        if self.attacker.conn.is_none() {
            self.log_the_attacker_in();
        }
        for _ in 0..random.between(1, 6) {
            let Some(conn) = &self.attacker.conn else { return };
            if conn.state() != LinkState::Attached {
                return self.attacker_turn();
            }
            self.attacker.reads ^= random.percent(5);
            let message = self.mischief(random);
            let now = self.server.clock.shows(self.now);
            self.trace.mix(message.len() as u64);
            if self.trace.is_written() {
                let text = super::trace::words(&message);
                self.say(NAME, || format!("-> {text}"));
            }
            self.calls += 1;
            self.attacker.transport.read += message.len() as u64;
            if let Some(conn) = &mut self.attacker.conn {
                conn.handle_message(now, message);
            }
            self.attacker_turn();
            self.check_attacker();
        }
    }

    /// Whatever it does, its session stays inside its budget.
    fn check_attacker(&mut self) {
        let Some(cell) = self.attacker.conn.as_ref().and_then(Conn::cell).filter(|cell| !cell.is_over()) else {
            return;
        };
        let (held, most) = (cell.held_bytes(), self.plan.server.session_budget() + BESIDE);
        if held > most {
            self.violate("6 budget", format!("the session of {NAME} holds {held} bytes of {most}"));
        }
    }

    /// It leaves without a word.
    pub(super) fn attacker_leaves(&mut self) {
        let now = self.server.clock.shows(self.now);
        if let Some(mut conn) = self.attacker.conn.take() {
            conn.handle_closed(now, None);
        }
        self.has_attacker = false;
    }

    fn log_the_attacker_in(&mut self) {
        let Some(node) = self.server.node.clone() else { return };
        let now = self.server.clock.shows(self.now);
        self.attacker.lives += 1;
        self.attacker.transport = Transport::default();
        self.attacker.counted = 0;
        self.attacker.reads = true;
        let mut conn = Conn::accept(&node, now);
        let login = Login {
            instance: self.attacker_engine().instance,
            attempt: 1,
            interactive: true,
            takes_messages: true,
            device: DeviceKind::SERVICE,
            heartbeat_ms: 5_000,
            login_number: 0,
            user: NAME,
            credential: Credential { kind: CredentialKind::None, bytes: b"" },
            system_token: b"",
            ticket: b"",
            resume: None,
        };
        conn.handle_message(now, bytes_of(&Frame::Login(login), Flags::NONE));
        self.wall_passes();
        while let Some(request) = conn.poll_request() {
            conn.handle_response(now, self.server.decide(request));
        }
        self.attacker.conn = Some(conn);
        self.say(NAME, || "logs in".into());
        self.attacker_turn();
    }

    fn attacker_engine(&self) -> Engine {
        let instance = InstanceId(0xBAD_0000 + self.attacker.lives);
        Engine { user: UserId::parse(NAME, 64).expect("a name"), device: DeviceKind::SERVICE, instance }
    }

    /// Reads what there is for it.
    pub(super) fn attacker_turn(&mut self) {
        let now = self.server.clock.shows(self.now);
        let waker = Waking::waker(ATTACKER, &self.ready);
        let Attacker { conn: there, transport, counted, reads, .. } = &mut self.attacker;
        let Some(conn) = there else { return };
        conn.register(&waker);
        if conn.poll_timeout().is_some_and(|at| at <= now) {
            conn.handle_timeout(now);
        }
        conn.handle_transport(now, *transport);
        let cell = conn.cell().cloned();
        while let Some(frame) = if *reads { conn.poll_transmit(now) } else { None } {
            *counted += u32::from(super::counts::Head::of(&frame).counted);
            transport.written += frame.len() as u64;
        }
        while let Some(action) = conn.poll_action() {
            if !matches!(action, LinkAction::Ping) {
                conn.handle_closed(now, None);
                *there = None;
                break;
            }
        }
        // What it sends to the server's application is taken like anybody's.
        if let Some(cell) = cell {
            let app = self.server.app_of(&cell);
            self.turn_application(app);
        }
    }

    fn mischief(&mut self, random: &mut Random) -> Bytes {
        let me = self.attacker_engine();
        let victim = &self.engines[random.place(self.engines.len())];
        let victim_engine = victim.session.engine().clone();
        let number = FOREIGN + random.below(1 << 30) as u32;
        let body = vec![random.below(256) as u8; random.place(600)];
        let user = USERS[PLACES[random.place(self.plan.places)].user];
        let to = *random.one_of(&[
            Address::User { user },
            Address::of_engine(&victim_engine),
            Address::Server { instance: 0 },
            Address::Group { group: "all" },
        ]);
        let from = Address::of_engine(&me);
        let (asker, answerer, id) = self.somebody_waits(random).unwrap_or((victim_engine.clone(), me.clone(), 1));
        let frame = |frame: &Frame<'_>| bytes_of(frame, Flags::NONE);
        let own_id = random.below(500);
        let mine = |to| Envelope::new(to, from, own_id);
        match random.below(21) {
            0 => frame(&Frame::Send { envelope: mine(to), info_type: number, body: &body }),
            1 => frame(&Frame::Certain { envelope: mine(to), ttl_ms: 5_000, info_type: number, body: &body }),
            2 => frame(&Frame::Query { envelope: mine(to), ttl_ms: 5_000, info_type: number, body: &body }),
            3 => frame(&Frame::Request { envelope: mine(to), ttl_ms: 5_000, method: 1, cursor: b"", body: &body }),
            // In somebody else's name.
            4 => {
                let forged = Envelope::new(to, Address::of_engine(&victim_engine), random.below(500));
                frame(&Frame::Send { envelope: forged, info_type: number, body: &body })
            }
            // What only the one who was asked may say.
            5 | 6 => {
                let envelope = Envelope::new(Address::of_engine(&asker), from, id);
                frame(&Frame::Ack { envelope })
            }
            7 => {
                let envelope = Envelope::new(Address::of_engine(&asker), from, id);
                frame(&Frame::Reply { envelope, body: &body })
            }
            8 => {
                let envelope = Envelope::new(Address::of_engine(&asker), from, id);
                let about = *random.one_of(&[Kind::Certain, Kind::Query, Kind::BlobOffer, Kind::Send]) as u8;
                frame(&Frame::Failure { envelope, about, code: Failure::Rejected })
            }
            9 => {
                let envelope = Envelope::new(Address::of_engine(&asker), Address::of_engine(&answerer), id);
                frame(&Frame::Ack { envelope })
            }
            10 => frame(&Frame::Count { received: self.attacker.counted, taken: random.below(3_000) as u32 }),
            11 if !self.attacker.recorded.is_empty() => random.one_of(&self.attacker.recorded).clone(),
            12 => frame(&Frame::Credit { stream: random.number(), offset: random.below(1 << 20) }),
            13 => {
                let stream = random.number();
                let turn = random.place(self.attacker.streams.len());
                self.attacker.streams[turn] = stream;
                let total = random.percent(50).then_some(random.clone().below(9_000));
                let envelope = mine(to);
                frame(&Frame::BlobOffer { envelope, stream, total, info_type: number, name: "" })
            }
            14 | 15 => {
                let stream = *random.one_of(&self.attacker.streams);
                let offset = *random.one_of(&[0, 0, body.len() as u64, 600]);
                frame(&Frame::Fragment { stream, offset, last: random.percent(10), data: &body })
            }
            16 => {
                let stream = *random.one_of(&self.attacker.streams);
                let envelope = mine(to);
                if random.percent(50) {
                    frame(&Frame::BlobEnd { envelope, stream, total: random.below(9_000) })
                } else {
                    frame(&Frame::BlobCancel { envelope, stream, code: Failure::Cancelled })
                }
            }
            17 => {
                let group = *random.one_of(&super::people::GROUPS);
                frame(&Frame::Broadcast { envelope: mine(Address::Group { group }), info_type: number, body: &body })
            }
            18 => bytes_of(
                &Frame::Certain {
                    envelope: mine(Address::User { user }),
                    ttl_ms: 5_000,
                    info_type: number,
                    body: &body,
                },
                Flags::STORE,
            ),
            // What somebody else has to confirm.
            19 => {
                let id = random.below(60);
                frame(&Frame::Confirm { envelope: Envelope::new(Address::Server { instance: 0 }, from, id) })
            }
            _ => {
                let mut garbage = BytesMut::new();
                garbage.put_u32_le(random.below(40) as u32);
                (0..random.below(40)).for_each(|_| garbage.put_u8(random.below(256) as u8));
                garbage.freeze()
            }
        }
    }

    /// Something that somebody waits for: who, on whom, and under which id.
    fn somebody_waits(&self, random: &mut Random) -> Option<(Engine, Engine, u64)> {
        let open: Vec<u32> = self.ledger.open().iter().copied().take(40).collect();
        let number = *open.get(random.place(open.len()))?;
        let sent = self.ledger.sent(number)?;
        let Party::Engine(asker) = sent.from else { return None };
        let (id, _) = self.engines[asker].asked.iter().find(|(_, asked)| **asked == number)?;
        let answerer = match sent.to {
            Target::Server => return None,
            _ => *self.targets(sent).last()?,
        };
        let engine = |at: usize| self.engines[at].session.engine().clone();
        Some((engine(asker), engine(answerer), id.0))
    }
}

fn bytes_of(frame: &Frame<'_>, flags: Flags) -> Bytes {
    frame.to_bytes(Header::flags(flags)).unwrap_or_default()
}
