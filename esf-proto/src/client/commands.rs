//! What the application wants sent.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::{Bytes, BytesMut};

use super::{EVENTS, Event, MAX_TTL, Session, State};
use crate::{
    failure::Failure,
    ids::{MessageId, To, UserId},
    session::lanes::{Lane, Queued},
    store::STORED_ROOM,
    time::Instant,
    wire::{Address, Envelope, Flags, Frame, Header, Kind, Method, Stamp, requests},
};

/// What becomes of a plain send when something is in its way.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// It waits.
    #[default]
    Queue,
    /// It is dropped: what is only worth something now, such as "is typing".
    Discard,
}

/// How a plain send is sent.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct SendOptions {
    /// What becomes of it when something is in its way.
    pub policy: Policy,
    /// Asks for [`Event::Undeliverable`] with this number when it came to nothing.
    pub tell: Option<u64>,
}

/// How an engine's message is sent.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct MessageOptions {
    /// What becomes of it when something is in its way.
    pub policy: Policy,
    /// Whether the sender's other devices get a copy.
    pub echo: bool,
    /// Asks for [`Event::Undeliverable`] with this number when it came to nothing.
    pub tell: Option<u64>,
}

/// How a certain send is sent.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct CertainOptions {
    /// Its time to live; the session's `certain_timeout` if it is not named, and 30 s for what a server sends.
    pub ttl: Option<Duration>,
    /// Whether the server stores it if the target is offline. It is then delivered at the target's next login.
    pub store_if_offline: bool,
}

/// Why a command was not taken. Gives the body back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The queue is full, or too many operations are open.
    #[error("the channel is busy")]
    Busy(Bytes),
    /// The frame would be over the server's limit.
    #[error("the message is too large: a frame may have {limit} bytes")]
    TooLarge {
        /// The body.
        body: Bytes,
        /// The largest frame, its header included.
        limit: usize,
    },
    /// The session is over, or logs off.
    #[error("the session is closed")]
    Closed(Bytes),
    /// The time to live is over the limit.
    #[error("the time to live is over {} s", MAX_TTL.as_secs())]
    TtlTooLong(Bytes),
    /// A tag has more than 65,535 bytes, or a list more than 1,000 items.
    #[error("a tag or a list is too long")]
    TooLong(Bytes),
}

impl SendError {
    /// The body that was to be sent; empty for a request.
    #[must_use]
    pub fn into_body(self) -> Bytes {
        match self {
            Self::TooLarge { body, .. }
            | Self::Busy(body)
            | Self::Closed(body)
            | Self::TtlTooLong(body)
            | Self::TooLong(body) => body,
        }
    }
}

impl Session {
    /// Sends without confirmation.
    ///
    /// # Errors
    /// It is not taken, and the error has the body.
    pub fn send(
        &mut self,
        now: Instant,
        to: &To,
        info_type: u32,
        body: Bytes,
        options: SendOptions,
    ) -> Result<(), SendError> {
        self.tick(now);
        let flags = plain_flags(options.policy, options.tell);
        let header = Header::flags(flags);
        if self.last_stamp.as_ref().is_none_or(|(last, _)| last != to) {
            let Ok(stamp) = Stamp::new(&address_of(to), &Address::of_engine(&self.me)) else {
                return Err(SendError::TooLong(body));
            };
            self.last_stamp = Some((to.clone(), stamp));
        }
        let len = self.last_stamp.as_ref().map_or(usize::MAX, |(_, stamp)| stamp.send_len(&body));
        let lane = match self.admit_plain(len, options.policy, options.tell) {
            Ok(Some(lane)) => lane,
            Ok(None) => return Ok(()),
            Err(refused) => return Err(refused.with(body, self)),
        };
        if let Some((_, stamp)) = &self.last_stamp {
            let id = options.tell.unwrap_or(0);
            self.lanes.write(lane, len, |out| stamp.write_send(header, id, info_type, &body, out));
        }
        Ok(())
    }

    /// Sends a message that raises the other engine's event with `tag`, and never its handler.
    ///
    /// # Errors
    /// It is not taken, and the error has the body.
    pub fn send_message(
        &mut self,
        now: Instant,
        to: &To,
        info_type: u32,
        body: Bytes,
        tag: &str,
        options: MessageOptions,
    ) -> Result<(), SendError> {
        self.tick(now);
        let echo = if options.echo { Flags::ECHO } else { Flags::NONE };
        let flags = plain_flags(options.policy, options.tell).with(echo);
        if tag.len() > usize::from(u16::MAX) {
            return Err(SendError::TooLong(body));
        }
        let id = options.tell.unwrap_or(0);
        let (to, from) = (address_of(to), self.me.clone());
        let envelope = Envelope::new(to, Address::of_engine(&from), id);
        let frame = Frame::EngineMessage { envelope, info_type, tag, body: &body };
        let len = frame.encoded_len();
        let lane = match self.admit_plain(len, options.policy, options.tell) {
            Ok(Some(lane)) => lane,
            Ok(None) => return Ok(()),
            Err(refused) => return Err(refused.with(body, self)),
        };
        self.lanes.write(lane, len, |out| frame.encode_measured(Header::flags(flags), len, out));
        Ok(())
    }

