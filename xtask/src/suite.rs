//! Builds and runs every test of the workspace: units, integration tests and documentation examples.
//!
//! The test programs are built by `cargo test --no-run` and started here, one after the other, so that it is certain which
//! package and target a test belongs to, and so that what a test writes to stderr cannot tear a line that is read.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::Problem;
use crate::libtest::{self, Line, Outcome};
use crate::workspace::{Package, Workspace, cargo};

/// What a run of all tests showed.
#[derive(Default)]
pub(crate) struct Run {
    /// Every test by the name that tests/features.toml uses.
    pub(crate) outcomes: BTreeMap<String, Outcome>,
    /// Test programs that crashed or said less than they announced, each with the reason.
    pub(crate) broken: Vec<String>,
}

impl Run {
    pub(crate) fn passed(&self) -> usize {
        self.with(Outcome::Passed).len()
    }

    pub(crate) fn failed(&self) -> Vec<String> {
        self.with(Outcome::Failed)
    }

    pub(crate) fn ignored(&self) -> Vec<String> {
        self.with(Outcome::Ignored)
    }

    fn with(&self, outcome: Outcome) -> Vec<String> {
        self.outcomes.iter().filter(|(_, other)| **other == outcome).map(|(name, _)| name.clone()).collect()
    }

    fn note(&mut self, name: String, outcome: Outcome) {
        let known = self.outcomes.entry(name).or_insert(outcome);
        *known = outcome.max(*known);
    }
}

/// Runs every test and shows its output as it comes.
pub(crate) fn run(workspace: &Workspace) -> Result<Run, Problem> {
    let mut run = Run::default();
    for program in build(workspace)? {
        println!("\n{}", program.title);
        let seen = watch(&mut program.command())?;
        run.take(&program.title, seen, |name| Some(program.name_of(name)));
    }
    println!("\nexamples of the documentation");
    let seen = watch(cargo().args(DOCTESTS).current_dir(&workspace.root))?;
    run.take("examples of the documentation", seen, |name| libtest::doctest_name(workspace, name));
    Ok(run)
}

/// Names every test without running it; what is ignored is marked so, the rest counts as passed.
pub(crate) fn list(workspace: &Workspace) -> Result<Run, Problem> {
    let mut run = Run::default();
    for program in build(workspace)? {
        for (arguments, outcome) in LISTINGS {
            for name in listed(program.command().args(arguments))? {
                run.note(program.name_of(&name), outcome);
            }
        }
    }
    for (arguments, outcome) in LISTINGS {
        for name in listed(cargo().args(DOCTESTS).arg("--").args(arguments).current_dir(&workspace.root))? {
            run.note(libtest::doctest_name(workspace, &name).unwrap_or(name), outcome);
        }
    }
    Ok(run)
}

/// What is built to be run. Tests that look for faults need a core that can be given some, which nothing else may have.
const BUILDS: [&[&str]; 2] = [&["--workspace"], WITH_FAULTS];
const WITH_FAULTS: &[&str] =
    &["--package", "esf-tests", "--test", "sim", "--test", "fuzz_finds", "--features", "esf-tests/broken"];
/// esf-interleavings is the source of esf-driver once more, under another name; asked for examples alone, cargo would run its too.
const DOCTESTS: [&str; 6] = ["test", "--workspace", "--exclude", "esf-interleavings", "--locked", "--doc"];
const LISTINGS: [(&[&str], Outcome); 2] = [
    (&["--list", "--format", "terse"], Outcome::Passed),
    (&["--list", "--format", "terse", "--ignored"], Outcome::Ignored),
];

/// One test program that cargo built.
struct Program<'a> {
    package: &'a Package,
    title: String,
    /// What stands before the path of a test in its name.
    prefix: String,
    executable: PathBuf,
    /// The binaries of the package, which its integration tests find by environment.
    binaries: Vec<(String, PathBuf)>,
}

impl Program<'_> {
    fn name_of(&self, path: &str) -> String {
        format!("{}::{path}", self.prefix)
    }

    /// The program with the surroundings that `cargo test` gives it.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.executable);
        command
            .current_dir(self.package.folder())
            .env("CARGO_MANIFEST_DIR", self.package.folder())
            .env("CARGO_MANIFEST_PATH", &self.package.manifest_path)
            .env("CARGO_PKG_NAME", &self.package.name);
        for (name, path) in &self.binaries {
            command.env(format!("CARGO_BIN_EXE_{name}"), path);
        }
        command
    }
}

