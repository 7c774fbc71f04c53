//! The states of a client session and every way from one to another, as data.
//!
//! The code changes its state in one place only, which asserts in debug builds that the change is in this table; a test
//! takes every way in it. PROTOCOL.md draws its diagram from it.

use crate::{close::CloseReason, session::transition::Transition, time::Instant};

/// Where a client session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// A link is being made.
    Connecting,
    /// The link is there, the login has no result yet.
    LoggingIn,
    /// Logged in.
    Online,
    /// Logged in; what is to be answered still goes out before the link is closed.
    LoggingOff,
    /// There is no link; the next attempt comes at `until`.
    Waiting {
        /// When.
        until: Instant,
    },
    /// Over.
    Closed(CloseReason),
}

impl State {
    /// The name in the table.
    #[must_use]
    pub const fn name(&self) -> StateName {
        match self {
            Self::Connecting => StateName::Connecting,
            Self::LoggingIn => StateName::LoggingIn,
            Self::Online => StateName::Online,
            Self::LoggingOff => StateName::LoggingOff,
            Self::Waiting { .. } => StateName::Waiting,
            Self::Closed(_) => StateName::Closed,
        }
    }
}

macro_rules! names {
    ($(#[doc = $doc:expr])* $set:ident { $($(#[doc = $name_doc:expr])* $name:ident = $text:literal;)* }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $set { $($(#[doc = $name_doc])* $name,)* }

        impl $set {
            /// Every one, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// In words, for a diagram.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

names! {
    /// A [`State`] without what it carries.
    StateName {
        /// [`State::Connecting`].
        Connecting = "Connecting";
        /// [`State::LoggingIn`].
        LoggingIn = "LoggingIn";
        /// [`State::Online`].
        Online = "Online";
        /// [`State::LoggingOff`].
        LoggingOff = "LoggingOff";
        /// [`State::Waiting`].
        Waiting = "Waiting";
        /// [`State::Closed`].
        Closed = "Closed";
    }
}

names! {
    /// What makes a session change its state.
    On {
        /// The driver has the link.
        Connected = "connected";
        /// `LoginResult` with result 0.
        Welcome = "login succeeded";
        /// `LoginResult` with another result, and the close that follows it.
        Refused = "login refused";
        /// The link is gone, could not be had, stands still, or was closed for a reason that allows to come back.
        LinkLost = "link lost";
        /// As `LinkLost`, but the session may not or shall not connect again.
        LinkEnded = "link ended for good";
        /// `GoAway` from the server.
        GoAway = "go away";
        /// The wait before the next attempt is over.
        Retry = "wait over";
        /// The application logs off.
        LogOff = "log off";
        /// Everything that was to be answered is handed out, or the time for it is over.
        Farewell = "answers handed out";
    }
}

const fn way(from: StateName, on: On, to: StateName, rule: &'static str) -> Transition<StateName, On> {
    Transition::new(from, on, to, rule)
}

/// Every way from one state to another.
pub const TRANSITIONS: &[Transition<StateName, On>] = {
    use {On::*, StateName::*};
    &[
        way(Connecting, Connected, LoggingIn, "send the login frame, after the question before login if there is one"),
        way(Connecting, LinkLost, Waiting, "wait with full jitter"),
        way(Connecting, LinkEnded, Closed, "end what is pending"),
        way(Connecting, LogOff, Closed, "drop the link, end what is pending"),
        way(LoggingIn, Welcome, Online, "replay if resumed, send certain ones again if fresh"),
        way(LoggingIn, Refused, Closed, "tell the result, end what is pending"),
        way(LoggingIn, LinkLost, Waiting, "wait with full jitter"),
        way(LoggingIn, LinkEnded, Closed, "end what is pending"),
        way(LoggingIn, GoAway, Waiting, "close the link, wait as long as asked"),
        way(LoggingIn, LogOff, Closed, "close the link, end what is pending"),
        way(Online, LinkLost, Waiting, "keep the session, wait with full jitter"),
        way(Online, LinkEnded, Closed, "end what is pending"),
        way(Online, GoAway, Waiting, "close the link, keep the session, wait as long as asked"),
        way(Online, LogOff, LoggingOff, "end what waits, hand out the answers"),
        way(LoggingOff, Farewell, Closed, "tell that it logged off, close the link, end what is pending"),
        way(LoggingOff, LinkEnded, Closed, "end what is pending"),
        way(Waiting, Retry, Connecting, "connect"),
        way(Waiting, LogOff, Closed, "end what is pending"),
    ]
};

/// Whether the table has this way.
pub(super) fn allows(from: StateName, on: On, to: StateName) -> bool {
    TRANSITIONS.iter().any(|way| way.from == from && way.on == on && way.to == to)
}
