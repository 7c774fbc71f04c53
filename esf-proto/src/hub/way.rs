//! The short way of plain messages: to where the last one went, without a look at the directory.

use alloc::{boxed::Box, sync::Arc};
use core::sync::atomic::{AtomicU64, Ordering};

use super::{Hub, Login, Party, Reach, Targets, Whose};
use crate::{
    failure::Failure,
    server::{Outbox, Repeat},
    time::Instant,
    wire::Kind,
};

/// Counts the changes of a directory: what was found in it is good as long as this is the same. To be asked without a
/// lock.
#[derive(Debug, Clone, Default)]
pub struct Edition(Arc<AtomicU64>);

impl Edition {
    pub(super) fn change(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    fn number(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// Where the plain messages of a session go, while they go to the same place.
#[derive(Debug)]
pub struct Way<H> {
    edition: Edition,
    /// What it was when this way was found.
    found: u64,
    turn: u32,
    ends: Ends<H>,
}

/// What became of messages that went a way.
#[derive(Debug)]
pub struct Carried {
    /// Messages that arrived.
    pub messages: u64,
    /// Why it is not more.
    pub end: Ended,
}

/// Why a way carries no more.
#[derive(Debug)]
pub enum Ended {
    /// The next message goes elsewhere, or there is none.
    Next(Option<Repeat>),
    /// Nobody's outbox took this one: [`Hub::refused`] is to hear of it.
    Refused(Repeat, Failure),
}

#[derive(Debug)]
enum Ends<H> {
    One(H),
    Many(Box<[H]>),
}

impl<H: Clone> Hub<H> {
    /// The way that this message goes, and others to the same address after it; `None` if nobody is there.
    #[must_use]
    pub fn way(&self, message: &Repeat) -> Option<Way<H>> {
        let ends = match self.targets(&message.frame.address(&message.route)?) {
            Targets::None => return None,
            Targets::One(login) => Ends::One(login.handle.clone()),
            Targets::Many(logins) => {
                Ends::Many(logins.into_iter().map(|login: &Login<H>| login.handle.clone()).collect())
            }
        };
        Some(Way { edition: self.edition.clone(), found: self.edition.number(), turn: message.turn, ends })
    }
}

impl<H> Way<H> {
    /// Whether this message goes the same way.
    #[must_use]
    pub fn is_for(&self, message: &Repeat) -> bool {
        self.turn == message.turn && self.found == self.edition.number()
    }

    /// Puts a message into the outboxes where the way ends, and those of `next` after it that go the same way. An outbox
    /// that is alone at the end is locked once for all of them: `next` must not come back to it.
    pub fn carry(
        &self,
        now: Instant,
        party: &Party<'_, H>,
        first: Repeat,
        next: impl FnMut() -> Option<Repeat>,
        reach: &impl Reach<H>,
    ) -> Carried {
        let offer = |outbox: &mut Outbox, message: &Repeat| {
            let source = party.session;
            outbox.offer(now, &message.frame, Kind::Send, source, None)
        };
        match &self.ends {
            Ends::One(handle) => reach
                .visit(Whose::Session(handle), |outbox| self.carry_to(first, next, |message| offer(outbox, message))),
            Ends::Many(handles) => self.carry_to(first, next, |message| {
                let to = |handle| reach.visit(Whose::Session(handle), |outbox| offer(outbox, message));
                handles.iter().map(to).fold(Err(Failure::Offline), Result::or)
            }),
        }
    }

    fn carry_to(
        &self,
        first: Repeat,
        mut next: impl FnMut() -> Option<Repeat>,
        mut offer: impl FnMut(&Repeat) -> Result<(), Failure>,
    ) -> Carried {
        let (mut message, mut messages) = (first, 0);
        loop {
            if let Err(failure) = offer(&message) {
                return Carried { messages, end: Ended::Refused(message, failure) };
            }
            messages += 1;
            message = match next() {
                Some(message) if self.is_for(&message) => message,
                next => return Carried { messages, end: Ended::Next(next) },
            };
        }
    }
}
