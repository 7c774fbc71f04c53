//! What can be wrong with a store, told so that somebody can do something about it.

use std::{fmt, io, path::Path};

use rusqlite::ErrorCode;

/// What kind of thing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// There is none.
    Missing,
    /// Another server has the directory.
    InUse,
    /// Another process keeps it locked.
    Locked,
    /// There is no space left.
    Full,
    /// It may not be written.
    ReadOnly,
    /// It is not where it was when it was opened.
    Gone,
    /// It is damaged, or something else than a store.
    Corrupt,
    /// A newer version of esf has made it.
    Newer,
    /// More waits for it than it can do at present.
    Busy,
    /// Anything else.
    Other,
}

impl Trouble {
    /// What to do about it.
    fn advice(self) -> &'static str {
        match self {
            Self::Missing => "`esf user add NAME` makes one; --data names another directory",
            Self::InUse => "stop that one, or name another directory by --data",
            Self::Locked => "end the program that has it open, such as a backup or a shell of SQLite, and try again",
            Self::Full => "make room on that disk and try again",
            Self::ReadOnly => "let this user write the directory and the files in it, or name another by --data",
            Self::Gone => "put it back, or start the server again",
            Self::Corrupt => "put a backup in its place, or move it away to begin with an empty one",
            Self::Newer => "use an esf of that version or later, or name another directory by --data",
            Self::Busy => "try again later",
            Self::Other => "check the directory and its disk, or name another by --data",
        }
    }
}

/// The store cannot be used, or not for this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    trouble: Trouble,
    text: String,
}

impl Problem {
    pub(super) fn new(trouble: Trouble, path: &Path, reason: impl fmt::Display) -> Self {
        Self { trouble, text: format!("the store {}: {reason}", path.display()) }
    }

    pub(super) fn of_io(path: &Path, error: &io::Error) -> Self {
        let trouble = match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Trouble::ReadOnly,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Trouble::Full,
            _ => Trouble::Other,
        };
        Self::new(trouble, path, error)
    }

    pub(super) fn of_sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        let (trouble, reason) = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                (Trouble::Locked, "another program has locked it".into())
            }
            Some(ErrorCode::DiskFull) => (Trouble::Full, "there is no space left on its disk".into()),
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                (Trouble::ReadOnly, "it cannot be written".into())
            }
            Some(ErrorCode::DatabaseCorrupt) => (Trouble::Corrupt, "it is damaged".into()),
            Some(ErrorCode::NotADatabase) => (Trouble::Corrupt, "it is no database".into()),
            _ => (Trouble::Other, error.to_string()),
        };
        Self::new(trouble, path, reason)
    }

    /// Whether it may be that of one request alone, so that others have a chance without it.
    pub(super) fn is_of_one(&self) -> bool {
        matches!(self.trouble, Trouble::Corrupt | Trouble::Other)
    }

    #[cfg(test)]
    pub(super) fn trouble(&self) -> Trouble {
        self.trouble
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.text, self.trouble.advice())
    }
}
