//! Who may log in: the ways to decide it, of which a server has one. `choose` says which the settings mean.

mod open;

use esf_tokio::{Authenticator, Bytes, Decision, LoginClaim, LoginRequest, Server, UserId};

use self::open::Open;
use crate::{accounts::Accounts, config::Settings, exit::Exit, serve::Admins};

/// Decides who may log in, in the way that the settings say. Clones decide alike.
#[derive(Clone)]
pub(crate) enum AnyAuthenticator {
    Open(Open),
    Accounts(Accounts),
}

impl Authenticator for AnyAuthenticator {
    async fn authenticate(&self, login: LoginRequest) -> Decision {
        match self {
            Self::Open(open) => open.authenticate(login).await,
            Self::Accounts(accounts) => accounts.authenticate(login).await,
        }
    }

    fn ticket(&self, login: &LoginClaim, login_number: u64) -> Bytes {
        match self {
            Self::Open(open) => open.ticket(login, login_number),
            Self::Accounts(accounts) => accounts.ticket(login, login_number),
        }
    }

    fn kicked(&self, user: &UserId) {
        match self {
            Self::Open(open) => open.kicked(user),
            Self::Accounts(accounts) => accounts.kicked(user),
        }
    }
}

impl AnyAuthenticator {
    /// Takes from new settings, and reads again from its files, what a running server can. An error changes nothing and
    /// says why. It is not for another way to decide: that is for the next start.
    pub(crate) fn reload(&self, _settings: &Settings) -> Result<(), String> {
        match self {
            // Its admins are told apart.
            Self::Open(_) | Self::Accounts(_) => Ok(()),
        }
    }

    /// Does what it has to do while a server runs. Called before the server listens.
    pub(crate) async fn attend(&self, server: &Server) -> Result<(), Exit> {
        match self {
            Self::Open(_) => Ok(()),
            Self::Accounts(accounts) => accounts.attend(server).await,
        }
    }
}

/// The one that the settings mean, ready to decide.
pub(crate) fn choose(settings: &Settings, admins: Admins) -> Result<AnyAuthenticator, Exit> {
    if settings.open {
        return Ok(AnyAuthenticator::Open(Open::new(admins)));
    }
    Accounts::open(settings.data.path(), admins).map(AnyAuthenticator::Accounts)
}
