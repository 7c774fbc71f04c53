//! What a server counts beside its protocol.

use crate::{
    http::Refusal,
    sync::atomic::{AtomicU64, Ordering},
};

macro_rules! counters {
    ($($(#[doc = $doc:expr])* $name:ident,)*) => {
        /// The counters of the driver.
        #[derive(Debug, Default)]
        pub(super) struct DriverCounters { $($(#[doc = $doc])* pub(super) $name: AtomicU64,)* }

        impl DriverCounters {
            pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name.load(Ordering::Relaxed)),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Errors of `accept`.
    accept_errors,
    /// Handshakes that did not end in time.
    handshakes_timed_out,
    /// Requests that are no HTTP, or lack what a WebSocket needs.
    requests_bad,
    /// Requests whose head was too large.
    requests_too_large,
    /// Requests of pages from elsewhere.
    requests_of_strange_origin,
    /// Requests for a path that is not there.
    requests_not_found,
    /// Plain HTTP requests.
    requests_plain,
    /// Connections refused because there were too many.
    connections_refused,
    /// Connections refused because there were too many of their address.
    connections_refused_by_address,
    /// Logins refused because there were too many of their address.
    logins_too_often,
    /// Queries before login refused because there were too many of their address.
    pre_queries_too_often,
    /// Connections of a trusted proxy that did not say whom it brings.
    proxies_silent,
    /// WebSocket messages that were too large.
    messages_too_large,
    /// Connections on which the peer broke the WebSocket protocol.
    websocket_violations,
    /// Logins put off because too many were being decided.
    logins_put_off,
    /// Authenticators that panicked.
    authenticators_panicked,
    /// Requests with which the store panicked.
    stores_panicked,
}

impl DriverCounters {
    pub(super) fn refused(&self, refusal: Refusal) {
        let counter = match refusal {
            Refusal::HeadTooLarge => &self.requests_too_large,
            Refusal::Origin => &self.requests_of_strange_origin,
            Refusal::Path => &self.requests_not_found,
            Refusal::NoUpgrade | Refusal::Method => &self.requests_plain,
            Refusal::Full => &self.connections_refused,
            Refusal::AddressFull => &self.connections_refused_by_address,
            Refusal::Malformed | Refusal::Version | Refusal::Key | Refusal::SubProtocol => &self.requests_bad,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a server has counted and holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// Connections that are open, handshakes among them.
    pub connections: usize,
    /// Links that are open.
    pub links: usize,
    /// Users that are online.
    pub online: usize,
    /// Bytes that all sessions hold together.
    pub held_bytes: usize,
    /// Every counter with its name, in a fixed order.
    pub counters: Vec<(&'static str, u64)>,
}

impl ServerStats {
    /// The counter of this name; 0 for one that does not exist.
    #[must_use]
    pub fn counter(&self, name: &str) -> u64 {
        self.counters.iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count)
    }
}
