//! `esf blob`: a file, or what comes through a pipe, for somebody or for a group.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    time::Instant,
};

use esf_tokio::{BlobError, BlobProgress, Client, Failure, SendingBlob, To};

use crate::{
    cli::Blob,
    commands::membership::{self, Target},
    connect,
    exit::{Code, Exit},
    files::Input,
    output::{self, printable},
    progress::{self, Board},
};

pub(crate) async fn run(args: Blob) -> Result<(), Exit> {
    let to = match (args.to, args.group) {
        (_, Some(group)) => Target::Group(group),
        (Some(user), None) => Target::User(user),
        (None, None) => return Err(Exit::new(Code::Usage, "name somebody by --to, or a group by --group")),
    };
    let mut input = Input::open(&args.file).await?;
    if let Some(name) = args.name {
        input.name = name;
    }
    if input.is_empty() {
        output::note(&format!("{} is empty, and is sent as it is", input.name));
    }
    let board = Board::new(io::stderr().is_terminal());
    let result = connect::once(&args.login, async |client| {
        if let Target::Group(group) = &to {
            membership::check(client, group).await?;
        }
        tokio::select! {
            sent = send(client, &to, args.info_type, input, &board) => sent,
            () = board.watch(async |line| draw(line)) => Ok(String::new()),
            () = tell(client, &board) => Ok(String::new()),
        }
    })
    .await;
    if board.is_shown() {
        draw(None);
        if let Ok(summary) = &result {
            output::note(summary);
        }
    }
    result.map(drop)
}

/// Sends it, waits for its outcome, and says how it went. Whoever stops waiting gives it up.
pub(crate) async fn send(
    client: &Client,
    to: &Target,
    info_type: u32,
    input: Input,
    board: &Board,
) -> Result<String, Exit> {
    let shown = if input.name.is_empty() { "standard input" } else { &input.name };
    let name = printable(shown).into_owned();
    let begun = Instant::now();
    let blob = match to {
        Target::User(user) => client.send_blob(To::User(user.clone()), info_type, &input.name, input.source),
        Target::Group(group) => client.broadcast_blob(group, info_type, &input.name, input.source),
    };
    let blob = GivenUp(blob.map_err(|error| Exit::of_send(&error))?);
    let mut progress = blob.0.progress();
    let transfer = board.begin(&name, progress.total);
    while let Some(further) = blob.0.further_than(progress).await {
        progress = further;
        transfer.at(progress.held);
    }
    blob.0.outcome().await.map_err(|error| not_sent(&error, to))?;
    let BlobProgress { total, held } = blob.0.progress();
    let summary = progress::summary(total.unwrap_or(held), begun.elapsed());
    Ok(match to {
        Target::User(_) => format!("{name} is with {to}: {summary}"),
        Target::Group(_) => format!("{name} is with whoever is online in {to}: {summary}"),
    })
}

/// Why a blob did not arrive: a group has reasons of its own.
fn not_sent(error: &BlobError, to: &Target) -> Exit {
    match (to, error) {
        (Target::Group(group), BlobError::Failed(Failure::NotAllowed)) => membership::no_member(group),
        (Target::Group(_), BlobError::Failed(Failure::TooLarge)) => {
            Exit::new(Code::TooLarge, format!("too many devices are online in {to}; 256 of them take a file at most"))
        }
        _ => Exit::of_blob(error, &to.to_string()),
    }
}

/// The file that was named in a chat.
pub(crate) async fn send_file(
    client: &Client,
    to: &Target,
    info_type: u32,
    path: PathBuf,
    board: &Board,
) -> Result<String, Exit> {
    let input = Input::open(&path).await?;
    send(client, to, info_type, input, board).await
}

/// A blob that is cancelled when this is dropped; one that has its outcome is not.
struct GivenUp(SendingBlob);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Says on the way when the connection is interrupted and back, for ever.
async fn tell(client: &Client, board: &Board) {
    let mut events = client.events();
    while let Some(event) = events.next().await {
        if let Some(text) = connect::telling(&event) {
            if board.is_shown() {
                draw(None);
            }
            output::note(&text);
        }
    }
    std::future::pending::<()>().await;
}

/// Puts a line into the last line of the terminal. That nobody looks is no reason to stop.
fn draw(line: Option<String>) {
    let mut out = io::stderr().lock();
    let line = line.map(|line| progress::unwrapped(&line)).unwrap_or_default();
    let _ = write!(out, "{}{line}", output::CLEAR).and_then(|()| out.flush());
}
