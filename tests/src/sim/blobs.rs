//! Blobs: byte for byte, or an explicit outcome.

use bytes::Bytes;
use esf_proto::{
    client::{BlobEvent, BlobId, IncomingBlob},
    ids::Source,
};

use super::{
    Sim,
    ledger::{Kind, Party, body_of, number_in},
};

impl Sim {
    /// A client hears of a blob that comes to it.
    pub(super) fn blob_event(&mut self, engine: usize, event: &BlobEvent) {
        let now = self.now;
        let of = &mut self.engines[engine];
        let local = of.clock.shows(now);
        if let BlobEvent::Offered(offer) = event {
            of.blob_sources.insert(offer.blob, offer.source.clone());
        }
        of.blobs.on_event(local, &mut of.session, event);
        match event {
            BlobEvent::Whole { incoming: IncomingBlob { blob, .. }, .. } | BlobEvent::Readable { blob } => {
                self.blob_is_whole(engine, *blob);
            }
            _ => {}
        }
    }

    fn blob_is_whole(&mut self, engine: usize, blob: BlobId) {
        let of = &mut self.engines[engine];
        if of.blobs.got.get(&blob).is_none_or(|(_, whole)| !whole) {
            return;
        }
        let Some(source) = of.blob_sources.remove(&blob) else { return };
        let body = of.blobs.got.get_mut(&blob).map(|(body, _)| std::mem::take(body)).unwrap_or_default();
        self.blob_runs(Party::Engine(engine), &source, &body);
    }

    /// A blob came whole.
    pub(super) fn blob_runs(&mut self, by: Party, source: &Source, body: &[u8]) {
        if self.is_stranger(source) {
            return;
        }
        let number = number_in(body).unwrap_or(u32::MAX);
        let len = self.ledger.sent(number).map_or(0, |sent| sent.len);
        if body != Bytes::clone(&body_of(number, len)) {
            return self.violate("8 blobs", format!("blob #{number} comes with other bytes than were sent"));
        }
        self.runs(by, number, Kind::Blob, source, body, false);
    }
}
