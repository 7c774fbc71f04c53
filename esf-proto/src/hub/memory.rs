//! What is remembered of an engine after its session has ended.

use alloc::collections::{BTreeMap, VecDeque};
use core::time::Duration;

use crate::{
    ids::{Engine, SessionId},
    server::Config,
    session::dedupe::Dedupe,
    time::Instant,
};

/// The least time that the last attempt of an engine is kept.
const KEEP: Duration = Duration::from_secs(60);
/// Engines that are remembered at a time; beyond it the oldest goes.
const LIMIT: usize = 65_536;
/// Ids of certain sends that they may have together; beyond it the oldest engine goes.
const IDS: usize = 1 << 20;

/// The remembered engines, with when each is forgotten.
#[derive(Debug, Default)]
pub(super) struct Memory {
    engines: BTreeMap<Engine, Remembered>,
    order: VecDeque<(Instant, Engine)>,
    ids: usize,
}

#[derive(Debug)]
struct Remembered {
    until: Instant,
    origin: SessionId,
    attempt: u32,
    pushed_out_until: Option<Instant>,
    dedupe: Dedupe,
}

/// What a session leaves when it ends.
#[derive(Debug)]
pub(super) struct Left {
    /// The engine's first session.
    pub(super) origin: SessionId,
    /// The highest attempt seen.
    pub(super) attempt: u32,
    /// Whether it was pushed out.
    pub(super) pushed_out: bool,
    /// What the engine has sent to the server.
    pub(super) dedupe: Dedupe,
}

impl Memory {
    pub(super) fn remember(&mut self, now: Instant, engine: &Engine, left: Left, config: &Config) {
        let Left { origin, attempt, pushed_out, dedupe } = left;
        // A certain send is resent as long as its time to live; until then its id must be known.
        let keep = if dedupe.is_empty() { KEEP } else { KEEP.max(config.max_ttl) };
        let until = now + keep.max(config.resume_window);
        let pushed_out_until = pushed_out.then_some(now + config.resume_window);
        // Two sessions of an engine may be told here in either order.
        let attempt = self.attempt(engine).map_or(attempt, |seen| seen.max(attempt));
        self.take(engine);
        self.ids += dedupe.len();
        self.engines.insert(engine.clone(), Remembered { until, origin, attempt, pushed_out_until, dedupe });
        self.order.push_back((until, engine.clone()));
        while self.order.len() > LIMIT || self.ids > IDS {
            self.drop_first();
        }
    }

    /// The highest attempt seen of an engine whose session has ended.
    pub(super) fn attempt(&self, engine: &Engine) -> Option<u32> {
        self.engines.get(engine).map(|remembered| remembered.attempt)
    }

    /// Notes an attempt of an engine that is remembered.
    pub(super) fn note_attempt(&mut self, engine: &Engine, attempt: u32) {
        if let Some(remembered) = self.engines.get_mut(engine) {
            remembered.attempt = remembered.attempt.max(attempt);
        }
    }

    /// Whether the engine was pushed out not long ago: its retry is told so, and pushes nobody out.
    pub(super) fn was_pushed_out(&self, now: Instant, engine: &Engine) -> bool {
        let until = self.engines.get(engine).and_then(|remembered| remembered.pushed_out_until);
        until.is_some_and(|until| until > now)
    }

    /// The engine is back: it goes on answering what it was asked, and with what it has sent to the server.
    pub(super) fn take(&mut self, engine: &Engine) -> Option<(SessionId, Dedupe)> {
        let Remembered { origin, dedupe, .. } = self.engines.remove(engine)?;
        self.ids -= dedupe.len();
        Some((origin, dedupe))
    }

    pub(super) fn forget(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(until, _)| *until <= now) {
            self.drop_first();
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.order.front().map(|(until, _)| *until)
    }

    fn drop_first(&mut self) {
        let Some((until, engine)) = self.order.pop_front() else { return };
        if self.engines.get(&engine).is_some_and(|remembered| remembered.until == until) {
            self.take(&engine);
        }
    }
}

#[cfg(test)]
mod tests;
