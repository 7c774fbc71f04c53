use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Wake, Waker},
    thread,
};

use esf_driver::blob::{BlobFile, BlobSource as _};

use super::*;
use crate::{ClientBuilder, Config, Handlers, ServerBuilder, To, UserId};

const STEP: Duration = Duration::from_millis(20);

fn wait_until(timer: &mut dyn Timer, at: Instant) {
    smol::block_on(std::future::poll_fn(|cx| timer.poll_until(cx, at)));
}

#[test]
fn a_timer_fires_again_and_again_and_not_too_early() {
    let smol = Smol::global();
    let mut timer = smol.timer();
    for _ in 0..3 {
        let at = smol.now() + STEP;
        wait_until(&mut *timer, at);
        assert!(smol.now() >= at);
    }
    // Also at an instant that it has reached before.
    let past = smol.now();
    wait_until(&mut *timer, past);
    wait_until(&mut *timer, past);
}

#[test]
fn a_timer_that_was_set_far_away_can_be_moved_near() {
    let smol = Smol::global();
    let mut timer = smol.timer();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(timer.poll_until(&mut cx, smol.now() + Duration::from_secs(3600)).is_pending());
    let near = smol.now() + STEP;
    wait_until(&mut *timer, near);
    assert!(smol.now() >= near);
}

/// Counts wake-ups.
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_timer_that_was_moved_away_stays_silent() {
    let smol = Smol::global();
    let mut timer = smol.timer();
    let counter = Arc::new(Counter(AtomicUsize::new(0)));
    let waker = counter.clone().into();
    let mut cx = Context::from_waker(&waker);
    assert!(timer.poll_until(&mut cx, smol.now() + STEP).is_pending());
    assert!(timer.poll_until(&mut cx, smol.now() + Duration::from_secs(3600)).is_pending());
    let before = counter.0.load(Ordering::SeqCst);
    smol::block_on(Sleep::after(STEP * 3));
    assert_eq!(counter.0.load(Ordering::SeqCst), before);
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn connections_are_tuned_at_both_ends() -> io::Result<()> {
    // What `tune` sets is tested where it stands: here, that smol's streams take it.
    smol::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let near = TcpStream::connect(listener.local_addr()?).await?;
        let (far, _) = listener.accept().await?;
        for stream in [near, far] {
            assert!(!stream.nodelay()?);
            tune(&stream)?;
            assert!(stream.nodelay()?);
        }
        Ok(())
    })
}

#[test]
fn an_executor_of_the_applications_own_runs_everything() -> Result<(), Box<dyn std::error::Error>> {
    const NAME: &str = "my own executor";
    let executor = Arc::new(Executor::new());
    let (stop, stopped) = smol::channel::bounded::<()>(1);
    let running = executor.clone();
    let runner = thread::Builder::new()
        .name(NAME.into())
        .spawn(move || smol::block_on(running.run(async { stopped.recv().await.is_ok() })))?;
    let answer = smol::block_on(async {
        let thread = Handlers::new().query(|_, _, _| {
            let name = thread::current().name().unwrap_or_default().to_owned();
            async move { Ok(name.into()) }
        });
        let server = ServerBuilder::new(Arc::new(Smol::on(executor.clone())));
        let server = server.open().handler(thread).listen("127.0.0.1:0").await?;
        let url = format!("ws://{}", server.local_addr().ok_or("no address")?);
        let config = Config::new(UserId::parse("alice", 64)?);
        let alice = ClientBuilder::new(Arc::new(Smol::on(executor.clone())), &url, config).connect().await?;
        let answer = alice.query(To::Server, 1, "where?").await?;
        alice.log_off().await;
        server.shut_down(STEP).await;
        Ok::<_, Box<dyn std::error::Error>>(answer)
    })?;
    stop.send_blocking(())?;
    assert!(runner.join().map_err(|_| "it panicked")?);
    assert_eq!(answer, NAME);
    Ok(())
}

#[test]
fn a_file_is_read_where_it_blocks_no_task() -> io::Result<()> {
    smol::block_on(async {
        let mut file = BlobFile::<Smol>::open(file!().trim_start_matches("esf-smol/")).await?;
        let expected = include_bytes!("tests.rs");
        assert_eq!(file.total(), Some(expected.len() as u64));
        assert_eq!(file.read(3, 10).await?, &expected[3..13]);
        assert_eq!(file.read(0, usize::from(u16::MAX)).await?, &expected[..]);
        Ok(())
    })
}
