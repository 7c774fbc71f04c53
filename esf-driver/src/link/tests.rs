use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Poll, Waker},
    time::Duration,
};

use futures_util::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tungstenite::protocol::Role;

use super::*;
use crate::{
    bridge::Bridge,
    endpoint::{LinkAction, Transport},
    memory::{Duplex, duplex},
    pump::LinkPump,
    step::CLOSE_ANSWER,
    tasks::Tasks as _,
    tasks::{Alarm, BoxFuture},
    testing::Virtual,
};

/// What an endpoint saw and what it has to say, shared with the test.
#[derive(Default)]
struct Script {
    came: Vec<Bytes>,
    texts: u32,
    closed: Option<Option<u16>>,
    transport: Transport,
    frames: VecDeque<Bytes>,
    /// Large ones, of which one may go when all that was fed is flushed.
    bulk: VecDeque<Bytes>,
    bulk_may_go: bool,
    /// What was handed out.
    order: Vec<Bytes>,
    actions: VecDeque<LinkAction>,
    timeout: Option<Instant>,
    timeouts: Vec<Instant>,
    max_message: usize,
    /// The limit after the next message.
    raise: Option<usize>,
    waker: Option<Waker>,
    turns: u32,
    rests: u32,
}

#[derive(Clone)]
struct Scripted(Arc<Mutex<Script>>);

impl Scripted {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Script { max_message: 8192, ..Script::default() })))
    }

    fn with<T>(&self, look: impl FnOnce(&mut Script) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    /// Gives the endpoint something to say, as another thread would.
    fn say(&self, what: impl FnOnce(&mut Script)) {
        let waker = self.with(|script| {
            what(script);
            script.waker.take()
        });
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Endpoint for Scripted {
    fn handle_message(&mut self, _: Instant, message: Bytes) {
        self.with(|script| {
            script.came.push(message);
            if let Some(raise) = script.raise.take() {
                script.max_message = raise;
            }
        });
    }
    fn handle_text(&mut self, _: Instant) {
        self.with(|script| script.texts += 1);
    }
    fn handle_transport(&mut self, _: Instant, transport: Transport) {
        self.with(|script| {
            script.transport = transport;
            script.bulk_may_go = !transport.unflushed;
        });
    }
    fn rest(&mut self) {
        self.with(|script| script.rests += 1);
    }
    fn wants_flush(&self) -> bool {
        self.with(|script| !script.bulk.is_empty())
    }
    fn handle_closed(&mut self, _: Instant, code: Option<u16>) {
        self.with(|script| assert_eq!(script.closed.replace(code), None, "told once"));
    }
    fn poll_transmit(&mut self, _: Instant) -> Option<Bytes> {
        self.with(|script| {
            let bulk_may_go = script.frames.is_empty() && std::mem::take(&mut script.bulk_may_go);
            let frame = if bulk_may_go { script.bulk.pop_front() } else { script.frames.pop_front() };
            script.order.extend(frame.clone());
            frame
        })
    }
    fn poll_action(&mut self) -> Option<LinkAction> {
        self.with(|script| script.actions.pop_front())
    }
    fn poll_timeout(&self) -> Option<Instant> {
        self.with(|script| script.timeout)
    }
    fn handle_timeout(&mut self, now: Instant) {
        self.with(|script| {
            script.timeouts.push(now);
            script.timeout = None;
        });
    }
    fn register(&mut self, waker: &Waker) {
        self.with(|script| {
            script.turns += 1;
            script.waker = Some(waker.clone());
        });
    }
    fn max_message(&self) -> usize {
        self.with(|script| script.max_message)
    }
}

/// Who takes the turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// The loop of asynchronous runtimes.
    Loop,
    /// The pump, between the same streams.
    Pump,
}

impl By {
    fn link(
        self,
        role: Role,
        stream: Duplex,
        endpoint: Scripted,
        runtime: &Arc<Virtual>,
        coalesce: bool,
    ) -> BoxFuture<'static, LinkEnd> {
        match (self, role) {
            (Self::Loop, _) => {
                let max_message = endpoint.max_message();
                let socket = Socket::new(Bridge::new(Box::new(stream)), Vec::new(), role, max_message);
                Box::pin(RunningLink::new(socket, endpoint, runtime.clone(), coalesce).run())
            }
            (Self::Pump, Role::Client) => {
                pumped(LinkPump::client(endpoint, Vec::new(), coalesce), stream, runtime.clone())
            }
            (Self::Pump, Role::Server) => {
                pumped(LinkPump::server(endpoint, Vec::new(), coalesce), stream, runtime.clone())
            }
        }
    }
}

