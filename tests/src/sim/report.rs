//! What became of a seed.

use std::{fmt, time::Duration};

use esf_proto::time::Instant;

use super::Sim;

/// How to run a seed.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether to write a trace.
    pub trace: bool,
    /// Whether there is a WebSocket between every machine and its line.
    pub websocket: bool,
    /// Faults to leave out, by name.
    pub left_out: Vec<String>,
}

/// Something that must never be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// When.
    pub at: Instant,
    /// Which invariant, by its number and name.
    pub invariant: &'static str,
    /// What was seen.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.at.as_micros();
        write!(f, "at {}.{:06} s, {}: {}", micros / 1_000_000, micros % 1_000_000, self.invariant, self.text)
    }
}

/// What a run showed.
#[derive(Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The number of the whole trace.
    pub hash: u64,
    /// Calls of `handle_…` of all machines.
    pub calls: u64,
    /// Simulated time.
    pub simulated: Duration,
    /// Engines that ever were.
    pub engines: usize,
    /// Things that were sent.
    pub sent: usize,
    /// Links that were cut, in one way or another.
    pub cuts: u64,
    /// The faults of this seed.
    pub faults: Vec<&'static str>,
    /// What was violated.
    pub violation: Option<Violation>,
    /// The trace, if it was wanted.
    pub lines: Vec<String>,
}

impl Report {
    pub(super) fn of(seed: u64, sim: Sim) -> Self {
        Self {
            seed,
            hash: sim.trace.hash(),
            calls: sim.calls,
            simulated: sim.now.since(Instant::from_micros(1_000_000)),
            engines: sim.engines.len(),
            sent: sim.ledger.next() as usize,
            cuts: sim.cuts,
            faults: sim.fault_names(),
            violation: sim.violation.clone(),
            lines: sim.trace.into_lines(),
        }
    }
}
