use super::*;
use crate::{
    ids::DeviceKind,
    server::{
        LoginClaim,
        testing::{Town, ack, alone, at, certain, claim, count, counted_kinds, engine, phone, plain, query, raw, to},
    },
    session::{
        blob::{BlobEvent, BlobRead, TakeBlob},
        inbound::QueryToken,
    },
    wire::{Flags, Resume},
};
use bytes::Bytes;
use core::time::Duration;
use std::{string::ToString, vec::Vec};

const FIRST: Generation = Generation::FIRST;
const TELL: Flags = Flags::TELL;
const PLAIN: Flags = Flags::from_bits(0);

fn on_phone(user: &str) -> Address<'_> {
    Address::Device { user, device: DeviceKind::PHONE }
}

fn resume(attempt: u32, secret: u8, received: u32) -> LoginClaim {
    let resume = Some(Resume { secret: ResumeSecret([secret; 16]), received });
    LoginClaim { attempt, resume, interactive: false, ..claim(&phone("ann")) }
}

fn all(session: &mut Session, generation: Generation, outbox: &mut Outbox) -> Vec<RawFrame> {
    let frames = core::iter::from_fn(|| session.poll_transmit(at(0), generation, outbox));
    frames.map(|frame| RawFrame::parse(frame).unwrap()).collect()
}

fn body(len: usize) -> Vec<u8> {
    std::vec![7; len]
}

fn heartbeat(nonce: u32) -> RawFrame {
    raw(&Frame::Heartbeat { nonce }, Flags::default())
}

#[test]
#[cfg_attr(miri, ignore = "counts too far for an interpreter")]
fn heartbeats_of_a_client_that_does_not_read_cost_no_memory() {
    let (mut session, mut outbox) = alone(Config::default());
    for nonce in 0..10_000 {
        session.handle_frame(at(0), FIRST, heartbeat(nonce));
    }
    let answers: Vec<Bytes> = core::iter::from_fn(|| session.poll_transmit(at(0), FIRST, &mut outbox)).collect();
    assert!(answers.len() <= 32, "{} answers wait", answers.len());
    let last = RawFrame::parse(answers.last().unwrap().clone()).unwrap();
    assert!(matches!(last.decode(), Ok(Frame::HeartbeatAck { nonce: 9_999 })));
}

#[test]
fn queries_that_the_servers_application_does_not_fetch_are_bounded_whatever_their_time_to_live() {
    let mut town = Town::new(Config { max_open_queries: 8, ..Config::default() });
    let ann = phone("ann");
    let cell = town.join(&ann);
    for id in 0..100 {
        town.frame(&cell, query(&ann, Address::Server { instance: 0 }, id, 1, b"?"));
        town.now = town.now + Duration::from_millis(5);
        town.handle_timeout(&cell);
    }
    let waiting = core::iter::from_fn(|| cell.session.borrow_mut().poll_query()).count();
    assert_eq!(waiting, 8);
}

#[test]
fn what_the_application_does_not_fetch_is_charged_until_it_does_or_until_nobody_waits_for_it() {
    let mut town = Town::new(Config::default());
    let ann = phone("ann");
    let cell = town.join(&ann);
    let server = Address::Server { instance: 0 };
    town.frame(&cell, query(&ann, server, 1, 1_000, b"what?"));
    town.frame(&cell, query(&ann, server, 3, 1_000, b"why?"));
    town.frame(&cell, plain(&ann, server, PLAIN, 0, b"hello"));
    town.frame(&cell, certain(&ann, server, 2, 1_000));
    let held = cell.session.borrow().held_bytes();
    assert!(held > 200, "{held}");
    assert_eq!(cell.session.borrow_mut().poll_query().map(|query| query.token), Some(QueryToken(1)));
    assert!(cell.session.borrow().held_bytes() < held);
    town.end(&cell, CloseReason::LoggedOff);
    assert!(cell.session.borrow_mut().poll_query().is_none(), "nobody waits for the answer");
    assert_eq!(core::iter::from_fn(|| cell.session.borrow_mut().poll_message()).count(), 2, "accepted is kept");
    assert_eq!((cell.session.borrow().held_bytes(), town.global.used()), (0, 0));
}

