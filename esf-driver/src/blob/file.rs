//! A file as the source of a blob.

use std::{
    fmt,
    fs::File,
    io::{self, ErrorKind, Read as _, Seek as _, SeekFrom},
    marker::PhantomData,
    path::Path,
};

use bytes::Bytes;

use super::BlobSource;

/// What an adapter has for work that blocks its thread: the system gives files in no other way.
pub trait Blocking: Send + 'static {
    /// Does `work` where it blocks no task. What has begun goes on when the future is dropped.
    fn run<T: Send + 'static>(
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> impl Future<Output = io::Result<T>> + Send;
}

/// A file to be sent as a blob. It is read in threads for what blocks, a quarter of a megabyte at a time.
pub struct BlobFile<B> {
    /// `None` while a thread has it.
    file: Option<File>,
    total: u64,
    blocking: PhantomData<fn() -> B>,
}

impl<B: Blocking> BlobFile<B> {
    /// Opens a file, to be sent as long as it is now.
    ///
    /// # Errors
    /// What the system says; [`ErrorKind::IsADirectory`] for a directory, and [`ErrorKind::InvalidInput`] for what has no
    /// length, such as a pipe: send that by a [`BlobReader`](super::BlobReader).
    pub async fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref().to_owned();
        B::run(move || {
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
        Ok(Self { file: Some(file), total: about.len(), blocking: PhantomData })
    }
}

impl<B: Blocking> BlobSource for BlobFile<B> {
    fn total(&self) -> Option<u64> {
        Some(self.total)
    }

    fn can_seek(&self) -> bool {
        true
    }

    async fn read(&mut self, offset: u64, most: usize) -> io::Result<Bytes> {
        // A read that was dropped has its thread, and its file, to itself.
        let mut file = self.file.take().ok_or_else(|| io::Error::other("a read of it was dropped before its end"))?;
        let (file, read) = B::run(move || {
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

impl<B> fmt::Debug for BlobFile<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobFile").field("total", &self.total).finish_non_exhaustive()
    }
}
