use std::{
    io,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Poll, Waker},
};

use esf_proto::ids::UserId;
use futures_util::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::{
    memory::{Duplex, duplex},
    runtime::{BoxStream, Tasks as _},
    server::{Decision, Server, ServerBuilder},
    testing::Virtual,
};

const URL: &str = "ws://in.memory";

fn config(name: &str) -> Config {
    Config::new(UserId::parse(name, 64).unwrap())
}

fn server(runtime: &Arc<Virtual>) -> Server {
    ServerBuilder::new(runtime.clone()).open().start().unwrap()
}

/// A line to a server that the test can freeze: nothing passes any more, and nobody is told.
#[derive(Clone)]
struct Line {
    runtime: Arc<Virtual>,
    server: Server,
    frozen: Arc<AtomicBool>,
    /// How often somebody connected.
    connects: Arc<AtomicUsize>,
    wakers: Arc<Mutex<Vec<Waker>>>,
}

impl Line {
    fn new(runtime: &Arc<Virtual>) -> Self {
        Self {
            runtime: runtime.clone(),
            server: server(runtime),
            frozen: Arc::default(),
            connects: Arc::default(),
            wakers: Arc::default(),
        }
    }

    fn connect(&self) -> BoxStream {
        self.connects.fetch_add(1, Ordering::SeqCst);
        let (client, near) = duplex(1 << 16);
        let (far, server) = duplex(1 << 16);
        self.server.serve_stream(Box::new(server));
        // One end of each pipe is held for as long as the line lasts, so that a frozen one does not look closed.
        let (near_in, near_out) = near.split();
        let (far_in, far_out) = far.split();
        self.carry(near_in, far_out);
        self.carry(far_in, near_out);
        Box::new(client)
    }

    fn carry(&self, mut from: futures_util::io::ReadHalf<Duplex>, mut to: futures_util::io::WriteHalf<Duplex>) {
        let line = self.clone();
        self.runtime.spawn(Box::pin(async move {
            let mut buffer = [0; 4096];
            while let Ok(count) = from.read(&mut buffer).await {
                line.thaw().await;
                if count == 0 || to.write_all(&buffer[..count]).await.is_err() {
                    break;
                }
            }
            let _ = to.close().await;
        }));
    }

