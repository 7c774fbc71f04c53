use super::*;

#[test]
fn a_line_that_opens_with_a_number_states_a_rule() {
    let rules = read(
        "# Rules\n\
         **ESF-001** A frame has a length.\n\
         - ESF-002: A length is at least 3.\n\
         - **ESF-003.** A kind is a byte.\n\
         | ESF-004 | A flag is a bit. |\n\
         ### ESF-005 Extensions\n",
    );
    let stated = [
        ("ESF-001", "A frame has a length"),
        ("ESF-002", "A length is at least 3"),
        ("ESF-003", "A kind is a byte"),
        ("ESF-004", "A flag is a bit"),
        ("ESF-005", "Extensions"),
    ];
    assert_eq!(rules.stated, stated.map(|(id, text)| (id.into(), text.into())).into());
    assert_eq!(rules.reserved, BTreeSet::new());
}

#[test]
fn a_number_in_a_sentence_states_nothing() {
    let rules = read("The length is checked first (ESF-001), as\nESF-002 wants it, and **so does** ESF-003.\n");
    assert_eq!(rules, Rules::default());
}

#[test]
fn a_reserved_number_is_told_apart() {
    let rules = read(
        "**ESF-010** (reserved) Blobs.\n\
         - **ESF-011** *reserved*\n\
         | ESF-012 | reserved: files |\n\
         **ESF-013** The bits 0x40 and 0x80 are reserved.\n",
    );
    assert_eq!(rules.reserved, ["ESF-010", "ESF-011", "ESF-012"].map(String::from).into());
    assert!(rules.stated.keys().eq(["ESF-013"]));
}

#[test]
fn every_number_in_a_text_is_found() {
    let found: Vec<&str> = numbers("ESF-001, ESF-20 and ESF-, then (ESF-3).").collect();
    assert_eq!(found, ["ESF-001", "ESF-20", "ESF-3"]);
}

#[test]
fn the_first_sentence_of_a_rule_goes_over_lines() {
    let rules = read(
        "**ESF-021** A frame that is cut off\ncloses the\n`Link`. The reason\nis 1.\n**ESF-022** `Next`\n\nProse.\n",
    );
    assert_eq!(rules.stated["ESF-021"], "A frame that is cut off closes the `Link`");
    assert_eq!(rules.stated["ESF-022"], "`Next`");
}

#[test]
fn a_rule_that_code_cites_has_to_be_stated() {
    let rules = read("**ESF-001** A rule.\n**ESF-002** (reserved)\n");
    let cited = ["ESF-001", "ESF-002", "ESF-003"].map(|rule| (rule.to_owned(), "wire/frame.rs:7".to_owned()));
    assert_eq!(rules.judge(&cited), ["ESF-003: wire/frame.rs:7 cites it and docs/PROTOCOL.md does not state it"]);
}

#[test]
fn citations_are_found_with_their_place() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/rules");
    let cited = cited(&folder).unwrap();
    let place = format!("{}:", folder.join("tests.rs").display());
    assert!(cited.iter().any(|(rule, at)| rule == "ESF-013" && at.starts_with(&place)), "{cited:?}");
}
