//! Rows 6, 13, 19 and 21: who it says it is, answers to nothing, rights, and what is over on arrival.

use bytes::Bytes;
use esf_proto::{
    close::CloseReason,
    failure::{Failure, Status},
    ids::{DeviceKind, InstanceId},
    login::Rights,
    server::AppResponse,
    wire::{Address, Envelope, Frame, Kind, Method, RawFrame},
};
use esf_tests::{
    by_hand::{bytes_of, disguised},
    raw::{LoginWith, RawLink},
    world::{Answering, Outcome, user},
};

use super::Scene;

// Row 6.

/// Every routed kind from `from`, to ann or, if it is an answer, to her engine.
fn every_kind<'a>(from: Address<'a>, ann: Address<'a>) -> Vec<Bytes> {
    let to_ann = Envelope::new(Address::User { user: "ann" }, from, 1);
    let to_engine = Envelope::new(ann, from, 1);
    let frames = [
        Frame::Send { envelope: to_ann, info_type: 1, body: b"psst" },
        Frame::Certain { envelope: to_ann, ttl_ms: 1_000, info_type: 1, body: b"psst" },
        Frame::EngineMessage { envelope: to_ann, info_type: 1, tag: "t", body: b"psst" },
        Frame::Query { envelope: to_ann, ttl_ms: 1_000, info_type: 1, body: b"psst" },
        Frame::Request { envelope: to_ann, ttl_ms: 1_000, method: 1, cursor: b"", body: b"" },
        Frame::Ack { envelope: to_engine },
        Frame::Reply { envelope: to_engine, body: b"" },
        Frame::Failure { envelope: to_engine, about: Kind::Query as u8, code: Failure::Busy },
        Frame::Response { envelope: to_engine, status: Ok(()), cursor: b"", body: b"" },
    ];
    let mut all: Vec<Bytes> = frames.iter().map(bytes_of).collect();
    // A kind that nobody knows has to be honest too.
    all.push(disguised(&bytes_of(&frames[0]), 0x7F, 0));
    all
}

#[test]
fn anothers_name_device_or_instance_in_from_closes_the_link_whatever_the_kind() {
    let (device, instance) = (DeviceKind::SERVICE, InstanceId(66));
    let ben = InstanceId(0xE0_0002);
    let cases = [
        ("another's name", Address::Engine { user: "ben", device, instance }),
        ("a name that differs in case", Address::Engine { user: "Mallory", device, instance }),
        ("another's whole address", Address::Engine { user: "ben", device, instance: ben }),
        ("another device", Address::Engine { user: "mallory", device: DeviceKind::PHONE, instance }),
        ("another instance", Address::Engine { user: "mallory", device, instance: InstanceId(67) }),
        ("the server", Address::Server { instance: 0 }),
        ("this life of the server", Address::Server { instance: 0x5E01 }),
    ];
    for (what, from) in cases {
        let kinds = every_kind(from, ann_of(&Scene::new())).len();
        for at in 0..kinds {
            let scene = Scene::new();
            let bytes = every_kind(from, ann_of(&scene)).swap_remove(at);
            scene.closes(&format!("{what}, frame {at}"), bytes, CloseReason::WrongUserId);
        }
    }
}

/// The address of ann's engine.
fn ann_of(scene: &Scene) -> Address<'static> {
    let ann = Address::Engine { user: "ann", device: DeviceKind::SERVICE, instance: InstanceId(0xE0_0001) };
    assert!(scene.world.node.is_online("ann"));
    ann
}

// Row 13.

fn answers(from: &RawLink, to: Address<'_>, id: u64) -> Vec<(&'static str, Bytes)> {
    let envelope = Envelope::new(to, Address::of_engine(&from.engine), id);
    let failure = |about: Kind| bytes_of(&Frame::Failure { envelope, about: about as u8, code: Failure::Offline });
    vec![
        ("an ack", bytes_of(&Frame::Ack { envelope })),
        ("a reply", bytes_of(&Frame::Reply { envelope, body: b"forged" })),
        ("a response", bytes_of(&Frame::Response { envelope, status: Ok(()), cursor: b"", body: b"" })),
        ("a failure of a certain message", failure(Kind::Certain)),
        ("a failure of a query", failure(Kind::Query)),
        ("a failure of a plain message", failure(Kind::Send)),
    ]
}

