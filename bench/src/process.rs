//! Processes on a core of their own, and what they cost.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use crate::Problem;

/// The core of whatever serves, and the core of whatever loads it.
pub const SERVER_CORE: usize = 0;
/// See [`SERVER_CORE`].
pub const LOAD_CORE: usize = 1;

/// A process that ends when it is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

/// A command that runs on one core only, where the machine has a second one and `taskset`.
#[must_use]
pub fn pinned(core: usize, program: impl AsRef<OsStr>) -> Command {
    if can_pin() {
        let mut command = Command::new("taskset");
        command.arg("-c").arg(core.to_string()).arg(program);
        command
    } else {
        Command::new(program)
    }
}

/// Whether processes can be kept apart. Without it no ratio means anything.
#[must_use]
pub fn can_pin() -> bool {
    std::thread::available_parallelism().is_ok_and(|cores| cores.get() > LOAD_CORE)
        && Command::new("taskset").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

impl Running {
    /// Starts it, with its standard output to be read here.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(command: &mut Command) -> Result<Self, Problem> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{command:?}: {error}"))?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        Ok(Self { child, stdout: BufReader::new(stdout) })
    }

    /// Its number. `taskset` becomes what it starts, so this is the server itself.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The first line that says something after `mark`, up to the next space.
    ///
    /// # Errors
    /// It ends without saying so.
    pub fn word_after(&mut self, mark: &str) -> Result<String, Problem> {
        let mut line = String::new();
        while self.stdout.read_line(&mut line)? > 0 {
            if let Some((_, rest)) = line.split_once(mark) {
                return Ok(rest.split_whitespace().next().unwrap_or_default().to_owned());
            }
            line.clear();
        }
        Err(format!("process {} ended without a line that says {mark:?}", self.id()).into())
    }

    /// The next line it says; `None` when it has ended.
    ///
    /// # Errors
    /// Its output cannot be read.
    pub fn line(&mut self) -> Result<Option<String>, Problem> {
        let mut line = String::new();
        Ok((self.stdout.read_line(&mut line)? > 0).then_some(line))
    }

    /// All that it says until it ends well.
    ///
    /// # Errors
    /// It does not end well.
    pub fn finish(mut self) -> Result<String, Problem> {
        let mut told = String::new();
        self.stdout.read_to_string(&mut told)?;
        let status = self.child.wait()?;
        if status.success() { Ok(told) } else { Err(format!("the process ended with {status}").into()) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Nanoseconds on a processor that a process has had, all its threads together.
#[must_use]
pub fn cpu_ns(pid: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.filter_map(|thread| first_number(&thread.path().join("schedstat"))).sum()
}

/// Bytes of a process that are in memory.
///
/// # Errors
/// The system does not tell.
pub fn resident(pid: u32) -> Result<u64, Problem> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:")).ok_or("no resident size")?;
    let kib: u64 = line.split_whitespace().next().ok_or("no resident size")?.parse()?;
    Ok(kib * 1024)
}

fn first_number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.split_whitespace().next()?.parse().ok()
}
