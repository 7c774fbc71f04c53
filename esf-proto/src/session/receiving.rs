//! Blobs that arrive: reassembly at a client, and at a server for its own application.

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use core::time::Duration;

use bytes::{Bytes, BytesMut};

use super::{
    blob::{
        BlobEvent, BlobId, BlobRead, CREDIT_STEP, FRAGMENT, IncomingBlob, LOST, SILENCE, STREAM_WINDOW, STREAMS,
        STREAMS_OF_SOURCE, TakeBlob,
    },
    dedupe::Verdict,
    senders::Senders,
};
use crate::{
    failure::Failure,
    ids::{DeviceKind, GroupId, Source},
    time::{Instant, UnixMillis},
};

/// Bytes of blobs that are taken whole, all together.
const ASSEMBLY: u64 = 128 << 20;
/// Pieces of a stream below this are joined.
const SMALL: usize = 1024;
/// Less than a step is said after so long, so that whoever is slow is not taken for one who stands still.
const PATIENCE: Duration = Duration::from_secs(5);
/// Ended blobs whose outcome is remembered.
const ENDED: usize = 64;

/// The blobs that arrive at one engine: at most 8 at a time, 4 of one source, 128 MiB of those that are taken whole
/// (ESF-345).
#[derive(Debug, Default)]
pub(crate) struct Receiving {
    incoming: Vec<Incoming>,
    ended: VecDeque<Ended>,
    senders: Senders,
    answers: VecDeque<Answer>,
    last: u64,
    assembled: u64,
}

/// What a blob came to, for its sender.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) to: Source,
    pub(crate) id: u64,
    pub(crate) outcome: Result<(), Failure>,
}

#[derive(Debug)]
struct Ended {
    source: Source,
    id: u64,
    outcome: Result<(), Failure>,
}

#[derive(Debug)]
struct Incoming {
    blob: BlobId,
    source: Source,
    group: Option<GroupId>,
    id: u64,
    stream: u64,
    info_type: u32,
    name: Box<str>,
    sent_at: Option<UnixMillis>,
    /// The application has heard of it.
    offered: bool,
    total: Option<u64>,
    end: Option<u64>,
    phase: Phase,
    /// Bytes from its start that are here, or were.
    held: u64,
    /// What this side said last that it holds; `None` on a new link, until it is said.
    stated: Option<u64>,
    /// When a part of a step is said.
    part_at: Option<Instant>,
    /// A part of a step is to be said now.
    part_due: bool,
    /// The sender, or its credit, is awaited: no credit is told.
    away: bool,
    /// Something happened that the application has not heard of.
    told: bool,
    until: Instant,
}

#[derive(Debug)]
enum Phase {
    Offered,
    Whole(BytesMut),
    Stream {
        chunks: VecDeque<Bytes>,
        read: u64,
    },
    /// Whole, and its sender was told.
    Done(Bytes),
    Failed(Failure),
}

/// An offer as it came.
#[derive(Debug)]
pub(crate) struct Offer<'a> {
    pub(crate) source: Source,
    pub(crate) group: Option<GroupId>,
    pub(crate) id: u64,
    pub(crate) again: bool,
    pub(crate) stream: u64,
    pub(crate) total: Option<u64>,
    pub(crate) info_type: u32,
    pub(crate) name: &'a str,
    pub(crate) sent_at: Option<UnixMillis>,
}

/// What a fragment was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    /// New bytes, or the end of the blob.
    Taken,
    /// Nothing new.
    Again,
    /// Of no stream that is known here.
    Unknown,
    /// Out of order, or more than this side said it takes.
    Wrong,
}

impl Receiving {
    // What comes from the sender.

