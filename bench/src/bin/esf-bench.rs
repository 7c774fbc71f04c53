//! Runs the benches: `cargo xtask bench`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks to its user")]

use std::{fs, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use esf_bench::{
    Plan, Problem, blob, core_path, crowd, idle, latency, limits, link, load, machine, page, process, query, relay,
    report::Report,
    serve, soak, stored, storm,
    subject::{Library, Runtime},
};

/// That of `esf`, so that the servers of the library here are what is shipped.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The project.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Measures ESF beside what the machine allows.
#[derive(Debug, Parser)]
#[command(name = "esf-bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure
    Run(Run),
    /// Write the tables and the plot of docs/PERFORMANCE.md from results that were kept; of those with one name the
    /// last counts
    Page {
        /// What `--json` wrote
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Treats a server badly for a long time, and fails if its memory does not plateau or two who behave are let down
    Soak(SoakArgs),
    /// A small server of the library (started by `run`)
    #[command(hide = true)]
    Serve {
        kind: Library,
        #[arg(long, default_value = "tokio")]
        runtime: Runtime,
        #[arg(default_value = "127.0.0.1:0")]
        address: String,
    },
    /// A server that does nothing but the transport (started by `run`)
    #[command(hide = true)]
    Limit { kind: limits::Limit },
    /// The generator (started by `run`)
    #[command(hide = true)]
    Load { spec: String },
    #[command(hide = true)]
    LoadQueries { spec: String },
    #[command(hide = true)]
    LoadBroadcast { spec: String },
    #[command(hide = true)]
    LoadOthers { spec: String },
    #[command(hide = true)]
    LoadStored { spec: String },
    #[command(hide = true)]
    LoadTail { spec: String },
    #[command(hide = true)]
    LoadIdle { spec: String },
    #[command(hide = true)]
    LoadBlob { spec: String },
    #[command(hide = true)]
    LoadLatency { spec: String },
    /// A slow line (started by `run`)
    #[command(hide = true)]
    Line { bandwidth: u64, delay_ms: u64, target: SocketAddr },
    #[command(hide = true)]
    LoadStorm { spec: String },
}

#[derive(Debug, Args)]
struct Run {
    /// What to measure
    #[arg(value_enum, default_value_t = Bench::All)]
    bench: Bench,
    /// Write the results as JSON to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the tables and the plot of docs/PERFORMANCE.md from these results
    #[arg(long)]
    write: bool,
    /// Runs of each measurement, of which the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Seconds that one measurement takes
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// The `esf` binary; without it a server of the same library is measured
    #[arg(long, value_name = "FILE")]
    esf: Option<PathBuf>,
    /// Measure other servers beside: nats-server and mosquitto if they are installed, and by npm and cargo Node ws,
    /// Socket.IO and socketioxide
    #[arg(long)]
    peers: bool,
    /// Pairs of clients that relay
    #[arg(long, default_value_t = 100)]
    pairs: usize,
    /// Connections that are idle
    #[arg(long, default_value_t = 10_000)]
    idle: usize,
    /// Seconds that they are idle before their memory is looked at
    #[arg(long, default_value_t = 60.0)]
    rest: f64,
    /// Connections that ask queries
    #[arg(long, default_value_t = 19_000)]
    askers: usize,
    /// Bytes of the blob after which the server's memory is looked at
    #[arg(long, default_value_t = 4 << 30, value_parser = clap::value_parser!(u64).range(2..))]
    large_blob: u64,
    /// Clients that come back at once
    #[arg(long, default_value_t = 10_000)]
    clients: usize,
    /// Users online while the core's path is measured
    #[arg(long, default_value_t = 10_000)]
    users: usize,
    /// Messages through the core's path
    #[arg(long, default_value_t = 1_000_000)]
    messages: usize,
    /// Do not count instructions, which takes valgrind a minute
    #[arg(long)]
    no_instructions: bool,
}

#[derive(Debug, Args)]
struct SoakArgs {
    /// For how many minutes; memory is judged from 4 minutes on
    #[arg(long, default_value_t = 20.0)]
    minutes: f64,
    /// Of all choices
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The `esf` binary; without it a server of the same library
    #[arg(long, value_name = "FILE")]
    esf: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Bench {
    Micro,
    Relay,
    Query,
    Idle,
    Blob,
    Storm,
    Broadcast,
    Presence,
    Stored,
    All,
}

fn main() -> ExitCode {
    let ended = match Cli::parse().command {
        Command::Run(run) => measure(&run),
        Command::Soak(args) => soaked(args),
        Command::Page { files } => page_of(&files),
        Command::Serve { kind, runtime, address } => {
            serve::run(kind, runtime, &address, tell).map(|()| ExitCode::SUCCESS)
        }
        Command::Limit { kind } => on_tokio(limits::serve(kind, tell)),
        Command::Load { spec } => answer(&spec, load::run),
        Command::LoadQueries { spec } => answer(&spec, load::run_queries),
        Command::LoadBroadcast { spec } => answer(&spec, load::run_broadcast),
        Command::LoadOthers { spec } => answer(&spec, load::run_others),
        Command::LoadStored { spec } => answer(&spec, load::run_stored),
        Command::LoadTail { spec } => tail(&spec),
        Command::LoadIdle { spec } => idle_clients(&spec),
        Command::LoadBlob { spec } => answer(&spec, load::run_blob),
        Command::LoadLatency { spec } => latencies(&spec),
        Command::Line { bandwidth, delay_ms, target } => {
            on_tokio(link::serve(blob::line_of(bandwidth, delay_ms), target, tell))
        }
        Command::LoadStorm { spec } => storm_clients(&spec),
    };
    ended.unwrap_or_else(|problem| {
        eprintln!("esf-bench: {problem}");
        ExitCode::FAILURE
    })
}

fn measure(run: &Run) -> Result<ExitCode, Problem> {
    let plan = Plan {
        runs: run.runs.into(),
        measure: Duration::try_from_secs_f64(run.seconds)?,
        warm_up: Duration::try_from_secs_f64(run.seconds / 4.0)?,
        esf: run.esf.clone(),
        peers: run.peers,
        pairs: run.pairs,
        idle: run.idle,
        rest: Duration::try_from_secs_f64(run.rest)?,
        askers: run.askers,
        large_blob: run.large_blob,
        clients: run.clients,
        users: run.users,
        messages: run.messages,
        instructions: !run.no_instructions,
    };
    let mut report =
        Report { machine: machine::describe(), command: command(), date: page::today(), ..Report::default() };
    if !process::can_pin() {
        report
            .invalid
            .push("server and load share their cores: it takes two cores and taskset to keep them apart".into());
    }
    if let Some(load) = machine::busy().filter(|load| *load > 0.5) {
        report.notes.push(format!("others used the machine when this began: load average {load}"));
    }
    type Measure = fn(&Plan, &mut Report) -> Result<(), Problem>;
    let benches: [(Bench, Measure); 9] = [
        (Bench::Micro, core_path::run),
        (Bench::Relay, relay::run),
        (Bench::Query, query::run),
        (Bench::Idle, idle::run),
        (Bench::Blob, blob::run),
        (Bench::Storm, storm::run),
        (Bench::Broadcast, crowd::broadcast),
        (Bench::Presence, crowd::presence),
        (Bench::Stored, stored::run),
    ];
    for (bench, measure) in benches {
        if run.bench == bench || run.bench == Bench::All {
            measure(&plan, &mut report)?;
        }
    }

    println!("{}\n\n{}", report.machine, report.table());
    report.notes.iter().for_each(|note| println!("note: {note}"));
    report.not_run.iter().for_each(|name| println!("not run: {name}"));
    report.invalid.iter().for_each(|reason| println!("INVALID: {reason}"));
    if let Some(file) = &run.json {
        fs::write(file, serde_json::to_string_pretty(&report)? + "\n")
            .map_err(|error| format!("{}: {error}", file.display()))?;
    }
    if run.write {
        println!("written: {}", page::write(ROOT.as_ref(), &[report.clone()])?.display());
    }
    Ok(if report.invalid.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

fn soaked(args: SoakArgs) -> Result<ExitCode, Problem> {
    let length = Duration::try_from_secs_f64(args.minutes * 60.0)?;
    soak::run(&soak::Soak { length, seed: args.seed, esf: args.esf }, |line| println!("{line}"))?;
    Ok(ExitCode::SUCCESS)
}

fn page_of(files: &[PathBuf]) -> Result<ExitCode, Problem> {
    let read = |file: &PathBuf| {
        let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok::<Report, Problem>(serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?)
    };
    let reports = files.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    println!("written: {}", page::write(ROOT.as_ref(), &reports)?.display());
    Ok(ExitCode::SUCCESS)
}

/// What was typed, without the files of this machine.
fn command() -> String {
    let mut words = std::env::args().skip(2);
    let mut typed = String::from("cargo xtask bench");
    while let Some(word) = words.next() {
        if word == "--esf" || word == "--json" {
            words.next();
        } else {
            typed.push(' ');
            typed += &word;
        }
    }
    typed
}

fn on_tokio(server: impl Future<Output = Result<(), Problem>>) -> Result<ExitCode, Problem> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(server).map(|()| ExitCode::SUCCESS)
}

fn tell(address: SocketAddr) {
    println!("listening on {address}");
}

fn answer<S: serde::de::DeserializeOwned, T: serde::Serialize>(
    spec: &str,
    load: fn(&S) -> Result<T, Problem>,
) -> Result<ExitCode, Problem> {
    println!("{}", serde_json::to_string(&load(&serde_json::from_str(spec)?)?)?);
    Ok(ExitCode::SUCCESS)
}

fn idle_clients(spec: &str) -> Result<ExitCode, Problem> {
    idle::clients(&serde_json::from_str(spec)?, || println!("ready"))?;
    Ok(ExitCode::SUCCESS)
}

fn storm_clients(spec: &str) -> Result<ExitCode, Problem> {
    let spec = serde_json::from_str(spec)?;
    on_tokio(storm::clients(&spec, |word| println!("{word}")))
}

fn latencies(spec: &str) -> Result<ExitCode, Problem> {
    let spec = serde_json::from_str(spec)?;
    on_tokio(async move {
        println!("{}", serde_json::to_string(&latency::run(spec).await?)?);
        Ok(())
    })
}

fn tail(spec: &str) -> Result<ExitCode, Problem> {
    let spec = serde_json::from_str(spec)?;
    on_tokio(async move {
        println!("{}", serde_json::to_string(&stored::tail::run(spec).await?)?);
        Ok(())
    })
}
