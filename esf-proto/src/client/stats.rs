//! What a session has counted.

macro_rules! stats {
    ($($(#[doc = $doc:expr])* $name:ident;)*) => {
        /// Counters of one client session since its start.
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats { $($(#[doc = $doc])* pub $name: u64,)* }

        impl Stats {
            /// Every counter with its name.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

stats! {
    /// Links that the session asked for.
    connects;
    /// Logins that succeeded.
    logins;
    /// Logins that went on with a session.
    resumes;
    /// Frames received, all kinds.
    frames_in;
    /// Bytes of them.
    bytes_in;
    /// Frames handed out, all kinds.
    frames_out;
    /// Bytes of them.
    bytes_out;
    /// Frames handed out again after a resume.
    replayed;
    /// Certain sends queued again after a fresh login.
    resent;
    /// Operations that were begun: certain sends, queries, blobs and requests.
    operations;
    /// Operations that ended with `TimedOut`.
    timed_out;
    /// Commands refused because a queue was full.
    busy;
    /// Volatile frames dropped on their way out.
    volatile_dropped;
    /// Volatile messages dropped because the application did not take them.
    volatile_dropped_in;
    /// Answers that had no room and were dropped.
    answers_dropped;
    /// Replies that came too late, twice, or for a token that was never given.
    replies_unasked;
    /// Incoming queries refused because too many were open.
    queries_refused;
    /// Incoming queries whose time was over before they were answered.
    queries_expired;
    /// Certain messages that were acknowledged again and not run.
    duplicates;
    /// Certain messages that were refused because a later one had run.
    late;
    /// Answers to nothing that is open, or from somebody who was not asked.
    answers_unasked;
    /// Frames for another engine.
    misaddressed;
    /// Routed frames whose payload is not what their kind says.
    malformed;
    /// Frames of a kind that is not spoken here and may be skipped.
    skipped;
    /// Links closed because the server broke a rule.
    violations;
    /// Links given up because nothing was heard.
    silent_links;
    /// Links given up because bytes stood still.
    overflows;
    /// Events dropped because nobody took them.
    events_dropped;
    /// Fragments that brought nothing: repeated, out of order, without credit or of no blob that is known.
    fragments_ignored;
    /// Credits that said nothing new, or of no blob that is known.
    credits_ignored;
    /// Inputs for a link that is not the present one.
    stale_inputs;
}

impl Stats {
    /// A frame of `len` bytes goes out.
    pub(super) fn count_out(&mut self, len: usize) {
        self.frames_out += 1;
        self.bytes_out += len as u64;
    }
}
