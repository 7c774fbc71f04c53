//! A line that says how far a transfer is, how fast, and how long it will take.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::output::printable;

/// What goes on in this process, for the one line that shows it. Without a terminal it shows nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Board(Option<Arc<Mutex<Shown>>>);

#[derive(Debug, Default)]
struct Shown {
    last: u64,
    transfers: Vec<(u64, Meter, u64)>,
}

/// One transfer on a board, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Transfer {
    board: Board,
    key: u64,
}

impl Board {
    pub(crate) fn new(terminal: bool) -> Self {
        Self(terminal.then(Arc::default))
    }

    /// Whether anybody sees it.
    pub(crate) fn is_shown(&self) -> bool {
        self.0.is_some()
    }

    /// Shows a transfer of `total` bytes, if that is known.
    pub(crate) fn begin(&self, name: &str, total: Option<u64>) -> Transfer {
        let mut key = 0;
        if let Some(mut shown) = self.lock() {
            shown.last += 1;
            key = shown.last;
            shown.transfers.push((key, Meter::new(name, total, Instant::now()), 0));
        }
        Transfer { board: self.clone(), key }
    }

    /// The line, if there is anything to show.
    pub(crate) fn line(&self) -> Option<String> {
        let mut shown = self.lock()?;
        let more = shown.transfers.len().saturating_sub(1);
        let (_, meter, done) = shown.transfers.first_mut()?;
        let line = meter.line(Instant::now(), *done);
        Some(if more == 0 { line } else { format!("{line}; and {more} more") })
    }

    /// Tells `show` the line each time that it may have changed, for ever; `None` once when there is no more to show.
    pub(crate) async fn watch(&self, mut show: impl AsyncFnMut(Option<String>)) {
        if self.0.is_none() {
            return std::future::pending().await;
        }
        let mut shown = false;
        let mut ticks = tokio::time::interval(REDRAWN);
        loop {
            ticks.tick().await;
            let line = self.line();
            if line.is_some() || shown {
                shown = line.is_some();
                show(line).await;
            }
        }
    }

    fn lock(&self) -> Option<MutexGuard<'_, Shown>> {
        self.0.as_ref().map(|shown| shown.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Transfer {
    /// It is so far.
    pub(crate) fn at(&self, done: u64) {
        let Some(mut shown) = self.board.lock() else { return };
        if let Some((.., at)) = shown.transfers.iter_mut().find(|(key, ..)| *key == self.key) {
            *at = done;
        }
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        if let Some(mut shown) = self.board.lock() {
            shown.transfers.retain(|(key, ..)| *key != self.key);
        }
    }
}

/// What the rate is the mean of: long enough to stand still, short enough to follow.
const WINDOW: Duration = Duration::from_secs(5);
/// How often the line is drawn.
const REDRAWN: Duration = Duration::from_millis(200);
/// Characters of the bar.
const BAR: usize = 20;
/// Characters of the name that are shown.
const NAME: usize = 24;

/// Watches one transfer.
#[derive(Debug)]
struct Meter {
    name: String,
    total: Option<u64>,
    samples: VecDeque<(Instant, u64)>,
}

impl Meter {
    /// A transfer that begins at `now`, of `total` bytes if that is known.
    fn new(name: &str, total: Option<u64>, now: Instant) -> Self {
        let name = printable(name);
        let name = match name.char_indices().nth(NAME) {
            Some((cut, _)) => format!("{}…", &name[..cut]),
            None => name.into_owned(),
        };
        Self { name, total, samples: VecDeque::from([(now, 0)]) }
    }

    /// The line at `now`, when `done` bytes are through.
    fn line(&mut self, now: Instant, done: u64) -> String {
        while self.samples.len() > 1 && self.samples.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            self.samples.pop_front();
        }
        let (since, before) = self.samples.front().copied().unwrap_or((now, done));
        self.samples.push_back((now, done));
        let rate = rate(done.saturating_sub(before), now.duration_since(since));

        let mut line = format!("{} ", self.name);
        // Writing to a string cannot fail.
        let _ = match self.total.filter(|total| *total > 0) {
            Some(total) => {
                let share = share(done, total);
                let filled = (share * BAR as f64) as usize;
                let (filled, empty) = ("#".repeat(filled), "-".repeat(BAR - filled));
                let percent = (share * 100.0) as u32;
                write!(line, "[{filled}{empty}] {percent:>3} % of {}", size(total))
            }
            None => write!(line, "{}", size(done)),
        };
        if rate >= 1.0 {
            let _ = write!(line, ", {}/s", size(rate as u64));
            if let Some(left) = self.total.map(|total| total.saturating_sub(done)) {
                let _ = write!(line, ", {} left", time(left as f64 / rate));
            }
        } else if now.duration_since(since) >= Duration::from_secs(1) {
            line.push_str(", waiting");
        }
        line
    }
}

/// What there was to say in the end: how much, in how long, how fast.
pub(crate) fn summary(bytes: u64, took: Duration) -> String {
    let rate = size(rate(bytes, took) as u64);
    format!("{} in {}, {rate}/s", size(bytes), time(took.as_secs_f64()))
}

/// The line as a terminal shows it: one that is too long is cut by the terminal and not wrapped, so that one line is
/// what there is to take away.
pub(crate) fn unwrapped(line: &str) -> String {
    format!("\x1b[?7l{line}\x1b[?7h")
}

fn share(done: u64, total: u64) -> f64 {
    (done as f64 / total as f64).clamp(0.0, 1.0)
}

fn rate(bytes: u64, during: Duration) -> f64 {
    bytes as f64 / during.as_secs_f64().max(0.001)
}

/// A number of bytes, with three digits that matter.
pub(crate) fn size(bytes: u64) -> String {
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].into_iter();
    let (mut value, mut unit) = (bytes as f64, units.next().unwrap_or_default());
    for next in units {
        if value < 999.5 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    match value {
        _ if unit == "B" => format!("{bytes} B"),
        value if value < 9.995 => format!("{value:.2} {unit}"),
        value if value < 99.95 => format!("{value:.1} {unit}"),
        value => format!("{value:.0} {unit}"),
    }
}

fn time(seconds: f64) -> String {
    if seconds < 1.0 {
        return "under 1 s".into();
    }
    match seconds as u64 {
        seconds if seconds < 60 => format!("{seconds} s"),
        seconds if seconds < 3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds if seconds < 360_000 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => "days".into(),
    }
}

#[cfg(test)]
mod tests;
