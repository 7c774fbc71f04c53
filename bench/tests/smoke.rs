//! Each bench runs, for a moment and with few of everything: that its numbers exist, not what they are.
//!
//! The exit code is not looked at: on a busy machine a run that short may be invalid, and says so.

use std::{collections::BTreeSet, path::PathBuf, process::Command};

use esf_bench::report::{Report, Row};

fn run(bench: &str, names: &[&str]) {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{bench}.json"));
    // What an earlier run left must not be taken for this one's.
    let _ = std::fs::remove_file(&file);
    let told = Command::new(env!("CARGO_BIN_EXE_esf-bench"))
        .args(["run", bench, "--runs", "1", "--seconds", "0.1", "--pairs", "3", "--idle", "3", "--rest", "0.1"])
        .args([
            "--askers",
            "20",
            "--users",
            "40",
            "--messages",
            "640",
            "--clients",
            "5",
            "--large-blob",
            "1000000",
            "--no-instructions",
            "--json",
        ])
        .arg(&file)
        .output()
        .unwrap();
    let json = std::fs::read(&file).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&told.stderr)));
    let report: Report = serde_json::from_slice(&json).unwrap();
    let found: BTreeSet<&str> = report.results.iter().map(|row| row.name.as_str()).collect();
    for name in names {
        assert!(found.contains(name), "{bench} has no {name}: {found:?}");
    }
    assert!(report.results.iter().all(|row| row.value.is_finite()), "{report:?}");
    let other = |row: &&Row| row.unit.ends_with("/s") && (row.name.contains("/smol") || row.name.contains("/threads"));
    assert!(report.results.iter().filter(other).all(|row| row.ratio.is_some_and(|ratio| ratio > 0.0)), "{report:?}");
    if bench == "relay" || bench == "query" {
        let rates = report.results.iter().filter(|row| row.unit.ends_with("/s"));
        assert!(rates.clone().count() > 0 && rates.into_iter().all(|row| row.value > 0.0), "{report:?}");
    }
}

#[test]
fn the_core_is_measured() {
    run("micro", &["micro/core", "micro/core/allocations", "micro/hub/2-threads"]);
}

#[test]
fn the_relay_is_measured_beside_its_limits() {
    let names = ["limit/raw-echo/64B/16", "limit/tungstenite/64B/16", "relay/64B/16", "relay/64B/16/coalesced"];
    let runtimes = ["relay/64B/16/smol", "relay/64B/16/threads", "relay/64B/16/threads/30"];
    run("relay", &[&names[..], &runtimes, &["relay/1KiB/16", "relay/64B/1"]].concat());
}

#[test]
fn queries_are_measured() {
    let waits = ["query/20/p50", "query/20/p99", "query/20/p99.9", "query/20/open-100"];
    let runtimes = ["query/20/smol", "query/20/smol/open-1", "query/20/threads", "query/20/threads/p99"];
    run("query", &[&["query/20"], &waits[..], &runtimes].concat());
}

#[test]
fn idle_connections_are_measured() {
    run("idle", &["idle/64B", "idle/64KiB"]);
}

#[test]
fn a_storm_is_measured() {
    run("storm", &["storm/open/5"]);
}

/// Without the `esf` binary there is no store on a disk, and the report says so.
#[test]
fn stored_messages_are_measured() {
    run("stored", &["stored/memory/1000", "stored/memory/1000/p99", "stored/memory/1"]);
}

#[test]
fn blobs_are_measured() {
    run(
        "blob",
        &[
            "blob/raw-relay",
            "blob/throughput",
            "blob/resident-1000000B-above-100MB",
            "blob/same-connection-p99",
            "blob/link-p99-above-quiet",
        ],
    );
}

#[test]
fn a_soak_tells_how_memory_goes_and_that_nobody_was_let_down() {
    let told = Command::new(env!("CARGO_BIN_EXE_esf-bench")).args(["soak", "--minutes", "0.05"]).output().unwrap();
    let text = String::from_utf8_lossy(&told.stdout);
    assert!(told.status.success(), "{text}{}", String::from_utf8_lossy(&told.stderr));
    assert!(text.contains("each once and in order") && text.contains("too short to say"), "{text}");
}
