//! The calls of a client that wait for an outcome.

use std::time::Duration;

use bytes::Bytes;
use esf_proto::{
    client::{CertainOptions, Session},
    failure::{Failure, Status},
    ids::{DeviceKind, MessageId, To, UserId},
    time::Instant,
    wire::requests,
};

use super::{Client, SendError};

pub use esf_proto::wire::requests::DeviceEntry as Device;

/// Why a call came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// Nothing was sent; the body is in here.
    #[error(transparent)]
    Refused(#[from] SendError),
    /// It was sent, or waited to be sent, and failed.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl CallError {
    /// The failure, if it was sent.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        match self {
            Self::Failed(failure) => Some(*failure),
            Self::Refused(_) => None,
        }
    }
}

/// Where a certain message is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Delivered {
    /// At the receiving engine.
    Acked,
    /// In the server's store, until the receiver logs in.
    Stored,
}

/// A user who is online.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnlineUser {
    /// The name.
    pub user: String,
    /// With what devices.
    pub devices: Vec<DeviceKind>,
}

/// One page of the users who are online.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnlinePage {
    /// The users, in an order of the server's.
    pub users: Vec<OnlineUser>,
    /// Where the next page begins; `None` for the last.
    pub next: Option<Cursor>,
}

/// A place in a list that comes in pages.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Cursor(Bytes);

impl Cursor {
    /// The first page.
    pub const START: Self = Self(Bytes::new());

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Where the page behind one begins whose response had this cursor.
    pub(super) fn behind(cursor: Bytes) -> Option<Self> {
        (!cursor.is_empty()).then_some(Self(cursor))
    }
}

impl OnlinePage {
    pub(super) fn read(body: &[u8], cursor: Bytes) -> Result<Self, CallError> {
        let page = requests::OnlineUsers::decode(body).map_err(malformed)?;
        let users =
            page.map(|user| OnlineUser { user: user.user.to_owned(), devices: user.devices().collect() }).collect();
        Ok(Self { users, next: Cursor::behind(cursor) })
    }
}

/// How an operation ended.
#[derive(Debug)]
pub(super) enum Outcome {
    Acked,
    Stored,
    Replied(Bytes),
    Responded { status: Status, cursor: Bytes, body: Bytes, round_trip: Duration },
    Failed(Failure),
}

/// What a request brought back.
pub(super) struct Response {
    pub(super) cursor: Bytes,
    pub(super) body: Bytes,
    round_trip: Duration,
}

impl Client {
    /// Sends with confirmation: when this returns, the receiving engine has the message, before its handler ran. It
    /// survives reconnects and runs at most once at each receiving engine.
    ///
    /// Dropping the future cancels nothing: the message is on its way.
    ///
    /// # Errors
    /// [`CallError::Refused`] has the body of what was not sent. Of the failures, `ConnectionLost` and `TimedOut` mean
    /// that it may have arrived.
    pub async fn send_certainly(&self, to: To, info_type: u32, body: impl Into<Bytes>) -> Result<(), CallError> {
        let body = body.into();
        self.certainly(to, info_type, body, None).await
    }

    /// [`send_certainly`](Self::send_certainly) with a time to live of its own, 5 minutes at most.
    ///
    /// # Errors
    /// As there.
    pub async fn send_certainly_within(
        &self,
        to: To,
        info_type: u32,
        body: impl Into<Bytes>,
        ttl: Duration,
    ) -> Result<(), CallError> {
        let body = body.into();
        self.certainly(to, info_type, body, Some(ttl)).await
    }

    /// Asks the server's application or one device of a user, and waits for the answer of its handler.
    ///
    /// Dropping the future cancels nothing: the question is on its way.
    ///
    /// # Errors
    /// [`CallError::Refused`] has the body of what was not sent; `HandlerFailed` comes from the other side's handler.
    pub async fn query(&self, to: To, info_type: u32, body: impl Into<Bytes>) -> Result<Bytes, CallError> {
        let body = body.into();
        self.ask(to, info_type, body, None).await
    }

    /// [`query`](Self::query) with a time to live of its own, 5 minutes at most.
    ///
    /// # Errors
    /// As there.
    pub async fn query_within(
        &self,
        to: To,
        info_type: u32,
        body: impl Into<Bytes>,
        ttl: Duration,
    ) -> Result<Bytes, CallError> {
        let body = body.into();
        self.ask(to, info_type, body, Some(ttl)).await
    }

