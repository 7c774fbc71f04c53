//! What comes out of a client session.

use alloc::string::String;
use core::time::Duration;

use bytes::Bytes;

use crate::{
    close::CloseReason,
    failure::{Failure, Status},
    ids::{DeviceKind, GroupId, LinkId, MessageId, UserId},
    login::{LoginCode, Mode, Rights},
    session::{blob::BlobEvent, inbound::IncomingQuery},
};

/// What happened. [`Closed`](Self::Closed) is the last.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The first login succeeded.
    LoginCompleted {
        /// Fresh: there was no session to go on with.
        mode: Mode,
        /// The durable number of this login of user and device.
        login_number: u64,
        /// What the login may do.
        rights: Rights,
    },
    /// The first login was refused. [`Closed`](Self::Closed) follows.
    LoginRefused {
        /// The result.
        code: LoginCode,
        /// The server's words for it.
        cause: String,
        /// What the link was closed with.
        reason: CloseReason,
    },
    /// The link of a login is gone.
    ConnectionInterrupted {
        /// Why.
        reason: CloseReason,
    },
    /// The session begins to connect again, for as long as it takes.
    ConnectionRebuildStart,
    /// A later login has its result. If it is not `Succeed`, [`Closed`](Self::Closed) follows.
    RelogonCompleted {
        /// The result.
        code: LoginCode,
        /// Whether the session went on or is a new one; `None` if the login was refused.
        mode: Option<Mode>,
    },
    /// The certain send, or the blob, with this id is at its receiver.
    Acked {
        /// Which.
        id: MessageId,
    },
    /// The certain send with this id is in the server's store: its receiver is not online, and gets it later.
    Stored {
        /// Which.
        id: MessageId,
    },
    /// The query with this id has its answer.
    Replied {
        /// Which.
        id: MessageId,
        /// The answer.
        body: Bytes,
    },
    /// The request with this id has its response.
    Responded {
        /// Which.
        id: MessageId,
        /// Success, or why not.
        status: Status,
        /// Where this page ended; empty for the last.
        cursor: Bytes,
        /// What the method says.
        body: Bytes,
        /// From handing out the request to this response.
        round_trip: Duration,
    },
    /// The certain send, blob, query or request with this id came to nothing.
    Failed {
        /// Which.
        id: MessageId,
        /// Why.
        failure: Failure,
    },
    /// A plain send that asked to be told did not get there.
    Undeliverable {
        /// The number that the caller gave it.
        note: u64,
        /// Why.
        failure: Failure,
    },
    /// Somebody asks. Answer it with [`Session::reply`](super::Session::reply) before its time is over.
    Query(IncomingQuery),
    /// A blob arrives, or arrived.
    Blob(BlobEvent),
    /// A blob that this engine sends has got further; the latest of it, if several came together.
    BlobProgress {
        /// Which.
        id: MessageId,
        /// Bytes from its start that every receiver holds.
        held: u64,
        /// How many it has, if that is known.
        total: Option<u64>,
    },
    /// A contact is online: the first of its devices is.
    ContactConnected {
        /// Who.
        user: UserId,
    },
    /// A contact is offline: the last of its devices is gone.
    ContactOffline {
        /// Who.
        user: UserId,
    },
    /// A device of a contact is online.
    ContactDeviceConnected {
        /// Whose.
        user: UserId,
        /// Which.
        device: DeviceKind,
    },
    /// A device of a contact is gone.
    ContactDeviceOffline {
        /// Whose.
        user: UserId,
        /// Which.
        device: DeviceKind,
    },
    /// Somebody who shares a group with this user is online.
    GroupmateConnected {
        /// Who.
        user: UserId,
    },
    /// Somebody who shared a group with this user is offline.
    GroupmateOffline {
        /// Who.
        user: UserId,
    },
    /// Something happened in a dynamic group.
    Group {
        /// The group.
        group: GroupId,
        /// What.
        event: GroupChange,
    },
    /// The answer to the question before login.
    PreReply {
        /// Success, or why not.
        status: Status,
        /// The answer.
        body: Bytes,
    },
    /// A newer login of the same user and device kind took the place. [`Closed`](Self::Closed) follows.
    BeingPushedOut,
    /// Somebody with the right to do so ended the login. [`Closed`](Self::Closed) follows.
    BeingKickedOut,
    /// The server asked the client to leave and come back.
    GoAway {
        /// How long to stay away.
        retry_after: Duration,
    },
    /// The session is over. Nothing comes after it.
    Closed {
        /// Why.
        reason: CloseReason,
    },
}

/// What happened in a dynamic group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupChange {
    /// Somebody is a member now.
    Joined(UserId),
    /// Somebody is a member no more.
    Left(UserId),
    /// This user is invited, by whom.
    Invited(UserId),
    /// This user was taken in, by whom.
    PulledIn(UserId),
    /// This user was put out, by whom.
    Removed(UserId),
    /// The group has this tag now.
    Tagged(String),
}

/// One whole frame to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// On which link.
    pub link: LinkId,
    /// The frame.
    pub frame: Bytes,
}

/// What is to be done with a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Connect, and say [`handle_connected`](super::Session::handle_connected) or
    /// [`handle_connect_failed`](super::Session::handle_connect_failed).
    Connect {
        /// The number of the new link.
        link: LinkId,
    },
    /// Send what [`poll_transmit`](super::Session::poll_transmit) still has for it, then close the WebSocket: with code
    /// 4000 + n for a reason, 1000 without one. The session has done with the link already.
    Close {
        /// Which.
        link: LinkId,
        /// Why, if it is to be told.
        reason: Option<CloseReason>,
    },
    /// Drop the connection without a word. The session has done with the link already.
    Drop {
        /// Which.
        link: LinkId,
    },
}
