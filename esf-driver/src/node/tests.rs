use std::{sync::Arc, task::Waker, time::Duration};

use bytes::Bytes;
use esf_proto::{
    close::CloseReason,
    failure::Failure,
    ids::{DeviceKind, Engine, InstanceId, Source, To, UserId},
    login::{CredentialKind, ResumeSecret, Rights},
    server::{AppRequest, AppResponse, Config, Generation, LinkState},
    time::{Instant, UnixMillis},
    wire::{Address, Credential, Envelope, Flags, Frame, Frames, Header, Kind, Login, LoginResult, RawFrame, Resume},
};

use super::{Cell, Conn, Inputs, Node, ServerEvent, cell::LinkWaker, lock};
use crate::{
    endpoint::{Endpoint, LinkAction},
    testing::Flag,
};

const NOW: Instant = Instant::from_micros(1_000_000);

fn node() -> Arc<Node> {
    node_with(Config::default())
}

fn node_with(config: Config) -> Arc<Node> {
    let mut secret = 0u128;
    let secrets = Box::new(move || {
        secret += 1;
        secret.to_le_bytes()
    });
    let wall = Box::new(|| UnixMillis(1_000));
    Node::new(config, Inputs { instance: InstanceId(900), keys: (1, 2), secrets, wall, tickets: Box::new(()) })
}

fn engine(name: &str) -> Engine {
    let user = UserId::parse(name, 255).expect("a name");
    Engine { user, device: DeviceKind::PHONE, instance: InstanceId(7) }
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

fn plain(from: &Engine, to: &str, flags: Flags) -> Bytes {
    let to = Address::Device { user: to, device: DeviceKind::PHONE };
    let frame = Frame::Send { envelope: Envelope::new(to, Address::of_engine(from), 3), info_type: 9, body: b"hello" };
    frame.to_bytes(Header { flags, ..Header::default() }).expect("a send")
}

fn judge(conn: &mut Conn, rights: Rights) {
    while let Some(AppRequest::Authenticate(_)) = conn.poll_request() {
        conn.handle_response(NOW, AppResponse::Accept(rights.into()));
    }
}

fn join(node: &Arc<Node>, name: &str) -> Conn {
    let mut conn = Conn::accept(node, NOW);
    conn.handle_message(NOW, login(name, 1, None));
    judge(&mut conn, Rights::NONE);
    assert_eq!(conn.state(), LinkState::Attached);
    conn
}

fn sent(conn: &mut Conn) -> Vec<RawFrame> {
    let frames = std::iter::from_fn(|| conn.poll_transmit(NOW));
    frames.flat_map(|message| Frames::new(message, usize::MAX)).map(|frame| frame.expect("a frame")).collect()
}

fn secret(frames: &[RawFrame]) -> ResumeSecret {
    let secret = frames.iter().find_map(|frame| match frame.decode() {
        Ok(Frame::LoginResult(LoginResult::Succeed(welcome))) => Some(welcome.secret),
        _ => None,
    });
    secret.expect("a welcome")
}

fn waker() -> (Arc<LinkWaker>, Arc<Flag>) {
    let (link, flag) = (Arc::new(LinkWaker::default()), Arc::new(Flag::default()));
    link.register(&Waker::from(flag.clone()));
    (link, flag)
}

#[test]
fn the_largest_frame_is_no_smaller_than_a_login_may_be() {
    assert_eq!(node_with(Config { max_frame: 1, ..Config::default() }).config().max_frame, 8192);
    assert_eq!(node_with(Config { max_frame: 8193, ..Config::default() }).config().max_frame, 8193);
}

#[test]
fn of_two_takeovers_the_newer_link_is_woken_in_whatever_order_they_come() {
    let node = node();
    let anna = join(&node, "anna");
    let cell: Arc<Cell> = anna.cell().expect("a session").clone();
    let (second, third) = (Generation::FIRST.next(), Generation::FIRST.next().next());
    let ((newer, newer_flag), (older, older_flag)) = (waker(), waker());
    cell.attach(third, &newer);
    cell.attach(second, &older);
    assert!(older_flag.take(), "it learns that it is fenced");
    older.register(&Waker::from(older_flag.clone()));
    let mut ben = join(&node, "ben");
    ben.handle_message(NOW, plain(&engine("ben"), "anna", Flags::default()));
    assert!(newer_flag.take(), "the frame is for the newer link");
    assert!(!older_flag.take());
}

#[test]
fn a_link_that_is_dropped_anywhere_leaves_nothing_behind() {
    let node = node();
    drop(Conn::accept(&node, NOW));
    let mut asked = Conn::accept(&node, NOW);
    asked.handle_message(NOW, login("anna", 1, None));
    drop(asked);
    assert_eq!((node.links(), node.online(), node.poll_timeout()), (0, 0, None));
    let attached = join(&node, "anna");
    drop(attached);
    let window = NOW + Duration::from_secs(60);
    assert_eq!((node.links(), node.online(), node.poll_timeout()), (0, 1, Some(window)));
    node.handle_timeout(window);
    assert_eq!((node.online(), node.held_bytes()), (0, 0));
}

#[test]
fn a_plain_message_that_was_held_is_told_to_the_application_when_its_session_ends() {
    let node = node();
    let anna = join(&node, "anna");
    let mut ben = join(&node, "ben");
    ben.handle_message(NOW, plain(&engine("ben"), "anna", Flags::TELL));
    drop(anna);
    while node.poll_event().is_some() {}
    node.handle_timeout(NOW + Duration::from_secs(60));
    let to = To::Device(engine("anna").user, DeviceKind::PHONE);
    let (from, failure) = (Source::Engine(engine("ben")), Failure::Offline);
    let events: Vec<ServerEvent> = std::iter::from_fn(|| node.poll_event()).collect();
    assert!(events.contains(&ServerEvent::TransmitFailed { from, to, info_type: 9, failure }), "{events:?}");
    let kinds: Vec<_> = sent(&mut ben).iter().filter_map(RawFrame::kind).collect();
    assert!(kinds.contains(&Kind::Failure), "{kinds:?}");
}

#[test]
fn a_resumed_session_may_do_what_its_newer_login_may() {
    let node = node();
    let mut first = join(&node, "anna");
    let resume = Some(Resume { secret: secret(&sent(&mut first)), received: 0 });
    let mut second = Conn::accept(&node, NOW);
    second.handle_message(NOW, login("anna", 2, resume));
    judge(&mut second, Rights::KICK);
    assert_eq!(second.cell().expect("a session").rights(), Rights::KICK);
    assert!(
        sent(&mut first)
            .iter()
            .any(|frame| matches!(frame.decode(), Ok(Frame::Close { reason: CloseReason::Superseded, .. })))
    );
    assert_eq!(first.poll_action(), Some(LinkAction::Close { reason: Some(CloseReason::Superseded) }));
    first.handle_closed(NOW, None);
    assert!(sent(&mut first).is_empty() && first.poll_action().is_none() && first.poll_timeout().is_none());
    assert_eq!(lock(&node.links).len(), 2);
    drop(first);
    assert_eq!((node.links(), node.online()), (1, 1), "the end of the older link changes nothing");
}
