//! Streams that a session's client sends: what it may send, and who receives it how fast.

use alloc::vec::Vec;
use core::time::Duration;

use crate::{
    ids::{Engine, GroupId, SessionId},
    session::blob::{CREDIT_STEP, STREAM_WINDOW, STREAMS},
    time::Instant,
};

/// How long a receiver may make no progress.
const PROGRESS: Duration = Duration::from_secs(20);

/// The streams that a session's client sends, in its outbox: their receivers report here.
#[derive(Debug, Default)]
pub(crate) struct StreamsOut(Vec<StreamOut>);

#[derive(Debug)]
struct StreamOut {
    stream: u64,
    id: u64,
    /// The group that it goes to, if it goes to one.
    group: Option<GroupId>,
    total: Option<u64>,
    end: Option<u64>,
    /// Where the next fragment begins.
    next: u64,
    receivers: Vec<Receiver>,
    /// What the sender was told on its present link.
    told: Option<u64>,
    /// What it was told at most, over all links.
    best: Option<u64>,
    due: bool,
}

#[derive(Debug)]
struct Receiver {
    session: SessionId,
    engine: Engine,
    /// What it holds; `None` until it says so.
    held: Option<u64>,
    /// Since when it owes progress.
    since: Instant,
}

/// What to do with a fragment of the sender.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    /// Give it to these; `shared` if they are those of a group, whose window the sender's session pays for.
    To { engines: Vec<Engine>, shared: bool },
    /// Nothing: it is known, or nobody is there for it.
    Nothing,
    /// The sender broke a rule of the hop.
    Violation,
    /// It goes past the end that was announced: the blob fails.
    PastEnd(u64),
}

/// A member of a group that has done with its blob.
#[derive(Debug)]
pub(crate) struct LeftMember {
    pub(crate) group: GroupId,
    pub(crate) engine: Engine,
    /// Nobody is left.
    pub(crate) last: bool,
    /// The sender is to hear of what the others hold.
    pub(crate) tells: bool,
}

/// A receiver that made no progress.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Slow {
    pub(crate) stream: u64,
    pub(crate) id: u64,
    pub(crate) session: SessionId,
    pub(crate) engine: Engine,
    /// Nobody else receives the stream.
    pub(crate) only: bool,
}

impl StreamsOut {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is a place for a blob, or it is one that is offered again. A stream is not used by two.
    pub(crate) fn admits(&self, stream: u64, id: u64) -> bool {
        let others = self.0.iter().filter(|out| out.id != id);
        !others.clone().any(|out| out.stream == stream) && others.count() < STREAMS
    }

    /// Whether a stream was offered under another id.
    pub(crate) fn is_of_another(&self, stream: u64, id: u64) -> bool {
        self.0.iter().any(|out| out.stream == stream && out.id != id)
    }

    pub(crate) fn has(&self, id: u64) -> bool {
        self.0.iter().any(|out| out.id == id)
    }

    pub(crate) fn open(
        &mut self,
        now: Instant,
        stream: u64,
        id: u64,
        total: Option<u64>,
        receivers: impl Iterator<Item = (SessionId, Engine)>,
    ) {
        self.0.retain(|out| out.id != id);
        let receivers = receivers.map(|(session, engine)| Receiver { session, engine, held: None, since: now });
        let receivers = receivers.collect();
        self.0.push(StreamOut::new(stream, id, None, total, receivers));
    }

    /// Opens a stream to a group, whose members are to be told by [`StreamsOut::receivers`].
    pub(crate) fn open_to_group(&mut self, stream: u64, id: u64, group: GroupId, total: Option<u64>) {
        self.0.retain(|out| out.id != id);
        self.0.push(StreamOut::new(stream, id, Some(group), total, Vec::new()));
    }

    /// Who receives a blob to a group. `false` if it was taken back meanwhile.
    pub(crate) fn receivers(&mut self, now: Instant, id: u64, receivers: Vec<(SessionId, Engine)>) -> bool {
        let Some(out) = self.0.iter_mut().find(|out| out.id == id && out.group.is_some()) else { return false };
        let receivers = receivers.into_iter();
        out.receivers =
            receivers.map(|(session, engine)| Receiver { session, engine, held: None, since: now }).collect();
        true
    }

