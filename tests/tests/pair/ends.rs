//! What a session's end means for what was under way. The traces are the counter-examples of the delivery model's
//! `ends`: each shows what goes wrong without one rule.

use std::time::Duration;

use esf_proto::{
    client::{Event, SendOptions},
    failure::Failure,
    ids::MessageId,
};
use esf_tests::world::{Answering, Outcome, Who, World, user};

/// How long the server of these tests waits for a client.
const WINDOW: Duration = Duration::from_secs(5);
/// Longer than any of these tests takes.
const LONG: Duration = Duration::from_secs(290);

fn anna_and_ben() -> (World, Who, Who) {
    let mut world = World::with_resume_window(WINDOW);
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    (world, anna, ben)
}

fn certain(world: &mut World, from: Who, text: &str) -> MessageId {
    world.send_certainly_to(from, &user("ben"), text, LONG)
}

/// The client is gone for so long that the server has ended its session; it may connect again.
fn gone_for_a_window(world: &mut World, who: Who) {
    world.away(who);
    world.advance(WINDOW + Duration::from_secs(1));
    world.back(who);
}

#[test]
fn resends_go_ahead_of_what_was_queued() {
    // Send; Send; AHand; AEnd; ALogin; AHand; AHand: 2 before 1 at the handler.
    let (mut world, anna, ben) = anna_and_ben();
    world.link(anna).hold_up = true;
    let first = certain(&mut world, anna, "first");
    world.run();
    world.away(anna);
    let second = certain(&mut world, anna, "second");
    gone_for_a_window(&mut world, anna);
    world.until_online(anna);
    world.run();
    assert_eq!(world.texts(ben), ["first", "second"]);
    assert_eq!(world.outcome(anna, first), Some(Outcome::Acked));
    assert_eq!(world.outcome(anna, second), Some(Outcome::Acked));
    assert_eq!(world.session(anna).stats().resent, 1);
}

#[test]
fn a_resend_that_comes_too_late_is_refused_and_never_run() {
    // Send; Send; AHand; AHand; Srv; BEnd; BLogin; Srv; AEnd; ALogin; AHand; Srv: 1 after 2 at the handler.
    let (mut world, anna, ben) = anna_and_ben();
    world.link(anna).hold_down = true;
    world.link(ben).hold_down = true;
    let first = certain(&mut world, anna, "first");
    world.run();
    // "first" was under way to Ben when his session ended, and Anna does not hear of that.
    gone_for_a_window(&mut world, ben);
    world.until_online(ben);
    world.link(anna).hold_down = true;
    let second = certain(&mut world, anna, "second");
    world.run();
    assert_eq!(world.texts(ben), ["second"]);
    gone_for_a_window(&mut world, anna);
    world.until_online(anna);
    world.run();
    assert_eq!(world.texts(ben), ["second"]);
    assert_eq!(world.outcome(anna, first), Some(Outcome::Failed(Failure::ConnectionLost)));
    assert_eq!(world.outcome(anna, second), Some(Outcome::Acked));
    assert_eq!(world.session(ben).stats().late, 1);
}

#[test]
fn a_duplicate_is_acknowledged_again() {
    // Send; AHand; Srv; SHand; BRecv; BAckHand; SAck; AEnd; ALogin; AHand; Srv: the ack went down with A's session.
    let (mut world, anna, ben) = anna_and_ben();
    world.link(anna).hold_down = true;
    let id = certain(&mut world, anna, "once");
    world.run();
    assert_eq!(world.texts(ben), ["once"]);
    gone_for_a_window(&mut world, anna);
    world.until_online(anna);
    world.run();
    assert_eq!(world.outcome(anna, id), Some(Outcome::Acked));
    assert_eq!(world.texts(ben), ["once"]);
    assert_eq!(world.session(ben).stats().duplicates, 1);
}

#[test]
fn offline_is_told_as_connection_lost_once_it_was_resent() {
    // Send; AHand; Srv; AEnd; SHand; BRecv; BEnd; ALogin; AHand; Srv; ARecv: it ran, and A is told that it did not.
    let (mut world, anna, ben) = anna_and_ben();
    world.link(anna).hold_down = true;
    let resent = certain(&mut world, anna, "ran");
    world.run();
    world.away(anna);
    let queued = certain(&mut world, anna, "never left");
    world.away(ben);
    world.advance(WINDOW + Duration::from_secs(1));
    assert_eq!(world.texts(ben), ["ran"]);
    world.back(anna);
    world.until_online(anna);
    world.run();
    assert_eq!(world.outcome(anna, resent), Some(Outcome::Failed(Failure::ConnectionLost)));
    assert_eq!(world.outcome(anna, queued), Some(Outcome::Failed(Failure::Offline)), "this one was sent once only");
}

