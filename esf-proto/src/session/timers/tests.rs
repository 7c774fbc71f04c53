use super::*;

#[test]
fn gives_due_timers_in_order_and_each_once() {
    let mut timers = Timers::default();
    let at = Instant::from_micros;
    timers.set(TimerKind::Ping, at(30));
    timers.set(TimerKind::Count, at(10));
    timers.set(TimerKind::Login, at(50));
    assert_eq!(timers.next(), Some((at(10), TimerKind::Count)));
    assert_eq!(timers.pop_due(at(40)), Some((at(10), TimerKind::Count)));
    assert_eq!(timers.pop_due(at(40)), Some((at(30), TimerKind::Ping)));
    assert_eq!(timers.pop_due(at(40)), None);
    timers.clear(TimerKind::Login);
    assert_eq!(timers.next(), None);
}
