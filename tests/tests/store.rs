//! The suite of every store, over the one in memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use esf_driver::store::{MemoryStore, Store, StoreId, StoreLimits};
use esf_proto::{
    ids::{GroupId, UserId},
    time::UnixMillis,
};
use esf_tests::store_suite::{Keeper, Users};

struct InMemory {
    store: MemoryStore,
    clock: Arc<AtomicU64>,
}

fn make(limits: StoreLimits, users: Users) -> Box<dyn Keeper> {
    let clock = Arc::new(AtomicU64::new(1_700_000_000_000));
    let store = match users {
        Users::Added => MemoryStore::new(limits),
        Users::Everybody => MemoryStore::open(limits),
    };
    let time = clock.clone();
    let store = store.with_clock(move || UnixMillis(time.load(Ordering::SeqCst)));
    Box::new(InMemory { store, clock })
}

impl Keeper for InMemory {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    fn add_user(&self, user: &UserId) -> bool {
        self.store.add_user(user)
    }

    fn remove_user(&self, user: &UserId) -> bool {
        self.store.remove_user(user)
    }

    fn add_contact(&self, one: &UserId, other: &UserId) -> bool {
        self.store.add_contact(one, other)
    }

    fn remove_contact(&self, one: &UserId, other: &UserId) -> bool {
        self.store.remove_contact(one, other)
    }

    fn create_group(&self, group: &GroupId) -> bool {
        self.store.create_group(group)
    }

    fn delete_group(&self, group: &GroupId) -> bool {
        self.store.delete_group(group)
    }

    fn add_member(&self, group: &GroupId, user: &UserId) -> bool {
        self.store.add_member(group, user)
    }

    fn remove_member(&self, group: &GroupId, user: &UserId) -> bool {
        self.store.remove_member(group, user)
    }

    fn dead_letters(&self) -> Vec<StoreId> {
        self.store.dead_letters().into_iter().map(|letter| letter.message.id).collect()
    }

    fn retry_dead_letter(&self, id: StoreId) -> bool {
        self.store.retry_dead_letter(id)
    }

    fn drop_dead_letter(&self, id: StoreId) -> bool {
        self.store.drop_dead_letter(id)
    }

    fn pass(&self, time: Duration) {
        self.clock.fetch_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }
}

esf_tests::store_suite!(make);
