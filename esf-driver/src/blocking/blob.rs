//! Blobs, sent and received by calls that block.

use std::{
    fs::File,
    io::{self, ErrorKind, Read, Seek, SeekFrom},
    path::Path,
    time::Duration,
};

use bytes::Bytes;
use esf_proto::{failure::Failure, ids::MessageId};

use super::wait::{Elapsed, run, run_within};
use crate::blob::{self, BlobError, BlobOffer, BlobProgress, Blocking};

/// The bytes of a blob, read as they are needed, on a thread of its own.
pub trait BlobSource: Send + 'static {
    /// How many bytes there are, if that is known. A source that then ends elsewhere fails.
    fn total(&self) -> Option<u64>;

    /// Whether [`read`](Self::read) may go back. What is on its way is kept, so this matters only when a receiver has to
    /// start over; a blob whose source cannot go back ends as `ConnectionLost` then.
    fn can_seek(&self) -> bool;

    /// Reads at `offset`: 1 to `most` bytes, or none at the end. It is called with the offsets in order; only when the
    /// receiver starts over it goes back. It may block: a blob that is cancelled does not wait for it, only its thread does.
    ///
    /// # Errors
    /// The blob fails, and its receivers see `Cancelled`.
    fn read(&mut self, offset: u64, most: usize) -> io::Result<Bytes>;
}

/// Bytes in memory, shared and not copied.
impl BlobSource for Bytes {
    fn total(&self) -> Option<u64> {
        blob::BlobSource::total(self)
    }

    fn can_seek(&self) -> bool {
        true
    }

    fn read(&mut self, offset: u64, most: usize) -> io::Result<Bytes> {
        run(blob::BlobSource::read(self, offset, most))
    }
}

/// A source that is read once, from its beginning to its end: a pipe, a decoder.
#[derive(Debug)]
pub struct BlobReader<R> {
    reader: R,
    total: Option<u64>,
    position: u64,
}

impl<R: Read + Send + 'static> BlobReader<R> {
    /// Reads `reader`, of which so much will come, if that is known.
    pub fn new(reader: R, total: Option<u64>) -> Self {
        Self { reader, total, position: 0 }
    }
}

impl<R: Read + Send + 'static> BlobSource for BlobReader<R> {
    fn total(&self) -> Option<u64> {
        self.total
    }

    fn can_seek(&self) -> bool {
        false
    }

    fn read(&mut self, offset: u64, most: usize) -> io::Result<Bytes> {
        if offset != self.position {
            return Err(ErrorKind::NotSeekable.into());
        }
        let bytes = read(&mut self.reader, most)?;
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

impl<R: Read + Seek + Send + 'static> BlobSeeker<R> {
    /// Reads `reader` from its very beginning, wherever it stands.
    pub fn new(reader: R, total: Option<u64>) -> Self {
        Self { reader, total, position: None }
    }
}

impl<R: Read + Seek + Send + 'static> BlobSource for BlobSeeker<R> {
    fn total(&self) -> Option<u64> {
        self.total
    }

    fn can_seek(&self) -> bool {
        true
    }

    fn read(&mut self, offset: u64, most: usize) -> io::Result<Bytes> {
        if self.position.take() != Some(offset) {
            self.reader.seek(SeekFrom::Start(offset))?;
        }
        let bytes = read(&mut self.reader, most)?;
        self.position = Some(offset + bytes.len() as u64);
        Ok(bytes)
    }
}

fn read(reader: &mut impl Read, most: usize) -> io::Result<Bytes> {
    let mut buffer = vec![0; most];
    let count = loop {
        match reader.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    buffer.truncate(count);
    // A pipe gives little at a time, which is not to hold the room of much.
    if count < most / 2 { Ok(Bytes::copy_from_slice(&buffer)) } else { Ok(buffer.into()) }
}

/// A file to be sent as a blob.
#[derive(Debug)]
pub struct BlobFile(blob::BlobFile<Here>);

/// Work that blocks is done on the thread that waits for it.
struct Here;

impl Blocking for Here {
    async fn run<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
        work()
    }
}

impl BlobFile {
    /// Opens a file, to be sent as long as it is now.
    ///
    /// # Errors
    /// What the system says; [`ErrorKind::IsADirectory`] for a directory, and [`ErrorKind::InvalidInput`] for what has no
    /// length, such as a pipe: send that by a [`BlobReader`].
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        run(blob::BlobFile::open(path)).map(Self)
    }

    /// A file that is open already. It is read from its beginning, wherever it stands.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn of(file: File) -> io::Result<Self> {
        blob::BlobFile::of(file).map(Self)
    }
}

