//! Whatever a client sends, in whatever order: nothing panics, nobody holds more than the budget, and all of it is given
//! back.

use core::time::Duration;
use std::{vec, vec::Vec};

use bytes::Bytes;
use proptest::prelude::*;

use super::{
    AppResponse, Config, Generation, Link, LinkState, LoginClaim, SessionState, TakeOver,
    testing::{Cell, Town, claim, login, phone, placed},
};
use crate::{
    close::CloseReason,
    failure::Failure,
    hub::{Place, Stage},
    ids::{Engine, LinkId},
    login::{ResumeSecret, Rights},
    session::transport::Transport,
    wire::{Address, Envelope, Frame, Frames, Header, Resume},
};

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    /// Bytes that nobody made a frame of.
    Bytes(Vec<u8>),
    /// A frame of this kind, with these flags, to one of a few targets.
    Frame { what: u8, flags: u8, target: u8, id: u64, ttl_ms: u32, len: usize },
    /// The peer counts so many frames and windowed bytes more than last time, of those that came.
    Count { frames: usize, bytes: usize },
    /// So much is handed out.
    HandOut(usize),
    /// Time passes.
    Pass(u64),
    /// The server's application takes what waits, and answers or not.
    Application(bool),
    /// The link breaks.
    Break,
    /// The client is back, with its count off by so much.
    Back(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let frame = (0..9u8, any::<u8>(), 0..7u8, 0..6u64, prop::sample::select(vec![0, 5, 1_000, u32::MAX]), 0..700usize);
    prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Step::Bytes),
        20 => frame.prop_map(|(what, flags, target, id, ttl_ms, len)| {
            // Mostly without flags, or most frames would be closed for them.
            let flags = if flags < 200 { 0 } else { flags };
            Step::Frame { what, flags, target, id, ttl_ms, len }
        }),
        4 => (0..4usize, 0..2_000usize).prop_map(|(frames, bytes)| Step::Count { frames, bytes }),
        4 => (0..20usize).prop_map(Step::HandOut),
        3 => (0..70_000u64).prop_map(Step::Pass),
        2 => any::<bool>().prop_map(Step::Application),
        1 => Just(Step::Break),
        3 => (0..3u32).prop_map(Step::Back),
    ]
}

/// A client that may do anything, and the server's end of its link.
struct Peer {
    engine: Engine,
    cell: Cell,
    link: Link,
    generation: Generation,
    attempt: u32,
    /// Counted frames that were handed out to it in this session, and windowed bytes among them.
    came: (u32, u32),
    counted: (u32, u32),
}

impl Peer {
    fn join(town: &mut Town, name: &str) -> Self {
        let engine = phone(name);
        let cell = town.join(&engine);
        let link = attached(town);
        Self { engine, cell, link, generation: Generation::FIRST, attempt: 1, came: (0, 0), counted: (0, 0) }
    }

    /// Bytes come on its link.
    fn receive(&mut self, town: &mut Town, bytes: Bytes) {
        for frame in Frames::new(bytes, self.link.max_frame()) {
            if let Some(frame) = self.link.handle_frame(town.now, frame) {
                self.cell.session.borrow_mut().handle_frame(town.now, self.generation, frame);
            }
        }
        town.settle(&self.cell);
        self.follow(town);
    }

    /// What follows from the last input for link and session.
    fn follow(&mut self, town: &mut Town) {
        let close = self.cell.session.borrow_mut().poll_close(self.generation);
        if let Some(reason) = close {
            self.link.close(reason);
        }
        if let Some(reason) = self.link.poll_left() {
            let held = self.cell.session.borrow().is_held_by(self.generation);
            if reason.ends_session() && held {
                town.end(&self.cell, reason);
            } else {
                self.cell.session.borrow_mut().detach(town.now, self.generation);
                town.settle(&self.cell);
            }
        }
    }

    fn hand_out(&mut self, town: &Town, most: usize) {
        let (mut session, mut outbox) = (self.cell.session.borrow_mut(), self.cell.outbox.borrow_mut());
        for _ in 0..most {
            let Some(frame) = session.poll_transmit(town.now, self.generation, &mut outbox) else { break };
            let frame = crate::wire::RawFrame::parse(frame).expect("the server makes whole frames");
            if frame.is_counted() {
                let windowed = if frame.is_windowed() { u32::try_from(frame.len()).unwrap() } else { 0 };
                self.came = (self.came.0 + 1, self.came.1 + windowed);
            }
        }
    }

