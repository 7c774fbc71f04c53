mod parts;
mod properties;
mod stamp;

use std::{format, string::String, vec, vec::Vec};

use bytes::{Bytes, BytesMut};

use super::{requests::*, *};
use crate::{
    close::CloseReason,
    failure::Failure,
    ids::{DeviceKind, InstanceId},
    login::{CredentialKind, LoginCode, Mode, ResumeSecret, Rights},
};

const SERVER: Address<'static> = Address::Server { instance: 9 };
const ANNA: Address<'static> = engine("anna", 5, 7);

const fn engine(user: &str, device: u8, instance: u64) -> Address<'_> {
    Address::Engine { user, device: DeviceKind(device), instance: InstanceId(instance) }
}

/// A frame with this kind, flags and payload, whatever they are.
fn bare(kind: u8, flags: u8, payload: &[u8]) -> Bytes {
    let length = u32::try_from(payload.len() + 3).expect("small");
    let mut bytes = BytesMut::from(&length.to_le_bytes()[..]);
    bytes.extend_from_slice(&[kind, flags, 0]);
    bytes.extend_from_slice(payload);
    bytes.freeze()
}

fn raw(frame: &Frame<'_>) -> RawFrame {
    RawFrame::parse(frame.to_bytes(Header::default()).expect("encodes")).expect("parses")
}

fn decode_error(bytes: Bytes) -> DecodeError {
    match RawFrame::parse(bytes) {
        Ok(frame) => frame.decode().expect_err("is malformed"),
        Err(error) => error,
    }
}

/// The payload of a good frame, to be spoiled.
fn payload(frame: &Frame<'_>) -> Vec<u8> {
    raw(frame).payload().to_vec()
}

fn a_login() -> Login<'static> {
    Login {
        instance: InstanceId(7),
        attempt: 1,
        interactive: true,
        takes_messages: true,
        device: DeviceKind::COMMAND_LINE,
        heartbeat_ms: 5000,
        login_number: 0,
        user: "anna",
        credential: Credential { kind: CredentialKind::Password, bytes: b"pass-word-1" },
        system_token: b"sys",
        ticket: b"ticket-1",
        resume: Some(Resume { secret: ResumeSecret([0xAB; 16]), received: 3 }),
    }
}

fn a_welcome() -> Welcome<'static> {
    Welcome {
        mode: Mode::Resumed,
        secret: ResumeSecret([0xCD; 16]),
        received: 4,
        login_number: 2,
        server_instance: InstanceId(9),
        rights: Rights::KICK,
        max_frame: 1 << 20,
        window: 1 << 18,
        resume_window_ms: 60_000,
        heartbeat_limit_ms: 30_000,
        max_blob: 64 << 20,
        max_user_id: 64,
        server_time_ms: 0,
        product: "esf 0.1.0",
        ticket: b"ticket-2",
    }
}

#[test]
fn a_send_has_the_bytes_of_the_protocol_text() {
    let envelope = Envelope::new(Address::User { user: "bo" }, ANNA, 0);
    let bytes = Frame::Send { envelope, info_type: 0x0102, body: b"hi" }.to_bytes(Header::default());
    let expected: Vec<u8> = [
        &[36, 0, 0, 0, 0x10, 0, 0][..],
        &[1, 2, b'b', b'o'],
        &[3, 4, b'a', b'n', b'n', b'a', 5, 7, 0, 0, 0, 0, 0, 0, 0],
        &[0; 8],
        &[2, 1, 0, 0, b'h', b'i'],
    ]
    .concat();
    assert_eq!(bytes.expect("encodes")[..], expected);
}

#[test]
fn the_table_of_kinds_agrees_with_its_ranges() {
    for kind in Kind::ALL {
        let row = kind.row();
        assert_eq!(Kind::from_u8(*kind as u8), Some(*kind));
        assert_eq!(row.kind, *kind);
        let routed = kind::is_routed(*kind as u8);
        assert!(routed || !(row.windowed || row.answer || row.may_be_volatile), "{kind:?} is of a hop");
    }
    assert!(Kind::ALL.windows(2).all(|pair| pair[0] < pair[1]));
    let windowed: Vec<_> = Kind::ALL.iter().filter(|kind| kind.is_windowed()).map(|kind| kind.name()).collect();
    assert_eq!(windowed, ["Send", "Certain", "Broadcast", "EngineMessage", "Stored"]);
    assert_eq!([0x00, 0x0F, 0x10, 0x7F, 0x80, 0xFF].map(kind::is_routed), [false, false, true, true, false, false]);
}

