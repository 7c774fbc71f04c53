//! Rows 23 to 28: whoever sends a blob, or receives one, and does not keep to the rules.

use bytes::Bytes;
use std::time::Duration;

use esf_proto::{
    close::CloseReason,
    failure::Failure,
    server::Config,
    wire::{Address, Envelope, Frame, Header, Kind, RawFrame},
};
use esf_tests::{
    blobs::{Taking, content},
    by_hand::bytes_of,
    raw::RawLink,
    world::{Outcome, World, user},
};

use super::Scene;

const INVALID: CloseReason = CloseReason::InvalidMessage;
const KIB: u64 = 1024;
const STREAM: u64 = 7;

fn piece(stream: u64, offset: u64, len: usize) -> Bytes {
    bytes_of(&Frame::Fragment { stream, offset, last: false, data: &content(len) })
}

fn offer(from: &RawLink, to: &str, id: u64, stream: u64, total: Option<u64>) -> Bytes {
    bytes_of(&Frame::BlobOffer { envelope: from.envelope(to, id), stream, total, info_type: 1, name: "name" })
}

fn credits(frames: &[RawFrame]) -> Vec<(u64, u64)> {
    let credit = |frame: &RawFrame| match frame.decode() {
        Ok(Frame::Credit { stream, offset }) => Some((stream, offset)),
        _ => None,
    };
    frames.iter().filter_map(credit).collect()
}

fn failures(frames: &[RawFrame]) -> Vec<(u64, Failure)> {
    let failure = |frame: &RawFrame| match frame.decode() {
        Ok(Frame::Failure { envelope, about, code }) if about == Kind::BlobOffer as u8 => Some((envelope.id, code)),
        _ => None,
    };
    frames.iter().filter_map(failure).collect()
}

/// Mallory has credit for a stream to ben, who takes it as one.
fn sending(total: Option<u64>) -> Scene {
    let mut scene = Scene::new();
    let ben = scene.others.ben;
    scene.world.engine(ben).blobs.taking = Taking::Stream;
    scene.send(offer(&scene.mallory, "ben", 1, STREAM, total));
    assert_eq!(credits(&scene.mallory.take_received()), [(STREAM, 0)]);
    scene
}

// Row 23.

#[test]
fn a_fragment_that_may_not_be_sent_closes_its_senders_link() {
    let cases = [
        ("beyond a gap", piece(STREAM, 1, 10)),
        ("far beyond a gap", piece(STREAM, u64::MAX, 10)),
        ("empty", piece(STREAM, 0, 0)),
        ("over 16 KiB", piece(STREAM, 0, 16 * 1024 + 1)),
    ];
    for (what, bytes) in cases {
        sending(None).closes(what, bytes, INVALID);
    }
}

#[test]
fn a_fragment_without_credit_closes_its_senders_link() {
    let mut scene = Scene::new();
    let ben = scene.others.ben;
    scene.world.engine(ben).blobs.taking = Taking::Undecided;
    scene.send(offer(&scene.mallory, "ben", 1, STREAM, None));
    scene.closes("before the first credit", piece(STREAM, 0, 10), INVALID);

    let mut scene = sending(None);
    let ben = scene.others.ben;
    scene.world.engine(ben).blobs.reads = esf_tests::blobs::Reads::No;
    for at in 0..16 {
        scene.send(piece(STREAM, at * 16 * KIB, 16 * 1024));
        assert!(scene.mallory.is_open(), "within the window");
    }
    scene.closes("past the window", piece(STREAM, 256 * KIB, 1), INVALID);
}

#[test]
fn the_servers_application_is_sent_no_fragment_that_may_not_be() {
    for (what, bytes) in [("a gap", piece(STREAM, 1, 10)), ("over 16 KiB", piece(STREAM, 0, 16 * 1024 + 1))] {
        let mut scene = Scene::new();
        let envelope = Envelope::new(Address::Server { instance: 0 }, Address::of_engine(&scene.mallory.engine), 1);
        let offer = bytes_of(&Frame::BlobOffer { envelope, stream: STREAM, total: None, info_type: 1, name: "" });
        scene.send(offer);
        assert_eq!(credits(&scene.mallory.take_received()), [(STREAM, 0)]);
        scene.closes(what, bytes, INVALID);
    }
}

// Row 24.

#[test]
fn a_fragment_of_no_stream_or_that_brings_nothing_is_counted() {
    let mut scene = sending(Some(100));
    scene.lets_off("unknown stream", piece(99, 0, 10), "fragments_ignored");
    scene.send(piece(STREAM, 0, 50));
    scene.lets_off("again", piece(STREAM, 0, 50), "fragments_ignored");
    scene.lets_off("a part of it again", piece(STREAM, 10, 20), "fragments_ignored");
    // One that overlaps brings what is new.
    let whole = content(100);
    let overlapping = Frame::Fragment { stream: STREAM, offset: 40, last: true, data: &whole[40..] };
    scene.send(bytes_of(&overlapping));
    let end = Frame::BlobEnd { envelope: scene.mallory.envelope("ben", 1), stream: STREAM, total: 100 };
    let end = bytes_of(&end);
    scene.send(end.clone());
    let ben = scene.others.ben;
    assert_eq!(scene.world.engine(ben).blobs.whole(), [&whole[..]]);
    scene.lets_off("an end of what is over", end, "fragments_ignored");
}

