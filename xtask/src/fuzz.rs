//! Fuzzing: builds the targets on nightly, runs two at a time, and says what came of it.

#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::workspace::{Workspace, cargo};
use crate::{End, Problem};

/// Targets that run at the same time.
const TOGETHER: usize = 2;
const MINUTES: u64 = 10;
/// An input that takes longer than this, in seconds, is a failure.
const TIMEOUT: u32 = 20;
const MEMORY_MB: u32 = 2048;

/// Fuzzes: `cargo xtask fuzz`.
pub(crate) fn run(workspace: &Workspace, words: &[&str]) -> Result<End, Problem> {
    let fuzz = Fuzz { root: &workspace.root };
    match words {
        ["--seeds"] => fuzz.program(&["seeds"]).map(|_| End::Done),
        ["--keep", targets @ ..] => {
            let targets = fuzz.targets(targets)?;
            if let Some(missing) = fuzz.build()? {
                return Ok(End::Skipped(missing));
            }
            targets.iter().try_for_each(|target| fuzz.keep(target))?;
            Ok(End::Done)
        }
        ["--minutes", minutes, targets @ ..] => fuzz.run(minutes.parse()?, targets),
        targets => fuzz.run(MINUTES, targets),
    }
}

struct Fuzz<'a> {
    root: &'a Path,
}

struct Target {
    name: String,
    max_len: String,
}

impl Fuzz<'_> {
    fn run(&self, minutes: u64, targets: &[&str]) -> Result<End, Problem> {
        let targets = self.targets(targets)?;
        if let Some(missing) = self.build()? {
            return Ok(End::Skipped(missing));
        }
        let left = Mutex::new(targets.iter());
        let outcomes = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..TOGETHER {
                scope.spawn(|| {
                    loop {
                        let next = left.lock().map(|mut left| left.next());
                        let Ok(Some(target)) = next else { return };
                        let outcome = self.one(target, minutes).unwrap_or_else(|problem| Outcome::broken(&problem));
                        println!("{}: {outcome}", target.name);
                        outcomes.lock().into_iter().for_each(|mut all| all.push((&target.name, outcome.clone())));
                    }
                });
            }
        });
        let mut outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
        outcomes.sort_by_key(|(name, _)| *name);
        println!("\nfuzzed for {minutes} minutes each:");
        for (name, outcome) in &outcomes {
            println!("  {name:<20} {outcome}");
        }
        let failed = outcomes.iter().filter(|(_, outcome)| outcome.failure.is_some()).count();
        println!("{} targets, {failed} failed", outcomes.len());
        Ok(if failed == 0 { End::Done } else { End::Failed })
    }

    fn one(&self, target: &Target, minutes: u64) -> Result<Outcome, Problem> {
        let corpus = self.corpus(target);
        self.unpack(target, &corpus)?;
        let artifacts = self.root.join("fuzz/artifacts").join(&target.name);
        fs::create_dir_all(&artifacts)?;
        let log = self.scratch().join(format!("{}.log", target.name));
        let file = File::create(&log)?;
        let mut command = self.command(target)?;
        command
            .arg(format!("-max_total_time={}", minutes * 60))
            .arg(format!("-dict={}", self.root.join("fuzz/dictionary.txt").display()))
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .arg(&corpus)
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let status = command.status()?;
        let outcome = Outcome::read(&fs::read_to_string(&log)?);
        let said = outcome.failure.is_some() || status.success();
        Ok(if said {
            outcome
        } else {
            Outcome { failure: Some(format!("{status}, see {}", log.display())), ..outcome }
        })
    }

    /// Puts the least of what was found that reaches all of it into `fuzz/corpus`.
    fn keep(&self, target: &Target) -> Result<(), Problem> {
        let (found, least) = (self.corpus(target), self.scratch().join("least").join(&target.name));
        self.unpack(target, &found)?;
        if least.exists() {
            fs::remove_dir_all(&least)?;
        }
        fs::create_dir_all(&least)?;
        // What only reaches more often what others reach is not worth its bytes in the repository.
        let mut command = self.command(target)?;
        command.args(["-set_cover_merge=1", "-use_counters=0"]).arg(&least).arg(&found);
        let told = command.stdin(Stdio::null()).stderr(Stdio::null()).status()?;
        if !told.success() {
            return Err(format!("{}: merging failed with {told}", target.name).into());
        }
        self.program(&["pack", &target.name, &least.display().to_string()])?;
        println!("{}: {} inputs kept", target.name, fs::read_dir(&least)?.count());
        Ok(())
    }

    fn command(&self, target: &Target) -> Result<Command, Problem> {
        let mut command = Command::new(self.scratch().join(host()?).join("release").join(&target.name));
        command
            .arg(format!("-max_len={}", target.max_len))
            .arg(format!("-timeout={TIMEOUT}"))
            .arg(format!("-rss_limit_mb={MEMORY_MB}"));
        Ok(command)
    }

    /// Builds every target; says what is missing if that cannot be had.
    fn build(&self) -> Result<Option<String>, Problem> {
        if !quietly(Command::new("cargo").args(["+nightly", "--version"])) {
            return Ok(Some("fuzzing needs a nightly compiler: rustup toolchain install nightly".into()));
        }
        if !quietly(Command::new("cargo").args(["+nightly", "fuzz", "--version"])) {
            println!("cargo-fuzz is missing; this installs it: cargo install cargo-fuzz --locked");
            if !shown(Command::new("cargo").args(["install", "cargo-fuzz", "--locked"])) {
                return Ok(Some("cargo-fuzz cannot be had here: cargo install cargo-fuzz --locked".into()));
            }
        }
        // There is no unsafe code here that a sanitizer could look at, and without one it is twice as fast.
        let mut build = Command::new("cargo");
        build
            .args(["+nightly", "fuzz", "build", "--release", "--debug-assertions", "--sanitizer", "none"])
            .arg("--target-dir")
            .arg(self.scratch())
            .current_dir(self.root.join("fuzz"));
        if shown(&mut build) { Ok(None) } else { Err("the targets do not build; the reason is above".into()) }
    }

    fn targets(&self, wanted: &[&str]) -> Result<Vec<Target>, Problem> {
        let told = self.program(&["targets"])?;
        let all: Vec<Target> = told
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(name, max_len)| Target { name: name.to_owned(), max_len: max_len.to_owned() })
            .collect();
        let names: Vec<&str> = all.iter().map(|target| target.name.as_str()).collect();
        if let Some(unknown) = wanted.iter().find(|name| !names.contains(name)) {
            return Err(format!("there is no target `{unknown}`; the targets are {}", names.join(", ")).into());
        }
        Ok(all.into_iter().filter(|target| wanted.is_empty() || wanted.contains(&target.name.as_str())).collect())
    }

    fn unpack(&self, target: &Target, folder: &Path) -> Result<(), Problem> {
        self.program(&["unpack", &target.name, &folder.display().to_string()]).map(drop)
    }

    /// The program of esf-tests that knows targets and corpora.
    fn program(&self, words: &[&str]) -> Result<String, Problem> {
        let told = cargo()
            .args(["run", "--quiet", "--locked", "-p", "esf-tests", "--bin", "fuzz", "--"])
            .args(words)
            .current_dir(self.root)
            .stderr(Stdio::inherit())
            .output()?;
        if !told.status.success() {
            return Err(format!("`fuzz {}` failed; the reason is above", words.join(" ")).into());
        }
        Ok(String::from_utf8(told.stdout)?)
    }

    fn scratch(&self) -> PathBuf {
        self.root.join("fuzz/target")
    }

    fn corpus(&self, target: &Target) -> PathBuf {
        self.scratch().join("corpus").join(&target.name)
    }
}

