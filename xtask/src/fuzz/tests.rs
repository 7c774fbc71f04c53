use super::Outcome;

#[test]
fn the_last_numbers_of_a_run_are_told() {
    let log = "INFO: seed corpus\n#2\tINITED cov: 4 ft: 5 corp: 1/1b exec/s: 0\n#84240\tDONE   cov: 2216 ft: 10838 corp: 1113/238Kb \
               lim: 593 exec/s: 4011\nDone 84240 runs in 21 second(s)\n";
    let outcome = Outcome { executions: 84_240, reached: 2216, inputs: 1113, failure: None };
    assert_eq!(Outcome::read(log), outcome);
    assert_eq!(outcome.to_string(), "84240 executions, 2216 edges reached, 1113 inputs, no failure");
}

#[test]
fn a_failure_is_told_with_its_input() {
    let log = "#16\tNEW    cov: 7 ft: 9 corp: 2/8b lim: 4 exec/s: 0\nthread panicked\nartifact_prefix='a/'; Test unit written to \
               fuzz/artifacts/model/crash-1\n";
    let outcome = Outcome::read(log);
    assert_eq!(outcome.failure.as_deref(), Some("failed with fuzz/artifacts/model/crash-1"));
    assert_eq!((outcome.executions, outcome.reached, outcome.inputs), (16, 7, 2));
}
