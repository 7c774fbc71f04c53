//! The HTTP part of a WebSocket: the server's reading of the request, the client's writing of it.
//!
//! Pure functions over bytes, with every limit here. tungstenite answers nothing to a request that it does not like,
//! so a page or a person with `curl` would never learn why; here each refusal has a status and a line of text.

mod forwarded;
mod head;
mod origin;
mod reply;
mod request;

pub use forwarded::{ForwardedHeader, client_behind};
pub use head::{Head, HeadReader};
pub use origin::Origins;
pub use reply::{Accepted, HandshakeError, check_reply, request};
pub use request::{Refusal, Rules, Verdict, judge};

/// The largest request or reply head that is read, in bytes.
pub const MAX_HEAD: usize = 8 * 1024;
/// The largest number of header fields in a head.
pub const MAX_FIELDS: usize = 64;
/// The WebSocket version that both sides speak.
const WEBSOCKET_VERSION: &str = "13";

/// Finds the ends of heads in bytes that come in pieces, without looking twice at a byte.
#[derive(Debug, Default)]
pub struct HeadEnd {
    scanned: usize,
}

impl HeadEnd {
    /// The length of the head at the start of `bytes`, its empty line included, once that is in.
    /// `bytes` is what came so far: it only grows between calls.
    pub fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        const END: &[u8] = b"\r\n\r\n";
        let from = self.scanned.saturating_sub(END.len() - 1);
        self.scanned = bytes.len();
        let found = bytes.get(from..)?.windows(END.len()).position(|window| window == END)?;
        Some(from + found + END.len())
    }
}

/// Whether these first bytes may be those of a request: its method is in capitals.
#[must_use]
pub fn may_be_request(bytes: &[u8]) -> bool {
    bytes.iter().take(3).all(u8::is_ascii_uppercase)
}

/// The values of every field called `name`.
fn values<'a>(fields: &'a [httparse::Header<'a>], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}

/// The elements of a comma-separated list that may be spread over several fields; those that are no text are left out.
fn list<'a>(fields: &'a [httparse::Header<'a>], name: &'a str) -> impl Iterator<Item = &'a str> {
    values(fields, name)
        .filter_map(|value| std::str::from_utf8(value).ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|element| !element.is_empty())
}

/// Whether the list called `name` has `element`, whatever its case.
fn has_element(fields: &[httparse::Header<'_>], name: &str, element: &str) -> bool {
    list(fields, name).any(|each| each.eq_ignore_ascii_case(element))
}

#[cfg(test)]
mod tests;
