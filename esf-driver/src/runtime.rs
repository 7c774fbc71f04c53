//! What an adapter of an asynchronous runtime brings: a clock, timers, tasks and sockets.

use std::{io, net::SocketAddr};

use futures_io::{AsyncRead, AsyncWrite};

pub use crate::tasks::{BoxFuture, Tasks, Timer};

/// A stream of bytes in both directions: a socket, a TLS session, an in-memory duplex.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for T {}

/// Any [`ByteStream`]. One type for all keeps the loops compiled once; the indirect call is nothing beside the system
/// call behind it.
pub type BoxStream = Box<dyn ByteStream>;

/// An asynchronous runtime: tasks, and sockets for them.
pub trait Runtime: Tasks {
    /// Connects by TCP, without delay for small packets.
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<BoxStream>>;

    /// Listens on a TCP address, `host:port`; port 0 takes a free one.
    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>>;
}

/// Something that accepts streams.
pub trait Listener: Send {
    /// The next stream and where it comes from.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxStream, SocketAddr)>>;

    /// The address that it listens on.
    ///
    /// # Errors
    /// What the system says.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}
