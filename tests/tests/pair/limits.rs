//! Budgets and tables: what "full" means, and that memory is given back.

use std::time::Duration;

use bytes::Bytes;
use esf_driver::endpoint::Endpoint;
use esf_proto::{
    client::{Config as ClientConfig, Event, MessageOptions, Policy, SendError, SendOptions},
    close::CloseReason,
    failure::Failure,
    login::Rights,
    server::{AppResponse, Config},
    wire::{Address, Envelope, Flags, Frame, Kind, RawFrame},
};
use esf_tests::{
    by_hand::{bytes_of, disguised, flagged},
    bystanders::Bystanders,
    raw::{LoginWith, RawLink},
    world::{Answering, Outcome, World, client_config, user},
};

const KIB: usize = 1024;

/// A link that reads nothing of what it is sent.
fn deaf(world: &mut World, name: &str, instance: u64) -> RawLink {
    let mut link = RawLink::join(world, name, instance);
    link.take_received();
    link.reads = false;
    link
}

fn certain(from: &RawLink, to: &str, id: u64, size: usize) -> Bytes {
    let body = vec![b'.'; size];
    bytes_of(&Frame::Certain { envelope: from.envelope(to, id), ttl_ms: 30_000, info_type: 1, body: &body })
}

fn query(from: &RawLink, to: &str, id: u64, size: usize) -> Bytes {
    let body = vec![b'.'; size];
    bytes_of(&Frame::Query { envelope: from.envelope(to, id), ttl_ms: 30_000, info_type: 1, body: &body })
}

/// What came to nothing, since the last call.
fn failures(link: &mut RawLink) -> Vec<(u64, Failure)> {
    let told = |frame: &RawFrame| match frame.decode() {
        Ok(Frame::Failure { envelope, code, .. }) => Some((envelope.id, code)),
        _ => None,
    };
    link.take_received().iter().filter_map(told).collect()
}

// The budget of a session.

#[test]
fn a_session_holds_no_more_than_its_budget_and_what_is_over_it_is_busy() {
    let mut world = World::with(Config { max_frame: 64 << 10, budget: 256 * KIB, ..Config::default() });
    let others = Bystanders::join(&mut world);
    let mut slow = deaf(&mut world, "slow", 1);
    let mut senders: Vec<RawLink> = (0..4).map(|n| RawLink::join(&mut world, &format!("s{n}"), 10 + n)).collect();
    let mut refused = 0;
    for id in 1..=40 {
        for sender in &mut senders {
            let message = certain(sender, "slow", id, 4 * KIB);
            sender.push(&mut world, message);
            refused += failures(sender).len();
        }
    }
    let accepted = 160 - refused;
    let taken = accepted * (4 * KIB);
    assert!((240 * KIB..=256 * KIB).contains(&taken), "{taken} bytes were taken");
    assert_eq!((world.counter("busy"), world.counter("busy_budget")), (refused as u64, refused as u64));
    // Beside it only an answer, or the room for one, to each message, and what each sender borrows ahead.
    assert!(world.node.held_bytes() <= 256 * KIB + 160 * 128 + 4 * 8 * KIB);
    slow.reads = true;
    slow.pump(&mut world);
    assert!(slow.is_open());
    others.are_unharmed(&mut world, "a full session");
}

#[test]
fn a_session_that_waits_for_its_client_fills_within_its_budget_too() {
    let mut world = World::with(Config { max_frame: 64 << 10, budget: 256 * KIB, ..Config::default() });
    let (ann, ben) = (world.join("ann"), world.join("ben"));
    world.away(ann);
    let told: Vec<_> = (0..100).map(|_| world.send_certainly(ben, "ann", &"x".repeat(4 * KIB))).collect();
    world.advance(Duration::from_millis(200));
    let busy = told.iter().filter(|id| world.outcome(ben, **id) == Some(Outcome::Failed(Failure::Busy))).count();
    assert!((60..=75).contains(&busy), "one sender gets half of 256 KiB; {busy} of 100 were refused");
    assert!(world.node.held_bytes() <= 256 * KIB);
    world.back(ann);
    world.until_online(ann);
    world.advance(Duration::from_secs(1));
    assert_eq!(world.texts(ann).len(), 100 - busy);
    world.advance(Duration::from_secs(10));
    assert_eq!(world.node.held_bytes(), 0);
}

