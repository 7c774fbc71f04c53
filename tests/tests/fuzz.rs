//! What the fuzzer found and what it begins with, on a stable compiler: every input that is kept runs through its target.

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
};

use esf_tests::fuzz::{Corpus, TARGETS, dictionary, dictionary_file, seeds, seeds_file, target};

fn replay(name: &str) {
    let target = target(name).expect("a target");
    let kept = Corpus::of(target).expect("the corpus").0;
    let begins_with = seeds(name).0.len();
    assert!(kept.len() >= begins_with && begins_with > 0, "{} inputs are kept of {name}", kept.len());
    for (input, bytes) in kept {
        let ran = catch_unwind(AssertUnwindSafe(|| (target.body)(&bytes)));
        assert!(ran.is_ok(), "{name} failed with the input `{input}`; the reason is above");
    }
}

#[test]
fn wire_decode() {
    replay("wire_decode");
}

#[test]
fn wire_round_trip() {
    replay("wire_round_trip");
}

#[test]
fn client_inputs() {
    replay("client_inputs");
}

#[test]
fn server_inputs() {
    replay("server_inputs");
}

#[test]
fn hub_operations() {
    replay("hub_operations");
}

#[test]
fn resume_and_takeover() {
    replay("resume_and_takeover");
}

#[test]
fn pump() {
    replay("pump");
}

#[test]
fn model() {
    replay("model");
}

#[test]
fn no_input_and_the_longest_input_run_through_every_target() {
    for target in TARGETS {
        for byte in [None, Some(0), Some(1), Some(0x55), Some(0xFF)] {
            let input = byte.map_or(Vec::new(), |byte| vec![byte; target.max_len]);
            (target.body)(&input);
        }
    }
}

#[test]
fn seeds_and_dictionary_are_as_they_would_be_written() {
    let current = "`cargo xtask fuzz --seeds` writes it anew";
    for target in TARGETS {
        let file = seeds_file(target);
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(text == seeds(target.name).text(), "{} is not current; {current}", file.display());
    }
    let text = std::fs::read_to_string(dictionary_file()).unwrap_or_default();
    assert!(text == dictionary(), "{} is not current; {current}", dictionary_file().display());
}

/// Every target has its program, its test here, and nothing is kept of one that is none.
#[test]
fn every_target_is_fuzzed_and_replayed() {
    let names: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(names.len(), TARGETS.len());
    let stems = |folder: &str, suffix: &str| -> BTreeSet<String> {
        let folder = format!("{}/../fuzz/{folder}", env!("CARGO_MANIFEST_DIR"));
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        names.map(|name| name.trim_end_matches(suffix).to_owned()).collect()
    };
    assert_eq!(stems("fuzz_targets", ".rs"), names);
    assert_eq!(stems("seeds", ".txt"), names);
    for folder in ["corpus", "regressions"] {
        assert!(stems(folder, ".txt").is_subset(&names), "fuzz/{folder} keeps something of no target");
    }
    let manifest = include_str!("../../fuzz/Cargo.toml");
    let this_file = include_str!("fuzz.rs");
    for name in names {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} has no program");
        assert!(this_file.contains(&format!("    replay(\"{name}\");")), "{name} is not replayed");
    }
}
