//! Client, server and hub in memory, under a virtual clock. Nothing here sleeps.

mod bad_input;
mod ends;
mod hop;
mod messages;
mod push;
mod server_sends;
mod takeover;
mod window;
