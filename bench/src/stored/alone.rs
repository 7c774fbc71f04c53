//! The store without a server: what `esf-bench-store` is told and finds, and how long the disk takes.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::{Problem, report::percentile};

/// Appends of which the time is taken.
const APPENDS: usize = 200;

/// What the process is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AloneSpec {
    /// Where the store is made.
    pub directory: PathBuf,
    /// Users whom messages are for.
    pub receivers: usize,
    /// Messages that wait for their answer.
    pub in_flight: usize,
    /// Bytes of a message's body.
    pub body: usize,
    /// How long nothing is counted yet.
    pub warm_up: Duration,
    /// How long is counted.
    pub measure: Duration,
}

/// What it saw.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct AloneOutcome {
    /// Messages that were answered, a second.
    pub rate: f64,
    /// Microseconds from the request to the answer: the median, and 99 of 100.
    pub p50: f64,
    /// See [`AloneOutcome::p50`].
    pub p99: f64,
    /// Microseconds of the processor for each, those of whoever asks included.
    pub cpu_us: f64,
    /// Microseconds of an append that waits for the disk: the median, and 99 of 100.
    pub fsync: f64,
    /// See [`AloneOutcome::fsync`].
    pub fsync_p99: f64,
}

/// Microseconds that an append of 4 KiB in this directory takes until it is on the disk, in ascending order.
///
/// # Errors
/// It cannot be written.
pub fn fsyncs(directory: &Path) -> Result<Vec<u32>, Problem> {
    let path = directory.join("append");
    let mut file = File::create(&path)?;
    let mut took = Vec::with_capacity(APPENDS);
    for _ in 0..APPENDS {
        file.write_all(&[7; 4096])?;
        let begin = Instant::now();
        file.sync_all()?;
        took.push(u32::try_from(begin.elapsed().as_micros())?);
    }
    fs::remove_file(path)?;
    took.sort_unstable();
    Ok(took)
}

impl AloneOutcome {
    /// Of what was measured in so much time.
    #[must_use]
    pub fn new(waits: &mut [u32], time: Duration, cpu_ns: u64, fsyncs: &[u32]) -> Self {
        waits.sort_unstable();
        Self {
            rate: waits.len() as f64 / time.as_secs_f64(),
            p50: percentile(waits, 500),
            p99: percentile(waits, 990),
            cpu_us: cpu_ns as f64 / 1000.0 / waits.len().max(1) as f64,
            fsync: percentile(fsyncs, 500),
            fsync_p99: percentile(fsyncs, 990),
        }
    }
}
