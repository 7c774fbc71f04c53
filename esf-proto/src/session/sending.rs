//! Blobs that an engine sends.

use alloc::{collections::VecDeque, vec::Vec};
use core::{
    hash::{BuildHasher, Hasher},
    time::Duration,
};

use bytes::Bytes;
use siphasher::sip::SipHasher13;

use super::blob::{BlobNeed, CREDIT_STEP, FRAGMENT, LOST, OutgoingBlob, STREAM_WINDOW};
use crate::{
    failure::Failure,
    ids::{GroupId, MessageId, To},
    time::Instant,
    wire::Address,
};

/// Blobs that may be under way from one engine.
const OPEN: usize = super::blob::STREAMS;
/// How long until a receiver that is not back yet is looked for again.
const PAUSE: Duration = Duration::from_secs(1);

/// The blobs that one engine sends, each of which ends in exactly one outcome (ESF-340).
///
/// Bytes are asked for as far as the receivers' credit goes and kept until every receiver holds them, so a resume, and
/// even a new session, goes on without asking for them again.
#[derive(Debug, Default)]
pub(crate) struct Sending {
    open: VecDeque<Outgoing>,
    /// Whose turn it is to hand out a fragment.
    turn: usize,
}

/// Where a blob goes.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    To(To),
    Group(GroupId),
}

#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) id: MessageId,
    pub(crate) stream: u64,
    pub(crate) to: Target,
    /// The offer, to be sent again in a new session.
    pub(crate) offer: Bytes,
    total: Option<u64>,
    fragment: usize,
    can_seek: bool,
    /// Whether the offer was handed out in the present session.
    handed_out: bool,
    /// Whether it was ever handed out.
    ever: bool,
    chunks: VecDeque<Bytes>,
    /// Where `chunks` begin.
    base: u64,
    /// Where they end.
    given: u64,
    /// Whether that is the end of the blob.
    whole: bool,
    /// The next byte to hand out on this link.
    next: u64,
    /// What was handed out at most.
    reached: u64,
    /// What every receiver holds, as far as this link has told.
    held: Option<u64>,
    asked: Option<u64>,
    end_told: bool,
    progress: Option<u64>,
    /// Until when a receiver that was there before a new session may come back.
    awaited: Option<Instant>,
    /// When the blob is offered to it again.
    offer_at: Option<Instant>,
}

/// Draws the ids of streams: nobody else can say the next one, so nobody can take it before.
#[derive(Debug, Clone)]
pub(crate) struct StreamIds {
    keys: (u64, u64),
    last: u64,
}

impl StreamIds {
    pub(crate) const fn new(keys: (u64, u64)) -> Self {
        Self { keys, last: 0 }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.last += 1;
        let mut hasher = self.build_hasher();
        hasher.write_u64(self.last);
        hasher.finish()
    }
}

impl BuildHasher for StreamIds {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.keys.0, self.keys.1)
    }
}

/// A piece of a stream to hand out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) stream: u64,
    pub(crate) offset: u64,
    pub(crate) last: bool,
    pub(crate) data: Bytes,
}

/// What a credit did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Credited {
    /// It says something new.
    Ahead,
    /// It says nothing new, or of no stream that is open here.
    Ignored,
    /// The blob cannot go on from there: this is its outcome.
    Failed(MessageId, Failure),
}

impl Sending {
    /// Whether another blob may be sent.
    pub(crate) fn admits(&self) -> bool {
        self.open.len() < OPEN
    }

    pub(crate) fn open(&mut self, id: MessageId, stream: u64, to: Target, blob: &OutgoingBlob, offer: Bytes) {
        self.open.push_back(Outgoing {
            id,
            stream,
            to,
            offer,
            total: blob.total,
            fragment: blob.fragment.clamp(1, FRAGMENT),
            can_seek: blob.can_seek,
            handed_out: false,
            ever: false,
            chunks: VecDeque::new(),
            base: 0,
            given: 0,
            whole: false,
            next: 0,
            reached: 0,
            held: None,
            asked: None,
            end_told: false,
            progress: None,
            awaited: None,
            offer_at: None,
        });
    }

    /// The offer went out.
    pub(crate) fn handed_out(&mut self, id: MessageId) {
        if let Some(outgoing) = self.find(id) {
            outgoing.handed_out = true;
            outgoing.ever = true;
        }
    }

    // The source.

