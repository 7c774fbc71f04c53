//! What goes to many at a node, and what its store is asked about people.

use std::task::Waker;

use esf_proto::{
    failure::Failure,
    hub::{Fanout, Fanouts, Hub, Mail, Missed, Progress, Reply},
    ids::{GroupId, UserId},
    session::budget::Budget,
    store::{JobId, StoreFailed, StoreRequest, StoreResponse},
    time::Instant,
    wire::RawFrame,
};

use super::{
    Node, ServerEvent,
    cell::{Cell, LinkWaker, Outboxes},
    lock,
};
use crate::sync::{Arc, Mutex};

/// Slices of presence that the housekeeper carries out before it looks at anything else.
const SLICES: usize = 16;

/// What waits to go to many, and whoever carries requests to the store.
#[derive(Debug)]
pub(super) struct Crowd {
    fanouts: Mutex<Fanouts>,
    store: LinkWaker,
}

impl Crowd {
    pub(super) fn new(global: &Arc<Budget>) -> Self {
        Self { fanouts: Mutex::new(Fanouts::new(global)), store: LinkWaker::default() }
    }

    /// Whether something can go on now.
    pub(super) fn has_next(&self) -> bool {
        lock(&self.fanouts).has_next()
    }
}

impl Node {
    // The store.

    /// The next request for the store. Its answer goes to [`Node::handle_response`], from any thread.
    #[must_use]
    pub fn poll_request(&self) -> Option<(JobId, StoreRequest)> {
        if !self.config.store {
            return None;
        }
        // The directory is changed only if it asks something: most that is asked is about messages.
        let asks = self.hub().has_request();
        asks.then(|| self.hub_mut(Hub::poll_request)).flatten().or_else(|| self.poll_mail_request())
    }

    /// The answer of the store to a request.
    pub fn handle_response(&self, now: Instant, job: JobId, answer: Result<StoreResponse, StoreFailed>) {
        if Mail::<Arc<Cell>>::owns(job) {
            self.handle_mail_response(now, job, answer);
        } else {
            self.hub_mut(|hub| hub.handle_response(now, job, answer));
        }
    }

    /// Wakes `waker` when there is a request for the store.
    pub fn register_store(&self, waker: &Waker) {
        self.crowd.store.register(waker);
    }

    /// The contacts or groups of a user are others than before: the store is asked for them again.
    pub fn relations_changed(&self, now: Instant, user: &UserId) {
        self.hub_mut(|hub| hub.relations_changed(now, user));
    }

    // What goes to many.

    /// Sends a message of the server's application to the members of a group that are online. Who misses it is told as
    /// [`ServerEvent::BroadcastFailed`].
    ///
    /// # Errors
    /// [`Failure::TooLarge`]; [`Failure::Busy`] if too many broadcasts of the application wait.
    pub fn broadcast(&self, group: &GroupId, info_type: u32, body: &[u8]) -> Result<(), Failure> {
        // The desk stays locked, so that broadcasts go out in the order in which they were numbered.
        let desk = self.desk.desk();
        let frame = desk.broadcast(group, info_type, body)?;
        let fanout = Hub::<Arc<Cell>>::broadcast_of_server(&frame).ok_or(Failure::Internal)?;
        lock(&self.crowd.fanouts).push(fanout)?;
        drop(desk);
        self.housekeeper.wake();
        Ok(())
    }

    /// A client's message to a group, called under its session's lock so that its broadcasts stay in order. One to few
    /// goes at once, if nothing of this session waits.
    pub(super) fn broadcast_of(&self, hub: &Hub<Arc<Cell>>, now: Instant, cell: &Cell, mut fanout: Fanout) {
        let goes_now = hub.is_one_slice(&fanout) && !lock(&self.crowd.fanouts).has_before(&fanout);
        if goes_now && self.carry_on(hub, now, &mut fanout) == Progress::Done {
            return;
        }
        let frame: Option<RawFrame> = fanout.frame().cloned();
        let pushed = lock(&self.crowd.fanouts).push(fanout);
        match (pushed, frame) {
            (Ok(()), _) => self.housekeeper.wake(),
            (Err(failure), Some(frame)) => {
                self.counters.busy.add(1);
                cell.visit(|outbox| outbox.refuse_fanout(&frame, failure));
            }
            (Err(_), None) => {}
        }
    }

    /// The offer of a blob of the server's application to a group.
    pub(super) fn broadcast_of_server(&self, fanout: Fanout) {
        let frame: Option<RawFrame> = fanout.frame().cloned();
        let pushed = lock(&self.crowd.fanouts).push(fanout);
        if let (Err(failure), Some(frame)) = (pushed, frame) {
            self.counters.busy.add(1);
            self.desk.visit(|outbox| outbox.refuse_fanout(&frame, failure));
        }
    }

    /// Somebody missed what went to many.
    pub(super) fn missed(&self, missed: Missed) {
        let Missed { group, from, to, failure } = missed;
        self.tell(ServerEvent::BroadcastFailed { group, from, to, failure });
    }

    /// Takes what the hub has for others after a change of it: called under its lock, and says what to do after it.
    pub(super) fn take_outputs(&self, hub: &mut Hub<Arc<Cell>>, judged: bool) -> Vec<Reply<Arc<Cell>>> {
        let mut fanouts = lock(&self.crowd.fanouts);
        while let Some(fanout) = hub.poll_fanout() {
            if fanouts.push(fanout).is_err() {
                self.counters.group_events_dropped.add(1);
            }
        }
        if judged {
            fanouts.unpark();
        }
        drop(fanouts);
        std::iter::from_fn(|| hub.poll_reply()).collect()
    }

    /// Wakes whoever carries requests to the store.
    pub(super) fn wake_store(&self) {
        self.crowd.store.wake();
    }

    /// Carries on what goes to many, for a while: a slice of a message, before its receivers get their turn, or several
    /// of presence, so that who hears of many hears of them together.
    pub(super) fn fan_out(&self, now: Instant) {
        for _ in 0..SLICES {
            let next = lock(&self.crowd.fanouts).take_next();
            let Some(mut fanout) = next else { return };
            let is_last = !fanout.is_presence();
            let progress = self.carry_on(&self.hub(), now, &mut fanout);
            lock(&self.crowd.fanouts).put_back(fanout, progress);
            if is_last {
                return;
            }
        }
    }

    fn carry_on(&self, hub: &Hub<Arc<Cell>>, now: Instant, fanout: &mut Fanout) -> Progress {
        hub.carry_on(now, fanout, &Outboxes(self), &mut |one| self.missed(one))
    }
}
