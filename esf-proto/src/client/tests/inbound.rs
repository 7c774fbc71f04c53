//! What others send: messages, certain ones, queries, answers, and what is none of them.

use super::harness::*;
use crate::{
    client::{Config, Event, IncomingQuery, Message, MessageKind, QueryToken, Session, State},
    close::CloseReason,
    failure::Failure,
    ids::{DeviceKind, Engine, InstanceId, MessageId, Source, To, UserId},
    time::UnixMillis,
    wire::{Address, Envelope, Flags, Frame, Header, Hop, Kind, Method, TAG_SENDER_TIME},
};
use bytes::{Bytes, BytesMut};
use std::{vec, vec::Vec};

fn bob() -> Source {
    Source::Engine(Engine { user: user("bob"), device: DeviceKind::PHONE, instance: InstanceId(8) })
}

/// One frame with any header.
fn with_header(frame: &Frame<'_>, header: Header) -> Bytes {
    frame.to_bytes(header).unwrap()
}

/// A frame of any kind that has an envelope to the client and nothing else.
fn of_kind(kind: u8, flags: Flags) -> Bytes {
    let mut bytes = BytesMut::from(&with_header(&ack(1), Header::flags(flags))[..]);
    bytes[4] = kind;
    bytes.freeze()
}

fn tokens(hand: &mut Hand) -> Vec<QueryToken> {
    hand.events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Query(query) => Some(query.token),
            _ => None,
        })
        .collect()
}

#[test]
fn messages_come_in_order_with_source_id_and_time() {
    let mut hand = Hand::online();
    let mut out = BytesMut::new();
    let time = 77u64.to_le_bytes();
    information("timed").encode_with(Header::default(), &[(TAG_SENDER_TIME, &time)], &mut out).unwrap();
    hand.give_bytes(out.freeze());
    hand.give(&[
        certain(3),
        Frame::EngineMessage { envelope: from(SERVER, 0), info_type: 4, tag: "tag", body: b"engine" },
    ]);
    let plain = |source, kind, info_type, text| Message {
        source,
        kind,
        info_type,
        body: body(text),
        id: None,
        sent_at: None,
        echo_of: None,
        stored: None,
    };
    assert_eq!(
        hand.messages(),
        [
            Message { sent_at: Some(UnixMillis(77)), ..plain(bob(), MessageKind::Information, 1, "timed") },
            Message { id: Some(MessageId(3)), ..plain(bob(), MessageKind::Information, 1, "certain") },
            plain(Source::Server(InstanceId(900)), MessageKind::EngineMessage { tag: "tag".into() }, 4, "engine"),
        ]
    );
}

#[test]
fn a_certain_message_is_acknowledged_to_its_sender_before_it_is_taken() {
    let mut hand = Hand::online();
    hand.give(&[certain(3)]);
    let sent = hand.sent();
    assert_eq!(sent[0].decode(), Ok(Frame::Ack { envelope: Envelope::new(BOB, ANN, 3) }));
    assert_eq!(sent.len(), 1);
    assert_eq!(hand.messages().len(), 1);
}

#[test]
fn a_certain_message_runs_once_whoever_sends_it_again() {
    let mut hand = Hand::online();
    hand.give(&[certain(3), certain(5)]);
    hand.give_again(&certain(3));
    hand.give_again(&certain(5));
    hand.give_again(&certain(4));
    let mut server = certain(3);
    if let Frame::Certain { envelope, .. } = &mut server {
        envelope.from = SERVER;
    }
    hand.give(&[server]);
    assert_eq!(hand.messages().len(), 3, "3 and 5 of bob, 3 of the server");
    let sent = hand.sent();
    assert_eq!(kinds(&sent), [Kind::Ack, Kind::Ack, Kind::Ack, Kind::Ack, Kind::Failure, Kind::Ack]);
    assert_eq!(
        sent[4].decode(),
        Ok(Frame::Failure {
            envelope: Envelope::new(BOB, ANN, 4),
            about: Kind::Certain as u8,
            code: Failure::ConnectionLost
        })
    );
    assert_eq!(sent[5].envelope().unwrap().to, SERVER);
}

