//! The counts of one session on one side: what was handed out, what the peer holds, what the window admits.
//!
//! Frames are counted, not numbered. One modular `u32` a direction serves acknowledgement, flow control and resume
//! (ESF-201 to ESF-219).

use core::time::Duration;

use bytes::Bytes;

use super::frames::{Cursor, FrameBytes, FrameQueue};
use crate::time::Instant;

/// A count is told after so many frames …
const COUNT_FRAMES: u32 = 128;
/// … or so many bytes …
const COUNT_BYTES: usize = 64 * 1024;
/// … or so long after the first of them.
const COUNT_DELAY: Duration = Duration::from_millis(100);
/// Frames that may be out and not counted by the peer.
const UNCOUNTED_LIMIT: usize = (1 << 16) - 1;

/// A count that no honest peer can state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a count outside of what was acknowledged and sent")]
pub struct CountViolation;

/// The two numbers of a count frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Whole frames that this side holds, in order.
    pub received: u32,
    /// Bytes of windowed frames that entered the application's queue.
    pub taken: u32,
}

/// Both directions of one hop. Lives as long as the session, over all its links.
#[derive(Debug)]
pub struct Hop {
    acked: u32,
    /// What the peer has not counted, each frame with its cost.
    replay: FrameQueue<usize>,
    /// How much of `replay` was handed out on the present link.
    handed: Cursor,
    window: u32,
    windowed_out: u32,
    peer_taken: u32,

    received: u32,
    taken: u32,
    told: Counts,
    untold_bytes: usize,
    count_due: Option<Instant>,
}

impl Hop {
    /// A new session's counts; at most `window` bytes of messages are out that the peer has not taken.
    #[must_use]
    pub fn new(window: u32) -> Self {
        Self {
            acked: 0,
            replay: FrameQueue::default(),
            handed: Cursor::default(),
            window,
            windowed_out: 0,
            peer_taken: 0,
            received: 0,
            taken: 0,
            told: Counts { received: 0, taken: 0 },
            untold_bytes: 0,
            count_due: None,
        }
    }

    /// Sets the window, as the peer announced it. Bytes that are out stay so.
    pub fn set_window(&mut self, window: u32) {
        self.window = window;
    }

    // Outward.

    /// Whether another counted frame may go out: at most 2^16 are uncounted.
    #[must_use]
    pub fn may_hand_out(&self) -> bool {
        self.handed.frames == self.replay.len() && self.replay.len() < UNCOUNTED_LIMIT
    }

    /// Whether the window admits a message of `len` bytes; an empty one admits any.
    #[must_use]
    pub fn admits(&self, len: usize) -> bool {
        let out = self.windowed_out.wrapping_sub(self.peer_taken);
        out == 0 || broken!(WindowIgnored) || u32::try_from(len).is_ok_and(|len| len <= self.window.saturating_sub(out))
    }

    /// Counts a frame that goes out now and keeps it until the peer has counted it.
    #[inline]
    pub fn hand_out(&mut self, frame: FrameBytes<'_>, cost: usize, windowed: bool) {
        if windowed {
            self.windowed_out = self.windowed_out.wrapping_add(size(frame.len()));
        }
        self.replay.push(frame, cost);
        self.handed = self.replay.end();
    }

    /// Frames handed out and not yet counted by the peer.
    #[must_use]
    pub fn uncounted(&self) -> usize {
        self.replay.len()
    }

    /// The peer's count came: what it holds is forgotten here, and `freed` hears the cost of each frame.
    ///
    /// # Errors
    /// A count below what was acknowledged or above what went out on this link.
    pub fn on_count(&mut self, counts: Counts, freed: impl FnMut(usize)) -> Result<(), CountViolation> {
        let newly = usize::try_from(counts.received.wrapping_sub(self.acked)).unwrap_or(usize::MAX);
        let newly_taken = counts.taken.wrapping_sub(self.peer_taken);
        if newly > self.handed.frames || newly_taken > self.windowed_out.wrapping_sub(self.peer_taken) {
            return Err(CountViolation);
        }
        self.forget(newly, freed);
        self.peer_taken = counts.taken;
        Ok(())
    }

