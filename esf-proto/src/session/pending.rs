//! What an engine has asked and nobody has answered yet: certain sends, queries and requests.

use alloc::{collections::VecDeque, vec::Vec};
use core::time::Duration;

use bytes::Bytes;

use crate::{
    failure::Failure,
    ids::{MessageId, To},
    time::Instant,
    wire::{Address, Kind},
};

/// Certain sends, queries and requests that may be open at a time.
const OPEN: usize = 1024;
/// Queries and requests among them …
const QUERIES: usize = 256;
/// … and the bytes of their frames, one of any size aside.
const QUERY_BYTES: usize = 256 * 1024;

/// The open operations of one engine, each of which ends in exactly one outcome (ESF-307).
///
/// Whoever ends one takes it out, so that whatever comes later finds nothing. A certain send keeps its frame, to be sent
/// again after a fresh login; those frames are bounded apart from the budget of what waits to go out.
#[derive(Debug)]
pub struct Pending {
    /// In the order of their ids, which count up: most are found by bisection and leave near the front.
    open: VecDeque<(MessageId, Open)>,
    /// No deadline is earlier than this.
    first_deadline: Option<Instant>,
    last: u64,
    queries: usize,
    query_bytes: usize,
    certain_bytes: usize,
    certain_limit: usize,
}

/// One open operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Which of the three: `Certain`, `Query` or `Request`.
    pub kind: Kind,
    /// Who was asked.
    pub to: To,
    /// When it ends with `TimedOut`.
    pub deadline: Instant,
    /// When its frame was handed out in the present session; `None` while it waits.
    pub handed_out: Option<Instant>,
    /// Whether it was sent again after a fresh login: then no failure can say that it did not arrive.
    pub resent: bool,
    /// The frame of a certain send; empty for the others, which are never sent again.
    frame: Bytes,
    size: usize,
}

impl Open {
    /// The failure to tell when `failure` came back.
    #[must_use]
    pub const fn told_as(&self, failure: Failure) -> Failure {
        if self.resent { Failure::ConnectionLost } else { failure }
    }

    /// The failure to tell when the session ends for good.
    #[must_use]
    pub const fn at_the_end(&self) -> Failure {
        if self.resent || self.handed_out.is_some() { Failure::ConnectionLost } else { Failure::Offline }
    }

    /// Whether an answer from there is one to this: of the server if the server was asked, else of the user, and the
    /// device if one was named.
    #[must_use]
    pub fn is_answered_by(&self, from: &Address<'_>) -> bool {
        answers(&self.to, from)
    }
}

/// Whether what went `to` somebody is answered `from` there.
pub(crate) fn answers(to: &To, from: &Address<'_>) -> bool {
    match (to, from) {
        (To::Server, Address::Server { .. }) => true,
        (To::User(asked), Address::Engine { user, .. }) => asked.as_str() == *user,
        (To::Device(asked, on), Address::Engine { user, device, .. }) => asked.as_str() == *user && on == device,
        _ => false,
    }
}

/// What a fresh session means for what was handed out in the old one.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AfterFresh {
    /// Certain sends to queue again, in the order of their ids.
    pub again: Vec<Resend>,
    /// Queries and requests that end with `ConnectionLost`.
    pub lost: Vec<MessageId>,
}

/// A certain send that is queued again.
#[derive(Debug, PartialEq, Eq)]
pub struct Resend {
    /// Its old id.
    pub id: MessageId,
    /// Its old frame.
    pub frame: Bytes,
    /// Its old deadline.
    pub deadline: Instant,
}

impl Pending {
    /// Nothing open; the frames of certain sends may have `certain_limit` bytes together.
    #[must_use]
    pub fn new(certain_limit: usize) -> Self {
        Self {
            open: VecDeque::new(),
            first_deadline: None,
            last: 0,
            queries: 0,
            query_bytes: 0,
            certain_bytes: 0,
            certain_limit,
        }
    }

    /// The id of the next operation, for its frame.
    #[must_use]
    pub const fn next_id(&self) -> MessageId {
        MessageId(self.last.saturating_add(1))
    }

    /// Takes the next id for an operation that is kept elsewhere.
    pub(crate) fn take_id(&mut self) -> MessageId {
        let id = self.next_id();
        self.last = id.0;
        id
    }

