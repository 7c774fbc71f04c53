//! Kills the server again and again while people write to each other and to some who come and go.

use crate::workspace::{Workspace, cargo};
use crate::{End, Problem};

/// Kills: `cargo xtask killloop [--times N]`, 100 times if it is not said.
pub(crate) fn run(workspace: &Workspace, words: &[&str]) -> Result<End, Problem> {
    let times = match words {
        [] => "100",
        ["--times", times] if times.parse::<u32>().is_ok() => times,
        _ => return Err("killloop takes --times and a number".into()),
    };
    let mut test = cargo();
    test.args(["test", "--release", "--locked", "--quiet", "-p", "esf-server", "--test", "kill", "--", "--nocapture"]);
    let status = test.env("ESF_KILL_TIMES", times).current_dir(&workspace.root).status()?;
    Ok(if status.success() { End::Done } else { End::Failed })
}
