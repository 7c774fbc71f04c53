//! Bytes as frames, and frames as bytes.

use bytes::{Bytes, BytesMut};
use esf_proto::wire::{
    DecodeError, Flags, Frame, Frames, Hop, RawFrame, Splitter,
    requests::{Devices, Kick, Online, OnlineUsers, PageQuery, Users},
};

use super::{
    Input,
    frames::{Cast, encoded},
};
use crate::vectors::JsonFrame;

const LIMIT: usize = 1 << 20;

/// Looking at a message allocates what its own bytes take a few times over, and nothing that a length field asks for.
pub(super) const fn may_allocate(len: usize) -> usize {
    64 * 1024 + 256 * len
}

/// Any bytes as a message, as a stream and as the body of a request: they give frames and then an error, the frames are
/// their bytes, one after the other, and however a stream is cut it gives the same.
///
/// # Panics
/// If one of that is not so.
pub fn wire_decode(data: &[u8]) {
    look_at_as_bodies(data);
    if data.is_empty() {
        return;
    }
    let mut message = Bytes::copy_from_slice(data);
    let mut frames = Vec::new();
    let mut error = None;
    for frame in Frames::new(message.clone(), LIMIT) {
        match frame {
            Ok(frame) => {
                assert_eq!(frame.bytes()[..], message.split_to(frame.len())[..], "a frame is its bytes");
                look_at(&frame);
                frames.push(frame);
            }
            Err(why) => error = Some(why),
        }
    }
    assert_eq!(error.is_none(), message.is_empty(), "bytes are left over, or were made up");
    cut_as_a_stream(data, &frames, error);
}

fn look_at(frame: &RawFrame) {
    let extensions: Vec<_> = frame.extensions().collect();
    assert!(extensions.windows(2).all(|pair| pair[0].0 < pair[1].0), "tags ascend");
    let behind = 7 + if frame.flags().contains(Flags::EXTENSIONS) { 2 } else { 0 };
    let extended: usize = extensions.iter().map(|(_, value)| 3 + value.len()).sum();
    assert_eq!(behind + extended + frame.payload().len(), frame.len(), "every byte belongs somewhere");
    match frame.decode() {
        Ok(decoded) => {
            assert_eq!(Some(decoded.kind()), frame.kind());
            assert_eq!(decoded.envelope().is_some(), frame.is_routed());
            if frame.is_routed() {
                assert_eq!(decoded.envelope().copied(), frame.envelope().ok());
            }
        }
        Err(error) => {
            assert!(!error.is_skippable() || !frame.must_understand(), "what must be understood is not skipped");
        }
    }
    let again = RawFrame::parse(frame.again()).expect("a resend is a frame");
    assert_eq!(again.decode(), frame.decode());
    assert_eq!(again.hop(), frame.hop().with(Hop::AGAIN));
}

/// The same bytes in pieces, whose lengths are the bytes themselves.
fn cut_as_a_stream(data: &[u8], frames: &[RawFrame], error: Option<DecodeError>) {
    let mut splitter = Splitter::new(LIMIT);
    let (mut left, mut at, mut pulled, mut failed) = (data, 0, 0, None);
    while !left.is_empty() && failed.is_none() {
        let (piece, rest) = left.split_at(left.len().min(1 + usize::from(data[at % data.len()]) % 64));
        splitter.push(piece);
        loop {
            match splitter.next_frame() {
                Ok(Some(frame)) => {
                    assert_eq!(Some(&frame), frames.get(pulled), "a stream gives what a message gives");
                    pulled += 1;
                }
                Ok(None) => break,
                Err(why) => {
                    assert_eq!(splitter.next_frame(), Err(why), "a broken stream stays broken");
                    failed = Some(why);
                    break;
                }
            }
        }
        (left, at) = (rest, at + 1);
    }
    assert_eq!(pulled, frames.len());
    // A stream waits where a message is short.
    assert_eq!(failed, error.filter(|error| *error != DecodeError::Truncated || failed.is_some()));
}

fn look_at_as_bodies(data: &[u8]) {
    if let Ok(users) = Users::decode(data) {
        assert_eq!(users.len(), users.clone().count());
        let (names, mut out): (Vec<&str>, _) = (users.collect(), BytesMut::new());
        Users::encode(&names, &mut out).expect("what was read can be written");
        assert_eq!(out[..], *data);
    }
    if let Ok(devices) = Devices::decode(data) {
        let (entries, mut out): (Vec<_>, _) = (devices.collect(), BytesMut::new());
        Devices::encode(&entries, &mut out).expect("what was read can be written");
        assert_eq!(out[..], *data);
    }
    if let Ok(users) = OnlineUsers::decode(data) {
        let (users, mut out): (Vec<_>, _) = (users.collect(), BytesMut::new());
        OnlineUsers::encode(&users, &mut out).expect("what was read can be written");
        assert_eq!(out[..], *data);
    }
    if let Ok(online) = Online::decode(data) {
        assert_eq!(online.count(), data.len());
    }
    if let Ok(kick) = Kick::decode(data) {
        assert_eq!(data.len(), 1 + kick.user.len());
    }
    if let Ok(query) = PageQuery::decode(data) {
        assert_eq!(query.limit.to_le_bytes()[..], *data);
    }
}

/// Frames that the input decides, to bytes and back, also as JSON; and what is read of any bytes, written again.
///
/// # Panics
/// If something is lost or changed on the way.
pub fn wire_round_trip(data: &[u8]) {
    let mut input = Input::new(data);
    if input.flag() {
        let message = Bytes::copy_from_slice(input.rest());
        Frames::new(message, LIMIT).filter_map(Result::ok).for_each(|frame| written_again(&frame));
        return;
    }
    let cast = Cast::default();
    while !input.is_over() {
        let frame = cast.frame(&mut input);
        if let Some(bytes) = encoded(&frame, &mut input) {
            comes_back(&frame, &bytes.freeze());
        }
    }
}

fn comes_back(frame: &Frame<'_>, bytes: &Bytes) {
    let raw = RawFrame::parse(bytes.clone()).expect("what was encoded parses");
    assert_eq!(raw.decode().as_ref(), Ok(frame));
    let extended = bytes.len() - frame.encoded_len();
    assert_eq!(extended > 0, raw.flags().contains(Flags::EXTENSIONS));
    let json = JsonFrame::decode(&raw).expect("what decodes has its JSON");
    let text = serde_json::to_string(&json).expect("JSON");
    let json: JsonFrame = serde_json::from_str(&text).expect("the same frame");
    let mut again = BytesMut::new();
    json.encode(&mut again);
    assert_eq!(again, *bytes, "{text}");
}

/// What a frame says can be said again, in no more bytes, and says the same.
fn written_again(raw: &RawFrame) {
    let Ok(frame) = raw.decode() else { return };
    let extensions: Vec<_> = raw.extensions().collect();
    let mut out = BytesMut::new();
    frame.encode_with(raw.header(), &extensions, &mut out).expect("what was read can be written");
    assert!(out.len() <= raw.len());
    let again = RawFrame::parse(out.freeze()).expect("what was encoded parses");
    assert_eq!(again.decode().as_ref(), Ok(&frame));
    assert_eq!(again.extensions().collect::<Vec<_>>(), extensions);
    let flags = |frame: &RawFrame| frame.flags().without(Flags::EXTENSIONS);
    assert_eq!((flags(&again), again.hop()), (flags(raw), raw.hop()));
}
