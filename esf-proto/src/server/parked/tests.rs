use super::*;
use crate::{
    ids::Engine,
    server::{
        Config, Generation, Outbox,
        command::HubCommand,
        testing::{ack, alone, at, certain, count, phone, plain, query, raw, to},
    },
    wire::{Address, Envelope},
};
use std::{vec, vec::Vec};

const FIRST: Generation = Generation::FIRST;
const PLAIN: Flags = Flags::from_bits(0);

fn judging() -> (Session, Outbox, Engine) {
    let (session, outbox) = alone(Config { intercepts: true, window: 4096, ..Config::default() });
    (session, outbox, phone("ann"))
}

fn come(session: &mut Session, frame: RawFrame) {
    session.handle_frame(at(0), FIRST, frame);
}

/// What the session wants judged; nothing else is to be done for it.
fn judged(session: &mut Session) -> Option<(Ticket, RawFrame)> {
    let command = session.poll_hub()?;
    assert!(session.poll_hub().is_none());
    match command {
        HubCommand::Judge { ticket, frame } => Some((ticket, frame)),
        other => panic!("{other:?}"),
    }
}

fn relayed(session: &mut Session) -> Vec<RawFrame> {
    let commands = core::iter::from_fn(|| session.poll_hub());
    commands
        .filter_map(|command| match command {
            HubCommand::Relay { frame, .. } => Some(frame),
            _ => None,
        })
        .collect()
}

fn told(session: &mut Session) -> Vec<(u64, Failure)> {
    let commands = core::iter::from_fn(|| session.poll_hub());
    commands
        .filter_map(|command| match command {
            HubCommand::Tell { frame, .. } | HubCommand::TellOfBlob(frame) => {
                match RawFrame::parse(frame).unwrap().decode() {
                    Ok(Frame::Failure { envelope, code, .. }) => Some((envelope.id, code)),
                    _ => None,
                }
            }
            _ => None,
        })
        .collect()
}

#[test]
fn what_comes_behind_waits_in_order_and_what_belongs_to_the_hop_does_not() {
    let (mut session, mut outbox, ann) = judging();
    let frames: Vec<RawFrame> =
        (1..=3).map(|id| certain(&ann, to("bob"), id, 1000)).chain([query(&ann, to("bob"), 4, 1000, b"?")]).collect();
    for frame in &frames {
        come(&mut session, frame.clone());
    }
    come(&mut session, ack(&ann, &phone("bob"), 9));
    come(&mut session, raw(&Frame::Heartbeat { nonce: 7 }, PLAIN));
    let first = session.poll_hub();
    let Some(HubCommand::Judge { mut ticket, frame }) = first else { panic!("{first:?}") };
    assert_eq!(frame, frames[0]);
    assert_eq!(relayed(&mut session).iter().map(RawFrame::kind).collect::<Vec<_>>(), [Some(Kind::Ack)]);
    let out = core::iter::from_fn(|| session.poll_transmit(at(0), FIRST, &mut outbox));
    let kinds: Vec<Option<Kind>> = out.map(|frame| RawFrame::parse(frame).unwrap().kind()).collect();
    assert!(kinds.contains(&Some(Kind::HeartbeatAck)), "{kinds:?}");
    // Each is judged in its turn.
    for frame in &frames {
        assert!(session.is_parked());
        session.resume(at(1), ticket, Verdict::Pass);
        let mut commands: Vec<HubCommand> = core::iter::from_fn(|| session.poll_hub()).collect();
        let next = commands.pop();
        let passed = match next {
            Some(HubCommand::Judge { ticket: next, .. }) => {
                ticket = next;
                commands.pop()
            }
            last => last,
        };
        assert!(matches!(&passed, Some(HubCommand::Relay { frame: of, .. }) if of == frame), "{passed:?}");
    }
    assert!(!session.is_parked());
    assert_eq!(session.held_bytes(), 0);
}

