//! How a command ends: a code for programs, and a line for people that says the reason and what to do.

use std::fmt::Write as _;

use esf_tokio::{BlobError, CallError, CloseReason, ConnectError, Ended, Failure, LoginCode, SendError};

use crate::{config::Problem, store};

/// The exit codes of `esf`; docs/CLI.md has the same table. 0 is for an outcome that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    Internal = 1,
    /// Mostly given by clap.
    Usage = 2,
    CannotConnect = 3,
    LoginRefused = 4,
    Offline = 5,
    TimedOut = 6,
    NotAllowed = 7,
    Busy = 8,
    PushedOut = 9,
    Kicked = 10,
    ConnectionLost = 11,
    TooLarge = 12,
    NotAnswered = 13,
    ConnectionClosed = 14,
    OutputClosed = 15,
    WillNotServe = 16,
    CannotListen = 17,
    Misconfigured = 18,
    StoreUnusable = 19,
    NotThere = 20,
    ThereAlready = 21,
    FileUnusable = 22,
    Refused = 23,
    NoRoom = 24,
    Interrupted = 130,
}

/// Every exit code with its meaning.
const MEANINGS: &[(u8, &str)] = &[
    (0, "the outcome was reached"),
    (Code::Internal as u8, "something went wrong that has no code of its own"),
    (Code::Usage as u8, "the command line is wrong"),
    (Code::CannotConnect as u8, "there is no server to connect to"),
    (Code::LoginRefused as u8, "the server refused the login"),
    (Code::Offline as u8, "the other user is offline"),
    (Code::TimedOut as u8, "nothing came in time"),
    (Code::NotAllowed as u8, "the right to do so is missing"),
    (Code::Busy as u8, "a queue on the way is full"),
    (Code::PushedOut as u8, "pushed out by a newer login of the same user and device kind"),
    (Code::Kicked as u8, "kicked out"),
    (Code::ConnectionLost as u8, "the connection was lost: it may have arrived"),
    (Code::TooLarge as u8, "larger than the server takes"),
    (Code::NotAnswered as u8, "the other side has no answer to this"),
    (Code::ConnectionClosed as u8, "the server closed the connection"),
    (Code::OutputClosed as u8, "nobody reads standard output any more"),
    (Code::WillNotServe as u8, "serve: it would not be safe"),
    (Code::CannotListen as u8, "serve: the address cannot be listened on"),
    (Code::Misconfigured as u8, "the configuration is wrong"),
    (Code::StoreUnusable as u8, "the store of the server cannot be used"),
    (Code::NotThere as u8, "user, contact, group, store: there is no such thing"),
    (Code::ThereAlready as u8, "user, contact, group: it is there already"),
    (Code::FileUnusable as u8, "a file cannot be read, or a directory cannot take files"),
    (Code::Refused as u8, "the receiver does not take it"),
    (Code::NoRoom as u8, "the receiver has no room for it"),
    (Code::Interrupted as u8, "stopped by a signal before the outcome"),
];

/// The table for `esf --help`.
pub(crate) fn help() -> String {
    let mut help = String::from("Exit codes:\n");
    for (code, meaning) in MEANINGS {
        // Writing to a string cannot fail.
        let _ = writeln!(help, "  {code:>3}  {meaning}");
    }
    help + "\n`esf <COMMAND> --help` explains a command."
}

/// An end without the outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exit {
    code: Code,
    reason: String,
}

