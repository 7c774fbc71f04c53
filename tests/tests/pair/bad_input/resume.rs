//! Rows 14 and 15: secrets that resume nothing, counts that cannot be, and a takeover while the old link sends.

use esf_proto::{
    close::CloseReason,
    login::{Mode, ResumeSecret},
    wire::Frame,
};
use esf_tests::{
    by_hand::bytes_of,
    raw::{LoginWith, RawLink, Welcomed},
};

use super::Scene;

const INVALID: CloseReason = CloseReason::InvalidMessage;

/// Mallory is logged in, and so is zoe, on a link by hand.
fn with_zoe() -> (Scene, RawLink, Welcomed) {
    let mut scene = Scene::new();
    let mut zoe = RawLink::open(&scene.world, "zoe", 77);
    let welcome = zoe.login(&mut scene.world, LoginWith::default()).expect("a welcome");
    zoe.take_received();
    (scene, zoe, welcome)
}

/// Zoe's link still carries her session.
fn is_served(zoe: &mut RawLink, scene: &mut Scene) {
    scene.world.send(scene.others.ann, "zoe", "still there?");
    scene.world.run();
    zoe.pump(&mut scene.world);
    assert_eq!(zoe.take_texts(), ["still there?"]);
    assert!(zoe.is_open());
}

// Row 14: secrets.

#[test]
fn a_foreign_secret_gives_a_fresh_login_and_touches_no_foreign_session() {
    let (mut scene, mut zoe, welcome) = with_zoe();
    let refused = scene.world.counter("resumes_refused");
    // On a link of its own, and again on the next: the session that it has meanwhile makes no difference.
    for (attempt, instance) in [(1, 67), (2, 67), (1, 77)] {
        let mut thief = RawLink::open(&scene.world, "mallory", instance);
        let with = LoginWith { attempt, resume: Some((welcome.secret, 0)), ..LoginWith::default() };
        let got = thief.login(&mut scene.world, with).expect("a good credential");
        assert_eq!((got.mode, got.received), (Mode::Fresh, 0));
        assert_ne!(got.secret, welcome.secret);
        is_served(&mut zoe, &mut scene);
    }
    assert_eq!(scene.world.counter("resumes_refused"), refused + 3);
    scene.others.are_unharmed(&mut scene.world, "a foreign secret");
}

#[test]
fn a_wrong_secret_gives_a_fresh_login_that_replaces_the_engines_own_session() {
    let (mut scene, mut zoe, welcome) = with_zoe();
    let mut near = welcome.secret;
    near.0[15] ^= 1;
    for (attempt, secret) in [(2, near), (3, ResumeSecret([0; 16]))] {
        let mut next = RawLink::open(&scene.world, "zoe", 77);
        let with = LoginWith { attempt, resume: Some((secret, 0)), ..LoginWith::default() };
        let refused = scene.world.counter("resumes_refused");
        assert_eq!(next.login(&mut scene.world, with).expect("a good credential").mode, Mode::Fresh);
        assert_eq!(scene.world.counter("resumes_refused"), refused + 1);
        zoe.pump(&mut scene.world);
        assert_eq!(zoe.closed(), Some(CloseReason::Superseded), "it is the same engine: no push-out");
        next.take_received();
        is_served(&mut next, &mut scene);
        zoe = next;
    }
    scene.others.are_unharmed(&mut scene.world, "a wrong secret");
}

#[test]
fn an_old_secret_is_void_once_the_client_has_sent_with_the_new_one() {
    let (mut scene, _zoe, first) = with_zoe();
    let mut next = RawLink::open(&scene.world, "zoe", 77);
    let with = LoginWith { attempt: 2, interactive: false, resume: Some((first.secret, 0)), ..LoginWith::default() };
    assert_eq!(next.login(&mut scene.world, with).expect("a welcome").mode, Mode::Resumed);
    next.send(&mut scene.world, &Frame::Count { received: 0, taken: 0 });
    let mut late = RawLink::open(&scene.world, "zoe", 77);
    let refused = scene.world.counter("resumes_refused");
    assert_eq!(late.login(&mut scene.world, LoginWith { attempt: 3, ..with }).expect("a welcome").mode, Mode::Fresh);
    assert_eq!(scene.world.counter("resumes_refused"), refused + 1);
    scene.others.are_unharmed(&mut scene.world, "an old secret");
}

#[test]
fn the_secret_of_a_session_that_ended_gives_a_fresh_login() {
    let (mut scene, mut zoe, welcome) = with_zoe();
    zoe.send(&mut scene.world, &Frame::Close { reason: CloseReason::LoggedOff, text: "" });
    assert!(!scene.world.node.is_online("zoe"));
    let mut next = RawLink::open(&scene.world, "zoe", 77);
    let with = LoginWith { attempt: 2, resume: Some((welcome.secret, 0)), ..LoginWith::default() };
    let refused = scene.world.counter("resumes_refused");
    assert_eq!(next.login(&mut scene.world, with).expect("a welcome").mode, Mode::Fresh);
    assert_eq!(scene.world.counter("resumes_refused"), refused + 1);
    scene.others.are_unharmed(&mut scene.world, "the secret of the dead");
}

