//! Threads for tests.

use std::{
    thread,
    time::{Duration, Instant as StdInstant},
};

use esf_proto::time::Instant;

use super::{Clock, run};
use crate::tasks::{BoxFuture, Tasks, Timer};

/// How long anything may take. Nothing waits for it unless it fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A clock whose tasks are threads of their own.
#[derive(Default)]
pub(super) struct Plain(Clock);

impl Tasks for Plain {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn timer(&self) -> Box<dyn Timer> {
        self.0.timer()
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        thread::spawn(move || run(task));
    }
}

/// Waits until `holds`.
pub(super) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = StdInstant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "it never came about: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
