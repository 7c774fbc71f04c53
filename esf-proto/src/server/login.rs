//! A login on its way: what the application is asked and answers, and the place that the login gets.

use alloc::string::String;
use core::{net::IpAddr, time::Duration};

use bytes::Bytes;

use crate::{
    failure::Failure,
    ids::{DeviceKind, Engine, InstanceId, UserId},
    login::{CredentialKind, ResumeSecret, Rights},
    time::UnixMillis,
    wire::Resume,
};

/// What the application is asked while a link logs in. At most one is open at a time.
#[derive(Debug)]
pub enum AppRequest {
    /// Whether this credential opens this account.
    Authenticate(LoginRequest),
    /// A query before login.
    PreQuery {
        /// The application's number for what it means.
        info_type: u32,
        /// Its body.
        body: Bytes,
    },
}

/// What an authenticator sees of a login.
#[derive(Clone)]
pub struct LoginRequest {
    /// Who wants to be logged in.
    pub user: UserId,
    /// With which device kind.
    pub device: DeviceKind,
    /// What kind of credential.
    pub credential_kind: CredentialKind,
    /// The credential.
    pub credential: Bytes,
    /// Free for the application.
    pub system_token: Bytes,
    /// The reconnect ticket of an earlier login, empty for none.
    pub ticket: Bytes,
    /// Whether a person or program logs in anew, rather than an engine by itself.
    pub interactive: bool,
    /// Where it comes from. The core does not know: a driver that does fills it in.
    pub address: Option<IpAddr>,
}

impl core::fmt::Debug for LoginRequest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { user, device, credential_kind, interactive, address, .. } = self;
        let mut fields = f.debug_struct("LoginRequest");
        fields.field("user", user).field("device", device).field("credential_kind", credential_kind);
        fields.field("interactive", interactive).field("address", address).finish_non_exhaustive()
    }
}

/// The application's answer.
#[derive(Debug)]
pub enum AppResponse {
    /// The credential is good.
    Accept(Accepted),
    /// The credential is refused.
    Refuse {
        /// Why, for people; at most 255 bytes are told.
        cause: String,
    },
    /// There is no time to check it now: the client is told to come back.
    Later {
        /// After how long.
        retry_after: Duration,
    },
    /// Whoever asks does so too often.
    TooOften {
        /// After how long it is not any more.
        retry_after: Duration,
    },
    /// The answer to a query before login.
    PreReply(Result<Bytes, Failure>),
}

/// What the application knows of a login whose credential is good.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// What the login may do.
    pub rights: Rights,
    /// Which of the user's credentials opened it: the application's own count, that goes up when it revokes the older
    /// ones. 0 where nothing is ever revoked.
    pub credential_version: u64,
    /// The login number that a ticket proved; `None` leaves the one that the client states (ESF-111).
    pub login_number: Option<u64>,
}

impl From<Rights> for Accepted {
    fn from(rights: Rights) -> Self {
        Self { rights, ..Self::default() }
    }
}

/// A login whose credential is good, for the hub to find its place.
#[derive(Debug, Clone)]
pub struct LoginClaim {
    /// Who.
    pub engine: Engine,
    /// The engine's attempt.
    pub attempt: u32,
    /// Whether it is an interactive login.
    pub interactive: bool,
    /// The login number of the engine's earlier login, 0 for none.
    pub login_number: u64,
    /// Whether it is a target for messages.
    pub takes_messages: bool,
    /// What it may do.
    pub rights: Rights,
    /// Which of the user's credentials opened it.
    pub credential_version: u64,
    /// The session to go on with.
    pub resume: Option<Resume>,
    /// The interval of its heartbeats.
    pub heartbeat: Duration,
}

/// The place that a login got: what its welcome says beside the settings.
#[derive(Debug, Clone)]
pub struct Placed {
    /// Counted frames that the server has received, if the session goes on; `None` if it is a new one.
    pub resumed: Option<u32>,
    /// What resumes the session from now on.
    pub secret: ResumeSecret,
    /// The session's login number.
    pub login_number: u64,
    /// This life of the server.
    pub server: InstanceId,
    /// The time of day; 0 is not told.
    pub wall: UnixMillis,
    /// What replaces the credential in later logins, empty for nothing. One above
    /// [`MAX_TICKET`](crate::wire::MAX_TICKET) is left out (ESF-111).
    pub ticket: Bytes,
}
