//! Where the bytes of a blob come from.

use std::io;

use bytes::Bytes;

/// The bytes of a blob, read as they are needed.
pub trait BlobSource: Send + 'static {
    /// How many bytes there are, if that is known. A source that then ends elsewhere fails.
    fn total(&self) -> Option<u64>;

    /// Whether [`read`](Self::read) may go back. What is on its way is kept, so this matters only when a receiver has to
    /// start over; a blob whose source cannot go back ends as `ConnectionLost` then.
    fn can_seek(&self) -> bool;

    /// Reads at `offset`: 1 to `most` bytes, or none at the end. It is called with the offsets in order; only when the
    /// receiver starts over it goes back.
    ///
    /// It is dropped where it waits when the blob is cancelled.
    ///
    /// # Errors
    /// The blob fails, and its receivers see `Cancelled`.
    fn read(&mut self, offset: u64, most: usize) -> impl Future<Output = io::Result<Bytes>> + Send;
}

/// Bytes in memory, shared and not copied.
impl BlobSource for Bytes {
    fn total(&self) -> Option<u64> {
        u64::try_from(self.len()).ok()
    }

    fn can_seek(&self) -> bool {
        true
    }

    async fn read(&mut self, offset: u64, most: usize) -> io::Result<Bytes> {
        let start = usize::try_from(offset).map_or(self.len(), |offset| offset.min(self.len()));
        Ok(self.slice(start..self.len().min(start.saturating_add(most))))
    }
}

#[cfg(test)]
mod tests;
