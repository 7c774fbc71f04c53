//! A store that forgets everything when it is dropped.

mod mail;
mod people;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use esf_proto::{
    ids::{GroupId, UserId},
    time::UnixMillis,
};

use self::{mail::Mail, people::People};
use super::{Store, StoreAnswer, StoreId, StoreLimits, StoreRequest, StoreResponse};
use crate::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::mail::DeadLetter;

/// Keeps people, groups and messages in memory: for tests, and for a server that may forget. Clones are the same.
///
/// It answers at once. "Stored" means here that it is kept for as long as the process lives.
#[derive(Clone)]
pub struct MemoryStore(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    clock: Box<dyn Fn() -> UnixMillis + Send + Sync>,
}

struct State {
    people: People,
    mail: Mail,
}

impl MemoryStore {
    /// A store in which nobody is, yet.
    #[must_use]
    pub fn new(limits: StoreLimits) -> Self {
        Self::make(limits, false, system_clock)
    }

    /// A store in which every name is that of a user.
    #[must_use]
    pub fn open(limits: StoreLimits) -> Self {
        Self::make(limits, true, system_clock)
    }

    /// The same store, empty, by another clock.
    #[must_use]
    pub fn with_clock(self, clock: impl Fn() -> UnixMillis + Send + Sync + 'static) -> Self {
        let (limits, everybody) = {
            let state = self.lock();
            (state.mail.limits().clone(), state.people.everybody())
        };
        Self::make(limits, everybody, clock)
    }

    fn make(limits: StoreLimits, everybody: bool, clock: impl Fn() -> UnixMillis + Send + Sync + 'static) -> Self {
        let state = State { people: People::new(everybody), mail: Mail::new(limits) };
        Self(Arc::new(Shared { state: Mutex::new(state), clock: Box::new(clock) }))
    }

    /// Adds a user, whom messages are kept for; `false` if there is one of that name.
    pub fn add_user(&self, user: &UserId) -> bool {
        self.lock().people.add_user(user)
    }

    /// Removes a user with their contacts, their membership in groups, and the messages to them; `false` if there is
    /// none. What they have sent stays.
    pub fn remove_user(&self, user: &UserId) -> bool {
        let mut state = self.lock();
        state.mail.remove_user(user);
        state.people.remove_user(user)
    }

    /// Makes two users contacts of each other; `false` if they are, or if it is one and the same.
    pub fn add_contact(&self, one: &UserId, other: &UserId) -> bool {
        self.lock().people.add_contact(one, other)
    }

    /// Makes two users strangers to each other; `false` if they are.
    pub fn remove_contact(&self, one: &UserId, other: &UserId) -> bool {
        self.lock().people.remove_contact(one, other)
    }

    /// Makes a group without members; `false` if there is one of that id, or if the id is that of a dynamic group.
    pub fn create_group(&self, group: &GroupId) -> bool {
        self.lock().people.create_group(group)
    }

    /// Removes a group; `false` if there is none.
    pub fn delete_group(&self, group: &GroupId) -> bool {
        self.lock().people.delete_group(group)
    }

    /// Adds a member to a group; `false` if there is no such group, or the user is in it.
    pub fn add_member(&self, group: &GroupId, user: &UserId) -> bool {
        self.lock().people.add_member(group, user)
    }

    /// Removes a member of a group; `false` if they are none.
    pub fn remove_member(&self, group: &GroupId, user: &UserId) -> bool {
        self.lock().people.remove_member(group, user)
    }

    /// Messages that were handed out too often without being confirmed, the oldest first.
    #[must_use]
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        self.lock().mail.dead_letters()
    }

    /// Lets a dead letter be delivered again, as if it had never been tried; `false` if there is none of that number.
    pub fn retry_dead_letter(&self, id: StoreId) -> bool {
        self.lock().mail.retry_dead_letter(id)
    }

    /// Forgets a dead letter; `false` if there is none of that number.
    pub fn drop_dead_letter(&self, id: StoreId) -> bool {
        let now = (self.0.clock)();
        self.lock().mail.drop_dead_letter(now, id)
    }

    /// Messages that wait for their receivers, without dead letters.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().mail.waiting()
    }

    fn carry_out(&self, request: StoreRequest) -> Option<StoreResponse> {
        let now = (self.0.clock)();
        let mut state = self.lock();
        let State { people, mail } = &mut *state;
        mail.expire(now);
        Some(match request {
            StoreRequest::Person { user, device, max_contacts, max_groups } => {
                let mut person = people.person(&user, max_contacts, max_groups);
                person.stored = mail.waits(&user, device);
                StoreResponse::Person(person)
            }
            StoreRequest::Contacts { user, after, limit } => {
                StoreResponse::Names(people.contacts(&user, after.as_ref(), limit))
            }
            StoreRequest::Members { group, after, limit } => {
                people.members(&group, after.as_ref(), limit).map_or(StoreResponse::NotFound, StoreResponse::Names)
            }
            StoreRequest::Put { key, user, device, frame } => {
                let exists = people.exists(&user);
                mail.put(now, key, user, device, frame, exists)
            }
            StoreRequest::Find { key } => StoreResponse::Found(mail.knows(&key)),
            StoreRequest::Fetch { user, device, after, max_messages, max_bytes } => {
                mail.fetch(&user, device, after, max_messages, max_bytes)
            }
            StoreRequest::Tried { user, messages } => {
                mail.tried(&user, &messages);
                StoreResponse::Done
            }
            StoreRequest::Confirm { user, messages } => {
                mail.confirm(now, &user, &messages);
                StoreResponse::Done
            }
            _ => return None,
        })
    }

    /// What is under the lock is whole after each call, so a panic elsewhere leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn submit(&self, request: StoreRequest, answer: StoreAnswer) {
        match self.carry_out(request) {
            Some(response) => answer.done(response),
            None => answer.refuse(),
        }
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

fn system_clock() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
