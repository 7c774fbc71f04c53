//! Those who come and go: for whom messages are stored, and who take them at their next login.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{runtime::Runtime, time::sleep};

use crate::{
    people::{Heard, join, of_sender},
    server::Data,
};

/// A handler takes so long over each message of a sender, so that there is a middle to be cut in.
const SLOW: Duration = Duration::from_millis(1);
/// How long one stays or is away at most, beside what it takes to get most of what waits.
const TURN_MS: u64 = 300;

/// One who comes and goes. Every client of theirs is an engine of its own.
pub(crate) struct Comer {
    pub(crate) name: &'static str,
    /// Messages to them that were stored: of whom, and the number.
    stored: Mutex<BTreeSet<(String, u64)>>,
    /// What each of their clients has handled.
    lives: Mutex<Vec<Heard>>,
    /// Messages that waited when the last of their clients logged in.
    waited: AtomicUsize,
}

impl Comer {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, stored: Mutex::default(), lives: Mutex::default(), waited: AtomicUsize::new(0) }
    }

    /// Comes and goes, by a log-off or without a word; when it is to stop, stays.
    pub(crate) async fn come_and_go(self: Arc<Self>, data: Arc<Data>, stop: Arc<AtomicBool>) {
        for turn in 1_u64.. {
            self.waited.store(self.waiting(), Ordering::SeqCst);
            let heard = Heard::default();
            self.lives.lock().unwrap().push(heard.clone());
            // Of its own, so that it can end without a word.
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            let (own, data, hears) = (self.clone(), data.clone(), heard.clone());
            let client = runtime.spawn(async move {
                loop {
                    // The server may just have been killed.
                    match join(&data, own.name, &hears, SLOW).await {
                        Ok(client) => break client,
                        Err(_) => sleep(Duration::from_millis(10)).await,
                    }
                }
            });
            let runtime = Ended(Some(runtime));
            let client = client.await.unwrap();
            let most = self.waited.load(Ordering::SeqCst) * 3 / 4;
            let stays = Duration::from_millis(turn.wrapping_mul(7919) % TURN_MS);
            sleep(stays).await;
            while heard.lock().unwrap().len() < most || stop.load(Ordering::SeqCst) {
                sleep(Duration::from_millis(5)).await;
            }
            if turn % 2 == 0 {
                client.log_off().await;
            }
            drop(runtime);
            sleep(Duration::from_millis(turn.wrapping_mul(104_729) % TURN_MS)).await;
        }
    }

    /// Whether they have some of what waited for them, and not all of it.
    pub(crate) fn is_in_tail(&self) -> bool {
        let lives = self.lives.lock().unwrap();
        let had = lives.last().map_or(0, |heard| heard.lock().unwrap().len());
        had > 0 && had < self.waited.load(Ordering::SeqCst)
    }

    /// A message of this number from one was stored.
    pub(crate) fn store(&self, from: &str, number: u64) {
        self.stored.lock().unwrap().insert((from.to_owned(), number));
    }

    /// How many of those that were stored they have not handled.
    pub(crate) fn waiting(&self) -> usize {
        let mut waiting = self.stored.lock().unwrap().clone();
        for heard in self.lives.lock().unwrap().iter() {
            for of_it in heard.lock().unwrap().iter() {
                waiting.remove(of_it);
            }
        }
        waiting.len()
    }

    /// The numbers that came from one, in each of their lives.
    pub(crate) fn of_sender(&self, from: &str) -> Vec<Vec<u64>> {
        self.lives.lock().unwrap().iter().map(|heard| of_sender(heard, from)).collect()
    }

    pub(crate) fn lives(&self) -> usize {
        self.lives.lock().unwrap().len()
    }
}

/// A runtime that may end where others go on.
struct Ended(Option<Runtime>);

impl Drop for Ended {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
