use std::{sync::Arc, task::Waker, time::Duration};

use bytes::Bytes;
use esf_proto::{
    close::CloseReason,
    failure::Failure,
    ids::{DeviceKind, Engine, GroupId, InstanceId, Source, To, UserId},
    login::{CredentialKind, ResumeSecret, Rights},
    server::{AppRequest, AppResponse, Config, Generation, LinkState},
    store::{JobId, Person, StoreRequest, StoreResponse},
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
    login_on(DeviceKind::PHONE, name, attempt, resume)
}

fn login_on(device: DeviceKind, name: &str, attempt: u32, resume: Option<Resume>) -> Bytes {
    let login = Login {
        instance: InstanceId(7),
        attempt,
        interactive: resume.is_none(),
        takes_messages: true,
        device,
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

/// A message to all devices of a user, whose sender wants to know if it comes to nothing.
fn to_user(from: &str, to: &str, id: u64) -> Bytes {
    let from = engine(from);
    let envelope = Envelope::new(Address::User { user: to }, Address::of_engine(&from), id);
    let frame = Frame::Send { envelope, info_type: 9, body: b"hello" };
    frame.to_bytes(Header::flags(Flags::TELL)).expect("a send")
}

/// The numbers of the messages, and of the failures, that a link hands out.
fn numbers(conn: &mut Conn) -> (Vec<u64>, Vec<(u64, Failure)>) {
    let (mut messages, mut failures) = (Vec::new(), Vec::new());
    for frame in sent(conn) {
        match frame.decode() {
            Ok(Frame::Send { envelope, .. }) => messages.push(envelope.id),
            Ok(Frame::Failure { envelope, code, .. }) => failures.push((envelope.id, code)),
            _ => {}
        }
    }
    (messages, failures)
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

#[test]
fn messages_follow_whoever_comes_and_goes() {
    let node = node();
    let (mut anna, mut ben) = (join(&node, "anna"), join(&node, "ben"));
    let mut next = 0;
    let mut say = |ben: &mut Conn| {
        let mut three: Vec<_> = (next + 1..next + 4).map(|id| to_user("ben", "anna", id)).collect();
        next += 3;
        ben.handle_batch(NOW, &mut three);
    };
    say(&mut ben);
    assert_eq!(numbers(&mut anna).0, [1, 2, 3]);
    // A second device, from the next message on.
    let mut browser = Conn::accept(&node, NOW);
    browser.handle_message(NOW, login_on(DeviceKind::BROWSER, "anna", 1, None));
    judge(&mut browser, Rights::NONE);
    say(&mut ben);
    assert_eq!((numbers(&mut anna).0, numbers(&mut browser).0), (vec![4, 5, 6], vec![4, 5, 6]));
    // The first leaves for good.
    anna.handle_closed(NOW, Some(CloseReason::LoggedOff.websocket_code()));
    sent(&mut ben);
    say(&mut ben);
    assert_eq!((numbers(&mut anna).0, numbers(&mut browser).0), (vec![], vec![7, 8, 9]));
    assert_eq!(numbers(&mut ben).1, []);
    // Nobody is left.
    browser.handle_closed(NOW, Some(CloseReason::LoggedOff.websocket_code()));
    sent(&mut ben);
    say(&mut ben);
    assert_eq!(numbers(&mut ben).1, [(10, Failure::Offline), (11, Failure::Offline), (12, Failure::Offline)]);
    // Somebody is there again.
    let mut anna = join(&node, "anna2");
    let mut again = Conn::accept(&node, NOW);
    again.handle_message(NOW, login("anna", 2, None));
    judge(&mut again, Rights::NONE);
    say(&mut ben);
    ben.handle_message(NOW, to_user("ben", "anna2", 16));
    ben.handle_message(NOW, to_user("ben", "anna2", 17));
    assert_eq!((numbers(&mut again).0, numbers(&mut anna).0), (vec![13, 14, 15], vec![16, 17]));
    sent(&mut ben);
    assert_eq!(node.counters().relayed.get(), 3 + 3 + 3 + 3 + 2, "the copies for two devices count once");
}

#[test]
fn of_messages_that_came_together_each_goes_where_it_should() {
    let node = node();
    let (mut anna, mut ben, mut carl) = (join(&node, "anna"), join(&node, "ben"), join(&node, "carl"));
    let whom = ["anna", "anna", "carl", "nobody", "nobody", "anna", "ben", "ben", "carl"];
    let mut batch: Vec<_> = (1..).zip(whom).map(|(id, to)| to_user("ben", to, id)).collect();
    ben.handle_batch(NOW, &mut batch);
    assert_eq!((numbers(&mut anna).0, numbers(&mut carl).0), (vec![1, 2, 6], vec![3, 9]));
    assert_eq!(numbers(&mut ben), (vec![7, 8], vec![(4, Failure::Offline), (5, Failure::Offline)]));
    assert_eq!(node.counters().relayed.get(), 7);
}

#[test]
fn a_message_that_finds_no_room_is_told_also_on_the_way_of_the_last_one() {
    let node = node();
    let (anna, mut ben) = (join(&node, "anna"), join(&node, "ben"));
    let from = engine("ben");
    let envelope = Envelope::new(Address::User { user: "anna" }, Address::of_engine(&from), 5);
    let large = Frame::Send { envelope, info_type: 9, body: &vec![7; 300 << 10] };
    let large = large.to_bytes(Header::flags(Flags::TELL)).expect("a send");
    while node.poll_event().is_some() {}
    ben.handle_batch(NOW, &mut vec![large; 8]);
    // Half of 2 MiB is one sender's.
    assert_eq!(numbers(&mut ben).1, [(5, Failure::Busy); 5]);
    let events = std::iter::from_fn(|| node.poll_event());
    let busy = |event: &ServerEvent| matches!(event, ServerEvent::TransmitFailed { failure: Failure::Busy, .. });
    assert_eq!(events.filter(busy).count(), 5);
    assert_eq!((node.counters().busy.get(), node.counters().relayed.get()), (5, 3));
    drop(anna);
}

#[test]
fn a_sender_does_not_hold_on_to_whoever_it_wrote_to() {
    let node = node();
    let (anna, mut ben) = (join(&node, "anna"), join(&node, "ben"));
    let cell = Arc::downgrade(anna.cell().expect("a session"));
    let held = cell.strong_count();
    for how in 0..2 {
        ben.handle_message(NOW, to_user("ben", "anna", 1));
        ben.handle_message(NOW, to_user("ben", "anna", 2));
        assert_eq!(cell.strong_count(), held + 1);
        match how {
            0 => ben.handle_timeout(NOW + Duration::from_millis(100)),
            _ => ben.handle_closed(NOW, None),
        }
        assert_eq!(cell.strong_count(), held, "{how}");
    }
}

#[test]
fn a_second_answer_of_a_store_is_nobodys() {
    let node = node_with(Config { store: true, ..Config::default() });
    let waker = Arc::new(Flag::default());
    node.register_store(&Waker::from(waker.clone()));
    let _anna = join(&node, "anna");
    assert!(waker.take(), "there is something to ask");
    let (job, request) = node.poll_request().expect("who this is");
    assert!(matches!(request, StoreRequest::Person { user, .. } if *user == *"anna"));
    for unasked in [0, 1, 2] {
        node.handle_response(NOW, job, Ok(StoreResponse::Person(Person::default())));
        let counted = node.counters().iter().find(|(name, _)| *name == "store_unasked");
        assert_eq!(counted, Some(("store_unasked", unasked)));
    }
}

fn to_group(from: &str, id: u64) -> Bytes {
    let from = engine(from);
    let envelope = Envelope::new(Address::Group { group: "all" }, Address::of_engine(&from), id);
    Frame::Broadcast { envelope, info_type: 9, body: b"hello" }.to_bytes(Header::default()).expect("a broadcast")
}

/// Logs them in, and gives what the store is asked of each.
fn members(node: &Arc<Node>, count: usize) -> (Vec<Conn>, Vec<JobId>) {
    let members = (0..count).map(|number| join(node, &format!("u{number:03}"))).collect();
    let asked = std::iter::from_fn(|| node.poll_request()).map(|(job, _)| job).collect();
    (members, asked)
}

/// The store says that somebody is in the group `all`.
fn is_in_all(node: &Node, job: JobId) {
    let groups = vec![GroupId::parse("all").expect("a group")];
    node.handle_response(NOW, job, Ok(StoreResponse::Person(Person { exists: true, groups, ..Person::default() })));
}

/// The numbers of the broadcasts that a link hands out.
fn broadcasts(conn: &mut Conn) -> Vec<u64> {
    let frames = sent(conn);
    let number = |frame: &RawFrame| match frame.decode() {
        Ok(Frame::Broadcast { envelope, .. }) => Some(envelope.id),
        _ => None,
    };
    frames.iter().filter_map(number).collect()
}

#[test]
fn a_broadcast_to_few_goes_at_once_and_one_to_many_in_turns() {
    for (count, at_once) in [(64, true), (65, false)] {
        let node = node_with(Config { store: true, ..Config::default() });
        let (mut members, asked) = members(&node, count);
        asked.into_iter().for_each(|job| is_in_all(&node, job));
        members[0].handle_message(NOW, to_group("u000", 1));
        assert_eq!(broadcasts(&mut members[1]).len(), usize::from(at_once), "{count}");
        assert_eq!(node.poll_timeout() == Some(Instant::ZERO), !at_once);
        let turns = [1, 2].map(|_| {
            node.handle_timeout(NOW);
            broadcasts(&mut members[count - 1]).len()
        });
        assert_eq!(turns, if at_once { [1, 0] } else { [0, 1] }, "{count}");
        assert_ne!(node.poll_timeout(), Some(Instant::ZERO));
    }
}

#[test]
fn a_broadcast_to_few_overtakes_none_of_its_sender_that_waits() {
    let node = node_with(Config { store: true, ..Config::default() });
    let (mut members, asked) = members(&node, 3);
    asked[1..].iter().for_each(|job| is_in_all(&node, *job));
    members[0].handle_message(NOW, to_group("u000", 1));
    members[0].handle_message(NOW, to_group("u000", 2));
    node.handle_timeout(NOW);
    assert!(broadcasts(&mut members[1]).is_empty(), "nobody knows yet whether it may");
    is_in_all(&node, asked[0]);
    members[0].handle_message(NOW, to_group("u000", 3));
    assert!(broadcasts(&mut members[1]).is_empty(), "the third waits behind the first");
    while node.poll_timeout() == Some(Instant::ZERO) {
        node.handle_timeout(NOW);
    }
    assert_eq!(broadcasts(&mut members[1]), [1, 2, 3]);
}
