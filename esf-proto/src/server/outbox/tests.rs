use super::*;
use crate::{
    hub::BlobSender,
    server::testing::{at, certain, outbox, phone, plain, query, raw, to},
    wire::Flags,
};

const BOB: SessionId = SessionId(2);
const EVE: SessionId = SessionId(3);

fn offer(outbox: &mut Outbox, now: u64, frame: &RawFrame, source: SessionId, ttl: Option<u64>) -> Result<(), Failure> {
    outbox.offer(at(now), frame, frame.kind().unwrap(), source, ttl.map(at))
}

fn small() -> Config {
    Config { max_frame: 1024, budget: 4096, ..Config::default() }
}

fn body(len: usize) -> Vec<u8> {
    std::vec![7; len]
}

#[test]
fn what_is_offered_is_charged_and_released_by_whoever_takes_it() {
    let (mut outbox, budget, _) = outbox(small());
    let frame = plain(&phone("bob"), to("ann"), Flags::default(), 0, b"hello");
    offer(&mut outbox, 0, &frame, BOB, None).unwrap();
    assert_eq!(budget.used(), cost(frame.len()));
    assert!(outbox.take_wake(), "its link has work");
    assert_eq!(outbox.take(at(0)), Some(frame.into_bytes()));
    assert_eq!(budget.used(), 0);
}

#[test]
fn one_source_gets_half_and_another_still_gets_in() {
    let (mut outbox, _, counters) = outbox(small());
    let frame = plain(&phone("bob"), to("ann"), Flags::default(), 0, &body(500));
    let taken = (0..20).filter(|_| offer(&mut outbox, 0, &frame, BOB, None).is_ok()).count();
    assert_eq!(taken, 2048 / frame.len());
    assert_eq!(counters.busy.get(), 20 - taken as u64);
    assert_eq!(offer(&mut outbox, 0, &frame, EVE, None), Ok(()));
}

#[test]
fn the_server_is_a_source_whose_share_comes_back() {
    let (mut outbox, _, _) = outbox(small());
    let frame = plain(&phone("bob"), to("ann"), Flags::default(), 0, &body(500));
    for _ in 0..2 {
        offer(&mut outbox, 0, &frame, BOB, None).unwrap();
    }
    // Half is reached, so shares are kept from here on, and the queue never falls below a quarter.
    for round in 0..20 {
        offer(&mut outbox, 0, &frame, BOB, None).unwrap();
        assert_eq!(offer(&mut outbox, 0, &frame, SERVER, None), Ok(()), "round {round}");
        outbox.take(at(0)).unwrap();
        outbox.take(at(0)).unwrap();
    }
}

