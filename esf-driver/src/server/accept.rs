//! From an accepted stream to a link that runs.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::Duration,
};

use esf_proto::{close::CloseReason, time::Instant};
use futures_util::{AsyncReadExt as _, AsyncWriteExt as _};
use tungstenite::protocol::Role;

use super::{
    Path, Shared,
    door::{Client, Connection},
    endpoint::ServerEndpoint,
};
use crate::{
    bridge::Bridge,
    endpoint::Endpoint as _,
    head::{Head, read_head},
    http::{Refusal, Verdict, judge, may_be_request},
    link::{Fault, LinkEnd, RunningLink},
    runtime::{BoxStream, Listener, sleep_until, within},
    socket::Socket,
};

/// How long to wait after the system could not accept, at first and at most. It has run out of something that takes a
/// while to come back.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// How long a refusal may take to go out.
const REFUSAL: Duration = Duration::from_secs(1);

/// Says now and then what happens again and again.
#[derive(Default)]
pub(super) struct RareLog {
    told: Option<Instant>,
    untold: u64,
}

impl RareLog {
    const EVERY: Duration = Duration::from_secs(60);

    /// It happened once more: how often since it was last told, if it is to be told now.
    pub(super) fn failed(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        if self.told.is_some_and(|told| now.since(told) < Self::EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// A WebSocket that was agreed on.
struct Opened {
    stream: BoxStream,
    /// What came behind the request at once.
    rest: Vec<u8>,
    path: Path,
    client: Client,
}

impl Shared {
    /// Accepts until the server shuts down.
    pub(super) async fn accept_from(self: Arc<Self>, mut listener: Box<dyn Listener>) {
        let (mut backoff, mut log) = (BACKOFF.0, RareLog::default());
        while let Some(accepted) = self.next_of(&mut *listener).await {
            match accepted {
                Ok((stream, from)) => {
                    // One that came through is not yet the end of the shortage.
                    backoff = (backoff / 2).max(BACKOFF.0);
                    self.runtime.spawn(Box::pin(self.clone().serve(stream, Some(from))));
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if let Some(failures) = log.failed(self.runtime.now()) {
                        tracing::warn!(
                            %error, failures,
                            "cannot accept connections; those that are open live on. \
                             If there are too many open files, raise that limit or lower that of connections"
                        );
                    }
                    self.state.counters.accept_errors.fetch_add(1, Ordering::Relaxed);
                    sleep_until(&*self.runtime, self.runtime.now() + backoff).await;
                    backoff = (backoff * 2).min(BACKOFF.1);
                }
            }
        }
    }

    /// What the listener accepts next; `None` when the server shuts down.
    async fn next_of(&self, listener: &mut dyn Listener) -> Option<io::Result<(BoxStream, SocketAddr)>> {
        let mut accept = listener.accept();
        std::future::poll_fn(|cx| {
            if self.state.changed.poll(cx, || self.is_stopping()).is_ready() {
                return Poll::Ready(None);
            }
            accept.as_mut().poll(cx).map(Some)
        })
        .await
    }

    /// Does the HTTP part of a stream, then runs its link.
    pub(super) async fn serve(self: Arc<Self>, stream: BoxStream, from: Option<SocketAddr>) {
        // What is boxed here is so where it begins: this future lives as long as the link, and as large as its largest part.
        let accepted = self.runtime.now();
        let (mut connection, too_many) = Connection::enter(&self);
        if too_many || self.is_stopping() {
            return Box::pin(self.refuse(stream, from.map(|from| from.ip()), Refusal::Full, None)).await;
        }
        let known = self.client_of(from);
        if let Some(client) = known.filter(|client| !connection.count_for(*client)) {
            return Box::pin(self.refuse(stream, client.address, Refusal::AddressFull, None)).await;
        }
        // Of a proxy, whoever is behind it is known when it has asked.
        let proxy = from.filter(|_| known.is_none());
        let limit = self.node.config().login_timeout;
        match within(&*self.runtime, limit, Box::pin(self.shake_hands(stream, known, proxy, &mut connection))).await {
            Some(Ok(Some(Opened { stream, rest, path: Path::Esf, client }))) => {
                Box::pin(self.run_link(stream, rest, client, accepted, false)).await;
            }
            Some(Ok(None)) => {}
            Some(Err(error)) => tracing::debug!(?from, %error, "a connection ended before it was one"),
            None => {
                tracing::debug!(?from, "a handshake did not end in time");
                self.state.counters.handshakes_timed_out.fetch_add(1, Ordering::Relaxed);
            }
        }
        drop(connection);
    }

    /// Runs the link of a WebSocket that was opened elsewhere. If there are too many, it is told so and closed
    /// (ESF-514).
    pub(super) async fn serve_websocket(self: Arc<Self>, stream: BoxStream, read_ahead: Vec<u8>) {
        let (connection, too_many) = Connection::enter(&self);
        if too_many {
            self.state.counters.refused(Refusal::Full);
        }
        let accepted = self.runtime.now();
        Box::pin(self.run_link(stream, read_ahead, Client::default(), accepted, too_many)).await;
        drop(connection);
    }

    /// Reads the request and answers it. `None`: it was refused.
    async fn shake_hands(
        &self,
        mut stream: BoxStream,
        known: Option<Client>,
        proxy: Option<SocketAddr>,
        connection: &mut Connection,
    ) -> io::Result<Option<Opened>> {
        let mut client = known.unwrap_or_default();
        let (mut verdict, rest) = match read_head(&mut stream, may_be_request).await? {
            Head::Whole { head, rest } => {
                client = proxy.map_or(client, |proxy| self.client_by_proxy(proxy, &head));
                (judge(&head, &self.door.settled().rules), rest)
            }
            Head::TooLarge => (refuse(Refusal::HeadTooLarge), Vec::new()),
            Head::Hopeless => (refuse(Refusal::Malformed), Vec::new()),
        };
        // The others were counted when they came.
        if proxy.is_some() && matches!(verdict, Verdict::Upgrade { .. }) && !connection.count_for(client) {
            verdict = refuse(Refusal::AddressFull);
        }
        match verdict {
            Verdict::Upgrade { path, answer } => {
                stream.write_all(answer.as_bytes()).await?;
                stream.flush().await?;
                Ok(Some(Opened { stream, rest, path, client }))
            }
            Verdict::Refuse { refusal, answer } => {
                self.refuse(stream, client.address, refusal, Some(answer)).await;
                Ok(None)
            }
        }
    }

    /// Says no, and waits a moment for the other side to have read it: a close with bytes unread is a reset, which would
    /// take the answer with it.
    async fn refuse(&self, mut stream: BoxStream, address: Option<IpAddr>, refusal: Refusal, answer: Option<String>) {
        let answer = answer.unwrap_or_else(|| refusal.answer());
        tracing::debug!(?refusal, address = address.map(tracing::field::display), "a request was refused");
        self.state.counters.refused(refusal);
        let say = async {
            stream.write_all(answer.as_bytes()).await?;
            stream.close().await?;
            let mut left = [0; 1024];
            while stream.read(&mut left).await? > 0 {}
            io::Result::Ok(())
        };
        // Whoever does not listen is not told.
        let _ = within(&*self.runtime, REFUSAL, say).await;
    }

    async fn run_link(
        self: &Arc<Self>,
        stream: BoxStream,
        rest: Vec<u8>,
        client: Client,
        accepted: Instant,
        too_many: bool,
    ) {
        let end = self.link(stream, rest, client, accepted, too_many).await;
        match end.fault {
            Some(Fault::TooLarge) => self.state.counters.messages_too_large.fetch_add(1, Ordering::Relaxed),
            Some(Fault::Violation) => self.state.counters.websocket_violations.fetch_add(1, Ordering::Relaxed),
            None => 0,
        };
    }

    /// Apart from the one who waits for it, whose future would keep room for all that goes into it.
    fn link(
        self: &Arc<Self>,
        stream: BoxStream,
        rest: Vec<u8>,
        client: Client,
        accepted: Instant,
        too_many: bool,
    ) -> impl Future<Output = LinkEnd> + use<> {
        let mut endpoint = ServerEndpoint::new(self.clone(), client, accepted);
        if too_many {
            endpoint.close(CloseReason::ConnectionLimit);
        }
        let socket = Socket::new(Bridge::new(stream), rest, Role::Server, endpoint.max_message());
        RunningLink::new(socket, endpoint, self.runtime.clone(), self.coalesce).run()
    }
}

fn refuse<P>(refusal: Refusal) -> Verdict<P> {
    Verdict::Refuse { refusal, answer: refusal.answer() }
}

/// Whether an error of `accept` is about the one connection that would have been accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::Interrupted
    )
}
