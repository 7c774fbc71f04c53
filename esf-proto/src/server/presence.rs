//! What waits to be told to one client of who comes and goes: the latest of each, and nothing before it (ESF-334).

use alloc::{collections::BTreeMap, vec::Vec};

use bytes::Bytes;

use super::Outbox;
use crate::{
    ids::{DeviceKind, SessionId, UserId},
    session::lanes::{Lane, cost},
    wire::{Address, Frame, Header, MAX_PRESENCE, PresenceEvent, PresenceList, PresenceStage, RawFrame},
};

/// Of so many users news may wait. Nobody has as many contacts; beyond it news of others are dropped.
const SUBJECTS: usize = 16_384;
/// What news of a user cost beside its name.
const SUBJECT_COST: usize = 160;
/// Marks a frame in the interactive lane that is in its source's share without being a question.
pub(super) const EVENT: u64 = 1 << 63;

/// How the presence of a user has changed since it was told last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// Whether the user is online now, if that has changed.
    pub(crate) online: Option<bool>,
    /// Devices that came, and those that went.
    pub(crate) devices: Vec<(DeviceKind, bool)>,
}

impl Change {
    /// The change from one set of devices to another, both in order; `None` if they are the same.
    pub(crate) fn between(told: &[DeviceKind], is: &[DeviceKind]) -> Option<Self> {
        let gone = told.iter().filter(|device| !is.contains(device)).map(|device| (*device, false));
        let came = is.iter().filter(|device| !told.contains(device)).map(|device| (*device, true));
        let devices: Vec<(DeviceKind, bool)> = gone.chain(came).collect();
        let online = (told.is_empty() != is.is_empty()).then_some(!is.is_empty());
        (!devices.is_empty()).then_some(Self { online, devices })
    }

    /// The same, when a list has meanwhile shown devices that were not told: of those that are gone again it tells that.
    pub(crate) fn since_shown(told: &[DeviceKind], shown: &[DeviceKind], is: &[DeviceKind]) -> Option<Self> {
        let gone = shown.iter().filter(|device| !told.contains(device) && !is.contains(device));
        let gone: Vec<(DeviceKind, bool)> = gone.map(|device| (*device, false)).collect();
        let change = Self::between(told, is);
        if gone.is_empty() {
            return change;
        }
        let mut change = change.unwrap_or(Self { online: is.is_empty().then_some(false), devices: Vec::new() });
        change.devices.extend(gone);
        Some(change)
    }
}

/// News that wait, by whom they are of.
#[derive(Debug, Default)]
pub(super) struct News {
    of: BTreeMap<UserId, Latest>,
    cost: usize,
}

#[derive(Debug, Default)]
struct Latest {
    contact: Option<bool>,
    devices: Vec<(DeviceKind, bool)>,
    mate: Option<bool>,
}

impl Latest {
    /// The next thing to tell. A contact is online before its devices are, and offline after them.
    fn pop(&mut self) -> Option<(PresenceStage, Option<DeviceKind>)> {
        if self.contact == Some(true) {
            self.contact = None;
            return Some((PresenceStage::ContactOnline, None));
        }
        if let Some((device, online)) = self.devices.pop() {
            let stage = if online { PresenceStage::ContactDeviceOnline } else { PresenceStage::ContactDeviceOffline };
            return Some((stage, Some(device)));
        }
        if self.contact.take().is_some() {
            return Some((PresenceStage::ContactOffline, None));
        }
        let stage = |online| if online { PresenceStage::GroupmateOnline } else { PresenceStage::GroupmateOffline };
        self.mate.take().map(|online| (stage(online), None))
    }

    /// Whether [`Latest::pop`] has nothing more.
    fn is_told(&self) -> bool {
        self.contact.is_none() && self.devices.is_empty() && self.mate.is_none()
    }
}

