use super::*;
use crate::{
    ids::{DeviceKind, InstanceId, UserId},
    server::testing::at,
};

fn engine(instance: u64) -> Engine {
    let user = UserId::parse("ann", 255).unwrap();
    Engine { user, device: DeviceKind::PHONE, instance: InstanceId(instance) }
}

fn left(attempt: u32, pushed_out: bool, ids: u64) -> Left {
    let mut dedupe = Dedupe::default();
    for id in 0..ids {
        dedupe.accept(id);
    }
    Left { origin: SessionId(1), attempt, pushed_out, dedupe }
}

fn remember(memory: &mut Memory, now: u64, instance: u64, left: Left) {
    memory.remember(at(now), &engine(instance), left, &Config::default());
}

#[test]
fn an_engine_is_kept_as_long_as_it_has_to_be() {
    let mut memory = Memory::default();
    remember(&mut memory, 0, 1, left(3, true, 0));
    assert_eq!(memory.attempt(&engine(1)), Some(3));
    assert!(memory.was_pushed_out(at(59_999), &engine(1)) && !memory.was_pushed_out(at(60_000), &engine(1)));
    memory.forget(at(59_999));
    assert_eq!(memory.attempt(&engine(1)), Some(3));
    memory.forget(at(60_000));
    assert_eq!((memory.attempt(&engine(1)), memory.poll_timeout()), (None, None));
}

#[test]
fn ids_are_kept_as_long_as_they_may_be_sent_again() {
    let mut memory = Memory::default();
    remember(&mut memory, 0, 1, left(1, false, 5));
    memory.forget(at(299_999));
    assert_eq!(memory.take(&engine(1)).map(|(_, dedupe)| dedupe.len()), Some(5));
    assert_eq!((memory.ids, memory.attempt(&engine(1))), (0, None), "it is back");
}

#[test]
fn a_session_that_is_told_late_does_not_lower_the_attempt() {
    let mut memory = Memory::default();
    remember(&mut memory, 0, 1, left(7, false, 0));
    remember(&mut memory, 0, 1, left(3, false, 0));
    assert_eq!(memory.attempt(&engine(1)), Some(7));
}

#[test]
fn an_attempt_that_is_noted_raises_what_is_known_and_never_lowers_it() {
    let mut memory = Memory::default();
    remember(&mut memory, 0, 1, left(3, false, 0));
    memory.note_attempt(&engine(1), 7);
    memory.note_attempt(&engine(1), 5);
    memory.note_attempt(&engine(2), 5);
    assert_eq!((memory.attempt(&engine(1)), memory.attempt(&engine(2))), (Some(7), None));
}

#[test]
#[cfg_attr(miri, ignore = "counts too far for an interpreter")]
fn of_too_many_engines_the_oldest_goes() {
    let mut memory = Memory::default();
    for instance in 0..=LIMIT as u64 {
        remember(&mut memory, 0, instance, left(1, false, 0));
    }
    assert_eq!((memory.engines.len(), memory.order.len()), (LIMIT, LIMIT));
    assert_eq!((memory.attempt(&engine(0)), memory.attempt(&engine(1))), (None, Some(1)));
}

#[test]
#[cfg_attr(miri, ignore = "counts too far for an interpreter")]
fn the_ids_of_all_are_bounded_together() {
    let mut memory = Memory::default();
    for instance in 0..=IDS as u64 / 1024 {
        remember(&mut memory, 0, instance, left(1, false, 1024));
    }
    assert_eq!(memory.ids, IDS);
    assert_eq!((memory.attempt(&engine(0)), memory.attempt(&engine(1))), (None, Some(1)));
}
