//! `esf chat`: lines typed here go there, and what arrives appears here.

use std::{
    cell::RefCell,
    future::poll_fn,
    io::{self, BufRead as _, IsTerminal as _, Read as _},
    path::PathBuf,
    task::Poll,
};

use esf_tokio::{BlobChoice, BlobOffer, BlobStream, Bytes, Client, Context, Event, GroupId, Handler, To};
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    cli::Chat,
    commands::{
        blob, listen,
        membership::{self, Target},
    },
    connect,
    exit::{Code, Exit},
    files::{Inbox, Received},
    output::{self, Layout, Print, Printer, base64, printable},
    progress::{Board, size},
    signals::Signals,
};

/// What a line of a chat means to an application.
const CHAT: u32 = 1;
/// What a line begins with that sends a file.
const FILE: &[u8] = b"/blob";
/// Lines that may be on their way; no more are read until one of them is there.
const ON_THEIR_WAY: usize = 64;
/// The longest line in bytes, which is more than a server takes by default.
const LINE: u64 = 1 << 20;

pub(crate) async fn run(args: Chat) -> Result<(), Exit> {
    let mut signals = Signals::new()?;
    let (lines, waiting) = output::lines();
    let board = Board::new(io::stdout().is_terminal() && io::stderr().is_terminal());
    let inbox = Inbox::new(args.blobs.as_deref(), board.clone())?;
    let (with, groups) = match (args.with, args.group) {
        (_, Some(group)) => (Target::Group(group.clone()), vec![group]),
        (Some(user), None) => (Target::User(user), Vec::new()),
        (None, None) => return Err(Exit::new(Code::Usage, "name somebody by --with, or a group by --group")),
    };
    let speaker = || Speaker { lines: lines.clone(), inbox: inbox.clone(), group: groups.first().cloned() };
    let client = connect::log_in(&args.login, true, &mut signals, |client| client.handler(speaker())).await?;
    let entered = match membership::enter(&client, &groups).await {
        Ok(entered) => entered,
        Err(exit) => {
            connect::log_off(&client, &mut signals).await;
            return Err(exit);
        }
    };

    let prompt = io::stdin().is_terminal() && io::stdout().is_terminal();
    let greeting = format!("connected as {}; a line typed here goes to {with}, and Ctrl-D leaves", args.login.user);
    let mut printer = Printer::start(Print::Note(greeting), (lines.clone(), waiting), Layout { count: None, prompt })?;
    // What the server refused of what went to a group: it says so later.
    let refused = RefCell::new(None);
    let talk = Talk {
        client: &client,
        with: &with,
        lines: &lines,
        board: &board,
        sent: JoinSet::new(),
        last_failure: None,
        refused: &refused,
    };
    let heard = |event: &Event| {
        let refusal = groups.first().and_then(|group| membership::refusal(event, group));
        if let Some(exit) = refusal {
            // If so many lines wait, this one is the least.
            let _ = lines.try_send(not_delivered(&exit));
            *refused.borrow_mut() = Some(exit.told());
        }
    };
    let result = tokio::select! {
        biased;
        done = printer.done() => done,
        exit = connect::watch(&client, &lines, &groups, heard) => Err(exit),
        () = board.watch(async |line| drop(lines.send(Print::Bar(line)).await)) => Ok(()),
        () = signals.next() => Err(Exit::interrupted()),
        result = talk.run(typed()?) => result,
    };
    printer.end().await;
    membership::leave(&client, &entered).await;
    connect::log_off(&client, &mut signals).await;
    result
}

/// Prints what others say.
struct Speaker {
    lines: mpsc::Sender<Print>,
    inbox: Inbox,
    /// The group that is talked with.
    group: Option<GroupId>,
}

impl Speaker {
    /// `whence` stands behind the name.
    async fn say(&self, context: &Context, whence: &str, body: &[u8]) {
        let said = match std::str::from_utf8(body) {
            Ok(text) => printable(text),
            Err(_) => format!("base64 {}", base64(body)).into(),
        };
        // A printer that is gone ends the command.
        let _ = self.lines.send(Print::Line(format!("{}{whence}: {said}", listen::sender(context)))).await;
    }
}

impl Handler for Speaker {
    async fn information(&self, context: Context, _info_type: u32, body: Bytes) {
        let whence = if self.group.is_some() { " to you" } else { "" };
        self.say(&context, whence, &body).await;
    }

    async fn broadcast(&self, context: Context, group: GroupId, _info_type: u32, body: Bytes) {
        let here = self.group.as_ref() == Some(&group);
        let whence = if here { String::new() } else { format!(" in {}", printable(&group)) };
        self.say(&context, &whence, &body).await;
    }

