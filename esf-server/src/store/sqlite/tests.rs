use std::{
    fs,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use esf_tests::store_suite::{self, Keeper, begin, key, mail, put, try_ask, user};
use esf_tokio::{
    GroupId,
    store::{StoreFailed, StoreId, StoreResponse},
};

use super::*;
use crate::store::{Joined, Role};

mod crowds;

/// A directory of its own, gone with the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::SeqCst);
        let path = std::env::temp_dir().join(format!("esf-sqlite-{}-{count}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server's store, and beside it what `esf` opens on the same directory.
struct OnDisk {
    asked: SqliteStore,
    hands: Mutex<Store>,
    clock: Arc<AtomicU64>,
    directory: Directory,
}

fn on_disk(limits: StoreLimits, users: Users) -> OnDisk {
    let directory = Directory::new();
    let clock = Arc::new(AtomicU64::new(now_ms()));
    let time = clock.clone();
    let time: Clock = Arc::new(move || time.load(Ordering::SeqCst));
    let asked = SqliteStore::open_by(&directory.0, limits, users, time).unwrap();
    let hands = Mutex::new(Store::open(&directory.0).unwrap());
    OnDisk { asked, hands, clock, directory }
}

fn make(limits: StoreLimits, users: store_suite::Users) -> Box<dyn Keeper> {
    let users = match users {
        store_suite::Users::Added => Users::Accounts,
        store_suite::Users::Everybody => Users::Everybody,
    };
    Box::new(on_disk(limits, users))
}

impl OnDisk {
    fn with<T>(&self, act: impl FnOnce(&mut Store) -> Result<T, Problem>) -> T {
        act(&mut self.hands.lock().unwrap()).unwrap()
    }
}

impl Keeper for OnDisk {
    fn store(&self) -> &dyn AskedStore {
        &self.asked
    }

    fn add_user(&self, user: &UserId) -> bool {
        self.with(|store| store.add_account(user, "hash", Role::User))
    }

    fn remove_user(&self, user: &UserId) -> bool {
        self.with(|store| store.remove_account(user))
    }

    fn add_contact(&self, one: &UserId, other: &UserId) -> bool {
        self.with(|store| store.add_contact(one, other))
    }

    fn remove_contact(&self, one: &UserId, other: &UserId) -> bool {
        self.with(|store| store.remove_contact(one, other))
    }

    fn create_group(&self, group: &GroupId) -> bool {
        self.with(|store| store.create_group(group))
    }

    fn delete_group(&self, group: &GroupId) -> bool {
        self.with(|store| store.delete_group(group))
    }

    fn add_member(&self, group: &GroupId, user: &UserId) -> bool {
        self.with(|store| store.add_member(group, user)) == Joined::Now
    }

    fn remove_member(&self, group: &GroupId, user: &UserId) -> bool {
        self.with(|store| store.remove_member(group, user))
    }

    fn dead_letters(&self) -> Vec<StoreId> {
        self.with(|store| store.dead_letters()).into_iter().map(|letter| StoreId(letter.id)).collect()
    }

    fn retry_dead_letter(&self, id: StoreId) -> bool {
        self.with(|store| store.retry_dead_letter(id.0))
    }

    fn drop_dead_letter(&self, id: StoreId) -> bool {
        self.with(|store| store.drop_dead_letter(id.0))
    }

    fn pass(&self, time: Duration) {
        self.clock.fetch_add(crate::store::mail::millis(time), Ordering::SeqCst);
    }
}

mod suite {
    use super::make;

    esf_tests::store_suite!(make);
}

fn stored(keeper: &dyn Keeper, id: u64, to: &str) -> bool {
    try_ask(keeper, put(id, to, vec![7; 100])) == Ok(StoreResponse::Stored)
}

/// A store whose writer has a connection that was changed before.
fn with_writer(change: &str) -> OnDisk {
    let directory = Directory::new();
    let store = Store::create(&directory.0).unwrap();
    store.connection.execute_batch(change).unwrap();
    let clock = Arc::new(AtomicU64::new(now_ms()));
    let asked =
        SqliteStore::of(store, &directory.0, StoreLimits::default(), Users::Everybody, Arc::new(now_ms)).unwrap();
    let hands = Mutex::new(Store::open(&directory.0).unwrap());
    OnDisk { asked, hands, clock, directory }
}

fn failed(keeper: &dyn Keeper, id: u64) -> StoreFailed {
    try_ask(keeper, put(id, "bob", vec![7; 100_000])).expect_err("a store that fails")
}

#[test]
fn what_is_stored_is_there_after_a_restart() {
    let OnDisk { asked, hands, directory, .. } = on_disk(StoreLimits::default(), Users::Everybody);
    let first = OnDisk { asked, hands, clock: Arc::default(), directory: Directory(directory.0.clone()) };
    assert!(stored(&first, 1, "bob"));
    let kept = mail(&first, "bob");
    // The threads of the first still have the file open, as those of a process that was killed had it.
    let again = SqliteStore::open(&directory.0, StoreLimits::default(), Users::Everybody).unwrap();
    let hands = Mutex::new(Store::open(&directory.0).unwrap());
    let again = OnDisk { asked: again, hands, clock: Arc::default(), directory: Directory(directory.0.clone()) };
    assert_eq!(mail(&again, "bob"), kept);
    assert_eq!(try_ask(&again, put(1, "bob", "again")), Ok(StoreResponse::Known));
    assert!(stored(&again, 2, "bob"));
    assert!(mail(&again, "bob")[1].id > kept[0].id);
}

#[test]
fn a_commit_is_on_the_disk_when_it_is_answered() {
    let store = on_disk(StoreLimits::default(), Users::Everybody);
    let pragma = |name: &str| {
        store.with(|hands| hands.told(hands.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0))))
    };
    assert_eq!(pragma("synchronous"), 2, "FULL");
}

#[test]
fn a_full_disk_is_told_to_whoever_asks_and_stops_nobody_who_reads() {
    let store = with_writer("PRAGMA max_page_count = 40");
    let mut id = 0;
    while stored(&store, id, "bob") {
        id += 1;
        assert!(id < 10_000, "it never gets full");
    }
    let told = failed(&store, 20_000).to_string();
    assert!(told.contains("there is no space left") && told.contains("make room"), "{told}");
    assert_eq!(mail(&store, "bob").len() as u64, id);
    let all = mail(&store, "bob").into_iter().map(|message| message.id).collect();
    let confirm = StoreRequest::Confirm { user: user("bob"), messages: all };
    // A tombstone is smaller than a message, and pages come free.
    let freed = try_ask(&store, confirm);
    assert_eq!(freed, Ok(StoreResponse::Done));
    assert!(stored(&store, 30_000, "bob"), "there is room again");
}

#[test]
fn a_store_that_cannot_be_written_says_so() {
    let store = with_writer("PRAGMA query_only = ON");
    let told = failed(&store, 1).to_string();
    assert!(told.contains("it cannot be written"), "{told}");
    assert!(mail(&store, "bob").is_empty());
}

#[cfg(unix)]
#[test]
fn a_store_that_is_gone_keeps_nothing() {
    let store = on_disk(StoreLimits::default(), Users::Everybody);
    assert!(stored(&store, 1, "bob"));
    let (file, away) = (store.directory.0.join("esf.sqlite"), store.directory.0.join("away"));
    fs::rename(&file, &away).unwrap();
    let told = failed(&store, 2).to_string();
    assert!(told.contains("moved or removed"), "{told}");
    fs::write(&file, "another").unwrap();
    assert!(failed(&store, 2).to_string().contains("moved or removed"), "another file of that name");
    fs::rename(&away, &file).unwrap();
    assert!(stored(&store, 2, "bob"), "it is back");
}

#[test]
fn a_slow_store_delays_nobody_who_reads() {
    let store = on_disk(StoreLimits::default(), Users::Everybody);
    assert!(stored(&store, 1, "bob"));
    store.with(|hands| hands.told(hands.connection.execute_batch("BEGIN IMMEDIATE")));
    let waits = begin(&store, put(2, "bob", "two"));
    assert_eq!(mail(&store, "bob").len(), 1);
    assert!(waits.recv_timeout(Duration::from_millis(100)).is_err(), "somebody else writes");
    store.with(|hands| hands.told(hands.connection.execute_batch("COMMIT")));
    assert_eq!(waits.recv_timeout(Duration::from_secs(30)), Ok(Ok(StoreResponse::Stored)));
}

#[test]
fn a_request_that_fails_by_itself_takes_no_other_with_it() {
    let store = on_disk(StoreLimits::default(), Users::Everybody);
    let fail = "CREATE TRIGGER fail BEFORE INSERT ON message WHEN new.receiver = 'bad'
                BEGIN SELECT raise(ABORT, 'a bad page'); END";
    store.with(|hands| hands.told(hands.connection.execute_batch(fail)));
    // Together in one commit: they gather while somebody else writes.
    store.with(|hands| hands.told(hands.connection.execute_batch("BEGIN IMMEDIATE")));
    let answers: Vec<_> =
        (0..30).map(|id| begin(&store, put(id, if id % 10 == 3 { "bad" } else { "bob" }, "x"))).collect();
    store.with(|hands| hands.told(hands.connection.execute_batch("COMMIT")));
    for (id, answer) in answers.into_iter().enumerate() {
        let answer = answer.recv_timeout(Duration::from_secs(30)).unwrap();
        assert_eq!(answer.is_err(), id % 10 == 3, "{id}: {answer:?}");
    }
    assert_eq!(mail(&store, "bob").len(), 27);
    assert_eq!(try_ask(&store, put(99, "carol", "x")), Ok(StoreResponse::Stored));
}

#[test]
fn what_another_process_changes_is_told() {
    let store = on_disk(StoreLimits::default(), Users::Accounts);
    assert!(store.add_contact(&user("before"), &user("watching")));
    // Another one, which begins here.
    let asked = SqliteStore::open(&store.directory.0, StoreLimits::default(), Users::Accounts).unwrap();
    let (told, heard) = mpsc::channel();
    asked.watch_relations(move |user| told.send(user).unwrap()).unwrap();
    assert!(store.add_contact(&user("alice"), &user("bob")));
    let next = |count: usize| {
        let mut users: Vec<_> = (0..count).map(|_| heard.recv_timeout(Duration::from_secs(30)).unwrap()).collect();
        users.sort();
        users.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(next(2), ["alice", "bob"]);
    assert!(!store.add_contact(&user("alice"), &user("bob")), "nothing changes, and nobody is told");
    let staff = GroupId::parse("staff").unwrap();
    assert!(store.create_group(&staff));
    assert!(store.add_member(&staff, &user("carol")));
    assert_eq!(next(1), ["carol"]);
    assert!(store.delete_group(&staff));
    assert_eq!(next(1), ["carol"]);
    assert!(store.add_user(&user("alice")));
    assert!(store.remove_user(&user("alice")));
    assert_eq!(next(2), ["alice", "bob"]);
    assert!(heard.try_recv().is_err(), "nobody else");
}

/// Messages kept durably in a second, by 1,000 senders that each wait for their answer: each message of 100 bytes is put,
/// and in the second figure also confirmed.
#[test]
#[ignore = "a measurement: cargo test --release -p esf-server --bin esf -- --ignored --nocapture how_many_messages"]
fn how_many_messages_a_second() {
    use std::{io::Write as _, time::Instant};

    use esf_tokio::store::StoreRequest;

    const IN_FLIGHT: u64 = 1000;
    for (title, confirmed) in [("put", false), ("put and confirmed", true)] {
        let mut limits = StoreLimits::default();
        limits.max_messages = usize::MAX;
        let store = on_disk(limits, Users::Everybody);
        let receivers: Vec<_> = (0..IN_FLIGHT).map(|name| user(&format!("receiver{name}"))).collect();
        let (told, heard) = mpsc::channel();
        let ask = |id: u64, request: StoreRequest| {
            let told = told.clone();
            let answer =
                move |answer: Result<_, StoreFailed>| told.send((id, Instant::now(), answer.unwrap())).unwrap();
            store.asked.submit(request, StoreAnswer::new(answer));
        };
        let mut next = 0;
        let mut began = std::collections::BTreeMap::new();
        let mut send = |began: &mut std::collections::BTreeMap<u64, Instant>| {
            let user = receivers[usize::try_from(next % IN_FLIGHT).unwrap()].clone();
            began.insert(next, Instant::now());
            ask(next, StoreRequest::Put { key: key(next), user, device: None, frame: vec![7; 100].into() });
            next += 1;
        };
        (0..IN_FLIGHT).for_each(|_| send(&mut began));
        let start = Instant::now();
        let (mut stored, mut waits) = (0_u64, Vec::new());
        while start.elapsed() < Duration::from_secs(5) {
            let (id, at, response) = heard.recv().unwrap();
            if response != StoreResponse::Stored {
                continue;
            }
            waits.push(at - began.remove(&id).unwrap());
            stored += 1;
            if confirmed {
                let user = receivers[usize::try_from(id % IN_FLIGHT).unwrap()].clone();
                // Numbers are given in the order in which messages were put, from 1.
                ask(id, StoreRequest::Confirm { user, messages: vec![StoreId(id + 1)] });
            }
            send(&mut began);
        }
        let took = start.elapsed();
        waits.sort();
        let rate = stored as f64 / took.as_secs_f64();
        let (half, slow) = (waits[waits.len() / 2], waits[waits.len() * 99 / 100]);
        writeln!(std::io::stdout(), "{title}: {rate:.0} a second; answered in {half:?} (median), {slow:?} (p99)")
            .unwrap();
    }
}
