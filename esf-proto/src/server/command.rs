//! What a session and the hub say to each other: opaque values, so that sessions can run on any thread.

use alloc::{boxed::Box, vec::Vec};

use bytes::Bytes;

use super::parked::Ticket;
use crate::{
    close::CloseReason,
    failure::Failure,
    hub::{Fanout, Missed},
    ids::{Engine, SessionId, Source, UserId},
    login::Rights,
    session::dedupe::Dedupe,
    session::inbound::IncomingQuery,
    store::StoreId,
    time::Instant,
    wire::{Method, RawFrame, Route},
};

/// The server itself as an end of a conversation; no session has this id.
pub const SERVER: SessionId = SessionId(0);

/// A plain message to whom the last one of its session went. Its addresses are those of the last one, byte for byte.
#[derive(Debug)]
pub struct Repeat {
    /// The message.
    pub frame: RawFrame,
    pub(crate) route: Route,
    /// Counts the addresses that the session wrote to.
    pub(crate) turn: u32,
}

/// What a session wants of the hub now. Carried out with shared access, under the session's own lock, so that checking
/// the generation, counting a frame and handing on its effect are one step.
#[derive(Debug)]
pub enum HubCommand {
    /// A frame of this session's client for somebody else.
    Relay {
        /// The frame.
        frame: RawFrame,
        /// Its route, read when it was validated.
        route: Route,
    },
    /// A fragment of a stream that this session's client sends.
    Fragment(RawFrame),
    /// This session's client holds a part of a stream that it receives.
    Credit {
        /// Which stream.
        stream: u64,
        /// It holds every byte below this.
        offset: u64,
    },
    /// A receiver of a stream that this session's client sends made no progress.
    TooSlow {
        /// Which stream.
        stream: u64,
        /// The number of the blob.
        id: u64,
        /// The receiver, by the first session of its engine.
        session: SessionId,
        /// The receiver.
        engine: Engine,
        /// Whether nobody else receives the stream.
        only: bool,
    },
    /// This session ends in the middle of a stream that its client sends.
    SenderGone {
        /// Which stream.
        stream: u64,
        /// The number of the blob.
        id: u64,
        /// `ConnectionLost` if the sender may come back, else why it does not.
        failure: Failure,
        /// Who receives it.
        receivers: Vec<Engine>,
    },
    /// The server's application is to judge a frame of this session's client, which the session waits for (see
    /// [`Session::resume`](super::Session::resume)).
    Judge {
        /// What the session is to be told with.
        ticket: Ticket,
        /// The frame, whole and from its client.
        frame: RawFrame,
    },
    /// Whether the store has a message that this session's client sends again, and that the session waits with.
    LookUp {
        /// What the session is to be told with.
        ticket: Ticket,
        /// The message.
        frame: RawFrame,
    },
    /// What was taken back from this session's outbox is to be stored.
    Withdraw,
    /// The messages of the store that this session's outbox had went out.
    TailDrained,
    /// This session's client has handled a message of the store.
    Confirm(StoreId),
    /// A message of this session's client to a group, or a blob that it offers to one.
    Broadcast(RawFrame),
    /// A query or request of this session's client to the server.
    Ask(RawFrame),
    /// A frame of the server for this session's own client; `charged` if its room was taken already.
    Tell {
        /// The frame.
        frame: Bytes,
        /// Whether the session's budget was charged for it.
        charged: bool,
    },
    /// What became of a blob that this session's client sent to the server.
    TellOfBlob(Bytes),
    /// An engine message of this session's client to the server, for the client's other devices.
    Echo(RawFrame),
    /// A query of this session's client to the server's application was refused after all.
    Refuse {
        /// The number that the client knows it by.
        id: u64,
        /// Why.
        failure: Failure,
    },
    /// A plain message that this session held for its client came to nothing.
    Lost {
        /// The message.
        frame: RawFrame,
        /// Why.
        failure: Failure,
    },
    /// A copy of a certain send, query or request that this session held for its client came to nothing.
    CopyFailed {
        /// Who waits for it.
        asker: Source,
        /// The number that the asker knows it by.
        id: u64,
        /// Why.
        failure: Failure,
        /// Whether it was handed out, so that it may have arrived.
        handed_out: bool,
    },
}

/// What changes the directory. Carried out with exclusive access, after the session's lock is released.
#[derive(Debug)]
pub enum HubChange {
    /// The session has a link, or has lost it.
    Window {
        /// When its resume window ends; `None` while it has a link.
        until: Option<Instant>,
        /// Counts these changes, since two links may bring them out of order.
        turn: u64,
    },
    /// The session ended.
    Ended {
        /// Why.
        reason: CloseReason,
        /// What its engine has sent to the server, should it come again.
        dedupe: Dedupe,
        /// The highest attempt seen.
        attempt: u32,
        /// Messages of the store that it had and never handed out.
        unsent: Vec<StoreId>,
    },
    /// Kick a user out, and answer request `id`.
    Kick {
        /// Who is to go.
        user: UserId,
        /// The request.
        id: u64,
    },
    /// A request about contacts or groups.
    Request(PeopleRequest),
}

/// A request of a session's client about contacts or groups, to be carried out with exclusive access.
#[derive(Debug)]
pub struct PeopleRequest {
    /// Its number.
    pub id: u64,
    /// What the login may do.
    pub rights: Rights,
    /// What is asked.
    pub method: Method,
    /// Where the last page ended.
    pub cursor: Bytes,
    /// What the method says.
    pub body: Bytes,
}

/// What the hub tells a session in answer to a command.
#[derive(Debug)]
pub enum HubEvent {
    /// The session's client broke a rule of the hop: its link is to be closed.
    Violation,
    /// A query to the server's application was accepted.
    Query(IncomingQuery),
    /// A plain message went nowhere. For the server's application.
    TransmitFailed {
        /// The message.
        frame: RawFrame,
        /// Why.
        failure: Failure,
    },
    /// The server's application is to judge a frame: [`Session::resume`](super::Session::resume) is to hear of it.
    /// Handed to the session instead, it lets the frame pass.
    Judge {
        /// What the session is to be told with.
        ticket: Ticket,
        /// The frame, whole and from its client.
        frame: RawFrame,
    },
    /// Whether the store has a message that the session waits with.
    LookedUp {
        /// What the session waits with.
        ticket: Ticket,
        /// The number of the message.
        id: u64,
        /// Whether it is there; `None` if the store failed.
        found: Option<bool>,
    },
    /// A broadcast is to be carried on, slice by slice.
    Broadcast(Box<Fanout>),
    /// A member of a group missed a blob. For the server's application.
    Missed(Box<Missed>),
    /// A request about contacts or groups was accepted.
    Request(PeopleRequest),
    /// A kick was allowed.
    Kick {
        /// Who is to go.
        user: UserId,
        /// The request.
        id: u64,
    },
}
