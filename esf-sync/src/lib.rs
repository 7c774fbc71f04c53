//! ESF on plain threads: clients and servers for real-time messages that are confirmed, queries, and presence.
//!
//! A client logs in once and stays: it reconnects by itself, resumes where the last connection ended, and every certain
//! send or query has exactly one outcome. A server relays between its clients and has an application of its own, the
//! [`Handler`]. Calls block their thread until there is an outcome, events are an iterator, and handlers are plain
//! functions, which may block as well; there is no async runtime below, hidden or not. This crate brings threads and the
//! sockets of std; everything else is shared with the other adapters and lives in `esf-driver`, the protocol in
//! `esf-proto`.
//!
//! It is for small deployments and devices: a connection has two threads, one that blocks in reading and one that writes.
//! It brings no TLS: put a proxy in front of the server, and give the client a [`connector`](ClientBuilder::connector).
//!
//! ```
//! use std::time::Duration;
//!
//! use esf_sync::{Bytes, Config, Context, Event, Handlers, To, UserId};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let greet = |context: Context, _info_type: u32, body: Bytes| {
//!     let name = context.source.user().map(ToString::to_string).unwrap_or_default();
//!     Ok(Bytes::from(format!("hello {name}, you asked: {}", String::from_utf8_lossy(&body))))
//! };
//! let server = esf_sync::server().open().handler(Handlers::new().query(greet)).listen("127.0.0.1:0")?;
//! let url = format!("ws://{}", server.local_addr().ok_or("no address")?);
//!
//! let bob = esf_sync::connect(&url, Config::new(UserId::parse("bob", 64)?))?;
//! let alice = esf_sync::connect(&url, Config::new(UserId::parse("alice", 64)?))?;
//! alice.send_certainly(To::User(UserId::parse("bob", 64)?), 1, "are you there?")?;
//! let answer = alice.query_within(To::Server, 2, "what time is it?", Duration::from_secs(5))?;
//! assert_eq!(answer, "hello alice, you asked: what time is it?");
//!
//! alice.log_off();
//! for event in alice.events() {
//!     println!("{event:?}"); // LoginCompleted, then Closed, which is the last.
//! }
//! drop(bob); // He logs off by himself.
//! server.shut_down(esf_sync::SHUT_DOWN_GRACE);
//! # Ok(())
//! # }
//! ```
//!
//! # What ends, and when
//!
//! Every call that waits has an outcome in time, whatever the connection does: its own time to live, 30 s unless it says
//! otherwise. [`Client::log_off`] takes a few seconds at most, [`Server::shut_down`] its grace. Dropping a handle never
//! waits: the threads end by themselves, also against a peer that reads nothing. Two kinds of thread may stay longer: one
//! whose handler, source of a blob or authenticator does not return, since a thread cannot be stopped, and one that
//! waits for the system to find a host by its name.
//!
//! What the other adapters do by dropping a future is here a call with a limit, such as [`Client::closed_within`]: the
//! wait ends, and what was asked for goes on.
#![deny(missing_docs)]

mod tcp;
mod threads;

use std::sync::Arc;

#[doc(inline)]
pub use esf_driver::blocking::names::*;

pub use tcp::Tcp;
pub use threads::Threads;

/// A client for the server at `url`, such as `ws://127.0.0.1:4540`, to be given a handler and started.
pub fn client(url: &str, config: Config) -> ClientBuilder {
    ClientBuilder::new(Arc::new(Threads::new()), url, config)
}

/// Starts a client that handles nothing, and waits until it is logged in.
///
/// # Errors
/// The server cannot be reached, or refuses the login.
pub fn connect(url: &str, config: Config) -> Result<Client, ConnectError> {
    client(url, config).connect()
}

/// A server, to be told who may log in, and started.
pub fn server() -> ServerBuilder {
    ServerBuilder::new(Arc::new(Threads::new()))
}
