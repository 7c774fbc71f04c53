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
    assert_eq!(names(&rules.stated), ["ESF-001", "ESF-002", "ESF-003", "ESF-004", "ESF-005"]);
    assert_eq!(names(&rules.reserved), [""; 0]);
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
    assert_eq!(names(&rules.reserved), ["ESF-010", "ESF-011", "ESF-012"]);
    assert_eq!(names(&rules.stated), ["ESF-013"]);
}

#[test]
fn every_number_in_a_text_is_found() {
    let found: Vec<&str> = numbers("ESF-001, ESF-20 and ESF-, then (ESF-3).").collect();
    assert_eq!(found, ["ESF-001", "ESF-20", "ESF-3"]);
}

fn names(rules: &BTreeSet<String>) -> Vec<&str> {
    rules.iter().map(String::as_str).collect()
}
