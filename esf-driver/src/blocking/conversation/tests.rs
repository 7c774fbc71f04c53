use std::time::Duration;

use esf_proto::{client::Config, ids::UserId};

use super::*;
use crate::{
    blocking::testing::{Plain, until},
    client::{Client, Dial, Plan},
    server::{Housekeeper, ServerBuilder},
    tasks::Tasks,
};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// A server without listeners.
struct Serving {
    tasks: Arc<dyn Tasks>,
    server: Server,
    _housekeeper: Housekeeper,
}

impl Serving {
    fn with(change: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        let tasks = Arc::new(Plain::default());
        let (server, _housekeeper) = change(ServerBuilder::on(tasks.clone()).open()).build().expect("random numbers");
        Self { tasks, server, _housekeeper }
    }

    fn new() -> Self {
        Self::with(|builder| builder)
    }

    fn now(&self) -> Instant {
        self.tasks.now()
    }

    fn accept(&self) -> Incoming {
        Incoming::arriving(&self.server, self.server.handle_accepted(None))
    }

    fn counter(&self, name: &str) -> u64 {
        self.server.stats().counter(name)
    }

    /// A client that wants to connect, and the connection that it makes.
    fn client(&self) -> (Client, Outgoing) {
        let config = Config::new(UserId::parse("alice", 64).expect("a name"));
        let (client, dialer) = Plan::new(self.tasks.clone(), "ws://in.memory", config).start().expect("it starts");
        let Dial::Connect(link) = dialer.next() else { panic!("it does not connect") };
        (client, Outgoing::new(Arc::new(dialer), link))
    }
}

/// Takes out what one has to say, in one piece.
fn said(conversation: &mut impl Conversation, now: Instant) -> Vec<u8> {
    let (mut all, mut piece) = (Vec::new(), Vec::new());
    conversation.handle_timeout(now);
    while conversation.has_bytes() {
        assert!(conversation.poll_bytes(&mut piece));
        all.append(&mut piece);
        conversation.handle_written(now);
    }
    assert!(!conversation.poll_bytes(&mut piece));
    all
}

/// Brings what each has to say to the other, byte by byte.
fn carry(serving: &Serving, client: &mut Outgoing, server: &mut Incoming) {
    for byte in said(client, serving.now()) {
        server.handle_bytes(serving.now(), &[byte]);
    }
    for byte in said(server, serving.now()) {
        client.handle_bytes(serving.now(), &[byte]);
    }
}

#[test]
fn bytes_in_any_pieces_make_a_login_and_a_log_off() {
    let serving = Serving::new();
    let (client, mut outgoing) = serving.client();
    let mut incoming = serving.accept();
    until("it is logged in", || {
        carry(&serving, &mut outgoing, &mut incoming);
        client.is_connected()
    });
    assert_eq!(serving.server.stats().online, 1);
    assert!(!outgoing.is_over() && !incoming.is_over());
    client.close();
    until("it is logged off", || {
        carry(&serving, &mut outgoing, &mut incoming);
        outgoing.is_over() && incoming.is_over()
    });
    assert_eq!(client.close_info().map(|info| (info.clean, info.code)), Some((true, Some(4011))));
    assert_eq!(serving.server.stats().online, 0);
}

#[test]
fn the_answer_to_the_request_goes_before_the_link() {
    let serving = Serving::new();
    let (_client, mut outgoing) = serving.client();
    let mut incoming = serving.accept();
    let request = said(&mut outgoing, serving.now());
    // What comes behind the request at once is for the link, which waits.
    incoming.handle_bytes(serving.now(), &[&request[..], &[0x81, 0x80, 0, 0, 0, 0]].concat());
    let mut answer = Vec::new();
    assert!(incoming.poll_bytes(&mut answer));
    assert!(answer.starts_with(b"HTTP/1.1 101") && answer.ends_with(b"\r\n\r\n"));
    assert!(!incoming.has_bytes() && !incoming.is_over());
    incoming.handle_written(serving.now());
    assert_closes_as_invalid(&serving, incoming);
}

/// The link was sent a text message, which is no login: it says so, and ends with the stream.
fn assert_closes_as_invalid(serving: &Serving, mut incoming: Incoming) {
    let told = said(&mut incoming, serving.now());
    assert!(told.windows(2).any(|bytes| bytes == 4001u16.to_be_bytes()), "{told:?}");
    assert_eq!(serving.counter("closed_invalid_message"), 1);
    assert!(!incoming.is_over(), "the other side may answer");
    incoming.handle_end(serving.now());
    assert!(incoming.is_over());
}