/// Runs a link by its pump: bytes of the stream in, bytes out to the stream.
fn pumped(mut link: LinkPump<Scripted>, mut stream: Duplex, runtime: Arc<Virtual>) -> BoxFuture<'static, LinkEnd> {
    let mut alarm = Alarm::new(&*runtime);
    let (mut wire, mut written) = (Vec::new(), 0);
    Box::pin(std::future::poll_fn(move |cx| {
        loop {
            link.register(cx.waker());
            let now = runtime.now();
            link.handle_timeout(now);
            if written == wire.len() && link.poll_bytes(&mut wire) {
                written = 0;
            }
            while written < wire.len() {
                match Pin::new(&mut stream).poll_write(cx, &wire[written..]) {
                    Poll::Ready(Ok(count)) => written += count,
                    Poll::Ready(Err(_)) => {
                        link.handle_end(now);
                        break;
                    }
                    Poll::Pending => break,
                }
                if written == wire.len() {
                    link.handle_written(now);
                    if link.poll_bytes(&mut wire) {
                        written = 0;
                    }
                }
            }
            if let Some(end) = link.end() {
                return Poll::Ready(end);
            }
            let mut buffer = [0; 1000];
            match Pin::new(&mut stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(count @ 1..)) => link.handle_bytes(now, &buffer[..count]),
                Poll::Ready(_) => link.handle_end(now),
                Poll::Pending => {
                    if alarm.poll(cx, now, link.poll_timeout()).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }))
}

/// Two links joined in memory.
struct Pair {
    runtime: Arc<Virtual>,
    client: Scripted,
    server: Scripted,
    ends: Arc<Mutex<Vec<(Role, LinkEnd)>>>,
}

fn pair(by: By, capacity: usize, coalesce: bool) -> Pair {
    let runtime = Virtual::new();
    let (up, down) = duplex(capacity);
    let pair =
        Pair { runtime, client: Scripted::new(), server: Scripted::new(), ends: Arc::new(Mutex::new(Vec::new())) };
    for (role, stream, endpoint) in [(Role::Client, up, &pair.client), (Role::Server, down, &pair.server)] {
        let link = by.link(role, stream, endpoint.clone(), &pair.runtime, coalesce);
        let ends = pair.ends.clone();
        pair.runtime.spawn(Box::pin(async move {
            let end = link.await;
            ends.lock().unwrap().push((role, end));
        }));
    }
    pair.runtime.run();
    pair
}

impl Pair {
    fn end(&self, role: Role) -> Option<LinkEnd> {
        self.ends.lock().unwrap().iter().find(|(whose, _)| *whose == role).map(|(_, end)| *end)
    }
}

fn frame(len: usize) -> Bytes {
    vec![7; len].into()
}

const CLEAN: LinkEnd = LinkEnd { code: Some(4009), clean: true, fault: None };

/// Every scenario, by the loop and by the pump.
macro_rules! by_both {
    ($($scenario:ident),* $(,)?) => {
        mod looped {
            $(#[test] fn $scenario() { super::$scenario(super::By::Loop); })*
        }
        mod pumped {
            $(#[test] fn $scenario() { super::$scenario(super::By::Pump); })*
        }
    };
}

by_both! {
    what_one_end_says_the_other_hears,
    more_than_a_turn_comes_whole_and_in_order,
    frames_that_are_ready_share_a_message_where_that_is_wanted,
    timers_fire_on_time_and_an_earlier_one_is_not_missed,
    a_close_goes_out_after_the_frames_and_is_clean,
    a_drop_is_without_a_word,
    a_peer_that_does_not_answer_a_close_is_dropped_in_time,
    a_peer_that_stops_reading_is_still_read_and_the_endpoint_hears_of_the_bytes,
    a_message_that_is_too_large_is_answered_with_a_close,
    the_new_limit_holds_for_the_very_next_message,
    text_reaches_the_endpoint_and_garbage_ends_the_link,
    a_quiet_link_takes_no_turn,
    a_large_frame_waits_for_the_flush_of_what_was_fed_and_one_goes_at_a_time,
    a_large_frame_does_not_go_into_a_pipe_that_is_full,
}

fn what_one_end_says_the_other_hears(by: By) {
    let pair = pair(by, 1 << 20, false);
    pair.client.say(|script| script.frames.extend([frame(10), frame(20)]));
    pair.runtime.run();
    assert_eq!(pair.server.with(|script| script.came.clone()), [frame(10), frame(20)]);
    pair.server.say(|script| script.frames.push_back(frame(30)));
    pair.runtime.run();
    assert_eq!(pair.client.with(|script| script.came.clone()), [frame(30)]);
    assert!(pair.client.with(|script| script.transport.read > 30 && !script.transport.unflushed));
}

fn more_than_a_turn_comes_whole_and_in_order(by: By) {
    let pair = pair(by, 1000, false);
    let frames: Vec<Bytes> = (0..1000u32).map(|n| Bytes::from(n.to_le_bytes().to_vec())).collect();
    pair.client.say(|script| script.frames.extend(frames.clone()));
    pair.runtime.run();
    assert_eq!(pair.server.with(|script| script.came.clone()), frames);
}

fn frames_that_are_ready_share_a_message_where_that_is_wanted(by: By) {
    let pair = pair(by, 1 << 20, true);
    for endpoint in [&pair.client, &pair.server] {
        endpoint.say(|script| script.max_message = 1 << 20);
    }
    pair.runtime.run();
    let large = LARGEST_BATCH - 15;
    pair.client.say(|script| script.frames.extend([frame(10), frame(5), frame(large), frame(1), frame(100_000)]));
    pair.runtime.run();
    let lengths: Vec<usize> = pair.server.with(|script| script.came.iter().map(Bytes::len).collect());
    assert_eq!(lengths, [LARGEST_BATCH, 1, 100_000], "up to the limit, and one frame of any size alone");
}

fn timers_fire_on_time_and_an_earlier_one_is_not_missed(by: By) {
    let pair = pair(by, 1000, false);
    let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
    pair.client.say(|script| script.timeout = Some(at(10)));
    pair.runtime.advance(Duration::from_secs(1));
    pair.client.say(|script| script.timeout = Some(at(3)));
    pair.runtime.advance(Duration::from_secs(5));
    pair.client.say(|script| script.timeout = Some(at(9)));
    pair.runtime.advance(Duration::from_secs(20));
    assert_eq!(pair.client.with(|script| script.timeouts.clone()), [at(3), at(9)]);
}

fn a_close_goes_out_after_the_frames_and_is_clean(by: By) {
    let pair = pair(by, 1000, false);
    pair.server.say(|script| {
        script.frames.extend([frame(3000), frame(1)]);
        script.actions.push_back(LinkAction::Close { reason: Some(CloseReason::Kicked) });
    });
    pair.runtime.run();
    assert_eq!(pair.client.with(|script| script.came.len()), 2);
    assert_eq!((pair.end(Role::Client), pair.end(Role::Server)), (Some(CLEAN), Some(CLEAN)));
    assert_eq!(pair.client.with(|script| script.closed), Some(Some(4009)));
    assert_eq!(pair.runtime.running(), 0);
}

fn a_drop_is_without_a_word(by: By) {
    let pair = pair(by, 1000, false);
    pair.client.say(|script| script.actions.push_back(LinkAction::Drop));
    pair.runtime.run();
    let cut = Some(LinkEnd { code: None, clean: false, fault: None });
    assert_eq!((pair.end(Role::Client), pair.end(Role::Server)), (cut, cut));
    assert_eq!(pair.server.with(|script| script.closed), Some(None));
}

/// A link whose peer is the bare stream of the test.
fn alone(by: By, capacity: usize) -> (Arc<Virtual>, Scripted, Duplex, Arc<Mutex<Option<LinkEnd>>>) {
    let runtime = Virtual::new();
    let (peer, stream) = duplex(capacity);
    let endpoint = Scripted::new();
    let link = by.link(Role::Server, stream, endpoint.clone(), &runtime, false);
    let end = Arc::new(Mutex::new(None));
    let store = end.clone();
    runtime.spawn(Box::pin(async move {
        *store.lock().unwrap() = Some(link.await);
    }));
    runtime.run();
    (runtime, endpoint, peer, end)
}

fn a_peer_that_does_not_answer_a_close_is_dropped_in_time(by: By) {
    let (runtime, endpoint, _peer, end) = alone(by, 1000);
    endpoint.say(|script| script.actions.push_back(LinkAction::Close { reason: None }));
    runtime.advance(CLOSE_ANSWER - Duration::from_millis(1));
    assert_eq!(*end.lock().unwrap(), None);
    runtime.advance(Duration::from_millis(1));
    assert_eq!(*end.lock().unwrap(), Some(LinkEnd { code: None, clean: false, fault: None }));
}

fn a_peer_that_stops_reading_is_still_read_and_the_endpoint_hears_of_the_bytes(by: By) {
    let (runtime, endpoint, mut peer, end) = alone(by, 1000);
    endpoint.say(|script| script.frames.extend(std::iter::repeat_n(frame(1000), 100)));
    runtime.run();
    assert!(endpoint.with(|script| script.transport.unflushed), "the endpoint knows before the silence");
    let waiting = endpoint.with(|script| script.frames.len());
    assert!(waiting > 50, "no more is taken than the buffers hold: {waiting} are left");
    runtime.block_on(async {
        // An empty binary message, masked.
        futures_util::AsyncWriteExt::write_all(&mut peer, &[0x82, 0x80, 0, 0, 0, 0]).await.unwrap();
    });
    runtime.run();
    assert_eq!(endpoint.with(|script| script.came.len()), 1);
    runtime.advance(Duration::from_secs(60));
    assert_eq!(*end.lock().unwrap(), None, "it is the endpoint's to decide that this is too long");
    assert_eq!(endpoint.with(|script| script.frames.len()), waiting);
}

fn a_message_that_is_too_large_is_answered_with_a_close(by: By) {
    let pair = pair(by, 1 << 20, false);
    pair.client.say(|script| {
        script.max_message = 1 << 20;
        script.frames.push_back(frame(8193));
    });
    pair.runtime.advance(Duration::from_secs(5));
    assert_eq!(pair.server.with(|script| (script.came.len(), script.closed)), (0, Some(Some(4015))));
    assert_eq!(pair.client.with(|script| script.closed), Some(Some(4015)));
    assert_eq!(pair.end(Role::Server).and_then(|end| end.fault), Some(Fault::TooLarge));
}

fn the_new_limit_holds_for_the_very_next_message(by: By) {
    let pair = pair(by, 1 << 20, false);
    pair.server.say(|script| script.raise = Some(1 << 20));
    pair.client.say(|script| {
        script.max_message = 1 << 20;
        script.frames.extend([frame(1), frame(100_000)]);
    });
    pair.runtime.run();
    assert_eq!(pair.server.with(|script| script.came.len()), 2);
}

fn text_reaches_the_endpoint_and_garbage_ends_the_link(by: By) {
    let (runtime, endpoint, mut peer, end) = alone(by, 1000);
    let write = |peer: &mut Duplex, bytes: &[u8]| {
        runtime.block_on(futures_util::AsyncWriteExt::write_all(peer, bytes)).unwrap();
        runtime.run();
    };
    write(&mut peer, &[0x81, 0x81, 0, 0, 0, 0, b'a']);
    assert_eq!(endpoint.with(|script| script.texts), 1);
    write(&mut peer, &[0x82, 0x01, 7]);
    let fault = Some(Fault::Violation);
    assert_eq!(*end.lock().unwrap(), Some(LinkEnd { code: None, clean: false, fault }), "a frame without a mask");
    assert_eq!(endpoint.with(|script| script.closed), Some(None));
}

fn a_quiet_link_takes_no_turn(by: By) {
    let pair = pair(by, 1000, false);
    let turns = pair.client.with(|script| script.turns);
    pair.runtime.advance(Duration::from_secs(3600));
    assert_eq!(pair.client.with(|script| script.turns), turns);
}

#[test]
fn buffers_are_kept_while_a_link_is_busy_and_given_back_when_it_is_not() {
    let (here, there) = duplex(1 << 20);
    let mut client = Socket::new(Bridge::new(Box::new(there)), Vec::new(), Role::Client, 8192);
    let socket = Socket::new(Bridge::new(Box::new(here)), Vec::new(), Role::Server, 8192);
    let endpoint = Scripted::new();
    let mut link = Link::new(socket, endpoint.clone(), false);
    let mut turn_at = |ms: u64, message: Option<usize>| {
        if let Some(len) = message {
            client.feed(frame(len)).unwrap();
            client.flush().unwrap();
        }
        match link.turn(Instant::from_micros(ms * 1000)) {
            Ok(Next::Wait(at)) => (link.socket.is_awake(), at.map(|at| at.as_micros() / 1000)),
            Ok(Next::Again) | Err(_) => panic!("it waits"),
        }
    };
    assert_eq!(turn_at(100, None), (false, None), "nothing ever came");
    assert_eq!(turn_at(200, Some(10)), (true, Some(1200)));
    assert_eq!(turn_at(1200, None), (false, None), "a second later");
    assert_eq!(turn_at(5000, Some(10)), (false, None), "what comes alone leaves nothing behind");
    assert_eq!(turn_at(5100, Some(8000)), (true, Some(6100)), "two within a second are the begin of more");
    assert_eq!(turn_at(5900, Some(10)), (true, Some(6900)));
    assert_eq!(turn_at(6100, None), (true, Some(6900)));
    assert_eq!(turn_at(6900, None), (false, None));
    assert_eq!(turn_at(7000, None), (false, None));
    assert_eq!(endpoint.with(|script| script.rests), 3, "the endpoint rests with its link");
}

#[test]
fn a_busy_link_yields_after_its_share() {
    let by = By::Loop;
    let pair = pair(by, 1 << 20, false);
    pair.client.say(|script| script.turns = 0);
    pair.client.say(|script| script.frames.extend(std::iter::repeat_n(frame(1), FRAMES_A_TURN * 3)));
    pair.runtime.run();
    assert!(pair.client.with(|script| script.turns) >= 3);
}

fn a_large_frame_waits_for_the_flush_of_what_was_fed_and_one_goes_at_a_time(by: By) {
    let pair = pair(by, 1 << 20, false);
    for endpoint in [&pair.client, &pair.server] {
        endpoint.say(|script| script.max_message = 1 << 20);
    }
    pair.runtime.run();
    pair.client.say(|script| {
        script.frames.push_back(frame(10));
        script.bulk.extend([frame(16_000), frame(16_001), frame(16_002)]);
    });
    pair.runtime.run();
    let lengths = |frames: &[Bytes]| frames.iter().map(Bytes::len).collect::<Vec<_>>();
    assert_eq!(pair.client.with(|script| lengths(&script.order)), [10, 16_000, 16_001, 16_002]);
    assert_eq!(pair.server.with(|script| lengths(&script.came)), [10, 16_000, 16_001, 16_002]);
}

fn a_large_frame_does_not_go_into_a_pipe_that_is_full(by: By) {
    let runtime = Virtual::new();
    // Nobody reads at the other end.
    let (up, mut down) = duplex(1000);
    let alone = Scripted::new();
    alone.say(|script| script.bulk.extend([frame(16_000), frame(16_001)]));
    alone.say(|script| script.max_message = 1 << 20);
    let link = by.link(Role::Client, up, alone.clone(), &runtime, false);
    runtime.spawn(Box::pin(async move {
        let _ = link.await;
    }));
    runtime.run();
    assert_eq!(alone.with(|script| script.order.len()), 1, "the second waits until the first is out");
    runtime.spawn(Box::pin(async move { while matches!(down.read(&mut [0; 500]).await, Ok(1..)) {} }));
    runtime.run();
    assert_eq!(alone.with(|script| script.order.len()), 2, "and goes as soon as it is");
}
