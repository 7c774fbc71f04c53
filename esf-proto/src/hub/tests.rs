//! Places and numbers of logins, what is remembered of them, and lists. What becomes of frames is in `relay/tests.rs`.

use alloc::{rc::Rc, sync::Arc};
use core::{cell::RefCell, time::Duration};
use std::vec::Vec;

use super::{Hub, Place, Stage};
use crate::{
    close::CloseReason,
    failure::Failure,
    ids::{DeviceKind, Engine},
    login::{ResumeSecret, Rights},
    server::{
        Config, Copies, Counters, Desk, Generation, LoginClaim, Open, Outbox, Relogin, Session, TakeOver,
        testing::{Cell, SERVER_ID, Town, at, certain, claim, counted_kinds, engine, phone, plain, query, raw, to},
    },
    session::budget::Budget,
    time::UnixMillis,
    wire::{
        Address, Envelope, Flags, Frame, Kind, Method, RawFrame, Resume,
        requests::{OnlineUsers, PageQuery},
    },
};

mod crowds;

fn automatic(engine: &Engine, attempt: u32, login_number: u64) -> LoginClaim {
    LoginClaim { attempt, interactive: false, login_number, ..claim(engine) }
}

fn ignore_new() -> Town {
    Town::new(Config { relogin: Relogin::IgnoreNew, ..Config::default() })
}

fn number(cell: &Cell) -> u64 {
    cell.session.borrow().login_number()
}

fn id(cell: &Cell) -> crate::ids::SessionId {
    cell.session.borrow().id()
}

// Places.

#[test]
fn the_same_engine_finds_its_session_and_an_older_attempt_is_stale() {
    let mut town = Town::new(Config::default());
    let ann = phone("ann");
    let cell = town.join(&ann);
    let found = town.login(&automatic(&ann, 3, 0), Stage::First, &[]);
    assert!(matches!(found, Place::Same { handle } if id(&handle) == id(&cell)));
    for attempt in [1, 2, 3] {
        assert!(matches!(town.login(&automatic(&ann, attempt, 0), Stage::First, &[]), Place::Stale), "{attempt}");
    }
    assert_eq!(town.counters.attempts_stale.get(), 3);
}

#[test]
fn a_newer_login_replaces_the_older_and_whoever_it_excludes() {
    let exclusive = [[DeviceKind::PHONE, DeviceKind::TABLET].into()].into();
    let mut town = Town::new(Config { exclusive, ..Config::default() });
    let old = town.join(&engine("ann", DeviceKind::TABLET, 1));
    let desktop = town.join(&engine("ann", DeviceKind::DESKTOP, 2));
    let place = town.login(&claim(&engine("ann", DeviceKind::PHONE, 3)), Stage::First, &[]);
    let Place::New { handle, replaced } = place else { panic!("{place:?}") };
    assert_eq!(replaced.iter().map(id).collect::<Vec<_>>(), [id(&old)]);
    let there: Vec<_> = town.hub.sessions_of("ann").iter().map(id).collect();
    assert_eq!(there, [id(&desktop), id(&handle)]);
    town.end(&old, CloseReason::PushedOut);
    assert_eq!((town.hub.sessions(), town.hub.online()), (2, 1), "its end takes out nobody else");
}

#[test]
fn an_automatic_login_with_an_older_number_stops() {
    let mut town = Town::new(Config::default());
    let first = town.join(&phone("ann"));
    let told = number(&first);
    let place = town.login(&claim(&engine("ann", DeviceKind::PHONE, 8)), Stage::First, &[]);
    let Place::New { replaced, .. } = place else { panic!("{place:?}") };
    assert_eq!(replaced.len(), 1);
    let back = town.login(&automatic(&engine("ann", DeviceKind::PHONE, 9), 1, told), Stage::First, &[]);
    assert!(matches!(back, Place::PushedOut));
    assert_eq!(town.counters.logins_superseded.get(), 1);
}

