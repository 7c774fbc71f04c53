//! The states of a server's link and session, and every transition that there is. The code asserts in debug builds that
//! it takes no other, and PROTOCOL.md's tables and diagrams are made from these.

use crate::session::transition::Transition;

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

/// Every way of a server's link.
pub const LINK: &[Transition<LinkState>] = {
    use LinkState::{Accepted, Answered, Attached, Authenticating, Closed, Closing, LoggingIn, Querying};
    const CLOSE: &str = "tell the reason, close";
    const REFUSE: &str = "tell the result, close";
    const AUTHENTICATE: &str = "ask the application about the credential";
    &[
        way(Accepted, "question before login", Querying, "ask the application"),
        way(Querying, "the application answers", Answered, "send the answer"),
        way(Accepted, "login", Authenticating, AUTHENTICATE),
        way(Answered, "login", Authenticating, AUTHENTICATE),
        way(Authenticating, "the credential is good", LoggingIn, "ask the hub for the place"),
        way(LoggingIn, "the place is free, or taken over", Attached, "send the welcome, then the session's frames"),
        way(Accepted, "violation, login that cannot be, timeout, drain, close by the client", Closing, CLOSE),
        way(Querying, "no time to answer, violation, timeout, drain, close by the client", Closing, CLOSE),
        way(Answered, "violation, login that cannot be, timeout, drain, close by the client", Closing, CLOSE),
        way(Authenticating, "the credential is refused", Closing, REFUSE),
        way(Authenticating, "no time to judge, violation, timeout, drain, close by the client", Closing, CLOSE),
        way(LoggingIn, "the older login stays, or a newer one is there", Closing, REFUSE),
        way(LoggingIn, "violation, timeout, drain, close by the client", Closing, CLOSE),
        way(
            Attached,
            "violation, silence, overflow, drain, close by the client",
            Closing,
            "let go of the session, close",
        ),
        way(Attached, "the session ended, or a newer link has it", Closing, CLOSE),
        way(Accepted, "the transport is gone", Closed, "forget it"),
        way(Querying, "the transport is gone", Closed, "forget it"),
        way(Answered, "the transport is gone", Closed, "forget it"),
        way(Authenticating, "the transport is gone", Closed, "forget it"),
        way(LoggingIn, "the transport is gone", Closed, "forget it"),
        way(Attached, "the transport is gone", Closed, "let go of the session"),
        way(Closing, "the transport is gone", Closed, "forget it"),
    ]
};

/// Every way of a server's session.
pub const SESSION: &[Transition<SessionState>] = {
    use SessionState::{Attached, Detached, Ended};
    const TAKE_OVER: &str = "fence the older link, read the count, replay";
    const END: &str = "tell whoever waits";
    &[
        way(Attached, "the link ends for a reason that may reconnect", Detached, "open the resume window"),
        way(Attached, "a newer link of the engine takes over", Attached, TAKE_OVER),
        way(Detached, "a newer link of the engine takes over", Attached, TAKE_OVER),
        way(Attached, "log-off, kick, push-out, fresh login of the engine, close that may not reconnect", Ended, END),
        way(Detached, "the resume window ends, kick, push-out, fresh login of the engine", Ended, END),
    ]
};

const fn way<S: Copy>(from: S, on: &'static str, to: S, rule: &'static str) -> Transition<S> {
    Transition::new(from, on, to, rule)
}

pub(super) fn check_link(from: LinkState, to: LinkState) {
    debug_assert!(LINK.iter().any(|row| row.from == from && row.to == to), "link: {from:?} -> {to:?} is in no row");
}

pub(super) fn check_session(from: SessionState, to: SessionState) {
    debug_assert!(
        SESSION.iter().any(|row| row.from == from && row.to == to),
        "session: {from:?} -> {to:?} is in no row"
    );
}

#[cfg(test)]
mod tests;