#[test]
fn the_budget_is_at_least_two_of_the_largest_frames() {
    let mut world = World::with(Config { max_frame: 64 << 10, budget: 1, ..Config::default() });
    let (ann, ben) = (world.join("ann"), world.join("ben"));
    let fixed = 80;
    let told = world.send_certainly(ann, "ben", &"x".repeat(64 * KIB - fixed));
    world.advance(Duration::from_millis(1));
    assert_eq!(world.outcome(ann, told), Some(Outcome::Acked));
    assert_eq!(world.texts(ben).len(), 1);
}

#[test]
fn an_empty_window_and_an_empty_queue_admit_one_frame_of_any_permitted_size() {
    let mut world = World::with(Config { window: 1 << 10, queue: 1 << 10, ..Config::default() });
    let (ann, ben) = (world.join("ann"), world.join("ben"));
    for to in ["ben", ""] {
        let told: Vec<_> = (0..3).map(|_| world.send_certainly(ann, to, &"x".repeat(100 * KIB))).collect();
        world.advance(Duration::from_secs(1));
        assert!(told.iter().all(|id| world.outcome(ann, *id) == Some(Outcome::Acked)), "to {to:?}");
    }
    assert_eq!((world.texts(ben).len(), world.inbox.len()), (3, 3));
}

#[test]
fn a_reply_that_does_not_fit_the_askers_budget_becomes_busy_in_the_room_that_was_kept() {
    let mut world = World::with(Config { max_frame: 64 << 10, budget: 256 * KIB, ..Config::default() });
    let (ann, ben) = (world.join("ann"), world.join("ben"));
    world.engine(ben).answering = Answering::Never;
    let mut slow = deaf(&mut world, "slow", 1);
    let ask = query(&slow, "ben", 5, 10);
    slow.push(&mut world, ask);
    let mut senders: Vec<RawLink> = (0..3).map(|n| RawLink::join(&mut world, &format!("s{n}"), 10 + n)).collect();
    for id in 1..=40 {
        for sender in &mut senders {
            let message = certain(sender, "slow", id, 4 * KIB);
            sender.push(&mut world, message);
        }
    }
    let (now, asked) = (world.now, world.engine(ben).queries.remove(0));
    world.session(ben).reply(now, asked.token, Ok(Bytes::from(vec![b'.'; 60 * KIB])));
    world.run();
    slow.reads = true;
    slow.pump(&mut world);
    assert_eq!(failures(&mut slow), [(5, Failure::Busy)]);
    assert!(world.is_online(ann) && world.is_online(ben));
}

// The budget of all together.

#[test]
fn where_all_sessions_together_are_full_those_that_hold_most_are_refused_first() {
    let config = Config { max_frame: 64 << 10, global_budget: 1024 * KIB, ..Config::default() };
    let mut world = World::with(config);
    let others = Bystanders::join(&mut world);
    let _large = deaf(&mut world, "large", 1);
    let _small = deaf(&mut world, "small", 2);
    let mut sender = RawLink::join(&mut world, "sender", 3);
    let refused_of = |to: &str, first: u64, count: u64, sender: &mut RawLink, world: &mut World| {
        for id in first..first + count {
            let message = certain(sender, to, id, 8 * KIB);
            sender.push(world, message);
        }
        failures(sender).len()
    };
    let refused = refused_of("large", 1, 100, &mut sender, &mut world);
    assert!((30..=45).contains(&refused), "it may hold as much as is left: {refused}");
    assert_eq!(refused_of("large", 101, 5, &mut sender, &mut world), 5);
    assert!(world.counter("busy_memory") >= 5, "and this is why");
    assert_eq!(refused_of("small", 201, 10, &mut sender, &mut world), 0, "one that holds little gets its room");
    assert!(world.node.held_bytes() <= 1024 * KIB);
    others.are_unharmed(&mut world, "a server that is nearly full");
}

// Tables.

#[test]
fn a_session_has_at_most_1024_open_of_which_256_are_queries() {
    let mut world = World::new();
    let others = Bystanders::join(&mut world);
    let _silent = RawLink::join(&mut world, "silent", 1);
    let mut asker = RawLink::join(&mut world, "asker", 2);
    for id in 1..=257 {
        let ask = query(&asker, "silent", id, 1);
        asker.push(&mut world, ask);
    }
    assert_eq!(failures(&mut asker), [(257, Failure::Busy)]);
    for id in 301..=301 + 768 {
        let message = certain(&asker, "silent", id, 1);
        asker.push(&mut world, message);
    }
    assert_eq!(failures(&mut asker), [(301 + 768, Failure::Busy)], "768 beside 256 queries");
    assert_eq!((world.counter("busy"), world.counter("busy_open")), (2, 2));
    // When their time is over, their places are free again.
    asker.pass(&mut world, Duration::from_secs(29));
    asker.send(&mut world, &Frame::Heartbeat { nonce: 1 });
    asker.pass(&mut world, Duration::from_secs(1));
    let over = failures(&mut asker);
    assert_eq!(over.len(), 1_024);
    assert!(over.iter().all(|(_, failure)| *failure == Failure::TimedOut));
    assert_eq!(world.counter("expired"), 1_024);
    others.are_unharmed(&mut world, "a full table");
}

