use super::*;
use std::vec::Vec;

const RETRY: Retry =
    Retry { base: Duration::from_millis(200), cap_resume: Duration::from_secs(5), cap: Duration::from_secs(30) };

#[test]
fn the_limit_doubles_up_to_the_cap() {
    let largest = |in_vain: u32, resumable: bool| {
        (0..500).map(|seed| Backoff { retry: RETRY, in_vain, jitter: Jitter(seed) }.next(resumable)).max().unwrap()
    };
    for (in_vain, resumable, limit_ms) in
        [(0, true, 200), (1, true, 400), (4, true, 3_200), (5, true, 5_000), (40, true, 5_000), (9, false, 30_000)]
    {
        let (largest, limit) = (largest(in_vain, resumable), Duration::from_millis(limit_ms));
        assert!(largest < limit && largest > limit * 9 / 10, "{in_vain}: {largest:?} of {limit:?}");
    }
}

#[test]
fn waits_are_spread_evenly_from_zero_to_the_limit() {
    let mut backoff = Backoff::new(RETRY, 1);
    let waits: Vec<_> = (0..4_000)
        .map(|_| {
            backoff.reset();
            backoff.next(true)
        })
        .collect();
    for quarter in 0..4u32 {
        let from = Duration::from_millis(50) * quarter;
        let within = waits.iter().filter(|wait| (from..from + Duration::from_millis(50)).contains(wait)).count();
        assert!((850..1_150).contains(&within), "{within} of 4000 in quarter {quarter}");
    }
}

#[test]
fn the_same_seed_waits_the_same_and_another_differently() {
    let series = |seed| {
        let mut backoff = Backoff::new(RETRY, seed);
        (0..10).map(|_| backoff.next(true)).collect::<Vec<_>>()
    };
    assert_eq!(series(7), series(7));
    assert_ne!(series(7), series(8));
}

#[test]
fn what_the_server_asks_for_is_the_least() {
    for seed in 0..100 {
        let mut backoff = Backoff::new(RETRY, seed);
        let wait = backoff.asked_for(Duration::from_secs(60));
        assert!(wait >= Duration::from_secs(60) && wait < Duration::from_secs(65));
        assert!(backoff.asked_for(Duration::ZERO) <= RETRY.base);
    }
}

#[test]
fn a_wait_is_never_nothing() {
    let mut backoff = Backoff::new(Retry { base: Duration::ZERO, ..RETRY }, 3);
    assert!(backoff.next(true) > Duration::ZERO && backoff.asked_for(Duration::ZERO) > Duration::ZERO);
}
