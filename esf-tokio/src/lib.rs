//! ESF on tokio: clients and servers for real-time messages that are confirmed, queries, and presence.
//!
//! A client logs in once and stays: it reconnects by itself, resumes where the last connection ended, and every certain
//! send or query has exactly one outcome. A server relays between its clients and has an application of its own, the
//! [`Handler`]. This crate brings tokio's sockets, timers and tasks; everything else is shared with the other adapters
//! and lives in `esf-driver`, the protocol in `esf-proto`. It brings no TLS: put a proxy in front of the server, and
//! give the client a [`connector`](ClientBuilder::connector).
//!
//! ```
//! use esf_tokio::{Bytes, Config, Context, Handlers, To, UserId};
//!
//! # type Error = Box<dyn std::error::Error>;
//! async fn serve() -> Result<esf_tokio::Server, Error> {
//!     let greet = |context: Context, _info_type: u32, body: Bytes| async move {
//!         let name = context.source.user().map(ToString::to_string).unwrap_or_default();
//!         Ok(Bytes::from(format!("hello {name}, you asked: {}", String::from_utf8_lossy(&body))))
//!     };
//!     let server = esf_tokio::server().open().handler(Handlers::new().query(greet));
//!     Ok(server.listen("127.0.0.1:0").await?)
//! }
//!
//! async fn talk(url: &str) -> Result<Bytes, Error> {
//!     let bob = esf_tokio::connect(url, Config::new(UserId::parse("bob", 64)?)).await?;
//!     let alice = esf_tokio::connect(url, Config::new(UserId::parse("alice", 64)?)).await?;
//!     alice.send_certainly(To::User(UserId::parse("bob", 64)?), 1, "are you there?").await?;
//!     let answer = alice.query(To::Server, 2, "what time is it?").await?;
//!     alice.log_off().await;
//!     bob.log_off().await;
//!     Ok(answer)
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Error> {
//!     let server = serve().await?;
//!     let address = server.local_addr().ok_or("no address")?;
//!     let answer = talk(&format!("ws://{address}")).await?;
//!     assert_eq!(answer, "hello alice, you asked: what time is it?");
//!     server.shut_down(esf_tokio::SHUT_DOWN_GRACE).await;
//!     Ok(())
//! }
//! ```
#![deny(missing_docs)]

mod io;
mod runtime;

use std::sync::Arc;

#[doc(inline)]
pub use esf_driver::names::*;

pub use io::{Io, io};
pub use runtime::Tokio;

/// A file to be sent as a blob, read in tokio's threads for what blocks.
pub type BlobFile = esf_driver::blob::BlobFile<Tokio>;

/// A client for the server at `url`, such as `ws://127.0.0.1:4540`, to be given a handler and started.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn client(url: &str, config: Config) -> ClientBuilder {
    ClientBuilder::new(Arc::new(Tokio::current()), url, config)
}

/// Starts a client that handles nothing, and waits until it is logged in.
///
/// # Errors
/// The server cannot be reached, or refuses the login.
///
/// # Panics
/// Outside of a tokio runtime.
pub async fn connect(url: &str, config: Config) -> Result<Client, ConnectError> {
    client(url, config).connect().await
}

/// A server, to be told who may log in, and started.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn server() -> ServerBuilder {
    ServerBuilder::new(Arc::new(Tokio::current()))
}
