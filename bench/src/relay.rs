//! From one client to another over loopback, beside what the machine allows.

use crate::{
    Plan, Problem,
    limits::Limit,
    load::{Outcome, Spec, Talk},
    peers::{self, Peer},
    report::{Report, Row, median},
    subject::{Library, Runtime, Subject, load},
};

/// tungstenite has to reach this part of raw TCP with small messages, or something is wrong with the run. With large
/// ones it is its small buffers that bound it.
const HONEST: f64 = 0.4;
const SMALL: usize = 64;
/// Where neither side has had this part of its core, somebody else had it: both are never idle together.
const ALONE: f64 = 0.8;
/// So many times the pairs is what threads are measured with once more: 1,000 connections, as `cargo xtask bench` has it.
const MORE: usize = 5;

/// One thing that is measured.
struct Measured {
    name: String,
    server: Server,
    talk: Talk,
    body: usize,
    in_flight: usize,
    /// Half as many as there are connections.
    pairs: usize,
    outcomes: Vec<Outcome>,
}

#[derive(Debug, Clone)]
enum Server {
    Esf,
    Library(Library, Runtime),
    Limit(Limit),
    Peer(Peer),
}

/// Measures all, interleaved: a run of each, then the next run.
///
/// # Errors
/// A server or the generator fails.
pub fn run(plan: &Plan, report: &mut Report) -> Result<(), Problem> {
    let peers = if plan.peers { peers::prepare(&mut report.not_run) } else { Vec::new() };
    let mut all = list(plan, &peers);
    for run in 0..plan.runs {
        for measured in &mut all {
            let outcome = measure(plan, measured).map_err(|problem| format!("{}: {problem}", measured.name))?;
            eprintln!(
                "run {} of {}: {} {:.0} msg/s, server {:.0} %, load {:.0} %",
                run + 1,
                plan.runs,
                measured.name,
                outcome.rate(),
                outcome.server_cpu_ns as f64 / 1e7 / outcome.seconds,
                outcome.load_cpu_ns as f64 / 1e7 / outcome.seconds,
            );
            measured.outcomes.push(outcome);
        }
    }
    all.iter().for_each(|measured| report.results.push(measured.row(&all)));
    judge(&all, report);
    Ok(())
}

fn list(plan: &Plan, peers: &[Peer]) -> Vec<Measured> {
    let mut all = Vec::new();
    for (size, body, in_flight) in [("64B", SMALL, 16), ("1KiB", 1024, 16), ("64B", SMALL, 1)] {
        let name = |what: &str| format!("{what}/{size}/{in_flight}");
        let mut add = |name: String, server, talk, pairs| {
            all.push(Measured { name, server, talk, body, in_flight, pairs, outcomes: Vec::new() });
        };
        add(name("limit/raw-echo"), Server::Limit(Limit::RawEcho), Talk::RawEcho, plan.pairs);
        add(name("limit/raw-relay"), Server::Limit(Limit::RawRelay), Talk::RawRelay, plan.pairs);
        add(name("limit/tungstenite"), Server::Limit(Limit::Tungstenite), Talk::WebSocketEcho, plan.pairs);
        let ours = name("relay");
        add(ours.clone(), Server::Esf, Talk::Esf, plan.pairs);
        if in_flight > 1 {
            let coalescing = Server::Library(Library::Coalescing, Runtime::Tokio);
            add(format!("{ours}/coalesced"), coalescing, Talk::EsfCoalesced, plan.pairs);
        }
        if body == SMALL && in_flight > 1 {
            let on = |runtime| Server::Library(Library::Plain, runtime);
            let more = plan.pairs * MORE;
            add(format!("{ours}/smol"), on(Runtime::Smol), Talk::Esf, plan.pairs);
            add(format!("{ours}/threads"), on(Runtime::Threads), Talk::Esf, plan.pairs);
            add(format!("{ours}/threads/{}", more * 2), on(Runtime::Threads), Talk::Esf, more);
        }
        for peer in peers {
            add(name(&format!("peer/{}", peer.name)), Server::Peer(peer.clone()), peer.talk, plan.pairs);
        }
    }
    all
}

fn measure(plan: &Plan, measured: &Measured) -> Result<Outcome, Problem> {
    let subject = match &measured.server {
        Server::Esf => Subject::esf(plan)?,
        Server::Library(kind, runtime) => Subject::library(*kind, *runtime)?,
        Server::Limit(limit) => Subject::limit(*limit)?,
        Server::Peer(peer) => peer.start()?,
    };
    load(
        "load",
        &Spec {
            address: subject.address,
            server: subject.process.id(),
            talk: measured.talk,
            pairs: measured.pairs,
            in_flight: measured.in_flight,
            body: measured.body,
            warm_up: plan.warm_up,
            measure: plan.measure,
        },
    )
}

impl Measured {
    fn rate(&self) -> f64 {
        median(&self.outcomes.iter().map(Outcome::rate).collect::<Vec<_>>())
    }

    fn cpu(&self) -> f64 {
        median(&self.outcomes.iter().map(Outcome::server_cpu_us).collect::<Vec<_>>())
    }

    /// Beside tungstenite's echo, which itself stands beside raw TCP.
    fn row(&self, all: &[Self]) -> Row {
        let row = Row::new(&self.name, self.rate(), "msg/s").costing(self.cpu());
        let limit = match &self.server {
            Server::Esf | Server::Library(..) | Server::Peer(_) => "limit/tungstenite",
            Server::Limit(Limit::Tungstenite) => "limit/raw-echo",
            Server::Limit(_) => return row,
        };
        match self.like(all, limit) {
            Some(limit) => row.beside(limit.rate()),
            None => row,
        }
    }

    /// What was measured of `what` with the same messages.
    fn like<'a>(&self, all: &'a [Self], what: &str) -> Option<&'a Self> {
        let same = |other: &&Self| (other.body, other.in_flight) == (self.body, self.in_flight);
        all.iter().filter(same).find(|other| other.name.starts_with(what))
    }
}

/// Says why the run cannot be used, if there is a reason.
fn judge(all: &[Measured], report: &mut Report) {
    for measured in all {
        let cost = |of: fn(&Outcome) -> u64| measured.outcomes.iter().map(of).sum::<u64>();
        let (server, load) = (cost(|outcome| outcome.server_cpu_ns), cost(|outcome| outcome.load_cpu_ns));
        let time: f64 = measured.outcomes.iter().map(|outcome| outcome.seconds * 1e9).sum();
        if (server as f64) < time * ALONE && (load as f64) < time * ALONE {
            let part = server as f64 / time * 100.0;
            report
                .notes
                .push(format!("{}: the server had {part:.0} % of its core, others had the rest", measured.name));
        }
        if load > server {
            let said = format!(
                "{}: the generator's core was the busier one ({:.0} ms against {:.0} ms of the server)",
                measured.name,
                load as f64 / 1e6,
                server as f64 / 1e6
            );
            // Raw TCP costs both sides the same; a generator at its own limit makes it look slower than it is.
            // A peer that is faster than the generator counts with what was seen.
            let ours = measured.name.starts_with("relay") || measured.name.starts_with("limit/tungstenite");
            if ours { &mut report.invalid } else { &mut report.notes }.push(said);
        }
        if matches!(measured.server, Server::Limit(Limit::Tungstenite)) {
            let raw = measured.like(all, "limit/raw-echo").filter(|_| measured.body == SMALL);
            let part = raw.map_or(1.0, |raw| measured.rate() / raw.rate());
            if part < HONEST {
                report.invalid.push(format!("{} is {part:.2} of raw TCP, under {HONEST}", measured.name));
            }
        }
    }
}
