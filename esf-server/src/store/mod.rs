//! What a server keeps: a directory with a SQLite database in it.
//!
//! A topic that keeps something is a file here with its statements, and a step in [`schema`] with its tables.

mod accounts;
mod backup;
mod directory;
mod keys;
mod mail;
mod problem;
mod relations;
mod schema;
mod sqlite;
#[cfg(test)]
mod tests;
mod worker;

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rusqlite::Connection;

pub(crate) use self::{
    accounts::{Account, Change, Role},
    backup::BackupError,
    directory::ServerLock,
    keys::TicketKey,
    mail::DeadLetter,
    problem::{Problem, Trouble},
    relations::Joined,
    sqlite::{SqliteStore, Users},
    worker::Worker,
};

/// The database in the directory.
const FILE: &str = "esf.sqlite";
/// How long to wait for another process that writes.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection to the store. Several processes may have one at the same time.
pub(crate) struct Store {
    connection: Connection,
    path: PathBuf,
    file: FileId,
}

/// What tells a file from another that takes its name.
type FileId = (u64, u64);

impl Store {
    /// Opens the store of a directory, and makes both if they are not there.
    pub(crate) fn create(directory: &Path) -> Result<Self, Problem> {
        directory::make(directory, FILE)?;
        Self::open_file(directory.join(FILE))
    }

    /// Opens the store of a directory, which must be there.
    pub(crate) fn open(directory: &Path) -> Result<Self, Problem> {
        let path = directory.join(FILE);
        match path.try_exists() {
            Ok(true) => Self::open_file(path),
            Ok(false) => Err(Problem::new(Trouble::Missing, &path, "it is not there")),
            Err(error) => Err(Problem::of_io(&path, &error)),
        }
    }

    fn open_file(path: PathBuf) -> Result<Self, Problem> {
        let problem = |error: rusqlite::Error| Problem::of_sqlite(&path, &error);
        let mut connection = Connection::open(&path).map_err(problem)?;
        connection.busy_timeout(PATIENCE).map_err(problem)?;
        schema::prepare(&mut connection, &path)?;
        let file = file_id(&path).ok_or_else(|| Problem::new(Trouble::Gone, &path, "its file was removed"))?;
        Ok(Self { connection, path, file })
    }

    /// Whether the file that was opened is still the one of its name: SQLite itself would go on with one that was moved or
    /// removed.
    fn is_there(&self) -> bool {
        file_id(&self.path) == Some(self.file)
    }

    /// Looks for damage all over the file.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        let found = self.connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
        match self.told(found)?.as_str() {
            "ok" => Ok(()),
            damage => Err(Problem::new(Trouble::Corrupt, &self.path, damage.replace('\n', ", "))),
        }
    }

    fn told<T>(&self, result: rusqlite::Result<T>) -> Result<T, Problem> {
        result.map_err(|error| Problem::of_sqlite(&self.path, &error))
    }
}

#[cfg(unix)]
fn file_id(path: &Path) -> Option<FileId> {
    use std::os::unix::fs::MetadataExt as _;
    path.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Elsewhere an open file cannot be moved or removed.
#[cfg(not(unix))]
fn file_id(path: &Path) -> Option<FileId> {
    path.metadata().ok().map(|_| (0, 0))
}

/// The time of day in milliseconds since the epoch.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A number as SQLite has it, which has no larger ones.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number that was stored as [`signed`].
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
