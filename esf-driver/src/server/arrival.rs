//! From a stream that came in to a link, or to a refusal.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use esf_proto::{close::CloseReason, time::Instant};

use super::{
    Path, Server, Shared,
    door::{Client, Connection},
    endpoint::ServerEndpoint,
};
use crate::{
    http::{Head, HeadReader, Refusal, Verdict, judge, may_be_request},
    link::{Fault, LinkEnd},
};

/// How long a refusal may take to go out.
pub const REFUSAL: Duration = Duration::from_secs(1);

/// A connection from when it was accepted until its link runs, or it is refused. For whoever writes an adapter.
///
/// It counts as one for as long as it, or the [`ServerEndpoint`] that comes of it, is there.
pub struct Arrival {
    connection: Connection,
    from: Option<SocketAddr>,
    client: Client,
    /// The proxy that will say whom it brings.
    proxy: Option<SocketAddr>,
    head: HeadReader,
    accepted: Instant,
    refusal: Option<Refusal>,
}

/// What becomes of a connection.
#[derive(Debug)]
pub enum Arrived {
    /// A WebSocket: send this answer, then run the link.
    Opened {
        /// The bytes of the answer.
        answer: String,
        /// What came behind the request at once.
        rest: Vec<u8>,
    },
    /// No: send this answer and end the stream, then wait for the other side to have read it, [`REFUSAL`] at most: a
    /// close with bytes unread is a reset, which would take the answer with it.
    Refused {
        /// The bytes of the answer.
        answer: String,
    },
}

impl std::fmt::Debug for Arrival {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arrival").field("from", &self.from).finish_non_exhaustive()
    }
}

impl Server {
    /// A stream was accepted; `from` counts for limits by address, if it is known.
    #[must_use]
    pub fn handle_accepted(&self, from: Option<SocketAddr>) -> Arrival {
        self.0.arrive(from)
    }

    /// A WebSocket was opened elsewhere: the end of it. If there are too many, it is told so and closed (ESF-514).
    #[must_use]
    pub fn handle_opened(&self) -> ServerEndpoint {
        self.0.admit_opened()
    }

    /// How the link of a connection ended.
    pub fn handle_ended(&self, end: LinkEnd) {
        self.0.count_end(end);
    }
}

impl Shared {
    pub(super) fn arrive(self: &Arc<Self>, from: Option<SocketAddr>) -> Arrival {
        let accepted = self.runtime.now();
        let (mut connection, too_many) = Connection::enter(self);
        let known = self.client_of(from);
        let mut refusal = (too_many || self.is_stopping()).then_some(Refusal::Full);
        if refusal.is_none() && known.is_some_and(|client| !connection.count_for(client)) {
            refusal = Some(Refusal::AddressFull);
        }
        Arrival {
            connection,
            from,
            client: known.unwrap_or_default(),
            // Of a proxy, whoever is behind it is known when it has asked.
            proxy: from.filter(|_| known.is_none()),
            head: HeadReader::new(may_be_request),
            accepted,
            refusal,
        }
    }

    pub(super) fn admit_opened(self: &Arc<Self>) -> ServerEndpoint {
        let accepted = self.runtime.now();
        let (connection, too_many) = Connection::enter(self);
        let mut endpoint = ServerEndpoint::new(connection, Client::default(), accepted);
        if too_many {
            self.state.counters.refused(Refusal::Full);
            endpoint.close(CloseReason::ConnectionLimit);
        }
        endpoint
    }

    pub(super) fn count_end(&self, end: LinkEnd) {
        match end.fault {
            Some(Fault::TooLarge) => self.state.counters.messages_too_large.fetch_add(1, Ordering::Relaxed),
            Some(Fault::Violation) => self.state.counters.websocket_violations.fetch_add(1, Ordering::Relaxed),
            None => 0,
        };
    }
}

impl Arrival {
    /// What becomes of it, if that is known before anything was read.
    pub fn refused_at_once(&mut self) -> Option<Arrived> {
        let refusal = self.refusal.take()?;
        Some(self.refuse(refusal, refusal.answer()))
    }

    /// When the request must be in, and its answer out. Afterwards it is [given up](Self::handle_timeout).
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.accepted + self.shared().node.config().login_timeout
    }

    /// Bytes came. What becomes of it, once that is known.
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> Option<Arrived> {
        let (head, rest) = match self.head.handle_bytes(bytes)? {
            Head::Whole { head, rest } => (head, rest),
            Head::TooLarge => return Some(self.refuse(Refusal::HeadTooLarge, Refusal::HeadTooLarge.answer())),
            Head::Hopeless => return Some(self.refuse(Refusal::Malformed, Refusal::Malformed.answer())),
        };
        let shared = self.shared().clone();
        if let Some(proxy) = self.proxy {
            self.client = shared.client_by_proxy(proxy, &head);
        }
        Some(match judge(&head, &shared.door.settled().rules) {
            // The others were counted when they came.
            Verdict::Upgrade { .. } if self.proxy.is_some() && !self.connection.count_for(self.client) => {
                self.refuse(Refusal::AddressFull, Refusal::AddressFull.answer())
            }
            Verdict::Upgrade { path: Path::Esf, answer } => Arrived::Opened { answer, rest },
            Verdict::Refuse { refusal, answer } => self.refuse(refusal, answer),
        })
    }

    /// The handshake did not end in time.
    pub fn handle_timeout(&self) {
        tracing::debug!(from = ?self.from, "a handshake did not end in time");
        self.shared().state.counters.handshakes_timed_out.fetch_add(1, Ordering::Relaxed);
    }

    /// The connection broke, or its other side left.
    pub fn handle_broken(&self, error: &std::io::Error) {
        tracing::debug!(from = ?self.from, %error, "a connection ended before it was one");
    }

    /// The server's end of the link that was opened.
    #[must_use]
    pub fn into_endpoint(self) -> ServerEndpoint {
        ServerEndpoint::new(self.connection, self.client, self.accepted)
    }

    fn refuse(&self, refusal: Refusal, answer: String) -> Arrived {
        tracing::debug!(?refusal, address = self.client.address.map(tracing::field::display), "a request was refused");
        self.shared().state.counters.refused(refusal);
        Arrived::Refused { answer }
    }

    fn shared(&self) -> &Arc<Shared> {
        self.connection.shared()
    }
}
