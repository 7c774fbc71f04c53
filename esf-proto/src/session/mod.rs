//! What both ends of a hop share: counts and replay, lanes of waiting frames, budgets, timers.

pub(crate) mod arena;
pub mod blob;
pub mod budget;
pub mod dedupe;
pub mod frames;
pub mod hop;
pub mod inbound;
pub mod lanes;
pub mod pending;
pub(crate) mod receiving;
pub mod senders;
pub(crate) mod sending;
pub mod timers;
pub mod transition;
pub mod transport;
