use super::*;
use crate::ids::{DeviceKind, InstanceId, UserId};

const AT: fn(u64) -> Instant = Instant::from_micros;
const SERVER: Address<'_> = Address::Server { instance: 9 };

fn user(name: &str) -> UserId {
    UserId::parse(name, 255).unwrap()
}

fn engine<'a>(user: &'a str, device: u8) -> Address<'a> {
    Address::Engine { user, device: DeviceKind(device), instance: InstanceId(4) }
}

fn pending() -> Pending {
    Pending::new(1_000)
}

fn ask(pending: &mut Pending, kind: Kind, deadline: u64) -> MessageId {
    pending.open(kind, To::User(user("bob")), &Bytes::from_static(b"frame"), AT(deadline))
}

#[test]
fn ids_count_up_from_one() {
    let mut pending = pending();
    assert_eq!(pending.next_id(), MessageId(1));
    assert_eq!(ask(&mut pending, Kind::Certain, 5), MessageId(1));
    assert_eq!(ask(&mut pending, Kind::Query, 5), MessageId(2));
}

#[test]
fn an_operation_ends_once() {
    let mut pending = pending();
    let id = ask(&mut pending, Kind::Certain, 5);
    assert!(pending.end(id, Kind::Certain, &engine("bob", 0), false).is_some());
    assert!(pending.end(id, Kind::Certain, &engine("bob", 0), false).is_none());
    assert!(pending.pop_expired(AT(5)).is_none());
    assert_eq!(pending.next_deadline(), None);
    assert_eq!(pending.certain_bytes(), 0);
}

#[test]
fn only_the_one_who_was_asked_answers() {
    let mut pending = pending();
    let id = ask(&mut pending, Kind::Certain, 5);
    assert!(pending.end(id, Kind::Certain, &engine("eve", 0), true).is_none(), "a stranger");
    assert!(pending.end(id, Kind::Query, &engine("bob", 0), true).is_none(), "another kind of answer");
    assert!(pending.end(id, Kind::Certain, &SERVER, false).is_none(), "the server acknowledges for nobody");
    assert!(pending.end(id, Kind::Certain, &SERVER, true).is_some(), "but it tells failures");

    let device = To::Device(user("bob"), DeviceKind(2));
    let id = pending.open(Kind::Query, device, &Bytes::new(), AT(5));
    assert!(pending.end(id, Kind::Query, &engine("bob", 1), false).is_none(), "another device");
    assert!(pending.end(id, Kind::Query, &engine("bob", 2), false).is_some());

    let id = pending.open(Kind::Request, To::Server, &Bytes::new(), AT(5));
    assert!(pending.end(id, Kind::Request, &engine("bob", 1), false).is_none());
    assert!(pending.end(id, Kind::Request, &SERVER, false).is_some());
}

#[test]
fn time_ends_each_when_it_is_over() {
    let mut pending = pending();
    let late = ask(&mut pending, Kind::Certain, 9);
    let early = ask(&mut pending, Kind::Query, 5);
    assert_eq!(pending.next_deadline(), Some(AT(5)));
    assert!(pending.pop_expired(AT(4)).is_none());
    assert_eq!(pending.pop_expired(AT(5)).map(|(id, _)| id), Some(early));
    assert!(pending.pop_expired(AT(5)).is_none());
    assert_eq!(pending.next_deadline(), Some(AT(9)), "it does not fire again before");
    assert_eq!(pending.pop_expired(AT(9)).map(|(id, _)| id), Some(late));
    assert_eq!((pending.is_empty(), pending.next_deadline()), (true, None));
}

#[test]
fn a_fresh_session_resends_certain_ones_in_order_and_loses_queries() {
    let mut pending = pending();
    let ids: Vec<_> =
        [Kind::Certain, Kind::Query, Kind::Certain, Kind::Certain].map(|kind| ask(&mut pending, kind, 9)).into();
    for id in &ids[..3] {
        pending.handed_out(AT(1), *id);
    }
    let after = pending.after_fresh();
    assert_eq!(after.again.iter().map(|resend| resend.id).collect::<Vec<_>>(), [ids[0], ids[2]]);
    assert_eq!(after.lost, [ids[1]]);
    assert_eq!(after.again[0].frame, "frame");
    pending.take(ids[1]);
    assert_eq!(pending.after_fresh(), AfterFresh::default(), "a resend that still waits is not queued twice");

    let resent = pending.take(ids[0]).unwrap();
    assert_eq!(resent.told_as(Failure::Offline), Failure::ConnectionLost);
    assert_eq!(resent.at_the_end(), Failure::ConnectionLost);
    let waiting = pending.take(ids[3]).unwrap();
    assert_eq!(waiting.told_as(Failure::Offline), Failure::Offline);
    assert_eq!(waiting.at_the_end(), Failure::Offline);
}

#[test]
fn numbers_and_bytes_are_bounded() {
    let mut pending = pending();
    for _ in 0..QUERIES {
        assert!(pending.admits(Kind::Query, 5));
        ask(&mut pending, Kind::Query, 5);
    }
    assert!(!pending.admits(Kind::Request, 5));
    for _ in 0..1_000 / 5 {
        assert!(pending.admits(Kind::Certain, 5));
        ask(&mut pending, Kind::Certain, 5);
    }
    assert!(!pending.admits(Kind::Certain, 5));

    let mut pending = Pending::new(usize::MAX);
    for _ in 0..OPEN {
        assert!(pending.admits(Kind::Certain, 5));
        ask(&mut pending, Kind::Certain, 5);
    }
    assert!(!pending.admits(Kind::Certain, 5) && !pending.admits(Kind::Query, 5));
    pending.take(MessageId(1));
    assert!(pending.admits(Kind::Query, 5));
}

#[test]
fn bytes_of_queries_are_bounded_but_for_one_of_any_size() {
    let mut pending = pending();
    assert!(pending.admits(Kind::Query, QUERY_BYTES * 2));
    ask(&mut pending, Kind::Query, 5);
    assert!(!pending.admits(Kind::Query, QUERY_BYTES));
}
