//! Who and what: the small value types that name things.

use alloc::sync::Arc;
use core::{borrow::Borrow, fmt, ops::Deref};

/// A user's name: 1 to 255 bytes of case-sensitive UTF-8, cheap to clone.
///
/// A server may allow less (`max_user_id`) and reserves a leading `_` for services; both are checked where a user
/// logs in, by [`UserId::parse`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(Arc<str>);

/// Why a text is no user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UserIdError {
    /// There is nothing in it.
    #[error("the user name is empty")]
    Empty,
    /// It has more bytes than this server or the protocol allows.
    #[error("the user name has more than {limit} bytes")]
    TooLong {
        /// The largest number of bytes allowed.
        limit: u8,
    },
    /// It starts with `_`, which is kept for services.
    #[error("a user name that starts with `_` is reserved")]
    Reserved,
}

impl UserId {
    /// Takes `name` as a user's name if it has 1 to `max_len` bytes and is not reserved.
    ///
    /// # Errors
    /// [`UserIdError`] says which rule it breaks.
    pub fn parse(name: &str, max_len: u8) -> Result<Self, UserIdError> {
        if name.is_empty() {
            Err(UserIdError::Empty)
        } else if name.len() > usize::from(max_len) {
            Err(UserIdError::TooLong { limit: max_len })
        } else if name.starts_with('_') {
            Err(UserIdError::Reserved)
        } else {
            Ok(Self(name.into()))
        }
    }

    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether nobody else has this copy of the name.
    pub(crate) fn is_unshared(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl Deref for UserId {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for UserId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A group's id: 1 to 255 bytes of case-sensitive UTF-8, cheap to clone. One that starts with `~` is that of a dynamic
/// group, which its members make and which lives in memory only; the others are the store's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(Arc<str>);

/// Why a text is no id of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupIdError {
    /// There is nothing in it.
    #[error("the group id is empty")]
    Empty,
    /// It has more than 255 bytes.
    #[error("the group id has more than 255 bytes")]
    TooLong,
}

impl GroupId {
    /// Takes `id` as a group's id if it has 1 to 255 bytes.
    ///
    /// # Errors
    /// [`GroupIdError`] says which rule it breaks.
    pub fn parse(id: &str) -> Result<Self, GroupIdError> {
        if id.is_empty() {
            Err(GroupIdError::Empty)
        } else if id.len() > usize::from(u8::MAX) {
            Err(GroupIdError::TooLong)
        } else {
            Ok(Self(id.into()))
        }
    }

    /// The id itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is that of a dynamic group.
    #[must_use]
    pub fn is_dynamic(&self) -> bool {
        self.0.starts_with('~')
    }
}

impl Deref for GroupId {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for GroupId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What kind of device a login comes from; a user is online once per kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceKind(pub u8);

impl DeviceKind {
    /// A desktop program.
    pub const DESKTOP: Self = Self(0);
    /// A page in a browser.
    pub const BROWSER: Self = Self(1);
    /// A phone.
    pub const PHONE: Self = Self(2);
    /// A tablet.
    pub const TABLET: Self = Self(3);
    /// A program that serves others.
    pub const SERVICE: Self = Self(4);
    /// A command line.
    pub const COMMAND_LINE: Self = Self(5);

    /// Kinds 6 to 15 are kept for later versions; 16 to 255 are the application's.
    #[must_use]
    pub const fn is_reserved(self) -> bool {
        matches!(self.0, 6..=15)
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One client's life in one process or page: 64 bits drawn at random at its start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub u64);

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One transport connection, numbered by whoever opened or accepted it. Never used twice in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// One login at a server. Never used twice in a server's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// The number of a certain send, query or request; counts up within an engine's life, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub u64);

/// An engine: who sends, with which device, in which life of it. Acks, replies and failures are addressed to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Engine {
    /// The user.
    pub user: UserId,
    /// The device kind of the login.
    pub device: DeviceKind,
    /// The engine's life.
    pub instance: InstanceId,
}

/// Where something came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The server (or its application), in one of its lives.
    Server(InstanceId),
    /// A user's engine.
    Engine(Engine),
}

impl Source {
    /// The user, or `None` for the server.
    #[must_use]
    pub fn user(&self) -> Option<&UserId> {
        match self {
            Self::Server(_) => None,
            Self::Engine(engine) => Some(&engine.user),
        }
    }
}

/// Where a message, query or ping goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum To {
    /// The server's application.
    Server,
    /// A user: all devices for messages, the most recently logged on for queries.
    User(UserId),
    /// One device of a user.
    Device(UserId, DeviceKind),
}

#[cfg(test)]
mod tests;
