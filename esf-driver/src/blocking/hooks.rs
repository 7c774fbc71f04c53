//! The application's look at what clients send, and what it hears of the server, by functions that block.

use std::net::IpAddr;

use esf_proto::{
    close::CloseReason,
    failure::Failure,
    ids::{Engine, GroupId, Source, To, UserId},
};

use crate::server::{self, Intercepted, Judgement};

/// Sees each message, query and blob of a client before it goes on, to whomever it goes, and may refuse it. Also any
/// `Fn(Intercepted) -> Judgement`.
///
/// What one client sends is shown in its order, one after the other: what comes behind waits, and what others send does
/// not. What is refused goes nowhere, and its sender sees `NotAllowed` where it waits for an outcome or asked to be told. An
/// interceptor that panics, or takes longer than its [limit](super::ServerBuilder::intercept_limit), refuses as `Internal`.
/// Answers, acknowledgements and requests to the server are not shown; a blob is shown by its offer, once.
///
/// It runs on a thread of a bounded number of them and may block. A call that never returns keeps its thread, since that
/// cannot be stopped, and as long as it does whatever the same client sends is refused as `Internal`.
pub trait Interceptor: Send + Sync + 'static {
    /// Judges one message.
    fn intercept(&self, message: Intercepted) -> Judgement;
}

impl<F: Fn(Intercepted) -> Judgement + Send + Sync + 'static> Interceptor for F {
    fn intercept(&self, message: Intercepted) -> Judgement {
        self(message)
    }
}

/// Hears what happens at a server: the same as [`ServerEvents`](super::ServerEvents), by a call for each event, whether or
/// not somebody takes those as well.
///
/// The calls come one after the other, in the order of what happened, on a thread of their own. One that is slow delays the
/// next ones and nobody else; a panic ends that one call. Up to 1,024 events wait; of more the oldest are dropped, and
/// [`lagged`](Self::lagged) says so.
///
/// None of them can change what happened. Who may log in is the [`Authenticator`](super::Authenticator)'s to say, which
/// message goes on the [`Interceptor`]'s, and who belongs together the [`Store`](crate::store::Store)'s.
pub trait Hooks: Send + Sync + 'static {
    /// Somebody logged in afresh; a resume is no login. `takes_messages` says whether messages may be addressed to it.
    fn connected(&self, engine: Engine, takes_messages: bool, address: Option<IpAddr>) {
        let _ = (engine, takes_messages, address);
    }

    /// A session ended: `NetworkInterrupted` if its resume window ran out.
    fn disconnected(&self, engine: Engine, reason: CloseReason) {
        let _ = (engine, reason);
    }

    /// A newer login took the place of a session, which ends: its [`disconnected`](Self::disconnected) follows.
    fn pushed_out(&self, engine: Engine, by: Engine) {
        let _ = (engine, by);
    }

    /// A plain message went nowhere: at once, or when the session ended that held it. `ConnectionLost` if it may have
    /// arrived.
    fn transmit_failed(&self, from: Source, to: To, info_type: u32, failure: Failure) {
        let _ = (from, to, info_type, failure);
    }

    /// A member of a group that is online missed a broadcast, or a blob to the group.
    fn broadcast_failed(&self, group: GroupId, from: Source, to: UserId, failure: Failure) {
        let _ = (group, from, to, failure);
    }

    /// So many events were dropped since the call before, because these calls took too long.
    fn lagged(&self, events: u64) {
        let _ = events;
    }
}

/// Lets the server's core call functions that block: each when its future is first looked at, on a thread for that.
pub(super) struct Bridged<T>(pub(super) T);

impl<I: Interceptor> server::Interceptor for Bridged<I> {
    async fn intercept(&self, message: Intercepted) -> Judgement {
        self.0.intercept(message)
    }
}

impl<H: Hooks> server::Hooks for Bridged<H> {
    async fn connected(&self, engine: Engine, takes_messages: bool, address: Option<IpAddr>) {
        self.0.connected(engine, takes_messages, address);
    }

    async fn disconnected(&self, engine: Engine, reason: CloseReason) {
        self.0.disconnected(engine, reason);
    }

    async fn pushed_out(&self, engine: Engine, by: Engine) {
        self.0.pushed_out(engine, by);
    }

    async fn transmit_failed(&self, from: Source, to: To, info_type: u32, failure: Failure) {
        self.0.transmit_failed(from, to, info_type, failure);
    }

    async fn broadcast_failed(&self, group: GroupId, from: Source, to: UserId, failure: Failure) {
        self.0.broadcast_failed(group, from, to, failure);
    }

    async fn lagged(&self, events: u64) {
        self.0.lagged(events);
    }
}
