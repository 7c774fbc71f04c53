//! Where a request comes from, in the words of the proxies that it came through.

use std::net::{IpAddr, SocketAddr};

use httparse::{EMPTY_HEADER, Request};

use super::{MAX_FIELDS, values};
use crate::admission::Network;

/// The header in which a proxy names the other side of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For: 192.0.2.1, 10.0.0.1`.
    #[default]
    XForwardedFor,
    /// `Forwarded: for=192.0.2.1;proto=https` (RFC 7239).
    Forwarded,
}

/// The address behind the proxies of a request: each one adds whom it talks to at the end, so it is the last that is no
/// trusted proxy itself, and whatever stands before that is hearsay. `None` if `peer`, the nearest proxy, names nobody.
#[must_use]
pub fn client_behind(head: &[u8], header: ForwardedHeader, trusted: &[Network]) -> Option<IpAddr> {
    let mut fields = [EMPTY_HEADER; MAX_FIELDS];
    let mut request = Request::new(&mut fields);
    request.parse(head).ok()?;
    let name = match header {
        ForwardedHeader::XForwardedFor => "x-forwarded-for",
        ForwardedHeader::Forwarded => "forwarded",
    };
    let lines: Vec<&[u8]> = values(request.headers, name).collect();
    let hops = lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
    let mut client = None;
    for hop in hops {
        let address = std::str::from_utf8(hop).ok().and_then(|hop| match header {
            ForwardedHeader::XForwardedFor => address(hop.trim()),
            ForwardedHeader::Forwarded => address(named_for(hop)?),
        });
        // What a trusted proxy did not name as an address ends the chain: the proxy itself is the last that is known.
        let Some(address) = address else { break };
        client = Some(address);
        if !trusted.iter().any(|network| network.contains(address)) {
            break;
        }
    }
    client
}

/// The `for` of one element of `Forwarded`.
fn named_for(element: &str) -> Option<&str> {
    let pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("for"))?;
    Some(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
}

/// An address, in brackets or not, with a port or without.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests;
