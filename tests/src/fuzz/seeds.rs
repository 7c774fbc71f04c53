//! Inputs to begin with, and words to put into them: made from the golden vectors and the tables of the protocol.

use std::fmt::Write;

use esf_proto::{
    close::CloseReason,
    wire::{Kind, Method, SUBPROTOCOL},
};

use super::{Corpus, pump::REQUEST};
use crate::vectors::{self, WIRE};

/// The dictionary, in the form of libFuzzer: the header of each kind, the numbers of the tables, and the parts of which
/// the golden vectors are made.
#[must_use]
pub fn dictionary() -> String {
    let mut out = String::new();
    let mut word = |name: &str, bytes: &[u8]| {
        let escaped: String = bytes.iter().map(|byte| format!("\\x{byte:02X}")).collect();
        let _ = writeln!(out, "{name}=\"{escaped}\"");
    };
    for kind in Kind::ALL {
        word(&format!("header_{}", kind.name()), &[*kind as u8, 0, 0]);
    }
    for method in Method::ALL {
        word(&format!("method_{}", method.name()), &(*method as u16).to_le_bytes());
    }
    for (name, number) in [("u32_max", u32::MAX), ("frame_limit", 1 << 20), ("login_limit", 8192), ("shortest", 3)] {
        word(name, &number.to_le_bytes());
    }
    for reason in CloseReason::ALL {
        word(&format!("code_{}", reason.websocket_code()), &reason.websocket_code().to_be_bytes());
    }
    word("extensions", &[2, 0, 1, 0, 0]);
    word("subprotocol", SUBPROTOCOL.as_bytes());
    let lines = REQUEST.split_inclusive(|byte| *byte == b'\n').filter(|line| line.len() > 2);
    lines.enumerate().for_each(|(place, line)| word(&format!("request_{place}"), line));
    for (place, vector) in vectors::read(WIRE).iter().enumerate() {
        if vector.error.is_none() && vector.hex.0.len() <= 64 {
            word(&format!("vector_{place}"), &vector.hex.0);
        }
    }
    out
}

/// The seeds of a target.
#[must_use]
pub fn seeds(target: &str) -> Corpus {
    Corpus(match target {
        "wire_decode" => messages(&[]),
        // The first byte says that the rest is read as it is.
        "wire_round_trip" => [messages(&[1]), sweeps(&[0], 23)].concat(),
        "client_inputs" => client(),
        "server_inputs" => server(),
        "hub_operations" => hub(),
        "resume_and_takeover" => resume(),
        "pump" => pump(),
        "model" => sweeps(&[7], 24),
        _ => Vec::new(),
    })
}

type Named = Vec<(String, Vec<u8>)>;

/// Every vector, behind `head`.
fn messages(head: &[u8]) -> Named {
    let message = |vector: vectors::Vector| (vector.name, [head, &vector.hex.0].concat());
    vectors::read(WIRE).into_iter().map(message).collect()
}

/// After `head`, each of the first decisions in turn, with everything behind it small, then large.
fn sweeps(head: &[u8], first: u8) -> Named {
    let sweep = |decision: u8| {
        let small: Vec<u8> = (0..40).map(|at| at * 3 % 7).collect();
        let large: Vec<u8> = (0..40).map(|at| 255 - at * 5).collect();
        [("small", small), ("large", large)]
            .map(|(size, tail)| (format!("{decision} {size}"), [head, &[decision], &tail].concat()))
    };
    (0..first).flat_map(sweep).collect()
}

/// A login that succeeds, then each decision; and some whole stories.
fn client() -> Named {
    let online = [0, 0, 1];
    let stories: [(&str, &[u8]); 5] = [
        ("certain and its ack", &[15, 3, 1, 20, 0, 8, 4, 0, 0, 1]),
        ("a cut and a resume", &[15, 3, 1, 20, 0, 15, 3, 1, 9, 0, 21, 0, 0, 19, 170, 0, 2, 9, 4, 2, 0]),
        ("a cut and a new session", &[15, 3, 1, 20, 0, 21, 0, 0, 19, 170, 0, 1, 4, 0, 0]),
        ("stored", &[7, 0, 1, 0, 0, 1, 7, 0, 23, 0, 15, 11, 0, 0, 7, 2, 0, 7, 0, 1, 0, 0, 1, 7, 1, 0]),
        ("a blob", &[15, 8, 0, 5, 0, 0, 10, 0, 0, 22, 1, 1, 0, 10, 0, 1, 22, 1, 1, 0]),
    ];
    let stories = stories.map(|(name, story)| (name.to_owned(), [&online[..], story].concat()));
    [sweeps(&online, 24), stories.to_vec()].concat()
}

