//! The application's part in a login.

use std::time::Duration;

use bytes::Bytes;
use esf_proto::{failure::Failure, login::Rights, server::AppResponse};

pub use esf_proto::server::LoginRequest;

use crate::runtime::BoxFuture;

/// Decides who may log in. Also any `Fn(LoginRequest) -> impl Future<Output = Decision>`.
///
/// It runs in a task of its own and delays nobody else. A decision that takes longer than the login may take comes too
/// late. A costly check, such as that of a password hash, belongs on threads of its own.
pub trait Authenticator: Send + Sync + 'static {
    /// Decides about one login.
    fn authenticate(&self, login: LoginRequest) -> impl Future<Output = Decision> + Send;
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
    Accept {
        /// What the login may do beyond messaging.
        rights: Rights,
    },
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
        Self::Accept { rights: Rights::NONE }
    }

    /// Yes, with these rights.
    #[must_use]
    pub const fn accept_with(rights: Rights) -> Self {
        Self::Accept { rights }
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
            Decision::Accept { rights } => Self::Accept { rights },
            Decision::Refuse { cause } => Self::Refuse { cause },
            Decision::Later { retry_after } => Self::Later { retry_after },
        }
    }
}

/// An [`Authenticator`] behind a pointer.
pub(super) trait AnyAuthenticator: Send + Sync {
    fn authenticate(&self, login: LoginRequest) -> BoxFuture<'_, Decision>;
}

impl<A: Authenticator> AnyAuthenticator for A {
    fn authenticate(&self, login: LoginRequest) -> BoxFuture<'_, Decision> {
        Box::pin(Authenticator::authenticate(self, login))
    }
}

/// Answers queries before login.
pub(super) type PreQueryHandler = Box<dyn Fn(u32, Bytes) -> BoxFuture<'static, Result<Bytes, Failure>> + Send + Sync>;
