//! What a client or server gets, and what becomes of it: the type number says so.

use std::{
    sync::{Mutex, mpsc},
    time::{SystemTime, UNIX_EPOCH},
};

use esf_driver::{
    blob::{BlobChoice, BlobOffer},
    handler::Context,
};
use esf_proto::{failure::Failure, time::UnixMillis};
use serde_json::{Value, json};

use super::{PATIENCE, gate::Gate, words};

/// Its handler fails.
pub(crate) const FAILS: u32 = 100;
/// Its handler panics.
pub(crate) const PANICS: u32 = 101;
/// Its handler never returns.
pub(crate) const NEVER: u32 = 102;
/// Its handler asks the sender back with a query of type 0 and the same body.
pub(crate) const ASKS_BACK: u32 = 103;
/// Its handler waits until the scenario says `release`.
pub(crate) const WAITS: u32 = 104;
/// A blob that is taken as a stream, and read to its end.
pub(crate) const STREAM: u32 = 200;
/// A blob that is refused when it is offered.
pub(crate) const REFUSED: u32 = 201;
/// A blob that is taken as a stream, and refused after its first piece.
pub(crate) const BROKEN_OFF: u32 = 202;
/// A blob that is taken as a stream, and not read until the scenario says `release`.
pub(crate) const STREAM_WAITS: u32 = 204;

/// The records of one client or server, in the order in which its handlers began.
pub(crate) struct Inbox {
    came: Mutex<mpsc::Receiver<Value>>,
    tell: mpsc::Sender<Value>,
    pub(crate) released: Gate,
    /// Opened when the scenario is over, so that no thread stays behind.
    pub(crate) over: Gate,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        let (tell, came) = mpsc::channel();
        Self { came: Mutex::new(came), tell, released: Gate::default(), over: Gate::default() }
    }

    /// The next that came.
    pub(crate) fn next(&self) -> Value {
        let came = self.came.lock().expect("nobody panics here");
        came.recv_timeout(PATIENCE).unwrap_or_else(|_| json!("nothing came"))
    }

    /// What has come and was not asked for.
    pub(crate) fn rest(&self) -> Vec<Value> {
        self.came.lock().expect("nobody panics here").try_iter().collect()
    }

    /// Records something.
    pub(crate) fn record(&self, what: &str, context: &Context, info_type: u32, body: &[u8]) {
        let from = words::source(&context.source);
        let (certain, echo) = (context.id.is_some(), context.echo_of.is_some());
        self.tell(json!({
            "what": what, "from": from, "type": info_type, "body": words::body(body), "certain": certain, "echo": echo,
            "accepted": context.accepted_at.map(a_moment_ago),
        }));
    }

    /// Records something else.
    pub(crate) fn tell(&self, value: Value) {
        let _ = self.tell.send(value);
    }

    /// Whether and how a blob is taken.
    pub(crate) fn choose(offer: &BlobOffer) -> BlobChoice {
        match offer.info_type {
            REFUSED => BlobChoice::Refuse(Failure::QuotaFull),
            STREAM | BROKEN_OFF | STREAM_WAITS => BlobChoice::Stream,
            _ => BlobChoice::Whole,
        }
    }
}

/// Whether a time is in the minute that is over now.
fn a_moment_ago(at: UnixMillis) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is right").as_millis();
    (now.saturating_sub(60_000)..=now).contains(&u128::from(at.0))
}
