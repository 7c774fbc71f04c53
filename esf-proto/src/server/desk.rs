//! The server's own end: what its application sends to people.

use alloc::sync::Arc;
use core::time::Duration;

use bytes::Bytes;

use super::{Config, Counters, Outbox};
use crate::{
    failure::Failure,
    ids::{GroupId, InstanceId, MessageId, Source, To},
    session::budget::Budget,
    time::Instant,
    wire::{Address, Envelope, Frame, Header, RawFrame},
};

/// The server as a sender: numbers what its application asks, and reads what becomes of it from an [`Outbox`] of its
/// own. To receivers the server is a source like any other, so a certain send of it runs once too.
#[derive(Debug)]
pub struct Desk {
    config: Arc<Config>,
    instance: InstanceId,
    last_id: u64,
}

/// What became of something that the server's application sent: exactly one for each id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeskEvent {
    /// The receiving engine has it.
    Acked {
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
        (Self { config: config.clone(), instance, last_id: 0 }, outbox)
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
        self.numbered(to, ttl, |envelope, ttl_ms| Frame::Certain { envelope, ttl_ms, info_type, body })
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
        self.numbered(to, ttl, |envelope, ttl_ms| Frame::Query { envelope, ttl_ms, info_type, body })
    }

    /// The next outcome, from the desk's outbox.
    #[must_use]
    pub fn poll_event(&self, now: Instant, outbox: &mut Outbox) -> Option<DeskEvent> {
        loop {
            let frame = RawFrame::parse(outbox.take(now)?).ok()?;
            match frame.decode() {
                Ok(Frame::Ack { envelope }) => return Some(DeskEvent::Acked { id: MessageId(envelope.id) }),
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
        frame: impl FnOnce(Envelope<'a>, u32) -> Frame<'a>,
    ) -> Result<(MessageId, RawFrame), Failure> {
        let id = self.last_id + 1;
        let ttl_ms = u32::try_from(ttl.as_millis()).unwrap_or(u32::MAX);
        let frame = self.frame(&frame(self.envelope(to, id)?, ttl_ms))?;
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
        let bytes = frame.to_bytes(Header::default()).map_err(|_| Failure::TooLarge)?;
        if bytes.len() > self.config.max_frame as usize {
            return Err(Failure::TooLarge);
        }
        RawFrame::parse(bytes).map_err(|_| Failure::Internal)
    }
}

#[cfg(test)]
mod tests;