#[test]
fn a_length_that_lies_is_refused() {
    let good = bare(0x07, 0, &[1, 0, 0, 0]);
    for length in 0..3u8 {
        let mut bytes = BytesMut::from(&good[..]);
        bytes[0] = length;
        assert_eq!(decode_error(bytes.freeze()), DecodeError::Length { declared: length.into() });
    }
    for (length, error) in [(6, DecodeError::Trailing), (8, DecodeError::Truncated)] {
        let mut bytes = BytesMut::from(&good[..]);
        bytes[0] = length;
        assert_eq!(decode_error(bytes.freeze()), error);
    }
    for len in 0..good.len() {
        assert_eq!(decode_error(good.slice(..len)), DecodeError::Truncated);
    }
}

#[test]
fn a_payload_ends_where_its_layout_ends() {
    for frame in [
        Frame::Login(a_login()),
        Frame::LoginResult(LoginResult::Succeed(a_welcome())),
        Frame::Close { reason: CloseReason::Kicked, text: "bye" },
        Frame::Count { received: 1, taken: 2 },
        Frame::Ack { envelope: Envelope::new(ANNA, SERVER, 1) },
        Frame::Failure { envelope: Envelope::new(ANNA, SERVER, 1), about: 0x11, code: Failure::Busy },
    ] {
        let mut bytes = payload(&frame);
        bytes.push(0);
        assert_eq!(decode_error(bare(frame.kind() as u8, 0, &bytes)), DecodeError::Trailing, "{frame:?}");
        bytes.truncate(bytes.len() - 2);
        assert_eq!(decode_error(bare(frame.kind() as u8, 0, &bytes)), DecodeError::Truncated, "{frame:?}");
    }
}

#[test]
fn another_version_is_told_apart_and_nothing_after_it_is_read() {
    let error = decode_error(bare(0x01, 0, &[2, 0, 0xFF]));
    assert_eq!(error, DecodeError::Version(2));
    assert_eq!(error.close_reason(), CloseReason::VersionMismatched);
}

#[test]
fn a_user_id_that_is_no_text_is_told_apart() {
    let mut bytes = payload(&Frame::Login(a_login()));
    let at = bytes.windows(4).position(|part| part == b"anna").expect("the name");
    bytes[at] = 0xFF;
    let error = decode_error(bare(0x01, 0, &bytes));
    assert_eq!(error, DecodeError::UserId);
    assert_eq!(error.close_reason(), CloseReason::WrongUserId);
}

#[test]
fn values_outside_their_tables_are_refused() {
    let envelope = Envelope::new(ANNA, SERVER, 1);
    let close = payload(&Frame::Close { reason: CloseReason::Internal, text: "" });
    let failure = payload(&Frame::Failure { envelope, about: 0, code: Failure::Internal });
    let refused = payload(&Frame::LoginResult(LoginResult::Refused { result: LoginCode::Failed, cause: "" }));
    for (kind, payload, byte, bad) in [
        (0x05, close, 0, 20),
        (0x17, failure.clone(), failure.len() - 1, 17),
        (0x17, failure.clone(), failure.len() - 1, 0),
        (0x02, refused, 0, 5),
        (0x04, vec![0], 0, 17),
    ] {
        let mut spoiled = payload;
        spoiled[byte] = bad;
        assert_eq!(decode_error(bare(kind, 0, &spoiled)), DecodeError::Value, "kind {kind}");
    }
}

