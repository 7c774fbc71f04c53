//! Threads, as many as there is work at the same time, each kept for a moment for more of it.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use esf_driver::{
    blocking::{Clock, run},
    tasks::{BoxFuture, Tasks, Timer},
};
use esf_proto::time::Instant;

/// How long a thread waits for more work before it ends.
const KEPT: Duration = Duration::from_secs(1);

/// Plain threads, as the driver uses them.
///
/// What bounds them is what asks for them: two for a connection, one for each handler that runs, blob that is sent and
/// login that is decided about, one for a client and for a server, another for a server with a store, and one for a
/// listener.
#[derive(Clone, Default)]
pub struct Threads {
    clock: Clock,
    pool: Arc<Pool>,
}

#[derive(Default)]
struct Pool {
    state: Mutex<State>,
    given: Condvar,
}

#[derive(Default)]
struct State {
    /// Work for threads that wait: never more than there are.
    work: VecDeque<BoxFuture<'static, ()>>,
    /// Threads that wait, and have no work coming.
    idle: usize,
}

impl Threads {
    /// No thread yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Tasks for Threads {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn timer(&self) -> Box<dyn Timer> {
        self.clock.timer()
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        let mut state = self.pool.lock();
        if state.idle > 0 {
            state.idle -= 1;
            state.work.push_back(task);
            drop(state);
            self.pool.given.notify_one();
            return;
        }
        drop(state);
        let pool = self.pool.clone();
        let work = move || {
            run(task);
            pool.work();
        };
        if let Err(error) = thread::Builder::new().name("esf".to_owned()).spawn(work) {
            // What it was for is dropped, and comes to its end by that.
            tracing::error!(%error, "no thread can be started");
        }
    }
}

impl Pool {
    /// Does what comes, until nothing does for a while.
    fn work(&self) {
        while let Some(task) = self.next() {
            run(task);
        }
    }

    fn next(&self) -> Option<BoxFuture<'static, ()>> {
        let mut state = self.lock();
        state.idle += 1;
        let nothing = |state: &mut State| state.work.is_empty();
        let waited = self.given.wait_timeout_while(state, KEPT, nothing);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
        let task = state.work.pop_front();
        if task.is_none() {
            state.idle -= 1;
        }
        task
    }

    /// The state is whole after every step, so a panic elsewhere leaves nothing half done in it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Threads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Threads").field("idle", &self.pool.lock().idle).finish_non_exhaustive()
    }
}