impl Exit {
    pub(crate) fn new(code: Code, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    pub(crate) fn internal(reason: impl Into<String>) -> Self {
        Self::new(Code::Internal, reason)
    }

    pub(crate) fn interrupted() -> Self {
        Self::new(Code::Interrupted, "stopped before the outcome was known")
    }

    /// The settings cannot be used.
    pub(crate) fn of_config(problem: &Problem) -> Self {
        let code = match problem {
            _ if problem.is_danger() => Code::WillNotServe,
            _ if problem.is_of_flag() => Code::Usage,
            _ => Code::Misconfigured,
        };
        Self::new(code, problem.to_string())
    }

    /// The store cannot be used.
    pub(crate) fn of_store(problem: &store::Problem) -> Self {
        Self::new(Code::StoreUnusable, problem.to_string())
    }

    /// Nobody is there to read a reason: `esf listen | head` ends like this.
    pub(crate) fn output_closed() -> Self {
        Self::new(Code::OutputClosed, "")
    }

    /// The same end, of which people were told already.
    pub(crate) fn told(self) -> Self {
        Self::new(self.code, "")
    }

    pub(crate) const fn code(&self) -> Code {
        self.code
    }

    /// The line for people, if there is one.
    pub(crate) fn reason(&self) -> Option<&str> {
        (!self.reason.is_empty()).then_some(&self.reason)
    }

    /// The login did not come about.
    pub(crate) fn of_connect(error: &ConnectError) -> Self {
        match error {
            ConnectError::Unreachable { url, cause } => Self::new(
                Code::CannotConnect,
                format!("cannot connect to {url}: {cause}; start a server with `esf serve`, or name another by --url"),
            ),
            ConnectError::Refused { code, cause } => Self::refused(*code, cause),
            ConnectError::Closed(reason) => Self::closed(*reason),
            ConnectError::Url { .. } => Self::new(Code::Usage, error.to_string()),
            other => Self::internal(other.to_string()),
        }
    }

    fn refused(code: LoginCode, cause: &str) -> Self {
        let reason = match code {
            LoginCode::HadLoggedOn => {
                "this user is logged in already; end the other login, or use another --device".into()
            }
            LoginCode::VersionMismatched => {
                "the server speaks another version; use an esf of the server's version".into()
            }
            LoginCode::ClientTypeMismatched => "this device kind may not log in; use another --device".into(),
            _ if cause.is_empty() => "the server gave no cause; check --user and the password".into(),
            _ => format!("{cause}; check --user and the password"),
        };
        Self::new(Code::LoginRefused, format!("login refused: {reason}"))
    }

    /// The connection ended for good.
    pub(crate) fn of_end(ended: Ended) -> Self {
        if ended.reason == CloseReason::LoginFailed {
            let reason =
                "logged off: the login is no longer good, since the account was changed or removed; log in anew";
            return Self::new(Code::LoginRefused, reason);
        }
        Self::closed(ended.reason)
    }

    fn closed(reason: CloseReason) -> Self {
        match reason {
            CloseReason::PushedOut => Self::new(
                Code::PushedOut,
                "pushed out: the same user logged in elsewhere with this device kind; use another --device to have both",
            ),
            CloseReason::Kicked => Self::new(
                Code::Kicked,
                "kicked out by somebody with the right to; ask the server's admin before coming back",
            ),
            CloseReason::NewConnectionIgnored => Self::refused(LoginCode::HadLoggedOn, ""),
            CloseReason::VersionMismatched => Self::refused(LoginCode::VersionMismatched, ""),
            CloseReason::UnauthorisedClientType => Self::refused(LoginCode::ClientTypeMismatched, ""),
            CloseReason::LoginFailed | CloseReason::WrongUserId => Self::refused(LoginCode::Failed, reason.text()),
            CloseReason::GoingAway | CloseReason::ConnectionLimit | CloseReason::RateLimited => Self::new(
                Code::ConnectionClosed,
                format!("the server closed the connection: {}; try again later", reason.text()),
            ),
            _ => Self::new(
                Code::ConnectionClosed,
                format!("the connection was closed: {}; the server's log says more", reason.text()),
            ),
        }
    }

    /// Something that was asked of `target` came to nothing.
    pub(crate) fn of_call(error: &CallError, target: &str) -> Self {
        match error {
            CallError::Refused(error) => Self::of_send(error),
            CallError::Failed(failure) => Self::of_failure(*failure, target),
            other => Self::internal(other.to_string()),
        }
    }

    /// Something was not even taken.
    pub(crate) fn of_send(error: &SendError) -> Self {
        match error {
            SendError::Busy(_) => Self::new(Code::Busy, "too much waits to be sent already; try again later"),
            SendError::TooLarge { limit, .. } => {
                Self::new(Code::TooLarge, format!("too large: the server takes {limit} bytes at once; send less"))
            }
            other => Self::internal(other.to_string()),
        }
    }

    /// A blob did not arrive.
    pub(crate) fn of_blob(error: &BlobError, target: &str) -> Self {
        let failure = match error {
            BlobError::Refused(error) => return Self::of_send(error),
            BlobError::Source { text, .. } => {
                return Self::new(
                    Code::FileUnusable,
                    format!("it was not sent whole: {text}; {target} keeps nothing of it"),
                );
            }
            BlobError::Failed(failure) => *failure,
            other => return Self::internal(other.to_string()),
        };
        let (code, reason) = match failure {
            Failure::Rejected | Failure::Unsupported => (
                Code::Refused,
                format!("{target} takes no files; `--blobs DIR` with `esf listen` or `esf chat` takes them there"),
            ),
            Failure::Cancelled => {
                (Code::Refused, format!("{target} stopped receiving it; ask why before sending it again"))
            }
            Failure::HandlerFailed => (Code::Refused, format!("{target} could not keep it; the reason is shown there")),
            Failure::QuotaFull => {
                (Code::NoRoom, format!("{target} has no room for it on the disk; send it again when there is"))
            }
            Failure::TooSlow => {
                (Code::TimedOut, format!("{target} did not take it fast enough; send it again when it does"))
            }
            Failure::Busy => (
                Code::Busy,
                format!("too many blobs are on their way to {target}; send it again when they are through"),
            ),
            Failure::ConnectionLost => (
                Code::ConnectionLost,
                format!("the connection was lost and it may have arrived; ask {target} before sending it again"),
            ),
            other => return Self::of_failure(other, target),
        };
        Self::new(code, reason)
    }

    fn of_failure(failure: Failure, target: &str) -> Self {
        let (code, reason) = match failure {
            Failure::NoSuchUser => {
                (Code::NotThere, format!("there is no user {target} for whom messages are kept; check the name"))
            }
            Failure::QuotaFull => (
                Code::NoRoom,
                format!("as many messages as may be wait for {target} already; try again when {target} was online"),
            ),
            Failure::Offline => {
                (Code::Offline, format!("{target} is offline; try again when `esf listen` or `esf chat` runs there"))
            }
            Failure::Busy => (Code::Busy, format!("the queue of {target} is full; try again later")),
            Failure::TooLarge => (Code::TooLarge, format!("too large for {target}; send less at once")),
            Failure::NotAllowed => (
                Code::NotAllowed,
                "not allowed; `esf user grant NAME admin` gives rights, and so does `esf serve --admin`".into(),
            ),
            Failure::ConnectionLost => (
                Code::ConnectionLost,
                format!("the connection was lost and it may have arrived; ask {target} before doing it again"),
            ),
            Failure::TimedOut => (
                Code::TimedOut,
                format!("nothing came from {target} in time; it may still arrive, so ask before doing it again"),
            ),
            Failure::HandlerFailed | Failure::Unsupported => {
                (Code::NotAnswered, format!("{target} has no answer to this; `esf listen --echo` answers queries"))
            }
            other => (Code::Internal, format!("{target}: {other}; the server's log may say more")),
        };
        Self::new(code, reason)
    }
}

#[cfg(test)]
mod tests;
