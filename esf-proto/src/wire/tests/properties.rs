use proptest::{collection::vec, prelude::*};

use super::{parts::parts, *};

const NO_LIMIT: usize = 1 << 20;

proptest! {
    #[test]
    fn a_frame_comes_back_as_it_was(parts in parts()) {
        let mut out = BytesMut::from(&b"before"[..]);
        parts.encode(&mut out);
        let raw = RawFrame::parse(out.split_off(6).freeze()).expect("parses");
        let frame = parts.frame();
        prop_assert_eq!(raw.decode().expect("decodes"), frame);
        prop_assert_eq!(raw.kind(), Some(frame.kind()));
        prop_assert_eq!(raw.extensions().collect::<Vec<_>>(), parts.extensions());
        prop_assert_eq!(raw.hop(), parts.header().hop);
        prop_assert_eq!(raw.flags().without(Flags::EXTENSIONS), parts.header().flags.without(Flags::EXTENSIONS));
        prop_assert_eq!(raw.flags().contains(Flags::EXTENSIONS), !parts.extensions().is_empty());
        prop_assert_eq!(raw.envelope().ok(), frame.envelope().copied());
        prop_assert_eq!(frame.to_bytes(parts.header()).expect("encodes").len(), frame.encoded_len());
    }

    #[test]
    fn a_resend_is_the_same_frame_with_the_bit_set(parts in parts()) {
        let mut out = BytesMut::new();
        parts.encode(&mut out);
        let raw = RawFrame::parse(out.freeze()).expect("parses");
        let again = RawFrame::parse(raw.again()).expect("parses");
        prop_assert_eq!(again.hop(), raw.hop().with(Hop::AGAIN));
        prop_assert_eq!(again.flags(), raw.flags());
        prop_assert_eq!(again.decode(), raw.decode());
    }

    #[test]
    fn a_message_gives_all_its_frames(all in vec(parts(), 1..6)) {
        let mut message = BytesMut::new();
        all.iter().for_each(|parts| parts.encode(&mut message));
        let frames: Vec<_> = Frames::new(message.freeze(), NO_LIMIT).map(|frame| frame.expect("parses")).collect();
        prop_assert_eq!(frames.len(), all.len());
        for (raw, parts) in frames.iter().zip(&all) {
            prop_assert_eq!(raw.decode().expect("decodes"), parts.frame());
        }
    }

    #[test]
    fn a_stream_gives_the_same_frames_wherever_it_is_cut(
        all in vec(parts(), 1..5),
        cuts in vec(1usize..50, 1..20),
    ) {
        let mut stream = BytesMut::new();
        all.iter().for_each(|parts| parts.encode(&mut stream));
        let whole: Vec<_> = Frames::new(stream.clone().freeze(), NO_LIMIT).map(|frame| frame.expect("parses")).collect();
        let mut splitter = Splitter::new(NO_LIMIT);
        let mut pulled = Vec::new();
        let mut left = &stream[..];
        for cut in cuts.iter().cycle() {
            let (piece, after) = left.split_at(left.len().min(*cut));
            splitter.push(piece);
            while let Some(frame) = splitter.next_frame().expect("parses") {
                pulled.push(frame);
            }
            left = after;
            if left.is_empty() {
                break;
            }
        }
        prop_assert_eq!(pulled, whole);
    }

    #[test]
    fn bytes_of_any_kind_give_frames_or_an_error_and_nothing_is_lost(
        bytes in vec(prop_oneof![3 => 0u8..8, 1 => any::<u8>()], 0..200),
    ) {
        look_at_all(&Bytes::from(bytes));
    }

    #[test]
    fn a_frame_that_was_spoiled_gives_a_frame_or_an_error(
        parts in parts(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut out = BytesMut::new();
        parts.encode(&mut out);
        let at = at.index(out.len());
        out[at] = byte;
        look_at_all(&out.clone().freeze());
        out.truncate(cut.index(out.len()));
        look_at_all(&out.freeze());
    }

    #[test]
    fn what_decodes_encodes_to_a_frame_that_decodes_to_the_same(
        kind in 0u8..0x20,
        payload in vec(prop_oneof![4 => 0u8..6, 1 => any::<u8>()], 0..120),
    ) {
        let raw = RawFrame::parse(bare(kind, 0, &payload)).expect("the header is sound");
        if let Ok(frame) = raw.decode() {
            let bytes = frame.to_bytes(raw.header()).expect("encodes");
            let back = RawFrame::parse(bytes).expect("parses");
            prop_assert_eq!(back.decode().expect("decodes"), frame);
        }
    }

    #[test]
    fn request_bodies_of_any_bytes_give_lists_of_the_length_they_say(
        bytes in vec(prop_oneof![3 => 0u8..3, 1 => any::<u8>()], 0..60),
    ) {
        if let Ok(users) = Users::decode(&bytes) {
            prop_assert_eq!(users.len(), users.count());
        }
        if let Ok(devices) = Devices::decode(&bytes) {
            prop_assert_eq!(devices.len(), devices.count());
        }
        if let Ok(users) = OnlineUsers::decode(&bytes) {
            prop_assert_eq!(users.len(), users.count());
        }
        let _ = (Online::decode(&bytes).map(Iterator::count), Kick::decode(&bytes), PageQuery::decode(&bytes));
    }
}

/// Looks at all there is to see in a message, and checks that its frames are its bytes up to the error.
fn look_at_all(message: &Bytes) {
    let mut seen = 0;
    for frame in Frames::new(message.clone(), NO_LIMIT) {
        let Ok(frame) = frame else { return };
        assert_eq!(frame.bytes()[..], message[seen..seen + frame.len()]);
        seen += frame.len();
        if let (Ok(decoded), true) = (frame.decode(), frame.is_routed()) {
            assert_eq!(decoded.envelope().copied(), frame.envelope().ok());
        }
        assert!(frame.extensions().map(|(_, value)| value.len() + 3).sum::<usize>() <= frame.len());
        let _ = (frame.payload().len(), frame.sender_time(), frame.again());
    }
    assert_eq!(seen, message.len());
}
