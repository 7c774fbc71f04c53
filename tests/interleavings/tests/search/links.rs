//! Links of one server, each on a thread of its own, without sockets.

use std::{sync::Arc, task::Waker, time::Duration};

use bytes::Bytes;
use esf_interleavings::{
    endpoint::{Endpoint, Transport},
    node::{Conn, Inputs, Node},
    scenarios::Bell,
};
use esf_proto::{
    ids::{DeviceKind, Engine, InstanceId, To, UserId},
    login::{CredentialKind, ResumeSecret, Rights},
    server::{AppRequest, AppResponse, Config, DeskEvent, LinkState},
    time::{Instant, UnixMillis},
    wire::{Address, Credential, Envelope, Frame, Frames, Header, Login, LoginResult, RawFrame, Resume},
};
use shuttle::thread;

const NOW: Instant = Instant::from_micros(1_000_000);
/// Long after the resume window.
const LATER: Instant = Instant::from_micros(3_600_000_000);

fn node() -> Arc<Node> {
    let mut secret = 0_u128;
    let secrets = Box::new(move || {
        secret += 1;
        secret.to_le_bytes()
    });
    let wall = Box::new(|| UnixMillis(1_000));
    let inputs = Inputs { instance: InstanceId(900), keys: (1, 2), secrets, wall, tickets: Box::new(()) };
    Node::new(Config::default(), inputs)
}

fn engine(name: &str) -> Engine {
    Engine { user: UserId::parse(name, 64).expect("a name"), device: DeviceKind::PHONE, instance: InstanceId(7) }
}

fn login(name: &str, attempt: u32, resume: Option<Resume>) -> Bytes {
    let login = Login {
        instance: InstanceId(7),
        attempt,
        interactive: resume.is_none(),
        takes_messages: true,
        device: DeviceKind::PHONE,
        heartbeat_ms: 5_000,
        login_number: 0,
        user: name,
        credential: Credential { kind: CredentialKind::None, bytes: b"" },
        system_token: b"",
        ticket: b"",
        resume,
    };
    Frame::Login(login).to_bytes(Header::default()).expect("a login")
}

fn envelope<'a>(from: &'a Engine, to: &'a str, id: u64) -> Envelope<'a> {
    Envelope::new(Address::Device { user: to, device: DeviceKind::PHONE }, Address::of_engine(from), id)
}

fn plain(from: &str, to: &str, id: u64) -> Bytes {
    let from = engine(from);
    let frame = Frame::Send { envelope: envelope(&from, to, id), info_type: 9, body: b"hello" };
    frame.to_bytes(Header::default()).expect("a send")
}

/// A link and the thread that drives it.
struct Link {
    conn: Conn,
    bell: Arc<Bell>,
    waker: Waker,
}

impl Link {
    fn accept(node: &Arc<Node>) -> Self {
        let (bell, waker) = Bell::new();
        Self { conn: Conn::accept(node, NOW), bell, waker }
    }

    /// A link that asks for its place.
    fn ask(node: &Arc<Node>, now: Instant, name: &str, attempt: u32, resume: Option<Resume>) -> Self {
        let mut link = Self::accept(node);
        link.conn.handle_message(now, login(name, attempt, resume));
        while let Some(AppRequest::Authenticate(_)) = link.conn.poll_request() {
            link.conn.handle_response(now, AppResponse::Accept(Rights::NONE.into()));
        }
        link
    }

    fn join(node: &Arc<Node>, name: &str) -> Self {
        let link = Self::ask(node, NOW, name, 1, None);
        assert_eq!(link.conn.state(), LinkState::Attached);
        link
    }

    /// What there is to send, as every loop of a link asks for it.
    fn turn(&mut self) -> Vec<RawFrame> {
        self.conn.register(&self.waker);
        self.conn.handle_transport(NOW, Transport::default());
        let frames = std::iter::from_fn(|| self.conn.poll_transmit(NOW));
        let frames = frames.flat_map(|message| Frames::new(message, usize::MAX));
        frames.map(|frame| frame.expect("a frame")).collect()
    }

