//! The store of a server, as a scenario describes it.

use std::sync::{Arc, Mutex};

use esf_driver::store::{MemoryStore, Store, StoreAnswer, StoreLimits, StoreRequest};
use serde::Deserialize;

use super::spec::user;

/// A store. What is left out is the default of one in which every name is a user's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StoreSpec {
    /// Those whom it keeps messages for; everybody if nobody is named.
    users: Vec<String>,
    max_messages: Option<usize>,
    max_tries: Option<u8>,
    does: Does,
}

/// What becomes of what it is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Does {
    #[default]
    Keeps,
    /// Each request fails.
    Fails,
    /// None is answered.
    Never,
}

/// A store in memory, or one that is in trouble. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Keeper {
    pub(crate) memory: MemoryStore,
    does: Does,
    /// What is never answered: an answer that is dropped would be one.
    open: Arc<Mutex<Vec<StoreAnswer>>>,
}

impl StoreSpec {
    pub(crate) fn open(&self) -> Keeper {
        let mut limits = StoreLimits::default();
        limits.max_messages = self.max_messages.unwrap_or(limits.max_messages);
        limits.max_tries = self.max_tries.unwrap_or(limits.max_tries);
        let memory = if self.users.is_empty() { MemoryStore::open(limits) } else { MemoryStore::new(limits) };
        for name in &self.users {
            memory.add_user(&user(name));
        }
        Keeper { memory, does: self.does, open: Arc::default() }
    }
}

impl Store for Keeper {
    fn submit(&self, request: StoreRequest, answer: StoreAnswer) {
        match self.does {
            Does::Keeps => self.memory.submit(request, answer),
            Does::Fails => answer.failed("as the scenario wants"),
            Does::Never => self.open.lock().expect("nobody panics here").push(answer),
        }
    }
}