#[test]
fn acks_that_were_not_counted_go_again_after_a_fresh_login() {
    // Send; AHand; Srv; SHand; BRecv; Count; Handler; BAckHand; BEnd; BLogin: nothing would ever answer A.
    let (mut world, anna, ben) = anna_and_ben();
    // 128 frames make a count due, which goes out before the acks; nothing more of Ben arrives.
    world.link(ben).pass_up = Some(1);
    let ids: Vec<MessageId> = (0..128).map(|number| certain(&mut world, anna, &number.to_string())).collect();
    world.run();
    assert_eq!(world.texts(ben).len(), 128);
    gone_for_a_window(&mut world, ben);
    assert!(ids.iter().all(|id| world.outcome(anna, *id).is_none()), "Ben holds them: they are not lost");
    world.until_online(ben);
    world.run();
    for id in ids {
        assert_eq!(world.outcome(anna, id), Some(Outcome::Acked));
    }
    assert_eq!(world.texts(ben).len(), 128);
    assert_eq!(world.session(ben).stats().duplicates, 0);
}

#[test]
fn a_query_is_answered_though_the_answering_engine_logged_in_afresh() {
    let (mut world, anna, ben) = anna_and_ben();
    world.engine(ben).answering = Answering::Never;
    let id = world.query_to(anna, &user("ben"), "how are you?", LONG);
    // The count tells the server that Ben has the question.
    world.advance(Duration::from_secs(1));
    gone_for_a_window(&mut world, ben);
    world.until_online(ben);
    assert_eq!(world.outcome(anna, id), None);
    world.reply(ben, Ok("well"));
    world.run();
    assert_eq!(world.outcome(anna, id), Some(Outcome::Replied("well".into())));
}

#[test]
fn a_query_that_was_handed_out_is_lost_with_the_session_of_whom_it_asked() {
    let (mut world, anna, ben) = anna_and_ben();
    world.link(ben).hold_down = true;
    let id = world.query_to(anna, &user("ben"), "how are you?", LONG);
    world.run();
    gone_for_a_window(&mut world, ben);
    assert_eq!(world.outcome(anna, id), Some(Outcome::Failed(Failure::ConnectionLost)));
}

#[test]
fn the_asker_ends_queries_that_were_handed_out_and_keeps_those_that_were_not() {
    let (mut world, anna, _ben) = anna_and_ben();
    world.link(anna).hold_up = true;
    let handed = world.query_to(anna, &user("ben"), "lost", LONG);
    world.run();
    world.away(anna);
    let kept = world.query_to(anna, &user("ben"), "kept", LONG);
    gone_for_a_window(&mut world, anna);
    world.until_online(anna);
    world.run();
    assert_eq!(world.outcome(anna, handed), Some(Outcome::Failed(Failure::ConnectionLost)));
    assert_eq!(world.outcome(anna, kept), Some(Outcome::Replied("kept".into())));
}

#[test]
fn what_a_receiver_has_run_it_remembers_over_a_fresh_login() {
    // Send; AHand; Srv; AEnd; SHand; BRecv; Handler; BEnd; BLogin; ALogin; AHand; Srv; SHand; BRecv; Handler: twice.
    let (mut world, anna, ben) = anna_and_ben();
    world.link(anna).hold_down = true;
    let id = certain(&mut world, anna, "once");
    world.run();
    world.away(anna);
    gone_for_a_window(&mut world, ben);
    world.until_online(ben);
    world.back(anna);
    world.until_online(anna);
    world.run();
    assert_eq!(world.texts(ben), ["once"]);
    assert_eq!(world.outcome(anna, id), Some(Outcome::Acked));
}

#[test]
fn a_restart_of_the_server_loses_and_doubles_nothing_that_is_certain() {
    let (mut world, anna, ben) = anna_and_ben();
    // 1 has run and its ack is under way; 2 is under way to Ben, 3 to the server; 4 waits.
    world.link(anna).hold_down = true;
    let one = certain(&mut world, anna, "1");
    world.run();
    world.link(ben).hold_down = true;
    let two = certain(&mut world, anna, "2");
    world.run();
    world.link(anna).hold_up = true;
    let three = certain(&mut world, anna, "3");
    world.run();
    world.engine(anna).network = false;
    world.restart_server();
    let four = certain(&mut world, anna, "4");
    world.until_online(ben);
    world.back(anna);
    world.until_online(anna);
    world.run();
    assert_eq!(world.texts(ben), ["1", "2", "3", "4"]);
    for id in [one, two, three, four] {
        assert_eq!(world.outcome(anna, id), Some(Outcome::Acked));
    }
}

