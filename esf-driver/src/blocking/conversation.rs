//! A connection from its first byte to its last, as bytes in and bytes out: the HTTP part, then the link.

use std::{io::ErrorKind, sync::Arc, task::Waker};

use esf_proto::{ids::LinkId, time::Instant};

use crate::{
    client::{ClientEndpoint, Dialer, Dialing, Handshake},
    endpoint::Endpoint,
    pump::LinkPump,
    server::{Arrival, Arrived, REFUSAL, Server, ServerEndpoint},
};

/// What the two threads of a connection share. Its inputs do all there is to do, as those of a [`LinkPump`].
pub(super) trait Conversation: Send {
    fn register(&mut self, waker: &Waker);
    fn handle_bytes(&mut self, now: Instant, bytes: &[u8]);
    /// No more bytes come, and none are taken.
    fn handle_end(&mut self, now: Instant);
    /// The bytes that were taken out went out.
    fn handle_written(&mut self, now: Instant);
    fn handle_timeout(&mut self, now: Instant);
    /// Takes bytes out, in place of what was in the buffer.
    fn poll_bytes(&mut self, buffer: &mut Vec<u8>) -> bool;
    /// Whether there are bytes to take out.
    fn has_bytes(&mut self) -> bool;
    fn poll_timeout(&self) -> Option<Instant>;
    /// Whether the stream is to be finished: nothing more goes out, but the other side may still read.
    fn is_finished(&self) -> bool {
        false
    }
    /// Whether nothing more is to be done but to send the bytes that are left, if the stream takes them.
    fn is_over(&self) -> bool;
}

impl<E: Endpoint + Send> Conversation for LinkPump<E> {
    fn register(&mut self, waker: &Waker) {
        self.register(waker);
    }

    fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
        self.handle_bytes(now, bytes);
    }

    fn handle_end(&mut self, now: Instant) {
        self.handle_end(now);
    }

    fn handle_written(&mut self, now: Instant) {
        self.handle_written(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.handle_timeout(now);
    }

    fn poll_bytes(&mut self, buffer: &mut Vec<u8>) -> bool {
        self.poll_bytes(buffer)
    }

    fn has_bytes(&mut self) -> bool {
        self.has_bytes()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.poll_timeout()
    }

    fn is_over(&self) -> bool {
        self.end().is_some()
    }
}

/// Bytes of the HTTP part that go out once.
struct Once {
    bytes: Option<Vec<u8>>,
}

impl Once {
    fn new(text: &str) -> Self {
        Self { bytes: Some(text.into()) }
    }

    fn take(&mut self, buffer: &mut Vec<u8>) -> bool {
        match self.bytes.take() {
            Some(bytes) => {
                *buffer = bytes;
                true
            }
            None => false,
        }
    }
}

/// A client's connection.
pub(super) struct Outgoing {
    dialer: Arc<Dialer>,
    link: LinkId,
    stage: OutgoingStage,
}

enum OutgoingStage {
    Handshake { handshake: Handshake, request: Once, timeout: Option<Instant> },
    Link(Box<LinkPump<ClientEndpoint>>),
    Over,
}

impl Outgoing {
    pub(super) fn new(dialer: Arc<Dialer>, link: LinkId) -> Self {
        let handshake = dialer.handshake();
        let request = Once::new(handshake.request());
        Self { dialer, link, stage: OutgoingStage::Handshake { handshake, request, timeout: None } }
    }

    fn with_link(&mut self, input: impl FnOnce(&mut LinkPump<ClientEndpoint>)) {
        let OutgoingStage::Link(link) = &mut self.stage else { return };
        let ran = link.end().is_none();
        input(link);
        if let Some(end) = link.end().filter(|_| ran) {
            self.dialer.handle_ended(end);
        }
    }

    fn fail(&mut self, error: &impl std::fmt::Display) {
        self.stage = OutgoingStage::Over;
        self.dialer.handle_failed(self.link, error);
    }
}

impl Conversation for Outgoing {
    fn register(&mut self, waker: &Waker) {
        // It is the same for the dialer and for the endpoint of its link.
        self.dialer.register(waker);
    }

    fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
        let OutgoingStage::Handshake { handshake, .. } = &mut self.stage else {
            return self.with_link(|link| link.handle_bytes(now, bytes));
        };
        match handshake.handle_bytes(bytes) {
            Ok(None) => {}
            Ok(Some((accepted, rest))) => {
                let endpoint = self.dialer.handle_opened(self.link, accepted);
                self.stage = OutgoingStage::Link(Box::new(LinkPump::client(endpoint, rest, self.dialer.coalesces())));
                self.with_link(|link| link.handle_timeout(now));
            }
            Err(error) => self.fail(&error),
        }
    }

    fn handle_end(&mut self, now: Instant) {
        match self.stage {
            OutgoingStage::Handshake { .. } => self.fail(&std::io::Error::from(ErrorKind::UnexpectedEof)),
            _ => self.with_link(|link| link.handle_end(now)),
        }
    }

    fn handle_written(&mut self, now: Instant) {
        self.with_link(|link| link.handle_written(now));
    }

    fn handle_timeout(&mut self, now: Instant) {
        let OutgoingStage::Handshake { timeout, .. } = &mut self.stage else {
            return self.with_link(|link| link.handle_timeout(now));
        };
        match self.dialer.dialing(self.link) {
            Dialing::Wait(at) => *timeout = at,
            Dialing::GivenUp => self.stage = OutgoingStage::Over,
        }
    }

    fn poll_bytes(&mut self, buffer: &mut Vec<u8>) -> bool {
        match &mut self.stage {
            OutgoingStage::Handshake { request, .. } => request.take(buffer),
            OutgoingStage::Link(link) => link.poll_bytes(buffer),
            OutgoingStage::Over => false,
        }
    }

    fn has_bytes(&mut self) -> bool {
        match &mut self.stage {
            OutgoingStage::Handshake { request, .. } => request.bytes.is_some(),
            OutgoingStage::Link(link) => link.has_bytes(),
            OutgoingStage::Over => false,
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match &self.stage {
            OutgoingStage::Handshake { timeout, .. } => *timeout,
            OutgoingStage::Link(link) => link.poll_timeout(),
            OutgoingStage::Over => None,
        }
    }

    fn is_over(&self) -> bool {
        match &self.stage {
            OutgoingStage::Handshake { .. } => false,
            OutgoingStage::Link(link) => link.end().is_some(),
            OutgoingStage::Over => true,
        }
    }
}

/// A server's connection.
pub(super) struct Incoming {
    server: Server,
    stage: IncomingStage,
}

enum IncomingStage {
    /// The request is being read.
    Arriving(Box<Arrival>),
    /// The answer to it goes out, and the link begins.
    Opening {
        answer: Once,
        link: Box<LinkPump<ServerEndpoint>>,
    },
    /// The refusal of it goes out, and the other side has a moment to read it.
    Refusing {
        answer: Once,
        written: bool,
        deadline: Option<Instant>,
        _arrival: Box<Arrival>,
    },
    Link(Box<LinkPump<ServerEndpoint>>),
    Over,
}

impl Incoming {
    /// A stream that was accepted.
    pub(super) fn arriving(server: &Server, mut arrival: Arrival) -> Self {
        let refused = arrival.refused_at_once();
        let mut incoming = Self { server: server.clone(), stage: IncomingStage::Arriving(Box::new(arrival)) };
        if let Some(refused) = refused {
            incoming.arrive(refused);
        }
        incoming
    }

    /// A WebSocket that was opened elsewhere.
    pub(super) fn opened(server: &Server, read_ahead: Vec<u8>) -> Self {
        let link = LinkPump::server(server.handle_opened(), read_ahead, server.coalesces());
        Self { server: server.clone(), stage: IncomingStage::Link(Box::new(link)) }
    }

    fn arrive(&mut self, arrived: Arrived) {
        let IncomingStage::Arriving(arrival) = std::mem::replace(&mut self.stage, IncomingStage::Over) else { return };
        self.stage = match arrived {
            Arrived::Opened { answer, rest } => {
                let link = LinkPump::server(arrival.into_endpoint(), rest, self.server.coalesces());
                IncomingStage::Opening { answer: Once::new(&answer), link: Box::new(link) }
            }
            Arrived::Refused { answer } => {
                let answer = Once::new(&answer);
                IncomingStage::Refusing { answer, written: false, deadline: None, _arrival: arrival }
            }
        };
    }

