//! What the fuzzer keeps is worth keeping: run against a core that was given a fault, it finds it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use esf_proto::broken::{self, Broken};
use esf_tests::fuzz::{Corpus, Target, target};

/// Targets, and faults that what is kept of each finds. It is not all that each would.
const FINDS: &[(&str, &[Broken])] = &[
    (
        "client_inputs",
        &[Broken::ResumeOffByOne, Broken::HeartbeatBehindBulk, Broken::OutcomeTwice, Broken::ResentBackwards],
    ),
    (
        "server_inputs",
        &[Broken::VolatileCounted, Broken::FromUnchecked, Broken::InboxNotReleased, Broken::HeartbeatUnanswered],
    ),
    (
        "resume_and_takeover",
        &[
            Broken::GenerationIgnored,
            Broken::OldDeathCounts,
            Broken::BudgetNotCharged,
            Broken::TakeoverReadsLate,
            Broken::OldSecretForgotten,
            Broken::AttemptIgnored,
            Broken::WindowSkipped,
        ],
    ),
    ("model", &[Broken::CountedAtEnqueue, Broken::DedupeForgotten, Broken::QueryToAll]),
];

fn finds(target: &Target, fault: Broken) -> bool {
    let kept = Corpus::of(target).expect("the corpus").0;
    broken::set(Some(fault));
    let found = kept.iter().any(|(_, bytes)| catch_unwind(AssertUnwindSafe(|| (target.body)(bytes))).is_err());
    broken::set(None);
    found
}

#[test]
fn kept_inputs_find_faults_in_the_core() {
    for (name, faults) in FINDS {
        let target = target(name).expect("a target");
        let missed: Vec<&Broken> = faults.iter().filter(|fault| !finds(target, **fault)).collect();
        assert!(missed.is_empty(), "no input of {name} finds {missed:?}");
    }
}