#[test]
fn addresses_are_checked() {
    let rest = [&[0; 9][..], &[0; 8], &[0; 4]].concat();
    for to in [&[5, 1, b'x'][..], &[1, 0], &[2, 0, 5], &[4, 0]] {
        assert_eq!(decode_error(bare(0x10, 0, &[to, &rest].concat())), DecodeError::Address, "{to:?}");
    }
    assert_eq!(decode_error(bare(0x10, 0, &[&[1, 1, 0xFF][..], &rest].concat())), DecodeError::Utf8);
    for from in [Address::User { user: "anna" }, Address::Group { group: "g" }] {
        let frame = Frame::Send { envelope: Envelope::new(SERVER, from, 0), info_type: 0, body: &[] };
        assert_eq!(frame.to_bytes(Header::default()), Err(EncodeError::Address), "from {from:?}");
    }
    for to in [Address::User { user: "anna" }, Address::Group { group: "g" }] {
        let envelope = Envelope::new(to, SERVER, 1);
        assert_eq!(Frame::Ack { envelope }.to_bytes(Header::default()), Err(EncodeError::Address), "to {to:?}");
        let mut bytes = BytesMut::new();
        Frame::Query { envelope, ttl_ms: 0, info_type: 0, body: &[] }
            .encode(Header::default(), &mut bytes)
            .expect("ok");
        bytes[4] = Kind::Ack as u8;
        let frame = RawFrame::parse(bytes.freeze()).expect("the header is sound");
        assert_eq!(frame.envelope(), Err(DecodeError::Address), "to {to:?}");
    }
}

#[test]
fn only_messages_may_be_volatile() {
    for kind in Kind::ALL {
        let parsed = RawFrame::parse(bare(*kind as u8, Flags::VOLATILE.bits(), &[]));
        match kind {
            Kind::Send | Kind::EngineMessage | Kind::Broadcast => {
                let frame = parsed.expect("may be volatile");
                assert!(frame.is_volatile() && !frame.is_counted() && !frame.is_windowed());
            }
            _ => assert_eq!(parsed, Err(DecodeError::Flag), "{kind:?}"),
        }
    }
    // A later version may have others, and one that does not know them can still skip them.
    assert!(RawFrame::parse(bare(0x7F, Flags::VOLATILE.bits(), &[])).is_ok());
    let header = Header::flags(Flags::VOLATILE);
    assert_eq!(Frame::Heartbeat { nonce: 1 }.to_bytes(header), Err(EncodeError::Flag));
}

#[test]
fn unknown_kinds_are_skippable_unless_they_must_be_understood() {
    for (number, error) in
        [(0x7F, DecodeError::Kind(0x7F)), (0x23, DecodeError::Unbuilt(0x23)), (0x80, DecodeError::Kind(0x80))]
    {
        let frame = RawFrame::parse(bare(number, 0, &[])).expect("a sound frame");
        assert_eq!(frame.decode(), Err(error));
        assert!(error.is_skippable());
        let frame = RawFrame::parse(bare(number, Flags::MUST_UNDERSTAND.bits(), &[])).expect("a sound frame");
        let error = frame.decode().expect_err("must be understood");
        assert!(!error.is_skippable());
        assert_eq!(error.close_reason(), CloseReason::Unsupported);
    }
}

#[test]
fn an_unknown_routed_kind_has_an_envelope_to_answer_to() {
    let send = Frame::Send { envelope: Envelope::new(SERVER, ANNA, 77), info_type: 1, body: b"x" };
    let frame = RawFrame::parse(bare(0x7E, 0, &payload(&send))).expect("a sound frame");
    assert_eq!(frame.envelope(), Ok(Envelope::new(SERVER, ANNA, 77)));
    assert!(frame.is_counted() && !frame.is_windowed());
    assert_eq!(RawFrame::parse(bare(0x80, 0, &[])).expect("sound").envelope(), Err(DecodeError::Kind(0x80)));
}

#[test]
fn extensions_are_read_in_order() {
    let frame = Frame::Heartbeat { nonce: 5 };
    let mut bytes = BytesMut::new();
    let time = 1_700_000_000_123u64.to_le_bytes();
    let extensions: [(u8, &[u8]); 3] = [(TAG_SENDER_TIME, &time), (TAG_PRIORITY, &[3]), (200, b"")];
    frame.encode_with(Header::default(), &extensions, &mut bytes).expect("encodes");
    let raw = RawFrame::parse(bytes.freeze()).expect("parses");
    assert_eq!(raw.extensions().collect::<Vec<_>>(), extensions);
    assert_eq!(raw.sender_time(), Some(1_700_000_000_123));
    assert_eq!(raw.decode(), Ok(frame));
    assert!(raw.flags().contains(Flags::EXTENSIONS));
}

