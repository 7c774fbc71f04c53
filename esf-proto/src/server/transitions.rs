//! The states of a server's link and session, and every transition that there is. The code asserts in debug builds that
//! it takes no other, and PROTOCOL.md's tables and diagrams are made from these.

/// Where a link is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkState {
    /// Nothing came yet.
    Accepted,
    /// The application works on a query before login.
    Querying,
    /// The query before login was answered; only a login may follow.
    Answered,
    /// The application checks the credential.
    Authenticating,
    /// The credential is good; the hub decides about the place.
    LoggingIn,
    /// It carries a session.
    Attached,
    /// The reason was told; the transport is to be closed.
    Closing,
    /// The transport is closed.
    Closed,
}

/// Where a session is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SessionState {
    /// A link carries it.
    Attached,
    /// It waits for its client to come back.
    Detached,
    /// It is over.
    Ended,
}

/// One row: from, on what, to, by which rule.
#[derive(Debug, Clone, Copy)]
pub struct Transition<S> {
    /// The state before.
    pub from: S,
    /// What happens.
    pub on: &'static str,
    /// The state after.
    pub to: S,
}

const fn row<S: Copy>(from: S, on: &'static str, to: S) -> Transition<S> {
    Transition { from, on, to }
}

/// Every transition of a server's link.
pub const LINK: &[Transition<LinkState>] = {
    use LinkState::{Accepted, Answered, Attached, Authenticating, Closed, Closing, LoggingIn, Querying};
    &[
        row(Accepted, "query before login", Querying),
        row(Querying, "the application answers", Answered),
        row(Accepted, "login", Authenticating),
        row(Answered, "login", Authenticating),
        row(Authenticating, "the credential is good", LoggingIn),
        row(Authenticating, "the credential is refused", Closing),
        row(LoggingIn, "the place is free, or taken over", Attached),
        row(LoggingIn, "the older login stays, or this one is stale", Closing),
        row(Accepted, "violation, refused login, timeout, drain", Closing),
        row(Querying, "violation, timeout, drain", Closing),
        row(Answered, "violation, refused login, timeout, drain", Closing),
        row(Attached, "violation, silence, overflow, log-off, kick, push-out, takeover, drain", Closing),
        row(Accepted, "the transport is gone", Closed),
        row(Querying, "the transport is gone", Closed),
        row(Answered, "the transport is gone", Closed),
        row(Authenticating, "the transport is gone", Closed),
        row(LoggingIn, "the transport is gone", Closed),
        row(Attached, "the transport is gone", Closed),
        row(Closing, "the transport is gone", Closed),
    ]
};

/// Every transition of a server's session.
pub const SESSION: &[Transition<SessionState>] = {
    use SessionState::{Attached, Detached, Ended};
    &[
        row(Attached, "the link ends for a reason that may reconnect", Detached),
        row(Attached, "a newer link of the engine takes over", Attached),
        row(Detached, "a newer link of the engine takes over", Attached),
        row(Attached, "log-off, kick, push-out, fresh login of the engine, or a close that may not reconnect", Ended),
        row(Detached, "the resume window ends, kick, push-out, or a fresh login of the engine", Ended),
    ]
};

pub(super) fn check_link(from: LinkState, to: LinkState) {
    debug_assert!(LINK.iter().any(|row| row.from == from && row.to == to), "link: {from:?} -> {to:?} is in no row");
}

pub(super) fn check_session(from: SessionState, to: SessionState) {
    debug_assert!(
        SESSION.iter().any(|row| row.from == from && row.to == to),
        "session: {from:?} -> {to:?} is in no row"
    );
}
