//! What waits is the latest state of each, in frames of fifty events, and all that it was charged is given back.

use std::vec::Vec;

use super::*;
use crate::server::{Config, testing};

const PHONE: DeviceKind = DeviceKind::PHONE;
const TABLET: DeviceKind = DeviceKind::TABLET;

fn user(name: &str) -> UserId {
    UserId::parse(name, 255).unwrap()
}

fn told(outbox: &mut Outbox) -> Vec<(PresenceStage, UserId, Option<DeviceKind>)> {
    let Some((frame, _)) = outbox.next_news() else { return Vec::new() };
    let frame = RawFrame::parse(frame).unwrap();
    let Ok(Frame::Presence { events, .. }) = frame.decode() else { panic!("{frame:?}") };
    let one = |event: PresenceEvent<'_>| match event.who {
        Address::User { user: name } => (event.stage, user(name), None),
        Address::Device { user: name, device } => (event.stage, user(name), Some(device)),
        other => panic!("{other:?}"),
    };
    events.iter().map(one).collect()
}

fn came(told: &[DeviceKind], is: &[DeviceKind]) -> Change {
    Change::between(told, is).unwrap()
}

#[test]
fn a_change_is_what_differs() {
    assert_eq!(Change::between(&[], &[]), None);
    assert_eq!(Change::between(&[PHONE], &[PHONE]), None);
    let change = came(&[PHONE], &[TABLET]);
    assert_eq!(change, Change { online: None, devices: [(PHONE, false), (TABLET, true)].into() });
    assert_eq!(came(&[], &[PHONE]).online, Some(true));
    assert_eq!(came(&[PHONE, TABLET], &[]).online, Some(false));
}

#[test]
fn only_the_latest_state_waits() {
    let (mut outbox, budget, _) = testing::outbox(Config::default());
    let ben = user("ben");
    for _ in 0..100 {
        outbox.presence(&ben, &came(&[], &[PHONE]), true);
        outbox.presence(&ben, &came(&[PHONE], &[]), true);
    }
    outbox.presence(&ben, &came(&[], &[TABLET]), true);
    assert!(outbox.take_wake() && !outbox.is_empty());
    assert!(budget.used() < 400, "{}", budget.used());
    let expected = [
        (PresenceStage::ContactOnline, ben.clone(), None),
        (PresenceStage::ContactDeviceOnline, ben.clone(), Some(TABLET)),
        (PresenceStage::ContactDeviceOffline, ben, Some(PHONE)),
    ];
    assert_eq!(told(&mut outbox), expected);
    assert!(outbox.is_empty() && told(&mut outbox).is_empty());
}

#[test]
fn who_is_contact_and_groupmate_is_told_as_both() {
    let (mut outbox, ..) = testing::outbox(Config::default());
    let ben = user("ben");
    outbox.presence(&ben, &came(&[], &[PHONE]), false);
    outbox.presence(&ben, &came(&[PHONE], &[PHONE, TABLET]), false);
    outbox.presence(&ben, &came(&[], &[PHONE]), true);
    let stages: Vec<PresenceStage> = told(&mut outbox).into_iter().map(|(stage, ..)| stage).collect();
    let expected = [PresenceStage::ContactOnline, PresenceStage::ContactDeviceOnline, PresenceStage::GroupmateOnline];
    assert_eq!(stages, expected);
}

#[test]
fn news_go_in_frames_of_fifty_and_give_their_room_back() {
    let (mut outbox, budget, _) = testing::outbox(Config::default());
    for number in 0..60 {
        outbox.presence(&user(&std::format!("user{number:02}")), &came(&[], &[PHONE]), true);
    }
    let mut frames = 0;
    while let Some((_, cost)) = outbox.next_news() {
        // As if the client had counted it.
        budget.release(cost);
        frames += 1;
    }
    assert_eq!(frames, 3, "120 events");
    assert_eq!(budget.used(), 0);
    outbox.presence(&user("ben"), &came(&[], &[PHONE]), true);
    outbox.end().for_each(drop);
    assert_eq!(budget.used(), 0, "the session's end gives it back, too");
    outbox.presence(&user("ben"), &came(&[], &[PHONE]), true);
    assert!(outbox.is_empty());
}

#[test]
fn nothing_waits_behind_a_frame_that_is_just_full() {
    let (mut outbox, ..) = testing::outbox(Config::default());
    for number in 0..50 {
        outbox.presence(&user(&std::format!("user{number:02}")), &came(&[], &[PHONE]), false);
    }
    assert_eq!(told(&mut outbox).len(), 50);
    assert!(outbox.is_empty());
}

#[test]
fn a_user_with_more_devices_than_a_frame_holds_is_told_in_parts() {
    let (mut outbox, ..) = testing::outbox(Config::default());
    let devices: Vec<DeviceKind> = (16..=255).map(DeviceKind).collect();
    outbox.presence(&user("ben"), &came(&[], &devices), true);
    let sizes: Vec<usize> =
        core::iter::from_fn(|| Some(told(&mut outbox).len()).filter(|events| *events > 0)).collect();
    assert_eq!(sizes, [50, 50, 50, 50, 41]);
}

#[test]
#[cfg_attr(miri, ignore = "counts too far for an interpreter")]
fn news_of_too_many_are_dropped_and_counted() {
    let (mut outbox, _, counters) = testing::outbox(Config::default());
    for number in 0..SUBJECTS + 3 {
        outbox.presence(&user(&std::format!("{number}")), &came(&[], &[PHONE]), true);
    }
    assert_eq!(counters.presence_dropped.get(), 3);
}
