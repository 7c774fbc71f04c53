//! Blobs, from one client to others and to the server's application.

use std::time::Duration;

use bytes::Bytes;
use esf_proto::{
    client::{BlobRead, Event},
    close::CloseReason,
    failure::Failure,
    ids::{DeviceKind, MessageId, To},
    server::Config as ServerConfig,
};
use esf_tests::{
    blobs::{Reads, Taking, content},
    world::{Outcome, Who, World, client_config, user},
};

const KIB: usize = 1024;

fn failed(failure: Failure) -> Option<Outcome> {
    Some(Outcome::Failed(failure))
}

fn pair() -> (World, Who, Who) {
    let mut world = World::new();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    (world, anna, ben)
}

fn send(world: &mut World, from: Who, len: usize) -> (MessageId, Bytes) {
    let body = content(len);
    (world.send_blob(from, &user("ben"), &body), body)
}

fn progress(world: &mut World, who: Who) -> Vec<u64> {
    let held = |event: &Event| match event {
        Event::BlobProgress { held, .. } => Some(*held),
        _ => None,
    };
    world.engine(who).events.iter().filter_map(held).collect()
}

/// Lets time pass until so much of a stream was read at the other end.
fn until_held(world: &mut World, who: Who, len: usize) {
    for _ in 0..100 {
        if world.engine(who).blobs.got.values().any(|(bytes, _)| bytes.len() >= len) {
            return;
        }
        world.run();
    }
    panic!("it does not get so far");
}

#[test]
fn a_blob_of_any_size_arrives_whole() {
    for len in [0, 1, 16 * KIB - 1, 16 * KIB, 16 * KIB + 1, 256 * KIB, 256 * KIB + 1, 3 * 1024 * KIB + 7] {
        for taking in [Taking::Whole, Taking::Stream] {
            let (mut world, anna, ben) = pair();
            world.engine(ben).blobs.taking = taking;
            let (id, body) = send(&mut world, anna, len);
            world.run();
            assert_eq!(world.outcome(anna, id), Some(Outcome::Acked), "{len} {taking:?}");
            assert_eq!(world.engine(ben).blobs.whole(), [&body[..]], "{len} {taking:?}");
            let offer = world.engine(ben).blobs.offers[0].clone();
            assert_eq!((&*offer.name, offer.info_type, offer.total), ("photo.jpg", 9, Some(len as u64)));
            assert_eq!(world.session(ben).incoming_blobs(), 0, "its place is free");
            assert_eq!(world.session(anna).outgoing_blobs(), 0);
        }
    }
}

#[test]
fn a_blob_whose_length_nobody_knows_arrives_too() {
    let (mut world, anna, ben) = pair();
    let body = content(300 * KIB);
    let id = world.send_blob_with(anna, &user("ben"), &body, |blob| {
        blob.total = None;
        blob.fragment = 1000;
    });
    world.run();
    assert_eq!(world.outcome(anna, id), Some(Outcome::Acked));
    assert!(world.engine(ben).blobs.whole() == [&body[..]]);
    assert_eq!(world.engine(ben).blobs.offers[0].total, None);
}

#[test]
fn progress_only_grows_and_is_what_the_receiver_holds() {
    let (mut world, anna, _) = pair();
    send(&mut world, anna, 1024 * KIB);
    world.run();
    let told = progress(&mut world, anna);
    assert!(told.len() > 4 && told.is_sorted(), "{told:?}");
}

#[test]
fn a_reader_that_stops_stops_its_sender_and_nobody_else() {
    let (mut world, anna, ben) = pair();
    world.engine(ben).blobs.taking = Taking::Stream;
    world.engine(ben).blobs.reads = Reads::No;
    let (id, body) = send(&mut world, anna, 4 * 1024 * KIB);
    world.run();
    assert!(world.session(ben).blob_bytes() <= 512 * KIB, "at most a window and what was read before");
    assert!(world.session(anna).blob_bytes() <= 512 * KIB);
    assert!(world.node.held_bytes() <= 300 * KIB, "{}", world.node.held_bytes());
    world.send(anna, "ben", "beside it");
    world.run();
    assert_eq!(world.texts(ben), ["beside it"]);
    world.engine(ben).blobs.reads = Reads::Yes;
    let (now, blob) = (world.now, world.engine(ben).blobs.offers[0].blob);
    let engine = world.engine(ben);
    engine.blobs.read(now, &mut engine.session, blob);
    world.run();
    assert_eq!(world.outcome(anna, id), Some(Outcome::Acked));
    assert!(world.engine(ben).blobs.whole() == [&body[..]]);
}

