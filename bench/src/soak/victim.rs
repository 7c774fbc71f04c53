//! Two who behave: one sends certain messages to the other, who checks that each comes once and in order.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use esf_tokio::{Bytes, Client, Context, Handlers, To, UserId};
use tokio::task::JoinHandle;

use super::{ABSURD, Stage, config};
use crate::Problem;

/// The latest round trips that the percentiles are about.
const LATEST: usize = 500;
const PAUSE: Duration = Duration::from_millis(20);

/// The two.
#[derive(Debug)]
pub(super) struct Victims {
    seen: Arc<Mutex<Seen>>,
    sending: JoinHandle<()>,
    clients: [Client; 2],
}

#[derive(Debug, Default)]
struct Seen {
    sent: u64,
    arrived: u64,
    trips: VecDeque<Duration>,
    fault: Option<String>,
}

impl Victims {
    pub(super) async fn begin(stage: &Arc<Stage>) -> Result<Self, Problem> {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let receiving = seen.clone();
        let arrive = move |_: Context, _: u32, body: Bytes| {
            let mut seen = lock(&receiving);
            let number = body.as_ref().try_into().map(u64::from_le_bytes).unwrap_or(u64::MAX);
            if number != seen.arrived {
                let expected = seen.arrived;
                seen.fault.get_or_insert(format!("message {number} came where {expected} was to come"));
            }
            seen.arrived += 1;
            std::future::ready(())
        };
        let receiver = esf_tokio::client(&stage.url, config("victim-b"))
            .handler(Handlers::new().information(arrive))
            .connect()
            .await?;
        let sender = esf_tokio::client(&stage.url, config("victim-a")).connect().await?;
        let to = UserId::parse("victim-b", 64)?;
        let sending = tokio::spawn(send(stage.clone(), sender.clone(), to, seen.clone()));
        Ok(Self { seen, sending, clients: [sender, receiver] })
    }

    /// The 99th percentile and the longest of the latest round trips.
    pub(super) fn latest(&self) -> (Duration, Duration) {
        let mut trips: Vec<Duration> = lock(&self.seen).trips.iter().copied().collect();
        trips.sort_unstable();
        let at = trips.len().saturating_sub(1) * 99 / 100;
        (trips.get(at).copied().unwrap_or_default(), trips.last().copied().unwrap_or_default())
    }

    /// Fails if they were let down.
    pub(super) fn fault(&self) -> Result<(), Problem> {
        match &lock(&self.seen).fault {
            Some(fault) => Err(format!("the victims were let down: {fault}").into()),
            None => Ok(()),
        }
    }

    /// Waits for what is under way: how many messages they exchanged.
    pub(super) async fn end(self) -> Result<u64, Problem> {
        self.sending.await?;
        if let Some(fault) = &lock(&self.seen).fault {
            return Err(format!("the victims were let down: {fault}").into());
        }
        for client in &self.clients {
            client.log_off().await;
        }
        let seen = lock(&self.seen);
        if seen.sent == 0 || seen.sent != seen.arrived {
            return Err(format!("{} messages were acknowledged and {} arrived", seen.sent, seen.arrived).into());
        }
        Ok(seen.arrived)
    }
}

async fn send(stage: Arc<Stage>, sender: Client, to: UserId, seen: Arc<Mutex<Seen>>) {
    while !stage.over.load(Relaxed) {
        let number = lock(&seen).sent;
        let begin = Instant::now();
        let sent = sender.send_certainly(To::User(to.clone()), 1, Bytes::copy_from_slice(&number.to_le_bytes())).await;
        let trip = begin.elapsed();
        {
            let mut seen = lock(&seen);
            if let Err(error) = sent {
                seen.fault.get_or_insert(format!("message {number}: {error}"));
                return;
            }
            if trip > ABSURD {
                seen.fault.get_or_insert(format!("message {number} took {trip:?}"));
            }
            seen.sent += 1;
            seen.trips.push_back(trip);
            if seen.trips.len() > LATEST {
                seen.trips.pop_front();
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
