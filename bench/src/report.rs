//! What comes out: JSON for programs, a table for people.

use serde::{Deserialize, Serialize};

/// All results of one run of the command.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    /// Its size.
    pub machine: String,
    /// What was typed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub command: String,
    /// The day.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub date: String,
    /// One for each thing that was measured.
    pub results: Vec<Row>,
    /// Why the results must not be used, if there is a reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub invalid: Vec<String>,
    /// What could not be run here, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_run: Vec<String>,
    /// What else to know of the numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was measured: bench, size of a body, messages in flight.
    pub name: String,
    /// The median.
    pub value: f64,
    /// Its unit.
    pub unit: String,
    /// What the machine allows, by the same unit.
    pub limit: Option<f64>,
    /// `value / limit`.
    pub ratio: Option<f64>,
    /// Microseconds of the server's processor for each.
    pub server_cpu_us: Option<f64>,
}

impl Row {
    /// A number without a limit.
    #[must_use]
    pub fn new(name: impl Into<String>, value: f64, unit: &str) -> Self {
        Self { name: name.into(), value, unit: unit.to_owned(), limit: None, ratio: None, server_cpu_us: None }
    }

    /// The same beside a limit.
    #[must_use]
    pub fn beside(mut self, limit: f64) -> Self {
        self.limit = Some(limit);
        self.ratio = Some(self.value / limit);
        self
    }

    /// The same with what it costs the server.
    #[must_use]
    pub fn costing(mut self, microseconds: f64) -> Self {
        self.server_cpu_us = Some(microseconds);
        self
    }
}

impl Report {
    /// The number of this name.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<f64> {
        self.results.iter().find(|row| row.name == name).map(|row| row.value)
    }

    /// The results as a table of Markdown, which reads well as plain text too.
    #[must_use]
    pub fn table(&self) -> String {
        self.table_of(|_| true).unwrap_or_default()
    }

    /// The same of some of the results; `None` if there are none of those.
    #[must_use]
    pub fn table_of(&self, wanted: impl Fn(&Row) -> bool) -> Option<String> {
        let head = ["what", "value", "unit", "limit", "ratio", "server CPU, us", "target"];
        let mut rows: Vec<[String; 7]> = vec![head.map(str::to_owned)];
        rows.extend(self.results.iter().filter(|row| wanted(row)).map(|row| {
            let number = |value: Option<f64>| value.map(short).unwrap_or_default();
            [
                row.name.clone(),
                short(row.value),
                row.unit.clone(),
                number(row.limit),
                row.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
                row.server_cpu_us.map(|cpu| format!("{cpu:.2}")).unwrap_or_default(),
                self.judged(row).unwrap_or_default(),
            ]
        }));
        if rows.len() == 1 {
            return None;
        }
        let widths: Vec<usize> =
            (0..head.len()).map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0)).collect();
        let line =
            |row: &[String; 7]| {
                let cells: Vec<String> =
                    row.iter()
                        .zip(&widths)
                        .enumerate()
                        .map(|(at, (cell, width))| {
                            if matches!(at, 1 | 3..=5) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
                        })
                        .collect();
                format!("| {} |\n", cells.join(" | "))
            };
        let rule: Vec<String> = widths
            .iter()
            .enumerate()
            .map(
                |(at, width)| {
                    if matches!(at, 1 | 3..=5) { format!("{}:", "-".repeat(width - 1)) } else { "-".repeat(*width) }
                },
            )
            .collect();
        let mut table = line(&rows[0]);
        table += &format!("| {} |\n", rule.join(" | "));
        rows[1..].iter().for_each(|row| table += &line(row));
        Some(table)
    }

    /// What a row has to reach, and whether it does.
    fn judged(&self, row: &Row) -> Option<String> {
        let (_, goal) = GOALS.iter().find(|(name, _)| *name == row.name)?;
        let (reached, text) = match *goal {
            Goal::Ratio(least) => (row.ratio? >= least, format!(">= {least} of the limit")),
            Goal::RatioAtMost(most) => (row.ratio? <= most, format!("<= {most} of the limit")),
            Goal::AtLeast(least) => (row.value >= least, format!(">= {}", short(least))),
            Goal::AtMost(most) => (row.value <= most, format!("<= {}", short(most))),
        };
        let nats = format!("peer/nats-server/{}", row.name.strip_prefix("relay/").unwrap_or_default());
        let ahead = (row.name == "relay/64B/16").then(|| self.value(&nats)).flatten();
        let (reached, text) = match ahead {
            Some(nats) => (reached && row.value > nats, format!("{text} and > nats-server")),
            None => (reached, text),
        };
        Some(format!("{text}: {}", if reached { "reached" } else { "MISSED" }))
    }
}

/// What a number has to reach.
enum Goal {
    Ratio(f64),
    RatioAtMost(f64),
    AtLeast(f64),
    AtMost(f64),
}

const GOALS: &[(&str, Goal)] = &[
    ("relay/64B/16", Goal::Ratio(0.6)),
    ("relay/64B/16/coalesced", Goal::Ratio(0.9)),
    ("relay/1KiB/16", Goal::Ratio(0.6)),
    ("relay/64B/1", Goal::Ratio(0.65)),
    ("micro/core", Goal::AtMost(500.0)),
    ("micro/core/allocations", Goal::AtMost(0.01)),
    ("micro/hub/2-threads", Goal::AtLeast(1.8)),
    ("idle/64B", Goal::AtMost(8192.0)),
    ("idle/64KiB", Goal::AtMost(16384.0)),
    ("query/19000", Goal::AtLeast(500_000.0)),
    ("blob/throughput", Goal::Ratio(0.4)),
    ("blob/same-connection-p99", Goal::RatioAtMost(2.0)),
    ("blob/link-p99-above-quiet", Goal::AtMost(5000.0)),
    ("blob/resident-4GiB-above-100MB", Goal::AtMost(33_554_432.0)),
    ("storm/10000", Goal::AtMost(30.0)),
    ("broadcast/in-process/10000/1", Goal::AtLeast(5_000_000.0)),
    ("broadcast/in-process/10000/16", Goal::AtLeast(5_000_000.0)),
    ("broadcast/1000/16", Goal::Ratio(0.8)),
    ("broadcast/1000/1", Goal::Ratio(0.8)),
    ("broadcast/10000/others/p99", Goal::RatioAtMost(2.0)),
    ("presence/10000/100/login", Goal::AtMost(10.0)),
    ("presence/10000/100/storm", Goal::AtMost(1.0)),
    ("stored/1000", Goal::AtLeast(20_000.0)),
];

/// The middle one; of an even number the mean of the two in the middle.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

/// The value under which so many of a thousand are, of values in ascending order.
#[must_use]
pub fn percentile(sorted: &[u32], of_thousand: usize) -> f64 {
    let at = (sorted.len() * of_thousand / 1000).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(f64::NAN, |value| f64::from(*value))
}

/// A number in about three digits, with thousands apart.
pub(crate) fn short(value: f64) -> String {
    if value.abs() >= 1000.0 {
        let digits = format!("{value:.0}");
        let mut out = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at) % 3 == 0 && !out.ends_with('-') {
                out.push(',');
            }
            out.push(digit);
        }
        out
    } else if value.abs() >= 10.0 || value == 0.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests;