#[test]
fn what_is_taken_is_told_in_bytes_and_duplicates_are_taken_at_once() {
    let mut hand = Hand::online();
    hand.give(&[certain(1)]);
    let len = u32::try_from(message(&[certain(1)]).len()).unwrap();
    hand.sent();
    hand.pass(ms(100));
    assert_eq!(hand.sent()[0].decode(), Ok(Frame::Count { received: 1, taken: 0 }));
    hand.messages();
    hand.give_again(&certain(1));
    hand.sent();
    hand.pass(ms(100));
    assert_eq!(hand.sent()[0].decode(), Ok(Frame::Count { received: 2, taken: 2 * len }));
}

#[test]
fn a_slow_handler_stops_neither_acks_nor_answers_nor_heartbeats() {
    let mut hand = Hand::online();
    let id = hand.ask();
    hand.sent();
    let window = 256 << 10;
    let (mut held, mut number) = (0, 0);
    loop {
        number += 1;
        let next = message(&[certain(number)]);
        if held + next.len() > window {
            break;
        }
        held += next.len();
        hand.give_bytes(next);
    }
    assert_eq!(hand.session.state(), State::Online, "a whole window fits though nobody takes a thing");
    hand.give(&[query(1), Frame::Reply { envelope: from(BOB, id.0), body: b"answer" }]);
    let events = hand.events();
    assert!(matches!(&events[..], [Event::Query(_), Event::Replied { .. }]), "{events:?}");
    let sent = hand.sent();
    assert_eq!(sent.iter().filter(|frame| frame.kind() == Some(Kind::Ack)).count() as u64, number - 1);
    hand.pass(secs(5));
    assert!(hand.sent_kinds().contains(&Kind::Heartbeat));
    assert_eq!(hand.messages().len() as u64, number - 1);
}

#[test]
fn a_server_that_sends_beyond_the_window_is_cut_off() {
    let mut hand = Hand::online();
    let large = vec![0; 200 << 10];
    let frame = Frame::Send { envelope: from(BOB, 0), info_type: 1, body: &large };
    hand.give(&[frame]);
    hand.give(&[frame]);
    assert_eq!(hand.session.state(), State::Closed(CloseReason::InvalidMessage));
    // One frame of any permitted size is allowed when nothing is out.
    let mut hand = Hand::online();
    let huge = vec![0; 900 << 10];
    hand.give(&[Frame::Send { envelope: from(BOB, 0), info_type: 1, body: &huge }]);
    assert_eq!(hand.messages().len(), 1);
}

#[test]
fn windows_of_many_sessions_that_nobody_takes_do_not_pile_up() {
    let mut hand = Hand::online();
    let large = vec![0; 250 << 10];
    let frame = Frame::Send { envelope: from(BOB, 0), info_type: 1, body: &large };
    let mut sessions = 0;
    loop {
        hand.give(&[frame]);
        if hand.session.stats().overflows > 0 {
            break;
        }
        sessions += 1;
        assert!(sessions < 10);
        hand.reconnect();
        hand.give(&[fresh()]);
        hand.sent();
    }
    assert!(sessions >= 3);
    assert!(matches!(hand.session.state(), State::Waiting { .. }), "it may come back");
    let before = hand.session.waiting_messages();
    hand.sent();
    hand.await_link();
    hand.session.handle_connected(hand.now, hand.link);
    let sent = hand.sent();
    let Ok(Frame::Login(login)) = sent[0].decode() else { panic!("no login") };
    assert_eq!(login.resume.unwrap().received, 0, "the frame without room was not counted");
    assert_eq!(hand.messages().len(), before);
}

