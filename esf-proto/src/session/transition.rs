//! The form of a state machine's table, at either end.

/// One way from a state to another. Each machine has a table of them, takes no other (asserted in debug builds), and
/// PROTOCOL.md shows the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition<S, E = &'static str> {
    /// The state before.
    pub from: S,
    /// What happens.
    pub on: E,
    /// The state after.
    pub to: S,
    /// What the machine does on the way.
    pub rule: &'static str,
}

impl<S, E> Transition<S, E> {
    pub(crate) const fn new(from: S, on: E, to: S, rule: &'static str) -> Self {
        Self { from, on, to, rule }
    }
}