#[test]
fn a_secret_without_a_good_credential_resumes_nothing() {
    let (mut scene, mut zoe, welcome) = with_zoe();
    let mut thief = RawLink::open(&scene.world, "zoe", 77);
    let with = LoginWith { attempt: 2, password: b"wrong", resume: Some((welcome.secret, 0)), ..LoginWith::default() };
    assert!(thief.login(&mut scene.world, with).is_err());
    assert_eq!(thief.closed(), Some(CloseReason::LoginFailed));
    is_served(&mut zoe, &mut scene);
    scene.others.are_unharmed(&mut scene.world, "a stolen secret");
}

// Row 14: counts.

#[test]
fn a_count_that_cannot_be_closes_the_link() {
    // Mallory has been handed one message of the window, and counted it once.
    let scene = || {
        let mut scene = Scene::new();
        for _ in 0..2 {
            scene.world.send(scene.others.ann, "mallory", "hi");
        }
        scene.world.run();
        scene.mallory.pump(&mut scene.world);
        let taken: u32 = scene.mallory.take_received().iter().map(|frame| frame.len() as u32).sum();
        scene.mallory.send(&mut scene.world, &Frame::Count { received: 1, taken: taken / 2 });
        assert!(scene.mallory.is_open());
        (scene, taken)
    };
    let (_, taken) = scene();
    let cases = [
        ("received from the future", 3, taken),
        ("received from the far future", u32::MAX, taken),
        ("received from the past", 0, taken),
        ("taken from the future", 2, taken + 1),
        ("taken from the past", 2, taken / 2 - 1),
        ("nothing at all", 0, 0),
    ];
    for (what, received, taken) in cases {
        let (scene, _) = scene();
        scene.closes(what, bytes_of(&Frame::Count { received, taken }), INVALID);
    }
    let (mut honest, taken) = scene();
    honest.mallory.send(&mut honest.world, &Frame::Count { received: 2, taken });
    assert!(honest.mallory.is_open(), "the right count is none of these");
}

#[test]
fn a_login_with_a_count_that_cannot_be_is_closed_and_the_session_stays_as_it_was() {
    let (mut scene, mut zoe, welcome) = with_zoe();
    scene.world.send(scene.others.ann, "zoe", "one");
    scene.world.run();
    zoe.pump(&mut scene.world);
    assert_eq!(zoe.take_texts(), ["one"]);
    let again = LoginWith { interactive: false, login_number: welcome.login_number, ..LoginWith::default() };
    for (attempt, received) in [(2, 2), (3, u32::MAX), (4, 1 << 31)] {
        let before = scene.world.closes(INVALID);
        let mut liar = RawLink::open(&scene.world, "zoe", 77);
        let with = LoginWith { attempt, resume: Some((welcome.secret, received)), ..again };
        assert_eq!(liar.login(&mut scene.world, with), Err(None));
        assert_eq!((liar.closed(), liar.told()), (Some(INVALID), Some(INVALID)));
        assert_eq!(scene.world.closes(INVALID), before + 1);
        is_served(&mut zoe, &mut scene);
    }
    // And it resumes with the same secret and the count that is true.
    let mut next = RawLink::open(&scene.world, "zoe", 77);
    let with = LoginWith { attempt: 5, resume: Some((welcome.secret, 1)), ..again };
    assert_eq!(next.login(&mut scene.world, with).expect("a welcome").mode, Mode::Resumed);
    assert_eq!(next.take_texts(), ["still there?"; 3]);
    scene.others.are_unharmed(&mut scene.world, "a count from the future");
}

// Row 15.

#[test]
fn what_an_old_link_sends_after_a_takeover_is_fenced_counted_and_closes_nothing_else() {
    let (mut scene, mut old, welcome) = with_zoe();
    let mut new = RawLink::open(&scene.world, "zoe", 77);
    let with = LoginWith {
        attempt: 2,
        interactive: false,
        login_number: welcome.login_number,
        resume: Some((welcome.secret, 0)),
        ..LoginWith::default()
    };
    assert_eq!(new.login(&mut scene.world, with).expect("a welcome").mode, Mode::Resumed);
    let (fenced, closed) = (scene.world.counter("fenced"), scene.world.closes(CloseReason::Superseded));
    // What it sends is not even judged: a frame as somebody else, a count from the future, a log-off.
    let late = old.plain("ben", "late");
    old.push_only(&scene.world, late);
    assert_eq!(scene.world.counter("fenced"), fenced + 1);
    old.push_only(&scene.world, bytes_of(&Frame::Count { received: 99, taken: 99 }));
    old.push_only(&scene.world, bytes_of(&Frame::Close { reason: CloseReason::LoggedOff, text: "" }));
    old.pump(&mut scene.world);
    assert_eq!((old.closed(), old.told()), (Some(CloseReason::Superseded), Some(CloseReason::Superseded)));
    assert_eq!(scene.world.closes(CloseReason::Superseded), closed + 1);
    old.drop_link(&mut scene.world);
    new.take_received();
    is_served(&mut new, &mut scene);
    assert_eq!(scene.world.texts(scene.others.ben), [] as [&str; 0]);
    scene.others.are_unharmed(&mut scene.world, "a takeover");
}