    /// Whether this is a blob to a group.
    pub(crate) fn is_of_group(&self, id: u64) -> bool {
        self.0.iter().any(|out| out.id == id && out.group.is_some())
    }

    /// A member of a group has done with its blob, if it was one of those who have not.
    pub(crate) fn leave_group(&mut self, id: u64, session: SessionId) -> Option<LeftMember> {
        let at = self.0.iter().position(|out| out.id == id)?;
        let out = self.0.get_mut(at)?;
        let group = out.group.clone()?;
        let place = out.receivers.iter().position(|receiver| receiver.session == session)?;
        let engine = out.receivers.swap_remove(place).engine;
        let last = out.receivers.is_empty();
        let tells = !last && out.settle();
        if last {
            self.0.swap_remove(at);
        }
        Some(LeftMember { group, engine, last, tells })
    }

    /// Takes a blob to a group out: it goes nowhere.
    pub(crate) fn drop_group(&mut self, id: u64) {
        self.0.retain(|out| out.id != id);
    }

    /// What those of a group who are slow keep of what the quick ones have: it is shared, so it is paid for here.
    pub(crate) fn shared_bytes(&self) -> usize {
        let of_groups = self.0.iter().filter(|out| out.group.is_some());
        let kept = of_groups.map(|out| out.next.saturating_sub(out.lowest().unwrap_or(out.next)));
        usize::try_from(kept.sum::<u64>()).unwrap_or(usize::MAX)
    }

    pub(crate) fn pass(&mut self, now: Instant, stream: u64, offset: u64, len: usize) -> Passage {
        let Some(out) = self.0.iter_mut().find(|out| out.stream == stream) else { return Passage::Nothing };
        let until = offset.saturating_add(len as u64);
        let admitted = out.told.is_some_and(|told| until <= told.saturating_add(STREAM_WINDOW));
        if offset > out.next || !admitted || len == 0 {
            return Passage::Violation;
        }
        if [out.total, out.end].into_iter().flatten().any(|total| until > total) {
            return Passage::PastEnd(out.id);
        }
        if until <= out.next {
            return Passage::Nothing;
        }
        let before = out.next;
        out.next = until;
        for receiver in &mut out.receivers {
            if !receiver.owes(before, None) {
                receiver.since = now;
            }
        }
        let engines = out.receivers.iter().map(|receiver| receiver.engine.clone()).collect();
        Passage::To { engines, shared: out.group.is_some() }
    }

    /// The sender says where the stream ends. `Err` with the blob's id if it cannot be there.
    pub(crate) fn end(&mut self, stream: u64, total: u64) -> Result<Vec<Engine>, Option<u64>> {
        let out = self.0.iter_mut().find(|out| out.stream == stream && out.end.is_none()).ok_or(None)?;
        if out.next > total || out.total.is_some_and(|announced| announced != total) {
            return Err(Some(out.id));
        }
        out.end = Some(total);
        Ok(out.receivers.iter().map(|receiver| receiver.engine.clone()).collect())
    }

    /// Takes a stream out: those who receive it.
    pub(crate) fn remove(&mut self, stream: u64) -> Vec<Engine> {
        let Some(at) = self.0.iter().position(|out| out.stream == stream) else { return Vec::new() };
        self.0.swap_remove(at).receivers.into_iter().map(|receiver| receiver.engine).collect()
    }

    /// A receiver holds everything below `offset`. `true` if the sender is to hear of it.
    pub(crate) fn progress(&mut self, now: Instant, stream: u64, session: SessionId, offset: u64) -> bool {
        let Some(out) = self.0.iter_mut().find(|out| out.stream == stream) else { return false };
        let Some(receiver) = out.receivers.iter_mut().find(|receiver| receiver.session == session) else {
            return false;
        };
        receiver.held = Some(receiver.held.map_or(offset, |held| held.max(offset)));
        receiver.since = now;
        out.settle()
    }