#[test]
fn a_reader_that_makes_no_progress_for_20_s_is_cut_out() {
    let (mut world, anna, ben) = pair();
    world.engine(ben).blobs.taking = Taking::Stream;
    world.engine(ben).blobs.reads = Reads::No;
    let (id, _) = send(&mut world, anna, 4 * 1024 * KIB);
    world.run();
    world.advance(Duration::from_secs(19));
    assert_eq!(world.outcome(anna, id), None);
    world.advance(Duration::from_secs(2));
    assert_eq!(world.outcome(anna, id), failed(Failure::TooSlow));
    assert_eq!(world.engine(ben).blobs.ended.iter().map(|ended| ended.1).collect::<Vec<_>>(), [Failure::TooSlow]);
    assert_eq!(world.counter("streams_too_slow"), 1);
    assert_eq!(world.node.held_bytes(), 0, "nothing of it is kept");
    assert!(world.is_online(anna) && world.is_online(ben));
}

#[test]
fn nobody_who_decides_is_too_slow_too() {
    let (mut world, anna, ben) = pair();
    world.engine(ben).blobs.taking = Taking::Undecided;
    let (id, _) = send(&mut world, anna, 10);
    world.advance(Duration::from_secs(21));
    assert_eq!(world.outcome(anna, id), failed(Failure::TooSlow));
}

#[test]
fn a_receiver_refuses() {
    for failure in [Failure::Rejected, Failure::NotAllowed, Failure::HandlerFailed] {
        let (mut world, anna, ben) = pair();
        world.engine(ben).blobs.taking = Taking::Refused(failure);
        let (id, _) = send(&mut world, anna, 100 * KIB);
        world.run();
        assert_eq!(world.outcome(anna, id), failed(failure));
        assert!(world.engine(anna).blobs.asked.is_empty(), "nothing was asked for");
    }
}

#[test]
fn one_that_is_larger_than_the_largest_whole_one_is_refused_announced_or_found_out() {
    for announced in [true, false] {
        let mut world = World::with(ServerConfig { max_blob: 300 * 1024, ..ServerConfig::default() });
        let (anna, ben) = (world.join("anna"), world.join("ben"));
        let body = content(300 * KIB + 1);
        let id = world.send_blob_with(anna, &user("ben"), &body, |blob| {
            blob.total = announced.then_some(body.len() as u64);
        });
        world.run();
        assert_eq!(world.outcome(anna, id), failed(Failure::TooLarge), "{announced}");
        assert!(world.engine(ben).blobs.whole().is_empty());
        // As a stream it has no limit.
        world.engine(ben).blobs.taking = Taking::Stream;
        let id = world.send_blob(anna, &user("ben"), &body);
        world.run();
        assert_eq!(world.outcome(anna, id), Some(Outcome::Acked));
    }
}

#[test]
fn a_sender_has_eight_under_way_and_four_to_one_receiver() {
    let mut world = World::new();
    let (anna, ben, cleo) = (world.join("anna"), world.join("ben"), world.join("cleo"));
    for who in [ben, cleo] {
        world.engine(who).blobs.taking = Taking::Undecided;
    }
    let ids: Vec<MessageId> = (0..5).map(|_| send(&mut world, anna, 10).0).collect();
    world.run();
    let outcomes: Vec<_> = ids.iter().map(|id| world.outcome(anna, *id)).collect();
    assert_eq!(outcomes, [None, None, None, None, failed(Failure::Busy)]);
    for _ in 0..4 {
        world.send_blob(anna, &user("cleo"), &content(10));
    }
    let now = world.now;
    let ninth = world.session(anna).send_blob(now, &user("cleo"), &esf_proto::client::OutgoingBlob::new(1, None));
    assert!(matches!(ninth, Err(esf_proto::client::SendError::Busy(_))), "{ninth:?}");
}

