use super::*;
use std::format;

const PHONE: DeviceKind = DeviceKind::PHONE;

fn user(name: &str) -> UserId {
    UserId::parse(name, 255).unwrap()
}

fn life(number: u64) -> InstanceId {
    InstanceId(number)
}

#[test]
fn each_engine_has_ids_of_its_own() {
    let mut senders = Senders::default();
    let (ann, bob) = (user("ann"), user("bob"));
    assert_eq!(senders.accept(Some(&ann), PHONE, life(1), 7, false), Verdict::Run);
    assert_eq!(senders.accept(Some(&ann), PHONE, life(1), 7, true), Verdict::Again);
    assert_eq!(senders.accept(Some(&ann), PHONE, life(2), 7, false), Verdict::Run);
    assert_eq!(senders.accept(Some(&ann), DeviceKind::BROWSER, life(1), 7, false), Verdict::Run);
    assert_eq!(senders.accept(Some(&bob), PHONE, life(1), 7, false), Verdict::Run);
    assert_eq!(senders.accept(None, PHONE, life(1), 7, false), Verdict::Run);
    assert_eq!(senders.accept(Some(&ann), PHONE, life(1), 6, true), Verdict::Late);
    assert_eq!(senders.len(), 5);
}

#[test]
fn a_resend_of_an_unknown_engine_runs_while_nobody_was_forgotten() {
    let mut senders = Senders::default();
    assert_eq!(senders.accept(Some(&user("ann")), PHONE, life(1), 7, true), Verdict::Run);
}

#[test]
fn the_last_four_lives_of_a_device_are_remembered() {
    let mut senders = Senders::default();
    let ann = user("ann");
    for number in 1..=5 {
        assert_eq!(senders.accept(Some(&ann), PHONE, life(number), 1, false), Verdict::Run);
    }
    assert_eq!(senders.len(), 4);
    assert_eq!(senders.accept(Some(&ann), PHONE, life(2), 1, true), Verdict::Again);
    assert_eq!(senders.accept(Some(&ann), PHONE, life(1), 1, true), Verdict::Late, "forgotten: nobody knows");
    assert_eq!(senders.accept(Some(&user("bob")), PHONE, life(1), 1, false), Verdict::Run, "live ones run");
}

#[test]
#[cfg_attr(miri, ignore = "counts too far for an interpreter")]
fn at_most_4096_engines_are_remembered_and_those_heard_lately_stay() {
    let mut senders = Senders::default();
    let regular = user("regular");
    assert_eq!(senders.accept(Some(&regular), PHONE, life(1), 1, false), Verdict::Run);
    for number in 0..10_000 {
        let name = user(&format!("stranger{number}"));
        assert_eq!(senders.accept(Some(&name), PHONE, life(1), 1, false), Verdict::Run);
        assert!(senders.len() <= ENGINES);
        if number % 1_000 == 0 {
            assert_eq!(senders.accept(Some(&regular), PHONE, life(1), 1, true), Verdict::Again);
        }
    }
    assert_eq!(senders.accept(Some(&user("stranger0")), PHONE, life(1), 1, true), Verdict::Late);
    assert_eq!(senders.accept(Some(&user("stranger9999")), PHONE, life(1), 1, true), Verdict::Again);
}

#[test]
#[cfg_attr(miri, ignore = "counts too far for an interpreter")]
fn nobody_was_forgotten_until_a_generation_that_had_somebody_is() {
    let mut senders = Senders::default();
    let strangers = |senders: &mut Senders, from: usize| {
        for number in from..from + ENGINES / 2 {
            let name = user(&format!("stranger{number}"));
            assert_eq!(senders.accept(Some(&name), PHONE, life(1), 1, false), Verdict::Run);
        }
    };
    strangers(&mut senders, 0);
    // The first of the next generation.
    assert_eq!(senders.accept(Some(&user("ann")), PHONE, life(1), 1, false), Verdict::Run);
    assert_eq!(senders.accept(Some(&user("bob")), PHONE, life(1), 1, true), Verdict::Run, "all are known");
    strangers(&mut senders, ENGINES / 2);
    assert_eq!(senders.accept(Some(&user("eve")), PHONE, life(1), 1, true), Verdict::Late);
}

#[test]
#[cfg_attr(miri, ignore = "counts too far for an interpreter")]
fn lives_count_in_both_generations() {
    let mut senders = Senders::default();
    let ann = user("ann");
    for number in 1..=3 {
        assert_eq!(senders.accept(Some(&ann), PHONE, life(number), 1, false), Verdict::Run);
    }
    for number in 0..ENGINES / 2 {
        let name = user(&format!("stranger{number}"));
        assert_eq!(senders.accept(Some(&name), PHONE, life(1), 1, false), Verdict::Run);
    }
    for number in 4..=5 {
        assert_eq!(senders.accept(Some(&ann), PHONE, life(number), 1, false), Verdict::Run);
    }
    assert_eq!(senders.len(), ENGINES / 2 + LIVES);
    assert_eq!(senders.accept(Some(&ann), PHONE, life(1), 1, true), Verdict::Late);
    for number in 2..=5 {
        assert_eq!(senders.accept(Some(&ann), PHONE, life(number), 1, true), Verdict::Again);
    }
}

#[test]
#[cfg_attr(miri, ignore = "counts too far for an interpreter")]
fn each_life_keeps_its_own_ids_across_the_generations() {
    let mut senders = Senders::default();
    let ann = user("ann");
    for number in 1..=3 {
        assert_eq!(senders.accept(Some(&ann), PHONE, life(number), number * 10, false), Verdict::Run);
    }
    for number in 0..ENGINES / 2 {
        let name = user(&format!("stranger{number}"));
        assert_eq!(senders.accept(Some(&name), PHONE, life(1), 1, false), Verdict::Run);
    }
    assert_eq!(senders.accept(Some(&ann), PHONE, life(3), 30, true), Verdict::Again);
    assert_eq!(senders.accept(Some(&ann), PHONE, life(1), 10, true), Verdict::Again);
}
