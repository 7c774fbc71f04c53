//! The numbered rules of docs/PROTOCOL.md.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::Problem;

/// The rules that the protocol's text states.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Rules that are built, or ought to be, each with its first sentence.
    pub(crate) stated: BTreeMap<String, String>,
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
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((id, rest)) = opening(line) else { continue };
        if rest.trim_start_matches(['(', '[']).to_ascii_lowercase().starts_with("reserved") {
            rules.reserved.insert(id.to_owned());
            continue;
        }
        let mut words = rest.to_owned();
        if !line.trim_start().starts_with(['|', '#']) {
            while let Some(more) = lines.next_if(|line| !line.trim().is_empty() && opening(line).is_none()) {
                words.push(' ');
                words.push_str(more.trim());
            }
        }
        rules.stated.insert(id.to_owned(), first_sentence(&words).to_owned());
    }
    rules
}

/// The number that a line states and what follows it.
fn opening(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start();
    let opened = line.trim_start_matches(is_mark);
    if opened.len() == line.len() {
        return None;
    }
    let id = numbers(opened).next().filter(|id| opened.starts_with(id))?;
    Some((id, opened[id.len()..].trim_start_matches(|c: char| c.is_whitespace() || "*_|:.".contains(c))))
}

/// Where the Rust sources below a folder name a rule: the number, and the file and line.
pub(crate) fn cited(folder: &Path) -> Result<Vec<(String, String)>, Problem> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(cited(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            for (number, line) in std::fs::read_to_string(&path)?.lines().enumerate() {
                let place = format!("{}:{}", path.display(), number + 1);
                found.extend(numbers(line).map(|rule| (rule.to_owned(), place.clone())));
            }
        }
    }
    Ok(found)
}

fn first_sentence(text: &str) -> &str {
    let end = text.find(". ").or_else(|| text.find(" |")).unwrap_or(text.len());
    text[..end].trim_end_matches(|c: char| c.is_whitespace() || "*.|".contains(c))
}

impl Rules {
    pub(crate) fn knows(&self, rule: &str) -> bool {
        self.stated.contains_key(rule) || self.reserved.contains(rule)
    }

    /// What is wrong with these citations.
    pub(crate) fn judge(&self, cited: &[(String, String)]) -> Vec<String> {
        let unknown = cited.iter().filter(|(rule, _)| !self.knows(rule));
        unknown
            .map(|(rule, place)| format!("{rule}: {place} cites it and docs/PROTOCOL.md does not state it"))
            .collect()
    }
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
