//! Names for files, made of what a stranger wrote.

/// The longest name in bytes, so that a number and an ending fit into the 255 that file systems take.
const LONGEST: usize = 200;
/// For a blob without a name.
const NAMELESS: &str = "blob";
/// Names that are devices somewhere, with any ending.
const DEVICES: &[&str] = &["aux", "con", "nul", "prn"];

/// A name for a file that stays in its directory, is not hidden, and means nothing to a shell, a terminal or a system: what
/// is left of `name` when everything else is taken out of it.
pub(crate) fn safe_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).find(|part| !part.trim_matches(['.', ' ']).is_empty()).unwrap_or_default();
    let clean: String = last.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let clean = clean.trim().trim_start_matches(['.', '-']).trim_end_matches(['.', ' ']);
    let short = shortened(clean);
    match short.as_str() {
        "" => NAMELESS.into(),
        short if is_device(short) => format!("_{short}"),
        _ => short,
    }
}

/// The name with a number before its ending; with 0 it is the name itself.
pub(super) fn numbered(name: &str, number: u32) -> String {
    if number == 0 {
        return name.to_owned();
    }
    let (stem, ending) = split(name);
    format!("{stem}-{number}{ending}")
}

fn is_plain(c: char) -> bool {
    let steers = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    !c.is_control() && !steers && !matches!(c, '<' | '>' | ':' | '"' | '|' | '?' | '*' | '$' | '`' | '\'')
}

fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end().to_ascii_lowercase();
    let counted = |stem: &str| {
        matches!(stem.get(..3), Some("com" | "lpt")) && stem.len() == 4 && stem.ends_with(|c: char| c.is_ascii_digit())
    };
    DEVICES.contains(&stem.as_str()) || counted(&stem)
}

/// The stem is what is cut, since the ending says what to do with the file.
fn shortened(name: &str) -> String {
    if name.len() <= LONGEST {
        return name.to_owned();
    }
    let (stem, ending) = split(name);
    let ending = if ending.len() <= LONGEST / 4 { ending } else { "" };
    let mut cut = LONGEST - ending.len();
    while !stem.is_char_boundary(cut) {
        cut -= 1;
    }
    format!("{}{ending}", &stem[..cut])
}

/// The name before its ending, and the ending with its point.
fn split(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(point) if point > 0 => name.split_at(point),
        _ => (name, ""),
    }
}

#[cfg(test)]
mod tests;
