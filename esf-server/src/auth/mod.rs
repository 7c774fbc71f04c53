//! Who may log in: the ways to decide it, of which a server has one. `choose` says which the settings mean.

mod open;

use esf_tokio::{Authenticator, Decision, LoginRequest};

use self::open::Open;
use crate::{
    config::Settings,
    exit::{Code, Exit},
    serve::Admins,
};

/// Decides who may log in, in the way that the settings say. Clones decide alike.
#[derive(Clone)]
pub(crate) enum AnyAuthenticator {
    Open(Open),
}

impl Authenticator for AnyAuthenticator {
    async fn authenticate(&self, login: LoginRequest) -> Decision {
        match self {
            Self::Open(open) => open.authenticate(login).await,
        }
    }
}

impl AnyAuthenticator {
    /// Takes from new settings, and reads again from its files, what a running server can. An error changes nothing and
    /// says why. It is not for another way to decide: that is for the next start.
    pub(crate) fn reload(&self, _settings: &Settings) -> Result<(), String> {
        match self {
            // Its admins are told apart.
            Self::Open(_) => Ok(()),
        }
    }
}

/// The one that the settings mean, ready to decide.
pub(crate) fn choose(settings: &Settings, admins: Admins) -> Result<AnyAuthenticator, Exit> {
    if settings.open {
        return Ok(AnyAuthenticator::Open(Open::new(admins)));
    }
    Err(Exit::new(
        Code::WillNotServe,
        "a server that checks who logs in needs accounts, which this version does not have; \
         `esf serve --open` lets everybody in who is on this machine",
    ))
}