    /// Sends with exactly one outcome: [`Event::Acked`] or [`Event::Failed`]. It survives reconnects, and runs at most
    /// once at each receiving engine. `ttl` is the session's `certain_timeout` if it is not named.
    ///
    /// # Errors
    /// It is not taken, and the error has the body.
    pub fn send_certainly(
        &mut self,
        now: Instant,
        to: &To,
        info_type: u32,
        body: Bytes,
        ttl: Option<Duration>,
    ) -> Result<MessageId, SendError> {
        self.send_certainly_with(now, to, info_type, body, CertainOptions { ttl, ..CertainOptions::default() })
    }

    /// The same as the options say. One that is stored if its target is offline may end with [`Event::Stored`] too, has 512
    /// bytes less room in a frame, and goes to users and devices only.
    ///
    /// # Errors
    /// It is not taken, and the error has the body.
    pub fn send_certainly_with(
        &mut self,
        now: Instant,
        to: &To,
        info_type: u32,
        body: Bytes,
        options: CertainOptions,
    ) -> Result<MessageId, SendError> {
        let ttl = options.ttl.unwrap_or(self.config.certain_timeout);
        let asked = Asked::Certain { info_type, body: &body, store: options.store_if_offline };
        self.ask(now, to, ttl, &asked).map_err(|refused| refused.with(body, self))
    }

    /// Asks the server, or one device of a user. Its outcome is [`Event::Replied`] or [`Event::Failed`]. `ttl` is the
    /// session's `query_timeout` if it is not named.
    ///
    /// # Errors
    /// It is not taken, and the error has the body.
    pub fn query(
        &mut self,
        now: Instant,
        to: &To,
        info_type: u32,
        body: Bytes,
        ttl: Option<Duration>,
    ) -> Result<MessageId, SendError> {
        let ttl = ttl.unwrap_or(self.config.query_timeout);
        let asked = Asked::Query { info_type, body: &body };
        self.ask(now, to, ttl, &asked).map_err(|refused| refused.with(body, self))
    }

    /// Asks for a method. Its outcome is [`Event::Responded`] or [`Event::Failed`]. `cursor` is where the last page
    /// ended, empty for the first.
    ///
    /// # Errors
    /// It is not taken; the body in the error is empty.
    pub fn request(
        &mut self,
        now: Instant,
        to: &To,
        method: Method,
        cursor: &[u8],
        body: &[u8],
        ttl: Option<Duration>,
    ) -> Result<MessageId, SendError> {
        let ttl = ttl.unwrap_or(self.config.query_timeout);
        let asked = Asked::Request { method: method as u16, cursor, body };
        self.ask(now, to, ttl, &asked).map_err(|refused| refused.with(Bytes::new(), self))
    }

    /// Asks for a sign of life of the server or of a user's device; [`Event::Responded`] has the round trip.
    ///
    /// # Errors
    /// It is not taken.
    pub fn ping(&mut self, now: Instant, to: &To) -> Result<MessageId, SendError> {
        self.request(now, to, Method::Ping, &[], &[], None)
    }

    /// Asks which of at most 1,000 users are online; [`requests::Online`] reads the response.
    ///
    /// # Errors
    /// It is not taken.
    pub fn is_online(&mut self, now: Instant, users: &[UserId]) -> Result<MessageId, SendError> {
        let names: Vec<&str> = users.iter().map(UserId::as_str).collect();
        let mut body = BytesMut::new();
        requests::Users::encode(&names, &mut body).map_err(|_| SendError::TooLong(Bytes::new()))?;
        self.request(now, &To::Server, Method::IsOnline, &[], &body, None)
    }

    /// Asks for the devices that this user is logged in with; [`requests::Devices`] reads the response.
    ///
    /// # Errors
    /// It is not taken.
    pub fn my_devices(&mut self, now: Instant) -> Result<MessageId, SendError> {
        self.request(now, &To::Server, Method::MyDevices, &[], &[], None)
    }

    /// Asks for a page of at most `limit` users that are online (0 is the server's choice), from the last page's
    /// cursor on; [`requests::OnlineUsers`] reads the response. Needs the right to list.
    ///
    /// # Errors
    /// It is not taken.
    pub fn online_users(&mut self, now: Instant, limit: u16, cursor: &[u8]) -> Result<MessageId, SendError> {
        let mut body = BytesMut::new();
        requests::PageQuery { limit: limit.min(requests::MAX_LIST) }.encode(&mut body);
        self.request(now, &To::Server, Method::OnlineUsers, cursor, &body, None)
    }

    /// Ends every login of a user. Needs the right to kick.
    ///
    /// # Errors
    /// It is not taken.
    pub fn kick_out(&mut self, now: Instant, user: &UserId) -> Result<MessageId, SendError> {
        let mut body = BytesMut::new();
        requests::Kick { user }.encode(&mut body).map_err(|_| SendError::TooLong(Bytes::new()))?;
        self.request(now, &To::Server, Method::Kick, &[], &body, None)
    }

