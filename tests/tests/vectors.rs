//! The golden vectors, read in both directions, and the frames and tables of docs/PROTOCOL.md.

use std::collections::{BTreeMap, BTreeSet};

use bytes::BytesMut;
use esf_proto::{
    close::CloseReason,
    failure::Failure,
    wire::{Direction, Kind, Method},
};
use esf_tests::vectors::{File, Hex, JsonFrame, Vector, WIRE, read};

#[test]
fn bytes_become_the_frames_or_the_error_that_the_vectors_say() {
    for vector in read(WIRE) {
        assert_eq!(vector.decoded(), vector, "{}", vector.name);
    }
}

#[test]
fn frames_become_the_bytes_that_the_vectors_say() {
    for vector in read(WIRE) {
        assert_eq!(vector.encoded(), vector, "{}", vector.name);
    }
}

#[test]
fn the_file_is_as_it_would_be_printed() {
    let text = std::fs::read_to_string(WIRE).expect("the file");
    assert_eq!(text, File(&read(WIRE)).to_string());
}

#[test]
fn every_vector_has_a_name_of_its_own_and_one_meaning() {
    let vectors = read(WIRE);
    let names: BTreeSet<_> = vectors.iter().map(|vector| &vector.name).collect();
    assert_eq!(names.len(), vectors.len());
    for vector in &vectors {
        assert_ne!(vector.frames().next().is_some(), vector.error.is_some(), "{}", vector.name);
    }
}

#[test]
fn every_built_kind_and_every_error_has_a_vector() {
    let mut frames = BTreeMap::<u8, usize>::new();
    let mut errors = BTreeSet::new();
    for vector in read(WIRE) {
        match &vector.error {
            Some(error) => _ = errors.insert(error.clone()),
            None => *frames.entry(vector.hex.0[4]).or_default() += 1,
        }
    }
    for kind in Kind::ALL {
        assert_eq!(frames.contains_key(&(*kind as u8)), kind.is_built(), "{}", kind.name());
    }
    let every_error = [
        "Address",
        "Extension",
        "Flag",
        "Kind",
        "Length",
        "MustUnderstand",
        "TooLarge",
        "Trailing",
        "Truncated",
        "Unbuilt",
        "UserId",
        "Utf8",
        "Value",
        "Version",
    ];
    assert!(errors.iter().eq(every_error), "{errors:?}");
}

/// A vector of an error keeps its close reason in step with the table of close reasons.
#[test]
fn errors_close_with_the_reason_that_the_protocol_says() {
    let close = |error: &str| match error {
        "Kind" | "Unbuilt" => None,
        "UserId" => Some(2),
        "Version" => Some(14),
        "TooLarge" => Some(15),
        "MustUnderstand" => Some(16),
        _ => Some(1),
    };
    for Vector { name, error, close: told, .. } in read(WIRE) {
        if let Some(error) = error {
            assert_eq!(told, close(&error), "{name}");
        }
    }
}

const PROTOCOL: &str = include_str!("../../docs/PROTOCOL.md");

/// A section of the protocol's text, without its subsections' headings.
fn section(heading: &str) -> &'static str {
    let (_, after) = PROTOCOL.split_once(&format!("\n## {heading}\n")).expect("the section");
    after.split_once("\n## ").map_or(after, |(section, _)| section)
}

/// The cells of the rows of a section's tables.
fn rows(heading: &str) -> impl Iterator<Item = Vec<&'static str>> {
    let rows = section(heading).lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'));
    rows.map(|row| row.split('|').map(str::trim).collect())
}

/// The blocks of a language in a text.
fn blocks<'a>(text: &'a str, language: &'a str) -> impl Iterator<Item = &'a str> {
    let blocks = text.split("```").skip(1).step_by(2);
    blocks.filter_map(move |block| block.strip_prefix(language)?.strip_prefix('\n'))
}

#[test]
fn the_conversation_in_the_protocol_is_true() {
    let conversation = section("A conversation in hex");
    let frames: Vec<JsonFrame> =
        blocks(conversation, "json").map(|json| serde_json::from_str(json).expect("a frame")).collect();
    let bytes: Vec<Hex> = blocks(conversation, "hex")
        .map(|block| block.lines().map(|line| line.split(';').next().unwrap_or_default()).collect::<String>())
        .map(|digits| Hex::parse(&digits).expect("hexadecimal digits"))
        .collect();
    assert_eq!(frames.len(), bytes.len());
    assert_eq!(frames.len(), 9, "every step has a frame and its bytes");
    for (frame, bytes) in frames.iter().zip(bytes) {
        let mut out = BytesMut::new();
        frame.encode(&mut out);
        assert_eq!(Hex(out.to_vec()), bytes, "{frame:?}");
    }
}

