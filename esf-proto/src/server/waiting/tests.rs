use bytes::BytesMut;

use super::*;
use crate::ids::InstanceId;

const SENDER: SessionId = SessionId(5);
const STREAM: u64 = 9;

fn source() -> Source {
    Source::Server(InstanceId(1))
}

fn streams() -> StreamsIn {
    let mut streams = StreamsIn::default();
    streams.offer(STREAM, 1, &source(), SENDER).expect("a place");
    streams
}

fn piece(offset: u64, len: usize) -> RawFrame {
    let data: Vec<u8> = (0..len).map(|at| u8::try_from((offset as usize + at) % 251).expect("below 251")).collect();
    let frame = Frame::Fragment { stream: STREAM, offset, last: false, data: &data };
    RawFrame::parse(frame.to_bytes(Header::default()).expect("a frame")).expect("a frame")
}

fn out(streams: &mut StreamsIn) -> Vec<(u64, usize)> {
    core::iter::from_fn(|| streams.pop()).map(|frame| place(&frame)).collect()
}

fn place(frame: &Bytes) -> (u64, usize) {
    let raw = RawFrame::parse(frame.clone()).expect("a frame");
    let Ok(Frame::Fragment { offset, data, .. }) = raw.decode() else { panic!("a fragment") };
    let right = data.iter().enumerate().all(|(at, byte)| usize::from(*byte) == (offset as usize + at) % 251);
    assert!(right, "the bytes are those of their place");
    (offset, data.len())
}

#[test]
fn nothing_goes_out_before_the_credit_of_its_link() {
    let mut streams = streams();
    assert!(!streams.push(STREAM, SENDER, &piece(0, 2000), false));
    assert_eq!(out(&mut streams), []);
    streams.credit(STREAM, 0).expect("a credit");
    assert!(streams.has_fragment());
    assert_eq!(out(&mut streams), [(0, 2000)]);
    streams.on_link();
    assert!(!streams.has_fragment());
    streams.credit(STREAM, 0).expect("the same again, on a new link");
    assert_eq!(out(&mut streams), [(0, 2000)], "kept until it is held");
    streams.credit(STREAM, 2000).expect("a credit");
    assert_eq!(streams.cost(), 0);
}

#[test]
fn what_is_held_is_not_kept() {
    let mut streams = streams();
    streams.credit(STREAM, 5000).expect("what it has from before");
    streams.push(STREAM, SENDER, &piece(0, 2000), false);
    assert_eq!((streams.cost(), streams.has_fragment()), (0, false));
    streams.push(STREAM, SENDER, &piece(4000, 2000), false);
    assert_eq!(out(&mut streams), [(4000, 2000)]);
}

#[test]
fn credits_that_cannot_be_are_a_violation_and_old_ones_nothing() {
    let mut streams = streams();
    assert_eq!(streams.credit(STREAM, 0), Ok(Some(source())));
    assert_eq!(streams.credit(STREAM, 1), Err(CreditViolation));
    streams.push(STREAM, SENDER, &piece(0, 2000), false);
    assert_eq!(streams.credit(STREAM, 1), Err(CreditViolation), "it was not handed out");
    out(&mut streams);
    assert_eq!(streams.credit(STREAM, u64::MAX), Err(CreditViolation));
    assert_eq!(streams.credit(STREAM, 2000), Ok(Some(source())));
    assert_eq!(streams.credit(STREAM, 2000), Ok(None), "no progress");
    assert_eq!(streams.credit(STREAM, 1), Ok(None));
    assert_eq!(streams.credit(STREAM + 1, 0), Ok(None));
}

#[test]
#[cfg_attr(miri, ignore = "counts too far for an interpreter")]
fn small_ones_are_joined_whether_they_wait_or_were_handed_out() {
    for handed_out in [false, true] {
        let mut streams = streams();
        streams.credit(STREAM, 0).expect("a credit");
        for at in 0..4096 {
            streams.push(STREAM, SENDER, &piece(at, 1), false);
            if handed_out {
                assert_eq!(out(&mut streams), [(at, 1)]);
            }
        }
        assert!(streams.cost() < 5000, "{}", streams.cost());
        streams.on_link();
        streams.credit(STREAM, 0).expect("a credit");
        let again = out(&mut streams);
        assert_eq!(again, [(0, 1024), (1024, 1024), (2048, 1024), (3072, 1024)]);
        streams.credit(STREAM, 4096).expect("a credit");
        assert_eq!(streams.cost(), 0);
    }
}

#[test]
fn those_that_overlap_are_joined_without_a_repeat() {
    let mut streams = streams();
    streams.push(STREAM, SENDER, &piece(0, 100), false);
    streams.push(STREAM, SENDER, &piece(50, 100), false);
    streams.push(STREAM, SENDER, &piece(150, 2000), false);
    streams.credit(STREAM, 0).expect("a credit");
    assert_eq!(out(&mut streams), [(0, 150), (150, 2000)]);
}

#[test]
fn a_small_one_does_not_hold_the_buffer_that_it_was_read_into() {
    let mut streams = streams();
    let mut buffer = BytesMut::from(&**piece(0, 1).bytes());
    buffer.extend_from_slice(&[0; 60_000]);
    let whole = buffer.freeze();
    let len = piece(0, 1).len();
    streams.push(STREAM, SENDER, &RawFrame::parse(whole.slice(..len)).expect("a frame"), false);
    assert!(whole.is_unique());
}

#[test]
fn there_are_eight_places_of_which_one_sender_has_half() {
    let mut streams = StreamsIn::default();
    let offer = |streams: &mut StreamsIn, id: u64, sender: u64| streams.offer(id, id, &source(), SessionId(sender));
    for id in 1..=4 {
        offer(&mut streams, id, 1).expect("a place");
    }
    assert_eq!(offer(&mut streams, 5, 1), Err(Failure::Busy));
    assert_eq!(offer(&mut streams, 4, 1), Ok(()), "one that is offered again has its place");
    assert_eq!(streams.offer(4, 44, &source(), SessionId(2)), Err(Failure::Busy), "another's stream");
    for id in 5..=8 {
        offer(&mut streams, id, 2).expect("a place");
    }
    assert_eq!(offer(&mut streams, 9, 3), Err(Failure::Busy));
    assert!(streams.end(SessionId(2), 8));
    assert!(!streams.end(SessionId(2), 8));
    offer(&mut streams, 9, 3).expect("a place");
    streams.answered(|of| *of == source(), 9);
    assert_eq!(streams.drain().len(), 7);
    assert_eq!(streams.cost(), 0);
}
