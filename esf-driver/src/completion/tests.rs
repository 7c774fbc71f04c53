use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::Wake,
};

use super::*;

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll<T>(told: &mut Told<T>, count: &Arc<Count>) -> Poll<Option<T>> {
    pin!(told).poll(&mut Context::from_waker(&Waker::from(count.clone())))
}

#[test]
fn a_value_is_told_once_and_wakes_whoever_waited_last() {
    let (first, second) = (Arc::<Count>::default(), Arc::<Count>::default());
    let (teller, mut told) = completion();
    assert_eq!(poll(&mut told, &first), Poll::Pending);
    assert_eq!(poll(&mut told, &second), Poll::Pending);
    teller.tell(7);
    assert_eq!((first.0.load(Ordering::SeqCst), second.0.load(Ordering::SeqCst)), (0, 1));
    assert_eq!(poll(&mut told, &first), Poll::Ready(Some(7)));
    assert_eq!(poll(&mut told, &first), Poll::Ready(None));
}

#[test]
fn each_end_learns_that_the_other_is_gone() {
    let count = Arc::<Count>::default();
    let (teller, mut told) = completion::<u8>();
    assert_eq!(poll(&mut told, &count), Poll::Pending);
    drop(teller);
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert_eq!(poll(&mut told, &count), Poll::Ready(None));

    let (teller, told) = completion();
    assert!(!teller.is_abandoned());
    drop(told);
    assert!(teller.is_abandoned());
    teller.tell(1);
}
