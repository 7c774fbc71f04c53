use std::{future::pending, thread};

use super::*;
use crate::{
    blocking::testing::Plain,
    completion::completion,
    tasks::{Tasks as _, within},
};

#[test]
fn another_thread_ends_the_wait() {
    let (teller, told) = completion();
    let other = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        teller.tell(7);
    });
    assert_eq!(run(told), Some(7));
    other.join().unwrap();
}

#[test]
fn a_wait_with_a_limit_ends_in_time_and_not_before() {
    let began = StdInstant::now();
    assert_eq!(run_within(Duration::from_millis(30), pending::<()>()), Err(Elapsed));
    assert!(began.elapsed() >= Duration::from_millis(30));
    assert_eq!(run_within(Duration::ZERO, async { 1 }), Ok(1), "what is there is taken without a wait");
    assert_eq!(run_within(Duration::MAX, async { 1 }), Ok(1));
}

#[test]
fn timers_end_a_wait_also_one_inside_of_another() {
    let tasks = Plain::default();
    let (short, long) = (Duration::from_millis(20), Duration::from_millis(60));
    let began = tasks.now();
    let outer = run(within(&tasks, long, async {
        // As a handler that blocks would, where somebody else's timer runs.
        assert_eq!(run(within(&tasks, short, pending::<()>())), None);
        assert!(tasks.now().since(began) < long);
        pending::<()>().await;
    }));
    assert_eq!(outer, None);
    assert!(tasks.now().since(began) >= long);
}

#[test]
fn a_wake_before_the_wait_counts_once() {
    let signal = Arc::new(Signal::default());
    signal.wake_by_ref();
    signal.wake_by_ref();
    signal.wait_until(None);
    let began = StdInstant::now();
    signal.wait_until(Some(began + Duration::from_millis(20)));
    assert!(began.elapsed() >= Duration::from_millis(20));
}

#[test]
fn no_wake_is_lost_however_two_threads_meet() {
    const ROUNDS: usize = 2_000;
    let began = StdInstant::now();
    let late = Some(began + Duration::from_secs(30));
    let (there, back) = (Arc::new(Signal::default()), Arc::new(Signal::default()));
    let (ask, answer) = (there.clone(), back.clone());
    let other = thread::spawn(move || {
        for _ in 0..ROUNDS {
            there.wait_until(late);
            answer.wake_by_ref();
        }
    });
    for _ in 0..ROUNDS {
        ask.wake_by_ref();
        back.wait_until(late);
    }
    other.join().unwrap();
    assert!(began.elapsed() < Duration::from_secs(30));
}
