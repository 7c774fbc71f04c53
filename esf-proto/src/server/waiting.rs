//! Streams that a session's client receives: what of them waits for it, or for its word that it holds it.

use alloc::{collections::VecDeque, vec::Vec};

use bytes::Bytes;

use crate::{
    failure::Failure,
    ids::{SessionId, Source},
    session::{
        blob::{STREAMS, STREAMS_OF_SOURCE},
        lanes::cost,
    },
    wire::{Frame, Header, RawFrame},
};

/// Fragments of less data than this are joined with what stands beside them, so that the places of small ones are no
/// larger than the window that they are in.
const SMALL: u64 = 1024;

/// The streams that a session's client receives, in its outbox.
#[derive(Debug, Default)]
pub(crate) struct StreamsIn {
    streams: Vec<StreamIn>,
    turn: usize,
    bytes: usize,
}

#[derive(Debug)]
struct StreamIn {
    stream: u64,
    id: u64,
    source: Source,
    sender: SessionId,
    fragments: VecDeque<Fragment>,
    /// Which of `fragments` goes out next.
    at: usize,
    /// What the client holds; `None` until it says so.
    held: Option<u64>,
    /// Where what was handed out ends.
    handed: u64,
    /// Whether the client said on its present link what it holds.
    open: bool,
}

#[derive(Debug)]
struct Fragment {
    from: u64,
    until: u64,
    frame: Bytes,
    /// Others hold the same bytes, and somebody else pays for them.
    shared: bool,
}

impl Fragment {
    fn cost(&self) -> usize {
        cost(if self.shared { 0 } else { self.frame.len() })
    }
}

/// A count of a receiver that no honest one states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CreditViolation;

impl StreamsIn {
    /// Makes a place for a stream that is offered.
    pub(crate) fn offer(&mut self, stream: u64, id: u64, source: &Source, sender: SessionId) -> Result<(), Failure> {
        // One that is offered again takes the place of what it was.
        self.remove(|known| known.sender == sender && known.id == id);
        let of_sender = self.streams.iter().filter(|known| known.sender == sender).count();
        let clash = self.streams.iter().any(|known| known.stream == stream);
        if clash || self.streams.len() >= STREAMS || of_sender >= STREAMS_OF_SOURCE {
            return Err(Failure::Busy);
        }
        self.streams.push(StreamIn {
            stream,
            id,
            source: source.clone(),
            sender,
            fragments: VecDeque::new(),
            at: 0,
            held: None,
            handed: 0,
            open: false,
        });
        Ok(())
    }

    /// A fragment that its sender was allowed to send; `shared` if others get the same bytes, which stand alone then.
    /// `true` if it can go out.
    pub(crate) fn push(&mut self, stream: u64, sender: SessionId, frame: &RawFrame, shared: bool) -> bool {
        let Ok(Frame::Fragment { offset, data, .. }) = frame.decode() else { return false };
        let of_sender = |known: &&mut StreamIn| known.stream == stream && known.sender == sender;
        let Some(known) = self.streams.iter_mut().find(of_sender) else { return false };
        let until = offset.saturating_add(data.len() as u64);
        if known.held.is_some_and(|held| until <= held) {
            // It is ahead of another receiver, and will not say again that it holds this.
            return false;
        }
        // A small frame must not hold the buffer that it was read into.
        let copied = frame.len() < SMALL_FRAME && !shared;
        let bytes = if copied { Bytes::copy_from_slice(frame.bytes()) } else { frame.bytes().clone() };
        let fragment = Fragment { from: offset, until, frame: bytes, shared };
        self.bytes += fragment.cost();
        known.fragments.push_back(fragment);
        let last = known.fragments.len() - 1;
        if last > known.at {
            known.join(last, &mut self.bytes);
        }
        known.open
    }

    /// The client holds everything below `offset`: who is to hear of it.
    pub(crate) fn credit(&mut self, stream: u64, offset: u64) -> Result<Option<Source>, CreditViolation> {
        let Some(known) = self.streams.iter_mut().find(|known| known.stream == stream) else { return Ok(None) };
        match known.held {
            // Nobody can hold what was never handed out, but for what it got in another session.
            Some(_) if offset > known.handed => return Err(CreditViolation),
            Some(held) if offset < held || offset == held && known.open => return Ok(None),
            Some(_) => {}
            None => known.handed = offset,
        }
        known.held = Some(offset);
        while let Some(fragment) = known.fragments.front().filter(|fragment| fragment.until <= offset) {
            self.bytes -= fragment.cost();
            known.fragments.pop_front();
            known.at = known.at.saturating_sub(1);
        }
        if !core::mem::replace(&mut known.open, true) {
            known.at = 0;
        }
        Ok(Some(known.source.clone()))
    }

