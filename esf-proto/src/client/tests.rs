//! The client against frames made by hand, under virtual time.

#[expect(dead_code, reason = "the rest is for the topics that follow")]
mod harness;
mod login;
