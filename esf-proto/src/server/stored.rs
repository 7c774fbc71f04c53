//! Messages of the store in an outbox: those on their way to the client, and those that are taken back to be stored
//! (ESF-352, ESF-353).

use alloc::{collections::VecDeque, vec::Vec};

use bytes::Bytes;

use super::Outbox;
use crate::{
    ids::SessionId,
    session::lanes::{Lane, Queued, cost},
    store::{StoreId, StoredMessage},
    time::Instant,
    wire::{Flags, Frame, Header, Kind, RawFrame},
};

/// Marks a message in its lane that is to be stored rather than to come to nothing. Its deadline is when.
pub(crate) use crate::session::lanes::STORABLE;

/// How long before its time is over a message that waits is stored, but not before half of its time.
const AHEAD: core::time::Duration = core::time::Duration::from_secs(5);

/// When a message that may be stored is to be taken back.
pub(super) fn store_at(now: Instant, deadline: Instant) -> Instant {
    let left = deadline.since(now);
    now + (left - AHEAD.min(left / 2))
}

/// Whether these are the bytes of a message that its sender wants stored.
pub(super) fn is_storable(frame: &Bytes) -> bool {
    matches!(frame.first_chunk(), Some(&[_, _, _, _, kind, flags])
        if kind == Kind::Certain as u8 && Flags::from_bits(flags).contains(Flags::STORE))
}

/// What an outbox has to do with the store.
#[derive(Debug)]
pub(super) struct StoredOut {
    /// Whether messages wait until those of the store are handed out.
    closed: bool,
    /// Counts how often `closed` was set for what was taken back: who opens it must know of the last time.
    turn: u32,
    /// It was set, and the mail does not know.
    untold: bool,
    /// On their way to the client, each with its cost.
    frames: VecDeque<(StoreId, Bytes, usize)>,
    /// Taken back, oldest first.
    withdrawn: VecDeque<Withdrawn>,
    /// Somebody is about to store what was taken back: what comes for a client that is gone goes behind it.
    withdrawing: bool,
    /// When somebody looks at what is to be taken back.
    watched: Option<Instant>,
    /// It was set anew.
    watch: Option<Instant>,
}

/// A message that was taken back.
#[derive(Debug)]
pub(crate) struct Withdrawn {
    pub(crate) frame: Bytes,
    /// Whether it was handed out, so that it may have arrived.
    pub(crate) handed_out: bool,
    cost: usize,
}

impl Outbox {
    /// Holds messages back until those that the store has are handed out.
    pub(super) fn await_stored(&mut self) {
        let stored = StoredOut {
            closed: true,
            turn: 0,
            untold: false,
            frames: VecDeque::new(),
            withdrawn: VecDeque::new(),
            withdrawing: false,
            watched: None,
            watch: None,
        };
        self.stored = Some(alloc::boxed::Box::new(stored));
    }

    /// Messages of the store are to go out before any other; after none of them, others go on. `turn` is the last that the
    /// mail knows of.
    pub fn put_stored(&mut self, messages: &[StoredMessage], turn: u32) {
        if self.ended {
            return;
        }
        let mut frames = Vec::with_capacity(messages.len());
        for message in messages {
            let frame = Frame::Stored {
                envelope: self.envelope(message.id.0),
                accepted_at_ms: broken!(AcceptedUnstamped, 0, else message.accepted_at.0),
                tries: message.tries,
                frame: &message.frame,
            };
            // One that is larger than may be was stored when more was allowed: it waits for an operator.
            let frame = frame.to_bytes(Header::default()).ok();
            if let Some(frame) = frame.filter(|frame| frame.len() <= self.max_frame()) {
                let cost = cost(frame.len());
                // A page is bounded by the window.
                self.budget.force(cost);
                frames.push((message.id, frame, cost));
            }
        }
        let Some(stored) = &mut self.stored else { return };
        let empty = frames.is_empty();
        stored.frames.extend(frames);
        if empty && stored.frames.is_empty() {
            if messages.is_empty() {
                if stored.turn == turn {
                    stored.closed = false;
                }
            } else {
                // Nothing of it could be said; there may be more.
                stored.closed = true;
                self.drained = true;
            }
        } else {
            stored.closed = true;
        }
        self.wake = true;
    }

    /// Messages that this client has confirmed are gone from the store.
    pub fn tell_confirmed(&mut self, messages: &[StoreId]) {
        for id in messages {
            let frame = Frame::Confirm { envelope: self.envelope(id.0) }.to_bytes(Header::default());
            if let Ok(frame) = frame {
                self.tell(frame, false);
            }
        }
    }

    /// Whether messages wait for those of the store.
    pub(super) fn is_closed(&self) -> bool {
        self.stored.as_ref().is_some_and(|stored| stored.closed) && !broken!(TailOvertaken)
    }

