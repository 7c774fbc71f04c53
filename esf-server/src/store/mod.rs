//! What a server keeps: a directory with a SQLite database in it.
//!
//! A topic that keeps something is a file here with its statements, and a step in [`schema`] with its tables.

mod accounts;
mod directory;
mod keys;
mod problem;
mod schema;
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
    directory::ServerLock,
    keys::TicketKey,
    problem::{Problem, Trouble},
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
}

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
        Ok(Self { connection, path })
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
