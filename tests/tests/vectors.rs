//! The golden vectors, read in both directions.

use std::collections::{BTreeMap, BTreeSet};

use esf_proto::wire::Kind;
use esf_tests::vectors::{File, Vector, WIRE, read};

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
