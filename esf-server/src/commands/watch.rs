//! `esf watch`: contacts and groupmates, and who of them is online, as it changes.
//!
//! It asks again and again instead of being told: to be told one has to be online and take messages, and a terminal that
//! only looks shall be nobody's target.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    io::{self, IsTerminal as _},
    time::Duration,
};

use esf_tokio::{CallError, Client, Cursor, Failure, GroupId};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::{
    cli::Watch,
    connect,
    exit::Exit,
    output::{self, Layout, Print, Printer, printable},
    signals::Signals,
};

/// How long to wait between two looks.
const AGAIN: Duration = Duration::from_millis(400);
/// People that are shown.
const SHOWN: usize = 1000;

pub(crate) async fn run(args: Watch) -> Result<(), Exit> {
    let mut signals = Signals::new()?;
    let (lines, waiting) = output::lines();
    let client = connect::log_in(&args.login, false, &mut signals, |client| client).await?;
    let screen = io::stdout().is_terminal() && !args.json;
    let first =
        if screen { Print::Screen(ENTER.into()) } else { Print::Note(format!("watching as {}", args.login.user)) };
    let mut printer = Printer::start(first, (lines.clone(), waiting), Layout::default())?;
    let me = args.login.user.as_str();
    let result = tokio::select! {
        biased;
        done = printer.done() => done,
        exit = connect::watch(&client, &lines, &[], |_| ()) => Err(exit),
        exit = look(&client, me, screen, args.json, &lines) => Err(exit),
        () = signals.next() => Ok(()),
    };
    if screen {
        let _ = lines.send(Print::Screen(LEAVE.into())).await;
    }
    printer.end().await;
    connect::log_off(&client, &mut signals).await;
    result
}

