//! Who comes in: the limits that count, and the connections and attempts that they count.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use esf_proto::{server::AppRequest, time::Instant, wire::SUBPROTOCOL};

use super::{Path, Shared, lock};
use crate::{
    admission::{AddressKey, Addresses, Admission},
    http::{Rules, client_behind},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) address: Option<IpAddr>,
    /// What its limits count by; `None` for one without limits of its own.
    key: Option<AddressKey>,
}

impl Client {
    /// The other side of the connection itself. This machine is not limited.
    fn of_peer(peer: IpAddr) -> Self {
        let peer = peer.to_canonical();
        Self { address: Some(peer), key: (!peer.is_loopback()).then(|| AddressKey::of(peer)) }
    }

    /// Somebody whom a proxy brings, wherever that is.
    fn behind_proxy(address: IpAddr) -> Self {
        Self { address: Some(address), key: Some(AddressKey::of(address)) }
    }
}

/// The settings that may change while a server runs, and what is counted against them.
pub(super) struct Door {
    settled: RwLock<Arc<Settled>>,
    addresses: Mutex<Addresses>,
    connections: AtomicUsize,
    /// Whether the log has it that a proxy named nobody.
    told_of_proxy: AtomicBool,
}

/// What counts at one time.
pub(super) struct Settled {
    pub(super) admission: Admission,
    pub(super) rules: Rules<Path>,
}

impl From<Admission> for Settled {
    fn from(admission: Admission) -> Self {
        let rules = Rules { paths: vec![("/", SUBPROTOCOL, Path::Esf)], origins: admission.origins.clone() };
        Self { admission, rules }
    }
}

impl Settled {
    /// Whether the word of `peer` on whom it brings counts.
    pub(super) fn trusts(&self, peer: SocketAddr) -> bool {
        self.admission.proxies.iter().any(|network| network.contains(peer.ip()))
    }
}

impl Door {
    pub(super) fn new(admission: Admission) -> Self {
        Self {
            settled: RwLock::new(Arc::new(admission.into())),
            addresses: Mutex::default(),
            connections: AtomicUsize::new(0),
            told_of_proxy: AtomicBool::new(false),
        }
    }

    pub(super) fn settled(&self) -> Arc<Settled> {
        self.settled.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, admission: Admission) {
        *self.settled.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(admission.into());
        self.told_of_proxy.store(false, Ordering::Relaxed);
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// A connection that counts while it is there.
pub(super) struct Connection {
    shared: Arc<Shared>,
    key: Option<AddressKey>,
}

impl Connection {
    /// Counts one more, and says whether that is too many.
    pub(super) fn enter(shared: &Arc<Shared>) -> (Self, bool) {
        let before = shared.door.connections.fetch_add(1, Ordering::SeqCst);
        let most = shared.door.settled().admission.limits.connections;
        (Self { shared: shared.clone(), key: None }, most > 0 && before >= most)
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Counts it for its client as well, unless that is too many.
    pub(super) fn count_for(&mut self, client: Client) -> bool {
        let Some(key) = client.key else { return true };
        let door = &self.shared.door;
        let fits = lock(&door.addresses).connect(&door.settled().admission.limits, key);
        self.key = fits.then_some(key);
        fits
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Shared { door, state, .. } = &*self.shared;
        if let Some(key) = self.key {
            lock(&door.addresses).disconnect(key);
        }
        door.connections.fetch_sub(1, Ordering::SeqCst);
        state.changed.notify();
    }
}

impl Shared {
    /// Who is behind a connection, as far as that is known before anything came on it; `None` if the peer is a proxy,
    /// which will tell.
    pub(super) fn client_of(&self, from: Option<SocketAddr>) -> Option<Client> {
        match from {
            Some(peer) if self.door.settled().trusts(peer) => None,
            Some(peer) => Some(Client::of_peer(peer.ip())),
            None => Some(Client::default()),
        }
    }

    /// Who is behind the proxy `peer`, by the head of the request.
    pub(super) fn client_by_proxy(&self, peer: SocketAddr, head: &[u8]) -> Client {
        let settled = self.door.settled();
        let Admission { header, proxies, .. } = &settled.admission;
        if let Some(address) = client_behind(head, *header, proxies) {
            return Client::behind_proxy(address);
        }
        self.state.counters.proxies_silent.fetch_add(1, Ordering::Relaxed);
        if !self.door.told_of_proxy.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %peer, ?header,
                "a trusted proxy does not say in this header whom it brings, so all it brings count as one address"
            );
        }
        Client::of_peer(peer.ip())
    }

    /// Whether this client asks the application too often: how long it has to wait then.
    pub(super) fn asks_too_often(&self, now: Instant, client: Client, request: &AppRequest) -> Option<Duration> {
        let key = client.key?;
        let limits = self.door.settled().admission.limits;
        let mut addresses = lock(&self.door.addresses);
        let (counted, counter) = match request {
            AppRequest::Authenticate(_) => (addresses.login(now, &limits, key), &self.state.counters.logins_too_often),
            AppRequest::PreQuery { .. } => {
                (addresses.pre_query(now, &limits, key), &self.state.counters.pre_queries_too_often)
            }
        };
        let wait = counted.err()?;
        counter.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(address = ?client.address, ?wait, "a login or a query before it came too soon");
        Some(wait)
    }
}

#[cfg(all(test, feature = "async"))]
mod tests;
