//! A TCP proxy that severs its first connection after a certain byte and lets all others through.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
};

/// Which of a connection's two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the client to the server.
    Up = 0,
    Down = 1,
}

/// Where a connection is severed: so many bytes pass that way, and not one more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    pub(crate) way: Way,
    pub(crate) after: usize,
}

pub(crate) struct Proxy {
    address: SocketAddr,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

/// What the first connection has seen.
#[derive(Default)]
struct Seen {
    passed: [AtomicUsize; 2],
    cut: AtomicBool,
}

impl Proxy {
    pub(crate) async fn start(target: SocketAddr, cut: Option<Cut>) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, seen) = (listener.local_addr()?, Arc::<Seen>::default());
        let first = seen.clone();
        let task = tokio::spawn(async move {
            let mut next = Some((first, cut));
            while let Ok((client, _)) = listener.accept().await {
                let (seen, cut) = next.take().unwrap_or_default();
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(target).await {
                        pass(client, server, &seen, cut).await;
                    }
                });
            }
        });
        Ok(Self { address, seen, task })
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Bytes that passed the first connection, up and down.
    pub(crate) fn passed(&self) -> [usize; 2] {
        [Way::Up, Way::Down].map(|way| self.seen.passed[way as usize].load(Relaxed))
    }

    /// Whether the first connection was severed.
    pub(crate) fn was_cut(&self) -> bool {
        self.seen.cut.load(Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Passes bytes until either end has done with the connection, or until it is cut. Then both ends are gone.
async fn pass(client: TcpStream, server: TcpStream, seen: &Seen, cut: Option<Cut>) {
    for end in [&client, &server] {
        let _ = end.set_nodelay(true);
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let limit = |way| cut.filter(|cut| cut.way == way).map(|cut| cut.after);
    tokio::select! {
        () = pump(from_client, to_server, Way::Up, limit(Way::Up), seen) => {}
        () = pump(from_server, to_client, Way::Down, limit(Way::Down), seen) => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: Way, limit: Option<usize>, seen: &Seen) {
    let (mut buffer, mut passed) = ([0; 4096], 0);
    loop {
        let left = limit.map_or(buffer.len(), |limit| limit - passed).min(buffer.len());
        if left == 0 {
            // Whoever waits for the byte after this one waits for nothing.
            seen.cut.store(true, Relaxed);
            return;
        }
        let Ok(count @ 1..) = from.read(&mut buffer[..left]).await else { return };
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
        passed += count;
        seen.passed[way as usize].store(passed, Relaxed);
    }
}