#[test]
fn answers_to_nothing_are_dropped_and_counted() {
    let mut scene = Scene::new();
    let ann = ann_of(&scene);
    let targets = [
        ("to somebody who asked nothing", ann),
        ("to another instance", Address::Engine { user: "ann", device: DeviceKind::SERVICE, instance: InstanceId(1) }),
        ("to another device", Address::Engine { user: "ann", device: DeviceKind::PHONE, instance: InstanceId(1) }),
        ("to nobody", Address::Engine { user: "zoe", device: DeviceKind::PHONE, instance: InstanceId(1) }),
        ("to the server", Address::Server { instance: 0 }),
    ];
    for (to_whom, to) in targets {
        let heard = scene.world.session(scene.others.ann).stats().answers_unasked;
        for (what, bytes) in answers(&scene.mallory, to, 1) {
            scene.lets_off(&format!("{what} {to_whom}"), bytes, "answers_unasked");
        }
        let stats = scene.world.session(scene.others.ann).stats();
        assert_eq!((stats.answers_unasked, stats.misaddressed), (heard, 0), "nothing of it reached her");
    }
}

#[test]
fn an_answer_from_somebody_who_was_not_asked_does_not_count() {
    let mut scene = Scene::new();
    let (ann, ben) = (scene.others.ann, scene.others.ben);
    scene.world.engine(ben).answering = Answering::Never;
    let asked = scene.world.query(ann, "ben", "the way?");
    scene.world.run();
    for (what, bytes) in answers(&scene.mallory, ann_of(&scene), asked.0) {
        let before = scene.world.counter("answers_unasked");
        scene.send(bytes);
        assert_eq!(scene.world.counter("answers_unasked"), before + 1, "{what}");
        assert_eq!(scene.world.outcome(ann, asked), None, "{what}");
    }
    scene.world.reply(ben, Ok("left"));
    scene.world.engine(ben).answering = Answering::Echo;
    scene.world.run();
    assert_eq!(scene.world.outcome(ann, asked), Some(Outcome::Replied("left".into())));
    assert!(scene.mallory.is_open());
    scene.others.are_unharmed(&mut scene.world, "forged answers");
}

#[test]
fn an_answer_of_the_wrong_kind_does_not_end_what_was_asked() {
    let mut scene = Scene::new();
    let ann = scene.others.ann;
    let asked = scene.world.query(ann, "mallory", "the way?");
    scene.world.run();
    let wrong = answers(&scene.mallory, ann_of(&scene), asked.0);
    for (what, bytes) in wrong.into_iter().filter(|(what, _)| *what == "an ack" || *what == "a response") {
        scene.lets_off(what, bytes, "answers_unasked");
        assert_eq!(scene.world.outcome(ann, asked), None);
    }
    let reply = answers(&scene.mallory, ann_of(&scene), asked.0).swap_remove(1).1;
    scene.send(reply.clone());
    assert_eq!(scene.world.outcome(ann, asked), Some(Outcome::Replied("forged".into())));
    scene.lets_off("a second reply", reply, "answers_unasked");
}

// Row 19.

fn request(from: &RawLink, method: Method, id: u64, body: &[u8]) -> Bytes {
    let envelope = Envelope::new(Address::Server { instance: 0 }, Address::of_engine(&from.engine), id);
    bytes_of(&Frame::Request { envelope, ttl_ms: 1_000, method: method as u16, cursor: b"", body })
}

fn statuses(frames: &[RawFrame]) -> Vec<Status> {
    let status = |frame: &RawFrame| match frame.decode() {
        Ok(Frame::Response { status, .. }) => Some(status),
        _ => None,
    };
    frames.iter().filter_map(status).collect()
}

