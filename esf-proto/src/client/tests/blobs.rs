//! Fragments beside everything else, and the outcomes of blobs.

use super::harness::*;
use crate::{
    client::{Event, OutgoingBlob, SendError, State, Transport},
    failure::Failure,
    ids::MessageId,
    login::Mode,
    wire::{Address, Envelope, Frame, Kind},
};
use bytes::Bytes;

/// A blob to bob that was offered, and its stream.
fn offered(hand: &mut Hand) -> (MessageId, u64) {
    let id = hand.session.send_blob(hand.now, &to_bob(), &OutgoingBlob::new(1, None)).expect("room");
    let sent = hand.sent();
    let Ok(Frame::BlobOffer { stream, .. }) = sent[0].decode() else { panic!("{sent:?}") };
    (id, stream)
}

fn give_all(hand: &mut Hand) {
    while let Some(need) = hand.session.poll_blob_need() {
        hand.session.give_blob(hand.now, need.id, need.offset, Bytes::from(std::vec![1; need.max]), false);
    }
}

fn transport(hand: &mut Hand, unflushed: bool) {
    hand.session.handle_transport(hand.now, hand.link, Transport { unflushed, ..Transport::default() });
}

#[test]
fn one_fragment_goes_out_each_time_that_the_transport_has_taken_everything() {
    let mut hand = Hand::online();
    let (_, stream) = offered(&mut hand);
    hand.give(&[Frame::Credit { stream, offset: 0 }]);
    give_all(&mut hand);
    transport(&mut hand, true);
    assert_eq!(hand.sent_kinds(), [], "bytes wait");
    assert!(hand.session.wants_flush());
    for _ in 0..3 {
        transport(&mut hand, false);
        assert_eq!(hand.sent_kinds(), [Kind::Fragment]);
        assert_eq!(hand.sent_kinds(), [], "its own bytes may wait");
    }
    // Whatever else there is goes first.
    hand.pass(secs(5));
    hand.certainly("hi");
    transport(&mut hand, false);
    assert_eq!(hand.sent_kinds(), [Kind::Heartbeat, Kind::Certain, Kind::Fragment]);
}

#[test]
fn nothing_of_a_blob_goes_out_on_a_new_link_before_its_credit() {
    let mut hand = Hand::online();
    let (_, stream) = offered(&mut hand);
    hand.give(&[Frame::Credit { stream, offset: 0 }]);
    give_all(&mut hand);
    hand.cut();
    hand.reconnect();
    hand.give(&[resumed(1)]);
    hand.sent();
    transport(&mut hand, false);
    assert_eq!((hand.sent_kinds(), hand.session.wants_flush()), (std::vec![], false));
    hand.give(&[Frame::Credit { stream, offset: 0 }]);
    transport(&mut hand, false);
    assert_eq!(hand.sent_kinds(), [Kind::Fragment]);
}

#[test]
fn streams_have_ids_that_do_not_follow_from_one_another() {
    let mut hand = Hand::online();
    let streams: std::vec::Vec<u64> = (0..8).map(|_| offered(&mut hand).1).collect();
    for (at, stream) in streams.iter().enumerate() {
        assert!(!streams[at + 1..].contains(stream));
        assert!(streams.iter().all(|other| other.wrapping_sub(*stream).wrapping_add(8) > 16 || other == stream));
    }
    let ninth = hand.session.send_blob(hand.now, &to_bob(), &OutgoingBlob::new(1, None));
    assert_eq!(ninth, Err(SendError::Busy(Bytes::new())));
    let mut long = OutgoingBlob::new(1, None);
    long.name = "n".repeat(1025).into();
    assert_eq!(hand.session.send_blob(hand.now, &to_bob(), &long), Err(SendError::TooLong(Bytes::new())));
}

#[test]
fn an_ack_before_the_end_takes_the_blob_from_the_others() {
    let mut hand = Hand::online();
    let (id, stream) = offered(&mut hand);
    hand.give(&[Frame::Credit { stream, offset: 0 }, ack(id.0)]);
    assert_eq!(hand.sent_kinds(), [Kind::BlobCancel]);
    assert!(hand.events().contains(&Event::Acked { id }));
    assert_eq!((hand.session.outgoing_blobs(), hand.session.blob_bytes()), (0, 0));
}