#[test]
fn a_message_behind_is_received_at_once_and_taken_when_it_goes_on() {
    let (mut session, _, ann) = judging();
    let frame = plain(&ann, to("bob"), PLAIN, 0, b"hello");
    let len = u32::try_from(frame.len()).unwrap();
    come(&mut session, frame.clone());
    come(&mut session, frame.clone());
    let counts = session.hop.counts();
    assert_eq!((counts.received, counts.taken), (2, len));
    let (ticket, _) = judged(&mut session).unwrap();
    session.resume(at(0), ticket, Verdict::Pass);
    assert_eq!(session.hop.counts().taken, 2 * len);
}

#[test]
fn what_waits_is_bounded_and_a_client_that_keeps_to_the_window_never_hears_of_it() {
    let (mut session, _, ann) = judging();
    come(&mut session, plain(&ann, to("bob"), PLAIN, 0, b"first"));
    // A single frame of any size, then no more than the window.
    let frame = plain(&ann, to("bob"), PLAIN, 0, &[7; 1000]);
    for _ in 0..4096 / frame.len() {
        come(&mut session, frame.clone());
    }
    assert_eq!(session.poll_close(FIRST), None);
    come(&mut session, frame);
    assert_eq!(session.poll_close(FIRST), Some(CloseReason::InvalidMessage));

    let (mut session, _, ann) = judging();
    come(&mut session, plain(&ann, to("bob"), PLAIN, 0, b"first"));
    let volatile = plain(&ann, to("bob"), Flags::VOLATILE, 0, &[7; 1000]);
    for _ in 0..100 {
        come(&mut session, volatile.clone());
    }
    assert!(session.counters.volatile_dropped.get() >= 30);
    for id in 0..300 {
        come(&mut session, query(&ann, to("bob"), id, 1000, b"?"));
    }
    let busy: Vec<(u64, Failure)> = told(&mut session);
    assert_eq!(busy, (256..300).map(|id| (id, Failure::Busy)).collect::<Vec<_>>());
    assert!(session.held_bytes() < 256 * 1024, "{}", session.held_bytes());
    assert_eq!(session.poll_close(FIRST), None);
}

#[test]
fn who_is_refused_is_told_if_it_waits_for_an_outcome() {
    let (mut session, _, ann) = judging();
    let offer = Frame::BlobOffer {
        envelope: Envelope::new(to("bob"), Address::of_engine(&ann), 4),
        stream: 5,
        total: None,
        info_type: 1,
        name: "",
    };
    let frames = [
        certain(&ann, to("bob"), 1, 1000),
        plain(&ann, to("bob"), PLAIN, 2, b""),
        plain(&ann, to("bob"), Flags::TELL, 3, b""),
        raw(&offer, PLAIN),
        query(&ann, to("bob"), 5, 1000, b""),
    ];
    let mut all = vec![];
    for frame in frames {
        come(&mut session, frame);
        let (ticket, _) = judged(&mut session).unwrap();
        session.resume(at(0), ticket, Verdict::Refuse(Failure::Rejected));
        all.extend(told(&mut session).into_iter().map(|(id, failure)| (id, failure == Failure::Rejected)));
    }
    assert_eq!(all, [(1, true), (3, true), (4, true), (5, true)]);
    come(&mut session, certain(&ann, to("bob"), 6, 1000));
    let (ticket, _) = judged(&mut session).unwrap();
    session.resume(at(0), ticket, Verdict::Drop);
    assert!(session.poll_hub().is_none() && !session.is_parked());
}

#[test]
fn a_verdict_that_is_not_waited_for_changes_nothing() {
    let (mut session, _, ann) = judging();
    come(&mut session, certain(&ann, to("bob"), 1, 1000));
    let (first, _) = judged(&mut session).unwrap();
    session.resume(at(0), first, Verdict::Pass);
    assert_eq!(relayed(&mut session).len(), 1);
    come(&mut session, certain(&ann, to("bob"), 2, 1000));
    session.resume(at(0), first, Verdict::Pass);
    assert!(session.is_parked());
    let (second, frame) = judged(&mut session).unwrap();
    assert_ne!(first, second);
    assert_eq!(frame.envelope().unwrap().id, 2);
}

