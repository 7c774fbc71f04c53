use alloc::{vec, vec::Vec};

use proptest::{collection::vec as many, prelude::*};

use super::*;
use crate::ids::{Engine, InstanceId, UserId};

const NOW: Instant = Instant::from_micros(1_000_000);
const LARGEST: u64 = 64 << 20;
const STREAM: u64 = 9;

fn source(name: &str) -> Source {
    let user = UserId::parse(name, 64).expect("a name");
    Source::Engine(Engine { user, device: DeviceKind::PHONE, instance: InstanceId(1) })
}

fn offer(id: u64, stream: u64, total: Option<u64>) -> Offer<'static> {
    Offer {
        source: source("ann"),
        group: None,
        id,
        again: false,
        stream,
        total,
        info_type: 3,
        name: "n",
        sent_at: None,
    }
}

/// What the application hears of it.
fn as_offered(blob: BlobId, total: Option<u64>) -> IncomingBlob {
    IncomingBlob { blob, source: source("ann"), group: None, info_type: 3, name: "n".into(), total, sent_at: None }
}

fn events(receiving: &mut Receiving) -> Vec<BlobEvent> {
    core::iter::from_fn(|| receiving.poll_event()).collect()
}

fn answers(receiving: &mut Receiving) -> Vec<(u64, Result<(), Failure>)> {
    core::iter::from_fn(|| receiving.poll_answer()).map(|answer| (answer.id, answer.outcome)).collect()
}

/// One blob that was offered and taken.
fn taken(total: Option<u64>, take: TakeBlob) -> (Receiving, BlobId) {
    let mut receiving = Receiving::default();
    receiving.on_offer(NOW, offer(1, STREAM, total));
    let [BlobEvent::Offered(offered)] = &events(&mut receiving)[..] else { panic!("an offer") };
    let blob = offered.blob;
    receiving.accept(NOW, blob, take, LARGEST);
    assert_eq!(receiving.poll_credit(), Some((STREAM, 0)));
    (receiving, blob)
}

fn content(len: usize) -> Bytes {
    (0..len).map(|at| u8::try_from(at * 7 % 251).expect("below 251")).collect()
}

#[derive(Debug, Clone)]
enum Step {
    /// A piece from there on, so long.
    Piece(usize, usize),
    /// A new link of the same session.
    Link,
    /// The end is told.
    End,
    /// What there is of a stream is read.
    Read,
}

fn step(len: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..len.max(1), 1..=FRAGMENT).prop_map(|(from, len)| Step::Piece(from, len)),
        1 => Just(Step::Link),
        1 => Just(Step::End),
        2 => Just(Step::Read),
    ]
}

struct Reader {
    blob: BlobId,
    got: Vec<u8>,
    whole: usize,
}

impl Reader {
    fn read(&mut self, receiving: &mut Receiving) {
        for event in events(receiving) {
            if let BlobEvent::Whole { body, .. } = event {
                self.got.extend_from_slice(&body);
                self.whole += 1;
                receiving.finish(self.blob, Ok(()));
            }
        }
        loop {
            match receiving.read(NOW, self.blob) {
                BlobRead::Data(data) => self.got.extend_from_slice(&data),
                BlobRead::End => {
                    self.whole += 1;
                    receiving.finish(self.blob, Ok(()));
                }
                BlobRead::Wait | BlobRead::Gone => break,
            }
        }
    }
}

proptest! {
    /// Whatever pieces come in whatever order, and however often: what is handed over is the blob, once.
    #[test]
    fn any_cut_repeat_and_order_makes_the_blob_once(
        (len, steps) in (0..300_000_usize).prop_flat_map(|len| (Just(len), many(step(len), 0..60))),
        known in any::<bool>(),
        stream in any::<bool>(),
    ) {
        let body = content(len);
        let take = if stream { TakeBlob::Stream } else { TakeBlob::Whole };
        let (mut receiving, blob) = taken(known.then_some(len as u64), take);
        let mut reader = Reader { blob, got: Vec::new(), whole: 0 };
        let give = |receiving: &mut Receiving, from: usize, size: usize| {
            let piece = body.slice(from..(from + size).min(len));
            receiving.on_fragment(NOW, STREAM, from as u64, &piece, LARGEST)
        };
        for step in steps {
            match step {
                Step::Piece(from, size) if from < len => { give(&mut receiving, from, size); }
                Step::Piece(..) => {}
                Step::Link => {
                    receiving.on_link(NOW, true);
                    while receiving.poll_credit().is_some() {}
                }
                Step::End => receiving.on_end(&source("ann"), STREAM, len as u64),
                Step::Read => reader.read(&mut receiving),
            }
            prop_assert!(receiving.held_bytes() as u64 <= STREAM_WINDOW.max(2 * len as u64) + FRAGMENT as u64);
        }
        // An honest sender, from the start.
        for from in (0..len).step_by(FRAGMENT) {
            give(&mut receiving, from, FRAGMENT);
            reader.read(&mut receiving);
            while receiving.poll_credit().is_some() {}
        }
        receiving.on_end(&source("ann"), STREAM, len as u64);
        reader.read(&mut receiving);
        prop_assert!(reader.got == body);
        prop_assert_eq!(reader.whole, 1);
        prop_assert_eq!(answers(&mut receiving), vec![(1, Ok(()))]);
        prop_assert_eq!((receiving.len(), receiving.held_bytes(), receiving.assembled), (0, 0, 0));
    }
}

