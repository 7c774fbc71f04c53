//! A blob that is being sent: the handle for its sender, and the task that reads it.

use std::{
    io::{self, ErrorKind},
    pin::pin,
    task::Poll,
};

use bytes::Bytes;
use esf_proto::{
    client::SendError,
    failure::Failure,
    ids::MessageId,
    session::blob::{BlobNeed, FRAGMENT},
};

use super::BlobSource;
use crate::{
    notify::Notify,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What is read of a source at once.
const READ: usize = 256 * 1024;

/// How a blob travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobOptions {
    /// The most data in one fragment, in bytes; 16 KiB, which is also the largest, by default.
    pub fragment: usize,
}

impl Default for BlobOptions {
    fn default() -> Self {
        Self { fragment: FRAGMENT }
    }
}

/// Why a blob did not arrive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// It was not even taken.
    #[error(transparent)]
    Refused(#[from] SendError),
    /// It failed on its way, or its receiver did not want it.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// Its bytes could not be read.
    #[error("it could not be read: {text}")]
    Source {
        /// What kind of error it was.
        kind: ErrorKind,
        /// The source's words for it.
        text: String,
    },
}

/// How far a blob is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct BlobProgress {
    /// Bytes, from its start, that its receiver is known to have. Of several receivers, the one that lags most.
    pub held: u64,
    /// Bytes in all, if that is known: for one of unknown length when the last of it was read.
    pub total: Option<u64>,
}

/// A blob that is being sent.
///
/// It goes on without this handle. Clones are the same blob.
#[derive(Clone)]
pub struct SendingBlob {
    id: MessageId,
    line: Arc<dyn Line>,
    transfer: Arc<Transfer>,
}

impl SendingBlob {
    pub(crate) fn new(id: MessageId, line: Arc<dyn Line>, transfer: Arc<Transfer>) -> Self {
        Self { id, line, transfer }
    }

    /// The blob's number.
    #[must_use]
    pub fn id(&self) -> MessageId {
        self.id
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> BlobProgress {
        self.transfer.lock().progress
    }

    /// Waits until it is further than `seen`, and says how far; `None` once it has its outcome.
    ///
    /// Dropping the future loses nothing.
    pub async fn further_than(&self, seen: BlobProgress) -> Option<BlobProgress> {
        let further = || {
            let state = self.transfer.lock();
            state.outcome.is_some() || state.progress != seen
        };
        self.transfer.changed.until(further).await;
        let state = self.transfer.lock();
        state.outcome.is_none().then_some(state.progress)
    }

    /// Gives it up, on both sides. Its outcome is `Cancelled`, unless it has another already.
    pub fn cancel(&self) {
        self.line.cancel(self.id);
    }

    /// Waits for its outcome: `Ok` when it is whole at a receiver, who took it.
    ///
    /// Dropping the future cancels nothing.
    ///
    /// # Errors
    /// Why it did not arrive. `ConnectionLost` and `TimedOut` mean that it may have.
    pub async fn outcome(&self) -> Result<(), BlobError> {
        self.transfer.changed.until(|| self.transfer.lock().outcome.is_some()).await;
        // It was just there, and it stays.
        self.transfer.lock().outcome.clone().unwrap_or(Err(BlobError::Failed(Failure::Internal)))
    }
}

impl std::fmt::Debug for SendingBlob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SendingBlob").field("id", &self.id).field("progress", &self.progress()).finish_non_exhaustive()
    }
}

/// The way of a blob's bytes to the core.
pub(crate) trait Line: Send + Sync {
    /// Gives what was needed; `last` if it ends with it.
    fn give(&self, id: MessageId, offset: u64, bytes: Bytes, last: bool);
    /// It is not wanted any more, or there is no more of it.
    fn cancel(&self, id: MessageId);
}

/// What is known of a blob that is being sent.
#[derive(Debug, Default)]
pub(crate) struct Transfer {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    progress: BlobProgress,
    need: Option<BlobNeed>,
    /// What was wrong with the source.
    broken: Option<BlobError>,
    outcome: Option<Result<(), BlobError>>,
}

