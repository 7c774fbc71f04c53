//! A runtime for tests: virtual time, one thread, nothing runs unless the test says so.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use esf_proto::time::Instant;

use crate::runtime::{BoxFuture, BoxStream, Listener, Runtime, Tasks, Timer};

/// Tasks and timers under a clock that the test moves.
#[derive(Default)]
pub(crate) struct Virtual {
    now: AtomicU64,
    alarms: Arc<Mutex<Vec<(Instant, Waker)>>>,
    tasks: Mutex<Vec<Task>>,
    spawned: AtomicUsize,
}

struct Task {
    future: BoxFuture<'static, ()>,
    flag: Arc<Flag>,
}

/// A waker that remembers that it was woken.
#[derive(Default)]
pub(crate) struct Flag(AtomicBool);

impl Flag {
    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Virtual {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Runs the tasks until none is woken. Panics if they go on for ever.
    pub(crate) fn run(&self) {
        for _ in 0..10_000 {
            let Some(mut task) = self.next_woken() else { return };
            let waker = Waker::from(task.flag.clone());
            if task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                self.tasks().push(task);
            }
        }
        panic!("the tasks spin");
    }

    /// Time passes in the middle of a task.
    pub(crate) fn pass(&self, time: Duration) {
        self.now.store((self.now() + time).as_micros(), Ordering::SeqCst);
    }

    /// Moves the clock in steps to each alarm on the way, and runs the tasks at each.
    pub(crate) fn advance(&self, by: Duration) {
        let end = self.now() + by;
        loop {
            self.run();
            let next = self.alarms.lock().unwrap().iter().map(|(at, _)| *at).min().filter(|at| *at <= end);
            self.now.store(next.unwrap_or(end).as_micros(), Ordering::SeqCst);
            let now = self.now();
            let mut alarms = self.alarms.lock().unwrap();
            let (due, later) = std::mem::take(&mut *alarms).into_iter().partition::<Vec<_>, _>(|(at, _)| *at <= now);
            *alarms = later;
            drop(alarms);
            due.into_iter().for_each(|(_, waker)| waker.wake());
            self.run();
            if next.is_none() {
                return;
            }
        }
    }

    /// Runs until `future` is done; panics when everything waits for something else.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        let flag = Arc::new(Flag::default());
        let waker = Waker::from(flag.clone());
        for _ in 0..100 {
            if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return value;
            }
            self.run();
            if !flag.take() {
                self.advance(Duration::from_secs(1));
            }
        }
        panic!("the future waits for something that never comes");
    }

    /// Drops every task where it waits, as a runtime does that is shut down.
    pub(crate) fn abort(&self) {
        drop(std::mem::take(&mut *self.tasks()));
    }

    /// Tasks that have not ended.
    pub(crate) fn running(&self) -> usize {
        self.tasks().len()
    }

    /// Tasks that were ever started.
    pub(crate) fn spawned(&self) -> usize {
        self.spawned.load(Ordering::SeqCst)
    }

    fn next_woken(&self) -> Option<Task> {
        let mut tasks = self.tasks();
        let at = tasks.iter().position(|task| task.flag.take())?;
        Some(tasks.remove(at))
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<Task>> {
        self.tasks.lock().unwrap()
    }
}

impl Tasks for Virtual {
    fn now(&self) -> Instant {
        Instant::from_micros(self.now.load(Ordering::SeqCst))
    }

    fn timer(&self) -> Box<dyn Timer> {
        // A timer needs the clock only through the alarms that `advance` fires.
        Box::new(VirtualTimer { alarms: self.alarms.clone(), set: None })
    }

    fn spawn(&self, future: BoxFuture<'static, ()>) {
        self.spawned.fetch_add(1, Ordering::SeqCst);
        self.tasks().push(Task { future, flag: Arc::new(Flag(AtomicBool::new(true))) });
    }

    fn polls_in_place(&self) -> bool {
        true
    }
}

impl Runtime for Virtual {
    fn connect<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }

    fn listen<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }
}

struct VirtualTimer {
    alarms: Arc<Mutex<Vec<(Instant, Waker)>>>,
    set: Option<Instant>,
}

impl Timer for VirtualTimer {
    fn poll_until(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let mut alarms = self.alarms.lock().unwrap();
        let same = |waker: &Waker| waker.will_wake(cx.waker());
        // An alarm that was set and is not there any more has fired.
        if self.set == Some(at) && !alarms.iter().any(|(set, waker)| *set == at && same(waker)) {
            self.set = None;
            return Poll::Ready(());
        }
        if self.set != Some(at) {
            self.set = Some(at);
            alarms.push((at, cx.waker().clone()));
        }
        Poll::Pending
    }
}