#[test]
fn one_to_nobody_is_offline() {
    let (mut world, anna, _) = pair();
    let id = world.send_blob(anna, &user("nobody"), &content(10));
    world.run();
    assert_eq!(world.outcome(anna, id), failed(Failure::Offline));
}

#[test]
fn either_end_cancels_in_the_middle() {
    let (mut world, anna, ben) = pair();
    world.engine(ben).blobs.taking = Taking::Stream;
    world.engine(ben).blobs.reads = Reads::No;
    let (id, _) = send(&mut world, anna, 4 * 1024 * KIB);
    world.run();
    let now = world.now;
    world.session(anna).cancel_blob(now, id);
    world.run();
    assert_eq!(world.outcome(anna, id), failed(Failure::Cancelled));
    assert_eq!(world.engine(ben).blobs.ended.len(), 1);
    assert_eq!(world.engine(ben).blobs.ended[0].1, Failure::Cancelled);

    let (id, _) = send(&mut world, anna, 4 * 1024 * KIB);
    world.run();
    let (now, blob) = (world.now, world.engine(ben).blobs.offers[1].blob);
    world.session(ben).finish_blob(now, blob, Err(Failure::Cancelled));
    world.run();
    assert_eq!(world.outcome(anna, id), failed(Failure::Cancelled));
    world.advance(Duration::from_secs(1));
    assert_eq!(world.node.held_bytes(), 0);
    assert_eq!(world.session(ben).incoming_blobs(), 0);
}

#[test]
fn all_devices_get_it_and_the_first_whole_receipt_is_the_outcome() {
    let mut world = World::new();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    let phone = world.join_on("ben", DeviceKind::PHONE);
    let (id, body) = send(&mut world, anna, 1024 * KIB);
    world.run();
    assert_eq!(world.outcome(anna, id), Some(Outcome::Acked));
    for who in [ben, phone] {
        assert!(world.engine(who).blobs.whole() == [&body[..]]);
    }
    world.advance(Duration::from_secs(1));
    assert_eq!(world.node.held_bytes(), 0);
}

#[test]
fn a_device_that_stalls_or_goes_does_not_keep_the_others() {
    for goes in [true, false] {
        let mut world = World::new();
        let (anna, ben) = (world.join("anna"), world.join("ben"));
        let phone = world.join_on("ben", DeviceKind::PHONE);
        world.engine(phone).blobs.taking = Taking::Stream;
        world.engine(phone).blobs.reads = Reads::No;
        let (id, body) = send(&mut world, anna, 1024 * KIB);
        world.run();
        assert_eq!(world.outcome(anna, id), None, "the slowest sets the pace");
        if goes {
            world.die(phone);
            world.advance(Duration::from_secs(120));
        } else {
            world.advance(Duration::from_secs(25));
        }
        assert_eq!(world.outcome(anna, id), Some(Outcome::Acked), "{goes}");
        assert!(world.engine(ben).blobs.whole() == [&body[..]]);
    }
}

#[test]
fn it_goes_on_after_a_cut_at_either_end() {
    for cut_sender in [true, false] {
        for taking in [Taking::Whole, Taking::Stream] {
            let (mut world, anna, ben) = pair();
            world.engine(ben).blobs.taking = taking;
            world.engine(ben).blobs.reads = Reads::No;
            let (id, body) = send(&mut world, anna, 2 * 1024 * KIB);
            let who = if cut_sender { anna } else { ben };
            let link = world.link(who);
            (link.pass_up, link.pass_down) = (Some(10), Some(10));
            world.run();
            assert_eq!(world.outcome(anna, id), None);
            world.cut(who);
            world.until_online(who);
            world.engine(ben).blobs.reads = Reads::Yes;
            let now = world.now;
            let engine = world.engine(ben);
            if let (Taking::Stream, Some(offer)) = (taking, engine.blobs.offers.first().cloned()) {
                engine.blobs.read(now, &mut engine.session, offer.blob);
            }
            world.advance(Duration::from_secs(1));
            assert_eq!(world.outcome(anna, id), Some(Outcome::Acked), "{cut_sender} {taking:?}");
            assert!(world.engine(ben).blobs.whole() == [&body[..]]);
        }
    }
}

