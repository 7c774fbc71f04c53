//! The client against frames made by hand, under virtual time.

mod blobs;
mod closing;
mod commands;
mod harness;
mod inbound;
mod liveness;
mod login;
mod properties;
mod resume;
mod ways;
