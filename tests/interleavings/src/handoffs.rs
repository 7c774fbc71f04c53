//! The small parts by which one thread or task wakes another.

use shuttle::thread;

use super::{Bell, block_on};
use crate::{
    completion::completion,
    notify::{Notify, Worker},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Two wait until a number is large enough; two raise it.
pub fn whoever_waits_for_a_condition_is_woken() {
    let (number, notify) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::default()));
    let mut threads = Vec::new();
    for _ in 0..2 {
        let (number, notify) = (number.clone(), notify.clone());
        threads.push(thread::spawn(move || block_on(notify.until(|| number.load(Ordering::SeqCst) == 2))));
    }
    for _ in 0..2 {
        let (number, notify) = (number.clone(), notify.clone());
        threads.push(thread::spawn(move || {
            number.fetch_add(1, Ordering::SeqCst);
            notify.notify();
        }));
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// One does work that two others have for it, and sleeps when there is none.
///
/// # Panics
/// If another thread did.
pub fn a_worker_does_all_the_work_there_is() {
    let (work, worker) = (Arc::new(AtomicU64::new(0)), Arc::new(Worker::default()));
    let givers = [(), ()].map(|()| {
        let (work, worker) = (work.clone(), worker.clone());
        thread::spawn(move || {
            for _ in 0..2 {
                work.fetch_add(1, Ordering::SeqCst);
                worker.wake();
            }
        })
    });
    let (bell, waker) = Bell::new();
    let mut done = 0;
    while done < 4 {
        worker.register(&waker);
        let found = work.swap(0, Ordering::SeqCst);
        done += found;
        if done < 4 && found == 0 {
            bell.wait();
        }
    }
    givers.into_iter().for_each(|thread| thread.join().unwrap());
}

/// A value that is told arrives; a teller that is dropped says so; and whoever stops waiting does no harm.
///
/// # Panics
/// If the value is another one.
pub fn what_is_told_arrives_once() {
    let (told, will_be) = completion();
    let (dropped, never) = completion::<u8>();
    let (unheard, unwanted) = completion();
    let teller = thread::spawn(move || {
        told.tell(1_u8);
        drop(dropped);
        unheard.tell(2_u8);
    });
    let other = thread::spawn(move || drop(unwanted));
    assert_eq!(block_on(will_be), Some(1));
    assert_eq!(block_on(never), None);
    teller.join().unwrap();
    other.join().unwrap();
}
