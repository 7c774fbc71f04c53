//! Reconnect tickets: what a good login proved, signed, so that the next one needs no costly check (ESF-111).
//!
//! A ticket is: u8 1, u64 id of the key, u64 credential version, u64 login number, u64 when it ends (ms since the epoch),
//! u8 device kind, u8 length of the name, the name, 32 bytes HMAC-SHA256 over all of that. Little-endian. Only this file
//! reads it.

use std::sync::{PoisonError, RwLock};

use esf_tokio::{Bytes, DeviceKind, UserId};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::store::{Problem, Store, TicketKey};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// How long a ticket is good.
pub(super) const LIFE_MS: u64 = 7 * DAY_MS;
/// How long tickets are signed with the same key. An older key is kept until the last of its tickets has ended.
pub(super) const KEY_AGE_MS: u64 = 7 * DAY_MS;

const FORM: u8 = 1;
const HEAD: usize = 1 + 8 * 4 + 1 + 1;
const MAC: usize = 32;

/// What a good ticket proves about its user and device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Proof {
    pub(super) version: u64,
    pub(super) login_number: u64,
}

/// The keys of tickets. Without one there are none.
#[derive(Default)]
pub(super) struct Tickets {
    /// The newest last.
    keys: RwLock<Vec<TicketKey>>,
}

impl Tickets {
    /// Reads the keys, and makes a new one when the last is too old.
    pub(super) fn keep_keys(&self, store: &mut Store, now_ms: u64) -> Result<(), Problem> {
        let mut keys = store.ticket_keys()?;
        let fresh = |key: &TicketKey| now_ms.abs_diff(key.made_at_ms) < KEY_AGE_MS;
        if !keys.last().is_some_and(fresh) {
            let mut secret = [0; 32];
            if getrandom::fill(&mut secret).is_ok() {
                store.add_ticket_key(secret, now_ms, now_ms.saturating_sub(KEY_AGE_MS + LIFE_MS))?;
                keys = store.ticket_keys()?;
            }
        }
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// A ticket; empty when there is no key.
    pub(super) fn make(
        &self,
        user: &UserId,
        device: DeviceKind,
        version: u64,
        login_number: u64,
        now_ms: u64,
    ) -> Bytes {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let Some(key) = keys.last() else { return Bytes::new() };
        let Ok(len) = u8::try_from(user.len()) else { return Bytes::new() };
        let mut ticket = Vec::with_capacity(HEAD + user.len() + MAC);
        ticket.push(FORM);
        for number in [key.id, version, login_number, now_ms.saturating_add(LIFE_MS)] {
            ticket.extend_from_slice(&number.to_le_bytes());
        }
        ticket.extend_from_slice(&[device.0, len]);
        ticket.extend_from_slice(user.as_bytes());
        let Some(mac) = mac(key, &ticket) else { return Bytes::new() };
        ticket.extend_from_slice(&mac.finalize().into_bytes());
        ticket.into()
    }

    /// What a ticket proves, if it is good and this user's and device's.
    pub(super) fn check(&self, ticket: &[u8], user: &UserId, device: DeviceKind, now_ms: u64) -> Option<Proof> {
        let (signed, told) = ticket.split_at_checked(ticket.len().checked_sub(MAC)?)?;
        let (head, name) = signed.split_at_checked(HEAD)?;
        let (form, rest) = head.split_first()?;
        let (numbers, device_and_len) = rest.split_at_checked(32)?;
        let mut numbers = numbers.chunks_exact(8).map(|bytes| bytes.try_into().map_or(0, u64::from_le_bytes));
        let (key, version, login_number, ends) = (numbers.next()?, numbers.next()?, numbers.next()?, numbers.next()?);

        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let key = keys.iter().find(|known| known.id == key)?;
        mac(key, signed)?.verify_slice(told).ok()?;
        // It is one of ours, so what follows says only whose and since when.
        let theirs = [device.0, u8::try_from(user.len()).ok()?];
        let good = *form == FORM && device_and_len == theirs && name == user.as_bytes();
        // Ends too far ahead are of a clock that was wrong.
        let in_time = now_ms < ends && ends <= now_ms.saturating_add(LIFE_MS + DAY_MS);
        (good && in_time).then_some(Proof { version, login_number })
    }
}

fn mac(key: &TicketKey, signed: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.secret).ok()?;
    mac.update(signed);
    Some(mac)
}
