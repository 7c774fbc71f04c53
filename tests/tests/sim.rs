//! The simulator keeps every promise on some seeds, gives the same trace for the same seed, and finds every fault that
//! is put into the core on purpose. `cargo xtask sim` runs many more seeds.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use esf_proto::broken::{self, Broken};
use esf_tests::sim::{
    faults::FAULTS,
    report::{Options, Report},
    run,
};

/// Seeds that every run of the tests simulates, with frames alone and over a WebSocket.
const SEEDS: u64 = 24;
const SEEDS_OVER_WEBSOCKET: u64 = 8;
/// Within so many seeds each fault in the core is found. The rarest shows in one of twenty.
const WITHIN: u64 = 60;

/// Does something for each number, on as many threads as there are processors, and gives what came of all.
fn for_each<T: Send>(numbers: std::ops::Range<u64>, act: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let next = AtomicU64::new(numbers.start);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let results = Mutex::new(Vec::new());
    let work = || {
        loop {
            let number = next.fetch_add(1, Relaxed);
            if number >= numbers.end {
                return;
            }
            let result = act(number);
            results.lock().unwrap_or_else(PoisonError::into_inner).push(result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// What a seed has to have had, whatever its faults.
fn is_long_enough(report: &Report) -> bool {
    report.simulated.as_secs() >= 60 && report.engines >= 5 && report.sent >= 200 && report.cuts >= 5
}

fn keeps_every_promise(seeds: u64, websocket: bool) -> Vec<Report> {
    let reports = for_each(1..seeds + 1, |seed| run(seed, &Options { websocket, ..Options::default() }));
    for report in &reports {
        let Report { seed, violation, .. } = report;
        let form = if websocket { " --websocket" } else { "" };
        assert!(violation.is_none(), "{violation:?}; see\n  cargo xtask sim --seed {seed} --trace{form}");
        assert!(is_long_enough(report), "too little happens with seed {seed}: {report:?}");
    }
    reports
}

#[test]
fn every_promise_is_kept_whatever_goes_wrong() {
    let reports = keeps_every_promise(SEEDS, false);
    for fault in FAULTS {
        assert!(reports.iter().any(|report| report.faults.contains(&fault.name)), "no seed has {}", fault.name);
    }
}

#[test]
fn every_promise_is_kept_over_a_websocket() {
    keeps_every_promise(SEEDS_OVER_WEBSOCKET, true);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for (seed, websocket) in [(1, false), (7, false), (3, true)] {
        let written = Options { trace: true, websocket, ..Options::default() };
        let (first, second) = (run(seed, &Options { websocket, ..Options::default() }), run(seed, &written));
        assert_eq!((first.hash, first.calls), (second.hash, second.calls), "seed {seed}");
    }
    assert_ne!(run(1, &Options::default()).hash, run(2, &Options::default()).hash);
}

#[test]
fn a_trace_can_be_read() {
    let report = run(1, &Options { trace: true, ..Options::default() });
    for words in ["LoginResult Fresh", "hears Acked", "is cut", "runs #"] {
        assert!(report.lines.iter().any(|line| line.contains(words)), "nothing says `{words}`");
    }
}

/// The first seed that finds a fault, and what it sees.
fn first_seed(broken: Broken) -> Option<(u64, String)> {
    broken::set(Some(broken));
    let found = (1..=WITHIN).find_map(|seed| {
        match catch_unwind(AssertUnwindSafe(|| run(seed, &Options::default()))) {
            Ok(report) => report.violation.map(|violation| (seed, violation.to_string())),
            // What a debug build asserts.
            Err(_) => Some((seed, "a machine panicked".to_owned())),
        }
    });
    broken::set(None);
    found
}

#[test]
#[expect(clippy::print_stdout, reason = "`--nocapture` shows which seed finds what")]
fn every_fault_in_the_core_is_found() {
    let count = Broken::ALL.len() as u64;
    let found = for_each(0..count, |at| {
        let broken = Broken::ALL[usize::try_from(at).unwrap_or_default()];
        (format!("{broken:?}"), first_seed(broken))
    });
    for (name, first) in &found {
        println!("{name:<20} {first:?}");
    }
    let missed: Vec<&String> = found.iter().filter(|(_, first)| first.is_none()).map(|(name, _)| name).collect();
    assert!(missed.is_empty(), "not found within {WITHIN} seeds: {missed:?}");
}
