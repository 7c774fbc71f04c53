//! Settings that are each right and contradict each other.

use std::net::SocketAddr;

use super::{Layers, Problem, Settings, settings::ProxyHeader};
use crate::cli::DEFAULT_ADDRESS;

/// Refuses the first pair that contradicts itself.
pub(super) fn check(settings: &Settings, layers: &Layers) -> Result<(), Problem> {
    let said = |path: &str| layers.origin(path).is_some();
    let limits = &settings.limits;

    let address: Option<SocketAddr> = settings.listen.as_str().parse().ok();
    if let Some(address) = address.filter(|address| settings.open && !address.ip().is_loopback()) {
        return Err(of(layers, "listen", "open", open_to_strangers(address)).dangerous());
    }
    let per_address = "limits.connections_per_address";
    // Who lowers one of the two alone wants just that, and means no more by the other's default.
    if said(per_address) && said("limits.connections") && over(limits.connections_per_address, limits.connections) {
        let reason = "one address may have more connections than all together; lower this limit, or raise that";
        return Err(of(layers, per_address, "limits.connections", reason));
    }
    if settings.proxy_header != ProxyHeader::default() && settings.trusted_proxies.is_empty() {
        let reason = "no proxy is trusted, so nobody reads this header; name the proxies, or leave it out";
        return Err(of(layers, "proxy_header", "trusted_proxies", reason));
    }
    Ok(())
}

/// Why a server that is open to all does not listen there.
pub(crate) fn open_to_strangers(address: SocketAddr) -> String {
    format!(
        "with --open everybody who reaches {address} could log in under any name; \
         listen on this machine only, as with --listen {DEFAULT_ADDRESS}"
    )
}

/// Whether a limit is over another; 0 is none.
fn over(limit: usize, other: usize) -> bool {
    other > 0 && (limit == 0 || limit > other)
}

/// A problem about a key, with where the other one comes from.
fn of(layers: &Layers, key: &str, other: &str, reason: impl std::fmt::Display) -> Problem {
    let from = layers.origin(other).map_or_else(|| "by default".to_owned(), ToString::to_string);
    Problem::about(key, layers.origin(key), format!("{reason} ({other}: {from})"))
}
