//! What threads synchronise with, in one place, so that the search through interleavings (`tests/interleavings`) can put
//! its own in place of it. Only that sets the `cfg`.

pub(crate) use std::sync::{Arc, OnceLock, PoisonError, Weak};
#[cfg(not(interleavings))]
pub(crate) use std::{
    sync::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, atomic},
    thread::yield_now,
};

#[cfg(interleavings)]
pub(crate) use shuttle::{
    sync::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, atomic},
    thread::yield_now,
};
