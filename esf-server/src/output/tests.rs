use super::*;

#[test]
fn what_steers_a_terminal_is_written_out() {
    assert_eq!(printable("two\nlines"), "two\\nlines");
    assert_eq!(printable("\x1b[2Jgone"), "\\u{1b}[2Jgone");
    assert_eq!(printable("\u{202e}backwards"), "\\u{202e}backwards");
    assert_eq!(printable("Grüße, 世界"), "Grüße, 世界");
}

#[test]
fn times_of_day_are_told_in_utc() {
    let days =
        [(0, "1970-01-01"), (951_782_400, "2000-02-29"), (951_868_800, "2000-03-01"), (4_107_542_400, "2100-03-01")];
    for (seconds, day) in days {
        assert_eq!(utc(seconds * 1000 + 3_723_000), format!("{day}T01:02:03Z"));
    }
}
