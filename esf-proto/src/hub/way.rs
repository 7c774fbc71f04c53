//! The short way of plain messages: to where the last one went, without a look at the directory.

use alloc::{boxed::Box, sync::Arc};
use core::sync::atomic::{AtomicU64, Ordering};

use super::{Hub, Login, Party, Reach, Targets, Whose};
use crate::{failure::Failure, server::Repeat, time::Instant, wire::Kind};

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
    edition: u64,
    turn: u32,
    ends: Ends<H>,
}

#[derive(Debug)]
enum Ends<H> {
    One(H),
    Many(Box<[H]>),
}

impl<H: Clone> Hub<H> {
    /// What tells whether a [`Way`] is still good.
    #[must_use]
    pub const fn edition(&self) -> &Edition {
        &self.edition
    }

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
        Some(Way { edition: self.edition.number(), turn: message.turn, ends })
    }
}

impl<H> Way<H> {
    /// Whether this message goes the same way.
    #[must_use]
    pub fn is_for(&self, message: &Repeat, edition: &Edition) -> bool {
        self.turn == message.turn && self.edition == edition.number()
    }

    /// Puts a message into the outboxes where the way ends.
    ///
    /// # Errors
    /// Nobody's outbox took it: [`Hub::refused`] is to hear of it.
    pub fn carry(
        &self,
        now: Instant,
        party: &Party<'_, H>,
        message: &Repeat,
        reach: &impl Reach<H>,
    ) -> Result<(), Failure> {
        let offer = |handle: &H| {
            reach.visit(Whose::Session(handle), |outbox| {
                outbox.offer(now, &message.frame, Kind::Send, party.session, None)
            })
        };
        match &self.ends {
            Ends::One(handle) => offer(handle),
            Ends::Many(handles) => handles.iter().map(offer).fold(Err(Failure::Offline), Result::or),
        }
    }
}
