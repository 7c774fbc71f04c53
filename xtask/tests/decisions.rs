//! Every dependency has its line of reason in docs/decisions/0002-dependencies.md, and no line outlives its dependency.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toml::Table;

#[test]
fn each_dependency_of_the_workspace_has_its_reason() {
    let workspace = read("Cargo.toml");
    let used: BTreeSet<&str> = workspace["workspace"]["dependencies"]
        .as_table()
        .unwrap()
        .iter()
        .filter(|(_, source)| source.get("path").is_none())
        .map(|(name, _)| name.as_str())
        .collect();
    let page = std::fs::read_to_string(root().join("docs/decisions/0002-dependencies.md")).unwrap();
    let reasoned: BTreeSet<&str> = page.lines().filter_map(row_of_the_table).collect();

    let silent: Vec<_> = used.difference(&reasoned).collect();
    assert!(silent.is_empty(), "docs/decisions/0002-dependencies.md gives no reason for {silent:?}");
    let gone: Vec<_> = reasoned.difference(&used).collect();
    assert!(gone.is_empty(), "docs/decisions/0002-dependencies.md speaks of {gone:?}, which Cargo.toml does not have");
}

/// Otherwise a dependency could come in past the table of the workspace.
#[test]
fn each_member_takes_its_dependencies_from_the_workspace() {
    let workspace = read("Cargo.toml");
    for member in workspace["workspace"]["members"].as_array().unwrap() {
        let member = member.as_str().unwrap();
        let manifest = read(&format!("{member}/Cargo.toml"));
        for table in dependency_tables(&manifest) {
            for (name, source) in table {
                let shared = source.get("workspace").and_then(toml::Value::as_bool) == Some(true);
                assert!(shared, "{member}/Cargo.toml: `{name}` does not say `workspace = true`");
            }
        }
    }
}

/// The name in a row such as ``| `bytes` | … | a reason |``.
fn row_of_the_table(line: &str) -> Option<&str> {
    let (name, rest) = line.strip_prefix("| `")?.split_once("` |")?;
    let reason = rest.trim_end().trim_end_matches('|').rsplit('|').next()?;
    (!reason.trim().is_empty()).then_some(name)
}

fn dependency_tables(manifest: &Table) -> Vec<&Table> {
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let owners =
        std::iter::once(manifest).chain(targets.into_iter().flat_map(Table::values).filter_map(|v| v.as_table()));
    owners
        .flat_map(|owner| ["dependencies", "dev-dependencies", "build-dependencies"].map(|kind| owner.get(kind)))
        .filter_map(|table| table?.as_table())
        .collect()
}

fn read(path: &str) -> Table {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap().parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
