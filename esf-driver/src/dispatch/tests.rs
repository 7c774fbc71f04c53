use std::{collections::BTreeMap, sync::MutexGuard};

use esf_proto::ids::{DeviceKind, Engine, InstanceId, UserId};

use super::*;
use crate::{
    completion::{Teller, completion},
    handler::{Handler, HandlerFailed},
    testing::Virtual,
};

/// An inbox that the test fills.
#[derive(Clone, Default)]
struct Post(Arc<Mutex<Posted>>);

#[derive(Default)]
struct Posted {
    messages: VecDeque<Message>,
    queries: VecDeque<IncomingQuery>,
    replies: BTreeMap<u64, Result<Bytes, Failure>>,
    blobs: blobs::Posted,
}

impl Post {
    fn lock(&self) -> MutexGuard<'_, Posted> {
        self.0.lock().unwrap()
    }
}

impl Inbox for Post {
    fn poll_message(&self) -> Option<Message> {
        self.lock().messages.pop_front()
    }
    fn poll_query(&self) -> Option<IncomingQuery> {
        self.lock().queries.pop_front()
    }
    fn reply(&self, token: QueryToken, result: Result<Bytes, Failure>) {
        assert_eq!(self.lock().replies.insert(token.0, result), None, "one reply each");
    }
    fn poll_blob(&self) -> Option<BlobEvent> {
        self.lock().blobs.events.pop_front()
    }
    fn accept_blob(&self, blob: BlobId, take: TakeBlob) {
        self.lock().blobs.accept(blob, take);
    }
    fn read_blob(&self, blob: BlobId) -> BlobRead {
        self.lock().blobs.read(blob)
    }
    fn finish_blob(&self, blob: BlobId, outcome: Result<(), Failure>) {
        self.lock().blobs.finished.push((blob, outcome));
    }
    fn is_over(&self) -> bool {
        self.lock().blobs.over
    }
}

/// Records what begins and ends; what it does is in the type number.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Recorded>>);

#[derive(Default)]
struct Recorded {
    /// `user:text` at the start, `user:text.` at the end.
    log: Vec<String>,
    held: VecDeque<Teller<()>>,
    runtime: Option<Arc<Virtual>>,
    computes: Duration,
}

const AT_ONCE: u32 = 0;
/// Waits until the test releases it.
const HELD: u32 = 1;
const NEVER: u32 = 2;
const PANICS: u32 = 3;
/// Computes for a while.
const SLOW: u32 = 4;

impl Recorder {
    fn log(&self) -> Vec<String> {
        self.0.lock().unwrap().log.clone()
    }

    fn running(&self) -> usize {
        let log = self.log();
        log.len() - 2 * log.iter().filter(|entry| entry.ends_with('.')).count()
    }

    fn release(&self) {
        let held = self.0.lock().unwrap().held.pop_front().expect("a handler is held");
        held.tell(());
    }

    async fn handle(&self, context: Context, info_type: u32, body: Bytes) {
        let user = context.source.user().map_or("server", |user| user.as_str()).to_owned();
        let name = format!("{user}:{}", String::from_utf8_lossy(body.get(..4).unwrap_or(&body)));
        self.0.lock().unwrap().log.push(name.clone());
        match info_type {
            HELD => {
                let (release, held) = completion();
                self.0.lock().unwrap().held.push_back(release);
                held.await.expect("released");
            }
            NEVER => std::future::pending().await,
            PANICS => panic!("as the test wants"),
            SLOW => {
                let recorded = self.0.lock().unwrap();
                recorded.runtime.iter().for_each(|runtime| runtime.pass(recorded.computes));
            }
            _ => {}
        }
        self.0.lock().unwrap().log.push(format!("{name}."));
    }
}

impl Handler for Recorder {
    async fn information(&self, context: Context, info_type: u32, body: Bytes) {
        self.handle(context, info_type, body).await;
    }

    async fn query(&self, context: Context, info_type: u32, body: Bytes) -> Result<Bytes, HandlerFailed> {
        self.handle(context, info_type, body.clone()).await;
        Ok(body)
    }
}

mod blobs;
mod queries;

struct Bench {
    runtime: Arc<Virtual>,
    recorder: Recorder,
    handling: Arc<Handling>,
    post: Post,
    dispatch: Arc<Dispatch<Post>>,
}

const LIMIT: Duration = Duration::from_secs(60);

fn bench(messages: usize, queries: usize) -> Bench {
    let (runtime, recorder, post) = (Virtual::new(), Recorder::default(), Post::default());
    let handling = Arc::new(Handling {
        handler: Arc::new(recorder.clone()),
        runtime: runtime.clone(),
        gates: Gates::new(messages, queries),
        limit: LIMIT,
        counters: HandlerCounters::default(),
        in_place: InPlace::default(),
    });
    recorder.0.lock().unwrap().runtime = Some(runtime.clone());
    let dispatch = Dispatch::new(post.clone(), handling.clone());
    Bench { runtime, recorder, handling, post, dispatch }
}

impl Bench {
    fn run(&self) {
        self.dispatch.pump();
        self.runtime.run();
    }

    fn message(&self, user: &str, info_type: u32, body: &str) {
        self.post.lock().messages.push_back(message(user, info_type, body.as_bytes().to_vec()));
    }

