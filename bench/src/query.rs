//! Queries that the server's own handler answers. Server and generator share all cores.

use crate::{
    Plan, Problem,
    load::{QueryLoad, QueryOutcome, QuerySpec},
    report::{Report, Row, median},
    subject::{Library, Subject, load_anywhere},
};

/// Bytes of a question and of its answer.
const BODY: usize = 64;

/// Answers a second with all connections asking in turn, and how long one waits: alone, and under that load.
///
/// # Errors
/// A server or the generator fails.
pub fn run(plan: &Plan, report: &mut Report) -> Result<(), Problem> {
    // One question at a time; a hundred that come one by one; and as much as goes, in bursts as the relay has them.
    let loads = [(1, 1), (100, 1), (plan.askers.div_ceil(100), 16)].map(|(asking, burst)| QueryLoad { asking, burst });
    let mut runs: Vec<Vec<QueryOutcome>> = Vec::new();
    for run in 0..plan.runs {
        let subject = Subject::library_anywhere(Library::Answering)?;
        let spec = QuerySpec {
            address: subject.address,
            server: subject.process.id(),
            connections: plan.askers,
            loads: loads.to_vec(),
            body: BODY,
            warm_up: plan.warm_up,
            measure: plan.measure,
        };
        let outcomes: Vec<QueryOutcome> = load_anywhere("load-queries", &spec)?;
        for (outcome, QueryLoad { asking, burst }) in outcomes.iter().zip(loads) {
            eprintln!(
                "run {} of {}: {} connections, {asking} asking {burst}: {:.0} queries/s, p50 {:.0} us, p99 {:.0} us, server {:.2} us each, load {:.2} us",
                run + 1,
                plan.runs,
                plan.askers,
                outcome.rate,
                outcome.p50,
                outcome.p99,
                cost(outcome.server_cpu_ns, outcome),
                cost(outcome.load_cpu_ns, outcome),
            );
        }
        runs.push(outcomes);
    }
    for (at, QueryLoad { asking, burst }) in loads.into_iter().enumerate() {
        let of = |what: &dyn Fn(&QueryOutcome) -> f64| {
            median(&runs.iter().filter_map(|outcomes| outcomes.get(at)).map(what).collect::<Vec<_>>())
        };
        let all = at + 1 == loads.len();
        let name = if all { format!("query/{}", plan.askers) } else { format!("query/{}/open-{asking}", plan.askers) };
        let (server, own) =
            (of(&|outcome| cost(outcome.server_cpu_ns, outcome)), of(&|outcome| cost(outcome.load_cpu_ns, outcome)));
        report.results.push(Row::new(&name, of(&|outcome| outcome.rate), "queries/s").costing(server));
        for (part, value) in [
            ("p50", of(&|outcome| outcome.p50)),
            ("p99", of(&|outcome| outcome.p99)),
            ("p99.9", of(&|outcome| outcome.p999)),
        ] {
            report.results.push(Row::new(format!("{name}/{part}"), value, "us"));
        }
        if all {
            report.notes.push(format!(
                "{name}: {asking} connections at a time have {burst} queries open each; {server:.2} us of the server's processor and {own:.2} us of the \
                 generator's for each"
            ));
            if own > server {
                report.invalid.push(format!("{name}: the generator used more processor time than the server"));
            }
        }
    }
    Ok(())
}

fn cost(ns: u64, outcome: &QueryOutcome) -> f64 {
    ns as f64 / 1000.0 / outcome.answers.max(1) as f64
}