fn build(workspace: &Workspace) -> Result<Vec<Program<'_>>, Problem> {
    let mut programs = Vec::new();
    for what in BUILDS {
        programs.extend(build_some(workspace, what)?);
    }
    programs.sort_by(|a, b| a.title.cmp(&b.title));
    Ok(programs)
}

fn build_some<'a>(workspace: &'a Workspace, what: &[&str]) -> Result<Vec<Program<'a>>, Problem> {
    let mut child = cargo()
        .args(["test", "--locked", "--no-run", "--message-format=json-render-diagnostics"])
        .args(what)
        .current_dir(&workspace.root)
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().ok_or("cargo has no output")?;
    let mut programs = Vec::new();
    let mut binaries: HashMap<String, Vec<(String, PathBuf)>> = HashMap::new();
    for line in BufReader::new(stdout).lines() {
        let Some(artifact) = artifact(&line?) else { continue };
        let Some(package) = workspace.packages.iter().find(|package| package.id == artifact.package_id) else {
            continue;
        };
        let Some(executable) = artifact.executable else { continue };
        let target = artifact.target;
        if artifact.profile.test {
            programs.push(Program {
                package,
                title: format!("{} {} {}", package.name, target.kind(), target.name),
                prefix: target.prefix(&package.name),
                executable,
                binaries: Vec::new(),
            });
        } else if target.kind() == "bin" {
            binaries.entry(package.id.clone()).or_default().push((target.name, executable));
        }
    }
    if !child.wait()?.success() {
        return Err("the tests do not build; the reason is above".into());
    }
    for program in &mut programs {
        program.binaries = binaries.get(&program.package.id).cloned().unwrap_or_default();
    }
    Ok(programs)
}

#[derive(Deserialize)]
struct Artifact {
    package_id: String,
    target: Target,
    profile: Profile,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Target {
    fn kind(&self) -> &str {
        self.kind.first().map_or("", String::as_str)
    }

    /// A library's tests stand under the package, those of every other target under package and target.
    fn prefix(&self, package: &str) -> String {
        if matches!(self.kind(), "test" | "bin" | "bench" | "example") {
            format!("{package}::{}", self.name)
        } else {
            package.to_owned()
        }
    }
}

/// The artifact that one line of cargo's JSON tells of; other lines tell of other things.
fn artifact(line: &str) -> Option<Artifact> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    if message.get("reason")?.as_str()? != "compiler-artifact" {
        return None;
    }
    serde_json::from_value(message).ok()
}

/// What one test program said.
struct Seen {
    announced: usize,
    ended: Vec<(String, Outcome)>,
    /// How the program ended, unless it ended well.
    failure: Option<String>,
}

/// Runs a command, passes its output on and reads it.
fn watch(command: &mut Command) -> Result<Seen, Problem> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().ok_or("the test program has no output")?;
    let mut announced = 0;
    let mut ended = Vec::new();
    let mut reader = BufReader::new(stdout);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        std::io::stdout().write_all(&line)?;
        match libtest::read(String::from_utf8_lossy(&line).trim_end()) {
            Some(Line::Running(count)) => announced += count,
            Some(Line::Ended(name, outcome)) => ended.push((name.to_owned(), outcome)),
            None => {}
        }
        line.clear();
    }
    let status = child.wait()?;
    Ok(Seen { announced, ended, failure: (!status.success()).then(|| status.to_string()) })
}

impl Run {
    fn take(&mut self, title: &str, seen: Seen, name_of: impl Fn(&str) -> Option<String>) {
        let failed = seen.ended.iter().any(|(_, outcome)| *outcome == Outcome::Failed);
        if seen.ended.len() != seen.announced {
            self.broken.push(format!("{title}: announced {} tests, told of {}", seen.announced, seen.ended.len()));
        } else if let Some(failure) = seen.failure.filter(|_| !failed) {
            self.broken.push(format!("{title}: {failure}, though no test failed"));
        }
        for (name, outcome) in seen.ended {
            self.note(name_of(&name).unwrap_or(name), outcome);
        }
    }
}

fn listed(command: &mut Command) -> Result<Vec<String>, Problem> {
    let told = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !told.status.success() {
        return Err(format!("{command:?} --list: {}", told.status).into());
    }
    Ok(String::from_utf8_lossy(&told.stdout).lines().filter_map(libtest::read_listed).map(str::to_owned).collect())
}
