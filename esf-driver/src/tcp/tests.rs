use std::net::{TcpListener, TcpStream};

use super::*;

#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn both_ends_of_a_connection_keep_the_kernels_unsent_queue_short() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    for stream in [near, listener.accept()?.0] {
        tune(&stream)?;
        assert_eq!((stream.nodelay()?, SockRef::from(&stream).tcp_notsent_lowat()?), (true, UNSENT));
    }
    Ok(())
}