#[test]
fn open_queries_of_a_session_hold_256_kib_and_a_first_one_any_size() {
    let mut world = World::new();
    let _silent = RawLink::join(&mut world, "silent", 1);
    let mut asker = RawLink::join(&mut world, "asker", 2);
    for (id, size) in [(1, 100), (2, 100), (3, 100), (4, 50)] {
        let ask = query(&asker, "silent", id, size * KIB);
        asker.push(&mut world, ask);
    }
    assert_eq!(failures(&mut asker), [(3, Failure::Busy)]);
    let _other_silent = RawLink::join(&mut world, "other-silent", 4);
    let mut other = RawLink::join(&mut world, "other", 3);
    for (id, size) in [(1, 300), (2, 1)] {
        let ask = query(&other, "other-silent", id, size * KIB);
        other.push(&mut world, ask);
    }
    assert_eq!(failures(&mut other), [(2, Failure::Busy)]);
}

#[test]
fn queries_that_wait_for_a_receiver_are_bounded_whoever_asks() {
    let mut world = World::new();
    let others = Bystanders::join(&mut world);
    let mut slow = deaf(&mut world, "slow", 1);
    let mut refused = 0;
    for n in 0..30 {
        let mut asker = RawLink::join(&mut world, &format!("asker{n}"), 10 + n);
        for id in 1..=10 {
            let ask = query(&asker, "slow", id, 1);
            asker.push(&mut world, ask);
        }
        refused += failures(&mut asker).len();
    }
    assert_eq!(refused, 300 - 256);
    assert_eq!(world.counter("busy_queries"), 300 - 256);
    slow.reads = true;
    slow.pump(&mut world);
    assert_eq!(slow.take_texts().len(), 256);
    others.are_unharmed(&mut world, "many queries");
}

#[test]
fn a_client_says_busy_to_more_than_256_open_queries() {
    let mut world = World::new();
    let ben = world.join("ben");
    world.engine(ben).answering = Answering::Never;
    let mut askers: Vec<RawLink> = (0..2).map(|n| RawLink::join(&mut world, &format!("a{n}"), 10 + n)).collect();
    for asker in &mut askers {
        for id in 1..=150 {
            let ask = query(asker, "ben", id, 1);
            asker.push(&mut world, ask);
        }
    }
    assert_eq!(failures(&mut askers[0]), []);
    let busy: Vec<_> = (107..=150).map(|id| (id, Failure::Busy)).collect();
    assert_eq!(failures(&mut askers[1]), busy);
    assert_eq!(world.session(ben).stats().queries_refused, 44);
}

#[test]
fn at_most_65535_frames_are_out_that_the_client_has_not_counted() {
    let mut world = World::with(Config { budget: 64 << 20, ..Config::default() });
    let mut link = RawLink::join(&mut world, "mallory", 66);
    link.take_received();
    // Each unknown kind is answered with a failure, which is counted.
    let unknown = disguised(&link.plain("ben", ""), 0x7F, 0);
    let mut told = 0;
    for _ in 0..70 {
        link.push(&mut world, Bytes::from(unknown.repeat(1_000)));
        told += failures(&mut link).len();
    }
    assert_eq!(told, 65_535);
    link.send(&mut world, &Frame::Count { received: 1_000, taken: 0 });
    assert_eq!(failures(&mut link).len(), 1_000);
    assert!(link.is_open());
}

// What may be dropped.

