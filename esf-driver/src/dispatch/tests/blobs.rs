//! Blobs at a handler.

use std::collections::{BTreeMap, VecDeque};

use esf_proto::session::blob::IncomingBlob;

use super::*;
use crate::{
    blob::{BlobChoice, BlobOffer, BlobStream},
    handler::Handlers,
};

/// What the inbox has of blobs, and what became of them.
#[derive(Default)]
pub(super) struct Posted {
    pub(super) events: VecDeque<BlobEvent>,
    pub(super) accepted: Vec<(BlobId, TakeBlob)>,
    pub(super) finished: Vec<(BlobId, Result<(), Failure>)>,
    pub(super) over: bool,
    streams: BTreeMap<BlobId, VecDeque<BlobRead>>,
}

impl Posted {
    pub(super) fn accept(&mut self, blob: BlobId, take: TakeBlob) {
        self.accepted.push((blob, take));
        self.streams.insert(blob, VecDeque::new());
    }

    pub(super) fn read(&mut self, blob: BlobId) -> BlobRead {
        let Some(stream) = self.streams.get_mut(&blob) else { return BlobRead::Gone };
        stream.pop_front().unwrap_or(BlobRead::Wait)
    }
}

const BLOB: BlobId = BlobId(7);

fn offered(blob: BlobId) -> BlobEvent {
    BlobEvent::Offered(incoming(blob))
}

fn incoming(blob: BlobId) -> IncomingBlob {
    IncomingBlob {
        blob,
        source: source("a"),
        group: None,
        info_type: 5,
        name: "x.txt".into(),
        total: Some(6),
        sent_at: None,
    }
}

struct Blobs {
    runtime: Arc<Virtual>,
    handling: Arc<Handling>,
    post: Post,
    dispatch: Arc<Dispatch<Post>>,
    log: Arc<Mutex<Vec<String>>>,
}

/// A dispatch whose handler is made with the log of the test.
fn blobs<H: Handler>(handler: impl FnOnce(Arc<Mutex<Vec<String>>>) -> H) -> Blobs {
    behind(Gates::new(1, 1), handler)
}

fn behind<H: Handler>(gates: Gates, handler: impl FnOnce(Arc<Mutex<Vec<String>>>) -> H) -> Blobs {
    let (runtime, post, log) = (Virtual::new(), Post::default(), Arc::<Mutex<Vec<String>>>::default());
    let handling = Arc::new(Handling {
        handler: Arc::new(handler(log.clone())),
        runtime: runtime.clone(),
        gates,
        limit: LIMIT,
        counters: HandlerCounters::default(),
        in_place: InPlace::default(),
    });
    let dispatch = Dispatch::new(post.clone(), handling.clone());
    Blobs { runtime, handling, post, dispatch, log }
}

impl Blobs {
    fn happens(&self, event: BlobEvent) {
        self.post.lock().blobs.events.push_back(event);
        self.dispatch.pump();
        self.runtime.run();
    }

    fn comes(&self, read: BlobRead) {
        self.post.lock().blobs.streams.get_mut(&BLOB).expect("accepted").push_back(read);
        self.happens(BlobEvent::Readable { blob: BLOB });
    }