#[test]
fn a_session_that_rests_forgets_nothing() {
    let mut town = Town::new(Config::default());
    let (ann, bob) = (phone("ann"), phone("bob"));
    let (cell, other) = (town.join(&ann), town.join(&bob));
    let rest = || cell.session.borrow_mut().rest(&mut cell.outbox.borrow_mut());
    town.frame(&cell, query(&ann, Address::Server { instance: 0 }, 1, 1_000, b"what?"));
    town.frame(&other, plain(&bob, to("ann"), PLAIN, 0, b"one"));
    rest();
    assert_eq!(counted_kinds(&town.received(&cell)), [Kind::Send], "what waits");
    rest();
    let claim = resume(2, 1, 0);
    let taken = cell.session.borrow_mut().take_over(&claim, ResumeSecret([2; 16]));
    assert!(matches!(taken, TakeOver::Resumed { .. }), "{taken:?}");
    let generation = FIRST.next();
    let frames = all(&mut cell.session.borrow_mut(), generation, &mut cell.outbox.borrow_mut());
    assert_eq!(counted_kinds(&frames), [Kind::Send], "what is not counted");
    assert_eq!(cell.session.borrow_mut().poll_query().map(|query| query.token), Some(QueryToken(1)));
}

// Takeovers.

#[test]
fn a_takeover_goes_on_where_the_client_says_and_fences_the_older_link() {
    let mut town = Town::new(Config::default());
    let (ann, bob) = (phone("ann"), phone("bob"));
    let (cell, other) = (town.join(&ann), town.join(&bob));
    for text in ["one", "two"] {
        town.frame(&other, plain(&bob, to("ann"), PLAIN, 0, text.as_bytes()));
    }
    let sent = town.received(&cell);
    let (mut session, mut outbox) = (cell.session.borrow_mut(), cell.outbox.borrow_mut());
    let TakeOver::Resumed { generation, received: 0 } = session.take_over(&resume(2, 1, 1), ResumeSecret([2; 16]))
    else {
        panic!("resumed")
    };
    session.handle_frame(at(0), FIRST, plain(&ann, to("bob"), PLAIN, 0, b"late"));
    assert_eq!((town.counters.fenced.get(), session.hop.counts().received), (1, 0));
    assert_eq!(session.poll_close(FIRST), Some(CloseReason::Superseded));
    assert!(all(&mut session, FIRST, &mut outbox).is_empty());
    let again = all(&mut session, generation, &mut outbox);
    assert!(matches!(again[0].decode(), Ok(Frame::Count { .. })), "a count first");
    assert_eq!(again[1..], sent[1..], "then what the client lacks");
    session.detach(at(0), FIRST);
    assert!(session.is_held_by(generation), "the end of a fenced link changes nothing");
}

#[test]
fn a_takeover_with_an_impossible_count_or_an_old_attempt_leaves_the_session_as_it_is() {
    let (mut session, _) = alone(Config::default());
    assert_eq!(session.take_over(&resume(2, 1, 1), ResumeSecret([2; 16])), TakeOver::Violation);
    assert_eq!(session.take_over(&resume(1, 1, 0), ResumeSecret([2; 16])), TakeOver::Stale);
    assert_eq!(session.take_over(&resume(2, 1, 0), ResumeSecret([2; 16])), TakeOver::Stale, "it was seen");
    assert_eq!(session.take_over(&resume(3, 9, 0), ResumeSecret([2; 16])), TakeOver::Fresh);
    assert!(session.is_held_by(FIRST));
    assert!(session.secret().matches(&ResumeSecret([1; 16])));
}