    /// A resume: the peer states what it holds, the rest goes out again before anything new.
    ///
    /// # Errors
    /// A count below what was acknowledged or above what was ever handed out.
    pub fn rewind(&mut self, received: u32, freed: impl FnMut(usize)) -> Result<(), CountViolation> {
        let newly = usize::try_from(received.wrapping_sub(self.acked)).unwrap_or(usize::MAX);
        if newly > self.replay.len() {
            return Err(CountViolation);
        }
        let newly = newly + usize::from(broken!(ResumeOffByOne) && newly < self.replay.len());
        self.forget(newly, freed);
        self.handed = Cursor::default();
        Ok(())
    }

    /// The next frame to go out again after a resume.
    pub fn next_replay(&mut self) -> Option<FrameBytes<'_>> {
        self.replay.next(&mut self.handed)
    }

    /// The session ends: what was handed out and never counted, in order, each with its cost.
    pub fn take_uncounted(&mut self) -> impl Iterator<Item = (Bytes, usize)> + use<> {
        self.handed = Cursor::default();
        core::mem::take(&mut self.replay).into_frames()
    }

    /// Gives the room of an idle session back.
    pub fn rest(&mut self) {
        self.replay.rest();
    }

    fn forget(&mut self, frames: usize, freed: impl FnMut(usize)) {
        self.replay.forget(frames, &mut self.handed, freed);
        self.acked = self.acked.wrapping_add(size(frames));
    }

    // Inward.

    /// A counted frame of `len` bytes is held by this side.
    pub fn on_frame(&mut self, now: Instant, len: usize) {
        self.hold(len);
        self.plan_count(now);
    }

    /// A counted and windowed frame of `len` bytes is held, and leaves the window at once.
    pub fn on_taken_frame(&mut self, now: Instant, len: usize) {
        self.hold(len);
        self.take(now, len);
    }

    /// `bytes` of windowed frames entered the application's queue.
    pub fn take(&mut self, now: Instant, bytes: usize) {
        self.taken = self.taken.wrapping_add(size(bytes));
        self.plan_count(now);
    }

    /// What this side holds and has taken, told or not.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts { received: self.received, taken: self.taken }
    }

    /// What the peer was told last, which is not what is to be stated anywhere.
    #[cfg(feature = "broken")]
    pub(crate) fn told(&self) -> Counts {
        self.told
    }

    /// When a count is to be told, if there is anything to tell.
    #[must_use]
    pub fn count_due(&self) -> Option<Instant> {
        self.count_due
    }

    /// The count to tell now, if it is due.
    pub fn poll_count(&mut self, now: Instant) -> Option<Counts> {
        self.count_due.filter(|due| *due <= now)?;
        Some(self.tell_count())
    }

    /// The count to tell with a heartbeat: now, unless nothing changed.
    pub fn poll_count_early(&mut self) -> Option<Counts> {
        self.count_due?;
        Some(self.tell_count())
    }

    /// The count to tell whatever was told: the first frame after a resume.
    pub fn tell_count(&mut self) -> Counts {
        self.told = self.counts();
        self.untold_bytes = 0;
        self.count_due = None;
        self.told
    }

    fn hold(&mut self, len: usize) {
        self.received = self.received.wrapping_add(1);
        self.untold_bytes = self.untold_bytes.saturating_add(len);
    }

    fn plan_count(&mut self, now: Instant) {
        let frames = self.received.wrapping_sub(self.told.received);
        let taken = usize::try_from(self.taken.wrapping_sub(self.told.taken)).unwrap_or(usize::MAX);
        let at_once = frames >= COUNT_FRAMES || self.untold_bytes >= COUNT_BYTES || taken >= COUNT_BYTES;
        match self.count_due {
            Some(planned) if at_once => self.count_due = Some(planned.min(now)),
            // Time does not go back: what was planned comes no later than what would be planned now.
            Some(_) => {}
            None => self.count_due = Some(if at_once { now } else { now + COUNT_DELAY }),
        }
    }
}

/// Counts are modular; frames are smaller than 4 GiB.
fn size(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
