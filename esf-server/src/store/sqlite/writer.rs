//! One thread changes the store: it takes what waits, carries it out, commits all of it at once, and then answers.
//!
//! A commit waits for the disk, and costs the same for one change as for a thousand: so while one is under way the next
//! batch gathers.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use esf_tokio::{
    StoreLimits, UserId,
    store::{StoreRequest, StoreResponse},
};
use rusqlite::{Transaction, TransactionBehavior};
use tracing::{info, warn};

use super::{Clock, Job, Question, Users, frame_bytes, reader::too_old};
use crate::store::{
    Problem, Store, Trouble,
    accounts::has_account,
    mail::{self, Key, millis},
    relations, signed,
};

/// Requests in one commit, and bytes of frames.
const BATCH: usize = 4096;
const BATCH_BYTES: usize = 8 << 20;
/// How often to look for what other processes have changed, and for what is too old.
const LOOK: Duration = Duration::from_millis(500);
/// Messages and keys that are forgotten in one commit.
const FORGOTTEN: usize = 1000;
/// Pages of the log after which they are moved to where they belong, which waits for the disk twice more. Many messages
/// change the same pages, which are moved once then. 32 MiB.
const LOG_PAGES: u32 = 8192;
/// Mailboxes that are remembered.
const MAILBOXES: usize = 65_536;

pub(super) struct Writer {
    store: Store,
    limits: StoreLimits,
    users: Users,
    clock: Clock,
    /// Bytes of frames that wait.
    frames: Arc<AtomicUsize>,
    /// What is known of receivers; good as long as nobody else commits.
    mailboxes: HashMap<UserId, Mailbox>,
    /// The number of commits of others when the mailboxes were looked at.
    commits_of_others: i64,
    /// When the oldest message came, if that is known.
    oldest: Option<u64>,
    keys_looked_at: u64,
    /// The last change of contacts and groups that was told.
    relations: i64,
    watcher: Option<Box<dyn FnMut(UserId) + Send>>,
    looked_at: Instant,
    /// Whether the last commit failed, so that the log has it once.
    failing: bool,
}

#[derive(Debug, Clone, Copy)]
struct Mailbox {
    exists: bool,
    waiting: u64,
}

impl Writer {
    pub(super) fn new(
        store: Store,
        limits: StoreLimits,
        users: Users,
        clock: Clock,
        frames: Arc<AtomicUsize>,
    ) -> Result<Self, Problem> {
        store.connection.set_prepared_statement_cache_capacity(64);
        store.told(store.connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES))?;
        let relations = store.told(relations::last_change(&store.connection))?;
        let commits_of_others = store.commits_of_others()?;
        Ok(Self {
            store,
            limits,
            users,
            clock,
            frames,
            mailboxes: HashMap::new(),
            commits_of_others,
            oldest: Some(0),
            keys_looked_at: 0,
            relations,
            watcher: None,
            looked_at: Instant::now(),
            failing: false,
        })
    }

    /// Works until nobody can ask any more.
    pub(super) fn run(&mut self, jobs: &Receiver<Job>) {
        loop {
            match jobs.recv_timeout(LOOK) {
                Ok(first) => {
                    let batch = self.gather(first, jobs);
                    if !batch.is_empty() {
                        self.answer(batch);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.looked_at.elapsed() >= LOOK {
                self.look();
                self.looked_at = Instant::now();
            }
        }
    }

    /// What waits, as far as it fits into one commit.
    fn gather(&mut self, first: Job, jobs: &Receiver<Job>) -> Vec<Question> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let mut next = Some(first);
        while let Some(job) = next {
            match job {
                Job::Ask(question) => {
                    bytes += frame_bytes(&question.request);
                    batch.push(question);
                }
                Job::Watch(watcher) => self.watcher = Some(watcher),
            }
            next = if batch.len() < BATCH && bytes < BATCH_BYTES { jobs.try_recv().ok() } else { None };
        }
        self.frames.fetch_sub(bytes, Ordering::Relaxed);
        batch
    }

    /// Carries a batch out and answers it; what fails as a whole is tried one by one if that may help.
    fn answer(&mut self, batch: Vec<Question>) {
        match self.commit(&batch) {
            Ok(responses) => {
                if std::mem::take(&mut self.failing) {
                    info!("the store keeps messages again");
                }
                for (question, response) in batch.into_iter().zip(responses) {
                    match response {
                        Some(response) => question.answer.done(response),
                        None => question.answer.refuse(),
                    }
                }
            }
            Err(problem) if batch.len() > 1 && problem.is_of_one() => {
                batch.into_iter().for_each(|question| self.answer(vec![question]));
            }
            Err(problem) => {
                if !std::mem::replace(&mut self.failing, true) {
                    warn!(%problem, "messages are not kept at present");
                }
                let reason = problem.to_string();
                batch.into_iter().for_each(|question| question.answer.failed(&*reason));
            }
        }
    }

    /// Carries all of it out, durably, or none of it. `None` is a request of a kind that is not known here.
    fn commit(&mut self, batch: &[Question]) -> Result<Vec<Option<StoreResponse>>, Problem> {
        if !self.store.is_there() {
            return Err(Problem::new(Trouble::Gone, &self.store.path, "its file was moved or removed"));
        }
        let now = (self.clock)();
        let mut turn = Turn {
            limits: &self.limits,
            users: self.users,
            now,
            mailboxes: &mut self.mailboxes,
            total: 0,
            freed: 0,
            dead: 0,
        };
        let connection = &self.store.connection;
        let commits_of_others = &mut self.commits_of_others;
        let oldest = &mut self.oldest;
        let mut run = || {
            let all = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
            let commits: i64 = all.pragma_query_value(None, "data_version", |row| row.get(0))?;
            if std::mem::replace(commits_of_others, commits) != commits {
                turn.mailboxes.clear();
            }
            if oldest.is_some_and(|oldest| oldest <= too_old(turn.limits.max_age, now)) {
                let (receivers, freed, left) = mail::expire(&all, too_old(turn.limits.max_age, now), FORGOTTEN)?;
                for receiver in receivers {
                    turn.mailboxes.remove(receiver.as_str());
                }
                turn.freed += freed;
                *oldest = left;
            }
            turn.total = mail::total(&all)?;
            let mut responses = Vec::with_capacity(batch.len());
            for question in batch {
                responses.push(turn.carry_out(&all, &question.request)?);
            }
            if turn.freed != 0 {
                mail::change_total(&all, -turn.freed)?;
            }
            all.commit().map(|()| responses)
        };
        let done = run();
        let dead = turn.dead;
        let done = self.store.told(done);
        match &done {
            Ok(_) if dead > 0 => {
                warn!(
                    count = dead,
                    "messages were delivered often and never confirmed: `esf store dead list` shows them"
                );
            }
            Ok(_) => {}
            Err(_) => {
                self.mailboxes.clear();
                self.oldest = Some(0);
            }
        }
        if self.oldest.is_none() && done.is_ok() {
            // There was none, and now there may be one: it is not older than this.
            self.oldest = Some(now);
        }
        done
    }

    /// Looks for what is to be done though nobody asks. What fails now is tried again soon.
    fn look(&mut self) {
        let now = (self.clock)();
        let too_old = too_old(self.limits.max_age, now);
        if self.oldest.is_some_and(|oldest| oldest <= too_old) {
            // An empty batch forgets what is too old.
            let _ = self.commit(&[]);
        }
        if now.saturating_sub(self.keys_looked_at) >= millis(self.limits.keep_keys) / 8 {
            let forgotten = mail::forget_keys(&self.store.connection, now, FORGOTTEN);
            // There may be more.
            self.keys_looked_at = if forgotten.is_ok_and(|count| count < FORGOTTEN) { now } else { 0 };
        }
        let Some(watcher) = &mut self.watcher else { return };
        if let Ok((version, users)) = relations::changes_after(&self.store.connection, self.relations) {
            self.relations = version;
            users.into_iter().for_each(watcher);
        }
    }
}

/// One commit in the making.
struct Turn<'a> {
    limits: &'a StoreLimits,
    users: Users,
    now: u64,
    mailboxes: &'a mut HashMap<UserId, Mailbox>,
    /// What all messages counted before.
    total: u64,
    /// By how much they count less.
    freed: i64,
    /// Messages that have become dead letters.
    dead: u64,
}