/// Every count in the conversation is what the frames before it add up to.
#[test]
fn the_counts_in_the_conversation_are_true() {
    let conversation = section("A conversation in hex");
    let json: Vec<serde_json::Value> =
        blocks(conversation, "json").map(|json| serde_json::from_str(json).expect("a frame")).collect();
    let bytes_of = |kind: &str| {
        let frame = json.iter().find(|frame| frame["kind"] == kind).expect("it is there");
        let mut out = BytesMut::new();
        serde_json::from_value::<JsonFrame>(frame.clone()).expect("a frame").encode(&mut out);
        out.len()
    };
    let counts: Vec<_> = json.iter().filter(|frame| frame["kind"] == "Count").collect();
    assert_eq!(counts.len(), 2);
    assert_eq!((&counts[0]["received"], &counts[0]["taken"]), (&1.into(), &bytes_of("Certain").into()));
    assert_eq!((&counts[1]["received"], &counts[1]["taken"]), (&1.into(), &0.into()));
}

#[test]
fn the_kinds_in_the_protocol_are_those_of_the_code() {
    let told: Vec<_> = rows("Kinds")
        .filter(|row| row[0].starts_with("0x"))
        .map(|row| {
            let [number, name, direction, windowed, payload] = row[..] else { panic!("{row:?}") };
            let reserved = payload.starts_with("reserved");
            (number.to_owned(), name.to_owned(), direction.to_owned(), windowed == "W", !reserved)
        })
        .collect();
    let direction = |kind: Kind| match kind.direction() {
        Direction::ToServer => "c>s",
        Direction::ToClient => "s>c",
        Direction::Both => "both",
    };
    let coded: Vec<_> = Kind::ALL
        .iter()
        .map(|kind| {
            let number = format!("0x{:02X}", *kind as u8);
            (number, kind.name().to_owned(), direction(*kind).to_owned(), kind.is_windowed(), kind.is_built())
        })
        .collect();
    assert_eq!(told, coded);
}

#[test]
fn the_methods_failures_and_close_reasons_in_the_protocol_are_those_of_the_code() {
    let numbered = |heading: &str| rows(heading).filter(|row| row[0].parse::<u16>().is_ok()).collect::<Vec<_>>();

    let methods: Vec<_> = numbered("Request methods")
        .iter()
        .map(|row| (row[0].to_owned(), row[1].to_owned(), row[3] != "reserved"))
        .collect();
    let coded: Vec<_> = Method::ALL
        .iter()
        .map(|method| ((*method as u16).to_string(), method.name().to_owned(), method.is_built()))
        .collect();
    assert_eq!(methods, coded);

    let failures: Vec<_> = numbered("Failures").iter().map(|row| format!("{} {}", row[0], row[1])).collect();
    let coded: Vec<_> = Failure::ALL.iter().map(|failure| format!("{} {failure:?}", *failure as u8)).collect();
    assert_eq!(failures, coded);

    let reasons: Vec<_> = numbered("Close reasons").iter().map(|row| row.join(" ").trim().to_owned()).collect();
    let coded: Vec<_> = CloseReason::ALL
        .iter()
        .map(|reason| {
            let again = if reason.may_reconnect() { "yes" } else { "no" };
            format!("{} {reason:?} {} {again}", *reason as u8, reason.websocket_code())
        })
        .collect();
    assert_eq!(reasons, coded);
}

#[test]
fn every_rule_of_the_protocol_has_a_number_of_its_own_and_those_pointed_at_are_there() {
    let stated: Vec<_> = PROTOCOL
        .lines()
        .filter_map(|line| line.strip_prefix("**")?.get(..7))
        .filter(|id| id.starts_with("ESF-"))
        .collect();
    let unique: BTreeSet<_> = stated.iter().copied().collect();
    assert_eq!(unique.len(), stated.len());
    assert!(stated.len() > 100, "{}", stated.len());
    for (at, _) in PROTOCOL.match_indices("ESF-").filter(|(at, _)| &PROTOCOL[at + 4..at + 5] != "n") {
        assert!(unique.contains(&PROTOCOL[at..at + 7]), "{}", &PROTOCOL[at..at + 7]);
    }
}