#[test]
fn a_known_extension_of_another_length_is_as_if_it_were_not_there() {
    let mut bytes = BytesMut::new();
    let frame = Frame::Heartbeat { nonce: 5 };
    frame.encode_with(Header::default(), &[(TAG_SENDER_TIME, &[1, 2, 3])], &mut bytes).expect("encodes");
    let raw = RawFrame::parse(bytes.freeze()).expect("parses");
    assert_eq!(raw.sender_time(), None);
    assert_eq!(raw.decode(), Ok(frame));
}

#[test]
fn malformed_extensions_are_refused() {
    let blocks: [&[u8]; 7] = [
        &[],
        &[1],
        &[9, 0, 1, 0, 0],
        &[2, 0, 1, 0],
        &[4, 0, 1, 2, 0, 0],
        &[6, 0, 1, 0, 0, 1, 0, 0],
        &[6, 0, 2, 0, 0, 1, 0, 0],
    ];
    for block in blocks {
        let parsed = RawFrame::parse(bare(0x07, Flags::EXTENSIONS.bits(), block));
        assert_eq!(parsed, Err(DecodeError::Extension), "{block:?}");
    }
    let twice: [(u8, &[u8]); 2] = [(1, b""), (1, b"")];
    let mut out = BytesMut::from(&b"before"[..]);
    let frame = Frame::Heartbeat { nonce: 1 };
    assert_eq!(frame.encode_with(Header::default(), &twice, &mut out), Err(EncodeError::Extension));
    let long = vec![0; 65_533];
    assert_eq!(frame.encode_with(Header::default(), &[(1, &long)], &mut out), Err(EncodeError::TooLong));
    assert_eq!(out[..], b"before"[..]);
}

#[test]
fn the_encoder_sets_the_flag_of_extensions_itself() {
    let bytes = Frame::Heartbeat { nonce: 1 }.to_bytes(Header::flags(Flags::EXTENSIONS)).expect("encodes");
    assert!(!RawFrame::parse(bytes).expect("parses").flags().contains(Flags::EXTENSIONS));
}

#[test]
fn what_is_too_long_for_its_field_is_refused_and_leaves_nothing() {
    let long = String::from_utf8(vec![b'x'; 70_000]).expect("text");
    let mut out = BytesMut::from(&b"before"[..]);
    let frames = [
        Frame::Close { reason: CloseReason::Kicked, text: &long },
        Frame::Login(Login { user: &long[..256], ..a_login() }),
        Frame::Login(Login { ticket: &long.as_bytes()[..513], ..a_login() }),
        Frame::LoginResult(LoginResult::Succeed(Welcome { product: &long[..256], ..a_welcome() })),
        Frame::Reply { envelope: Envelope::new(engine(&long[..256], 0, 1), ANNA, 1), body: &[] },
    ];
    for frame in frames {
        assert_eq!(frame.encode(Header::default(), &mut out), Err(EncodeError::TooLong));
        assert_eq!(frame.encoded_len(), usize::MAX);
    }
    let success = Frame::LoginResult(LoginResult::Refused { result: LoginCode::Succeed, cause: "" });
    assert_eq!(success.encode(Header::default(), &mut out), Err(EncodeError::Value));
    assert_eq!(out[..], b"before"[..]);
}

#[test]
fn a_ticket_over_its_limit_is_refused() {
    let login = Login { ticket: &[7; 512], resume: None, ..a_login() };
    let mut bytes = payload(&Frame::Login(login));
    assert_eq!(raw(&Frame::Login(login)).decode(), Ok(Frame::Login(login)));
    let at = bytes.len() - 1 - 512 - 2;
    bytes[at..at + 2].copy_from_slice(&513u16.to_le_bytes());
    bytes.push(0);
    assert_eq!(decode_error(bare(0x01, 0, &bytes)), DecodeError::Value);
}