#[test]
fn an_outcome_comes_from_whom_it_was_sent_to_or_as_a_failure_from_the_server() {
    let mut hand = Hand::online();
    let (id, _) = offered(&mut hand);
    let eve =
        Address::Engine { user: "eve", device: crate::ids::DeviceKind::PHONE, instance: crate::ids::InstanceId(5) };
    let me = hand.session.engine().clone();
    let of_eve = Envelope::new(Address::of_engine(&me), eve, id.0);
    hand.give(&[Frame::Ack { envelope: of_eve }]);
    hand.give(&[Frame::Failure { envelope: of_eve, about: Kind::BlobOffer as u8, code: Failure::Rejected }]);
    assert!(hand.events().iter().all(|event| !matches!(event, Event::Acked { .. } | Event::Failed { .. })));
    hand.give(&[failure(Kind::BlobOffer, id.0, Failure::Busy)]);
    assert!(hand.events().contains(&Event::Failed { id, failure: Failure::Busy }));
}

#[test]
fn after_a_fresh_login_a_blob_is_offered_again_under_its_id_and_stream() {
    let mut hand = Hand::online();
    let (id, stream) = offered(&mut hand);
    hand.cut();
    hand.reconnect();
    hand.give(&[Frame::LoginResult(crate::wire::LoginResult::Succeed(welcome(Mode::Fresh, 0)))]);
    assert_eq!(hand.session.state(), State::Online);
    let sent = hand.sent();
    let again = sent.iter().find(|frame| frame.kind() == Some(Kind::BlobOffer)).expect("an offer");
    assert!(again.hop().contains(crate::wire::Hop::AGAIN));
    let Ok(Frame::BlobOffer { envelope, stream: same, .. }) = again.decode() else { panic!("an offer") };
    assert_eq!((envelope.id, same), (id.0, stream));
}

#[test]
fn a_blob_that_did_not_go_out_is_taken_back_without_a_word() {
    let mut hand = Hand::online();
    let id = hand.session.send_blob(hand.now, &to_bob(), &OutgoingBlob::new(1, None)).expect("room");
    hand.session.cancel_blob(hand.now, id);
    hand.session.cancel_blob(hand.now, id);
    assert_eq!(hand.events(), [Event::Failed { id, failure: Failure::Cancelled }]);
    assert_eq!((hand.sent_kinds(), hand.session.queued_bytes()), (std::vec![], 0));
}

#[test]
fn a_blob_that_fails_before_it_is_offered_again_is_not() {
    let mut hand = Hand::online();
    let (id, _) = offered(&mut hand);
    hand.cut();
    hand.await_link();
    hand.connect();
    hand.give(&[fresh(), failure(Kind::BlobOffer, id.0, Failure::Rejected)]);
    assert!(hand.events().contains(&Event::Failed { id, failure: Failure::Rejected }));
    assert!(!hand.sent_kinds().contains(&Kind::BlobOffer), "the offer that waited is withdrawn");
    assert_eq!((hand.session.outgoing_blobs(), hand.session.queued_bytes()), (0, 0));
}

#[test]
fn no_blob_is_taken_once_the_session_logs_off() {
    let mut hand = Hand::online();
    hand.session.log_off(hand.now);
    let blob = hand.session.send_blob(hand.now, &to_bob(), &OutgoingBlob::new(1, None));
    assert_eq!(blob, Err(SendError::Closed(Bytes::new())));
}

/// A server lets no such offer through; nobody keeps it either.
#[test]
fn an_offer_with_a_longer_name_than_may_be_is_dropped_and_counted() {
    let mut hand = Hand::online();
    let name = "n".repeat(1025);
    let name: &'static str = name.leak();
    hand.give(&[Frame::BlobOffer { envelope: from(BOB, 1), stream: 5, total: None, info_type: 1, name }]);
    assert_eq!((hand.events(), hand.session.incoming_blobs()), (std::vec![], 0));
    assert_eq!((hand.session.stats().malformed, hand.session.state()), (1, State::Online));
}
