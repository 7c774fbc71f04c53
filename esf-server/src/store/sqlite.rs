//! The store as a server asks it: questions beside each other, changes one after the other and many to a commit.

mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
};

use esf_tokio::{
    Store as AskedStore, StoreLimits, UserId,
    store::{StoreAnswer, StoreRequest},
};

use self::writer::Writer;
use super::{Problem, Store, Trouble, now_ms};

/// Requests that wait at the same time for each of the two: those that change and those that ask.
const WAITING: usize = 65_536;
/// Bytes of frames that wait to be kept.
const WAITING_BYTES: usize = 64 << 20;
/// Threads for questions.
const READERS: usize = 2;

/// Who messages can be kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Users {
    /// Those with an account.
    Accounts,
    /// Every name: who may log in is somebody else's to say, or anybody.
    Everybody,
}

/// The time of day in milliseconds.
type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// A [`Store`] in the form in which a server asks. Its threads end when it is dropped.
pub(crate) struct SqliteStore {
    writer: SyncSender<Job>,
    readers: SyncSender<Question>,
    /// Bytes of frames that the writer has not looked at.
    frames: Arc<AtomicUsize>,
    path: PathBuf,
}

/// One thing for the writer.
enum Job {
    Ask(Question),
    /// Whoever this names has other contacts or groups than before.
    Watch(Box<dyn FnMut(UserId) + Send>),
}

/// A request and where its answer goes.
struct Question {
    request: StoreRequest,
    answer: StoreAnswer,
}

impl SqliteStore {
    /// Opens the store of a directory for a server, and makes it if it is not there.
    pub(crate) fn open(directory: &Path, limits: StoreLimits, users: Users) -> Result<Self, Problem> {
        Self::open_by(directory, limits, users, Arc::new(now_ms))
    }

    fn open_by(directory: &Path, limits: StoreLimits, users: Users, clock: Clock) -> Result<Self, Problem> {
        Self::of(Store::create(directory)?, directory, limits, users, clock)
    }

    /// With this connection to write by.
    fn of(store: Store, directory: &Path, limits: StoreLimits, users: Users, clock: Clock) -> Result<Self, Problem> {
        let path = store.path.clone();
        let frames = Arc::new(AtomicUsize::new(0));
        let (readers, questions) = sync_channel(WAITING);
        let questions = Arc::new(Mutex::new(questions));
        for _ in 0..READERS {
            let (store, questions) = (Store::open(directory)?, questions.clone());
            let since = reader::Since::new(&limits, clock.clone());
            start(&path, "store reader", move || {
                while let Some(question) = next(&questions) {
                    reader::answer(&store, users, &since, question);
                }
            })?;
        }
        let (writer, jobs) = sync_channel(WAITING);
        let mut state = Writer::new(store, limits, users, clock, frames.clone())?;
        start(&path, "store writer", move || state.run(&jobs))?;
        Ok(Self { writer, readers, frames, path })
    }

    /// Calls `changed` with whoever has other contacts or groups than before, by the hand of another process, soon after.
    /// It is called by the thread that writes, so it is quick.
    pub(crate) fn watch_relations(&self, changed: impl FnMut(UserId) + Send + 'static) -> Result<(), Problem> {
        self.writer.try_send(Job::Watch(Box::new(changed))).map_err(|error| match error {
            TrySendError::Full(_) => self.busy(),
            TrySendError::Disconnected(_) => self.ended(),
        })
    }

    fn busy(&self) -> Problem {
        Problem::new(Trouble::Busy, &self.path, "too much waits for it")
    }

    fn ended(&self) -> Problem {
        Problem::new(Trouble::Other, &self.path, "its thread is gone")
    }

    fn refuse(&self, error: TrySendError<Question>) {
        let (problem, question) = match error {
            TrySendError::Full(question) => (self.busy(), question),
            TrySendError::Disconnected(question) => (self.ended(), question),
        };
        question.answer.failed(problem.to_string());
    }
}

impl AskedStore for SqliteStore {
    fn submit(&self, request: StoreRequest, answer: StoreAnswer) {
        let bytes = frame_bytes(&request);
        let question = Question { request, answer };
        match question.request {
            StoreRequest::Person { .. }
            | StoreRequest::Contacts { .. }
            | StoreRequest::Members { .. }
            | StoreRequest::Fetch { .. } => {
                if let Err(error) = self.readers.try_send(question) {
                    self.refuse(error);
                }
            }
            // Also what looks for a key: it has to see what was put before.
            _ => {
                if self.frames.fetch_add(bytes, Ordering::Relaxed) > WAITING_BYTES {
                    self.frames.fetch_sub(bytes, Ordering::Relaxed);
                    return self.refuse(TrySendError::Full(question));
                }
                let refused = self.writer.try_send(Job::Ask(question));
                if let Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) = refused {
                    self.frames.fetch_sub(bytes, Ordering::Relaxed);
                    if let Job::Ask(question) = job {
                        self.refuse(TrySendError::Full(question));
                    }
                }
            }
        }
    }
}

fn frame_bytes(request: &StoreRequest) -> usize {
    if let StoreRequest::Put { frame, .. } = request { frame.len() } else { 0 }
}

/// The next for one of several threads; `None` when there will be none.
fn next(questions: &Mutex<Receiver<Question>>) -> Option<Question> {
    questions.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

fn start(path: &Path, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Problem> {
    let started = std::thread::Builder::new().name(name.into()).spawn(work);
    started.map(drop).map_err(|error| Problem::of_io(path, &error))
}
