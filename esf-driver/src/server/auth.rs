//! The application's part in a login.

use std::time::Duration;

use bytes::Bytes;
use esf_proto::{failure::Failure, ids::UserId, login::Rights, server::AppResponse};

pub use esf_proto::server::{Accepted, LoginClaim, LoginRequest};

use crate::{node::Tickets, tasks::BoxFuture};

/// Decides who may log in. Also any `Fn(LoginRequest) -> impl Future<Output = Decision>`.
///
/// It runs in a task of its own and delays nobody else. A decision that takes longer than the login may take comes too
/// late. A costly check, such as that of a password hash, belongs on threads of its own.
pub trait Authenticator: Send + Sync + 'static {
    /// Decides about one login.
    fn authenticate(&self, login: LoginRequest) -> impl Future<Output = Decision> + Send;

    /// Makes the reconnect ticket for a login that got its place, opaque and of at most 512 bytes: later logins show it
    /// as [`LoginRequest::ticket`]. Empty for none, which is the default. Called while the login waits, so it is quick.
    fn ticket(&self, login: &LoginClaim, login_number: u64) -> Bytes {
        let _ = (login, login_number);
        Bytes::new()
    }

    /// A user was kicked out: tickets of theirs are to be good no more. Called once for each kick, so it is quick.
    fn kicked(&self, user: &UserId) {
        let _ = user;
    }
}

impl<F, R> Authenticator for F
where
    F: Fn(LoginRequest) -> R + Send + Sync + 'static,
    R: Future<Output = Decision> + Send,
{
    fn authenticate(&self, login: LoginRequest) -> impl Future<Output = Decision> + Send {
        self(login)
    }
}

/// Whether somebody may log in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// Yes.
    Accept(Accepted),
    /// No.
    Refuse {
        /// Why, for people. The same for an unknown user and a wrong password.
        cause: String,
    },
    /// There is no time to check it now.
    Later {
        /// When the client may try again.
        retry_after: Duration,
    },
}

impl Decision {
    /// Yes, with no rights beyond messaging.
    #[must_use]
    pub const fn accept() -> Self {
        Self::Accept(Accepted { rights: Rights::NONE, credential_version: 0, login_number: None })
    }

    /// Yes, with these rights.
    #[must_use]
    pub const fn accept_with(rights: Rights) -> Self {
        Self::Accept(Accepted { rights, credential_version: 0, login_number: None })
    }

    /// No, for this cause.
    #[must_use]
    pub fn refuse(cause: impl Into<String>) -> Self {
        Self::Refuse { cause: cause.into() }
    }
}

impl From<Decision> for AppResponse {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Accept(accepted) => Self::Accept(accepted),
            Decision::Refuse { cause } => Self::Refuse { cause },
            Decision::Later { retry_after } => Self::Later { retry_after },
        }
    }
}

/// An [`Authenticator`] behind a pointer.
pub(super) trait AnyAuthenticator: Send + Sync {
    fn authenticate(&self, login: LoginRequest) -> BoxFuture<'_, Decision>;
    fn ticket(&self, login: &LoginClaim, login_number: u64) -> Bytes;
    fn kicked(&self, user: &UserId);
}

impl<A: Authenticator> AnyAuthenticator for A {
    fn authenticate(&self, login: LoginRequest) -> BoxFuture<'_, Decision> {
        Box::pin(Authenticator::authenticate(self, login))
    }

    fn ticket(&self, login: &LoginClaim, login_number: u64) -> Bytes {
        Authenticator::ticket(self, login, login_number)
    }

    fn kicked(&self, user: &UserId) {
        Authenticator::kicked(self, user);
    }
}

impl Tickets for dyn AnyAuthenticator {
    fn ticket(&self, login: &LoginClaim, login_number: u64) -> Bytes {
        AnyAuthenticator::ticket(self, login, login_number)
    }

    fn kicked(&self, user: &UserId) {
        AnyAuthenticator::kicked(self, user);
    }
}

/// Answers queries before login.
pub(super) type PreQueryHandler = Box<dyn Fn(u32, Bytes) -> BoxFuture<'static, Result<Bytes, Failure>> + Send + Sync>;
