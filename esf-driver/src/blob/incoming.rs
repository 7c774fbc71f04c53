//! A blob that arrives: what its receiver chooses, and how it is read as a stream.

use std::task::{Context, Poll};

use bytes::Bytes;
use esf_proto::{
    failure::Failure,
    session::blob::{BlobId, BlobRead},
    time::Instant,
};

use crate::{
    notify::Notify,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// A blob that somebody wants to send.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlobOffer {
    /// The application's number for what it means.
    pub info_type: u32,
    /// The sender's name for it, of [`MAX_BLOB_NAME`](super::MAX_BLOB_NAME) bytes at most; may be empty. A stranger chose
    /// it: it is no path, and may steer a terminal.
    pub name: Box<str>,
    /// Bytes in all, if the sender knows.
    pub total: Option<u64>,
}

/// How a blob is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlobChoice {
    /// Whole, in memory. Larger than the server's `max_blob` it fails as `TooLarge`.
    Whole,
    /// Piece by piece, of any length.
    Stream,
    /// Not at all; the sender sees this.
    Refuse(Failure),
}

impl BlobChoice {
    /// What suits an application that takes streams, that takes blobs whole, or neither.
    pub(crate) fn suiting(streams: bool, whole: bool) -> Self {
        match (streams, whole) {
            (true, _) => Self::Stream,
            (false, true) => Self::Whole,
            (false, false) => Self::Refuse(Failure::Rejected),
        }
    }
}

/// A blob that arrives, piece by piece. Its sender is as fast as it is read.
///
/// Its sender hears that it arrived when [`finish`](Self::finish) says so. A stream that is dropped before is refused:
/// its sender sees `HandlerFailed`.
pub struct BlobStream {
    blob: BlobId,
    offer: BlobOffer,
    inlet: Arc<dyn Inlet>,
    flow: Arc<Flow>,
    read: u64,
    end: Option<Result<(), Failure>>,
}

impl BlobStream {
    pub(crate) fn new(blob: BlobId, offer: BlobOffer, inlet: Arc<dyn Inlet>, flow: Arc<Flow>) -> Self {
        Self { blob, offer, inlet, flow, read: 0, end: None }
    }

    /// What its sender says about it.
    #[must_use]
    pub fn offer(&self) -> &BlobOffer {
        &self.offer
    }

    /// Bytes that were read.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.read
    }

    /// The next piece, as it came; `None` when it was read to its end. It waits while the sender is away, also across
    /// reconnects of both.
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// It came to nothing: its sender took it back (`Cancelled`), is gone for good, or the connection of this side is. An
    /// error is the last word.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        self.flow.waiting.store(true, Ordering::Relaxed);
        let flow = self.flow.clone();
        let _waiting = Waiting { flow: &flow, inlet: &*self.inlet.clone() };
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// It is safe with its receiver: its sender hears so. One that was not read to its end is refused as `Cancelled`.
    pub fn finish(mut self) {
        self.end.get_or_insert(Ok(()));
        self.over(Ok(()));
    }

    /// Refuses what is left of it; its sender sees this.
    pub fn refuse(mut self, failure: Failure) {
        self.over(Err(failure));
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Failure>> {
        if let Some(end) = self.end {
            return Poll::Ready(end.map(|()| None));
        }
        let mut found = BlobRead::Wait;
        let ready = self.flow.changed.poll(cx, || {
            found = self.inlet.read_blob(self.blob);
            found != BlobRead::Wait
        });
        if ready.is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(match found {
            BlobRead::Data(bytes) => {
                self.read += bytes.len() as u64;
                Ok(Some(bytes))
            }
            BlobRead::End => {
                self.end = Some(Ok(()));
                Ok(None)
            }
            BlobRead::Wait | BlobRead::Gone => {
                let failure = self.inlet.clone().failure_of(&self.flow);
                self.end = Some(Err(failure));
                Err(failure)
            }
        })
    }

    fn over(&mut self, outcome: Result<(), Failure>) {
        if !self.flow.finished.swap(true, Ordering::Relaxed) {
            self.inlet.finish_blob(self.blob, outcome);
        }
    }
}

impl Drop for BlobStream {
    fn drop(&mut self) {
        self.over(Err(Failure::HandlerFailed));
    }
}

impl std::fmt::Debug for BlobStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobStream").field("offer", &self.offer).field("read", &self.read).finish_non_exhaustive()
    }
}

/// Where a stream is read from.
pub(crate) trait Inlet: Send + Sync {
    fn now(&self) -> Instant;
    fn read_blob(&self, blob: BlobId) -> BlobRead;
    fn finish_blob(&self, blob: BlobId, outcome: Result<(), Failure>);
    /// Why a stream is gone.
    fn failure_of(self: Arc<Self>, flow: &Flow) -> Failure;
}

/// What the dispatch and the reader of one stream share.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    changed: Notify,
    failure: Mutex<Option<Failure>>,
    finished: AtomicBool,
    /// Its reader waits for more, so nobody can blame it.
    waiting: AtomicBool,
    /// When its reader got something last, in microseconds.
    busy_since: AtomicU64,
}

impl Flow {
    pub(crate) fn new(now: Instant) -> Arc<Self> {
        Arc::new(Self { busy_since: AtomicU64::new(now.as_micros()), ..Self::default() })
    }

    /// There is something to read.
    pub(crate) fn handle_readable(&self) {
        self.changed.notify();
    }

    pub(crate) fn handle_ended(&self, failure: Failure) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
        self.changed.notify();
    }

    pub(crate) fn failure(&self) -> Option<Failure> {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since when its reader is busy; `None` while it waits.
    pub(crate) fn busy_since(&self) -> Option<Instant> {
        let waiting = self.waiting.load(Ordering::Relaxed);
        (!waiting).then(|| Instant::from_micros(self.busy_since.load(Ordering::Relaxed)))
    }
}

/// Its reader waits, for as long as this lives.
struct Waiting<'a> {
    flow: &'a Flow,
    inlet: &'a dyn Inlet,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.flow.busy_since.store(self.inlet.now().as_micros(), Ordering::Relaxed);
        self.flow.waiting.store(false, Ordering::Relaxed);
    }
}
