//! What every TCP connection of ESF wants of its socket.

use std::io;

use socket2::SockRef;

/// Bytes that the kernel keeps unsent before it takes no more. What it has taken cannot be overtaken any more, so this is
/// what a heartbeat waits behind; what it has sent and not yet heard of is not counted, so a fast or distant connection
/// stays full.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT: u32 = 32 * 1024;

/// Sets up the socket of a connection: small frames go out at once, and large ones do not pile up before them.
///
/// # Errors
/// What the system says of a socket that has no delay to switch off. For one that was accepted and is gone already it may
/// say so, which whoever reads it will see as well.
pub fn tune<'a, S>(stream: &'a S) -> io::Result<()>
where
    SockRef<'a>: From<&'a S>,
{
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Err(error) = socket.set_tcp_notsent_lowat(UNSENT) {
        // Some sandboxes do not know it. Without it a heartbeat waits a little longer.
        tracing::debug!(%error, "the kernel's unsent queue cannot be kept short");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