#[test]
fn more_than_its_places_and_half_of_them_for_one_source_are_busy() {
    let mut receiving = Receiving::default();
    for id in 1..=5 {
        receiving.on_offer(NOW, offer(id, id, None));
    }
    assert_eq!(answers(&mut receiving), [(5, Err(Failure::Busy))]);
    for id in 1..=5 {
        receiving.on_offer(NOW, Offer { source: source("ben"), ..offer(id, 10 + id, None) });
    }
    assert_eq!(answers(&mut receiving), [(5, Err(Failure::Busy))]);
    assert_eq!(receiving.len(), STREAMS);
    receiving.on_offer(NOW, Offer { source: source("cleo"), ..offer(1, 30, None) });
    assert_eq!(answers(&mut receiving), [(1, Err(Failure::Busy))]);
    // A place is free when one is refused.
    receiving.finish(BlobId(1), Err(Failure::Rejected));
    assert_eq!(answers(&mut receiving), [(1, Err(Failure::Rejected))]);
    receiving.on_offer(NOW, Offer { source: source("cleo"), ..offer(2, 30, None) });
    assert_eq!(answers(&mut receiving), []);
}

#[test]
fn those_that_are_taken_whole_hold_so_much_together_and_no_more() {
    let mut receiving = Receiving::default();
    receiving.on_offer(NOW, offer(1, STREAM, None));
    receiving.accept(NOW, BlobId(1), TakeBlob::Whole, u64::MAX);
    // As if others held nearly all of it.
    receiving.assembled = ASSEMBLY - FRAGMENT as u64;
    assert_eq!(receiving.poll_credit(), Some((STREAM, 0)));
    let piece = content(FRAGMENT);
    assert_eq!(receiving.on_fragment(NOW, STREAM, 0, &piece, u64::MAX), Piece::Taken);
    assert_eq!(answers(&mut receiving), []);
    assert_eq!(receiving.on_fragment(NOW, STREAM, FRAGMENT as u64, &piece, u64::MAX), Piece::Taken);
    assert_eq!(answers(&mut receiving), [(1, Err(Failure::Busy))]);
    assert_eq!(receiving.assembled, ASSEMBLY - FRAGMENT as u64, "what it held is free");
}

#[test]
fn what_was_offered_again_after_it_ended_is_answered_as_before() {
    let (mut receiving, blob) = taken(Some(0), TakeBlob::Whole);
    receiving.on_end(&source("ann"), STREAM, 0);
    assert_eq!(answers(&mut receiving), [(1, Ok(()))]);
    let again = Offer { again: true, ..offer(1, STREAM, Some(0)) };
    receiving.on_offer(NOW, again);
    assert_eq!(answers(&mut receiving), [(1, Ok(()))], "its application has it still");
    assert_eq!(events(&mut receiving), [BlobEvent::Whole { incoming: as_offered(blob, Some(0)), body: Bytes::new() }]);
    receiving.finish(blob, Ok(()));
    receiving.on_offer(NOW, Offer { again: true, ..offer(1, STREAM, Some(0)) });
    assert_eq!(answers(&mut receiving), [(1, Ok(()))]);
    assert_eq!((events(&mut receiving), receiving.len()), (vec![], 0));
    // One of which nobody knows any more may have run.
    for id in 2..=ENDED as u64 + 2 {
        receiving.on_offer(NOW, offer(id, id, None));
        receiving.finish(BlobId(id), Err(Failure::Rejected));
    }
    answers(&mut receiving);
    receiving.on_offer(NOW, Offer { again: true, ..offer(1, STREAM, Some(0)) });
    assert_eq!(answers(&mut receiving), [(1, Err(Failure::ConnectionLost))]);
}

#[test]
fn small_pieces_that_nobody_reads_take_few_places() {
    let (mut receiving, blob) = taken(None, TakeBlob::Stream);
    for at in 0..2048 {
        assert_eq!(receiving.on_fragment(NOW, STREAM, at, &content(1), LARGEST), Piece::Taken);
    }
    let reads = core::iter::from_fn(|| match receiving.read(NOW, blob) {
        BlobRead::Data(data) => Some(data.len()),
        _ => None,
    });
    assert_eq!(reads.collect::<Vec<_>>(), [1024, 1024]);
}

