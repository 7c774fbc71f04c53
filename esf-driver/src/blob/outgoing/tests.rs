use std::{future::pending, sync::mpsc, time::Duration};

use futures_util::FutureExt as _;

use super::*;
use crate::{tasks::Tasks as _, testing::Virtual};

const ID: MessageId = MessageId(3);

/// What a core would get.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    Bytes(u64, Bytes, bool),
    Cancelled,
}

struct Core(mpsc::Sender<Got>, Arc<Transfer>);

impl Line for Core {
    fn give(&self, _: MessageId, offset: u64, bytes: Bytes, last: bool) {
        self.0.send(Got::Bytes(offset, bytes, last)).unwrap();
    }

    fn cancel(&self, _: MessageId) {
        self.0.send(Got::Cancelled).unwrap();
        self.1.end(Err(Failure::Cancelled));
    }
}

struct Bench {
    runtime: Arc<Virtual>,
    blob: SendingBlob,
    got: mpsc::Receiver<Got>,
}

fn bench(source: impl BlobSource) -> Bench {
    let (runtime, transfer) = (Virtual::new(), Transfer::new(source.total()));
    let (tell, got) = mpsc::channel();
    let line: Arc<dyn Line> = Arc::new(Core(tell, transfer.clone()));
    runtime.spawn(Box::pin(feed(ID, line.clone(), transfer.clone(), source)));
    Bench { runtime, blob: SendingBlob::new(ID, line, transfer), got }
}

impl Bench {
    fn needs(&self, offset: u64, max: usize) -> Option<Got> {
        self.blob.transfer.need(BlobNeed { id: ID, offset, max });
        self.runtime.run();
        self.got.try_recv().ok()
    }
}

/// Counts its reads, and gives at most so much at a time.
struct Small {
    bytes: Bytes,
    total: Option<u64>,
    piece: usize,
}

impl BlobSource for Small {
    fn total(&self) -> Option<u64> {
        self.total
    }
    fn can_seek(&self) -> bool {
        true
    }
    async fn read(&mut self, offset: u64, most: usize) -> io::Result<Bytes> {
        self.bytes.read(offset, most.min(self.piece)).await
    }
}

fn bytes(offset: u64, bytes: &'static str, last: bool) -> Option<Got> {
    Some(Got::Bytes(offset, Bytes::from_static(bytes.as_bytes()), last))
}

#[test]
fn what_is_needed_is_given_and_the_end_is_known_by_the_total() {
    let bench = bench(Bytes::from_static(b"hello world"));
    assert_eq!(bench.needs(0, 5), bytes(0, "hello", false));
    assert_eq!(bench.needs(5, 1), bytes(5, " ", false));
    assert_eq!(bench.needs(6, 100), bytes(6, "world", true));
    assert_eq!(bench.needs(0, 4), bytes(0, "hell", false), "the receiver starts over");
    bench.blob.transfer.end(Ok(()));
    bench.runtime.run();
    assert_eq!((bench.runtime.running(), bench.blob.outcome().now_or_never()), (0, Some(Ok(()))));
}

#[test]
fn without_a_total_the_end_is_where_nothing_is_left() {
    let bench = bench(Small { bytes: Bytes::from_static(b"hello"), total: None, piece: 3 });
    assert_eq!(bench.needs(0, 100), bytes(0, "hel", false));
    assert_eq!(bench.needs(3, 100), bytes(3, "lo", false));
    assert_eq!(bench.needs(5, 100), bytes(5, "", true));
}

#[test]
fn an_empty_blob_has_an_end() {
    assert_eq!(bench(Bytes::new()).needs(0, 100), bytes(0, "", true));
}

#[test]
fn a_source_that_became_longer_is_sent_as_long_as_it_was() {
    let bench = bench(Small { bytes: Bytes::from_static(b"hello world"), total: Some(5), piece: 100 });
    assert_eq!(bench.needs(0, 100), bytes(0, "hello", true));
}

#[test]
fn a_source_that_became_shorter_fails_and_says_so() {
    let bench = bench(Small { bytes: Bytes::from_static(b"hello"), total: Some(11), piece: 100 });
    assert_eq!(bench.needs(0, 100), bytes(0, "hello", false));
    assert_eq!(bench.needs(5, 100), Some(Got::Cancelled));
    let Some(Err(BlobError::Source { kind, text })) = bench.blob.outcome().now_or_never() else { panic!("fails") };
    assert_eq!((kind, text.as_str()), (ErrorKind::UnexpectedEof, "it ended after 5 of 11 bytes"));
    assert_eq!(bench.runtime.running(), 0);
}

#[test]
fn a_source_that_gives_nothing_is_dropped_when_the_blob_is_over() {
    struct Stuck;
    impl BlobSource for Stuck {
        fn total(&self) -> Option<u64> {
            None
        }
        fn can_seek(&self) -> bool {
            false
        }
        async fn read(&mut self, _: u64, _: usize) -> io::Result<Bytes> {
            pending().await
        }
    }
    let bench = bench(Stuck);
    assert_eq!(bench.needs(0, 100), None);
    assert_eq!(bench.runtime.running(), 1);
    bench.blob.cancel();
    bench.runtime.run();
    assert_eq!((bench.got.try_recv(), bench.runtime.running()), (Ok(Got::Cancelled), 0));
    assert_eq!(bench.blob.outcome().now_or_never(), Some(Err(BlobError::Failed(Failure::Cancelled))));
}

#[test]
fn progress_is_told_when_there_is_some_and_ends_with_the_outcome() {
    let bench = bench(Bytes::from_static(b"hello"));
    let start = bench.blob.progress();
    assert_eq!(start, BlobProgress { held: 0, total: Some(5) });
    assert!(bench.blob.further_than(start).now_or_never().is_none());
    bench.blob.transfer.progress(3);
    bench.blob.transfer.progress(2);
    let further = bench.blob.further_than(start).now_or_never();
    assert_eq!(further, Some(Some(BlobProgress { held: 3, total: Some(5) })), "it never goes back");
    let seen = bench.blob.progress();
    let blob = bench.blob.clone();
    bench.runtime.spawn(Box::pin(async move {
        std::future::poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::Ready(())
        })
        .await;
        blob.transfer.end(Err(Failure::TooSlow));
    }));
    assert_eq!(bench.runtime.block_on(bench.blob.further_than(seen)), None);
    assert_eq!(bench.blob.outcome().now_or_never(), Some(Err(BlobError::Failed(Failure::TooSlow))));
    bench.blob.transfer.end(Ok(()));
    assert!(matches!(bench.blob.outcome().now_or_never(), Some(Err(_))), "the first outcome stands");
    bench.runtime.advance(Duration::from_secs(1));
}
