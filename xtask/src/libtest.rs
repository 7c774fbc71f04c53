//! Reads what Rust's test programs print.

#[cfg(test)]
mod tests;

use std::path::Path;

use crate::workspace::Workspace;

/// How one test ended. The order is by weight: where two tests share a name, the heavier end counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    Passed,
    Ignored,
    Failed,
}

/// One line of a test program that says something about its tests.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// `running 12 tests`
    Running(usize),
    /// `test path::name ... ok`
    Ended(&'a str, Outcome),
}

/// Reads one line of a run; `None` for everything that is no news about a test.
pub(crate) fn read(line: &str) -> Option<Line<'_>> {
    if let Some(rest) = line.strip_prefix("running ") {
        let count = rest.strip_suffix(" tests").or_else(|| rest.strip_suffix(" test"))?;
        return count.parse().ok().map(Line::Running);
    }
    let (name, end) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let outcome = if end == "ok" {
        Outcome::Passed
    } else if end == "FAILED" {
        Outcome::Failed
    } else if end == "ignored" || end.starts_with("ignored,") {
        Outcome::Ignored
    } else {
        return None;
    };
    Some(Line::Ended(plain_name(name), outcome))
}

/// Reads one line of `--list --format terse`: the name of a test.
pub(crate) fn read_listed(line: &str) -> Option<&str> {
    line.strip_suffix(": test").map(plain_name)
}

/// The name of a doctest, from what rustdoc calls it: `esf-proto/src/time.rs - time::Instant (line 12)` is
/// `esf-proto::doc::time::Instant`. The line is left out because it moves with every edit; the examples of one item share
/// a name, and it stands for all of them. The crate's own page is `crate`.
pub(crate) fn doctest_name(workspace: &Workspace, name: &str) -> Option<String> {
    let (file, item) = name.split_once(" - ")?;
    let file = workspace.root.join(Path::new(file));
    let package = workspace
        .packages
        .iter()
        .filter(|package| file.starts_with(package.folder()))
        .max_by_key(|package| package.folder().components().count())?;
    let (item, _) = item.rsplit_once("(line ")?;
    let item = match item.trim() {
        "" => "crate",
        item => item,
    };
    Some(format!("{}::doc::{item}", package.name))
}

/// Without the remark that follows some names.
fn plain_name(name: &str) -> &str {
    [" - should panic", " - compile fail", " - compile"]
        .iter()
        .find_map(|remark| name.strip_suffix(remark))
        .unwrap_or(name)
}
