//! Builds what is measured as it is shipped, and hands the rest to `esf-bench`.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use serde::Deserialize;

use crate::workspace::{Workspace, cargo};
use crate::{End, Problem};

/// What esf-bench exits with when its numbers must not be used.
const INVALID: i32 = 2;

/// Measures: `cargo xtask bench`.
pub(crate) fn run(workspace: &Workspace, words: &[&str]) -> Result<End, Problem> {
    match words {
        ["page", ..] => esf_bench(workspace, words, false),
        _ => esf_bench(workspace, &[&["run"], words].concat(), true),
    }
}

/// Soaks: `cargo xtask soak`.
pub(crate) fn soak(workspace: &Workspace, words: &[&str]) -> Result<End, Problem> {
    esf_bench(workspace, &[&["soak"], words].concat(), true)
}

fn esf_bench(workspace: &Workspace, words: &[&str], with_server: bool) -> Result<End, Problem> {
    let mut build = cargo();
    build.args(["build", "--release", "--locked", "-p", "esf-server", "-p", "esf-bench"]).current_dir(&workspace.root);
    if !build.status()?.success() {
        return Ok(End::Failed);
    }
    let programs = target(&workspace.root)?.join("release");
    let mut bench = std::process::Command::new(programs.join("esf-bench"));
    bench.args(words);
    if with_server {
        bench.arg("--esf").arg(programs.join("esf"));
    }
    Ok(end(bench.status()?))
}

fn end(status: ExitStatus) -> End {
    match status.code() {
        Some(0) => End::Done,
        Some(INVALID) => End::Invalid,
        _ => End::Failed,
    }
}

/// The folder that cargo builds in.
fn target(root: &Path) -> Result<PathBuf, Problem> {
    #[derive(Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }
    let told =
        cargo().args(["metadata", "--locked", "--no-deps", "--format-version", "1"]).current_dir(root).output()?;
    let metadata: Metadata = serde_json::from_slice(&told.stdout)?;
    Ok(metadata.target_directory)
}