#[test]
fn queries_that_expired_make_room_for_others() {
    let config = Config { max_open_queries: 4, ..small() };
    let (mut outbox, budget, _) = outbox(config);
    let frame = query(&phone("bob"), to("ann"), 1, 10, &body(200));
    for _ in 0..4 {
        offer(&mut outbox, 0, &frame, BOB, Some(10)).unwrap();
    }
    assert_eq!(offer(&mut outbox, 0, &frame, EVE, Some(10)), Err(Failure::Busy));
    // A full budget lets go of what expired.
    let message = plain(&phone("eve"), to("ann"), Flags::default(), 0, &body(850));
    for source in [4, 5, 6] {
        offer(&mut outbox, 10, &message, SessionId(source), None).unwrap();
    }
    offer(&mut outbox, 10, &message, SessionId(7), None).unwrap();
    assert_eq!(offer(&mut outbox, 10, &query(&phone("eve"), to("ann"), 1, 10, b""), EVE, Some(20)), Ok(()));
    while outbox.take(at(10)).is_some() {}
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_query_that_expired_is_not_handed_out() {
    let (mut outbox, budget, _) = outbox(small());
    offer(&mut outbox, 0, &query(&phone("bob"), to("ann"), 1, 10, b"?"), BOB, Some(10)).unwrap();
    assert_eq!(outbox.take(at(10)), None);
    assert_eq!(budget.used(), 0);
}

#[test]
fn an_empty_outbox_takes_one_frame_of_any_permitted_size() {
    let (mut outbox, _, _) = outbox(small());
    let frame = certain(&phone("bob"), to("ann"), 1, 10);
    let large = plain(&phone("bob"), to("ann"), Flags::default(), 0, &body(1024 - 40));
    assert_eq!(offer(&mut outbox, 0, &large, BOB, None), Ok(()));
    assert_eq!(offer(&mut outbox, 0, &frame, EVE, Some(10)), Ok(()));
}

#[test]
fn volatile_is_dropped_and_counted_where_something_waits() {
    let (mut outbox, budget, counters) = outbox(small());
    let volatile = plain(&phone("bob"), to("ann"), Flags::VOLATILE, 0, b"typing");
    assert_eq!(offer(&mut outbox, 0, &volatile, BOB, None), Ok(()));
    offer(&mut outbox, 0, &plain(&phone("bob"), to("ann"), Flags::default(), 0, b"m"), BOB, None).unwrap();
    assert_eq!(offer(&mut outbox, 0, &volatile, BOB, None), Err(Failure::Busy));
    assert_eq!(counters.volatile_dropped.get(), 1);
    while outbox.take(at(0)).is_some() {}
    assert_eq!(budget.used(), 0);
}

#[test]
fn one_source_gets_half_of_the_volatile_lane() {
    let (mut outbox, _, _) = outbox(Config::default());
    let volatile = plain(&phone("bob"), to("ann"), Flags::VOLATILE, 0, &body(1024));
    let taken = (0..100).filter(|_| offer(&mut outbox, 0, &volatile, BOB, None).is_ok()).count();
    assert_eq!(taken, 32 * 1024 / volatile.len());
    assert_eq!(offer(&mut outbox, 0, &volatile, EVE, None), Ok(()));
}

fn ask(outbox: &mut Outbox, id: u64, kind: Kind, deadline: u64) -> Result<(), Failure> {
    outbox.ask(Open::new(id, kind, super::super::Copies::One(BOB), at(deadline), 80, 10))
}

#[test]
fn the_room_for_an_answer_is_kept_from_the_question_on() {
    let (mut outbox, budget, _) = outbox(small());
    ask(&mut outbox, 1, Kind::Certain, 10).unwrap();
    assert_eq!(budget.used(), 80);
    outbox.expire(at(10));
    assert_eq!(budget.used(), 80, "the failure stands in it");
    assert!(outbox.take(at(10)).is_some());
    assert_eq!(budget.used(), 0);
}

#[test]
fn the_tables_have_their_bounds() {
    let config = Config { max_open: 3, max_open_queries: 2, max_open_query_bytes: 15, ..small() };
    let (mut outbox, budget, counters) = outbox(config);
    ask(&mut outbox, 1, Kind::Query, 10).unwrap();
    assert_eq!(ask(&mut outbox, 2, Kind::Query, 10), Err(Failure::Busy), "its bytes");
    ask(&mut outbox, 3, Kind::Certain, 10).unwrap();
    ask(&mut outbox, 4, Kind::Certain, 10).unwrap();
    assert_eq!(ask(&mut outbox, 5, Kind::Certain, 10), Err(Failure::Busy));
    assert_eq!((counters.busy.get(), budget.used()), (2, 240));
}

#[test]
fn a_reply_that_does_not_fit_fails_as_busy_in_the_room_that_was_kept() {
    let (mut outbox, budget, _) = outbox(small());
    ask(&mut outbox, 1, Kind::Query, 10).unwrap();
    assert!(budget.charge(4096 - 80));
    let (ann, bob) = (phone("ann"), phone("bob"));
    let envelope = Envelope::new(Address::of_engine(&ann), Address::of_engine(&bob), 1);
    let reply = raw(&Frame::Reply { envelope, body: &body(100) }, Flags::default());
    outbox.answer(&reply, Kind::Reply, 1, BOB);
    let told = RawFrame::parse(outbox.take(at(0)).unwrap()).unwrap();
    assert!(matches!(told.decode(), Ok(Frame::Failure { code: Failure::Busy, .. })));
    assert_eq!(budget.used(), 4096 - 80);
}

#[test]
fn the_end_gives_everything_back_and_lets_nothing_in() {
    let (mut outbox, budget, counters) = outbox(small());
    ask(&mut outbox, 1, Kind::Certain, 10).unwrap();
    let frame = plain(&phone("bob"), to("ann"), Flags::default(), 0, b"m");
    offer(&mut outbox, 0, &frame, BOB, None).unwrap();
    for (_, queued) in outbox.end() {
        budget.release(queued.cost);
    }
    assert_eq!(budget.used(), 0);
    assert_eq!(offer(&mut outbox, 0, &frame, BOB, None), Err(Failure::Offline));
    assert_eq!(ask(&mut outbox, 2, Kind::Certain, 10), Err(Failure::Offline));
    outbox.tell(frame.bytes().clone(), false);
    assert!(budget.charge(cost(frame.len())));
    outbox.tell(frame.bytes().clone(), true);
    outbox.tell_beyond_budget(frame.into_bytes());
    assert_eq!(outbox.take(at(0)), None);
    assert_eq!((budget.used(), counters.answers_dropped.get()), (0, 2));
}

#[test]
fn an_answer_of_the_servers_application_that_is_larger_than_a_frame_fails_as_too_large() {
    let (mut outbox, budget, _) = outbox(small());
    let open = |id, kind| Open::new(id, kind, super::super::Copies::One(SERVER), at(10), 80, 10);
    outbox.ask(open(1, Kind::Query)).unwrap();
    outbox.ask(open(2, Kind::Request)).unwrap();
    outbox.reply(QueryToken(1), Ok(&body(1024)));
    outbox.respond(2, Ok(()), &[], &body(1024));
    for id in [1, 2] {
        let told = RawFrame::parse(outbox.take(at(0)).unwrap()).unwrap();
        let Ok(Frame::Failure { envelope, code: Failure::TooLarge, .. }) = told.decode() else { panic!("{told:?}") };
        assert_eq!(envelope.id, id);
    }
    assert_eq!((outbox.take(at(0)), budget.used()), (None, 0));
}

#[test]
fn a_blob_whose_offer_finds_no_room_keeps_no_place() {
    let (mut outbox, _, _) = outbox(small());
    let ben = phone("ben");
    let (source, frame) = (Source::Engine(ben.clone()), plain(&ben, to("ann"), Flags::default(), 0, &body(500)));
    while offer(&mut outbox, 0, &frame, BOB, None).is_ok() {}
    let envelope = Envelope::new(to("ann"), Address::of_engine(&ben), 1);
    let name = "n".repeat(500);
    let blob = Frame::BlobOffer { envelope, stream: 9, total: None, info_type: 1, name: &name };
    let blob = raw(&blob, Flags::default());
    let sender = BlobSender { session: BOB, origin: BOB, source: &source };
    assert_eq!(outbox.offer_blob(at(0), &blob, 9, 1, &sender), Err(Failure::Busy));
    assert!(!outbox.drop_stream(BOB, 1));
    outbox.take(at(0)).unwrap();
    assert_eq!(outbox.offer_blob(at(0), &blob, 9, 1, &sender), Ok(()));
    assert!(outbox.drop_stream(BOB, 1));
}

#[test]
fn a_blob_that_is_offered_again_gives_back_what_it_held() {
    let (mut outbox, _, _) = outbox(small());
    let bob = phone("bob");
    let source = Source::Engine(bob.clone());
    let envelope = Envelope::new(to("ann"), Address::of_engine(&bob), 1);
    let offer = |stream| Frame::BlobOffer { envelope, stream, total: None, info_type: 1, name: "" };
    let sender = BlobSender { session: BOB, origin: BOB, source: &source };
    for stream in [9, 10] {
        let blob = raw(&offer(stream), Flags::default());
        assert_eq!(outbox.offer_blob(at(0), &blob, stream, 1, &sender), Ok(()));
        let fragment = Frame::Fragment { stream, offset: 0, last: false, data: &body(300) };
        outbox.push_fragment(stream, BOB, &raw(&fragment, Flags::default()), false);
        assert_eq!(outbox.bulk.used(), cost(raw(&fragment, Flags::default()).len()), "of one stream");
    }
    outbox.drop_stream(BOB, 1);
    assert_eq!(outbox.bulk.used(), 0);
}

#[test]
fn what_became_of_a_blob_waits_for_room_and_is_bounded() {
    let (mut outbox, budget, counters) = outbox(small());
    budget.force(4096);
    for id in 0..STREAMS as u64 + 3 {
        assert_eq!(outbox.tell_failure(id, Kind::BlobOffer, Failure::Busy), id < STREAMS as u64, "{id}");
    }
    assert!(!outbox.tell_failure(50, Kind::Certain, Failure::Busy), "whose sender has a timer");
    assert_eq!((counters.answers_dropped.get(), outbox.take(at(0))), (4, None));
    budget.release(4096);
    for id in 0..STREAMS as u64 {
        let frame = RawFrame::parse(outbox.take(at(1)).unwrap()).unwrap();
        assert_eq!(frame.envelope().unwrap().id, id);
    }
    assert_eq!((outbox.take(at(1)), budget.used()), (None, 0));
    budget.force(4096);
    assert!(outbox.tell_failure(60, Kind::BlobOffer, Failure::Busy));
    outbox.end().count();
    budget.release(4096);
    assert_eq!(outbox.take(at(2)), None, "an end leaves nothing");
}
