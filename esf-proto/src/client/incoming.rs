//! Queries that the application has not answered yet.

use alloc::collections::VecDeque;

use crate::{ids::Source, session::inbound::QueryToken, time::Instant};

/// Queries that may be open …
const OPEN: usize = 256;
/// … and the bytes of their frames, one of any size aside.
const BYTES: usize = 256 * 1024;

/// The open queries of others to this engine (ESF-313). Each leaves when it is answered or its time is over, so a
/// handler that never returns holds its place no longer than its asker waits.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// In the order of their tokens, which count up.
    open: VecDeque<Asked>,
    /// No deadline is earlier than this.
    first_deadline: Option<Instant>,
    last: u64,
    bytes: usize,
}

/// One open query.
#[derive(Debug)]
pub(super) struct Asked {
    token: QueryToken,
    pub(super) source: Source,
    pub(super) id: u64,
    deadline: Instant,
    len: usize,
}

impl Incoming {
    /// Whether another query whose frame has `len` bytes may be opened.
    pub(super) fn admits(&self, len: usize) -> bool {
        self.open.len() < OPEN && (self.bytes == 0 || self.bytes.saturating_add(len) <= BYTES)
    }

    pub(super) fn open(&mut self, source: Source, id: u64, len: usize, deadline: Instant) -> QueryToken {
        self.last = self.last.wrapping_add(1);
        self.bytes += len;
        let token = QueryToken(self.last);
        self.first_deadline = Some(self.first_deadline.map_or(deadline, |first| first.min(deadline)));
        self.open.push_back(Asked { token, source, id, deadline, len });
        token
    }

    pub(super) fn take(&mut self, token: QueryToken) -> Option<Asked> {
        let at = self.open.binary_search_by_key(&token, |asked| asked.token).ok()?;
        self.take_at(at)
    }

    /// Forgets a query whose asker does not wait any more.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<Asked> {
        self.first_deadline.filter(|first| *first <= now)?;
        let expired = self.open.iter().position(|asked| asked.deadline <= now);
        if expired.is_none() {
            self.first_deadline = self.open.iter().map(|asked| asked.deadline).min();
        }
        self.take_at(expired?)
    }

    /// When to ask [`pop_expired`](Self::pop_expired) again. It may be earlier than the first deadline, never later.
    pub(super) const fn next_deadline(&self) -> Option<Instant> {
        self.first_deadline
    }

    fn take_at(&mut self, at: usize) -> Option<Asked> {
        let asked = self.open.remove(at)?;
        self.bytes -= asked.len;
        if self.open.is_empty() {
            self.first_deadline = None;
        }
        Some(asked)
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }
}
