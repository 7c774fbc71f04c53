//! What holds whatever comes in.

use std::{collections::BTreeMap, vec, vec::Vec};

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::harness::*;
use crate::{
    client::{Action, Config, Event, Policy, QueryToken, Seed, SendOptions, Session, State, Transport},
    close::CloseReason,
    failure::Failure,
    ids::{InstanceId, LinkId, MessageId, To},
    login::LoginCode,
    time::Instant,
    wire::{Address, Envelope, Frame, Header, Hop, Kind, LoginResult},
};

/// What a server, honest or not, and an application may do.
#[derive(Debug, Clone)]
enum Step {
    /// Waits for a link, connects it and lets the login succeed.
    Enter {
        resumed: bool,
        received: u32,
    },
    Connected,
    Lost(Option<u16>),
    Text,
    Bytes(Vec<u8>),
    Welcome {
        resumed: bool,
        received: u32,
    },
    Refused(u8),
    Close(u8),
    GoAway(u32),
    Count {
        frames: u32,
        bytes: u32,
    },
    Information(u16),
    Certain {
        id: u64,
        again: bool,
    },
    Query {
        id: u64,
        ttl_ms: u32,
    },
    Answer {
        kind: u8,
        id: u64,
        server: bool,
    },
    Transport {
        read: u64,
        written: u64,
        unflushed: bool,
    },
    Pass(u32),
    Send {
        len: u16,
        discard: bool,
        tell: Option<u64>,
    },
    Certainly {
        len: u16,
        ttl_ms: u32,
    },
    Ask {
        ttl_ms: u32,
    },
    Reply {
        token: u64,
        ok: bool,
    },
    Transmit(u8),
    Take(u8),
    LogOff,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (any::<bool>(), prop_oneof![4 => Just(0), 1 => 0u32..3]).prop_map(|(resumed, received)| Step::Enter { resumed, received }),
        1 => Just(Step::Connected),
        2 => prop::option::of(prop_oneof![Just(1006u16), 3_998u16..4_022]).prop_map(Step::Lost),
        1 => prop_oneof![9 => Just(Step::Take(9)), 1 => Just(Step::Text)],
        1 => prop_oneof![
            9 => Just(Step::Transmit(9)),
            1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Step::Bytes),
        ],
        1 => (any::<bool>(), 0u32..4).prop_map(|(resumed, received)| Step::Welcome { resumed, received }),
        1 => (1u8..5).prop_map(Step::Refused),
        1 => (0u8..20).prop_map(Step::Close),
        1 => (0u32..100_000).prop_map(Step::GoAway),
        1 => (0u32..3, Just(0)).prop_map(|(frames, bytes)| Step::Count { frames, bytes }),
        3 => any::<u16>().prop_map(Step::Information),
        3 => (1u64..9, any::<bool>()).prop_map(|(id, again)| Step::Certain { id, again }),
        2 => (1u64..9, 0u32..40_000).prop_map(|(id, ttl_ms)| Step::Query { id, ttl_ms }),
        4 => (0u8..4, 1u64..9, any::<bool>()).prop_map(|(kind, id, server)| Step::Answer { kind, id, server }),
        1 => (0u64..3, 0u64..3, any::<bool>())
            .prop_map(|(read, written, unflushed)| Step::Transport { read, written, unflushed }),
        6 => prop_oneof![0u32..50, 0u32..6_000, 0u32..200_000].prop_map(Step::Pass),
        3 => (any::<u16>(), any::<bool>(), prop::option::of(1u64..5))
            .prop_map(|(len, discard, tell)| Step::Send { len, discard, tell }),
        4 => (any::<u16>(), 0u32..60_000).prop_map(|(len, ttl_ms)| Step::Certainly { len, ttl_ms }),
        3 => (0u32..60_000).prop_map(|ttl_ms| Step::Ask { ttl_ms }),
        2 => (1u64..9, any::<bool>()).prop_map(|(token, ok)| Step::Reply { token, ok }),
        6 => (0u8..20).prop_map(Step::Transmit),
        3 => (0u8..5).prop_map(Step::Take),
        1 => prop_oneof![9 => Just(Step::Transmit(3)), 1 => Just(Step::LogOff)],
    ]
}

/// A session and what it has told so far.
struct World {
    session: Session,
    now: Instant,
    link: LinkId,
    outcomes: BTreeMap<MessageId, u32>,
    closed: bool,
}

impl World {
    fn new(reconnect: bool) -> Self {
        let mut config = Config::new(user("ann"));
        config.reconnect = reconnect;
        let seed = Seed { instance: InstanceId(7), jitter: 5 };
        let session = Session::new(config, seed, Instant::ZERO);
        Self { session, now: Instant::ZERO, link: LinkId(0), outcomes: BTreeMap::new(), closed: false }
    }