/// Looks, for ever, and prints what has changed.
async fn look(client: &Client, me: &str, screen: bool, json: bool, lines: &mpsc::Sender<Print>) -> Exit {
    let mut before: Option<People> = None;
    let mut failed = false;
    loop {
        match People::now(client, me).await {
            Ok(people) => {
                failed = false;
                let prints = match &before {
                    Some(before) if *before == people => Vec::new(),
                    _ if screen => vec![Print::Screen(people.screen())],
                    before => people.changes(before.as_ref(), json).into_iter().map(Print::Line).collect(),
                };
                for print in prints {
                    // A printer that is gone ends the command.
                    let _ = lines.send(print).await;
                }
                before = Some(people);
            }
            // While the connection is away; the session comes back by itself or ends.
            Err(CallError::Failed(Failure::ConnectionLost | Failure::TimedOut | Failure::Busy)) => {}
            Err(CallError::Failed(Failure::Internal)) => {
                if !std::mem::replace(&mut failed, true) {
                    let note = "the server cannot read its store at present; it is asked again";
                    let _ = lines.send(Print::Note(note.into())).await;
                }
            }
            Err(error) => return Exit::of_call(&error, "the server"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Everybody who is a contact or shares a group.
#[derive(Debug, Default, PartialEq, Eq)]
struct People {
    all: BTreeMap<String, Row>,
    /// There are others who are not shown.
    more: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Row {
    online: bool,
    contact: bool,
    groups: BTreeSet<String>,
}

impl People {
    /// As the server tells it now.
    async fn now(client: &Client, me: &str) -> Result<Self, CallError> {
        let mut people = Self::default();
        let mut next = Some(Cursor::START);
        while let Some(cursor) = next.filter(|_| !people.more) {
            let page = client.contacts(cursor).await?;
            for member in page.members {
                people.add(member.user, |row| (row.online, row.contact) = (member.online, true));
            }
            next = page.next;
        }
        let mut groups = Vec::new();
        let mut next = Some(Cursor::START);
        while let Some(cursor) = next {
            let page = client.my_groups(cursor).await?;
            groups.extend(page.groups.into_iter().filter_map(|mine| GroupId::parse(&mine.group).ok()));
            next = page.next;
        }
        for group in groups {
            people.add_members(client, me, &group).await?;
        }
        Ok(people)
    }

    async fn add_members(&mut self, client: &Client, me: &str, group: &GroupId) -> Result<(), CallError> {
        let mut next = Some(Cursor::START);
        while let Some(cursor) = next.filter(|_| !self.more) {
            let page = match client.group_members(group, cursor).await {
                Ok(page) => page,
                // Left or deleted since the groups were asked for.
                Err(CallError::Failed(Failure::NotAllowed)) => return Ok(()),
                Err(error) => return Err(error),
            };
            for member in page.members.into_iter().filter(|member| member.user != me) {
                self.add(member.user, |row| {
                    row.online = member.online;
                    row.groups.insert(group.as_str().to_owned());
                });
            }
            next = page.next;
        }
        Ok(())
    }

    fn add(&mut self, user: String, note: impl FnOnce(&mut Row)) {
        if self.all.len() >= SHOWN && !self.all.contains_key(&user) {
            self.more = true;
        } else {
            note(self.all.entry(user).or_default());
        }
    }

    /// A line for each whose state is another than before; at first for all.
    fn changes(&self, before: Option<&Self>, json: bool) -> Vec<String> {
        let none = Self::default();
        let before = before.unwrap_or(&none);
        let gone = before.all.keys().filter(|user| !self.all.contains_key(*user)).map(|user| (user, None));
        let now = self.all.iter().filter(|(user, row)| before.all.get(*user) != Some(row));
        let changed = gone.chain(now.map(|(user, row)| (user, Some(row))));
        changed.map(|(user, row)| if json { object(user, row) } else { line(user, row) }).collect()
    }

    /// Everybody, each in a line of a terminal, from its first line on. What is too much for it falls on its last one.
    fn screen(&self) -> String {
        let mut screen = String::from("\x1b[?7l");
        let width = self.all.keys().map(|user| printable(user).chars().count()).max().unwrap_or(0).min(40);
        let lines = self.all.iter().map(|(user, row)| {
            let mark = if row.online { "\x1b[1m●" } else { "\x1b[2m○" };
            format!("{mark} {:<width$}  {:<7}  {}\x1b[0m", printable(user), row.state(), row.why())
        });
        let online = self.all.values().filter(|row| row.online).count();
        let more = if self.more { "; there are more, who are not shown" } else { "" };
        let last = match self.all.len() {
            0 => "no contacts and no groupmates yet; Ctrl-C leaves".to_owned(),
            all => format!("{online} of {all} online{more}; Ctrl-C leaves"),
        };
        for (at, line) in lines.chain([last]).enumerate() {
            // Writing to a string cannot fail.
            let _ = write!(screen, "\x1b[{};1H{line}\x1b[K", at + 1);
        }
        screen + "\x1b[J\x1b[?7h"
    }
}

impl Row {
    fn state(&self) -> &'static str {
        if self.online { "online" } else { "offline" }
    }

    /// Why this one is shown.
    fn why(&self) -> String {
        let contact = self.contact.then(|| "contact".to_owned());
        let groups = self.groups.iter().map(|group| printable(group).into_owned());
        contact.into_iter().chain(groups).collect::<Vec<_>>().join(", ")
    }
}

/// Somebody in one line; without a row they are neither contact nor groupmate any more.
fn line(user: &str, row: Option<&Row>) -> String {
    match row {
        Some(row) => format!("{}\t{}\t{}", printable(user), row.state(), row.why()),
        None => format!("{}\tgone\t", printable(user)),
    }
}

fn object(user: &str, row: Option<&Row>) -> String {
    #[derive(Serialize)]
    struct Shown<'a> {
        name: &'a str,
        online: Option<bool>,
        contact: bool,
        groups: Vec<&'a str>,
    }
    let groups = row.iter().flat_map(|row| &row.groups).map(String::as_str).collect();
    let shown =
        Shown { name: user, online: row.map(|row| row.online), contact: row.is_some_and(|row| row.contact), groups };
    serde_json::to_string(&shown).expect("texts and truth values always make JSON")
}

/// To a screen of its own, and back to what was there.
const ENTER: &str = "\x1b[?1049h\x1b[H\x1b[2J";
const LEAVE: &str = "\x1b[?1049l";
