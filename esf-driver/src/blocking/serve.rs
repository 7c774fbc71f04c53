//! The threads that accept for a server, keep house for it, and serve what came.

use std::{net::SocketAddr, sync::Arc, task::Waker, time::Instant as StdInstant};

use super::{Listener, Stream, connection::converse, conversation::Incoming, wait::Signal};
use crate::{
    server::{Housekeeper, Keeping, Listening, Server, Shortage},
    tasks::Tasks,
};

/// Accepts until the server takes no more.
pub(super) fn accept(tasks: &Arc<dyn Tasks>, server: &Server, listener: Arc<dyn Listener>, _listening: Listening) {
    // Gone before it is told that it is.
    let listener = listener;
    let mut shortage = Shortage::default();
    loop {
        let accepted = listener.accept();
        if server.is_stopping() {
            return;
        }
        match accepted {
            Ok((stream, from)) => {
                shortage.ease();
                serve(tasks, server, stream, Some(from));
            }
            Err(error) => {
                if let Some(pause) = server.handle_accept_error(&mut shortage, &error) {
                    std::thread::sleep(pause);
                }
            }
        }
    }
}

/// Serves a stream that was accepted, on two threads of its own.
pub(super) fn serve(tasks: &Arc<dyn Tasks>, server: &Server, stream: Arc<dyn Stream>, from: Option<SocketAddr>) {
    // Here, so that what waits for a thread counts as well.
    let incoming = Incoming::arriving(server, server.handle_accepted(from));
    spawn(tasks, stream, incoming);
}

/// Serves a WebSocket that was opened elsewhere.
pub(super) fn serve_websocket(tasks: &Arc<dyn Tasks>, server: &Server, stream: Arc<dyn Stream>, read_ahead: Vec<u8>) {
    spawn(tasks, stream, Incoming::opened(server, read_ahead));
}

fn spawn(tasks: &Arc<dyn Tasks>, stream: Arc<dyn Stream>, incoming: Incoming) {
    let threads = tasks.clone();
    tasks.spawn(Box::pin(async move { converse(&threads, stream, incoming, Arc::new(Signal::default())) }));
}

/// Keeps house until the server is over.
pub(super) fn keep_house(tasks: &dyn Tasks, housekeeper: &Housekeeper) {
    let signal = Arc::new(Signal::default());
    let waker = Waker::from(signal.clone());
    loop {
        housekeeper.register(&waker);
        let Keeping::Wait(at) = housekeeper.next() else { return };
        signal.wait_until(at.map(|at| StdInstant::now() + at.since(tasks.now())));
    }
}
