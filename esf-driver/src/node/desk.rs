//! What the server's application sends to people, and what becomes of it.

use std::{task::Waker, time::Duration};

use bytes::Bytes;
use esf_proto::{
    failure::Failure,
    hub::Hub,
    ids::{GroupId, InstanceId, MessageId, To},
    server::{Config, Counters, Desk, DeskEvent, HubCommand, HubEvent, Outbox},
    session::{
        blob::{BlobNeed, OutgoingBlob},
        budget::Budget,
    },
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
        stream_keys: (u64, u64),
    ) -> Self {
        let (mut desk, outbox) = Desk::new(config, counters, global, instance);
        desk.set_stream_keys(stream_keys);
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

    /// The same for a message that is stored if its target is offline: [`DeskEvent::Stored`] once it is durable.
    ///
    /// # Errors
    /// [`Failure::TooLarge`], with 512 bytes less room; [`Failure::NotAllowed`] to the server itself.
    pub fn send_storable(
        &self,
        now: Instant,
        to: &To,
        info_type: u32,
        body: &[u8],
        ttl: Duration,
    ) -> Result<MessageId, Failure> {
        self.ask(now, |desk| desk.send_storable(to, info_type, body, ttl))
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
        let mut desk = lock(&self.desk.desk);
        self.desk.visit(|outbox| desk.poll_event(now, outbox))
    }

    // Blobs.

    /// Sends a blob to the members of a group that are online, on 256 devices at most; its outcome comes from
    /// [`Node::poll_outcome`]. Who misses it is told as
    /// [`ServerEvent::BroadcastFailed`](super::ServerEvent::BroadcastFailed).
    ///
    /// # Errors
    /// [`Failure::Busy`] with 8 blobs under way; [`Failure::TooLarge`] for its name.
    pub fn broadcast_blob(&self, now: Instant, group: &GroupId, blob: &OutgoingBlob) -> Result<MessageId, Failure> {
        let mut desk = lock(&self.desk.desk);
        let (id, offer) = desk.broadcast_blob(group, blob)?;
        self.carry_out(now, offer);
        drop(desk);
        self.housekeeper.wake();
        Ok(id)
    }

    /// What a source of the server's application is to give next, by [`Node::give_blob`].
    #[must_use]
    pub fn poll_blob_need(&self) -> Option<BlobNeed> {
        lock(&self.desk.desk).poll_blob_need()
    }

    /// How much of a blob everybody holds, where that has changed.
    #[must_use]
    pub fn poll_blob_progress(&self) -> Option<(MessageId, u64)> {
        lock(&self.desk.desk).poll_blob_progress()
    }

    /// Gives the bytes of a blob, as they were asked for. Fails if they are not what its offer said: that is its outcome.
    ///
    /// # Errors
    /// [`Failure::Malformed`].
    pub fn give_blob(&self, now: Instant, id: MessageId, offset: u64, data: Bytes, last: bool) -> Result<(), Failure> {
        let mut desk = lock(&self.desk.desk);
        if let Some(cancel) = desk.give_blob(id, offset, data, last) {
            self.carry_out(now, cancel);
            return Err(Failure::Malformed);
        }
        drop(desk);
        self.move_blobs(now);
        Ok(())
    }

    /// Takes a blob back; says whether it had no outcome yet. It gets none then.
    pub fn cancel_blob(&self, now: Instant, id: MessageId) -> bool {
        let mut desk = lock(&self.desk.desk);
        let cancel = desk.cancel_blob(id, Failure::Cancelled);
        let there = cancel.is_some();
        if let Some(cancel) = cancel {
            self.carry_out(now, cancel);
        }
        there
    }

    /// Sends what there is of blobs and may go.
    pub fn move_blobs(&self, now: Instant) {
        let mut desk = lock(&self.desk.desk);
        while let Some(command) = self.desk.visit(|outbox| desk.poll_blob(now, outbox)) {
            self.carry_out(now, command);
        }
    }

    /// Called under the desk's lock, so that what it says goes out in its order.
    fn carry_out(&self, now: Instant, command: HubCommand) {
        let hub: &Hub<_> = &self.hub();
        match hub.carry_out_of_server(now, command, &Outboxes(self)) {
            Some(HubEvent::Broadcast(fanout)) => self.broadcast_of_server(*fanout),
            Some(HubEvent::Missed(missed)) => self.missed(*missed),
            _ => {}
        }
    }

    /// Wakes `waker` when there is an outcome.
    pub fn register_outcomes(&self, waker: &Waker) {
        self.desk.waker.register(waker);
    }
}
