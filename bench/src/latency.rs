//! How long a small message takes while a blob goes over the same connections, and over others meanwhile.
//!
//! The clients are the library's own: what they hand out before what is theirs to decide, and part of what is measured.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use esf_tokio::{BlobSource, BlobStream, Client, Config, Context, Handlers, To, UserId};
use serde::{Deserialize, Serialize};

use crate::{Problem, report::percentile};

/// A message goes so often on each pair of connections.
const PACE: Duration = Duration::from_millis(2);
/// How long the last one may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The stamp of one that was sent before anything is counted.
const UNCOUNTED: u64 = u64::MAX;
/// Bytes of it.
const BODY: usize = 64;

/// What the clients' process is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LatencySpec {
    /// The server, or the line to it.
    pub address: SocketAddr,
    /// Whether a blob is under way.
    pub blob: bool,
    /// How long nothing is counted yet.
    pub warm_up: Duration,
    /// How long is counted.
    pub measure: Duration,
}

/// What it saw, in microseconds from the call that sends to the handler that receives.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct LatencyOutcome {
    /// 99 of 100 messages on the blob's connections.
    pub same: f64,
    /// The same on others.
    pub other: f64,
    /// The median on the blob's connections.
    pub same_median: f64,
    /// Bytes of the blob a second.
    pub blob: f64,
}

/// Measures as the spec says.
///
/// # Errors
/// The server cannot be reached, or messages do not arrive.
pub async fn run(spec: LatencySpec) -> Result<LatencyOutcome, Problem> {
    let clock = Clock { begin: Instant::now() };
    let (same, other) = (Arc::new(Waits::default()), Arc::new(Waits::default()));
    let (anna, _ben) =
        (join(spec.address, "anna", None).await?, join(spec.address, "ben", Some((clock, &same))).await?);
    let (cleo, _dan) =
        (join(spec.address, "cleo", None).await?, join(spec.address, "dan", Some((clock, &other))).await?);
    let blob = spec.blob.then(|| anna.send_blob(to("ben")?, 2, "", Endless).map_err(Problem::from)).transpose()?;
    let begin = Instant::now();
    let mut pace = tokio::time::interval(PACE);
    let mut at_start = None;
    let (mut turn, mut sent) = (false, 0);
    while begin.elapsed() < spec.warm_up + spec.measure {
        pace.tick().await;
        if begin.elapsed() >= spec.warm_up && at_start.is_none() {
            at_start = Some((Instant::now(), same.bytes.load(Relaxed)));
        }
        turn = !turn;
        sent += usize::from(at_start.is_some());
        // Who is first takes turns: the second waits for the first one's call.
        for first in [turn, !turn] {
            let (from, name) = if first { (&anna, "ben") } else { (&cleo, "dan") };
            let stamp = if at_start.is_some() { clock.now() } else { UNCOUNTED };
            from.send(to(name)?, 1, body(stamp))?;
        }
    }
    let (since, before) = at_start.ok_or("it ended before it was measured")?;
    let bytes = (same.bytes.load(Relaxed) - before) as f64 / since.elapsed().as_secs_f64();
    // The last ones count as well, and all the more if they are late.
    let end = Instant::now();
    while same.seen() < sent || other.seen() < sent {
        if end.elapsed() > PATIENCE {
            return Err(format!("{} and {} of {sent} messages arrived", same.seen(), other.seen()).into());
        }
        tokio::time::sleep(PACE).await;
    }
    if let Some(blob) = blob {
        blob.cancel();
    }
    let (mut same, mut other) = (same.take(), other.take());
    same.sort_unstable();
    other.sort_unstable();
    Ok(LatencyOutcome {
        same: percentile(&same, 990),
        other: percentile(&other, 990),
        same_median: percentile(&same, 500),
        blob: bytes,
    })
}

async fn join(address: SocketAddr, name: &str, receives: Option<(Clock, &Arc<Waits>)>) -> Result<Client, Problem> {
    let builder = esf_tokio::client(&format!("ws://{address}"), Config::new(UserId::parse(name, 64)?));
    let Some((clock, waits)) = receives else { return Ok(builder.connect().await?) };
    let (heard, read) = (waits.clone(), waits.clone());
    let handlers = Handlers::new()
        .information(move |_: Context, _: u32, body: Bytes| {
            heard.note(clock, &body);
            std::future::ready(())
        })
        .blob_stream(move |_: Context, mut stream: BlobStream| {
            let read = read.clone();
            async move {
                while let Ok(Some(bytes)) = stream.next().await {
                    read.bytes.fetch_add(bytes.len() as u64, Relaxed);
                }
            }
        });
    Ok(builder.handler(handlers).connect().await?)
}

fn to(name: &str) -> Result<To, Problem> {
    Ok(To::User(UserId::parse(name, 64)?))
}

/// The time that all clients here share.
#[derive(Debug, Clone, Copy)]
struct Clock {
    begin: Instant,
}

impl Clock {
    /// Microseconds since its beginning.
    fn now(self) -> u64 {
        u64::try_from(self.begin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// A body that says when it was sent.
fn body(stamp: u64) -> Bytes {
    let mut body = vec![0; BODY];
    body[..8].copy_from_slice(&stamp.to_le_bytes());
    body.into()
}

/// What a receiver saw.
#[derive(Debug, Default)]
struct Waits {
    waits: Mutex<Vec<u32>>,
    bytes: AtomicU64,
}

impl Waits {
    fn note(&self, clock: Clock, body: &[u8]) {
        let Some(sent) = body.first_chunk().map(|sent| u64::from_le_bytes(*sent)) else { return };
        if sent != UNCOUNTED {
            let wait = u32::try_from(clock.now() - sent).unwrap_or(u32::MAX);
            self.waits.lock().unwrap_or_else(PoisonError::into_inner).push(wait);
        }
    }

    fn seen(&self) -> usize {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn take(&self) -> Vec<u32> {
        std::mem::take(&mut self.waits.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A blob without an end.
struct Endless;

impl BlobSource for Endless {
    fn total(&self) -> Option<u64> {
        None
    }

    fn can_seek(&self) -> bool {
        true
    }

    async fn read(&mut self, _: u64, most: usize) -> io::Result<Bytes> {
        static PIECE: [u8; 64 * 1024] = [7; 64 * 1024];
        Ok(Bytes::from_static(&PIECE[..most.min(PIECE.len())]))
    }
}
