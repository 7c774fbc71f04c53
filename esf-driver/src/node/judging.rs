//! Frames that the server's application is to judge before they go on (ESF-516).

use std::collections::BTreeMap;

use esf_proto::{
    failure::Failure,
    ids::{Engine, SessionId},
    server::{Ticket, Verdict},
    time::Instant,
    wire::RawFrame,
};

use super::{Node, cell::Cell, lock};
use crate::sync::{Arc, Mutex, OnceLock};

/// Judges frames of clients for the server's application.
pub trait Judge: Send + Sync {
    /// Judges one frame. Called with no lock held, where the client's link is served: so it is quick, and does not panic.
    fn judge(&self, now: Instant, asked: &Asked) -> Judged;
}

/// A verdict, or what begins to find it.
pub enum Judged {
    /// It is there.
    Now(Verdict),
    /// It comes by [`Node::judged`], after this was called.
    Later(Box<dyn FnOnce() + Send>),
}

/// A frame that waits for its verdict.
#[derive(Debug, Clone)]
pub struct Asked {
    cell: Arc<Cell>,
    ticket: Ticket,
    frame: RawFrame,
    until: Instant,
}

impl Asked {
    /// Whose it is.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        self.cell.engine()
    }

    /// The frame, which is sound and from that engine.
    #[must_use]
    pub fn frame(&self) -> &RawFrame {
        &self.frame
    }

    fn key(&self) -> (Instant, SessionId, Ticket) {
        (self.until, self.cell.id(), self.ticket)
    }
}

/// Who judges, and what waits for that: at most one frame of a session.
#[derive(Default)]
pub(super) struct Judging {
    judge: OnceLock<Box<dyn Judge>>,
    open: Mutex<BTreeMap<(Instant, SessionId, Ticket), Arc<Cell>>>,
}

impl Judging {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        lock(&self.open).first_key_value().map(|((until, ..), _)| *until)
    }
}

impl Node {
    /// Has `judge` judge each message, query and offer of a blob of a client, if the settings say that frames are
    /// intercepted. Without one they pass. The first that is set stays.
    pub fn set_judge(&self, judge: Box<dyn Judge>) {
        let _ = self.judging.judge.set(judge);
    }

    /// Whether nobody has judged this yet, and there is time.
    #[must_use]
    pub fn awaits(&self, asked: &Asked) -> bool {
        lock(&self.judging.open).contains_key(&asked.key())
    }

    /// The verdict on a frame. Ignored when it comes too late.
    pub fn judged(&self, now: Instant, asked: &Asked, verdict: Verdict) {
        let awaited = lock(&self.judging.open).remove(&asked.key()).is_some();
        if awaited {
            self.count(verdict);
            asked.cell.resume(self, now, asked.ticket, verdict);
        }
    }

    /// Asks about a frame: the verdict, if it is there at once.
    pub(super) fn ask_judge(&self, now: Instant, cell: &Arc<Cell>, ticket: Ticket, frame: RawFrame) -> Option<Verdict> {
        let Some(judge) = self.judging.judge.get() else { return Some(Verdict::Pass) };
        let until = now + self.config.intercept_limit;
        let asked = Asked { cell: cell.clone(), ticket, frame, until };
        match judge.judge(now, &asked) {
            Judged::Now(verdict) => {
                self.count(verdict);
                Some(verdict)
            }
            Judged::Later(begin) => {
                let mut open = lock(&self.judging.open);
                let is_first = open.first_key_value().is_none_or(|((first, ..), _)| until < *first);
                open.insert(asked.key(), cell.clone());
                drop(open);
                if is_first {
                    self.housekeeper.wake();
                }
                begin();
                None
            }
        }
    }

    /// Refuses what was not judged in time.
    pub(super) fn end_unjudged(&self, now: Instant) {
        loop {
            let late = {
                let mut open = lock(&self.judging.open);
                open.first_entry()
                    .filter(|entry| entry.key().0 <= now)
                    .map(std::collections::btree_map::OccupiedEntry::remove_entry)
            };
            let Some(((_, _, ticket), cell)) = late else { return };
            let verdict = Verdict::Refuse(Failure::Internal);
            self.count(verdict);
            cell.resume(self, now, ticket, verdict);
        }
    }

    fn count(&self, verdict: Verdict) {
        match verdict {
            Verdict::Pass => {}
            Verdict::Refuse(Failure::Internal) => self.counters.interceptions_failed.add(1),
            Verdict::Refuse(_) | Verdict::Drop => self.counters.intercepted.add(1),
        }
    }
}
