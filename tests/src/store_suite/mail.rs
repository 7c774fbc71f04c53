//! Messages.

use super::*;

/// DELIVERY, "Stored messages": in order, each with its time, and again until they are confirmed.
pub fn messages_come_in_the_order_in_which_they_were_put(make: Make<'_>) {
    let keeper = &*with_users(make, &["bob", "carol"]);
    // Not waited for one by one: the order is that in which they were asked for.
    let answers: Vec<_> = (1..=20_u8)
        .map(|id| begin(keeper, put(u64::from(id), if id % 2 == 0 { "bob" } else { "carol" }, vec![id])))
        .collect();
    for answer in answers {
        assert_eq!(answer.recv_timeout(Duration::from_secs(30)), Ok(Ok(StoreResponse::Stored)));
    }
    let first = mail(keeper, "bob");
    assert_eq!(frames(&first), (1..=10_u8).map(|half| vec![half * 2]).collect::<Vec<_>>());
    assert!(first.is_sorted_by(|one, next| one.id < next.id), "{first:?}");
    assert!(first.iter().all(|message| message.tries == 0 && message.accepted_at.0 > 0));
    keeper.pass(Duration::from_secs(5));
    assert_eq!(ask(keeper, put(21, "bob", "later")), StoreResponse::Stored);
    let again = mail(keeper, "bob");
    assert_eq!(again[..10], first);
    assert_eq!(again[10].accepted_at.0, first[9].accepted_at.0 + 5000);
    assert!(again[10].id > first[9].id);
}

/// A resend stores once.
pub fn the_same_key_is_the_same_message(make: Make<'_>) {
    let keeper = &*with_users(make, &["bob"]);
    assert!(!knows(keeper, key(1)));
    assert_eq!(ask(keeper, put(1, "bob", "one")), StoreResponse::Stored);
    assert!(knows(keeper, key(1)));
    assert_eq!(ask(keeper, put(1, "bob", "one")), StoreResponse::Known);
    assert_eq!(frames(&mail(keeper, "bob")), [b"one"]);
    let mut others = [key(1), key(1), key(2)];
    others[0].user = Some(user("carol"));
    others[1].instance = InstanceId(1);
    for other in others {
        assert!(!knows(keeper, other.clone()), "{other:?}");
        let put =
            StoreRequest::Put { key: other.clone(), user: user("bob"), device: None, frame: Bytes::from("other") };
        assert_eq!(ask(keeper, put), StoreResponse::Stored, "{other:?}");
    }
    let twice = [begin(keeper, put(9, "bob", "nine")), begin(keeper, put(9, "bob", "nine"))];
    let answers = twice.map(|answer| answer.recv_timeout(Duration::from_secs(30)).unwrap());
    assert_eq!(answers, [Ok(StoreResponse::Stored), Ok(StoreResponse::Known)]);
    assert_eq!(mail(keeper, "bob").len(), 5);
}

/// So that a resend of one that was delivered meanwhile is not stored again.
pub fn a_confirmed_message_goes_and_its_key_stays_for_a_while(make: Make<'_>) {
    let keeper = &*make(limits(|limits| limits.keep_keys = Duration::from_secs(60)), Users::Everybody);
    assert_eq!(ask(keeper, put(1, "bob", "one")), StoreResponse::Stored);
    confirm(keeper, "bob", &[mail(keeper, "bob")[0].id]);
    assert_eq!(mail(keeper, "bob"), []);
    assert!(!person(keeper, "bob").stored);
    keeper.pass(Duration::from_millis(59_999));
    assert!(knows(keeper, key(1)));
    assert_eq!(ask(keeper, put(1, "bob", "one")), StoreResponse::Known);
    assert_eq!(mail(keeper, "bob"), []);
    keeper.pass(Duration::from_millis(1));
    assert!(!knows(keeper, key(1)));
    assert_eq!(ask(keeper, put(1, "bob", "one")), StoreResponse::Stored);
}

