use super::{
    super::queries::{QUICK, TURN},
    *,
};

#[test]
fn queries_start_in_order_and_overlap() {
    let bench = bench(1, 256);
    bench.message("a", NEVER, "m");
    bench.query(1, "a", HELD);
    bench.query(2, "a", AT_ONCE);
    bench.run();
    assert_eq!(bench.recorder.log(), ["a:1", "a:2", "a:2.", "a:m"]);
    assert_eq!(bench.replies(), BTreeMap::from([(2, Ok("2".into()))]));
    bench.recorder.release();
    bench.run();
    assert_eq!(bench.replies().get(&1), Some(&Ok("1".into())));
    assert!(bench.dispatch.lock().asked.is_empty());
}

#[test]
fn a_query_whose_handler_panics_or_never_returns_has_failed() {
    let bench = bench(64, 256);
    bench.query(1, "a", PANICS);
    bench.query(2, "a", NEVER);
    bench.runtime.run();
    bench.run();
    assert_eq!(bench.replies(), BTreeMap::from([(1, Err(Failure::HandlerFailed))]));
    bench.runtime.advance(LIMIT);
    assert_eq!(bench.replies().get(&2), Some(&Err(Failure::HandlerFailed)));
}

#[test]
fn nobody_handles_means_the_handler_failed() {
    let bench = bench(64, 256);
    let handling = Handling {
        handler: Arc::new(()),
        runtime: bench.runtime.clone(),
        gates: Gates::new(1, 1),
        limit: LIMIT,
        counters: HandlerCounters::default(),
        in_place: InPlace::default(),
    };
    bench.query(1, "a", AT_ONCE);
    Dispatch::new(bench.post.clone(), Arc::new(handling)).pump();
    bench.runtime.run();
    assert_eq!(bench.replies(), BTreeMap::from([(1, Err(Failure::HandlerFailed))]));
}

#[test]
fn one_who_asks_too_much_is_told_so_and_others_are_answered() {
    let bench = bench(64, 4);
    for token in 1..=4 {
        bench.query(token, "a", NEVER);
    }
    bench.query(5, "b", AT_ONCE);
    bench.run();
    let busy = Err(Failure::Busy);
    assert_eq!(bench.replies(), BTreeMap::from([(3, busy.clone()), (4, busy), (5, Ok("5".into()))]));
    assert_eq!(bench.handling.counters.refused.load(Ordering::Relaxed), 2);
}

#[test]
fn a_query_without_a_place_waits_for_one() {
    let bench = bench(64, 2);
    bench.query(1, "a", HELD);
    bench.query(2, "b", HELD);
    bench.query(3, "c", AT_ONCE);
    bench.run();
    assert_eq!(bench.recorder.log(), ["a:1", "b:2"]);
    bench.recorder.release();
    bench.runtime.run();
    assert_eq!(bench.replies().get(&3), Some(&Ok("3".into())));
}

#[test]
fn a_handler_that_is_ready_at_once_takes_no_task_and_one_that_waits_takes_one() {
    let bench = bench(64, 1);
    for token in 1..=100 {
        bench.query(token, "a", AT_ONCE);
    }
    bench.query(101, "a", HELD);
    bench.dispatch.pump();
    assert_eq!(bench.replies().len(), 100, "one place serves all of them");
    assert_eq!(bench.runtime.spawned(), 1);
    bench.runtime.run();
    bench.recorder.release();
    bench.runtime.run();
    assert_eq!(bench.replies().get(&101), Some(&Ok("101".into())));
    assert!(bench.dispatch.lock().asked.is_empty());
}

#[test]
fn a_handler_that_computes_is_kept_away_from_the_connection_afterwards() {
    let bench = bench(64, 256);
    bench.recorder.0.lock().unwrap().computes = QUICK * 5;
    for token in 0..6 {
        bench.query(token, "a", SLOW);
    }
    bench.dispatch.pump();
    assert_eq!((bench.replies().len(), bench.runtime.spawned()), (1, 5), "what it took is paid for by tasks");
    bench.query(100, "a", AT_ONCE);
    bench.dispatch.pump();
    assert_eq!((bench.replies().len(), bench.runtime.spawned()), (2, 5), "then the next may be quick again");
    bench.runtime.run();
    assert_eq!(bench.replies().len(), 7);
}

#[test]
fn quick_handlers_too_leave_the_connection_time() {
    let bench = bench(64, 10_000);
    let each = QUICK - Duration::from_micros(1);
    bench.recorder.0.lock().unwrap().computes = each;
    for token in 0..200 {
        bench.query(token, "a", SLOW);
    }
    bench.dispatch.pump();
    let at_once = bench.replies().len();
    assert_eq!(at_once, TURN.as_micros().div_ceil(each.as_micros()) as usize);
    bench.runtime.run();
    assert_eq!(bench.replies().len(), 200);
}

#[test]
fn who_waited_for_a_place_is_not_served_by_the_one_who_leaves() {
    let bench = bench(64, 1);
    bench.query(0, "a", HELD);
    bench.dispatch.pump();
    let others: Vec<_> = (1..=3_000)
        .map(|token| {
            let post = Post::default();
            bench.query(token, "b", AT_ONCE);
            let query = bench.post.lock().queries.pop_back().unwrap();
            post.lock().queries.push_back(query);
            let dispatch = Dispatch::new(post.clone(), bench.handling.clone());
            dispatch.pump();
            (post, dispatch)
        })
        .collect();
    bench.runtime.run();
    bench.recorder.release();
    bench.runtime.run();
    // A task each: served on the stack of the one before, so many would not fit on it.
    assert_eq!(bench.runtime.spawned(), 3_001);
    assert!(others.iter().all(|(post, _)| post.lock().replies.len() == 1));
}