    /// The round trip to the server, or to a device of a user.
    ///
    /// # Errors
    /// `Offline` for a user who is not there; otherwise as [`query`](Self::query).
    pub async fn ping(&self, to: To) -> Result<Duration, CallError> {
        Ok(self.request(|session, now| session.ping(now, &to)).await?.round_trip)
    }

    /// Which of these users are online, at most 1,000 at once.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub async fn is_online(&self, users: &[UserId]) -> Result<Vec<bool>, CallError> {
        let response = self.request(|session, now| session.is_online(now, users)).await?;
        let online: Vec<bool> = requests::Online::decode(&response.body).map_err(malformed)?.collect();
        if online.len() == users.len() { Ok(online) } else { Err(CallError::Failed(Failure::Malformed)) }
    }

    /// The devices that this user is logged in with, this one among them.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub async fn my_devices(&self) -> Result<Vec<Device>, CallError> {
        let response = self.request(Session::my_devices).await?;
        Ok(requests::Devices::decode(&response.body).map_err(malformed)?.collect())
    }

    /// A page of the users who are online. Needs the right to list.
    ///
    /// # Errors
    /// `NotAllowed` without the right; otherwise as [`query`](Self::query).
    pub async fn online_users(&self, from: Cursor) -> Result<OnlinePage, CallError> {
        let response = self.request(|session, now| session.online_users(now, 0, &from.0)).await?;
        OnlinePage::read(&response.body, response.cursor)
    }

    /// Ends every login of a user. Needs the right to kick.
    ///
    /// # Errors
    /// `NotAllowed` without the right, `Offline` for a user who is not there; otherwise as [`query`](Self::query).
    pub async fn kick_out(&self, user: &UserId) -> Result<(), CallError> {
        self.request(|session, now| session.kick_out(now, user)).await.map(drop)
    }

    /// [`send_certainly`](Self::send_certainly) as the options say: with
    /// [`store_if_offline`](CertainOptions::store_if_offline) the server keeps the message for a user who is offline, and
    /// delivers it at the next login. Then this returns [`Delivered::Stored`] once it is durable.
    ///
    /// # Errors
    /// As there. Of one that was to be stored: `QuotaFull`, `NoSuchUser`, or `Offline` if the server stores nothing.
    pub async fn send_certainly_with(
        &self,
        to: To,
        info_type: u32,
        body: impl Into<Bytes>,
        options: CertainOptions,
    ) -> Result<Delivered, CallError> {
        let body = body.into();
        match self.outcome(|session, now| session.send_certainly_with(now, &to, info_type, body, options)).await? {
            Outcome::Acked => Ok(Delivered::Acked),
            Outcome::Stored => Ok(Delivered::Stored),
            other => Err(other.failure()),
        }
    }

    async fn certainly(&self, to: To, info_type: u32, body: Bytes, ttl: Option<Duration>) -> Result<(), CallError> {
        let options = CertainOptions { ttl, ..CertainOptions::default() };
        self.send_certainly_with(to, info_type, body, options).await.map(drop)
    }

    async fn ask(&self, to: To, info_type: u32, body: Bytes, ttl: Option<Duration>) -> Result<Bytes, CallError> {
        match self.outcome(|session, now| session.query(now, &to, info_type, body, ttl)).await? {
            Outcome::Replied(body) => Ok(body),
            other => Err(other.failure()),
        }
    }

    pub(super) async fn request(
        &self,
        command: impl FnOnce(&mut Session, Instant) -> Result<MessageId, SendError>,
    ) -> Result<Response, CallError> {
        match self.outcome(command).await? {
            Outcome::Responded { status, cursor, body, round_trip } => {
                status?;
                Ok(Response { cursor, body, round_trip })
            }
            other => Err(other.failure()),
        }
    }

    async fn outcome(
        &self,
        command: impl FnOnce(&mut Session, Instant) -> Result<MessageId, SendError>,
    ) -> Result<Outcome, CallError> {
        let outcome = self.shared().open(command)?;
        // The session ends every operation; only one whose runtime was dropped is left without.
        Ok(outcome.await.unwrap_or(Outcome::Failed(Failure::ConnectionLost)))
    }
}

impl Outcome {
    /// The failure of an operation that did not end as it should.
    fn failure(self) -> CallError {
        CallError::Failed(match self {
            Self::Failed(failure) => failure,
            // The session matches answers by kind; another kind would be its fault.
            Self::Acked | Self::Stored | Self::Replied(_) | Self::Responded { .. } => Failure::Internal,
        })
    }
}

pub(super) fn malformed(_: esf_proto::wire::DecodeError) -> CallError {
    CallError::Failed(Failure::Malformed)
}
