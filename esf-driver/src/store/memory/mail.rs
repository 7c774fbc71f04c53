//! Messages that wait, those that never get through, and the keys of those that did.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
    time::Duration,
};

use bytes::Bytes;
use esf_proto::{
    ids::{DeviceKind, UserId},
    time::UnixMillis,
};

use crate::store::{StoreId, StoreKey, StoreLimits, StoreResponse, StoredMessage};

/// A message that was handed out too often and never confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Who it is from, and its number there.
    pub key: StoreKey,
    /// Who it is for.
    pub user: UserId,
    /// The one device that it is for.
    pub device: Option<DeviceKind>,
    /// The message itself.
    pub message: StoredMessage,
}

#[derive(Debug)]
pub(super) struct Mail {
    limits: StoreLimits,
    last: StoreId,
    letters: BTreeMap<StoreId, Letter>,
    /// What waits for each user.
    waiting: BTreeMap<UserId, BTreeSet<StoreId>>,
    /// Of letters and of what was confirmed a short time ago.
    keys: BTreeSet<StoreKey>,
    /// When a key goes that has no letter any more, in order.
    tombstones: VecDeque<(UnixMillis, StoreKey)>,
    /// What the letters count.
    total: u64,
}

#[derive(Debug)]
struct Letter {
    content: DeadLetter,
    dead: bool,
}

impl Mail {
    pub(super) fn new(limits: StoreLimits) -> Self {
        Self {
            limits,
            last: StoreId(0),
            letters: BTreeMap::new(),
            waiting: BTreeMap::new(),
            keys: BTreeSet::new(),
            tombstones: VecDeque::new(),
            total: 0,
        }
    }

    pub(super) fn limits(&self) -> &StoreLimits {
        &self.limits
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.values().map(BTreeSet::len).sum()
    }

    /// Forgets what is too old. Letters are in the order of their age.
    pub(super) fn expire(&mut self, now: UnixMillis) {
        while self.tombstones.front().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, key)) = self.tombstones.pop_front() {
                self.keys.remove(&key);
            }
        }
        while let Some((id, letter)) = self.letters.first_key_value() {
            if later(letter.content.message.accepted_at, self.limits.max_age) > now {
                break;
            }
            let id = *id;
            if let Some(key) = self.take(id) {
                self.keys.remove(&key);
            }
        }
    }

    pub(super) fn put(
        &mut self,
        now: UnixMillis,
        key: StoreKey,
        user: UserId,
        device: Option<DeviceKind>,
        frame: Bytes,
        exists: bool,
    ) -> StoreResponse {
        let charge = StoreLimits::charge(frame.len());
        let waiting = self.waiting.get(&user).map_or(0, BTreeSet::len);
        if self.knows(&key) {
            return StoreResponse::Known;
        } else if !exists {
            return StoreResponse::NoSuchUser;
        } else if waiting >= self.limits.max_messages || self.total.saturating_add(charge) > self.limits.max_total {
            return StoreResponse::QuotaFull;
        }
        self.last.0 += 1;
        let message = StoredMessage { id: self.last, accepted_at: now, tries: 0, frame };
        self.total += charge;
        self.keys.insert(key.clone());
        self.waiting.entry(user.clone()).or_default().insert(self.last);
        self.letters.insert(self.last, Letter { content: DeadLetter { key, user, device, message }, dead: false });
        StoreResponse::Stored
    }

    pub(super) fn knows(&self, key: &StoreKey) -> bool {
        self.keys.contains(key)
    }

    pub(super) fn waits(&self, user: &UserId, device: DeviceKind) -> bool {
        self.waiting_for(user, device, StoreId(0)).next().is_some()
    }

    pub(super) fn fetch(
        &self,
        user: &UserId,
        device: DeviceKind,
        after: StoreId,
        max_messages: usize,
        max_bytes: usize,
    ) -> StoreResponse {
        let (mut messages, mut bytes, mut more) = (Vec::new(), 0_usize, false);
        for message in self.waiting_for(user, device, after) {
            bytes = bytes.saturating_add(message.frame.len());
            if messages.len() >= max_messages || (bytes > max_bytes && !messages.is_empty()) {
                more = true;
                break;
            }
            messages.push(message.clone());
        }
        StoreResponse::Messages { messages, more }
    }

    pub(super) fn tried(&mut self, user: &UserId, messages: &[StoreId]) {
        for id in messages {
            let Some(letter) = self.letters.get_mut(id) else { continue };
            if letter.content.user != *user || letter.dead {
                continue;
            }
            let tries = &mut letter.content.message.tries;
            *tries = tries.saturating_add(1);
            if *tries >= self.limits.max_tries {
                letter.dead = true;
                self.no_longer_waits(user, *id);
            }
        }
    }

    pub(super) fn confirm(&mut self, now: UnixMillis, user: &UserId, messages: &[StoreId]) {
        for id in messages {
            if self.letters.get(id).is_some_and(|letter| letter.content.user == *user) {
                self.bury(now, *id);
            }
        }
    }

    pub(super) fn remove_user(&mut self, user: &UserId) {
        let theirs = self.letters.iter().filter(|(_, letter)| letter.content.user == *user);
        for id in theirs.map(|(id, _)| *id).collect::<Vec<_>>() {
            if let Some(key) = self.take(id) {
                self.keys.remove(&key);
            }
        }
    }

    pub(super) fn dead_letters(&self) -> Vec<DeadLetter> {
        self.letters.values().filter(|letter| letter.dead).map(|letter| letter.content.clone()).collect()
    }

    pub(super) fn retry_dead_letter(&mut self, id: StoreId) -> bool {
        let Some(letter) = self.letters.get_mut(&id).filter(|letter| letter.dead) else { return false };
        letter.dead = false;
        letter.content.message.tries = 0;
        self.waiting.entry(letter.content.user.clone()).or_default().insert(id);
        true
    }

    pub(super) fn drop_dead_letter(&mut self, now: UnixMillis, id: StoreId) -> bool {
        let dead = self.letters.get(&id).is_some_and(|letter| letter.dead);
        if dead {
            self.bury(now, id);
        }
        dead
    }

    fn waiting_for(&self, user: &UserId, device: DeviceKind, after: StoreId) -> impl Iterator<Item = &StoredMessage> {
        let ids = self.waiting.get(user).map(|ids| ids.range((Bound::Excluded(after), Bound::Unbounded)));
        let letters = ids.into_iter().flatten().filter_map(|id| self.letters.get(id));
        let theirs = letters.filter(move |letter| letter.content.device.is_none_or(|only| only == device));
        theirs.map(|letter| &letter.content.message)
    }

    /// A letter goes and its key stays for a while.
    fn bury(&mut self, now: UnixMillis, id: StoreId) {
        if let Some(key) = self.take(id) {
            self.tombstones.push_back((later(now, self.limits.keep_keys), key));
        }
    }

    /// Takes a letter out, and leaves its key.
    fn take(&mut self, id: StoreId) -> Option<StoreKey> {
        let content = self.letters.remove(&id)?.content;
        self.no_longer_waits(&content.user, id);
        self.total -= StoreLimits::charge(content.message.frame.len());
        Some(content.key)
    }

    fn no_longer_waits(&mut self, user: &UserId, id: StoreId) {
        let Some(ids) = self.waiting.get_mut(user) else { return };
        ids.remove(&id);
        if ids.is_empty() {
            self.waiting.remove(user);
        }
    }
}

fn later(than: UnixMillis, by: Duration) -> UnixMillis {
    UnixMillis(than.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
}
