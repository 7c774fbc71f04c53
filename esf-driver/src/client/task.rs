//! The one task of a client: connects when the session says so, and runs the link.

use std::{
    io::{self, ErrorKind},
    sync::Arc,
    task::Poll,
};

use esf_proto::ids::LinkId;
use futures_util::{AsyncReadExt as _, AsyncWriteExt as _};
use tungstenite::protocol::Role;

use super::dial::{Dial, Dialer, Dialing};
use crate::{
    bridge::Bridge,
    endpoint::Endpoint as _,
    http::{Accepted, HandshakeError},
    link::RunningLink,
    runtime::BoxStream,
    socket::Socket,
    tasks::{Alarm, BoxFuture, Tasks},
};

/// Makes the connections of a client.
pub(super) type Connector = Box<dyn Fn() -> BoxFuture<'static, io::Result<BoxStream>> + Send + Sync>;

/// What the task needs.
pub(super) struct Task {
    /// Tells everybody that the task has ended, also when the runtime drops it where it waits.
    pub(super) dialer: Dialer,
    pub(super) runtime: Arc<dyn Tasks>,
    pub(super) connector: Connector,
}

/// A WebSocket that was agreed on.
struct Opened {
    stream: BoxStream,
    accepted: Accepted,
    /// What came behind the answer at once.
    rest: Vec<u8>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Handshake(#[from] HandshakeError),
}

impl Task {
    /// Runs until the session is over and its last link is closed.
    pub(super) async fn run(self) {
        let mut alarm = Alarm::new(&*self.runtime);
        while let Some(link) = self.next_link(&mut alarm).await {
            match self.open(link, &mut alarm).await {
                Some(Ok(opened)) => self.run_link(link, opened).await,
                Some(Err(error)) => self.dialer.handle_failed(link, &error),
                None => {}
            }
        }
    }

    /// The next link to connect; `None` when the session is over. Time passes for the session meanwhile.
    async fn next_link(&self, alarm: &mut Alarm) -> Option<LinkId> {
        std::future::poll_fn(|cx| {
            loop {
                self.dialer.register(cx.waker());
                let at = match self.dialer.next() {
                    Dial::Connect(link) => return Poll::Ready(Some(link)),
                    Dial::Over => return Poll::Ready(None),
                    Dial::Wait(at) => at,
                };
                if alarm.poll(cx, self.runtime.now(), at).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// Connects and does the HTTP part; `None` when nobody wants that any more.
    async fn open(&self, link: LinkId, alarm: &mut Alarm) -> Option<Result<Opened, OpenError>> {
        let mut opening = Box::pin(self.connect());
        std::future::poll_fn(|cx| {
            loop {
                self.dialer.register(cx.waker());
                let Dialing::Wait(at) = self.dialer.dialing(link) else { return Poll::Ready(None) };
                if alarm.poll(cx, self.runtime.now(), at).is_pending() {
                    return opening.as_mut().poll(cx).map(Some);
                }
            }
        })
        .await
    }

    async fn connect(&self) -> Result<Opened, OpenError> {
        let mut stream = (self.connector)().await?;
        let mut handshake = self.dialer.handshake();
        stream.write_all(handshake.request().as_bytes()).await?;
        stream.flush().await?;
        let mut buffer = [0; 1024];
        loop {
            let count = stream.read(&mut buffer).await?;
            if count == 0 {
                return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
            }
            if let Some((accepted, rest)) = handshake.handle_bytes(buffer.get(..count).unwrap_or_default())? {
                return Ok(Opened { stream, accepted, rest });
            }
        }
    }

    async fn run_link(&self, link: LinkId, opened: Opened) {
        let Opened { stream, accepted, rest } = opened;
        let endpoint = self.dialer.handle_opened(link, accepted);
        let socket = Socket::new(Bridge::new(stream), rest, Role::Client, endpoint.max_message());
        let end = RunningLink::new(socket, endpoint, self.runtime.clone(), self.dialer.coalesces()).run().await;
        self.dialer.handle_ended(end);
    }
}
