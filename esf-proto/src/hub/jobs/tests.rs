//! Requests that are fetched, answered, or end by themselves.

use super::*;
use crate::{ids::DeviceKind, server::testing::at};

fn jobs() -> Jobs<Purpose<()>> {
    Jobs::above(0)
}

fn ask(jobs: &mut Jobs<Purpose<()>>, until: u64) -> Option<JobId> {
    let user = UserId::parse("ann", 255).unwrap();
    let request =
        StoreRequest::Person { user: user.clone(), device: DeviceKind::PHONE, max_contacts: 1, max_groups: 1 };
    jobs.ask(at(until), Purpose::Person(user), request)
}

#[test]
fn a_request_is_fetched_once_and_answered_once() {
    let mut jobs = jobs();
    assert!(!jobs.has_request() && jobs.poll_timeout().is_none());
    let (first, second) = (ask(&mut jobs, 10).unwrap(), ask(&mut jobs, 20).unwrap());
    assert!(jobs.has_request());
    assert_eq!(jobs.poll_timeout(), Some(at(10)));
    assert_eq!(jobs.poll().map(|(id, _)| id), Some(first));
    // Answered before it was fetched, as it may be by a store that guesses.
    assert!(jobs.take(second).is_some() && jobs.take(second).is_none());
    assert!(jobs.poll().is_none() && !jobs.has_request());
    assert!(jobs.take(first).is_some());
    assert_eq!(jobs.poll_timeout(), None);
}

#[test]
fn a_request_without_an_answer_ends_and_is_not_asked_any_more() {
    let mut jobs = jobs();
    let ids = [10, 20, 30].map(|until| ask(&mut jobs, until).unwrap());
    assert!(jobs.pop_due(at(9)).is_none());
    assert_eq!(jobs.pop_due(at(10)).map(|(id, _)| id), Some(ids[0]));
    assert!(jobs.pop_due(at(19)).is_none());
    assert_eq!(jobs.requests.front().map(|(id, _)| *id), Some(ids[1]), "only what has ended is let go of");
    assert_eq!(jobs.pop_due(at(25)).map(|(id, _)| id), Some(ids[1]));
    assert!(jobs.take(ids[1]).is_none());
    assert_eq!((jobs.poll_timeout(), jobs.poll().map(|(id, _)| id)), (Some(at(30)), Some(ids[2])));
}

#[test]
#[cfg_attr(miri, ignore = "counts too far for an interpreter")]
fn so_many_may_be_open() {
    let mut jobs = jobs();
    for _ in 0..OPEN {
        ask(&mut jobs, 10).unwrap();
    }
    assert_eq!(ask(&mut jobs, 10), None);
    assert!(jobs.pop_due(at(10)).is_some());
    assert!(ask(&mut jobs, 20).is_some());
}
