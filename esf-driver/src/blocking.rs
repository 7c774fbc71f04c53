//! Clients and servers on plain threads: the same handles, with calls that block, and the one loop over streams that
//! block.
//!
//! The core, the dispatch of handlers and the handshakes are those of every adapter. What is here waits: a call parks
//! its thread until its outcome is there, and a connection has two threads, of which one reads and blocks there, with
//! no lock held, and the other writes, and waits for work or for the next timeout. Nobody polls.
//!
//! An adapter brings threads and sockets: [`Threads`].

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use crate::tasks::Tasks;

mod blob;
mod callbacks;
mod client;
mod connection;
mod conversation;
mod dial;
mod groups;
mod handler;
mod hooks;
pub mod names;
mod serve;
mod server;
#[cfg(test)]
mod testing;
mod wait;

pub use self::{
    blob::{BlobFile, BlobReader, BlobSeeker, BlobSource, BlobStream, SendingBlob},
    callbacks::Callbacks,
    client::{Client, ClientBuilder, Events, WeakClient},
    handler::{Handler, Handlers},
    hooks::{Hooks, Interceptor},
    server::{Authenticator, Server, ServerBuilder, ServerEvents},
    wait::{Clock, Elapsed, run},
};

/// How long a [`Stream::write`] may block. The thread that writes also looks after the time.
pub const WRITE_PATIENCE: Duration = Duration::from_millis(250);

/// What an adapter of threads brings. A task is a thread: it runs its future with [`run`].
pub trait Threads: Tasks {
    /// Connects by TCP, for `limit` at most for each address of the host.
    ///
    /// # Errors
    /// What the system says.
    fn connect(&self, host: &str, port: u16, limit: Duration) -> io::Result<Arc<dyn Stream>>;

    /// Listens on a TCP address, `host:port`; port 0 takes a free one.
    ///
    /// # Errors
    /// What the system says.
    fn listen(&self, address: &str) -> io::Result<Arc<dyn Listener>>;
}

/// A connection that one thread reads while another writes.
pub trait Stream: Send + Sync + 'static {
    /// Reads some bytes, and blocks until some come; 0 at the end.
    ///
    /// # Errors
    /// It broke.
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes some of the bytes, and blocks until it can, for [`WRITE_PATIENCE`] or so.
    ///
    /// # Errors
    /// `WouldBlock` or `TimedOut` if it could not write any; else it broke.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Tells the other side that nothing more comes, as far as the stream can say so.
    fn finish(&self);

    /// Ends it in both directions. A read and a write that block come back.
    fn shut_down(&self);
}

/// Something that accepts streams.
pub trait Listener: Send + Sync + 'static {
    /// The next stream and where it comes from. Blocks until there is one, or until [`shut_down`](Self::shut_down).
    ///
    /// # Errors
    /// What the system says.
    fn accept(&self) -> io::Result<(Arc<dyn Stream>, SocketAddr)>;

    /// The address that it listens on.
    ///
    /// # Errors
    /// What the system says.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// An [`accept`](Self::accept) that blocks comes back, with whatever result.
    fn shut_down(&self);
}
