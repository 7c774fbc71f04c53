//! Messages for those who are not there: what the store is asked to keep, and how it comes to its receiver (ESF-331,
//! ESF-351 to ESF-355).

mod tails;

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    vec::Vec,
};

use bytes::Bytes;

use self::tails::Tail;
use super::jobs::Jobs;
use crate::{
    failure::Failure,
    ids::{DeviceKind, Engine, InstanceId, MessageId, SessionId, Source, UserId},
    server::{Config, Counters, Ticket},
    session::{
        budget::{Budget, Full},
        lanes::cost,
    },
    store::{JobId, StoreFailed, StoreId, StoreKey, StoreRequest, StoreResponse, StoredMessage},
    time::Instant,
    wire::{Address, Envelope},
};

/// The numbers of the hub's own requests are below this.
const FIRST: u64 = 1 << 63;

/// What is on its way to the store and back, for all users. It lives beside the [`Hub`](super::Hub), so that nobody who
/// sends or confirms a message needs the directory for itself: the hub reaches it by [`Reach::mail`](super::Reach::mail).
///
/// Whoever drives it carries requests out ([`Mail::poll_request`], [`Mail::handle_response`]) and does what
/// [`Mail::poll_told`] says after each call that takes `&mut self`.
#[derive(Debug)]
pub struct Mail<H> {
    config: Arc<Config>,
    counters: Arc<Counters>,
    /// Messages that the store has not answered for yet are charged here.
    budget: Budget,
    jobs: Jobs<Purpose<H>>,
    users: BTreeMap<UserId, Postbox<H>>,
    /// When the outbox of a session has a message that is to be stored before its time is over.
    watched: BTreeMap<(Instant, SessionId), H>,
    /// When somebody is looked at again for whom the store failed.
    retries: BTreeMap<(Instant, SessionId), UserId>,
    told: VecDeque<Told<H>>,
    /// No time is earlier than this, as far as anybody was told.
    known_timeout: Option<Instant>,
}

/// What is open for one user, and the tails of the user's sessions, the first of which owns what goes to the user.
#[derive(Debug)]
struct Postbox<H> {
    /// Puts, tries and confirms that the store has not answered.
    open: BTreeSet<JobId>,
    tails: Vec<Tail<H>>,
}

impl<H> Default for Postbox<H> {
    fn default() -> Self {
        Self { open: BTreeSet::new(), tails: Vec::new() }
    }
}

/// What an answer of the store is for.
#[derive(Debug)]
enum Purpose<H> {
    /// A message is to be kept.
    Put { asker: Option<(Source, u64)>, user: UserId, device: Option<DeviceKind>, cost: usize },
    /// A session waits whether a message was kept.
    Find { handle: H, ticket: Ticket, id: u64, user: UserId, device: Option<DeviceKind> },
    /// A page of what waits for a session.
    Fetch { user: UserId, session: SessionId },
    /// What a session had and did not confirm.
    Tried { user: UserId },
    /// What a session has confirmed.
    Confirm { user: UserId, session: SessionId, messages: Vec<StoreId> },
}

/// What is to be done after a call of [`Mail`], with no lock held.
#[derive(Debug)]
pub enum Told<H> {
    /// A certain message has its outcome: see [`Hub::tell_kept`](super::Hub::tell_kept).
    Kept {
        /// Who sent it.
        asker: Source,
        /// Its number.
        id: u64,
        /// Whether it is kept, or why not.
        outcome: Result<(), Failure>,
    },
    /// A session waited for a look at the store: [`Session::looked_up`](crate::server::Session::looked_up) is to hear of it.
    Found {
        /// The session.
        handle: H,
        /// What it waits with.
        ticket: Ticket,
        /// The number of the message.
        id: u64,
        /// Whether it is kept already; `None` if the store failed.
        found: Option<bool>,
    },
    /// Messages for the outbox of a session: [`Outbox::put_stored`](crate::server::Outbox::put_stored). With none of them its
    /// other messages go on.
    Page {
        /// The session.
        handle: H,
        /// The messages, in order.
        messages: Vec<StoredMessage>,
        /// The last withdrawal that the mail knows of.
        turn: u32,
    },
    /// Messages of a session are gone from the store: [`Outbox::tell_confirmed`](crate::server::Outbox::tell_confirmed).
    Confirmed {
        /// The session.
        handle: H,
        /// The messages.
        messages: Vec<StoreId>,
    },
    /// The outbox of a session has messages that are to be stored now:
    /// [`Session::withdraw`](crate::server::Session::withdraw).
    Withdraw {
        /// The session.
        handle: H,
    },
}