impl Turn<'_> {
    fn carry_out(&mut self, all: &Transaction<'_>, request: &StoreRequest) -> rusqlite::Result<Option<StoreResponse>> {
        Ok(Some(match request {
            StoreRequest::Put { key, user, device, frame } => {
                let mailbox = self.mailbox(all, user)?;
                let (key, charge) = (Key::of(key), signed(StoreLimits::charge(frame.len())));
                if !mailbox.exists || self.is_full(mailbox, charge) {
                    let known = mail::knows(all, &key, self.now)?;
                    let refused = if mailbox.exists { StoreResponse::QuotaFull } else { StoreResponse::NoSuchUser };
                    return Ok(Some(if known { StoreResponse::Known } else { refused }));
                }
                if mail::is_buried(all, &key, self.now)? || !mail::insert(all, &key, user, *device, frame, self.now)? {
                    return Ok(Some(StoreResponse::Known));
                }
                self.freed -= charge;
                if let Some(mailbox) = self.mailboxes.get_mut(user) {
                    mailbox.waiting += 1;
                }
                StoreResponse::Stored
            }
            StoreRequest::Find { key } => StoreResponse::Found(mail::knows(all, &Key::of(key), self.now)?),
            StoreRequest::Tried { user, messages } => {
                let dead = mail::tried(all, user, messages, self.limits.max_tries)?;
                self.dead += dead;
                self.leave(user, dead);
                StoreResponse::Done
            }
            StoreRequest::Confirm { user, messages } => {
                let change = mail::confirm(all, user, messages, self.now, self.limits.keep_keys)?;
                self.freed += change.freed;
                self.leave(user, change.fewer);
                StoreResponse::Done
            }
            _ => return Ok(None),
        }))
    }

    /// Whether there is no room for one more message that counts so much.
    fn is_full(&self, mailbox: Mailbox, charge: i64) -> bool {
        let total = signed(self.total).saturating_sub(self.freed).saturating_add(charge);
        mailbox.waiting >= self.limits.max_messages as u64 || total > signed(self.limits.max_total)
    }

    fn mailbox(&mut self, all: &Transaction<'_>, user: &UserId) -> rusqlite::Result<Mailbox> {
        if let Some(mailbox) = self.mailboxes.get(user) {
            return Ok(*mailbox);
        }
        let exists = self.users == Users::Everybody || has_account(all, user)?;
        let mailbox = Mailbox { exists, waiting: mail::waiting(all, user)? };
        if self.mailboxes.len() >= MAILBOXES {
            self.mailboxes.clear();
        }
        self.mailboxes.insert(user.clone(), mailbox);
        Ok(mailbox)
    }

    fn leave(&mut self, user: &UserId, messages: u64) {
        if let Some(mailbox) = self.mailboxes.get_mut(user) {
            mailbox.waiting = mailbox.waiting.saturating_sub(messages);
        }
    }
}