#[test]
fn it_goes_on_after_a_restart_of_the_server_from_where_the_receiver_is() {
    let (mut world, anna, ben) = pair();
    world.engine(ben).blobs.taking = Taking::Stream;
    let (id, body) = send(&mut world, anna, 2 * 1024 * KIB);
    let link = world.link(ben);
    link.pass_down = Some(40);
    world.run();
    until_held(&mut world, ben, 400 * KIB);
    world.restart_server();
    world.until_online(anna);
    world.until_online(ben);
    world.advance(Duration::from_secs(2));
    assert_eq!(world.outcome(anna, id), Some(Outcome::Acked));
    assert!(world.engine(ben).blobs.whole() == [&body[..]]);
    assert_eq!(world.engine(ben).blobs.offers.len(), 1, "to the application it is one blob");
    let asked = world.engine(anna).blobs.asked.iter().filter(|(_, offset)| *offset == 0).count();
    assert_eq!(asked, 1, "it did not begin anew");
}

#[test]
fn a_new_receiver_gets_it_from_the_start_if_the_source_can_seek() {
    for can_seek in [true, false] {
        let (mut world, anna, ben) = pair();
        world.engine(ben).blobs.taking = Taking::Stream;
        let body = content(2 * 1024 * KIB);
        let id = world.send_blob_with(anna, &user("ben"), &body, |blob| blob.can_seek = can_seek);
        world.link(ben).pass_down = Some(60);
        world.run();
        until_held(&mut world, ben, 600 * KIB);
        world.die(ben);
        world.away(anna);
        world.restart_server();
        let again = world.join("ben");
        world.back(anna);
        world.until_online(anna);
        world.advance(Duration::from_secs(5));
        if can_seek {
            assert_eq!(world.outcome(anna, id), Some(Outcome::Acked));
            assert!(world.engine(again).blobs.whole() == [&body[..]]);
        } else {
            assert_eq!(world.outcome(anna, id), failed(Failure::ConnectionLost));
            assert!(world.engine(again).blobs.whole().is_empty());
        }
    }
}

#[test]
fn a_receiver_that_vanishes_ends_it_with_connection_lost() {
    let (mut world, anna, ben) = pair();
    world.engine(ben).blobs.taking = Taking::Stream;
    world.engine(ben).blobs.reads = Reads::No;
    let (id, _) = send(&mut world, anna, 1024 * KIB);
    world.run();
    world.away(ben);
    world.advance(Duration::from_secs(40));
    assert_eq!(world.outcome(anna, id), None, "the only receiver may come back: no clock runs");
    world.advance(Duration::from_secs(120));
    assert_eq!(world.outcome(anna, id), failed(Failure::ConnectionLost));
}

#[test]
fn a_sender_that_vanishes_ends_it_at_the_receiver_after_a_while() {
    let (mut world, anna, ben) = pair();
    world.engine(ben).blobs.taking = Taking::Stream;
    let (_, _) = send(&mut world, anna, 1024 * KIB);
    world.link(anna).pass_up = Some(20);
    world.run();
    world.die(anna);
    world.advance(Duration::from_secs(150));
    assert!(world.engine(ben).blobs.ended.is_empty(), "the sender may come back");
    world.advance(Duration::from_secs(150));
    let ended: Vec<Failure> = world.engine(ben).blobs.ended.iter().map(|ended| ended.1).collect();
    assert_eq!(ended, [Failure::ConnectionLost]);
    assert_eq!(world.session(ben).incoming_blobs(), 0);
}

