//! The project's own chores: `cargo xtask help` lists them.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks to its user")]

mod bench;
mod coverage;
mod features;
mod fuzz;
mod kill_loop;
mod libtest;
mod mutants;
mod protocol;
mod rules;
mod sim;
mod suite;
mod toolchains;
mod trees;
mod workspace;

use std::process::ExitCode;

use features::Verdict;
use rules::Rules;
use suite::Run;
use workspace::Workspace;

/// What a chore says went wrong, in words for the person who ran it.
type Problem = Box<dyn std::error::Error>;

const HELP: &str = "\
The chores of the project:

  cargo xtask test                   run every test of the workspace, then check tests/features.toml
  cargo xtask features               check tests/features.toml without running the tests
  cargo xtask features --list-tests  print the name of every test, as tests/features.toml writes it
  cargo xtask features --missing     print a row for each rule of docs/PROTOCOL.md that has none
  cargo xtask protocol               write the state machines into docs/PROTOCOL.md, as the code has them
  cargo xtask bench [WHAT]           measure micro, relay, query, idle, blob, storm, broadcast,
                                     presence, stored or all, beside the machine's limits
                                     (--json FILE, --peers, --runs N, --write, --help)
  cargo xtask soak [--minutes N]     treat a server badly for a long time: its memory must plateau, and nobody else notice
  cargo xtask killloop [--times N]   kill -9 the server while people write to each other and to those who come and go, 100 times or N:
                                     nothing that was answered or stored is lost
  cargo xtask bench page FILE…       write the tables and the plot of docs/PERFORMANCE.md from what --json wrote
  cargo xtask fuzz [--minutes N] [TARGET…]  fuzz each target, two at a time, for 10 minutes or N
  cargo xtask fuzz --keep [TARGET…]  put the least of what was found that reaches all of it into fuzz/corpus
  cargo xtask fuzz --seeds           write fuzz/seeds and fuzz/dictionary.txt, as the vectors and tables have them
  cargo xtask coverage [--fuzz]      list the lines of esf-proto that no test runs, or that no input of the fuzzer reaches
  cargo xtask sim [--seeds N]        run simulated worlds with faults, and check what must hold after each step
                                     (--seed S --trace, --websocket, --without FAULT, --faults, --jobs N)
  cargo xtask miri [FILTER]          run the unit tests of the core in an interpreter that sees undefined behaviour
  cargo xtask mutants [K/N]          change sessions and hub in small ways, or in part K of N of them, and name what no test notices
  cargo xtask msrv                   check the library crates with the oldest Rust that they promise
  cargo xtask no-std                 check the protocol core for a target that has no std
  cargo xtask trees                  check that no adapter depends on a runtime that is not its own
  cargo xtask help                   this text

Exit code: 0 done, 1 failed, 2 not a chore, or a bench whose numbers must not be used, 3 skipped (a toolchain or target that cannot be had here).
What CI runs is .ci/run, which calls these.
";

