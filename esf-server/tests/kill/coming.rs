//! Those who come and go: for whom messages are stored, and who take them at their next login.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use esf_tokio::Client;
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
    mail: Mutex<Mail>,
    /// What each of their clients has handled.
    lives: Mutex<Vec<Heard>>,
    client: Mutex<Option<Client>>,
    /// Messages that waited when the last of their clients logged in.
    waited: AtomicUsize,
}

/// Messages to one who comes and goes: of whom, and the number.
#[derive(Default)]
struct Mail {
    /// Stored, and not handled.
    waiting: BTreeSet<(String, u64)>,
    handled: BTreeSet<(String, u64)>,
    /// How much of what each life has handled is in it.
    read: Vec<usize>,
}

impl Comer {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            mail: Mutex::default(),
            lives: Mutex::default(),
            client: Mutex::default(),
            waited: AtomicUsize::new(0),
        }
    }

    /// Comes and goes, by a log-off or without a word; when it is to stop, stays.
    pub(crate) async fn come_and_go(self: Arc<Self>, data: Arc<Data>, stop: Arc<AtomicBool>) {
        for turn in 1_u64.. {
            let waited = self.waiting();
            self.waited.store(waited.len(), Ordering::SeqCst);
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
            *self.client.lock().unwrap() = Some(client.clone());
            sleep(Duration::from_millis(turn.wrapping_mul(7919) % TURN_MS)).await;
            // What is handed out five times and never reached is a dead letter.
            while self.waiting().intersection(&waited).count() > waited.len() / 4 || stop.load(Ordering::SeqCst) {
                sleep(Duration::from_millis(10)).await;
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
        let mut mail = self.mail.lock().unwrap();
        let message = (from.to_owned(), number);
        if !mail.handled.contains(&message) {
            mail.waiting.insert(message);
        }
    }

    /// Those that were stored and that they have not handled.
    pub(crate) fn waiting(&self) -> BTreeSet<(String, u64)> {
        let mut mail = self.mail.lock().unwrap();
        let Mail { waiting, handled, read } = &mut *mail;
        for (life, heard) in self.lives.lock().unwrap().iter().enumerate() {
            let heard = heard.lock().unwrap();
            if life == read.len() {
                read.push(0);
            }
            for message in &heard[read[life]..] {
                waiting.remove(message);
                handled.insert(message.clone());
            }
            read[life] = heard.len();
        }
        waiting.clone()
    }

    /// The numbers that came from one, in each of their lives.
    pub(crate) fn of_sender(&self, from: &str) -> Vec<Vec<u64>> {
        self.lives.lock().unwrap().iter().map(|heard| of_sender(heard, from)).collect()
    }

    /// How their last client is, for whoever wonders.
    pub(crate) fn state(&self) -> String {
        let client = self.client.lock().unwrap();
        let had = self.lives.lock().unwrap().last().map_or(0, |heard| heard.lock().unwrap().len());
        let client = client.as_ref().map(|client| (client.state(), client.close_info(), client.stats()));
        format!("{} has had {had} in this life, {client:?}", self.name)
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