/// A message that is to be kept.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) key: StoreKey,
    pub(super) user: UserId,
    pub(super) device: Option<DeviceKind>,
    pub(super) frame: Bytes,
}

impl Letter {
    /// The letter that a certain message of this envelope becomes; `None` if it is not to a user or a device.
    pub(super) fn new(envelope: &Envelope<'_>, frame: Bytes) -> Option<Self> {
        let (user, device) = match envelope.to {
            Address::User { user } => (user, None),
            Address::Device { user, device } => (user, Some(device)),
            _ => return None,
        };
        let user = UserId::parse(user, u8::MAX).ok()?;
        Some(Self { key: key_of(envelope)?, user, device, frame })
    }
}

/// What a message is known by.
pub(super) fn key_of(envelope: &Envelope<'_>) -> Option<StoreKey> {
    let (user, instance) = match envelope.from {
        Address::Engine { user, instance, .. } => (Some(UserId::parse(user, u8::MAX).ok()?), instance),
        Address::Server { instance } => (None, InstanceId(instance)),
        _ => return None,
    };
    Some(StoreKey { user, instance, id: MessageId(envelope.id) })
}

impl<H: Clone> Mail<H> {
    /// Nothing is under way.
    #[must_use]
    pub fn new(config: &Arc<Config>, counters: &Arc<Counters>, global: &Arc<Budget>) -> Self {
        Self {
            config: config.clone(),
            counters: counters.clone(),
            budget: Budget::within(global.clone(), usize::MAX),
            jobs: Jobs::above(FIRST),
            users: BTreeMap::new(),
            watched: BTreeMap::new(),
            retries: BTreeMap::new(),
            told: VecDeque::new(),
            known_timeout: None,
        }
    }

    /// Whether an answer to this request is for the mail, not for the hub.
    #[must_use]
    pub const fn owns(job: JobId) -> bool {
        job.0 > FIRST
    }

    /// The next request for the store.
    #[must_use]
    pub fn poll_request(&mut self) -> Option<(JobId, StoreRequest)> {
        self.jobs.poll()
    }

    /// Whether [`Mail::poll_request`] has something.
    #[must_use]
    pub fn has_request(&self) -> bool {
        self.jobs.has_request()
    }

    /// The store's answer. One to nothing that is open is counted and ignored.
    pub fn handle_response(&mut self, now: Instant, job: JobId, answer: Result<StoreResponse, StoreFailed>) {
        match self.jobs.take(job) {
            Some(purpose) => self.answered(now, job, purpose, answer.map_err(|_| Failure::Internal)),
            None => self.counters.store_unasked.add(1),
        }
    }

    /// The next thing that is to be done.
    #[must_use]
    pub fn poll_told(&mut self) -> Option<Told<H>> {
        self.told.pop_front()
    }

    /// Whether [`Mail::poll_told`] has something.
    #[must_use]
    pub fn has_told(&self) -> bool {
        !self.told.is_empty()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((job, purpose)) = self.jobs.pop_due(now) {
            // It may do what it was asked yet.
            self.answered(now, job, purpose, Err(Failure::TimedOut));
        }
        while let Some(due) = self.watched.first_entry().filter(|due| due.key().0 <= now) {
            self.told.push_back(Told::Withdraw { handle: due.remove() });
        }
        while let Some(due) = self.retries.first_entry().filter(|due| due.key().0 <= now) {
            let ((_, session), user) = due.remove_entry();
            self.want(&user, session);
            self.advance(now, &user);
        }
    }

