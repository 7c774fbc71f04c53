//! What is read asynchronously as the source of a blob.

use std::io::{self, ErrorKind, SeekFrom};

use bytes::Bytes;
use futures_io::{AsyncRead, AsyncSeek};
use futures_util::{AsyncReadExt as _, AsyncSeekExt as _};

use super::BlobSource;

/// A source that is read once, from its beginning to its end: a pipe, a decoder.
#[derive(Debug)]
pub struct BlobReader<R> {
    reader: R,
    total: Option<u64>,
    position: u64,
}

impl<R: AsyncRead + Unpin + Send + 'static> BlobReader<R> {
    /// Reads `reader`, of which so much will come, if that is known.
    pub fn new(reader: R, total: Option<u64>) -> Self {
        Self { reader, total, position: 0 }
    }
}

impl<R: AsyncRead + Unpin + Send + 'static> BlobSource for BlobReader<R> {
    fn total(&self) -> Option<u64> {
        self.total
    }

    fn can_seek(&self) -> bool {
        false
    }

    async fn read(&mut self, offset: u64, most: usize) -> io::Result<Bytes> {
        if offset != self.position {
            return Err(ErrorKind::NotSeekable.into());
        }
        let bytes = read(&mut self.reader, most).await?;
        self.position += bytes.len() as u64;
        Ok(bytes)
    }
}

/// A source that can go back.
#[derive(Debug)]
pub struct BlobSeeker<R> {
    reader: R,
    total: Option<u64>,
    /// Where the reader stands; `None` while that is not known.
    position: Option<u64>,
}

impl<R: AsyncRead + AsyncSeek + Unpin + Send + 'static> BlobSeeker<R> {
    /// Reads `reader` from its very beginning, wherever it stands.
    pub fn new(reader: R, total: Option<u64>) -> Self {
        Self { reader, total, position: None }
    }
}

impl<R: AsyncRead + AsyncSeek + Unpin + Send + 'static> BlobSource for BlobSeeker<R> {
    fn total(&self) -> Option<u64> {
        self.total
    }

    fn can_seek(&self) -> bool {
        true
    }

    async fn read(&mut self, offset: u64, most: usize) -> io::Result<Bytes> {
        if self.position.take() != Some(offset) {
            self.reader.seek(SeekFrom::Start(offset)).await?;
        }
        let bytes = read(&mut self.reader, most).await?;
        self.position = Some(offset + bytes.len() as u64);
        Ok(bytes)
    }
}

async fn read(reader: &mut (impl AsyncRead + Unpin), most: usize) -> io::Result<Bytes> {
    let mut buffer = vec![0; most];
    let count = reader.read(&mut buffer).await?;
    buffer.truncate(count);
    // A pipe gives little at a time, which is not to hold the room of much.
    if count < most / 2 { Ok(Bytes::copy_from_slice(&buffer)) } else { Ok(buffer.into()) }
}

#[cfg(test)]
mod tests;