#[test]
fn volatile_messages_are_dropped_where_nobody_takes_them() {
    let mut config = Config::new(user("ann"));
    config.queue = 300;
    let mut hand = Hand::with(config).log_in();
    let volatile = with_header(&information("typing"), Header::flags(Flags::VOLATILE));
    for _ in 0..100 {
        hand.give_bytes(volatile.clone());
    }
    let held = hand.messages().len();
    assert_eq!(held, 300 / volatile.len());
    assert_eq!(hand.session.stats().volatile_dropped_in, 100 - held as u64);
    hand.give_bytes(volatile);
    assert_eq!(hand.messages().len(), 1, "what is taken makes room");
    hand.pass(secs(1));
    assert_eq!(hand.sent_kinds(), [], "they are not counted");
}

#[test]
fn queries_are_handed_over_and_answered_by_token_once() {
    let mut hand = Hand::online();
    hand.give(&[query(5), query(6), query(7)]);
    let events = hand.events();
    assert_eq!(
        events[0],
        Event::Query(IncomingQuery {
            token: QueryToken(1),
            source: bob(),
            info_type: 2,
            body: body("question"),
            sent_at: None
        })
    );
    hand.session.reply(hand.now, QueryToken(2), Ok(body("six")));
    hand.session.reply(hand.now, QueryToken(1), Err(Failure::HandlerFailed));
    hand.session.reply(hand.now, QueryToken(1), Ok(body("twice")));
    hand.session.reply(hand.now, QueryToken(99), Ok(body("never asked")));
    let sent = hand.sent();
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0].decode(), Ok(Frame::Reply { envelope: Envelope::new(BOB, ANN, 6), body: b"six" }));
    assert_eq!(
        sent[1].decode(),
        Ok(Frame::Failure {
            envelope: Envelope::new(BOB, ANN, 5),
            about: Kind::Query as u8,
            code: Failure::HandlerFailed
        })
    );
    assert_eq!((hand.session.open_queries(), hand.session.stats().replies_unasked), (1, 2));
}

#[test]
fn more_than_256_open_queries_are_refused_as_busy() {
    let mut hand = Hand::online();
    for id in 1..=257 {
        hand.give(&[query(id)]);
    }
    let sent = hand.sent();
    assert_eq!(kinds(&sent), [Kind::Count, Kind::Failure]);
    assert!(matches!(sent[1].decode(), Ok(Frame::Failure { envelope, code: Failure::Busy, .. }) if envelope.id == 257));
    let tokens = tokens(&mut hand);
    assert_eq!(tokens.len(), 256);
    hand.session.reply(hand.now, tokens[0], Ok(Bytes::new()));
    hand.give(&[query(258)]);
    assert_eq!(super::inbound::tokens(&mut hand).len(), 1);
    assert_eq!(hand.session.stats().queries_refused, 1);
}

#[test]
fn more_than_256_kib_of_open_queries_are_refused_as_busy() {
    let mut hand = Hand::online();
    let large = vec![0; 100 << 10];
    for id in 1..=3 {
        hand.give(&[Frame::Query { envelope: from(BOB, id), ttl_ms: 9_000, info_type: 1, body: &large }]);
    }
    assert_eq!(tokens(&mut hand).len(), 2);
    let sent = hand.sent();
    assert!(matches!(sent[1].decode(), Ok(Frame::Failure { code: Failure::Busy, .. })));
}

#[test]
fn a_query_that_is_never_answered_holds_its_place_only_as_long_as_its_asker_waits() {
    let mut hand = Hand::online();
    hand.give(&[query(1)]);
    let tokens = tokens(&mut hand);
    for _ in 0..6 {
        hand.pass(secs(5));
        hand.give(&[Frame::HeartbeatAck { nonce: 1 }]);
    }
    assert_eq!((hand.session.open_queries(), hand.session.stats().queries_expired), (0, 1));
    hand.sent();
    hand.session.reply(hand.now, tokens[0], Ok(Bytes::new()));
    assert_eq!(hand.sent_kinds(), []);
}

