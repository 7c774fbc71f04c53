//! Who may log in: the ways to decide it, of which a server has one. `choose` says which the settings mean.

mod http;
mod open;
pub(crate) mod settings;
mod token;

use esf_tokio::{Authenticator, Bytes, Decision, LoginClaim, LoginRequest, Server, UserId};

use self::{http::Endpoint, open::Open, settings::Method, token::Tokens};
use crate::{
    accounts::Accounts,
    config::Settings,
    exit::{Code, Exit},
    serve::Admins,
};

/// Decides who may log in, in the way that the settings say. Clones decide alike.
#[derive(Clone)]
pub(crate) enum AnyAuthenticator {
    Open(Open),
    Accounts(Accounts),
    Token(Tokens),
    Http(Endpoint),
}

impl Authenticator for AnyAuthenticator {
    async fn authenticate(&self, login: LoginRequest) -> Decision {
        match self {
            Self::Open(open) => open.authenticate(login).await,
            Self::Accounts(accounts) => accounts.authenticate(login).await,
            Self::Token(tokens) => tokens.authenticate(login).await,
            Self::Http(endpoint) => endpoint.authenticate(login).await,
        }
    }

    fn ticket(&self, login: &LoginClaim, login_number: u64) -> Bytes {
        match self {
            Self::Open(open) => open.ticket(login, login_number),
            Self::Accounts(accounts) => accounts.ticket(login, login_number),
            // Whoever gives tokens, or answers for itself, says each time who may come back.
            Self::Token(_) | Self::Http(_) => Bytes::new(),
        }
    }

    fn kicked(&self, user: &UserId) {
        match self {
            Self::Open(open) => open.kicked(user),
            Self::Accounts(accounts) => accounts.kicked(user),
            Self::Token(_) | Self::Http(_) => {}
        }
    }
}

impl AnyAuthenticator {
    /// Takes from new settings, and reads again from its files, what a running server can. An error changes nothing and
    /// says why. It is not for another way to decide: that is for the next start.
    pub(crate) fn reload(&self, settings: &Settings) -> Result<(), String> {
        match self {
            // Its admins are told apart.
            Self::Open(_) | Self::Accounts(_) => Ok(()),
            Self::Token(tokens) => tokens.reload(&settings.auth.token),
            Self::Http(endpoint) => endpoint.reload(&settings.auth.http),
        }
    }

    /// Does what it has to do while a server runs. Called before the server listens.
    pub(crate) async fn attend(&self, server: &Server) -> Result<(), Exit> {
        match self {
            Self::Open(_) | Self::Token(_) | Self::Http(_) => Ok(()),
            Self::Accounts(accounts) => accounts.attend(server).await,
        }
    }
}

/// The one that the settings mean, ready to decide.
pub(crate) fn choose(settings: &Settings, admins: Admins) -> Result<AnyAuthenticator, Exit> {
    if settings.open {
        return Ok(AnyAuthenticator::Open(Open::new(admins)));
    }
    let wrong = |reason| Exit::new(Code::Misconfigured, reason);
    match settings.auth.method {
        Method::Accounts => Accounts::open(settings.data.path(), admins).map(AnyAuthenticator::Accounts),
        Method::Token => Tokens::new(&settings.auth.token, admins).map(AnyAuthenticator::Token).map_err(wrong),
        Method::Http => Endpoint::new(&settings.auth.http, admins).map(AnyAuthenticator::Http).map_err(wrong),
    }
}
