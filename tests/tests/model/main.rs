//! Random transitions, applied to a small model and to the real machines in memory, which have to agree after each one.
//! What fails is shrunk to a short list of transitions.

mod delivery;
mod delivery_model;
mod logins;
mod logins_model;

use proptest::test_runner::Config;

/// So many lives, or as many as PROPTEST_CASES says.
fn lives(cases: u32) -> Config {
    let given = Config::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { given.cases } else { cases };
    Config { cases, failure_persistence: None, max_shrink_iters: 4_096, ..given }
}