#[test]
fn a_query_without_time_left_is_not_handed_over() {
    let mut hand = Hand::online();
    hand.give(&[Frame::Query { envelope: from(BOB, 1), ttl_ms: 0, info_type: 1, body: b"" }]);
    assert_eq!(tokens(&mut hand), []);
    assert!(matches!(hand.sent()[0].decode(), Ok(Frame::Failure { code: Failure::TimedOut, .. })));
}

#[test]
fn a_ping_is_answered_by_itself_and_other_requests_are_not_supported() {
    let mut hand = Hand::online();
    for method in [Method::Ping as u16, Method::Kick as u16, 999] {
        let envelope = from(BOB, method.into());
        hand.give(&[Frame::Request { envelope, ttl_ms: 9, method, cursor: b"", body: b"" }]);
    }
    let sent = hand.sent();
    let statuses: Vec<_> = sent
        .iter()
        .map(|frame| match frame.decode() {
            Ok(Frame::Response { envelope, status, .. }) => (envelope.to, envelope.id, status),
            other => panic!("{other:?}"),
        })
        .collect();
    let unsupported = Err(Failure::Unsupported);
    assert_eq!(statuses, [(BOB, 1, Ok(())), (BOB, 5, unsupported), (BOB, 999, unsupported)]);
}

#[test]
fn an_answer_counts_only_from_whom_it_was_asked() {
    let other_device = Address::Engine { user: "bob", device: DeviceKind::BROWSER, instance: InstanceId(8) };
    let eve = Address::Engine { user: "eve", device: DeviceKind::PHONE, instance: InstanceId(8) };
    let mut hand = Hand::online();
    let device = To::Device(user("bob"), DeviceKind::PHONE);
    let id = hand.session.send_certainly(hand.now, &device, 1, body("x"), None).unwrap().0;
    let asked = hand.ask().0;
    let pinged = hand.session.ping(hand.now, &To::Server).unwrap().0;
    hand.sent();
    let ack_of = |source, id| Frame::Ack { envelope: from(source, id) };
    let strangers = [
        ack_of(eve, id),
        ack_of(SERVER, id),
        ack_of(other_device, id),
        ack_of(BOB, asked),
        ack_of(BOB, 99),
        Frame::Reply { envelope: from(eve, asked), body: b"" },
        Frame::Reply { envelope: from(BOB, id), body: b"" },
        Frame::Failure { envelope: from(eve, id), about: Kind::Certain as u8, code: Failure::Offline },
        Frame::Failure { envelope: from(BOB, id), about: Kind::Query as u8, code: Failure::Offline },
        Frame::Failure { envelope: from(BOB, id), about: 0xEE, code: Failure::Offline },
        Frame::Response { envelope: from(BOB, pinged), status: Ok(()), cursor: b"", body: b"" },
    ];
    hand.give(&strangers);
    assert_eq!(hand.events(), []);
    assert_eq!(hand.session.stats().answers_unasked, strangers.len() as u64);
    assert_eq!(hand.session.state(), State::Online);
    // Any instance of the device that was asked may answer, and the server may fail what it likes.
    let later_life = Address::Engine { user: "bob", device: DeviceKind::PHONE, instance: InstanceId(99) };
    hand.give(&[
        ack_of(later_life, id),
        failure(Kind::Query, asked, Failure::Offline),
        Frame::Response { envelope: from(SERVER, pinged), status: Ok(()), cursor: b"c", body: b"b" },
    ]);
    assert_eq!(hand.outcomes(), [(id, "acked"), (asked, "offline"), (pinged, "responded")]);
}

#[test]
fn a_server_may_refuse_what_was_asked_of_somebody_else_but_not_answer_it() {
    let mut hand = Hand::online();
    let ids: Vec<u64> = (0..2).map(|_| hand.session.ping(hand.now, &to_bob()).unwrap().0).collect();
    hand.sent();
    let response = |id, status| Frame::Response { envelope: from(SERVER, id), status, cursor: b"", body: b"" };
    hand.give(&[response(ids[0], Ok(())), response(ids[1], Err(Failure::NotAllowed))]);
    assert_eq!(hand.outcomes(), [(ids[1], "responded")]);
}

