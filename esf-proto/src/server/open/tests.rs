use super::*;
use crate::server::testing::at;

const ANN: SessionId = SessionId(1);
const BOB: SessionId = SessionId(2);

fn open(id: u64, copies: Copies, deadline: u64) -> Open {
    Open::new(id, Kind::Certain, copies, at(deadline), 70, 0)
}

fn query(id: u64, bytes: usize) -> Open {
    Open::new(id, Kind::Query, Copies::One(ANN), at(100), 70, bytes)
}

#[test]
fn an_answer_counts_only_from_whom_it_was_asked_and_of_the_right_kind() {
    let mut table = OpenTable::default();
    table.insert(open(5, Copies::One(ANN), 100));
    assert!(table.answered(5, BOB, |_| true).is_none(), "a stranger");
    assert!(table.answered(6, ANN, |_| true).is_none(), "another id");
    assert!(table.answered(5, ANN, |about| about == Kind::Query).is_none(), "another kind");
    assert_eq!(table.answered(5, ANN, |about| about == Kind::Certain).map(|open| open.room), Some(70));
    assert!(table.answered(5, ANN, |_| true).is_none(), "once");
}

#[test]
fn it_fails_with_the_last_copy_and_not_before() {
    let mut table = OpenTable::default();
    table.insert(open(1, Copies::Many([ANN, BOB].into()), 100));
    assert_eq!(table.copy_failed(1, ANN, Failure::Busy, false).0, CopyEnd::Nothing);
    assert_eq!(table.copy_failed(1, ANN, Failure::Busy, false).0, CopyEnd::Nothing, "it has none any more");
    assert_eq!(table.copy_failed(1, BOB, Failure::Offline, false).0, CopyEnd::Failed(Failure::Offline));
    assert_eq!(table.len(), 0);
}

#[test]
fn a_copy_that_went_out_and_is_gone_may_have_arrived() {
    let mut table = OpenTable::default();
    table.insert(open(1, Copies::Many([ANN, BOB].into()), 100));
    table.copy_failed(1, ANN, Failure::ConnectionLost, true);
    assert_eq!(table.copy_failed(1, BOB, Failure::Busy, false).0, CopyEnd::Failed(Failure::ConnectionLost));
}

#[test]
fn what_is_due_expires_once_and_the_next_deadline_lies_ahead() {
    let mut table = OpenTable::default();
    for (id, deadline) in [(1, 30), (2, 10), (3, 20)] {
        table.insert(open(id, Copies::One(ANN), deadline));
    }
    assert_eq!(table.first_deadline(), Some(at(10)));
    let expired: Vec<u64> = core::iter::from_fn(|| table.pop_expired(at(20))).map(|open| open.id).collect();
    assert_eq!(expired, [2, 3]);
    assert_eq!(table.first_deadline(), Some(at(30)));
}

#[test]
fn an_entry_that_takes_the_place_of_the_only_one_still_expires() {
    let mut table = OpenTable::default();
    table.insert(open(1, Copies::One(ANN), 10));
    assert_eq!(table.insert(open(1, Copies::One(BOB), 20)).map(|old| old.deadline), Some(at(10)));
    assert_eq!(table.first_deadline(), Some(at(20)));
    assert_eq!(table.pop_expired(at(20)).map(|open| open.id), Some(1));
}

#[test]
fn queries_and_their_bytes_are_counted_until_they_go() {
    let mut table = OpenTable::default();
    table.insert(query(1, 10));
    table.insert(query(2, 20));
    table.insert(open(3, Copies::One(ANN), 100));
    assert_eq!(table.queries(), (2, 30));
    table.insert(query(2, 5));
    assert_eq!(table.queries(), (2, 15), "an id is there once");
    table.answered(1, ANN, |_| true);
    assert_eq!(table.queries(), (1, 5));
    assert_eq!(table.drain().count(), 2);
    assert_eq!(table.queries(), (0, 0));
}
