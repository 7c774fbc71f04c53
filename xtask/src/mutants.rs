//! Changes the core in small ways, and sees whether a test notices each.

use std::process::{Command, Stdio};

use crate::workspace::{Workspace, cargo};
use crate::{End, Problem};

/// What is changed: sessions and the hub.
const FILES: [&str; 2] = ["esf-proto/src/session/**", "esf-proto/src/hub/**"];
/// The tests that look, the quick ones first: what they notice the others need not see.
const STAGES: [&[&str]; 2] = [
    &["--cargo-test-arg=--lib"],
    &[
        "--iterate",
        "--test-package=esf-driver,esf-tests",
        "--cargo-test-arg=--lib",
        "--cargo-test-arg=--test=pair",
        "--cargo-test-arg=--test=model",
    ],
];

/// Mutates: `cargo xtask mutants`, or `cargo xtask mutants 3/88` for one part of 88.
pub(crate) fn run(workspace: &Workspace, words: &[&str]) -> Result<End, Problem> {
    let shard = match words {
        [] => None,
        [shard] if shard.contains('/') => Some(*shard),
        _ => return Err("cargo xtask mutants takes nothing, or a part of all as in 3/88".into()),
    };
    if !cargo().args(["mutants", "--version"]).stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return Ok(End::Skipped("mutations need a tool: cargo install cargo-mutants --locked".into()));
    }
    for stage in STAGES {
        let mut mutants = mutants(shard);
        match mutants.args(stage).current_dir(&workspace.root).status()?.code() {
            Some(0) => return Ok(End::Done),
            // Some were not noticed, or hung.
            Some(2 | 3) => {}
            code => return Err(format!("cargo mutants ended with {code:?}").into()),
        }
    }
    Ok(End::Failed)
}

fn mutants(shard: Option<&str>) -> Command {
    let mut mutants = cargo();
    mutants
        .args(["mutants", "-p", "esf-proto", "-j1", "--baseline=skip", "--no-shuffle", "-o", "target/mutants"])
        .args(["--timeout=150", "--build-timeout=300"])
        .args(FILES.map(|files| format!("--file={files}")))
        .env("PROPTEST_CASES", "16");
    if let Some(shard) = shard {
        mutants.args(["--sharding", "round-robin", "--shard", shard]);
    }
    mutants
}