    /// Whether [`Outbox::next_stored`] may have something.
    pub(super) fn has_stored(&self) -> bool {
        self.stored.as_ref().is_some_and(|stored| !stored.frames.is_empty())
    }

    /// The next message of the store, if the window admits it, and its cost.
    pub(super) fn next_stored(&mut self, room: impl FnOnce(usize) -> bool) -> Option<(Bytes, usize)> {
        let stored = self.stored.as_mut()?;
        stored.frames.front().filter(|(_, frame, _)| room(frame.len()))?;
        let (_, frame, cost) = stored.frames.pop_front()?;
        self.drained |= stored.frames.is_empty();
        Some((frame, cost))
    }

    /// Whether the last message of the store went out since this was asked.
    pub(super) fn take_drained(&mut self) -> bool {
        core::mem::take(&mut self.drained)
    }

    // What is taken back.

    /// The tag and the deadline of a message in its lane.
    pub(super) fn mark_storable(&mut self, now: Instant, source: SessionId, deadline: Instant) -> (u64, Instant) {
        let at = store_at(now, deadline);
        if let Some(stored) = &mut self.stored {
            if stored.watched.is_none_or(|watched| at < watched) {
                (stored.watched, stored.watch) = (Some(at), Some(at));
            }
        }
        (source.0 | STORABLE, at)
    }

    /// Whether messages to this client can be taken back and stored.
    pub(super) fn stores(&self) -> bool {
        self.stored.is_some()
    }

    /// A message for a client that is gone: it goes behind those that are about to be stored. `false` if there are none.
    pub(super) fn withdraw_too(&mut self, frame: &RawFrame) -> bool {
        let Some(stored) = self.stored.as_mut().filter(|stored| stored.withdrawing) else { return false };
        let cost = cost(frame.len());
        self.budget.force(cost);
        stored.withdrawn.push_back(Withdrawn { frame: frame.kept().into_bytes(), handed_out: false, cost });
        true
    }

    /// Takes back a message whose cost is charged.
    pub(super) fn withdraw(&mut self, frame: Bytes, cost: usize, handed_out: bool) {
        if let Some(stored) = &mut self.stored {
            stored.withdrawn.push_back(Withdrawn { frame, handed_out, cost });
            stored.withdrawing = true;
        }
    }

    /// Takes back what is to be stored by now, and holds other messages back until it is known what became of it. Says
    /// whether there was something.
    pub(super) fn withdraw_due(&mut self, now: Instant) -> bool {
        if self.stored.is_none() {
            return false;
        }
        let mut due: Vec<Queued> = Vec::new();
        let is_due = |tag: u64, deadline: Option<Instant>| tag & STORABLE != 0 && deadline.is_some_and(|at| at <= now);
        self.lanes.take_out(|waiting| is_due(waiting.tag, waiting.deadline), |queued| due.push(queued));
        let of_lane = self.lanes.iter(Lane::Message).filter(|waiting| waiting.tag & STORABLE != 0);
        let next = of_lane.filter_map(|waiting| waiting.deadline).min();
        let some = !due.is_empty();
        for queued in due {
            self.left(Lane::Message, queued.waiting());
            self.withdraw(queued.frame, queued.cost, false);
        }
        if let Some(stored) = &mut self.stored {
            (stored.watched, stored.watch) = (next, next);
            if some {
                stored.closed = true;
                stored.turn = stored.turn.wrapping_add(1);
                stored.untold = true;
            }
        }
        some
    }

    /// The next message that was taken back, in order. With none left the next one that comes is stored by whoever brings
    /// it.
    pub(crate) fn pop_withdrawn(&mut self) -> Option<Withdrawn> {
        let stored = self.stored.as_mut()?;
        let next = stored.withdrawn.pop_front();
        match &next {
            Some(withdrawn) => self.budget.release(withdrawn.cost),
            None => stored.withdrawing = false,
        }
        next
    }

    /// How often messages were taken back from a client that is still there, if the mail does not know.
    pub(crate) fn withdrawals(&mut self) -> Option<u32> {
        let stored = self.stored.as_mut().filter(|_| !self.ended)?;
        core::mem::take(&mut stored.untold).then_some(stored.turn)
    }

    /// When somebody is to look at what may have to be taken back, if that was set anew.
    pub(crate) fn take_watch(&mut self) -> Option<Instant> {
        self.stored.as_mut()?.watch.take()
    }

    /// The session ends: messages of the store that were never handed out stay there.
    pub(super) fn drop_stored(&mut self) -> Vec<StoreId> {
        let Some(stored) = &mut self.stored else { return Vec::new() };
        let mut unsent = Vec::new();
        for (id, _, cost) in stored.frames.drain(..) {
            self.budget.release(cost);
            unsent.push(id);
        }
        unsent
    }
}

#[cfg(test)]
mod tests;