    /// A receiver is gone, or has all of it. `true` if the sender is to hear of what the others hold.
    pub(crate) fn leave(&mut self, id: u64, session: SessionId) -> bool {
        let Some(at) = self.0.iter().position(|out| out.id == id) else { return false };
        let Some(out) = self.0.get_mut(at) else { return false };
        out.receivers.retain(|receiver| receiver.session != session);
        if out.receivers.is_empty() {
            self.0.swap_remove(at);
            return false;
        }
        out.settle()
    }

    /// The sender has a new link: it is told what is held, and nobody was slow meanwhile.
    pub(crate) fn on_link(&mut self, now: Instant) {
        for out in &mut self.0 {
            out.told = None;
            out.due = out.lowest().is_some();
            for receiver in &mut out.receivers {
                receiver.since = now;
            }
        }
    }

    /// What the sender is to be told: stream, and what every receiver holds.
    pub(crate) fn poll_credit(&mut self, now: Instant) -> Option<(u64, u64)> {
        let out = self.0.iter_mut().find(|out| out.due)?;
        out.due = false;
        let lowest = out.lowest()?;
        out.told = Some(lowest);
        if out.best.is_none() && lowest > out.next {
            // Who receives it may hold a part of it from before. If that is all of it, its end is owed from now on.
            out.next = lowest;
            out.receivers.iter_mut().for_each(|receiver| receiver.since = now);
        }
        out.best = Some(out.best.map_or(lowest, |best| best.max(lowest)));
        Some((out.stream, lowest))
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let owing =
            self.0.iter().flat_map(|out| out.receivers.iter().filter(|receiver| receiver.owes(out.next, out.end)));
        owing.map(|receiver| receiver.since + PROGRESS).min()
    }

    /// A receiver whose time is over; its clock starts anew.
    pub(crate) fn poll_slow(&mut self, now: Instant) -> Option<Slow> {
        for out in &mut self.0 {
            let late = |receiver: &Receiver| receiver.owes(out.next, out.end) && receiver.since + PROGRESS <= now;
            let Some(at) = out.receivers.iter().position(late) else { continue };
            let only = out.receivers.len() == 1;
            let receiver = out.receivers.get_mut(at)?;
            receiver.since = now;
            let (session, engine) = (receiver.session, receiver.engine.clone());
            return Some(Slow { stream: out.stream, id: out.id, session, engine, only });
        }
        None
    }

    /// The sender's session ends: each stream with the blob's id and those who wait for more of it.
    pub(crate) fn drain(&mut self) -> Vec<(u64, u64, Vec<Engine>)> {
        let all = core::mem::take(&mut self.0).into_iter();
        let unfinished = all.filter(|out| out.end.is_none_or(|end| out.next < end));
        unfinished
            .map(|out| (out.stream, out.id, out.receivers.into_iter().map(|receiver| receiver.engine).collect()))
            .collect()
    }
}

impl StreamOut {
    fn new(stream: u64, id: u64, group: Option<GroupId>, total: Option<u64>, receivers: Vec<Receiver>) -> Self {
        Self { stream, id, group, total, end: None, next: 0, receivers, told: None, best: None, due: false }
    }

    /// What every receiver holds, once each has said it.
    fn lowest(&self) -> Option<u64> {
        self.receivers.iter().map(|receiver| receiver.held).min().flatten()
    }

    fn settle(&mut self) -> bool {
        let Some(lowest) = self.lowest() else { return false };
        let news = self
            .told
            .is_none_or(|told| lowest >= told.saturating_add(CREDIT_STEP) || lowest > told && lowest >= self.next);
        self.due |= news;
        news
    }
}

impl Receiver {
    /// Whether there is anything that this receiver has to do: to say where it begins, to take enough that it has to
    /// say so, or to have everything of a stream that was sent to its end.
    fn owes(&self, sent: u64, end: Option<u64>) -> bool {
        let all_sent = end == Some(sent);
        self.held.is_none_or(|held| all_sent || sent.saturating_sub(held) >= CREDIT_STEP)
    }
}

#[cfg(test)]
mod tests;