/// Only the store tells that there is no such user.
pub fn an_unknown_user_gets_no_message(make: Make<'_>) {
    let keeper = &*with_users(make, &["bob"]);
    assert_eq!(ask(keeper, put(1, "mallory", "one")), StoreResponse::NoSuchUser);
    assert_eq!(ask(keeper, put(1, "Bob", "one")), StoreResponse::NoSuchUser, "names have case");
    assert!(!knows(keeper, key(1)));
    assert!(keeper.add_user(&user("mallory")));
    assert_eq!(mail(keeper, "mallory"), []);
    assert_eq!(ask(keeper, put(1, "mallory", "one")), StoreResponse::Stored);
}

/// As under `--open`.
pub fn every_name_is_a_user_where_everybody_is(make: Make<'_>) {
    let keeper = &*make(StoreLimits::default(), Users::Everybody);
    assert!(person(keeper, "anybody").exists);
    assert_eq!(ask(keeper, put(1, "anybody", "one")), StoreResponse::Stored);
    assert_eq!(frames(&mail(keeper, "anybody")), [b"one"]);
}

/// A refusal of its own; room comes back with each confirm, and others are not concerned.
pub fn a_mailbox_takes_so_many_messages(make: Make<'_>) {
    let keeper = &*make(limits(|limits| limits.max_messages = 3), Users::Everybody);
    for id in 1..=3 {
        assert_eq!(ask(keeper, put(id, "bob", "x")), StoreResponse::Stored);
    }
    assert_eq!(ask(keeper, put(4, "bob", "x")), StoreResponse::QuotaFull);
    assert!(!knows(keeper, key(4)), "what was refused was not stored");
    assert_eq!(ask(keeper, put(3, "bob", "x")), StoreResponse::Known, "what is there takes no room");
    assert_eq!(ask(keeper, put(4, "carol", "x")), StoreResponse::Stored);
    confirm(keeper, "bob", &[mail(keeper, "bob")[1].id]);
    assert_eq!(ask(keeper, put(5, "bob", "x")), StoreResponse::Stored);
    assert_eq!(ask(keeper, put(6, "bob", "x")), StoreResponse::QuotaFull);
    // At once: the limit holds among those that are committed together.
    confirm(keeper, "bob", &[mail(keeper, "bob")[0].id]);
    let both = [begin(keeper, put(7, "bob", "x")), begin(keeper, put(8, "bob", "x"))];
    let answers = both.map(|answer| answer.recv_timeout(Duration::from_secs(30)).unwrap());
    assert_eq!(answers, [Ok(StoreResponse::Stored), Ok(StoreResponse::QuotaFull)]);
    let none = &*make(limits(|limits| limits.max_messages = 0), Users::Everybody);
    assert_eq!(ask(none, put(1, "bob", "x")), StoreResponse::QuotaFull);
}

/// Where every name exists, one limit is for all.
pub fn all_mailboxes_together_take_so_many_bytes(make: Make<'_>) {
    let max_total = 2 * StoreLimits::charge(1000) + StoreLimits::charge(0);
    let keeper = &*make(limits(|limits| limits.max_total = max_total), Users::Everybody);
    assert_eq!(ask(keeper, put(1, "bob", vec![1; 1000])), StoreResponse::Stored);
    assert_eq!(ask(keeper, put(2, "carol", vec![2; 1000])), StoreResponse::Stored);
    assert_eq!(ask(keeper, put(3, "dave", "x")), StoreResponse::QuotaFull);
    assert_eq!(ask(keeper, put(4, "dave", "")), StoreResponse::Stored);
    assert_eq!(ask(keeper, put(5, "erin", "")), StoreResponse::QuotaFull);
    confirm(keeper, "bob", &[mail(keeper, "bob")[0].id]);
    assert_eq!(ask(keeper, put(5, "erin", vec![5; 1000])), StoreResponse::Stored);
    // A dead letter takes its room until somebody looks after it.
    let dead = mail(keeper, "erin")[0].id;
    for _ in 0..5 {
        tried(keeper, "erin", &[dead]);
    }
    assert_eq!(ask(keeper, put(6, "erin", "")), StoreResponse::QuotaFull);
    assert!(keeper.drop_dead_letter(dead));
    assert_eq!(ask(keeper, put(6, "erin", "")), StoreResponse::Stored);
}

