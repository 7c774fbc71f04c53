use alloc::vec::Vec;

use super::*;
use crate::ids::UserId;

const NOW: Instant = Instant::from_micros(1_000_000);
const ID: MessageId = MessageId(1);
const STREAM: u64 = 9;

fn sending(total: Option<u64>, change: impl FnOnce(&mut OutgoingBlob)) -> Sending {
    let mut sending = Sending::default();
    let mut blob = OutgoingBlob::new(1, total);
    change(&mut blob);
    let to = To::User(UserId::parse("ben", 64).expect("a name"));
    sending.open(ID, STREAM, Target::To(to), &blob, Bytes::from_static(b"offer"));
    sending.handed_out(ID);
    sending
}

/// Gives what is asked for of `body`; the offsets that were asked for.
fn give(sending: &mut Sending, body: &Bytes) -> Vec<u64> {
    let mut asked = Vec::new();
    while let Some(BlobNeed { id, offset, max }) = sending.poll_need() {
        asked.push(offset);
        let from = usize::try_from(offset).expect("small");
        let until = (from + max).min(body.len());
        sending.give(id, offset, body.slice(from..until), until == body.len()).expect("it fits");
    }
    asked
}

fn fragments(sending: &mut Sending) -> Vec<(u64, usize)> {
    core::iter::from_fn(|| sending.poll_fragment()).map(|piece| (piece.offset, piece.data.len())).collect()
}

fn body(len: usize) -> Bytes {
    Bytes::from(alloc::vec![7; len])
}

#[test]
fn nothing_is_asked_for_or_sent_before_the_first_credit() {
    let mut sending = sending(None, |_| {});
    assert_eq!((sending.poll_need(), sending.poll_fragment()), (None, None));
    assert_eq!(sending.on_credit(STREAM, 0), Credited::Ahead);
    assert!(sending.poll_need().is_some());
}

#[test]
fn a_window_is_sent_in_fragments_of_the_size_that_was_named_and_then_nothing() {
    let mut sizes = alloc::vec![(1_000, 1_000), (usize::MAX, FRAGMENT)];
    if !cfg!(miri) {
        // A fragment a byte counts too far for an interpreter.
        sizes.push((0, 1));
    }
    for (named, size) in sizes {
        let mut sending = sending(None, |blob| blob.fragment = named);
        sending.on_credit(STREAM, 0);
        give(&mut sending, &body(1 << 20));
        let sent = fragments(&mut sending);
        assert!(sent.iter().all(|(_, len)| *len <= size && *len > 0), "{named}");
        assert_eq!(sent.iter().map(|(_, len)| *len as u64).sum::<u64>(), STREAM_WINDOW, "{named}");
        assert_eq!(sending.held_bytes() as u64, STREAM_WINDOW, "kept until it is held");
        sending.on_credit(STREAM, STREAM_WINDOW);
        assert_eq!(sending.held_bytes(), 0);
    }
}

#[test]
fn after_a_cut_it_goes_on_from_what_is_held_without_asking_again() {
    let mut sending = sending(None, |blob| blob.can_seek = false);
    sending.on_credit(STREAM, 0);
    give(&mut sending, &body(1 << 20));
    fragments(&mut sending);
    sending.link_lost();
    assert_eq!(fragments(&mut sending), [], "not before the credit of the new link");
    assert_eq!(sending.on_credit(STREAM, 100_000), Credited::Ahead);
    assert_eq!(fragments(&mut sending).first().map(|(offset, _)| *offset), Some(100_000));
    assert!(give(&mut sending, &body(1 << 20)).iter().all(|offset| *offset >= STREAM_WINDOW));
}

#[test]
fn who_has_less_than_is_kept_gets_it_anew_if_the_source_can_seek() {
    for can_seek in [true, false] {
        let mut sending = sending(None, |blob| blob.can_seek = can_seek);
        sending.on_credit(STREAM, 0);
        give(&mut sending, &body(1 << 20));
        fragments(&mut sending);
        sending.on_credit(STREAM, 200_000);
        sending.link_lost();
        if can_seek {
            assert_eq!(sending.on_credit(STREAM, 150_000), Credited::Ahead);
            assert_eq!(give(&mut sending, &body(1 << 20)).first(), Some(&150_000));
            assert_eq!(fragments(&mut sending).first().map(|(offset, _)| *offset), Some(150_000));
        } else {
            assert_eq!(sending.on_credit(STREAM, 150_000), Credited::Failed(ID, Failure::ConnectionLost));
        }
    }
}

