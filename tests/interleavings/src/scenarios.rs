//! What is tried here of the driver's inside: each a function that a scheduler runs again and again, every time in another
//! order. A scenario that waits for what never comes is a deadlock, which the scheduler reports.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Wake, Waker},
};

use esf_proto::time::Instant;
use shuttle::thread;

use crate::{
    sync::{Arc, Condvar, Mutex},
    tasks::{BoxFuture, Tasks, Timer},
};

pub mod handlers;
pub mod handoffs;

/// Wakes a thread that waits for it. A ring that comes early is kept, like the wake of a task.
#[derive(Debug, Default)]
pub struct Bell {
    rung: Mutex<bool>,
    rings: Condvar,
}

impl Bell {
    /// A bell and the waker that rings it.
    #[must_use]
    pub fn new() -> (Arc<Self>, Waker) {
        let bell = Arc::<Self>::default();
        (bell.clone(), bell.into())
    }

    /// Until it has rung.
    pub fn wait(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !std::mem::replace(&mut *rung, false) {
            rung = self.rings.wait(rung).unwrap();
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        *self.rung.lock().unwrap() = true;
        self.rings.notify_all();
    }
}

/// Waits on this thread until `future` is done.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let (bell, waker) = Bell::new();
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        bell.wait();
    }
}

/// A task is a thread, and time stands still: whoever needs it to pass hangs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Threads;

impl Tasks for Threads {
    fn now(&self) -> Instant {
        Instant::ZERO
    }

    fn timer(&self) -> Box<dyn Timer> {
        Box::new(Self)
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        thread::spawn(move || block_on(task));
    }
}

impl Timer for Threads {
    fn poll_until(&mut self, _: &mut Context<'_>, _: Instant) -> Poll<()> {
        Poll::Pending
    }
}
