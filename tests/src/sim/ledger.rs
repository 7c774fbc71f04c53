//! What was promised to whom, and what came of it: the end-to-end half of the invariants.

use std::{collections::BTreeMap, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use esf_proto::{failure::Failure, time::Instant};

/// Who takes part: a client's engine by its number, or a life of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// The engine with this number.
    Engine(usize),
    /// The server, in this life.
    Server(u64),
}

/// To whom something was sent, as places in the plan's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The server's application.
    Server,
    /// All devices of a user.
    User(usize),
    /// One device: the place of its person.
    Device(usize),
    /// A group, as a place in the table of groups.
    Group(usize),
}

/// What kind of thing was sent. Order holds within each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A plain send, or an engine message.
    Plain,
    /// A send that may be dropped.
    Volatile,
    /// A certain send.
    Certain,
    /// A query.
    Query,
    /// A blob.
    Blob,
    /// A broadcast to a group.
    Broadcast,
}

/// How something ended at its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The receiving engine has it.
    Acked,
    /// The store keeps it for its receiver.
    Stored,
    /// It was answered.
    Replied,
    /// It came to nothing.
    Failed(Failure),
}

/// One thing that was sent; its number is in its body.
#[derive(Debug)]
pub struct Sent {
    /// What.
    pub kind: Kind,
    /// By whom.
    pub from: Party,
    /// To whom.
    pub to: Target,
    /// When.
    pub at: Instant,
    /// How long it may take.
    pub ttl: Duration,
    /// The length of its body.
    pub len: usize,
    /// Whether its sender wants to hear of a failure.
    pub tell: bool,
    /// Whether the devices of its sender get it too.
    pub echo: bool,
    /// Whether it is to be stored if nobody is there.
    pub storable: bool,
    /// Of one that is to be stored: a copy went out to somebody.
    pub handed: bool,
    /// How it ended, and when.
    pub outcome: Option<(Outcome, Instant)>,
    /// Who ran it.
    pub runs: Vec<Party>,
    /// When it ran first.
    pub ran_at: Option<Instant>,
    /// Who had it when they ended, and did not run it any more.
    pub held: Vec<Party>,
    /// The failures that its sender heard who had asked to be told.
    pub heard: Vec<Failure>,
    /// The failures that the server's application heard.
    pub told: Vec<Failure>,
    /// Whether the sender's own machine did not take it.
    pub refused: bool,
}

/// Everything that was sent.
#[derive(Debug, Default)]
pub struct Ledger {
    sent: Vec<Sent>,
    /// The last number of each kind that came from one party to another.
    last: BTreeMap<(Party, Party), [Option<u32>; 5]>,
    /// The last certain one that the store brought.
    last_stored: BTreeMap<(Party, Party), u32>,
    /// Those of the numbers that wait for an outcome.
    open: std::collections::BTreeSet<u32>,
}