    /// Drives the link until `done` with a frame, or until it ends.
    fn run_until(&mut self, mut done: impl FnMut(&mut Conn, &Frame<'_>) -> bool) {
        loop {
            let mut is_done = false;
            for frame in self.turn() {
                is_done |= frame.decode().is_ok_and(|frame| done(&mut self.conn, &frame));
            }
            if is_done || self.is_over() {
                return;
            }
            self.bell.wait();
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.conn.state(), LinkState::Closing | LinkState::Closed)
    }

    /// Drives the link until this many messages came. Says which.
    fn messages(&mut self, count: usize) -> Vec<u64> {
        let mut messages = Vec::new();
        if count > 0 {
            self.run_until(|_, frame| {
                if let Frame::Send { envelope, .. } = frame {
                    messages.push(envelope.id);
                }
                messages.len() == count
            });
        }
        messages
    }

    fn secret(&mut self) -> ResumeSecret {
        let welcome = self.turn().into_iter().find_map(|frame| match frame.decode() {
            Ok(Frame::LoginResult(LoginResult::Succeed(welcome))) => Some(welcome.secret),
            _ => None,
        });
        welcome.expect("a welcome")
    }
}

/// Two send to each other at the same time.
pub(crate) fn messages_cross() {
    let node = node();
    let links = [("anna", "ben"), ("ben", "anna")].map(|(from, to)| (Link::join(&node, from), from, to));
    let threads = links.map(|(mut link, from, to)| {
        thread::spawn(move || {
            for id in [1, 2] {
                link.conn.handle_message(NOW, plain(from, to, id));
            }
            assert_eq!(link.messages(2), [1, 2]);
            link
        })
    });
    let links = threads.map(|thread| thread.join().unwrap());
    assert_eq!(node.online(), 2);
    drop(links);
    node.handle_timeout(LATER);
    assert_eq!(node.online(), 0);
}

/// Somebody comes back on another link while messages come, of which the old link took some with it.
pub(crate) fn a_resume_gets_what_the_old_link_lost() {
    let node = node();
    let mut old = Link::join(&node, "anna");
    let resume = Resume { secret: old.secret(), received: 0 };
    let mut ben = Link::join(&node, "ben");
    let sending = thread::spawn(move || {
        for id in 1..=3 {
            ben.conn.handle_message(NOW, plain("ben", "anna", id));
        }
        ben
    });
    let losing = thread::spawn(move || {
        old.run_until(|_, _| false);
        old
    });
    let node_of_anna = node.clone();
    let coming = thread::spawn(move || {
        let mut new = Link::ask(&node_of_anna, NOW, "anna", 2, Some(resume));
        assert_eq!(new.messages(3), [1, 2, 3]);
        new
    });
    let (ben, new) = (sending.join().unwrap(), coming.join().unwrap());
    assert!(losing.join().unwrap().is_over(), "it has to learn that there is another");
    assert_eq!((node.online(), node.links()), (2, 2));
    drop((ben, new));
}

/// A client that reconnects twice in a hurry: the later link is the one that counts, in whatever order they are judged. It
/// gets what comes meanwhile, and the earlier one ends.
pub(crate) fn of_two_takeovers_one_stays() {
    let node = node();
    let mut first = Link::join(&node, "anna");
    let resume = Resume { secret: first.secret(), received: 0 };
    drop(first);
    let (before, after) = (node.clone(), node.clone());
    let earlier = thread::spawn(move || {
        let mut link = Link::ask(&before, NOW, "anna", 2, Some(resume));
        link.run_until(|_, _| false);
        assert!(link.is_over());
    });
    let later = thread::spawn(move || {
        let mut link = Link::ask(&after, NOW, "anna", 3, Some(resume));
        assert_eq!(link.messages(1), [1]);
        link
    });
    let mut ben = Link::join(&node, "ben");
    ben.conn.handle_message(NOW, plain("ben", "anna", 1));
    earlier.join().unwrap();
    let later = later.join().unwrap();
    assert_eq!((node.online(), later.is_over()), (2, false));
}

/// A session is given up while its client comes back: either it goes on or there is a new one, never both or none.
pub(crate) fn a_resume_meets_the_end_of_its_window() {
    let node = node();
    let mut first = Link::join(&node, "anna");
    let resume = Resume { secret: first.secret(), received: 0 };
    drop(first);
    let keeping = node.clone();
    let housekeeper = thread::spawn(move || keeping.handle_timeout(LATER));
    let coming = node.clone();
    let anna = thread::spawn(move || Link::ask(&coming, NOW, "anna", 2, Some(resume)));
    let mut anna = anna.join().unwrap();
    housekeeper.join().unwrap();
    assert_eq!(node.online(), 1);
    let mut ben = Link::join(&node, "ben");
    ben.conn.handle_message(NOW, plain("ben", "anna", 1));
    assert_eq!(anna.messages(1), [1]);
}

/// Whoever logs in during a shutdown is sent away.
pub(crate) fn a_login_meets_a_shutdown() {
    let node = node();
    let threads = ["anna", "ben"].map(|name| {
        let node = node.clone();
        thread::spawn(move || {
            let mut link = Link::ask(&node, NOW, name, 1, None);
            link.run_until(|_, _| false);
            assert!(link.is_over());
        })
    });
    node.drain(Duration::ZERO);
    node.close();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(node.links(), 0);
}

/// A credential is given up while its login is judged: nobody stays who came by it.
pub(crate) fn a_login_meets_the_end_of_its_credential() {
    let node = node();
    let coming = node.clone();
    let anna = thread::spawn(move || {
        let mut link = Link::ask(&coming, NOW, "anna", 1, None);
        link.run_until(|_, _| false);
        assert!(link.is_over());
    });
    node.revoke(NOW, &engine("anna").user, 1);
    anna.join().unwrap();
    assert_eq!(node.online(), 0);
}

/// What the server's application sends certainly has its one outcome, while its receiver comes and goes.
pub(crate) fn the_server_hears_what_became_of_what_it_sent() {
    let node = node();
    let mut anna = Link::join(&node, "anna");
    let serving = node.clone();
    let server = thread::spawn(move || {
        let to = To::Device(engine("anna").user, DeviceKind::PHONE);
        let sends = [(), ()].map(|()| serving.send_certainly(NOW, &to, 9, b"hello", Duration::from_secs(5)).unwrap());
        let (bell, waker) = Bell::new();
        let mut acked = Vec::new();
        while acked.len() < sends.len() {
            serving.register_outcomes(&waker);
            match serving.poll_outcome(NOW) {
                Some(DeskEvent::Acked { id }) => acked.push(id),
                Some(other) => panic!("{other:?}"),
                None => bell.wait(),
            }
        }
        assert_eq!(acked, sends);
    });
    let mut acks = 0;
    anna.run_until(|conn, frame| {
        if let Frame::Certain { envelope, .. } = frame {
            let from = engine("anna");
            let ack = Envelope::new(envelope.from, Address::of_engine(&from), envelope.id);
            conn.handle_message(NOW, Frame::Ack { envelope: ack }.to_bytes(Header::default()).expect("an ack"));
            acks += 1;
        }
        acks == 2
    });
    server.join().unwrap();
}