#[test]
fn a_stream_that_is_given_up_before_its_end_is_cancelled_even_by_ok() {
    let (mut receiving, blob) = taken(Some(10), TakeBlob::Stream);
    receiving.on_fragment(NOW, STREAM, 0, &content(10), LARGEST);
    receiving.on_end(&source("ann"), STREAM, 10);
    // Everything is here, and was not read.
    receiving.finish(blob, Ok(()));
    assert_eq!(answers(&mut receiving), [(1, Err(Failure::Cancelled))]);
}

#[test]
fn a_part_of_a_step_is_said_in_time() {
    let (mut receiving, blob) = taken(None, TakeBlob::Stream);
    receiving.on_fragment(NOW, STREAM, 0, &content(100), LARGEST);
    assert_eq!(receiving.poll_credit(), None);
    assert!(matches!(receiving.read(NOW, blob), BlobRead::Data(_)));
    assert_eq!(receiving.poll_credit(), None, "a step is 64 KiB");
    assert_eq!(receiving.poll_timeout(), Some(NOW + PATIENCE));
    receiving.handle_timeout(NOW + PATIENCE);
    assert_eq!(receiving.poll_credit(), Some((STREAM, 100)));
    assert_eq!(receiving.poll_credit(), None);
    assert_eq!(receiving.poll_timeout(), Some(NOW + SILENCE), "nothing more is owed");
}

#[test]
fn only_its_sender_and_the_server_take_a_blob_back() {
    let (mut receiving, blob) = taken(None, TakeBlob::Stream);
    receiving.on_cancel(NOW, &source("ben"), false, STREAM, Failure::Cancelled);
    receiving.on_end(&source("ben"), STREAM, 0);
    assert_eq!(events(&mut receiving), []);
    receiving.on_cancel(NOW, &source("ann"), false, STREAM, Failure::Cancelled);
    assert_eq!(events(&mut receiving), [BlobEvent::Ended { blob, failure: Failure::Cancelled }]);
    assert_eq!(answers(&mut receiving), [], "its sender knows");
}

#[test]
fn an_offer_that_came_again_with_another_length_fails_and_one_that_failed_says_so_again() {
    let (mut receiving, blob) = taken(Some(10), TakeBlob::Whole);
    receiving.on_offer(NOW, offer(1, STREAM, Some(11)));
    assert_eq!(answers(&mut receiving), [(1, Err(Failure::Malformed))]);
    // Before the application has heard of it.
    receiving.on_offer(NOW, offer(1, STREAM, Some(10)));
    assert_eq!(answers(&mut receiving), [(1, Err(Failure::Malformed))]);
    receiving.on_cancel(NOW, &source("ann"), false, STREAM, Failure::Cancelled);
    receiving.accept(NOW, blob, TakeBlob::Stream, LARGEST);
    assert_eq!((receiving.held_bytes(), answers(&mut receiving)), (0, vec![]));
    assert_eq!(events(&mut receiving), [BlobEvent::Ended { blob, failure: Failure::Malformed }]);
    receiving.on_offer(NOW, offer(1, STREAM, Some(10)));
    assert_eq!(answers(&mut receiving), [(1, Err(Failure::Malformed))]);
    assert_eq!(receiving.held_bytes(), 0);
}

#[test]
fn an_end_before_what_was_announced_or_after_what_came_fails() {
    let (mut receiving, _) = taken(Some(10), TakeBlob::Whole);
    receiving.on_end(&source("ann"), STREAM, 9);
    assert_eq!(answers(&mut receiving), [(1, Err(Failure::Malformed))]);
    let piece = receiving.on_fragment(NOW, STREAM, 0, &content(3), LARGEST);
    assert_eq!((piece, receiving.held_bytes()), (Piece::Again, 0), "it was sent before its sender knew");
    let (mut receiving, _) = taken(None, TakeBlob::Whole);
    assert_eq!(receiving.on_fragment(NOW, STREAM, 0, &content(10), LARGEST), Piece::Taken);
    receiving.on_end(&source("eve"), STREAM, 9);
    assert_eq!(answers(&mut receiving), [], "it is not hers");
    receiving.on_end(&source("ann"), STREAM, 9);
    assert_eq!(answers(&mut receiving), [(1, Err(Failure::Malformed))]);
}

#[test]
fn a_piece_past_the_end_that_was_announced_fails() {
    let (mut receiving, _) = taken(Some(10), TakeBlob::Stream);
    assert_eq!(receiving.on_fragment(NOW, STREAM, 0, &content(11), LARGEST), Piece::Taken);
    assert_eq!(answers(&mut receiving), [(1, Err(Failure::Malformed))]);
}

