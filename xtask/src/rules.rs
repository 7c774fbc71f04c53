//! The numbered rules of docs/PROTOCOL.md.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;

use crate::Problem;

/// The rules that the protocol's text states.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Rules that are built, or ought to be.
    pub(crate) stated: BTreeSet<String>,
    /// Numbers that are kept for later: marked `reserved` right after the number.
    pub(crate) reserved: BTreeSet<String>,
}

pub(crate) fn load(root: &Path) -> Result<Rules, Problem> {
    let path = root.join("docs/PROTOCOL.md");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let rules = read(&text);
    if rules.stated.is_empty() {
        return Err(format!("{}: no line states a rule `**ESF-nnn**`", path.display()).into());
    }
    Ok(rules)
}

/// A rule is stated by a line that opens with its number behind the marks of Markdown: `**ESF-012** …`, `- ESF-012 …`,
/// `| ESF-012 | … |`, `### ESF-012 …`. A number inside a sentence only points at a rule.
pub(crate) fn read(text: &str) -> Rules {
    let mut rules = Rules::default();
    for line in text.lines() {
        let opened = line.trim_start_matches(is_mark);
        if opened.trim_start().len() == line.trim_start().len() {
            continue;
        }
        let Some(id) = numbers(opened).next().filter(|id| opened.starts_with(id)) else { continue };
        let rest = opened[id.len()..].trim_start_matches(|c| is_mark(c) || "([:._".contains(c));
        let kind =
            if rest.to_ascii_lowercase().starts_with("reserved") { &mut rules.reserved } else { &mut rules.stated };
        kind.insert(id.to_owned());
    }
    rules
}

/// Every `ESF-nnn` in a text.
pub(crate) fn numbers(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("ESF-").filter_map(|(at, mark)| {
        let digits = text[at + mark.len()..].bytes().take_while(u8::is_ascii_digit).count();
        (digits > 0).then(|| &text[at..at + mark.len() + digits])
    })
}

fn is_mark(c: char) -> bool {
    c.is_whitespace() || "*-+|#>`".contains(c)
}
