//! A server whose disk is full, for real: its data directory is a file system of 2 MiB.
//!
//! That takes `unshare` with a user namespace. Where it cannot be had, the test is skipped, by its name, as one that is
//! ignored; the harness cannot say that, so this program speaks its language.
#![expect(clippy::print_stdout, reason = "its lines are those of a test program")]

mod full;
mod server;

use std::{panic::catch_unwind, process::ExitCode};

const NAME: &str = "a_full_disk_fails_whoever_stores_and_nobody_else_and_is_over_when_there_is_room";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| words.iter().any(|other| other == word);
    let filters: Vec<&String> = words.iter().filter(|word| !word.starts_with('-') && *word != "terse").collect();
    let exact =
        |filter: &&String| if has("--exact") { filter.as_str() == NAME } else { NAME.contains(filter.as_str()) };
    let runs = !has("--ignored") && (filters.is_empty() || filters.iter().any(exact));
    if has("--list") {
        if runs {
            println!("{NAME}: test");
        }
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} test{}", usize::from(runs), if runs { "" } else { "s" });
    let (mut passed, mut failed, mut ignored) = (0, 0, 0);
    if runs {
        match server::cannot_mount() {
            Some(reason) => {
                println!("test {NAME} ... ignored, {reason}");
                ignored = 1;
            }
            None if catch_unwind(full::run).is_ok() => {
                println!("test {NAME} ... ok");
                passed = 1;
            }
            None => {
                println!("test {NAME} ... FAILED");
                failed = 1;
            }
        }
    }
    let result = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {result}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; 0 filtered out\n"
    );
    ExitCode::from(u8::from(failed > 0))
}
