//! Accepts, does the HTTP part of what came, and runs its link, as tasks.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::Arc,
    task::Poll,
};

use futures_util::{AsyncReadExt as _, AsyncWriteExt as _};
use tungstenite::protocol::Role;

use super::{
    Listening, Server, Shared,
    arrival::{Arrival, Arrived, REFUSAL},
    endpoint::ServerEndpoint,
    shortage::Shortage,
};
use crate::{
    bridge::Bridge,
    endpoint::Endpoint as _,
    link::{LinkEnd, RunningLink},
    runtime::{BoxFuture, BoxStream, Listener},
    socket::Socket,
    tasks::{sleep_until, within},
};

impl Server {
    /// Listens on `address`, `host:port`, as often as wanted; port 0 takes a free one. The address is the one taken.
    ///
    /// # Errors
    /// What the system says.
    pub async fn listen(&self, address: &str) -> io::Result<SocketAddr> {
        let listener = self.0.sockets.as_ref().ok_or(ErrorKind::Unsupported)?.listen(address).await?;
        self.serve(listener)
    }

    /// Accepts from a listener that is there already.
    ///
    /// # Errors
    /// What the system says when it is asked for the address.
    pub fn serve(&self, listener: Box<dyn Listener>) -> io::Result<SocketAddr> {
        let address = listener.local_addr()?;
        let listening = self.listens_on(address);
        self.spawn(self.0.clone().accept_from(listener, listening));
        Ok(address)
    }

    /// Serves a stream that was accepted elsewhere, or an in-memory one. The HTTP request is read from it.
    pub fn serve_stream(&self, stream: BoxStream) {
        self.spawn(self.0.clone().serve(stream, None));
    }

    /// The same for a stream whose other side is known: its limits by address count, and if it is a trusted proxy, those
    /// of whom it brings.
    pub fn serve_stream_from(&self, stream: BoxStream, from: SocketAddr) {
        self.spawn(self.0.clone().serve(stream, Some(from)));
    }

    /// Serves a WebSocket that was opened elsewhere, with the sub-protocol `esf.v1`: `read_ahead` is what was read of it
    /// already.
    pub fn serve_websocket(&self, stream: BoxStream, read_ahead: Vec<u8>) {
        self.spawn(self.0.clone().serve_websocket(stream, read_ahead));
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.runtime.spawn(Box::pin(task));
    }
}

impl Shared {
    /// Accepts until the server shuts down.
    pub(super) async fn accept_from(self: Arc<Self>, listener: Box<dyn Listener>, _listening: Listening) {
        // Gone before it is told that it is.
        let mut listener = listener;
        let mut shortage = Shortage::default();
        while let Some(accepted) = self.next_of(&mut *listener).await {
            match accepted {
                Ok((stream, from)) => {
                    shortage.ease();
                    self.runtime.spawn(Box::pin(self.clone().serve(stream, Some(from))));
                }
                Err(error) => {
                    if let Some(pause) = self.handle_accept_error(&mut shortage, &error) {
                        sleep_until(&*self.runtime, self.runtime.now() + pause).await;
                    }
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

    /// Does the HTTP part of a stream, then runs its link. This future lives as long as the link: what comes before that is
    /// in a box of its own, which goes first.
    pub(super) async fn serve(self: Arc<Self>, stream: BoxStream, from: Option<SocketAddr>) {
        if let Some(link) = Box::pin(self.open(stream, from)).await {
            self.count_end(link.await);
        }
    }

    /// Runs the link of a WebSocket that was opened elsewhere.
    pub(super) async fn serve_websocket(self: Arc<Self>, stream: BoxStream, read_ahead: Vec<u8>) {
        let link = self.link(stream, read_ahead, self.admit_opened());
        self.count_end(link.await);
    }

    /// Does the HTTP part of a stream; `None` when no link comes of it.
    async fn open(
        self: &Arc<Self>,
        mut stream: BoxStream,
        from: Option<SocketAddr>,
    ) -> Option<BoxFuture<'static, LinkEnd>> {
        let mut arrival = self.arrive(from);
        let limit = arrival.deadline().since(self.runtime.now());
        match within(&*self.runtime, limit, shake_hands(&mut stream, &mut arrival)).await {
            Some(Ok(Arrived::Opened { rest, .. })) => return Some(self.link(stream, rest, arrival.into_endpoint())),
            Some(Ok(Arrived::Refused { answer })) => {
                // Whoever does not listen is not told.
                let _ = within(&*self.runtime, REFUSAL, refuse(stream, &answer)).await;
            }
            Some(Err(error)) => arrival.handle_broken(&error),
            None => arrival.handle_timeout(),
        }
        None
    }

    fn link(&self, stream: BoxStream, rest: Vec<u8>, endpoint: ServerEndpoint) -> BoxFuture<'static, LinkEnd> {
        let socket = Socket::new(Bridge::new(stream), rest, Role::Server, endpoint.max_message());
        RunningLink::new(socket, endpoint, self.runtime.clone(), self.coalesce).run()
    }
}

/// Reads the request, and answers it if it is agreed to.
async fn shake_hands(stream: &mut BoxStream, arrival: &mut Arrival) -> io::Result<Arrived> {
    if let Some(refused) = arrival.refused_at_once() {
        return Ok(refused);
    }
    let mut buffer = [0; 1024];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let Some(arrived) = arrival.handle_bytes(buffer.get(..count).unwrap_or_default()) else { continue };
        if let Arrived::Opened { answer, .. } = &arrived {
            stream.write_all(answer.as_bytes()).await?;
            stream.flush().await?;
        }
        return Ok(arrived);
    }
}

/// Says no, and waits a moment for the other side to have read it.
async fn refuse(mut stream: BoxStream, answer: &str) -> io::Result<()> {
    stream.write_all(answer.as_bytes()).await?;
    stream.close().await?;
    let mut left = [0; 1024];
    while stream.read(&mut left).await? > 0 {}
    Ok(())
}
