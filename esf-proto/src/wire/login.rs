//! The two long frames: a login and its result.

use core::fmt;

use super::{DecodeError, EncodeError, LoginBits, VERSION, codec::Reader, codec::Sink};
use crate::{
    ids::{DeviceKind, InstanceId},
    login::{CredentialKind, LoginCode, Mode, ResumeSecret, Rights},
};

/// The most bytes of a reconnect ticket (ESF-111).
pub const MAX_TICKET: usize = 512;

/// Opens a session or resumes one (ESF-101).
///
/// Layout: u16 version, u64 instance, u32 attempt, u8 [bits](LoginBits), u8 device, u32 heartbeat_ms, u64
/// login_number, str8 user, u8 credential kind, bytes16 credential, bytes16 system_token, bytes16 ticket, u8 resume;
/// if resume is 1: 16 bytes secret, u32 received. The version is always [`VERSION`]: another is
/// [`DecodeError::Version`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Login<'a> {
    /// The engine's life.
    pub instance: InstanceId,
    /// Counts up with each login of the instance (ESF-104).
    pub attempt: u32,
    /// A login by hand, until the engine's first success.
    pub interactive: bool,
    /// Whether messages may be addressed to it.
    pub takes_messages: bool,
    /// The device.
    pub device: DeviceKind,
    /// The interval of its heartbeats in milliseconds (ESF-401).
    pub heartbeat_ms: u32,
    /// The login number of an earlier welcome, 0 for none (ESF-112).
    pub login_number: u64,
    /// The user's name. The wire allows 0 to 255 bytes; what the server allows, it checks itself.
    pub user: &'a str,
    /// What proves that it is the user.
    pub credential: Credential<'a>,
    /// Free for the application.
    pub system_token: &'a [u8],
    /// The ticket of an earlier welcome, empty for none; at most [`MAX_TICKET`] bytes.
    pub ticket: &'a [u8],
    /// The session to go on with.
    pub resume: Option<Resume>,
}

/// What proves that a login is the user's. Its bytes are never printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Credential<'a> {
    /// What the bytes are.
    pub kind: CredentialKind,
    /// The credential.
    pub bytes: &'a [u8],
}

/// Which session to go on with, and from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume {
    /// The secret of the session's last welcome.
    pub secret: ResumeSecret,
    /// Counted frames that the client has received in this session, modulo 2^32.
    pub received: u32,
}

/// Answers a login (ESF-105).
///
/// Layout: u8 result, str16 cause (empty on success), then on success the [`Welcome`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginResult<'a> {
    /// Result 0.
    Succeed(Welcome<'a>),
    /// Results 1 to 4.
    Refused {
        /// Why; never `Succeed`.
        result: LoginCode,
        /// Why in words, for people.
        cause: &'a str,
    },
}

/// What the server says to a client that it lets in.
///
/// Layout: u8 mode, 16 bytes secret, u32 received, u64 login_number, u64 server_instance, u32 rights, u32 max_frame,
/// u32 window, u32 resume_window_ms, u32 heartbeat_limit_ms, u64 max_blob, u8 max_user_id, u64 server_time_ms, str8
/// product, bytes16 ticket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Welcome<'a> {
    /// Whether the session goes on or is new.
    pub mode: Mode,
    /// Resumes this session from now on.
    pub secret: ResumeSecret,
    /// Counted frames that the server has received in this session, modulo 2^32; 0 if it is fresh.
    pub received: u32,
    /// The durable number of this login of user and device.
    pub login_number: u64,
    /// The server's life.
    pub server_instance: InstanceId,
    /// What the login may do.
    pub rights: Rights,
    /// The largest frame in bytes, its header included, either way.
    pub max_frame: u32,
    /// Bytes of windowed frames that may be out and not taken, either way (ESF-205).
    pub window: u32,
    /// Milliseconds that a session without a link lives.
    pub resume_window_ms: u32,
    /// Milliseconds without a byte after which the server gives a link up; 0 is never.
    pub heartbeat_limit_ms: u32,
    /// The most bytes of a blob that is delivered whole.
    pub max_blob: u64,
    /// The most bytes of a user's name.
    pub max_user_id: u8,
    /// The server's clock, in milliseconds since the Unix epoch; 0 is not told.
    pub server_time_ms: u64,
    /// The server's product and version, for people.
    pub product: &'a str,
    /// Replaces the credential in later logins, empty for none; at most [`MAX_TICKET`] bytes.
    pub ticket: &'a [u8],
}

