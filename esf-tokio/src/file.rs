//! A file as the source of a blob.

use std::{
    fs::File,
    io::{self, ErrorKind, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use esf_driver::blob::BlobSource;
use tokio::task::spawn_blocking;

use crate::Bytes;

/// A file to be sent as a blob. It is read in tokio's threads for what blocks, a quarter of a megabyte at a time.
#[derive(Debug)]
pub struct BlobFile {
    /// `None` while a thread has it.
    file: Option<File>,
    total: u64,
}

impl BlobFile {
    /// Opens a file, to be sent as long as it is now.
    ///
    /// # Errors
    /// What the system says; [`ErrorKind::IsADirectory`] for a directory, and [`ErrorKind::InvalidInput`] for what has no
    /// length, such as a pipe: send that by a [`BlobReader`](crate::BlobReader).
    pub async fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref().to_owned();
        blocking(move || {
            let file = File::open(path)?;
            Self::of(file)
        })
        .await
    }

    /// A file that is open already. It is read from its beginning, wherever it stands.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn of(file: File) -> io::Result<Self> {
        let about = file.metadata()?;
        if about.is_dir() {
            return Err(ErrorKind::IsADirectory.into());
        }
        if !about.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "it is no regular file"));
        }
        Ok(Self { file: Some(file), total: about.len() })
    }
}

impl BlobSource for BlobFile {
    fn total(&self) -> Option<u64> {
        Some(self.total)
    }

    fn can_seek(&self) -> bool {
        true
    }

    async fn read(&mut self, offset: u64, most: usize) -> io::Result<Bytes> {
        // A read that was dropped has its thread, and its file, to itself.
        let mut file = self.file.take().ok_or_else(|| io::Error::other("a read of it was dropped before its end"))?;
        let (file, read) = blocking(move || {
            let read = read_at(&mut file, offset, most);
            Ok((file, read))
        })
        .await?;
        self.file = Some(file);
        read
    }
}

fn read_at(file: &mut File, offset: u64, most: usize) -> io::Result<Bytes> {
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::with_capacity(most);
    file.take(most as u64).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.unwrap_or_else(|_| Err(io::Error::other("the runtime ends")))
}
