//! Names of people, kept once for however many know them.

use alloc::sync::Arc;

use hashbrown::HashSet;

use super::SipKeys;
use crate::ids::UserId;

/// Names beyond which those that nobody has any more are looked for.
const LEAST: usize = 1024;

/// A store names each contact anew, in memory of its own. Here is the one copy that all of them share.
#[derive(Debug)]
pub(super) struct Names {
    known: HashSet<UserId, SipKeys>,
    /// How many there are when those that nobody has any more go.
    full: usize,
}

impl Names {
    pub(super) fn new(keys: SipKeys) -> Self {
        Self { known: HashSet::with_hasher(keys), full: LEAST }
    }

    /// These names, each the copy that others have, too.
    pub(super) fn share(&mut self, names: impl IntoIterator<Item = UserId>) -> Arc<[UserId]> {
        names.into_iter().map(|name| self.one(name)).collect()
    }

    fn one(&mut self, name: UserId) -> UserId {
        if let Some(known) = self.known.get(&name) {
            return known.clone();
        }
        if self.known.len() >= self.full {
            self.forget();
            self.full = LEAST.max(self.known.len() * 2);
        }
        self.known.insert(name.clone());
        name
    }

    #[expect(clippy::disallowed_methods, reason = "what goes does not depend on the order, which nobody sees")]
    fn forget(&mut self) {
        self.known.retain(|name| !name.is_unshared());
    }

    /// Names that are kept, whether anybody has them or not.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}

#[cfg(test)]
mod tests;
