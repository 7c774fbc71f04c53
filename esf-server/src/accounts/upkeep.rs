//! What is done for the accounts while a server runs: changes of others are noticed, and the store stays ahead.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use esf_tokio::{Server, UserId};
use tracing::{info, warn};

use super::Shared;
use crate::store::{self, Problem, Store};

/// How often to look whether `esf user` has changed something.
const LOOK: Duration = Duration::from_millis(500);
/// How often the keys are looked after, and login numbers reserved.
const KEEP: Duration = Duration::from_secs(60);
/// How far ahead of the clock login numbers are reserved.
const AHEAD_MS: u64 = 10 * 60 * 1000;
/// By how much the reservation goes on at least, should the clock not: so many logins in a minute.
const STEP: u64 = 60_000;

/// What was noticed so far.
#[derive(Debug, Clone, Copy)]
struct Seen {
    commits: i64,
    version: u64,
}

/// Reserves login numbers above those of the server's earlier lives, and then watches for as long as the accounts are
/// used.
pub(super) async fn begin(accounts: &Arc<Shared>, server: &Server) -> Result<(), Problem> {
    let (seen, below) = accounts
        .store
        .run(|store| {
            let seen = Seen { commits: store.commits_of_others()?, version: store.last_change()? };
            let below = store.login_numbers_below()?;
            Ok((seen, below))
        })
        .await?;
    let from = below;
    let below = reserve(accounts, below).await?;
    server.reserve_login_numbers(from, below);
    tokio::spawn(watch(Arc::downgrade(accounts), server.clone(), seen));
    tokio::spawn(keep(Arc::downgrade(accounts), server.clone(), below));
    Ok(())
}

/// Logs off whose credentials were given up.
async fn watch(accounts: Weak<Shared>, server: Server, mut seen: Seen) {
    let mut failed = false;
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(accounts) = accounts.upgrade() else { return };
        let known = seen;
        match accounts.store.run(move |store| look(store, known)).await {
            Ok((now, changes)) => {
                failed = false;
                seen = now;
                for change in changes {
                    // Names in the store are names; one that is not has no login.
                    let Ok(user) = UserId::parse(&change.name, u8::MAX) else { continue };
                    info!(%user, "the credential was given up, which ends what it opened");
                    server.revoke(&user, change.version);
                }
            }
            Err(problem) if failed => tracing::debug!(%problem, "still no changes of accounts can be noticed"),
            Err(problem) => {
                failed = true;
                warn!(%problem, "changes of accounts are not noticed at present");
            }
        }
    }
}

/// What changed since.
fn look(store: &mut Store, seen: Seen) -> Result<(Seen, Vec<store::Change>), Problem> {
    let commits = store.commits_of_others()?;
    if commits == seen.commits {
        return Ok((seen, Vec::new()));
    }
    let changes = store.changes_after(seen.version)?;
    let version = changes.last().map_or(seen.version, |change| change.version);
    Ok((Seen { commits, version }, changes))
}

async fn keep(accounts: Weak<Shared>, server: Server, mut below: u64) {
    loop {
        tokio::time::sleep(KEEP).await;
        let Some(accounts) = accounts.upgrade() else { return };
        match reserve(&accounts, below).await {
            Ok(raised) => {
                below = raised;
                server.reserve_login_numbers(0, below);
            }
            Err(problem) => warn!(%problem, "login numbers cannot be reserved at present"),
        }
        let shared = accounts.clone();
        let kept = accounts.writer.run(move |store| shared.tickets.keep_keys(store, store::now_ms())).await;
        if let Err(problem) = kept {
            warn!(%problem, "the keys of tickets cannot be looked after at present");
        }
    }
}

/// Raises the number below which login numbers are drawn, before any of them is.
async fn reserve(accounts: &Shared, below: u64) -> Result<u64, Problem> {
    let raised = below.saturating_add(STEP).max(store::now_ms().saturating_add(AHEAD_MS));
    accounts.writer.run(move |store| store.set_login_numbers_below(raised).map(|()| raised)).await
}
