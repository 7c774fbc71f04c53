//! The example of the core alone stays what it is for: short, and with nothing but std around the core. That it works is
//! shown by the documentation of `esf-proto`, which has it as its example.

const EXAMPLE: &str = include_str!("../../esf-proto/examples/tcp.rs");

#[test]
fn the_example_has_at_most_120_lines_of_at_most_120_characters() {
    assert!(EXAMPLE.lines().count() <= 120, "{} lines", EXAMPLE.lines().count());
    let widest = EXAMPLE.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(120), "{widest:?} characters");
}

#[test]
fn the_example_uses_std_and_the_core_and_nothing_else() {
    let uses = EXAMPLE.lines().filter_map(|line| line.trim_start().strip_prefix("use "));
    let crates: Vec<&str> = uses.map(|path| path.split("::").next().unwrap_or(path)).collect();
    assert_eq!(crates, ["std", "esf_proto"]);
    for adapter in ["esf_driver", "esf_tokio", "esf_smol", "esf_sync", "tokio::", "smol::"] {
        assert!(!EXAMPLE.contains(adapter), "{adapter}");
    }
}
