//! Checks that need another toolchain or target than the usual one.

use std::process::{Command, Stdio};

use crate::workspace::{Package, Workspace, cargo};
use crate::{End, Problem};

/// The crates that promise to work without std.
const WITHOUT_STD: &[&str] = &["esf-proto"];
/// A target that has core and alloc and nothing else. One with 64-bit atomics, which the counters of the core need.
const BARE_TARGET: &str = "aarch64-unknown-none";
/// The toolchain that has miri.
const NIGHTLY: &str = "nightly";

/// Checks each crate that states a `rust-version` with exactly that version.
pub(crate) fn msrv(workspace: &Workspace) -> Result<End, Problem> {
    let promised: Vec<(&Package, &str)> = workspace
        .packages
        .iter()
        .filter_map(|package| package.rust_version.as_deref().map(|version| (package, version)))
        .collect();
    if promised.is_empty() {
        return Err("no package of the workspace states a rust-version".into());
    }
    for (package, version) in promised {
        let toolchain = ["run", version, "cargo", "--version"];
        if !quietly(Command::new("rustup").args(toolchain))
            && !shown(Command::new("rustup").args(["toolchain", "install", version, "--profile", "minimal"]))
        {
            return Ok(End::Skipped(format!("Rust {version} cannot be had here")));
        }
        println!("{} with Rust {version}", package.name);
        let mut check = Command::new("rustup");
        check
            .args([
                "run",
                version,
                "cargo",
                "check",
                "--locked",
                "--all-features",
                "--target-dir",
                "target/msrv",
                "-p",
                &package.name,
            ])
            .current_dir(&workspace.root);
        if !shown(&mut check) {
            return Ok(End::Failed);
        }
    }
    Ok(End::Done)
}

/// Runs the unit tests of the core in an interpreter that sees undefined behaviour, of the crates that it uses too.
/// A few that count too far for an interpreter are ignored there, by name.
pub(crate) fn miri(workspace: &Workspace, words: &[&str]) -> Result<End, Problem> {
    let has = ["run", NIGHTLY, "cargo", "miri", "--version"];
    if !quietly(Command::new("rustup").args(has))
        && !shown(Command::new("rustup").args([
            "toolchain",
            "install",
            NIGHTLY,
            "--profile",
            "minimal",
            "-c",
            "miri,rust-src",
        ]))
    {
        return Ok(End::Skipped(format!(
            "miri cannot be had here: `rustup toolchain install {NIGHTLY} -c miri,rust-src`"
        )));
    }
    let mut test = Command::new("rustup");
    test.args([
        "run",
        NIGHTLY,
        "cargo",
        "miri",
        "test",
        "--locked",
        "--target-dir",
        "target/miri",
        "-p",
        "esf-proto",
        "--lib",
    ])
    .arg("--")
    .args(words)
    // Property tests read their seeds from files, and run once.
    .env("MIRIFLAGS", "-Zmiri-disable-isolation")
    .env("PROPTEST_CASES", "1")
    .current_dir(&workspace.root);
    Ok(if shown(&mut test) { End::Done } else { End::Failed })
}

/// Checks the crates that promise to work without std for a target that has none.
pub(crate) fn no_std(workspace: &Workspace) -> Result<End, Problem> {
    if !shown(Command::new("rustup").args(["target", "add", BARE_TARGET])) {
        return Ok(End::Skipped(format!("the target {BARE_TARGET} cannot be had here")));
    }
    for package in WITHOUT_STD {
        println!("{package} for {BARE_TARGET}");
        let mut check = cargo();
        check
            .args(["check", "--locked", "--target", BARE_TARGET, "--target-dir", "target/no-std", "-p", package])
            .current_dir(&workspace.root);
        if !shown(&mut check) {
            return Ok(End::Failed);
        }
    }
    Ok(End::Done)
}

fn shown(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn quietly(command: &mut Command) -> bool {
    shown(command.stdout(Stdio::null()).stderr(Stdio::null()))
}
