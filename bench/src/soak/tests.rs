use super::*;

fn looks(resident: impl Fn(u64) -> u64) -> Vec<Look> {
    (0..400).map(|second| Look { at: Duration::from_secs(second), resident: resident(second) }).collect()
}

fn judged(resident: impl Fn(u64) -> u64) -> bool {
    judge(&looks(resident), Duration::from_secs(400), |_| {}).is_ok()
}

#[test]
fn memory_that_grows_to_the_end_does_not_plateau() {
    assert!(!judged(|second| (100 + second) << 20));
}

#[test]
fn memory_that_fills_and_then_stays_plateaus() {
    assert!(judged(|second| (50 + second.min(90)) << 20));
    // One spike is no growth.
    assert!(judged(|second| if second == 350 { 900 << 20 } else { 50 << 20 }));
}

#[test]
fn a_short_soak_says_nothing_about_memory() {
    let mut told = String::new();
    judge(&looks(|second| second << 20), Duration::from_secs(60), |line| told += line).unwrap();
    assert!(told.contains("too short"), "{told}");
}
