//! Takeovers on real threads: the client's end of a connection breaks after so many bytes, the server's end lives on and
//! still delivers what was under way, while the same engine is already back on a newer connection.

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use esf_tokio::{Config, Retry};
use support::{config, open_server, recorder, soon, to, until};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp::OwnedWriteHalf},
    task::JoinSet,
};

/// Connections that are broken, before the proxy lets one live.
const CUTS: usize = 120;

/// The server's end of a connection whose client is gone, with the bytes that are under way to it.
type HalfOpen = (OwnedWriteHalf, Vec<u8>);

/// A proxy that breaks each connection after some bytes of the client's. What it had read and not passed on reaches the
/// server only when the next connection has begun.
struct Proxy {
    target: String,
    cuts: AtomicUsize,
    left_over: Mutex<Vec<HalfOpen>>,
}

impl Proxy {
    async fn start(url: &str) -> (Arc<Self>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let target = url.trim_start_matches("ws://").to_owned();
        let proxy = Arc::new(Self { target, cuts: AtomicUsize::new(0), left_over: Mutex::default() });
        let this = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(this.clone().serve(client));
            }
        });
        (proxy, format!("ws://{address}"))
    }

    async fn serve(self: Arc<Self>, client: TcpStream) {
        let Ok(server) = TcpStream::connect(&self.target).await else { return };
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let cut = self.cuts.fetch_add(1, Ordering::SeqCst);
        // The handshake has some 230 bytes; what follows is cut at places that differ.
        let mut budget = if cut < CUTS { 400 + cut * 37 % 1_500 } else { usize::MAX };
        let down = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
        let mut buffer = vec![0; 512];
        let mut silent = true;
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            if std::mem::take(&mut silent) {
                self.release();
            }
            let bytes = &buffer[..read];
            if read > budget {
                let _ = to_server.write_all(&bytes[..budget]).await;
                self.left_over.lock().expect("no panic").push((to_server, bytes[budget..].to_vec()));
                down.abort();
                return;
            }
            budget -= read;
            if to_server.write_all(bytes).await.is_err() {
                return;
            }
        }
    }

    /// A newer connection speaks: now the older ones deliver what they still had, and end.
    fn release(&self) {
        for (mut to_server, under_way) in self.left_over.lock().expect("no panic").drain(..) {
            tokio::spawn(async move { to_server.write_all(&under_way).await });
        }
    }
}

fn eager(name: &str) -> Config {
    let soon = Duration::from_millis(5);
    Config { retry: Retry { base: Duration::from_millis(1), cap_resume: soon, cap: soon }, ..config(name) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn links_that_die_late_lose_nothing_and_double_nothing() {
    let (server, url) = open_server().await;
    let (up, up_url) = Proxy::start(&url).await;
    let (down, down_url) = Proxy::start(&url).await;
    let (handler, mut inbox) = recorder();
    let alice = esf_tokio::client(&up_url, eager("alice")).start().expect("a URL");
    let _bob = esf_tokio::client(&down_url, eager("bob")).handler(handler).start().expect("a URL");
    until(|| server.stats().counter("logins") >= 2).await;

    let mut certain = JoinSet::new();
    let mut sent = 0;
    while up.cuts.load(Ordering::SeqCst) < CUTS || down.cuts.load(Ordering::SeqCst) < CUTS {
        let (alice, body) = (alice.clone(), sent.to_string());
        alice.send(to("bob"), 7, format!("plain {sent}")).expect("room");
        certain.spawn(async move { alice.send_certainly(to("bob"), 7, format!("certain {body}")).await });
        sent += 1;
        while certain.len() >= 8 {
            soon(certain.join_next()).await.expect("one is open").expect("no panic").expect("an ack");
        }
        assert!(sent < 50_000, "the connections break");
    }
    while let Some(outcome) = soon(certain.join_next()).await {
        outcome.expect("no panic").expect("an ack");
    }
    let mut came = Vec::new();
    while came.len() < 2 * sent {
        came.push(soon(inbox.recv()).await.expect("it comes").body);
    }
    let plain: Vec<String> = came.iter().filter(|body| body.starts_with("plain")).cloned().collect();
    assert_eq!(plain, (0..sent).map(|n| format!("plain {n}")).collect::<Vec<_>>(), "in order");
    came.sort();
    came.dedup();
    assert_eq!(came.len(), 2 * sent, "nothing twice");
    assert!(inbox.try_recv().is_err(), "and nothing after it");
    assert!(server.stats().counter("resumes") > CUTS as u64, "the sessions were taken over");
}
