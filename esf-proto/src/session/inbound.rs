//! What reaches an application, at either end.

use alloc::boxed::Box;

use bytes::Bytes;

use crate::{
    ids::{GroupId, MessageId, Source, To},
    store::StoreId,
    time::UnixMillis,
};

/// A message for the application. Pulled only when the application's bounded queue has room: pulling is taking
/// (ESF-206).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who sent it.
    pub source: Source,
    /// Whether the handler or only the event gets it.
    pub kind: MessageKind,
    /// The application's number for what it means.
    pub info_type: u32,
    /// Its body.
    pub body: Bytes,
    /// The number of a certain send; `None` for a plain one.
    pub id: Option<MessageId>,
    /// When the sender says it sent it.
    pub sent_at: Option<UnixMillis>,
    /// To whom it went, if it is the echo of what another device of this user sent (ESF-305).
    pub echo_of: Option<To>,
    /// Where and since when it was stored, if it was: then it is to be confirmed when it was handled.
    pub stored: Option<Box<Stored>>,
}

/// What is known of a message that was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its number in the server's store.
    pub id: StoreId,
    /// When the store took it, by the server's clock.
    pub accepted_at: UnixMillis,
    /// How often it was handed out before and not confirmed.
    pub tries: u8,
}

/// What kind of message it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageKind {
    /// For the handler of informations.
    Information,
    /// Of `send_message`: raises only the event.
    EngineMessage {
        /// The sender's tag.
        tag: Box<str>,
    },
    /// A stored message that this engine had before: for no handler, only to be confirmed in its turn.
    Repeated,
    /// For the handler of broadcasts.
    Broadcast {
        /// To which group it went.
        group: GroupId,
    },
}

/// Names one incoming query until it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryToken(pub u64);

/// A question to the application, to be answered once by its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncomingQuery {
    /// What the answer names.
    pub token: QueryToken,
    /// Who asks.
    pub source: Source,
    /// The application's number for what it means.
    pub info_type: u32,
    /// Its body.
    pub body: Bytes,
    /// When the asker says it asked.
    pub sent_at: Option<UnixMillis>,
}
