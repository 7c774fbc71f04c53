//! Carries what a node asks its store to it, and the answers back.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll, Waker},
};

use super::{Shared, lock, shortage::RareLog};
use crate::{
    store::{JobId, Store, StoreAnswer, StoreFailed, StoreRequest, StoreResponse},
    sync::{Arc, Mutex, atomic::Ordering},
};

/// Requests that are carried before others have a turn.
const AT_ONCE: usize = 256;

/// The one who carries. It ends with the server, after the last request was carried.
pub(super) struct Courier {
    shared: Arc<Shared>,
    store: Arc<dyn Store>,
    log: Arc<Mutex<RareLog>>,
}

impl Courier {
    pub(super) fn new(shared: &Arc<Shared>, store: Arc<dyn Store>) -> Self {
        Self { shared: shared.clone(), store, log: Arc::default() }
    }

    /// Carries until the server is over.
    pub(super) async fn carry(self) {
        std::future::poll_fn(|cx: &mut Context<'_>| {
            self.register(cx.waker());
            let over = self.shared.state.ended.load(Ordering::SeqCst);
            for _ in 0..AT_ONCE {
                let Some((job, request)) = self.shared.node.poll_request() else {
                    return if over { Poll::Ready(()) } else { Poll::Pending };
                };
                self.submit(job, request);
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    fn register(&self, waker: &Waker) {
        self.shared.node.register_store(waker);
        self.shared.state.courier.register(waker);
    }

    fn submit(&self, job: JobId, request: StoreRequest) {
        // A store may keep an answer for ever, which is not to keep the server.
        let (shared, log) = (Arc::downgrade(&self.shared), self.log.clone());
        let answer = StoreAnswer::new(move |answer| {
            let Some(shared) = shared.upgrade() else { return };
            if let Err(failed) = &answer {
                shared.store_failed(&log, failed);
            }
            shared.answer(job, answer);
        });
        // The answer is dropped on the way, which is one.
        if catch_unwind(AssertUnwindSafe(|| self.store.submit(request, answer))).is_err() {
            // The panic itself was reported by the panic hook.
            self.shared.state.counters.stores_panicked.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Shared {
    fn answer(&self, job: JobId, answer: Result<StoreResponse, StoreFailed>) {
        self.node.handle_response(self.runtime.now(), job, answer);
    }

    fn store_failed(&self, log: &Mutex<RareLog>, failed: &StoreFailed) {
        let failures = lock(log).failed(self.runtime.now());
        if let Some(failures) = failures {
            tracing::warn!(
                reason = failed.reason(),
                failures,
                "the store fails; whoever asked is told that there was an internal error"
            );
        }
    }
}