#[test]
fn a_cancel_that_names_another_blob_than_its_stream_is_counted_and_leaves_nothing_behind() {
    let mut scene = sending(None);
    scene.send(piece(STREAM, 0, 400));
    let cancel = |scene: &Scene, id: u64| {
        let envelope = scene.mallory.envelope("ben", id);
        bytes_of(&Frame::BlobCancel { envelope, stream: STREAM, code: Failure::Cancelled })
    };
    let (other, right) = (cancel(&scene, 2), cancel(&scene, 1));
    scene.lets_off("another id", other, "fragments_ignored");
    scene.send(piece(STREAM, 400, 100));
    assert_eq!(scene.world.counter("fragments"), 2, "the stream goes on");
    scene.send(right);
    scene.world.advance(Duration::from_secs(1));
    assert_eq!(scene.world.node.held_bytes(), 0);
}

#[test]
fn a_blob_that_goes_past_its_end_fails_and_closes_nothing() {
    for past_total in [true, false] {
        let what = if past_total { "past the total" } else { "an end that is not the total" };
        let mut scene = sending(Some(100));
        let end = Frame::BlobEnd { envelope: scene.mallory.envelope("ben", 1), stream: STREAM, total: 99 };
        let bytes = if past_total { piece(STREAM, 0, 101) } else { bytes_of(&end) };
        scene.send(bytes);
        assert!(scene.mallory.is_open(), "{what}");
        assert_eq!(failures(&scene.mallory.take_received()), [(1, Failure::Malformed)], "{what}");
        let ben = scene.others.ben;
        let ended: Vec<Failure> = scene.world.engine(ben).blobs.ended.iter().map(|ended| ended.1).collect();
        assert_eq!(ended, [Failure::Malformed], "{what}");
        assert_eq!(scene.world.session(ben).incoming_blobs(), 0, "{what}");
        scene.others.are_unharmed(&mut scene.world, what);
    }
}

// Row 25.

/// Ann sends a blob to mallory, who says what it likes about what it holds.
fn receiving() -> (Scene, esf_proto::ids::MessageId, u64) {
    let mut scene = Scene::new();
    let ann = scene.others.ann;
    let id = scene.world.send_blob(ann, &user("mallory"), &content(1 << 20));
    scene.world.run();
    scene.mallory.pump(&mut scene.world);
    let offered = scene.mallory.take_received().iter().find_map(|frame| match frame.decode() {
        Ok(Frame::BlobOffer { stream, .. }) => Some(stream),
        _ => None,
    });
    (scene, id, offered.expect("an offer"))
}

fn credit(stream: u64, offset: u64) -> Bytes {
    bytes_of(&Frame::Credit { stream, offset })
}

#[test]
fn a_credit_beyond_what_was_handed_out_closes_the_receivers_link() {
    for beyond in [1 << 20, u64::MAX] {
        let (mut scene, _, stream) = receiving();
        scene.send(credit(stream, 0));
        scene.send(credit(stream, 16 * KIB));
        scene.closes("beyond what was handed out", credit(stream, beyond), INVALID);
    }
}

#[test]
fn a_first_credit_that_cannot_be_fails_the_blob_and_closes_nothing() {
    for beyond in [1, u64::MAX] {
        let (mut scene, id, stream) = receiving();
        scene.send(credit(stream, beyond));
        let ann = scene.others.ann;
        assert_eq!(scene.world.outcome(ann, id), Some(Outcome::Failed(Failure::Malformed)));
        scene.others.are_unharmed(&mut scene.world, "a first credit of what never was");
        assert!(scene.mallory.is_open());
    }
}

#[test]
fn a_credit_that_shrinks_or_is_of_no_stream_is_counted() {
    let (mut scene, _, stream) = receiving();
    scene.send(credit(stream, 0));
    scene.send(credit(stream, 16 * KIB));
    scene.lets_off("one that shrinks", credit(stream, 1), "credits_ignored");
    scene.lets_off("the same again", credit(stream, 16 * KIB), "credits_ignored");
    scene.lets_off("one of no stream", credit(stream ^ 1, 0), "credits_ignored");
}

// Row 26.