#[test]
fn volatile_messages_are_dropped_where_64_kib_of_them_wait() {
    let mut world = World::new();
    let others = Bystanders::join(&mut world);
    let mut slow = deaf(&mut world, "slow", 1);
    let mut typist = RawLink::join(&mut world, "typist", 2);
    typist.take_received();
    let frame = |from: &RawLink, note, flags: Flags| {
        let body = [b'.'; KIB];
        let send = Frame::Send { envelope: from.envelope("slow", note), info_type: 1, body: &body };
        flagged(&send, flags.with(Flags::VOLATILE))
    };
    for note in 0..100 {
        let message = frame(&typist, note, Flags::TELL);
        typist.push(&mut world, message);
    }
    let told = failures(&mut typist);
    assert!(told.iter().all(|(_, failure)| *failure == Failure::Busy));
    // One source has half of the lane, and another the rest.
    let half = 32 * KIB / (KIB + 46);
    assert!((100 - half..=100 - half + 2).contains(&told.len()), "{} were told", told.len());
    assert_eq!(world.counter("volatile_dropped"), told.len() as u64);
    // One that does not ask is only counted.
    let quiet = frame(&typist, 0, Flags::NONE);
    typist.push(&mut world, quiet);
    assert_eq!(failures(&mut typist), []);
    assert_eq!(world.counter("volatile_dropped"), told.len() as u64 + 1);
    let mut second = RawLink::join(&mut world, "second", 3);
    for note in 0..100 {
        let message = frame(&second, note, Flags::TELL);
        second.push(&mut world, message);
    }
    let refused = failures(&mut second);
    assert!((100 - half..=100 - half + 2).contains(&refused.len()), "{} were told", refused.len());
    slow.reads = true;
    slow.pump(&mut world);
    assert_eq!(slow.take_texts().len(), 200 - told.len() - refused.len());
    others.are_unharmed(&mut world, "volatile messages");
}

#[test]
fn volatile_messages_are_dropped_where_any_message_waits() {
    let mut world = World::new();
    let (ann, ben) = (world.join("ann"), world.join("ben"));
    world.engine(ben).takes = false;
    // Over the window of 256 KiB: the last of these waits at the server.
    for _ in 0..5 {
        world.send(ann, "ben", &"x".repeat(60 * KIB));
        world.advance(Duration::ZERO);
    }
    let now = world.now;
    let options = SendOptions { policy: Policy::Discard, tell: Some(5) };
    world.session(ann).send(now, &user("ben"), 1, "typing".into(), options).expect("taken");
    let options = MessageOptions { policy: Policy::Discard, ..MessageOptions::default() };
    world.session(ann).send_message(now, &user("ben"), 1, "typing".into(), "t", options).expect("taken");
    world.advance(Duration::from_millis(200));
    assert_eq!(world.counter("volatile_dropped"), 2);
    let event = Event::Undeliverable { note: 5, failure: Failure::Busy };
    assert!(world.engine(ann).events.contains(&event));
    world.engine(ben).takes = true;
    world.advance(Duration::from_secs(1));
    let lengths: Vec<usize> = world.texts(ben).iter().map(String::len).collect();
    assert_eq!(lengths, [60 * KIB; 5]);
    world
        .session(ann)
        .send(now, &user("ben"), 1, "typing".into(), SendOptions { policy: Policy::Discard, tell: None })
        .expect("taken");
    world.run();
    assert_eq!(world.texts(ben).last().map(String::as_str), Some("typing"));
}

// Frames and messages.

#[test]
fn the_largest_frame_and_message_are_those_before_login_until_the_welcome() {
    let mut world = World::with(Config { max_frame: 1 << 20, ..Config::default() });
    let mut link = RawLink::open(&world, "ann", 1);
    assert_eq!(link.conn.max_message(), 8 * KIB);
    world.authenticates = false;
    let login = link.login_frame(LoginWith::default());
    link.push(&mut world, login);
    assert_eq!(link.conn.max_message(), 8 * KIB);
    let accept = AppResponse::Accept(Rights::NONE.into());
    link.conn.handle_response(world.now, accept);
    link.pump(&mut world);
    assert_eq!(link.conn.max_message(), 1024 * KIB + 64 * KIB);
}

#[test]
fn what_is_over_the_servers_limit_is_refused_by_the_sender_itself() {
    let mut world = World::with(Config { max_frame: 16 << 10, ..Config::default() });
    let (ann, ben) = (world.join("ann"), world.join("ben"));
    let now = world.now;
    let body = Bytes::from(vec![b'.'; 16 * KIB]);
    let refused = world.session(ann).send_certainly(now, &user("ben"), 1, body.clone(), None).expect_err("too large");
    assert_eq!(refused.clone().into_body(), body, "the body is given back");
    assert!(matches!(refused, SendError::TooLarge { limit, .. } if limit == 16 * KIB));
    world.run();
    assert!(world.is_online(ann));
    // An answer as well: its asker hears of it.
    world.engine(ben).answering = Answering::Never;
    let asked = world.query(ann, "ben", "?");
    world.run();
    let query = world.engine(ben).queries.remove(0);
    world.session(ben).reply(now, query.token, Ok(body));
    world.run();
    assert_eq!(world.outcome(ann, asked), Some(Outcome::Failed(Failure::TooLarge)));
}

