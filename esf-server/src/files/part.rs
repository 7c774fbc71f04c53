//! A file on its way into a directory: half under a name that says so, whole under its own.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use esf_tokio::Bytes;
use tokio::{sync::mpsc, task::JoinHandle};

use super::name::numbered;

/// Numbers that are tried before a directory counts as full of files of one name.
const NUMBERS: u32 = 10_000;
/// Chunks that wait for the disk.
const WAITING: usize = 16;

/// A file that is being received. A thread writes it, since disks block. Dropped before its end, nothing of it stays.
#[derive(Debug)]
pub(crate) struct Receiving {
    chunks: mpsc::Sender<Step>,
    written: JoinHandle<io::Result<PathBuf>>,
}

#[derive(Debug)]
enum Step {
    Chunk(Bytes),
    Whole,
}

impl Receiving {
    /// Begins a file in `dir` that is to be called `name`, or nearly so.
    pub(crate) fn start(dir: &Path, name: String) -> Self {
        let (chunks, steps) = mpsc::channel(WAITING);
        let dir = dir.to_owned();
        let written = tokio::task::spawn_blocking(move || write(&dir, &name, steps));
        Self { chunks, written }
    }

    /// Writes what comes next; waits while the disk is slower. Failed once, [`finish`](Self::finish) says why.
    pub(crate) async fn write(&mut self, chunk: Bytes) -> Result<(), Stopped> {
        self.chunks.send(Step::Chunk(chunk)).await.map_err(|_| Stopped)
    }

    /// Ends the file: it is whole, and has its name, which is returned. Or says why it could not be written.
    pub(crate) async fn finish(self) -> io::Result<PathBuf> {
        // It has failed already if nobody takes this.
        let _ = self.chunks.send(Step::Whole).await;
        drop(self.chunks);
        self.written.await.unwrap_or_else(|_| Err(io::Error::other("the thread that writes is gone")))
    }
}

/// The file could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stopped;

fn write(dir: &Path, name: &str, mut steps: mpsc::Receiver<Step>) -> io::Result<PathBuf> {
    let mut part = Part::create(dir, name)?;
    loop {
        match steps.blocking_recv() {
            Some(Step::Chunk(chunk)) => part.file.write_all(&chunk)?,
            Some(Step::Whole) => return part.finish(dir, name),
            None => return Err(io::ErrorKind::Interrupted.into()),
        }
    }
}

/// The half file. It goes with this, unless it became a whole one.
struct Part {
    file: File,
    path: PathBuf,
}

impl Part {
    fn create(dir: &Path, name: &str) -> io::Result<Self> {
        let (path, file) = create(dir, |number| format!("{}.part", numbered(name, number)))?;
        Ok(Self { file, path })
    }

    /// Nobody's file is overwritten: the name is taken by an empty file first, and that one is replaced.
    fn finish(self, dir: &Path, name: &str) -> io::Result<PathBuf> {
        let (path, _) = create(dir, |number| numbered(name, number))?;
        if let Err(error) = fs::rename(&self.path, &path) {
            // The empty one is ours.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(path)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // After a rename there is nothing under this name.
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes the first of these files that is not there.
fn create(dir: &Path, name: impl Fn(u32) -> String) -> io::Result<(PathBuf, File)> {
    for number in 0..NUMBERS {
        let path = dir.join(name(number));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "too many files of this name are there"))
}

#[cfg(test)]
mod tests;