#[test]
fn a_kick_or_a_list_without_the_right_is_not_allowed() {
    let mut scene = Scene::new();
    for (id, what, method, body) in [
        (1, "a kick of a bystander", Method::Kick, &b"\x03ben"[..]),
        (2, "a kick of nobody", Method::Kick, b"\x03zoe"),
        (3, "a kick that names nobody", Method::Kick, b""),
        (4, "the list of who is online", Method::OnlineUsers, b"\0\0"),
    ] {
        let bytes = request(&scene.mallory, method, id, body);
        scene.lets_off(what, bytes, "not_allowed");
        assert_eq!(statuses(&scene.mallory.take_received()), [Err(Failure::NotAllowed)], "{what}");
    }
}

#[test]
fn a_right_to_the_one_is_none_to_the_other() {
    for (rights, allowed, refused) in
        [(Rights::KICK, Method::Kick, Method::OnlineUsers), (Rights::LIST, Method::OnlineUsers, Method::Kick)]
    {
        let mut scene = Scene::before_login();
        scene.world.authenticates = false;
        scene.send(scene.mallory.login_frame(LoginWith::default()));
        scene.mallory.conn.handle_response(scene.world.now, AppResponse::Accept(rights.into()));
        scene.mallory.pump(&mut scene.world);
        scene.mallory.take_received();
        let body = |method| if method == Method::Kick { &b"\x03zoe"[..] } else { &b"\0\0"[..] };
        let bytes = request(&scene.mallory, refused, 1, body(refused));
        scene.lets_off("the other right", bytes, "not_allowed");
        assert_eq!(statuses(&scene.mallory.take_received()), [Err(Failure::NotAllowed)]);
        let bytes = request(&scene.mallory, allowed, 2, body(allowed));
        scene.send(bytes);
        let status = statuses(&scene.mallory.take_received());
        let expected = if allowed == Method::Kick { Err(Failure::Offline) } else { Ok(()) };
        assert_eq!(status, [expected]);
    }
}

// Row 21.

#[test]
fn what_has_no_time_left_on_arrival_is_timed_out_at_once_and_nobody_is_asked() {
    let mut scene = Scene::new();
    let ben = scene.others.ben;
    for to in ["ben", "zoe", ""] {
        for kind in [Kind::Certain, Kind::Query, Kind::Request] {
            let to = if to.is_empty() { Address::Server { instance: 0 } } else { Address::User { user: to } };
            let envelope = Envelope::new(to, Address::of_engine(&scene.mallory.engine), 9);
            let frame = match kind {
                Kind::Certain => Frame::Certain { envelope, ttl_ms: 0, info_type: 1, body: b"late" },
                Kind::Query => Frame::Query { envelope, ttl_ms: 0, info_type: 1, body: b"late" },
                _ => Frame::Request { envelope, ttl_ms: 0, method: Method::Ping as u16, cursor: b"", body: b"" },
            };
            let bytes = bytes_of(&frame);
            let (heard, took) = (scene.world.session(ben).stats().frames_in, scene.world.inbox.len());
            let expired = scene.world.counter("expired");
            scene.send(bytes);
            assert_eq!(scene.world.counter("expired"), expired + 1, "{kind:?}");
            assert_eq!(scene.world.session(ben).stats().frames_in, heard, "{kind:?} is not relayed");
            assert_eq!(scene.world.inbox.len(), took, "{kind:?} does not reach the application");
            let answers = scene.mallory.take_received();
            let told = |frame: &RawFrame| match frame.decode() {
                Ok(Frame::Failure { envelope, about, code }) => Some((envelope.id, about, code)),
                _ => None,
            };
            let told: Vec<_> = answers.iter().filter_map(told).collect();
            assert_eq!(told, [(9, kind as u8, Failure::TimedOut)]);
        }
    }
    assert!(scene.mallory.is_open());
    scene.others.are_unharmed(&mut scene.world, "what is over on arrival");
}

#[test]
fn a_client_whose_question_has_no_time_is_told_so() {
    let mut scene = Scene::new();
    let ann = scene.others.ann;
    let now = scene.world.now;
    let none = Some(std::time::Duration::ZERO);
    let asked = scene.world.session(ann).query(now, &user("ben"), 1, "?".into(), none).expect("room");
    scene.world.run();
    scene.world.advance(std::time::Duration::from_millis(1));
    assert_eq!(scene.world.outcome(ann, asked), Some(Outcome::Failed(Failure::TimedOut)));
    assert!(scene.world.engine(scene.others.ben).queries.is_empty());
}
