//! Results as bars, in SVG.

use crate::report::{Report, Row, short};

const WIDTH: f64 = 860.0;
const LABELS: f64 = 190.0;
const NUMBERS: f64 = 90.0;
const BAR: f64 = 18.0;
const STEP: f64 = 24.0;
const TITLE: f64 = 40.0;

/// The panels: the title, and which rows, each by its name without the mark `*`.
const PANELS: &[(&str, &str)] = &[
    ("Relay, 64 B, 16 in flight: messages a second", "*/64B/16"),
    ("Relay, 1 KiB, 16 in flight: messages a second", "*/1KiB/16"),
    ("Relay, 64 B, one in flight: messages a second", "*/64B/1"),
    ("Idle connection: bytes in the server's memory, after a message of", "idle/*"),
];

/// What the ends of names mean.
const HOW: &[(&str, &str)] = &[("/coalesced", ", coalesced"), ("/smol", " on smol"), ("/threads", " on threads")];

/// The plot; what was not measured is not in it.
#[must_use]
pub fn svg(report: &Report) -> String {
    let mut body = String::new();
    let mut top = 0.0;
    for (title, pattern) in PANELS {
        let mut rows: Vec<(String, &Row)> =
            report.results.iter().filter_map(|row| Some((label(&row.name, pattern)?, row))).collect();
        rows.sort_by(|(_, a), (_, b)| b.value.total_cmp(&a.value));
        let Some((_, largest)) = rows.first() else { continue };
        body += &text(10.0, top + TITLE - 14.0, "title", "start", title);
        top += TITLE;
        for (label, row) in &rows {
            let length = row.value / largest.value * (WIDTH - LABELS - NUMBERS);
            body += &text(LABELS - 8.0, top + BAR - 5.0, "", "end", label);
            body += &format!(
                "  <rect class=\"{}\" x=\"{LABELS}\" y=\"{top:.0}\" width=\"{length:.1}\" height=\"{BAR}\"/>\n",
                class(&row.name)
            );
            body += &text(LABELS + length + 6.0, top + BAR - 5.0, "", "start", &short(row.value));
            top += STEP;
        }
    }
    let height = top + 14.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n  \
         <style>.title{{font-weight:bold;font-size:15px}}.limit{{fill:#b0b7bf}}.peer{{fill:#7f9bb8}}.ours{{fill:#d9632b}}</style>\n  \
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n{body}</svg>\n"
    )
}

/// What a row is called in a panel, if it belongs there.
fn label(name: &str, pattern: &str) -> Option<String> {
    let (before, after) = pattern.split_once('*')?;
    let (plain, how) =
        HOW.iter().find_map(|(suffix, how)| Some((name.strip_suffix(suffix)?, *how))).unwrap_or((name, ""));
    let middle = plain.strip_prefix(before)?.strip_suffix(after)?;
    let what = match middle {
        "relay" => "ESF",
        "limit/raw-echo" => "raw TCP echo",
        "limit/raw-relay" => "raw TCP relay",
        "limit/tungstenite" => "tungstenite echo",
        other => other.strip_prefix("peer/").unwrap_or(other),
    };
    Some(format!("{what}{how}"))
}

fn class(name: &str) -> &'static str {
    match name.split('/').next() {
        Some("limit") => "limit",
        Some("peer") => "peer",
        _ => "ours",
    }
}

fn text(x: f64, y: f64, class: &str, anchor: &str, text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    format!("  <text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>\n")
}

#[cfg(test)]
mod tests;
