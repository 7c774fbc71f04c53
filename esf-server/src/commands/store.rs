//! `esf store`: what an operator does with the store of a server, which may run meanwhile.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use serde_json::json;

use super::data::{directory, told};
use crate::{
    cli::{self, DeadCommand, Letters, StoreCommand, device_name},
    exit::{Code, Exit},
    output::{self, CLEAR, printable},
    progress::{self, Board},
    store::{BackupError, DeadLetter, Problem, Store},
};

/// How often progress is shown.
const SHOWN: Duration = Duration::from_millis(200);

pub(crate) fn run(args: cli::StoreArgs) -> Result<(), Exit> {
    let mut store = told(Store::open(&directory(args.data)?))?;
    match args.command {
        StoreCommand::Backup { file } => backup(&store, &file),
        StoreCommand::Dead { command } => match command {
            DeadCommand::List { json } => told(store.dead_letters())?
                .iter()
                .try_for_each(|letter| output::line(&if json { as_json(letter) } else { as_line(letter) })),
            DeadCommand::Retry(letters) => {
                each(&mut store, letters, Store::retry_dead_letter, "is delivered again at the receiver's next login")
            }
            DeadCommand::Drop(letters) => each(&mut store, letters, Store::drop_dead_letter, "is gone"),
        },
    }
}

fn backup(store: &Store, file: &Path) -> Result<(), Exit> {
    let begun = Instant::now();
    let board = Board::new(io::stderr().is_terminal());
    let mut transfer = None;
    let mut shown = begun;
    let outcome = store.backup(file, |done, total| {
        transfer.get_or_insert_with(|| board.begin("backup", Some(total))).at(done);
        if shown.elapsed() >= SHOWN {
            shown = Instant::now();
            show(board.line());
        }
    });
    drop(transfer);
    if board.is_shown() {
        show(None);
    }
    let bytes = outcome.map_err(|error| match error {
        BackupError::Store(problem) => Exit::of_store(&problem),
        BackupError::File(path, reason) => {
            Exit::new(Code::FileUnusable, format!("there is no backup: {}: {reason}", path.display()))
        }
    })?;
    let file = file.display().to_string();
    output::line(&format!("{} has all of it: {}", printable(&file), progress::summary(bytes, begun.elapsed())))
}

/// Shows a line on the terminal in place of the one before. Nobody has to see it.
fn show(line: Option<String>) {
    let mut terminal = io::stderr().lock();
    let line = line.map(|line| progress::unwrapped(&line)).unwrap_or_default();
    let _ = write!(terminal, "{CLEAR}{line}").and_then(|()| terminal.flush());
}

/// Does the same with each of these letters, and stops at the first that is none.
fn each(
    store: &mut Store,
    letters: Letters,
    act: impl Fn(&mut Store, u64) -> Result<bool, Problem>,
    outcome: &str,
) -> Result<(), Exit> {
    let ids =
        if letters.all { told(store.dead_letters())?.iter().map(|letter| letter.id).collect() } else { letters.ids };
    ids.into_iter().try_for_each(|id| {
        if !told(act(store, id))? {
            let reason = format!("there is no dead letter {id}; `esf store dead list` shows those that there are");
            return Err(Exit::new(Code::NotThere, reason));
        }
        output::line(&format!("dead letter {id} {outcome}"))
    })
}

fn as_line(letter: &DeadLetter) -> String {
    let sender = letter.sender.as_deref().map_or("the server".into(), printable);
    let device = letter.device.map(|device| format!(" ({})", device_name(esf_tokio::DeviceKind(device))));
    let (receiver, device) = (printable(&letter.receiver), device.unwrap_or_default());
    let DeadLetter { id, bytes, accepted_at_ms, .. } = letter;
    format!("{id}\tfrom {sender}\tto {receiver}{device}\t{bytes} bytes\taccepted_at_ms {accepted_at_ms}")
}

fn as_json(letter: &DeadLetter) -> String {
    json!({
        "id": letter.id,
        "from": letter.sender,
        "to": letter.receiver,
        "device": letter.device,
        "bytes": letter.bytes,
        "accepted_at_ms": letter.accepted_at_ms,
    })
    .to_string()
}