    pub(crate) fn on_offer(&mut self, now: Instant, offer: Offer<'_>) {
        let Offer { source, group, id, again, stream, total, info_type, name, sent_at } = offer;
        if let Some(known) = self.incoming.iter_mut().find(|incoming| incoming.id == id && incoming.source == source) {
            // Offered again: it goes on where it was.
            known.stream = stream;
            known.away = false;
            known.stated = None;
            known.until = now + SILENCE;
            let outcome = match (&known.phase, known.total == total) {
                (Phase::Done(_), _) => Some(Ok(())),
                (Phase::Failed(failure), _) => Some(Err(*failure)),
                (_, true) => None,
                (_, false) => {
                    let blob = known.blob;
                    return self.fail(blob, Failure::Malformed);
                }
            };
            if let Some(outcome) = outcome {
                self.answer(source, id, outcome);
            }
            return;
        }
        if let Some(ended) = self.ended.iter().find(|ended| ended.id == id && ended.source == source) {
            let outcome = ended.outcome;
            return self.answer(source, id, outcome);
        }
        let verdict = match &source {
            Source::Server(instance) => self.senders.accept(None, DeviceKind::SERVICE, *instance, id, again),
            Source::Engine(from) => self.senders.accept(Some(&from.user), from.device, from.instance, id, again),
        };
        let of_source = self.incoming.iter().filter(|incoming| incoming.source == source).count();
        let clash = self.incoming.iter().any(|incoming| incoming.stream == stream);
        if verdict != Verdict::Run {
            // It ran, or nobody knows.
            self.answer(source, id, Err(Failure::ConnectionLost));
        } else if clash || self.incoming.len() >= STREAMS || of_source >= STREAMS_OF_SOURCE {
            self.end(source, id, Err(Failure::Busy));
        } else {
            self.last += 1;
            self.incoming.push(Incoming {
                blob: BlobId(self.last),
                source,
                group,
                id,
                stream,
                info_type,
                name: name.into(),
                sent_at,
                offered: false,
                total,
                end: None,
                phase: Phase::Offered,
                held: 0,
                stated: None,
                part_at: None,
                part_due: false,
                away: false,
                told: false,
                until: now + SILENCE,
            });
        }
    }

    /// `part` is the data of a fragment, to be shared; only what is new is taken.
    pub(crate) fn on_fragment(&mut self, now: Instant, stream: u64, offset: u64, data: &Bytes, largest: u64) -> Piece {
        let Some(incoming) = self.incoming.iter_mut().find(|incoming| incoming.stream == stream) else {
            return Piece::Unknown;
        };
        if data.is_empty() || data.len() > FRAGMENT {
            return Piece::Wrong;
        }
        let held = incoming.held;
        let until = offset.saturating_add(data.len() as u64);
        if until <= held {
            return Piece::Again;
        }
        let admitted = incoming.stated.is_some_and(|stated| until <= stated.saturating_add(STREAM_WINDOW));
        if offset > held || !admitted {
            return Piece::Wrong;
        }
        let blob = incoming.blob;
        if [incoming.total, incoming.end].into_iter().flatten().any(|total| until > total) {
            self.fail(blob, Failure::Malformed);
            return Piece::Taken;
        }
        // What is here already is passed over.
        let known = usize::try_from(held - offset).unwrap_or(usize::MAX);
        let new = data.slice(known.min(data.len())..);
        let len = new.len() as u64;
        incoming.until = now + SILENCE;
        match &mut incoming.phase {
            Phase::Whole(_) if until > largest => self.fail(blob, Failure::TooLarge),
            Phase::Whole(_) if self.assembled.saturating_add(len) > ASSEMBLY => self.fail(blob, Failure::Busy),
            Phase::Whole(body) => {
                if body.capacity() - body.len() < new.len() {
                    // Twice as much, but never more than there is to come.
                    let most = incoming.total.unwrap_or(largest).min(largest);
                    let wanted = (until * 2).min(most).saturating_sub(held);
                    body.reserve(usize::try_from(wanted).unwrap_or(0).max(new.len()));
                }
                body.extend_from_slice(&new);
                incoming.held = until;
                incoming.part_at.get_or_insert(now + PATIENCE);
                self.assembled += len;
            }
            Phase::Stream { chunks, .. } => {
                if chunks.is_empty() {
                    incoming.told = false;
                }
                append(chunks, new);
                incoming.held = until;
            }
            Phase::Offered | Phase::Done(_) | Phase::Failed(_) => return Piece::Again,
        }
        self.check_whole(blob);
        Piece::Taken
    }