    /// The next fragment; each stream in its turn.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        for _ in 0..self.streams.len() {
            self.turn = (self.turn + 1) % self.streams.len();
            let Some(known) = self.streams.get_mut(self.turn).filter(|known| known.open || broken!(CreditIgnored))
            else {
                continue;
            };
            if let Some(fragment) = known.fragments.get(known.at) {
                known.handed = known.handed.max(fragment.until);
                let frame = fragment.frame.clone();
                known.join(known.at, &mut self.bytes);
                known.at += 1;
                return Some(frame);
            }
        }
        None
    }

    /// Whether [`StreamsIn::pop`] has something.
    pub(crate) fn has_fragment(&self) -> bool {
        self.streams.iter().any(|known| (known.open || broken!(CreditIgnored)) && known.at < known.fragments.len())
    }

    /// The client has a new link: nothing goes out before it says what it holds.
    pub(crate) fn on_link(&mut self) {
        for known in &mut self.streams {
            known.open = false;
            known.at = 0;
        }
    }

    /// The stream is over for this client. `false` if it was not there.
    pub(crate) fn end(&mut self, sender: SessionId, id: u64) -> bool {
        self.remove(|known| known.sender == sender && known.id == id)
    }

    /// The client has answered this blob of an engine, or of the server.
    pub(crate) fn answered(&mut self, by: impl Fn(&Source) -> bool, id: u64) {
        self.remove(|known| known.id == id && by(&known.source));
    }

    /// The session ends: who sent what to it.
    pub(crate) fn drain(&mut self) -> Vec<(Source, u64)> {
        core::mem::take(self).streams.into_iter().map(|known| (known.source, known.id)).collect()
    }

    /// What waits here costs so much.
    pub(crate) fn cost(&self) -> usize {
        self.bytes
    }

    fn remove(&mut self, which: impl Fn(&StreamIn) -> bool) -> bool {
        let before = self.streams.len();
        let bytes = &mut self.bytes;
        self.streams.retain(|known| {
            let goes = which(known);
            if goes {
                *bytes -= known.fragments.iter().map(Fragment::cost).sum::<usize>();
            }
            !goes
        });
        self.streams.len() < before
    }
}

impl StreamIn {
    /// Joins the fragment at `at` with the one before it if both are small, and keeps the account of what they cost.
    /// Both are handed out, or neither.
    fn join(&mut self, at: usize, bytes: &mut usize) {
        let Some(before) = at.checked_sub(1) else { return };
        let (Some(first), Some(second)) = (self.fragments.get(before), self.fragments.get(at)) else { return };
        if first.until - first.from >= SMALL || second.until - second.from >= SMALL {
            return;
        }
        let Some(joined) = join(self.stream, first, second) else { return };
        *bytes = (*bytes + joined.cost()).saturating_sub(first.cost() + second.cost());
        if let Some(first) = self.fragments.get_mut(before) {
            *first = joined;
        }
        self.fragments.remove(at);
        if at <= self.at {
            self.at -= 1;
        }
    }
}

fn join(stream: u64, first: &Fragment, second: &Fragment) -> Option<Fragment> {
    let (one, two) = (RawFrame::parse(first.frame.clone()).ok()?, RawFrame::parse(second.frame.clone()).ok()?);
    let (Ok(Frame::Fragment { data, .. }), Ok(Frame::Fragment { data: more, last, .. })) = (one.decode(), two.decode())
    else {
        return None;
    };
    // The second may begin before the first ends.
    let known = usize::try_from(first.until.checked_sub(second.from)?).ok()?;
    let mut both = Vec::with_capacity(data.len() + more.len());
    both.extend_from_slice(data);
    both.extend_from_slice(more.get(known..)?);
    let frame = Frame::Fragment { stream, offset: first.from, last, data: &both }.to_bytes(Header::default()).ok()?;
    Some(Fragment { from: first.from, until: second.until, frame, shared: false })
}

/// Frames below this are copied instead of shared.
const SMALL_FRAME: usize = 1024;

#[cfg(test)]
mod tests;
