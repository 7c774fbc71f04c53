//! `tests/features.toml`: what the project promises, each promise with the tests that prove it.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use crate::Problem;
use crate::libtest::Outcome;
use crate::rules::{self, Rules};

/// One promise. The head of tests/features.toml explains the fields.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) what: String,
    pub(crate) source: String,
    #[serde(default)]
    pub(crate) tests: Vec<String>,
    pub(crate) later: Option<String>,
}

/// What the check found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Rows whose tests all ran and passed.
    pub(crate) proven: usize,
    /// Rows that wait for later work, each with that work.
    pub(crate) later: Vec<String>,
    /// What is wrong, one line each.
    pub(crate) problems: Vec<String>,
}

pub(crate) fn load(root: &Path) -> Result<Vec<Row>, Problem> {
    let path = root.join("tests/features.toml");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    read(&text).map_err(|error| format!("{}: {error}", path.display()).into())
}

fn read(text: &str) -> Result<Vec<Row>, toml::de::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Features {
        row: Vec<Row>,
    }
    toml::from_str::<Features>(text).map(|features| features.row)
}

/// Compares the rows with the rules of the protocol and with the tests that ran.
pub(crate) fn check(rows: &[Row], rules: &Rules, outcomes: &BTreeMap<String, Outcome>) -> Verdict {
    let mut verdict = Verdict::default();
    let mut ids = BTreeSet::new();
    let mut covered = BTreeSet::new();
    for row in rows {
        if !ids.insert(row.id.as_str()) {
            verdict.problems.push(format!("{}: two rows have this id", row.id));
        }
        covered.extend(rules::numbers(&row.source));
        check_row(row, outcomes, &mut verdict);
    }
    for (rule, _) in without_row(rows, rules) {
        verdict.problems.push(format!("{rule}: docs/PROTOCOL.md states this rule and no row has it as its source"));
    }
    for rule in covered {
        if !rules.knows(rule) {
            verdict.problems.push(format!("{rule}: a row has this source and docs/PROTOCOL.md does not state it"));
        }
    }
    verdict
}

/// The rules, each with its text, that are no row's source.
fn without_row<'a>(rows: &[Row], rules: &'a Rules) -> Vec<(&'a str, &'a str)> {
    let covered: BTreeSet<&str> = rows.iter().flat_map(|row| rules::numbers(&row.source)).collect();
    let rules = rules.stated.iter().map(|(rule, text)| (rule.as_str(), text.as_str()));
    rules.filter(|(rule, _)| !covered.contains(rule)).collect()
}

/// A row for each rule that has none, ready to be pasted and given its tests. A JSON string is a TOML string as well.
pub(crate) fn missing_rows(rows: &[Row], rules: &Rules) -> String {
    let row = |(rule, text): (&str, &str)| {
        let id = serde_json::Value::from(rule.to_ascii_lowercase());
        let (what, source) = (serde_json::Value::from(text), serde_json::Value::from(rule));
        format!("\n[[row]]\nid = {id}\nwhat = {what}\nsource = {source}\ntests = []\n")
    };
    without_row(rows, rules).into_iter().map(row).collect()
}

fn check_row(row: &Row, outcomes: &BTreeMap<String, Outcome>, verdict: &mut Verdict) {
    let mut problems: Vec<String> = Vec::new();
    for (field, text) in [("id", &row.id), ("what", &row.what), ("source", &row.source)] {
        if text.trim().is_empty() {
            problems.push(format!("its `{field}` is empty"));
        }
    }
    match &row.later {
        Some(work) if work.trim().is_empty() => problems.push("`later` names no work".into()),
        Some(_) if !row.tests.is_empty() => problems.push("it names tests and says `later` as well".into()),
        None if row.tests.is_empty() => problems.push("it names no test".into()),
        _ => {}
    }
    for test in &row.tests {
        match outcomes.get(test) {
            Some(Outcome::Passed) => {}
            Some(Outcome::Ignored) => problems.push(format!("test {test} is ignored")),
            Some(Outcome::Failed) => problems.push(format!("test {test} failed")),
            None => problems.push(format!("test {test} did not run")),
        }
    }
    if let Some(work) = &row.later {
        verdict.later.push(format!("{} ({work})", row.id));
    } else if problems.is_empty() {
        verdict.proven += 1;
    }
    verdict.problems.extend(problems.into_iter().map(|problem| format!("{}: {problem}", row.id)));
}
