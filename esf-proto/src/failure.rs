//! Why an operation failed: one table, one stable number each.

macro_rules! failures {
    ($($(#[doc = $doc:expr])* $name:ident = $number:literal, $text:literal;)*) => {
        /// Why an operation failed. The number is the wire's (PROTOCOL.md, "Failures").
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum Failure { $($(#[doc = $doc])* #[error($text)] $name = $number,)* }

        impl Failure {
            /// Every failure, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The failure with this number, if there is one.
            #[must_use]
            pub const fn from_u8(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }
        }
    };
}

failures! {
    /// The target is not online, or does not exist: the two look the same to others.
    Offline = 1, "the target is offline";
    /// A queue on the way is full.
    Busy = 2, "the channel is busy";
    /// The message is larger than the limit.
    TooLarge = 3, "the message is too large";
    /// The asker lacks the right, or the target takes no such thing.
    NotAllowed = 4, "not allowed";
    /// There is no such user; only told where messages are stored.
    NoSuchUser = 5, "no such user";
    /// The connection ended on the way: it may have arrived.
    ConnectionLost = 6, "the connection was lost, it may have arrived";
    /// Its time ran out: it may still arrive.
    TimedOut = 7, "timed out";
    /// The target's handler failed, or nobody handles it.
    HandlerFailed = 8, "the handler failed";
    /// The other side does not know this kind or method.
    Unsupported = 9, "not supported";
    /// The target's store is full.
    QuotaFull = 10, "the quota is full";
    /// A receiver made no progress.
    TooSlow = 11, "too slow";
    /// Somebody cancelled it.
    Cancelled = 12, "cancelled";
    /// The receiver does not want it.
    Rejected = 13, "rejected";
    /// The request's body is not what its method says.
    Malformed = 14, "malformed";
    /// There is no such thing.
    NotFound = 15, "not found";
    /// A fault of the server.
    Internal = 16, "internal error";
}

/// The status byte of a response: success, or why not.
pub type Status = Result<(), Failure>;