/// 30 days unless it is said otherwise.
pub fn a_message_that_is_too_old_goes(make: Make<'_>) {
    let day = Duration::from_secs(24 * 60 * 60);
    let keeper = &*make(limits(|limits| limits.max_messages = 2), Users::Everybody);
    assert_eq!(ask(keeper, put(1, "bob", "old")), StoreResponse::Stored);
    keeper.pass(day);
    assert_eq!(ask(keeper, put(2, "bob", "newer")), StoreResponse::Stored);
    keeper.pass(29 * day - Duration::from_millis(1));
    assert_eq!(frames(&mail(keeper, "bob")), [&b"old"[..], b"newer"]);
    assert_eq!(ask(keeper, put(3, "bob", "x")), StoreResponse::QuotaFull);
    keeper.pass(Duration::from_millis(1));
    assert_eq!(frames(&mail(keeper, "bob")), [b"newer"]);
    assert_eq!(ask(keeper, put(3, "bob", "x")), StoreResponse::Stored, "it takes no room any more");
    assert!(!knows(keeper, key(1)));
    keeper.pass(30 * day);
    assert!(!person(keeper, "bob").stored);
    assert_eq!(mail(keeper, "bob"), []);
}

/// At most one window of bytes; a message that is larger than that comes alone.
pub fn pages_are_cut_by_count_and_by_bytes(make: Make<'_>) {
    let keeper = &*with_users(make, &["bob"]);
    for (id, size) in [(1, 10), (2, 10), (3, 50), (4, 10)] {
        assert_eq!(ask(keeper, put(id, "bob", vec![0; size])), StoreResponse::Stored);
    }
    let ids: Vec<StoreId> = mail(keeper, "bob").iter().map(|message| message.id).collect();
    let page = |after, max_messages, max_bytes| {
        let (messages, more) = fetch(keeper, "bob", DeviceKind::PHONE, after, max_messages, max_bytes);
        (messages.iter().map(|message| message.id).collect::<Vec<_>>(), more)
    };
    let begin = StoreId(0);
    assert_eq!(page(begin, 10, 80), (ids.clone(), false));
    assert_eq!(page(begin, 10, 79), (ids[..3].to_vec(), true));
    assert_eq!(page(begin, 10, 69), (ids[..2].to_vec(), true));
    assert_eq!(page(begin, 3, 1000), (ids[..3].to_vec(), true));
    assert_eq!(page(begin, 4, 1000), (ids.clone(), false));
    assert_eq!(page(ids[1], 10, 20), (vec![ids[2]], true), "one comes whatever its size");
    assert_eq!(page(ids[2], 10, 20), (vec![ids[3]], false));
    assert_eq!(page(ids[3], 10, 20), (Vec::new(), false));
    assert_eq!(page(StoreId(u64::MAX), 10, 20), (Vec::new(), false), "a number that nobody gave");
    assert_eq!(page(begin, 0, 1000), (Vec::new(), true));
}

