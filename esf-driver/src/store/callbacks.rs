//! A store made of functions of the application, which knows who belongs together and keeps no messages.

use std::{collections::VecDeque, fmt, time::Duration};

use esf_proto::ids::{GroupId, UserId};

use super::{Person, Store, StoreAnswer, StoreFailed, StoreRequest, StoreResponse};
use crate::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    tasks::{BoxFuture, Tasks, catch_panic, within},
};

/// How long a function may take before it is dropped: nobody hears a later answer.
const LIMIT: Duration = Duration::from_secs(15);
/// Requests that wait for a task, beside those that have one.
const WAITING: usize = 65_536;

type Ask<K, V> = Box<dyn Fn(K) -> BoxFuture<'static, Result<V, StoreFailed>> + Send + Sync>;

/// Functions of the application that say who belongs together.
///
/// Each gives a whole list, in any order. It is asked for again for each page of one, so whoever has lists of many
/// thousands implements [`Store`] instead, as does whoever wants messages kept. What is not given is empty.
#[derive(Default)]
pub struct Callbacks {
    contacts_of: Option<Ask<UserId, Vec<UserId>>>,
    groups_of: Option<Ask<UserId, Vec<GroupId>>>,
    members_of: Option<Ask<GroupId, Option<Vec<UserId>>>>,
}

impl Callbacks {
    /// Nobody belongs together yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks `function` for the contacts of a user. It is to name them from both sides: whoever is a contact of somebody
    /// has that one as a contact.
    #[must_use]
    pub fn contacts_of<F, R>(mut self, function: F) -> Self
    where
        F: Fn(UserId) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Vec<UserId>, StoreFailed>> + Send + 'static,
    {
        self.contacts_of = Some(Box::new(move |user| Box::pin(function(user))));
        self
    }

    /// Asks `function` for the groups that a user is in.
    #[must_use]
    pub fn groups_of<F, R>(mut self, function: F) -> Self
    where
        F: Fn(UserId) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Vec<GroupId>, StoreFailed>> + Send + 'static,
    {
        self.groups_of = Some(Box::new(move |user| Box::pin(function(user))));
        self
    }

    /// Asks `function` for the members of a group, online or not; `None` is no group.
    #[must_use]
    pub fn members_of<F, R>(mut self, function: F) -> Self
    where
        F: Fn(GroupId) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Option<Vec<UserId>>, StoreFailed>> + Send + 'static,
    {
        self.members_of = Some(Box::new(move |group| Box::pin(function(group))));
        self
    }

    /// A store that asks these functions, in at most so many tasks at the same time.
    pub fn on(self, tasks: Arc<dyn Tasks>, at_once: usize) -> CallbackStore {
        let at_once = at_once.max(1);
        CallbackStore(Arc::new(Shared { callbacks: self, tasks, at_once, queue: Mutex::default() }))
    }

    /// `None` is a request of a kind that is not known here.
    async fn carry_out(&self, request: StoreRequest) -> Result<Option<StoreResponse>, StoreFailed> {
        Ok(Some(match request {
            StoreRequest::Person { user, max_contacts, max_groups, .. } => {
                let mut person = Person { contacts: self.contacts(&user).await?, ..Person::default() };
                if let Some(function) = &self.groups_of {
                    person.groups = in_order(function(user).await?);
                }
                person.cut = person.contacts.len() > max_contacts || person.groups.len() > max_groups;
                person.contacts.truncate(max_contacts);
                person.groups.truncate(max_groups);
                StoreResponse::Person(person)
            }
            StoreRequest::Contacts { user, after, limit } => {
                StoreResponse::Names(page(self.contacts(&user).await?, after.as_ref(), limit))
            }
            StoreRequest::Members { group, after, limit } => {
                let members = match &self.members_of {
                    Some(function) => function(group).await?,
                    None => None,
                };
                let page = members.map(|members| page(in_order(members), after.as_ref(), limit));
                page.map_or(StoreResponse::NotFound, StoreResponse::Names)
            }
            StoreRequest::Put { .. } => StoreResponse::KeepsNone,
            StoreRequest::Find { .. } => StoreResponse::Found(false),
            StoreRequest::Fetch { .. } => StoreResponse::Messages { messages: Vec::new(), more: false },
            StoreRequest::Tried { .. } | StoreRequest::Confirm { .. } => StoreResponse::Done,
            _ => return Ok(None),
        }))
    }

    async fn contacts(&self, user: &UserId) -> Result<Vec<UserId>, StoreFailed> {
        let Some(function) = &self.contacts_of else { return Ok(Vec::new()) };
        let mut contacts = in_order(function(user.clone()).await?);
        // Nobody is told about themselves.
        contacts.retain(|contact| contact != user);
        Ok(contacts)
    }
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callbacks").finish_non_exhaustive()
    }
}

/// A [`Store`] that asks [`Callbacks`]. Clones are the same.
#[derive(Clone)]
pub struct CallbackStore(Arc<Shared>);

struct Shared {
    callbacks: Callbacks,
    tasks: Arc<dyn Tasks>,
    at_once: usize,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    /// Tasks that take from what waits.
    running: usize,
    waiting: VecDeque<(StoreRequest, StoreAnswer)>,
}

impl Store for CallbackStore {
    fn submit(&self, request: StoreRequest, answer: StoreAnswer) {
        let mut queue = self.0.lock();
        if queue.waiting.len() >= WAITING {
            drop(queue);
            return answer.failed("too much waits for the application");
        }
        queue.waiting.push_back((request, answer));
        if queue.running < self.0.at_once {
            queue.running += 1;
            drop(queue);
            self.0.tasks.spawn(Box::pin(work(self.0.clone())));
        }
    }
}

impl fmt::Debug for CallbackStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackStore").field("callbacks", &self.0.callbacks).finish_non_exhaustive()
    }
}

/// One task: carries out what waits until nothing does.
async fn work(shared: Arc<Shared>) {
    while let Some((request, answer)) = shared.next() {
        let carried_out = catch_panic(within(&*shared.tasks, LIMIT, shared.callbacks.carry_out(request)));
        match carried_out.await {
            Ok(Some(Ok(Some(response)))) => answer.done(response),
            Ok(Some(Ok(None))) => answer.refuse(),
            Ok(Some(Err(failed))) => answer.give(Err(failed)),
            Ok(None) => answer.failed("the application took too long"),
            Err(_) => answer.failed("the application panicked"),
        }
    }
}

impl Shared {
    /// What is next for a task; `None` ends it.
    fn next(&self) -> Option<(StoreRequest, StoreAnswer)> {
        let mut queue = self.lock();
        let next = queue.waiting.pop_front();
        queue.running -= usize::from(next.is_none());
        next
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn in_order<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort_unstable();
    list.dedup();
    list
}

/// The page of a list in order that is behind a name.
fn page(mut list: Vec<UserId>, after: Option<&UserId>, limit: usize) -> Vec<UserId> {
    let from = after.map_or(0, |after| list.partition_point(|name| name <= after));
    list.drain(..from);
    list.truncate(limit);
    list
}

#[cfg(all(test, feature = "async"))]
mod tests;
