//! Blobs from client to client: how fast, and what they leave in the server's memory.

use crate::{
    Plan, Problem,
    limits::Limit,
    load::{BlobOutcome, BlobSpec},
    process::resident,
    report::{Report, Row, median},
    subject::{Subject, load},
};

/// What the server's memory is looked at after, first.
const SMALL: u64 = 100 << 20;

/// Throughput beside raw TCP, and memory after much.
///
/// # Errors
/// A server or the generator fails.
pub fn run(plan: &Plan, report: &mut Report) -> Result<(), Problem> {
    throughput(plan, report)?;
    memory(plan, report)
}

fn throughput(plan: &Plan, report: &mut Report) -> Result<(), Problem> {
    let (mut raw, mut esf) = (Vec::new(), Vec::new());
    for run in 0..plan.runs {
        let subject = Subject::limit(Limit::RawRelay)?;
        raw.push(send(plan, &subject, true, None)?);
        drop(subject);
        esf.push(send(plan, &Subject::esf(plan)?, false, None)?);
        for (name, outcomes) in [("blob/raw-relay", &raw), ("blob/throughput", &esf)] {
            let outcome = outcomes[run];
            eprintln!(
                "run {} of {}: {name} {:.0} MB/s, server {:.0} %, load {:.0} %",
                run + 1,
                plan.runs,
                rate(&outcome),
                outcome.server_cpu_ns as f64 / 1e7 / outcome.seconds,
                outcome.load_cpu_ns as f64 / 1e7 / outcome.seconds,
            );
        }
    }
    let rates = |outcomes: &[BlobOutcome]| median(&outcomes.iter().map(rate).collect::<Vec<_>>());
    report.results.push(Row::new("blob/raw-relay", rates(&raw), "MB/s").costing(cost(&raw)));
    report.results.push(Row::new("blob/throughput", rates(&esf), "MB/s").costing(cost(&esf)).beside(rates(&raw)));
    let sum = |of: fn(&BlobOutcome) -> u64| esf.iter().map(of).sum::<u64>();
    if sum(|outcome| outcome.load_cpu_ns) > sum(|outcome| outcome.server_cpu_ns) {
        report.invalid.push("blob/throughput: the generator's core was the busier one".into());
    }
    Ok(())
}

/// Megabytes a second.
fn rate(outcome: &BlobOutcome) -> f64 {
    outcome.bytes as f64 / 1e6 / outcome.seconds
}

/// Microseconds of the server's processor for a megabyte.
fn cost(outcomes: &[BlobOutcome]) -> f64 {
    let each = |outcome: &BlobOutcome| outcome.server_cpu_ns as f64 / 1000.0 / (outcome.bytes as f64 / 1e6);
    median(&outcomes.iter().map(each).collect::<Vec<_>>())
}

fn send(plan: &Plan, subject: &Subject, raw: bool, total: Option<u64>) -> Result<BlobOutcome, Problem> {
    let (address, server) = (subject.address, subject.process.id());
    load("load-blob", &BlobSpec { address, server, raw, total, warm_up: plan.warm_up, measure: plan.measure })
}

/// The server's resident size after a large blob and after a small one.
fn memory(plan: &Plan, report: &mut Report) -> Result<(), Problem> {
    let subject = Subject::esf(plan)?;
    let small = SMALL.min(plan.large_blob / 2);
    send(plan, &subject, false, Some(small))?;
    let before = resident(subject.process.id())?;
    let outcome = send(plan, &subject, false, Some(plan.large_blob))?;
    let after = resident(subject.process.id())?;
    eprintln!("resident {before} bytes after {small} bytes, {after} after {} more", plan.large_blob);
    let name = if plan.large_blob == 4 << 30 { "4GiB".to_owned() } else { format!("{}B", plan.large_blob) };
    report.results.push(Row::new(format!("blob/resident-{name}-above-100MB"), after as f64 - before as f64, "bytes"));
    if outcome.bytes != plan.large_blob {
        return Err(format!("{} of {} bytes arrived", outcome.bytes, plan.large_blob).into());
    }
    Ok(())
}
