use super::*;
use std::vec::Vec;

const NOW: Instant = Instant::ZERO;

fn hop_with(frames: &[&'static str]) -> Hop {
    let mut hop = Hop::new(100);
    for frame in frames {
        hop.hand_out(FrameBytes::Shared(Bytes::from_static(frame.as_bytes())), 1, true);
    }
    hop
}

fn replayed(hop: &mut Hop) -> Vec<Bytes> {
    core::iter::from_fn(|| hop.next_replay().map(FrameBytes::into_bytes)).collect()
}

#[test]
fn a_resume_replays_exactly_what_is_missing() {
    let mut hop = hop_with(&["a", "b", "c"]);
    hop.rewind(1, |_| ()).unwrap();
    assert!(!hop.may_hand_out(), "new frames wait for the replay");
    assert_eq!(replayed(&mut hop), ["b", "c"]);
    assert!(hop.may_hand_out());
    hop.hand_out(FrameBytes::Shared(Bytes::from_static(b"d")), 1, true);
    hop.rewind(1, |_| ()).unwrap();
    assert_eq!(replayed(&mut hop), ["b", "c", "d"]);
}

#[test]
fn a_resume_when_nothing_was_received_replays_all() {
    let mut hop = hop_with(&["a", "b"]);
    hop.rewind(0, |_| ()).unwrap();
    assert_eq!(replayed(&mut hop), ["a", "b"]);
}

#[test]
fn counts_from_the_future_or_the_past_are_violations() {
    let mut hop = hop_with(&["a", "b"]);
    assert_eq!(hop.rewind(3, |_| ()), Err(CountViolation));
    assert_eq!(hop.on_count(Counts { received: 3, taken: 0 }, |_| ()), Err(CountViolation));
    assert_eq!(hop.on_count(Counts { received: 1, taken: 3 }, |_| ()), Err(CountViolation));
    hop.on_count(Counts { received: 2, taken: 2 }, |_| ()).unwrap();
    assert_eq!(hop.on_count(Counts { received: 1, taken: 2 }, |_| ()), Err(CountViolation));
    assert_eq!(hop.on_count(Counts { received: 2, taken: 1 }, |_| ()), Err(CountViolation));
}

#[test]
fn a_count_of_what_was_not_replayed_yet_is_a_violation() {
    let mut hop = hop_with(&["a", "b"]);
    hop.rewind(0, |_| ()).unwrap();
    assert_eq!(hop.on_count(Counts { received: 1, taken: 0 }, |_| ()), Err(CountViolation));
    hop.next_replay();
    hop.on_count(Counts { received: 1, taken: 0 }, |_| ()).unwrap();
    assert_eq!(replayed(&mut hop), ["b"]);
}

#[test]
fn counts_go_round_the_end_of_u32() {
    let mut hop = hop_with(&["a", "b"]);
    hop.acked = u32::MAX;
    hop.on_count(Counts { received: 0, taken: 1 }, |_| ()).unwrap();
    assert_eq!(hop.uncounted(), 1);
}

#[test]
fn the_window_opens_with_what_was_taken_and_an_empty_one_admits_any() {
    let mut hop = Hop::new(10);
    assert!(hop.admits(1_000));
    hop.hand_out(FrameBytes::Shared(Bytes::from_static(b"12345678")), 1, true);
    assert!(hop.admits(2));
    assert!(!hop.admits(3));
    hop.on_count(Counts { received: 1, taken: 0 }, |_| ()).unwrap();
    assert!(!hop.admits(3), "received is not taken");
    hop.on_count(Counts { received: 1, taken: 8 }, |_| ()).unwrap();
    assert!(hop.admits(1_000));
}

#[test]
fn a_count_is_due_after_frames_bytes_or_time() {
    let mut hop = Hop::new(10);
    hop.on_frame(NOW, 1);
    assert_eq!(hop.count_due(), Some(NOW + COUNT_DELAY));
    assert_eq!(hop.poll_count(NOW), None);
    assert_eq!(hop.poll_count(NOW + COUNT_DELAY), Some(Counts { received: 1, taken: 0 }));
    assert_eq!(hop.count_due(), None);
    hop.on_frame(NOW, COUNT_BYTES);
    assert_eq!(hop.count_due(), Some(NOW));
    hop.tell_count();
    for _ in 0..COUNT_FRAMES {
        hop.on_frame(NOW, 1);
    }
    assert_eq!(hop.count_due(), Some(NOW));
}

#[test]
fn freed_hears_the_cost_of_each_counted_frame() {
    let mut hop = Hop::new(10);
    hop.hand_out(FrameBytes::Shared(Bytes::from_static(b"a")), 5, false);
    hop.hand_out(FrameBytes::Shared(Bytes::from_static(b"b")), 7, false);
    let mut freed = 0;
    hop.on_count(Counts { received: 1, taken: 0 }, |cost| freed += cost).unwrap();
    assert_eq!(freed, 5);
    assert_eq!(hop.take_uncounted().map(|(_, cost)| cost).sum::<usize>(), 7);
}

#[test]
fn a_rest_keeps_what_is_not_counted_and_no_room_beside_it() {
    let mut hop = hop_with(&["a", "b", "c"]);
    hop.rest();
    hop.on_count(Counts { received: 2, taken: 2 }, |_| ()).unwrap();
    hop.rest();
    hop.rewind(2, |_| ()).unwrap();
    assert_eq!(replayed(&mut hop), ["c"]);
    hop.on_count(Counts { received: 3, taken: 3 }, |_| ()).unwrap();
    assert!(hop.replay.capacity() > 0, "a busy session finds its room again");
    hop.rest();
    assert_eq!(hop.replay.capacity(), 0);
}
