//! Prints `tests/vectors/wire.json` anew: the bytes of its frames, and the errors of what is no frame.
//!
//! To add a vector, write its name and its frame, or its name and its hex, into the file; then put what this prints
//! in its place. A vector that was there before and looks different now is a changed protocol.

use std::io::{self, Write};

use esf_tests::vectors::{File, WIRE, read};

fn main() -> io::Result<()> {
    let vectors: Vec<_> = read(WIRE)
        .iter()
        .map(|vector| if vector.frames().next().is_some() { vector.encoded() } else { vector.decoded() })
        .collect();
    write!(io::stdout().lock(), "{}", File(&vectors))
}
