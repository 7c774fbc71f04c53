//! Blobs: large bodies that travel in fragments, between everything else.

mod file;
mod incoming;
mod outgoing;
#[cfg(feature = "async")]
mod reader;
mod source;

pub use esf_proto::session::blob::MAX_BLOB_NAME;

pub use file::{BlobFile, Blocking};
pub use incoming::{BlobChoice, BlobOffer, BlobStream};
pub(crate) use incoming::{Flow, Inlet};
pub use outgoing::{BlobError, BlobOptions, BlobProgress, SendingBlob};
pub(crate) use outgoing::{Line, Transfer, feed};
#[cfg(feature = "async")]
pub use reader::{BlobReader, BlobSeeker};
pub use source::BlobSource;
