//! Prints the state machines for docs/PROTOCOL.md; `cargo xtask protocol` puts them there.
#![expect(clippy::print_stdout, reason = "this is what it is for")]

fn main() {
    print!("{}", esf_tests::transitions::section());
}
