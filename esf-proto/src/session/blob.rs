//! What both ends of a blob agree on.

use alloc::boxed::Box;
use core::time::Duration;

use bytes::Bytes;

use crate::{
    failure::Failure,
    ids::{GroupId, MessageId, Source},
    time::UnixMillis,
};

/// The most data in one fragment (ESF-342).
pub const FRAGMENT: usize = 16 * 1024;
/// Bytes of a stream that may be under way and not held (ESF-341).
pub const STREAM_WINDOW: u64 = 256 * 1024;
/// A credit is told after so many more bytes.
pub(crate) const CREDIT_STEP: u64 = 64 * 1024;
/// Blobs that may be under way to, or from, one session.
pub const STREAMS: usize = 8;
/// Blobs of one source that may be under way to one session.
pub const STREAMS_OF_SOURCE: usize = STREAMS / 2;
/// Devices that a blob to a group goes to (ESF-349): as many as one slice of a fan-out, since a fragment visits all of them
/// at once, under its sender's lock. That takes 0.1 us a device, 27 us for all, on a core of 2026 (1,000 took 130 us).
pub const GROUP_RECEIVERS: usize = 256;
/// The longest name of a blob, in bytes.
pub const MAX_BLOB_NAME: usize = 1024;
/// The longest silence of a sender that may send.
pub(crate) const SILENCE: Duration = Duration::from_secs(300);
/// How long a blob waits for a sender whose session is gone.
pub(crate) const LOST: Duration = Duration::from_secs(120);

/// A blob at its receiver; counts up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(pub u64);

/// Somebody sends a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncomingBlob {
    /// What names it here.
    pub blob: BlobId,
    /// Who sends it.
    pub source: Source,
    /// The group that it went to, if it went to one.
    pub group: Option<GroupId>,
    /// The application's number for what it means.
    pub info_type: u32,
    /// The sender's name for it, as it came: never a path to trust. At most 1,024 bytes; may be empty.
    pub name: Box<str>,
    /// How many bytes it has, if the sender knows.
    pub total: Option<u64>,
    /// When the sender says it sent it.
    pub sent_at: Option<UnixMillis>,
}

/// What becomes of a blob at its receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlobEvent {
    /// Somebody sends one: to be taken or refused. Until then nothing of it comes.
    Offered(IncomingBlob),
    /// One that is taken whole is here, and its sender knows. Its place is free when it is released.
    Whole {
        /// Which, as it was offered: whoever took it may have gone with its link.
        incoming: IncomingBlob,
        /// All of it.
        body: Bytes,
    },
    /// One that is taken as a stream has something to read, or is at its end.
    Readable {
        /// Which.
        blob: BlobId,
    },
    /// One came to nothing. The last event of it.
    Ended {
        /// Which.
        blob: BlobId,
        /// Why.
        failure: Failure,
    },
}

/// How a blob is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakeBlob {
    /// Whole, in memory: at most the largest blob that the server announces.
    Whole,
    /// As a stream of any length, as fast as it is read.
    Stream,
}

/// What there is to read of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobRead {
    /// The next bytes.
    Data(Bytes),
    /// Nothing yet: an event tells when there is.
    Wait,
    /// Everything was read. Say that it is finished, or the sender waits.
    End,
    /// There is no such stream any more.
    Gone,
}

/// A blob to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingBlob {
    /// The application's number for what it means.
    pub info_type: u32,
    /// A name for it, at most 1,024 bytes; may be empty.
    pub name: Box<str>,
    /// How many bytes it has, if that is known.
    pub total: Option<u64>,
    /// The most data in one fragment; 16 KiB, which is also the largest, by default.
    pub fragment: usize,
    /// Whether any part of it can be asked for again.
    pub can_seek: bool,
}

impl OutgoingBlob {
    /// A blob of `total` bytes that can be read again from anywhere.
    #[must_use]
    pub fn new(info_type: u32, total: Option<u64>) -> Self {
        Self { info_type, name: "".into(), total, fragment: FRAGMENT, can_seek: true }
    }
}

/// The session wants bytes of a blob that it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobNeed {
    /// Which blob.
    pub id: MessageId,
    /// Where they begin. May be behind what was given, if the blob can seek.
    pub offset: u64,
    /// At most so many.
    pub max: usize,
}
