//! Shared parts of the tests that cross crates.

pub mod vectors;

pub mod by_hand;
pub mod bystanders;
pub mod raw;
mod wire_between;
pub mod world;
