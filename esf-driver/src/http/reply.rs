//! The client's side: the request that it writes, and what it makes of the reply.

use httparse::{EMPTY_HEADER, Response};

use super::{MAX_FIELDS, has_element, values};
use crate::url::Url;

/// Why a WebSocket did not come about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The other side answered with something that is no HTTP.
    #[error("the answer is no HTTP: is this an ESF server?")]
    Malformed,
    /// The reply head is larger than the limit.
    #[error("the head of the answer is too large")]
    TooLarge,
    /// The server refused, with a status and its text.
    #[error("the server refused: {status} {text}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The words beside it.
        text: String,
    },
    /// The reply is no agreement to this request.
    #[error("the server did not agree to a WebSocket: {0} is wrong")]
    NotAgreed(&'static str),
}

impl HandshakeError {
    /// The same with the first line of the answer's body, as much of it as came, which says more than the status.
    #[must_use]
    pub fn with_body(self, body: &[u8]) -> Self {
        let line = String::from_utf8_lossy(body);
        match (self, line.lines().next().map(str::trim)) {
            (Self::Refused { status, .. }, Some(line)) if !line.is_empty() => {
                Self::Refused { status, text: line.to_owned() }
            }
            (error, _) => error,
        }
    }
}

/// What the server agreed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The sub-protocol.
    pub protocol: String,
}

/// The request for a WebSocket at `url`, with a key made by tungstenite's `generate_key`.
#[must_use]
pub fn request(url: &Url, key: &str, protocol: &str, origin: Option<&str>) -> String {
    let origin = origin.map(|origin| format!("Origin: {origin}\r\n")).unwrap_or_default();
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: {version}\r\nSec-WebSocket-Protocol: {protocol}\r\n\
         {origin}\r\n",
        path = url.path(),
        host = url.authority(),
        version = super::WEBSOCKET_VERSION,
    )
}

/// Judges the whole head of a reply to a request with this key and sub-protocol.
///
/// # Errors
/// [`HandshakeError`] says what keeps it from being a WebSocket.
pub fn check_reply(head: &[u8], key: &str, protocol: &str) -> Result<Accepted, HandshakeError> {
    let mut fields = [EMPTY_HEADER; MAX_FIELDS];
    let mut reply = Response::new(&mut fields);
    match reply.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(HandshakeError::TooLarge),
        Ok(httparse::Status::Partial) | Err(_) => return Err(HandshakeError::Malformed),
    }
    let status = reply.code.ok_or(HandshakeError::Malformed)?;
    if status != 101 {
        return Err(HandshakeError::Refused { status, text: reply.reason.unwrap_or_default().to_owned() });
    }
    let fields = &*reply.headers;
    let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
    let is = |name, value: &str| values(fields, name).map(<[u8]>::trim_ascii).eq([value.as_bytes()]);
    if !has_element(fields, "upgrade", "websocket") {
        Err(HandshakeError::NotAgreed("Upgrade"))
    } else if !has_element(fields, "connection", "upgrade") {
        Err(HandshakeError::NotAgreed("Connection"))
    } else if !is("sec-websocket-accept", &accept) {
        Err(HandshakeError::NotAgreed("Sec-WebSocket-Accept"))
    } else if !is("sec-websocket-protocol", protocol) {
        Err(HandshakeError::NotAgreed("Sec-WebSocket-Protocol"))
    } else if values(fields, "sec-websocket-extensions").next().is_some() {
        // None was offered, so none may be used.
        Err(HandshakeError::NotAgreed("Sec-WebSocket-Extensions"))
    } else {
        Ok(Accepted { protocol: protocol.to_owned() })
    }
}
