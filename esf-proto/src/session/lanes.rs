//! Frames that wait to be handed out, by class.

use alloc::vec::Vec;

use bytes::Bytes;

use super::frames::{FrameBytes, FrameQueue};
use crate::time::Instant;

/// What may wait in the volatile lane.
pub(crate) const VOLATILE_LIMIT: usize = 64 * 1024;

/// In a tag: the frame does not expire here; its owner takes it out when its time has come.
pub(crate) const STORABLE: u64 = 1 << 62;

/// What a waiting frame takes beside its bytes: its place in a lane, and in the replay window after that.
const PLACE: usize = 64;

/// What a frame of `len` bytes costs in a server's budget: small frames must not make a session larger than it says.
pub(crate) const fn cost(len: usize) -> usize {
    len + PLACE
}

/// The class of a waiting frame; earlier ones are handed out first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Acks, failures, replies, responses, queries, requests: never held back by the window (ESF-215).
    Interactive,
    /// Messages: handed out while the window has room.
    Message,
    /// Frames that are dropped rather than wait.
    Volatile,
}

/// One waiting frame.
#[derive(Debug, Clone)]
pub struct Queued {
    /// The whole frame.
    pub frame: Bytes,
    /// When it expires if it was not handed out.
    pub deadline: Option<Instant>,
    /// Bytes charged to a budget for it, to be released when the peer has counted it.
    pub cost: usize,
    /// Whatever the owner wants to know it by: the message id at a client, the sender's session at the server.
    pub tag: u64,
}

/// A waiting frame without its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Bytes of the whole frame.
    pub len: usize,
    /// As in [`Queued`].
    pub deadline: Option<Instant>,
    /// As in [`Queued`].
    pub cost: usize,
    /// As in [`Queued`].
    pub tag: u64,
}

/// What a queue keeps beside a frame.
#[derive(Debug, Clone, Copy)]
struct Meta {
    deadline: Option<Instant>,
    cost: usize,
    tag: u64,
}

/// The lanes of one session.
#[derive(Debug, Default)]
pub struct Lanes {
    interactive: FrameQueue<Meta>,
    messages: FrameQueue<Meta>,
    volatile: FrameQueue<Meta>,
    message_bytes: usize,
    volatile_bytes: usize,
    first_deadline: Option<Instant>,
}

impl Lanes {
    /// Puts somebody else's frame at the end of a lane: a copy of it if it is small, so that a few bytes never pin a whole
    /// read buffer.
    #[inline]
    pub fn push_copy(&mut self, lane: Lane, frame: &Bytes, deadline: Option<Instant>, cost: usize, tag: u64) {
        let meta = Meta { deadline, cost, tag };
        self.note(lane, frame.len(), meta);
        self.lane_mut(lane).push_copy(frame, meta);
    }

    /// Puts a frame at the end of a lane whose memory is the owner's already.
    pub fn push(&mut self, lane: Lane, queued: Queued) {
        let meta = queued.meta();
        self.note(lane, queued.frame.len(), meta);
        self.lane_mut(lane).push(FrameBytes::Shared(queued.frame), meta);
    }

    /// Puts a frame of `len` bytes at the end of a lane, which `write` appends to what it gets.
    pub(crate) fn write(&mut self, lane: Lane, len: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let meta = Meta { deadline: None, cost: len, tag: 0 };
        self.note(lane, len, meta);
        self.lane_mut(lane).write(len, meta, write);
    }

    /// Puts a frame at the head of a lane: resends go before what is queued.
    pub fn push_front(&mut self, lane: Lane, queued: Queued) {
        let meta = queued.meta();
        self.note(lane, queued.frame.len(), meta);
        self.lane_mut(lane).push_front(queued.frame, meta);
    }

    /// Whether a volatile frame of this size is to be dropped: something windowed waits, or its lane is full.
    #[must_use]
    pub fn refuses_volatile(&self, len: usize) -> bool {
        !self.messages.is_empty() || self.volatile_bytes + len > VOLATILE_LIMIT
    }

    /// The lane of the next frame to hand out, and the frame without its bytes; `room` says whether the window admits a
    /// message of that size.
    pub fn next(&self, room: impl FnOnce(usize) -> bool) -> Option<(Lane, Waiting)> {
        let (lane, (len, meta)) = if let Some(next) = self.interactive.front() {
            (Lane::Interactive, next)
        } else if let Some(next) = self.messages.front() {
            if !room(next.0) {
                return None;
            }
            (Lane::Message, next)
        } else {
            (Lane::Volatile, self.volatile.front()?)
        };
        Some((lane, meta.of(len)))
    }

    /// The next frame while messages wait for something else than the window.
    pub(crate) fn next_but_messages(&self) -> Option<(Lane, Waiting)> {
        let interactive = self.interactive.front().map(|next| (Lane::Interactive, next));
        let (lane, (len, meta)) = interactive.or_else(|| Some((Lane::Volatile, self.volatile.front()?)))?;
        Some((lane, meta.of(len)))
    }

