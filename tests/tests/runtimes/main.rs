//! One suite for every runtime: scenarios that each of them passes, and peers that misbehave.

mod conformance;
mod kit;
mod misbehaving;
