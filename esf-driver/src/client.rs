//! The handle of a client.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use esf_proto::{
    client::{Limits, Session, State, Stats},
    close::CloseReason,
    ids::{Engine, To},
    login::Rights,
};

pub use esf_proto::client::{
    CertainOptions, Config, ConfigError, Credential, MessageOptions, Policy, PreQuery, Retry, SendError, SendOptions,
};

mod blobs;
mod builder;
mod calls;
mod core;
mod dial;
mod endpoint;
mod event;
mod groups;
#[cfg(feature = "async")]
mod task;
#[cfg(all(test, feature = "async"))]
mod tests;

#[cfg(feature = "async")]
pub use self::builder::ClientBuilder;
pub(crate) use self::builder::Plan;
use self::core::Shared;
pub use self::{
    builder::ConnectError,
    calls::{CallError, Cursor, Delivered, Device, OnlinePage, OnlineUser},
    dial::{Dial, Dialer, Dialing, Handshake},
    endpoint::ClientEndpoint,
    event::{Event, Events, GroupChange},
    groups::{GroupPage, Joined, Member, MemberPage, MyGroup},
};

/// A client: one user on one device, who stays logged in across connections until the client ends.
///
/// It is a handle: clones are the same client, on any thread. When the last one goes, the client logs off by itself.
///
/// Commands queue, within a budget of bytes, while there is no connection. Calls that wait may be dropped at any time:
/// what they asked for goes on, only its outcome is not seen. A future that was never polled has done nothing.
#[derive(Clone)]
pub struct Client(Arc<Handle>);

/// What ends the client when the last handle goes.
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.command(Session::log_off);
    }
}

/// A handle that does not keep its client alive: for a handler that sends.
#[derive(Clone, Default)]
pub struct WeakClient(Weak<Handle>);

/// How the last connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseInfo {
    /// Whether both ends said that they close.
    pub clean: bool,
    /// The WebSocket close code, if there was one.
    pub code: Option<u16>,
}

/// How a client ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Why.
    pub reason: CloseReason,
}

/// Counters of one client.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientStats {
    /// Those of the session.
    pub session: Stats,
    /// Handlers that panicked.
    pub handlers_panicked: u64,
    /// Handlers that took too long and were dropped.
    pub handlers_cut_off: u64,
    /// Queries refused because their asker had too many at the handlers.
    pub queries_refused: u64,
    /// WebSocket messages from the server that were too large.
    pub links_too_large: u64,
    /// Connections on which the server broke the WebSocket protocol.
    pub links_violated: u64,
}

impl Client {
    /// Sends without confirmation.
    ///
    /// # Errors
    /// It is not taken, and the error has the body.
    pub fn send(&self, to: To, info_type: u32, body: impl Into<Bytes>) -> Result<(), SendError> {
        self.send_with(to, info_type, body, SendOptions::default())
    }

    /// Sends without confirmation: whether it may be dropped, and whether to be told if it came to nothing.
    ///
    /// # Errors
    /// It is not taken, and the error has the body.
    #[expect(clippy::needless_pass_by_value, reason = "a target is made for the call it is passed to")]
    pub fn send_with(
        &self,
        to: To,
        info_type: u32,
        body: impl Into<Bytes>,
        options: SendOptions,
    ) -> Result<(), SendError> {
        let body = body.into();
        self.shared().command(|session, now| session.send(now, &to, info_type, body, options))
    }

    /// Sends a message with a tag, which the other side's handler gets as an engine's message.
    ///
    /// # Errors
    /// It is not taken, and the error has the body.
    #[expect(clippy::needless_pass_by_value, reason = "a target is made for the call it is passed to")]
    pub fn send_message(
        &self,
        to: To,
        info_type: u32,
        body: impl Into<Bytes>,
        tag: &str,
        options: MessageOptions,
    ) -> Result<(), SendError> {
        let body = body.into();
        self.shared().command(|session, now| session.send_message(now, &to, info_type, body, tag, options))
    }

    /// Waits until the server has counted everything that was sent so far. A plain send has then left this client for
    /// good; whether it arrives is the server's business.
    ///
    /// Dropping the future changes nothing.
    ///
    /// # Errors
    /// `ConnectionLost`: the client ended, or what was under way went down with its session and may have arrived.
    pub async fn settled(&self) -> Result<(), CallError> {
        self.shared().settled().await
    }

    /// Logs off and waits until the server knows, a few seconds at most. What was queued and not sent is withdrawn: wait
    /// for [`settled`](Self::settled) before, if it matters.
    ///
    /// Dropping the future does not stop the log-off.
    pub async fn log_off(&self) -> Ended {
        self.close();
        self.shared().wait_for(|core| core.task_ended.then_some(())).await;
        self.closed().await
    }

    /// Logs off without waiting for it.
    pub fn close(&self) {
        self.shared().command(Session::log_off);
    }

    /// Waits until the client ended, for whatever reason.
    ///
    /// Dropping the future changes nothing.
    pub async fn closed(&self) -> Ended {
        self.shared().wait_for(|core| core.closed().map(|reason| Ended { reason })).await
    }

    /// Where the client is.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared().look(|core| core.session.state())
    }

    /// Whether the client is logged in over a connection that works, as far as it knows.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.state() == State::Online
    }

    /// This client as others see it.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.shared().look(|core| core.session.engine().clone())
    }

    /// What the last login may do; nothing before the first.
    #[must_use]
    pub fn rights(&self) -> Rights {
        self.shared().look(|core| core.session.rights())
    }

    /// What the server allows; the protocol's defaults before the first login.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.shared().look(|core| *core.session.limits())
    }

    /// Bytes of frames that wait to go out, or to be counted by the server.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.shared().look(|core| core.session.queued_bytes())
    }

    /// The sub-protocol of the present connection.
    #[must_use]
    pub fn protocol(&self) -> Option<String> {
        self.shared().look(|core| core.protocol.clone())
    }

    /// The WebSocket extensions of the present connection: none are offered, so none are in use.
    #[must_use]
    pub fn extensions(&self) -> &'static str {
        ""
    }

    /// How the last connection ended; `None` before one did.
    #[must_use]
    pub fn close_info(&self) -> Option<CloseInfo> {
        self.shared().look(|core| core.close_info)
    }

    /// What was counted since the start.
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        self.shared().stats()
    }

    /// The events of this client, from the first on. There is one queue: two that look share what is in it. Nobody needs
    /// to look.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::new(self.shared().clone())
    }

    /// A handle that does not keep the client alive.
    #[must_use]
    pub fn downgrade(&self) -> WeakClient {
        WeakClient(Arc::downgrade(&self.0))
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }
}

impl WeakClient {
    /// The client, while somebody else holds it.
    #[must_use]
    pub fn upgrade(&self) -> Option<Client> {
        self.0.upgrade().map(Client)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (engine, state) = self.shared().look(|core| (core.session.engine().clone(), core.session.state()));
        f.debug_struct("Client").field("engine", &engine).field("state", &state).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for WeakClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WeakClient").finish_non_exhaustive()
    }
}

/// How long a handler may take: nobody waits longer for an answer.
pub(crate) const HANDLER_LIMIT: Duration = esf_proto::client::MAX_TTL;
