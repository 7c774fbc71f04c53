use super::*;

#[test]
fn a_row_whose_tests_passed_is_proven() {
    let verdict = judge(&[row("login", &["esf-proto::hub::tests::login"])]);
    assert_eq!(verdict, Verdict { proven: 1, ..Verdict::default() });
}

#[test]
fn a_row_without_a_test_is_a_problem() {
    let verdict = judge(&[row("login", &[])]);
    assert_eq!(verdict.problems, ["login: it names no test"]);
    assert_eq!(verdict.proven, 0);
}

#[test]
fn a_row_for_later_needs_no_test_and_is_named() {
    let verdict = judge(&[Row { later: Some("blobs".into()), ..row("send-blob", &[]) }]);
    assert_eq!(verdict, Verdict { later: vec!["send-blob (blobs)".into()], ..Verdict::default() });
}

#[test]
fn a_row_for_later_says_for_which_work() {
    let verdict = judge(&[Row { later: Some(" ".into()), ..row("send-blob", &[]) }]);
    assert_eq!(verdict.problems, ["send-blob: `later` names no work"]);
}

#[test]
fn a_row_is_proven_or_later_and_not_both() {
    let verdict = judge(&[Row { later: Some("blobs".into()), ..row("login", &["esf-proto::hub::tests::login"]) }]);
    assert_eq!(verdict.problems, ["login: it names tests and says `later` as well"]);
    assert_eq!(verdict.proven, 0);
}

#[test]
fn a_test_that_did_not_run_proves_nothing() {
    let verdict = judge(&[row("login", &["esf-proto::hub::tests::login", "esf-proto::hub::tests::gone"])]);
    assert_eq!(verdict.problems, ["login: test esf-proto::hub::tests::gone did not run"]);
    assert_eq!(verdict.proven, 0);
}

#[test]
fn an_ignored_test_proves_nothing() {
    let verdict = judge(&[row("login", &["esf-proto::hub::tests::slow"])]);
    assert_eq!(verdict.problems, ["login: test esf-proto::hub::tests::slow is ignored"]);
}

#[test]
fn a_failed_test_proves_nothing() {
    let verdict = judge(&[row("login", &["esf-proto::hub::tests::wrong"])]);
    assert_eq!(verdict.problems, ["login: test esf-proto::hub::tests::wrong failed"]);
}

#[test]
fn two_rows_cannot_share_an_id() {
    let twin = || row("login", &["esf-proto::hub::tests::login"]);
    assert_eq!(judge(&[twin(), twin()]).problems, ["login: two rows have this id"]);
}

#[test]
fn a_row_says_what_and_whence() {
    let verdict =
        judge(&[Row { what: String::new(), source: " ".into(), ..row("x", &["esf-proto::hub::tests::login"]) }]);
    assert_eq!(verdict.problems, ["x: its `what` is empty", "x: its `source` is empty"]);
}

#[test]
fn a_rule_without_a_row_is_a_problem() {
    let rules = rules::read("**ESF-001** A rule.\n**ESF-002** Another.\n**ESF-003** (reserved)\n");
    let row = Row { source: "ESF-001".into(), ..row("esf-001", &["esf-proto::hub::tests::login"]) };
    let verdict = check(&[row], &rules, &outcomes());
    assert_eq!(verdict.problems, ["ESF-002: docs/PROTOCOL.md states this rule and no row has it as its source"]);
}

#[test]
fn the_rows_that_rules_lack_can_be_pasted() {
    let rules = rules::read("**ESF-001** A rule.\n**ESF-002** Bits `0x40` are \"free\".\n");
    let row = Row { source: "ESF-001".into(), ..row("esf-001", &["esf-proto::hub::tests::login"]) };
    let missing = read(&missing_rows(&[row], &rules)).unwrap();
    assert_eq!(missing.len(), 1);
    assert_eq!((missing[0].id.as_str(), missing[0].source.as_str()), ("esf-002", "ESF-002"));
    assert_eq!(missing[0].what, "Bits `0x40` are \"free\"");
    assert_eq!(judge(&missing).problems[0], "esf-002: it names no test");
}

#[test]
fn a_row_for_a_rule_that_is_gone_is_a_problem() {
    let row = Row { source: "ESF-009".into(), ..row("esf-009", &["esf-proto::hub::tests::login"]) };
    let verdict = check(&[row], &rules::read("**ESF-003** (reserved)\n"), &outcomes());
    assert_eq!(verdict.problems, ["ESF-009: a row has this source and docs/PROTOCOL.md does not state it"]);
}

#[test]
fn a_field_that_nobody_knows_is_refused() {
    assert!(read("[[row]]\nid = 'a'\nwhat = 'b'\nsource = 'c'\ntests = []\n").is_ok());
    let error = read("[[row]]\nid = 'a'\nwhat = 'b'\nsource = 'c'\ntest = 'd'\n").unwrap_err();
    assert!(error.message().contains("unknown field `test`"), "{error}");
}

/// The file itself: this finds a slip of the pen in seconds, where the whole check needs a whole run.
#[test]
fn the_rows_of_the_project_can_be_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let rows = load(&root).unwrap();
    let ids: BTreeSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids.len(), rows.len(), "two rows share an id");
    for number in 1..=22 {
        let source = format!("bad input {number}");
        assert!(rows.iter().any(|row| row.source == source), "no row has the source `{source}`");
    }
}

fn judge(rows: &[Row]) -> Verdict {
    check(rows, &Rules::default(), &outcomes())
}

fn outcomes() -> BTreeMap<String, Outcome> {
    [("login", Outcome::Passed), ("slow", Outcome::Ignored), ("wrong", Outcome::Failed)]
        .map(|(name, outcome)| (format!("esf-proto::hub::tests::{name}"), outcome))
        .into()
}

fn row(id: &str, tests: &[&str]) -> Row {
    Row {
        id: id.into(),
        what: "what it promises".into(),
        source: "SEMANTICS: login".into(),
        tests: tests.iter().map(ToString::to_string).collect(),
        later: None,
    }
}
