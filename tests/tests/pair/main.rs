//! Client, server and hub in memory, under a virtual clock. Nothing here sleeps.

mod server_sends;
mod takeover;
