//! What must not be in the dependency trees of the library crates: an adapter brings its own runtime and no other.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::process::Stdio;

use crate::workspace::{Workspace, cargo};
use crate::{End, Problem};

/// A package, and the crates that are in none of its dependencies on any platform.
const WITHOUT: &[(&str, &[&str])] = &[
    ("esf-smol", &["tokio"]),
    (
        "esf-sync",
        &["tokio", "smol", "async-io", "async-std", "async-executor", "futures-executor", "futures-util", "futures-io"],
    ),
];

pub(crate) fn check(workspace: &Workspace) -> Result<End, Problem> {
    let mut end = End::Done;
    for (package, banned) in WITHOUT {
        let tree = dependencies(workspace, package)?;
        let found = intruders(&tree, banned);
        if found.is_empty() {
            println!("{package}: none of {} among its {} crates", banned.join(", "), names(&tree).len());
        } else {
            println!("{package} depends on {}; see `cargo tree -p {package} -e normal`", found.join(", "));
            end = End::Failed;
        }
    }
    Ok(end)
}

/// One crate a line, the package itself among them.
fn dependencies(workspace: &Workspace, package: &str) -> Result<String, Problem> {
    let told = cargo()
        .args(["tree", "--locked", "-e", "normal", "--target", "all", "--prefix", "none", "-p", package])
        .current_dir(&workspace.root)
        .stderr(Stdio::inherit())
        .output()?;
    if !told.status.success() {
        return Err(format!("`cargo tree -p {package}` failed; its reason is above").into());
    }
    Ok(String::from_utf8(told.stdout)?)
}

/// Which of the banned crates are in a tree.
fn intruders<'a>(tree: &str, banned: &[&'a str]) -> Vec<&'a str> {
    let names = names(tree);
    banned.iter().copied().filter(|name| names.contains(name)).collect()
}

/// The crates of a tree, each once.
fn names(tree: &str) -> BTreeSet<&str> {
    tree.lines().filter_map(|line| line.split_whitespace().next()).collect()
}
