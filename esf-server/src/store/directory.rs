//! The directory that a server keeps its things in: for nobody else to read, and for one server at a time.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use fs4::fs_std::FileExt as _;

use super::{Problem, Trouble};

/// Held by the server that has the directory.
const LOCK: &str = "lock";

/// The right of one server to the directory, for as long as this is kept. The system takes it back when the process
/// ends, however it ends.
#[derive(Debug)]
pub(crate) struct ServerLock(#[expect(dead_code, reason = "closing the file ends the lock")] File);

impl ServerLock {
    /// Takes the directory for this server, and makes it if it is not there.
    pub(crate) fn take(directory: &Path) -> Result<Self, Problem> {
        make_directory(directory)?;
        let path = directory.join(LOCK);
        Self::take_file(&path).map_err(|error| Problem::of_io(&path, &error))?.ok_or_else(|| {
            let holder = fs::read_to_string(&path).unwrap_or_default();
            let holder = holder.trim();
            let holder = if holder.is_empty() { String::new() } else { format!(" (process {holder})") };
            Problem::new(Trouble::InUse, directory, format_args!("another server uses it{holder}"))
        })
    }

    fn take_file(path: &Path) -> io::Result<Option<Self>> {
        let mut file = private(OpenOptions::new().read(true).write(true).create(true).truncate(false)).open(path)?;
        if !file.try_lock_exclusive()? {
            return Ok(None);
        }
        // For people; the lock is what counts.
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Some(Self(file)))
    }
}

/// Makes the directory and an empty file in it, unless they are there. A file that is there is not opened: to close it
/// again would take away the locks that SQLite has on it elsewhere in this process.
pub(super) fn make(directory: &Path, name: &str) -> Result<PathBuf, Problem> {
    make_directory(directory)?;
    let path = directory.join(name);
    // SQLite gives the files beside it the same permissions.
    match private(OpenOptions::new().write(true).create_new(true)).open(&path) {
        Ok(_) => Ok(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(path),
        Err(error) => Err(Problem::of_io(&path, &error)),
    }
}

fn make_directory(directory: &Path) -> Result<(), Problem> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory).map_err(|error| Problem::of_io(directory, &error))
}

/// Only for the user that the server runs as.
pub(super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}
