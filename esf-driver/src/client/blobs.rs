//! Blobs that a client sends.

use std::sync::Arc;

use bytes::Bytes;
use esf_proto::{
    client::Session,
    ids::{GroupId, MessageId, To},
    session::blob::OutgoingBlob,
    time::Instant,
};

use super::{Client, SendError};
use crate::blob::{BlobOptions, BlobSource, SendingBlob, Transfer, feed};

impl Client {
    /// Sends a blob: bytes of any length, in fragments between everything else. `name` is for the receiver, who gets it
    /// as it is; it may be empty.
    ///
    /// It goes on by itself, also across reconnects and restarts of the server. The handle that this returns says how far
    /// it is and how it ends.
    ///
    /// # Errors
    /// It is not taken: 8 blobs are under way already, the name has more than 1,024 bytes, or the client has ended.
    pub fn send_blob(
        &self,
        to: To,
        info_type: u32,
        name: &str,
        source: impl BlobSource,
    ) -> Result<SendingBlob, SendError> {
        self.send_blob_with(to, info_type, name, source, BlobOptions::default())
    }

    /// [`send_blob`](Self::send_blob) in fragments of a size of its own.
    ///
    /// # Errors
    /// As there.
    #[expect(clippy::needless_pass_by_value, reason = "a target is made for the call it is passed to")]
    pub fn send_blob_with(
        &self,
        to: To,
        info_type: u32,
        name: &str,
        source: impl BlobSource,
        options: BlobOptions,
    ) -> Result<SendingBlob, SendError> {
        self.start_blob(info_type, name, source, options, |session, now, blob| session.send_blob(now, &to, blob))
    }

    /// Sends a blob to the members of a group that are online, on 256 devices at most. Only a member may.
    ///
    /// All of them are sent it at once, as fast as the slowest takes it; one that makes no progress for 20 s is left out.
    /// It is done when everybody who is still there has it whole. Who missed it is told to the server's application. It
    /// fails as `NotAllowed` for whoever is no member, as `TooLarge` in a group with more devices online, and as the last
    /// member failed if nobody has it. In a group where nobody else is online it is done at once.
    ///
    /// # Errors
    /// As of [`send_blob`](Self::send_blob).
    pub fn broadcast_blob(
        &self,
        group: &GroupId,
        info_type: u32,
        name: &str,
        source: impl BlobSource,
    ) -> Result<SendingBlob, SendError> {
        self.broadcast_blob_with(group, info_type, name, source, BlobOptions::default())
    }

    /// [`broadcast_blob`](Self::broadcast_blob) in fragments of a size of its own.
    ///
    /// # Errors
    /// As there.
    pub fn broadcast_blob_with(
        &self,
        group: &GroupId,
        info_type: u32,
        name: &str,
        source: impl BlobSource,
        options: BlobOptions,
    ) -> Result<SendingBlob, SendError> {
        self.start_blob(info_type, name, source, options, |session, now, blob| session.broadcast_blob(now, group, blob))
    }

    fn start_blob(
        &self,
        info_type: u32,
        name: &str,
        source: impl BlobSource,
        options: BlobOptions,
        open: impl FnOnce(&mut Session, Instant, &OutgoingBlob) -> Result<MessageId, SendError>,
    ) -> Result<SendingBlob, SendError> {
        let shared = self.shared();
        let total = source.total();
        let blob = OutgoingBlob {
            info_type,
            name: name.into(),
            total,
            fragment: options.fragment,
            can_seek: source.can_seek(),
        };
        let transfer = Transfer::new(total);
        let opened = shared.change(|core, now| {
            if core.task_ended {
                return Err(SendError::Closed(Bytes::new()));
            }
            let id = open(&mut core.session, now, &blob)?;
            core.sending.insert(id, transfer.clone());
            Ok(id)
        });
        let id = opened?;
        shared.task.wake();
        shared.runtime.spawn(Box::pin(feed(id, shared.clone(), transfer.clone(), source)));
        Ok(SendingBlob::new(id, Arc::clone(shared) as _, transfer))
    }
}
