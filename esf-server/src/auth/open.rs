//! Everybody is let in, without a credential.

use esf_tokio::{Authenticator, Decision, LoginRequest};

use crate::{serve::Admins, store::Role};

/// Everybody is who they say they are, and those named have the rights of an admin.
#[derive(Clone)]
pub(crate) struct Open {
    admins: Admins,
}

impl Open {
    pub(super) fn new(admins: Admins) -> Self {
        Self { admins }
    }
}

impl Authenticator for Open {
    async fn authenticate(&self, login: LoginRequest) -> Decision {
        if self.admins.contains(&login.user) { Decision::accept_with(Role::Admin.rights()) } else { Decision::accept() }
    }
}