#[test]
fn a_refusal_ends_the_stream_and_leaves_a_moment_to_read_it() {
    let serving = Serving::new();
    let mut incoming = serving.accept();
    incoming.handle_bytes(serving.now(), GET);
    let mut answer = Vec::new();
    assert!(incoming.poll_bytes(&mut answer) && answer.starts_with(b"HTTP/1.1 426"));
    assert!(!incoming.is_finished(), "not before it went out");
    incoming.handle_written(serving.now());
    assert!(incoming.is_finished() && !incoming.is_over());
    let now = serving.now();
    incoming.handle_timeout(now);
    assert_eq!(incoming.poll_timeout(), Some(now + REFUSAL));
    incoming.handle_timeout(now + (REFUSAL - Duration::from_millis(1)));
    assert!(!incoming.is_over());
    incoming.handle_timeout(now + REFUSAL);
    assert!(incoming.is_over());
    assert_eq!(serving.counter("requests_plain"), 1);
}

#[test]
fn whoever_reads_a_refusal_and_leaves_is_not_waited_for() {
    let serving = Serving::new();
    let mut incoming = serving.accept();
    incoming.handle_bytes(serving.now(), GET);
    // The other side ended its own half with the request, and still reads.
    incoming.handle_end(serving.now());
    assert!(!incoming.is_over() && said(&mut incoming, serving.now()).starts_with(b"HTTP/1.1 426"));
    incoming.handle_end(serving.now());
    assert!(incoming.is_over());
}

#[test]
fn one_connection_too_many_is_refused_before_it_asks() {
    let serving = Serving::with(|builder| builder.max_connections(1));
    let first = serving.accept();
    let mut second = serving.accept();
    assert!(said(&mut second, serving.now()).starts_with(b"HTTP/1.1 503"));
    drop((first, second));
    assert!(!serving.accept().has_bytes(), "there is room again");
}

#[test]
fn a_request_that_never_ends_is_given_up_in_time() {
    let serving = Serving::new();
    let mut incoming = serving.accept();
    incoming.handle_bytes(serving.now(), b"GET / HT");
    let at = incoming.poll_timeout().expect("a time");
    incoming.handle_timeout(serving.now());
    assert!(!incoming.is_over());
    incoming.handle_timeout(at);
    assert!(incoming.is_over() && !incoming.has_bytes());
    assert_eq!(serving.counter("handshakes_timed_out"), 1);
    assert_eq!(serving.server.stats().connections, 0);
}

#[test]
fn an_end_within_the_request_is_the_end() {
    let serving = Serving::new();
    let mut incoming = serving.accept();
    incoming.handle_bytes(serving.now(), b"GET / HT");
    incoming.handle_end(serving.now());
    assert!(incoming.is_over());
    assert_eq!((serving.counter("handshakes_timed_out"), serving.server.stats().connections), (0, 0));
}

#[test]
fn an_attempt_that_comes_to_nothing_says_why() {
    let serving = Serving::new();
    type Spoil = fn(&mut Outgoing, Instant);
    let rows: [(Spoil, &str); 3] = [
        (|outgoing, now| outgoing.handle_end(now), "end of file"),
        (|outgoing, now| outgoing.handle_bytes(now, b"SSH-2.0-OpenSSH\r\n"), "no HTTP"),
        (|outgoing, now| outgoing.handle_bytes(now, b"HTTP/1.1 503 Later\r\n\r\ncome later\r\n"), "503 come later"),
    ];
    for (spoil, words) in rows {
        let (client, mut outgoing) = serving.client();
        assert!(said(&mut outgoing, serving.now()).starts_with(b"GET / "));
        spoil(&mut outgoing, serving.now());
        assert!(outgoing.is_over());
        let error = crate::blocking::run(client.logged_in(false)).expect_err(words).to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn an_attempt_that_nobody_wants_any_more_is_given_up() {
    let serving = Serving::new();
    let (client, mut outgoing) = serving.client();
    said(&mut outgoing, serving.now());
    assert!(outgoing.poll_timeout().is_some() && !outgoing.is_over());
    client.close();
    outgoing.handle_timeout(serving.now());
    assert!(outgoing.is_over());
}

#[test]
fn a_websocket_that_was_opened_elsewhere_begins_with_its_link() {
    let serving = Serving::new();
    assert_closes_as_invalid(&serving, Incoming::opened(&serving.server, vec![0x81, 0x80, 0, 0, 0, 0]));
}
