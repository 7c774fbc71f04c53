//! What is wrong with a configuration: where, which key, why, and what to do.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use super::{KEYS, Origin};

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The path of the key, filled in from its last part to its first.
    key: String,
    origin: Option<Origin>,
    reason: String,
    danger: bool,
}

impl Problem {
    pub(crate) fn new(reason: impl fmt::Display) -> Self {
        Self { key: String::new(), origin: None, reason: reason.to_string(), danger: false }
    }

    /// About the key at `path`, whose value came from `origin`.
    pub(crate) fn about(path: &str, origin: Option<&Origin>, reason: impl fmt::Display) -> Self {
        Self { key: path.to_owned(), origin: origin.cloned(), ..Self::new(reason) }
    }

    /// The same, as something that would work and must not be.
    pub(super) fn dangerous(self) -> Self {
        Self { danger: true, ..self }
    }

    /// Whether it would work and must not be.
    pub(crate) fn is_danger(&self) -> bool {
        self.danger
    }

    /// Whether a flag is wrong, which is a wrong command line.
    pub(crate) fn is_of_flag(&self) -> bool {
        matches!(self.origin, Some(Origin::Flag(_)))
    }

    /// The same, under the key `part`. What is inside knows best where it is.
    pub(super) fn under(mut self, part: &str, origin: Option<&Origin>) -> Self {
        self.key = if self.key.is_empty() { part.to_owned() } else { format!("{part}.{}", self.key) };
        match origin {
            Some(origin) => self.from(origin),
            None => self,
        }
    }

    /// The same, about a value from `origin`.
    pub(super) fn from(mut self, origin: &Origin) -> Self {
        self.origin.get_or_insert_with(|| origin.clone());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, origin, reason, .. } = self;
        if let Some(origin) = origin {
            write!(f, "{origin}: ")?;
        }
        match origin {
            // They name the key already.
            Some(Origin::Flag(_)) => {}
            _ if key.is_empty() => {}
            _ => write!(f, "{key}: ")?,
        }
        f.write_str(reason)
    }
}

impl std::error::Error for Problem {}

impl de::Error for Problem {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self::new(reason)
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!(
            "{} is needed here, not {}; `esf config example` shows it",
            Plain(expected),
            Found(unexpected)
        ))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("{} is needed here, not {}", Plain(expected), Found(unexpected)))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("`{variant}` is none of these: {}{}", expected.join(", "), or(&nearest(variant, expected))))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let mut longer = expected.iter().filter(|known| known.starts_with(field));
        let longer = longer.next().filter(|_| longer.next().is_none()).copied();
        let elsewhere = || KEYS.iter().find(|key| key.name() == field).map(|key| key.path.as_str());
        let known = match nearest(field, expected).or(longer).or_else(elsewhere) {
            Some(near) => or(&Some(near)),
            None => format!("; known here are {}", expected.join(", ")),
        };
        Self::new(format!("there is no such key{known}"))
    }
}

/// "; did you mean …?", if there is something near.
pub(super) fn or(nearest: &Option<&str>) -> String {
    nearest.map(|near| format!("; did you mean {near}?")).unwrap_or_default()
}

/// What of `known` was probably meant by `word`.
pub(super) fn nearest<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a (impl AsRef<str> + ?Sized + 'a)>,
) -> Option<&'a str> {
    let likeness = |known: &str| strsim::damerau_levenshtein(&word.to_lowercase(), &known.to_lowercase());
    let (distance, near) = known.into_iter().map(|known| (likeness(known.as_ref()), known.as_ref())).min()?;
    // A third of the letters wrong is a typo; more is another word.
    (distance <= near.len().max(word.len()).div_ceil(3)).then_some(near)
}

/// What was found, in words of the file.
struct Found<'a>(Unexpected<'a>);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unexpected::Str(text) => write!(f, "the text {text:?}"),
            Unexpected::Bool(value) => write!(f, "{value}"),
            Unexpected::Unsigned(number) => write!(f, "the number {number}"),
            Unexpected::Signed(number) => write!(f, "the number {number}"),
            Unexpected::Float(number) => write!(f, "the number {number}"),
            Unexpected::Seq => f.write_str("a list"),
            Unexpected::Map => f.write_str("a table"),
            other => other.fmt(f),
        }
    }
}

/// What serde expects, in words of the file.
struct Plain<'a>(&'a dyn Expected);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expected = self.0.to_string();
        f.write_str(match expected.as_str() {
            "a boolean" => "true or false",
            "a string" => "a text in quotes",
            "a sequence" => "a list, as [\"a\", \"b\"],",
            "u8" => "a whole number from 0 to 255",
            "u16" => "a whole number from 0 to 65535",
            "u32" => "a whole number from 0 to 4294967295",
            "u64" | "usize" => "a whole number, 0 or more,",
            other if other.starts_with("struct ") => "a table",
            other => other,
        })
    }
}
