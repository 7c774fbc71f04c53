//! Somebody logs in for whom much waits. The client is the library's own: how it takes what comes is part of it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use esf_tokio::{CertainOptions, Config, Context, Delivered, Handlers, To, UserId};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::Problem;

/// When the last one will not come any more.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(1);

/// What the clients' process is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TailSpec {
    /// The server.
    pub address: SocketAddr,
    /// Messages that wait.
    pub messages: usize,
    /// Bytes of the body of each.
    pub body: usize,
}

/// What it saw, in milliseconds from the call that connects.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct TailOutcome {
    /// Until the login was answered.
    pub login: f64,
    /// Until the handler had the first message.
    pub first: f64,
    /// Until it had the last.
    pub last: f64,
}

/// Has messages stored, and logs in as the one they are for.
///
/// # Errors
/// The server cannot be reached, does not store them, or does not deliver them.
pub async fn run(spec: TailSpec) -> Result<TailOutcome, Problem> {
    let url = format!("ws://{}", spec.address);
    let config = |name| Ok::<_, Problem>(Config::new(UserId::parse(name, 64)?));
    let sender = esf_tokio::connect(&url, config("anna")?).await?;
    let mut stored = JoinSet::new();
    for _ in 0..spec.messages {
        let (sender, to) = (sender.clone(), To::User(UserId::parse("ben", 64)?));
        let body = vec![7; spec.body];
        let options = CertainOptions { store_if_offline: true, ..CertainOptions::default() };
        stored.spawn(async move { sender.send_certainly_with(to, 1, body, options).await });
    }
    for outcome in stored.join_all().await {
        if outcome? != Delivered::Stored {
            return Err("a message was not stored".into());
        }
    }

    let (count, first, last) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let begin = Instant::now();
    let handler = {
        let (count, first, last) = (count.clone(), first.clone(), last.clone());
        move |_: Context, _: u32, _: Bytes| {
            let now = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
            if count.load(SeqCst) == 0 {
                first.store(now, SeqCst);
            }
            last.store(now, SeqCst);
            count.fetch_add(1, SeqCst);
            std::future::ready(())
        }
    };
    let handlers = Handlers::new().information(handler);
    let _receiver = esf_tokio::client(&url, config("ben")?).handler(handlers).connect().await?;
    let login = begin.elapsed();
    while count.load(SeqCst) < spec.messages {
        if begin.elapsed() > PATIENCE {
            return Err(format!("{} of {} messages came", count.load(SeqCst), spec.messages).into());
        }
        tokio::time::sleep(LOOK).await;
    }
    let ms = |at: &AtomicU64| at.load(SeqCst) as f64 / 1000.0;
    Ok(TailOutcome { login: login.as_secs_f64() * 1000.0, first: ms(&first), last: ms(&last) })
}
