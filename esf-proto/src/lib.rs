//! The ESF protocol as pure state machines.
#![no_std]
#![deny(missing_docs)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod client;
pub mod close;
pub mod failure;
pub mod hub;
pub mod ids;
pub mod login;
pub mod server;
pub mod session;
pub mod time;
pub mod wire;
