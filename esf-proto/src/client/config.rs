//! What a client is told at its start.

use core::{fmt, time::Duration};

use bytes::Bytes;

use crate::{
    ids::{DeviceKind, InstanceId, UserId},
    login::CredentialKind,
};

/// The shortest and the longest heartbeat interval that a server takes (ESF-401).
const HEARTBEAT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// The longest time to live of a certain send, query or request (ESF-308).
pub const MAX_TTL: Duration = Duration::from_secs(300);

/// The settings of a client session, each with its default.
#[derive(Clone)]
pub struct Config {
    /// Who logs in.
    pub user: UserId,
    /// With what kind of device. A service by default.
    pub device: DeviceKind,
    /// What proves it. Nothing by default.
    pub credential: Credential,
    /// Free for the application; handed to the server's authenticator. Empty by default.
    pub system_token: Bytes,
    /// Asked once, on the first link and before the login; the answer is [`Event::PreReply`](super::Event::PreReply).
    pub pre_query: Option<PreQuery>,
    /// Whether others may send messages here. A one-shot command takes none. True by default.
    pub takes_messages: bool,
    /// The interval of the heartbeats, 1 s to 5 min; what is outside is cut to it. 5 s by default.
    pub heartbeat: Duration,
    /// How long a certain send may take if it names no time, at most [`MAX_TTL`]. 30 s by default.
    pub certain_timeout: Duration,
    /// How long a query or request may take if it names no time, at most [`MAX_TTL`]. 30 s by default.
    pub query_timeout: Duration,
    /// Bytes of frames that may wait to go out or to be counted by the server; the frames of open certain sends may
    /// have as much again. At least two of the largest frames. 2 MiB by default.
    pub budget: usize,
    /// Bytes of messages that the application's own queue takes, which is the driver's; here it bounds what volatile
    /// messages may hold. 256 KiB by default.
    pub queue: usize,
    /// How long a connection may take to be there. 10 s by default.
    pub connect_timeout: Duration,
    /// How long to wait between attempts.
    pub retry: Retry,
    /// Whether the session connects again by itself. True by default.
    pub reconnect: bool,
}

/// What proves that it is the user.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// What the bytes are.
    pub kind: CredentialKind,
    /// The credential, at most 4 KiB.
    pub bytes: Bytes,
}

/// A question before the login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreQuery {
    /// The application's number for what it asks.
    pub info_type: u32,
    /// The question, at most 8 KiB with its frame.
    pub body: Bytes,
}

/// Waits between attempts to connect: anything from zero to a limit that starts at `base`, doubles each time and ends
/// at a cap (ESF-602).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// The limit of the first wait. 200 ms by default.
    pub base: Duration,
    /// The largest limit while the server may still hold the session. 5 s by default.
    pub cap_resume: Duration,
    /// The largest limit after that. 30 s by default.
    pub cap: Duration,
}

/// What makes one session differ from another: drawn at random by whoever starts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed {
    /// This engine's life. Never used twice.
    pub instance: InstanceId,
    /// For the jitter of the waits between attempts.
    pub jitter: u64,
}

/// Why a configuration cannot log in anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Credential and system token do not fit into a login frame.
    #[error("the login frame would have more than {limit} bytes")]
    LoginTooLarge {
        /// The largest frame before login.
        limit: usize,
    },
    /// The question before login does not fit into a frame.
    #[error("the question before login would have more than {limit} bytes")]
    PreQueryTooLarge {
        /// The largest frame before login.
        limit: usize,
    },
}

impl Config {
    /// The defaults for `user`.
    #[must_use]
    pub fn new(user: UserId) -> Self {
        Self {
            user,
            device: DeviceKind::SERVICE,
            credential: Credential::NONE,
            system_token: Bytes::new(),
            pre_query: None,
            takes_messages: true,
            heartbeat: Duration::from_secs(5),
            certain_timeout: Duration::from_secs(30),
            query_timeout: Duration::from_secs(30),
            budget: 2 << 20,
            queue: 256 << 10,
            connect_timeout: Duration::from_secs(10),
            retry: Retry::default(),
            reconnect: true,
        }
    }

    /// Cuts every duration to the range that it must have.
    pub(super) fn within_limits(mut self) -> Self {
        self.heartbeat = self.heartbeat.clamp(HEARTBEAT.0, HEARTBEAT.1);
        self.certain_timeout = self.certain_timeout.min(MAX_TTL);
        self.query_timeout = self.query_timeout.min(MAX_TTL);
        self.connect_timeout = self.connect_timeout.max(Duration::from_millis(1));
        self
    }
}

impl Credential {
    /// No credential.
    pub const NONE: Self = Self { kind: CredentialKind::None, bytes: Bytes::new() };
}

impl Default for Retry {
    fn default() -> Self {
        Self { base: Duration::from_millis(200), cap_resume: Duration::from_secs(5), cap: Duration::from_secs(30) }
    }
}

/// Leaves out what may be secret.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("user", &self.user)
            .field("device", &self.device)
            .field("credential", &self.credential)
            .field("takes_messages", &self.takes_messages)
            .field("heartbeat", &self.heartbeat)
            .field("budget", &self.budget)
            .field("queue", &self.queue)
            .field("retry", &self.retry)
            .field("reconnect", &self.reconnect)
            .finish_non_exhaustive()
    }
}

/// Leaves the secret out.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("kind", &self.kind).finish_non_exhaustive()
    }
}