#[test]
fn a_pushed_out_engine_is_told_so_for_a_resume_window() {
    let mut town = Town::new(Config::default());
    let ann = phone("ann");
    let old = town.join(&ann);
    town.end(&old, CloseReason::PushedOut);
    let end = town.now + Duration::from_secs(60);
    town.now = at(60_999);
    assert!(matches!(town.login(&LoginClaim { attempt: 2, ..claim(&ann) }, Stage::First, &[]), Place::PushedOut));
    town.now = end;
    assert!(matches!(town.login(&LoginClaim { attempt: 3, ..claim(&ann) }, Stage::First, &[]), Place::New { .. }));
}

#[test]
fn an_older_login_that_stays_is_probed_and_one_that_is_silent_is_replaced() {
    let mut town = ignore_new();
    let old = town.join(&phone("ann"));
    let newer = claim(&engine("ann", DeviceKind::PHONE, 8));
    let place = town.login(&newer, Stage::First, &[]);
    assert!(matches!(place, Place::Probe { session, .. } if session == id(&old)));
    assert_eq!(town.hub.sessions(), 1, "nothing has changed");
    let place = town.login(&newer, Stage::Waited, &[id(&old)]);
    assert!(matches!(place, Place::New { replaced, .. } if replaced.len() == 1));
}

#[test]
fn every_older_login_in_the_way_is_probed() {
    let (a, b, c) = (DeviceKind::PHONE, DeviceKind::TABLET, DeviceKind::DESKTOP);
    let exclusive = [[a, b].into(), [b, c].into()].into();
    let mut town = Town::new(Config { relogin: Relogin::IgnoreNew, exclusive, ..Config::default() });
    let (dead, alive) = (town.join(&engine("ann", a, 1)), town.join(&engine("ann", c, 2)));
    let place = town.login(&claim(&engine("ann", b, 3)), Stage::Waited, &[id(&dead)]);
    assert!(matches!(place, Place::Probe { session, .. } if session == id(&alive)));
}

#[test]
fn an_older_login_without_a_link_is_not_probed() {
    let mut town = ignore_new();
    let old = town.join(&phone("ann"));
    town.detach(&old);
    let place = town.login(&claim(&engine("ann", DeviceKind::PHONE, 8)), Stage::First, &[]);
    assert!(matches!(place, Place::New { replaced, .. } if replaced.len() == 1));
    assert_eq!(town.hub.poll_timeout(), None, "nor waits its window for anybody");
}

#[test]
fn logins_that_take_no_messages_are_nobodys_target_and_not_too_many() {
    let mut town = Town::new(Config { max_commands: 2, ..Config::default() });
    let command = |instance| LoginClaim { takes_messages: false, ..claim(&engine("ann", DeviceKind::PHONE, instance)) };
    let cells = [town.join_with(&command(1)), town.join_with(&command(2))];
    assert!(matches!(town.login(&command(3), Stage::First, &[]), Place::TooMany));
    assert!(!town.hub.is_online("ann"));
    assert_eq!((town.hub.online(), town.hub.sessions()), (0, 2));
    let bob = phone("bob");
    let other = town.join(&bob);
    town.frame(&other, certain(&bob, Address::User { user: "ann" }, 1, 1_000));
    assert_eq!(town.failures(&other), [(1, Failure::Offline)]);
    // It may send, and its answer finds it.
    town.frame(&cells[0], certain(&engine("ann", DeviceKind::PHONE, 1), Address::User { user: "bob" }, 1, 1_000));
    assert_eq!(counted_kinds(&town.received(&other)), [Kind::Certain]);
    let ack = crate::server::testing::ack(&bob, &engine("ann", DeviceKind::PHONE, 1), 1);
    town.frame(&other, ack);
    assert_eq!(counted_kinds(&town.received(&cells[0])), [Kind::Ack]);
    for cell in &cells {
        town.end(cell, CloseReason::LoggedOff);
    }
    assert_eq!(town.hub.sessions(), 1);
}