#[test]
fn secrets_are_not_printed() {
    let login = std::format!("{:?}", Frame::Login(a_login()));
    let welcome = std::format!("{:?}", Frame::LoginResult(LoginResult::Succeed(a_welcome())));
    for text in [login, welcome] {
        assert!(!text.contains("171") && !text.contains("205"), "the resume secret: {text}");
        assert!(!text.contains("112, 97, 115, 115") && !text.contains("116, 105, 99"), "credential or ticket: {text}");
    }
}

#[test]
fn a_resend_differs_in_the_hop_byte_only() {
    let envelope = Envelope::new(Address::User { user: "bo" }, ANNA, 3);
    let frame = Frame::Certain { envelope, ttl_ms: 30_000, info_type: 1, body: b"x" };
    let first = raw(&frame);
    let again = RawFrame::parse(first.again()).expect("parses");
    assert_eq!(again.hop(), Hop::AGAIN);
    assert_eq!(again.decode(), Ok(frame));
    let different: Vec<_> = (0..first.len()).filter(|at| first.bytes()[*at] != again.bytes()[*at]).collect();
    assert_eq!(different, [6]);
}

#[test]
fn a_part_of_a_frame_is_shared_and_anything_else_copied() {
    let frame = raw(&Frame::PreQuery { info_type: 1, body: b"a body" });
    let Ok(Frame::PreQuery { body, .. }) = frame.decode() else { panic!("decodes") };
    assert_eq!(frame.share(body).as_ptr(), body.as_ptr());
    let elsewhere = *b"a body";
    let copy = frame.share(&elsewhere);
    assert_eq!(copy, elsewhere[..]);
    assert_ne!(copy.as_ptr(), elsewhere.as_ptr());
}

#[test]
fn a_small_part_that_is_kept_is_copied_and_a_large_one_shared() {
    for (len, shared) in [(1023, false), (1024, true)] {
        let frame = raw(&Frame::PreQuery { info_type: 1, body: &vec![7; len] });
        let Ok(Frame::PreQuery { body, .. }) = frame.decode() else { panic!("decodes") };
        let kept = frame.keep(body);
        assert_eq!(kept, body);
        assert_eq!(kept.as_ptr() == body.as_ptr(), shared, "{len} bytes");
    }
}

#[test]
fn an_address_tells_its_name() {
    let owned = crate::ids::Engine {
        user: crate::ids::UserId::parse("anna", 64).expect("a name"),
        device: DeviceKind::COMMAND_LINE,
        instance: InstanceId(7),
    };
    assert_eq!(Address::of_engine(&owned), ANNA);
    assert_eq!((ANNA.name(), ANNA.user()), (Some("anna"), Some("anna")));
    let group = Address::Group { group: "team" };
    assert_eq!((group.name(), group.user()), (Some("team"), None));
    assert_eq!((SERVER.name(), SERVER.user()), (None, None));
}

#[test]
fn a_message_has_whole_frames_within_the_limit() {
    let one = Frame::Heartbeat { nonce: 1 }.to_bytes(Header::default()).expect("encodes");
    let both = Bytes::from([&one[..], &one[..]].concat());
    assert_eq!(Frames::new(both.clone(), 11).filter_map(Result::ok).count(), 2);
    let too_large = Some(Err(DecodeError::TooLarge { size: 11, limit: 10 }));
    assert_eq!(Frames::new(both.clone(), 10).next(), too_large);
    for cut in 12..22 {
        let results: Vec<_> = Frames::new(both.slice(..cut), 11).collect();
        assert_eq!(results.len(), 2);
        assert_eq!(results[1], Err(DecodeError::Truncated), "cut at {cut}");
    }
    assert_eq!(Frames::new(Bytes::new(), 11).collect::<Vec<_>>(), [Err(DecodeError::Truncated)]);
}