    /// What the source is to give next.
    pub(crate) fn poll_need(&mut self) -> Option<BlobNeed> {
        self.open.iter_mut().find_map(|outgoing| {
            let held = outgoing.held?;
            let room = held.saturating_add(STREAM_WINDOW).saturating_sub(outgoing.given);
            // Ask for enough at a time, but never wait for room that cannot come.
            let enough = room >= CREDIT_STEP || outgoing.given == held;
            if outgoing.whole || outgoing.asked.is_some() || !enough {
                return None;
            }
            outgoing.asked = Some(outgoing.given);
            let max = usize::try_from(room.min(CREDIT_STEP)).unwrap_or(FRAGMENT);
            Some(BlobNeed { id: outgoing.id, offset: outgoing.given, max })
        })
    }

    /// Bytes from `offset` on; `last` if the blob ends with them. Fails if they do not fit what the offer said. Bytes
    /// that were not asked for are ignored.
    pub(crate) fn give(&mut self, id: MessageId, offset: u64, data: Bytes, last: bool) -> Result<(), Failure> {
        let Some(outgoing) = self.find(id).filter(|outgoing| outgoing.asked == Some(offset)) else { return Ok(()) };
        outgoing.asked = None;
        let until = offset.saturating_add(data.len() as u64);
        let fits = outgoing.total.is_none_or(|total| if last { until == total } else { until <= total });
        if !fits {
            return Err(Failure::Malformed);
        }
        if !data.is_empty() {
            outgoing.chunks.push_back(data);
        }
        outgoing.given = until;
        outgoing.whole = last;
        Ok(())
    }

    // The link.

    pub(crate) fn on_credit(&mut self, stream: u64, offset: u64) -> Credited {
        let Some(outgoing) = self.open.iter_mut().find(|outgoing| outgoing.stream == stream) else {
            return Credited::Ignored;
        };
        if outgoing.held.is_some_and(|held| offset < held) {
            return Credited::Ignored;
        }
        if offset > outgoing.reached {
            // Nobody can hold what was never sent.
            return Credited::Failed(outgoing.id, Failure::Malformed);
        }
        if offset < outgoing.base {
            // Who receives it now has not seen its beginning.
            if !outgoing.can_seek {
                return Credited::Failed(outgoing.id, Failure::ConnectionLost);
            }
            outgoing.chunks.clear();
            (outgoing.base, outgoing.given, outgoing.whole, outgoing.asked) = (offset, offset, false, None);
        }
        if outgoing.held.is_none() {
            outgoing.next = offset;
        }
        outgoing.next = outgoing.next.max(offset);
        outgoing.held = Some(offset);
        outgoing.progress = Some(offset);
        outgoing.forget(offset);
        Credited::Ahead
    }

    /// The next fragment; each blob in its turn.
    pub(crate) fn poll_fragment(&mut self) -> Option<Piece> {
        for _ in 0..self.open.len() {
            self.turn = (self.turn + 1) % self.open.len();
            if let Some(piece) = self.open.get_mut(self.turn).and_then(Outgoing::fragment) {
                return Some(piece);
            }
        }
        None
    }

    /// Whether [`Sending::poll_fragment`] has something.
    pub(crate) fn has_fragment(&self) -> bool {
        self.open.iter().any(|outgoing| outgoing.sendable() > 0)
    }

    /// A blob whose every byte was handed out: its end is to be told, once a session.
    pub(crate) fn poll_end(&mut self) -> Option<(&Outgoing, u64)> {
        let at_end = |outgoing: &Outgoing| {
            outgoing.held.is_some() && outgoing.whole && outgoing.next == outgoing.given && !outgoing.end_told
        };
        let outgoing = self.open.iter_mut().find(|outgoing| at_end(outgoing))?;
        outgoing.end_told = true;
        let total = outgoing.given;
        Some((outgoing, total))
    }

    /// The link is gone: nothing goes out on the next before its credit.
    pub(crate) fn link_lost(&mut self) {
        for outgoing in &mut self.open {
            outgoing.held = None;
        }
    }

    /// The session is a new one: the blobs to offer again, in the order of their ids.
    pub(crate) fn after_fresh(&mut self, now: Instant) -> Vec<(MessageId, Bytes)> {
        let mut again = Vec::new();
        for outgoing in &mut self.open {
            if core::mem::take(&mut outgoing.handed_out) {
                outgoing.end_told = false;
                outgoing.awaited = Some(now + LOST);
                outgoing.offer_at = None;
                again.push((outgoing.id, outgoing.offer.clone()));
            }
        }
        again
    }

    /// Nobody is there for it. After a new session its receivers may come back later than this side did: then it is
    /// offered again in a while, and has no outcome yet.
    pub(crate) fn awaits(&mut self, now: Instant, id: MessageId) -> bool {
        let Some(outgoing) = self.find(id) else { return false };
        let waits = outgoing.awaited.is_some_and(|until| now < until);
        outgoing.offer_at = waits.then(|| now + PAUSE);
        waits
    }

