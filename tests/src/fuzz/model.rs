//! Certain delivery beside a model of it.

use super::Input;
use crate::life::{PEOPLE, Step, TARGETS, live};

const STEPS: usize = 80;

/// A [`life`](crate::life) that the input decides: what was sent and what became of it is the model, and it holds once
/// everything is quiet.
///
/// # Panics
/// If a promise was not kept.
pub fn model(data: &[u8]) {
    let mut input = Input::new(data);
    let window = 2 + input.below(13) as u64;
    let mut steps = Vec::new();
    while !input.is_over() && steps.len() < STEPS {
        steps.push(step(&mut input));
    }
    live(window, &steps);
}

fn step(input: &mut Input<'_>) -> Step {
    let kind = input.below(24);
    let who = input.below(PEOPLE.len());
    match kind {
        0..=2 => Step::Send(who, input.below(TARGETS.len())),
        3..=5 => Step::Certain(who, input.below(TARGETS.len()), ttl(input)),
        6 | 7 => Step::Stored(who, input.below(TARGETS.len()), ttl(input)),
        8 | 9 => Step::Query(who, input.below(TARGETS.len()), ttl(input)),
        10 => Step::Cut(who),
        11 => Step::GiveUp(who),
        12 => Step::ServerGivesUp(who),
        13 => Step::Late(who),
        14..=16 => Step::Stall(who, input.below(8), input.below(8)),
        17 => Step::Away(who),
        18 => Step::Back(who),
        19 => Step::Takes(who, input.flag()),
        20 => Step::Die(who),
        21 => Step::RestartServer,
        22 => Step::Pass(1 + u64::from(input.byte())),
        _ => Step::Pass(100 * u64::from(input.byte())),
    }
}

fn ttl(input: &mut Input<'_>) -> u64 {
    input.of(&[200, 200, 1, 2, 5, 9])
}
