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

#[test]
fn blobs_that_came_whole_are_known_beside_the_ids_of_messages() {
    let mut dedupe = Dedupe::default();
    dedupe.keep_blob(7);
    assert_eq!((dedupe.check(3), dedupe.check(7)), (Verdict::Run, Verdict::Run), "they hold back no message");
    for id in [9, 8, 9, 7] {
        dedupe.keep_blob(id);
    }
    assert!([7, 8, 9].iter().all(|id| dedupe.has_blob(*id)) && !dedupe.has_blob(10));
    for id in 20..20 + STREAMS as u64 {
        dedupe.keep_blob(id);
    }
    assert!(!dedupe.has_blob(9) && dedupe.has_blob(20));
    assert_eq!(dedupe.len(), STREAMS);
}

#[test]
fn a_stored_id_counts_by_itself_and_does_not_raise_what_live_ones_are_compared_with() {
    let mut dedupe = Dedupe::default();
    assert!(dedupe.accept_stored(9));
    assert!(!dedupe.accept_stored(9));
    assert_eq!(dedupe.accept(5), Verdict::Run, "live and below the stored one");
    assert_eq!(dedupe.accept(9), Verdict::Again, "live what was stored");
    assert_eq!(dedupe.accept(7), Verdict::Run);
    assert_eq!(dedupe.accept(6), Verdict::Late);
    assert!(dedupe.accept_stored(6), "late for one that is live, and not for a stored one");
    assert_eq!([5, 6, 7, 9].map(|id| dedupe.check(id)), [Verdict::Again; 4]);
    assert_eq!(dedupe.accept(10), Verdict::Run);
    assert_eq!(dedupe.len(), 5);
}

#[test]
fn stored_ids_are_bounded_with_the_live_ones() {
    let mut dedupe = Dedupe::default();
    for id in (1..3_000).rev() {
        dedupe.accept_stored(id);
    }
    assert!(dedupe.len() <= 1024);
    for id in 3_000..6_000 {
        assert_eq!(dedupe.accept(id), Verdict::Run);
    }
    assert_eq!(dedupe.len(), 1024);
    assert_eq!(dedupe.check(5_999), Verdict::Again);
}
