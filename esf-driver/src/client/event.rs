//! What a client tells its application.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
pub use esf_proto::client::GroupChange;
use esf_proto::{
    close::CloseReason,
    failure::Failure,
    ids::{DeviceKind, GroupId, UserId},
    login::{LoginCode, Mode, Rights},
};

use super::core::Shared;
use crate::events::Next;

/// What happened. [`Closed`](Self::Closed) is the last.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The first login succeeded.
    LoginCompleted {
        /// Whether it went on with a session.
        mode: Mode,
        /// What the login may do.
        rights: Rights,
    },
    /// The first login was refused. [`Closed`](Self::Closed) follows.
    LoginRefused {
        /// The result.
        code: LoginCode,
        /// The server's words for it.
        cause: String,
    },
    /// The connection of a login is gone.
    ConnectionInterrupted {
        /// Why.
        reason: CloseReason,
    },
    /// The client begins to connect again, for as long as it takes.
    ConnectionRebuildStart,
    /// A later login has its result. If it is not `Succeed`, [`Closed`](Self::Closed) follows.
    RelogonCompleted {
        /// The result.
        code: LoginCode,
        /// Whether the session went on or is a new one; `None` if the login was refused.
        mode: Option<Mode>,
    },
    /// A plain send that asked to be told did not get there.
    Undeliverable {
        /// The number that the sender gave it.
        note: u64,
        /// Why.
        failure: Failure,
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
        /// The answer, or why there is none.
        result: Result<Bytes, Failure>,
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
    /// The client ended. Nothing comes after it.
    Closed {
        /// Why.
        reason: CloseReason,
    },
    /// So many events were dropped here because nobody took them.
    Lagged(u64),
}

/// Takes the events of a client.
pub struct Events {
    shared: Arc<Shared>,
}

impl Events {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The next event; `None` after [`Event::Closed`] was taken.
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        match std::future::poll_fn(|cx| self.shared.events.poll_next(cx)).await {
            Next::Event(event) => Some(event),
            Next::Lagged(count) => Some(Event::Lagged(count)),
            Next::Ended => None,
        }
    }
}
