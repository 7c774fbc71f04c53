use std::sync::Arc;

use super::*;
use crate::testing::Flag;

#[test]
fn the_oldest_go_when_nobody_looks_and_the_loss_is_told() {
    let queue = EventQueue::default();
    let cx = &mut Context::from_waker(Waker::noop());
    for n in 0..EVENTS + 3 {
        queue.push(n);
    }
    assert_eq!(queue.poll_next(cx), Poll::Ready(Next::Lagged(3)));
    assert_eq!(queue.poll_next(cx), Poll::Ready(Next::Event(3)));
    for n in 4..EVENTS + 3 {
        assert_eq!(queue.poll_next(cx), Poll::Ready(Next::Event(n)));
    }
    assert_eq!(queue.poll_next(cx), Poll::Pending);
}

#[test]
fn whoever_waits_is_woken_and_the_end_comes_after_the_last_event() {
    let queue = EventQueue::default();
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(flag.clone());
    let cx = &mut Context::from_waker(&waker);
    assert!(queue.poll_next(cx).is_pending());
    assert!(queue.poll_next(cx).is_pending());
    queue.push('a');
    assert!(flag.take());
    queue.end();
    assert_eq!(queue.poll_next(cx), Poll::Ready(Next::Event('a')));
    assert_eq!(queue.poll_next(cx), Poll::Ready(Next::Ended));
}
