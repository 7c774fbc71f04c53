//! A copy of a store that may be in use.

use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
};

use rusqlite::{
    Connection,
    backup::{Backup, StepResult},
};

use super::{Problem, Store, directory::private};

/// Pages that are copied before the progress is told.
const PAGES: std::os::raw::c_int = 1024;

/// Why there is no copy.
#[derive(Debug)]
pub(crate) enum BackupError {
    /// The store cannot be read.
    Store(Problem),
    /// The copy cannot be written: where, and why.
    File(PathBuf, String),
}

impl Store {
    /// Copies the store as it is now into a file that is not there yet. Others may write meanwhile: what they write is not
    /// in it. `progress` is told how many bytes of how many are copied. The result is the size of the copy.
    pub(crate) fn backup(&self, to: &Path, mut progress: impl FnMut(u64, u64)) -> Result<u64, BackupError> {
        let failed = |path: &Path, reason: &dyn std::fmt::Display| BackupError::File(path.into(), reason.to_string());
        if to.symlink_metadata().is_ok() {
            return Err(failed(to, &"it is there already; name another, or remove it"));
        }
        let mut part = to.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        // What a backup has left that was stopped is no use.
        let _ = fs::remove_file(&part);
        let outcome = private(OpenOptions::new().write(true).create_new(true))
            .open(&part)
            .map_err(|error| failed(&part, &error))
            .and_then(|_| self.copy(&part, &mut progress))
            .and_then(|bytes| put_in_place(&part, to).map(|()| bytes).map_err(|error| failed(to, &error)));
        if outcome.is_err() {
            let _ = fs::remove_file(&part);
        }
        outcome
    }

    fn copy(&self, part: &Path, progress: &mut impl FnMut(u64, u64)) -> Result<u64, BackupError> {
        let of_store = |error: rusqlite::Error| BackupError::Store(Problem::of_sqlite(&self.path, &error));
        let of_file = |error: rusqlite::Error| BackupError::File(part.into(), error.to_string());
        let page: u64 = self
            .connection
            .pragma_query_value(None, "page_size", |row| row.get::<_, i64>(0))
            .map(super::unsigned)
            .map_err(of_store)?;
        let mut copy = Connection::open(part).map_err(of_file)?;
        // A transaction that has begun to read sees one state to its end. Without it the copy would begin anew each time
        // that somebody writes, and with a busy server that is for ever.
        let state = self.connection.unchecked_transaction().map_err(of_store)?;
        state.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(of_store)?;
        let copied = Backup::new(&state, &mut copy).map_err(of_file).and_then(|backup| {
            loop {
                let step = backup.step(PAGES).map_err(of_file)?;
                let at = backup.progress();
                let bytes = |pages: std::os::raw::c_int| u64::try_from(pages).unwrap_or(0) * page;
                let total = bytes(at.pagecount);
                progress(total - bytes(at.remaining), total);
                if step == StepResult::Done {
                    return Ok(total);
                }
            }
        })?;
        drop(state);
        // One file, without others beside it.
        copy.pragma_update(None, "journal_mode", "DELETE").map_err(of_file)?;
        let sound: String = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(of_file)?;
        if sound != "ok" {
            let reason = format!("the store is damaged, and so is the copy: {}", sound.replace('\n', ", "));
            return Err(BackupError::File(part.into(), reason));
        }
        copy.close().map_err(|(_, error)| of_file(error))?;
        Ok(copied)
    }
}

/// Gives a whole copy its name, on the disk.
fn put_in_place(part: &Path, to: &Path) -> std::io::Result<()> {
    File::open(part)?.sync_all()?;
    fs::rename(part, to)?;
    #[cfg(unix)]
    if let Some(directory) = to.parent() {
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}
