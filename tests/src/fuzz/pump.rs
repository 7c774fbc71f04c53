//! Raw bytes of a TCP connection: the HTTP request, the WebSocket under the frames, and a whole link of a server.
//!
//! However bytes are cut, they come to the same; what a server answers is HTTP, then a WebSocket with sound frames in it;
//! and two people beside the connection do not notice it.

mod line;
mod websocket;

use std::time::Duration;

use bytes::Bytes;
use esf_driver::{
    endpoint::{Endpoint, LinkAction, Transport},
    http::{Head, HeadReader, MAX_HEAD, Origins, Rules, Verdict, judge, may_be_request},
    pump::{LinkPump, Pump},
    socket::Incoming,
};
use esf_proto::{server::Config, time::Instant, wire::SUBPROTOCOL};

use self::line::Line;
use super::Input;
use crate::{
    bystanders::Bystanders,
    world::{Who, World},
};

const STEPS: usize = 200;
const MAX_MESSAGE: usize = 8192;
/// What may pass in one run, so that a run has an end.
const TIME: Duration = Duration::from_secs(300);
const AGES: Duration = Duration::from_secs(400);

/// Reads a request, or a WebSocket, in one piece and in many; or runs connections to a server.
///
/// # Panics
/// If pieces come to something else than the whole, the server answers what is no answer, or the bystanders noticed.
pub fn pump(data: &[u8]) {
    let mut input = Input::new(data);
    match input.below(4) {
        0 => heads(&mut input),
        1 => streams(&mut input),
        _ => connections(&mut input),
    }
}

/// What is served: a server has no other path.
fn rules() -> Rules<()> {
    Rules { paths: vec![("/", SUBPROTOCOL, ())], origins: Origins::default() }
}

/// A request that is served, in pieces that the input decides, spoiled by bytes of the input.
fn heads(input: &mut Input<'_>) {
    let mut request = REQUEST.to_vec();
    while input.flag() {
        let at = input.below(request.len());
        let until = request.len().min(at + input.below(8));
        request.splice(at..until, input.bytes().iter().copied());
    }
    let sizes = input.bytes();
    request.extend_from_slice(input.bytes());
    let whole = HeadReader::new(may_be_request).handle_bytes(&request);
    let mut reader = HeadReader::new(may_be_request);
    let (mut left, mut came) = (&request[..], None);
    for size in sizes.iter().cycle().take_while(|_| !sizes.is_empty()) {
        let (piece, behind) = left.split_at(left.len().min(1 + usize::from(*size)));
        came = reader.handle_bytes(piece);
        left = behind;
        if came.is_some() || left.is_empty() {
            break;
        }
    }
    match (whole, came) {
        (Some(Head::Whole { head, rest }), Some(Head::Whole { head: in_pieces, rest: read })) => {
            assert_eq!((&head, [read, left.to_vec()].concat()), (&in_pieces, rest));
            assert!(head.ends_with(b"\r\n\r\n") && head.len() <= MAX_HEAD);
            is_an_answer(&judge(&head, &rules()));
        }
        (whole, came) if !sizes.is_empty() => assert_eq!(whole, came, "pieces come to what the whole comes to"),
        _ => {}
    }
}

fn is_an_answer(verdict: &Verdict<()>) {
    let (answer, status) = match verdict {
        Verdict::Upgrade { answer, .. } => (answer, "101"),
        Verdict::Refuse { answer, .. } => (answer, "4"),
    };
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains("\r\n\r\n"), "{answer}");
}

/// A WebSocket's bytes, whole through the WebSocket alone, and in pieces through a link.
fn streams(input: &mut Input<'_>) {
    let sizes: Vec<u8> = input.bytes().iter().map(|size| size % 64).chain([255]).collect();
    let coalesce = input.flag();
    let mut bytes = Vec::new();
    while !input.is_over() && bytes.len() < 64 << 10 {
        websocket::frame(input, b"", &mut bytes);
    }
    let mut pump = Pump::server(MAX_MESSAGE);
    pump.handle_bytes(&bytes);
    let (mut whole, mut closed) = (Vec::new(), None);
    let mut buffer = Vec::new();
    while let Ok(Some(incoming)) = pump.poll_incoming() {
        // What is to be answered must not wait for ever.
        while pump.poll_bytes(&mut buffer) == Ok(true) {
            pump.handle_written();
        }
        match incoming {
            Incoming::Message(message) => whole.push(Some(message)),
            Incoming::Text => whole.push(None),
            Incoming::Control => {}
            Incoming::Close(code) => {
                closed = Some(code);
                break;
            }
        }
    }
    let mut now = Instant::from_micros(1_000_000);
    let mut link = LinkPump::server(Recorder::default(), Vec::new(), coalesce);
    let mut left = &bytes[..];
    for size in sizes.iter().cycle() {
        if left.is_empty() || link.end().is_some() {
            break;
        }
        let (piece, behind) = left.split_at(left.len().min(1 + usize::from(*size)));
        left = behind;
        // A link that is silent for a while lets its buffers go.
        now = now + Duration::from_secs(u64::from(*size % 3));
        link.handle_bytes(now, piece);
        while link.poll_bytes(&mut buffer) {
            link.handle_written(now);
        }
    }
    let recorder = link.endpoint();
    assert_eq!(recorder.came, whole, "pieces come to what the whole comes to");
    if let Some(code) = closed {
        assert_eq!(link.end().map(|end| end.code), Some(code));
        assert_eq!(recorder.closed, Some(code), "the endpoint hears of the end");
    }
}