    fn query(&self, token: u64, user: &str, info_type: u32) {
        self.post.lock().queries.push_back(IncomingQuery {
            token: QueryToken(token),
            source: source(user),
            info_type,
            body: token.to_string().into(),
            sent_at: None,
        });
    }

    fn replies(&self) -> BTreeMap<u64, Result<Bytes, Failure>> {
        self.post.lock().replies.clone()
    }
}

fn source(user: &str) -> Source {
    let user = UserId::parse(user, 64).unwrap();
    Source::Engine(Engine { user, device: DeviceKind::SERVICE, instance: InstanceId(1) })
}

fn message(user: &str, info_type: u32, body: Vec<u8>) -> Message {
    let kind = MessageKind::Information;
    Message {
        source: source(user),
        kind,
        info_type,
        body: body.into(),
        id: None,
        sent_at: None,
        echo_of: None,
        stored: None,
    }
}

#[test]
fn one_source_is_handled_one_at_a_time_in_order() {
    let bench = bench(64, 256);
    for body in ["1", "2", "3"] {
        bench.message("a", HELD, body);
    }
    bench.run();
    assert_eq!(bench.recorder.log(), ["a:1"]);
    bench.recorder.release();
    bench.message("a", AT_ONCE, "4");
    bench.run();
    assert_eq!(bench.recorder.log(), ["a:1", "a:1.", "a:2"]);
    bench.recorder.release();
    bench.run();
    bench.recorder.release();
    bench.run();
    assert_eq!(bench.recorder.log(), ["a:1", "a:1.", "a:2", "a:2.", "a:3", "a:3.", "a:4", "a:4."]);
    assert_eq!(bench.runtime.running(), 0);
    assert!(bench.dispatch.lock().sources.is_empty(), "nothing is kept of a source that is quiet");
    assert_eq!(bench.dispatch.lock().held, 0);
}

#[test]
fn sources_are_handled_at_the_same_time_up_to_the_limit() {
    let bench = bench(3, 256);
    for user in ["a", "b", "c", "d", "e"] {
        bench.message(user, HELD, "1");
        bench.message(user, HELD, "2");
    }
    bench.run();
    assert_eq!(bench.recorder.log(), ["a:1", "b:1", "c:1"]);
    for _ in 0..10 {
        bench.recorder.release();
        bench.run();
        assert!(bench.recorder.running() <= 3);
    }
    assert_eq!(bench.recorder.log().len(), 20);
}

#[test]
fn a_source_that_never_stops_lets_others_in() {
    let bench = bench(1, 256);
    for n in 0..BURST * 3 {
        bench.message("a", AT_ONCE, &n.to_string());
    }
    bench.message("b", AT_ONCE, "!");
    bench.run();
    let log = bench.recorder.log();
    let position = log.iter().position(|entry| entry == "b:!").unwrap();
    assert_eq!(position, BURST * 2, "after one burst");
    assert_eq!(log.len(), (BURST * 3 + 1) * 2);
}

#[test]
fn a_handler_that_never_returns_or_panics_harms_nobody_else() {
    let bench = bench(64, 256);
    bench.message("a", NEVER, "1");
    bench.message("a", AT_ONCE, "2");
    bench.message("b", PANICS, "3");
    bench.message("b", AT_ONCE, "4");
    bench.message("c", AT_ONCE, "5");
    bench.run();
    assert_eq!(bench.recorder.log(), ["a:1", "b:3", "b:4", "b:4.", "c:5", "c:5."]);
    bench.runtime.advance(LIMIT);
    assert_eq!(bench.recorder.log().last().unwrap(), "a:2.", "its own source goes on after the limit");
    let counters = &bench.handling.counters;
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    assert_eq!((count(&counters.panicked), count(&counters.cut_off)), (1, 1));
}

#[test]
fn no_more_is_pulled_than_the_queue_holds() {
    let bench = bench(64, 256);
    for _ in 0..20 {
        bench.post.lock().messages.push_back(message("a", HELD, vec![b'x'; 64 * 1024]));
    }
    bench.run();
    let waiting = || bench.post.lock().messages.len();
    assert_eq!(waiting(), 16, "four fill it; what they cost beside their bodies is not room for a fifth");
    bench.recorder.release();
    bench.run();
    assert_eq!(waiting(), 15);
    for _ in 0..19 {
        bench.recorder.release();
        bench.run();
    }
    assert_eq!((waiting(), bench.dispatch.lock().held), (0, 0));
}

#[test]
fn inboxes_share_the_places_and_are_told_when_there_is_one() {
    let bench = bench(1, 1);
    let other_post = Post::default();
    let other = Dispatch::new(other_post.clone(), bench.handling.clone());
    bench.message("a", HELD, "1");
    bench.run();
    other_post.lock().messages.push_back(message("b", AT_ONCE, b"2".to_vec()));
    other.pump();
    other.pump();
    bench.runtime.run();
    assert_eq!(bench.recorder.log(), ["a:1"]);
    bench.recorder.release();
    bench.runtime.run();
    assert_eq!(bench.recorder.log(), ["a:1", "a:1.", "b:2", "b:2."]);
    assert_eq!(bench.runtime.spawned(), 2);
}
