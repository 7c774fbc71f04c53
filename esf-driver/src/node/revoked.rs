//! Credentials that were given up a moment ago, for the logins that were under way meanwhile.

use std::{collections::BTreeMap, time::Duration};

use esf_proto::{ids::UserId, time::Instant};

use super::lock;
use crate::sync::Mutex;

/// For each user the version below which credentials are good no more. Each is kept as long as a login may take: later
/// ones are judged by what the application knows.
#[derive(Debug, Default)]
pub(super) struct Revoked(Mutex<BTreeMap<UserId, (u64, Instant)>>);

impl Revoked {
    pub(super) fn note(&self, now: Instant, user: &UserId, below: u64, keep: Duration) {
        let mut revoked = lock(&self.0);
        revoked.retain(|_, (_, until)| *until > now);
        let known = revoked.get(user).map_or(0, |(below, _)| *below);
        revoked.insert(user.clone(), (below.max(known), now + keep));
    }

    pub(super) fn below(&self, user: &UserId) -> Option<u64> {
        lock(&self.0).get(user).map(|(below, _)| *below)
    }
}
