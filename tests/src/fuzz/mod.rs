//! What the fuzzer runs: a function of any bytes a target, each of which asserts something.
//!
//! They are plain functions of a normal crate, so that a stable compiler builds them and a test replays every input
//! that was ever kept. `fuzz/` only hands them to libFuzzer; `cargo xtask fuzz` runs that. The bytes are decisions, read
//! one after the other by [`Input`]: whatever they are, they make a run.

mod client;
mod corpus;
mod crowd;
mod frames;
mod hub;
mod input;
mod model;
mod post;
mod pump;
mod resume;
mod seeds;
mod server;
mod town;
mod wire;

pub use client::client_inputs;
pub use corpus::{Corpus, dictionary_file, pack, regressions, seeds_file, unpack, write_seeds};
pub use hub::hub_operations;
pub use input::Input;
pub use model::model;
pub use pump::pump;
pub use resume::resume_and_takeover;
pub use seeds::{dictionary, seeds};
pub use server::server_inputs;
pub use wire::{wire_decode, wire_round_trip};

/// One thing to fuzz.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: that of its function, its file in `fuzz/fuzz_targets` and its corpus.
    pub name: &'static str,
    /// What it does with an input. It panics where something is not as it has to be.
    pub body: fn(&[u8]),
    /// What it may allocate in all for an input of so many bytes.
    pub may_allocate: fn(usize) -> usize,
    /// The longest input that is worth a try.
    pub max_len: usize,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "wire_decode", body: wire_decode, may_allocate: wire::may_allocate, max_len: 4096 },
    Target { name: "wire_round_trip", body: wire_round_trip, may_allocate: in_a_world, max_len: 4096 },
    Target { name: "client_inputs", body: client_inputs, may_allocate: in_a_world, max_len: 2048 },
    Target { name: "server_inputs", body: server_inputs, may_allocate: in_a_world, max_len: 2048 },
    Target { name: "hub_operations", body: hub_operations, may_allocate: in_a_world, max_len: 1024 },
    Target { name: "resume_and_takeover", body: resume_and_takeover, may_allocate: in_a_world, max_len: 1024 },
    Target { name: "pump", body: pump, may_allocate: in_a_world, max_len: 4096 },
    Target { name: "model", body: model, may_allocate: in_a_world, max_len: 512 },
];

/// A run with machines in it: a decision of a byte may send the largest fragment to several devices.
const fn in_a_world(len: usize) -> usize {
    (64 << 20) + len * (256 << 10)
}

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
