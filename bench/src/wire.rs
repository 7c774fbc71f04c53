//! Bytes that a client sends, made once: WebSocket frames and the ESF frames in them.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use esf_proto::{
    ids::{DeviceKind, InstanceId},
    login::CredentialKind,
    wire::{Address, Credential, Envelope, Flags, Frame, Header, Kind, Login, Method, SUBPROTOCOL, requests::OfGroup},
};

use crate::Problem;

/// Bytes of the longest head of a WebSocket frame of a client: two, a length of eight, a key of four.
pub const MAX_HEAD: usize = 14;
/// The device of every client here.
pub const DEVICE: DeviceKind = DeviceKind::SERVICE;

const BINARY: u8 = 0x82;
const PATIENCE: Duration = Duration::from_secs(20);

/// The head of a binary WebSocket message of a client, and its length. The key that it names is zero, with which
/// masking changes nothing: legal, and the server has to unmask as ever.
#[must_use]
pub fn head(payload: usize) -> ([u8; MAX_HEAD], usize) {
    let mut head = [0; MAX_HEAD];
    head[0] = BINARY;
    let lengths = match payload {
        0..=125 => {
            head[1] = 0x80 | payload as u8;
            0
        }
        126..=0xFFFF => {
            head[1] = 0x80 | 126;
            head[2..4].copy_from_slice(&(payload as u16).to_be_bytes());
            2
        }
        _ => {
            head[1] = 0x80 | 127;
            head[2..10].copy_from_slice(&(payload as u64).to_be_bytes());
            8
        }
    };
    (head, 2 + lengths + 4)
}

/// `payload` as a whole binary WebSocket message of a client.
#[must_use]
pub fn message(payload: &[u8]) -> Vec<u8> {
    let (head, len) = head(payload.len());
    [&head[..len], payload].concat()
}

/// A connection to `address` on which nothing was said yet.
///
/// # Errors
/// It cannot be had.
pub fn connect(address: SocketAddr) -> Result<TcpStream, Problem> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Makes a WebSocket of a connection.
///
/// # Errors
/// The server wants none.
pub fn upgrade(stream: &mut TcpStream, path: &str, protocol: Option<&str>) -> Result<(), Problem> {
    let protocol = protocol.map_or_else(String::new, |name| format!("Sec-WebSocket-Protocol: {name}\r\n"));
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{protocol}\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let answer = read_until(stream, b"\r\n\r\n")?;
    if answer.starts_with(b"HTTP/1.1 101") {
        Ok(())
    } else {
        Err(format!("no WebSocket here: {}", String::from_utf8_lossy(&answer)).into())
    }
}

/// Reads byte by byte up to the end of `mark`, so that nothing behind it is taken.
///
/// # Errors
/// The mark does not come.
pub fn read_until(stream: &mut TcpStream, mark: &[u8]) -> Result<Vec<u8>, Problem> {
    let mut read = Vec::new();
    while !read.ends_with(mark) {
        let mut byte = [0];
        stream.read_exact(&mut byte).map_err(|error| {
            format!("{error} while waiting for {:?} after {:?}", mark.escape_ascii(), read.escape_ascii())
        })?;
        read.push(byte[0]);
    }
    Ok(read)
}

/// Reads one short WebSocket message of a server.
///
/// # Errors
/// The connection breaks, or the message is no short one.
pub fn read_message(stream: &mut TcpStream) -> Result<Vec<u8>, Problem> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    let len = match head[1] {
        short @ 0..=125 => usize::from(short),
        126 => {
            let mut len = [0; 2];
            stream.read_exact(&mut len)?;
            usize::from(u16::from_be_bytes(len))
        }
        _ => return Err("a long WebSocket message where a short one was due".into()),
    };
    let mut payload = vec![0; len];
    stream.read_exact(&mut payload)?;
    Ok(payload)
}

/// A logged-in connection of `user`.
///
/// # Errors
/// The server does not let it in.
pub fn log_in(address: SocketAddr, user: &str, instance: u64) -> Result<TcpStream, Problem> {
    let mut stream = connect(address)?;
    upgrade(&mut stream, "/", Some(SUBPROTOCOL))?;
    stream.write_all(&message(&login(user, instance)))?;
    loop {
        let frame = read_message(&mut stream)?;
        // Length, then kind; of a login result the result comes first.
        match (frame.get(4), frame.get(7)) {
            (Some(kind), Some(0)) if *kind == Kind::LoginResult as u8 => return Ok(stream),
            (Some(kind), _) if *kind == Kind::LoginResult as u8 || *kind == Kind::Close as u8 => {
                return Err(format!("{user} is not let in: {}", frame.escape_ascii()).into());
            }
            _ => {}
        }
    }
}

