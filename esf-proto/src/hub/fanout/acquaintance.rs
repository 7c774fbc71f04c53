//! Those who become contacts, or come to share a group, while they are online are told of each other (ESF-334).

use alloc::{sync::Arc, vec::Vec};

use super::{Fanout, Progress, SLICE, TALKATIVE, What, slice};
use crate::{
    hub::{Hub, Reach, Whose, groups::Group},
    ids::{GroupId, SessionId, UserId},
    server::Change,
};

/// The introduction of a user to those that an answer of the store has brought.
#[derive(Debug)]
pub(super) struct Acquaintance {
    pub(super) subject: UserId,
    /// The number of the answer.
    answer: u64,
    /// What others were told of the user, if it is online.
    change: Option<Change>,
    contacts: Arc<[UserId]>,
    before: Arc<[UserId]>,
    contact: usize,
    /// Groups whose members know the user.
    known: Vec<GroupId>,
    fresh: Vec<GroupId>,
    /// The fresh group that it is at.
    group: usize,
    after: Option<(UserId, SessionId)>,
}

/// What an answer of the store about a user has changed.
#[derive(Debug)]
pub(in crate::hub) struct Relations {
    pub(in crate::hub) answer: u64,
    pub(in crate::hub) contacts: Arc<[UserId]>,
    /// The contacts before.
    pub(in crate::hub) before: Arc<[UserId]>,
    /// The other groups of the user.
    pub(in crate::hub) known: Vec<GroupId>,
    /// The groups that are new.
    pub(in crate::hub) fresh: Vec<GroupId>,
}

impl Fanout {
    /// Introduces a user to those that `relations` brought, by the change that others were told of it.
    pub(in crate::hub) fn acquaintance(subject: UserId, change: Option<Change>, relations: Relations) -> Self {
        let Relations { answer, contacts, before, known, fresh } = relations;
        let what =
            Acquaintance { subject, answer, change, contacts, before, contact: 0, known, fresh, group: 0, after: None };
        Self { what: What::Acquaintance(what), cost: 0, taken: 0 }
    }
}

impl<H: Clone> Hub<H> {
    pub(super) fn acquaint(&self, acquaintance: &mut Acquaintance, reach: &impl Reach<H>) -> Progress {
        let mut left = SLICE;
        while let Some(name) = acquaintance.contacts.get(acquaintance.contact) {
            if left == 0 {
                return Progress::More;
            }
            acquaintance.contact += 1;
            left -= 1;
            if acquaintance.before.binary_search(name).is_err() && self.is_first_to_tell(acquaintance, name) {
                left = left.saturating_sub(self.tell_both(acquaintance, name, reach));
            }
        }
        while let Some(id) = acquaintance.fresh.get(acquaintance.group) {
            if left == 0 {
                return Progress::More;
            }
            let progress = match self.groups.get(id).filter(|group| group.seats.len() <= TALKATIVE) {
                Some(group) => self.tell_group_both(acquaintance, id, group, &mut left, reach),
                None => None,
            };
            acquaintance.after = progress;
            if acquaintance.after.is_some() {
                return Progress::More;
            }
            left = left.saturating_sub(1);
            acquaintance.group += 1;
        }
        Progress::Done
    }

    /// Whether this pair of contacts is to be told now: both know it, and the other's own introduction will not tell it.
    fn is_first_to_tell(&self, acquaintance: &Acquaintance, name: &UserId) -> bool {
        let Some(other) = self.people.get(name).and_then(|person| person.social.as_ref()) else { return false };
        let subject = &acquaintance.subject;
        let tells_it = other.answer > acquaintance.answer && other.before.binary_search(subject).is_err();
        name != subject && other.contacts.binary_search(subject).is_ok() && !tells_it
    }

    /// Tells two contacts of each other; says how many devices there were.
    fn tell_both(&self, acquaintance: &Acquaintance, name: &UserId, reach: &impl Reach<H>) -> usize {
        let told = |of: &UserId, change: Option<&Change>, to: &UserId| {
            let devices = self.people.get(to).into_iter().flat_map(|person| &person.devices);
            let Some(change) = change else { return 0 };
            devices
                .map(|login| reach.visit(Whose::Session(&login.handle), |outbox| outbox.presence(of, change, true)))
                .count()
        };
        let subject = &acquaintance.subject;
        told(subject, acquaintance.change.as_ref(), name) + told(name, self.told_of(name).as_ref(), subject)
    }

    /// Tells the members of a group and its new one of each other, as far as that is not done already. Says where to go on.
    fn tell_group_both(
        &self,
        acquaintance: &Acquaintance,
        id: &GroupId,
        group: &Group<H>,
        left: &mut usize,
        reach: &impl Reach<H>,
    ) -> Option<(UserId, SessionId)> {
        let Acquaintance { subject, answer, change, known, fresh, group: at, after, .. } = acquaintance;
        let earlier: Vec<&Group<H>> = known
            .iter()
            .chain(fresh.iter().take(*at))
            .filter_map(|id| self.groups.get(id))
            .filter(|group| group.seats.len() <= TALKATIVE)
            .collect();
        let devices = self.people.get(subject).map_or(0, |person| person.devices.len());
        let cost = 1 + earlier.len() + devices;
        let mut after = after.clone();
        let mut seen = 0_usize;
        let progress = slice(group, &mut after, (*left / cost).max(1), |user, session, handle| {
            seen += 1;
            let seat = (user.clone(), session);
            let other = self.people.get(user).and_then(|person| person.social.as_ref());
            let tells_it = other.is_some_and(|other| other.answer > *answer && other.fresh.contains(id));
            if user == subject || tells_it || earlier.iter().any(|group| group.seats.contains_key(&seat)) {
                return;
            }
            if let Some(change) = change {
                reach.visit(Whose::Session(handle), |outbox| outbox.presence(subject, change, false));
            }
            if let Some(change) = self.told_of(user) {
                for login in self.people.get(subject).into_iter().flat_map(|person| &person.devices) {
                    reach.visit(Whose::Session(&login.handle), |outbox| outbox.presence(user, &change, false));
                }
            }
        });
        *left = left.saturating_sub(seen * cost);
        if progress == Progress::Done { None } else { after }
    }

    /// What others were told of somebody who is online.
    fn told_of(&self, user: &UserId) -> Option<Change> {
        let social = self.people.get(user)?.social.as_ref()?;
        Change::between(&[], &social.told)
    }
}
