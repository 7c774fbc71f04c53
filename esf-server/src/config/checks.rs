//! What no type says: ranges, and settings that are each right and contradict each other.

use std::{net::SocketAddr, time::Duration};

use super::{
    Layers, Problem, Settings,
    settings::ProxyHeader,
    units::{Size, Time},
};
use crate::{auth::settings::Method, cli::DEFAULT_ADDRESS};

/// Refuses the first that cannot be.
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
    check_auth(settings, layers)?;
    check_protocol(settings, layers)
}

fn check_auth(settings: &Settings, layers: &Layers) -> Result<(), Problem> {
    let auth = &settings.auth;
    let missing = |path: &str, reason: &str| Err(of(layers, path, "auth.method", reason));
    if settings.open && auth.method != Method::Accounts {
        return missing("open", "an open server asks nobody who may log in; leave out one of the two");
    }
    match auth.method {
        Method::Token if !auth.token.has_key() => {
            missing("auth.method", "tokens need a key: set jwks, hs256_secret, eddsa_key or rs256_key in [auth.token]")
        }
        Method::Token if auth.token.audience.is_none() => {
            missing("auth.method", "tokens need an audience: set audience in [auth.token]")
        }
        Method::Http => match &auth.http.url {
            None => missing("auth.method", "somebody has to be asked: set url in [auth.http]"),
            Some(url) if !url.starts_with("http://") => {
                missing("auth.http.url", "it has to begin with http://; for https let a local proxy speak TLS")
            }
            Some(_) => Ok(()),
        },
        _ => Ok(()),
    }
}

fn check_protocol(settings: &Settings, layers: &Layers) -> Result<(), Problem> {
    let protocol = &settings.protocol;
    let outside = |path: &str, range: &str| Err(Problem::about(path, layers.origin(path), format!("it is {range}")));
    if !(Size(8 << 10)..=Size(1 << 30)).contains(&protocol.max_frame) {
        return outside("protocol.max_frame", "8 KiB to 1 GiB");
    }
    if protocol.max_user_id == 0 {
        return outside("protocol.max_user_id", "1 to 255");
    }
    if !(Time(Duration::from_secs(1))..=Time(Duration::from_secs(3600))).contains(&protocol.login_timeout) {
        return outside("protocol.login_timeout", "1 s to 1 h");
    }
    if protocol.resume_window > Time(Duration::from_secs(86_400)) {
        return outside("protocol.resume_window", "24 h at most");
    }
    let (budget, max_frame) = ("protocol.session_budget", "protocol.max_frame");
    // Alone, a large frame raises the budget of a session to what it needs.
    let both = layers.origin(budget).is_some() && layers.origin(max_frame).is_some();
    if both && protocol.session_budget.0 < 2 * protocol.max_frame.0 {
        let reason = "a session has to hold at least two of the largest frames; raise this, or lower that";
        return Err(of(layers, budget, max_frame, reason));
    }
    if protocol.total_budget.is_some_and(|total| total < protocol.session_budget) {
        let reason = "all sessions together may hold less than one alone; raise this, or lower that";
        return Err(of(layers, "protocol.total_budget", budget, reason));
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
