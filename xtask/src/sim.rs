//! Builds the simulator as fast as it gets, and runs it.

use crate::workspace::{Workspace, cargo};
use crate::{End, Problem};

/// Simulates: `cargo xtask sim`.
pub(crate) fn run(workspace: &Workspace, words: &[&str]) -> Result<End, Problem> {
    let mut sim = cargo();
    sim.args(["run", "--release", "--locked", "--quiet", "-p", "esf-tests", "--bin", "sim", "--"]);
    let status = sim.args(words).current_dir(&workspace.root).status()?;
    Ok(match status.code() {
        Some(0) => End::Done,
        Some(2) => End::Invalid,
        _ => End::Failed,
    })
}