/// Writes down what comes.
#[derive(Default)]
struct Recorder {
    came: Vec<Option<Bytes>>,
    closed: Option<Option<u16>>,
}

impl Endpoint for Recorder {
    fn handle_message(&mut self, _now: Instant, message: Bytes) {
        self.came.push(Some(message));
    }

    fn handle_text(&mut self, _now: Instant) {
        self.came.push(None);
    }

    fn handle_transport(&mut self, _now: Instant, _transport: Transport) {}

    fn handle_closed(&mut self, _now: Instant, code: Option<u16>) {
        assert!(self.closed.replace(code).is_none(), "a link ends once");
    }

    fn poll_transmit(&mut self, _now: Instant) -> Option<Bytes> {
        None
    }

    fn poll_action(&mut self) -> Option<LinkAction> {
        None
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn handle_timeout(&mut self, _now: Instant) {}

    fn register(&mut self, _waker: &std::task::Waker) {}

    fn max_message(&self) -> usize {
        MAX_MESSAGE
    }
}

/// Connections to a server, beside two people.
fn connections(input: &mut Input<'_>) {
    let config =
        Config { max_frame: 16 << 10, budget: 64 << 10, resume_window: Duration::from_secs(15), ..Config::default() };
    let mut world = World::with(config);
    let bystanders = Bystanders::join(&mut world);
    world.accounts.guarded.lock().expect("nobody panicked").extend(["ann".into(), "ben".into()]);
    let (mut lines, mut passed): (Vec<Line>, _) = (Vec::new(), Duration::ZERO);
    for _ in 0..STEPS {
        if input.is_over() {
            break;
        }
        let what = input.below(16);
        if what == 0 || lines.is_empty() {
            if lines.len() == 3 {
                lines.remove(0).end(&mut world);
            }
            lines.push(Line::new());
            continue;
        }
        let place = input.below(lines.len());
        match what {
            1 => lines[place].bytes(&mut world, REQUEST),
            2 => lines.swap_remove(place).end(&mut world),
            3 => {
                let duration = input.duration();
                passed += duration;
                if passed < TIME {
                    pass(&mut world, &mut lines, duration);
                }
            }
            4 => lines[place].reads = !lines[place].reads,
            5 => lines[place].bytes(&mut world, input.bytes()),
            6 => world.send(bystanders.ann, "mallory", "hello"),
            _ => lines[place].says(&mut world, input),
        }
        world.run();
        lines.iter_mut().for_each(|line| line.serve(&mut world));
    }
    for line in lines {
        line.end(&mut world);
    }
    world.advance(AGES);
    assert_eq!((world.node.links(), world.node.online(), world.node.held_bytes()), (2, 2, 0), "something is left");
    let replies = |world: &mut World, who: Who| world.session(who).stats().violations;
    assert_eq!((replies(&mut world, bystanders.ann), replies(&mut world, bystanders.ben)), (0, 0));
    bystanders.are_unharmed(&mut world, "after all that");
}

fn pass(world: &mut World, lines: &mut [Line], duration: Duration) {
    let end = world.now + duration;
    while world.now < end {
        let due = lines.iter().filter_map(Line::poll_timeout).min();
        let next = due.map_or(end, |due| due.clamp(world.now, end));
        world.advance(next.since(world.now));
        for line in lines.iter_mut() {
            line.serve(world);
            assert!(line.poll_timeout().is_none_or(|at| at > world.now), "a timer is due again at once");
        }
    }
}

/// A request that is served.
pub(super) const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: esf\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: esf.v1\r\n\r\n";