#[test]
fn the_older_secret_is_good_until_the_first_frame_after_the_resume() {
    let (mut session, _) = alone(Config::default());
    let resumed = |outcome| match outcome {
        TakeOver::Resumed { generation, .. } => generation,
        other => panic!("{other:?}"),
    };
    resumed(session.take_over(&resume(2, 1, 0), ResumeSecret([2; 16])));
    let third = resumed(session.take_over(&resume(3, 1, 0), ResumeSecret([3; 16])));
    session.handle_frame(at(0), third, count(0, 0));
    assert_eq!(session.take_over(&resume(4, 1, 0), ResumeSecret([4; 16])), TakeOver::Fresh);
    resumed(session.take_over(&resume(5, 3, 0), ResumeSecret([4; 16])));
}

#[test]
fn what_the_new_login_may_do_is_what_the_session_may_do() {
    let (mut session, _) = alone(Config::default());
    let claim = LoginClaim { rights: Rights::LIST, ..resume(2, 1, 0) };
    assert!(matches!(session.take_over(&claim, ResumeSecret([2; 16])), TakeOver::Resumed { .. }));
    assert_eq!(session.rights(), Rights::LIST);
}

#[test]
fn an_ended_session_is_not_taken_over_and_says_nothing() {
    let (mut session, mut outbox) = alone(Config::default());
    session.end(at(0), CloseReason::Kicked, &mut outbox);
    assert_eq!(session.poll_close(FIRST), Some(CloseReason::Kicked));
    assert_eq!(session.take_over(&resume(2, 1, 0), ResumeSecret([2; 16])), TakeOver::Gone);
    session.handle_frame(at(0), FIRST, heartbeat(1));
    session.end(at(0), CloseReason::LoggedOff, &mut outbox);
    assert!(all(&mut session, FIRST, &mut outbox).is_empty());
    assert!(matches!(session.poll_change(), Some(HubChange::Ended { reason: CloseReason::Kicked, .. })));
    assert!(session.poll_change().is_none(), "it ends once");
    assert_eq!(session.poll_timeout(&outbox), None);
}

// Probes.

#[test]
fn several_may_ask_for_a_sign_of_life_and_each_gets_it() {
    let (mut session, _) = alone(Config::default());
    let first = session.probe();
    assert!(session.poll_probe(FIRST));
    let second = session.probe();
    session.handle_alive(FIRST);
    assert!(session.probe_answered(first));
    assert!(!session.probe_answered(second), "its ping is not out yet");
    assert!(session.poll_probe(FIRST));
    session.handle_alive(FIRST);
    assert!(session.probe_answered(first) && session.probe_answered(second));
}

#[test]
fn a_frame_is_a_sign_of_life_though_no_ping_could_be_sent() {
    let (mut session, _) = alone(Config::default());
    let probe = session.probe();
    session.handle_frame(at(0), FIRST, heartbeat(1));
    assert!(session.probe_answered(probe));
}

#[test]
fn a_takeover_is_a_sign_of_life_and_a_session_without_a_link_shows_none() {
    let (mut session, _) = alone(Config::default());
    session.detach(at(0), FIRST);
    let probe = session.probe();
    assert!(!session.probe_answered(probe));
    assert!(matches!(session.take_over(&resume(2, 1, 0), ResumeSecret([2; 16])), TakeOver::Resumed { .. }));
    assert!(session.probe_answered(probe));
}

// Windows and timers.

#[test]
fn messages_wait_for_the_window_and_answers_do_not() {
    let mut town = Town::new(Config { window: 60, ..Config::default() });
    let (ann, bob) = (phone("ann"), phone("bob"));
    let (cell, other) = (town.join(&ann), town.join(&bob));
    for _ in 0..4 {
        town.frame(&other, plain(&bob, to("ann"), PLAIN, 0, b"0123456789"));
    }
    town.frame(&other, query(&bob, to("ann"), 1, 1_000, b"?"));
    let frames = town.received(&cell);
    assert_eq!(counted_kinds(&frames), [Kind::Query, Kind::Send]);
    let taken = u32::try_from(frames[1].len()).unwrap();
    town.frame(&cell, count(2, 0));
    assert!(town.received(&cell).is_empty(), "received is not taken");
    town.frame(&cell, count(2, taken));
    assert_eq!(counted_kinds(&town.received(&cell)), [Kind::Send]);
}

