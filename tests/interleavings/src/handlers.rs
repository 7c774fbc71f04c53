//! Handlers behind their gates: who waits for a place, and who is told that there is one.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use esf_proto::{
    failure::Failure,
    ids::{DeviceKind, Engine, InstanceId, Source, UserId},
    session::{
        blob::{BlobEvent, BlobId, BlobRead, IncomingBlob, TakeBlob},
        inbound::{IncomingQuery, Message, MessageKind, QueryToken},
    },
};
use shuttle::thread;

use super::{Threads, block_on};
use crate::{
    blob::{BlobChoice, BlobOffer, BlobStream},
    dispatch::{Dispatch, Gates, Handling, Inbox},
    handler::{Context, Handler, HandlerFailed},
    notify::Notify,
    sync::{Arc, Mutex, yield_now},
};

/// What arrived and was not pulled, and what was done with it.
#[derive(Debug, Clone, Default)]
struct Letters(Arc<Mutex<Pile>>);

#[derive(Debug, Default)]
struct Pile {
    messages: VecDeque<Message>,
    queries: VecDeque<IncomingQuery>,
    events: VecDeque<BlobEvent>,
    stream: VecDeque<BlobRead>,
    replied: usize,
    finished: Vec<(BlobId, Result<(), Failure>)>,
}

impl Letters {
    fn with<T>(&self, change: impl FnOnce(&mut Pile) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }
}

impl Inbox for Letters {
    fn poll_message(&self) -> Option<Message> {
        self.with(|pile| pile.messages.pop_front())
    }

    fn poll_query(&self) -> Option<IncomingQuery> {
        self.with(|pile| pile.queries.pop_front())
    }

    fn reply(&self, _: QueryToken, result: Result<Bytes, Failure>) {
        assert!(result.is_ok());
        self.with(|pile| pile.replied += 1);
    }

    fn poll_blob(&self) -> Option<BlobEvent> {
        self.with(|pile| pile.events.pop_front())
    }

    fn accept_blob(&self, _: BlobId, _: TakeBlob) {}

    fn read_blob(&self, _: BlobId) -> BlobRead {
        self.with(|pile| pile.stream.pop_front()).unwrap_or(BlobRead::Wait)
    }

    fn finish_blob(&self, blob: BlobId, outcome: Result<(), Failure>) {
        self.with(|pile| pile.finished.push((blob, outcome)));
    }

    fn is_over(&self) -> bool {
        false
    }
}

/// Notes what it handles, and asserts that no source is handled twice at the same time.
#[derive(Clone, Default)]
struct Notes(Arc<Noted>);

#[derive(Default)]
struct Noted {
    log: Mutex<Log>,
    changed: Notify,
}

#[derive(Default)]
struct Log {
    busy: Vec<Source>,
    lines: Vec<String>,
}

impl Notes {
    fn begin(&self, source: &Source) {
        let mut log = self.0.log.lock().unwrap();
        assert!(!log.busy.contains(source), "it is being handled");
        log.busy.push(source.clone());
        drop(log);
        yield_now();
    }

    fn end(&self, source: &Source, body: &[u8]) {
        let mut log = self.0.log.lock().unwrap();
        log.busy.retain(|busy| busy != source);
        log.lines.push(format!("{}{}", name(source), String::from_utf8_lossy(body)));
        drop(log);
        self.0.changed.notify();
    }

    /// Waits until this many were handled. Says in which order.
    fn wait(&self, lines: usize) -> Vec<String> {
        block_on(self.0.changed.until(|| self.0.log.lock().unwrap().lines.len() >= lines));
        self.0.log.lock().unwrap().lines.clone()
    }
}

impl Handler for Notes {
    async fn information(&self, context: Context, _: u32, body: Bytes) {
        self.begin(&context.source);
        self.end(&context.source, &body);
    }

    async fn query(&self, context: Context, _: u32, body: Bytes) -> Result<Bytes, HandlerFailed> {
        self.end(&context.source, &body);
        Ok(body)
    }

    fn blob_offered(&self, _: &Context, _: &BlobOffer) -> BlobChoice {
        BlobChoice::Stream
    }

    async fn blob(&self, context: Context, _: u32, _: Box<str>, body: Bytes) {
        self.end(&context.source, &body);
    }

    async fn blob_stream(&self, context: Context, mut stream: BlobStream) {
        let mut whole = Vec::new();
        while let Some(piece) = stream.next().await.expect("a piece") {
            whole.extend_from_slice(&piece);
        }
        stream.finish();
        self.end(&context.source, &whole);
    }
}

fn handling(gates: Gates, notes: &Notes) -> Arc<Handling> {
    let handler = Arc::new(notes.clone());
    let (runtime, limit) = (Arc::new(Threads), Duration::from_secs(60));
    Arc::new(Handling { handler, runtime, gates, limit, in_place: Default::default(), counters: Default::default() })
}

