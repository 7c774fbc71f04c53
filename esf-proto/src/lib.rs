//! The ESF protocol as pure state machines: real-time messages between people, devices and a server, over links that
//! break.
//!
//! What it is: the frames and their bytes ([`wire`]), a client that connects, logs in, resumes and resends
//! ([`client::Session`]), a server's end of a link ([`server::Link`]) and of a login ([`server::Session`]), and the
//! directory that relays between logins ([`hub::Hub`]). `docs/PROTOCOL.md` says what goes over the wire; items name the
//! rules that they implement as ESF-nnn.
//!
//! What it is not: there is no socket, no WebSocket, no clock, no thread, no randomness and no storage here. Bytes and
//! times are handed in, bytes and wishes are pulled out, and the same inputs give the same outputs, bit for bit. Whoever
//! wants a client or a server that runs takes `esf-tokio` or another adapter, which drive these machines.
//!
//! # Driving a machine
//!
//! An input (`handle_…`) tells what has happened outside and returns nothing: a peer that misbehaves is never an error of
//! the call, but a close that comes out. A command (`send_certainly`, …) is what the application wants; its error gives the
//! value back, and one that returns an id ends in exactly one event. Both take `now`, which a machine never lets go back.
//! After any call with `&mut`, drain the outputs (`poll_…`, each until `None`; they are apart so that a socket that does not
//! take bytes holds up no events), then read `poll_timeout` and sleep until then at most. `handle_timeout` may come early
//! or for nothing; after it the next timeout lies ahead. A frame that was pulled counts as handed out. After a machine has
//! closed nothing more comes out.
//!
//! # A whole conversation
//!
//! `examples/tcp.rs`, whole: a client and a server, each on a thread of its own, with std around the core and nothing else.
//! A server with many clients puts a lock where the sessions are, as `esf-driver` does.
//!
//! ```
#![doc = include_str!("../examples/tcp.rs")]
//! ```
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
// Whatever a peer sends, the core does not panic and cuts off no number. Tests may.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        clippy::string_slice,
        clippy::unreachable
    )
)]

extern crate alloc;
#[cfg(any(test, feature = "broken"))]
extern crate std;

/// Whether the core has this fault at present: never, unless it is compiled for the tests that look for it.
#[cfg(feature = "broken")]
macro_rules! broken {
    ($name:ident) => {
        $crate::broken::is($crate::broken::Broken::$name)
    };
    ($name:ident, $wrong:expr, else $right:expr) => {
        if broken!($name) { $wrong } else { $right }
    };
}
#[cfg(not(feature = "broken"))]
macro_rules! broken {
    ($name:ident) => {
        false
    };
    ($name:ident, $wrong:expr, else $right:expr) => {
        $right
    };
}

#[cfg(feature = "broken")]
pub mod broken;

pub mod client;
pub mod close;
pub mod failure;
pub mod hub;
pub mod ids;
pub mod login;
pub mod server;
pub mod session;
pub mod store;
pub mod time;
pub mod wire;
