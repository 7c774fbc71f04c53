//! Which web pages may connect.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The origins that may connect beside pages from this machine. A request without an `Origin` is no page and is not
/// held up here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(Vec<String>);

impl Origins {
    /// Allows `origin`, as `https://chat.example` or `https://chat.example:8443`; `*` allows every page.
    pub fn allow(&mut self, origin: &str) {
        self.0.push(origin.trim_end_matches('/').to_ascii_lowercase());
    }

    /// Whether a page of this `Origin` may connect: it is allowed, or comes from this machine.
    #[must_use]
    pub fn permit(&self, origin: &[u8]) -> bool {
        let Ok(origin) = std::str::from_utf8(origin) else { return false };
        let origin = origin.trim().to_ascii_lowercase();
        self.0.iter().any(|allowed| allowed == "*" || *allowed == origin) || is_loopback(&origin)
    }
}

/// Whether `origin` (lower case) is `http(s)://` and a name or address of this machine, with any port.
fn is_loopback(origin: &str) -> bool {
    let Some(authority) = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")) else {
        return false;
    };
    let (host, port) = match authority.rsplit_once(':') {
        // The last colon of a bare IPv6 address is no port's.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return false;
    }
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback());
    }
    host == "localhost" || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}
