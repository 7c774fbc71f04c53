//! What a store knows of people, in memory, and how it may misbehave.

use std::collections::{BTreeMap, BTreeSet};

use esf_driver::store::{MemoryStore, Store, StoreAnswer};
use esf_proto::{
    ids::{GroupId, UserId},
    store::{JobId, Person, StoreFailed, StoreRequest, StoreResponse},
};

/// A store that knows contacts and groups, and keeps no messages.
#[derive(Debug, Default)]
pub struct People {
    contacts: BTreeMap<UserId, BTreeSet<UserId>>,
    groups: BTreeMap<GroupId, BTreeSet<UserId>>,
    /// Whether it is silent. What it is asked meanwhile it answers later.
    pub silent: bool,
    /// Whether it fails.
    pub fails: bool,
    /// Requests that it does not answer before this is taken away.
    pub holds: Option<fn(&StoreRequest) -> bool>,
    /// Answers that are made up, since nobody wants to keep so many people. What it has no answer to is looked up.
    pub makes_up: Option<fn(&StoreRequest) -> Option<StoreResponse>>,
    /// Where messages, and all else, are kept instead, if they are.
    pub keeps: Option<MemoryStore>,
    /// Everything that it was asked.
    pub asked: Vec<StoreRequest>,
    waiting: Vec<(JobId, StoreRequest)>,
}

/// A user name.
///
/// # Panics
/// If it is none.
#[must_use]
pub fn name(name: &str) -> UserId {
    UserId::parse(name, u8::MAX).expect("a user name")
}

/// A group's id.
///
/// # Panics
/// If it is none.
#[must_use]
pub fn group(id: &str) -> GroupId {
    GroupId::parse(id).expect("a group's id")
}

impl People {
    /// Two are contacts of each other.
    pub fn befriend(&mut self, one: &str, other: &str) {
        self.contacts.entry(name(one)).or_default().insert(name(other));
        self.contacts.entry(name(other)).or_default().insert(name(one));
    }

    /// Two are strangers to each other.
    pub fn estrange(&mut self, one: &str, other: &str) {
        for (one, other) in [(one, other), (other, one)] {
            if let Some(contacts) = self.contacts.get_mut(&name(one)) {
                contacts.remove(&name(other));
            }
        }
    }

    /// A group has these members and no others.
    pub fn set_group(&mut self, id: &str, members: &[&str]) {
        self.groups.insert(group(id), members.iter().map(|member| name(member)).collect());
    }

    /// Takes what it is asked, and gives what it answers now.
    pub fn take(
        &mut self,
        asked: Option<(JobId, StoreRequest)>,
    ) -> Option<(JobId, Result<StoreResponse, StoreFailed>)> {
        if let Some((job, request)) = asked {
            self.asked.push(request.clone());
            self.waiting.push((job, request));
        }
        if self.silent {
            return None;
        }
        let next = self.waiting.iter().position(|(_, request)| self.holds.is_none_or(|holds| !holds(request)))?;
        let (job, request) = self.waiting.remove(next);
        if self.fails {
            return Some((job, Err(StoreFailed::new("it is to fail"))));
        }
        if let Some(answer) = self.makes_up.and_then(|makes_up| makes_up(&request)) {
            return Some((job, Ok(answer)));
        }
        let Some(store) = &self.keeps else { return Some((job, Ok(self.answer(&request)))) };
        let (told, answer) = std::sync::mpsc::channel();
        store.submit(request, StoreAnswer::new(move |answer| told.send(answer).expect("it is waited for")));
        Some((job, answer.try_recv().expect("it answers at once")))
    }

    /// How many requests wait for an answer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn answer(&self, request: &StoreRequest) -> StoreResponse {
        let page = |names: Option<&BTreeSet<UserId>>, after: &Option<UserId>, limit: usize| {
            let names = names.into_iter().flatten().filter(|name| after.as_ref().is_none_or(|after| *name > after));
            StoreResponse::Names(names.take(limit).cloned().collect())
        };
        match request {
            StoreRequest::Person { user, max_contacts, max_groups, .. } => {
                let contacts: Vec<UserId> = self.contacts.get(user).into_iter().flatten().cloned().collect();
                let groups = self.groups.iter().filter(|(_, members)| members.contains(user));
                let groups: Vec<GroupId> = groups.map(|(group, _)| group.clone()).collect();
                StoreResponse::Person(Person {
                    exists: true,
                    cut: contacts.len() > *max_contacts || groups.len() > *max_groups,
                    contacts: contacts.into_iter().take(*max_contacts).collect(),
                    groups: groups.into_iter().take(*max_groups).collect(),
                    stored: false,
                })
            }
            StoreRequest::Contacts { user, after, limit } => page(self.contacts.get(user), after, *limit),
            StoreRequest::Members { group, after, limit } => match self.groups.get(group) {
                Some(members) => page(Some(members), after, *limit),
                None => StoreResponse::NotFound,
            },
            _ => StoreResponse::NoSuchUser,
        }
    }
}
