//! The server's own end: what its application sends to people.

use alloc::sync::Arc;
use core::time::Duration;

use bytes::Bytes;

use super::{Config, Counters, Outbox, command::HubCommand, streams::Slow};
use crate::{
    failure::Failure,
    ids::{GroupId, InstanceId, MessageId, Source, To},
    session::{
        blob::{BlobNeed, MAX_BLOB_NAME, OutgoingBlob},
        budget::Budget,
        sending::{Piece, Sending, StreamIds, Target},
    },
    store::STORED_ROOM,
    time::Instant,
    wire::{Address, Envelope, Flags, Frame, Header, RawFrame, Route},
};

/// The server as a sender: numbers what its application asks, and reads what becomes of it from an [`Outbox`] of its
/// own. To receivers the server is a source like any other, so a certain send of it runs once too.
#[derive(Debug)]
pub struct Desk {
    config: Arc<Config>,
    instance: InstanceId,
    last_id: u64,
    sending: Sending,
    streams: StreamIds,
}

/// What became of something that the server's application sent: exactly one for each id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeskEvent {
    /// The receiving engine has it.
    Acked {
        /// Which.
        id: MessageId,
    },
    /// The store has it, for a receiver that is not online.
    Stored {
        /// Which.
        id: MessageId,
    },
    /// The answer to a query.
    Replied {
        /// Which.
        id: MessageId,
        /// The answer.
        body: Bytes,
    },
    /// It came to nothing.
    Failed {
        /// Which.
        id: MessageId,
        /// Why.
        failure: Failure,
    },
}

impl Desk {
    /// The desk of this life of the server, and its outbox.
    #[must_use]
    pub fn new(
        config: &Arc<Config>,
        counters: &Arc<Counters>,
        global: &Arc<Budget>,
        instance: InstanceId,
    ) -> (Self, Outbox) {
        let budget = Arc::new(Budget::within(global.clone(), config.session_budget()));
        let outbox = Outbox::new(config, counters, &budget, Source::Server(instance), instance);
        let (sending, streams) = (Sending::default(), StreamIds::new((instance.0, 0)));
        (Self { config: config.clone(), instance, last_id: 0, sending, streams }, outbox)
    }

    /// Draws the ids of its streams by these keys from now on: they are random, so that nobody can tell the next one.
    pub fn set_stream_keys(&mut self, keys: (u64, u64)) {
        self.streams = StreamIds::new(keys);
    }

    /// A plain send.
    ///
    /// # Errors
    /// [`Failure::TooLarge`], or [`Failure::NotAllowed`] to the server itself.
    pub fn send(&self, to: &To, info_type: u32, body: &[u8]) -> Result<RawFrame, Failure> {
        let envelope = self.envelope(to, 0)?;
        self.frame(&Frame::Send { envelope, info_type, body })
    }

    /// A message to a group.
    ///
    /// # Errors
    /// [`Failure::TooLarge`].
    pub fn broadcast(&self, group: &GroupId, info_type: u32, body: &[u8]) -> Result<RawFrame, Failure> {
        let from = Address::Server { instance: self.instance.0 };
        let envelope = Envelope::new(Address::Group { group }, from, 0);
        self.frame(&Frame::Broadcast { envelope, info_type, body })
    }

