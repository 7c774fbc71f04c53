//! Questions, each answered from what was committed last.

use std::time::Duration;

use esf_tokio::{
    StoreLimits,
    store::{StoreRequest, StoreResponse},
};

use super::{Clock, Question, Users};
use crate::store::{
    Store,
    accounts::has_account,
    mail::{self, Page, millis},
    relations,
};

/// The time from which on messages are young enough.
pub(super) struct Since {
    max_age: Duration,
    clock: Clock,
}

impl Since {
    pub(super) fn new(limits: &StoreLimits, clock: Clock) -> Self {
        Self { max_age: limits.max_age, clock }
    }

    fn now(&self) -> u64 {
        too_old(self.max_age, (self.clock)())
    }
}

/// Messages from then or earlier are too old.
pub(super) fn too_old(max_age: Duration, now: u64) -> u64 {
    now.saturating_sub(millis(max_age))
}

pub(super) fn answer(store: &Store, users: Users, since: &Since, question: Question) {
    let Question { request, answer } = question;
    match store.told(carry_out(store, users, since, request)) {
        Ok(Some(response)) => answer.done(response),
        Ok(None) => answer.refuse(),
        Err(problem) => answer.failed(problem.to_string()),
    }
}

fn carry_out(
    store: &Store,
    users: Users,
    since: &Since,
    request: StoreRequest,
) -> rusqlite::Result<Option<StoreResponse>> {
    let connection = &store.connection;
    Ok(Some(match request {
        StoreRequest::Person { user, device, max_contacts, max_groups } => {
            let mut person = relations::person(connection, &user, max_contacts, max_groups)?;
            person.exists = users == Users::Everybody || has_account(connection, &user)?;
            person.stored = mail::waits(connection, &user, device, since.now())?;
            StoreResponse::Person(person)
        }
        StoreRequest::Contacts { user, after, limit } => {
            StoreResponse::Names(relations::contacts(connection, &user, after.as_ref(), limit)?)
        }
        StoreRequest::Members { group, after, limit } => {
            let members = relations::members(connection, &group, after.as_ref(), limit)?;
            members.map_or(StoreResponse::NotFound, StoreResponse::Names)
        }
        StoreRequest::Fetch { user, device, after, max_messages, max_bytes } => {
            let page = Page { after, max_messages, max_bytes, since: since.now() };
            mail::fetch(connection, &user, device, &page)?
        }
        _ => return Ok(None),
    }))
}
