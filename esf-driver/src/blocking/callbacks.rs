//! A store made of functions that block.

use std::sync::Arc;

use esf_proto::ids::{GroupId, UserId};

use crate::{
    store::{self, CallbackStore, StoreFailed},
    tasks::Tasks,
};

/// Functions of the application that say who belongs together, each call on a thread of a bounded number of them. They
/// may block.
///
/// Each gives a whole list, in any order. It is asked for again for each page of one, so whoever has lists of many
/// thousands implements [`Store`](store::Store) instead, as does whoever wants messages kept. What is not given is empty.
#[derive(Debug, Default)]
pub struct Callbacks(store::Callbacks);

impl Callbacks {
    /// Nobody belongs together yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks `function` for the contacts of a user. It is to name them from both sides: whoever is a contact of somebody
    /// has that one as a contact.
    #[must_use]
    pub fn contacts_of<F>(self, function: F) -> Self
    where
        F: Fn(UserId) -> Result<Vec<UserId>, StoreFailed> + Send + Sync + 'static,
    {
        let function = Arc::new(function);
        Self(self.0.contacts_of(move |user| {
            let function = function.clone();
            async move { function(user) }
        }))
    }

    /// Asks `function` for the groups that a user is in.
    #[must_use]
    pub fn groups_of<F>(self, function: F) -> Self
    where
        F: Fn(UserId) -> Result<Vec<GroupId>, StoreFailed> + Send + Sync + 'static,
    {
        let function = Arc::new(function);
        Self(self.0.groups_of(move |user| {
            let function = function.clone();
            async move { function(user) }
        }))
    }

    /// Asks `function` for the members of a group, online or not; `None` is no group.
    #[must_use]
    pub fn members_of<F>(self, function: F) -> Self
    where
        F: Fn(GroupId) -> Result<Option<Vec<UserId>>, StoreFailed> + Send + Sync + 'static,
    {
        let function = Arc::new(function);
        Self(self.0.members_of(move |group| {
            let function = function.clone();
            async move { function(group) }
        }))
    }

    /// A store that asks these functions, on at most so many threads at the same time.
    pub fn on(self, tasks: Arc<dyn Tasks>, at_once: usize) -> CallbackStore {
        self.0.on(tasks, at_once)
    }
}
