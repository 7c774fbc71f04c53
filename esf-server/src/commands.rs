//! The client commands, one file each.

pub(crate) mod blob;
pub(crate) mod broadcast;
pub(crate) mod chat;
pub(crate) mod config;
pub(crate) mod contact;
mod data;
pub(crate) mod group;
pub(crate) mod kick;
pub(crate) mod listen;
pub(crate) mod membership;
pub(crate) mod online;
pub(crate) mod ping;
pub(crate) mod query;
pub(crate) mod send;
pub(crate) mod store;
pub(crate) mod user;
pub(crate) mod watch;
