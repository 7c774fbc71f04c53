//! Servers that do nothing but the transport: what the machine allows.
//!
//! All of them run on one thread of tokio, as the subject does on one core: a task a connection, all that is ready read
//! and answered, one flush a batch.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::SocketAddr,
    sync::Arc,
};

use tokio::{
    io::Interest,
    net::{TcpListener, TcpStream},
    sync::Mutex,
};
use tungstenite::{
    Error, Message, WebSocket,
    protocol::{Role, WebSocketConfig},
};

use crate::Problem;

/// What is read at once where nothing is parsed: of many connections with small messages, and of few with much.
const READ: usize = 16 * 1024;
const READ_MUCH: usize = 64 * 1024;
/// What tungstenite reads at once and collects before it writes, as esf-driver has it.
const BUFFER: usize = 4 * 1024;

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Limit {
    /// Gives back the bytes that come.
    RawEcho,
    /// Gives them to the connection that was accepted next to it.
    RawRelay,
    /// Gives back the WebSocket messages that come, by tungstenite.
    Tungstenite,
    /// Gives the WebSocket messages that come to every connection, by tungstenite.
    TungsteniteBroadcast,
}

/// Serves until it is killed; tells its address first.
///
/// # Errors
/// It cannot listen.
pub async fn serve(limit: Limit, told: impl FnOnce(SocketAddr)) -> Result<(), Problem> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    told(listener.local_addr()?);
    let crowd = Crowd::default();
    loop {
        let stream = accept(&listener).await?;
        match limit {
            Limit::RawEcho => drop(tokio::spawn(raw_echo(stream))),
            Limit::RawRelay => {
                let other = accept(&listener).await?;
                tokio::spawn(raw_relay(stream, other));
            }
            Limit::Tungstenite => {
                tokio::spawn(async move {
                    // A client that breaks off ends its own echo and nothing else.
                    let _ = websocket_echo(stream).await;
                });
            }
            Limit::TungsteniteBroadcast => {
                let crowd = crowd.clone();
                tokio::spawn(async move {
                    let _ = websocket_broadcast(stream, crowd).await;
                });
            }
        }
    }
}

async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn raw_echo(stream: TcpStream) {
    copy(&stream, &stream, READ).await;
}

async fn raw_relay(one: TcpStream, other: TcpStream) {
    tokio::join!(copy(&one, &other, READ_MUCH), copy(&other, &one, READ_MUCH));
}

/// Copies until either breaks.
async fn copy(from: &TcpStream, to: &TcpStream, at_once: usize) {
    let mut buffer = vec![0; at_once];
    while from.readable().await.is_ok() {
        let read = match from.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(_) => return,
        };
        let mut rest = &buffer[..read];
        while !rest.is_empty() {
            match to.try_write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if to.writable().await.is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }
}

async fn websocket(stream: TcpStream) -> Result<WebSocket<NonBlocking>, Problem> {
    let config = WebSocketConfig::default().read_buffer_size(BUFFER).write_buffer_size(BUFFER);
    // The handshake blocks; nothing is read beyond it, since a client waits for the answer.
    let blocking = stream.into_std()?;
    blocking.set_nonblocking(false)?;
    let blocking = tokio::task::spawn_blocking(move || {
        tungstenite::accept(blocking).map(WebSocket::into_inner).map_err(|error| error.to_string())
    })
    .await??;
    blocking.set_nonblocking(true)?;
    let stream = NonBlocking(Arc::new(TcpStream::from_std(blocking)?));
    Ok(WebSocket::from_raw_socket(stream, Role::Server, Some(config)))
}

async fn websocket_echo(stream: TcpStream) -> Result<(), Problem> {
    let mut socket = websocket(stream).await?;
    loop {
        match socket.read() {
            Ok(message @ Message::Binary(_)) => match socket.write(message) {
                Ok(()) => {}
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => flush(&mut socket).await?,
                Err(error) => return Err(error.into()),
            },
            Ok(_) => {}
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                flush(&mut socket).await?;
                socket.get_ref().0.readable().await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads all that is there, then gives it to one connection after the other, each flushed once. Nobody else writes
/// meanwhile: it is for one sender.
async fn websocket_broadcast(stream: TcpStream, crowd: Crowd) -> Result<(), Problem> {
    let own = Arc::new(Mutex::new(websocket(stream).await?));
    crowd.lock().await.push(own.clone());
    let mut batch: Vec<Message> = Vec::new();
    loop {
        let mut socket = own.lock().await;
        loop {
            match socket.read() {
                Ok(message @ Message::Binary(_)) => batch.push(message),
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        if batch.is_empty() {
            // Whoever only receives is written to meanwhile.
            socket.flush()?;
            let ready = socket.get_ref().0.clone();
            drop(socket);
            ready.readable().await?;
            continue;
        }
        drop(socket);
        for socket in crowd.lock().await.iter() {
            let mut socket = socket.lock().await;
            for message in &batch {
                // The same bytes for all.
                match socket.write(message.clone()) {
                    Ok(()) => {}
                    Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => flush(&mut socket).await?,
                    Err(error) => return Err(error.into()),
                }
            }
            flush(&mut socket).await?;
        }
        batch.clear();
    }
}

async fn flush(socket: &mut WebSocket<NonBlocking>) -> Result<(), Problem> {
    loop {
        match socket.flush() {
            Ok(()) => return Ok(()),
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                socket.get_ref().0.ready(Interest::WRITABLE).await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// A stream of tokio that says when it would block, which is what tungstenite reads from.
struct NonBlocking(Arc<TcpStream>);

/// Every connection of a server that gives all to all.
type Crowd = Arc<Mutex<Vec<Arc<Mutex<WebSocket<NonBlocking>>>>>>;

impl Read for NonBlocking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for NonBlocking {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