impl Transfer {
    pub(crate) fn new(total: Option<u64>) -> Arc<Self> {
        let progress = BlobProgress { held: 0, total };
        Arc::new(Self { state: Mutex::new(State { progress, ..State::default() }), changed: Notify::default() })
    }

    /// The core wants bytes. What it wanted before, it does not want any more.
    pub(crate) fn need(&self, need: BlobNeed) {
        self.change(|state| state.need = Some(need));
    }

    pub(crate) fn progress(&self, held: u64) {
        self.change(|state| state.progress.held = state.progress.held.max(held));
    }

    /// It has its outcome. The first stands.
    pub(crate) fn end(&self, outcome: Result<(), Failure>) {
        self.change(|state| {
            if state.outcome.is_none() {
                let broken = state.broken.take();
                state.outcome = Some(outcome.map_err(|failure| broken.unwrap_or(BlobError::Failed(failure))));
            }
        });
    }

    fn break_off(&self, error: &io::Error) {
        let broken = BlobError::Source { kind: error.kind(), text: error.to_string() };
        self.change(|state| state.broken = Some(broken));
    }

    /// The next need; `None` once there is an outcome.
    async fn next_need(&self) -> Option<BlobNeed> {
        let mut next = None;
        let look = || {
            let mut state = self.lock();
            next = state.need.take();
            next.is_some() || state.outcome.is_some()
        };
        self.changed.until(look).await;
        next.filter(|_| !self.is_over())
    }

    fn is_over(&self) -> bool {
        self.lock().outcome.is_some()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify();
    }

    /// The state is whole after every step, so a panic elsewhere leaves nothing half done in it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a blob as the core wants it, until it has its outcome.
pub(crate) async fn feed(id: MessageId, line: Arc<dyn Line>, transfer: Arc<Transfer>, mut source: impl BlobSource) {
    let total = source.total();
    // What was read last, and where it begins: more than is wanted at a time, since a read costs more than its bytes.
    let mut ahead = (0, Bytes::new());
    while let Some(need) = transfer.next_need().await {
        if piece(&ahead, need).is_none() {
            let left = total.map_or(u64::MAX, |total| total.saturating_sub(need.offset));
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(READ.max(need.max));
            let read = match most {
                0 => Some(Ok(Bytes::new())),
                most => unless_over(&transfer, source.read(need.offset, most)).await,
            };
            match read.map(|read| read.and_then(|bytes| check(bytes, need.offset, total))) {
                Some(Ok(bytes)) => ahead = (need.offset, bytes),
                Some(Err(error)) => {
                    transfer.break_off(&error);
                    return line.cancel(id);
                }
                None => return,
            }
        }
        let bytes = piece(&ahead, need).unwrap_or_default();
        let until = need.offset + bytes.len() as u64;
        let last = bytes.is_empty() || total == Some(until);
        if last {
            transfer.change(|state| state.progress.total = Some(until));
        }
        line.give(id, need.offset, bytes, last);
    }
}

/// What of the bytes ahead is needed, if any is.
fn piece((start, bytes): &(u64, Bytes), need: BlobNeed) -> Option<Bytes> {
    let skip = usize::try_from(need.offset.checked_sub(*start)?).ok()?;
    let rest = bytes.len().checked_sub(skip).filter(|rest| *rest > 0)?;
    Some(bytes.slice(skip..skip + rest.min(need.max)))
}

/// A source that says how much it has must have that much.
fn check(bytes: Bytes, offset: u64, total: Option<u64>) -> io::Result<Bytes> {
    match total {
        Some(total) if bytes.is_empty() && offset < total => {
            Err(io::Error::new(ErrorKind::UnexpectedEof, format!("it ended after {offset} of {total} bytes")))
        }
        _ => Ok(bytes),
    }
}

/// Waits for `reading`, which may take for ever, unless there is an outcome before.
async fn unless_over<T>(transfer: &Transfer, reading: impl Future<Output = T>) -> Option<T> {
    let mut reading = pin!(reading);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(read) = reading.as_mut().poll(cx) {
            return Poll::Ready(Some(read));
        }
        transfer.changed.poll(cx, || transfer.is_over()).map(|()| None)
    })
    .await
}

#[cfg(all(test, feature = "async"))]
mod tests;
