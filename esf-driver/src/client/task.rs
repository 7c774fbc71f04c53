//! The one task of a client: connects when the session says so, and runs the link.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

use esf_proto::{client::Action, close::CloseReason, ids::LinkId, wire::SUBPROTOCOL};
use futures_util::AsyncWriteExt as _;
use tungstenite::protocol::Role;

use super::{
    CloseInfo,
    core::{Post, Shared},
    endpoint::ClientEndpoint,
};
use crate::{
    bridge::Bridge,
    dispatch::Dispatch,
    head::{Head, read_head},
    http::{self, Accepted, HandshakeError},
    link::{Fault, RunningLink},
    runtime::{Alarm, BoxFuture, BoxStream},
    socket::Socket,
    url::Url,
};

/// Makes the connections of a client.
pub(super) type Connector = Box<dyn Fn() -> BoxFuture<'static, io::Result<BoxStream>> + Send + Sync>;

/// What the task needs beside the session.
pub(super) struct Task {
    pub(super) shared: Arc<Shared>,
    pub(super) dispatch: Arc<Dispatch<Post>>,
    pub(super) connector: Connector,
    pub(super) url: Url,
    pub(super) origin: Option<String>,
    pub(super) coalesce: bool,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Handshake(#[from] HandshakeError),
}

/// Tells everybody that the task has ended.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Task {
    /// Runs until the session is over and its last link is closed.
    pub(super) async fn run(self) {
        // Also when the runtime drops this task where it waits.
        let _end = End(self.shared.clone());
        let mut alarm = Alarm::new(&*self.shared.runtime);
        while let Some(link) = std::future::poll_fn(|cx| self.poll_connect(cx, &mut alarm)).await {
            let mut opening = Box::pin(self.open());
            let opened = std::future::poll_fn(|cx| {
                if self.is_given_up(cx, &mut alarm, link) {
                    return Poll::Ready(None);
                }
                opening.as_mut().poll(cx).map(Some)
            })
            .await;
            drop(opening);
            match opened {
                Some(Ok((socket, accepted))) => self.run_link(link, socket, accepted).await,
                Some(Err(error)) => {
                    tracing::debug!(url = %self.url, %error, "cannot connect");
                    self.shared.change(|core, now| {
                        core.unreachable = Some(error.to_string());
                        core.session.handle_connect_failed(now, link);
                    });
                }
                None => self.shared.change(|core, _| core.unreachable = Some("no answer in time".to_owned())),
            }
        }
        self.dispatch.pump();
    }

    async fn run_link(&self, link: LinkId, socket: Socket<Bridge>, accepted: Accepted) {
        self.shared.change(|core, now| {
            core.protocol = Some(accepted.protocol);
            core.session.handle_connected(now, link);
        });
        let endpoint = ClientEndpoint::new(self.shared.clone(), self.dispatch.clone(), link);
        let end = RunningLink::new(socket, endpoint, self.shared.runtime.clone(), self.coalesce).run().await;
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
                core.unreachable = Some(reason.map_or("no answer to the login", CloseReason::text).to_owned());
            }
        });
    }

    /// The next link to connect; `None` when the session is over. Time passes for the session meanwhile.
    fn poll_connect(&self, cx: &mut Context<'_>, alarm: &mut Alarm) -> Poll<Option<LinkId>> {
        loop {
            self.pass_time(cx);
            let next = self.shared.change(|core, _| {
                loop {
                    match core.actions.pop_front() {
                        Some(Action::Connect { link }) => return Some(Some(link)),
                        // Of a link that is gone already.
                        Some(Action::Close { .. } | Action::Drop { .. }) => {}
                        None if core.closed().is_some() => return Some(None),
                        None => return None,
                    }
                }
            });
            if let Some(next) = next {
                return Poll::Ready(next);
            }
            if self.poll_alarm(cx, alarm).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Whether the session does not want the link any more that is being connected. Time passes for the session
    /// meanwhile.
    fn is_given_up(&self, cx: &mut Context<'_>, alarm: &mut Alarm, present: LinkId) -> bool {
        loop {
            self.pass_time(cx);
            let given_up = self.shared.change(|core, _| {
                loop {
                    match core.actions.front() {
                        Some(Action::Connect { .. }) => return true,
                        Some(Action::Close { link, .. } | Action::Drop { link }) => {
                            let given_up = *link == present;
                            core.actions.pop_front();
                            if given_up {
                                return true;
                            }
                        }
                        None => return core.closed().is_some(),
                    }
                }
            });
            if given_up {
                return true;
            }
            if self.poll_alarm(cx, alarm).is_pending() {
                return false;
            }
        }
    }

    fn pass_time(&self, cx: &Context<'_>) {
        self.shared.task.register(cx.waker());
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

    fn poll_alarm(&self, cx: &mut Context<'_>, alarm: &mut Alarm) -> Poll<()> {
        let at = self.shared.look(|core| core.session.poll_timeout().map(|(at, _)| at));
        alarm.poll(cx, self.shared.runtime.now(), at)
    }

    /// Connects and does the HTTP part. How long that may take is the session's to say.
    async fn open(&self) -> Result<(Socket<Bridge>, Accepted), OpenError> {
        let mut stream = (self.connector)().await?;
        let key = tungstenite::handshake::client::generate_key();
        let request = http::request(&self.url, &key, SUBPROTOCOL, self.origin.as_deref());
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let (head, rest) =
            match read_head(&mut stream, |bytes| b"HTTP/1.".starts_with(bytes.get(..7).unwrap_or(bytes))).await? {
                Head::Whole { head, rest } => (head, rest),
                Head::TooLarge => return Err(HandshakeError::TooLarge.into()),
                Head::Hopeless => return Err(HandshakeError::Malformed.into()),
            };
        let accepted = http::check_reply(&head, &key, SUBPROTOCOL).map_err(|error| error.with_body(&rest))?;
        let max_message = self.shared.look(|core| core.session.max_message());
        Ok((Socket::new(Bridge::new(stream), rest, Role::Client, max_message), accepted))
    }
}