#[test]
fn failures_of_plain_sends_count_from_the_server_only() {
    let mut hand = Hand::online();
    let about = Kind::EngineMessage as u8;
    hand.give(&[
        Frame::Failure { envelope: from(BOB, 6), about, code: Failure::Offline },
        Frame::Failure { envelope: from(SERVER, 6), about, code: Failure::Busy },
    ]);
    assert_eq!(hand.events(), [Event::Undeliverable { note: 6, failure: Failure::Busy }]);
}

#[test]
#[cfg_attr(miri, ignore = "counts too far for an interpreter")]
fn a_server_cannot_fill_memory_with_failures_that_nobody_reads() {
    let mut hand = Hand::online();
    for note in 0..10_000 {
        hand.give(&[failure(Kind::Send, note, Failure::Offline)]);
    }
    let told = hand.events().len();
    assert!(told <= 4_096, "{told}");
    assert_eq!(hand.session.stats().events_dropped, 10_000 - told as u64);
}

#[test]
fn what_is_for_another_engine_is_counted_and_ignored() {
    let mut hand = Hand::online();
    let to = [
        Address::Engine { user: "ann", device: DeviceKind::SERVICE, instance: InstanceId(6) },
        Address::Engine { user: "ann", device: DeviceKind::PHONE, instance: InstanceId(7) },
        Address::Device { user: "ann", device: DeviceKind::PHONE },
        Address::User { user: "eve" },
        Address::Server { instance: 0 },
    ];
    for to in to {
        let envelope = Envelope::new(to, BOB, 1);
        hand.give(&[Frame::Certain { envelope, ttl_ms: 9, info_type: 1, body: b"" }]);
    }
    assert_eq!((hand.sent_kinds(), hand.messages()), (vec![], vec![]));
    assert_eq!(hand.session.stats().misaddressed, to.len() as u64);
    for to in [Address::User { user: "ann" }, Address::Device { user: "ann", device: DeviceKind::SERVICE }, ANN] {
        hand.give(&[Frame::Send { envelope: Envelope::new(to, BOB, 0), info_type: 1, body: b"" }]);
    }
    assert_eq!(hand.messages().len(), 3);
    // All of it is counted and taken, or the window would shut for ever.
    hand.pass(ms(100));
    let sent = hand.sent();
    assert!(matches!(sent[0].decode(), Ok(Frame::Count { received: 8, taken }) if taken > 0));
}

#[test]
fn a_copy_of_what_another_device_sent_is_for_this_one_too() {
    let mut hand = Hand::online();
    let own = Address::Engine { user: "ann", device: DeviceKind::PHONE, instance: InstanceId(1) };
    let to_bob = |source| Frame::EngineMessage {
        envelope: Envelope::new(Address::User { user: "bob" }, source, 0),
        info_type: 1,
        tag: "chat",
        body: b"hello",
    };
    let echo = Header::flags(Flags::ECHO);
    hand.give_bytes(with_header(&to_bob(own), echo));
    hand.give_bytes(with_header(&to_bob(BOB), echo));
    hand.give(&[to_bob(own)]);
    let bob = To::User(UserId::parse("bob", 64).expect("a name"));
    let echoes: Vec<Option<To>> = hand.messages().into_iter().map(|message| message.echo_of).collect();
    assert_eq!(echoes, [Some(bob)], "only the echo of an own device, which says to whom it went");
    assert_eq!(hand.session.stats().misaddressed, 2);
}

