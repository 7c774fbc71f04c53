//! Where people, groups and messages are kept: outside of the protocol, behind one trait.
//!
//! A server asks its [`Store`] who is whose contact, who is in which group, and to keep messages for those who are
//! offline. [`MemoryStore`] keeps all of it in memory, for tests and for servers that may forget. [`Callbacks`] asks
//! functions of the application about contacts and groups and keeps no messages. Another database is one more
//! implementation; whoever writes one runs the same suite of tests over it that those here pass.

mod answer;
mod callbacks;
mod limits;
mod memory;

use std::sync::Arc;

#[doc(inline)]
pub use esf_proto::store::*;

pub use self::{
    answer::StoreAnswer,
    callbacks::{CallbackStore, Callbacks},
    limits::StoreLimits,
    memory::{DeadLetter, MemoryStore},
};

/// Carries requests of a server out and answers each, from whatever thread and at whatever time.
///
/// There is no future in it, so that one implementation serves every runtime and can answer many requests by one commit.
pub trait Store: Send + Sync + 'static {
    /// Begins one request. This is called where links are served, so it never blocks: work that takes time is handed to
    /// threads or tasks of the store's own. It may answer before it returns.
    ///
    /// A request of a kind that the store does not know is [refused](StoreAnswer::refuse). What is not answered for 15 s
    /// has failed, and an answer that comes later changes nothing.
    fn submit(&self, request: StoreRequest, answer: StoreAnswer);
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn submit(&self, request: StoreRequest, answer: StoreAnswer) {
        (**self).submit(request, answer);
    }
}
