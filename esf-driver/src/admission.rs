//! Who may connect, from where, and how often: limits by address, without IO and with `now` as an input.

mod addresses;
mod network;

pub use addresses::{AddressKey, Addresses};
pub use network::{Network, NetworkError};

use crate::http::{ForwardedHeader, Origins};

/// What a server takes. A running one can be given another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admission {
    /// How much is taken, in all and of one address.
    pub limits: Limits,
    /// The web pages that may connect, beside those of this machine.
    pub origins: Origins,
    /// The proxies whose word on where a connection comes from is taken. They alone are asked: anybody else could say
    /// anything.
    pub proxies: Vec<Network>,
    /// The header in which they say it. One that a proxy does not set itself it passes on as a stranger wrote it.
    pub header: ForwardedHeader,
}

/// How much a server takes, in all and of one address. An IPv6 address stands for its /64, which is what one customer
/// has. 0 is no limit.
///
/// What comes from this machine itself, and streams of unknown origin, are not limited by address. What a trusted proxy
/// brings counts for the address that the proxy names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Connections at the same time. 100,000.
    pub connections: usize,
    /// Connections of one address at the same time. 1,024.
    pub connections_per_address: usize,
    /// Logins of one address in a minute, good or bad; as many may come at once. 300.
    pub logins_per_address: u32,
    /// Queries before login of one address in a minute; as many may come at once. 60.
    pub pre_queries_per_address: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 100_000,
            connections_per_address: 1024,
            logins_per_address: 300,
            pre_queries_per_address: 60,
        }
    }
}

#[cfg(test)]
mod tests;
