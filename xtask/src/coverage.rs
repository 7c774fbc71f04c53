//! Which lines of the protocol core the tests run, and which they do not.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::workspace::{Workspace, cargo};
use crate::{End, Problem};

/// Tests run at least so many of a hundred lines of the core.
const AT_LEAST: f64 = 95.0;
/// The folder whose lines are counted.
const CORE: &str = "esf-proto/src/";

/// Measures: `cargo xtask coverage`, or with `--fuzz` what the inputs of the fuzzer alone reach.
pub(crate) fn run(workspace: &Workspace, words: &[&str]) -> Result<End, Problem> {
    let (what, by): (&[&str], &str) = match words {
        [] => (&["-p", "esf-proto", "-p", "esf-tests"], "the tests"),
        ["--fuzz"] => (&["-p", "esf-tests", "--test", "fuzz"], "the inputs of the fuzzer that are kept"),
        _ => return Err("cargo xtask coverage takes nothing, or --fuzz".into()),
    };
    let has = |words: &[&str]| Command::new("cargo").args(words).output().is_ok_and(|told| told.status.success());
    if !has(&["llvm-cov", "--version"]) {
        let need = "cargo install cargo-llvm-cov --locked, and rustup component add llvm-tools";
        return Ok(End::Skipped(format!("coverage needs two tools: {need}")));
    }
    let clean = ["llvm-cov", "clean", "--workspace"];
    let lcov = workspace.root.join("target/coverage.lcov");
    let path = lcov.display().to_string();
    let measured = shown(cargo().args(clean).current_dir(&workspace.root))
        && shown(cargo().args(["llvm-cov", "--locked", "--no-report"]).args(what).current_dir(&workspace.root))
        && shown(
            cargo()
                .args(["llvm-cov", "report", "--locked", "-p", "esf-proto", "--lcov", "--output-path", &path])
                .current_dir(&workspace.root),
        );
    if !measured {
        return Ok(End::Failed);
    }
    let lines = Lines::read(&std::fs::read_to_string(&lcov)?);
    print!("{}", lines.missed(&workspace.root));
    let reached = lines.percent();
    println!("{by} run {reached:.1} % of the {} lines of {CORE}", lines.count());
    Ok(if words.is_empty() && reached < AT_LEAST { End::Failed } else { End::Done })
}

/// How often each line ran, by file.
#[derive(Default)]
struct Lines(BTreeMap<String, BTreeMap<usize, u64>>);

impl Lines {
    /// Reads a report in the form of lcov: `SF:` names a file, `DA:line,times` a line of it.
    fn read(report: &str) -> Self {
        let mut lines = Self::default();
        let mut file = None;
        for line in report.lines() {
            if let Some(name) = line.strip_prefix("SF:") {
                file = name.split_once(CORE).map(|(_, name)| name.to_owned()).filter(|name| !is_test(name));
            } else if let (Some(numbers), Some(file)) = (line.strip_prefix("DA:"), &file) {
                let numbers =
                    numbers.split_once(',').and_then(|(at, times)| Some((at.parse().ok()?, times.parse().ok()?)));
                if let Some((at, times)) = numbers {
                    lines.0.entry(file.clone()).or_default().insert(at, times);
                }
            }
        }
        lines
    }

    fn count(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }

    fn percent(&self) -> f64 {
        let ran: usize = self.0.values().map(|file| file.values().filter(|times| **times > 0).count()).sum();
        100.0 * ran as f64 / self.count().max(1) as f64
    }

    /// Every line that did not run, with its text.
    fn missed(&self, root: &Path) -> String {
        let mut out = String::new();
        for (name, file) in &self.0 {
            let missed: Vec<usize> = file.iter().filter(|(_, times)| **times == 0).map(|(at, _)| *at).collect();
            if missed.is_empty() {
                continue;
            }
            let text = std::fs::read_to_string(root.join(CORE).join(name)).unwrap_or_default();
            out += &format!("{CORE}{name}: {} of {} lines did not run\n", missed.len(), file.len());
            for at in missed {
                out += &format!("{at:>6}  {}\n", text.lines().nth(at - 1).unwrap_or_default().trim_end());
            }
        }
        out
    }
}

/// Tests and what only they use are not what is tested.
fn is_test(name: &str) -> bool {
    name.split('/').any(|part| ["tests", "tests.rs", "testing.rs"].contains(&part))
}

fn shown(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).status().is_ok_and(|status| status.success())
}
