//! TCP that blocks.

use std::{
    io::{self, Error, ErrorKind, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _},
    sync::Arc,
    time::Duration,
};

use esf_driver::{
    blocking::{self, Listener, Stream, WRITE_PATIENCE},
    tcp::tune,
};

use crate::Threads;

/// A TCP connection for [`Server::serve_stream`](crate::Server::serve_stream) or
/// [`ClientBuilder::connector`](crate::ClientBuilder::connector).
#[derive(Debug)]
pub struct Tcp(TcpStream);

impl Tcp {
    /// Takes a connection, and sets what ESF wants of its socket.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        tune(&stream)?;
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(WRITE_PATIENCE))?;
        Ok(Self(stream))
    }
}

impl Stream for Tcp {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.0).read(buffer)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        (&self.0).write(bytes)
    }

    fn finish(&self) {
        // It fails for one that is gone already.
        let _ = self.0.shutdown(Shutdown::Write);
    }

    fn shut_down(&self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

impl blocking::Threads for Threads {
    fn connect(&self, host: &str, port: u16, limit: Duration) -> io::Result<Arc<dyn Stream>> {
        let mut failed = Error::new(ErrorKind::NotFound, "the host has no address");
        for address in (host, port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, limit).and_then(Tcp::new) {
                Ok(stream) => return Ok(Arc::new(stream)),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    fn listen(&self, address: &str) -> io::Result<Arc<dyn Listener>> {
        Ok(Arc::new(Accepting(TcpListener::bind(address)?)))
    }
}

/// A TCP listener.
#[derive(Debug)]
struct Accepting(TcpListener);

impl Listener for Accepting {
    fn accept(&self) -> io::Result<(Arc<dyn Stream>, SocketAddr)> {
        let (stream, from) = self.0.accept()?;
        // It fails for one that is gone already, which says nothing about the next.
        let stream = Tcp::new(stream).map_err(|_| ErrorKind::ConnectionAborted)?;
        Ok((Arc::new(stream), from))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Nothing but a connection ends an `accept` on every system.
    fn shut_down(&self) {
        let Ok(mut address) = self.0.local_addr() else { return };
        match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        // One that is not taken is in a queue of others, which end the `accept` as well.
        let _ = TcpStream::connect_timeout(&address, WRITE_PATIENCE);
    }
}
