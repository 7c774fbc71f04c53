//! `esf listen`: prints what arrives, and answers queries if asked to.

use std::{
    borrow::Cow,
    io::{self, IsTerminal as _},
};

use esf_tokio::{BlobChoice, BlobOffer, BlobStream, Bytes, Context, GroupId, Handler, HandlerFailed, UserId};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::{
    cli::Listen,
    commands::membership,
    connect,
    exit::Exit,
    files::{Inbox, NotReceived, Received},
    output::{self, Layout, Print, Printer, base64, printable, utc},
    progress::Board,
    signals::Signals,
};

pub(crate) async fn run(args: Listen) -> Result<(), Exit> {
    let mut signals = Signals::new()?;
    let (lines, waiting) = output::lines();
    let board = Board::new(io::stdout().is_terminal() && io::stderr().is_terminal());
    let inbox = Inbox::new(args.blobs.as_deref(), board.clone())?;
    let listener = || Listener { lines: lines.clone(), echo: args.echo, json: args.json, inbox: inbox.clone() };
    let client = connect::log_in(&args.login, true, &mut signals, |client| client.handler(listener())).await?;
    let entered = match membership::enter(&client, &args.join).await {
        Ok(entered) => entered,
        Err(exit) => {
            connect::log_off(&client, &mut signals).await;
            return Err(exit);
        }
    };
    // What arrived before this line waits behind it.
    let ready = Print::Line(if args.json { r#"{"event":"ready"}"#.into() } else { "ready".into() });
    let mut printer = Printer::start(ready, (lines.clone(), waiting), Layout { count: args.count, prompt: false })?;
    let result = tokio::select! {
        biased;
        done = printer.done() => done,
        exit = connect::watch(&client, &lines, &args.join, |_| ()) => Err(exit),
        () = board.watch(async |line| drop(lines.send(Print::Bar(line)).await)) => Ok(()),
        () = signals.next() => if args.count.is_some() { Err(Exit::interrupted()) } else { Ok(()) },
    };
    printer.end().await;
    membership::leave(&client, &entered).await;
    connect::log_off(&client, &mut signals).await;
    result
}

struct Listener {
    lines: mpsc::Sender<Print>,
    echo: bool,
    json: bool,
    inbox: Inbox,
}

impl Listener {
    async fn print(&self, event: &'static str, context: &Context, info_type: u32, tag: Option<&str>, body: &[u8]) {
        let text = std::str::from_utf8(body);
        let from = context.source.user().map(UserId::as_str);
        let group = context.group.as_ref().map(GroupId::as_str);
        let base64 = text.is_err().then(|| base64(body));
        let accepted_at_ms = context.accepted_at.map(|at| at.0);
        let arrival = Arrival { event, group, from, info_type, tag, accepted_at_ms, text: text.ok(), base64 };
        let line = if self.json { arrival.json() } else { arrival.line() };
        // A printer that is gone ends the command.
        let _ = self.lines.send(Print::Line(line)).await;
    }
}

impl Handler for Listener {
    async fn information(&self, context: Context, info_type: u32, body: Bytes) {
        self.print("message", &context, info_type, None, &body).await;
    }

    async fn query(&self, context: Context, info_type: u32, body: Bytes) -> Result<Bytes, HandlerFailed> {
        self.print("query", &context, info_type, None, &body).await;
        if self.echo { Ok(body) } else { Err(HandlerFailed) }
    }

    async fn engine_message(&self, context: Context, info_type: u32, tag: Box<str>, body: Bytes) {
        self.print("engine_message", &context, info_type, Some(&tag), &body).await;
    }

    async fn broadcast(&self, context: Context, _group: GroupId, info_type: u32, body: Bytes) {
        self.print("broadcast", &context, info_type, None, &body).await;
    }

    fn blob_offered(&self, context: &Context, offer: &BlobOffer) -> BlobChoice {
        let choice = self.inbox.choice();
        if choice != BlobChoice::Stream {
            // If so many lines wait, this one is the least.
            let _ = self.lines.try_send(Print::Note(refused(context, offer)));
        }
        choice
    }

    async fn blob_stream(&self, context: Context, stream: BlobStream) {
        let info_type = stream.offer().info_type;
        let print = match self.inbox.receive(stream).await {
            Ok(received) => {
                let file = FileArrival::new(&context, info_type, &received);
                Print::Line(if self.json { file.json() } else { file.line() })
            }
            Err(not) => Print::Note(not_received(&context, &not)),
        };
        // A printer that is gone ends the command.
        let _ = self.lines.send(print).await;
    }
}

/// Nobody takes a file here.
pub(super) fn refused(context: &Context, offer: &BlobOffer) -> String {
    let what = if offer.name.is_empty() { "a blob" } else { &offer.name };
    format!("{} was refused, from {}: `--blobs DIR` takes files", printable(what), sender(context))
}

/// A file did not come whole.
pub(super) fn not_received(context: &Context, not: &NotReceived) -> String {
    let what = if not.name.is_empty() { "a blob" } else { &not.name };
    format!("{} was not received, from {}: {}", printable(what), sender(context), not.why)
}

pub(super) fn sender(context: &Context) -> Cow<'_, str> {
    context.source.user().map_or("the server".into(), |user| printable(user))
}

/// A file that arrived, as docs/CLI.md describes it.
#[derive(Debug, Serialize)]
struct FileArrival<'a> {
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    from: Option<&'a str>,
    #[serde(rename = "type")]
    info_type: u32,
    name: &'a str,
    bytes: u64,
    file: Cow<'a, str>,
}

impl<'a> FileArrival<'a> {
    fn new(context: &'a Context, info_type: u32, received: &'a Received) -> Self {
        Self {
            event: "blob",
            group: context.group.as_ref().map(GroupId::as_str),
            from: context.source.user().map(UserId::as_str),
            info_type,
            name: &received.name,
            bytes: received.bytes,
            file: received.file.to_string_lossy(),
        }
    }

    fn json(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers always make JSON")
    }

    fn line(&self) -> String {
        let from = self.from.map_or("the server".into(), printable);
        let Self { info_type, bytes, .. } = self;
        let group = in_group(self.group);
        format!("blob{group} from {from}, type {info_type}: {bytes} bytes in {}", printable(&self.file))
    }
}

/// One thing that arrived, as docs/CLI.md describes it.
#[derive(Debug, Serialize)]
struct Arrival<'a> {
    event: &'static str,
    /// The group that it went to.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    /// `null` is the server.
    from: Option<&'a str>,
    #[serde(rename = "type")]
    info_type: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<&'a str>,
    /// When the server stored it, in milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted_at_ms: Option<u64>,
    /// The body, if it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    /// The body, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

impl Arrival<'_> {
    fn json(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers always make JSON")
    }

    fn line(&self) -> String {
        let from = self.from.map_or("the server".into(), printable);
        let tag = self.tag.map(|tag| format!(" [{}]", printable(tag))).unwrap_or_default();
        let body = match (self.text, &self.base64) {
            (Some(text), _) => printable(text),
            (None, base64) => format!("base64 {}", base64.as_deref().unwrap_or_default()).into(),
        };
        let kind = self.event.replace('_', " ");
        let group = in_group(self.group);
        let stored = self.accepted_at_ms.map(|at| format!(", stored at {}", utc(at))).unwrap_or_default();
        format!("{kind}{group} from {from}, type {}{tag}{stored}: {body}", self.info_type)
    }
}

/// Where something went that went to a group.
fn in_group(group: Option<&str>) -> String {
    group.map(|group| format!(" in {}", printable(group))).unwrap_or_default()
}

#[cfg(test)]
mod tests;