#[test]
fn a_copy_says_to_whom_the_message_went_in_every_form_of_address() {
    let mut hand = Hand::online();
    let own = Address::Engine { user: "ann", device: DeviceKind::PHONE, instance: InstanceId(1) };
    let bob = UserId::parse("bob", 64).expect("a name");
    let forms = [
        (Address::Server { instance: 0 }, Some(To::Server)),
        (Address::User { user: "bob" }, Some(To::User(bob.clone()))),
        (Address::Device { user: "bob", device: DeviceKind::PHONE }, Some(To::Device(bob.clone(), DeviceKind::PHONE))),
        (BOB, Some(To::Device(bob, DeviceKind::PHONE))),
        (Address::Group { group: "all" }, None),
        (Address::User { user: "ann" }, None),
    ];
    for (to, told) in forms {
        let envelope = Envelope::new(to, own, 0);
        let frame = Frame::EngineMessage { envelope, info_type: 1, tag: "chat", body: b"hello" };
        hand.give_bytes(with_header(&frame, Header::flags(Flags::ECHO)));
        let echoes: Vec<Option<To>> = hand.messages().into_iter().map(|message| message.echo_of).collect();
        assert_eq!(echoes, [told], "{to:?}");
    }
}

#[test]
fn unknown_kinds_are_skipped_or_close_the_link_as_their_flag_says() {
    let mut hand = Hand::online();
    // Routed ones are counted, those of a hop are not; kinds that have a number and are not built likewise.
    for kind in [0x7F, Kind::BlobState as u8, 0x0F, 0xFF, 0x0C] {
        hand.give_bytes(of_kind(kind, Flags::NONE));
    }
    assert_eq!(hand.session.stats().skipped, 5);
    hand.pass(ms(100));
    assert_eq!(hand.sent()[0].decode(), Ok(Frame::Count { received: 2, taken: 0 }));
    for kind in [0x7F, Kind::BlobState as u8, 0x0F, 0xFF] {
        let mut hand = Hand::online();
        hand.give_bytes(of_kind(kind, Flags::MUST_UNDERSTAND));
        assert_eq!(hand.session.state(), State::Closed(CloseReason::Unsupported), "{kind}");
    }
}

#[test]
fn what_another_user_wrote_closes_nothing() {
    let mut hand = Hand::online();
    // An engine's message whose tag is longer than the frame.
    let mut bytes = BytesMut::from(
        &with_header(
            &Frame::EngineMessage { envelope: from(BOB, 0), info_type: 1, tag: "", body: b"" },
            Header::flags(Flags::MUST_UNDERSTAND),
        )[..],
    );
    let end = bytes.len();
    bytes[end - 1] = 0xFF;
    hand.give_bytes(bytes.freeze());
    // A query from a name that is kept for services.
    let service = Address::Engine { user: "_svc", device: DeviceKind::PHONE, instance: InstanceId(1) };
    hand.give(&[Frame::Query { envelope: Envelope::new(ANN, service, 1), ttl_ms: 9, info_type: 1, body: b"" }]);
    assert_eq!(hand.session.state(), State::Online);
    assert_eq!((hand.session.stats().malformed, hand.events()), (2, vec![]));
    hand.pass(ms(100));
    assert!(matches!(hand.sent()[0].decode(), Ok(Frame::Count { received: 2, taken }) if taken > 0));
}

#[test]
fn a_header_that_is_malformed_closes_the_link() {
    let mut volatile_query = BytesMut::from(&message(&[query(1)])[..]);
    volatile_query[5] = Flags::VOLATILE.bits();
    let mut hand = Hand::online();
    hand.give_bytes(volatile_query.freeze());
    assert_eq!(hand.session.state(), State::Closed(CloseReason::InvalidMessage));
}

#[test]
fn counts_are_told_after_128_frames_64_kib_or_100_ms() {
    let mut hand = Hand::online();
    for _ in 0..127 {
        hand.give(&[information("x")]);
    }
    assert_eq!(hand.sent_kinds(), []);
    hand.give(&[information("x")]);
    assert_eq!(hand.sent()[0].decode(), Ok(Frame::Count { received: 128, taken: 0 }));
    let large = vec![0; 64 << 10];
    hand.give(&[Frame::Send { envelope: from(BOB, 0), info_type: 1, body: &large }]);
    assert_eq!(hand.sent_kinds(), [Kind::Count]);
    hand.give(&[information("x")]);
    hand.pass(ms(99));
    assert_eq!(hand.sent_kinds(), []);
    hand.pass(ms(1));
    assert_eq!(hand.sent_kinds(), [Kind::Count]);
}