    /// A blob that is to be offered again now.
    pub(crate) fn poll_offer(&mut self, now: Instant) -> Option<(MessageId, Bytes)> {
        let due = |outgoing: &&mut Outgoing| outgoing.offer_at.is_some_and(|at| at <= now);
        let outgoing = self.open.iter_mut().find(due)?;
        outgoing.offer_at = None;
        outgoing.handed_out = false;
        Some((outgoing.id, outgoing.offer.clone()))
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.open.iter().filter_map(|outgoing| outgoing.offer_at).min()
    }

    // Ends.

    /// The outcome came from there: takes the blob out if it was sent there, or if the server says so by `server_may`.
    pub(crate) fn answered(&mut self, id: MessageId, from: &Address<'_>, server_may: bool) -> Option<Outgoing> {
        let at = self.open.iter().position(|outgoing| outgoing.id == id)?;
        let to = self.open.get(at).map(|outgoing| outgoing.to.clone())?;
        let entitled = to.is_answered_by(from) || server_may && matches!(from, Address::Server { .. });
        if entitled { self.open.remove(at) } else { None }
    }

    pub(crate) fn take(&mut self, id: MessageId) -> Option<Outgoing> {
        let at = self.open.iter().position(|outgoing| outgoing.id == id)?;
        self.open.remove(at)
    }

    pub(crate) fn pop_first(&mut self) -> Option<Outgoing> {
        self.open.pop_front()
    }

    /// How many bytes every receiver holds, of a blob where that has changed; and how many it has in all.
    pub(crate) fn poll_progress(&mut self) -> Option<(MessageId, u64, Option<u64>)> {
        self.open.iter_mut().find_map(|outgoing| {
            let held = outgoing.progress.take()?;
            Some((outgoing.id, held, outgoing.total))
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Bytes that wait here.
    pub(crate) fn held_bytes(&self) -> usize {
        self.open.iter().flat_map(|outgoing| &outgoing.chunks).map(Bytes::len).sum()
    }

    fn find(&mut self, id: MessageId) -> Option<&mut Outgoing> {
        self.open.iter_mut().find(|outgoing| outgoing.id == id)
    }
}

impl Target {
    /// Whether an outcome comes from there: that of a blob to a group is the server's.
    fn is_answered_by(&self, from: &Address<'_>) -> bool {
        match self {
            Self::To(to) => super::pending::answers(to, from),
            Self::Group(_) => matches!(from, Address::Server { .. }),
        }
    }

    pub(crate) const fn is_group(&self) -> bool {
        matches!(self, Self::Group(_))
    }
}

impl Outgoing {
    /// Whether its offer may have reached somebody.
    pub(crate) const fn may_have_arrived(&self) -> bool {
        self.ever
    }

    /// Whether everything of it was handed out in this session, its end too.
    pub(crate) const fn is_sent(&self) -> bool {
        self.end_told
    }

    /// Whether its receivers may hold a part of it from another session, so that no failure says that nothing arrived.
    pub(crate) const fn was_offered_again(&self) -> bool {
        self.awaited.is_some()
    }

    /// Bytes that may go out now.
    fn sendable(&self) -> u64 {
        let Some(held) = self.held else { return 0 };
        self.given.min(held.saturating_add(STREAM_WINDOW)).saturating_sub(self.next)
    }

    fn fragment(&mut self) -> Option<Piece> {
        let most = usize::try_from(self.sendable()).unwrap_or(self.fragment).min(self.fragment);
        if most == 0 {
            return None;
        }
        let mut at = self.base;
        let data = self.chunks.iter().find_map(|chunk| {
            let (from, until) = (at, at + chunk.len() as u64);
            at = until;
            if until <= self.next {
                return None;
            }
            let skip = usize::try_from(self.next.saturating_sub(from)).ok()?;
            let end = chunk.len().min(skip + most);
            (skip < end).then(|| chunk.slice(skip..end))
        })?;
        let offset = self.next;
        self.next += data.len() as u64;
        self.reached = self.reached.max(self.next);
        let last = self.whole && self.next == self.given;
        Some(Piece { stream: self.stream, offset, last, data })
    }

    /// What every receiver holds is not needed any more.
    fn forget(&mut self, held: u64) {
        while let Some(chunk) = self.chunks.front_mut() {
            let len = chunk.len() as u64;
            if self.base + len <= held {
                self.base += len;
                self.chunks.pop_front();
                continue;
            }
            if held > self.base {
                let passed = usize::try_from(held - self.base).unwrap_or(0);
                *chunk = chunk.slice(passed.min(chunk.len())..);
                self.base = held;
            }
            break;
        }
        if self.chunks.is_empty() {
            self.base = self.base.max(held.min(self.given));
        }
    }
}

#[cfg(test)]
mod tests;