// Login numbers.

#[test]
fn a_login_number_is_the_clock_or_one_above_the_last() {
    let mut town = Town::new(Config::default());
    town.wall = UnixMillis(5_000);
    let first = town.join(&phone("ann"));
    assert_eq!(number(&first), 5_000);
    town.wall = UnixMillis(4_000);
    let place = town.login(&claim(&engine("ann", DeviceKind::PHONE, 8)), Stage::First, &[]);
    assert!(matches!(place, Place::New { handle, .. } if number(&handle) == 5_001));
    // What a client has heard from an earlier life of the server counts too.
    let told = LoginClaim { login_number: 9_000, ..claim(&phone("bob")) };
    assert_eq!(number(&town.join_with(&told)), 9_001);
}

#[test]
fn a_number_above_what_can_be_told_is_not_believed_and_none_is_made() {
    let mut town = Town::new(Config::default());
    let liar = LoginClaim { login_number: (1 << 53) + 1, ..claim(&phone("ann")) };
    assert_eq!(number(&town.join_with(&liar)), 1_000);
    let last = LoginClaim { login_number: 1 << 53, ..claim(&phone("bob")) };
    assert_eq!(number(&town.join_with(&last)), 1 << 53);
    let command = LoginClaim { login_number: u64::MAX, takes_messages: false, ..claim(&phone("eve")) };
    assert_eq!(number(&town.join_with(&command)), 0);
}

#[test]
fn an_automatic_login_keeps_its_number() {
    let mut town = Town::new(Config::default());
    assert_eq!(number(&town.join_with(&automatic(&phone("ann"), 4, 70))), 70);
}

// Memory.

#[test]
fn the_last_attempt_of_an_ended_login_is_kept_for_a_minute() {
    let mut town = Town::new(Config { resume_window: Duration::from_secs(5), ..Config::default() });
    let ann = phone("ann");
    let cell = town.join_with(&automatic(&ann, 9, 0));
    town.end(&cell, CloseReason::LoggedOff);
    assert!(matches!(town.login(&automatic(&ann, 9, 0), Stage::First, &[]), Place::Stale));
    let forgotten = town.now + Duration::from_secs(60);
    assert_eq!(town.hub.poll_timeout(), Some(forgotten));
    town.now = forgotten;
    assert!(town.hub.poll_due(forgotten).is_none());
    assert_eq!(town.hub.poll_timeout(), None);
    assert!(matches!(town.login(&automatic(&ann, 9, 0), Stage::First, &[]), Place::New { .. }));
}

/// Also one whose takeover failed, so that the session itself never had it.
#[test]
fn an_attempt_that_could_not_resume_is_remembered_after_the_end_of_its_session() {
    let mut town = Town::new(Config::default());
    let ann = phone("ann");
    let cell = town.join(&ann);
    let resume = Some(Resume { secret: ResumeSecret([1; 16]), received: 9 });
    let impossible = LoginClaim { resume, ..automatic(&ann, 5, 0) };
    assert!(matches!(town.login(&impossible, Stage::First, &[]), Place::Same { .. }));
    let outcome = cell.session.borrow_mut().take_over(&impossible, ResumeSecret([2; 16]));
    assert_eq!(outcome, TakeOver::Violation);
    town.end(&cell, CloseReason::NetworkInterrupted);
    assert!(matches!(town.login(&automatic(&ann, 5, 0), Stage::First, &[]), Place::Stale));
    assert!(matches!(town.login(&automatic(&ann, 6, 0), Stage::First, &[]), Place::New { .. }));
}

