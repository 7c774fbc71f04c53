//! Blobs that the server's application sends.

use std::collections::HashMap;

use bytes::Bytes;
use esf_proto::{
    failure::Failure,
    ids::{GroupId, MessageId},
    server::DeskEvent,
    session::blob::OutgoingBlob,
};

use super::{Server, Shared, lock};
use crate::{
    blob::{BlobOptions, BlobSource, Line, SendingBlob, Transfer, feed},
    node::Node,
    sync::{Arc, Mutex},
};

/// The blobs that are under way; none any more once the server is over.
pub(super) struct Sendings(Mutex<Option<HashMap<MessageId, Arc<Transfer>>>>);

impl Default for Sendings {
    fn default() -> Self {
        Self(Mutex::new(Some(HashMap::new())))
    }
}

impl Sendings {
    /// Takes an outcome if it is that of a blob, else gives it back.
    pub(super) fn complete(&self, event: DeskEvent) -> Option<DeskEvent> {
        let (id, outcome) = match &event {
            DeskEvent::Acked { id } => (*id, Ok(())),
            DeskEvent::Failed { id, failure } => (*id, Err(*failure)),
            DeskEvent::Replied { .. } | DeskEvent::Stored { .. } => return Some(event),
        };
        if self.finish(id, outcome) { None } else { Some(event) }
    }

    /// Asks sources for what is wanted, and tells how far blobs are.
    pub(super) fn look_after(&self, node: &Node) {
        let sendings = lock(&self.0);
        let Some(sendings) = &*sendings else { return };
        if sendings.is_empty() {
            return;
        }
        while let Some((id, held)) = node.poll_blob_progress() {
            if let Some(transfer) = sendings.get(&id) {
                transfer.progress(held);
            }
        }
        while let Some(need) = node.poll_blob_need() {
            if let Some(transfer) = sendings.get(&need.id) {
                transfer.need(need);
            }
        }
    }

    /// The server is over.
    pub(super) fn end(&self) {
        let sendings = lock(&self.0).take();
        for transfer in sendings.into_iter().flatten().map(|(_, transfer)| transfer) {
            transfer.end(Err(Failure::ConnectionLost));
        }
    }

    fn finish(&self, id: MessageId, outcome: Result<(), Failure>) -> bool {
        let transfer = lock(&self.0).as_mut().and_then(|sendings| sendings.remove(&id));
        let there = transfer.is_some();
        if let Some(transfer) = transfer {
            transfer.end(outcome);
        }
        there
    }
}

impl Line for Shared {
    fn give(&self, id: MessageId, offset: u64, bytes: Bytes, last: bool) {
        if let Err(failure) = self.node.give_blob(self.runtime.now(), id, offset, bytes, last) {
            self.state.blobs.finish(id, Err(failure));
        }
        self.state.blobs.look_after(&self.node);
    }

    fn cancel(&self, id: MessageId) {
        if self.node.cancel_blob(self.runtime.now(), id) {
            self.state.blobs.finish(id, Err(Failure::Cancelled));
        }
    }
}

impl Server {
    /// Sends a blob to the members of a group that are online, on 256 devices at most.
    ///
    /// All of them are sent it at once, as fast as the slowest takes it; one that makes no progress for 20 s is left out.
    /// It is done when everybody who is still there has it whole, or at once where nobody is. Who missed it is told as
    /// [`ServerEvent::BroadcastFailed`](super::ServerEvent::BroadcastFailed). It fails as `TooLarge` in a group with more
    /// devices online, and as the last member failed if nobody has it. The handle that this returns says how far it is and
    /// how it ends; it goes on without it.
    ///
    /// # Errors
    /// `Busy` with 8 blobs of the application under way, `TooLarge` for a name of more than 1,024 bytes, `ConnectionLost`
    /// once the server is over.
    pub fn broadcast_blob(
        &self,
        group: &GroupId,
        info_type: u32,
        name: &str,
        source: impl BlobSource,
    ) -> Result<SendingBlob, Failure> {
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
    ) -> Result<SendingBlob, Failure> {
        let shared = &self.0;
        let (total, can_seek) = (source.total(), source.can_seek());
        let blob = OutgoingBlob { info_type, name: name.into(), total, fragment: options.fragment, can_seek };
        let transfer = Transfer::new(total);
        let id = {
            // Its outcome may come from another thread before this one is back; it finds the blob all the same.
            let mut sendings = lock(&shared.state.blobs.0);
            let Some(sendings) = sendings.as_mut() else { return Err(Failure::ConnectionLost) };
            let id = shared.node.broadcast_blob(shared.runtime.now(), group, &blob)?;
            sendings.insert(id, transfer.clone());
            id
        };
        shared.runtime.spawn(Box::pin(feed(id, shared.clone(), transfer.clone(), source)));
        Ok(SendingBlob::new(id, shared.clone(), transfer))
    }
}
