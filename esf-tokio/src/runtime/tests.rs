use super::*;

#[cfg(target_os = "linux")]
#[tokio::test]
async fn both_ends_of_a_connection_keep_the_kernels_unsent_queue_short() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr()?), listener.accept());
    for stream in [near?, far?.0] {
        tune(&stream)?;
        assert_eq!((stream.nodelay()?, socket2::SockRef::from(&stream).tcp_notsent_lowat()?), (true, UNSENT));
    }
    Ok(())
}