    fn give(&mut self, frames: &[Frame<'_>]) {
        self.session.handle_message(self.now, self.link, message(frames));
    }

    fn take(&mut self, step: &Step) {
        let now = self.now;
        match *step {
            Step::Enter { .. } if self.session.state() == State::Online => {}
            Step::Enter { resumed: again, received } => {
                if let (State::Waiting { .. }, Some((at, _))) = (self.session.state(), self.session.poll_timeout()) {
                    self.pass(at.since(self.now));
                }
                self.session.handle_connected(self.now, self.link);
                while self.session.poll_transmit(self.now).is_some() {}
                let welcome = if again && self.session.server().is_some() { resumed(received) } else { fresh() };
                self.give(&[welcome]);
            }
            Step::Connected => self.session.handle_connected(now, self.link),
            Step::Lost(code) => self.session.handle_link_closed(now, self.link, code),
            Step::Text => self.session.handle_text(now, self.link),
            Step::Bytes(ref bytes) => self.session.handle_message(now, self.link, Bytes::copy_from_slice(bytes)),
            Step::Welcome { resumed: true, received } => self.give(&[resumed(received)]),
            Step::Welcome { resumed: false, .. } => self.give(&[fresh()]),
            Step::Refused(code) => {
                let result = LoginCode::from_u8(code).unwrap();
                self.give(&[Frame::LoginResult(LoginResult::Refused { result, cause: "no" })]);
            }
            Step::Close(reason) => self.give(&[close(CloseReason::from_u8(reason).unwrap())]),
            Step::GoAway(retry_after_ms) => self.give(&[Frame::GoAway { retry_after_ms }]),
            Step::Count { frames, bytes } => self.give(&[Frame::Count { received: frames, taken: bytes }]),
            Step::Information(len) => {
                let body = vec![0; len.into()];
                self.give(&[Frame::Send { envelope: from(BOB, 0), info_type: 1, body: &body }]);
            }
            Step::Certain { id, again } => {
                let hop = if again { Hop::AGAIN } else { Hop::NONE };
                let mut out = BytesMut::new();
                certain(id).encode(Header { hop, ..Header::default() }, &mut out).unwrap();
                self.session.handle_message(now, self.link, out.freeze());
            }
            Step::Query { id, ttl_ms } => {
                self.give(&[Frame::Query { envelope: from(BOB, id), ttl_ms, info_type: 1, body: b"q" }]);
            }
            Step::Answer { kind, id, server } => {
                let envelope = from(if server { SERVER } else { BOB }, id);
                self.give(&[match kind {
                    0 => Frame::Ack { envelope },
                    1 => Frame::Reply { envelope, body: b"r" },
                    2 => Frame::Failure { envelope, about: Kind::Certain as u8, code: Failure::Offline },
                    _ => Frame::Failure { envelope, about: Kind::Query as u8, code: Failure::Busy },
                }]);
            }
            Step::Transport { read, written, unflushed } => {
                self.session.handle_transport(now, self.link, Transport { read, written, unflushed });
            }
            Step::Pass(ms_) => self.pass(ms(ms_.into())),
            Step::Send { len, discard, tell } => {
                let policy = if discard { Policy::Discard } else { Policy::Queue };
                let body = Bytes::from(vec![0; len.into()]);
                let _ = self.session.send(now, &To::Server, 1, body, SendOptions { policy, tell });
            }
            Step::Certainly { len, ttl_ms } => {
                let body = Bytes::from(vec![0; len.into()]);
                let id = self.session.send_certainly(now, &to_bob(), 1, body, Some(ms(ttl_ms.into())));
                self.opened(id.ok());
            }
            Step::Ask { ttl_ms } => {
                let id = self.session.query(now, &to_bob(), 1, Bytes::new(), Some(ms(ttl_ms.into())));
                self.opened(id.ok());
            }
            Step::Reply { token, ok } => {
                let answer = if ok { Ok(Bytes::from_static(b"reply")) } else { Err(Failure::HandlerFailed) };
                self.session.reply(now, QueryToken(token), answer);
            }
            Step::Transmit(frames) => {
                for _ in 0..frames {
                    let Some(transmit) = self.session.poll_transmit(now) else { break };
                    let last = crate::wire::RawFrame::parse(transmit.frame).unwrap().kind() == Some(Kind::Close);
                    assert!(last || !self.closed, "sent after Closed");
                }
            }
            Step::Take(messages) => {
                for _ in 0..messages {
                    assert!(self.session.poll_message().is_none() || !self.closed, "a message after Closed");
                }
            }
            Step::LogOff => self.session.log_off(now),
        }
        self.drain();
    }

    fn opened(&mut self, id: Option<MessageId>) {
        if let Some(id) = id {
            assert!(!self.closed && self.outcomes.insert(id, 0).is_none());
        }
    }

    /// Time passes, timer by timer; none fires twice at the same time.
    fn pass(&mut self, duration: core::time::Duration) {
        let end = self.now + duration;
        let mut fired = 0;
        while let Some((at, kind)) = self.session.poll_timeout().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            self.session.handle_timeout(self.now);
            let next = self.session.poll_timeout();
            assert!(next.is_none_or(|(next, _)| next > self.now), "{kind:?} spins");
            self.drain();
            fired += 1;
            assert!(fired < 10_000, "{kind:?} keeps firing");
        }
        self.now = end;
        self.session.handle_timeout(self.now);
    }

