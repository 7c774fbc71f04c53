//! Faults that are put into the core on purpose, each of which the simulator has to find.
//!
//! Nothing but its tests turns the feature `broken` on; without it none of this is compiled, and every place that asks
//! is the code that it would be without asking.

use core::cell::Cell;

macro_rules! faults {
    ($($(#[doc = $doc:expr])* $name:ident,)*) => {
        /// A fault that the core can have.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Broken { $($(#[doc = $doc])* $name,)* }

        impl Broken {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

faults! {
    /// A receiving client does not acknowledge each certain message.
    AckDropped,
    /// A session takes every link for its own.
    GenerationIgnored,
    /// The death of an older link puts the session to sleep that a newer one has.
    OldDeathCounts,
    /// A resume takes one frame more for received than was stated.
    ResumeOffByOne,
    /// A client without a link counts what it only queues.
    CountedAtEnqueue,
    /// A client forgets which messages it ran when it has to begin a new session.
    DedupeForgotten,
    /// A client hands out fragments whatever waits to be sent.
    HeartbeatBehindBulk,
    /// What is queued for a session is not charged to its budget.
    BudgetNotCharged,
    /// Messages go out whatever the window says.
    WindowIgnored,
    /// The server counts volatile frames.
    VolatileCounted,
    /// An answer counts whoever says it.
    StrangerBelieved,
    /// The loss of a message that was held for somebody is told twice.
    HeldAnsweredTwice,
    /// A takeover states a count that was read before the last frames came.
    TakeoverReadsLate,
    /// The older resume secret is void as soon as there is a newer one.
    OldSecretForgotten,
    /// A late login of an engine takes its session from a newer link.
    AttemptIgnored,
    /// An automatic login with an older number replaces a newer interactive one.
    AutomaticReplaces,
    /// A session without a link ends at once.
    WindowSkipped,
    /// A query goes to every device of a user.
    QueryToAll,
    /// Nobody looks at who a frame says that it is from.
    FromUnchecked,
    /// The server hands out fragments before the receiver has said what it holds.
    CreditIgnored,
    /// A client tells an outcome twice.
    OutcomeTwice,
    /// Who is no member of a group may broadcast to it.
    StrangerBroadcasts,
    /// The contacts of contacts hear who comes and goes.
    PresenceToStrangers,
    /// Who quits a group goes on hearing what is said there.
    SeatKept,
    /// A slice of a broadcast leaves out the first of the next.
    SliceSkips,
    /// Of the news of somebody that wait the first is told.
    OlderNews,
    /// A broadcast comes back to the devices of its sender.
    EchoToSender,
    /// An answer of the store goes to whoever asked first.
    AnswerOfAnother,
    /// A flap is told.
    FlapTold,
    /// Nobody hears that a resume window is over.
    EndUntold,
    /// A message is told stored before the store has said so.
    StoredTooEarly,
    /// A client confirms a stored message before its handler has run.
    ConfirmedUnhandled,
    /// A confirm lets go whatever was handed out before it as well.
    ConfirmsAllBefore,
    /// Messages are handed out before those of the store.
    TailOvertaken,
    /// What waits for somebody whose session ends is not stored.
    HeldDropped,
    /// A message that comes again is not looked up.
    LookUpSkipped,
    /// What a device had of the store and did not confirm does not go to the next one.
    TailNotPassedOn,
    /// The receiver of a stored message is not told when it was stored.
    AcceptedUnstamped,
    /// A login does not wait for what is being stored for its user.
    LoginNotWaiting,
    /// What the server's application refuses goes on.
    RefusedGoesOn,
    /// What waited behind a message that was judged goes on in the wrong order.
    ParkedBackwards,
    // Written by people who had not read the tests.
    /// After a fresh login certain messages go again in the wrong order.
    ResentBackwards,
    /// What the server's application has taken stays charged to its session.
    InboxNotReleased,
    /// A message to a user goes to the device alone that logged on last.
    LastDeviceOnly,
    /// The server does not answer heartbeats.
    HeartbeatUnanswered,
}

std::thread_local! {
    static PRESENT: Cell<Option<Broken>> = const { Cell::new(None) };
}

/// Gives every machine that runs on this thread a fault, or none.
pub fn set(broken: Option<Broken>) {
    PRESENT.set(broken);
}

pub(crate) fn is(broken: Broken) -> bool {
    PRESENT.get() == Some(broken)
}
