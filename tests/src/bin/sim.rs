//! `cargo xtask sim`: runs the simulator over many seeds.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks to its user")]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

#[cfg(feature = "broken")]
use esf_proto::broken::Broken;
use esf_tests::sim::{
    faults::FAULTS,
    report::{Options, Report},
    run,
};

const HELP: &str = "\
Runs simulated worlds, one a seed, and checks every invariant after each step.

  --seeds N        how many seeds (100)
  --seed S         the first of them (1)
  --trace          run one seed only and print everything that happens in it
  --frames         frames alone pass over the lines, in whole messages (so it is unless the next is said)
  --websocket      the bytes of a real WebSocket pass, torn anywhere
  --jobs N         seeds at the same time (as many as there are processors)
  --without FAULT  leave a kind of fault out; may be said several times
  --faults         print the kinds of fault
  --broken NAME    with a fault in the core (with the feature `broken` only)
";

/// Lines of a trace that are shown before a violation.
const SHOWN: usize = 60;

/// Seeds that are looked into; of the others a line is shown.
const EXPLAINED: u64 = 5;

struct Arguments {
    /// A fault in the core.
    #[cfg(feature = "broken")]
    broken: Option<Broken>,
    first: u64,
    seeds: u64,
    jobs: usize,
    options: Options,
}

impl Arguments {
    /// Gives the machines of this thread the fault that was asked for.
    fn break_the_core(&self) {
        #[cfg(feature = "broken")]
        esf_proto::broken::set(self.broken);
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--faults") {
        FAULTS.iter().for_each(|fault| println!("{:>3} % of seeds  {}", fault.percent, fault.name));
        return ExitCode::SUCCESS;
    }
    match arguments(&words) {
        Ok(arguments) if arguments.options.trace => trace(&arguments),
        Ok(arguments) => many(&arguments),
        Err(problem) => {
            eprintln!("{problem}\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

fn arguments(words: &[String]) -> Result<Arguments, String> {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let mut arguments = Arguments {
        #[cfg(feature = "broken")]
        broken: None,
        first: 1,
        seeds: 100,
        jobs,
        options: Options::default(),
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("`{word}` needs a value"));
        let number = |text: &String| text.parse::<u64>().map_err(|_| format!("`{text}` is not a number"));
        match word.as_str() {
            "--seeds" => arguments.seeds = number(value()?)?,
            "--seed" => arguments.first = number(value()?)?,
            "--jobs" => arguments.jobs = usize::try_from(number(value()?)?).unwrap_or(1).max(1),
            "--websocket" => arguments.options.websocket = true,
            "--frames" => arguments.options.websocket = false,
            "--trace" => arguments.options.trace = true,
            "--without" => arguments.options.left_out.push(value()?.clone()),
            #[cfg(feature = "broken")]
            "--broken" => {
                let name = value()?;
                let named = |broken: &&Broken| format!("{broken:?}") == *name;
                let known = Broken::ALL.iter().find(named).ok_or_else(|| format!("`{name}` is no fault"))?;
                arguments.broken = Some(*known);
            }
            _ => return Err(format!("`{word}` is not an option")),
        }
    }
    Ok(arguments)
}

/// One seed, with everything that happens.
fn trace(arguments: &Arguments) -> ExitCode {
    arguments.break_the_core();
    let Ok(report) = catch_unwind(|| run(arguments.first, &arguments.options)) else { return ExitCode::FAILURE };
    report.lines.iter().for_each(|line| println!("{line}"));
    println!("\nfaults: {}", report.faults.join(", "));
    println!("hash of the trace: {:016x}", report.hash);
    match report.violation {
        Some(violation) => {
            println!("violation {violation}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

#[derive(Default)]
struct Sum {
    calls: AtomicU64,
    simulated_ms: AtomicU64,
    seeds: AtomicU64,
    sent: AtomicU64,
    cuts: AtomicU64,
    failed: AtomicU64,
    stop: AtomicBool,
    shown: Mutex<()>,
}

fn many(arguments: &Arguments) -> ExitCode {
    let sum = Sum::default();
    let next = AtomicU64::new(arguments.first);
    let end = arguments.first + arguments.seeds;
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs {
            scope.spawn(|| {
                arguments.break_the_core();
                while !sum.stop.load(Relaxed) {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= end {
                        break;
                    }
                    one(seed, &arguments.options, &sum);
                }
            });
        }
    });
    summary(&sum, arguments.jobs, began.elapsed())
}

fn one(seed: u64, options: &Options, sum: &Sum) {
    sum.seeds.fetch_add(1, Relaxed);
    let Ok(report) = catch_unwind(AssertUnwindSafe(|| run(seed, options))) else {
        sum.failed.fetch_add(1, Relaxed);
        let form = if options.websocket { " --websocket" } else { "" };
        println!("seed {seed}: a machine panicked\n  cargo xtask sim --seed {seed} --trace{form}");
        return;
    };
    sum.calls.fetch_add(report.calls, Relaxed);
    sum.simulated_ms.fetch_add(u64::try_from(report.simulated.as_millis()).unwrap_or(0), Relaxed);
    sum.sent.fetch_add(report.sent as u64, Relaxed);
    sum.cuts.fetch_add(report.cuts, Relaxed);
    let Some(violation) = &report.violation else { return };
    let shown = sum.failed.fetch_add(1, Relaxed);
    let _one_at_a_time = sum.shown.lock().unwrap_or_else(PoisonError::into_inner);
    if shown < EXPLAINED {
        explain(&report, options);
    } else {
        println!("\nseed {seed}: violation {violation}");
    }
}

/// What went wrong, with as few faults as show it, and how to see it again.
fn explain(report: &Report, options: &Options) {
    let Some(violation) = &report.violation else { return };
    let seed = report.seed;
    let same = |left_out: &Vec<String>| {
        let options = Options { left_out: left_out.clone(), ..options.clone() };
        let again = catch_unwind(|| run(seed, &options)).ok()?.violation?;
        (again.invariant == violation.invariant).then_some(())
    };
    let mut left_out = options.left_out.clone();
    for fault in &report.faults {
        left_out.push((*fault).to_owned());
        if same(&left_out).is_none() {
            left_out.pop();
        }
    }
    let options = Options { trace: true, left_out: left_out.clone(), ..options.clone() };
    let Ok(shown) = catch_unwind(|| run(seed, &options)) else { return };
    let form = if options.websocket { " --websocket" } else { "" };
    let without: String = left_out.iter().map(|fault| format!(" --without '{fault}'")).collect();
    println!("\nseed {seed}: violation {violation}");
    println!("the faults that it takes: {}", shown.faults.join(", "));
    let from = shown.lines.len().saturating_sub(SHOWN);
    shown.lines[from..].iter().for_each(|line| println!("  {line}"));
    println!("see all of it:\n  cargo xtask sim --seed {seed} --trace{form}{without}");
}

fn summary(sum: &Sum, jobs: usize, took: Duration) -> ExitCode {
    let calls = sum.calls.load(Relaxed);
    let seconds = took.as_secs_f64();
    let failed = sum.failed.load(Relaxed);
    let simulated = sum.simulated_ms.load(Relaxed) as f64 / 1_000.0;
    println!(
        "{} seeds, {failed} with a violation; {} messages, {} cuts; in {seconds:.1} s, {jobs} at a time: {simulated:.0} simulated s, {:.0} s/s, \
         {calls} handle_* calls, {:.0} calls/s",
        sum.seeds.load(Relaxed),
        sum.sent.load(Relaxed),
        sum.cuts.load(Relaxed),
        simulated / seconds.max(0.001),
        calls as f64 / seconds.max(0.001),
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
