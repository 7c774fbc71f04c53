use super::*;

#[test]
fn runs_once_acknowledges_again_and_refuses_what_is_late() {
    let mut dedupe = Dedupe::default();
    assert_eq!(dedupe.accept(3), Verdict::Run);
    assert_eq!(dedupe.accept(3), Verdict::Again);
    assert_eq!(dedupe.accept(5), Verdict::Run);
    assert_eq!(dedupe.accept(4), Verdict::Late);
    assert_eq!(dedupe.accept(3), Verdict::Again);
    assert_eq!(dedupe.check(6), Verdict::Run);
    assert_eq!(dedupe.accept(6), Verdict::Run, "a check remembers nothing");
}

#[test]
fn what_is_forgotten_is_late_and_never_run_again() {
    let mut dedupe = Dedupe::default();
    for id in 1..=REMEMBERED as u64 + 1 {
        assert_eq!(dedupe.accept(id), Verdict::Run);
    }
    assert_eq!(dedupe.accept(1), Verdict::Late);
    assert_eq!(dedupe.accept(2), Verdict::Again);
}