#[test]
fn after_a_restart_of_the_server_whoever_is_not_back_yet_is_offline() {
    let (mut world, anna, ben) = anna_and_ben();
    world.link(anna).hold_down = true;
    let ran = certain(&mut world, anna, "ran");
    world.run();
    world.engine(ben).network = false;
    world.restart_server();
    let queued = certain(&mut world, anna, "queued");
    world.until_online(anna);
    world.run();
    assert_eq!(world.outcome(anna, ran), Some(Outcome::Failed(Failure::ConnectionLost)));
    assert_eq!(world.outcome(anna, queued), Some(Outcome::Failed(Failure::Offline)));
    assert_eq!(world.texts(ben), ["ran"]);
}

#[test]
fn a_receiver_that_restarts_is_another_engine_and_gets_only_what_comes_later() {
    let (mut world, anna, old) = anna_and_ben();
    world.link(old).hold_down = true;
    let handed_out = certain(&mut world, anna, "under way");
    world.run();
    world.die(old);
    let new = world.join("ben");
    assert_eq!(world.outcome(anna, handed_out), Some(Outcome::Failed(Failure::ConnectionLost)));
    let later = certain(&mut world, anna, "later");
    world.run();
    assert_eq!(world.texts(new), ["later"]);
    assert_eq!(world.outcome(anna, later), Some(Outcome::Acked));
}

#[test]
fn a_resend_runs_again_at_a_receiver_that_restarted_and_in_order() {
    let (mut world, anna, old) = anna_and_ben();
    world.link(anna).hold_down = true;
    let first = certain(&mut world, anna, "first");
    let second = certain(&mut world, anna, "second");
    world.run();
    assert_eq!(world.texts(old), ["first", "second"]);
    world.die(old);
    let new = world.join("ben");
    gone_for_a_window(&mut world, anna);
    world.until_online(anna);
    world.run();
    assert_eq!(world.texts(new), ["first", "second"]);
    assert_eq!(world.outcome(anna, first), Some(Outcome::Acked));
    assert_eq!(world.outcome(anna, second), Some(Outcome::Acked));
}

#[test]
fn a_send_whose_time_is_over_is_not_resent() {
    // Send; AHand; AEnd; TimedOut; ALogin: the resend was still to come.
    let (mut world, anna, ben) = anna_and_ben();
    world.link(anna).hold_up = true;
    let id = world.send_certainly_to(anna, &user("ben"), "late", Duration::from_secs(3));
    world.run();
    gone_for_a_window(&mut world, anna);
    assert_eq!(world.outcome(anna, id), Some(Outcome::Failed(Failure::TimedOut)));
    world.until_online(anna);
    world.run();
    assert!(world.texts(ben).is_empty());
    assert_eq!(world.session(anna).stats().resent, 0);
}

#[test]
fn a_plain_send_that_may_be_lost_is_told_if_it_asked() {
    let (mut world, anna, ben) = anna_and_ben();
    let told = |note| SendOptions { tell: Some(note), ..SendOptions::default() };
    world.link(anna).hold_up = true;
    world.send_to(anna, &user("ben"), "lost", told(7));
    world.run();
    world.away(anna);
    world.send_to(anna, &user("ben"), "queued", told(8));
    gone_for_a_window(&mut world, anna);
    world.until_online(anna);
    world.run();
    let undeliverable: Vec<&Event> =
        world.engine(anna).events.iter().filter(|event| matches!(event, Event::Undeliverable { .. })).collect();
    assert_eq!(undeliverable, [&Event::Undeliverable { note: 7, failure: Failure::ConnectionLost }]);
    assert_eq!(world.texts(ben), ["queued"]);
}

#[test]
fn what_was_sent_to_the_server_runs_once_over_a_fresh_login() {
    let (mut world, anna, _) = anna_and_ben();
    world.link(anna).hold_down = true;
    let id = world.send_certainly_to(anna, &user(""), "once", LONG);
    world.run();
    assert_eq!(world.inbox.len(), 1);
    gone_for_a_window(&mut world, anna);
    world.until_online(anna);
    world.run();
    assert_eq!(world.inbox.len(), 1);
    assert_eq!(world.outcome(anna, id), Some(Outcome::Acked));
}
