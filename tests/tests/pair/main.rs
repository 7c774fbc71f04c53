//! Client, server and hub in memory, under a virtual clock. Nothing here sleeps.

mod ends;
mod server_sends;
mod takeover;
