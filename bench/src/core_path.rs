//! The core without sockets: what `esf-bench-core` finds, as a process of its own because it counts allocations and
//! valgrind counts its instructions.

use std::{path::PathBuf, process::Command};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    Plan, Problem,
    crowd::inside::{Broadcasting, Meeting},
    report::{Report, Row, median},
};

/// What is measured.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum CoreSpec {
    /// Messages of 64 bytes from a client's session through the server's sessions and hub to a client's session.
    Path {
        /// Users online.
        users: usize,
        /// Messages.
        messages: usize,
        /// Messages of a user that go before another's turn.
        batch: usize,
    },
    /// Messages between sessions of a server, on so many threads.
    Hub {
        /// Users online.
        users: usize,
        /// Messages of each thread.
        messages: usize,
        /// Threads.
        threads: usize,
        /// Whether each thread has a server of its own, so that nothing is shared.
        apart: bool,
    },
    /// Broadcasts to many.
    Broadcast(Broadcasting),
    /// Logins of people with contacts.
    Presence(Meeting),
}

/// What was found.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct CoreOutcome {
    /// Messages that arrived.
    pub messages: u64,
    /// Nanoseconds for all.
    pub ns: f64,
    /// Heap allocations in that time, those that only grow included.
    pub allocations: u64,
}

/// Time, allocations and instructions of a message, and what a second thread brings.
///
/// # Errors
/// The measuring process fails.
pub fn run(plan: &Plan, report: &mut Report) -> Result<(), Problem> {
    let (users, messages) = (plan.users, plan.messages);
    let mut found: [Vec<CoreOutcome>; 5] = Default::default();
    for run in 0..plan.runs {
        let hub = |threads, apart| CoreSpec::Hub { users, messages, threads, apart };
        let specs = [
            CoreSpec::Path { users, messages, batch: 16 },
            CoreSpec::Path { users, messages, batch: 1 },
            hub(1, false),
            hub(2, false),
            hub(2, true),
        ];
        for (spec, found) in specs.into_iter().zip(&mut found) {
            let outcome: CoreOutcome = measure_core(&spec)?;
            eprintln!("run {} of {}: {spec:?}: {:.0} ns a message", run + 1, plan.runs, outcome.each());
            found.push(outcome);
        }
    }
    let time = |at: usize| median(&found[at].iter().map(CoreOutcome::each).collect::<Vec<_>>());
    let allocations = |at: usize| {
        median(
            &found[at].iter().map(|outcome| outcome.allocations as f64 / outcome.messages as f64).collect::<Vec<_>>(),
        )
    };
    report.results.push(Row::new("micro/core", time(0), "ns"));
    report.results.push(Row::new("micro/core/allocations", allocations(0), "a message"));
    report.results.push(Row::new("micro/core/one-at-a-time", time(1), "ns"));
    report.results.push(Row::new("micro/core/one-at-a-time/allocations", allocations(1), "a message"));
    report.results.push(Row::new("micro/hub/1-thread", time(2), "ns"));
    report.results.push(Row::new("micro/hub/2-threads", time(2) / time(3), "x").beside(time(2) / time(4)));
    if plan.instructions {
        match instructions(users) {
            Ok(each) => report.results.push(Row::new("micro/core/instructions", each, "a message")),
            Err(problem) => report.not_run.push(format!("micro/core/instructions: {problem}")),
        }
    }
    Ok(())
}

impl CoreOutcome {
    fn each(&self) -> f64 {
        self.ns / self.messages as f64
    }
}

/// Instructions that a message costs: by callgrind, as the difference between many messages and few.
fn instructions(users: usize) -> Result<f64, Problem> {
    let count = |messages: usize| {
        let spec = serde_json::to_string(&CoreSpec::Path { users, messages, batch: 16 })?;
        let told = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(program()?)
            .arg(spec)
            .output()
            .map_err(|error| format!("valgrind: {error}"))?;
        let text = String::from_utf8_lossy(&told.stderr);
        let line = text.lines().find_map(|line| line.split_once("Collected :"));
        let (_, counted) = line.ok_or_else(|| format!("valgrind counted nothing: {text}"))?;
        Ok::<f64, Problem>(counted.trim().parse()?)
    };
    // Each user's first messages grow its buffers; those are in both.
    let (few, many) = (users * 16, users * 16 * 3);
    Ok((count(many)? - count(few)?) / (many - few) as f64)
}

/// `esf-bench-core` stands beside this program.
fn program() -> Result<PathBuf, Problem> {
    Ok(std::env::current_exe()?.with_file_name("esf-bench-core"))
}

/// Runs `esf-bench-core` once.
///
/// # Errors
/// It fails.
pub fn measure_core<T: DeserializeOwned>(spec: &CoreSpec) -> Result<T, Problem> {
    let told = Command::new(program()?).arg(serde_json::to_string(spec)?).output()?;
    if !told.status.success() {
        return Err(format!("{spec:?}: {}: {}", told.status, String::from_utf8_lossy(&told.stderr)).into());
    }
    Ok(serde_json::from_slice(&told.stdout)?)
}
