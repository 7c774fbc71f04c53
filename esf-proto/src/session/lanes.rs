//! Frames that wait to be handed out, by class.

use alloc::collections::VecDeque;
use bytes::Bytes;

use super::arena::Arena;
use crate::time::Instant;

/// What may wait in the volatile lane.
pub(crate) const VOLATILE_LIMIT: usize = 64 * 1024;

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

/// The lanes of one session.
#[derive(Debug, Default)]
pub struct Lanes {
    interactive: VecDeque<Queued>,
    messages: VecDeque<Queued>,
    volatile: VecDeque<Queued>,
    message_bytes: usize,
    volatile_bytes: usize,
    first_deadline: Option<Instant>,
    /// Small frames are copied before they wait, so that a few bytes never pin a whole read buffer. What goes in order
    /// is freed in order: a message that waits for the window does not pin the room of what passes it, which has
    /// memory of its own.
    passing: Arena,
    windowed: Arena,
}

impl Lanes {
    /// Puts a copy of somebody's frame at the end of a lane, or shares it if it is large.
    pub fn push_copy(&mut self, lane: Lane, frame: &Bytes, deadline: Option<Instant>, cost: usize, tag: u64) {
        let arena = if lane == Lane::Interactive { &mut self.passing } else { &mut self.windowed };
        let frame = arena.copy(frame);
        self.push(lane, Queued { frame, deadline, cost, tag });
    }

    /// Puts a frame at the end of a lane whose memory is the owner's already.
    pub fn push(&mut self, lane: Lane, queued: Queued) {
        self.note(lane, &queued);
        self.lane_mut(lane).push_back(queued);
    }

    /// Puts a frame at the head of a lane: resends go before what is queued.
    pub fn push_front(&mut self, lane: Lane, queued: Queued) {
        self.note(lane, &queued);
        self.lane_mut(lane).push_front(queued);
    }

    /// Whether a volatile frame of this size is to be dropped: something windowed waits, or its lane is full.
    #[must_use]
    pub fn refuses_volatile(&self, len: usize) -> bool {
        !self.messages.is_empty() || self.volatile_bytes + len > VOLATILE_LIMIT
    }

    /// The next frame to hand out; `room` says whether the window admits a message of that size.
    pub fn pop(&mut self, room: impl FnOnce(usize) -> bool) -> Option<(Lane, Queued)> {
        if let Some(queued) = self.interactive.pop_front() {
            return Some((Lane::Interactive, queued));
        }
        if let Some(next) = self.messages.front() {
            if room(next.frame.len()) {
                let queued = self.messages.pop_front()?;
                self.message_bytes -= queued.frame.len();
                return Some((Lane::Message, queued));
            }
            return None;
        }
        let queued = self.volatile.pop_front()?;
        self.volatile_bytes -= queued.frame.len();
        Some((Lane::Volatile, queued))
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
        self.take_out_of(|queued| queued.deadline.is_some_and(|at| at <= now), &mut expired);
        let deadlines = self.interactive.iter().chain(&self.messages).filter_map(|queued| queued.deadline);
        self.first_deadline = deadlines.min();
    }

    /// Takes out every interactive or message frame that `chosen` names.
    pub fn take_out(&mut self, chosen: impl Fn(&Queued) -> bool, mut out: impl FnMut(Queued)) {
        self.take_out_of(chosen, |_, queued| out(queued));
    }

    fn take_out_of(&mut self, chosen: impl Fn(&Queued) -> bool, mut out: impl FnMut(Lane, Queued)) {
        for (name, lane) in [(Lane::Interactive, &mut self.interactive), (Lane::Message, &mut self.messages)] {
            if lane.iter().any(&chosen) {
                // What stays moves together, or the few that stay would pin the room of the many that went.
                let mut arena = Arena::default();
                for mut queued in core::mem::take(lane) {
                    if chosen(&queued) {
                        out(name, queued);
                    } else {
                        queued.frame = arena.copy(&queued.frame);
                        lane.push_back(queued);
                    }
                }
            }
        }
        self.message_bytes = self.messages.iter().map(|queued| queued.frame.len()).sum();
    }

    /// Takes out every volatile frame.
    pub fn take_volatile(&mut self, out: impl FnMut(Queued)) {
        self.volatile_bytes = 0;
        core::mem::take(&mut self.volatile).into_iter().for_each(out);
    }

    /// Takes out everything that waits, lane by lane.
    pub fn drain(&mut self) -> impl Iterator<Item = (Lane, Queued)> + use<> {
        let lanes = core::mem::take(self);
        let of = |lane| move |queued| (lane, queued);
        (lanes.interactive.into_iter().map(of(Lane::Interactive)))
            .chain(lanes.messages.into_iter().map(of(Lane::Message)))
            .chain(lanes.volatile.into_iter().map(of(Lane::Volatile)))
    }

    /// The frames of a lane, the next one first.
    pub fn iter(&self, lane: Lane) -> impl Iterator<Item = &Queued> {
        match lane {
            Lane::Interactive => self.interactive.iter(),
            Lane::Message => self.messages.iter(),
            Lane::Volatile => self.volatile.iter(),
        }
    }

    /// Frames that wait in a lane.
    #[must_use]
    pub fn len(&self, lane: Lane) -> usize {
        match lane {
            Lane::Interactive => self.interactive.len(),
            Lane::Message => self.messages.len(),
            Lane::Volatile => self.volatile.len(),
        }
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

    /// Gives the room of an idle session back.
    pub fn rest(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }

    fn lane_mut(&mut self, lane: Lane) -> &mut VecDeque<Queued> {
        match lane {
            Lane::Interactive => &mut self.interactive,
            Lane::Message => &mut self.messages,
            Lane::Volatile => &mut self.volatile,
        }
    }

    fn note(&mut self, lane: Lane, queued: &Queued) {
        match lane {
            Lane::Interactive => {}
            Lane::Message => self.message_bytes += queued.frame.len(),
            Lane::Volatile => self.volatile_bytes += queued.frame.len(),
        }
        if let Some(deadline) = queued.deadline {
            self.first_deadline = Some(self.first_deadline.map_or(deadline, |first| first.min(deadline)));
        }
    }
}

#[cfg(test)]
mod tests;
