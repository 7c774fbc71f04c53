use std::{collections::VecDeque, task::Waker};

use bytes::Bytes;

use super::*;
use crate::endpoint::Transport;

/// An endpoint whose outputs are a script.
#[derive(Default)]
struct Script {
    frames: VecDeque<Bytes>,
    actions: VecDeque<LinkAction>,
    timeout: Option<Instant>,
    /// What a due timer adds to `actions`.
    at_timeout: Option<LinkAction>,
    /// What looking for a frame adds to `actions`.
    at_transmit: Option<LinkAction>,
    timeouts: u32,
}

impl Endpoint for Script {
    fn handle_message(&mut self, _: Instant, _: Bytes) {}
    fn handle_text(&mut self, _: Instant) {}
    fn handle_transport(&mut self, _: Instant, _: Transport) {}
    fn handle_closed(&mut self, _: Instant, _: Option<u16>) {}
    fn wants_flush(&self) -> bool {
        false
    }
    fn poll_transmit(&mut self, _: Instant) -> Option<Bytes> {
        self.actions.extend(self.at_transmit.take());
        self.frames.pop_front()
    }
    fn poll_action(&mut self) -> Option<LinkAction> {
        self.actions.pop_front()
    }
    fn poll_timeout(&self) -> Option<Instant> {
        self.timeout
    }
    fn handle_timeout(&mut self, _: Instant) {
        self.timeouts += 1;
        self.timeout = None;
        self.actions.extend(self.at_timeout.take());
    }
    fn register(&mut self, _: &Waker) {}
    fn max_message(&self) -> usize {
        8192
    }
}

const FRAME: Bytes = Bytes::from_static(b"frame");