#[test]
fn a_timer_that_was_handled_lies_ahead() {
    let mut town = Town::new(Config::default());
    let (ann, bob) = (phone("ann"), phone("bob"));
    let (cell, other) = (town.join(&ann), town.join(&bob));
    town.frame(&cell, certain(&ann, to("bob"), 1, 50));
    town.frame(&cell, certain(&ann, to("bob"), 2, 5_000));
    let next = |town: &Town| {
        let (session, outbox) = (cell.session.borrow(), cell.outbox.borrow());
        session.poll_timeout(&outbox).filter(|(at, _)| *at <= town.now)
    };
    for _ in 0..100 {
        town.now = town.now + Duration::from_millis(10);
        town.handle_timeout(&cell);
        assert_eq!(next(&town), None);
    }
    assert_eq!(town.failures(&cell), [(1, Failure::TimedOut)]);
    town.frame(&other, ack(&bob, &ann, 1));
    assert_eq!(town.counters.answers_unasked.get(), 1, "it was over");
    town.frame(&other, ack(&bob, &ann, 2));
    assert_eq!(counted_kinds(&town.received(&cell)), [Kind::Ack]);
}

#[test]
fn a_session_without_a_link_ends_with_its_resume_window() {
    let mut town = Town::new(Config::default());
    let cell = town.join(&phone("ann"));
    town.detach(&cell);
    let until = town.now + Duration::from_secs(60);
    assert_eq!(town.hub.poll_timeout(), Some(until));
    town.now = until;
    assert!(town.hub.poll_due(until).is_some());
    town.handle_timeout(&cell);
    assert_eq!(cell.session.borrow().state(), SessionState::Ended);
    assert_eq!((town.hub.sessions(), town.counters.sessions_expired.get()), (0, 1));
}

#[test]
fn time_that_goes_back_is_not_believed() {
    let (mut session, mut outbox) = alone(Config::default());
    session.handle_frame(at(20_000), FIRST, heartbeat(1));
    session.detach(at(10_000), FIRST);
    assert_eq!(session.poll_timeout(&outbox), Some((at(80_000), TimerKind::ResumeWindow)));
    session.handle_timeout(at(70_000), &mut outbox);
    assert_eq!(session.state(), SessionState::Detached);
}

// What a session held when it ended.

#[test]
fn the_end_tells_whoever_waits_and_the_servers_application() {
    let mut town = Town::new(Config { window: 1, ..Config::default() });
    let (ann, bob) = (phone("ann"), phone("bob"));
    let (cell, other) = (town.join(&ann), town.join(&bob));
    town.frame(&other, plain(&bob, on_phone("ann"), TELL, 1, b"out"));
    assert_eq!(town.received(&cell).len(), 1);
    town.frame(&other, plain(&bob, on_phone("ann"), TELL, 2, b"held"));
    town.frame(&other, plain(&bob, on_phone("ann"), PLAIN, 0, b"untold"));
    town.frame(&other, plain(&bob, to("ann"), TELL, 3, b"to all"));
    town.frame(&other, plain(&bob, on_phone("ann"), Flags::VOLATILE, 0, b"volatile"));
    town.frame(&other, certain(&bob, to("ann"), 4, 10_000));
    town.end(&cell, CloseReason::LoggedOff);
    let lost = |text: &str, failure| (text.to_string(), failure);
    assert_eq!(
        town.lost,
        [
            lost("out", Failure::ConnectionLost),
            lost("held", Failure::Offline),
            lost("untold", Failure::Offline),
            lost("to all", Failure::ConnectionLost),
        ]
    );
    let told = town.failures(&other);
    assert_eq!(
        told,
        [(1, Failure::ConnectionLost), (2, Failure::Offline), (3, Failure::ConnectionLost), (4, Failure::Offline)]
    );
    assert_eq!(cell.session.borrow().held_bytes(), 0);
}

