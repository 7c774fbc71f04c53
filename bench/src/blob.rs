//! Blobs from client to client: how fast, what they do to small messages, and what they leave in the server's memory.

use std::{net::SocketAddr, process::Command, time::Duration};

use crate::{
    Plan, Problem,
    latency::{LatencyOutcome, LatencySpec},
    limits::Limit,
    load::{BlobOutcome, BlobSpec},
    process::{LOAD_CORE, pinned, resident},
    report::{Report, Row, median},
    subject::{Subject, load},
};

/// What the server's memory is looked at after, first.
const SMALL: u64 = 100 << 20;
/// The line: bits a second, and milliseconds from one end to the other, of which a round trip takes two.
const BANDWIDTH: u64 = 200_000_000;
const DELAY_MS: u64 = 5;

/// Throughput beside raw TCP, latency beside a blob, and memory after much.
///
/// # Errors
/// A server or the generator fails.
pub fn run(plan: &Plan, report: &mut Report) -> Result<(), Problem> {
    throughput(plan, report)?;
    memory(plan, report)?;
    beside(plan, report)?;
    over_a_line(plan, report)
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

/// Small messages beside a blob on the loopback.
fn beside(plan: &Plan, report: &mut Report) -> Result<(), Problem> {
    let runs = latencies(plan, None, true)?;
    let of = |what: fn(&LatencyOutcome) -> f64| median(&runs.iter().map(what).collect::<Vec<_>>());
    let other = of(|outcome| outcome.other);
    report.results.push(Row::new("blob/other-connection-p99", other, "us"));
    report.results.push(Row::new("blob/same-connection-p99", of(|outcome| outcome.same), "us").beside(other));
    report.results.push(Row::new("blob/library-clients", of(|outcome| outcome.blob) / 1e6, "MB/s"));
    Ok(())
}

/// The same over a line that is slower than the server.
fn over_a_line(plan: &Plan, report: &mut Report) -> Result<(), Problem> {
    let quiet = latencies(plan, Some(BANDWIDTH), false)?;
    let busy = latencies(plan, Some(BANDWIDTH), true)?;
    let of =
        |runs: &[LatencyOutcome], what: fn(&LatencyOutcome) -> f64| median(&runs.iter().map(what).collect::<Vec<_>>());
    let (quiet_p99, busy_p99) = (of(&quiet, |outcome| outcome.same), of(&busy, |outcome| outcome.same));
    report.results.push(Row::new("blob/link-quiet-p99", quiet_p99, "us"));
    report.results.push(Row::new("blob/link-p99", busy_p99, "us"));
    report.results.push(Row::new("blob/link-p99-above-quiet", busy_p99 - quiet_p99, "us"));
    let line = BANDWIDTH as f64 / 8e6;
    report.results.push(Row::new("blob/link-throughput", of(&busy, |outcome| outcome.blob) / 1e6, "MB/s").beside(line));
    report.notes.push(format!(
        "blob/link: both clients behind lines of {} Mbit/s and {} ms there and back, made by a proxy with socket buffers \
         of 16 KiB",
        BANDWIDTH / 1_000_000,
        2 * DELAY_MS
    ));
    Ok(())
}

fn latencies(plan: &Plan, bandwidth: Option<u64>, blob: bool) -> Result<Vec<LatencyOutcome>, Problem> {
    let mut outcomes = Vec::new();
    for run in 0..plan.runs {
        let subject = Subject::esf(plan)?;
        let line = bandwidth.map(|bandwidth| line(subject.address, bandwidth)).transpose()?;
        let address = line.as_ref().map_or(subject.address, |line| line.address);
        let spec = LatencySpec { address, blob, warm_up: plan.warm_up, measure: plan.measure };
        let outcome: LatencyOutcome = load("load-latency", &spec)?;
        eprintln!(
            "run {} of {}: {}{}: p99 {:.0} us on the same connection (median {:.0}), {:.0} us on others, blob {:.1} MB/s",
            run + 1,
            plan.runs,
            if blob { "with a blob" } else { "quiet" },
            if bandwidth.is_some() { " over a line" } else { "" },
            outcome.same,
            outcome.same_median,
            outcome.other,
            outcome.blob / 1e6,
        );
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

fn line(target: SocketAddr, bandwidth: u64) -> Result<Subject, Problem> {
    let mut command: Command = pinned(LOAD_CORE, std::env::current_exe()?);
    command.arg("line").arg(bandwidth.to_string()).arg(DELAY_MS.to_string()).arg(target.to_string());
    Subject::start(&mut command, "listening on ")
}

/// What one direction of the line is.
#[must_use]
pub fn line_of(bandwidth: u64, delay_ms: u64) -> crate::link::Line {
    crate::link::Line { bandwidth, delay: Duration::from_millis(delay_ms) }
}
