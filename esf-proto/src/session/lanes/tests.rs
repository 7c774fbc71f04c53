use super::*;

fn frame(text: &'static str) -> Queued {
    Queued { frame: Bytes::from_static(text.as_bytes()), deadline: None, cost: text.len(), tag: 0 }
}

fn texts(lanes: &mut Lanes, room: bool) -> Vec<Bytes> {
    core::iter::from_fn(|| lanes.pop(|_| room)).map(|(_, queued)| queued.frame).collect()
}

#[test]
fn interactive_before_messages_before_volatile() {
    let mut lanes = Lanes::default();
    lanes.push(Lane::Volatile, frame("v"));
    lanes.push(Lane::Message, frame("m"));
    lanes.push(Lane::Interactive, frame("i"));
    assert_eq!(texts(&mut lanes, true), ["i", "m", "v"]);
    assert!(lanes.is_empty());
}

#[test]
fn a_closed_window_holds_messages_and_volatile_but_no_answers() {
    let mut lanes = Lanes::default();
    lanes.push(Lane::Message, frame("m"));
    lanes.push(Lane::Volatile, frame("v"));
    lanes.push(Lane::Interactive, frame("i"));
    assert_eq!(texts(&mut lanes, false), ["i"]);
    assert_eq!(lanes.message_bytes(), 1);
}

#[test]
fn only_what_is_due_expires() {
    let mut lanes = Lanes::default();
    let at = Instant::from_micros;
    lanes.push(Lane::Message, Queued { deadline: Some(at(5)), ..frame("a") });
    lanes.push(Lane::Message, Queued { deadline: Some(at(9)), ..frame("b") });
    lanes.push(Lane::Message, frame("c"));
    let mut gone = Vec::new();
    lanes.expire(at(4), |_, queued| gone.push(queued.frame));
    assert!(gone.is_empty());
    lanes.expire(at(5), |_, queued| gone.push(queued.frame));
    assert_eq!(gone, ["a"]);
    assert_eq!(lanes.first_deadline(), Some(at(9)));
    lanes.expire(at(20), |_, queued| gone.push(queued.frame));
    assert_eq!(gone, ["a", "b"], "also long after its time");
    assert_eq!(texts(&mut lanes, true), ["c"]);
    assert_eq!(lanes.message_bytes(), 0);
}

#[test]
fn volatile_is_refused_while_a_message_waits_or_its_lane_is_full() {
    let mut lanes = Lanes::default();
    assert!(!lanes.refuses_volatile(10));
    assert!(lanes.refuses_volatile(VOLATILE_LIMIT + 1));
    lanes.push(Lane::Message, frame("m"));
    assert!(lanes.refuses_volatile(10));
}

#[test]
fn what_left_the_volatile_lane_makes_room_in_it() {
    let mut lanes = Lanes::default();
    for _ in 0..3 {
        assert!(!lanes.refuses_volatile(VOLATILE_LIMIT));
        lanes.push(Lane::Volatile, frame("v"));
        assert!(lanes.refuses_volatile(VOLATILE_LIMIT));
        assert_eq!(texts(&mut lanes, true), ["v"]);
    }
}

#[test]
fn what_is_volatile_can_be_taken_out_alone() {
    let mut lanes = Lanes::default();
    lanes.push(Lane::Volatile, frame("v"));
    lanes.push(Lane::Interactive, frame("i"));
    let mut gone = Vec::new();
    lanes.take_volatile(|queued| gone.push(queued.frame));
    assert_eq!(gone, ["v"]);
    assert!(!lanes.refuses_volatile(VOLATILE_LIMIT), "its bytes are given back");
    assert_eq!(texts(&mut lanes, true), ["i"]);
}

#[test]
fn a_rest_keeps_what_waits_and_no_room_when_nothing_does() {
    let mut lanes = Lanes::default();
    lanes.push_copy(Lane::Message, &Bytes::from_static(b"m"), None, 1, 0);
    lanes.rest();
    assert_eq!(texts(&mut lanes, true), ["m"]);
    assert!(lanes.messages.capacity() > 0);
    lanes.rest();
    assert_eq!(lanes.messages.capacity(), 0);
    assert!(lanes.is_empty());
}
