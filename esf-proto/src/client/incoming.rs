//! Queries that the application has not answered yet.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::{ids::Source, session::inbound::QueryToken, time::Instant};

/// Queries that may be open …
const OPEN: usize = 256;
/// … and the bytes of their frames, one of any size aside.
const BYTES: usize = 256 * 1024;

/// The open queries of others to this engine (ESF-313). Each leaves when it is answered or its time is over, so a
/// handler that never returns holds its place no longer than its asker waits.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    open: BTreeMap<u64, Asked>,
    deadlines: BTreeSet<(Instant, u64)>,
    last: u64,
    bytes: usize,
}

/// One open query.
#[derive(Debug)]
pub(super) struct Asked {
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
        self.deadlines.insert((deadline, self.last));
        self.open.insert(self.last, Asked { source, id, deadline, len });
        QueryToken(self.last)
    }

    pub(super) fn take(&mut self, token: QueryToken) -> Option<Asked> {
        let asked = self.open.remove(&token.0)?;
        self.deadlines.remove(&(asked.deadline, token.0));
        self.bytes -= asked.len;
        Some(asked)
    }

    /// Forgets a query whose asker does not wait any more.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<Asked> {
        let (_, token) = *self.deadlines.first().filter(|(deadline, _)| *deadline <= now)?;
        self.take(QueryToken(token))
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }
}
