//! Golden vectors: frames as JSON beside their bytes, for every implementation to read.
//!
//! `tests/vectors/wire.json` is an array of [`Vector`]s. Binary is a string of hexadecimal digits, a 64-bit number a
//! string of decimal digits, any other number a number. A flags byte, a hop byte or a list of extensions that is 0 or
//! empty is left out. `cargo run -p esf-tests --bin vectors` prints the file anew from its frames.

mod json;

use std::fmt;

use bytes::{Bytes, BytesMut};
use esf_proto::wire::{DecodeError, Frames};
use serde::{Deserialize, Serialize};

pub use json::{Hex, JsonFrame};

/// The largest frame of every vector: that of a server which was not told otherwise.
pub const MAX_FRAME: usize = 1 << 20;

/// Where the vectors are.
pub const WIRE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/wire.json");

/// One message, and what is in it: a frame, several frames, or an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// What it shows. No two have the same.
    pub name: String,
    /// The bytes of the message.
    #[serde(default)]
    pub hex: Hex,
    /// The only frame in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<JsonFrame>,
    /// The frames in it, if there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frames: Vec<JsonFrame>,
    /// Why it is refused: the name of a [`DecodeError`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The close reason for the error; none if the frame is skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close: Option<u8>,
}

impl Vector {
    /// The frames, one or several.
    pub fn frames(&self) -> impl Iterator<Item = &JsonFrame> {
        self.frame.iter().chain(&self.frames)
    }

    /// The same vector with what its bytes say.
    #[must_use]
    pub fn decoded(&self) -> Self {
        let mut vector = Self { frame: None, frames: Vec::new(), error: None, close: None, ..self.clone() };
        match decode(self.hex.0.clone().into()) {
            Ok(mut frames) if frames.len() == 1 => vector.frame = frames.pop(),
            Ok(frames) => vector.frames = frames,
            Err(error) => {
                let name = format!("{error:?}");
                vector.error = name.split(|c: char| !c.is_alphanumeric()).next().map(str::to_owned);
                vector.close = (!error.is_skippable()).then_some(error.close_reason() as u8);
            }
        }
        vector
    }

    /// The same vector with the bytes of its frames; one of an error keeps its own.
    ///
    /// # Panics
    /// A frame says what no frame can say.
    #[must_use]
    pub fn encoded(&self) -> Self {
        let mut out = BytesMut::new();
        self.frames().for_each(|frame| frame.encode(&mut out));
        let hex = if out.is_empty() { self.hex.clone() } else { Hex(out.to_vec()) };
        Self { hex, ..self.clone() }
    }
}

fn decode(message: Bytes) -> Result<Vec<JsonFrame>, DecodeError> {
    Frames::new(message, MAX_FRAME).map(|raw| JsonFrame::decode(&raw?)).collect()
}

/// Reads a file of vectors.
///
/// # Panics
/// It is no such file.
#[must_use]
pub fn read(path: &str) -> Vec<Vector> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A file of vectors, one on a line.
#[derive(Debug)]
pub struct File<'a>(pub &'a [Vector]);

impl fmt::Display for File<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[\n")?;
        for (at, vector) in self.0.iter().enumerate() {
            let line = serde_json::to_string(vector).map_err(|_| fmt::Error)?;
            let comma = if at + 1 < self.0.len() { "," } else { "" };
            writeln!(f, "{line}{comma}")?;
        }
        f.write_str("]\n")
    }
}
