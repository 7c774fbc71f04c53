//! Client, server and hub in memory, under a virtual clock. Nothing here sleeps.

mod takeover;
