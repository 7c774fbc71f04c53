//! Blobs that a client sends.

use std::sync::Arc;

use bytes::Bytes;
use esf_proto::{ids::To, session::blob::OutgoingBlob};

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
            let id = core.session.send_blob(now, &to, &blob)?;
            core.sending.insert(id, transfer.clone());
            Ok(id)
        });
        let id = opened?;
        shared.task.wake();
        shared.runtime.spawn(Box::pin(feed(id, shared.clone(), transfer.clone(), source)));
        Ok(SendingBlob::new(id, Arc::clone(shared) as _, transfer))
    }
}
