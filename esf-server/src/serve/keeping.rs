//! Where a server keeps contacts, groups, and messages for those who are away.

use std::sync::Arc;

use esf_tokio::{MemoryStore, Server, ServerBuilder};
use tracing::info;

use crate::{
    auth::settings::Method,
    config::Loaded,
    exit::Exit,
    store::{Problem, ServerLock, SqliteStore, Users},
};

/// What all messages in memory take together at most, unless the settings say it.
const IN_MEMORY: u64 = 64 << 20;

/// The store of a server, in its directory or in memory. To be kept for as long as the server runs.
pub(super) enum Keeping {
    /// With the right to the directory, unless somebody else here has it.
    Directory {
        store: Arc<SqliteStore>,
        _lock: Option<ServerLock>,
    },
    Memory(MemoryStore),
}

impl Keeping {
    /// In the directory; only a server that is open and was told of none keeps everything in memory, so that a trial
    /// leaves nothing behind. Called after the one who decides about logins is there, who may have the directory already.
    pub(super) fn choose(loaded: &Loaded) -> Result<Self, Exit> {
        let settings = &loaded.settings;
        let mut limits = settings.store_limits();
        let said = |path| loaded.layers.origin(path).is_some();
        if settings.open && !said("data") {
            if !said("store.max_total") {
                limits.max_total = IN_MEMORY;
            }
            return Ok(Self::Memory(MemoryStore::open(limits)));
        }
        let accounts = !settings.open && settings.auth.method == Method::Accounts;
        let users = if accounts { Users::Accounts } else { Users::Everybody };
        let open = || -> Result<Self, Problem> {
            let lock = if accounts { None } else { Some(ServerLock::take(settings.data.path())?) };
            Ok(Self::Directory {
                store: Arc::new(SqliteStore::open(settings.data.path(), limits, users)?),
                _lock: lock,
            })
        };
        open().map_err(|problem| Exit::of_store(&problem))
    }

    pub(super) fn give_to(&self, builder: ServerBuilder) -> ServerBuilder {
        match self {
            Self::Directory { store, .. } => builder.store(store.clone()),
            Self::Memory(store) => builder.store(store.clone()),
        }
    }

    /// Tells the server whose contacts or groups are changed by others: by `esf contact` and `esf group`.
    pub(super) fn watch(&self, server: &Server) -> Result<(), Exit> {
        match self {
            Self::Directory { store, .. } => {
                let server = server.clone();
                let changed = move |user| {
                    info!(%user, "the contacts or groups are others");
                    server.relations_changed(&user);
                };
                store.watch_relations(changed).map_err(|problem| Exit::of_store(&problem))
            }
            // There is nobody else.
            Self::Memory(_) => Ok(()),
        }
    }

    /// What whoever starts the server is to know.
    pub(super) fn told(&self) -> Option<&'static str> {
        match self {
            Self::Directory { .. } => None,
            Self::Memory(_) => Some(
                "contacts, groups and stored messages are kept in memory, where `esf contact` and `esf group` do not \
                 reach; `--data DIR` keeps them on the disk",
            ),
        }
    }
}