    fn with_link(&mut self, input: impl FnOnce(&mut LinkPump<ServerEndpoint>)) {
        let (IncomingStage::Link(link) | IncomingStage::Opening { link, .. }) = &mut self.stage else { return };
        let ran = link.end().is_none();
        input(link);
        if let Some(end) = link.end().filter(|_| ran) {
            self.server.handle_ended(end);
        }
    }
}

impl Conversation for Incoming {
    fn register(&mut self, waker: &Waker) {
        self.with_link(|link| link.register(waker));
    }

    fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
        if let IncomingStage::Arriving(arrival) = &mut self.stage {
            if let Some(arrived) = arrival.handle_bytes(bytes) {
                self.arrive(arrived);
            }
            return;
        }
        self.with_link(|link| link.handle_bytes(now, bytes));
    }

    fn handle_end(&mut self, now: Instant) {
        match &self.stage {
            IncomingStage::Link(_) | IncomingStage::Opening { .. } => self.with_link(|link| link.handle_end(now)),
            IncomingStage::Arriving(arrival) => {
                arrival.handle_broken(&ErrorKind::UnexpectedEof.into());
                self.stage = IncomingStage::Over;
            }
            // It may have ended its side only, and still read the refusal.
            IncomingStage::Refusing { written: false, .. } => {}
            IncomingStage::Refusing { .. } | IncomingStage::Over => self.stage = IncomingStage::Over,
        }
    }

    fn handle_written(&mut self, now: Instant) {
        match std::mem::replace(&mut self.stage, IncomingStage::Over) {
            IncomingStage::Opening { link, .. } => {
                self.stage = IncomingStage::Link(link);
                self.with_link(|link| link.handle_timeout(now));
            }
            IncomingStage::Refusing { answer, deadline, _arrival, .. } => {
                self.stage = IncomingStage::Refusing { answer, written: true, deadline, _arrival };
            }
            stage => {
                self.stage = stage;
                self.with_link(|link| link.handle_written(now));
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        match &mut self.stage {
            IncomingStage::Arriving(arrival) if arrival.deadline() <= now => {
                arrival.handle_timeout();
                self.stage = IncomingStage::Over;
            }
            IncomingStage::Refusing { deadline, .. } => {
                if *deadline.get_or_insert(now + REFUSAL) <= now {
                    self.stage = IncomingStage::Over;
                }
            }
            _ => self.with_link(|link| link.handle_timeout(now)),
        }
    }

    fn poll_bytes(&mut self, buffer: &mut Vec<u8>) -> bool {
        match &mut self.stage {
            IncomingStage::Opening { answer, .. } | IncomingStage::Refusing { answer, .. } => answer.take(buffer),
            IncomingStage::Link(link) => link.poll_bytes(buffer),
            IncomingStage::Arriving(_) | IncomingStage::Over => false,
        }
    }

    fn has_bytes(&mut self) -> bool {
        match &mut self.stage {
            IncomingStage::Opening { answer, .. } | IncomingStage::Refusing { answer, .. } => answer.bytes.is_some(),
            IncomingStage::Link(link) => link.has_bytes(),
            IncomingStage::Arriving(_) | IncomingStage::Over => false,
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match &self.stage {
            IncomingStage::Arriving(arrival) => Some(arrival.deadline()),
            IncomingStage::Opening { link, .. } | IncomingStage::Link(link) => link.poll_timeout(),
            IncomingStage::Refusing { deadline, .. } => *deadline,
            IncomingStage::Over => None,
        }
    }

    fn is_finished(&self) -> bool {
        matches!(self.stage, IncomingStage::Refusing { written: true, .. })
    }

    fn is_over(&self) -> bool {
        match &self.stage {
            IncomingStage::Arriving(_) | IncomingStage::Refusing { .. } => false,
            IncomingStage::Opening { link, .. } | IncomingStage::Link(link) => link.end().is_some(),
            IncomingStage::Over => true,
        }
    }
}

#[cfg(test)]
mod tests;
