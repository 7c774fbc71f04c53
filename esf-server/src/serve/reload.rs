//! SIGHUP: the settings are read again, and what can change in a running server does.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
};

use esf_tokio::{Server, UserId};
use serde_json::Value;
use tracing::{error, info, warn};

use super::{descriptors, log::LogControl};
use crate::{
    auth::AnyAuthenticator,
    config::{self, Settings, Sources},
};

/// Those with the rights of an admin.
#[derive(Debug, Clone, Default)]
pub(crate) struct Admins(Arc<RwLock<BTreeSet<UserId>>>);

impl Admins {
    pub(crate) fn contains(&self, user: &UserId) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(user)
    }

    pub(super) fn set(&self, admins: impl IntoIterator<Item = UserId>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = admins.into_iter().collect();
    }
}

/// What of a running server can change.
pub(super) struct Running {
    pub(super) server: Server,
    pub(super) authenticator: AnyAuthenticator,
    pub(super) admins: Admins,
    pub(super) log: LogControl,
}

impl Running {
    /// Makes the settings count that can.
    fn apply(&self, settings: &Settings) {
        self.server.set_admission(settings.admission());
        self.admins.set(settings.admins());
        self.log.set(&settings.log.level);
    }
}

/// Reads the settings again when it is asked to.
pub(super) struct Reload {
    sources: Sources,
    /// The values that count now.
    values: BTreeMap<String, Value>,
    running: Running,
}

impl Reload {
    pub(super) fn new(sources: Sources, settings: &Settings, running: Running) -> Self {
        Self { sources, values: config::leaves(settings), running }
    }

    /// A file that is wrong changes nothing.
    pub(super) fn reload(&mut self) {
        let loaded = match self.sources.load() {
            Ok(loaded) => loaded,
            Err(problem) => {
                error!(%problem, "the settings cannot be used and stay as they were");
                return;
            }
        };
        if let Err(reason) = self.running.authenticator.reload(&loaded.settings) {
            error!(reason, "the settings cannot be used and stay as they were");
            return;
        }
        for warning in &loaded.warnings {
            warn!("{warning}");
        }
        let mut changed = 0;
        for (key, value) in config::leaves(&loaded.settings) {
            let counts = self.values.get(&key).unwrap_or(&Value::Null);
            if *counts == value {
                continue;
            }
            if key == "limits.connections" {
                descriptors::raise(loaded.settings.limits.connections);
            }
            if Settings::takes_at_once(&key) {
                info!(key, from = %counts, to = %value, "a setting has changed");
                self.values.insert(key, value);
                changed += 1;
            } else {
                warn!(key, from = %counts, to = %value, "this setting changes when the server is started again");
            }
        }
        self.running.apply(&loaded.settings);
        info!(changed, "the settings were read again");
    }
}