/// The login of `user` without a credential. Its heartbeat is the longest: whoever is idle is idle.
#[must_use]
pub fn login(user: &str, instance: u64) -> Bytes {
    let login = Login {
        instance: InstanceId(instance),
        attempt: 1,
        interactive: true,
        takes_messages: true,
        device: DEVICE,
        heartbeat_ms: 300_000,
        login_number: 0,
        user,
        credential: Credential { kind: CredentialKind::None, bytes: b"" },
        system_token: b"",
        ticket: b"",
        resume: None,
    };
    bytes_of(&Frame::Login(login))
}

/// A plain message.
#[must_use]
pub fn plain(from: (&str, u64), to: &str, body: usize) -> Bytes {
    let envelope = Envelope::new(Address::User { user: to }, address(from), 0);
    bytes_of(&Frame::Send { envelope, info_type: 1, body: &vec![7; body] })
}

/// A message that is stored if its receiver is away.
///
/// # Panics
/// If it is no frame, which it is.
#[must_use]
pub fn storable(from: (&str, u64), to: &str, id: u64, body: usize) -> Bytes {
    let envelope = Envelope::new(Address::User { user: to }, address(from), id);
    let frame = Frame::Certain { envelope, ttl_ms: 60_000, info_type: 1, body: &vec![7; body] };
    frame.to_bytes(Header::flags(Flags::STORE)).expect("a frame")
}

/// A plain message to a group, of which its sender gets a copy too.
///
/// # Panics
/// If it is no frame, which it is.
#[must_use]
pub fn broadcast(from: (&str, u64), group: &str, body: usize) -> Bytes {
    let envelope = Envelope::new(Address::Group { group }, address(from), 0);
    let frame = Frame::Broadcast { envelope, info_type: 1, body: &vec![7; body] };
    frame.to_bytes(Header::flags(Flags::ECHO)).expect("a frame")
}

/// Asks to be in a dynamic group.
///
/// # Panics
/// The group has no name.
#[must_use]
pub fn join(from: (&str, u64), id: u64, group: &str) -> Bytes {
    let mut body = BytesMut::new();
    OfGroup { group }.encode(&mut body).expect("a group");
    let envelope = Envelope::new(Address::Server { instance: 0 }, address(from), id);
    let method = Method::GroupJoin as u16;
    bytes_of(&Frame::Request { envelope, ttl_ms: 30_000, method, cursor: &[], body: &body })
}

/// A query to the server's application.
#[must_use]
pub fn query(from: (&str, u64), id: u64, body: usize) -> Bytes {
    let envelope = Envelope::new(Address::Server { instance: 0 }, address(from), id);
    bytes_of(&Frame::Query { envelope, ttl_ms: 30_000, info_type: 1, body: &vec![7; body] })
}

/// What a client says of the frames that it has.
#[must_use]
pub fn count(received: u32, taken: u32) -> Bytes {
    bytes_of(&Frame::Count { received, taken })
}

/// Announces a blob.
#[must_use]
pub fn blob_offer(from: (&str, u64), to: &str, id: u64, stream: u64, total: Option<u64>) -> Bytes {
    let envelope = Envelope::new(Address::User { user: to }, address(from), id);
    bytes_of(&Frame::BlobOffer { envelope, stream, total, info_type: 1, name: "" })
}

/// A piece of a blob.
#[must_use]
pub fn fragment(stream: u64, offset: u64, last: bool, data: &[u8]) -> Bytes {
    bytes_of(&Frame::Fragment { stream, offset, last, data })
}

/// Says that a blob was sent to its end.
#[must_use]
pub fn blob_end(from: (&str, u64), to: &str, id: u64, stream: u64, total: u64) -> Bytes {
    let envelope = Envelope::new(Address::User { user: to }, address(from), id);
    bytes_of(&Frame::BlobEnd { envelope, stream, total })
}

/// What a receiver says of the bytes that it holds.
#[must_use]
pub fn credit(stream: u64, offset: u64) -> Bytes {
    bytes_of(&Frame::Credit { stream, offset })
}

/// What a receiver says of a blob that it has whole.
#[must_use]
pub fn ack(from: (&str, u64), to: (&str, u64), id: u64) -> Bytes {
    bytes_of(&Frame::Ack { envelope: Envelope::new(address(to), address(from), id) })
}

fn address((user, instance): (&str, u64)) -> Address<'_> {
    Address::Engine { user, device: DEVICE, instance: InstanceId(instance) }
}

/// # Panics
/// If it is no frame, which those here all are.
fn bytes_of(frame: &Frame<'_>) -> Bytes {
    frame.to_bytes(Header::default()).expect("a frame")
}
