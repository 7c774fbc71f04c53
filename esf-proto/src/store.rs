//! What the core asks of whatever keeps people, groups and messages, and what it is told: values only. The core does no
//! storage; whoever drives it carries each request to a store and hands the response back.
//!
//! Messages are numbered in the order in which they were asked to be kept, and whoever asks for a key learns of every
//! message that was asked to be kept before. Beyond that requests may be carried out in any order and at the same time:
//! whoever needs what one has done waits for its answer before asking the next.

use alloc::{boxed::Box, vec::Vec};

use bytes::Bytes;

use crate::{
    ids::{DeviceKind, GroupId, InstanceId, MessageId, UserId},
    time::UnixMillis,
};

/// What a message may need beside its own bytes when it comes out of the store.
pub(crate) const STORED_ROOM: usize = 512;

/// A request that was asked and is to be answered. Never used twice by a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// The number that a store gives to a message. Rises in the order in which messages were stored; never used twice.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId(pub u64);

/// What a message is known by for as long as it may be sent again: two with the same key are the same message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreKey {
    /// Who sent it; `None` for the server.
    pub user: Option<UserId>,
    /// The life of the engine, or of the server, that sent it.
    pub instance: InstanceId,
    /// Its number in that life.
    pub id: MessageId,
}

/// Something asked of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreRequest {
    /// Who is this user? Asked at a login, and again when the application says that it has changed. Answered by
    /// [`StoreResponse::Person`].
    Person {
        /// The user.
        user: UserId,
        /// The device whose stored messages count, beside those to the user.
        device: DeviceKind,
        /// The largest number of contacts to be told.
        max_contacts: usize,
        /// The largest number of groups to be told.
        max_groups: usize,
    },
    /// A page of the contacts of a user. Answered by [`StoreResponse::Names`].
    Contacts {
        /// The user.
        user: UserId,
        /// Only names behind this one; `None` for the first page.
        after: Option<UserId>,
        /// The largest number of names.
        limit: usize,
    },
    /// A page of the members of a group. Answered by [`StoreResponse::Names`], or [`StoreResponse::NotFound`].
    Members {
        /// The group.
        group: GroupId,
        /// Only names behind this one; `None` for the first page.
        after: Option<UserId>,
        /// The largest number of names.
        limit: usize,
    },
    /// Keep a message until its receiver has confirmed it. Answered, after it is durable, by [`StoreResponse::Stored`],
    /// or by [`Known`](StoreResponse::Known), [`QuotaFull`](StoreResponse::QuotaFull),
    /// [`NoSuchUser`](StoreResponse::NoSuchUser), [`KeepsNone`](StoreResponse::KeepsNone).
    Put {
        /// Its key.
        key: StoreKey,
        /// Who it is for.
        user: UserId,
        /// The one device that it is for; `None` for whichever comes first.
        device: Option<DeviceKind>,
        /// The frame as its sender made it.
        frame: Bytes,
    },
    /// Is a message of this key kept, or was one that has been confirmed a short time ago? Answered by
    /// [`StoreResponse::Found`].
    Find {
        /// The key.
        key: StoreKey,
    },
    /// The oldest messages to a user or to this device of theirs. Answered by [`StoreResponse::Messages`].
    Fetch {
        /// The user.
        user: UserId,
        /// The device.
        device: DeviceKind,
        /// Only messages behind this one; 0 for the first page.
        after: StoreId,
        /// The largest number of messages.
        max_messages: usize,
        /// The largest sum of the sizes of their frames. The first message is told whatever its size.
        max_bytes: usize,
    },
    /// These messages were handed out and not confirmed when the session ended. One that this was said of too often
    /// becomes a dead letter, which is fetched no more. What is not this user's is left as it is. Answered by
    /// [`StoreResponse::Done`].
    Tried {
        /// The receiver.
        user: UserId,
        /// The messages.
        messages: Vec<StoreId>,
    },
    /// The receiver has handled these messages: they go, and their keys stay known for a while. What is not this
    /// user's, or is not there, is left as it is. Answered, after it is durable, by [`StoreResponse::Done`].
    Confirm {
        /// The receiver.
        user: UserId,
        /// The messages.
        messages: Vec<StoreId>,
    },
}

/// What a store answers. Each request says which of these are answers to it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreResponse {
    /// What is known of a user.
    Person(Person),
    /// User names in the order of their bytes, none twice. Fewer than were asked for: these are the last.
    Names(Vec<UserId>),
    /// There is no such group.
    NotFound,
    /// The message is durable.
    Stored,
    /// The message was stored before, under the same key, and may have been confirmed since.
    Known,
    /// There is no room for another message to this user.
    QuotaFull,
    /// Nobody of that name can have messages here.
    NoSuchUser,
    /// This store keeps no messages at all.
    KeepsNone,
    /// Whether there is such a message.
    Found(bool),
    /// Messages in the order of their numbers.
    Messages {
        /// The messages.
        messages: Vec<StoredMessage>,
        /// Whether there are others behind the last of them.
        more: bool,
    },
    /// It is done.
    Done,
}

/// What a store knows of a user.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Person {
    /// Whether there is such a user, whom messages can be kept for.
    pub exists: bool,
    /// Their contacts, in the order of their bytes, as many as were asked for.
    pub contacts: Vec<UserId>,
    /// The groups that they are in, in the order of their bytes, as many as were asked for.
    pub groups: Vec<GroupId>,
    /// Whether there are contacts or groups beyond what was asked for.
    pub cut: bool,
    /// Whether messages are waiting for them or for the device that was named.
    pub stored: bool,
}

/// A message that waits for its receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its number.
    pub id: StoreId,
    /// When the store took it, by its clock.
    pub accepted_at: UnixMillis,
    /// How often it was handed out and not confirmed.
    pub tries: u8,
    /// The frame as its sender made it.
    pub frame: Bytes,
}

/// A store could not carry a request out: why, for the log of the server. Whoever asked learns only that something
/// failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store failed: {reason}")]
pub struct StoreFailed {
    reason: Box<str>,
}

impl StoreFailed {
    /// A failure for this reason, in words for an operator.
    pub fn new(reason: impl Into<Box<str>>) -> Self {
        Self { reason: reason.into() }
    }

    /// The reason.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}