/// What is wrong, with the invariant that says so.
pub type Wrong = Option<(&'static str, String)>;

/// What is to be known of the order in which something comes.
#[derive(Debug, Clone, Copy)]
pub struct Ordered {
    /// The last time that its sender had to begin a new session.
    pub fresh: Option<Instant>,
    /// Whether it has to be in order at all.
    pub holds: bool,
    /// Whether the store brought it.
    pub stored: bool,
}

const ONCE: &str = "1 once";
const ORDER: &str = "2 order";
const FROM: &str = "10 from";

impl Ledger {
    /// The next number.
    #[must_use]
    pub fn next(&self) -> u32 {
        u32::try_from(self.sent.len()).unwrap_or(u32::MAX)
    }

    /// Enters something with the next number.
    pub fn enter(&mut self, sent: Sent) {
        if sent.outcome.is_none() && matches!(sent.kind, Kind::Certain | Kind::Query | Kind::Blob) {
            self.open.insert(self.next());
        }
        self.sent.push(sent);
    }

    /// What has this number.
    #[must_use]
    pub fn sent(&self, number: u32) -> Option<&Sent> {
        self.sent.get(number as usize)
    }

    pub(super) fn sent_mut(&mut self, number: u32) -> Option<&mut Sent> {
        self.sent.get_mut(number as usize)
    }

    /// Everything, with its number.
    pub fn all(&self) -> impl Iterator<Item = (u32, &Sent)> {
        (0..).zip(&self.sent)
    }

    /// What waits for its outcome.
    #[must_use]
    pub fn open(&self) -> &std::collections::BTreeSet<u32> {
        &self.open
    }

    /// Nobody is there any more to hear of what this party sent.
    pub fn abandon(&mut self, party: Party) {
        let sent = &self.sent;
        self.open.retain(|number| sent.get(*number as usize).is_some_and(|sent| sent.from != party));
    }

    /// Its sender hears how it ended.
    pub fn ended(&mut self, now: Instant, number: u32, outcome: Outcome) -> Wrong {
        self.open.remove(&number);
        let sent = self.sent_mut(number)?;
        if let Some((before, _)) = sent.outcome.replace((outcome, now)) {
            return Some((ONCE, format!("#{number} ends as {outcome:?}, after it ended as {before:?}")));
        }
        match (sent.kind, outcome) {
            (Kind::Query, Outcome::Acked) | (Kind::Certain | Kind::Blob, Outcome::Replied) => {
                Some((ONCE, format!("#{number}, a {:?}, ends as {outcome:?}", sent.kind)))
            }
            (_, Outcome::Stored) if !sent.storable => {
                Some((ONCE, format!("#{number}, a {:?}, ends as {outcome:?}", sent.kind)))
            }
            (_, Outcome::Replied) if sent.runs.is_empty() => {
                Some((ONCE, format!("#{number} is answered and was never run")))
            }
            (_, Outcome::Failed(failure)) if denies(sent.kind, failure) && !sent.runs.is_empty() => {
                Some((ONCE, format!("#{number} ran at {:?}, and its sender hears: {failure}", sent.runs)))
            }
            _ => None,
        }
    }

    /// A handler gets it. `from` is who sent it, as the handler sees it.
    pub fn runs(
        &mut self,
        number: u32,
        kind: Kind,
        from: Option<Party>,
        by: Party,
        body: &[u8],
        order: Ordered,
    ) -> Wrong {
        let Some(sent) = self.sent.get_mut(number as usize) else {
            return Some((FROM, format!("{by:?} gets #{number}, which nobody sent")));
        };
        if sent.kind != kind || from != Some(sent.from) {
            let (as_kind, of) = (sent.kind, sent.from);
            return Some((
                FROM,
                format!("{by:?} gets #{number} as {kind:?} of {from:?}, {of:?} sent it as {as_kind:?}"),
            ));
        }
        if kind != Kind::Blob && body[..] != body_of(number, sent.len)[..] {
            return Some((FROM, format!("{by:?} gets #{number} with other bytes than were sent")));
        }
        if sent.runs.contains(&by) || sent.kind == Kind::Query && !sent.runs.is_empty() {
            return Some((ONCE, format!("#{number} runs again at {by:?}, after {:?}", sent.runs)));
        }
        if let Some((Outcome::Failed(failure), _)) = sent.outcome.filter(|_| sent.held.is_empty())
            && denies(kind, failure)
        {
            return Some((ONCE, format!("#{number} runs at {by:?}, after its sender heard: {failure}")));
        }
        sent.runs.push(by);
        let (of, at) = (sent.from, sent.at);
        if !order.holds {
            return None;
        }
        let together = order.fresh.is_none_or(|fresh| fresh < at);
        if order.stored {
            self.last_stored.entry((of, by)).and_modify(|last| *last = number.max(*last)).or_insert(number);
        } else if let (Kind::Plain | Kind::Certain, true) = (kind, together) {
            // What had to be sent again may come behind what was stored meanwhile.
            let before = self.last_stored.get(&(of, by)).filter(|before| **before > number);
            if let Some(before) = before {
                return Some((ORDER, format!("#{number} of {of:?} comes to {by:?} after #{before} of the store")));
            }
        }
        self.check_order(number, kind, of, by, together, order.stored)
    }

    /// Each kind keeps its order always; messages keep one order together unless the sender had to begin anew.
    fn check_order(&mut self, number: u32, kind: Kind, from: Party, by: Party, together: bool, stored: bool) -> Wrong {
        // Broadcasts keep their order by group.
        if matches!(kind, Kind::Blob | Kind::Broadcast) {
            return None;
        }
        let last = self.last.entry((from, by)).or_default();
        let of = |kind: Kind| last[kind as usize];
        let other = match kind {
            Kind::Plain if together => of(Kind::Certain),
            Kind::Certain if together => of(Kind::Plain),
            _ => None,
        };
        let of_store = self.last_stored.get(&(from, by)).copied().filter(|_| stored);
        let before = of(kind).into_iter().chain(other).chain(of_store).max();
        if !stored {
            last[kind as usize] = Some(number.max(of(kind).unwrap_or(0)));
        }
        let before = before.filter(|before| *before > number)?;
        Some((ORDER, format!("#{number} of {from:?} comes to {by:?} after #{before}, which was sent later")))
    }
}

/// Whether a failure says that no handler has run or will run.
fn denies(kind: Kind, failure: Failure) -> bool {
    match failure {
        // A reply that finds no room becomes `Busy`.
        Failure::Busy => kind != Kind::Query,
        Failure::Offline | Failure::TooLarge | Failure::NotAllowed | Failure::Unsupported => true,
        Failure::NoSuchUser | Failure::QuotaFull => true,
        _ => false,
    }
}

/// The body with this number: the number, then bytes that differ from place to place.
#[must_use]
pub fn body_of(number: u32, len: usize) -> Bytes {
    let mut body = BytesMut::with_capacity(len.max(4));
    body.put_u32_le(number);
    let mut word = u64::from(number) | 1;
    while body.len() < len {
        word = word.wrapping_mul(0x5851_F42D_4C95_7F2D).rotate_left(17);
        let left = (len - body.len()).min(8);
        body.put_slice(&word.to_le_bytes()[..left]);
    }
    body.freeze()
}

/// The number in a body.
#[must_use]
pub fn number_in(body: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(body.get(..4)?.try_into().ok()?))
}
