//! ESF on smol: clients and servers for real-time messages that are confirmed, queries, and presence.
//!
//! A client logs in once and stays: it reconnects by itself, resumes where the last connection ended, and every certain
//! send or query has exactly one outcome. A server relays between its clients and has an application of its own, the
//! [`Handler`]. This crate brings smol's sockets, timers and tasks; everything else is shared with the other adapters
//! and lives in `esf-driver`, the protocol in `esf-proto`. It brings no TLS: put a proxy in front of the server, and
//! give the client a [`connector`](ClientBuilder::connector). There is no tokio in its dependencies.
//!
//! ```
//! use esf_smol::{Bytes, Config, Context, Handlers, To, UserId};
//!
//! # type Error = Box<dyn std::error::Error>;
//! async fn serve() -> Result<esf_smol::Server, Error> {
//!     let greet = |context: Context, _info_type: u32, body: Bytes| async move {
//!         let name = context.source.user().map(ToString::to_string).unwrap_or_default();
//!         Ok(Bytes::from(format!("hello {name}, you asked: {}", String::from_utf8_lossy(&body))))
//!     };
//!     let server = esf_smol::server().open().handler(Handlers::new().query(greet));
//!     Ok(server.listen("127.0.0.1:0").await?)
//! }
//!
//! async fn talk(url: &str) -> Result<Bytes, Error> {
//!     let bob = esf_smol::connect(url, Config::new(UserId::parse("bob", 64)?)).await?;
//!     let alice = esf_smol::connect(url, Config::new(UserId::parse("alice", 64)?)).await?;
//!     alice.send_certainly(To::User(UserId::parse("bob", 64)?), 1, "are you there?").await?;
//!     let answer = alice.query(To::Server, 2, "what time is it?").await?;
//!     alice.log_off().await;
//!     bob.log_off().await;
//!     Ok(answer)
//! }
//!
//! fn main() -> Result<(), Error> {
//!     smol::block_on(async {
//!         let server = serve().await?;
//!         let address = server.local_addr().ok_or("no address")?;
//!         let answer = talk(&format!("ws://{address}")).await?;
//!         assert_eq!(answer, "hello alice, you asked: what time is it?");
//!         server.shut_down(esf_smol::SHUT_DOWN_GRACE).await;
//!         Ok(())
//!     })
//! }
//! ```
//!
//! Links and handlers run on smol's global executor, which has one thread unless the environment variable `SMOL_THREADS`
//! says more. [`Smol::on`] takes an executor of the application's own.
#![deny(missing_docs)]

mod runtime;

use std::sync::Arc;

#[doc(inline)]
pub use esf_driver::names::*;

use esf_driver::runtime::ByteStream;
pub use runtime::Smol;

/// A file to be sent as a blob, read in smol's threads for what blocks.
pub type BlobFile = esf_driver::blob::BlobFile<Smol>;

/// A client for the server at `url`, such as `ws://127.0.0.1:4540`, to be given a handler and started.
pub fn client(url: &str, config: Config) -> ClientBuilder {
    ClientBuilder::new(Arc::new(Smol::global()), url, config)
}

/// Starts a client that handles nothing, and waits until it is logged in.
///
/// # Errors
/// The server cannot be reached, or refuses the login.
pub async fn connect(url: &str, config: Config) -> Result<Client, ConnectError> {
    client(url, config).connect().await
}

/// A server, to be told who may log in, and started.
pub fn server() -> ServerBuilder {
    ServerBuilder::new(Arc::new(Smol::global()))
}

/// A stream of smol's as [`Server::serve_stream`] and [`ClientBuilder::connector`] take it.
pub fn io(stream: impl ByteStream + 'static) -> BoxStream {
    Box::new(stream)
}
