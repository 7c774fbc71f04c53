//! What each address has open and has done lately.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use esf_proto::time::Instant;

use super::Limits;

const MINUTE: Duration = Duration::from_secs(60);
/// Addresses that a table of rates remembers, in each of its two halves.
pub(super) const HALF: usize = 32 * 1024;

/// What counts as one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressKey {
    /// One address.
    V4(Ipv4Addr),
    /// A /64: its first half.
    V6(u64),
}

impl AddressKey {
    /// The key of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
            }
        }
    }
}

/// What each address has open and has done lately. It holds one entry for each address with a connection, and a bounded
/// number of others: under a flood from very many addresses those that were quiet for the longest are forgotten.
#[derive(Debug, Default)]
pub struct Addresses {
    open: HashMap<AddressKey, usize>,
    logins: Rates,
    pre_queries: Rates,
}

impl Addresses {
    /// Counts one connection more, unless that is too many.
    #[must_use]
    pub fn connect(&mut self, limits: &Limits, key: AddressKey) -> bool {
        let open = self.open.entry(key).or_default();
        let most = limits.connections_per_address;
        // Where there is an entry there is a connection, so a refusal leaves none behind.
        if most > 0 && *open >= most {
            return false;
        }
        *open += 1;
        true
    }

    /// A connection that was counted is gone.
    pub fn disconnect(&mut self, key: AddressKey) {
        if let Some(open) = self.open.get_mut(&key) {
            *open -= 1;
            if *open == 0 {
                self.open.remove(&key);
            }
        }
    }

    /// Counts a login.
    ///
    /// # Errors
    /// It is one too many: how long to wait for the next.
    pub fn login(&mut self, now: Instant, limits: &Limits, key: AddressKey) -> Result<(), Duration> {
        self.logins.count(now, limits.logins_per_address, key)
    }

    /// Counts a query before login.
    ///
    /// # Errors
    /// It is one too many: how long to wait for the next.
    pub fn pre_query(&mut self, now: Instant, limits: &Limits, key: AddressKey) -> Result<(), Duration> {
        self.pre_queries.count(now, limits.pre_queries_per_address, key)
    }

    /// Addresses with a connection.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.open.len()
    }

    /// Addresses whose rates are remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.logins.len() + self.pre_queries.len()
    }
}

/// A bucket for each address: as many tokens as a minute's worth, which come back one by one. Of a bucket only the instant
/// is kept at which it is full again, so one that is full is none.
#[derive(Debug, Default)]
struct Rates {
    young: HashMap<AddressKey, Instant>,
    /// What was young when that half was full the last time.
    old: HashMap<AddressKey, Instant>,
}

impl Rates {
    fn count(&mut self, now: Instant, per_minute: u32, key: AddressKey) -> Result<(), Duration> {
        let Some(token) = MINUTE.checked_div(per_minute) else { return Ok(()) };
        let known = self.young.get(&key).copied().or_else(|| self.old.remove(&key));
        let full = known.unwrap_or(now).max(now) + token;
        if full > now + MINUTE {
            // It may have come from the old half.
            self.insert(now, key, known.unwrap_or(now));
            return Err(full.since(now + MINUTE));
        }
        self.insert(now, key, full);
        Ok(())
    }

    fn insert(&mut self, now: Instant, key: AddressKey, full: Instant) {
        if self.young.len() >= HALF && !self.young.contains_key(&key) {
            self.young.retain(|_, full| *full > now);
            // Otherwise the next few would look through all of them again.
            if self.young.len() > HALF / 2 {
                self.old = std::mem::take(&mut self.young);
            }
        }
        self.young.insert(key, full);
    }

    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}