    async fn thaw(&self) {
        std::future::poll_fn(|cx| {
            if !self.frozen.load(Ordering::SeqCst) {
                return Poll::Ready(());
            }
            self.wakers.lock().unwrap().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn freeze(&self, frozen: bool) {
        self.frozen.store(frozen, Ordering::SeqCst);
        self.wakers.lock().unwrap().drain(..).for_each(Waker::wake);
    }

    fn client(&self, name: &str) -> ClientBuilder {
        let line = self.clone();
        ClientBuilder::new(self.runtime.clone(), URL, config(name))
            .connector(move || std::future::ready(Ok(line.connect())))
    }

    fn connects(&self) -> usize {
        self.connects.load(Ordering::SeqCst)
    }
}

#[test]
fn a_client_logs_in_talks_and_leaves_nothing_behind() {
    let runtime = Virtual::new();
    let line = Line::new(&runtime);
    let before = runtime.running();
    let alice = runtime.block_on(line.client("alice").connect()).unwrap();
    assert!(runtime.block_on(alice.ping(To::Server)).is_ok());
    assert_eq!(runtime.block_on(alice.log_off()).reason, CloseReason::LoggedOff);
    assert!(alice.close_info().is_some_and(|info| info.clean && info.code == Some(4011)));
    runtime.advance(Duration::from_secs(5));
    assert_eq!(runtime.running(), before, "no task is left");
    assert!(matches!(alice.send(To::Server, 1, "late"), Err(SendError::Closed(_))));
}

#[test]
fn an_attempt_that_hangs_is_given_up_in_time_and_made_again() {
    let runtime = Virtual::new();
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = attempts.clone();
    let alice = ClientBuilder::new(runtime.clone(), URL, config("alice"))
        .connector(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<io::Result<BoxStream>>()
        })
        .start()
        .unwrap();
    runtime.advance(Duration::from_secs(9));
    assert_eq!(attempts.load(Ordering::SeqCst), 1);
    runtime.advance(Duration::from_secs(60));
    assert!((3..=7).contains(&attempts.load(Ordering::SeqCst)), "about one in 10 s");
    alice.close();
    runtime.run();
    assert_eq!(runtime.running(), 0, "a log-off does not wait for the attempt");
}

#[test]
fn a_server_that_accepts_and_says_nothing_is_given_up_too() {
    let runtime = Virtual::new();
    let held = Arc::new(Mutex::new(Vec::new()));
    let hold = held.clone();
    let alice = ClientBuilder::new(runtime.clone(), URL, config("alice"))
        .connector(move || {
            let (here, there) = duplex(1 << 16);
            hold.lock().unwrap().push(there);
            std::future::ready(Ok(Box::new(here) as BoxStream))
        })
        .start()
        .unwrap();
    runtime.advance(Duration::from_secs(35));
    assert!(held.lock().unwrap().len() >= 3);
    drop(alice);
    runtime.run();
    assert_eq!(runtime.running(), 0, "the last handle ends the client");
}

#[test]
fn a_line_that_went_dead_is_noticed_and_left_without_waiting_for_its_close() {
    let runtime = Virtual::new();
    let line = Line::new(&runtime);
    let alice = runtime.block_on(line.client("alice").connect()).unwrap();
    line.freeze(true);
    runtime.advance(Duration::from_secs(14));
    assert_eq!(line.connects(), 1, "heartbeat after 5 s, 10 s for its answer");
    runtime.advance(Duration::from_secs(2));
    assert_eq!(line.connects(), 2, "the next attempt comes within a second");
    line.freeze(false);
    runtime.advance(Duration::from_secs(30));
    assert!(alice.is_connected());
    assert_eq!(alice.stats().session.resumes, 1);
}

#[test]
fn commands_queue_while_there_is_no_server_and_their_time_runs() {
    let runtime = Virtual::new();
    let up = Arc::new(AtomicBool::new(false));
    let line = Line::new(&runtime);
    let (asked, connecting) = (up.clone(), line.clone());
    let alice = ClientBuilder::new(runtime.clone(), URL, config("alice"))
        .connector(move || {
            let up = asked.load(Ordering::SeqCst).then(|| connecting.connect());
            std::future::ready(up.ok_or_else(|| io::ErrorKind::ConnectionRefused.into()))
        })
        .start()
        .unwrap();
    let short = alice.query_within(To::Server, 1, "?", Duration::from_secs(2));
    assert_eq!(runtime.block_on(short), Err(CallError::Failed(esf_proto::failure::Failure::TimedOut)));
    alice.send(To::Server, 1, "queued").unwrap();
    assert!(alice.buffered_bytes() > 0);
    up.store(true, Ordering::SeqCst);
    runtime.advance(Duration::from_secs(60));
    assert!(alice.is_connected());
    assert_eq!(alice.buffered_bytes(), 0);
}

#[test]
fn a_first_attempt_that_fails_is_an_error_and_ends_the_client() {
    let runtime = Virtual::new();
    let refuse = || std::future::ready(Err(io::ErrorKind::ConnectionRefused.into()));
    let builder = ClientBuilder::new(runtime.clone(), URL, config("alice")).connector(refuse);
    let error = runtime.block_on(builder.connect()).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot connect to {URL}: connection refused"));
    runtime.run();
    assert_eq!(runtime.running(), 0);
}

#[test]
fn a_first_attempt_that_never_ends_is_an_error_when_its_time_is_over() {
    let runtime = Virtual::new();
    let hang = std::future::pending::<io::Result<BoxStream>>;
    let builder = ClientBuilder::new(runtime.clone(), URL, config("alice")).connector(hang);
    let error = runtime.block_on(builder.connect()).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot connect to {URL}: no answer in time"));
    runtime.run();
    assert_eq!(runtime.running(), 0);
}

#[test]
fn a_first_login_that_is_never_answered_is_an_error_when_its_time_is_over() {
    let runtime = Virtual::new();
    let server = ServerBuilder::new(runtime.clone()).authenticator(async |_| std::future::pending().await);
    let line = Line { server: server.start().unwrap(), ..Line::new(&runtime) };
    let error = runtime.block_on(line.client("alice").connect()).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot connect to {URL}: login timeout"));
}

#[test]
fn a_first_login_that_is_put_off_is_an_error_at_once_unless_one_is_patient() {
    let runtime = Virtual::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let server = ServerBuilder::new(runtime.clone()).authenticator(move |_| {
        let first = count.fetch_add(1, Ordering::SeqCst) < 2;
        let later = Decision::Later { retry_after: Duration::from_secs(1) };
        std::future::ready(if first { later } else { Decision::accept() })
    });
    let line = Line { server: server.start().unwrap(), ..Line::new(&runtime) };
    let error = runtime.block_on(line.client("alice").connect()).unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert!(runtime.block_on(line.client("bob").connect_patiently()).is_ok());
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[test]
fn the_first_attempt_that_failed_is_the_reason_however_late_somebody_looks() {
    let runtime = Virtual::new();
    let attempts = Arc::new(AtomicUsize::new(0));
    let count = attempts.clone();
    let builder = ClientBuilder::new(runtime.clone(), URL, config("alice")).connector(move || {
        let attempt = count.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Err(io::Error::other(format!("failure {attempt}"))))
    });
    let alice = builder.start().unwrap();
    runtime.advance(Duration::from_secs(10));
    assert!(attempts.load(Ordering::SeqCst) > 1);
    let error = runtime.block_on(alice.logged_in(false)).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot connect to {URL}: failure 0"));
}

#[test]
fn settings_that_cannot_be_used_are_refused_at_once() {
    let runtime = Virtual::new();
    let start = |url: &str, change: fn(ClientBuilder) -> ClientBuilder| {
        change(ClientBuilder::new(runtime.clone(), url, config("alice"))).start().map(drop)
    };
    assert!(matches!(start("localhost:1", |builder| builder), Err(ConnectError::Url { .. })));
    let smuggle = start(URL, |builder| builder.origin("http://localhost\r\nX: y"));
    assert_eq!(smuggle, Err(ConnectError::Origin));
    let mut large = config("alice");
    large.system_token = vec![0; 9000].into();
    assert!(matches!(ClientBuilder::new(runtime.clone(), URL, large).start(), Err(ConnectError::Config(_))));
}

#[test]
fn the_end_of_the_runtime_is_an_end_for_whoever_waits() {
    let runtime = Virtual::new();
    let line = Line::new(&runtime);
    let alice = runtime.block_on(line.client("alice").connect()).unwrap();
    let mut events = alice.events();
    line.freeze(true);
    let mut query = Box::pin(alice.query(To::Server, 1, "?"));
    assert!(futures_util::FutureExt::now_or_never(&mut query).is_none());
    runtime.abort();
    let lost = CallError::Failed(esf_proto::failure::Failure::ConnectionLost);
    assert_eq!(runtime.block_on(query), Err(lost.clone()));
    assert_eq!(runtime.block_on(alice.closed()).reason, CloseReason::NetworkInterrupted);
    assert_eq!(runtime.block_on(alice.settled()), Err(lost));
    assert!(matches!(runtime.block_on(alice.query(To::Server, 1, "?")), Err(CallError::Refused(SendError::Closed(_)))));
    while runtime.block_on(events.next()).is_some() {}
    runtime.block_on(alice.log_off());
}