#[test]
fn a_blob_of_the_server_runs_once_like_one_of_anybody() {
    let mut receiving = Receiving::default();
    let of_server = |id| Offer { source: Source::Server(InstanceId(9)), ..offer(id, STREAM + id, None) };
    receiving.on_offer(NOW, of_server(2));
    assert!(matches!(events(&mut receiving)[..], [BlobEvent::Offered(_)]));
    receiving.on_offer(NOW, of_server(1));
    assert_eq!(answers(&mut receiving), [(1, Err(Failure::ConnectionLost))], "a later one ran");
}

#[test]
fn a_whole_blob_may_be_as_large_as_the_limit_and_no_larger() {
    let (mut receiving, blob) = taken(None, TakeBlob::Whole);
    assert_eq!(receiving.on_fragment(NOW, STREAM, 0, &content(8), 8), Piece::Taken);
    assert_eq!((answers(&mut receiving), events(&mut receiving)), (vec![], vec![]));
    assert!(receiving.held_bytes() >= 8);
    assert_eq!(receiving.on_fragment(NOW, STREAM, 8, &content(2), 8), Piece::Taken);
    assert_eq!(answers(&mut receiving), [(1, Err(Failure::TooLarge))]);
    assert_eq!(events(&mut receiving), [BlobEvent::Ended { blob, failure: Failure::TooLarge }]);
    assert_eq!(receiving.held_bytes(), 0);
}

#[test]
fn whoever_asks_whether_something_happened_hears_of_offers_and_of_all_that_follows() {
    let mut receiving = Receiving::default();
    assert!(!receiving.has_event());
    receiving.on_offer(NOW, offer(1, STREAM, None));
    assert!(receiving.has_event());
    let [BlobEvent::Offered(offered)] = &events(&mut receiving)[..] else { panic!("an offer") };
    assert!(!receiving.has_event());
    receiving.accept(NOW, offered.blob, TakeBlob::Stream, LARGEST);
    assert_eq!(receiving.poll_credit(), Some((STREAM, 0)));
    assert_eq!(receiving.on_fragment(NOW, STREAM, 0, &content(5), LARGEST), Piece::Taken);
    assert!(receiving.has_event());
    assert_eq!(events(&mut receiving), [BlobEvent::Readable { blob: offered.blob }]);
    assert!(!receiving.has_event());
}

#[test]
fn the_end_of_a_stream_is_told_to_whoever_has_read_all_and_else_found_by_reading_on() {
    let (mut receiving, blob) = taken(None, TakeBlob::Stream);
    assert_eq!(receiving.on_fragment(NOW, STREAM, 0, &content(5), LARGEST), Piece::Taken);
    assert_eq!(events(&mut receiving), [BlobEvent::Readable { blob }]);
    receiving.on_end(&source("ann"), STREAM, 5);
    assert_eq!(events(&mut receiving), [], "there is something to read");
    let (mut receiving, blob) = taken(None, TakeBlob::Stream);
    assert_eq!(receiving.on_fragment(NOW, STREAM, 0, &content(5), LARGEST), Piece::Taken);
    assert_eq!(events(&mut receiving), [BlobEvent::Readable { blob }]);
    assert!(matches!(receiving.read(NOW, blob), BlobRead::Data(_)));
    receiving.on_end(&source("ann"), STREAM, 5);
    assert_eq!(events(&mut receiving), [BlobEvent::Readable { blob }]);
    assert_eq!(receiving.read(NOW, blob), BlobRead::End);
}

#[test]
fn several_that_ended_are_answered_as_before() {
    let mut receiving = Receiving::default();
    for id in [1, 2] {
        receiving.on_offer(NOW, offer(id, STREAM + id, None));
        let [BlobEvent::Offered(offered)] = &events(&mut receiving)[..] else { panic!("an offer") };
        receiving.finish(offered.blob, Err(Failure::Rejected));
        assert_eq!(answers(&mut receiving), [(id, Err(Failure::Rejected))]);
    }
    for id in [1, 2] {
        receiving.on_offer(NOW, Offer { again: true, ..offer(id, STREAM + id, None) });
        assert_eq!(answers(&mut receiving), [(id, Err(Failure::Rejected))]);
    }
}

#[test]
fn no_blob_of_the_next_engine_has_the_name_of_one_before() {
    let (mut receiving, before) = taken(None, TakeBlob::Whole);
    receiving.clear();
    receiving.on_offer(NOW, offer(1, STREAM, None));
    assert!(matches!(&events(&mut receiving)[..], [BlobEvent::Offered(offered)] if offered.blob != before));
}
