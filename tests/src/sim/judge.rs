//! The server's application looks at what clients send before it goes on: what it lets pass, refuses, drops or never
//! decides about, and how late it says so.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use esf_driver::node::{Asked, Judge, Judged, Node};
use esf_proto::{failure::Failure, ids::Source, server::Verdict, time::Instant, wire::Frame};

use super::{
    Event, Ready, Sim,
    ledger::{Kind, Party},
    random::Random,
};

/// Who is woken when something is to be judged.
pub(super) const JUDGE: usize = usize::MAX - 3;

/// A verdict that comes so soon excuses nobody.
const SHORT: Duration = Duration::from_millis(150);

/// What becomes of something that was sent, whenever it comes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It goes on.
    Passes,
    /// Its sender hears that it may not.
    Refused,
    /// Nobody hears of it.
    Dropped,
    /// Nobody decides in time.
    Undecided,
}

/// What waits for its verdict.
#[derive(Debug, Default)]
struct Bench {
    waiting: Mutex<VecDeque<Asked>>,
    /// Numbers from here on pass at once: everything is well by then.
    free_from: AtomicU32,
}

/// The server's judges, over its lives.
pub struct Judges {
    bench: Arc<Bench>,
    /// Everything that was judged, by the life of the server in which it was.
    cases: Vec<(u64, Asked, Verdict)>,
}

impl fmt::Debug for Judges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judges").field("cases", &self.cases.len()).finish_non_exhaustive()
    }
}

struct Judging {
    bench: Arc<Bench>,
    ready: Arc<Ready>,
}

impl Judge for Judging {
    fn judge(&self, _: Instant, asked: &Asked) -> Judged {
        let number = number_of(asked).filter(|number| *number < self.bench.free_from.load(Relaxed));
        let Some(number) = number else { return Judged::Now(Verdict::Pass) };
        let (fate, after) = ruling(number);
        if let (Some(verdict), true) = (verdict(fate), after.is_zero()) {
            return Judged::Now(verdict);
        }
        let (bench, ready, asked) = (self.bench.clone(), self.ready.clone(), asked.clone());
        Judged::Later(Box::new(move || {
            bench.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_back(asked);
            ready.push(JUDGE);
        }))
    }
}

impl Judges {
    pub(super) fn new() -> Self {
        let bench = Arc::<Bench>::default();
        // Strangers' numbers are above.
        bench.free_from.store(1 << 31, Relaxed);
        Self { bench, cases: Vec::new() }
    }

    /// A server starts.
    pub(super) fn sit(&self, node: &Node, ready: &Arc<Ready>) {
        if node.config().intercepts {
            node.set_judge(Box::new(Judging { bench: self.bench.clone(), ready: ready.clone() }));
        }
    }

    /// What has this number or a higher one passes.
    pub(super) fn are_free_from(&self, number: u32) {
        self.bench.free_from.fetch_min(number, Relaxed);
    }
}

/// What becomes of what has this number, and how long it takes to say so.
fn ruling(number: u32) -> (Fate, Duration) {
    let mut random = Random::new(u64::from(number) ^ 0x5A5A);
    let fate = match random.below(100) {
        0..88 => Fate::Passes,
        88..95 => Fate::Refused,
        95..98 => Fate::Dropped,
        _ => Fate::Undecided,
    };
    let after = match random.below(100) {
        0..75 => Duration::ZERO,
        75..97 => random.millis(1, 150),
        _ => random.millis(150, 3_000),
    };
    (fate, after)
}

fn verdict(fate: Fate) -> Option<Verdict> {
    match fate {
        Fate::Passes => Some(Verdict::Pass),
        Fate::Refused => Some(Verdict::Refuse(Failure::NotAllowed)),
        Fate::Dropped => Some(Verdict::Drop),
        Fate::Undecided => None,
    }
}

fn number_of(asked: &Asked) -> Option<u32> {
    match asked.frame().decode().ok()? {
        Frame::Send { info_type, .. }
        | Frame::Certain { info_type, .. }
        | Frame::Broadcast { info_type, .. }
        | Frame::EngineMessage { info_type, .. }
        | Frame::Query { info_type, .. } => Some(info_type),
        // The sender of a blob hears in any case what becomes of it.
        Frame::BlobOffer { info_type, .. } if ruling(info_type).0 != Fate::Dropped => Some(info_type),
        _ => None,
    }
}

impl Sim {
    /// What becomes of something that was sent by a client, as far as the server's application has to do with it.
    pub(super) fn fate(&self, number: u32) -> Fate {
        let Some(sent) = self.ledger.sent(number) else { return Fate::Passes };
        let is_judged = self.plan.server.intercepts
            && matches!(sent.from, Party::Engine(_))
            && number < self.judges.bench.free_from.load(Relaxed);
        match ruling(number).0 {
            Fate::Dropped if sent.kind == Kind::Blob => Fate::Passes,
            fate if is_judged => fate,
            _ => Fate::Passes,
        }
    }

    /// Something waits for its verdict.
    pub(super) fn turn_judges(&mut self) {
        loop {
            let next = self.judges.bench.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(asked) = next else { return };
            let Some(number) = number_of(&asked) else { continue };
            let (fate, after) = ruling(number);
            let now = self.now;
            // What comes behind it waits as long.
            let waits = if fate == Fate::Undecided { self.plan.server.intercept_limit } else { after };
            let sender = self.party_of(&Source::Engine(asked.engine().clone()));
            if let Some(Party::Engine(sender)) = sender.filter(|_| waits > SHORT) {
                self.engines[sender].trouble.span(now, now + waits + Duration::from_secs(1));
            }
            self.say("judge", || format!("looks at #{number}: {fate:?} in {waits:?}"));
            if let Some(verdict) = verdict(fate) {
                self.judges.cases.push((self.server.life, asked, verdict));
                let case = self.judges.cases.len() - 1;
                self.plan_in(after, Event::Judged(case));
            }
        }
    }

    /// A verdict is there.
    pub(super) fn is_judged(&mut self, case: usize) {
        let (life, asked, verdict) = self.judges.cases[case].clone();
        let Some(node) = self.server.node.clone().filter(|_| life == self.server.life) else { return };
        node.judged(self.server.clock.shows(self.now), &asked, verdict);
        self.calls += 1;
        self.turn_node();
        // It may have waited longer than its session lived.
        self.turn_applications();
    }
}