#[test]
fn one_that_is_not_as_long_as_it_said_is_malformed() {
    for total in [99 * 1024, 101 * 1024] {
        let (mut world, anna, ben) = pair();
        let id = world.send_blob_with(anna, &user("ben"), &content(100 * KIB), |blob| blob.total = Some(total));
        world.run();
        assert_eq!(world.outcome(anna, id), failed(Failure::Malformed), "{total}");
        assert!(world.engine(ben).blobs.whole().is_empty());
    }
}

#[test]
fn the_servers_application_gets_blobs_like_anybody() {
    for taking in [Taking::Whole, Taking::Stream] {
        let (mut world, anna, _) = pair();
        world.server_blobs.taking = taking;
        let body = content(1024 * KIB + 3);
        let id = world.send_blob(anna, &To::Server, &body);
        world.run();
        assert_eq!(world.outcome(anna, id), Some(Outcome::Acked), "{taking:?}");
        assert!(world.server_blobs.whole == [body.to_vec()]);
    }
    let (mut world, anna, _) = pair();
    world.server_blobs.taking = Taking::Refused(Failure::Rejected);
    let id = world.send_blob(anna, &To::Server, &content(10));
    world.run();
    assert_eq!(world.outcome(anna, id), failed(Failure::Rejected));
}

#[test]
fn the_servers_application_goes_on_after_a_cut() {
    let (mut world, anna, _) = pair();
    world.server_blobs.taking = Taking::Stream;
    let body = content(2 * 1024 * KIB);
    let id = world.send_blob(anna, &To::Server, &body);
    world.link(anna).pass_up = Some(30);
    world.run();
    world.cut(anna);
    world.until_online(anna);
    world.advance(Duration::from_secs(1));
    assert_eq!(world.outcome(anna, id), Some(Outcome::Acked));
    assert!(world.server_blobs.whole == [body.to_vec()]);
}

#[test]
fn a_blob_that_the_server_had_whole_runs_once_over_a_fresh_login() {
    for taking in [Taking::Whole, Taking::Stream] {
        // Whatever of the server's words arrived before the session was lost.
        for arrives in 0..6 {
            let (mut world, anna, _) = pair();
            world.server_blobs.taking = taking;
            let body = content(30 * KIB);
            world.link(anna).pass_down = Some(arrives);
            let id = world.send_blob(anna, &To::Server, &body);
            world.run();
            world.away(anna);
            world.advance(Duration::from_secs(61));
            world.back(anna);
            world.until_online(anna);
            world.advance(Duration::from_secs(1));
            assert_eq!(world.outcome(anna, id), Some(Outcome::Acked), "{taking:?} {arrives}");
            assert!(world.server_blobs.whole == [body.to_vec()], "{taking:?} {arrives}");
        }
    }
}

