//! What every ESF adapter shares: the drain order of a link, the HTTP part of a WebSocket, the link loop, the
//! dispatch of handlers, and the handles of client and server.
//!
//! It knows no runtime: an adapter hands in clock, timers, tasks and sockets, and re-exports the handles. It decides
//! nothing about the protocol: that is `esf-proto`.
//!
//! Applications use an adapter, such as `esf-tokio`. Whoever writes one implements [`runtime::Runtime`] and has client
//! and server. Without the feature `async` what is left is for a loop of one's own: an [`endpoint::Endpoint`], which a
//! [`node::Conn`] is, and a [`pump::LinkPump`] that takes bytes in and gives bytes out for it. Or, a floor below, a
//! [`socket::Socket`] over any stream that does not block, and a [`step::Drain`] that says what to do next. This is such
//! a loop's turn, whole:
//!
//! ```
//! use std::io::{Read, Write};
//!
//! use esf_driver::{
//!     endpoint::Endpoint,
//!     socket::{Incoming, Socket, SocketError},
//!     step::{Drain, Step},
//! };
//! use esf_proto::time::Instant;
//!
//! /// Does all there is to do at `now`. The next turn is due when the stream is ready, when the endpoint's waker was
//! /// woken, or at the instant that this returns. After an error tell the endpoint by `handle_closed`, and drop both.
//! fn turn<T: Read + Write>(
//!     socket: &mut Socket<T>,
//!     drain: &mut Drain,
//!     endpoint: &mut impl Endpoint,
//!     now: Instant,
//! ) -> Result<Option<Instant>, SocketError> {
//!     while let Some(incoming) = socket.read()? {
//!         match incoming {
//!             Incoming::Message(message) => endpoint.handle_message(now, message),
//!             Incoming::Text => endpoint.handle_text(now),
//!             Incoming::Control => {}
//!             Incoming::Close(_) => {
//!                 socket.flush()?;
//!                 return Err(SocketError::Ended);
//!             }
//!         }
//!         socket.set_max_message(endpoint.max_message());
//!     }
//!     endpoint.handle_transport(now, socket.transport());
//!     if socket.needs_flush() {
//!         socket.flush()?;
//!     }
//!     loop {
//!         let can_write = socket.can_write();
//!         let mut fed = Ok(());
//!         match drain.next(now, can_write, endpoint, &mut |frame| fed = socket.feed_frame(frame)) {
//!             Step::Transmit(_) => fed?,
//!             Step::Ping => socket.feed_ping()?,
//!             Step::Close(reason) => socket.feed_close(reason)?,
//!             Step::Flush => drop(socket.flush()?),
//!             Step::Drop => return Err(SocketError::Ended),
//!             Step::Wait(until) => return Ok(until),
//!         }
//!     }
//! }
//! ```
#![deny(missing_docs)]

pub mod admission;
pub mod blob;
pub mod blocking;
pub mod client;
pub mod endpoint;
pub mod handler;
pub mod http;
pub mod link;
pub mod metered;
pub mod node;
pub mod pump;
pub mod server;
pub mod socket;
pub mod step;
pub mod store;
pub mod tasks;
pub mod tcp;
pub mod url;

mod buffered;
mod completion;
mod dispatch;
mod events;
mod notify;
mod random;
mod shared;
mod sync;

#[cfg(feature = "async")]
mod bridge;
#[cfg(feature = "async")]
pub mod memory;
#[cfg(feature = "async")]
pub mod names;
#[cfg(feature = "async")]
pub mod runtime;
#[cfg(interleavings)]
#[path = "../../tests/interleavings/src/scenarios.rs"]
pub mod scenarios;
#[cfg(all(test, feature = "async"))]
mod testing;