    /// Whether another operation of this kind, with a frame of `size` bytes, may be opened.
    #[must_use]
    pub fn admits(&self, kind: Kind, size: usize) -> bool {
        let fits = |used: usize, limit: usize| used == 0 || used.saturating_add(size) <= limit;
        self.open.len() < OPEN
            && if kind == Kind::Certain {
                fits(self.certain_bytes, self.certain_limit)
            } else {
                self.queries < QUERIES && fits(self.query_bytes, QUERY_BYTES)
            }
    }

    /// Opens the operation whose frame was made with [`next_id`](Self::next_id).
    pub fn open(&mut self, kind: Kind, to: To, frame: &Bytes, deadline: Instant) -> MessageId {
        let id = self.next_id();
        self.last = id.0;
        let size = frame.len();
        let certain = kind == Kind::Certain;
        if certain {
            self.certain_bytes += size;
        } else {
            self.queries += 1;
            self.query_bytes += size;
        }
        let frame = if certain { frame.clone() } else { Bytes::new() };
        self.first_deadline = Some(self.first_deadline.map_or(deadline, |first| first.min(deadline)));
        self.open.push_back((id, Open { kind, to, deadline, handed_out: None, resent: false, frame, size }));
        id
    }

    /// Its frame went out.
    pub fn handed_out(&mut self, now: Instant, id: MessageId) {
        if let Some((_, open)) = self.position(id).and_then(|at| self.open.get_mut(at)) {
            open.handed_out = Some(now);
        }
    }

    /// Ends `id` if it is of this kind and was asked of `from`, or if the server, which may speak for anybody, says
    /// so by `server_may`.
    pub fn end(&mut self, id: MessageId, kind: Kind, from: &Address<'_>, server_may: bool) -> Option<Open> {
        let at = self.position(id)?;
        let (_, open) = self.open.get(at)?;
        let entitled = open.is_answered_by(from) || server_may && matches!(from, Address::Server { .. });
        if open.kind == kind && (entitled || broken!(StrangerBelieved)) {
            self.take_at(at).map(|(_, open)| open)
        } else {
            None
        }
    }

    /// Takes out the operation with this id.
    pub fn take(&mut self, id: MessageId) -> Option<Open> {
        self.take_at(self.position(id)?).map(|(_, open)| open)
    }

    fn position(&self, id: MessageId) -> Option<usize> {
        self.open.binary_search_by_key(&id, |(id, _)| *id).ok()
    }

    fn take_at(&mut self, at: usize) -> Option<(MessageId, Open)> {
        let (id, open) = self.open.remove(at)?;
        if self.open.is_empty() {
            self.first_deadline = None;
        }
        if open.kind == Kind::Certain {
            self.certain_bytes -= open.size;
        } else {
            self.queries -= 1;
            self.query_bytes -= open.size;
        }
        Some((id, open))
    }

    /// Takes out an operation whose time is over.
    pub fn pop_expired(&mut self, now: Instant) -> Option<(MessageId, Open)> {
        self.first_deadline.filter(|first| *first <= now)?;
        let expired = self.open.iter().position(|(_, open)| open.deadline <= now);
        if expired.is_none() {
            self.first_deadline = self.open.iter().map(|(_, open)| open.deadline).min();
        }
        self.take_at(expired?)
    }

    /// Takes out the operation with the lowest id.
    pub fn pop_first(&mut self) -> Option<(MessageId, Open)> {
        self.take_at(0)
    }

    /// When to ask [`pop_expired`](Self::pop_expired) again. It may be earlier than the first deadline, never later.
    #[must_use]
    pub const fn next_deadline(&self) -> Option<Instant> {
        self.first_deadline
    }

    /// The session is a new one: what was handed out in the old one goes again if it is certain, and is lost if not.
    /// What waits, a resend among it, still waits (ESF-218, ESF-219).
    pub fn after_fresh(&mut self) -> AfterFresh {
        let mut after = AfterFresh::default();
        for (id, open) in &mut self.open {
            if open.handed_out.is_none() {
                continue;
            }
            if open.kind == Kind::Certain {
                open.handed_out = None;
                open.resent = true;
                after.again.push(Resend { id: *id, frame: open.frame.clone(), deadline: open.deadline });
            } else {
                after.lost.push(*id);
            }
        }
        after
    }

    /// How long ago the frame of `open` went out; zero if it did not.
    #[must_use]
    pub fn round_trip(open: &Open, now: Instant) -> Duration {
        open.handed_out.map_or(Duration::ZERO, |at| now.since(at))
    }

    /// Open operations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Bytes of the frames of open certain sends.
    #[must_use]
    pub const fn certain_bytes(&self) -> usize {
        self.certain_bytes
    }
}

#[cfg(test)]
mod tests;