impl<'a> Login<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let version = reader.u16()?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let instance = InstanceId(reader.u64()?);
        let attempt = reader.u32()?;
        let bits = LoginBits::from_bits(reader.u8()?);
        Ok(Self {
            instance,
            attempt,
            interactive: bits.contains(LoginBits::INTERACTIVE),
            takes_messages: bits.contains(LoginBits::TAKES_MESSAGES),
            device: DeviceKind(reader.u8()?),
            heartbeat_ms: reader.u32()?,
            login_number: reader.u64()?,
            user: core::str::from_utf8(reader.bytes8()?).map_err(|_| DecodeError::UserId)?,
            credential: Credential {
                kind: CredentialKind::from_u8(reader.u8()?).ok_or(DecodeError::Value)?,
                bytes: reader.bytes16()?,
            },
            system_token: reader.bytes16()?,
            ticket: read_ticket(reader)?,
            resume: if reader.bool()? {
                Some(Resume { secret: ResumeSecret(reader.array()?), received: reader.u32()? })
            } else {
                None
            },
        })
    }

    pub(super) fn write(&self, sink: &mut impl Sink) -> Result<(), EncodeError> {
        sink.u16(VERSION);
        sink.u64(self.instance.0);
        sink.u32(self.attempt);
        sink.u8(self.bits().bits());
        sink.u8(self.device.0);
        sink.u32(self.heartbeat_ms);
        sink.u64(self.login_number);
        sink.str8(self.user)?;
        sink.u8(self.credential.kind as u8);
        sink.bytes16(self.credential.bytes)?;
        sink.bytes16(self.system_token)?;
        write_ticket(self.ticket, sink)?;
        match self.resume {
            None => sink.u8(0),
            Some(Resume { secret, received }) => {
                sink.u8(1);
                sink.put(&secret.0);
                sink.u32(received);
            }
        }
        Ok(())
    }

    fn bits(&self) -> LoginBits {
        let interactive = if self.interactive { LoginBits::INTERACTIVE } else { LoginBits::NONE };
        let takes_messages = if self.takes_messages { LoginBits::TAKES_MESSAGES } else { LoginBits::NONE };
        interactive.with(takes_messages)
    }
}

impl<'a> LoginResult<'a> {
    /// The result, whose number is the wire's.
    #[must_use]
    pub const fn code(&self) -> LoginCode {
        match self {
            Self::Succeed(_) => LoginCode::Succeed,
            Self::Refused { result, .. } => *result,
        }
    }

    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let result = LoginCode::from_u8(reader.u8()?).ok_or(DecodeError::Value)?;
        let cause = reader.str16()?;
        match result {
            LoginCode::Succeed if cause.is_empty() => Welcome::read(reader).map(Self::Succeed),
            LoginCode::Succeed => Err(DecodeError::Value),
            result => Ok(Self::Refused { result, cause }),
        }
    }

    pub(super) fn write(&self, sink: &mut impl Sink) -> Result<(), EncodeError> {
        sink.u8(self.code() as u8);
        match self {
            Self::Succeed(welcome) => {
                sink.str16("")?;
                welcome.write(sink)
            }
            Self::Refused { result: LoginCode::Succeed, .. } => Err(EncodeError::Value),
            Self::Refused { cause, .. } => sink.str16(cause),
        }
    }
}

impl<'a> Welcome<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            mode: match reader.bool()? {
                false => Mode::Fresh,
                true => Mode::Resumed,
            },
            secret: ResumeSecret(reader.array()?),
            received: reader.u32()?,
            login_number: reader.u64()?,
            server_instance: InstanceId(reader.u64()?),
            rights: Rights::from_bits(reader.u32()?),
            max_frame: reader.u32()?,
            window: reader.u32()?,
            resume_window_ms: reader.u32()?,
            heartbeat_limit_ms: reader.u32()?,
            max_blob: reader.u64()?,
            max_user_id: reader.u8()?,
            server_time_ms: reader.u64()?,
            product: reader.str8()?,
            ticket: read_ticket(reader)?,
        })
    }

    fn write(&self, sink: &mut impl Sink) -> Result<(), EncodeError> {
        sink.u8(self.mode as u8);
        sink.put(&self.secret.0);
        sink.u32(self.received);
        sink.u64(self.login_number);
        sink.u64(self.server_instance.0);
        sink.u32(self.rights.bits());
        sink.u32(self.max_frame);
        sink.u32(self.window);
        sink.u32(self.resume_window_ms);
        sink.u32(self.heartbeat_limit_ms);
        sink.u64(self.max_blob);
        sink.u8(self.max_user_id);
        sink.u64(self.server_time_ms);
        sink.str8(self.product)?;
        write_ticket(self.ticket, sink)
    }
}

fn read_ticket<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let ticket = reader.bytes16()?;
    if ticket.len() > MAX_TICKET { Err(DecodeError::Value) } else { Ok(ticket) }
}

fn write_ticket(ticket: &[u8], sink: &mut impl Sink) -> Result<(), EncodeError> {
    if ticket.len() > MAX_TICKET { Err(EncodeError::TooLong) } else { sink.bytes16(ticket) }
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Leaves out what lets somebody log in.
impl fmt::Debug for Login<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("instance", &self.instance)
            .field("attempt", &self.attempt)
            .field("interactive", &self.interactive)
            .field("takes_messages", &self.takes_messages)
            .field("device", &self.device)
            .field("heartbeat_ms", &self.heartbeat_ms)
            .field("login_number", &self.login_number)
            .field("user", &self.user)
            .field("credential", &self.credential)
            .field("resume", &self.resume)
            .finish_non_exhaustive()
    }
}

/// Leaves out what lets somebody log in.
impl fmt::Debug for Welcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Welcome")
            .field("mode", &self.mode)
            .field("received", &self.received)
            .field("login_number", &self.login_number)
            .field("server_instance", &self.server_instance)
            .field("rights", &self.rights)
            .field("max_frame", &self.max_frame)
            .field("window", &self.window)
            .field("resume_window_ms", &self.resume_window_ms)
            .field("heartbeat_limit_ms", &self.heartbeat_limit_ms)
            .field("max_blob", &self.max_blob)
            .field("max_user_id", &self.max_user_id)
            .field("server_time_ms", &self.server_time_ms)
            .field("product", &self.product)
            .finish_non_exhaustive()
    }
}