    fn blob_offered(&self, context: &Context, offer: &BlobOffer) -> BlobChoice {
        let choice = self.inbox.choice();
        if choice != BlobChoice::Stream {
            // If so many lines wait, this one is the least.
            let _ = self.lines.try_send(Print::Note(listen::refused(context, offer)));
        }
        choice
    }

    async fn blob_stream(&self, context: Context, stream: BlobStream) {
        let print = match self.inbox.receive(stream).await {
            Ok(Received { bytes, file, .. }) => {
                let (size, file) = (size(bytes), file.to_string_lossy());
                Print::Line(format!("{} sent a file of {size}: {}", listen::sender(&context), printable(&file)))
            }
            Err(not) => Print::Note(listen::not_received(&context, &not)),
        };
        // A printer that is gone ends the command.
        let _ = self.lines.send(print).await;
    }
}

/// Sends what is typed.
struct Talk<'a> {
    client: &'a Client,
    with: &'a Target,
    lines: &'a mpsc::Sender<Print>,
    board: &'a Board,
    sent: JoinSet<Result<(), Exit>>,
    last_failure: Option<Exit>,
    refused: &'a RefCell<Option<Exit>>,
}

impl Talk<'_> {
    /// Until nothing is typed any more and each line has its outcome; fails as the last line failed that did.
    async fn run(mut self, mut typed: mpsc::Receiver<Vec<u8>>) -> Result<(), Exit> {
        loop {
            tokio::select! {
                line = typed.recv(), if self.sent.len() < ON_THEIR_WAY => match line {
                    Some(line) => {
                        let _ = self.lines.send(Print::Prompt).await;
                        match line.strip_prefix(FILE) {
                            Some(rest) if rest.is_empty() || rest[0] == b' ' => self.send_file(rest).await,
                            _ if line.is_empty() => {}
                            _ => self.say(line.into()).await,
                        }
                    }
                    None => break,
                },
                Some(outcome) = self.sent.join_next() => self.ended(outcome.unwrap_or(Ok(()))).await,
            }
        }
        while let Some(outcome) = self.sent.join_next().await {
            self.ended(outcome.unwrap_or(Ok(()))).await;
        }
        if matches!(self.with, Target::Group(_)) {
            membership::handed_over(self.client).await?;
        }
        self.last_failure.or(self.refused.take()).map_or(Ok(()), Err)
    }

    async fn say(&mut self, line: Bytes) {
        let user = match self.with {
            Target::User(user) => user.clone(),
            Target::Group(group) => {
                let sent = membership::broadcast(self.client, group, CHAT, line);
                return self.ended(sent).await;
            }
        };
        let client = self.client.clone();
        let mut sending = Box::pin(async move {
            let sent = client.send_certainly(To::User(user.clone()), CHAT, line).await;
            sent.map_err(|error| Exit::of_call(&error, &user))
        });
        // The first poll hands it to the session, so that lines go in the order in which they were typed.
        match poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx))).await {
            Poll::Ready(outcome) => self.ended(outcome).await,
            Poll::Pending => drop(self.sent.spawn(sending)),
        }
    }

    async fn send_file(&mut self, path: &[u8]) {
        let path = PathBuf::from(String::from_utf8_lossy(path.trim_ascii()).into_owned());
        if path.as_os_str().is_empty() {
            let usage = Exit::new(Code::Usage, "name a file, as in `/blob report.pdf`");
            return self.ended(Err(usage)).await;
        }
        let (client, with, lines, board) =
            (self.client.clone(), self.with.clone(), self.lines.clone(), self.board.clone());
        self.sent.spawn(async move {
            let summary = blob::send_file(&client, &with, CHAT, path, &board).await?;
            // A printer that is gone ends the command.
            let _ = lines.send(Print::Note(summary)).await;
            Ok(())
        });
    }

    async fn ended(&mut self, outcome: Result<(), Exit>) {
        if let Err(exit) = outcome {
            // A printer that is gone ends the command.
            let _ = self.lines.send(not_delivered(&exit)).await;
            self.last_failure = Some(exit.told());
        }
    }
}

fn not_delivered(exit: &Exit) -> Print {
    Print::Note(format!("not delivered: {}", exit.reason().unwrap_or("the reason is not known")))
}

/// The lines of standard input, without their ends. A thread reads them, since a terminal cannot be
/// waited for otherwise; it ends with the process.
fn typed() -> Result<mpsc::Receiver<Vec<u8>>, Exit> {
    let (lines, typed) = mpsc::channel(1);
    let read = move || {
        let mut input = io::stdin().lock();
        loop {
            let mut line = Vec::new();
            match input.by_ref().take(LINE).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            line.truncate(line.trim_ascii_end().len());
            if lines.blocking_send(line).is_err() {
                return;
            }
        }
    };
    let spawned = std::thread::Builder::new().name("read".into()).spawn(read);
    spawned.map(|_| typed).map_err(|error| Exit::internal(format!("a thread cannot be started: {error}")))
}
