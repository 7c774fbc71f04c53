//! Runs a target of `esf_tests::fuzz`, and holds what it allocates against the length of its input.

use std::alloc::System;

use esf_tests::fuzz::target;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Runs the target of this name on one input.
///
/// # Panics
/// If the target does, or if it allocates more than its input justifies.
pub fn run(name: &str, data: &[u8]) {
    let target = target(name).expect("a target");
    let before = ALLOCATOR.stats().bytes_allocated;
    (target.body)(data);
    let allocated = ALLOCATOR.stats().bytes_allocated - before;
    let most = (target.may_allocate)(data.len());
    assert!(allocated <= most, "{allocated} bytes allocated for {} bytes of input", data.len());
}
