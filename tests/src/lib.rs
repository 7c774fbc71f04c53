//! Shared parts of the tests that cross crates.

pub mod vectors;

pub mod raw;
mod wire_between;
pub mod world;