#[test]
fn a_splitter_refuses_a_large_frame_by_its_length_alone_and_stays_refused() {
    let mut splitter = Splitter::new(100);
    splitter.push(&97u32.to_le_bytes());
    let error = DecodeError::TooLarge { size: 101, limit: 100 };
    assert_eq!(splitter.next_frame(), Err(error));
    splitter.push(&Frame::Heartbeat { nonce: 1 }.to_bytes(Header::default()).expect("encodes"));
    assert_eq!(splitter.next_frame(), Err(error));

    let mut splitter = Splitter::new(100);
    splitter.set_max_frame(101);
    splitter.push(&97u32.to_le_bytes());
    assert_eq!(splitter.next_frame(), Ok(None));
}

#[test]
fn request_bodies_come_back() {
    let mut out = BytesMut::new();
    Users::encode(&["anna", "bo"], &mut out).expect("encodes");
    assert_eq!(Users::decode(&out).expect("decodes").collect::<Vec<_>>(), ["anna", "bo"]);

    let mut out = BytesMut::new();
    Online::encode([true, false], &mut out);
    assert_eq!(Online::decode(&out).expect("decodes").collect::<Vec<_>>(), [true, false]);

    let mut out = BytesMut::new();
    let entry = DeviceEntry { device: DeviceKind::PHONE, instance: InstanceId(5), connected: true };
    Devices::encode(&[entry, DeviceEntry { connected: false, ..entry }], &mut out).expect("encodes");
    let devices: Vec<_> = Devices::decode(&out).expect("decodes").collect();
    assert_eq!(devices, [entry, DeviceEntry { connected: false, ..entry }]);

    let mut out = BytesMut::new();
    PageQuery { limit: 1000 }.encode(&mut out);
    assert_eq!(PageQuery::decode(&out), Ok(PageQuery { limit: 1000 }));

    let mut out = BytesMut::new();
    let users = [OnlineUser::new("anna", &[0, 5]), OnlineUser::new("bo", &[])];
    OnlineUsers::encode(&users, &mut out).expect("encodes");
    let decoded: Vec<_> = OnlineUsers::decode(&out).expect("decodes").collect();
    assert_eq!(decoded, users);
    assert_eq!(decoded[0].devices().collect::<Vec<_>>(), [DeviceKind::DESKTOP, DeviceKind::COMMAND_LINE]);

    let mut out = BytesMut::new();
    Kick { user: "bo" }.encode(&mut out).expect("encodes");
    assert_eq!(Kick::decode(&out), Ok(Kick { user: "bo" }));
    assert_eq!(decode_empty(&[]), Ok(()));
}

#[test]
fn malformed_request_bodies_are_refused() {
    assert_eq!(Users::decode(&[2, 0, 1, b'a']).map(drop), Err(DecodeError::Truncated));
    assert_eq!(Users::decode(&[1, 0, 1, b'a', 0]).map(drop), Err(DecodeError::Trailing));
    assert_eq!(Users::decode(&[1, 0, 0]).map(drop), Err(DecodeError::Address));
    assert_eq!(Users::decode(&[0xE9, 3]).map(drop), Err(DecodeError::Value));
    assert_eq!(Online::decode(&[0, 2]).map(drop), Err(DecodeError::Value));
    assert_eq!(Devices::decode(&[1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2]).map(drop), Err(DecodeError::Value));
    assert_eq!(Devices::decode(&[2]).map(drop), Err(DecodeError::Truncated));
    assert_eq!(PageQuery::decode(&[0xE9, 3]), Err(DecodeError::Value));
    assert_eq!(OnlineUsers::decode(&[1, 0, 1, b'a', 3, 0, 0]).map(drop), Err(DecodeError::Truncated));
    assert_eq!(OnlineUsers::decode(&[0xE9, 3]).map(drop), Err(DecodeError::Value));
    assert_eq!(Kick::decode(&[0]), Err(DecodeError::Address));
    assert_eq!(Kick::decode(&[1, b'a', 0]), Err(DecodeError::Trailing));
    assert_eq!(decode_empty(&[0]), Err(DecodeError::Trailing));
}

