//! A slow and long line between clients and a server: a proxy, where the system has no `tc netem` to make one.
//!
//! Each direction of each connection has its own bandwidth and delay. Small socket buffers keep the queue at the sender,
//! where it would stand on a real line.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpSocket,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::Problem;

/// What a socket of the line holds.
const BUFFER: u32 = 16 * 1024;
/// What is taken at once.
const CHUNK: usize = 4 * 1024;
/// Chunks on the line at most: more than its bandwidth and delay allow.
const ON_THE_LINE: usize = 256;
/// The clock of the runtime is no finer.
const TICK: Duration = Duration::from_millis(1);

/// The line.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// Bits a second.
    pub bandwidth: u64,
    /// From one end to the other.
    pub delay: Duration,
}

/// Passes connections on to `target` until it is killed; tells its address first.
///
/// # Errors
/// It cannot listen.
pub async fn serve(line: Line, target: SocketAddr, told: impl FnOnce(SocketAddr)) -> Result<(), Problem> {
    let socket = small(TcpSocket::new_v4()?)?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let listener = socket.listen(1024)?;
    told(listener.local_addr()?);
    loop {
        let (near, _) = listener.accept().await?;
        let far = small(TcpSocket::new_v4()?)?.connect(target).await?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
        direction(line, near_in, far_out);
        direction(line, far_in, near_out);
    }
}

fn small(socket: TcpSocket) -> io::Result<TcpSocket> {
    socket.set_recv_buffer_size(BUFFER)?;
    socket.set_send_buffer_size(BUFFER)?;
    Ok(socket)
}

/// Takes bytes as fast as the bandwidth allows, and gives each when it has travelled.
fn direction(line: Line, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let (entrance, mut exit) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THE_LINE);
    tokio::spawn(async move {
        let mut free = Instant::now();
        loop {
            let mut chunk = vec![0; CHUNK];
            let Ok(read @ 1..) = from.read(&mut chunk).await else { return };
            chunk.truncate(read);
            let now = Instant::now();
            let bits = read as f64 * 8.0;
            free = free.max(now) + Duration::from_secs_f64(bits / line.bandwidth as f64);
            if entrance.send((free + line.delay, chunk)).await.is_err() {
                return;
            }
            if free > now + TICK {
                sleep_until(free).await;
            }
        }
    });
    tokio::spawn(async move {
        while let Some((due, chunk)) = exit.recv().await {
            if due > Instant::now() {
                sleep_until(due).await;
            }
            if to.write_all(&chunk).await.is_err() {
                return;
            }
        }
    });
}
