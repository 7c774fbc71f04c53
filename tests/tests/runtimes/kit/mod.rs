//! Clients and servers on any runtime, behind one face: a scenario knows only this.

pub(crate) mod calls;
pub(crate) mod futures;
pub(crate) mod gate;
pub(crate) mod inbox;
mod keeper;
pub(crate) mod line;
pub(crate) mod on_smol;
pub(crate) mod on_threads;
pub(crate) mod on_tokio;
pub(crate) mod raw;
pub(crate) mod spec;
pub(crate) mod words;

use std::{
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use serde_json::Value;

use inbox::Inbox;
use spec::{Call, ClientSpec, Elsewhere, ServerSpec};

/// How long anything may take. Nothing waits for it unless it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What clients and servers run on. Everything that a scenario sees of them is a [`Value`], as `words` puts it.
pub(crate) trait Runtime: Sync {
    /// Starts a client and waits until it is logged in, or for the reason why not.
    fn connect(&self, url: &str, spec: &ClientSpec, inbox: Arc<Inbox>) -> Result<Box<dyn Peer>, Value>;

    /// Starts a server on this address, or on none: then it serves what [`Host::serve`] hands it.
    fn serve(&self, address: Option<&str>, spec: &ServerSpec, inbox: Arc<Inbox>) -> Box<dyn Host>;
}

/// A client.
pub(crate) trait Peer: Send {
    /// Asks for something. It is asked for when this returns; how it ends comes later.
    fn call(&self, call: &Call) -> Pending;

    /// Asks for something and waits for no outcome: where calls are futures, one that is dropped as soon as it is polled.
    fn abandon(&self, call: &Call);

    /// The next event, or null after the last.
    fn event(&self) -> Value;

    /// What there is to see of it.
    fn look(&self) -> Value;
}

/// A server.
pub(crate) trait Host: Send + Sync {
    /// Asks for something, as its application.
    fn call(&self, call: &Call) -> Pending;

    /// The next event, or null after the last.
    fn event(&self) -> Value;

    /// What there is to see of it.
    fn look(&self) -> Value;

    /// Serves a connection that was accepted elsewhere, or one whose WebSocket was opened there.
    fn serve(&self, stream: TcpStream, what: Elsewhere);

    /// Where it listens.
    fn url(&self) -> String;
}

/// How something ends, when it does. Dropping it changes nothing about it.
pub(crate) struct Pending(mpsc::Receiver<Value>);

impl Pending {
    /// One and the end through which its outcome comes.
    pub(crate) fn new() -> (mpsc::Sender<Value>, Self) {
        let (tell, outcome) = mpsc::channel();
        (tell, Self(outcome))
    }

    /// The outcome.
    pub(crate) fn wait(self) -> Value {
        self.0.recv_timeout(PATIENCE).unwrap_or_else(|error| Value::String(format!("no outcome: {error}")))
    }
}

/// Waits until `found` finds something. For what is told by no event; the last thing seen is in the panic.
pub(crate) fn until<T>(what: &str, mut found: impl FnMut() -> Result<T, String>) -> T {
    let mut tries = 0;
    loop {
        match found() {
            Ok(found) => return found,
            Err(seen) if tries > PATIENCE.as_millis() / 2 => panic!("{what}: {seen}"),
            Err(_) => {
                tries += 1;
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

/// A file with these bytes, which goes when it is dropped.
pub(crate) struct File {
    pub(crate) path: String,
}

pub(crate) fn file(bytes: &[u8]) -> File {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = format!("{}/blob-{}-{number}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    std::fs::write(&path, bytes).expect("a file");
    File { path }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