#[test]
fn request_bodies_over_their_limit_leave_nothing() {
    let mut out = BytesMut::from(&b"before"[..]);
    let many = vec!["anna"; 1001];
    assert_eq!(Users::encode(&many, &mut out), Err(EncodeError::TooLong));
    assert_eq!(Users::encode(&["anna", ""], &mut out), Err(EncodeError::Address));
    assert_eq!(OnlineUsers::encode(&vec![OnlineUser::new("a", &[]); 1001], &mut out), Err(EncodeError::TooLong));
    assert_eq!(OnlineUsers::encode(&[OnlineUser::new("a", &[0; 256])], &mut out), Err(EncodeError::TooLong));
    let entry = DeviceEntry { device: DeviceKind::PHONE, instance: InstanceId(5), connected: true };
    assert_eq!(Devices::encode(&[entry; 256], &mut out), Err(EncodeError::TooLong));
    assert_eq!(Kick { user: "" }.encode(&mut out), Err(EncodeError::Address));
    assert_eq!(out[..], b"before"[..]);
}

#[test]
fn the_table_of_methods_has_each_number_once() {
    for method in Method::ALL {
        assert_eq!(Method::from_u16(*method as u16), Some(*method));
    }
    let built: Vec<_> = Method::ALL.iter().filter(|method| method.is_built()).map(|method| method.name()).collect();
    assert!(built.len() == Method::ALL.len(), "{built:?}");
    assert_eq!(Method::from_u16(0), None);
}

#[test]
fn a_frame_that_is_a_small_part_of_its_message_does_not_hold_the_message() {
    let frame = |len| bare(0x90, 0, &vec![1; len]);
    let within = |frame: &RawFrame, message: &Bytes| message.as_ptr_range().contains(&frame.bytes().as_ptr());
    for (len, others, shared) in [(2_000, 0, true), (2_000, 5_000, true), (2_000, 7_000, false), (100, 7_000, true)] {
        let message: Bytes = [frame(len), frame(others)].concat().into();
        let frames: Vec<RawFrame> = Frames::new(message.clone(), usize::MAX).map(|frame| frame.unwrap()).collect();
        assert_eq!(frames[0].bytes(), &frame(len));
        assert_eq!(within(&frames[0], &message), shared, "{len} beside {others}");
        assert!(within(&frames[1], &message) || others == 0);
    }
}

#[test]
fn a_route_leads_back_to_the_address_of_its_frame_and_of_no_shorter_one() {
    let forms = [
        Address::Server { instance: 9 },
        Address::User { user: "bob" },
        Address::Device { user: "bob", device: DeviceKind::PHONE },
        Address::Engine { user: "böb", device: DeviceKind::PHONE, instance: InstanceId(7) },
        Address::Group { group: "all" },
    ];
    for to in forms {
        let envelope = Envelope::new(to, ANNA, 5);
        let bytes = Frame::Send { envelope, info_type: 1, body: b"x" }.to_bytes(Header::default()).unwrap();
        let frame = RawFrame::parse(bytes).unwrap();
        let route = Route::of(&frame.envelope().unwrap());
        assert_eq!((frame.address(&route), route.id), (Some(to), 5));
        let other = RawFrame::parse(Frame::Count { received: 0, taken: 0 }.to_bytes(Header::default()).unwrap());
        let long = Route::of(&Envelope::new(Address::User { user: &"a".repeat(200) }, ANNA, 0));
        assert_eq!(other.unwrap().address(&long), None);
    }
}

#[test]
fn what_is_printed_of_a_frame_and_of_what_cuts_them_has_no_payload() {
    let envelope = Envelope::new(Address::User { user: "ann" }, Address::Server { instance: 1 }, 0);
    let bytes = Frame::Send { envelope, info_type: 1, body: b"hunter2" }.to_bytes(Header::default()).expect("a frame");
    let mut splitter = Splitter::new(1 << 20);
    splitter.push(&bytes);
    let frame = RawFrame::parse(bytes.clone()).expect("a frame");
    for printed in [format!("{frame:?}"), format!("{:?}", Frames::new(bytes, 1 << 20)), format!("{splitter:?}")] {
        assert!(!printed.contains("hunter2") && !printed.contains("104, 117, 110"), "{printed}");
    }
    assert!(format!("{frame:?}").contains("kind: 0x10"));
}