    fn drain(&mut self) {
        while let Some(action) = self.session.poll_action() {
            if let Action::Connect { link } = action {
                assert!(!self.closed, "connects after Closed");
                self.link = link;
            }
        }
        while let Some(event) = self.session.poll_event() {
            assert!(!self.closed, "{event:?} after Closed");
            match event {
                Event::Acked { id } | Event::Replied { id, .. } | Event::Failed { id, .. } => {
                    *self.outcomes.get_mut(&id).expect("an outcome of something asked") += 1;
                }
                Event::Closed { reason } => {
                    self.closed = true;
                    assert_eq!(self.session.state(), State::Closed(reason));
                }
                _ => {}
            }
        }
        assert!(self.session.queued_bytes() <= (4 << 20) + (256 << 10), "{}", self.session.queued_bytes());
        let ended = self.outcomes.values().filter(|ends| **ends > 0).count();
        assert!(self.outcomes.values().all(|ends| *ends <= 1), "two outcomes: {:?}", self.outcomes);
        assert_eq!(self.session.open_operations(), self.outcomes.len() - ended);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 512 }))]

    #[test]
    fn whatever_comes_each_operation_ends_once_nothing_spins_and_closed_is_the_last(
        steps in prop::collection::vec(step(), 0..120),
        reconnect in prop::bool::weighted(0.9),
    ) {
        let mut world = World::new(reconnect);
        world.drain();
        for step in &steps {
            world.take(step);
        }
        world.take(&Step::LogOff);
        world.take(&Step::Pass(400_000));
        prop_assert!(world.closed);
        prop_assert!(world.outcomes.values().all(|ends| *ends == 1), "{:?}", world.outcomes);
        prop_assert_eq!(world.session.poll_timeout(), None);
        prop_assert_eq!(world.session.queued_bytes(), 0);
    }

    #[test]
    fn bytes_of_any_kind_never_panic(
        online in any::<bool>(),
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..8),
    ) {
        let mut hand = Hand::new();
        hand.connect();
        if online {
            hand.give(&[fresh()]);
        }
        for message in messages {
            hand.give_bytes(Bytes::from(message));
        }
        let events = hand.events();
        let closed = events.iter().position(|event| matches!(event, Event::Closed { .. }));
        prop_assert!(closed.is_none_or(|at| at + 1 == events.len()));
    }

    #[test]
    fn sound_frames_with_a_byte_changed_never_panic_and_keep_counts_honest(
        frame in 0usize..8, at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut hand = Hand::online();
        let id = hand.certainly("x").0;
        hand.sent();
        let frames = [
            information("text"), certain(1), query(1), ack(id), failure(Kind::Certain, id, Failure::Busy),
            Frame::Count { received: 1, taken: 0 }, Frame::GoAway { retry_after_ms: 1 }, close(CloseReason::Internal),
        ];
        let mut bytes = BytesMut::from(&message(&frames[frame..=frame])[..]);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        hand.give_bytes(bytes.freeze());
        hand.pass(ms(100));
        // Whatever it was, one frame at most is counted.
        for frame in hand.sent() {
            if let Ok(Frame::Count { received, .. }) = frame.decode() {
                prop_assert!(received <= 1);
            }
        }
    }

    #[test]
    fn frames_in_one_message_or_in_many_give_the_same(
        picks in prop::collection::vec(0usize..9, 1..30), cuts in prop::collection::vec(any::<bool>(), 30),
    ) {
        let all = |together: bool| {
            let mut hand = Hand::online();
            let asked = hand.ask().0;
            hand.certainly("x");
            hand.sent();
            let to_me = Address::User { user: "ann" };
            let frames = [
                information("a"),
                certain(3),
                certain(2),
                query(4),
                ack(2),
                Frame::Reply { envelope: from(BOB, asked), body: b"reply" },
                Frame::Send { envelope: Envelope::new(to_me, BOB, 0), info_type: 3, body: &[9; 2_000] },
                Frame::HeartbeatAck { nonce: 5 },
                close(CloseReason::Internal),
            ];
            let mut batch = vec![];
            for (pick, cut) in picks.iter().zip(&cuts) {
                batch.push(frames[*pick]);
                if !together || *cut {
                    hand.give(&core::mem::take(&mut batch));
                }
            }
            if !batch.is_empty() {
                hand.give(&batch);
            }
            let sent: Vec<_> =
                core::iter::from_fn(|| hand.session.poll_transmit(hand.now)).map(|transmit| transmit.frame).collect();
            (hand.events(), hand.messages(), sent, hand.actions(), hand.session.state())
        };
        prop_assert_eq!(all(true), all(false));
    }
}
