//! Brings queries to the handler. Most handlers know their answer at once, so each is asked right where its query came;
//! one that has to wait gets a task.

use std::{
    collections::hash_map::Entry,
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context as TaskContext, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use esf_proto::{
    failure::Failure,
    ids::Source,
    session::inbound::{IncomingQuery, QueryToken},
    time::Instant,
};

use super::{Dispatch, Inbox, gate::Place};
use crate::{
    handler::{Context, HandlerFailed},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    tasks::BoxFuture,
};

/// How much handlers may delay the connection they are asked on, for each query on average.
pub(super) const QUICK: Duration = Duration::from_micros(10);
/// How much they may delay it at one time.
pub(super) const TURN: Duration = Duration::from_millis(1);

/// What a handler answers.
type Answer = Result<Bytes, HandlerFailed>;

/// Keeps handlers that compute or block away from the connections: one whose first steps took long is paid for by
/// queries that get tasks at once, as many as its time was good for.
#[derive(Debug, Default)]
pub(crate) struct InPlace {
    owed: AtomicU64,
}

impl InPlace {
    /// Whether the next handler may be asked in place.
    pub(crate) fn may(&self) -> bool {
        // Two threads may take one from the last: it is a measure, not a count.
        let owed = self.owed.load(Ordering::Relaxed);
        if owed > 0 {
            self.owed.store(owed - 1, Ordering::Relaxed);
        }
        owed == 0
    }

    /// So long did one take.
    pub(crate) fn note(&self, took: Duration) {
        let owed = took.as_micros() / QUICK.as_micros();
        if owed > 0 {
            self.owed.store(u64::try_from(owed).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }
}

/// How long handlers have been asked in place.
struct Time {
    now: Instant,
    until: Instant,
}

impl<I: Inbox> Dispatch<I> {
    /// Asks the handler all that there is room for. `in_place` says whether the caller has time for first steps of
    /// handlers.
    pub(super) fn pump_queries(self: &Arc<Self>, in_place: bool) {
        let runtime = &self.handling.runtime;
        let mut time = (in_place && runtime.polls_in_place()).then(|| {
            let now = runtime.now();
            Time { now, until: now + TURN }
        });
        // The place of one that was ready at once serves the next.
        let mut free = None;
        while let Some((query, place)) = self.next_query(&mut free) {
            free = self.ask(query, place, time.as_mut());
        }
    }

    fn next_query(self: &Arc<Self>, free: &mut Option<Place>) -> Option<(IncomingQuery, Place)> {
        let queries = &self.handling.gates.queries;
        // Nobody holds more than half of the places, so that one who asks for ever leaves room for others.
        let share = (queries.limit() / 2).max(1);
        let mut state = self.lock();
        loop {
            let query = state.next_query.take().or_else(|| self.inbox.poll_query())?;
            if state.asked.get(&query.source).is_some_and(|asked| *asked >= share) {
                self.handling.counters.refused.fetch_add(1, Ordering::Relaxed);
                self.inbox.reply(query.token, Err(Failure::Busy));
                continue;
            }
            let Some(place) = free.take().or_else(|| queries.enter(self)) else {
                state.next_query = Some(query);
                return None;
            };
            return Some((query, place));
        }
    }

    /// Asks the handler; the place comes back if it was ready at once.
    fn ask(self: &Arc<Self>, query: IncomingQuery, place: Place, time: Option<&mut Time>) -> Option<Place> {
        let IncomingQuery { token, source, info_type, body, sent_at } = query;
        let context =
            Context { source: source.clone(), group: None, id: None, sent_at, echo_of: None, accepted_at: None };
        let mut handler = self.handling.handler.clone().query(context, info_type, body);
        if let Some(time) = time.filter(|time| time.now < time.until && self.handling.in_place.may()) {
            let mut cx = TaskContext::from_waker(Waker::noop());
            let polled = catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(&mut cx)));
            let before = time.now;
            time.now = self.handling.runtime.now();
            self.handling.in_place.note(time.now.since(before));
            let answer = match polled {
                Ok(Poll::Ready(answer)) => Some(Ok(answer)),
                Ok(Poll::Pending) => None,
                Err(panic) => Some(Err(panic)),
            };
            if let Some(answer) = answer {
                self.tell(token, self.count(Some(answer)));
                return Some(place);
            }
        }
        *self.lock().asked.entry(source.clone()).or_default() += 1;
        // A runtime that is shut down drops a task at once, and with it its place, which pumps: so no lock is held here.
        self.handling.runtime.spawn(Box::pin(self.clone().answer(token, source, handler, place)));
        None
    }

    /// Waits for a handler.
    async fn answer(
        self: Arc<Self>,
        token: QueryToken,
        source: Source,
        handler: BoxFuture<'static, Answer>,
        place: Place,
    ) {
        let answer = self.run(handler).await;
        self.tell(token, answer);
        if let Entry::Occupied(mut asked) = self.lock().asked.entry(source) {
            *asked.get_mut() -= 1;
            if *asked.get() == 0 {
                asked.remove();
            }
        }
        drop(place);
        self.pump();
    }

    fn tell(&self, token: QueryToken, answer: Option<Answer>) {
        let result = match answer {
            Some(Ok(body)) => Ok(body),
            Some(Err(HandlerFailed)) | None => Err(Failure::HandlerFailed),
        };
        self.inbox.reply(token, result);
    }
}