    pub(crate) fn on_end(&mut self, source: &Source, stream: u64, total: u64) {
        let Some(incoming) = self.of_stream(source, stream) else { return };
        let blob = incoming.blob;
        if incoming.total.is_some_and(|announced| announced != total) || incoming.held > total {
            return self.fail(blob, Failure::Malformed);
        }
        incoming.end = Some(total);
        self.check_whole(blob);
    }

    /// The sender takes it back, or the server says that the sender is gone; `server` says whether the server says it.
    pub(crate) fn on_cancel(&mut self, now: Instant, from: &Source, server: bool, stream: u64, code: Failure) {
        let of_sender = |incoming: &&mut Incoming| incoming.stream == stream && (server || incoming.source == *from);
        let Some(incoming) = self.incoming.iter_mut().find(of_sender) else { return };
        if server && code == Failure::ConnectionLost {
            // It may come again and go on.
            incoming.away = true;
            incoming.until = now + LOST;
            return;
        }
        let blob = incoming.blob;
        if matches!(incoming.phase, Phase::Done(_) | Phase::Failed(_)) {
            return;
        }
        self.over(blob, code);
    }

    // What the application says.

    pub(crate) fn accept(&mut self, now: Instant, blob: BlobId, take: TakeBlob, largest: u64) {
        let Some(incoming) = self.of_blob(blob) else { return };
        if !matches!(incoming.phase, Phase::Offered) {
            return;
        }
        incoming.until = now + SILENCE;
        incoming.phase = match take {
            TakeBlob::Whole if incoming.total.is_some_and(|total| total > largest) => {
                return self.fail(blob, Failure::TooLarge);
            }
            TakeBlob::Whole => Phase::Whole(BytesMut::new()),
            TakeBlob::Stream => Phase::Stream { chunks: VecDeque::new(), read: 0 },
        };
        self.check_whole(blob);
    }

    pub(crate) fn read(&mut self, now: Instant, blob: BlobId) -> BlobRead {
        let Some(incoming) = self.of_blob(blob) else { return BlobRead::Gone };
        let at_end = incoming.is_whole();
        let Phase::Stream { chunks, read } = &mut incoming.phase else { return BlobRead::Gone };
        incoming.until = now + SILENCE;
        match chunks.pop_front() {
            Some(chunk) => {
                *read += chunk.len() as u64;
                incoming.part_at.get_or_insert(now + PATIENCE);
                BlobRead::Data(chunk)
            }
            None if at_end => BlobRead::End,
            None => BlobRead::Wait,
        }
    }

    /// The application has done with it: a stream that was read to its end is whole if it says so, anything else is
    /// refused for its reason. Also frees the place of one that is over.
    pub(crate) fn finish(&mut self, blob: BlobId, outcome: Result<(), Failure>) {
        let Some(at) = self.incoming.iter().position(|incoming| incoming.blob == blob) else { return };
        let incoming = self.incoming.remove(at);
        self.assembled -= incoming.assembled();
        let read_all =
            matches!(&incoming.phase, Phase::Stream { chunks, .. } if chunks.is_empty()) && incoming.is_whole();
        match incoming.phase {
            Phase::Done(_) => self.remember(incoming.source, incoming.id, Ok(())),
            Phase::Failed(failure) => self.remember(incoming.source, incoming.id, Err(failure)),
            _ => {
                let outcome = if outcome.is_ok() && !read_all { Err(Failure::Cancelled) } else { outcome };
                self.end(incoming.source, incoming.id, outcome);
            }
        }
    }

    // Links and time.

