//! The inputs of the fuzzer, for `cargo xtask fuzz`, and a way to run one without it.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks to its user")]

use std::{io, process::ExitCode};

use esf_tests::fuzz::{TARGETS, pack, target, unpack, write_seeds};

const HELP: &str = "\
  fuzz targets             print a line a target: its name and its longest input
  fuzz seeds               write fuzz/seeds and fuzz/dictionary.txt anew
  fuzz unpack TARGET DIR   write what is kept for a target into a folder, a file an input
  fuzz pack TARGET DIR     keep the inputs in a folder as the corpus of a target
  fuzz run TARGET FILE…    run inputs, as they are";

fn main() -> io::Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let known = |name: &str| target(name).ok_or_else(|| io::Error::other(format!("there is no target `{name}`")));
    match words.as_slice() {
        ["targets"] => TARGETS.iter().for_each(|target| println!("{} {}", target.name, target.max_len)),
        ["seeds"] => write_seeds()?,
        ["unpack", name, folder] => unpack(known(name)?, folder)?,
        ["pack", name, folder] => pack(known(name)?, folder)?,
        ["run", name, files @ ..] => {
            let body = known(name)?.body;
            for file in files {
                println!("{file}");
                body(&std::fs::read(file)?);
            }
        }
        _ => {
            eprintln!("{HELP}");
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}