    fn pass(&mut self, town: &mut Town) {
        self.link.handle_timeout(town.now);
        assert!(self.link.poll_timeout().is_none_or(|(at, _)| at > town.now));
        town.handle_timeout(&self.cell);
        let next = self.cell.session.borrow().poll_timeout(&self.cell.outbox.borrow());
        assert!(next.is_none_or(|(at, _)| at > town.now), "{next:?} at {:?}", town.now);
        self.follow(town);
    }

    /// Goes on with its session, or logs in afresh.
    fn back(&mut self, town: &mut Town, off: u32) {
        self.attempt += 1;
        let secret = self.cell.session.borrow().secret();
        let resume = Some(Resume { secret, received: self.came.0.wrapping_add(off) });
        let claim = LoginClaim { attempt: self.attempt, resume, interactive: false, ..claim(&self.engine) };
        let outcome = self.cell.session.borrow_mut().take_over(&claim, ResumeSecret([9; 16]));
        match outcome {
            TakeOver::Resumed { generation, .. } => {
                self.generation = generation;
                // What it had been handed out and has not counted comes again.
                self.link = attached(town);
            }
            TakeOver::Gone => {
                let claim = LoginClaim { interactive: true, ..claim };
                let place = town.login(&claim, Stage::First, &[]);
                let Place::New { handle, .. } = place else { return };
                *self = Self { cell: handle, link: attached(town), ..self.anew() };
            }
            TakeOver::Violation => assert!(off > 0, "an honest count is good"),
            TakeOver::Stale | TakeOver::Fresh => unreachable!("{outcome:?}"),
        }
        town.settle(&self.cell);
    }

    fn anew(&mut self) -> Self {
        Self {
            engine: self.engine.clone(),
            cell: self.cell.clone(),
            link: link(&Town::new(Config::default())),
            generation: Generation::FIRST,
            attempt: self.attempt,
            came: (0, 0),
            counted: (0, 0),
        }
    }
}

fn link(town: &Town) -> Link {
    Link::new(&town.config, &town.counters, LinkId(1), town.now)
}

fn attached(town: &Town) -> Link {
    let mut link = link(town);
    let frame = Frame::Login(login()).to_bytes(Header::default()).unwrap();
    for frame in Frames::new(frame, link.max_frame()) {
        link.handle_frame(town.now, frame);
    }
    link.handle_response(AppResponse::Accept(Rights::NONE.into()));
    let claim = link.poll_login().expect("an honest login");
    link.handle_placed(town.now, &claim, &placed());
    link
}

/// A frame as bytes; its flags need not be allowed.
fn frame(from: &Engine, step: &Step) -> Option<Bytes> {
    let Step::Frame { what, flags, target, id, ttl_ms, len } = *step else { return None };
    let (ann, bob) = (phone("ann"), phone("bob"));
    let to = match target {
        0 => Address::Server { instance: 0 },
        1 => Address::User { user: "ann" },
        2 => Address::User { user: "bob" },
        3 => Address::User { user: "nobody" },
        4 => Address::Group { group: "g" },
        5 => Address::of_engine(&ann),
        _ => Address::of_engine(&bob),
    };
    let body = vec![7; len];
    let envelope = Envelope::new(to, Address::of_engine(from), id);
    let frame = match what {
        0 => Frame::Send { envelope, info_type: 1, body: &body },
        1 => Frame::Certain { envelope, ttl_ms, info_type: 1, body: &body },
        2 => Frame::EngineMessage { envelope, info_type: 1, tag: "tag", body: &body },
        3 => Frame::Query { envelope, ttl_ms, info_type: 1, body: &body },
        4 => Frame::Request { envelope, ttl_ms, method: u16::try_from(len % 40).unwrap(), cursor: b"", body: b"" },
        5 => Frame::Ack { envelope },
        6 => Frame::Reply { envelope, body: &body },
        7 => Frame::Failure { envelope, about: 0x11, code: Failure::Busy },
        _ => Frame::Heartbeat { nonce: ttl_ms },
    };
    // An answer to a user or group cannot be written; nobody can send one.
    let mut bytes = frame.to_bytes(Header::default()).ok()?.to_vec();
    bytes[5] = flags & !0x02;
    Some(bytes.into())
}

