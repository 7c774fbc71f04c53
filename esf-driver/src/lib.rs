//! What every ESF adapter shares: the drain order of a link, the HTTP part of a WebSocket, the link loop, the
//! dispatch of handlers, and the handles of client and server.
//!
//! It knows no runtime: an adapter hands in clock, timers, tasks and sockets, and re-exports the handles. It decides
//! nothing about the protocol: that is `esf-proto`.
#![deny(missing_docs)]

pub mod endpoint;
pub mod http;
pub mod metered;
pub mod node;
pub mod socket;
pub mod step;
pub mod url;

#[cfg(feature = "async")]
mod bridge;
#[cfg(feature = "async")]
pub mod client;
#[cfg(feature = "async")]
mod dispatch;
#[cfg(feature = "async")]
mod events;
#[cfg(feature = "async")]
pub mod handler;
#[cfg(feature = "async")]
mod head;
#[cfg(feature = "async")]
mod link;
#[cfg(feature = "async")]
pub mod memory;
#[cfg(feature = "async")]
mod notify;
#[cfg(feature = "async")]
mod random;
#[cfg(feature = "async")]
pub mod runtime;
#[cfg(feature = "async")]
pub mod server;
#[cfg(all(test, feature = "async"))]
mod testing;
