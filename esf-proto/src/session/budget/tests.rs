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