#[test]
fn a_frame_that_breaks_a_rule_closes_the_link_when_its_turn_comes_and_what_is_behind_it_is_nothing() {
    let (mut session, _, ann) = judging();
    come(&mut session, certain(&ann, to("bob"), 1, 1000));
    come(&mut session, certain(&phone("eve"), to("bob"), 2, 1000));
    come(&mut session, certain(&ann, to("bob"), 3, 1000));
    assert_eq!(session.poll_close(FIRST), None);
    let (ticket, _) = judged(&mut session).unwrap();
    session.resume(at(0), ticket, Verdict::Pass);
    assert_eq!(relayed(&mut session).len(), 1);
    assert_eq!(session.poll_close(FIRST), Some(CloseReason::WrongUserId));
    assert!(!session.is_parked());
    assert_eq!(session.held_bytes(), 0);
}

#[test]
fn what_was_sent_before_the_end_of_the_session_still_goes_if_nobody_waits_for_its_outcome() {
    let (mut session, mut outbox, ann) = judging();
    let frames = [plain(&ann, to("bob"), PLAIN, 0, b"one"), plain(&ann, to("bob"), PLAIN, 0, b"two")];
    come(&mut session, frames[0].clone());
    come(&mut session, certain(&ann, to("bob"), 1, 1000));
    come(&mut session, frames[1].clone());
    let (ticket, _) = judged(&mut session).unwrap();
    session.end(at(0), CloseReason::LoggedOff, &mut outbox);
    session.resume(at(0), ticket, Verdict::Pass);
    let Some(HubCommand::Relay { frame, .. }) = session.poll_hub() else { panic!("it goes") };
    assert_eq!(frame, frames[0]);
    let (ticket, _) = judged(&mut session).unwrap();
    session.resume(at(0), ticket, Verdict::Pass);
    assert_eq!(relayed(&mut session), frames[1..]);
    assert_eq!(session.held_bytes(), 0);
}

#[test]
fn the_end_of_a_blob_waits_for_its_offer_and_for_no_other_frame() {
    let (mut session, _, ann) = judging();
    let envelope = || Envelope::new(to("bob"), Address::of_engine(&ann), 1);
    let offer = raw(&Frame::BlobOffer { envelope: envelope(), stream: 5, total: None, info_type: 1, name: "" }, PLAIN);
    let end = raw(&Frame::BlobEnd { envelope: envelope(), stream: 5, total: 0 }, PLAIN);
    come(&mut session, plain(&ann, to("bob"), PLAIN, 0, b"first"));
    let Some(HubCommand::Judge { ticket, .. }) = session.poll_hub() else { panic!("it waits") };
    come(&mut session, end.clone());
    assert_eq!(relayed(&mut session), core::slice::from_ref(&end));
    come(&mut session, offer.clone());
    come(&mut session, end.clone());
    assert_eq!(relayed(&mut session), []);
    session.resume(at(0), ticket, Verdict::Pass);
    let commands: Vec<HubCommand> = core::iter::from_fn(|| session.poll_hub()).collect();
    let Some(HubCommand::Judge { ticket, .. }) = commands.last() else { panic!("the offer waits") };
    session.resume(at(0), *ticket, Verdict::Pass);
    assert_eq!(relayed(&mut session), [offer, end]);
    // Without an offer that waits, an end of nothing costs nothing.
    let (mut session, _, ann) = judging();
    come(&mut session, plain(&ann, to("bob"), PLAIN, 0, b"first"));
    come(&mut session, count(0, 0));
    assert_eq!(session.poll_close(FIRST), None);
}
