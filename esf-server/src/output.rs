//! What people and programs read.

use std::{
    borrow::Cow,
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use crate::{exit::Exit, progress::unwrapped};

/// Lines that wait for whoever reads them; beyond it, those who send have to wait.
const WAITING: usize = 64;
/// How long lines that wait are given at the end.
const LAST_LINES: Duration = Duration::from_millis(500);
/// To the start of the line, and nothing on it: takes away a prompt and what the terminal shows behind it.
pub(crate) const CLEAR: &str = "\r\x1b[2K";
const PROMPT: &str = "> ";

/// Prints a line on standard output.
pub(crate) fn line(text: &str) -> Result<(), Exit> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| unwritten(&error))
}

/// Prints bytes on standard output as they are, and ends the line; on a terminal only what cannot steer it.
pub(crate) fn bytes(bytes: &[u8]) -> Result<(), Exit> {
    let mut out = io::stdout().lock();
    let written = match std::str::from_utf8(bytes) {
        _ if !out.is_terminal() => out.write_all(bytes),
        Ok(text) => out.write_all(printable(text).as_bytes()),
        Err(_) => out.write_all(base64(bytes).as_bytes()),
    };
    written.and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()).map_err(|error| unwritten(&error))
}

/// Says something to people, on standard error. That nobody listens is no reason to stop.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "esf: {}", printable(text));
}

/// The text in one line, with nothing in it that a terminal would obey: strangers choose names and texts.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| {
        c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(obeyed) {
        return text.into();
    }
    text.chars()
        .fold(String::with_capacity(text.len() + 16), |mut line, c| {
            if obeyed(c) {
                line.extend(c.escape_default());
            } else {
                line.push(c);
            }
            line
        })
        .into()
}

/// Bytes as text, in the form of RFC 4648 with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    data_encoding::BASE64.encode(bytes)
}

/// A time of day in milliseconds since the Unix epoch, in the form of RFC 3339 and UTC, to the second.
pub(crate) fn utc(ms: u64) -> String {
    let seconds = ms / 1000;
    let (mut days, time) = (seconds / 86_400, seconds % 86_400);
    // Years from March on, so that a leap day is the last of its year; 400 of them are 146,097 days.
    days += 719_468;
    let (eras, day) = (days / 146_097, days % 146_097);
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * months + 2) / 5 + 1;
    let month = if months < 10 { months + 3 } else { months - 9 };
    let year = eras * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

fn unwritten(error: &io::Error) -> Exit {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Exit::output_closed(),
        _ => Exit::internal(format!("standard output: {error}; is the disk full?")),
    }
}

/// Something for a [`Printer`].
#[derive(Debug)]
pub(crate) enum Print {
    /// A line for standard output.
    Line(String),
    /// A line for standard error.
    Note(String),
    /// A line was typed: the prompt is gone.
    Prompt,
    /// The whole of a terminal, as it is.
    Screen(String),
    /// What stands in the last line of a terminal, above the prompt if there is one.
    Bar(Option<String>),
    /// There is no more.
    End,
}

/// Prints in a thread of its own: whoever stops reading the output (a pager, a stopped terminal) holds up neither the
/// connection nor its heartbeats, but after a few lines those who send.
pub(crate) struct Printer {
    lines: mpsc::Sender<Print>,
    /// `None` when it is done.
    done: Option<oneshot::Receiver<Result<(), Exit>>>,
}

/// How a [`Printer`] prints.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    /// It is done after so many lines behind the first.
    pub(crate) count: Option<u64>,
    /// Whether somebody types below the lines.
    pub(crate) prompt: bool,
}

/// The way to a printer that is not started yet, and what a printer takes from.
pub(crate) fn lines() -> (mpsc::Sender<Print>, mpsc::Receiver<Print>) {
    mpsc::channel(WAITING)
}