#[test]
fn a_certain_message_that_went_out_may_have_arrived() {
    let mut town = Town::new(Config::default());
    let (ann, bob) = (phone("ann"), phone("bob"));
    let (cell, other) = (town.join(&ann), town.join(&bob));
    town.frame(&other, certain(&bob, to("ann"), 1, 10_000));
    assert_eq!(town.received(&cell).len(), 1);
    town.end(&cell, CloseReason::LoggedOff);
    assert_eq!(town.failures(&other), [(1, Failure::ConnectionLost)]);
}

#[test]
fn an_echo_that_is_lost_is_no_message_that_is_lost() {
    let mut town = Town::new(Config::default());
    let (ann, bob) = (phone("ann"), phone("bob"));
    let desktop = engine("bob", DeviceKind::DESKTOP, 8);
    let (cell, other, echoed) = (town.join(&ann), town.join(&bob), town.join(&desktop));
    let envelope = Envelope::new(to("ann"), Address::of_engine(&bob), 1);
    let frame = Frame::EngineMessage { envelope, info_type: 1, tag: "t", body: b"m" };
    town.frame(&other, raw(&frame, TELL.with(Flags::ECHO)));
    town.end(&echoed, CloseReason::LoggedOff);
    assert_eq!((town.failures(&other), town.lost.len()), (Vec::new(), 0));
    assert_eq!(counted_kinds(&town.received(&cell)), [Kind::EngineMessage]);
}

#[test]
fn everything_that_was_charged_is_given_back_whatever_way_it_went() {
    let mut town = Town::new(Config::default());
    let (ann, bob) = (phone("ann"), phone("bob"));
    let (cell, other) = (town.join(&ann), town.join(&bob));
    town.frame(&other, certain(&bob, to("ann"), 1, 10_000));
    town.frame(&other, certain(&bob, to("ann"), 2, 10_000));
    town.frame(&other, query(&bob, to("ann"), 3, 10_000, b"?"));
    town.frame(&other, plain(&bob, to("ann"), Flags::VOLATILE, 0, b"v"));
    let taken: usize = town.received(&cell).iter().filter(|frame| frame.is_windowed()).map(RawFrame::len).sum();
    town.frame(&cell, count(3, u32::try_from(taken).unwrap()));
    assert_eq!(cell.session.borrow().held_bytes(), 0, "the receiver has it all");
    assert!(other.session.borrow().held_bytes() > 0, "room for the answers");
    town.frame(&cell, ack(&ann, &bob, 1));
    town.now = town.now + Duration::from_secs(11);
    town.handle_timeout(&other);
    assert_eq!(town.received(&other).iter().filter(|frame| frame.is_counted()).count(), 3);
    town.frame(&other, count(3, 0));
    assert_eq!((other.session.borrow().held_bytes(), town.global.used()), (0, 0));
}

#[test]
fn a_plain_message_that_the_servers_application_has_no_room_for_is_told_to_who_asked_for_that() {
    let mut town = Town::new(Config { queue: 1, ..Config::default() });
    let ann = phone("ann");
    let cell = town.join(&ann);
    let server = Address::Server { instance: 0 };
    let tagged = |flags, id| {
        let envelope = Envelope::new(server, Address::of_engine(&ann), id);
        raw(&Frame::EngineMessage { envelope, info_type: 1, tag: "t", body: b"x" }, flags)
    };
    town.frame(&cell, plain(&ann, server, TELL, 1, b"an empty queue takes one"));
    town.frame(&cell, plain(&ann, server, TELL, 2, b"x"));
    town.frame(&cell, plain(&ann, server, PLAIN, 0, b"x"));
    town.frame(&cell, tagged(TELL, 3));
    town.frame(&cell, tagged(PLAIN, 0));
    town.frame(&cell, certain(&ann, server, 4, 1_000));
    assert_eq!(town.failures(&cell), [(2, Failure::Busy), (3, Failure::Busy), (4, Failure::Busy)]);
    assert_eq!(core::iter::from_fn(|| cell.session.borrow_mut().poll_message()).count(), 1);
    town.frame(&cell, certain(&ann, server, 4, 1_000));
    assert_eq!(counted_kinds(&town.received(&cell)), [Kind::Ack], "what was refused as busy may come again");
}

