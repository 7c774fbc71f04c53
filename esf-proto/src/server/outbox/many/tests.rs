use std::vec::Vec;

use bytes::Bytes;

use super::*;
use crate::{
    server::{
        Config,
        testing::{at, outbox, phone, plain, raw},
    },
    wire::{Address, Envelope, Flags, Frame},
};

const BOB: SessionId = SessionId(2);
const EVE: SessionId = SessionId(3);

fn broadcast(flags: Flags, body: &[u8]) -> RawFrame {
    let from = phone("bob");
    let envelope = Envelope::new(Address::Group { group: "red" }, Address::of_engine(&from), 0);
    raw(&Frame::Broadcast { envelope, info_type: 1, body }, flags)
}

fn some(count: usize, len: usize) -> Vec<RawFrame> {
    (0..count).map(|at| broadcast(Flags::NONE, &std::vec![at as u8; len])).collect()
}

fn small() -> Config {
    Config { max_frame: 1024, budget: 4096, ..Config::default() }
}

/// How many were accepted, and why the others were not.
fn offer(outbox: &mut Outbox, frames: &[RawFrame]) -> (u64, Vec<Failure>) {
    let mut failures = Vec::new();
    let accepted = outbox.offer_broadcasts(at(0), frames.iter(), BOB, |_, failure| failures.push(failure));
    (accepted, failures)
}

fn taken(outbox: &mut Outbox) -> Vec<Bytes> {
    std::iter::from_fn(|| outbox.take(at(0))).collect()
}

#[test]
fn all_receivers_share_the_bytes_of_a_broadcast() {
    let frames = some(3, 64);
    for _ in 0..2 {
        let (mut outbox, budget, _) = outbox(small());
        assert_eq!(offer(&mut outbox, &frames), (3, Vec::new()));
        assert!(outbox.take_wake(), "its link has work");
        assert_eq!(budget.used(), frames.iter().map(|frame| cost(frame.len())).sum::<usize>());
        let taken = taken(&mut outbox);
        assert!(taken.iter().zip(&frames).all(|(taken, frame)| taken.as_ptr() == frame.bytes().as_ptr()));
        assert_eq!((taken.len(), budget.used()), (3, 0));
    }
}

#[test]
fn those_that_come_together_get_no_more_room_than_one_by_one() {
    for (count, len) in [(1, 20_000), (2, 20_000), (3, 10), (16, 64), (17, 64), (20, 64), (64, 500)] {
        let frames = some(count, len);
        for before in [0, 1, 2] {
            let ((mut together, room, _), (mut apart, _, _)) = (outbox(small()), outbox(small()));
            for outbox in [&mut together, &mut apart] {
                for _ in 0..before {
                    let frame = plain(&phone("eve"), Address::Group { group: "red" }, Flags::NONE, 0, &[7; 700]);
                    outbox.offer(at(0), &frame, frame.kind().unwrap(), EVE, None).unwrap();
                }
            }
            let (accepted, failures) = offer(&mut together, &frames);
            let one_by_one: Vec<bool> =
                frames.iter().map(|frame| offer(&mut apart, std::slice::from_ref(frame)).0 == 1).collect();
            assert_eq!(
                accepted as usize,
                one_by_one.iter().filter(|accepted| **accepted).count(),
                "{count} {len} {before}"
            );
            assert_eq!(failures, std::vec![Failure::Busy; count - accepted as usize]);
            assert_eq!(taken(&mut together), taken(&mut apart));
            assert_eq!(room.used(), 0);
        }
    }
}

#[test]
fn volatile_ones_go_their_own_way_and_nothing_comes_in_after_the_end() {
    let (mut outbox, budget, counters) = outbox(small());
    let frames = [broadcast(Flags::VOLATILE, b"a"), broadcast(Flags::NONE, b"b"), broadcast(Flags::VOLATILE, b"c")];
    assert_eq!(offer(&mut outbox, &frames), (2, std::vec![Failure::Busy]), "a message waits before the last");
    assert_eq!(counters.volatile_dropped.get(), 1);
    assert_eq!(outbox.end().count(), 2);
    let used = budget.used();
    assert_eq!(offer(&mut outbox, &some(3, 64)), (0, std::vec![Failure::Offline; 3]));
    assert_eq!((outbox.is_empty(), budget.used()), (true, used));
}
