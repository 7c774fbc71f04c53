//! Client, server and hub in memory, under a virtual clock. Nothing here sleeps.

mod bad_input;
mod blob;
mod close;
mod crowds;
mod ends;
mod group_blob;
mod groups;
mod hop;
mod intercept;
mod limits;
mod liveness;
mod login;
mod messages;
mod presence;
mod push;
mod random;
mod requests;
mod resume;
mod rules;
mod server_sends;
mod stored;
mod stored_traces;
mod takeover;
mod tickets;
mod window;
