//! Shared parts of the tests that cross crates.

pub mod transitions;
pub mod vectors;

pub mod accounts;
pub mod blobs;
pub mod by_hand;
pub mod bystanders;
pub mod fuzz;
pub mod life;
pub mod people;
pub mod raw;
pub mod sim;
pub mod store_suite;
pub mod wire_between;
pub mod world;

/// The examples of README.md. They are tested here, since a published crate does not have that file beside it.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
