//! Frames that no encoder makes: honest bytes with something wrong in them.

use bytes::{BufMut, Bytes, BytesMut};
use esf_proto::{
    close::CloseReason,
    ids::InstanceId,
    login::{Mode, ResumeSecret, Rights},
    wire::{Flags, Frame, HEADER_LEN, Header, LoginResult, Welcome},
};

/// The bytes of a frame.
///
/// # Panics
/// If it cannot be encoded.
#[must_use]
pub fn bytes_of(frame: &Frame<'_>) -> Bytes {
    frame.to_bytes(Header::default()).expect("a frame")
}

/// The bytes of a frame with these flags.
///
/// # Panics
/// If it cannot be encoded.
#[must_use]
pub fn flagged(frame: &Frame<'_>, flags: Flags) -> Bytes {
    frame.to_bytes(Header::flags(flags)).expect("a frame")
}

/// A welcome with the limits that a server has by default.
#[must_use]
pub fn welcome(mode: Mode) -> Frame<'static> {
    Frame::LoginResult(LoginResult::Succeed(Welcome {
        mode,
        secret: ResumeSecret([3; 16]),
        received: 0,
        login_number: 1,
        server_instance: InstanceId(900),
        rights: Rights::NONE,
        max_frame: 1 << 20,
        window: 256 << 10,
        resume_window_ms: 60_000,
        heartbeat_limit_ms: 30_000,
        max_blob: 0,
        max_user_id: 64,
        server_time_ms: 0,
        product: "",
        ticket: b"",
    }))
}

/// A frame of any kind with any payload.
#[must_use]
pub fn frame_of(kind: u8, flags: u8, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u32_le(length(3 + payload.len()));
    out.put_slice(&[kind, flags, 0]);
    out.put_slice(payload);
    out.freeze()
}

/// The same frame as another kind and with more flags: its payload stays.
#[must_use]
pub fn disguised(frame: &[u8], kind: u8, flags: u8) -> Bytes {
    let mut out = BytesMut::from(frame);
    out[4] = kind;
    out[5] |= flags;
    out.freeze()
}

/// The same bytes with another number in the length field.
#[must_use]
pub fn lying(frame: &[u8], length: u32) -> Bytes {
    let mut out = BytesMut::from(frame);
    out[..4].copy_from_slice(&length.to_le_bytes());
    out.freeze()
}

/// What the length field of a frame says.
#[must_use]
pub fn length_of(frame: &[u8]) -> u32 {
    u32::from_le_bytes([frame[0], frame[1], frame[2], frame[3]])
}

/// The same frame with `more` at its end, and the length that is right for it.
#[must_use]
pub fn with_tail(frame: &[u8], more: &[u8]) -> Bytes {
    lying(&[frame, more].concat(), length(frame.len() + more.len() - 4))
}

/// The same frame without its last `bytes`, and the length that is right for it.
#[must_use]
pub fn without_tail(frame: &[u8], bytes: usize) -> Bytes {
    let kept = &frame[..frame.len() - bytes];
    lying(kept, length(kept.len() - 4))
}

/// The same frame with `extensions` before its payload, whose length is stated as `stated`.
#[must_use]
pub fn extended(frame: &[u8], stated: u16, extensions: &[u8]) -> Bytes {
    let (header, payload) = frame.split_at(HEADER_LEN);
    let whole = [header, &stated.to_le_bytes(), extensions, payload].concat();
    let whole = disguised(&whole, frame[4], Flags::EXTENSIONS.bits());
    lying(&whole, length(whole.len() - 4))
}

/// One extension: tag, length, value.
#[must_use]
pub fn extension(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    out.put_u16_le(u16::try_from(value.len()).expect("a short value"));
    out.extend(value);
    out
}

/// The same bytes with the first occurrence of `part` replaced by as many others.
///
/// # Panics
/// If `part` is not there, or has another length.
#[must_use]
pub fn replaced(frame: &[u8], part: &[u8], by: &[u8]) -> Bytes {
    assert_eq!(part.len(), by.len());
    let at = frame.windows(part.len()).position(|window| window == part).expect("the part");
    let mut out = BytesMut::from(frame);
    out[at..at + part.len()].copy_from_slice(by);
    out.freeze()
}

/// Bytes that are wrong whatever was sent before.
#[must_use]
pub fn no_frames() -> Vec<(&'static str, Bytes, CloseReason)> {
    let beat = bytes_of(&Frame::Heartbeat { nonce: 1 });
    let len = length_of(&beat);
    vec![
        ("an empty message", Bytes::new(), CloseReason::InvalidMessage),
        ("one byte", Bytes::from_static(&[7]), CloseReason::InvalidMessage),
        ("half a length field", beat.slice(..2), CloseReason::InvalidMessage),
        ("a length field alone", beat.slice(..4), CloseReason::InvalidMessage),
        ("half a header", beat.slice(..6), CloseReason::InvalidMessage),
        ("a frame without its last byte", beat.slice(..beat.len() - 1), CloseReason::InvalidMessage),
        ("a length of 0", lying(&beat, 0), CloseReason::InvalidMessage),
        ("a length of 2, shorter than the header", lying(&beat, 2), CloseReason::InvalidMessage),
        ("a length that is one too large", lying(&beat, len + 1), CloseReason::InvalidMessage),
        ("a length that is one too small", lying(&beat, len - 1), CloseReason::InvalidMessage),
        ("the largest length", lying(&beat, u32::MAX), CloseReason::TooLarge),
        ("an HTTP request", Bytes::from_static(b"GET / HTTP/1.1\r\n\r\n"), CloseReason::TooLarge),
    ]
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a length")
}
