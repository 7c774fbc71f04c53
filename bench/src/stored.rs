//! Messages for those who are away: how many a second are stored, each answered after its durable commit; how long one
//! alone takes; and how fast they come when their receiver logs in.

pub mod alone;
pub mod tail;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    Plan, Problem,
    load::{StoredOutcome, StoredSpec},
    process::{Running, SERVER_CORE, pinned},
    report::{Report, Row, median},
    subject::{Library, Runtime, Subject, load},
};
use alone::{AloneOutcome, AloneSpec};
use tail::{TailOutcome, TailSpec};

const BODY: usize = 64;
/// Users who are away. Each has room for 1,000 messages.
const RECEIVERS: usize = 2_000;
/// Connections that send, and messages of each that wait for their answer.
const LOADS: [(usize, usize); 2] = [(10, 100), (1, 1)];
/// Messages that wait for one who logs in: as many as there is room for.
const TAIL: usize = 1_000;

/// Measures the store alone, the server with it, and the way back.
///
/// # Errors
/// A server or the generator fails.
pub fn run(plan: &Plan, report: &mut Report) -> Result<(), Problem> {
    let memory = stored(plan, Store::Memory)?;
    if plan.esf.is_none() {
        tell(report, "stored/memory", &memory, None);
        report.not_run.push("stored: without the esf binary there is no store on a disk".into());
        return Ok(());
    }
    let alone = alone(plan)?;
    let disk = stored(plan, Store::Disk)?;
    let of = |what: fn(&AloneOutcome) -> f64| median(&alone[0].iter().map(what).collect::<Vec<_>>());
    report.results.push(Row::new("stored/fsync", of(|outcome| outcome.fsync), "us"));
    report.results.push(Row::new("stored/fsync/p99", of(|outcome| outcome.fsync_p99), "us"));
    for ((senders, in_flight), found) in LOADS.into_iter().zip(&alone) {
        let of = |what: fn(&AloneOutcome) -> f64| median(&found.iter().map(what).collect::<Vec<_>>());
        let name = format!("stored/store/{}", senders * in_flight);
        report.results.push(Row::new(&name, of(|outcome| outcome.rate), "msg/s").costing(of(|outcome| outcome.cpu_us)));
        report.results.push(Row::new(format!("{name}/p50"), of(|outcome| outcome.p50), "us"));
        report.results.push(Row::new(format!("{name}/p99"), of(|outcome| outcome.p99), "us"));
    }
    tell(report, "stored/memory", &memory, None);
    tell(report, "stored", &disk, Some(&alone));
    tails(plan, report)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Store {
    Memory,
    Disk,
}

/// By load, then by run.
type Found<T> = [Vec<T>; LOADS.len()];

fn stored(plan: &Plan, store: Store) -> Result<Found<StoredOutcome>, Problem> {
    let mut found = Found::default();
    for run in 0..plan.runs {
        for ((senders, in_flight), found) in LOADS.into_iter().zip(&mut found) {
            let data = Data::new()?;
            let subject = match &plan.esf {
                Some(esf) if store == Store::Disk => Subject::esf_keeping(esf, &data.0)?,
                _ => Subject::library(Library::Keeping, Runtime::Tokio)?,
            };
            let spec = StoredSpec {
                address: subject.address,
                server: subject.process.id(),
                senders,
                receivers: RECEIVERS,
                in_flight,
                body: BODY,
                warm_up: plan.warm_up,
                measure: plan.measure,
            };
            let outcome: StoredOutcome = load("load-stored", &spec)?;
            eprintln!("run {} of {}: {store:?}, {} in flight: {outcome:?}", run + 1, plan.runs, senders * in_flight);
            found.push(outcome);
        }
    }
    Ok(found)
}

fn tell(report: &mut Report, prefix: &str, found: &Found<StoredOutcome>, alone: Option<&Found<AloneOutcome>>) {
    for (at, ((senders, in_flight), found)) in LOADS.into_iter().zip(found).enumerate() {
        let of = |what: fn(&StoredOutcome) -> f64| median(&found.iter().map(what).collect::<Vec<_>>());
        let name = format!("{prefix}/{}", senders * in_flight);
        let row = Row::new(&name, of(|outcome| outcome.rate), "msg/s").costing(of(|outcome| outcome.server_cpu_us));
        report.results.push(match alone {
            Some(alone) => row.beside(median(&alone[at].iter().map(|outcome| outcome.rate).collect::<Vec<_>>())),
            None => row,
        });
        report.results.push(Row::new(format!("{name}/p50"), of(|outcome| outcome.p50), "us"));
        report.results.push(Row::new(format!("{name}/p99"), of(|outcome| outcome.p99), "us"));
        if of(|outcome| outcome.load_cpu_us) > of(|outcome| outcome.server_cpu_us) {
            report.invalid.push(format!("{name}: the generator used more processor time than the server"));
        }
    }
}

/// The store of `esf serve` without a server, in a process of its own.
fn alone(plan: &Plan) -> Result<Found<AloneOutcome>, Problem> {
    let program = std::env::current_exe()?.with_file_name("esf-bench-store");
    let mut found = Found::default();
    for run in 0..plan.runs {
        for ((senders, in_flight), found) in LOADS.into_iter().zip(&mut found) {
            let data = Data::new()?;
            let spec = AloneSpec {
                directory: data.0.clone(),
                receivers: RECEIVERS,
                in_flight: senders * in_flight,
                body: BODY,
                warm_up: plan.warm_up,
                measure: plan.measure,
            };
            let mut command: Command = pinned(SERVER_CORE, &program);
            let told = Running::start(command.arg(serde_json::to_string(&spec)?))?.finish()?;
            let outcome: AloneOutcome = serde_json::from_str(&told)?;
            eprintln!("run {} of {}: alone, {} in flight: {outcome:?}", run + 1, plan.runs, spec.in_flight);
            found.push(outcome);
        }
    }
    Ok(found)
}

/// How long whoever logs in waits for what was stored.
fn tails(plan: &Plan, report: &mut Report) -> Result<(), Problem> {
    let Some(esf) = &plan.esf else { return Ok(()) };
    let mut found = Vec::new();
    for run in 0..plan.runs {
        let data = Data::new()?;
        let subject = Subject::esf_keeping(esf, &data.0)?;
        let outcome: TailOutcome =
            load("load-tail", &TailSpec { address: subject.address, messages: TAIL, body: BODY })?;
        eprintln!("run {} of {}: {outcome:?}", run + 1, plan.runs);
        found.push(outcome);
    }
    let of = |what: fn(&TailOutcome) -> f64| median(&found.iter().map(what).collect::<Vec<_>>());
    let name = format!("stored/tail/{TAIL}");
    report.results.push(Row::new(format!("{name}/login"), of(|outcome| outcome.login), "ms"));
    report.results.push(Row::new(format!("{name}/first"), of(|outcome| outcome.first), "ms"));
    report.results.push(Row::new(format!("{name}/last"), of(|outcome| outcome.last), "ms"));
    Ok(())
}

/// A directory beside this program, which is gone when this is dropped: where temporary files are need not be a disk.
struct Data(PathBuf);

impl Data {
    fn new() -> Result<Self, Problem> {
        let program = std::env::current_exe()?;
        let beside = program.parent().unwrap_or(Path::new("."));
        let data = Self(beside.join(format!("esf-bench-stored-{}", std::process::id())));
        fs::create_dir_all(&data.0)?;
        Ok(data)
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        // What is left there harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}
