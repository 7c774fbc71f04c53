//! The server's end: a link up to its login, then a session that outlives its links.
//!
//! [`Link`] is one accepted connection: limits, handshake, login, liveness. [`Session`] is one login: counts, replay
//! window, effects. Many links may carry one session, one after the other; a newer one takes over in one step while the
//! older, half-open one still runs on another thread. An [`Outbox`] is where everybody else puts what the session's
//! client is to get.

mod blobs;
mod command;
mod config;
mod control;
mod counters;
mod desk;
mod inbound;
mod link;
mod login;
mod open;
mod outbox;
mod parked;
mod presence;
mod session;
mod shares;
mod stored;
mod streams;
#[cfg(test)]
pub(crate) mod testing;
mod transitions;
mod waiting;

pub use command::{HubChange, HubCommand, HubEvent, PeopleRequest, Repeat, SERVER};
pub use config::{Config, Relogin};
pub use counters::{Counter, Counters};
pub use desk::{Desk, DeskEvent};
pub use link::{Link, LinkAction};
pub use login::{Accepted, AppRequest, AppResponse, LoginClaim, LoginRequest, Placed};
pub(crate) use open::{Copies, Open};
pub use outbox::Outbox;
pub use parked::{Ticket, Verdict};
pub(crate) use presence::Change;
pub use session::{NewSession, Session, TakeOver};
pub(crate) use streams::Passage;
pub use transitions::{LINK, LinkState, SESSION, SessionState};

/// Which of a session's links speaks: counts up with each takeover. A link of an older generation is fenced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation {
    /// The node that raised it; 0 while there is one node.
    node: u32,
    counter: u64,
}

impl Generation {
    /// A new session's link.
    pub const FIRST: Self = Self { node: 0, counter: 1 };

    /// The link after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self { node: self.node, counter: self.counter.saturating_add(1) }
    }
}

#[cfg(test)]
mod tests;