impl BlobSource for BlobFile {
    fn total(&self) -> Option<u64> {
        blob::BlobSource::total(&self.0)
    }

    fn can_seek(&self) -> bool {
        true
    }

    fn read(&mut self, offset: u64, most: usize) -> io::Result<Bytes> {
        run(blob::BlobSource::read(&mut self.0, offset, most))
    }
}

/// Lets the core's feeding thread read a source that blocks.
pub(super) struct Bridged<S>(pub(super) S);

impl<S: BlobSource> blob::BlobSource for Bridged<S> {
    fn total(&self) -> Option<u64> {
        self.0.total()
    }

    fn can_seek(&self) -> bool {
        self.0.can_seek()
    }

    async fn read(&mut self, offset: u64, most: usize) -> io::Result<Bytes> {
        self.0.read(offset, most)
    }
}

/// A blob that is being sent.
///
/// It goes on without this handle. Clones are the same blob.
#[derive(Debug, Clone)]
pub struct SendingBlob(pub(super) blob::SendingBlob);

impl SendingBlob {
    /// The blob's number.
    #[must_use]
    pub fn id(&self) -> MessageId {
        self.0.id()
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> BlobProgress {
        self.0.progress()
    }

    /// Waits until it is further than `seen`, and says how far; `None` once it has its outcome.
    #[must_use]
    pub fn further_than(&self, seen: BlobProgress) -> Option<BlobProgress> {
        run(self.0.further_than(seen))
    }

    /// Gives it up, on both sides. Its outcome is `Cancelled`, unless it has another already.
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// Waits for its outcome: `Ok` when it is whole at a receiver, who took it.
    ///
    /// # Errors
    /// Why it did not arrive. `ConnectionLost` and `TimedOut` mean that it may have.
    pub fn outcome(&self) -> Result<(), BlobError> {
        run(self.0.outcome())
    }

    /// The same, for `limit` at most. The blob goes on.
    ///
    /// # Errors
    /// The time is over.
    pub fn outcome_within(&self, limit: Duration) -> Result<Result<(), BlobError>, Elapsed> {
        run_within(limit, self.0.outcome())
    }
}

/// A blob that arrives, piece by piece. Its sender is as fast as it is read.
///
/// Its sender hears that it arrived when [`finish`](Self::finish) says so. A stream that is dropped before is refused:
/// its sender sees `HandlerFailed`. As a reader it fails with the [`Failure`] inside the error.
#[derive(Debug)]
pub struct BlobStream {
    stream: blob::BlobStream,
    /// What of the last piece was not read yet.
    left: Bytes,
}

impl BlobStream {
    pub(super) fn new(stream: blob::BlobStream) -> Self {
        Self { stream, left: Bytes::new() }
    }

    /// What its sender says about it.
    #[must_use]
    pub fn offer(&self) -> &BlobOffer {
        self.stream.offer()
    }

    /// Bytes that were read.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.stream.bytes_read() - self.left.len() as u64
    }

    /// The next piece, as it came; `None` when it was read to its end. It waits while the sender is away, also across
    /// reconnects of both.
    ///
    /// # Errors
    /// It came to nothing: its sender took it back (`Cancelled`), is gone for good, or the connection of this side is. An
    /// error is the last word.
    #[expect(clippy::should_implement_trait, reason = "it has the name that it has for every runtime")]
    pub fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let left = std::mem::take(&mut self.left);
        if left.is_empty() { run(self.stream.next()) } else { Ok(Some(left)) }
    }

    /// It is safe with its receiver: its sender hears so. One that was not read to its end is refused as `Cancelled`.
    pub fn finish(self) {
        self.stream.finish();
    }

    /// Refuses what is left of it; its sender sees this.
    pub fn refuse(self, failure: Failure) {
        self.stream.refuse(failure);
    }
}

impl Read for BlobStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let Some(mut piece) = self.next().map_err(io::Error::other)? else { return Ok(0) };
        let count = buffer.len().min(piece.len());
        let taken = piece.split_to(count);
        if let Some(buffer) = buffer.get_mut(..count) {
            buffer.copy_from_slice(&taken);
        }
        self.left = piece;
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