    /// There is a new link. What arrives goes on from where this side says that it is; in a new session its sender
    /// offers it again first.
    pub(crate) fn on_link(&mut self, now: Instant, resumed: bool) {
        for incoming in &mut self.incoming {
            incoming.stated = None;
            if !resumed {
                incoming.away = true;
                incoming.until = now + LOST;
            }
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let ends = self.incoming.iter().filter(|incoming| incoming.is_open()).map(|incoming| incoming.until);
        ends.chain(self.incoming.iter().filter_map(|incoming| incoming.part_at)).min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for incoming in &mut self.incoming {
            if incoming.part_at.is_some_and(|at| at <= now) {
                (incoming.part_at, incoming.part_due) = (None, true);
            }
        }
        while let Some(late) = self.incoming.iter().find(|incoming| incoming.is_open() && incoming.until <= now) {
            let failure = if late.away { Failure::ConnectionLost } else { Failure::TimedOut };
            let blob = late.blob;
            self.fail(blob, failure);
        }
    }

    /// Its only sender is gone: what is under way comes to nothing.
    pub(crate) fn sender_gone(&mut self, failure: Failure) {
        while let Some(blob) = self.incoming.iter().find(|incoming| incoming.is_open()).map(|incoming| incoming.blob) {
            self.over(blob, failure);
        }
        self.answers.clear();
    }

    /// Forgets everything: the engine ends.
    pub(crate) fn clear(&mut self) {
        *self = Self { last: self.last, ..Self::default() };
    }

    // What comes of it.

    /// What this side holds of a stream, if it is time to say so.
    pub(crate) fn poll_credit(&mut self) -> Option<(u64, u64)> {
        self.incoming.iter_mut().find_map(Incoming::credit)
    }

    pub(crate) fn poll_answer(&mut self) -> Option<Answer> {
        self.answers.pop_front()
    }

    pub(crate) fn poll_event(&mut self) -> Option<BlobEvent> {
        let mut over = None;
        let event = self.incoming.iter_mut().find_map(|incoming| {
            let blob = incoming.blob;
            if !core::mem::replace(&mut incoming.offered, true) {
                return Some(BlobEvent::Offered(incoming.as_offered()));
            }
            if !incoming.has_news() {
                return None;
            }
            incoming.told = true;
            match &mut incoming.phase {
                Phase::Offered | Phase::Whole(_) => None,
                Phase::Stream { .. } => Some(BlobEvent::Readable { blob }),
                Phase::Done(body) => {
                    let body = core::mem::take(body);
                    Some(BlobEvent::Whole { incoming: incoming.as_offered(), body })
                }
                Phase::Failed(failure) => {
                    over = Some(blob);
                    Some(BlobEvent::Ended { blob, failure: *failure })
                }
            }
        });
        if let Some(blob) = over {
            self.finish(blob, Ok(()));
        }
        event
    }

    /// Whether [`Receiving::poll_event`] has something.
    pub(crate) fn has_event(&self) -> bool {
        self.incoming.iter().any(|incoming| !incoming.offered || incoming.has_news())
    }

    /// Blobs that are under way, or whole and not released.
    pub(crate) fn len(&self) -> usize {
        self.incoming.len()
    }

    /// Bytes that they hold.
    pub(crate) fn held_bytes(&self) -> usize {
        self.incoming.iter().map(Incoming::memory).sum()
    }

    fn check_whole(&mut self, blob: BlobId) {
        let Some(incoming) = self.of_blob(blob) else { return };
        if !incoming.is_whole() {
            return;
        }
        match &mut incoming.phase {
            Phase::Whole(body) => {
                incoming.phase = Phase::Done(core::mem::take(body).freeze());
                incoming.told = false;
                let (source, id) = (incoming.source.clone(), incoming.id);
                self.answer(source, id, Ok(()));
            }
            Phase::Stream { chunks, .. } if chunks.is_empty() => incoming.told = false,
            _ => {}
        }
    }

    /// It comes to nothing here, and its sender is told.
    fn fail(&mut self, blob: BlobId, failure: Failure) {
        let Some(incoming) = self.of_blob(blob) else { return };
        let (source, id) = (incoming.source.clone(), incoming.id);
        self.answer(source, id, Err(failure));
        self.over(blob, failure);
    }

    /// It comes to nothing, as its sender knows.
    fn over(&mut self, blob: BlobId, failure: Failure) {
        let Some(incoming) = self.of_blob(blob) else { return };
        let freed = incoming.assembled();
        let unheard = !incoming.offered;
        incoming.phase = Phase::Failed(failure);
        incoming.told = false;
        self.assembled -= freed;
        if unheard {
            // Nobody heard of its beginning, so nobody needs to hear of its end.
            self.finish(blob, Ok(()));
        }
    }

    fn end(&mut self, source: Source, id: u64, outcome: Result<(), Failure>) {
        self.remember(source.clone(), id, outcome);
        self.answer(source, id, outcome);
    }

    fn remember(&mut self, source: Source, id: u64, outcome: Result<(), Failure>) {
        if self.ended.len() >= ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back(Ended { source, id, outcome });
    }

    fn answer(&mut self, to: Source, id: u64, outcome: Result<(), Failure>) {
        self.answers.push_back(Answer { to, id, outcome });
    }

    fn of_blob(&mut self, blob: BlobId) -> Option<&mut Incoming> {
        self.incoming.iter_mut().find(|incoming| incoming.blob == blob)
    }

    fn of_stream(&mut self, source: &Source, stream: u64) -> Option<&mut Incoming> {
        let of_sender = |incoming: &&mut Incoming| incoming.stream == stream && incoming.source == *source;
        self.incoming.iter_mut().find(of_sender)
    }
}

/// Adds what came to what waits for its reader. Small pieces are joined, so that their places are no larger than they.
fn append(chunks: &mut VecDeque<Bytes>, new: Bytes) {
    match chunks.back_mut() {
        Some(back) if back.len() < SMALL && new.len() < SMALL => {
            let mut both = BytesMut::with_capacity(back.len() + new.len());
            both.extend_from_slice(back);
            both.extend_from_slice(&new);
            *back = both.freeze();
        }
        _ => chunks.push_back(new),
    }
}

impl Incoming {
    fn is_whole(&self) -> bool {
        self.end == Some(self.held)
    }