impl News {
    /// Notes a change; `false` if there is no room for news of another user. Says what they cost more.
    fn note(&mut self, subject: &UserId, change: &Change, is_contact: bool) -> Option<usize> {
        let known = self.of.contains_key(subject);
        if !known && self.of.len() >= SUBJECTS {
            return None;
        }
        let latest = self.of.entry(subject.clone()).or_default();
        if known && broken!(OlderNews) {
            return Some(0);
        }
        if is_contact {
            latest.contact = change.online.or(latest.contact);
            for &(device, online) in &change.devices {
                match latest.devices.iter_mut().find(|(known, _)| *known == device) {
                    Some((_, last)) => *last = online,
                    None => latest.devices.push((device, online)),
                }
            }
        } else {
            latest.mate = change.online.or(latest.mate);
        }
        let more = if known { 0 } else { SUBJECT_COST + subject.len() };
        self.cost += more;
        Some(more)
    }

    /// Takes out as much as fits a frame, and what it cost.
    fn take(&mut self) -> (Vec<(UserId, PresenceStage, Option<DeviceKind>)>, usize) {
        let (mut events, mut freed) = (Vec::new(), 0);
        while events.len() < MAX_PRESENCE {
            let Some(mut first) = self.of.first_entry() else { break };
            if let Some((stage, device)) = first.get_mut().pop() {
                events.push((first.key().clone(), stage, device));
            }
            // Looked at now, so that a list whose last event is its fiftieth leaves nothing behind.
            if first.get().is_told() {
                freed += SUBJECT_COST + first.key().len();
                first.remove();
            }
        }
        if self.of.is_empty() {
            freed = self.cost;
        }
        self.cost -= freed;
        (events, freed)
    }
}

impl Outbox {
    /// Somebody came or went whom this client hears of, as a contact or as one who shares a group.
    pub(crate) fn presence(&mut self, subject: &UserId, change: &Change, is_contact: bool) {
        if self.ended || !is_contact && change.online.is_none() {
            return;
        }
        match self.news.get_or_insert_default().note(subject, change, is_contact) {
            // The latest of each must not get lost, so it has room beyond the budget; how much is bounded.
            Some(more) => self.budget.force(more),
            None => self.counters.presence_dropped.add(1),
        }
        self.wake = true;
    }

    /// The next frame of news, and its cost, which is charged.
    pub(super) fn next_news(&mut self) -> Option<(Bytes, usize)> {
        let (events, freed) = self.news.as_mut()?.take();
        self.budget.release(freed);
        if self.news.as_ref().is_some_and(|news| news.of.is_empty()) {
            self.news = None;
        }
        let events: Vec<PresenceEvent<'_>> = events
            .iter()
            .map(|(user, stage, device)| {
                let who = device.map_or(Address::User { user }, |device| Address::Device { user, device });
                PresenceEvent::new(*stage, who)
            })
            .collect();
        let mut room = Vec::new();
        let events = PresenceList::of(&events, &mut room).ok()?;
        let frame = Frame::Presence { envelope: self.envelope(0), events }.to_bytes(Header::default()).ok()?;
        let cost = cost(frame.len());
        self.budget.force(cost);
        Some((frame, cost))
    }

    /// Whether [`Outbox::next_news`] has something.
    pub(super) fn has_news(&self) -> bool {
        self.news.is_some()
    }

    /// The session ends: nobody is told.
    pub(super) fn drop_news(&mut self) {
        if let Some(news) = self.news.take() {
            self.budget.release(news.cost);
        }
    }

    /// What happened in a group of this client, by what the session `source` did: in the share of that one.
    pub(crate) fn group_event(&mut self, frame: &RawFrame, source: SessionId) {
        let taken = !self.ended && self.admit(source, false, frame.len()).is_ok();
        if taken {
            self.push_copy(Lane::Interactive, frame.bytes(), None, cost(frame.len()), source.0 | EVENT);
        } else {
            self.counters.group_events_dropped.add(1);
        }
    }
}

#[cfg(test)]
mod tests;