/// A login, then each decision; and each vector as it is.
fn server() -> Named {
    let online = [0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0];
    let judged = [&[1], &online[1..]].concat();
    let mut all = sweeps(&online, 18);
    all.extend(sweeps(&judged, 18).into_iter().map(|(sweep, bytes)| (format!("{sweep} judged"), bytes)));
    // What happens behind the server.
    all.extend(
        sweeps(&[&online[..], &[15, 0]].concat(), 12)
            .into_iter()
            .map(|(sweep, bytes)| (format!("{sweep} behind"), bytes)),
    );
    for vector in vectors::read(WIRE) {
        if let Ok(len) = u8::try_from(vector.hex.0.len()) {
            // The ninth decision sends bytes: their number, then they.
            all.push((vector.name, [&online[..], &[9, 0, 0, 248, len], &vector.hex.0].concat()));
        }
    }
    all
}

/// Requests, streams, and connections that log in and then do each thing.
fn pump() -> Named {
    let online = [2, 0, 7, 0, 0, 0, 0, 1, 0, 255];
    let mut all = sweeps(&online, 16);
    all.extend(sweeps(&[0], 6));
    for vector in vectors::read(WIRE) {
        if let Ok(len) = u8::try_from(vector.hex.0.len()) {
            // Pieces of one and of five bytes; a whole message, then one in two frames.
            let (one, two) =
                ([&[248, len], &vector.hex.0[..], &[0]].concat(), [&[248, len], &vector.hex.0[..], &[130, 1]].concat());
            all.push((vector.name, [&[1, 2, 0, 4, 0], &one[..], &two].concat()));
        }
    }
    all
}

fn hub() -> Named {
    // Without a store, with one, and with one and a user of many devices.
    let two = |choices| [choices, 0, 0, 0, 0, 1, 0, 1, 1, 1, 1];
    let sweeps_with = |(name, choices)| {
        let sweeps = sweeps(&two(choices), 32).into_iter();
        sweeps.map(move |(sweep, bytes)| (format!("{sweep} {name}"), bytes))
    };
    let kinds = [("alone", 0), ("stored", 8), ("many", 0xE8), ("judged", 0x48)];
    let sweeps = kinds.into_iter().flat_map(sweeps_with);
    // Ann, beside ben, writes twice to zoe, who is not there, and the store keeps it; zoe comes on one device, then on
    // another, leaves the first, and confirms on the second.
    let introduced: &[u8] = &[11, 0, 0, 0, 0, 11, 0, 0, 0, 11, 0, 0, 0, 0, 11, 0, 0];
    let kept = [
        &[24, 0, 2, 1, 0, 200, 1, 7, 0, 24, 0, 2, 1, 1, 200, 1, 7, 0, 11, 0, 0, 0, 11, 0, 0][..],
        &[0, 2, 0, 2, 1, 11, 0, 0, 0, 0, 11, 0, 0, 9, 2, 1],
        &[0, 2, 1, 3, 1, 11, 0, 0, 0, 0, 11, 0, 0, 9, 3, 1],
        &[5, 2, 0, 11, 0, 0, 11, 0, 0, 9, 2, 1, 27, 2, 0, 0, 11, 0, 0, 9, 2, 1],
    ];
    let kept = [introduced, &kept.concat()].concat();
    let stories = [("kept", [&two(8)[..], &kept].concat()), ("judged and kept", [&two(0x48)[..], &kept].concat())];
    sweeps.chain(stories.map(|(name, bytes)| (name.to_owned(), bytes))).collect()
}

/// A link, a login, and each decision; and some whole stories.
fn resume() -> Named {
    let online = [0, 2, 2, 3, 1];
    let stories: [(&str, &[u8]); 5] = [
        ("a takeover", &[6, 0, 8, 0, 0, 2, 2, 3, 2, 8, 0, 6, 0]),
        ("a cut and a resume", &[6, 0, 12, 0, 6, 0, 0, 2, 2, 3, 0, 8, 0]),
        ("another engine", &[6, 0, 15, 7]),
        ("stored and confirmed", &[12, 0, 13, 180, 6, 2, 0, 0, 2, 2, 3, 1, 10, 0, 0, 0]),
        ("stored in time", &[12, 0, 6, 2, 1, 13, 180, 0, 2, 2, 3, 1, 10, 0, 0, 0]),
    ];
    let stories = stories.map(|(name, story)| (name.to_owned(), [&online[..], story].concat()));
    [sweeps(&online, 16), stories.to_vec()].concat()
}
