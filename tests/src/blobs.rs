//! What the application of a client in the [`World`](crate::world::World) does with blobs.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use esf_driver::node::{Cell, Node};
use esf_proto::{
    client::{BlobEvent, BlobId, BlobRead, IncomingBlob, OutgoingBlob, Session, TakeBlob},
    failure::Failure,
    ids::{GroupId, MessageId, To},
    time::Instant,
};

/// The blobs that a client sends and gets.
#[derive(Debug, Default)]
pub struct Blobs {
    sources: BTreeMap<MessageId, Bytes>,
    /// Offsets that were asked for, in their order.
    pub asked: Vec<(MessageId, u64)>,
    /// What it does with an offer.
    pub taking: Taking,
    /// Whether it reads what it takes as a stream, and has done with what it takes whole.
    pub reads: Reads,
    /// Everything that was offered.
    pub offers: Vec<IncomingBlob>,
    /// What it has of each: bytes, and whether that is all.
    pub got: BTreeMap<BlobId, (Vec<u8>, bool)>,
    /// Those that came to nothing.
    pub ended: Vec<(BlobId, Failure)>,
}

/// What becomes of an offer.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Taking {
    /// Taken whole.
    #[default]
    Whole,
    /// Taken as a stream.
    Stream,
    /// Refused.
    Refused(Failure),
    /// Nobody decides.
    Undecided,
}

/// Whether an application takes what there is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// At once.
    #[default]
    Yes,
    /// Not at present.
    No,
}

/// `len` bytes that differ from place to place.
#[must_use]
pub fn content(len: usize) -> Bytes {
    (0..len).map(|at| (at.wrapping_mul(31) ^ (at >> 8)) as u8).collect()
}

fn photo(body: &Bytes) -> OutgoingBlob {
    let mut blob = OutgoingBlob::new(9, Some(body.len() as u64));
    blob.name = "photo.jpg".into();
    blob
}

impl Blobs {
    /// Sends `body`.
    ///
    /// # Panics
    /// If the session does not take it.
    pub fn send(
        &mut self,
        now: Instant,
        session: &mut Session,
        to: &To,
        body: Bytes,
        change: impl FnOnce(&mut OutgoingBlob),
    ) -> MessageId {
        let mut blob = photo(&body);
        change(&mut blob);
        let id = session.send_blob(now, to, &blob).expect("room for a blob");
        self.sources.insert(id, body);
        id
    }

    /// Sends `body` to a group.
    ///
    /// # Panics
    /// If the session does not take it.
    pub fn broadcast(&mut self, now: Instant, session: &mut Session, group: &GroupId, body: Bytes) -> MessageId {
        let id = session.broadcast_blob(now, group, &photo(&body)).expect("room for a blob");
        self.sources.insert(id, body);
        id
    }

    /// Keeps what was sent under this id, to be given when it is asked for.
    pub fn keep(&mut self, id: MessageId, body: Bytes) {
        self.sources.insert(id, body);
    }

    /// No more bytes come of this one.
    pub fn dry(&mut self, id: MessageId) {
        self.sources.remove(&id);
    }

    /// Gives what is asked for.
    pub(crate) fn give(&mut self, now: Instant, session: &mut Session) -> bool {
        let mut moved = false;
        while let Some(need) = session.poll_blob_need() {
            moved = true;
            self.asked.push((need.id, need.offset));
            let Some(source) = self.sources.get(&need.id) else { continue };
            let from = usize::try_from(need.offset).expect("small");
            let until = (from + need.max).min(source.len());
            session.give_blob(now, need.id, need.offset, source.slice(from..until), until == source.len());
        }
        moved
    }

    pub(crate) fn on_event(&mut self, now: Instant, session: &mut Session, event: &BlobEvent) {
        match event {
            BlobEvent::Offered(offer) => {
                self.offers.push(offer.clone());
                match self.taking {
                    Taking::Whole => session.accept_blob(now, offer.blob, TakeBlob::Whole),
                    Taking::Stream => session.accept_blob(now, offer.blob, TakeBlob::Stream),
                    Taking::Refused(failure) => session.finish_blob(now, offer.blob, Err(failure)),
                    Taking::Undecided => {}
                }
            }
            BlobEvent::Whole { incoming, body } => {
                let blob = incoming.blob;
                assert!(self.offers.contains(incoming), "{incoming:?} was not offered so");
                assert!(self.got.insert(blob, (body.to_vec(), true)).is_none(), "{blob:?} came twice");
                if self.reads == Reads::Yes {
                    session.finish_blob(now, blob, Ok(()));
                }
            }
            BlobEvent::Readable { blob } if self.reads == Reads::Yes => self.read(now, session, *blob),
            BlobEvent::Ended { blob, failure } => self.ended.push((*blob, *failure)),
            _ => {}
        }
    }

    /// Reads what there is of a stream.
    pub fn read(&mut self, now: Instant, session: &mut Session, blob: BlobId) {
        let (bytes, whole) = self.got.entry(blob).or_default();
        loop {
            match session.read_blob(now, blob) {
                BlobRead::Data(data) => bytes.extend_from_slice(&data),
                BlobRead::End => {
                    *whole = true;
                    return session.finish_blob(now, blob, Ok(()));
                }
                BlobRead::Wait | BlobRead::Gone => return,
            }
        }
    }

    /// The blobs that came whole.
    #[must_use]
    pub fn whole(&self) -> Vec<&[u8]> {
        self.got.values().filter(|(_, whole)| *whole).map(|(bytes, _)| &bytes[..]).collect()
    }
}

/// The blobs that the server's application gets.
#[derive(Debug, Default)]
pub struct ServerBlobs {
    /// What it does with an offer.
    pub taking: Taking,
    /// Those that came whole.
    pub whole: Vec<Vec<u8>>,
    /// Those that came to nothing.
    pub ended: Vec<Failure>,
    reading: BTreeMap<BlobId, Vec<u8>>,
}

impl ServerBlobs {
    /// Takes what there is of one session.
    pub(crate) fn take(&mut self, now: Instant, node: &Node, cell: &Arc<Cell>) -> bool {
        let mut moved = false;
        while let Some(event) = cell.poll_blob_event() {
            moved = true;
            match event {
                BlobEvent::Offered(offer) => match self.taking {
                    Taking::Whole => cell.accept_blob(node, now, offer.blob, TakeBlob::Whole),
                    Taking::Stream => cell.accept_blob(node, now, offer.blob, TakeBlob::Stream),
                    Taking::Refused(failure) => cell.finish_blob(node, now, offer.blob, Err(failure)),
                    Taking::Undecided => {}
                },
                BlobEvent::Whole { incoming, body } => {
                    self.whole.push(body.to_vec());
                    cell.finish_blob(node, now, incoming.blob, Ok(()));
                }
                BlobEvent::Readable { blob } => loop {
                    match cell.read_blob(now, blob) {
                        BlobRead::Data(data) => self.reading.entry(blob).or_default().extend_from_slice(&data),
                        BlobRead::End => {
                            self.whole.push(self.reading.remove(&blob).unwrap_or_default());
                            cell.finish_blob(node, now, blob, Ok(()));
                            break;
                        }
                        BlobRead::Wait | BlobRead::Gone => break,
                    }
                },
                BlobEvent::Ended { failure, .. } => self.ended.push(failure),
                _ => {}
            }
        }
        moved
    }
}
