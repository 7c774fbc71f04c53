//! The tables and the plot of docs/PERFORMANCE.md, made of results.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{Problem, plot, report::Report};

const BEGIN: &str = "<!-- made by `cargo xtask bench`: begin -->";
const END: &str = "<!-- made by `cargo xtask bench`: end -->";

/// The chapters of the page: the names that belong to each, its title, and what is measured.
const CHAPTERS: &[(&[&str], &str, &str)] = &[
    (
        &["relay", "limit", "peer"],
        "Relay",
        "From one client to another over loopback: 100 pairs, bodies of 64 B or 1 KiB, 16 messages or 1 in flight in each \
         pair. `smol` and `threads` are what the server runs on, which is tokio otherwise; `threads/1000` has 500 \
         pairs on 1,000 connections. The limit of a row is tungstenite's echo of the same messages; that of tungstenite is raw TCP.",
    ),
    (
        &["micro"],
        "Core",
        "No sockets: a message of 64 bytes from a client's session through server session, hub and server session to a \
         client's session, with 10,000 users online; and what a second thread brings to the server's part. The limit of \
         that is two servers that share nothing.",
    ),
    (
        &["query"],
        "Queries",
        "Questions of 64 bytes that the server's own handler answers, on as many connections as the number says. `open-n`: \
         n connections wait for one answer each. Server and generator share all cores. `smol` and `threads` are what the \
         server runs on; their limit is tokio, under the same load.",
    ),
    (
        &["idle"],
        "Idle connections",
        "The server's resident memory for each of 10,000 logged-in connections, after each has sent and received one \
         message of that size.",
    ),
    (&["blob"], "Blobs", "From client to client, beside a raw TCP relay of the same bytes."),
    (
        &["broadcast"],
        "Broadcasts",
        "Messages of 64 bytes to a group whose members are all online. In process: 10,000 members, 1 broadcast or 16 at a \
         time, on one thread; `put` is the time until a copy is in its member's outbox, `handed-out` that in which the \
         member's link has fetched it. Over sockets: 1,000 connections, the sender too, 16 broadcasts or 1 in flight; a slot \
         is free when there are as many copies as connections. The limit is tungstenite, which writes the same prepared \
         bytes to all connections and flushes each once. `others`: messages of 64 bytes between two who are no members, one \
         at a time, during broadcasts to 10,000; the limit is the same with 10,000 members and no broadcast. `until-all`: \
         from the call of the sender until the last of the 10,000 has its copy.",
    ),
    (
        &["presence"],
        "Presence",
        "No sockets, one thread: 10,000 users with 100 contacts each. `login`: until all are logged in and each has heard \
         of all its contacts. `heap`: what a user takes then, the session included; `heap-of-contacts`: what of it is there \
         because of contacts. `storm`: all of them come and go, each every 50 ms to 1.5 s, for 10 s of their clock; the \
         most that anybody heard of one contact within a second.",
    ),
    (
        &["stored"],
        "Stored messages",
        "Messages of 64 bytes to 2,000 users who are offline, each answered after its durable commit. `1000` and `1`: so many \
         in flight, from ten senders and from one. `store`: the SQLite store of `esf serve` alone, asked by one thread; it \
         is the limit of the rows over sockets. `memory`: the same server with a store in memory. `fsync`: an append of \
         4 KiB to a file on the same disk that waits until it is there, which is what a commit waits for at least. \
         `tail`: a client logs in for whom 1,000 messages wait, from the call that connects until its handler had the first \
         and the last.",
    ),
    (&["storm"], "Storm", "From kill -9 of the server until the last of so many clients with accounts is back."),
];

/// Writes tables and plot into the page and beside it.
///
/// # Errors
/// The page is not there, or has no place for them.
pub fn write(root: &Path, reports: &[Report]) -> Result<PathBuf, Problem> {
    let file = root.join("docs/PERFORMANCE.md");
    let page = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let (before, rest) = page.split_once(BEGIN).ok_or_else(|| format!("{} has no {BEGIN:?}", file.display()))?;
    let (_, after) = rest.split_once(END).ok_or_else(|| format!("{} has no {END:?}", file.display()))?;
    let whole = merged(reports);
    fs::write(&file, format!("{before}{BEGIN}\n{}{END}{after}", generated(reports, &whole)))?;
    fs::write(root.join("docs/performance.svg"), plot::svg(&whole))?;
    Ok(file)
}

/// All rows, of those with one name the last.
fn merged(reports: &[Report]) -> Report {
    let mut whole = Report::default();
    for report in reports {
        for row in &report.results {
            match whole.results.iter_mut().find(|known| known.name == row.name) {
                Some(known) => *known = row.clone(),
                None => whole.results.push(row.clone()),
            }
        }
    }
    whole
}

fn generated(reports: &[Report], whole: &Report) -> String {
    let mut text = String::from("\n");
    for report in reports {
        text += &format!("- `{}`, {}, on {}.\n", report.command, report.date, report.machine);
        let told = [("Not run", &report.not_run), ("Invalid", &report.invalid), ("Note", &report.notes)];
        for (what, lines) in told {
            lines.iter().for_each(|line| text += &format!("  - {what}: {line}\n"));
        }
    }
    text += "\n![The numbers below as bars](performance.svg)\n";
    for (prefixes, title, what) in CHAPTERS {
        let of_it = |name: &str| prefixes.contains(&name.split('/').next().unwrap_or_default());
        let table = whole.table_of(|row| of_it(&row.name));
        if let Some(table) = table {
            text += &format!("\n### {title}\n\n{what}\n\n{table}");
        }
    }
    text + "\n"
}

/// Today, as year, month and day.
#[must_use]
pub fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (year, month, day) = civil(seconds / 86_400);
    format!("{year}-{month:02}-{day:02}")
}

/// The date of a day counted from 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut year, mut left) = (1970, days);
    while left >= 365 + u64::from(leap(year)) {
        left -= 365 + u64::from(leap(year));
        year += 1;
    }
    let months = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in months {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests;
