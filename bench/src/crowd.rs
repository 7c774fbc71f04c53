//! What goes to many: broadcasts, and presence.

pub mod inside;

use crate::{
    Plan, Problem,
    core_path::{CoreSpec, measure_core},
    limits::Limit,
    load::{BroadcastSpec, OthersOutcome, OthersSpec, Outcome},
    report::{Report, Row, median},
    subject::{Library, Runtime, Subject, load},
};
use inside::{BroadcastCost, Broadcasting, Meeting, MeetingCost};

/// Members of the group in process, and connections of the one over sockets: as many as a dynamic group has by default.
const MEMBERS: usize = 10_000;
const CONNECTIONS: usize = 1_000;
/// Copies that one run in process counts.
const COPIES: usize = 5_000_000;
const BODY: usize = 64;
const CONTACTS: usize = 100;
/// Seconds of a storm, on the clock of those in it.
const STORM: u64 = 10;

/// Broadcasts of 64 bytes: in process, and over sockets beside tungstenite.
///
/// # Errors
/// A server, the generator or the measuring process fails.
pub fn broadcast(plan: &Plan, report: &mut Report) -> Result<(), Problem> {
    inside_broadcast(plan, report)?;
    over_sockets(plan, report)?;
    others(plan, report)
}

fn inside_broadcast(plan: &Plan, report: &mut Report) -> Result<(), Problem> {
    let loads = [1, 16];
    let mut found: [Vec<BroadcastCost>; 2] = Default::default();
    for run in 0..plan.runs {
        for (together, found) in loads.into_iter().zip(&mut found) {
            let spec = Broadcasting { members: MEMBERS, broadcasts: COPIES / MEMBERS, together };
            let cost: BroadcastCost = measure_core(&CoreSpec::Broadcast(spec))?;
            eprintln!("run {} of {}: {spec:?}: {:.2} M/s", run + 1, plan.runs, rate(&cost) / 1e6);
            found.push(cost);
        }
    }
    for (together, found) in loads.into_iter().zip(&found) {
        let of = |what: fn(&BroadcastCost) -> f64| median(&found.iter().map(what).collect::<Vec<_>>());
        let name = format!("broadcast/in-process/{MEMBERS}/{together}");
        report.results.push(Row::new(&name, of(rate), "copies/s"));
        report.results.push(Row::new(format!("{name}/put"), of(|cost| each(cost, cost.put_ns)), "ns"));
        report.results.push(Row::new(format!("{name}/handed-out"), of(|cost| each(cost, cost.handed_out_ns)), "ns"));
        let allocations = of(|cost| each(cost, cost.allocations as f64));
        report.results.push(Row::new(format!("{name}/allocations"), allocations, "a copy"));
    }
    Ok(())
}

fn each(cost: &BroadcastCost, of: f64) -> f64 {
    of / cost.deliveries.max(1) as f64
}

fn rate(cost: &BroadcastCost) -> f64 {
    cost.deliveries as f64 * 1e9 / (cost.put_ns + cost.handed_out_ns)
}

fn over_sockets(plan: &Plan, report: &mut Report) -> Result<(), Problem> {
    let loads = [16, 1];
    let mut found: [[Vec<Outcome>; 2]; 2] = Default::default();
    for run in 0..plan.runs {
        for (in_flight, found) in loads.into_iter().zip(&mut found) {
            for (esf, found) in [false, true].into_iter().zip(found) {
                let subject = if esf { Subject::esf(plan)? } else { Subject::limit(Limit::TungsteniteBroadcast)? };
                let outcome: Outcome = load(
                    "load-broadcast",
                    &BroadcastSpec {
                        address: subject.address,
                        server: subject.process.id(),
                        esf,
                        connections: CONNECTIONS,
                        in_flight,
                        body: BODY,
                        warm_up: plan.warm_up,
                        measure: plan.measure,
                    },
                )?;
                eprintln!(
                    "run {} of {}: {}broadcast/{CONNECTIONS}/{in_flight} {:.0} copies/s, server {:.0} %, load {:.0} %",
                    run + 1,
                    plan.runs,
                    if esf { "" } else { "limit of " },
                    outcome.rate(),
                    outcome.server_cpu_ns as f64 / 1e7 / outcome.seconds,
                    outcome.load_cpu_ns as f64 / 1e7 / outcome.seconds,
                );
                found.push(outcome);
            }
        }
    }
    for (in_flight, [limit, esf]) in loads.into_iter().zip(&found) {
        let of = |found: &[Outcome], what: fn(&Outcome) -> f64| median(&found.iter().map(what).collect::<Vec<_>>());
        let (limit_rate, limit_cpu) = (of(limit, Outcome::rate), of(limit, Outcome::server_cpu_us));
        let (esf_rate, esf_cpu) = (of(esf, Outcome::rate), of(esf, Outcome::server_cpu_us));
        let name = format!("broadcast/{CONNECTIONS}/{in_flight}");
        report.results.push(Row::new(format!("{name}/tungstenite"), limit_rate, "copies/s").costing(limit_cpu));
        report.results.push(Row::new(&name, esf_rate, "copies/s").costing(esf_cpu).beside(limit_rate));
        let cost = |what: fn(&Outcome) -> u64| esf.iter().map(what).sum::<u64>();
        if cost(|outcome| outcome.load_cpu_ns) > cost(|outcome| outcome.server_cpu_ns) {
            report.invalid.push(format!("{name}: the generator's core was the busier one"));
        }
    }
    Ok(())
}