/// What a run of libFuzzer came to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Outcome {
    executions: u64,
    /// Edges of the code that were reached, those of the target itself and of the crates under it included.
    reached: u64,
    inputs: u64,
    failure: Option<String>,
}

impl Outcome {
    /// Reads the last line that tells numbers, such as `#1106078 DONE cov: 584 ft: 1683 corp: 445/34Kb …`, and the place
    /// of the input that failed, if one did.
    fn read(log: &str) -> Self {
        let mut outcome = Self::default();
        for line in log.lines() {
            if let Some((_, file)) = line.split_once("Test unit written to ") {
                outcome.failure = Some(format!("failed with {file}"));
            }
            let Some(numbers) = line.strip_prefix('#').filter(|line| line.contains(" cov: ")) else { continue };
            let mut words = numbers.split_whitespace();
            outcome.executions = words.next().and_then(|word| word.parse().ok()).unwrap_or(outcome.executions);
            while let Some(word) = words.next() {
                match word {
                    "cov:" => outcome.reached = first_number(words.next()).unwrap_or(outcome.reached),
                    "corp:" => outcome.inputs = first_number(words.next()).unwrap_or(outcome.inputs),
                    _ => {}
                }
            }
        }
        outcome
    }

    fn broken(problem: &Problem) -> Self {
        Self { failure: Some(problem.to_string()), ..Self::default() }
    }
}

fn first_number(word: Option<&str>) -> Option<u64> {
    word?.split('/').next()?.parse().ok()
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { executions, reached, inputs, failure } = self;
        write!(f, "{executions} executions, {reached} edges reached, {inputs} inputs, ")?;
        match failure {
            None => f.write_str("no failure"),
            Some(failure) => f.write_str(failure),
        }
    }
}

/// The platform that cargo-fuzz builds for.
fn host() -> Result<String, Problem> {
    let told = Command::new("rustc").arg("-vV").output()?;
    let text = String::from_utf8(told.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc does not say for which platform it is".into())
}

fn shown(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn quietly(command: &mut Command) -> bool {
    shown(command.stdout(Stdio::null()).stderr(Stdio::null()))
}
