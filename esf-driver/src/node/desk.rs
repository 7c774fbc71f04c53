//! What the server's application sends to people, and what becomes of it.

use std::{task::Waker, time::Duration};

use esf_proto::{
    failure::Failure,
    ids::{InstanceId, MessageId, To},
    server::{Config, Counters, Desk, DeskEvent, Outbox},
    session::budget::Budget,
    time::Instant,
    wire::RawFrame,
};

use super::{
    Node,
    cell::{LinkWaker, Outboxes},
    lock,
};
use crate::sync::{Arc, Mutex, MutexGuard};

/// The server's own end of every conversation.
#[derive(Debug)]
pub(super) struct OwnEnd {
    desk: Mutex<Desk>,
    outbox: Mutex<Outbox>,
    waker: LinkWaker,
}

impl OwnEnd {
    pub(super) fn new(
        config: &Arc<Config>,
        counters: &Arc<Counters>,
        global: &Arc<Budget>,
        instance: InstanceId,
    ) -> Self {
        let (desk, outbox) = Desk::new(config, counters, global, instance);
        Self { desk: Mutex::new(desk), outbox: Mutex::new(outbox), waker: LinkWaker::default() }
    }

    pub(super) fn visit<R>(&self, visit: impl FnOnce(&mut Outbox) -> R) -> R {
        let mut outbox = lock(&self.outbox);
        let result = visit(&mut outbox);
        let woken = outbox.take_wake();
        drop(outbox);
        if woken {
            self.waker.wake();
        }
        result
    }

    pub(super) fn desk(&self) -> MutexGuard<'_, Desk> {
        lock(&self.desk)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        lock(&self.outbox).poll_timeout()
    }

    pub(super) fn expire(&self, now: Instant) {
        self.visit(|outbox| outbox.expire(now));
    }
}

impl Node {
    /// Sends a plain message to a user: queued for every device, or refused at once.
    ///
    /// # Errors
    /// [`Failure::Offline`], [`Failure::Busy`], [`Failure::TooLarge`]; [`Failure::NotAllowed`] to the server itself.
    pub fn send(&self, now: Instant, to: &To, info_type: u32, body: &[u8]) -> Result<(), Failure> {
        let frame = lock(&self.desk.desk).send(to, info_type, body)?;
        self.hub().send(now, &frame, &Outboxes(self))
    }

    /// Sends a message that is acknowledged; its outcome comes from [`Node::poll_outcome`].
    ///
    /// # Errors
    /// [`Failure::TooLarge`]; [`Failure::NotAllowed`] to the server itself.
    pub fn send_certainly(
        &self,
        now: Instant,
        to: &To,
        info_type: u32,
        body: &[u8],
        ttl: Duration,
    ) -> Result<MessageId, Failure> {
        self.ask(now, |desk| desk.send_certainly(to, info_type, body, ttl))
    }

    /// Asks a user's device; the answer comes from [`Node::poll_outcome`].
    ///
    /// # Errors
    /// [`Failure::TooLarge`]; [`Failure::NotAllowed`] to the server itself.
    pub fn query(
        &self,
        now: Instant,
        to: &To,
        info_type: u32,
        body: &[u8],
        ttl: Duration,
    ) -> Result<MessageId, Failure> {
        self.ask(now, |desk| desk.query(to, info_type, body, ttl))
    }

    fn ask(
        &self,
        now: Instant,
        frame: impl FnOnce(&mut Desk) -> Result<(MessageId, RawFrame), Failure>,
    ) -> Result<MessageId, Failure> {
        // The desk stays locked, so that ids reach a receiver in their order.
        let mut desk = lock(&self.desk.desk);
        let (id, frame) = frame(&mut desk)?;
        self.hub().send(now, &frame, &Outboxes(self))?;
        self.housekeeper.wake();
        Ok(id)
    }

    /// What became of a certain send or query of the server's application: exactly one for each id.
    #[must_use]
    pub fn poll_outcome(&self, now: Instant) -> Option<DeskEvent> {
        let desk = lock(&self.desk.desk);
        self.desk.visit(|outbox| desk.poll_event(now, outbox))
    }

    /// Wakes `waker` when there is an outcome.
    pub fn register_outcomes(&self, waker: &Waker) {
        self.desk.waker.register(waker);
    }
}
