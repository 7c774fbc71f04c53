use std::path::PathBuf;

use super::*;
use crate::workspace::Package;

#[test]
fn each_end_of_a_test_is_read() {
    let ended = |line| match read(line) {
        Some(Line::Ended(name, outcome)) => (name.to_owned(), outcome),
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(ended("test hub::tests::kick ... ok"), ("hub::tests::kick".into(), Outcome::Passed));
    assert_eq!(ended("test hub::tests::kick ... FAILED"), ("hub::tests::kick".into(), Outcome::Failed));
    assert_eq!(ended("test hub::tests::kick ... ignored"), ("hub::tests::kick".into(), Outcome::Ignored));
    assert_eq!(ended("test hub::tests::kick ... ignored, too slow"), ("hub::tests::kick".into(), Outcome::Ignored));
    assert_eq!(ended("test hub::tests::kick - should panic ... ok"), ("hub::tests::kick".into(), Outcome::Passed));
}

#[test]
fn the_number_of_tests_is_read() {
    assert_eq!(read("running 12 tests"), Some(Line::Running(12)));
    assert_eq!(read("running 1 test"), Some(Line::Running(1)));
}

#[test]
fn other_lines_are_no_news() {
    for line in [
        "",
        "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.02s",
        "test hub::tests::kick has been running for over 60 seconds",
        "test hub::tests::kick ... bench:          10 ns/iter (+/- 1)",
        "running late",
        "a test ... ok",
    ] {
        assert_eq!(read(line), None, "{line}");
    }
}

#[test]
fn a_listed_test_is_read() {
    assert_eq!(read_listed("hub::tests::kick: test"), Some("hub::tests::kick"));
    assert_eq!(read_listed("hub::tests::fan_out: benchmark"), None);
    assert_eq!(read_listed(""), None);
}

#[test]
fn an_example_is_named_by_package_and_item() {
    let workspace = Workspace { root: "/esf".into(), packages: vec![package("esf-proto"), package("esf-tokio")] };
    let named = |name| doctest_name(&workspace, name);
    assert_eq!(
        named("esf-proto/src/time.rs - time::Instant::saturating_add (line 12)").as_deref(),
        Some("esf-proto::doc::time::Instant::saturating_add")
    );
    assert_eq!(named("esf-tokio/src/lib.rs - (line 3)").as_deref(), Some("esf-tokio::doc::crate"));
    assert_eq!(named("esf-tokio/src/../../README.md - Readme (line 40)").as_deref(), Some("esf-tokio::doc::Readme"));
    assert_eq!(named("elsewhere/src/lib.rs - (line 3)"), None);
    assert_eq!(named("no example"), None);
}

fn package(name: &str) -> Package {
    let manifest_path = PathBuf::from("/esf").join(name).join("Cargo.toml");
    Package { id: name.into(), name: name.into(), manifest_path, rust_version: None }
}
