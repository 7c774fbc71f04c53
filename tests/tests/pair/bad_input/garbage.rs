//! Many things wrong at once: honest frames spoiled at random, on links at random places of their lives.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use esf_proto::{
    close::CloseReason,
    ids::{Engine, InstanceId, Source},
    login::ResumeSecret,
    server::LinkState,
    wire::{Address, Envelope, Frame},
};
use esf_tests::{
    by_hand::{bytes_of, frame_of},
    raw::{LoginWith, RawLink},
    world::{Who, World},
};

use super::Scene;

/// A small generator: a failing seed is in the message of the panic.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).expect("below a usize")
    }

    fn byte(&mut self) -> u8 {
        self.below(256).to_le_bytes()[0]
    }
}

/// A frame as an honest client could send it, to one of those who are there.
fn honest(random: &mut Random, mallory: &RawLink) -> Bytes {
    let users = ["ann", "ben", "mallory", "nobody"];
    let engine = Address::Engine {
        user: users[random.below(4)],
        device: mallory.engine.device,
        instance: InstanceId([0xE0_0001, 0xE0_0002, 66][random.below(3)]),
    };
    let user = Address::User { user: users[random.below(4)] };
    let to = [user, engine, Address::Server { instance: 0 }, Address::Group { group: "g" }][random.below(4)];
    let id = random.below(20) as u64;
    let own = Address::of_engine(&mallory.engine);
    let (message, answer) = (Envelope::new(to, own, id), Envelope::new(engine, own, id));
    let ttl_ms = [0, 1, 30_000, u32::MAX][random.below(4)];
    let frame = match random.below(12) {
        0 => Frame::Send { envelope: message, info_type: 1, body: b"psst" },
        1 => Frame::EngineMessage { envelope: message, info_type: 1, tag: "t", body: b"psst" },
        2 => Frame::Certain { envelope: message, ttl_ms, info_type: 1, body: b"psst" },
        3 => Frame::Query { envelope: message, ttl_ms, info_type: 1, body: b"psst" },
        4 => Frame::Request { envelope: message, ttl_ms, method: random.below(6) as u16, cursor: b"", body: b"\x01\0" },
        5 => Frame::Ack { envelope: answer },
        6 => Frame::Reply { envelope: answer, body: b"forged" },
        7 => Frame::Response { envelope: answer, status: Ok(()), cursor: b"", body: b"" },
        8 => Frame::Failure { envelope: answer, about: random.byte(), code: esf_proto::failure::Failure::Offline },
        9 => Frame::Count { received: random.below(3) as u32, taken: random.below(200) as u32 },
        10 => Frame::Heartbeat { nonce: 1 },
        _ => return frame_of(random.byte(), random.byte() & !1, b"anything"),
    };
    bytes_of(&frame)
}

/// One or a few frames, often with a byte changed, cut or doubled.
fn message(random: &mut Random, mallory: &RawLink) -> Bytes {
    let mut bytes = BytesMut::new();
    for _ in 0..=random.below(3) {
        bytes.extend_from_slice(&honest(random, mallory));
    }
    match random.below(8) {
        0 => {
            let at = random.below(bytes.len());
            bytes[at] = random.byte();
        }
        1 => bytes.truncate(random.below(bytes.len())),
        2 => bytes.extend_from_slice(b"more"),
        _ => {}
    }
    bytes.freeze()
}

fn next_link(random: &mut Random, world: &mut World, attempt: u32) -> RawLink {
    let mut link = RawLink::open(world, "mallory", 66);
    let secret = ResumeSecret([random.byte(); 16]);
    let resume = (random.below(2) == 0).then_some((secret, random.below(3) as u32));
    match random.below(4) {
        // Before its login.
        0 => {}
        _ => {
            let with = LoginWith { attempt, resume, takes_messages: random.below(3) > 0, ..LoginWith::default() };
            let login = link.login_frame(with);
            link.push(world, login);
        }
    }
    link
}

/// Whether every message that is not a bystander's own comes from mallory and says so.
fn all_from_mallory(world: &mut World, who: Who, mallory: &Engine) -> bool {
    let mut others = world.engine(who).messages.iter().filter(|message| &message.body[..] != b"are you there?");
    others.all(|message| message.source == Source::Engine(mallory.clone()))
}

#[test]
fn whatever_somebody_sends_others_go_on_and_nothing_is_kept() {
    for seed in 1..=150 {
        let random = &mut Random(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed) | 1);
        let mut scene = Scene::before_login();
        let mut attempt = 0;
        for step in 0..40 {
            let over = matches!(scene.mallory.conn.state(), LinkState::Closing | LinkState::Closed);
            if over || random.below(12) == 0 {
                attempt += 1;
                let next = next_link(random, &mut scene.world, attempt);
                std::mem::replace(&mut scene.mallory, next).drop_link(&mut scene.world);
            }
            let bytes = message(random, &scene.mallory);
            scene.send(bytes);
            if random.below(6) == 0 {
                scene.mallory.pass(&mut scene.world, Duration::from_millis(200));
            }
            if let Some(reason) = scene.mallory.closed() {
                let fair = [
                    CloseReason::InvalidMessage,
                    CloseReason::WrongUserId,
                    CloseReason::TooLarge,
                    CloseReason::Unsupported,
                    CloseReason::LoggedOff,
                ];
                assert!(fair.contains(&reason), "seed {seed}, step {step}: {reason:?}");
            }
        }
        let (ann, ben) = (scene.others.ann, scene.others.ben);
        for who in [ann, ben] {
            assert!(all_from_mallory(&mut scene.world, who, &scene.mallory.engine), "seed {seed}");
            let stats = *scene.world.session(who).stats();
            assert_eq!((stats.malformed, stats.skipped), (0, 0), "seed {seed}: the server let nothing through");
        }
        scene.others.are_unharmed(&mut scene.world, &format!("seed {seed}"));
        scene.mallory.drop_link(&mut scene.world);
        scene.world.advance(Duration::from_secs(61));
        assert_eq!(scene.world.node.held_bytes(), 0, "seed {seed}");
        assert_eq!(scene.world.node.links(), 2, "seed {seed}");
    }
}

#[test]
fn the_spoiled_frames_reach_every_end() {
    // The test above proves little if all of its links die at once, or none does.
    let mut scene = Scene::new();
    let random = &mut Random(7);
    let (mut closed, mut open) = (0, 0);
    for _ in 0..400 {
        let bytes = message(random, &scene.mallory);
        scene.send(bytes);
        if scene.mallory.is_open() {
            open += 1;
        } else {
            closed += 1;
            scene = Scene::new();
        }
    }
    assert!(closed > 50 && open > 100, "{closed} closed, {open} went on");
}