    /// When [`Mail::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let watched = self.watched.first_key_value().map(|((at, _), _)| *at);
        let retry = self.retries.first_key_value().map(|((at, _), _)| *at);
        [watched, retry, self.jobs.poll_timeout()].into_iter().flatten().min()
    }

    /// Whether [`Mail::poll_timeout`] has become earlier since this was asked last.
    #[must_use]
    pub fn take_changed(&mut self) -> bool {
        let now = self.poll_timeout();
        let before = core::mem::replace(&mut self.known_timeout, now);
        now.is_some_and(|now| before.is_none_or(|before| now < before))
    }

    // Messages that are to be kept.

    /// Has the store keep a message. `asker` is told what becomes of it.
    ///
    /// # Errors
    /// [`Failure::Busy`] if too much is under way.
    pub(super) fn put(&mut self, now: Instant, asker: Option<Source>, letter: Letter) -> Result<(), Failure> {
        let Letter { key, user, device, frame } = letter;
        let cost = cost(frame.len());
        let charged = self.budget.try_charge(cost);
        if charged.is_err() || !self.jobs.has_room() {
            if charged.is_ok() {
                self.budget.release(cost);
            }
            self.counters.busy(charged.err().unwrap_or(Full::Parent).into());
            return Err(Failure::Busy);
        }
        let asker = asker.map(|asker| (asker, key.id.0));
        if broken!(StoredTooEarly) {
            let early = asker.clone().map(|(asker, id)| Told::Kept { asker, id, outcome: Ok(()) });
            self.told.extend(early);
        }
        let purpose = Purpose::Put { asker, user: user.clone(), device, cost };
        let request = StoreRequest::Put { key, user: user.clone(), device, frame };
        if let Some(job) = self.jobs.ask(now + self.config.store_timeout, purpose, request) {
            self.users.entry(user).or_default().open.insert(job);
        }
        Ok(())
    }

    /// Looks up whether a message is kept, for a session that waits for it. `false` if too much is under way.
    pub(super) fn find(&mut self, now: Instant, handle: H, ticket: Ticket, sought: Letter) -> bool {
        let Letter { key, user, device, .. } = sought;
        let purpose = Purpose::Find { handle, ticket, id: key.id.0, user, device };
        self.jobs.ask(now + self.config.store_timeout, purpose, StoreRequest::Find { key }).is_some()
    }

    /// The outbox of a session has something that is to be stored at this time, if it is still there by then.
    pub(super) fn watch(&mut self, at: Instant, session: SessionId, handle: H) {
        self.watched.insert((at, session), handle);
    }

    fn answered(&mut self, now: Instant, job: JobId, purpose: Purpose<H>, answer: Result<StoreResponse, Failure>) {
        if answer.is_err() {
            self.counters.store_failed.add(1);
        }
        match purpose {
            Purpose::Put { asker, user, device, cost } => {
                self.budget.release(cost);
                let outcome = match answer {
                    Ok(StoreResponse::Stored) => Ok(true),
                    Ok(StoreResponse::Known) => Ok(false),
                    Ok(StoreResponse::QuotaFull) => Err(Failure::QuotaFull),
                    Ok(StoreResponse::NoSuchUser) => Err(Failure::NoSuchUser),
                    Ok(StoreResponse::KeepsNone) => Err(Failure::Offline),
                    Ok(_) => Err(Failure::Internal),
                    Err(failure) => Err(failure),
                };
                match outcome {
                    Ok(true) => self.counters.messages_stored.add(1),
                    Ok(false) => {}
                    Err(_) => self.counters.messages_not_stored.add(1),
                }
                if let Some((asker, id)) = asker {
                    self.told.push_back(Told::Kept { asker, id, outcome: outcome.map(|_| ()) });
                }
                // Its receiver may be online by now.
                if outcome.is_ok() {
                    self.came(&user, device);
                }
                self.done(now, &user, job);
            }
            Purpose::Find { handle, ticket, id, user, device } => {
                let found = match answer {
                    Ok(StoreResponse::Found(found)) => Some(found),
                    _ => None,
                };
                self.told.push_back(Told::Found { handle, ticket, id, found });
                if found == Some(true) {
                    // Whoever put it may never have heard, and its receiver may be online.
                    self.came(&user, device);
                    self.advance(now, &user);
                }
            }
            Purpose::Fetch { user, session } => self.fetched(now, &user, session, answer.ok()),
            Purpose::Tried { user } => self.done(now, &user, job),
            Purpose::Confirm { user, session, messages } => {
                self.confirmed(now, &user, session, messages, answer.is_ok());
                self.done(now, &user, job);
            }
        }
    }

    /// A request about a user was answered: what waited for that goes on.
    fn done(&mut self, now: Instant, user: &UserId, job: JobId) {
        if let Some(postbox) = self.users.get_mut(user) {
            postbox.open.remove(&job);
        }
        self.advance(now, user);
        self.forget_if_idle(user);
    }

    fn forget_if_idle(&mut self, user: &UserId) {
        if self.users.get(user).is_some_and(|postbox| postbox.open.is_empty() && postbox.tails.is_empty()) {
            self.users.remove(user);
        }
    }

    /// Users of whom something is known.
    #[must_use]
    pub fn users(&self) -> usize {
        self.users.len()
    }
}

/// A session that takes messages, as the mail knows it.
#[derive(Debug)]
pub struct Receiver<'a, H> {
    /// The session.
    pub session: SessionId,
    /// Whose it is.
    pub engine: &'a Engine,
    /// The way to its outbox.
    pub handle: &'a H,
}

#[cfg(test)]
mod tests;