fn source(name: &str) -> Source {
    let user = UserId::parse(name, 64).expect("a name");
    Source::Engine(Engine { user, device: DeviceKind::PHONE, instance: InstanceId(1) })
}

fn name(source: &Source) -> &str {
    source.user().map_or("server", |user| user.as_str())
}

fn message(from: &str, body: &'static str) -> Message {
    let kind = MessageKind::Information;
    Message {
        source: source(from),
        kind,
        info_type: 0,
        body: body.into(),
        id: None,
        sent_at: None,
        echo_of: None,
        stored: None,
    }
}

fn query(from: &str, body: &'static str) -> IncomingQuery {
    IncomingQuery { token: QueryToken(0), source: source(from), info_type: 0, body: body.into(), sent_at: None }
}

fn blob(id: u64, from: &str) -> IncomingBlob {
    IncomingBlob {
        blob: BlobId(id),
        source: source(from),
        group: None,
        info_type: 0,
        name: "".into(),
        total: None,
        sent_at: None,
    }
}

/// What comes on three links of a server whose handlers share one place: every message is handled, those of one source in
/// their order and never two at a time.
///
/// # Panics
/// If that is not so.
pub fn messages_of_three_links_share_one_place() {
    let notes = Notes::default();
    let handling = handling(Gates::new(1, 1), &notes);
    let links = ["a", "b", "c"].map(|from| {
        let letters = Letters::default();
        let dispatch = Dispatch::new(letters.clone(), handling.clone());
        thread::spawn(move || {
            for body in ["1", "2"] {
                letters.with(|pile| pile.messages.push_back(message(from, body)));
                dispatch.pump();
            }
        })
    });
    let handled = notes.wait(6);
    for from in ["a", "b", "c"] {
        let of_one: Vec<&String> = handled.iter().filter(|line| line.starts_with(from)).collect();
        assert_eq!(of_one, [&format!("{from}1"), &format!("{from}2")]);
    }
    links.into_iter().for_each(|link| link.join().unwrap());
}

/// The same source on one link, pumped by two threads, with places to spare.
///
/// # Panics
/// If a message is not handled, or out of its order.
pub fn one_source_is_handled_in_order_whoever_pumps() {
    let notes = Notes::default();
    let letters = Letters::default();
    let dispatch = Dispatch::new(letters.clone(), handling(Gates::new(4, 4), &notes));
    let pumps = ["1", "2", "3"].map(|body| {
        letters.with(|pile| pile.messages.push_back(message("a", body)));
        let dispatch = dispatch.clone();
        thread::spawn(move || dispatch.pump())
    });
    assert_eq!(notes.wait(3), ["a1", "a2", "a3"]);
    pumps.into_iter().for_each(|pump| pump.join().unwrap());
}

/// Queries of three links wait for one place.
///
/// # Panics
/// If one is not answered.
pub fn queries_wait_for_places() {
    let notes = Notes::default();
    let handling = handling(Gates::new(1, 1), &notes);
    let links = ["a", "b", "c"].map(|from| {
        let letters = Letters::default();
        letters.with(|pile| pile.queries.push_back(query(from, "?")));
        let dispatch = Dispatch::new(letters.clone(), handling.clone());
        thread::spawn(move || {
            dispatch.pump();
            letters
        })
    });
    notes.wait(3);
    drop(links.map(|link| link.join().unwrap()));
}

/// Whole blobs that lost their places with their links wait for one thread.
///
/// # Panics
/// If one is not handled.
pub fn whole_blobs_wait_for_a_thread() {
    let notes = Notes::default();
    let handling = handling(Gates::of_threads(1), &notes);
    let links = ["a", "b"].map(|from| {
        let letters = Letters::default();
        let dispatch = Dispatch::new(letters.clone(), handling.clone());
        thread::spawn(move || {
            for id in [1, 2] {
                let whole = BlobEvent::Whole { incoming: blob(id, from), body: "!".into() };
                letters.with(|pile| pile.events.push_back(whole));
                dispatch.pump();
            }
        })
    });
    assert_eq!(notes.wait(4).len(), 4);
    links.into_iter().for_each(|link| link.join().unwrap());
}

/// A stream is read while its pieces come.
///
/// # Panics
/// If a piece is lost.
pub fn a_stream_is_read_to_its_end() {
    let notes = Notes::default();
    let letters = Letters::default();
    let dispatch = Dispatch::new(letters.clone(), handling(Gates::new(1, 1), &notes));
    letters.with(|pile| pile.events.push_back(BlobEvent::Offered(blob(7, "a"))));
    let comes = [BlobRead::Data("1".into()), BlobRead::Data("2".into()), BlobRead::End];
    dispatch.pump();
    for read in comes {
        letters.with(|pile| {
            pile.stream.push_back(read);
            pile.events.push_back(BlobEvent::Readable { blob: BlobId(7) });
        });
        dispatch.pump();
    }
    assert_eq!(notes.wait(1), ["a12"]);
    assert_eq!(letters.with(|pile| pile.finished.clone()), [(BlobId(7), Ok(()))]);
}
