use super::*;

#[test]
fn refuses_over_the_limit_and_takes_nothing() {
    let budget = Budget::new(100);
    assert!(budget.charge(60));
    assert!(!budget.charge(41));
    assert!(budget.charge(40));
    budget.release(100);
    assert_eq!(budget.used(), 0);
}

#[test]
fn an_unused_budget_admits_one_frame_of_any_size() {
    let budget = Budget::new(100);
    assert!(budget.charge(5_000));
    assert!(!budget.charge(1));
}

#[test]
fn a_full_parent_refuses_the_largest_first() {
    let all = Arc::new(Budget::new(1_000));
    let large = Budget::within(all.clone(), 900);
    let small = Budget::within(all.clone(), 900);
    assert!(large.charge(400));
    assert!(large.charge(100));
    assert!(!large.charge(100), "600 held is more than the 500 left");
    assert!(small.charge(100));
    assert_eq!(all.used(), 600);
    drop(large);
    assert_eq!(all.used(), 100, "a budget that goes gives back what it held");
}

#[test]
fn what_comes_and_goes_in_small_pieces_leaves_the_parent_alone() {
    let all = Arc::new(Budget::new(STEP * STEPS));
    let one = Budget::within(all.clone(), 100 * STEP);
    assert!(one.charge(100));
    assert_eq!(all.used(), 100);
    assert!(one.charge(100) && one.charge(2 * STEP));
    let lent = all.used();
    assert_eq!(lent, 2 * STEP + 200 + 300, "what is held, and as much again as was lent, but at most a step");
    assert!(one.charge(STEP));
    for _ in 0..10 {
        assert!(one.charge(STEP));
        let lent = all.used();
        one.release(STEP);
        assert_eq!(all.used(), lent);
    }
    one.release(3 * STEP);
    assert_eq!(one.used(), 200);
    assert!(one.charge(99 * STEP));
    assert_eq!(all.used(), 100 * STEP, "no more than may be used");
    one.release(98 * STEP);
    assert_eq!(all.used(), one.used() + STEP, "a step is kept");
    one.release(one.used());
    assert_eq!(all.used(), 0, "who holds nothing owes nothing");
}

#[test]
fn a_parent_that_has_no_step_left_lends_what_is_needed() {
    let all = Arc::new(Budget::new(STEP * STEPS));
    let rest = Budget::within(all.clone(), usize::MAX);
    rest.force(STEP * STEPS - 200);
    let one = Budget::within(all.clone(), 100 * STEP);
    assert!(one.charge(100));
    assert_eq!(one.try_charge(101), Err(Full::Parent));
    assert_eq!((one.used(), all.used()), (100, STEP * STEPS - 100));
    drop(one);
    assert_eq!(all.used(), STEP * STEPS - 200);
}
