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
//! A client logs in, sends the server's application a message, and hears that it has arrived. One thread does it all here; a
//! server with many puts a lock where the cells are, as `esf-driver` does.
//!
//! ```
//! use std::{cell::RefCell, rc::Rc, sync::Arc};
//!
//! use esf_proto::{
//!     client::{self, Action, Event},
//!     hub::{Hub, Party, Place, Reach, Stage, Whose},
//!     ids::{InstanceId, LinkId, To, UserId},
//!     login::{ResumeSecret, Rights},
//!     server::{self, AppRequest, AppResponse, Generation, Placed},
//!     session::budget::Budget,
//!     time::{Instant, UnixMillis},
//!     wire::Frames,
//! };
//!
//! /// Where a login lives at the server.
//! struct Cell {
//!     session: RefCell<server::Session>,
//!     outbox: RefCell<server::Outbox>,
//! }
//!
//! /// How the hub reaches the outbox of somebody.
//! struct Outboxes;
//!
//! impl Reach<Rc<Cell>> for Outboxes {
//!     fn visit<R>(&self, whose: Whose<'_, Rc<Cell>>, visit: impl FnOnce(&mut server::Outbox) -> R) -> R {
//!         match whose {
//!             Whose::Session(cell) => visit(&mut cell.outbox.borrow_mut()),
//!             Whose::Server => unreachable!("this server asks nobody"),
//!         }
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let now = Instant::ZERO;
//!
//! // The client. It wants a link, gets one, and has a message to send.
//! let seed = client::Seed { instance: InstanceId(0x5eed), jitter: 7 };
//! let mut anna = client::Session::new(client::Config::new(UserId::parse("anna", 64)?), seed, now);
//! let id = anna.send_certainly(now, &To::Server, 42, "hello".into(), None)?;
//! let Some(Action::Connect { link: at_client }) = anna.poll_action() else { panic!("it connects") };
//! anna.handle_connected(now, at_client);
//!
//! // The server: its settings, its counters, the memory of all sessions together, who is there, and the link.
//! let (config, counters) = (Arc::new(server::Config::default()), Arc::new(server::Counters::default()));
//! let memory = Arc::new(Budget::new(config.global_budget));
//! let this_life = InstanceId(1);
//! let mut hub: Hub<Rc<Cell>> = Hub::new(&config, &counters, this_life, (1, 2));
//! let mut link = server::Link::new(&config, &counters, LinkId(1), now);
//! let mut cell: Option<Rc<Cell>> = None;
//!
//! while anna.open_operations() > 0 {
//!     // What the client hands out arrives at the server's link, which passes on what is for the session.
//!     while let Some(out) = anna.poll_transmit(now) {
//!         for frame in Frames::new(out.frame, link.max_frame()) {
//!             if let (Some(frame), Some(cell)) = (link.handle_frame(now, frame), &cell) {
//!                 cell.session.borrow_mut().handle_frame(now, Generation::FIRST, frame);
//!             }
//!         }
//!     }
//!
//!     // The application judges the credential, then the hub finds the login its place.
//!     if let Some(AppRequest::Authenticate(_)) = link.poll_request() {
//!         link.handle_response(AppResponse::Accept(Rights::NONE.into()));
//!     }
//!     if let Some(claim) = link.poll_login() {
//!         let (secret, wall) = (ResumeSecret([3; 16]), UnixMillis(1_760_000_000_000));
//!         let place = hub.login(now, wall, &claim, Stage::First, &[], |entry| {
//!             let new = entry.session(&claim, secret, this_life);
//!             let (session, outbox) = server::Session::new(&config, &counters, &memory, new);
//!             Rc::new(Cell { session: session.into(), outbox: outbox.into() })
//!         });
//!         let Place::New { handle, .. } = place else { panic!("nobody is in its way") };
//!         let login_number = handle.session.borrow().login_number();
//!         let ticket = bytes::Bytes::new();
//!         let placed = Placed { resumed: None, secret, login_number, server: this_life, wall, ticket };
//!         link.handle_placed(now, &claim, &placed);
//!         cell = Some(handle);
//!     }
//!
//!     // The hub does what the session wants; then what the server hands out arrives at the client.
//!     while let Some(frame) = link.poll_transmit() {
//!         anna.handle_message(now, at_client, frame);
//!     }
//!     if let Some(cell) = &cell {
//!         let mut session = cell.session.borrow_mut();
//!         let engine = session.engine().clone();
//!         let (id, origin, rights) = (session.id(), session.origin(), session.rights());
//!         let party = Party { session: id, origin, engine: &engine, rights, handle: cell };
//!         while let Some(command) = session.poll_hub() {
//!             if let Some(event) = hub.carry_out(now, &party, command, &Outboxes) {
//!                 session.handle_hub(event);
//!             }
//!         }
//!         while let Some(frame) = session.poll_transmit(now, Generation::FIRST, &mut cell.outbox.borrow_mut()) {
//!             anna.handle_message(now, at_client, frame);
//!         }
//!     }
//! }
//!
//! let message = cell.and_then(|cell| cell.session.borrow_mut().poll_message()).expect("the application has it");
//! assert_eq!(&message.body[..], b"hello");
//! let events: Vec<Event> = std::iter::from_fn(|| anna.poll_event()).collect();
//! assert!(events.contains(&Event::Acked { id }));
//! # Ok(())
//! # }
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
#[cfg(test)]
extern crate std;

pub mod client;
pub mod close;
pub mod failure;
pub mod hub;
pub mod ids;
pub mod login;
pub mod server;
pub mod session;
pub mod time;
pub mod wire;