/// What two others notice of broadcasts.
fn others(plan: &Plan, report: &mut Report) -> Result<(), Problem> {
    let mut found: [Vec<OthersOutcome>; 2] = Default::default();
    for run in 0..plan.runs {
        for (broadcasts, found) in [false, true].into_iter().zip(&mut found) {
            let subject = Subject::library(Library::Grouping, Runtime::Tokio)?;
            let outcome: OthersOutcome = load(
                "load-others",
                &OthersSpec {
                    address: subject.address,
                    members: MEMBERS,
                    broadcasts,
                    body: BODY,
                    warm_up: plan.warm_up,
                    measure: plan.measure * 2,
                },
            )?;
            eprintln!("run {} of {}: broadcasts: {broadcasts}: {outcome:?}", run + 1, plan.runs);
            found.push(outcome);
        }
    }
    let [quiet, during] = &found;
    let of =
        |found: &[OthersOutcome], what: fn(&OthersOutcome) -> f64| median(&found.iter().map(what).collect::<Vec<_>>());
    let name = format!("broadcast/{MEMBERS}/others");
    let quiet_p99 = of(quiet, |outcome| outcome.p99);
    report.results.push(Row::new(format!("{name}/quiet-p99"), quiet_p99, "us"));
    report.results.push(Row::new(format!("{name}/p99"), of(during, |outcome| outcome.p99), "us").beside(quiet_p99));
    report.results.push(Row::new(format!("{name}/p50"), of(during, |outcome| outcome.p50), "us"));
    report.results.push(Row::new(
        format!("broadcast/{MEMBERS}/until-all"),
        of(during, |outcome| outcome.each_ms),
        "ms",
    ));
    Ok(())
}

/// Logins of people with contacts, what they hear of each other, and what they hold.
///
/// # Errors
/// The measuring process fails.
pub fn presence(plan: &Plan, report: &mut Report) -> Result<(), Problem> {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for run in 0..plan.runs {
        for (contacts, storm, found) in [(CONTACTS, STORM, &mut with), (0, 0, &mut without)] {
            let spec = Meeting { users: plan.users, contacts, storm };
            let cost: MeetingCost = measure_core(&CoreSpec::Presence(spec))?;
            eprintln!("run {} of {}: {spec:?}: {cost:?}", run + 1, plan.runs);
            found.push(cost);
        }
    }
    let of = |found: &[MeetingCost], what: fn(&MeetingCost) -> f64| median(&found.iter().map(what).collect::<Vec<_>>());
    let name = format!("presence/{}/{CONTACTS}", plan.users);
    let bytes = of(&with, |cost| cost.bytes);
    report.results.push(Row::new(format!("{name}/login"), of(&with, |cost| cost.login_seconds), "s"));
    report.results.push(Row::new(format!("{name}/heap"), bytes, "bytes"));
    let more = bytes - of(&without, |cost| cost.bytes);
    report.results.push(Row::new(format!("{name}/heap-of-contacts"), more, "bytes"));
    let most = with.iter().map(|cost| cost.most).max().unwrap_or_default();
    report.results.push(Row::new(format!("{name}/storm"), most as f64, "a second"));
    let flaps = of(&with, |cost| cost.flaps as f64 / cost.storm_seconds);
    report.results.push(Row::new(format!("{name}/storm/logins"), flaps, "logins/s"));
    let updates = of(&with, |cost| cost.storm_updates as f64 / cost.storm_seconds);
    report.results.push(Row::new(format!("{name}/storm/updates"), updates, "updates/s"));
    Ok(())
}
