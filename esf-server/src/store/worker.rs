//! The store of a running server, on a thread of its own, so that no disk keeps a link waiting.

use std::{
    io,
    path::PathBuf,
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
};

use tokio::sync::oneshot;

use super::{Problem, Store, Trouble};

/// Jobs that wait at the same time.
const WAITING: usize = 4096;

type Job = Box<dyn FnOnce(&mut Store) + Send>;

/// Does jobs in the store one after the other. The thread ends when the last handle is gone.
#[derive(Clone)]
pub(crate) struct Worker {
    jobs: SyncSender<Job>,
    path: PathBuf,
}

impl Worker {
    pub(crate) fn start(mut store: Store) -> io::Result<Self> {
        let (jobs, waiting): (SyncSender<Job>, Receiver<Job>) = sync_channel(WAITING);
        let path = store.path.clone();
        std::thread::Builder::new().name("store".into()).spawn(move || {
            for job in waiting {
                job(&mut store);
            }
        })?;
        Ok(Self { jobs, path })
    }

    /// Does a job and waits for what it comes to. Dropping the future does not keep the job from being done.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Store) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let (done, outcome) = oneshot::channel();
        self.start_job(move |store| {
            // Whoever asked may be gone.
            let _ = done.send(job(store));
        })?;
        outcome.await.unwrap_or_else(|_| Err(Problem::new(Trouble::Other, &self.path, "its thread is gone")))
    }

    /// Starts a job that nobody waits for.
    pub(crate) fn start_job(&self, job: impl FnOnce(&mut Store) + Send + 'static) -> Result<(), Problem> {
        self.jobs.try_send(Box::new(job)).map_err(|error| match error {
            TrySendError::Full(_) => Problem::new(Trouble::Busy, &self.path, "too much waits for it"),
            TrySendError::Disconnected(_) => Problem::new(Trouble::Other, &self.path, "its thread is gone"),
        })
    }
}
