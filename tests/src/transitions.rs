//! The state machines as PROTOCOL.md shows them: a diagram and a table each, made from the tables that the code obeys.

use std::fmt::Write as _;

use esf_proto::{client::transitions::TRANSITIONS, server, session::transition::Transition};

/// What stands before the section in docs/PROTOCOL.md …
pub const BEGIN: &str = "<!-- transitions: generated -->\n";
/// … and after it.
pub const END: &str = "<!-- /transitions -->";

/// One way, in words.
struct Way {
    from: String,
    on: String,
    to: String,
    rule: &'static str,
}

/// The text between [`BEGIN`] and [`END`].
#[must_use]
pub fn section() -> String {
    let client = TRANSITIONS.iter().map(|way| in_words(way, way.from.text(), way.on.text(), way.to.text())).collect();
    let mut out = String::new();
    machine(&mut out, "A client's session", client);
    machine(&mut out, "A server's link", named(server::LINK));
    machine(&mut out, "A server's session", named(server::SESSION));
    out.push('\n');
    out
}

fn named<S: std::fmt::Debug>(table: &[Transition<S>]) -> Vec<Way> {
    table.iter().map(|way| in_words(way, &format!("{:?}", way.from), way.on, &format!("{:?}", way.to))).collect()
}

fn in_words<S, E>(way: &Transition<S, E>, from: &str, on: &str, to: &str) -> Way {
    Way { from: from.into(), on: on.into(), to: to.into(), rule: way.rule }
}

fn machine(out: &mut String, title: &str, ways: Vec<Way>) {
    let _ = writeln!(out, "\n### {title}\n\n```mermaid\nstateDiagram-v2");
    let _ = writeln!(out, "    [*] --> {}", ways[0].from);
    for (at, way) in ways.iter().enumerate() {
        let same = |other: &&Way| (&other.from, &other.to) == (&way.from, &way.to);
        if ways[..at].iter().any(|other| same(&other)) {
            continue;
        }
        // One arrow for all that leads the same way; the table has the rest.
        let on: Vec<&str> = ways.iter().filter(same).map(|way| way.on.as_str()).collect();
        let _ = writeln!(out, "    {} --> {}: {}", way.from, way.to, on.join(" / "));
    }
    let mut ends: Vec<&str> = ways.iter().map(|way| way.to.as_str()).collect();
    ends.retain(|to| ways.iter().all(|way| way.from != *to));
    ends.dedup();
    if let Some(end) = ends.first() {
        let _ = writeln!(out, "    {end} --> [*]");
    }
    let _ = writeln!(out, "```\n\n| from | on | to | what it does |\n|---|---|---|---|");
    for Way { from, on, to, rule } in ways {
        let _ = writeln!(out, "| {from} | {on} | {to} | {rule} |");
    }
}
