//! What the application wants sent: frames, order, windows, budgets, and every error.

use super::harness::*;
use crate::{
    client::{Config, Event, MAX_TTL, MessageOptions, Policy, SendError, SendOptions, State},
    failure::Failure,
    ids::{DeviceKind, MessageId, To},
    login::Mode,
    wire::{Address, Envelope, Flags, Frame, Kind, LoginResult, RawFrame, requests},
};
use bytes::Bytes;
use std::{string::String, vec, vec::Vec};

const QUEUE: SendOptions = SendOptions { policy: Policy::Queue, tell: None };
const DISCARD: SendOptions = SendOptions { policy: Policy::Discard, tell: None };

fn undeliverable(note: u64, failure: Failure) -> Event {
    Event::Undeliverable { note, failure }
}

#[test]
fn each_command_makes_its_frame_with_the_own_address() {
    let mut hand = Hand::online();
    let now = hand.now;
    let phone = To::Device(user("bob"), DeviceKind::PHONE);
    hand.session.send(now, &To::Server, 1, body("send"), SendOptions { tell: Some(9), ..QUEUE }).unwrap();
    let options = MessageOptions { echo: true, ..MessageOptions::default() };
    hand.session.send_message(now, &phone, 2, body("engine"), "tag", options).unwrap();
    let certain = hand.session.send_certainly(now, &to_bob(), 3, body("certain"), None).unwrap();
    let query = hand.session.query(now, &phone, 4, body("query"), Some(secs(7))).unwrap();
    let ping = hand.session.ping(now, &phone).unwrap();
    assert_eq!((certain, query, ping), (MessageId(1), MessageId(2), MessageId(3)));
    let sent = hand.sent();
    let device = Address::Device { user: "bob", device: DeviceKind::PHONE };
    let envelope = |to, id| Envelope::new(to, ANN, id);
    let expected = [
        Frame::Query { envelope: envelope(device, 2), ttl_ms: 7_000, info_type: 4, body: b"query" },
        Frame::Request { envelope: envelope(device, 3), ttl_ms: 30_000, method: 1, cursor: b"", body: b"" },
        Frame::Send { envelope: envelope(Address::Server { instance: 0 }, 9), info_type: 1, body: b"send" },
        Frame::EngineMessage { envelope: envelope(device, 0), info_type: 2, tag: "tag", body: b"engine" },
        Frame::Certain {
            envelope: envelope(Address::User { user: "bob" }, 1),
            ttl_ms: 30_000,
            info_type: 3,
            body: b"certain",
        },
    ];
    let decoded: Vec<_> = sent.iter().map(|frame| frame.decode().unwrap()).collect();
    assert_eq!(decoded, expected);
    let flags: Vec<_> = sent.iter().map(RawFrame::flags).collect();
    assert_eq!(flags, [Flags::NONE, Flags::NONE, Flags::TELL, Flags::ECHO, Flags::NONE]);
}

