//! Accounts: who may log in because the store knows them.
//!
//! A login shows a reconnect ticket, which is checked at once, or a password, whose check is slow on purpose and has
//! threads of its own. What an unknown user gets is what a wrong password gets, after the same work.

mod first;
mod pool;
mod secret;
#[cfg(test)]
mod tests;
mod ticket;
mod upkeep;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use esf_tokio::{Accepted, Authenticator, Bytes, CredentialKind, Decision, LoginClaim, LoginRequest, Server, UserId};
use tracing::{error, info, warn};

pub(crate) use self::{
    first::make_first_admin,
    secret::{MAX_PASSWORD, PasswordError, Secret, hash},
};
use self::{
    pool::Pool,
    secret::{decoy, verify},
    ticket::Tickets,
};
use crate::{
    exit::{Code, Exit},
    serve::Admins,
    store::{self, Account, Problem, ServerLock, Store, Worker},
};

/// Costly checks that wait at the same time, beside those that run.
const WAITING: usize = 256;
/// What a login gets that is refused for what it shows: for an unknown user too.
const REFUSED: &str = "the name or the password is wrong";
const PASSWORD_NEEDED: &str = "this server wants a password";
/// When to try again while the store does not answer.
const STORE_AGAIN: Duration = Duration::from_secs(5);

/// Judges logins by the accounts of a store. Clones are the same.
#[derive(Clone)]
pub(crate) struct Accounts(Arc<Shared>);

struct Shared {
    /// Only reads, so that nobody who writes keeps a login waiting.
    store: Worker,
    writer: Worker,
    pool: Pool,
    tickets: Tickets,
    /// Checked in place of the hash that an unknown user does not have.
    decoy: String,
    /// Users that the settings give the rights of an admin, whatever their role.
    admins: Admins,
    /// Whether the store failed when it was asked last, so that the log has it once.
    failing: AtomicBool,
    /// No other server has the directory meanwhile.
    _lock: ServerLock,
}

impl Accounts {
    /// Takes the directory, and makes an admin if there is no account in it.
    pub(crate) fn open(directory: &Path, admins: Admins) -> Result<Self, Exit> {
        Self::open_with(directory, admins, pool::threads(), WAITING)
    }

    fn open_with(directory: &Path, admins: Admins, threads: usize, waiting: usize) -> Result<Self, Exit> {
        let problem = |problem: Problem| Exit::of_store(&problem);
        let lock = ServerLock::take(directory).map_err(problem)?;
        let mut store = Store::create(directory).map_err(problem)?;
        store.check().map_err(problem)?;
        let tickets = Tickets::default();
        tickets.keep_keys(&mut store, store::now_ms()).map_err(problem)?;
        make_first_admin(&mut store)?;
        let no_thread = |error| Exit::new(Code::Internal, format!("a thread cannot be started: {error}"));
        let pool = Pool::start(threads, waiting).map_err(no_thread)?;
        Ok(Self(Arc::new(Shared {
            store: Worker::start(Store::open(directory).map_err(problem)?).map_err(no_thread)?,
            writer: Worker::start(store).map_err(no_thread)?,
            pool,
            tickets,
            decoy: decoy().map_err(|error| Exit::internal(error.to_string()))?,
            admins,
            failing: AtomicBool::new(false),
            _lock: lock,
        })))
    }

    /// Does what is to be done while a server runs: before it listens.
    pub(crate) async fn attend(&self, server: &Server) -> Result<(), Exit> {
        upkeep::begin(&self.0, server).await.map_err(|problem| Exit::of_store(&problem))
    }
}

impl Authenticator for Accounts {
    async fn authenticate(&self, login: LoginRequest) -> Decision {
        if let Some(decision) = self.0.by_ticket(&login).await {
            return decision;
        }
        let secret = match login.credential_kind {
            CredentialKind::Password => Secret::of_password(&login.credential).ok(),
            CredentialKind::Md5Hex => Secret::of_md5hex(&login.credential),
            CredentialKind::None | CredentialKind::Token => return Decision::refuse(PASSWORD_NEEDED),
        };
        match secret {
            Some(secret) => self.0.by_password(&login, secret).await,
            // What no account can have needs no check, and says nothing about any.
            None => Decision::refuse(REFUSED),
        }
    }

    fn ticket(&self, login: &LoginClaim, login_number: u64) -> Bytes {
        let (engine, version) = (&login.engine, login.credential_version);
        self.0.tickets.make(&engine.user, engine.device, version, login_number, store::now_ms())
    }

    fn kicked(&self, user: &UserId) {
        let name = user.clone();
        let started = self.0.writer.start_job(move |store| {
            if let Err(problem) = store.give_up_tickets(&name) {
                error!(user = %name, %problem, "the tickets of a user who was kicked out stay good");
            }
        });
        if let Err(problem) = started {
            error!(%user, %problem, "the tickets of a user who was kicked out stay good");
        }
    }
}

impl Shared {
    /// `None`: there is no good ticket.
    async fn by_ticket(&self, login: &LoginRequest) -> Option<Decision> {
        let proof = self.tickets.check(&login.ticket, &login.user, login.device, store::now_ms())?;
        match self.account(&login.user).await {
            Ok(account) => account
                .filter(|account| account.version == proof.version)
                .map(|account| self.accept(&login.user, &account, Some(proof.login_number))),
            Err(problem) => Some(self.unavailable(login, &problem)),
        }
    }

    async fn by_password(&self, login: &LoginRequest, secret: Secret) -> Decision {
        let Some(place) = self.pool.reserve() else {
            return Decision::Later { retry_after: self.pool.wait() };
        };
        let account = match self.account(&login.user).await {
            Ok(account) => account,
            Err(problem) => return self.unavailable(login, &problem),
        };
        let hash = account.as_ref().map_or_else(|| self.decoy.clone(), |account| account.password.clone());
        let good = place.run(move |memory| verify(&secret, &hash, memory)).await;
        match account {
            Some(account) if good == Some(true) => self.accept(&login.user, &account, None),
            _ if good.is_none() => Decision::Later { retry_after: self.pool.wait() },
            _ => Decision::refuse(REFUSED),
        }
    }

    async fn account(&self, name: &UserId) -> Result<Option<Account>, Problem> {
        let asked = name.clone();
        let found = self.store.run(move |store| store.account(&asked)).await;
        if found.is_ok() && self.failing.swap(false, Ordering::Relaxed) {
            info!("the store answers again");
        }
        found
    }

    fn accept(&self, user: &UserId, account: &Account, login_number: Option<u64>) -> Decision {
        let mut rights = account.role.rights();
        if self.admins.contains(user) {
            rights = rights.with(store::Role::Admin.rights());
        }
        Decision::Accept(Accepted { rights, credential_version: account.version, login_number })
    }

    /// Somebody who waits for an answer gets one; an engine that comes back by itself shall go on trying.
    fn unavailable(&self, login: &LoginRequest, problem: &Problem) -> Decision {
        if !self.failing.swap(true, Ordering::Relaxed) {
            warn!(%problem, "nobody can be logged in by the store");
        }
        if login.interactive {
            Decision::refuse("the server cannot read its accounts at present; try again later, or tell who runs it")
        } else {
            Decision::Later { retry_after: STORE_AGAIN }
        }
    }
}