    fn finished(&self) -> Vec<(BlobId, Result<(), Failure>)> {
        self.post.lock().blobs.finished.clone()
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Nothing is left of any blob, and no task.
    fn is_quiet(&self) -> bool {
        let blobs = self.dispatch.blobs.lock().unwrap();
        blobs.taken.is_empty() && blobs.whole.is_empty() && self.runtime.running() == 0
    }
}

/// Writes down what it reads, until the end of the stream.
async fn read_all(log: Arc<Mutex<Vec<String>>>, mut stream: BlobStream) {
    loop {
        let next = stream.next().await;
        let entry = match &next {
            Ok(Some(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            Ok(None) => "end".to_owned(),
            Err(failure) => failure.to_string(),
        };
        log.lock().unwrap().push(entry);
        match next {
            Ok(Some(_)) => {}
            Ok(None) => return stream.finish(),
            Err(_) => return,
        }
    }
}

fn streams(log: Arc<Mutex<Vec<String>>>) -> Handlers {
    Handlers::new().blob_stream(move |_, stream| read_all(log.clone(), stream))
}

#[test]
fn a_whole_blob_comes_with_its_name_and_its_place_is_kept_for_its_handler() {
    let (release, held) = completion::<()>();
    let held = Arc::new(Mutex::new(Some(held)));
    let blobs = blobs(|log| {
        Handlers::new().blob(move |context, info_type, name, body| {
            let (log, held) = (log.clone(), held.lock().unwrap().take().expect("one blob"));
            async move {
                let from = context.source.user().map(ToString::to_string).unwrap_or_default();
                log.lock().unwrap().push(format!("{from} {info_type} {name} {body:?}"));
                held.await.expect("released");
            }
        })
    });
    blobs.happens(offered(BLOB));
    assert_eq!(blobs.post.lock().blobs.accepted, [(BLOB, TakeBlob::Whole)]);
    blobs.happens(BlobEvent::Whole { incoming: incoming(BLOB), body: "hello!".into() });
    assert_eq!((blobs.log(), blobs.finished()), (vec!["a 5 x.txt b\"hello!\"".to_owned()], vec![]));
    release.tell(());
    blobs.runtime.run();
    assert_eq!(blobs.finished(), [(BLOB, Ok(()))]);
    assert!(blobs.is_quiet());
}

#[test]
fn blobs_that_are_whole_after_their_link_has_gone_come_all_the_same_as_there_is_room() {
    // On another link of the session there is another dispatch, which was not there when they were offered.
    let (hold, held) = (0..3).map(|_| completion::<()>()).unzip::<_, _, Vec<_>, VecDeque<_>>();
    let held = Arc::new(Mutex::new(held));
    let blobs = behind(Gates::of_threads(1), |log| {
        Handlers::new().blob(move |_, _, _, body| {
            let (log, held) = (log.clone(), held.lock().unwrap().pop_front().expect("three blobs"));
            async move {
                log.lock().unwrap().push(format!("{body:?}"));
                held.await.expect("released");
            }
        })
    });
    let ids = [BLOB, BlobId(8), BlobId(9)];
    for (id, body) in ids.into_iter().zip(["one", "two", "three"]) {
        blobs.happens(BlobEvent::Whole { incoming: incoming(id), body: body.into() });
    }
    let mut expected = Vec::new();
    for (hold, body) in hold.into_iter().zip(["one", "two", "three"]) {
        expected.push(format!("b{body:?}"));
        assert_eq!(blobs.log(), expected, "each has a thread, and there is one");
        hold.tell(());
        blobs.runtime.run();
    }
    assert_eq!(blobs.finished(), ids.map(|id| (id, Ok(()))), "their places are free");
    assert!(blobs.is_quiet());
}

#[test]
fn a_stream_is_read_as_it_comes_and_finished() {
    let blobs = blobs(streams);
    blobs.happens(offered(BLOB));
    assert_eq!(blobs.post.lock().blobs.accepted, [(BLOB, TakeBlob::Stream)]);
    blobs.comes(BlobRead::Data("abc".into()));
    assert_eq!(blobs.log(), ["abc"]);
    blobs.comes(BlobRead::Data("def".into()));
    blobs.comes(BlobRead::End);
    assert_eq!((blobs.log().join(" "), blobs.finished()), ("abc def end".into(), vec![(BLOB, Ok(()))]));
    assert!(blobs.is_quiet());
}

#[test]
fn nobody_who_handles_blobs_refuses_them() {
    for blobs in [blobs(|_| Handlers::new()), blobs(|_| ())] {
        blobs.happens(offered(BLOB));
        assert_eq!(blobs.finished(), [(BLOB, Err(Failure::Rejected))]);
        assert!(blobs.is_quiet());
    }
}

#[test]
fn a_stream_that_ends_early_says_why_to_its_reader() {
    let blobs = blobs(streams);
    blobs.happens(offered(BLOB));
    blobs.comes(BlobRead::Data("abc".into()));
    blobs.post.lock().blobs.streams.clear();
    blobs.happens(BlobEvent::Ended { blob: BLOB, failure: Failure::Cancelled });
    assert_eq!(blobs.log(), ["abc", "cancelled"]);
    assert!(blobs.is_quiet());
}

#[test]
fn the_end_of_the_engine_is_the_end_of_its_streams() {
    let blobs = blobs(streams);
    blobs.happens(offered(BLOB));
    blobs.comes(BlobRead::Data("abc".into()));
    blobs.post.lock().blobs.streams.clear();
    blobs.post.lock().blobs.over = true;
    blobs.dispatch.pump();
    blobs.runtime.run();
    assert_eq!(blobs.log(), ["abc", Failure::ConnectionLost.to_string().as_str()]);
    assert!(blobs.is_quiet());
}

#[test]
fn a_stream_that_is_dropped_or_refused_tells_its_sender() {
    let dropped = blobs(|_| Handlers::new().blob_stream(|_, _| async {}));
    dropped.happens(offered(BLOB));
    assert_eq!(dropped.finished(), [(BLOB, Err(Failure::HandlerFailed))]);
    let refused = blobs(|_| Handlers::new().blob_stream(|_, stream| async move { stream.refuse(Failure::QuotaFull) }));
    refused.happens(offered(BLOB));
    assert_eq!(refused.finished(), [(BLOB, Err(Failure::QuotaFull))]);
    assert!(dropped.is_quiet() && refused.is_quiet());
}

#[test]
fn a_handler_that_panics_is_counted_and_tells_its_sender() {
    struct Panics;
    impl Handler for Panics {
        fn blob_offered(&self, _: &Context, offer: &BlobOffer) -> BlobChoice {
            match &*offer.name {
                "x.txt" => panic!("as the test wants"),
                _ => BlobChoice::Whole,
            }
        }
    }
    let offering = blobs(|_| Panics);
    offering.happens(offered(BLOB));
    let reading = blobs(|_| Handlers::new().blob_stream(|_, _| async { panic!("as the test wants") }));
    reading.happens(offered(BLOB));
    for blobs in [offering, reading] {
        assert_eq!(blobs.finished(), [(BLOB, Err(Failure::HandlerFailed))]);
        assert_eq!(blobs.handling.counters.panicked.load(Ordering::Relaxed), 1);
        assert!(blobs.is_quiet());
    }
}

#[test]
fn a_reader_may_wait_for_ever_but_not_think_for_ever() {
    let waiting = blobs(streams);
    waiting.happens(offered(BLOB));
    waiting.runtime.advance(LIMIT * 10);
    waiting.comes(BlobRead::Data("late".into()));
    assert_eq!((waiting.log(), waiting.finished()), (vec!["late".to_owned()], vec![]));

    let thinking = blobs(|_| {
        Handlers::new().blob_stream(|_, mut stream| async move {
            let _ = stream.next().await;
            std::future::pending::<()>().await;
        })
    });
    thinking.happens(offered(BLOB));
    thinking.runtime.advance(LIMIT * 10);
    thinking.comes(BlobRead::Data("abc".into()));
    thinking.runtime.advance(LIMIT - Duration::from_secs(1));
    assert_eq!(thinking.finished(), []);
    thinking.runtime.advance(Duration::from_secs(2));
    assert_eq!(thinking.finished(), [(BLOB, Err(Failure::HandlerFailed))]);
    assert_eq!(thinking.handling.counters.cut_off.load(Ordering::Relaxed), 1);
}

#[test]
fn a_blob_that_is_over_before_its_handler_has_chosen_is_not_taken() {
    let blobs = blobs(streams);
    {
        let mut posted = blobs.post.lock();
        posted.blobs.events.extend([offered(BLOB), BlobEvent::Ended { blob: BLOB, failure: Failure::Cancelled }]);
    }
    // As another thread would, which takes the second event while this one asks the handler.
    let Some(super::super::blobs::Next::Asks(_)) = blobs.dispatch.next_of_blobs() else { panic!("an offer") };
    blobs.dispatch.pump();
    blobs.runtime.run();
    assert!(blobs.is_quiet());
    assert!(blobs.post.lock().blobs.accepted.is_empty());
}
