//! What a server counts. Every refusal of a bad input has its counter here (PROTOCOL.md, "What bad input gets").

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{close::CloseReason, session::budget::Full};

/// One number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts `n` more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// The count so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

macro_rules! counters {
    ($($(#[doc = $doc:expr])* $name:ident,)*) => {
        /// The counters of one server, shared by all its links and sessions.
        #[derive(Debug, Default)]
        pub struct Counters {
            /// Links closed by this server, by reason.
            pub closed: [Counter; CloseReason::ALL.len()],
            $($(#[doc = $doc])* pub $name: Counter,)*
        }

        impl Counters {
            /// Every counter with its name: what `stats()` returns and a drain prints. Close reasons are
            /// `closed_` and the reason in words.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                let closed = CLOSED.into_iter().zip(&self.closed).map(|(name, counter)| (name, counter.get()));
                closed.chain([$((stringify!($name), self.$name.get()),)*])
            }
        }
    };
}

counters! {
    /// Links accepted.
    links,
    /// Fresh logins.
    logins,
    /// Resumed sessions.
    resumes,
    /// Logins that wanted to go on with a session which is not theirs, or is gone, and started afresh.
    resumes_refused,
    /// Logins refused because of the credential, the device kind or the version.
    logins_refused,
    /// Logins refused because the older login stays, or is the newer one.
    logins_superseded,
    /// Logins of an attempt that is not above the last one seen.
    attempts_stale,
    /// Sessions that ended because their resume window did.
    sessions_expired,
    /// Messages and queries relayed.
    relayed,
    /// Sends, queries and answers that found a queue full, whatever the cause.
    busy,
    /// Of these, because a session holds all that it may.
    busy_budget,
    /// … because all sessions together hold all that they may.
    busy_memory,
    /// … because one source has half of a queue already.
    busy_share,
    /// … because whoever asks has as much open as it may.
    busy_open,
    /// … because as many queries wait for the receiver as may.
    busy_queries,
    /// … because enough waits for the server's own application.
    busy_application,
    /// Sends to somebody who is not there.
    offline,
    /// Volatile messages dropped because the channel was busy.
    volatile_dropped,
    /// Certain sends, queries and requests whose time was over in the server's hands.
    expired,
    /// Fragments of blobs passed on.
    fragments,
    /// Fragments and ends of blobs that brought nothing: repeated, or of no stream that is open.
    fragments_ignored,
    /// Credits that said nothing new, or of no stream that is open.
    credits_ignored,
    /// Receivers cut out of a stream because they made no progress.
    streams_too_slow,
    /// Answers to something never asked, or from somebody never asked.
    answers_unasked,
    /// Answers dropped because no room was kept for them.
    answers_dropped,
    /// Requests and sends refused for want of the right, or because the target takes no such thing.
    not_allowed,
    /// Frames of a kind that this version does not know, skipped.
    unknown_skipped,
    /// Frames of a kind that this version does not relay, refused.
    unknown_refused,
    /// Frames that came on a link which a newer one has superseded.
    fenced,
    /// Requests with a body that is not what its method says.
    requests_malformed,
    /// Broadcasts that were carried out.
    broadcasts,
    /// Members that missed a broadcast because they had no room for it, or a blob to a group for a reason of theirs.
    broadcasts_missed,
    /// News of who comes and goes that a receiver had no room for.
    presence_dropped,
    /// Events of groups that a receiver, or the server, had no room for.
    group_events_dropped,
    /// Messages, queries and blobs that the server's application did not let pass.
    intercepted,
    /// … that were refused because its interceptor panicked or took too long.
    interceptions_failed,
    /// People of whom the store told more contacts or groups than are kept.
    relations_cut,
    /// Requests to the store that failed, or were not answered in time.
    store_failed,
    /// Answers of the store to nothing that is open.
    store_unasked,
    /// Messages that the store keeps for who is not online.
    messages_stored,
    /// Messages that the store was to keep and did not.
    messages_not_stored,
    /// Confirms of stored messages that came faster than the store takes them.
    confirms_dropped,
    /// Timers that fired late and restarted their wait.
    timers_late,
}

const CLOSED: [&str; CloseReason::ALL.len()] = [
    "closed_network_interrupted",
    "closed_invalid_message",
    "closed_wrong_user_id",
    "closed_heartbeat_timeout",
    "closed_pushed_out",
    "closed_new_connection_ignored",
    "closed_channel_overflow",
    "closed_unauthorised_client_type",
    "closed_connection_limit",
    "closed_kicked",
    "closed_going_away",
    "closed_logged_off",
    "closed_login_timeout",
    "closed_login_failed",
    "closed_version_mismatched",
    "closed_too_large",
    "closed_unsupported",
    "closed_rate_limited",
    "closed_superseded",
    "closed_internal",
];

/// Why a queue took nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Budget,
    Memory,
    Share,
    Open,
    Queries,
    Application,
}

impl From<Full> for Cause {
    fn from(full: Full) -> Self {
        match full {
            Full::Own => Self::Budget,
            Full::Parent => Self::Memory,
        }
    }
}

impl Counters {
    /// Counts something that a queue did not take.
    pub(crate) fn busy(&self, cause: Cause) {
        self.busy.add(1);
        let counter = match cause {
            Cause::Budget => &self.busy_budget,
            Cause::Memory => &self.busy_memory,
            Cause::Share => &self.busy_share,
            Cause::Open => &self.busy_open,
            Cause::Queries => &self.busy_queries,
            Cause::Application => &self.busy_application,
        };
        counter.add(1);
    }

    /// Counts a link that this server closes.
    pub(crate) fn close(&self, reason: CloseReason) {
        if let Some(counter) = self.closed.get(reason as usize) {
            counter.add(1);
        }
    }
}
