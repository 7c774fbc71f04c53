//! The parts of docs/PROTOCOL.md that are made from the code.

use std::process::Stdio;

use crate::workspace::{Workspace, cargo};
use crate::{End, Problem};

const BEGIN: &str = "<!-- transitions: generated -->\n";
const END: &str = "<!-- /transitions -->";

/// Writes the state machines into docs/PROTOCOL.md anew.
pub(crate) fn write(workspace: &Workspace) -> Result<End, Problem> {
    let made = cargo()
        .args(["run", "--quiet", "--locked", "-p", "esf-tests", "--bin", "transitions"])
        .current_dir(&workspace.root)
        .stderr(Stdio::inherit())
        .output()?;
    if !made.status.success() {
        return Ok(End::Failed);
    }
    let path = workspace.root.join("docs/PROTOCOL.md");
    let text = std::fs::read_to_string(&path)?;
    let section = String::from_utf8(made.stdout)?;
    let Some(text) = replaced(&text, &section) else {
        return Err(format!("{} has no section between `{}` and `{END}`", path.display(), BEGIN.trim()).into());
    };
    std::fs::write(&path, text)?;
    Ok(End::Done)
}

/// `text` with `section` between the two marks.
fn replaced(text: &str, section: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some([before, BEGIN, section, END, after].concat())
}

#[cfg(test)]
mod tests;