#[test]
fn the_typed_requests_say_what_they_ask() {
    let mut hand = Hand::online();
    let now = hand.now;
    hand.session.is_online(now, &[user("bob"), user("eve")]).unwrap();
    hand.session.my_devices(now).unwrap();
    hand.session.online_users(now, 50, b"page 2").unwrap();
    hand.session.kick_out(now, &user("eve")).unwrap();
    let sent = hand.sent();
    let requests: Vec<_> = sent
        .iter()
        .map(|frame| match frame.decode() {
            Ok(Frame::Request { envelope, method, cursor, body, .. }) => (envelope.to, method, cursor, body),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(requests.iter().all(|(to, ..)| *to == Address::Server { instance: 0 }));
    assert_eq!(requests.iter().map(|(_, method, ..)| *method).collect::<Vec<_>>(), [2, 3, 4, 5]);
    assert_eq!(requests::Users::decode(requests[0].3).unwrap().collect::<Vec<_>>(), ["bob", "eve"]);
    assert_eq!((requests[2].2, requests::PageQuery::decode(requests[2].3).unwrap().limit), (&b"page 2"[..], 50));
    assert_eq!(requests::Kick::decode(requests[3].3).unwrap().user, "eve");
}

#[test]
fn each_answer_is_an_event_with_what_it_carries() {
    let mut hand = Hand::online();
    let certain = hand.certainly("a");
    let query = hand.ask();
    let failed = hand.ask();
    let ping = hand.session.ping(hand.now, &To::Server).unwrap();
    hand.sent();
    hand.pass(ms(40));
    hand.give(&[
        Frame::Response { envelope: from(SERVER, ping.0), status: Ok(()), cursor: b"next", body: b"page" },
        Frame::Failure { envelope: from(BOB, failed.0), about: Kind::Query as u8, code: Failure::HandlerFailed },
        Frame::Reply { envelope: from(BOB, query.0), body: b"answer" },
        ack(certain.0),
    ]);
    assert_eq!(
        hand.events(),
        [
            Event::Responded { id: ping, status: Ok(()), cursor: body("next"), body: body("page"), round_trip: ms(40) },
            Event::Failed { id: failed, failure: Failure::HandlerFailed },
            Event::Replied { id: query, body: body("answer") },
            Event::Acked { id: certain },
        ]
    );
    assert_eq!(hand.session.open_operations(), 0);
}

#[test]
fn the_round_trip_begins_when_the_frame_goes_out() {
    let mut hand = Hand::online();
    let ping = hand.session.ping(hand.now, &To::Server).unwrap();
    hand.pass(secs(1));
    hand.sent();
    hand.pass(ms(5));
    hand.give(&[Frame::Response { envelope: from(SERVER, ping.0), status: Ok(()), cursor: b"", body: b"" }]);
    assert!(matches!(hand.events()[..], [Event::Responded { round_trip, .. }] if round_trip == ms(5)));
}

#[test]
fn what_is_too_large_is_refused_and_given_back() {
    let mut hand = Hand::online();
    let (now, limit) = (hand.now, 1 << 20);
    let large = Bytes::from(vec![7; limit]);
    let too_large = SendError::TooLarge { body: large.clone(), limit };
    assert_eq!(hand.session.send(now, &to_bob(), 1, large.clone(), QUEUE), Err(too_large.clone()));
    assert_eq!(
        hand.session.send_message(now, &to_bob(), 1, large.clone(), "", MessageOptions::default()),
        Err(too_large.clone())
    );
    assert_eq!(hand.session.send_certainly(now, &to_bob(), 1, large.clone(), None), Err(too_large.clone()));
    assert_eq!(hand.session.query(now, &to_bob(), 1, large.clone(), None), Err(too_large.clone()));
    assert_eq!(too_large.into_body(), large);
    assert_eq!(
        hand.session.request(now, &To::Server, requests::Method::Ping, &[], &large, None),
        Err(SendError::TooLarge { body: Bytes::new(), limit })
    );
    // The largest that fits does fit.
    let around =
        Frame::Send { envelope: Envelope::new(Address::User { user: "bob" }, ANN, 0), info_type: 1, body: b"" };
    let fits = large.slice(..limit - around.encoded_len());
    hand.session.send(now, &to_bob(), 1, fits.clone(), QUEUE).unwrap();
    assert_eq!(hand.sent()[0].len(), limit);
    assert!(hand.session.send(now, &to_bob(), 1, large.slice(..fits.len() + 1), QUEUE).is_err());
    assert_eq!((hand.session.open_operations(), hand.events()), (0, vec![]));
}

#[test]
fn what_is_too_long_for_its_field_is_refused_and_given_back() {
    let mut hand = Hand::online();
    let now = hand.now;
    let tag = "x".repeat(65_536);
    let options = MessageOptions::default();
    assert_eq!(
        hand.session.send_message(now, &to_bob(), 1, body("b"), &tag, options),
        Err(SendError::TooLong(body("b")))
    );
    hand.session.send_message(now, &to_bob(), 1, body("b"), &tag[1..], options).unwrap();
    let users = vec![user("u"); 1_001];
    assert_eq!(hand.session.is_online(now, &users), Err(SendError::TooLong(Bytes::new())));
    hand.session.is_online(now, &users[1..]).unwrap();
    let long = MAX_TTL + ms(1);
    assert_eq!(
        hand.session.send_certainly(now, &to_bob(), 1, body("b"), Some(long)),
        Err(SendError::TtlTooLong(body("b")))
    );
    assert_eq!(hand.session.query(now, &to_bob(), 1, body("b"), Some(long)), Err(SendError::TtlTooLong(body("b"))));
    hand.session.query(now, &to_bob(), 1, body("b"), Some(MAX_TTL)).unwrap();
    let texts: Vec<String> = [SendError::TooLong(body("")), SendError::TtlTooLong(body(""))]
        .iter()
        .map(std::string::ToString::to_string)
        .collect();
    assert_eq!(texts, ["a tag or a list is too long", "the time to live is over 300 s"]);
    for refused in [SendError::Busy, SendError::Closed, SendError::TooLong, SendError::TtlTooLong] {
        assert_eq!(refused(body("mine")).into_body(), "mine");
    }
}

#[test]
fn commands_queue_before_the_login_within_the_budget_and_keep_their_order() {
    let mut hand = Hand::new();
    for text in ["a", "b"] {
        hand.session.send(hand.now, &to_bob(), 1, body(text), QUEUE).unwrap();
    }
    hand.certainly("c");
    hand.ask();
    let mut hand = hand.log_in();
    let sent = hand.sent();
    assert_eq!(kinds(&sent), [Kind::Query, Kind::Send, Kind::Send, Kind::Certain]);
    assert_eq!(texts(&sent), ["a", "b", "c"]);
}

#[test]
fn a_full_budget_is_busy_until_the_server_counts() {
    let mut hand = Hand::online();
    let chunk = Bytes::from(vec![1; 50_000]);
    let mut taken = 0;
    while hand.session.send(hand.now, &to_bob(), 1, chunk.clone(), QUEUE).is_ok() {
        taken += 1;
    }
    assert_eq!(taken, (2 << 20) / 50_034);
    assert_eq!(hand.session.send(hand.now, &to_bob(), 1, chunk.clone(), QUEUE), Err(SendError::Busy(chunk.clone())));
    assert_eq!(
        hand.session.send_certainly(hand.now, &to_bob(), 1, chunk.clone(), None),
        Err(SendError::Busy(chunk.clone()))
    );
    assert_eq!(hand.session.query(hand.now, &to_bob(), 1, chunk.clone(), None), Err(SendError::Busy(chunk.clone())));
    assert_eq!(hand.session.open_operations(), 0);
    // Handing out alone gives nothing back: it may have to be replayed.
    let out = hand.sent();
    assert!(hand.session.send(hand.now, &to_bob(), 1, chunk.clone(), QUEUE).is_err());
    let received = u32::try_from(out.len()).unwrap();
    hand.give(&[Frame::Count { received, taken: 0 }]);
    hand.session.send(hand.now, &to_bob(), 1, chunk, QUEUE).unwrap();
    assert_eq!(hand.session.stats().busy, 5);
}

#[test]
fn the_window_holds_messages_back_and_nothing_else() {
    let mut hand = Hand::online();
    let large = Bytes::from(vec![1; 200 << 10]);
    hand.session.send(hand.now, &to_bob(), 1, large.clone(), QUEUE).unwrap();
    hand.session.send(hand.now, &to_bob(), 1, large, QUEUE).unwrap();
    hand.certainly("behind");
    hand.ask();
    hand.give(&[certain(1)]);
    let sent = hand.sent();
    assert_eq!(kinds(&sent), [Kind::Query, Kind::Ack, Kind::Send]);
    // Received is not taken.
    hand.give(&[Frame::Count { received: 3, taken: 0 }]);
    assert_eq!(hand.sent_kinds(), []);
    let taken = u32::try_from(sent[2].len()).unwrap();
    hand.give(&[Frame::Count { received: 3, taken }]);
    assert_eq!(hand.sent_kinds(), [Kind::Send, Kind::Certain]);
}

#[test]
fn queries_take_no_room_in_the_window() {
    let mut hand = Hand::online();
    let large = Bytes::from(vec![1; 200 << 10]);
    hand.session.query(hand.now, &to_bob(), 1, large.clone(), None).unwrap();
    hand.session.send(hand.now, &to_bob(), 1, large.clone(), QUEUE).unwrap();
    hand.session.send(hand.now, &to_bob(), 1, large.slice(..50 << 10), QUEUE).unwrap();
    assert_eq!(hand.sent_kinds(), [Kind::Query, Kind::Send, Kind::Send]);
}

#[test]
fn the_window_of_the_welcome_is_used() {
    let mut hand = Hand::new();
    hand.connect();
    let mut welcome = welcome(Mode::Fresh, 0);
    welcome.window = 100;
    hand.give(&[Frame::LoginResult(LoginResult::Succeed(welcome))]);
    for _ in 0..10 {
        hand.session.send(hand.now, &to_bob(), 1, body("0123456789"), QUEUE).unwrap();
    }
    let sent = hand.sent();
    assert_eq!(sent.len(), 100 / sent[0].len());
}

#[test]
#[cfg_attr(miri, ignore = "counts too far for an interpreter")]
fn at_most_65535_frames_are_out_uncounted() {
    let mut hand = Hand::with({
        let mut config = Config::new(user("ann"));
        config.budget = 16 << 20;
        config
    });
    hand.connect();
    let mut welcome = welcome(Mode::Fresh, 0);
    welcome.window = 32 << 20;
    hand.give(&[Frame::LoginResult(LoginResult::Succeed(welcome))]);
    for _ in 0..70_000 {
        hand.session.send(hand.now, &to_bob(), 1, Bytes::new(), QUEUE).unwrap();
    }
    assert_eq!(hand.sent().len(), 65_535);
    hand.give(&[Frame::Count { received: 10, taken: 0 }]);
    assert_eq!(hand.sent().len(), 10);
    // Not even the answers of a log-off.
    hand.give(&[certain(1)]);
    hand.session.log_off(hand.now);
    assert_eq!(hand.sent_kinds(), []);
    hand.give(&[Frame::Count { received: 11, taken: 0 }]);
    assert_eq!(hand.sent_kinds(), [Kind::Ack, Kind::Close]);
}

#[test]
fn volatile_sends_are_uncounted_and_dropped_where_anything_waits() {
    let mut hand = Hand::online();
    let tell = |note| SendOptions { tell: Some(note), ..DISCARD };
    hand.session.send(hand.now, &to_bob(), 1, body("typing"), tell(1)).unwrap();
    let sent = hand.sent();
    assert_eq!(sent[0].flags(), Flags::VOLATILE.with(Flags::TELL));
    assert_eq!((hand.session.uncounted_frames(), hand.session.queued_bytes()), (0, 0));
    // Something windowed waits.
    hand.session.send(hand.now, &to_bob(), 1, body("message"), QUEUE).unwrap();
    hand.session.send(hand.now, &to_bob(), 1, body("typing"), tell(2)).unwrap();
    hand.session.send(hand.now, &to_bob(), 1, body("typing"), DISCARD).unwrap();
    assert_eq!(hand.events(), [undeliverable(2, Failure::Busy)]);
    assert_eq!(texts(&hand.sent()), ["message"]);
    assert_eq!(hand.session.stats().volatile_dropped, 2);
    let options = MessageOptions { policy: Policy::Discard, ..MessageOptions::default() };
    hand.session.send_message(hand.now, &to_bob(), 1, body("typing"), "t", options).unwrap();
    assert_eq!(hand.sent()[0].flags(), Flags::VOLATILE);
}

#[test]
fn volatile_sends_do_not_wait_for_a_link() {
    let mut hand = Hand::new();
    let tell = |note| SendOptions { tell: Some(note), ..DISCARD };
    hand.session.send(hand.now, &to_bob(), 1, body("early"), tell(1)).unwrap();
    assert_eq!(hand.events(), [undeliverable(1, Failure::Busy)]);
    let mut hand = hand.log_in();
    hand.session.send(hand.now, &to_bob(), 1, body("cut"), tell(2)).unwrap();
    hand.cut();
    assert!(hand.events().contains(&undeliverable(2, Failure::Busy)));
    hand.await_link();
    hand.connect();
    hand.give(&[resumed(0)]);
    assert_eq!(hand.sent_kinds(), [Kind::Count]);
    assert_eq!(hand.session.queued_bytes(), 0);
}

#[test]
fn volatile_sends_may_hold_64_kib() {
    let mut hand = Hand::online();
    for _ in 0..100 {
        hand.session.send(hand.now, &to_bob(), 1, Bytes::from(vec![0; 1_000]), DISCARD).unwrap();
    }
    assert!(hand.session.queued_bytes() <= 64 << 10);
    assert!(hand.session.stats().volatile_dropped > 30);
}

#[test]
fn an_operation_times_out_and_later_answers_are_ignored() {
    let mut hand = Hand::online();
    let id = hand.session.send_certainly(hand.now, &to_bob(), 1, body("x"), Some(ms(500))).unwrap();
    hand.sent();
    hand.pass(ms(499));
    assert_eq!(hand.outcomes(), []);
    hand.pass(ms(1));
    hand.give(&[ack(id.0), failure(Kind::Certain, id.0, Failure::TimedOut)]);
    assert_eq!(hand.outcomes(), [(id.0, "timed out")]);
    assert_eq!(hand.session.stats().answers_unasked, 2);
}

#[test]
fn without_time_to_live_an_operation_ends_at_once() {
    let mut hand = Hand::online();
    let id = hand.session.query(hand.now, &to_bob(), 1, body("x"), Some(ms(0))).unwrap();
    hand.timeout();
    assert_eq!(hand.outcomes(), [(id.0, "timed out")]);
    assert_eq!(hand.sent_kinds(), [], "it was withdrawn");
}

#[test]
fn open_operations_are_bounded() {
    let mut hand = Hand::online();
    let busy = Err(SendError::Busy(body("q")));
    for _ in 0..256 {
        hand.ask();
    }
    assert_eq!(hand.session.query(hand.now, &to_bob(), 1, body("q"), None), busy);
    assert_eq!(hand.session.ping(hand.now, &To::Server), Err(SendError::Busy(Bytes::new())));
    for _ in 256..1_024 {
        hand.certainly("c");
    }
    assert_eq!(hand.session.send_certainly(hand.now, &to_bob(), 1, body("q"), None), busy);
    hand.sent();
    hand.give(&[Frame::Reply { envelope: from(BOB, 1), body: b"" }]);
    hand.ask();
}

#[test]
fn open_certain_sends_hold_their_bytes_until_their_outcome() {
    let mut hand = Hand::online();
    let chunk = Bytes::from(vec![1; 200_000]);
    let mut ids = vec![];
    // The server counts and takes everything at once, but nobody acknowledges.
    let (mut received, mut taken) = (0, 0);
    while let Ok(id) = hand.session.send_certainly(hand.now, &to_bob(), 1, chunk.clone(), None) {
        ids.push(id);
        for frame in hand.sent() {
            received += 1;
            taken += u32::try_from(frame.len()).unwrap();
        }
        hand.give(&[Frame::Count { received, taken }]);
    }
    assert_eq!(hand.session.queued_bytes(), 0);
    assert_eq!(ids.len(), (2 << 20) / 200_000);
    hand.give(&[ack(ids[3].0)]);
    hand.session.send_certainly(hand.now, &to_bob(), 1, chunk, None).unwrap();
}

#[test]
#[cfg_attr(miri, ignore = "counts too far for an interpreter")]
fn outcomes_that_nobody_takes_hold_new_operations_back() {
    let mut hand = Hand::online();
    let mut refused = false;
    for _ in 0..5_000 {
        match hand.session.query(hand.now, &to_bob(), 1, Bytes::new(), Some(ms(0))) {
            Ok(_) => hand.timeout(),
            Err(error) => {
                assert_eq!(error, SendError::Busy(Bytes::new()));
                refused = true;
                break;
            }
        }
    }
    assert!(refused);
    let ended = hand.outcomes().len();
    assert_eq!(ended, 4_096);
    hand.ask();
}

#[test]
fn what_is_queued_and_uncounted_can_be_seen() {
    let mut hand = Hand::online();
    hand.session.send(hand.now, &to_bob(), 1, body("a"), QUEUE).unwrap();
    assert_eq!(hand.session.uncounted_frames(), 1);
    let len = hand.sent()[0].len();
    assert_eq!((hand.session.uncounted_frames(), hand.session.queued_bytes()), (1, len));
    hand.give(&[Frame::Count { received: 1, taken: 0 }]);
    assert_eq!((hand.session.uncounted_frames(), hand.session.queued_bytes()), (0, 0));
}

#[test]
fn every_counter_has_a_name_and_traffic_is_counted() {
    let mut hand = Hand::online();
    hand.session.send(hand.now, &to_bob(), 1, body("a"), QUEUE).unwrap();
    let out = hand.sent()[0].len() as u64;
    let before = *hand.session.stats();
    hand.give(&[information("x")]);
    let stats = hand.session.stats();
    assert_eq!(stats.frames_in, before.frames_in + 1);
    assert_eq!(stats.bytes_in, before.bytes_in + message(&[information("x")]).len() as u64);
    assert_eq!((stats.connects, stats.logins, stats.resumes, stats.frames_out), (1, 1, 0, 2));
    assert!(stats.bytes_out > out);
    assert!(stats.iter().any(|(name, value)| name == "logins" && value == 1));
    assert_eq!(hand.session.state(), State::Online);
}