#[test]
fn a_credit_that_cannot_be_fails_and_one_that_shrinks_is_ignored() {
    let mut sending = sending(None, |_| {});
    sending.on_credit(STREAM, 0);
    give(&mut sending, &body(1000));
    fragments(&mut sending);
    assert_eq!(sending.on_credit(STREAM, 1001), Credited::Failed(ID, Failure::Malformed));
    assert_eq!(sending.on_credit(STREAM, u64::MAX), Credited::Failed(ID, Failure::Malformed));
    assert_eq!(sending.on_credit(STREAM, 500), Credited::Ahead);
    assert_eq!(sending.on_credit(STREAM, 499), Credited::Ignored);
    assert_eq!(sending.on_credit(STREAM + 1, 500), Credited::Ignored);
}

#[test]
fn a_source_gives_what_was_announced() {
    let cases = [(10, false), (11, false), (9, true), (11, true)];
    for (len, last) in cases {
        let mut sending = sending(Some(10), |_| {});
        sending.on_credit(STREAM, 0);
        assert!(sending.poll_need().is_some());
        let fits = len == 10;
        assert_eq!(sending.give(ID, 0, body(len), last).is_ok(), fits, "{len} {last}");
    }
    let mut sending = sending(Some(10), |_| {});
    assert_eq!(sending.give(ID, 0, body(100), true), Ok(()), "what was not asked for is ignored");
    assert_eq!(sending.held_bytes(), 0);
}

#[test]
fn the_end_is_told_once_a_session_and_again_in_a_new_one() {
    let mut sending = sending(Some(10), |_| {});
    sending.on_credit(STREAM, 0);
    give(&mut sending, &body(10));
    assert!(sending.poll_end().is_none(), "not before everything went out");
    fragments(&mut sending);
    assert_eq!(sending.poll_end().map(|(_, total)| total), Some(10));
    sending.link_lost();
    sending.on_credit(STREAM, 0);
    fragments(&mut sending);
    assert!(sending.poll_end().is_none(), "a replay has it");
    sending.link_lost();
    assert_eq!(sending.after_fresh(NOW).len(), 1);
    sending.handed_out(ID);
    sending.on_credit(STREAM, 10);
    assert_eq!(sending.poll_end().map(|(_, total)| total), Some(10));
}

#[test]
fn one_that_nobody_is_there_for_after_a_new_session_is_offered_each_second() {
    let mut sending = sending(None, |_| {});
    assert!(!sending.awaits(NOW, ID), "the first time it is an outcome");
    sending.after_fresh(NOW);
    assert!(sending.awaits(NOW, ID));
    assert_eq!(sending.poll_timeout(), Some(NOW + PAUSE));
    assert_eq!(sending.poll_offer(NOW), None);
    assert_eq!(sending.poll_offer(NOW + PAUSE).map(|(id, _)| id), Some(ID));
    assert_eq!(sending.poll_offer(NOW + PAUSE), None, "once");
    assert!(!sending.awaits(NOW + LOST, ID));
    assert_eq!(sending.poll_timeout(), None);
}

#[test]
fn blobs_take_turns() {
    let mut sending = sending(None, |_| {});
    let other = MessageId(2);
    sending.open(other, STREAM + 1, Target::To(To::Server), &OutgoingBlob::new(1, None), Bytes::new());
    for stream in [STREAM, STREAM + 1] {
        sending.on_credit(stream, 0);
    }
    give(&mut sending, &body(100_000));
    let streams: Vec<u64> = core::iter::from_fn(|| sending.poll_fragment()).map(|piece| piece.stream).collect();
    assert!(streams.chunks(2).all(|pair| pair.len() < 2 || pair[0] != pair[1]), "{streams:?}");
}
