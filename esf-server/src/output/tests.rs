use super::*;

#[test]
fn what_steers_a_terminal_is_written_out() {
    assert_eq!(printable("two\nlines"), "two\\nlines");
    assert_eq!(printable("\x1b[2Jgone"), "\\u{1b}[2Jgone");
    assert_eq!(printable("\u{202e}backwards"), "\\u{202e}backwards");
    assert_eq!(printable("Grüße, 世界"), "Grüße, 世界");
}
