//! A server that is treated badly for a long time, and must neither grow for ever nor let down two people who behave.
//!
//! `crowd` are the clients that do the harm; `victim` are the two who must not notice. The memory of the server is
//! looked at all the while. It plateaus if the median of the last quarter is at most a tenth and 8 MiB above that of the
//! second quarter; the first, in which queues and resume windows fill, does not count.

mod crowd;
mod victim;

use std::{
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use esf_tokio::{Config, UserId};

use self::victim::Victims;
use crate::{Problem, process::resident, subject::Subject};

/// What memory may differ between the second and the last quarter, beside a tenth.
const SLACK: u64 = 8 << 20;
/// The shortest soak that says anything about memory: sessions wait 60 s for their clients.
const JUDGED: Duration = Duration::from_secs(240);
/// Nobody who behaves waits that long for an answer.
const ABSURD: Duration = Duration::from_secs(10);

/// How to soak.
#[derive(Debug, Clone)]
pub struct Soak {
    /// For how long.
    pub length: Duration,
    /// Of all choices.
    pub seed: u64,
    /// The `esf` binary; without it a server of the same library.
    pub esf: Option<PathBuf>,
}

/// What everybody in the crowd knows.
#[derive(Debug)]
struct Stage {
    url: String,
    address: std::net::SocketAddr,
    over: AtomicBool,
    done: Done,
}

/// What the crowd has done.
#[derive(Debug, Default)]
struct Done {
    sent: AtomicU64,
    refused: AtomicU64,
    connections: AtomicU64,
    cuts: AtomicU64,
    blobs: AtomicU64,
}

/// One look at the server.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Duration,
    resident: u64,
}

/// Soaks a server of its own. `tell` gets a line each time it is looked at, and a summary.
///
/// # Errors
/// The server ends, its memory does not plateau, or the two victims were let down.
pub fn run(soak: &Soak, mut tell: impl FnMut(&str)) -> Result<(), Problem> {
    let subject = serve(soak)?;
    let (server, address) = (subject.process.id(), subject.address);
    let stage = Arc::new(Stage {
        url: format!("ws://{address}"),
        address,
        over: AtomicBool::new(false),
        done: Done::default(),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let victims = runtime.block_on(Victims::begin(&stage))?;
    let mut random = Random(soak.seed | 1);
    runtime.block_on(async { crowd::begin(&stage, &mut random) });

    let begin = Instant::now();
    let step = (soak.length / 120).clamp(Duration::from_millis(500), Duration::from_secs(5));
    let mut looks = Vec::new();
    tell(&format!("seed {}, server process {server} at {address}", soak.seed));
    tell(" minute | resident MiB | victim p99 ms | worst ms | sent | refused | connections | cuts | blobs");
    while begin.elapsed() < soak.length {
        std::thread::sleep(step);
        let look = Look { at: begin.elapsed(), resident: resident(server)? };
        looks.push(look);
        let (p99, worst) = victims.latest();
        let done = &stage.done;
        let counts = [&done.sent, &done.refused, &done.connections, &done.cuts, &done.blobs];
        let counts: Vec<String> = counts.iter().map(|count| count.load(Relaxed).to_string()).collect();
        tell(&format!(
            "{:7.2} | {:12.1} | {:13.1} | {:8.1} | {}",
            look.at.as_secs_f64() / 60.0,
            mib(look.resident),
            p99.as_secs_f64() * 1e3,
            worst.as_secs_f64() * 1e3,
            counts.join(" | ")
        ));
        victims.fault()?;
    }
    stage.over.store(true, Relaxed);
    let exchanged = runtime.block_on(victims.end())?;
    runtime.shutdown_timeout(Duration::from_secs(5));
    tell(&format!("the victims exchanged {exchanged} certain messages, each once and in order"));
    judge(&looks, soak.length, tell)
}

fn judge(looks: &[Look], length: Duration, mut tell: impl FnMut(&str)) -> Result<(), Problem> {
    let quarter = |number: u32| {
        let (from, until) = (length * (number - 1) / 4, length * number / 4);
        let mut inside: Vec<u64> =
            looks.iter().filter(|look| (from..=until).contains(&look.at)).map(|look| look.resident).collect();
        inside.sort_unstable();
        inside.get(inside.len() / 2).copied().unwrap_or(0)
    };
    let (second, last) = (quarter(2), quarter(4));
    let told = format!("median resident: second quarter {:.1} MiB, last quarter {:.1} MiB", mib(second), mib(last));
    if length < JUDGED {
        tell(&format!("{told}; too short to say whether it plateaus: that takes 4 minutes"));
        return Ok(());
    }
    if last > second + second / 10 + SLACK {
        return Err(format!("{told}: memory does not plateau").into());
    }
    tell(&format!("{told}: memory plateaus"));
    Ok(())
}

fn serve(soak: &Soak) -> Result<Subject, Problem> {
    match &soak.esf {
        // The largest queues are what is to be seen, not what one address may do.
        Some(esf) => Subject::start(
            Command::new(esf).args(["serve", "--open", "--log", "error", "--listen", "127.0.0.1:0"]),
            "ws://",
        ),
        None => Subject::start(Command::new(std::env::current_exe()?).args(["serve", "plain"]), "listening on "),
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn config(name: &str) -> Config {
    // Names are made here.
    Config::new(UserId::parse(name, 64).unwrap_or_else(|_| unreachable!("{name} is a name")))
}

/// Choices that a seed fixes (xorshift): good enough to mix things up.
#[derive(Debug, Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    fn child(&mut self) -> Self {
        Self(self.next() | 1)
    }
}

#[cfg(test)]
mod tests;
