use core::time::Duration;

use super::*;
use crate::server::testing::phone;

const NOW: Instant = Instant::from_micros(1_000_000);
const STREAM: u64 = 9;
const A: SessionId = SessionId(1);
const B: SessionId = SessionId(2);
const C: SessionId = SessionId(3);

fn out(total: Option<u64>, receivers: &[SessionId]) -> StreamsOut {
    let mut out = StreamsOut::default();
    out.open(NOW, STREAM, 1, total, receivers.iter().map(|session| (*session, phone("ben"))));
    out
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn the_sender_is_told_the_least_once_everybody_has_said_it() {
    let mut out = out(None, &[A, B]);
    assert!(!out.progress(NOW, STREAM, A, 500));
    assert!(!out.progress(NOW, STREAM, C, 500) && !out.progress(NOW, STREAM + 1, B, 500), "of others nothing is heard");
    assert_eq!(out.poll_credit(NOW), None);
    assert!(out.progress(NOW, STREAM, B, 100));
    assert_eq!(out.poll_credit(NOW), Some((STREAM, 100)));
    assert_eq!(out.poll_credit(NOW), None);
    // The next word comes after a step, or at the end of what was sent; also when the slower one leaves.
    out.pass(NOW, STREAM, 100, 1000);
    assert!(!out.progress(NOW, STREAM, B, 200));
    assert!(!out.progress(NOW, STREAM, A, 1100));
    assert!(out.leave(1, B));
    assert_eq!(out.poll_credit(NOW), Some((STREAM, 1100)));
    out.pass(NOW, STREAM, 1100, 100_000);
    assert!(out.progress(NOW, STREAM, A, 1100 + CREDIT_STEP));
    assert_eq!(out.poll_credit(NOW), Some((STREAM, 1100 + CREDIT_STEP)));
}

#[test]
fn a_fragment_passes_in_order_and_within_the_window() {
    let mut out = out(None, &[A]);
    assert_eq!(out.pass(NOW, STREAM, 0, 10), Passage::Violation, "before the first credit");
    out.progress(NOW, STREAM, A, 0);
    assert_eq!(out.pass(NOW, STREAM, 0, 10), Passage::Violation, "before the sender was told of it");
    out.poll_credit(NOW);
    assert!(matches!(out.pass(NOW, STREAM, 0, 10), Passage::To { .. }));
    assert_eq!(out.pass(NOW, STREAM, 0, 10), Passage::Nothing);
    assert_eq!(out.pass(NOW, STREAM, 11, 10), Passage::Violation, "a gap");
    assert_eq!(out.pass(NOW, STREAM, 10, usize::try_from(STREAM_WINDOW).expect("small")), Passage::Violation);
    assert!(matches!(out.pass(NOW, STREAM, 5, 10), Passage::To { .. }), "it overlaps");
    assert_eq!(out.pass(NOW, STREAM + 1, 0, 10), Passage::Nothing);
    out.on_link(NOW);
    assert_eq!(out.pass(NOW, STREAM, 15, 10), Passage::Violation, "a new link has its own credit");
}

#[test]
fn a_receiver_that_owes_is_slow_after_20_s_and_the_clock_starts_anew_with_the_senders_link() {
    let mut out = out(None, &[A, B]);
    assert_eq!(out.poll_timeout(), Some(NOW + PROGRESS), "where it begins is to be said");
    out.progress(NOW, STREAM, A, 0);
    out.progress(NOW, STREAM, B, 0);
    out.poll_credit(NOW);
    assert_eq!(out.poll_timeout(), None, "nothing was sent");
    let later = NOW + secs(100);
    for at in 0..4 {
        out.pass(later, STREAM, at * 16 * 1024, 16 * 1024);
    }
    assert_eq!(out.poll_timeout(), Some(later + PROGRESS));
    out.progress(later + secs(10), STREAM, A, CREDIT_STEP);
    assert_eq!(out.poll_slow(later + secs(19)), None);
    let slow = out.poll_slow(later + secs(20)).expect("one is slow");
    assert_eq!((slow.session, slow.only), (B, false));
    out.leave(1, B);
    assert_eq!(out.poll_slow(later + secs(40)), None, "the other has all that was sent");
    out.pass(later, STREAM, 4 * 16 * 1024, 16 * 1024);
    out.on_link(later + secs(50));
    assert_eq!(out.poll_slow(later + secs(60)), None);
}

#[test]
fn whoever_receives_hears_the_end_once_and_where_it_can_be() {
    let mut out = out(Some(20), &[A]);
    out.progress(NOW, STREAM, A, 0);
    out.poll_credit(NOW);
    out.pass(NOW, STREAM, 0, 10);
    assert_eq!(out.end(STREAM, 19).err(), Some(Some(1)), "not what was announced");
    assert_eq!(out.pass(NOW, STREAM, 10, 11), Passage::PastEnd(1));
    assert_eq!(out.end(STREAM, 20).map(|engines| engines.len()), Ok(1));
    assert_eq!(out.end(STREAM, 20).err(), Some(None), "again");
    // What is not sent to its end is what somebody waits for.
    assert_eq!(out.drain().len(), 1);
}

#[test]
fn a_sender_has_eight_streams_and_uses_none_for_two() {
    let mut out = StreamsOut::default();
    for id in 1..=8 {
        assert!(out.admits(id, id));
        out.open(NOW, id, id, None, core::iter::once((A, phone("ben"))));
    }
    assert!(!out.admits(9, 9));
    assert!(out.admits(8, 8), "offered again");
    assert_eq!(out.remove(8).len(), 1);
    assert!(!out.admits(7, 9), "the stream of another");
    assert!(out.admits(9, 9));
}

/// It has everything from before, and is given its time to say so: also when the sender, whose transport stood still, was
/// told of it late.
#[test]
fn who_holds_all_of_it_from_before_owes_its_word_from_when_the_sender_hears_of_it() {
    let mut out = out(None, &[A]);
    assert_eq!(out.end(STREAM, 500), Ok(std::vec![phone("ben")]));
    assert!(out.progress(NOW, STREAM, A, 500));
    assert_eq!(out.poll_timeout(), None, "what it holds was not sent");
    let late = NOW + PROGRESS + secs(10);
    assert_eq!(out.poll_credit(late), Some((STREAM, 500)));
    assert_eq!(out.poll_timeout(), Some(late + PROGRESS));
    assert_eq!(out.poll_slow(late), None);
}
