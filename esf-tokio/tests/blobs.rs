//! Blobs over real sockets: sent from memory, readers and files, taken whole and as streams, between other traffic.

mod support;

use std::{
    io::{ErrorKind, Write as _},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use esf_tokio::{
    BlobChoice, BlobError, BlobFile, BlobOffer, BlobOptions, BlobProgress, BlobReader, BlobSeeker, BlobStream, Bytes,
    Client, Context, Failure, Handler, Handlers, Io, SendError, To,
};
use support::*;
use tokio::sync::{mpsc, oneshot};

type Test = Result<(), Box<dyn std::error::Error>>;

/// A blob that arrived.
#[derive(Debug, PartialEq, Eq)]
struct Arrived {
    from: String,
    info_type: u32,
    name: String,
    body: Bytes,
}

type Arrivals = mpsc::UnboundedReceiver<Arrived>;

fn whole() -> (Handlers, Arrivals) {
    let (tell, arrivals) = mpsc::unbounded_channel();
    let handlers = Handlers::new().blob(move |context: Context, info_type, name, body| {
        let from = context.source.user().map_or("server".into(), ToString::to_string);
        let _ = tell.send(Arrived { from, info_type, name: name.into(), body });
        async {}
    });
    (handlers, arrivals)
}

/// Takes blobs as streams and gives them to the test.
fn streams() -> (Handlers, mpsc::UnboundedReceiver<BlobStream>) {
    let (tell, arrivals) = mpsc::unbounded_channel();
    let handlers = Handlers::new().blob_stream(move |_, stream| {
        let _ = tell.send(stream);
        async {}
    });
    (handlers, arrivals)
}

async fn with_handler(url: &str, name: &str, handler: impl Handler) -> Client {
    esf_tokio::client(url, config(name)).handler(handler).connect().await.expect("logs in")
}

fn noise(len: usize) -> Bytes {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(len).collect::<Vec<_>>().into()
}

async fn read_all(stream: &mut BlobStream) -> Result<Vec<u8>, Failure> {
    let mut all = Vec::new();
    while let Some(piece) = soon(stream.next()).await? {
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

/// A file that goes with the test.
struct File(PathBuf);

impl File {
    fn new(bytes: &[u8]) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("blob-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::File::create(&path).and_then(|mut file| file.write_all(bytes)).expect("a file");
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn a_blob_from_memory_arrives_whole() -> Test {
    let (_server, url) = open_server().await;
    let (handler, mut arrivals) = whole();
    let _bob = with_handler(&url, "bob", handler).await;
    let alice = connect(&url, "alice").await;
    for len in [0, 1, 16 * 1024, 3_000_001] {
        let body = noise(len);
        let blob = alice.send_blob(to("bob"), 7, "film.bin", body.clone())?;
        soon(blob.outcome()).await?;
        let arrived = soon(arrivals.recv()).await.ok_or("it came")?;
        assert_eq!((arrived.from.as_str(), arrived.info_type, arrived.name.as_str()), ("alice", 7, "film.bin"));
        assert!(arrived.body == body, "every byte of {len} is the same");
    }
    Ok(())
}

#[tokio::test]
async fn blobs_come_from_files_and_readers() -> Test {
    let (_server, url) = open_server().await;
    let (handler, mut arrivals) = whole();
    let _bob = with_handler(&url, "bob", handler).await;
    let alice = connect(&url, "alice").await;
    let body = noise(1_000_001);
    let file = File::new(&body);
    let seeker = futures_util::io::Cursor::new(body.clone());
    let reader = Io(tokio::fs::File::open(&file.0).await?);
    let blobs = [
        alice.send_blob(to("bob"), 0, "", BlobFile::open(&file.0).await?)?,
        alice.send_blob(to("bob"), 1, "", BlobSeeker::new(seeker, Some(1_000_001)))?,
        alice.send_blob(to("bob"), 2, "", BlobReader::new(reader, None))?,
        alice.send_blob_with(to("bob"), 3, "", body.clone(), BlobOptions { fragment: 1000 })?,
    ];
    for blob in blobs {
        soon(blob.outcome()).await?;
        assert_eq!(blob.progress().total, Some(1_000_001), "known at the end at the latest");
    }
    let mut came = Vec::new();
    for _ in 0..4 {
        let arrived = soon(arrivals.recv()).await.ok_or("it came")?;
        assert!(arrived.body == body, "every byte of {} is the same", arrived.info_type);
        came.push(arrived.info_type);
    }
    came.sort();
    assert_eq!(came, [0, 1, 2, 3]);
    Ok(())
}

#[tokio::test]
async fn what_is_no_file_is_no_blob_file() -> Test {
    let kind = |result: std::io::Result<BlobFile>| result.map(drop).map_err(|error| error.kind());
    assert_eq!(kind(BlobFile::open(env!("CARGO_TARGET_TMPDIR")).await), Err(ErrorKind::IsADirectory));
    assert_eq!(kind(BlobFile::open("/nowhere/at/all").await), Err(ErrorKind::NotFound));
    assert_eq!(kind(BlobFile::open("/dev/null").await), Err(ErrorKind::InvalidInput));
    Ok(())
}

#[tokio::test]
async fn a_stream_is_as_fast_as_it_is_read_and_holds_up_nothing_else() -> Test {
    let (_server, url) = open_server().await;
    let (handler, mut came) = streams();
    let bob = with_handler(&url, "bob", handler).await;
    let alice = connect(&url, "alice").await;
    let body = noise(4_000_000);
    let blob = alice.send_blob(to("bob"), 7, "slow", body.clone())?;
    let mut stream = soon(came.recv()).await.ok_or("it came")?;
    assert_eq!((stream.offer().info_type, &*stream.offer().name, stream.offer().total), (7, "slow", Some(4_000_000)));

    // Nobody reads: what is under way is a window at most, and everything else goes on.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(blob.progress(), BlobProgress { held: 0, total: Some(4_000_000) });
    for _ in 0..100 {
        soon(alice.ping(to("bob"))).await?;
    }
    assert_eq!(soon(read_all(&mut stream)).await?, body);
    assert_eq!(stream.bytes_read(), 4_000_000);
    // Read to its end is not yet kept.
    assert!(tokio::time::timeout(Duration::from_millis(100), blob.outcome()).await.is_err());
    stream.finish();
    soon(blob.outcome()).await?;
    assert_eq!(bob.stats().handlers_panicked, 0);
    Ok(())
}

#[tokio::test]
async fn progress_goes_on_to_the_end() -> Test {
    let (_server, url) = open_server().await;
    let (handler, mut came) = streams();
    let _bob = with_handler(&url, "bob", handler).await;
    let alice = connect(&url, "alice").await;
    let blob = alice.send_blob(to("bob"), 7, "", noise(2_000_000))?;
    let mut stream = soon(came.recv()).await.ok_or("it came")?;
    let reading = tokio::spawn(async move {
        let read = read_all(&mut stream).await;
        stream.finish();
        read
    });
    let (mut seen, mut steps) = (blob.progress(), 0);
    while let Some(further) = soon(blob.further_than(seen)).await {
        assert!(further.held > seen.held && further.held <= 2_000_000, "{further:?} after {seen:?}");
        (seen, steps) = (further, steps + 1);
    }
    assert!(steps >= 2 && seen.held >= 1_000_000, "{steps} steps to {seen:?}");
    soon(blob.outcome()).await?;
    assert_eq!(soon(reading).await??.len(), 2_000_000);
    Ok(())
}

#[tokio::test]
async fn either_side_may_stop_in_the_middle_and_the_other_hears_it() -> Test {
    let (_server, url) = open_server().await;
    let (handler, mut came) = streams();
    let _bob = with_handler(&url, "bob", handler).await;
    let alice = connect(&url, "alice").await;

    let blob = alice.send_blob(to("bob"), 7, "", noise(2_000_000))?;
    let mut stream = soon(came.recv()).await.ok_or("it came")?;
    assert!(soon(stream.next()).await?.is_some());
    blob.cancel();
    assert_eq!(soon(blob.outcome()).await, Err(BlobError::Failed(Failure::Cancelled)));
    assert_eq!(read_all(&mut stream).await, Err(Failure::Cancelled));
    assert_eq!(soon(stream.next()).await, Err(Failure::Cancelled), "the last word");

    let blob = alice.send_blob(to("bob"), 7, "", noise(2_000_000))?;
    let mut stream = soon(came.recv()).await.ok_or("it came")?;
    assert!(soon(stream.next()).await?.is_some());
    stream.refuse(Failure::QuotaFull);
    assert_eq!(soon(blob.outcome()).await, Err(BlobError::Failed(Failure::QuotaFull)));

    let blob = alice.send_blob(to("bob"), 7, "", noise(2_000_000))?;
    drop(soon(came.recv()).await.ok_or("it came")?);
    assert_eq!(soon(blob.outcome()).await, Err(BlobError::Failed(Failure::HandlerFailed)));
    Ok(())
}

#[tokio::test]
async fn the_handler_chooses_what_becomes_of_a_blob() -> Test {
    struct Choosy(mpsc::UnboundedSender<String>);
    impl Handler for Choosy {
        fn blob_offered(&self, _: &Context, offer: &BlobOffer) -> BlobChoice {
            match &*offer.name {
                "whole" => BlobChoice::Whole,
                "stream" => BlobChoice::Stream,
                "panic" => panic!("as the test wants"),
                _ => BlobChoice::Refuse(Failure::NotAllowed),
            }
        }
        async fn blob(&self, _: Context, _: u32, name: Box<str>, _: Bytes) {
            let _ = self.0.send(format!("{name} as a whole"));
        }
        async fn blob_stream(&self, _: Context, mut stream: BlobStream) {
            let read = read_all(&mut stream).await;
            let _ = self.0.send(format!("{} as a stream of {:?}", stream.offer().name, read.map(|read| read.len())));
            stream.finish();
        }
    }
    let (_server, url) = open_server().await;
    let (tell, mut came) = mpsc::unbounded_channel();
    let _bob = with_handler(&url, "bob", Choosy(tell)).await;
    let alice = connect(&url, "alice").await;
    for (name, outcome) in [
        ("whole", Ok(())),
        ("stream", Ok(())),
        ("panic", Err(Failure::HandlerFailed)),
        ("other", Err(Failure::NotAllowed)),
    ] {
        let blob = alice.send_blob(to("bob"), 7, name, noise(100_000))?;
        assert_eq!(soon(blob.outcome()).await, outcome.map_err(BlobError::Failed), "{name}");
    }
    assert_eq!(soon(came.recv()).await.as_deref(), Some("whole as a whole"));
    assert_eq!(soon(came.recv()).await.as_deref(), Some("stream as a stream of Ok(100000)"));
    Ok(())
}

#[tokio::test]
async fn whoever_handles_no_blobs_refuses_them_and_nobody_is_offline() -> Test {
    let (_server, url) = open_server().await;
    let _bob = connect(&url, "bob").await;
    let alice = connect(&url, "alice").await;
    let blob = alice.send_blob(to("bob"), 7, "", noise(10))?;
    assert_eq!(soon(blob.outcome()).await, Err(BlobError::Failed(Failure::Rejected)));
    let blob = alice.send_blob(to("nobody"), 7, "", noise(10))?;
    assert_eq!(soon(blob.outcome()).await, Err(BlobError::Failed(Failure::Offline)));
    Ok(())
}

#[tokio::test]
async fn a_blob_that_is_too_large_is_refused_whole_and_taken_as_a_stream() -> Test {
    let (_server, url) = listen(esf_tokio::server().open().configure(|config| config.max_blob = 100_000)).await;
    let (handler, _arrivals) = whole();
    let _bob = with_handler(&url, "bob", handler).await;
    let (handler, mut came) = streams();
    let _carol = with_handler(&url, "carol", handler).await;
    let alice = connect(&url, "alice").await;
    let too_large = Err(BlobError::Failed(Failure::TooLarge));
    let known = alice.send_blob(to("bob"), 7, "", noise(100_001))?;
    assert_eq!(soon(known.outcome()).await, too_large, "by what is announced");
    let unknown = BlobReader::new(futures_util::io::Cursor::new(noise(300_000)), None);
    let unknown = alice.send_blob(to("bob"), 7, "", unknown)?;
    assert_eq!(soon(unknown.outcome()).await, too_large, "by what comes");
    let streamed = alice.send_blob(to("carol"), 7, "", noise(300_000))?;
    let mut stream = soon(came.recv()).await.ok_or("it came")?;
    assert_eq!(read_all(&mut stream).await?.len(), 300_000);
    stream.finish();
    soon(streamed.outcome()).await?;
    Ok(())
}

#[tokio::test]
async fn the_servers_handler_gets_blobs_whole_and_as_streams() -> Test {
    let (handler, mut arrivals) = whole();
    let (_server, url) = listen(esf_tokio::server().open().handler(handler)).await;
    let alice = connect(&url, "alice").await;
    let body = noise(1_000_000);
    soon(alice.send_blob(To::Server, 7, "up", body.clone())?.outcome()).await?;
    let arrived = soon(arrivals.recv()).await.ok_or("it came")?;
    assert!(arrived == Arrived { from: "alice".into(), info_type: 7, name: "up".into(), body: body.clone() });

    let (handler, mut came) = streams();
    let (_server, url) = listen(esf_tokio::server().open().handler(handler)).await;
    let alice = connect(&url, "alice").await;
    let blob = alice.send_blob(To::Server, 7, "up", body.clone())?;
    let mut stream = soon(came.recv()).await.ok_or("it came")?;
    assert!(read_all(&mut stream).await? == body);
    stream.finish();
    soon(blob.outcome()).await?;
    // The end of the sender is the end of its streams, also at the server.
    let blob = alice.send_blob(To::Server, 7, "half", body)?;
    let mut stream = soon(came.recv()).await.ok_or("it came")?;
    assert!(soon(stream.next()).await?.is_some());
    soon(alice.log_off()).await;
    assert!(read_all(&mut stream).await.is_err());
    assert!(soon(blob.outcome()).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_source_that_breaks_ends_its_blob_on_both_sides() -> Test {
    struct Breaks;
    impl esf_tokio::BlobSource for Breaks {
        fn total(&self) -> Option<u64> {
            Some(1_000_000)
        }
        fn can_seek(&self) -> bool {
            true
        }
        async fn read(&mut self, offset: u64, most: usize) -> std::io::Result<Bytes> {
            if offset > 100_000 {
                return Err(std::io::Error::new(ErrorKind::PermissionDenied, "the disk was taken away"));
            }
            Ok(noise(most))
        }
    }
    let (_server, url) = open_server().await;
    let (handler, mut came) = streams();
    let _bob = with_handler(&url, "bob", handler).await;
    let alice = connect(&url, "alice").await;
    let blob = alice.send_blob(to("bob"), 7, "", Breaks)?;
    let mut stream = soon(came.recv()).await.ok_or("it came")?;
    assert_eq!(read_all(&mut stream).await, Err(Failure::Cancelled));
    let broken = BlobError::Source { kind: ErrorKind::PermissionDenied, text: "the disk was taken away".into() };
    assert_eq!(soon(blob.outcome()).await, Err(broken));
    Ok(())
}

#[tokio::test]
async fn what_is_too_much_is_refused_at_once() -> Test {
    let (_server, url) = open_server().await;
    let alice = connect(&url, "alice").await;
    let long = alice.send_blob(to("bob"), 7, &"x".repeat(1025), noise(1)).map(drop);
    assert!(matches!(long, Err(SendError::TooLong(_))), "{long:?}");
    let (handler, mut came) = streams();
    let _bob = with_handler(&url, "bob", handler).await;
    let blobs: Vec<_> = (0..8).map(|_| alice.send_blob(To::Server, 7, "", Stuck).expect("one of eight")).collect();
    let ninth = alice.send_blob(to("bob"), 7, "", noise(1)).map(drop);
    assert!(matches!(ninth, Err(SendError::Busy(_))), "{ninth:?}");
    for blob in blobs {
        blob.cancel();
        assert!(soon(blob.outcome()).await.is_err());
    }
    let blob = alice.send_blob(to("bob"), 7, "", noise(1))?;
    let mut stream = soon(came.recv()).await.ok_or("it came")?;
    assert_eq!(read_all(&mut stream).await?.len(), 1);
    stream.finish();
    soon(blob.outcome()).await?;
    alice.log_off().await;
    let ended = alice.send_blob(to("bob"), 7, "", noise(1)).map(drop);
    assert!(matches!(ended, Err(SendError::Closed(_))), "{ended:?}");
    Ok(())
}

/// A source that never has anything.
struct Stuck;

impl esf_tokio::BlobSource for Stuck {
    fn total(&self) -> Option<u64> {
        None
    }
    fn can_seek(&self) -> bool {
        false
    }
    async fn read(&mut self, _: u64, _: usize) -> std::io::Result<Bytes> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_blob_goes_on_when_the_connection_breaks() -> Test {
    let (server, url) = open_server().await;
    let (handler, mut came) = streams();
    let _bob = with_handler(&url, "bob", handler).await;
    let proxy = Proxy::start(&url).await;
    let alice = connect(&proxy.url, "alice").await;
    let body = noise(3_000_000);
    let reader = BlobReader::new(futures_util::io::Cursor::new(body.clone()), None);
    let blob = alice.send_blob(to("bob"), 7, "", reader)?;
    let mut stream = soon(came.recv()).await.ok_or("it came")?;
    let mut all = Vec::new();
    let mut cuts = 0;
    while let Some(piece) = soon(stream.next()).await? {
        all.extend_from_slice(&piece);
        if all.len() > 700_000 * (cuts + 1) {
            proxy.cut();
            cuts += 1;
        }
    }
    stream.finish();
    soon(blob.outcome()).await?;
    assert!(cuts == 4 && all == body, "{cuts} cuts, {} bytes", all.len());
    assert_eq!(server.stats().counter("resumes"), 4);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_does_not_wait_behind_a_blob() -> Test {
    let (_server, url) = open_server().await;
    let (handler, mut came) = streams();
    let _bob = with_handler(&url, "bob", handler).await;
    let alice = connect(&url, "alice").await;
    let blob = alice.send_blob(to("bob"), 7, "", Endless)?;
    let mut stream = soon(came.recv()).await.ok_or("it came")?;
    let (stop, mut stopped) = oneshot::channel::<()>();
    let reading = tokio::spawn(async move {
        while stopped.try_recv().is_err() && matches!(stream.next().await, Ok(Some(_))) {}
        stream.bytes_read()
    });
    let mut slowest = Duration::ZERO;
    for _ in 0..200 {
        let asked = Instant::now();
        soon(alice.ping(to("bob"))).await?;
        slowest = slowest.max(asked.elapsed());
    }
    stop.send(()).expect("it reads");
    let read = soon(reading).await?;
    blob.cancel();
    assert!(read > 1_000_000, "only {read} bytes came between 200 pings");
    // A queue of the blob's in between would show: a window of it alone takes longer than this on a slow machine's
    // loopback only if it is a hundred times slower than any that runs these tests.
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    Ok(())
}

/// A source that never ends.
struct Endless;

impl esf_tokio::BlobSource for Endless {
    fn total(&self) -> Option<u64> {
        None
    }
    fn can_seek(&self) -> bool {
        true
    }
    async fn read(&mut self, _: u64, most: usize) -> std::io::Result<Bytes> {
        Ok(vec![7; most].into())
    }
}

/// Passes connections on, until the test cuts them.
struct Proxy {
    url: String,
    cut: Arc<tokio::sync::watch::Sender<u64>>,
}

impl Proxy {
    async fn start(to: &str) -> Self {
        let to = to.strip_prefix("ws://").expect("an address").to_owned();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("ws://{}", listener.local_addr().expect("an address"));
        let cut = Arc::new(tokio::sync::watch::Sender::new(0));
        let cuts = cut.clone();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (to, mut cut) = (to.clone(), cuts.subscribe());
                tokio::spawn(async move {
                    let Ok(mut far) = tokio::net::TcpStream::connect(to).await else { return };
                    tokio::select! {
                        _ = cut.changed() => {}
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    }
                });
            }
        });
        Self { url, cut }
    }

    fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }
}