    /// What the application hears of it.
    fn as_offered(&self) -> IncomingBlob {
        let Self { blob, info_type, total, sent_at, .. } = *self;
        let (source, group, name) = (self.source.clone(), self.group.clone(), self.name.clone());
        IncomingBlob { blob, source, group, info_type, name, total, sent_at }
    }

    /// Whether something happened that the application has not heard of, beside the offer.
    fn has_news(&self) -> bool {
        !self.told
            && match &self.phase {
                Phase::Offered | Phase::Whole(_) => false,
                Phase::Stream { chunks, .. } => !chunks.is_empty() || self.is_whole(),
                Phase::Done(_) | Phase::Failed(_) => true,
            }
    }

    /// Whether more of it is to come.
    fn is_open(&self) -> bool {
        match self.phase {
            Phase::Offered | Phase::Whole(_) => true,
            // One that is here to its end waits for nobody but its reader.
            Phase::Stream { .. } => !self.is_whole(),
            Phase::Done(_) | Phase::Failed(_) => false,
        }
    }

    fn assembled(&self) -> u64 {
        match self.phase {
            Phase::Whole(_) | Phase::Done(_) => self.held,
            _ => 0,
        }
    }

    fn memory(&self) -> usize {
        match &self.phase {
            Phase::Whole(body) => body.capacity(),
            Phase::Stream { chunks, .. } => chunks.iter().map(Bytes::len).sum(),
            Phase::Done(body) => body.len(),
            Phase::Offered | Phase::Failed(_) => 0,
        }
    }

    fn credit(&mut self) -> Option<(u64, u64)> {
        let held = match self.phase {
            Phase::Whole(_) => self.held,
            Phase::Stream { read, .. } => read,
            _ => return None,
        };
        let step = if self.part_due { 1 } else { CREDIT_STEP };
        let due = self.stated.is_none_or(|stated| held >= stated.saturating_add(step));
        let more = self.stated.is_none() || self.part_due || self.total.is_none_or(|total| self.held < total);
        if self.away || !due || !more {
            return None;
        }
        // A reader that lags does not take back what is here already.
        (self.stated, self.part_at, self.part_due) = (Some(held), None, false);
        Some((self.stream, held))
    }
}

#[cfg(test)]
mod tests;