impl Printer {
    /// Prints `first`, then what came and comes through `lines`.
    pub(crate) fn start(
        first: Print,
        (lines, waiting): (mpsc::Sender<Print>, mpsc::Receiver<Print>),
        layout: Layout,
    ) -> Result<Self, Exit> {
        let (tell, done) = oneshot::channel();
        let print = move || {
            // Whoever waited may have left.
            let _ = tell.send(print_all(&first, waiting, &layout));
        };
        std::thread::Builder::new()
            .name("print".into())
            .spawn(print)
            .map_err(|error| Exit::internal(format!("a thread cannot be started: {error}")))?;
        Ok(Self { lines, done: Some(done) })
    }

    /// Waits until the lines are printed that it was to print, or until that fails.
    pub(crate) async fn done(&mut self) -> Result<(), Exit> {
        match &mut self.done {
            Some(done) => {
                let result = done.await.unwrap_or_else(|_| Err(Exit::internal("the thread that prints is gone")));
                self.done = None;
                result
            }
            None => Ok(()),
        }
    }

    /// Lets the lines that wait be printed, if somebody reads them.
    pub(crate) async fn end(mut self) {
        let end = async {
            if self.lines.send(Print::End).await.is_ok() {
                // How it ends does not matter any more.
                let _ = self.done().await;
            }
        };
        // Nobody reads: what waits is lost.
        let _ = tokio::time::timeout(LAST_LINES, end).await;
    }
}

fn print_all(first: &Print, mut waiting: mpsc::Receiver<Print>, layout: &Layout) -> Result<(), Exit> {
    let mut foot = Foot { prompt: layout.prompt, bar: None };
    foot.print(first).map_err(|error| unwritten(&error))?;
    let mut left = layout.count;
    while left != Some(0) {
        let Some(print) = waiting.blocking_recv() else { return Ok(()) };
        foot.print(&print).map_err(|error| unwritten(&error))?;
        match print {
            Print::Line(_) => left = left.map(|left| left - 1),
            Print::Note(_) | Print::Prompt | Print::Screen(_) | Print::Bar(_) => {}
            Print::End => return Ok(()),
        }
    }
    foot.print(&Print::End).map_err(|error| unwritten(&error))
}

/// What stands below all lines: a bar, a prompt, both or nothing.
struct Foot {
    prompt: bool,
    bar: Option<String>,
}

impl Foot {
    fn print(&mut self, print: &Print) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match print {
            Print::Line(text) => write!(out, "{}{text}\n{}", self.gone(), self.drawn())?,
            Print::Note(text) => {
                write!(out, "{}", self.gone())?;
                out.flush()?;
                note(text);
                write!(out, "{}", self.drawn())?;
            }
            Print::Screen(screen) => write!(out, "{screen}")?,
            // The typed line stays, and the bar above it goes.
            Print::Prompt if self.bar.is_some() => write!(out, "\x1b[2A\x1b[M\x1b[1B\r{}", self.drawn())?,
            Print::Prompt => write!(out, "{}", self.drawn())?,
            // What is typed meanwhile stays where it is.
            Print::Bar(Some(line)) if self.prompt && self.bar.is_some() => {
                write!(out, "\x1b7\x1b[1A{CLEAR}{}\x1b8", unwrapped(line))?;
                self.bar = Some(line.clone());
            }
            Print::Bar(line) => {
                write!(out, "{}", self.gone())?;
                self.bar.clone_from(line);
                write!(out, "{}", self.drawn())?;
            }
            Print::End => write!(out, "{}", self.gone())?,
        }
        out.flush()
    }

    /// Takes it away; what follows begins in its first line.
    fn gone(&self) -> String {
        match (&self.bar, self.prompt) {
            (Some(_), true) => format!("{CLEAR}\x1b[1A{CLEAR}"),
            (Some(_), false) | (None, true) => CLEAR.into(),
            (None, false) => String::new(),
        }
    }

    fn drawn(&self) -> String {
        match (&self.bar, self.prompt) {
            (Some(bar), true) => format!("{}\n{PROMPT}", unwrapped(bar)),
            (Some(bar), false) => unwrapped(bar),
            (None, true) => PROMPT.into(),
            (None, false) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests;