fn seconds(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

/// Steps until the loop would wait or drop.
fn turn(drain: &mut Drain, now: Instant, can_write: bool, script: &mut Script) -> Vec<Step> {
    let mut steps = Vec::new();
    loop {
        let step = drain.next(now, can_write, script, &mut |_| ());
        let last = matches!(step, Step::Wait(_) | Step::Drop);
        steps.push(step);
        if last {
            return steps;
        }
        assert!(steps.len() < 100, "the loop spins: {steps:?}");
    }
}

#[test]
fn all_that_is_ready_is_fed_and_flushed_once() {
    let mut script = Script { frames: [FRAME, FRAME].into(), timeout: Some(seconds(9)), ..Script::default() };
    let steps = turn(&mut Drain::default(), seconds(0), true, &mut script);
    assert_eq!(
        steps,
        [Step::Transmit(FRAME.len()), Step::Transmit(FRAME.len()), Step::Flush, Step::Wait(Some(seconds(9)))],
        "a turn with nothing more to do ends by waiting for the endpoint's timer"
    );
}

#[test]
fn a_due_timer_runs_before_anything_is_fed() {
    let mut script = Script {
        frames: [FRAME].into(),
        timeout: Some(seconds(1)),
        at_timeout: Some(LinkAction::Ping),
        ..Script::default()
    };
    let steps = turn(&mut Drain::default(), seconds(1), true, &mut script);
    assert_eq!(steps, [Step::Ping, Step::Transmit(FRAME.len()), Step::Flush, Step::Wait(None)]);
    assert_eq!(script.timeouts, 1);
}

#[test]
fn what_looking_for_a_frame_brings_is_done_in_the_same_turn() {
    let mut script = Script { at_transmit: Some(LinkAction::Ping), ..Script::default() };
    assert_eq!(turn(&mut Drain::default(), seconds(0), true, &mut script), [Step::Ping, Step::Flush, Step::Wait(None)]);
    let reason = Some(CloseReason::Kicked);
    let mut script = Script { at_transmit: Some(LinkAction::Close { reason }), ..Script::default() };
    let steps = turn(&mut Drain::default(), seconds(0), true, &mut script);
    assert_eq!(steps[..2], [Step::Close(reason), Step::Flush]);
}

#[test]
fn nothing_is_taken_while_the_pipe_is_full() {
    let mut script = Script { frames: [FRAME].into(), actions: [LinkAction::Ping].into(), ..Script::default() };
    let steps = turn(&mut Drain::default(), seconds(0), false, &mut script);
    assert_eq!(steps, [Step::Wait(None)]);
    assert_eq!(script.frames.len(), 1, "the frame stays where it is counted");
}

#[test]
fn a_close_comes_after_the_last_frame_and_ends_the_sending() {
    let reason = Some(CloseReason::Kicked);
    let mut script =
        Script { frames: [FRAME, FRAME].into(), actions: [LinkAction::Close { reason }].into(), ..Script::default() };
    let mut drain = Drain::default();
    let steps = turn(&mut drain, seconds(0), true, &mut script);
    assert_eq!(
        steps,
        [
            Step::Transmit(FRAME.len()),
            Step::Transmit(FRAME.len()),
            Step::Close(reason),
            Step::Flush,
            Step::Wait(Some(seconds(0) + CLOSE_ANSWER))
        ]
    );
    script.frames.push_back(FRAME);
    script.actions.push_back(LinkAction::Ping);
    assert_eq!(turn(&mut drain, seconds(0), true, &mut script), [Step::Wait(Some(seconds(0) + CLOSE_ANSWER))]);
    assert_eq!(turn(&mut drain, seconds(0) + CLOSE_ANSWER, true, &mut script), [Step::Drop]);
}

#[test]
fn a_close_that_the_pipe_does_not_take_is_given_up() {
    let mut script = Script { actions: [LinkAction::Close { reason: None }].into(), ..Script::default() };
    let mut drain = Drain::default();
    assert_eq!(turn(&mut drain, seconds(0), false, &mut script), [Step::Wait(Some(seconds(0) + CLOSE_DRAIN))]);
    assert_eq!(turn(&mut drain, seconds(0) + CLOSE_DRAIN, false, &mut script), [Step::Drop]);
}

#[test]
fn the_first_close_stands_and_a_drop_overrides_it() {
    let first = Some(CloseReason::PushedOut);
    let mut script = Script {
        actions: [LinkAction::Close { reason: first }, LinkAction::Close { reason: None }].into(),
        ..Script::default()
    };
    let mut drain = Drain::default();
    drain.close(seconds(0), first);
    drain.close(seconds(0), Some(CloseReason::TooLarge));
    assert!(turn(&mut drain, seconds(0), true, &mut script).contains(&Step::Close(first)));
    script.actions.push_back(LinkAction::Drop);
    assert_eq!(turn(&mut drain, seconds(0), true, &mut script), [Step::Drop]);
}

#[test]
fn nothing_is_fed_once_the_peer_has_closed() {
    let mut script = Script { frames: [FRAME].into(), ..Script::default() };
    let mut drain = Drain::default();
    drain.answer_close(seconds(0));
    assert_eq!(turn(&mut drain, seconds(0), true, &mut script), [Step::Wait(Some(seconds(0) + CLOSE_ANSWER))]);
    assert_eq!(turn(&mut drain, seconds(0) + CLOSE_ANSWER, true, &mut script), [Step::Drop]);
}

#[test]
fn a_long_turn_looks_at_the_timers_in_between() {
    let mut script = Script { frames: std::iter::repeat_n(FRAME, 99).collect(), ..Script::default() };
    let mut drain = Drain::default();
    assert_eq!(drain.next(seconds(0), true, &mut script, &mut |_| ()), Step::Transmit(FRAME.len()));
    script.timeout = Some(seconds(1));
    for _ in 1..=TIMERS_EVERY {
        assert_eq!(drain.next(seconds(1), true, &mut script, &mut |_| ()), Step::Transmit(FRAME.len()));
    }
    assert_eq!(script.timeouts, 1);
}
