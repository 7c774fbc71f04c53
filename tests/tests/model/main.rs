//! Random transitions, applied to a small model and to the real machines in memory, which have to agree after each one.
//! What fails is shrunk to a short list of transitions.

mod delivery;
mod delivery_model;
mod logins;
mod logins_model;

use proptest::{prelude::*, sample::select, test_runner::Config};

/// So many lives, or as many as PROPTEST_CASES says.
fn lives(cases: u32) -> Config {
    let given = Config::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { given.cases } else { cases };
    Config { cases, failure_persistence: None, max_shrink_iters: 4_096, ..given }
}

/// Something that happens to one of many, by its number.
type Kind<T> = fn(usize) -> T;

/// What can happen now to some of so many: each kind with its weight, to one of those whom it can happen to.
fn able<T: Clone + std::fmt::Debug + 'static>(
    kinds: &[(u32, Kind<T>)],
    many: usize,
    can_happen: impl Fn(&T) -> bool,
) -> Vec<(u32, BoxedStrategy<T>)> {
    let of_kind = |&(weight, kind): &(u32, Kind<T>)| {
        let able: Vec<usize> = (0..many).filter(|who| can_happen(&kind(*who))).collect();
        (!able.is_empty()).then(|| (weight, select(able).prop_map(kind).boxed()))
    };
    kinds.iter().filter_map(of_kind).collect()
}