#[test]
fn more_blobs_than_allowed_and_a_name_that_is_too_long_fail_alone() {
    let mut scene = Scene::new();
    let ben = scene.others.ben;
    scene.world.engine(ben).blobs.taking = Taking::Undecided;
    for id in 1..=5 {
        scene.send(offer(&scene.mallory, "ben", id, id, None));
    }
    assert_eq!(failures(&scene.mallory.take_received()), [(5, Failure::Busy)], "half of the places are for others");
    scene.send(offer(&scene.mallory, "ann", 6, 1, None));
    assert_eq!(failures(&scene.mallory.take_received()), [(6, Failure::Busy)], "a stream is not used twice");
    let name = "n".repeat(1025);
    let envelope = scene.mallory.envelope("ann", 7);
    let long = Frame::BlobOffer { envelope, stream: 70, total: None, info_type: 1, name: &name };
    scene.send(bytes_of(&long));
    assert_eq!(failures(&scene.mallory.take_received()), [(7, Failure::TooLarge)]);
    // Ann has a place at ben's all the same.
    let ann = scene.others.ann;
    scene.world.engine(ben).blobs.taking = Taking::Whole;
    let id = scene.world.send_blob(ann, &user("ben"), &content(10));
    scene.world.run();
    assert_eq!(scene.world.outcome(ann, id), Some(Outcome::Acked));
    scene.others.are_unharmed(&mut scene.world, "too many blobs");
}

#[test]
fn a_stream_that_somebody_else_uses_is_refused_to_the_second() {
    let mut scene = sending(None);
    let mut cleo = RawLink::join(&mut scene.world, "cleo", 77);
    cleo.take_received();
    let same = offer(&cleo, "ben", 1, STREAM, None);
    cleo.push(&mut scene.world, same);
    assert_eq!(failures(&cleo.take_received()), [(1, Failure::Busy)]);
    // What cleo sends of it reaches nobody.
    cleo.push(&mut scene.world, piece(STREAM, 0, 10));
    let ben = scene.others.ben;
    assert!(scene.world.engine(ben).blobs.got.values().all(|got| got.0.is_empty()));
}

// Bounds.

#[test]
fn small_fragments_for_one_who_does_not_read_cost_no_more_than_the_window() {
    let mut world = World::new();
    let mut ben = RawLink::join(&mut world, "ben", 8);
    let mut mallory = RawLink::join(&mut world, "mallory", 66);
    let bytes = offer(&mallory, "ben", 1, STREAM, None);
    mallory.push(&mut world, bytes);
    ben.pump(&mut world);
    ben.push(&mut world, credit(STREAM, 0));
    ben.reads = false;
    ben.pump(&mut world);
    mallory.pump(&mut world);
    let before = world.node.held_bytes();
    for at in 0..4096 {
        mallory.push_only(&world, piece(STREAM, at, 1));
    }
    mallory.pump(&mut world);
    assert!(mallory.is_open());
    let held = world.node.held_bytes();
    assert!(held > 4096 && held < before + 8 * 1024, "4 KiB cost {held}, {before} before");
}

#[test]
fn small_fragments_that_go_out_one_by_one_leave_nothing_on_the_account() {
    let mut world = World::with(Config::default());
    let ben = world.join("ben");
    let mut mallory = RawLink::join(&mut world, "mallory", 66);
    let bytes = offer(&mallory, "ben", 1, STREAM, Some(1_000));
    mallory.push(&mut world, bytes);
    for at in 0..100 {
        // Each is on its way to the receiver before the next one comes, and joined with it only then.
        mallory.push(&mut world, piece(STREAM, at * 10, 10));
    }
    let end = bytes_of(&Frame::BlobEnd { envelope: mallory.envelope("ben", 1), stream: STREAM, total: 1_000 });
    mallory.push(&mut world, end);
    assert_eq!(world.engine(ben).blobs.whole().len(), 1);
    // She has her ack.
    mallory.push(&mut world, bytes_of(&Frame::Count { received: 1, taken: 0 }));
    world.advance(Duration::from_secs(1));
    assert_eq!(world.node.held_bytes(), 0);
}

#[test]
fn a_receiver_that_answers_after_the_sender_has_gone_has_its_place_back() {
    let mut world = World::with(Config::default());
    let ben = world.join("ben");
    world.engine(ben).blobs.taking = Taking::Stream;
    world.engine(ben).blobs.reads = esf_tests::blobs::Reads::No;
    // One after the other: each is whole in the server's hands when its sender goes.
    for round in 0..20 {
        let mut mallory = RawLink::join(&mut world, "mallory", 100 + round);
        let bytes = offer(&mallory, "ben", 1, 1000 + round, Some(10));
        mallory.push(&mut world, bytes);
        mallory.push(&mut world, piece(1000 + round, 0, 10));
        let end = bytes_of(&Frame::BlobEnd { envelope: mallory.envelope("ben", 1), stream: 1000 + round, total: 10 });
        mallory.push(&mut world, end);
        let offers = world.engine(ben).blobs.offers.len();
        assert_eq!(offers, usize::try_from(round).expect("few") + 1, "there is a place");
        let bye = Frame::Close { reason: CloseReason::LoggedOff, text: "" }.to_bytes(Header::default());
        mallory.push(&mut world, bye.expect("a frame"));
        let (now, blob) = (world.now, world.engine(ben).blobs.offers[offers - 1].blob);
        let engine = world.engine(ben);
        engine.blobs.read(now, &mut engine.session, blob);
        assert!(engine.blobs.got[&blob].1, "it came whole");
        world.run();
    }
}
