//! Threads for what is costly on purpose, so that it keeps nobody else waiting: as many at a time as there are
//! processors but one, and a queue that is bounded before them.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    time::{Duration, Instant},
};

use argon2::Block;
use tokio::sync::oneshot;

/// When to try again is said within these.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

type Job = Box<dyn FnOnce(&mut Vec<Block>) + Send>;

pub(super) struct Pool {
    jobs: Mutex<Sender<Job>>,
    load: Arc<Load>,
    threads: usize,
    limit: usize,
}

#[derive(Default)]
struct Load {
    /// Places that are taken: of jobs that run, wait, or are about to.
    taken: AtomicUsize,
    /// How long the last job took, in microseconds.
    last_us: AtomicU64,
}

/// The right to one job.
pub(super) struct Place<'a> {
    pool: &'a Pool,
    held: Held,
}

/// Frees the place, also that of a job which is never done.
struct Held(Arc<Load>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One processor is for everything else.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |all| all.get().saturating_sub(1).max(1))
}

impl Pool {
    /// So many threads, before which so many jobs may wait.
    pub(super) fn start(threads: usize, waiting: usize) -> io::Result<Self> {
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for n in 0..threads {
            let queue = queue.clone();
            std::thread::Builder::new().name(format!("check-{n}")).spawn(move || work(&queue))?;
        }
        Ok(Self { jobs: Mutex::new(jobs), load: Arc::default(), threads, limit: threads + waiting })
    }

    /// A place for one job; `None` when all are taken.
    pub(super) fn reserve(&self) -> Option<Place<'_>> {
        // Counted first, so that two never take the last one.
        let held = Held(self.load.clone());
        (self.load.taken.fetch_add(1, Ordering::SeqCst) < self.limit).then_some(Place { pool: self, held })
    }

    /// How long the jobs that are there will take, about.
    pub(super) fn wait(&self) -> Duration {
        let taken = u32::try_from(self.load.taken.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        let threads = u32::try_from(self.threads).unwrap_or(1).max(1);
        let one = Duration::from_micros(self.load.last_us.load(Ordering::Relaxed));
        (one.saturating_mul(taken) / threads).clamp(AGAIN.0, AGAIN.1)
    }
}

impl Place<'_> {
    /// Does the job on one of the threads, with that thread's memory. `None` if it panicked.
    pub(super) async fn run<T: Send + 'static>(
        self,
        job: impl FnOnce(&mut Vec<Block>) -> T + Send + 'static,
    ) -> Option<T> {
        let (done, outcome) = oneshot::channel();
        let held = self.held;
        let job = Box::new(move |memory: &mut Vec<Block>| {
            let began = Instant::now();
            let result = job(memory);
            let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            held.0.last_us.store(took, Ordering::Relaxed);
            drop(held);
            // Whoever asked may be gone.
            let _ = done.send(result);
        });
        // The threads last as long as the pool.
        let _ = self.pool.jobs.lock().unwrap_or_else(PoisonError::into_inner).send(job);
        outcome.await.ok()
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    let mut memory = Vec::new();
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        // A job that panics takes nothing with it: the memory is written anew by each.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(&mut memory)));
    }
}