#[test]
fn messages_pass_a_blob_and_stay_in_order() {
    let (mut world, anna, ben) = pair();
    let (blob, _) = send(&mut world, anna, 4 * 1024 * KIB);
    let ids: Vec<MessageId> = (0..50).map(|number| world.send_certainly(anna, "ben", &number.to_string())).collect();
    world.run();
    assert!(ids.iter().all(|id| world.outcome(anna, *id) == Some(Outcome::Acked)));
    assert_eq!(world.texts(ben), (0..50).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(world.outcome(anna, blob), Some(Outcome::Acked));
}

#[test]
fn at_log_off_and_at_the_end_every_blob_has_an_outcome() {
    let (mut world, anna, ben) = pair();
    world.engine(ben).blobs.taking = Taking::Undecided;
    let (id, _) = send(&mut world, anna, 100);
    world.run();
    let now = world.now;
    world.session(anna).log_off(now);
    world.run();
    assert_eq!(world.outcome(anna, id), failed(Failure::ConnectionLost));
    assert_eq!(world.closed(anna), Some(CloseReason::LoggedOff));
    let cleo = world.start(client_config("cleo"));
    let id = world.send_blob(cleo, &user("ben"), &content(10));
    let now = world.now;
    world.session(cleo).log_off(now);
    world.run();
    assert_eq!(world.outcome(cleo, id), failed(Failure::Offline));
}

#[test]
fn a_sender_that_logs_off_does_not_come_back() {
    let (mut world, anna, ben) = pair();
    world.engine(ben).blobs.taking = Taking::Stream;
    world.engine(ben).blobs.reads = Reads::No;
    send(&mut world, anna, 1024 * KIB);
    world.send_blob(anna, &To::Server, &content(10));
    world.server_blobs.taking = Taking::Undecided;
    world.run();
    let now = world.now;
    world.session(anna).log_off(now);
    world.run();
    let ended: Vec<Failure> = world.engine(ben).blobs.ended.iter().map(|ended| ended.1).collect();
    assert_eq!(ended, [Failure::Offline]);
    assert_eq!(world.server_blobs.ended, [Failure::Offline], "the server's application hears of it too");
    world.advance(Duration::from_secs(1));
    assert_eq!(world.node.held_bytes(), 0);
}

#[test]
fn a_reader_that_is_slow_is_not_one_that_stands_still() {
    let (mut world, anna, ben) = pair();
    world.engine(ben).blobs.taking = Taking::Stream;
    world.engine(ben).blobs.reads = Reads::No;
    let (id, body) = send(&mut world, anna, 320 * KIB);
    world.run();
    let blob = world.engine(ben).blobs.offers[0].blob;
    let mut got = Vec::new();
    // 16 KiB each 12 s.
    for _ in 0..100 {
        let now = world.now;
        match world.session(ben).read_blob(now, blob) {
            BlobRead::Data(data) => got.extend_from_slice(&data),
            BlobRead::End => break,
            other => panic!("{other:?} after {}", got.len()),
        }
        world.advance(Duration::from_secs(12));
    }
    assert!(got == body);
    let now = world.now;
    world.session(ben).finish_blob(now, blob, Ok(()));
    world.run();
    assert_eq!(world.outcome(anna, id), Some(Outcome::Acked));
}

#[test]
fn a_receiver_may_be_back_later_than_its_sender_after_a_restart_of_the_server() {
    for comes in [true, false] {
        let (mut world, anna, ben) = pair();
        world.engine(ben).blobs.taking = Taking::Stream;
        let (id, body) = send(&mut world, anna, 2 * 1024 * KIB);
        world.link(ben).pass_down = Some(40);
        world.run();
        until_held(&mut world, ben, 400 * KIB);
        world.away(ben);
        world.restart_server();
        world.until_online(anna);
        world.advance(Duration::from_secs(60));
        assert_eq!(world.outcome(anna, id), None, "it is offered again and again");
        if comes {
            world.back(ben);
            world.until_online(ben);
            world.advance(Duration::from_secs(2));
            assert_eq!(world.outcome(anna, id), Some(Outcome::Acked));
            assert!(world.engine(ben).blobs.whole() == [&body[..]]);
            assert_eq!(world.engine(ben).blobs.offers.len(), 1, "to the application it is one blob");
        } else {
            world.advance(Duration::from_secs(70));
            assert_eq!(world.outcome(anna, id), failed(Failure::ConnectionLost));
        }
    }
}

#[test]
fn devices_that_have_different_parts_after_a_restart_all_get_the_whole() {
    let mut world = World::new();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    let phone = world.join_on("ben", DeviceKind::PHONE);
    for who in [ben, phone] {
        world.engine(who).blobs.taking = Taking::Stream;
    }
    let (id, body) = send(&mut world, anna, 2 * 1024 * KIB);
    // The phone's link stands still before the other's does, at most one window behind.
    world.link(phone).pass_down = Some(30);
    world.run();
    let held = |world: &mut World, who| world.engine(who).blobs.got.values().map(|got| got.0.len()).sum::<usize>();
    assert!(held(&mut world, phone) < held(&mut world, ben));
    world.away(anna);
    world.restart_server();
    for who in [ben, phone] {
        world.until_online(who);
    }
    world.back(anna);
    world.until_online(anna);
    world.advance(Duration::from_secs(5));
    assert_eq!(world.outcome(anna, id), Some(Outcome::Acked));
    for who in [ben, phone] {
        assert!(world.engine(who).blobs.whole() == [&body[..]]);
    }
}
