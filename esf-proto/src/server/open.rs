//! What a session has asked and nobody has answered yet.

use alloc::{collections::VecDeque, vec::Vec};

use super::SERVER;
use crate::{failure::Failure, ids::SessionId, time::Instant, wire::Kind};

/// One certain send, query or request that waits for its outcome.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) id: u64,
    pub(crate) about: Kind,
    /// Who holds a copy: each engine by its first session, since a later one of it may answer (ESF-314).
    copies: Copies,
    /// Whether a copy may have arrived: it went out to a receiver that is gone now, or that cannot tell.
    may_have_arrived: bool,
    pub(crate) deadline: Instant,
    /// Bytes of the answer's room in the asker's budget.
    pub(crate) room: usize,
    /// Bytes of the query, charged to the bound of queries.
    pub(crate) bytes: usize,
}

/// Who holds a copy; most often one.
#[derive(Debug)]
pub(crate) enum Copies {
    One(SessionId),
    Many(Vec<SessionId>),
    /// The members of a group, whom the stream of its blob knows; and whether one has it whole.
    Group {
        whole: bool,
    },
}

/// The open entries of one session, by id. Ids count up, so an entry is found by bisection and most go at the front.
#[derive(Debug, Default)]
pub(crate) struct OpenTable {
    entries: VecDeque<Open>,
    queries: usize,
    query_bytes: usize,
    /// No deadline is earlier than this.
    first_deadline: Option<Instant>,
}

/// The end of one copy.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CopyEnd {
    /// Another device still has one, or nobody waits for it.
    Nothing,
    /// It was the last: this is the outcome.
    Failed(Failure),
}

impl OpenTable {
    /// Gives the room of an idle session back.
    pub(crate) fn rest(&mut self) {
        self.entries.shrink_to_fit();
    }
}

impl Open {
    pub(crate) fn new(id: u64, about: Kind, copies: Copies, deadline: Instant, room: usize, bytes: usize) -> Self {
        Self { id, about, copies, may_have_arrived: false, deadline, room, bytes }
    }

    /// What a blob to a group comes to, when the last member failed so.
    pub(crate) const fn of_group(&self, last: Failure) -> Result<(), Failure> {
        match self.copies {
            Copies::Group { whole: true } => Ok(()),
            _ if self.may_have_arrived => Err(Failure::ConnectionLost),
            _ => Err(last),
        }
    }

    fn is_query(&self) -> bool {
        matches!(self.about, Kind::Query | Kind::Request)
    }

    fn holds(&self, session: SessionId) -> bool {
        match &self.copies {
            Copies::One(one) => *one == session,
            Copies::Many(many) => many.contains(&session),
            Copies::Group { .. } => false,
        }
    }
}

impl OpenTable {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn queries(&self) -> (usize, usize) {
        (self.queries, self.query_bytes)
    }

    pub(crate) fn first_deadline(&self) -> Option<Instant> {
        self.first_deadline
    }

    /// Takes an entry in. An entry with this id that is there already gives way: a resend asks anew.
    pub(crate) fn insert(&mut self, open: Open) -> Option<Open> {
        let (at, old) = match self.entries.binary_search_by_key(&open.id, |entry| entry.id) {
            Ok(at) => (at, self.remove_at(at)),
            Err(at) => (at, None),
        };
        let first = self.first_deadline.map_or(open.deadline, |first| first.min(open.deadline));
        self.first_deadline = Some(first);
        if open.is_query() {
            self.queries += 1;
            self.query_bytes += open.bytes;
        }
        self.entries.insert(at, open);
        old
    }

    /// The receiver `from` answered: takes the entry out if it was asked.
    pub(crate) fn answered(&mut self, id: u64, from: SessionId, by: impl FnOnce(Kind) -> bool) -> Option<Open> {
        let at = self.position(id)?;
        let open = self.entries.get(at)?;
        if (open.holds(from) || broken!(StrangerBelieved)) && by(open.about) { self.remove_at(at) } else { None }
    }

    /// The copy of `session` came to nothing. Takes the entry out if that was the last one.
    pub(crate) fn copy_failed(
        &mut self,
        id: u64,
        session: SessionId,
        failure: Failure,
        handed_out: bool,
    ) -> (CopyEnd, Option<Open>) {
        let Some(at) = self.position(id) else { return (CopyEnd::Nothing, None) };
        let Some(open) = self.entries.get_mut(at) else { return (CopyEnd::Nothing, None) };
        if !open.holds(session) && !broken!(StrangerBelieved) {
            return (CopyEnd::Nothing, None);
        }
        open.may_have_arrived |= handed_out || failure == Failure::ConnectionLost;
        let failure = if open.may_have_arrived { Failure::ConnectionLost } else { failure };
        if let Copies::Many(many) = &mut open.copies {
            many.retain(|holder| *holder != session);
            if !many.is_empty() {
                return (CopyEnd::Nothing, None);
            }
        }
        (CopyEnd::Failed(failure), self.remove_at(at))
    }

    /// The copy of `session` came to nothing, and the message is to be stored if it was the last: then the entry waits for
    /// the store. Says whether it does.
    pub(crate) fn keep_copy(&mut self, id: u64, session: SessionId, handed_out: bool) -> bool {
        let Some(open) = self.position(id).and_then(|at| self.entries.get_mut(at)) else { return false };
        if !open.holds(session) {
            return false;
        }
        open.may_have_arrived |= handed_out;
        if let Copies::Many(many) = &mut open.copies {
            many.retain(|holder| *holder != session);
            if !many.is_empty() {
                return false;
            }
        }
        open.copies = Copies::One(SERVER);
        true
    }

    /// Takes out an entry whose time is over.
    pub(crate) fn pop_expired(&mut self, now: Instant) -> Option<Open> {
        self.first_deadline.filter(|first| *first <= now)?;
        match self.entries.iter().position(|open| open.deadline <= now) {
            Some(at) => self.remove_at(at),
            None => {
                self.first_deadline = self.entries.iter().map(|open| open.deadline).min();
                None
            }
        }
    }

    /// A member of a group has its blob whole.
    pub(crate) fn member_has_it(&mut self, id: u64) {
        if let Some(Open { copies: Copies::Group { whole }, .. }) = self.get_mut(id) {
            *whole = true;
        }
    }

    /// A member of a group came to nothing with its blob, so that it may have arrived there, or not.
    pub(crate) fn member_may_have_it(&mut self, id: u64) {
        if let Some(open) = self.get_mut(id) {
            open.may_have_arrived = true;
        }
    }

    fn get_mut(&mut self, id: u64) -> Option<&mut Open> {
        let at = self.position(id)?;
        self.entries.get_mut(at)
    }

    /// Takes an entry out.
    pub(crate) fn take(&mut self, id: u64) -> Option<Open> {
        self.remove_at(self.position(id)?)
    }

    /// Takes everything out: the session ends.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Open> + use<> {
        core::mem::take(self).entries.into_iter()
    }

    fn position(&self, id: u64) -> Option<usize> {
        self.entries.binary_search_by_key(&id, |entry| entry.id).ok()
    }

    fn remove_at(&mut self, at: usize) -> Option<Open> {
        let open = self.entries.remove(at)?;
        if open.is_query() {
            self.queries -= 1;
            self.query_bytes -= open.bytes;
        }
        if self.entries.is_empty() {
            self.first_deadline = None;
        }
        Some(open)
    }
}

#[cfg(test)]
mod tests;