/// And one to the user is for whichever device comes.
pub fn a_message_to_a_device_is_for_that_device(make: Make<'_>) {
    let keeper = &*with_users(make, &["bob"]);
    let to = |id, device| StoreRequest::Put {
        key: key(id),
        user: user("bob"),
        device: Some(device),
        frame: Bytes::from(id.to_string()),
    };
    assert_eq!(ask(keeper, to(1, DeviceKind::DESKTOP)), StoreResponse::Stored);
    assert!(!person(keeper, "bob").stored, "nothing for a phone");
    assert_eq!(ask(keeper, put(2, "bob", "2")), StoreResponse::Stored);
    assert_eq!(ask(keeper, to(3, DeviceKind::PHONE)), StoreResponse::Stored);
    assert_eq!(ask(keeper, to(4, DeviceKind(255))), StoreResponse::Stored);
    let of = |device| {
        let (messages, _) = fetch(keeper, "bob", device, StoreId(0), 10, 1000);
        messages.iter().map(|message| String::from_utf8_lossy(&message.frame).into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of(DeviceKind::DESKTOP), ["1", "2"]);
    assert_eq!(of(DeviceKind::PHONE), ["2", "3"]);
    assert_eq!(of(DeviceKind(255)), ["2", "4"]);
    assert_eq!(of(DeviceKind::TABLET), ["2"]);
    let (page, more) = fetch(keeper, "bob", DeviceKind::TABLET, StoreId(0), 1, 1000);
    assert!(page.len() == 1 && !more, "what is for others is not more");
}

/// After 5 deliveries that nobody confirmed.
pub fn a_message_that_is_never_confirmed_becomes_a_dead_letter(make: Make<'_>) {
    let keeper = &*make(limits(|limits| limits.max_messages = 2), Users::Everybody);
    assert_eq!(ask(keeper, put(1, "bob", "poison")), StoreResponse::Stored);
    assert_eq!(ask(keeper, put(2, "bob", "good")), StoreResponse::Stored);
    let [poison, good] = [0, 1].map(|at| mail(keeper, "bob")[at].id);
    for tries in 1..=4 {
        tried(keeper, "bob", &[poison, StoreId(999)]);
        assert_eq!(mail(keeper, "bob")[0].tries, tries);
        assert_eq!(mail(keeper, "bob")[1].tries, 0);
        assert_eq!(keeper.dead_letters(), []);
    }
    tried(keeper, "bob", &[poison]);
    assert_eq!(frames(&mail(keeper, "bob")), [b"good"]);
    assert_eq!(keeper.dead_letters(), [poison]);
    assert_eq!(ask(keeper, put(1, "bob", "poison")), StoreResponse::Known, "it is still there");
    assert_eq!(ask(keeper, put(3, "bob", "x")), StoreResponse::Stored, "it takes no room in the mailbox");
    confirm(keeper, "bob", &[good, mail(keeper, "bob")[1].id]);
    assert!(!person(keeper, "bob").stored);
    // The receiver was slow, and did handle it.
    confirm(keeper, "bob", &[poison]);
    assert_eq!(keeper.dead_letters(), []);
}

/// By who runs the server.
pub fn a_dead_letter_is_tried_again_or_dropped(make: Make<'_>) {
    let keeper = &*make(limits(|limits| limits.max_tries = 1), Users::Everybody);
    assert_eq!(ask(keeper, put(1, "bob", "one")), StoreResponse::Stored);
    assert_eq!(ask(keeper, put(2, "bob", "two")), StoreResponse::Stored);
    let [one, two] = [0, 1].map(|at| mail(keeper, "bob")[at].id);
    assert!(!keeper.retry_dead_letter(one), "it is not dead");
    assert!(!keeper.drop_dead_letter(one), "it is not dead");
    tried(keeper, "bob", &[one, two]);
    assert_eq!(keeper.dead_letters(), [one, two]);
    assert!(keeper.retry_dead_letter(one));
    assert!(keeper.drop_dead_letter(two));
    assert!(!keeper.drop_dead_letter(two));
    assert_eq!(keeper.dead_letters(), []);
    assert!(person(keeper, "bob").stored);
    let again = mail(keeper, "bob");
    assert_eq!((frames(&again), again[0].id, again[0].tries), (vec![&b"one"[..]], one, 0));
    assert_eq!(ask(keeper, put(2, "bob", "two")), StoreResponse::Known, "it is not stored again by a late resend");
}

/// As a receiver does that was cut off.
pub fn what_is_confirmed_twice_is_confirmed(make: Make<'_>) {
    let keeper = &*with_users(make, &["bob"]);
    assert_eq!(ask(keeper, put(1, "bob", "one")), StoreResponse::Stored);
    assert_eq!(ask(keeper, put(2, "bob", "two")), StoreResponse::Stored);
    let one = mail(keeper, "bob")[0].id;
    confirm(keeper, "bob", &[one, one]);
    confirm(keeper, "bob", &[one]);
    confirm(keeper, "bob", &[]);
    tried(keeper, "bob", &[one]);
    assert_eq!(frames(&mail(keeper, "bob")), [b"two"]);
    assert!(knows(keeper, key(1)));
}

/// Whatever numbers they guess.
pub fn nobody_confirms_or_tries_the_messages_of_another(make: Make<'_>) {
    let keeper = &*make(limits(|limits| limits.max_tries = 1), Users::Everybody);
    assert_eq!(ask(keeper, put(1, "bob", "one")), StoreResponse::Stored);
    let one = mail(keeper, "bob")[0].id;
    for stranger in ["alice", "mallory", "BOB"] {
        tried(keeper, stranger, &[one]);
        confirm(keeper, stranger, &[one, StoreId(one.0 + 1), StoreId(u64::MAX)]);
    }
    assert_eq!(keeper.dead_letters(), []);
    assert_eq!(frames(&mail(keeper, "bob")), [b"one"]);
}

/// Whoever is removed meanwhile, the receiver or the sender.
pub fn a_removed_user_has_no_messages_and_what_they_sent_stays(make: Make<'_>) {
    let keeper = &*with_users(make, &["alice", "bob", "carol"]);
    assert_eq!(ask(keeper, put(1, "bob", "one")), StoreResponse::Stored);
    assert_eq!(ask(keeper, put(2, "carol", "two")), StoreResponse::Stored);
    for _ in 0..5 {
        tried(keeper, "bob", &[mail(keeper, "bob").first().map_or(StoreId(0), |message| message.id)]);
    }
    assert_eq!(ask(keeper, put(3, "bob", "three")), StoreResponse::Stored);
    assert!(keeper.remove_user(&user("bob")));
    assert_eq!(mail(keeper, "bob"), []);
    assert_eq!(keeper.dead_letters(), []);
    assert_eq!(ask(keeper, put(3, "bob", "three")), StoreResponse::NoSuchUser);
    assert!(keeper.add_user(&user("bob")));
    assert_eq!(mail(keeper, "bob"), [], "another bob gets nothing of the first");
    assert!(keeper.remove_user(&user("alice")));
    assert_eq!(frames(&mail(keeper, "carol")), [b"two"]);
}

/// The server is a sender too, and no user has its name.
pub fn messages_of_the_server_have_keys_of_their_own(make: Make<'_>) {
    let keeper = &*with_users(make, &["bob"]);
    let of_server = StoreKey { user: None, ..key(1) };
    let put_of_server =
        StoreRequest::Put { key: of_server.clone(), user: user("bob"), device: None, frame: Bytes::from("server") };
    assert_eq!(ask(keeper, put(1, "bob", "alice")), StoreResponse::Stored);
    assert!(!knows(keeper, of_server.clone()));
    assert_eq!(ask(keeper, put_of_server.clone()), StoreResponse::Stored);
    assert!(knows(keeper, of_server));
    assert_eq!(ask(keeper, put_of_server), StoreResponse::Known);
    assert_eq!(frames(&mail(keeper, "bob")), [&b"alice"[..], b"server"]);
}

/// From several threads, every kind of request; each is answered and nothing is lost or there twice.
pub fn many_at_once_are_all_answered(make: Make<'_>) {
    let keeper = &*make(limits(|limits| limits.max_messages = 100_000), Users::Everybody);
    let mut answers = Vec::new();
    for id in 0..2000 {
        answers.push(begin(keeper, put(id, &format!("user{}", id % 10), id.to_string())));
        if id % 7 == 0 {
            answers.push(begin(keeper, StoreRequest::Contacts { user: user("user1"), after: None, limit: 9 }));
            answers.push(begin(keeper, StoreRequest::Confirm { user: user("user1"), messages: vec![StoreId(id)] }));
            answers.push(begin(keeper, StoreRequest::Find { key: key(id) }));
        }
    }
    for answer in answers {
        let answer = answer.recv_timeout(Duration::from_secs(60)).expect("an answer").expect("a store that works");
        assert_ne!(answer, StoreResponse::Found(false), "whoever asks for a key learns of what was put before");
    }
    for name in (0..10).filter(|name| *name != 1) {
        let wanted: Vec<String> = (0..2000).filter(|id| id % 10 == name).map(|id: u64| id.to_string()).collect();
        assert_eq!(
            frames(&mail(keeper, &format!("user{name}"))),
            wanted.iter().map(String::as_bytes).collect::<Vec<_>>()
        );
    }
}

fn limits(change: impl FnOnce(&mut StoreLimits)) -> StoreLimits {
    let mut limits = StoreLimits::default();
    change(&mut limits);
    limits
}
