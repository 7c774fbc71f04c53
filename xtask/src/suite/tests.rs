use super::*;

#[test]
fn tests_are_noted_by_name() {
    let run = taken(2, &[("a", Outcome::Passed), ("b", Outcome::Ignored)], None);
    assert_eq!(run.passed(), 1);
    assert_eq!(run.ignored(), ["p::b"]);
    assert_eq!(run.broken, [""; 0]);
}

#[test]
fn a_failed_test_explains_the_end_of_its_program() {
    let run = taken(1, &[("a", Outcome::Failed)], Some("exit status: 101"));
    assert_eq!(run.failed(), ["p::a"]);
    assert_eq!(run.broken, [""; 0]);
}

#[test]
fn a_program_that_stops_early_is_broken_even_if_it_ends_well() {
    let run = taken(2, &[("a", Outcome::Passed)], None);
    assert_eq!(run.broken, ["p lib p: announced 2 tests, told of 1"]);
}

#[test]
fn a_program_that_fails_without_a_failed_test_is_broken() {
    let run = taken(1, &[("a", Outcome::Passed)], Some("signal: 6"));
    assert_eq!(run.broken, ["p lib p: signal: 6, though no test failed"]);
}

#[test]
fn of_two_tests_with_one_name_the_heavier_end_counts() {
    for ends in [[Outcome::Failed, Outcome::Passed], [Outcome::Passed, Outcome::Failed]] {
        let run = taken(2, &ends.map(|end| ("a", end)), None);
        assert_eq!(run.failed(), ["p::a"]);
    }
}

#[test]
fn only_artifacts_of_cargo_are_read() {
    let line = r#"{"reason":"compiler-artifact","package_id":"path+file:///esf/tests#esf-tests@0.1.0",
        "target":{"kind":["test"],"name":"pair"},"profile":{"test":true},"executable":"/esf/target/debug/deps/pair-1"}"#;
    let found = artifact(line).unwrap();
    assert!(found.profile.test);
    assert_eq!(found.target.prefix("esf-tests"), "esf-tests::pair");
    assert!(artifact(r#"{"reason":"build-finished","success":true}"#).is_none());
    assert!(artifact("not JSON").is_none());
}

#[test]
fn the_tests_of_a_library_stand_under_its_package() {
    let prefix = |kind: &str| Target { name: "esf_proto".into(), kind: vec![kind.into()] }.prefix("esf-proto");
    assert_eq!(prefix("lib"), "esf-proto");
    assert_eq!(prefix("proc-macro"), "esf-proto");
    assert_eq!(prefix("bin"), "esf-proto::esf_proto");
}

fn taken(announced: usize, ended: &[(&str, Outcome)], failure: Option<&str>) -> Run {
    let ended = ended.iter().map(|(name, outcome)| ((*name).to_owned(), *outcome)).collect();
    let mut run = Run::default();
    run.take("p lib p", Seen { announced, ended, failure: failure.map(str::to_owned) }, |name| {
        Some(format!("p::{name}"))
    });
    run
}
