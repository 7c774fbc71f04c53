use std::{collections::VecDeque, vec, vec::Vec};

use proptest::prelude::*;

use super::*;

fn popped(queue: &mut FrameQueue<u32>) -> Option<(Vec<u8>, u32)> {
    queue.pop_with(|frame, meta| (frame.to_vec(), meta))
}

#[test]
fn small_frames_of_others_are_copied_and_large_ones_shared() {
    let mut queue = FrameQueue::default();
    let large = Bytes::from(vec![7; COPY_BELOW]);
    queue.push_copy(&large.slice(1..), 1);
    queue.push_copy(&large, 2);
    queue.pop_with(|frame, _| assert!(matches!(frame, FrameBytes::Slice(_)))).unwrap();
    queue.pop_with(|frame, _| assert!(matches!(frame, FrameBytes::Shared(_)))).unwrap();
}

#[test]
#[cfg_attr(miri, ignore = "counts too far for an interpreter")]
fn an_empty_queue_uses_its_memory_from_the_start_and_gives_it_back_at_rest() {
    let mut queue = FrameQueue::default();
    for at in 0..10_000 {
        queue.push(FrameBytes::Slice(&[0; 100]), at);
        popped(&mut queue);
    }
    assert!(queue.bytes.capacity() < 1_000, "grown to {}", queue.bytes.capacity());
    queue.push(FrameBytes::Slice(&[0; 100]), 0);
    queue.rest();
    assert_eq!(queue.len(), 1, "what waits stays");
    popped(&mut queue);
    queue.rest();
    assert_eq!(queue.capacity(), 0);
}

#[test]
#[cfg_attr(miri, ignore = "counts too far for an interpreter")]
fn a_queue_that_is_never_empty_does_not_grow() {
    let mut queue = FrameQueue::default();
    queue.push(FrameBytes::Slice(&[0; 100]), 0);
    for at in 0..10_000 {
        queue.push(FrameBytes::Slice(&[0; 100]), at);
        popped(&mut queue);
    }
    assert!(queue.bytes.capacity() < 1_000, "grown to {}", queue.bytes.capacity());
}

#[derive(Debug, Clone)]
enum Op {
    Push(Vec<u8>),
    Share(Vec<u8>),
    Front(Vec<u8>),
    Pop,
    Forget(usize),
    Next,
    Rewind,
    TakeOut(u32),
    Rest,
}

fn op() -> impl Strategy<Value = Op> {
    let frame = || proptest::collection::vec(any::<u8>(), 1..300);
    prop_oneof![
        6 => frame().prop_map(Op::Push),
        2 => frame().prop_map(Op::Share),
        1 => frame().prop_map(Op::Front),
        3 => Just(Op::Pop),
        2 => (0usize..6).prop_map(Op::Forget),
        3 => Just(Op::Next),
        1 => Just(Op::Rewind),
        1 => (2u32..5).prop_map(Op::TakeOut),
        1 => Just(Op::Rest),
    ]
}

proptest! {
    /// Beside a queue of byte strings: the same frames in the same order, and a cursor that stays at its frame.
    #[test]
    fn a_queue_is_a_queue(ops in proptest::collection::vec(op(), 0..200)) {
        let (mut queue, mut model) = (FrameQueue::default(), VecDeque::<(Vec<u8>, u32)>::new());
        let (mut cursor, mut place) = (Cursor::default(), 0);
        for (number, op) in (0..).zip(ops) {
            match op {
                Op::Push(frame) => {
                    queue.push(FrameBytes::Slice(&frame), number);
                    model.push_back((frame, number));
                }
                Op::Share(frame) => {
                    queue.push(FrameBytes::Shared(frame.clone().into()), number);
                    model.push_back((frame, number));
                }
                // Whoever reads on from a cursor takes nothing but the first frames out, and puts none there.
                Op::Front(frame) => {
                    queue.push_front(frame.clone().into(), number);
                    model.push_front((frame, number));
                    (cursor, place) = (Cursor::default(), 0);
                }
                Op::Pop => {
                    prop_assert_eq!(popped(&mut queue), model.pop_front());
                    (cursor, place) = (Cursor::default(), 0);
                }
                Op::Forget(frames) => {
                    let mut left = Vec::new();
                    queue.forget(frames, &mut cursor, |meta| left.push(meta));
                    let gone = model.drain(..frames.min(model.len())).map(|(_, meta)| meta).collect::<Vec<_>>();
                    prop_assert_eq!(&left, &gone);
                    place -= gone.len().min(place);
                    if place == 0 {
                        cursor = Cursor::default();
                    }
                }
                Op::Next => {
                    let next = queue.next(&mut cursor).map(|frame| frame.to_vec());
                    prop_assert_eq!(next.as_ref(), model.get(place).map(|(frame, _)| frame));
                    place += usize::from(next.is_some());
                    prop_assert_eq!(cursor.frames, place);
                }
                Op::Rewind => (cursor, place) = (Cursor::default(), 0),
                Op::TakeOut(part) => {
                    let mut out = Vec::new();
                    queue.take_out(|_, meta| meta % part == 0, |frame, meta| out.push((frame.to_vec(), meta)));
                    let (gone, stays): (Vec<_>, Vec<_>) = model.into_iter().partition(|(_, meta)| meta % part == 0);
                    model = VecDeque::from(stays);
                    prop_assert_eq!(out, gone);
                    (cursor, place) = (Cursor::default(), 0);
                }
                Op::Rest => queue.rest(),
            }
            prop_assert_eq!((queue.len(), queue.is_empty()), (model.len(), model.is_empty()));
            let lens = queue.iter().map(|(len, meta)| (len, *meta)).collect::<Vec<_>>();
            prop_assert_eq!(lens, model.iter().map(|(frame, meta)| (frame.len(), *meta)).collect::<Vec<_>>());
            if queue.end().frames == place {
                prop_assert!(place == 0 || queue.end() == cursor);
            }
        }
        let rest = queue.into_frames().map(|(frame, meta)| (frame.to_vec(), meta)).collect::<Vec<_>>();
        prop_assert_eq!(rest, Vec::from(model));
    }
}