    /// Whether a frame of `len` bytes can be taken at all.
    fn may_take(&self, len: usize) -> Result<(), Refused> {
        if self.is_closed() || self.state == State::LoggingOff {
            Err(Refused::Closed)
        } else if len > self.limits.max_frame {
            Err(Refused::TooLarge)
        } else {
            Ok(())
        }
    }

    /// Takes room for a plain frame, and says in which lane; `None` if it is dropped.
    pub(super) fn admit_plain(
        &mut self,
        cost: usize,
        policy: Policy,
        tell: Option<u64>,
    ) -> Result<Option<Lane>, Refused> {
        self.may_take(cost)?;
        match policy {
            Policy::Queue if self.budget.charge(cost) => Ok(Some(Lane::Message)),
            Policy::Queue => {
                self.stats.busy += 1;
                Err(Refused::Busy)
            }
            Policy::Discard
                if self.state == State::Online && !self.lanes.refuses_volatile(cost) && self.budget.charge(cost) =>
            {
                Ok(Some(Lane::Volatile))
            }
            Policy::Discard => {
                self.stats.volatile_dropped += 1;
                if let Some(note) = tell {
                    self.tell_if_room(Event::Undeliverable { note, failure: Failure::Busy });
                }
                Ok(None)
            }
        }
    }

    /// Opens an operation that gets an outcome.
    fn ask(&mut self, now: Instant, to: &To, ttl: Duration, asked: &Asked<'_>) -> Result<MessageId, Refused> {
        self.tick(now);
        if ttl > MAX_TTL {
            return Err(Refused::TtlTooLong);
        }
        let ttl_ms = u32::try_from(ttl.as_millis()).unwrap_or(u32::MAX);
        let id = self.pending.next_id();
        let envelope = Envelope::new(address_of(to), Address::of_engine(&self.me), id.0);
        let frame = match *asked {
            Asked::Certain { info_type, body, .. } => Frame::Certain { envelope, ttl_ms, info_type, body },
            Asked::Query { info_type, body } => Frame::Query { envelope, ttl_ms, info_type, body },
            Asked::Request { method, cursor, body } => Frame::Request { envelope, ttl_ms, method, cursor, body },
        };
        let (kind, len) = (frame.kind(), frame.encoded_len());
        let store = matches!(asked, Asked::Certain { store: true, .. });
        self.may_take(if store { len.saturating_add(STORED_ROOM) } else { len })?;
        // Outcomes that nobody took count as open, so that nobody can pile them up.
        let room = self.pending.len() + self.events.len() < EVENTS && self.pending.admits(kind, len);
        if !room || !self.budget.charge(len) {
            self.stats.busy += 1;
            return Err(Refused::Busy);
        }
        let flags = if store { Flags::STORE } else { Flags::NONE };
        let Ok(frame) = self.arena.encode(&frame, Header::flags(flags)) else {
            self.budget.release(len);
            return Err(Refused::TooLarge);
        };
        let deadline = self.now + ttl;
        self.stats.operations += 1;
        self.pending.open(kind, to.clone(), &frame, deadline);
        let lane = if kind == Kind::Certain { Lane::Message } else { Lane::Interactive };
        if broken!(CountedAtEnqueue) && self.held.is_some() && self.state != State::Online {
            self.hop.hand_out(crate::session::frames::FrameBytes::Shared(frame), len, lane == Lane::Message);
            return Ok(id);
        }
        self.lanes.push(lane, Queued { frame, deadline: Some(deadline), cost: len, tag: id.0 });
        Ok(id)
    }
}

/// What is asked, without the envelope.
enum Asked<'a> {
    Certain { info_type: u32, body: &'a [u8], store: bool },
    Query { info_type: u32, body: &'a [u8] },
    Request { method: u16, cursor: &'a [u8], body: &'a [u8] },
}

/// A [`SendError`] that has no body yet.
pub(super) enum Refused {
    Busy,
    TooLarge,
    Closed,
    TtlTooLong,
}

impl Refused {
    pub(super) fn with(self, body: Bytes, session: &Session) -> SendError {
        match self {
            Self::Busy => SendError::Busy(body),
            Self::TooLarge => SendError::TooLarge { body, limit: session.limits.max_frame },
            Self::Closed => SendError::Closed(body),
            Self::TtlTooLong => SendError::TtlTooLong(body),
        }
    }
}

pub(super) fn plain_flags(policy: Policy, tell: Option<u64>) -> Flags {
    let volatile = if policy == Policy::Discard { Flags::VOLATILE } else { Flags::NONE };
    let told = if tell.is_some() { Flags::TELL } else { Flags::NONE };
    volatile.with(told)
}

/// Whichever server runs has instance 0.
pub(super) fn address_of(to: &To) -> Address<'_> {
    match to {
        To::Server => Address::Server { instance: 0 },
        To::User(user) => Address::User { user },
        To::Device(user, device) => Address::Device { user, device: *device },
    }
}