#[test]
fn a_reply_that_is_too_large_or_has_no_room_becomes_a_failure() {
    let mut config = Config::new(user("ann"));
    config.budget = 0;
    let mut hand = Hand::with(config).log_in();
    hand.give(&[query(1), query(2), query(3)]);
    let tokens = tokens(&mut hand);
    hand.session.reply(hand.now, tokens[0], Ok(Bytes::from(vec![0; 1 << 20])));
    for token in &tokens[1..] {
        hand.session.reply(hand.now, *token, Ok(Bytes::from(vec![0; (1 << 20) - 100])));
    }
    // The budget is two of the largest frames whatever is said; a third reply does not fit.
    hand.give(&[query(4)]);
    let token = super::inbound::tokens(&mut hand)[0];
    hand.session.reply(hand.now, token, Ok(Bytes::from(vec![0; 1 << 10])));
    let codes: Vec<_> = hand
        .sent()
        .iter()
        .map(|frame| match frame.decode() {
            Ok(Frame::Failure { code, .. }) => Some(code),
            _ => None,
        })
        .collect();
    assert_eq!(codes, [Some(Failure::TooLarge), None, None, Some(Failure::Busy)]);
}

#[test]
#[cfg_attr(miri, ignore = "counts too far for an interpreter")]
fn answers_have_room_of_their_own_and_are_dropped_beyond_it() {
    let mut hand = Hand::online();
    // The budget is full, and nothing can be handed out: the server counts nothing and takes nothing.
    while hand.session.send(hand.now, &to_bob(), 1, Bytes::from(vec![0; 60_000]), Default::default()).is_ok() {}
    while hand.session.send(hand.now, &to_bob(), 1, Bytes::new(), Default::default()).is_ok() {}
    let full = hand.session.queued_bytes();
    hand.give(&[certain(1)]);
    hand.messages();
    assert_eq!(hand.session.stats().answers_dropped, 0);
    for id in 2..20_000 {
        hand.give(&[certain(id)]);
        hand.messages();
    }
    assert!(hand.session.stats().answers_dropped > 0);
    assert!(hand.session.queued_bytes() <= full + (320 << 10), "{}", hand.session.queued_bytes() - full);
    assert_eq!(hand.session.state(), State::Online);
}

#[test]
fn the_name_of_a_sender_is_made_once() {
    let mut hand = Hand::online();
    hand.give(&[information("one"), information("two")]);
    let names: Vec<*const u8> =
        hand.messages().iter().map(|message| message.source.user().unwrap().as_str().as_ptr()).collect();
    assert_eq!(names[0], names[1]);
}

#[test]
fn a_session_is_not_large() {
    assert!(size_of::<Session>() < 4_096, "{}", size_of::<Session>());
}

#[test]
fn a_resend_of_a_sender_that_had_to_be_forgotten_is_not_run() {
    let mut hand = Hand::online();
    let life = |instance| {
        let source = Address::Engine { user: "bob", device: DeviceKind::PHONE, instance: InstanceId(instance) };
        Frame::Certain { envelope: from(source, 1), ttl_ms: 9, info_type: 1, body: b"" }
    };
    for instance in 1..=5 {
        hand.give(&[life(instance)]);
    }
    assert_eq!(hand.messages().len(), 5);
    hand.sent();
    hand.give_again(&life(1));
    assert_eq!(hand.messages().len(), 0);
    assert!(matches!(hand.sent()[0].decode(), Ok(Frame::Failure { code: Failure::ConnectionLost, .. })));
    let again = Header { hop: Hop::AGAIN, ..Header::default() };
    hand.give_bytes(with_header(&life(6), again));
    assert_eq!(hand.messages().len(), 0, "nobody knows whether it ran");
}
