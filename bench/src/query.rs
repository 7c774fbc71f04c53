//! Queries that the server's own handler answers. Server and generator share all cores.

use crate::{
    Plan, Problem,
    load::{QueryLoad, QueryOutcome, QuerySpec},
    report::{Report, Row, median},
    subject::{Library, Runtime, Subject, load_anywhere},
};

/// Bytes of a question and of its answer.
const BODY: usize = 64;

/// Connections on which the runtimes are compared: as many as threads are meant for.
const COMPARED: usize = 1_000;

/// A server that is asked.
struct Measured {
    name: String,
    runtime: Runtime,
    connections: usize,
    /// Each with what was seen of it, run by run.
    loads: Vec<(QueryLoad, Vec<QueryOutcome>)>,
}

/// Answers a second with all connections asking in turn, and how long one waits: alone, and under that load.
///
/// # Errors
/// A server or the generator fails.
pub fn run(plan: &Plan, report: &mut Report) -> Result<(), Problem> {
    let mut all = list(plan.askers);
    for run in 0..plan.runs {
        for measured in &mut all {
            eprintln!("run {} of {}: {}", run + 1, plan.runs, measured.name);
            measured.ask(plan)?;
        }
    }
    for measured in &all {
        let tokio = |other: &&Measured| other.runtime == Runtime::Tokio && other.connections == measured.connections;
        measured.tell(all.iter().find(tokio).filter(|_| measured.runtime != Runtime::Tokio), report);
    }
    Ok(())
}

fn list(askers: usize) -> Vec<Measured> {
    let compared = askers.min(COMPARED);
    let mut all = vec![Measured::new(Runtime::Tokio, askers, &[1, 100])];
    if compared < askers {
        all.push(Measured::new(Runtime::Tokio, compared, &[1]));
    }
    all.extend([Runtime::Smol, Runtime::Threads].map(|runtime| Measured::new(runtime, compared, &[1])));
    all
}

impl Measured {
    /// So many ask one question at a time; and then as much as goes, in bursts as the relay has them.
    fn new(runtime: Runtime, connections: usize, asking: &[usize]) -> Self {
        let name = format!("query/{connections}{}", runtime.suffix());
        let single = asking.iter().map(|asking| QueryLoad { asking: *asking, burst: 1 });
        let loads = single.chain([QueryLoad { asking: connections.div_ceil(100), burst: 16 }]);
        Self { name, runtime, connections, loads: loads.map(|load| (load, Vec::new())).collect() }
    }

    fn ask(&mut self, plan: &Plan) -> Result<(), Problem> {
        let subject = Subject::library_anywhere(Library::Answering, self.runtime)?;
        let spec = QuerySpec {
            address: subject.address,
            server: subject.process.id(),
            connections: self.connections,
            loads: self.loads.iter().map(|(load, _)| *load).collect(),
            body: BODY,
            warm_up: plan.warm_up,
            measure: plan.measure,
        };
        let outcomes: Vec<QueryOutcome> = load_anywhere("load-queries", &spec)?;
        for ((QueryLoad { asking, burst }, seen), outcome) in self.loads.iter_mut().zip(outcomes) {
            eprintln!(
                "  {asking} asking {burst}: {:.0} queries/s, p50 {:.0} us, p99 {:.0} us, server {:.2} us each, load {:.2} us",
                outcome.rate,
                outcome.p50,
                outcome.p99,
                outcome.server_cpu_us(),
                outcome.load_cpu_us(),
            );
            seen.push(outcome);
        }
        Ok(())
    }

    /// Answers a second under this load.
    fn rate(&self, load: QueryLoad) -> Option<f64> {
        let (_, seen) = self.loads.iter().find(|(known, _)| *known == load)?;
        Some(middle(seen, |outcome| outcome.rate))
    }

    fn tell(&self, beside: Option<&Self>, report: &mut Report) {
        for (at, (load, seen)) in self.loads.iter().enumerate() {
            let QueryLoad { asking, burst } = load;
            let largest = at + 1 == self.loads.len();
            let name = if largest { self.name.clone() } else { format!("{}/open-{asking}", self.name) };
            let (server, own) = (middle(seen, QueryOutcome::server_cpu_us), middle(seen, QueryOutcome::load_cpu_us));
            let row = Row::new(&name, middle(seen, |outcome| outcome.rate), "queries/s").costing(server);
            report.results.push(match beside.and_then(|other| other.rate(*load)) {
                Some(rate) => row.beside(rate),
                None => row,
            });
            for (part, wait) in [
                ("p50", middle(seen, |outcome| outcome.p50)),
                ("p99", middle(seen, |outcome| outcome.p99)),
                ("p99.9", middle(seen, |outcome| outcome.p999)),
            ] {
                report.results.push(Row::new(format!("{name}/{part}"), wait, "us"));
            }
            if largest {
                report.notes.push(format!(
                    "{name}: {asking} connections at a time have {burst} queries open each; {server:.2} us of the server's processor and \
                     {own:.2} us of the generator's for each"
                ));
                if own > server {
                    report.invalid.push(format!("{name}: the generator used more processor time than the server"));
                }
            }
        }
    }
}

fn middle(seen: &[QueryOutcome], what: impl Fn(&QueryOutcome) -> f64) -> f64 {
    median(&seen.iter().map(what).collect::<Vec<_>>())
}