/// How a chore ended.
enum End {
    Done,
    Failed,
    /// Measured, but not to be used; it has said why.
    Invalid,
    Skipped(String),
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let end = match words.as_slice() {
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(End::Done)
        }
        ["test"] => test(),
        ["features"] => features(),
        ["features", "--list-tests"] => list_tests(),
        ["features", "--missing"] => missing_rows(),
        ["protocol"] => Workspace::load().and_then(|workspace| protocol::write(&workspace)),
        ["fuzz", words @ ..] => Workspace::load().and_then(|workspace| fuzz::run(&workspace, words)),
        ["coverage", words @ ..] => Workspace::load().and_then(|workspace| coverage::run(&workspace, words)),
        ["soak", words @ ..] => Workspace::load().and_then(|workspace| bench::soak(&workspace, words)),
        ["bench", words @ ..] => Workspace::load().and_then(|workspace| bench::run(&workspace, words)),
        ["killloop", words @ ..] => Workspace::load().and_then(|workspace| kill_loop::run(&workspace, words)),
        ["sim", words @ ..] => Workspace::load().and_then(|workspace| sim::run(&workspace, words)),
        ["miri", words @ ..] => Workspace::load().and_then(|workspace| toolchains::miri(&workspace, words)),
        ["mutants", words @ ..] => Workspace::load().and_then(|workspace| mutants::run(&workspace, words)),
        ["msrv"] => Workspace::load().and_then(|workspace| toolchains::msrv(&workspace)),
        ["no-std"] => Workspace::load().and_then(|workspace| toolchains::no_std(&workspace)),
        ["trees"] => Workspace::load().and_then(|workspace| trees::check(&workspace)),
        _ => {
            eprintln!("`{}` is not a chore of this project; the chores are:\n\n{HELP}", words.join(" "));
            return ExitCode::from(2);
        }
    };
    match end {
        Ok(End::Done) => ExitCode::SUCCESS,
        Ok(End::Failed) => ExitCode::FAILURE,
        Ok(End::Invalid) => ExitCode::from(2),
        Ok(End::Skipped(reason)) => {
            println!("skipped: {reason}");
            ExitCode::from(3)
        }
        Err(problem) => {
            eprintln!("xtask: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Runs everything and closes with the one line that says how it went.
fn test() -> Result<End, Problem> {
    let workspace = Workspace::load()?;
    let run =
        suite::run(&workspace).unwrap_or_else(|problem| Run { broken: vec![problem.to_string()], ..Run::default() });
    let verdict = verdict(&workspace, &run);

    print_verdict(&verdict);
    print_names("tests that are ignored", &run.ignored());
    print_names("tests that failed", &run.failed());
    print_names("test programs that did not do what they should", &run.broken);
    println!("tests run: {}", run.outcomes.len());

    let failed = run.failed().len() + run.broken.len() + verdict.problems.len();
    println!("{}", closing_line(&run, failed));
    Ok(if failed == 0 { End::Done } else { End::Failed })
}

fn features() -> Result<End, Problem> {
    let workspace = Workspace::load()?;
    let run = suite::list(&workspace)?;
    let verdict = verdict(&workspace, &run);
    print_verdict(&verdict);
    println!("tests known: {} (not run)", run.outcomes.len());
    Ok(if verdict.problems.is_empty() { End::Done } else { End::Failed })
}

/// The verdict on tests/features.toml; a file that cannot be read is a problem like any other.
fn verdict(workspace: &Workspace, run: &Run) -> Verdict {
    let mut unread = Vec::new();
    let rules = rules::load(&workspace.root).unwrap_or_else(|problem| {
        unread.push(problem.to_string());
        Rules::default()
    });
    let rows = features::load(&workspace.root).unwrap_or_else(|problem| {
        unread.push(problem.to_string());
        Vec::new()
    });
    let mut verdict = features::check(&rows, &rules, &run.outcomes);
    // The tests of xtask speak of rules that nobody states.
    for package in workspace.packages.iter().filter(|package| package.name != env!("CARGO_PKG_NAME")) {
        match rules::cited(package.folder()) {
            Ok(cited) => verdict.problems.extend(rules.judge(&cited)),
            Err(problem) => unread.push(format!("{}: {problem}", package.folder().display())),
        }
    }
    verdict.problems.extend(unread);
    verdict
}

fn list_tests() -> Result<End, Problem> {
    for name in suite::list(&Workspace::load()?)?.outcomes.keys() {
        println!("    \"{name}\",");
    }
    Ok(End::Done)
}

fn missing_rows() -> Result<End, Problem> {
    let root = Workspace::load()?.root;
    print!("{}", features::missing_rows(&features::load(&root)?, &rules::load(&root)?));
    Ok(End::Done)
}

fn print_verdict(verdict: &Verdict) {
    println!("\ntests/features.toml");
    print_names("rows that later work brings", &verdict.later);
    print_names("problems", &verdict.problems);
    println!("rows proven: {}", verdict.proven);
    println!("rows later: {}", verdict.later.len());
}

fn print_names(title: &str, names: &[String]) {
    if !names.is_empty() {
        println!("{title}: {}", names.len());
        for name in names {
            println!("  {name}");
        }
    }
}

/// A test that is ignored is neither passed nor failed, so it is told apart where there is one.
fn closing_line(run: &Run, failed: usize) -> String {
    let passed = run.passed();
    match run.ignored().len() {
        0 => format!("{passed} passed, {failed} failed"),
        skipped => format!("{passed} passed, {failed} failed, {skipped} skipped"),
    }
}
