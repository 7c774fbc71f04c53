//! Who there is, who is whose contact, who is in which group.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use esf_proto::ids::{GroupId, UserId};

use crate::store::Person;

#[derive(Debug, Default)]
pub(super) struct People {
    /// Every name is that of a user.
    everybody: bool,
    users: BTreeSet<UserId>,
    /// Each pair from both sides.
    contacts: BTreeMap<UserId, BTreeSet<UserId>>,
    members: BTreeMap<GroupId, BTreeSet<UserId>>,
    groups: BTreeMap<UserId, BTreeSet<GroupId>>,
}

impl People {
    pub(super) fn new(everybody: bool) -> Self {
        Self { everybody, ..Self::default() }
    }

    pub(super) fn everybody(&self) -> bool {
        self.everybody
    }

    pub(super) fn exists(&self, user: &UserId) -> bool {
        self.everybody || self.users.contains(user)
    }

    pub(super) fn add_user(&mut self, user: &UserId) -> bool {
        self.users.insert(user.clone())
    }

    pub(super) fn remove_user(&mut self, user: &UserId) -> bool {
        for contact in self.contacts.remove(user).unwrap_or_default() {
            remove_from(&mut self.contacts, &contact, user);
        }
        for group in self.groups.remove(user).unwrap_or_default() {
            self.members.entry(group).and_modify(|members| _ = members.remove(user));
        }
        self.users.remove(user)
    }

    pub(super) fn add_contact(&mut self, one: &UserId, other: &UserId) -> bool {
        if one == other || !self.contacts.entry(one.clone()).or_default().insert(other.clone()) {
            return false;
        }
        self.contacts.entry(other.clone()).or_default().insert(one.clone());
        true
    }

    pub(super) fn remove_contact(&mut self, one: &UserId, other: &UserId) -> bool {
        remove_from(&mut self.contacts, other, one);
        remove_from(&mut self.contacts, one, other)
    }

    pub(super) fn create_group(&mut self, group: &GroupId) -> bool {
        if group.is_dynamic() || self.members.contains_key(group) {
            return false;
        }
        self.members.insert(group.clone(), BTreeSet::new());
        true
    }

    pub(super) fn delete_group(&mut self, group: &GroupId) -> bool {
        let Some(members) = self.members.remove(group) else { return false };
        for member in members {
            remove_from(&mut self.groups, &member, group);
        }
        true
    }

    pub(super) fn add_member(&mut self, group: &GroupId, user: &UserId) -> bool {
        let Some(members) = self.members.get_mut(group) else { return false };
        self.groups.entry(user.clone()).or_default().insert(group.clone());
        members.insert(user.clone())
    }

    pub(super) fn remove_member(&mut self, group: &GroupId, user: &UserId) -> bool {
        remove_from(&mut self.groups, user, group);
        self.members.get_mut(group).is_some_and(|members| members.remove(user))
    }

    pub(super) fn person(&self, user: &UserId, max_contacts: usize, max_groups: usize) -> Person {
        let contacts = self.contacts.get(user);
        let groups = self.groups.get(user);
        Person {
            exists: self.exists(user),
            contacts: contacts.into_iter().flatten().take(max_contacts).cloned().collect(),
            groups: groups.into_iter().flatten().take(max_groups).cloned().collect(),
            cut: contacts.is_some_and(|all| all.len() > max_contacts)
                || groups.is_some_and(|all| all.len() > max_groups),
            stored: false,
        }
    }

    pub(super) fn contacts(&self, user: &UserId, after: Option<&UserId>, limit: usize) -> Vec<UserId> {
        self.contacts.get(user).map(|names| page(names, after, limit)).unwrap_or_default()
    }

    pub(super) fn members(&self, group: &GroupId, after: Option<&UserId>, limit: usize) -> Option<Vec<UserId>> {
        self.members.get(group).map(|names| page(names, after, limit))
    }
}

fn page(names: &BTreeSet<UserId>, after: Option<&UserId>, limit: usize) -> Vec<UserId> {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    names.range::<UserId, _>((from, Bound::Unbounded)).take(limit).cloned().collect()
}

/// Takes `value` out of the set of `key`, and the set away with its last value.
fn remove_from<K: Ord, V: Ord>(sets: &mut BTreeMap<K, BTreeSet<V>>, key: &K, value: &V) -> bool {
    let Some(set) = sets.get_mut(key) else { return false };
    let removed = set.remove(value);
    if set.is_empty() {
        sets.remove(key);
    }
    removed
}