#[test]
fn an_offer_to_the_server_with_a_longer_name_than_may_be_is_too_large_and_a_cancel_ends_one() {
    let mut town = Town::new(Config::default());
    let ann = phone("ann");
    let cell = town.join(&ann);
    let envelope = |id| Envelope::new(Address::Server { instance: 0 }, Address::of_engine(&ann), id);
    let name = "n".repeat(1025);
    let offer =
        |id, name| Frame::BlobOffer { envelope: envelope(id), stream: 90 + id, total: None, info_type: 1, name };
    town.frame(&cell, raw(&offer(1, &name), PLAIN));
    assert_eq!(town.failures(&cell), [(1, Failure::TooLarge)]);
    town.frame(&cell, raw(&offer(2, "n"), PLAIN));
    assert!(matches!(cell.session.borrow_mut().poll_blob_event(), Some(BlobEvent::Offered(_))));
    let cancel = Frame::BlobCancel { envelope: envelope(2), stream: 92, code: Failure::Cancelled };
    town.frame(&cell, raw(&cancel, PLAIN));
    let ended = cell.session.borrow_mut().poll_blob_event();
    assert!(matches!(ended, Some(BlobEvent::Ended { failure: Failure::Cancelled, .. })), "{ended:?}");
}

#[test]
fn a_certain_message_that_could_not_be_acknowledged_is_not_run() {
    let mut town = Town::new(Config { max_frame: 8 << 10, budget: 32 << 10, ..Config::default() });
    let (ann, server) = (phone("ann"), Address::Server { instance: 0 });
    let cell = town.join(&ann);
    // Full to the last message that fits: an ack is smaller, and yet finds no room, nor does a refusal.
    for len in (0..=12).rev().map(|bits| (1 << bits) - 1) {
        for _ in 0..100 {
            town.frame(&cell, plain(&ann, server, PLAIN, 0, &body(len)));
        }
    }
    town.frame(&cell, certain(&ann, server, 1, 1_000));
    assert_eq!((town.failures(&cell), town.counters.answers_dropped.get()), (Vec::new(), 1));
    let messages = core::iter::from_fn(|| cell.session.borrow_mut().poll_message());
    assert!(messages.collect::<Vec<_>>().iter().all(|message| message.id.is_none()));
    town.frame(&cell, certain(&ann, server, 1, 1_000));
    assert!(cell.session.borrow_mut().poll_message().is_some(), "the same message, tried again");
}

#[test]
fn a_fragment_to_the_server_that_comes_again_is_passed_over() {
    let mut town = Town::new(Config::default());
    let ann = phone("ann");
    let cell = town.join(&ann);
    let envelope = Envelope::new(Address::Server { instance: 0 }, Address::of_engine(&ann), 1);
    let offer = Frame::BlobOffer { envelope, stream: 90, total: None, info_type: 1, name: "" };
    town.frame(&cell, raw(&offer, PLAIN));
    let Some(BlobEvent::Offered(offered)) = cell.session.borrow_mut().poll_blob_event() else { panic!("an offer") };
    cell.session.borrow_mut().accept_blob(town.now, offered.blob, TakeBlob::Stream);
    assert!(town.received(&cell).iter().any(|frame| matches!(frame.decode(), Ok(Frame::Credit { .. }))));
    for data in [b"all", b"all"] {
        town.frame(&cell, raw(&Frame::Fragment { stream: 90, offset: 0, last: false, data }, PLAIN));
    }
    assert_eq!(town.counters.fragments_ignored.get(), 1);
    let mut session = cell.session.borrow_mut();
    assert_eq!(session.read_blob(town.now, offered.blob), BlobRead::Data("all".into()));
    assert_eq!(session.read_blob(town.now, offered.blob), BlobRead::Wait);
}
