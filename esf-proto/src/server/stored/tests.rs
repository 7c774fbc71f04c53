use super::*;
use crate::{
    failure::Failure,
    server::{
        Config, Session,
        testing::{alone, at, certain, phone, plain, to},
    },
    time::UnixMillis,
    wire::Header as WireHeader,
};
use std::vec;

fn with_store() -> (Session, Outbox) {
    alone(Config { keeps_messages: true, ..Config::default() })
}

fn storable(id: u64) -> RawFrame {
    let frame = certain(&phone("bob"), to("ann"), id, 30_000);
    let Ok(Frame::Certain { envelope, ttl_ms, info_type, body }) = frame.decode() else { panic!("certain") };
    let header = WireHeader::flags(Flags::STORE);
    RawFrame::parse(Frame::Certain { envelope, ttl_ms, info_type, body }.to_bytes(header).unwrap()).unwrap()
}

fn offer(outbox: &mut Outbox, frame: &RawFrame, deadline: Instant) -> Result<(), Failure> {
    outbox.offer(at(0), frame, Kind::Certain, SessionId(9), Some(deadline))
}

fn stored(id: u64, frame: &RawFrame) -> StoredMessage {
    StoredMessage { id: StoreId(id), accepted_at: UnixMillis(5), tries: 0, frame: frame.bytes().clone() }
}

fn ids(outbox: &mut Outbox) -> Vec<(u64, bool)> {
    core::iter::from_fn(|| outbox.pop_withdrawn())
        .map(|withdrawn| (RawFrame::parse(withdrawn.frame).unwrap().envelope().unwrap().id, withdrawn.handed_out))
        .collect()
}

#[test]
fn a_message_is_stored_5_s_before_its_time_is_over_or_when_half_of_it_is() {
    assert_eq!(store_at(at(1_000), at(31_000)), at(26_000));
    assert_eq!(store_at(at(1_000), at(5_000)), at(3_000));
    assert_eq!(store_at(at(1_000), at(1_000)), at(1_000));
}

#[test]
fn only_a_certain_message_that_says_so_is_storable() {
    assert!(is_storable(storable(1).bytes()));
    assert!(!is_storable(certain(&phone("bob"), to("ann"), 1, 1).bytes()));
    assert!(!is_storable(plain(&phone("bob"), to("ann"), Flags::STORE, 1, b"").bytes()));
    assert!(!is_storable(&Bytes::from_static(b"\0")));
}

#[test]
fn what_is_due_is_taken_back_in_order_and_the_rest_waits_until_it_is_known_what_became_of_it() {
    let (_, mut outbox) = with_store();
    outbox.put_stored(&[], 0);
    for (id, deadline) in [(1, 30_000), (2, 60_000), (3, 30_000)] {
        offer(&mut outbox, &storable(id), at(deadline)).unwrap();
    }
    offer(&mut outbox, &certain(&phone("bob"), to("ann"), 4, 1), at(90_000)).unwrap();
    assert_eq!(outbox.take_watch(), Some(at(25_000)), "the first of them");
    assert!(!outbox.withdraw_due(at(24_999)));
    assert!(outbox.withdraw_due(at(25_000)));
    assert_eq!(ids(&mut outbox), [(1, false), (3, false)]);
    assert_eq!((outbox.take_watch(), outbox.withdrawals()), (Some(at(55_000)), Some(1)));
    assert_eq!(outbox.next(at(25_000), |_| true), None, "closed");
    // What the mail said before it heard of that opens nothing.
    outbox.put_stored(&[], 0);
    assert_eq!(outbox.next(at(25_000), |_| true), None);
    outbox.put_stored(&[], 1);
    assert_eq!(outbox.next(at(25_000), |_| true), Some(Lane::Message));
    assert_eq!((outbox.take_watch(), outbox.withdrawals()), (None, None));
}

#[test]
fn a_message_that_may_be_stored_never_expires_in_the_queue() {
    let (_, mut outbox) = with_store();
    outbox.put_stored(&[], 0);
    offer(&mut outbox, &storable(1), at(30_000)).unwrap();
    assert_eq!(outbox.next(at(99_000), |_| true), Some(Lane::Message));
}

#[test]
fn stored_messages_go_before_others_as_far_as_the_window_goes_and_cost_what_they_hold() {
    let (session, mut outbox) = with_store();
    offer(&mut outbox, &certain(&phone("bob"), to("ann"), 9, 1), at(30_000)).unwrap();
    let before = session.held_bytes();
    outbox.put_stored(&[stored(1, &storable(1)), stored(2, &storable(2))], 0);
    let held = session.held_bytes() - before;
    assert!(held > 2 * storable(1).len(), "{held}");
    assert_eq!(outbox.next(at(0), |_| true), None);
    assert!(outbox.next_stored(|_| false).is_none());
    for id in [1, 2] {
        let (frame, _) = outbox.next_stored(|_| true).unwrap();
        assert_eq!(RawFrame::parse(frame).unwrap().envelope().unwrap().id, id);
    }
    assert!(outbox.take_drained() && !outbox.take_drained());
    assert_eq!(outbox.next(at(0), |_| true), None, "until the mail says that there are no more");
    outbox.put_stored(&[], 0);
    assert_eq!(outbox.next(at(0), |_| true), Some(Lane::Message));
}

#[test]
fn at_its_end_a_session_leaves_what_was_out_and_what_waited_to_the_store_and_later_ones_behind() {
    let (mut session, mut outbox) = with_store();
    outbox.put_stored(&[], 0);
    offer(&mut outbox, &storable(1), at(30_000)).unwrap();
    offer(&mut outbox, &storable(2), at(30_000)).unwrap();
    assert!(session.poll_transmit(at(0), crate::server::Generation::FIRST, &mut outbox).is_some());
    outbox.put_stored(&[stored(7, &storable(5))], 0);
    session.end(at(1), crate::close::CloseReason::Kicked, &mut outbox);
    // Somebody who does not know yet.
    assert_eq!(offer(&mut outbox, &storable(3), at(30_000)), Ok(()));
    assert_eq!(offer(&mut outbox, &certain(&phone("bob"), to("ann"), 4, 1), at(9)), Err(Failure::Offline));
    assert_eq!(ids(&mut outbox), [(1, true), (2, false), (3, false)]);
    assert_eq!(offer(&mut outbox, &storable(6), at(30_000)), Err(Failure::Offline), "it goes by itself now");
    assert_eq!(session.held_bytes(), 0);
    let ended = core::iter::from_fn(|| session.poll_change()).find_map(|change| match change {
        crate::server::HubChange::Ended { unsent, .. } => Some(unsent),
        _ => None,
    });
    assert_eq!(ended, Some(vec![StoreId(7)]));
}
