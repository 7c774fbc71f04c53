//! What can be set, with its defaults. Each field has its line in `esf.example.toml`.
//!
//! A table is a struct that is always there, and what may be absent is an `Option` in it, so that the defaults name every
//! key. Secrets stay in files of their own, of which a setting is the path: settings are printed.

use esf_tokio::{Admission, ForwardedHeader, ServerConfig, StoreLimits, UserId};
use serde::{Deserialize, Serialize};

use crate::auth::settings::Auth;

use super::{
    units::{Size, Time},
    values::{Directory, Level, Listen, Name, Range},
};

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) listen: Listen,
    pub(crate) open: bool,
    pub(crate) data: Directory,
    pub(crate) admins: Vec<Name>,
    pub(crate) allow_origins: Vec<String>,
    pub(crate) trusted_proxies: Vec<Range>,
    pub(crate) proxy_header: ProxyHeader,
    pub(crate) log: Log,
    pub(crate) auth: Auth,
    pub(crate) limits: Limits,
    pub(crate) store: Store,
    pub(crate) protocol: Protocol,
}

impl Settings {
    /// Whether a running server takes a new value of this key.
    pub(crate) fn takes_at_once(path: &str) -> bool {
        let keys = ["admins", "allow_origins", "trusted_proxies", "proxy_header", "log.level"];
        // Another method is for the next start; its keys and rules are not.
        let of_method = ["auth.token.", "auth.http."].iter().any(|table| path.starts_with(table));
        keys.contains(&path) || path.starts_with("limits.") || of_method
    }

    pub(crate) fn admins(&self) -> impl Iterator<Item = UserId> {
        self.admins.iter().map(|name| name.0.clone())
    }

    /// How much the store keeps, and for how long.
    pub(crate) fn store_limits(&self) -> StoreLimits {
        let mut limits = StoreLimits::default();
        limits.max_messages = self.store.max_messages;
        limits.max_age = self.store.max_age.0;
        limits.max_total = self.store.max_total.0;
        // Whoever may send a message again does so before its time is over and the session's window has passed.
        limits.keep_keys = self.protocol.max_ttl.0 + 2 * self.protocol.resume_window.0;
        limits
    }

    /// Who may connect, and how often.
    pub(crate) fn admission(&self) -> Admission {
        let mut admission = Admission::default();
        let Limits { connections, connections_per_address, logins_per_address, pre_queries_per_address } = self.limits;
        admission.limits.connections = connections;
        admission.limits.connections_per_address = connections_per_address;
        admission.limits.logins_per_address = logins_per_address;
        admission.limits.pre_queries_per_address = pre_queries_per_address;
        for origin in &self.allow_origins {
            admission.origins.allow(origin);
        }
        admission.proxies = self.trusted_proxies.iter().map(|range| range.0).collect();
        admission.header = match self.proxy_header {
            ProxyHeader::XForwardedFor => ForwardedHeader::XForwardedFor,
            ProxyHeader::Forwarded => ForwardedHeader::Forwarded,
        };
        admission
    }
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    pub(crate) level: Level,
    pub(crate) format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ProxyHeader {
    #[default]
    XForwardedFor,
    Forwarded,
}

/// Those of the library; the defaults too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    pub(crate) connections_per_address: usize,
    pub(crate) logins_per_address: u32,
    pub(crate) pre_queries_per_address: u32,
}

impl Default for Limits {
    fn default() -> Self {
        let limits = Admission::default().limits;
        Self {
            connections: limits.connections,
            connections_per_address: limits.connections_per_address,
            logins_per_address: limits.logins_per_address,
            pre_queries_per_address: limits.pre_queries_per_address,
        }
    }
}

/// How much is stored for those who are offline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Store {
    pub(crate) max_messages: usize,
    pub(crate) max_age: Time,
    pub(crate) max_total: Size,
}

impl Default for Store {
    fn default() -> Self {
        let limits = StoreLimits::default();
        Self { max_messages: limits.max_messages, max_age: Time(limits.max_age), max_total: Size(limits.max_total) }
    }
}

/// What the protocol leaves to a server. The defaults are those of the library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Protocol {
    pub(crate) max_frame: Size,
    pub(crate) max_blob: Size,
    pub(crate) max_user_id: u8,
    pub(crate) session_budget: Size,
    pub(crate) total_budget: Option<Size>,
    pub(crate) login_timeout: Time,
    pub(crate) resume_window: Time,
    pub(crate) silence: Time,
    pub(crate) max_ttl: Time,
    pub(crate) relogin: Relogin,
    pub(crate) quit_on_offline: bool,
}

/// What a second login of the same user and device kind does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Relogin {
    #[default]
    ReplaceOld,
    IgnoreNew,
}

impl Default for Protocol {
    fn default() -> Self {
        let config = ServerConfig::default();
        Self {
            max_frame: Size(config.max_frame.into()),
            max_blob: Size(config.max_blob),
            max_user_id: config.max_user_id,
            session_budget: Size(config.budget as u64),
            total_budget: None,
            login_timeout: Time(config.login_timeout),
            resume_window: Time(config.resume_window),
            silence: Time(config.liveness),
            max_ttl: Time(config.max_ttl),
            relogin: Relogin::default(),
            quit_on_offline: config.quit_on_offline,
        }
    }
}

impl Protocol {
    pub(crate) fn apply(&self, config: &mut ServerConfig) {
        config.max_frame = u32::try_from(self.max_frame.0).unwrap_or(u32::MAX);
        config.max_blob = self.max_blob.0;
        config.max_user_id = self.max_user_id;
        config.budget = bytes(self.session_budget);
        if let Some(total) = self.total_budget {
            config.global_budget = bytes(total);
        }
        config.login_timeout = self.login_timeout.0;
        config.resume_window = self.resume_window.0;
        config.liveness = self.silence.0;
        config.max_ttl = self.max_ttl.0;
        config.relogin = match self.relogin {
            Relogin::ReplaceOld => esf_tokio::Relogin::ReplaceOld,
            Relogin::IgnoreNew => esf_tokio::Relogin::IgnoreNew,
        };
        config.quit_on_offline = self.quit_on_offline;
    }
}

fn bytes(size: Size) -> usize {
    usize::try_from(size.0).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
