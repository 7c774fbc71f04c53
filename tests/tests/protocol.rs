//! What docs/PROTOCOL.md shows is what the code does.

use esf_tests::transitions::{BEGIN, END, section};

const PROTOCOL: &str = include_str!("../../docs/PROTOCOL.md");

#[test]
fn the_state_machines_of_the_protocol_text_are_those_of_the_code() {
    let (_, rest) = PROTOCOL.split_once(BEGIN).expect("the begin of the generated section");
    let (shown, _) = rest.split_once(END).expect("the end of the generated section");
    assert!(shown == section(), "docs/PROTOCOL.md is not what the code does: run `cargo xtask protocol`");
}

#[test]
fn each_machine_is_shown_with_a_beginning_and_an_end() {
    for (machine, begin, end) in [
        ("### A client's session", "[*] --> Connecting", "Closed --> [*]"),
        ("### A server's link", "[*] --> Accepted", "Closed --> [*]"),
        ("### A server's session", "[*] --> Attached", "Ended --> [*]"),
    ] {
        let (_, text) = PROTOCOL.split_once(machine).expect(machine);
        let diagram = text.split("```").nth(1).expect("a diagram");
        assert!(diagram.contains(begin) && diagram.contains(end), "{machine}: {diagram}");
    }
}
