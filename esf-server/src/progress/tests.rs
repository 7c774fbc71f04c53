use super::*;

const MIB: u64 = 1 << 20;

#[test]
fn a_line_has_share_rate_and_remaining_time() {
    let start = Instant::now();
    let mut meter = Meter::new("report.pdf", Some(100 * MIB), start);
    assert_eq!(meter.line(start, 0), "report.pdf [--------------------]   0 % of 100 MiB");
    let line = meter.line(start + Duration::from_secs(2), 25 * MIB);
    assert_eq!(line, "report.pdf [#####---------------]  25 % of 100 MiB, 12.5 MiB/s, 6 s left");
    assert_eq!(summary(100 * MIB, Duration::from_secs(10)), "100 MiB in 10 s, 10.0 MiB/s");
}

#[test]
fn the_rate_is_that_of_the_last_seconds() {
    let start = Instant::now();
    let mut meter = Meter::new("x", None, start);
    for second in 1..=10 {
        meter.line(start + Duration::from_secs(second), second * MIB);
    }
    for second in 11..=14 {
        meter.line(start + Duration::from_secs(second), 10 * MIB + (second - 10) * 10 * MIB);
    }
    assert_eq!(meter.line(start + Duration::from_secs(15), 60 * MIB), "x 60.0 MiB, 10.0 MiB/s");
    let mut last = String::new();
    for second in 16..=21 {
        last = meter.line(start + Duration::from_secs(second), 60 * MIB);
    }
    assert_eq!(last, "x 60.0 MiB, waiting");
}

#[test]
fn a_transfer_of_unknown_length_has_no_bar() {
    let start = Instant::now();
    let mut meter = Meter::new("-", None, start);
    assert_eq!(meter.line(start + Duration::from_secs(1), 512), "- 512 B, 512 B/s");
}

#[test]
fn a_name_is_short_and_steers_nothing() {
    let start = Instant::now();
    let mut meter = Meter::new(&"ä".repeat(100), None, start);
    assert!(meter.line(start, 1).starts_with(&format!("{}… ", "ä".repeat(NAME))));
    assert!(!Meter::new("\x1b[2J", None, start).line(start, 1).contains('\x1b'));
}

#[test]
fn more_than_all_is_all() {
    let start = Instant::now();
    let mut meter = Meter::new("x", Some(1), start);
    assert!(meter.line(start, u64::MAX).contains("100 %"));
}

#[test]
fn sizes_have_three_digits() {
    let cases = [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "0.98 KiB"),
        (1024, "1.00 KiB"),
        (10 * 1024 - 1, "10.0 KiB"),
        (100 * MIB, "100 MiB"),
        (4 << 30, "4.00 GiB"),
        (u64::MAX, "16.0 EiB"),
    ];
    for (bytes, text) in cases {
        assert_eq!(size(bytes), text);
    }
}

#[test]
fn times_have_two_units() {
    let cases =
        [(0.4, "under 1 s"), (59.9, "59 s"), (61.0, "1 min 1 s"), (3600.0 * 26.5, "26 h 30 min"), (1e9, "days")];
    for (seconds, text) in cases {
        assert_eq!(time(seconds), text);
    }
}

#[test]
fn a_board_shows_the_oldest_transfer_and_how_many_more() {
    let board = Board::new(true);
    assert_eq!(board.line(), None);
    let first = board.begin("a", Some(10));
    let second = board.begin("b", None);
    first.at(5);
    assert!(board.line().is_some_and(
        |line| line.starts_with("a [##########----------]  50 % of 10 B") && line.ends_with("; and 1 more")
    ));
    drop(first);
    assert!(board.line().is_some_and(|line| line.starts_with("b 0 B")));
    drop(second);
    assert_eq!(board.line(), None);
}

#[test]
fn without_a_terminal_nothing_is_shown() {
    let board = Board::new(false);
    board.begin("a", Some(10)).at(5);
    let _transfer = board.begin("a", Some(10));
    assert_eq!(board.line(), None);
}