#[test]
fn what_an_engine_has_sent_to_the_server_is_not_run_twice_after_a_fresh_login() {
    let mut town = Town::new(Config::default());
    let ann = phone("ann");
    let server = Address::Server { instance: 0 };
    let cell = town.join(&ann);
    town.frame(&cell, certain(&ann, server, 1, 1_000));
    town.end(&cell, CloseReason::Superseded);
    let cell = town.join_with(&automatic(&ann, 2, 0));
    town.frame(&cell, certain(&ann, server, 1, 1_000));
    assert_eq!(counted_kinds(&town.received(&cell)), [Kind::Ack]);
    assert!(cell.session.borrow_mut().poll_message().is_none());
}

#[test]
fn windows_that_come_out_of_order_leave_the_last_one() {
    let mut town = Town::new(Config::default());
    let ann = phone("ann");
    let cell = town.join(&ann);
    let party =
        super::Party { session: id(&cell), origin: id(&cell), engine: &ann, rights: Rights::NONE, handle: &cell };
    town.hub.set_window(&party, 3, Some(at(300)));
    town.hub.set_window(&party, 1, Some(at(100)));
    town.hub.set_window(&party, 2, None);
    assert_eq!(town.hub.poll_timeout(), Some(at(300)));
    town.hub.set_window(&party, 4, None);
    assert_eq!(town.hub.poll_timeout(), None);
    town.hub.remove(at(0), &party, CloseReason::LoggedOff, 1, Default::default());
    town.hub.set_window(&party, 5, Some(at(500)));
    assert_eq!(town.hub.poll_timeout(), Some(at(60_000)), "only the memory of it is left");
}

// Lists.

fn request(from: &Engine, id: u64, method: Method, cursor: &[u8], body: &[u8]) -> RawFrame {
    let envelope = Envelope::new(Address::Server { instance: 0 }, Address::of_engine(from), id);
    raw(&Frame::Request { envelope, ttl_ms: 1_000, method: method as u16, cursor, body }, Flags::default())
}

#[test]
fn a_list_comes_in_pages_and_names_everybody_once() {
    let mut town = Town::new(Config::default());
    let admin = phone("admin");
    let cell = town.join_with(&LoginClaim { rights: Rights::LIST, ..claim(&admin) });
    for n in 0..25 {
        town.join(&phone(&std::format!("user{n:02}")));
    }
    let mut query = bytes::BytesMut::new();
    PageQuery { limit: 10 }.encode(&mut query);
    let (mut cursor, mut names, mut pages) = (Vec::new(), Vec::new(), 0);
    loop {
        pages += 1;
        town.frame(&cell, request(&admin, pages, Method::OnlineUsers, &cursor, &query));
        let frames = town.received(&cell);
        let answer = frames.iter().find(|frame| frame.kind() == Some(Kind::Response)).unwrap();
        let Ok(Frame::Response { status: Ok(()), cursor: next, body, .. }) = answer.decode() else { panic!("a page") };
        names.extend(OnlineUsers::decode(body).unwrap().map(|user| std::string::String::from(user.user)));
        cursor = next.to_vec();
        if cursor.is_empty() {
            break;
        }
    }
    let mut expected: Vec<_> = (0..25).map(|n| std::format!("user{n:02}")).collect();
    expected.insert(0, "admin".into());
    assert_eq!((pages, names), (3, expected));
}

#[test]
fn a_request_without_the_right_or_with_a_wrong_body_is_refused() {
    let mut town = Town::new(Config::default());
    let ann = phone("ann");
    let cell = town.join(&ann);
    for (id, method, body) in
        [(1, Method::OnlineUsers, &b"\0\0"[..]), (2, Method::Kick, b"\x03bob"), (3, Method::Ping, b"x")]
    {
        town.frame(&cell, request(&ann, id, method, b"", body));
    }
    let frames = town.received(&cell);
    let status = frames.iter().filter_map(|frame| match frame.decode() {
        Ok(Frame::Response { status, .. }) => Some(status),
        _ => None,
    });
    let refused = Err(Failure::NotAllowed);
    assert_eq!(status.collect::<Vec<_>>(), [refused, refused, Err(Failure::Malformed)]);
    assert_eq!((town.counters.not_allowed.get(), town.counters.requests_malformed.get()), (2, 1));
}

