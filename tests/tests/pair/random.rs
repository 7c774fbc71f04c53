//! Random lives: whatever happens, the promises hold once everything is quiet.

use esf_tests::{
    life::{PEOPLE, Step, TARGETS, live},
    world::Outcome,
};
use proptest::{collection::vec, prelude::*};

fn step() -> impl Strategy<Value = Step> {
    let who = || 0..PEOPLE.len();
    let target = || 0..TARGETS.len();
    let ttl = || prop_oneof![1u64..10, Just(200), Just(200)];
    prop_oneof![
        6 => (who(), target()).prop_map(|(who, to)| Step::Send(who, to)),
        12 => (who(), target(), ttl()).prop_map(|(who, to, ttl)| Step::Certain(who, to, ttl)),
        6 => (who(), target(), ttl()).prop_map(|(who, to, ttl)| Step::Stored(who, to, ttl)),
        4 => (who(), target(), ttl()).prop_map(|(who, to, ttl)| Step::Query(who, to, ttl)),
        3 => who().prop_map(Step::Cut),
        3 => who().prop_map(Step::GiveUp),
        1 => who().prop_map(Step::ServerGivesUp),
        3 => who().prop_map(Step::Late),
        8 => (who(), 0usize..6, 0usize..6).prop_map(|(who, up, down)| Step::Stall(who, up, down)),
        4 => who().prop_map(Step::Away),
        4 => who().prop_map(Step::Back),
        1 => (who(), any::<bool>()).prop_map(|(who, takes)| Step::Takes(who, takes)),
        1 => who().prop_map(Step::Die),
        1 => Just(Step::RestartServer),
        4 => (1u64..300).prop_map(Step::Pass),
        4 => (1_000u64..20_000).prop_map(Step::Pass),
    ]
}

/// 64 lives, or as many as PROPTEST_CASES says.
fn lives() -> ProptestConfig {
    let given = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { given.cases } else { 64 };
    ProptestConfig { cases, failure_persistence: None, ..given }
}

proptest! {
    #![proptest_config(lives())]

    #[test]
    fn the_promises_hold_whatever_happens(window in 2u64..15, steps in vec(step(), 1..80)) {
        live(window, &steps);
    }
}

#[test]
fn without_a_fault_everything_is_acknowledged_and_answered() {
    let steps: Vec<Step> = (0..60)
        .map(|number| match number % 4 {
            0 => Step::Send(number % 3, number % 2),
            1 => Step::Certain(number % 3, number % 3, 30),
            2 => Step::Stored(number % 3, number % 2, 30),
            _ => Step::Query(number % 3, number % 3, 30),
        })
        .collect();
    let outcomes = live(60, &steps).outcomes();
    assert_eq!(outcomes.len(), steps.len());
    for (number, (outcome, step)) in outcomes.iter().zip(&steps).enumerate() {
        assert!(matches!(outcome, None | Some(Outcome::Acked | Outcome::Replied(_))), "{number}: {outcome:?}");
        assert_eq!(outcome.is_none(), matches!(step, Step::Send(..)));
    }
}
