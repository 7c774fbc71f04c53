//! What the connections of a client are made by, whatever waits for them: a task or a thread.

use std::{
    sync::{Arc, atomic::Ordering},
    task::Waker,
    time::Duration,
};

use esf_proto::{client::Action, close::CloseReason, ids::LinkId, time::Instant, wire::SUBPROTOCOL};

use super::{
    CloseInfo,
    core::{Post, Shared},
    endpoint::ClientEndpoint,
};
use crate::{
    dispatch::Dispatch,
    http::{self, Accepted, HandshakeError, Head, HeadReader},
    link::{Fault, LinkEnd},
    url::Url,
};

/// Says when to connect, and hears what came of it. For whoever writes an adapter; one loop drives it.
///
/// When it is dropped, the client is over: nothing that it was told to do has an outcome any more.
pub struct Dialer {
    shared: Arc<Shared>,
    dispatch: Arc<Dispatch<Post>>,
    url: Url,
    origin: Option<String>,
    coalesce: bool,
    connect_timeout: Duration,
}

/// What to do about the connections of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dial {
    /// Connect now, as this link.
    Connect(LinkId),
    /// Ask again when the waker is woken, or at this instant.
    Wait(Option<Instant>),
    /// The client has ended.
    Over,
}

/// What to do about a connection that is being made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialing {
    /// Go on; ask again when the waker is woken, or at this instant.
    Wait(Option<Instant>),
    /// Give it up: nobody wants it any more.
    GivenUp,
}

impl Dialer {
    pub(super) fn new(
        shared: Arc<Shared>,
        dispatch: Arc<Dispatch<Post>>,
        url: Url,
        origin: Option<String>,
        coalesce: bool,
        connect_timeout: Duration,
    ) -> Self {
        Self { shared, dispatch, url, origin, coalesce, connect_timeout }
    }

    /// Where the server is.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// How long an attempt to connect may take.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// Whether frames that are ready at the same time share a WebSocket message.
    #[must_use]
    pub fn coalesces(&self) -> bool {
        self.coalesce
    }

    /// Keeps `waker` and wakes it once, when there may be something to do. To be called before looking for that.
    pub fn register(&self, waker: &Waker) {
        self.shared.task.register(waker);
    }

    /// What to do while there is no link.
    #[must_use]
    pub fn next(&self) -> Dial {
        self.pass_time();
        let next = self.shared.change(|core, _| {
            loop {
                match core.actions.pop_front() {
                    Some(Action::Connect { link }) => return Dial::Connect(link),
                    // Of a link that is gone already.
                    Some(Action::Close { .. } | Action::Drop { .. }) => {}
                    None if core.closed().is_some() => return Dial::Over,
                    None => return Dial::Wait(core.poll_timeout()),
                }
            }
        });
        if next == Dial::Over {
            self.dispatch.pump();
        }
        next
    }

    /// What to do while the connection of `present` is being made.
    #[must_use]
    pub fn dialing(&self, present: LinkId) -> Dialing {
        self.pass_time();
        self.shared.change(|core, _| {
            let given_up = loop {
                match core.actions.front() {
                    Some(Action::Connect { .. }) => break true,
                    Some(Action::Close { link, .. } | Action::Drop { link }) => {
                        let given_up = *link == present;
                        core.actions.pop_front();
                        if given_up {
                            break true;
                        }
                    }
                    None => break core.closed().is_some(),
                }
            };
            if given_up {
                core.fail_to_reach("no answer in time");
                return Dialing::GivenUp;
            }
            Dialing::Wait(core.poll_timeout())
        })
    }

    /// The HTTP part of a new connection. How long it may take is said by [`dialing`](Self::dialing).
    #[must_use]
    pub fn handshake(&self) -> Handshake {
        let key = tungstenite::handshake::client::generate_key();
        let request = http::request(&self.url, &key, SUBPROTOCOL, self.origin.as_deref());
        let hopeful = |bytes: &[u8]| b"HTTP/1.".starts_with(bytes.get(..7).unwrap_or(bytes));
        Handshake { request, key, head: HeadReader::new(hopeful) }
    }

    /// There is no connection for `link`.
    pub fn handle_failed(&self, link: LinkId, error: &impl std::fmt::Display) {
        tracing::debug!(url = %self.url, %error, "cannot connect");
        self.shared.change(|core, now| {
            core.fail_to_reach(error);
            core.session.handle_connect_failed(now, link);
        });
    }

    /// There is a WebSocket for `link`; what runs it gets this end of it.
    #[must_use]
    pub fn handle_opened(&self, link: LinkId, accepted: Accepted) -> ClientEndpoint {
        self.shared.change(|core, now| {
            core.protocol = Some(accepted.protocol);
            core.session.handle_connected(now, link);
        });
        ClientEndpoint::new(self.shared.clone(), self.dispatch.clone(), link)
    }

    /// The link that was opened has ended.
    pub fn handle_ended(&self, end: LinkEnd) {
        match end.fault {
            Some(Fault::TooLarge) => self.shared.links_too_large.fetch_add(1, Ordering::Relaxed),
            Some(Fault::Violation) => self.shared.links_violated.fetch_add(1, Ordering::Relaxed),
            None => 0,
        };
        self.shared.change(|core, _| {
            core.protocol = None;
            core.close_info = Some(CloseInfo { clean: end.clean, code: end.code });
            if core.session.server().is_none() {
                let reason = end.code.and_then(CloseReason::from_websocket_code);
                core.fail_to_reach(reason.map_or("no answer to the login", CloseReason::text));
            }
        });
    }

    /// Nobody makes connections any more: the client is over.
    pub fn end(&self) {
        self.shared.end();
    }

    fn pass_time(&self) {
        let passed = self.shared.input(|session, now| {
            let due = session.poll_timeout().is_some_and(|(at, _)| at <= now);
            if due {
                session.handle_timeout(now);
            }
            due
        });
        if passed {
            // A blob may have run out of time.
            self.dispatch.pump();
        }
    }
}

impl Drop for Dialer {
    fn drop(&mut self) {
        self.end();
    }
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The HTTP part of a connection: bytes out, bytes in.
#[derive(Debug)]
pub struct Handshake {
    request: String,
    key: String,
    head: HeadReader,
}

impl Handshake {
    /// The bytes to send first.
    #[must_use]
    pub fn request(&self) -> &str {
        &self.request
    }

    /// Bytes came. Once the answer is whole: what was agreed on, and what came behind the answer.
    ///
    /// # Errors
    /// It is no agreement.
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> Result<Option<(Accepted, Vec<u8>)>, HandshakeError> {
        match self.head.handle_bytes(bytes) {
            None => Ok(None),
            Some(Head::Whole { head, rest }) => match http::check_reply(&head, &self.key, SUBPROTOCOL) {
                Ok(accepted) => Ok(Some((accepted, rest))),
                Err(error) => Err(error.with_body(&rest)),
            },
            Some(Head::TooLarge) => Err(HandshakeError::TooLarge),
            Some(Head::Hopeless) => Err(HandshakeError::Malformed),
        }
    }
}
