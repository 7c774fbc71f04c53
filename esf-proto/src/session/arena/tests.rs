use super::*;

fn frame(len: usize, fill: u8) -> RawFrame {
    let body = std::vec![fill; len];
    RawFrame::parse(Frame::PreQuery { info_type: 1, body: &body }.to_bytes(Header::default()).unwrap()).unwrap()
}

fn body(frame: &RawFrame) -> &[u8] {
    let Ok(Frame::PreQuery { body, .. }) = frame.decode() else { panic!("decodes") };
    body
}

#[test]
fn copies_what_is_small_and_shares_what_is_large() {
    let mut arena = Arena::default();
    for (len, shared) in [(COPY_BELOW - 1, false), (COPY_BELOW, true)] {
        let frame = frame(len, 7);
        let kept = arena.keep(&frame, body(&frame));
        assert_eq!(kept, body(&frame));
        assert_eq!(kept.as_ptr() == body(&frame).as_ptr(), shared);
    }
}

#[test]
fn neighbours_do_not_overwrite_each_other() {
    let mut arena = Arena::default();
    let kept: std::vec::Vec<_> = (0..=255)
        .map(|n| {
            let frame = frame(100, n);
            arena.keep(&frame, body(&frame))
        })
        .collect();
    assert!(kept.iter().zip(0..=255u8).all(|(bytes, n)| bytes[..] == [n; 100]));
}

#[test]
fn encodes_as_the_frame_does() {
    let mut arena = Arena::default();
    for len in [0, 100, 5_000] {
        let body = std::vec![3; len];
        let frame = Frame::PreQuery { info_type: 1, body: &body };
        assert_eq!(arena.encode(&frame, Header::default()), frame.to_bytes(Header::default()));
    }
}

#[test]
#[cfg_attr(miri, ignore = "counts too far for an interpreter")]
fn a_chunk_of_which_nothing_is_kept_is_the_next_one() {
    let mut arena = Arena::default();
    let frame = frame(100, 7);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..10_000 {
        seen.insert(arena.keep(&frame, body(&frame)).as_ptr() as usize);
    }
    assert!(seen.len() <= 2 * CHUNK / 100, "{} places", seen.len());
}
