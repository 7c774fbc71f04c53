//! Sizes and times as people write them: `64 MiB`, `500 ms`.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const SIZES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
/// In milliseconds.
const TIMES: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1)];

/// A size: a number of bytes, or a text with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(pub(crate) u64);

/// A time: a number of seconds, or a text with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(pub(crate) Duration);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0, &SIZES)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX), &TIMES)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wanted = Wanted { units: &SIZES, bare: 1, what: "a size such as \"64 KiB\"" };
        deserializer.deserialize_any(wanted).map(Self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wanted = Wanted { units: &TIMES, bare: 1000, what: "a time such as \"30 s\" or \"5 min\"" };
        deserializer.deserialize_any(wanted).map(|millis| Self(Duration::from_millis(millis)))
    }
}

/// Writes a number in the largest unit in which it is whole.
fn write(f: &mut fmt::Formatter<'_>, number: u64, units: &[(&str, u64)]) -> fmt::Result {
    let whole = units.iter().find(|(_, of)| number >= *of && number.checked_rem(*of) == Some(0));
    // Nothing is written as the smallest.
    let (unit, of) = whole.or(units.last()).copied().unwrap_or(("", 1));
    write!(f, "{} {unit}", number / of)
}

struct Wanted {
    units: &'static [(&'static str, u64)],
    /// What a number without a unit counts.
    bare: u64,
    what: &'static str,
}

impl Wanted {
    fn parse(&self, text: &str) -> Option<u64> {
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits)?;
        let unit = unit.trim_start();
        let of = if unit.is_empty() {
            self.bare
        } else {
            self.units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1
        };
        number.parse::<u64>().ok()?.checked_mul(of)
    }
}

impl de::Visitor<'_> for Wanted {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
        number.checked_mul(self.bare).ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(number), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
        self.parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests;