// Memory.

#[test]
fn all_memory_is_given_back_when_everything_is_quiet() {
    let mut world = World::with_resume_window(Duration::from_secs(5));
    let (ann, ben, zoe) = (world.join("ann"), world.join("ben"), world.join("zoe"));
    world.engine(zoe).takes = false;
    let mut raw = RawLink::join(&mut world, "raw", 1);
    for round in 0..5 {
        for to in ["ann", "ben", "zoe", "nobody", "raw", ""] {
            world.send(ann, to, &"x".repeat(3 * KIB));
            let _ = world.send_certainly(ben, to, &"y".repeat(700));
            let _ = world.query(zoe, to, "and?");
        }
        world.advance(Duration::from_millis(50));
        if round == 2 {
            world.cut(ann);
        }
        raw.pump(&mut world);
    }
    world.engine(zoe).takes = true;
    raw.send(&mut world, &Frame::Close { reason: CloseReason::LoggedOff, text: "" });
    raw.drop_link(&mut world);
    world.advance(Duration::from_secs(60));
    assert_eq!(world.node.held_bytes(), 0);
    for who in [ann, ben, zoe] {
        assert!(world.is_online(who));
        let session = world.session(who);
        assert_eq!((session.queued_bytes(), session.uncounted_frames(), session.open_operations()), (0, 0, 0));
        assert_eq!((session.waiting_messages(), session.open_queries()), (0, 0));
    }
}

#[test]
fn a_session_that_ends_gives_back_what_it_held_however_it_ends() {
    type End = fn(&mut World, RawLink);
    let ends: &[(&str, End)] = &[
        ("a log-off", |world, mut slow| {
            slow.send(world, &Frame::Close { reason: CloseReason::LoggedOff, text: "" });
        }),
        ("a kick", |world, mut slow| {
            world.node.kick_out(world.now, "slow").expect("it is online");
            slow.pump(world);
        }),
        ("a push-out", |world, mut slow| {
            RawLink::join(world, "slow", 99).drop_link(world);
            slow.pump(world);
        }),
        ("a violation", |world, mut slow| slow.push_text(world)),
        ("the end of the resume window", |world, slow| {
            slow.drop_link(world);
            world.advance(Duration::from_secs(61));
        }),
    ];
    for (what, end) in ends {
        let mut world = World::new();
        let ann = world.join("ann");
        let slow = deaf(&mut world, "slow", 1);
        for _ in 0..20 {
            world.send(ann, "slow", &"x".repeat(20 * KIB));
            world.send_certainly(ann, "slow", "certain");
        }
        world.advance(Duration::from_millis(200));
        let to_server = Envelope::new(Address::Server { instance: 0 }, Address::of_engine(&slow.engine), 1);
        let own = bytes_of(&Frame::Certain { envelope: to_server, ttl_ms: 1_000, info_type: 1, body: b"mine" });
        let mut slow = slow;
        slow.push(&mut world, own);
        assert!(world.node.held_bytes() > 400 * KIB, "{what}");
        end(&mut world, slow);
        world.advance(Duration::from_secs(1));
        assert_eq!(world.node.held_bytes(), 0, "{what}");
        world.advance(Duration::from_secs(61));
        assert_eq!(world.node.links(), 1, "{what}");
    }
}

#[test]
fn a_login_that_takes_no_messages_is_not_counted_as_online() {
    let mut world = World::new();
    let command = world.join_with(ClientConfig { takes_messages: false, ..client_config("ann") });
    assert!(world.is_online(command));
    assert_eq!(world.node.online(), 0);
    let kinds = [Kind::Certain, Kind::Query];
    let mut ben = RawLink::join(&mut world, "ben", 1);
    ben.take_received();
    for (id, kind) in (1..).zip(kinds) {
        let frame = if kind == Kind::Query { query(&ben, "ann", id, 1) } else { certain(&ben, "ann", id, 1) };
        ben.push(&mut world, frame);
        assert_eq!(failures(&mut ben), [(id, Failure::Offline)]);
    }
}