fn take(town: &mut Town, peer: &Peer, answers: bool) {
    let (mut session, mut outbox) = (peer.cell.session.borrow_mut(), peer.cell.outbox.borrow_mut());
    while session.poll_message().is_some() {}
    while let Some(query) = session.poll_query() {
        if answers {
            outbox.reply(query.token, Ok(&query.body));
        }
    }
    drop((session, outbox));
    town.settle(&peer.cell);
}

fn act(town: &mut Town, peer: &mut Peer, step: &Step) {
    match *step {
        Step::Bytes(ref bytes) => peer.receive(town, Bytes::copy_from_slice(bytes)),
        Step::Frame { .. } => {
            if let Some(bytes) = frame(&peer.engine, step) {
                peer.receive(town, bytes);
            }
        }
        Step::Count { frames, bytes } => {
            let (received, taken) = peer.counted;
            let more = |had: u32, came: u32, more: usize| had.saturating_add(u32::try_from(more).unwrap()).min(came);
            peer.counted = (more(received, peer.came.0, frames), more(taken, peer.came.1, bytes));
            let count = Frame::Count { received: peer.counted.0, taken: peer.counted.1 };
            peer.receive(town, count.to_bytes(Header::default()).unwrap());
        }
        Step::HandOut(most) => peer.hand_out(town, most),
        Step::Pass(ms) => {
            town.now = town.now + Duration::from_millis(ms);
            peer.link.handle_transport(town.now, Transport { read: ms, written: ms / 2, unflushed: ms % 2 == 0 });
            peer.pass(town);
        }
        Step::Application(answers) => take(town, peer, answers),
        Step::Break => {
            peer.link.handle_closed(None);
            peer.follow(town);
        }
        Step::Back(off) => peer.back(town, off),
    }
}

fn small() -> Config {
    Config {
        max_frame: 1024,
        window: 600,
        budget: 4096,
        global_budget: 7_000,
        queue: 1_500,
        max_open: 8,
        max_open_queries: 4,
        max_open_query_bytes: 900,
        ..Config::default()
    }
}

proptest! {
    #[test]
    fn nothing_that_clients_send_breaks_a_budget_and_the_end_gives_all_back(
        steps in prop::collection::vec((any::<bool>(), step()), 0..120),
    ) {
        let mut town = Town::new(small());
        let mut peers = [Peer::join(&mut town, "ann"), Peer::join(&mut town, "bob")];
        for (second, step) in &steps {
            act(&mut town, &mut peers[usize::from(*second)], step);
            let held: Vec<usize> = peers.iter().map(|peer| peer.cell.session.borrow().held_bytes()).collect();
            prop_assert!(held.iter().all(|held| *held <= town.config.session_budget()), "{held:?} after {step:?}");
            prop_assert_eq!(town.global.used(), held.iter().sum::<usize>());
            prop_assert!(town.global.used() <= town.config.global_budget);
        }
        for peer in &peers {
            town.end(&peer.cell, CloseReason::LoggedOff);
            take(&mut town, peer, false);
            prop_assert_eq!(peer.cell.session.borrow().held_bytes(), 0);
            prop_assert_eq!(peer.cell.session.borrow().state(), SessionState::Ended);
        }
        prop_assert_eq!((town.global.used(), town.hub.sessions(), town.hub.online()), (0, 0, 0));
    }

    #[test]
    fn a_link_bears_any_bytes_before_its_login(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..20),
        kinds in prop::collection::vec(0u8..0x40, 0..20),
    ) {
        let town = Town::new(Config::default());
        let mut link = link(&town);
        let framed = kinds.iter().map(|kind| vec![3, 0, 0, 0, *kind, 0, 0]);
        for message in messages.into_iter().chain(framed) {
            for frame in Frames::new(Bytes::from(message), link.max_frame()) {
                prop_assert!(link.handle_frame(town.now, frame).is_none(), "nothing is for a session");
            }
        }
        prop_assert!(matches!(link.state(), LinkState::Accepted | LinkState::Closing));
        let told = core::iter::from_fn(|| link.poll_transmit()).count();
        prop_assert!(told <= 2, "a result and a close at most");
        link.handle_closed(None);
        prop_assert!(link.poll_action().is_none() && link.poll_timeout().is_none());
    }
}