    /// Takes the first frame of a lane; its bytes are there while `take` runs.
    #[inline]
    pub fn pop_with<R>(&mut self, lane: Lane, take: impl FnOnce(FrameBytes<'_>, Waiting) -> R) -> Option<R> {
        let mut gone = 0;
        let taken = self.lane_mut(lane).pop_with(|frame, meta| {
            gone = frame.len();
            let waiting = meta.of(gone);
            take(frame, waiting)
        });
        match lane {
            Lane::Interactive => {}
            Lane::Message => self.message_bytes -= gone,
            Lane::Volatile => self.volatile_bytes -= gone,
        }
        taken
    }

    /// The next frame to hand out, taken out and kept: [`Self::next`] and [`Self::pop_with`] in one.
    pub fn pop(&mut self, room: impl FnOnce(usize) -> bool) -> Option<(Lane, Queued)> {
        let (lane, _) = self.next(room)?;
        let queued = self.pop_with(lane, |frame, waiting| waiting.with(frame.into_bytes()))?;
        Some((lane, queued))
    }

    /// When the first waiting frame may expire. It may be earlier than that, never later.
    #[must_use]
    pub fn first_deadline(&self) -> Option<Instant> {
        self.first_deadline
    }

    /// Takes out every frame whose time is over. Frames that were handed out are not here, so they stay.
    pub fn expire(&mut self, now: Instant, mut expired: impl FnMut(Lane, Queued)) {
        if self.first_deadline.is_none_or(|first| first > now) {
            return;
        }
        let is_over = |waiting: &Waiting| waiting.tag & STORABLE == 0 && waiting.deadline.is_some_and(|at| at <= now);
        self.take_out_of(is_over, &mut expired);
        let waiting = self.interactive.iter().chain(self.messages.iter());
        self.first_deadline = waiting.filter_map(|(_, meta)| meta.deadline).min();
    }

    /// Takes out every interactive or message frame that `chosen` names.
    pub fn take_out(&mut self, chosen: impl Fn(&Waiting) -> bool, mut out: impl FnMut(Queued)) {
        self.take_out_of(chosen, |_, queued| out(queued));
    }

    fn take_out_of(&mut self, chosen: impl Fn(&Waiting) -> bool, mut out: impl FnMut(Lane, Queued)) {
        for (name, lane) in [(Lane::Interactive, &mut self.interactive), (Lane::Message, &mut self.messages)] {
            lane.take_out(|len, meta| chosen(&meta.of(len)), |frame, meta| out(name, meta.of(frame.len()).with(frame)));
        }
        self.message_bytes = self.messages.iter().map(|(len, _)| len).sum();
    }

    /// Takes out every volatile frame.
    pub fn take_volatile(&mut self, mut out: impl FnMut(Queued)) {
        self.volatile_bytes = 0;
        let frames = core::mem::take(&mut self.volatile).into_frames();
        frames.for_each(|(frame, meta)| out(meta.of(frame.len()).with(frame)));
    }

    /// Takes out everything that waits, lane by lane.
    pub fn drain(&mut self) -> impl Iterator<Item = (Lane, Queued)> + use<> {
        let Self { interactive, messages, volatile, .. } = core::mem::take(self);
        let of = |lane, frames: FrameQueue<Meta>| {
            frames.into_frames().map(move |(frame, meta)| (lane, meta.of(frame.len()).with(frame)))
        };
        of(Lane::Interactive, interactive).chain(of(Lane::Message, messages)).chain(of(Lane::Volatile, volatile))
    }

    /// The frames of a lane, the next one first.
    pub fn iter(&self, lane: Lane) -> impl Iterator<Item = Waiting> {
        self.lane(lane).iter().map(|(len, meta)| meta.of(len))
    }

    /// Frames that wait in a lane.
    #[must_use]
    pub fn len(&self, lane: Lane) -> usize {
        self.lane(lane).len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.interactive.is_empty() && self.messages.is_empty() && self.volatile.is_empty()
    }

    /// Bytes of volatile frames that wait.
    #[must_use]
    pub fn volatile_bytes(&self) -> usize {
        self.volatile_bytes
    }

    /// Bytes of messages that wait for the window.
    #[must_use]
    pub fn message_bytes(&self) -> usize {
        self.message_bytes
    }

    /// Gives the memory of lanes back in which nothing waits.
    pub fn rest(&mut self) {
        self.interactive.rest();
        self.messages.rest();
        self.volatile.rest();
    }

    fn lane(&self, lane: Lane) -> &FrameQueue<Meta> {
        match lane {
            Lane::Interactive => &self.interactive,
            Lane::Message => &self.messages,
            Lane::Volatile => &self.volatile,
        }
    }

    #[inline]
    fn lane_mut(&mut self, lane: Lane) -> &mut FrameQueue<Meta> {
        match lane {
            Lane::Interactive => &mut self.interactive,
            Lane::Message => &mut self.messages,
            Lane::Volatile => &mut self.volatile,
        }
    }

    #[inline]
    fn note(&mut self, lane: Lane, len: usize, meta: Meta) {
        match lane {
            Lane::Interactive => {}
            Lane::Message => self.message_bytes += len,
            Lane::Volatile => self.volatile_bytes += len,
        }
        if let Some(deadline) = meta.deadline {
            self.first_deadline = Some(self.first_deadline.map_or(deadline, |first| first.min(deadline)));
        }
    }
}

impl Queued {
    pub(crate) fn waiting(&self) -> Waiting {
        self.meta().of(self.frame.len())
    }

    fn meta(&self) -> Meta {
        Meta { deadline: self.deadline, cost: self.cost, tag: self.tag }
    }
}

impl Meta {
    fn of(self, len: usize) -> Waiting {
        Waiting { len, deadline: self.deadline, cost: self.cost, tag: self.tag }
    }
}

impl Waiting {
    fn with(self, frame: Bytes) -> Queued {
        Queued { frame, deadline: self.deadline, cost: self.cost, tag: self.tag }
    }
}

#[cfg(test)]
mod tests;
