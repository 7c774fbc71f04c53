//! Brings blobs to the handler.

use std::{
    collections::{HashMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
};

use bytes::Bytes;
use esf_proto::{
    failure::Failure,
    session::blob::{BlobEvent, BlobId, BlobRead, IncomingBlob, TakeBlob},
    time::Instant,
};

use super::{Dispatch, Inbox, Place};
use crate::{
    blob::{BlobChoice, BlobOffer, BlobStream, Flow, Inlet},
    handler::Context,
    sync::{Arc, MutexGuard, PoisonError},
    tasks::catch_panic,
};

/// The blobs of a session that are here. The core bounds their number and what they hold.
#[derive(Default)]
pub(super) struct Blobs {
    /// Those that were taken and are not over.
    pub(super) taken: HashMap<BlobId, Taken>,
    /// Those that are whole and have no place yet: it was lost with the link that they were taken on.
    pub(super) whole: VecDeque<(IncomingBlob, Bytes)>,
}

/// How a blob is taken.
pub(super) enum Taken {
    /// Its handler is being asked.
    Asked,
    /// Whole: the place of its handler. Nothing else is kept for it, since this may go with its link before it is here.
    Whole(Place),
    /// As a stream.
    Stream(Arc<Flow>),
}

/// What is to be done next.
pub(super) enum Next {
    Asks(IncomingBlob),
    Whole(IncomingBlob, Bytes, Place),
    Readable(Arc<Flow>),
    Ended(Arc<Flow>, Failure),
    /// Nothing, but that its place is free: whoever waits for that is told when no lock is held.
    Over(Option<Taken>),
}

impl<I: Inbox> Dispatch<I> {
    /// Does what happened to blobs.
    pub(super) fn pump_blobs(self: &Arc<Self>) {
        while let Some(next) = self.next_of_blobs() {
            match next {
                Next::Asks(blob) => self.choose(blob),
                Next::Whole(incoming, body, place) => {
                    let handle = self.clone().handle_whole(incoming, body, place);
                    self.handling.runtime.spawn(Box::pin(handle));
                }
                Next::Readable(flow) => flow.handle_readable(),
                Next::Ended(flow, failure) => flow.handle_ended(failure),
                Next::Over(taken) => drop(taken),
            }
        }
        let is_empty = self.lock_blobs().taken.is_empty();
        if !is_empty && self.inbox.is_over() {
            self.end_blobs();
        }
    }

    /// Everything that is under way comes to nothing.
    fn end_blobs(&self) {
        let taken = std::mem::take(&mut self.lock_blobs().taken);
        for taken in taken.into_values() {
            if let Taken::Stream(flow) = taken {
                flow.handle_ended(Failure::ConnectionLost);
            }
        }
    }

    /// What happened, and whom it concerns: one step, so that it is in order on several threads.
    pub(super) fn next_of_blobs(self: &Arc<Self>) -> Option<Next> {
        let mut blobs = self.lock_blobs();
        let Blobs { taken, whole } = &mut *blobs;
        loop {
            let place = (!whole.is_empty()).then(|| self.handling.gates.blobs.enter(self)).flatten();
            if let Some(place) = place {
                return whole.pop_front().map(|(incoming, body)| Next::Whole(incoming, body, place));
            }
            return Some(match self.inbox.poll_blob()? {
                BlobEvent::Offered(incoming) => {
                    taken.insert(incoming.blob, Taken::Asked);
                    Next::Asks(incoming)
                }
                BlobEvent::Whole { incoming, body } => match taken.remove(&incoming.blob) {
                    Some(Taken::Whole(place)) => Next::Whole(incoming, body, place),
                    _ => {
                        whole.push_back((incoming, body));
                        continue;
                    }
                },
                BlobEvent::Readable { blob } => match taken.get(&blob) {
                    Some(Taken::Stream(flow)) => Next::Readable(flow.clone()),
                    _ => Next::Over(None),
                },
                BlobEvent::Ended { blob, failure } => match taken.remove(&blob) {
                    Some(Taken::Stream(flow)) => Next::Ended(flow, failure),
                    over => Next::Over(over),
                },
                _ => Next::Over(None),
            });
        }
    }

    fn choose(self: &Arc<Self>, incoming: IncomingBlob) {
        let (blob, context, offer) = parts(incoming);
        let choice = catch_unwind(AssertUnwindSafe(|| self.handling.handler.blob_offered(&context, &offer)));
        let choice = self.count(Some(choice)).unwrap_or(BlobChoice::Refuse(Failure::HandlerFailed));
        if let BlobChoice::Refuse(failure) = choice {
            return self.finish_blob(blob, Err(failure));
        }
        let Some(place) = self.handling.gates.blobs.try_enter() else {
            return self.finish_blob(blob, Err(Failure::Busy));
        };
        match choice {
            BlobChoice::Refuse(_) => {}
            BlobChoice::Whole => {
                if self.take(blob, Taken::Whole(place)) {
                    self.inbox.accept_blob(blob, TakeBlob::Whole);
                }
            }
            BlobChoice::Stream => {
                let flow = Flow::new(self.handling.runtime.now());
                if self.take(blob, Taken::Stream(flow.clone())) {
                    self.inbox.accept_blob(blob, TakeBlob::Stream);
                    let stream = BlobStream::new(blob, offer, self.clone(), flow.clone());
                    self.handling.runtime.spawn(Box::pin(self.clone().handle_stream(context, stream, flow, place)));
                }
            }
        }
    }

    /// Notes how a blob is taken, unless it is over already.
    fn take(&self, blob: BlobId, taken: Taken) -> bool {
        match self.lock_blobs().taken.get_mut(&blob) {
            Some(asked) => {
                *asked = taken;
                true
            }
            None => false,
        }
    }

    async fn handle_whole(self: Arc<Self>, incoming: IncomingBlob, body: Bytes, _place: Place) {
        let (blob, context, offer) = parts(incoming);
        // Also when the runtime drops this task where it waits.
        let _release = Release { dispatch: &self, blob };
        self.run(self.handling.handler.blob(context, offer.info_type, offer.name, body)).await;
    }

    /// Runs a handler of a stream for as long as it goes on reading.
    async fn handle_stream(self: Arc<Self>, context: Context, stream: BlobStream, flow: Arc<Flow>, _place: Place) {
        let handler = catch_panic(self.handling.handler.blob_stream(context, stream));
        let mut handler = pin!(handler);
        let mut timer = None;
        let ended = std::future::poll_fn(|cx| {
            if let Poll::Ready(ended) = handler.as_mut().poll(cx) {
                return Poll::Ready(Some(ended));
            }
            // While it waits for its sender, the core watches over that.
            let Some(since) = flow.busy_since() else { return Poll::Pending };
            let timer = timer.get_or_insert_with(|| self.handling.runtime.timer());
            timer.poll_until(cx, since + self.handling.limit).map(|()| None)
        })
        .await;
        self.count(ended);
    }

    fn lock_blobs(&self) -> MutexGuard<'_, Blobs> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I: Inbox> Inlet for Dispatch<I> {
    fn now(&self) -> Instant {
        self.handling.runtime.now()
    }

    fn read_blob(&self, blob: BlobId) -> BlobRead {
        self.inbox.read_blob(blob)
    }

    fn finish_blob(&self, blob: BlobId, outcome: Result<(), Failure>) {
        let over = self.lock_blobs().taken.remove(&blob);
        drop(over);
        self.inbox.finish_blob(blob, outcome);
    }

    fn failure_of(self: Arc<Self>, flow: &Flow) -> Failure {
        // The core may know why, and nobody has asked it yet.
        self.pump_blobs();
        flow.failure().unwrap_or(Failure::ConnectionLost)
    }
}

fn parts(incoming: IncomingBlob) -> (BlobId, Context, BlobOffer) {
    let IncomingBlob { blob, source, group, info_type, name, total, sent_at } = incoming;
    let context = Context { source, group, id: None, sent_at, echo_of: None, accepted_at: None };
    (blob, context, BlobOffer { info_type, name, total })
}

/// Gives the place of a blob back.
struct Release<'a, I: Inbox> {
    dispatch: &'a Dispatch<I>,
    blob: BlobId,
}

impl<I: Inbox> Drop for Release<'_, I> {
    fn drop(&mut self) {
        self.dispatch.inbox.finish_blob(self.blob, Ok(()));
    }
}