#[test]
fn a_kick_ends_every_session_of_a_user() {
    let mut town = Town::new(Config::default());
    let admin = phone("admin");
    let cell = town.join_with(&LoginClaim { rights: Rights::KICK, ..claim(&admin) });
    let victim = town.join(&phone("bob"));
    let command = LoginClaim { takes_messages: false, ..claim(&engine("bob", DeviceKind::PHONE, 8)) };
    let command = town.join_with(&command);
    town.frame(&cell, request(&admin, 1, Method::Kick, b"", b"\x03bob"));
    for gone in [&victim, &command] {
        let closed = gone.session.borrow_mut().poll_close(Generation::FIRST);
        assert_eq!(closed, Some(CloseReason::Kicked));
    }
    town.frame(&cell, request(&admin, 2, Method::Kick, b"", b"\x03bob"));
    let frames = town.received(&cell);
    let status: Vec<_> = frames
        .iter()
        .filter_map(|frame| match frame.decode() {
            Ok(Frame::Response { envelope, status, .. }) => Some((envelope.id, status)),
            _ => None,
        })
        .collect();
    assert_eq!(status, [(1, Ok(())), (2, Err(Failure::Offline))]);
}

// One thread.

#[test]
fn a_server_on_one_thread_needs_no_more_than_cells() {
    let (config, counters) = (Arc::new(Config::default()), Arc::new(Counters::default()));
    let global = Arc::new(Budget::new(config.global_budget));
    let own = RefCell::new(Desk::new(&config, &counters, &global, SERVER_ID).1);
    let mut hub = Hub::new(&config, &counters, SERVER_ID, (1, 2));
    let (ann, bob) = (phone("ann"), phone("bob"));
    let [mut first, mut second] = [&ann, &bob].map(|engine| {
        let (claim, mut made) = (claim(engine), None);
        hub.login(at(0), UnixMillis(0), &claim, Stage::First, &[], |entry| {
            let new = entry.session(&claim, ResumeSecret([1; 16]), SERVER_ID);
            let (session, outbox) = Session::new(&config, &counters, &global, new);
            made.insert((session, Rc::new(RefCell::new(outbox)))).1.clone()
        });
        made.unwrap()
    });
    first.0.handle_frame(at(0), Generation::FIRST, query(&ann, to("bob"), 1, 9, b"?"));
    first.0.handle_frame(at(0), Generation::FIRST, plain(&ann, to("nobody"), Flags::TELL, 2, b"m"));
    hub.settle(at(0), &mut first.0, &first.1, &own);
    let received = |(session, outbox): &mut (Session, Rc<RefCell<Outbox>>)| {
        let mut outbox = outbox.borrow_mut();
        let frames = core::iter::from_fn(|| session.poll_transmit(at(0), Generation::FIRST, &mut outbox));
        counted_kinds(&frames.map(|frame| RawFrame::parse(frame).unwrap()).collect::<Vec<_>>())
    };
    assert_eq!((received(&mut second), received(&mut first)), ([Kind::Query].into(), [Kind::Failure].into()));
    // What the server's own application asked is answered in its cell.
    let asked = Open::new(7, Kind::Certain, Copies::One(second.0.origin()), at(9), 80, 0);
    own.borrow_mut().ask(asked).unwrap();
    let envelope = Envelope::new(Address::Server { instance: SERVER_ID.0 }, Address::of_engine(&bob), 7);
    second.0.handle_frame(at(0), Generation::FIRST, raw(&Frame::Ack { envelope }, Flags::default()));
    hub.settle(at(0), &mut second.0, &second.1, &own);
    assert_eq!(own.borrow_mut().take(at(0)).map(|frame| RawFrame::parse(frame).unwrap().kind()), Some(Some(Kind::Ack)));
}