    /// A certain send with this time to live.
    ///
    /// # Errors
    /// Those of [`Desk::send`].
    pub fn send_certainly<'a>(
        &mut self,
        to: &'a To,
        info_type: u32,
        body: &'a [u8],
        ttl: Duration,
    ) -> Result<(MessageId, RawFrame), Failure> {
        let certain = |envelope, ttl_ms| Frame::Certain { envelope, ttl_ms, info_type, body };
        self.numbered(to, ttl, Flags::NONE, certain)
    }

    /// The same, stored if its target is offline (ESF-331). Stored or not, it goes to whoever has it under its id in this
    /// life of the server, so it is in the store once.
    ///
    /// # Errors
    /// Those of [`Desk::send`]. It has 512 bytes less room in a frame.
    pub fn send_storable<'a>(
        &mut self,
        to: &'a To,
        info_type: u32,
        body: &'a [u8],
        ttl: Duration,
    ) -> Result<(MessageId, RawFrame), Failure> {
        let certain = |envelope, ttl_ms| Frame::Certain { envelope, ttl_ms, info_type, body };
        self.numbered(to, ttl, Flags::STORE, certain)
    }

    /// A query with this time to live.
    ///
    /// # Errors
    /// Those of [`Desk::send`].
    pub fn query<'a>(
        &mut self,
        to: &'a To,
        info_type: u32,
        body: &'a [u8],
        ttl: Duration,
    ) -> Result<(MessageId, RawFrame), Failure> {
        self.numbered(to, ttl, Flags::NONE, |envelope, ttl_ms| Frame::Query { envelope, ttl_ms, info_type, body })
    }

    // Blobs.

    /// A blob to a group, and its offer, for [`Hub::carry_out_of_server`](crate::hub::Hub::carry_out_of_server). Its bytes
    /// are asked for by [`Desk::poll_blob_need`], and it has one outcome.
    ///
    /// # Errors
    /// [`Failure::Busy`] with 8 blobs under way, [`Failure::TooLarge`] for its name.
    pub fn broadcast_blob(&mut self, group: &GroupId, blob: &OutgoingBlob) -> Result<(MessageId, HubCommand), Failure> {
        if blob.name.len() > MAX_BLOB_NAME {
            return Err(Failure::TooLarge);
        }
        if !self.sending.admits() {
            return Err(Failure::Busy);
        }
        let (id, stream) = (self.last_id + 1, self.streams.next());
        let envelope = self.to_group(group, id);
        let &OutgoingBlob { info_type, ref name, total, .. } = blob;
        let offer = self.frame(&Frame::BlobOffer { envelope, stream, total, info_type, name })?;
        self.last_id = id;
        self.sending.open(MessageId(id), stream, Target::Group(group.clone()), blob, offer.bytes().clone());
        self.sending.handed_out(MessageId(id));
        Ok((MessageId(id), HubCommand::Broadcast(offer)))
    }

    /// What a source is to give next, by [`Desk::give_blob`].
    #[must_use]
    pub fn poll_blob_need(&mut self) -> Option<BlobNeed> {
        self.sending.poll_need()
    }

    /// Gives the bytes of a blob from `offset` on, as they were asked for; `last` if it ends with them. Says what to do if
    /// they do not fit what the offer said: then it has failed as `Malformed`.
    #[must_use]
    pub fn give_blob(&mut self, id: MessageId, offset: u64, data: Bytes, last: bool) -> Option<HubCommand> {
        let failure = self.sending.give(id, offset, data, last).err()?;
        self.cancel_blob(id, failure)
    }

    /// Takes a blob back. Whoever asked for that knows its outcome; `None` if it has another already.
    #[must_use]
    pub fn cancel_blob(&mut self, id: MessageId, code: Failure) -> Option<HubCommand> {
        let outgoing = self.sending.take(id)?;
        let Target::Group(group) = &outgoing.to else { return None };
        let envelope = self.to_group(group, id.0);
        self.command(&Frame::BlobCancel { envelope, stream: outgoing.stream, code })
    }

    /// How much of a blob everybody holds, where that has changed.
    #[must_use]
    pub fn poll_blob_progress(&mut self) -> Option<(MessageId, u64)> {
        self.sending.poll_progress().map(|(id, held, _)| (id, held))
    }

    /// What the hub is to do next for the blobs that the server sends, by
    /// [`Hub::carry_out_of_server`](crate::hub::Hub::carry_out_of_server).
    #[must_use]
    pub fn poll_blob(&mut self, now: Instant, outbox: &mut Outbox) -> Option<HubCommand> {
        while let Some((stream, offset)) = outbox.streams_out.poll_credit(now) {
            self.sending.on_credit(stream, offset);
        }
        if let Some(Slow { stream, id, session, engine, only }) = outbox.streams_out.poll_slow(now) {
            return Some(HubCommand::TooSlow { stream, id, session, engine, only });
        }
        if let Some(piece) = self.sending.poll_fragment() {
            let Piece { stream, offset, last, ref data } = piece;
            let frame = Frame::Fragment { stream, offset, last, data }.to_bytes(Header::default()).ok()?;
            return RawFrame::parse(frame).ok().map(HubCommand::Fragment);
        }
        let (outgoing, total) = self.sending.poll_end()?;
        let (id, stream, to) = (outgoing.id, outgoing.stream, outgoing.to.clone());
        let Target::Group(group) = &to else { return None };
        self.command(&Frame::BlobEnd { envelope: self.to_group(group, id.0), stream, total })
    }

    fn to_group<'a>(&self, group: &'a GroupId, id: u64) -> Envelope<'a> {
        Envelope::new(Address::Group { group }, Address::Server { instance: self.instance.0 }, id)
    }

    fn command(&self, frame: &Frame<'_>) -> Option<HubCommand> {
        let frame = self.frame(frame).ok()?;
        let route = Route::of(&frame.envelope().ok()?);
        Some(HubCommand::Relay { frame, route })
    }

    /// The next outcome, from the desk's outbox.
    #[must_use]
    pub fn poll_event(&mut self, now: Instant, outbox: &mut Outbox) -> Option<DeskEvent> {
        loop {
            let frame = RawFrame::parse(outbox.take(now)?).ok()?;
            if let Ok(envelope) = frame.envelope() {
                self.sending.take(MessageId(envelope.id));
            }
            match frame.decode() {
                Ok(Frame::Ack { envelope }) => return Some(DeskEvent::Acked { id: MessageId(envelope.id) }),
                Ok(Frame::Accepted { envelope }) => return Some(DeskEvent::Stored { id: MessageId(envelope.id) }),
                Ok(Frame::Reply { envelope, body }) => {
                    return Some(DeskEvent::Replied { id: MessageId(envelope.id), body: frame.share(body) });
                }
                Ok(Frame::Failure { envelope, code, .. }) => {
                    return Some(DeskEvent::Failed { id: MessageId(envelope.id), failure: code });
                }
                _ => {}
            }
        }
    }

    fn numbered<'a>(
        &mut self,
        to: &'a To,
        ttl: Duration,
        flags: Flags,
        frame: impl FnOnce(Envelope<'a>, u32) -> Frame<'a>,
    ) -> Result<(MessageId, RawFrame), Failure> {
        let id = self.last_id + 1;
        let ttl_ms = u32::try_from(ttl.as_millis()).unwrap_or(u32::MAX);
        let frame = self.flagged(&frame(self.envelope(to, id)?, ttl_ms), flags)?;
        self.last_id = id;
        Ok((MessageId(id), frame))
    }

    fn envelope<'a>(&self, to: &'a To, id: u64) -> Result<Envelope<'a>, Failure> {
        let to = match to {
            To::Server => return Err(Failure::NotAllowed),
            To::User(user) => Address::User { user },
            To::Device(user, device) => Address::Device { user, device: *device },
        };
        Ok(Envelope::new(to, Address::Server { instance: self.instance.0 }, id))
    }

    fn frame(&self, frame: &Frame<'_>) -> Result<RawFrame, Failure> {
        self.flagged(frame, Flags::NONE)
    }

    fn flagged(&self, frame: &Frame<'_>, flags: Flags) -> Result<RawFrame, Failure> {
        let bytes = frame.to_bytes(Header::flags(flags)).map_err(|_| Failure::TooLarge)?;
        // What is stored comes out of the store in an envelope.
        let beside = if flags.contains(Flags::STORE) { STORED_ROOM } else { 0 };
        if bytes.len().saturating_add(beside) > self.config.max_frame as usize {
            return Err(Failure::TooLarge);
        }
        RawFrame::parse(bytes).map_err(|_| Failure::Internal)
    }
}

#[cfg(test)]
mod tests;
