//! The server's side: a request head in, a verdict and the bytes of the answer out.

use std::fmt::Write as _;

use httparse::{EMPTY_HEADER, Request};

use super::{MAX_FIELDS, MAX_HEAD, Origins, WEBSOCKET_VERSION, has_element, list, values};

/// What a server serves, and to whom. A path is a row here and nowhere else.
#[derive(Debug, Clone)]
pub struct Rules<P> {
    /// The paths that exist, with the sub-protocol that each needs.
    pub paths: Vec<(&'static str, &'static str, P)>,
    /// The pages that may connect.
    pub origins: Origins,
}

/// What a request gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict<P> {
    /// A WebSocket: send this answer, then speak what belongs to the path.
    Upgrade {
        /// The row of [`Rules::paths`].
        path: P,
        /// The bytes of the answer.
        answer: String,
    },
    /// No: send this answer, then close.
    Refuse {
        /// Why.
        refusal: Refusal,
        /// The bytes of the answer.
        answer: String,
    },
}

/// Why a request was refused; [`judge`] tests in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The head is larger than [`MAX_HEAD`] or has more than [`MAX_FIELDS`] fields: 431.
    HeadTooLarge,
    /// The bytes are no HTTP/1.1 request: 400.
    Malformed,
    /// A page from elsewhere: 403, whatever its path.
    Origin,
    /// There is no such path: 404.
    Path,
    /// Something else than GET: 405.
    Method,
    /// A plain HTTP request: 426.
    NoUpgrade,
    /// Another WebSocket version: 426 with the one that is spoken.
    Version,
    /// No key, or one that is none: 400.
    Key,
    /// The sub-protocol is not offered: 400.
    SubProtocol,
    /// The server has as many connections as it takes: 503.
    Full,
    /// It has as many of this address as it takes: 429.
    AddressFull,
}

impl Refusal {
    /// Status line, fields beside the usual ones, and a line that says what to do.
    const fn parts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::HeadTooLarge => (
                "431 Request Header Fields Too Large",
                "",
                "The request head is larger than 8 KiB or has more than 64 fields: send fewer cookies and headers.",
            ),
            Self::Malformed => ("400 Bad Request", "", "This is no HTTP/1.1 request: connect with a WebSocket client."),
            Self::Origin => (
                "403 Forbidden",
                "",
                "Pages of this origin may not connect: allow it on the server (esf serve --allow-origin ORIGIN).",
            ),
            Self::Path => ("404 Not Found", "", "There is nothing at this path: ESF is at /."),
            Self::Method => ("405 Method Not Allowed", "Allow: GET\r\n", "Use GET, with a WebSocket upgrade."),
            Self::NoUpgrade => (
                "426 Upgrade Required",
                "Upgrade: websocket\r\n",
                "This is an ESF server: connect with a WebSocket client and the sub-protocol esf.v1.",
            ),
            Self::Version => (
                "426 Upgrade Required",
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
                "This server speaks WebSocket version 13.",
            ),
            Self::Key => ("400 Bad Request", "", "Sec-WebSocket-Key must be one base64 text of 16 bytes."),
            Self::SubProtocol => (
                "400 Bad Request",
                "",
                "Offer the sub-protocol of this path: Sec-WebSocket-Protocol: esf.v1 for the path /.",
            ),
            Self::Full => (
                "503 Service Unavailable",
                "Retry-After: 5\r\n",
                "The server has as many connections as it takes: try again later.",
            ),
            Self::AddressFull => (
                "429 Too Many Requests",
                "Retry-After: 5\r\n",
                "The server has as many connections from your address as it takes: close some, or try again later.",
            ),
        }
    }

    /// The bytes of the answer.
    #[must_use]
    pub fn answer(self) -> String {
        let (status, fields, line) = self.parts();
        let connection = if fields.starts_with("Upgrade") { "upgrade, close" } else { "close" };
        format!(
            "HTTP/1.1 {status}\r\n{fields}Connection: {connection}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {length}\r\n\r\n{line}\n",
            length = line.len() + 1
        )
    }

    fn refuse<P>(self) -> Verdict<P> {
        Verdict::Refuse { refusal: self, answer: self.answer() }
    }
}

/// Judges the whole head of a request, or as much of it as came when it is larger than [`MAX_HEAD`].
#[must_use]
pub fn judge<P: Clone>(head: &[u8], rules: &Rules<P>) -> Verdict<P> {
    match accept(head, rules) {
        Ok(verdict) => verdict,
        Err(refusal) => refusal.refuse(),
    }
}

fn accept<P: Clone>(head: &[u8], rules: &Rules<P>) -> Result<Verdict<P>, Refusal> {
    if head.len() > MAX_HEAD {
        return Err(Refusal::HeadTooLarge);
    }
    let mut fields = [EMPTY_HEADER; MAX_FIELDS];
    let mut request = Request::new(&mut fields);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::HeadTooLarge),
        Ok(httparse::Status::Partial) | Err(_) => return Err(Refusal::Malformed),
    }
    let (Some(method), Some(target), Some(1)) = (request.method, request.path, request.version) else {
        return Err(Refusal::Malformed);
    };
    let fields = &*request.headers;

    if !values(fields, "origin").all(|origin| rules.origins.permit(origin)) {
        return Err(Refusal::Origin);
    }
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    let (_, protocol, path) = rules.paths.iter().find(|(known, ..)| *known == path).ok_or(Refusal::Path)?;
    if method != "GET" {
        return Err(Refusal::Method);
    }
    if !has_element(fields, "upgrade", "websocket") || !has_element(fields, "connection", "upgrade") {
        return Err(Refusal::NoUpgrade);
    }
    if only(fields, "sec-websocket-version") != Some(WEBSOCKET_VERSION.as_bytes()) {
        return Err(Refusal::Version);
    }
    let key = only(fields, "sec-websocket-key").filter(|key| is_key(key)).ok_or(Refusal::Key)?;
    if !list(fields, "sec-websocket-protocol").any(|offered| offered == *protocol) {
        return Err(Refusal::SubProtocol);
    }

    let mut answer = String::from("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
    let accept = tungstenite::handshake::derive_accept_key(key);
    // Writing to a string cannot fail.
    let _ = write!(answer, "Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n");
    Ok(Verdict::Upgrade { path: path.clone(), answer })
}

/// The value of the field called `name`, if there is exactly one.
fn only<'a>(fields: &'a [httparse::Header<'a>], name: &'a str) -> Option<&'a [u8]> {
    let mut all = values(fields, name);
    let first = all.next()?;
    all.next().is_none().then_some(first)
}

/// Whether this is the base64 text of 16 bytes.
fn is_key(key: &[u8]) -> bool {
    let Some(digits) = key.strip_suffix(b"==") else { return false };
    digits.len() == 22 && digits.iter().all(|digit| digit.is_ascii_alphanumeric() || matches!(digit, b'+' | b'/'))
}
