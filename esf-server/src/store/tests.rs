//! What is kept, and what a bad store is told to be.

use std::{fs, path::Path};

use esf_tokio::UserId;
use rusqlite::Connection;

use super::{schema::prepare_by, *};

/// A directory of the test's own, which goes with it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("esf-store-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn name(name: &str) -> UserId {
    UserId::parse(name, 255).expect("a name")
}

fn version(store: &Store, who: &str) -> u64 {
    store.account(&name(who)).expect("a store").expect("an account").version
}

#[track_caller]
fn trouble<T>(result: Result<T, Problem>) -> Trouble {
    result.err().expect("a problem").trouble()
}

// Accounts.

#[test]
fn an_account_is_kept_and_names_are_compared_byte_by_byte() {
    let directory = Directory::new("kept");
    let mut store = Store::create(&directory.0).expect("a store");
    assert!(!store.has_accounts().expect("a store"));
    assert!(store.add_account(&name("ann"), "hash", Role::Admin).expect("a store"));
    assert!(!store.add_account(&name("ann"), "other", Role::User).expect("a store"), "there is one");
    assert!(store.add_account(&name("Ann"), "other", Role::User).expect("a store"));
    drop(store);
    let store = Store::open(&directory.0).expect("a store");
    let ann = store.account(&name("ann")).expect("a store").expect("an account");
    assert_eq!((ann.password.as_str(), ann.role), ("hash", Role::Admin));
    assert_eq!(store.account(&name("ANN")), Ok(None));
    assert_eq!(store.accounts().expect("a store").len(), 2);
}

#[test]
fn a_version_goes_up_with_each_change_and_is_never_used_twice() {
    let directory = Directory::new("versions");
    let mut store = Store::create(&directory.0).expect("a store");
    let ann = name("ann");
    store.add_account(&ann, "1", Role::User).expect("a store");
    let mut versions = vec![version(&store, "ann")];
    let mut next = |store: &Store| versions.push(version(store, "ann"));
    store.set_password(&ann, "2").expect("a store");
    next(&store);
    store.set_role(&ann, Role::Admin).expect("a store");
    next(&store);
    store.give_up_tickets(&ann).expect("a store");
    next(&store);
    store.remove_account(&ann).expect("a store");
    store.add_account(&ann, "1", Role::User).expect("a store");
    next(&store);
    assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
    // The same role again is no change.
    store.set_role(&ann, Role::User).expect("a store");
    assert_eq!(version(&store, "ann"), versions[4]);
    // What changes nobody leaves no trace.
    for outcome in [store.set_password(&name("bob"), "x"), store.remove_account(&name("bob"))] {
        assert_eq!(outcome, Ok(false));
    }
    assert_eq!(store.last_change(), Ok(versions[4]));
}

#[test]
fn another_connection_sees_what_ends_logins_and_only_that() {
    let directory = Directory::new("changes");
    let mut store = Store::create(&directory.0).expect("a store");
    let watcher = Store::open(&directory.0).expect("a store");
    let ann = name("ann");
    store.add_account(&ann, "1", Role::Admin).expect("a store");
    let (commits, last) = (watcher.commits_of_others(), watcher.last_change().expect("a store"));
    assert_eq!(watcher.commits_of_others(), commits, "nothing happened");
    store.give_up_tickets(&ann).expect("a store");
    assert_ne!(watcher.commits_of_others(), commits);
    assert_eq!(watcher.changes_after(last), Ok(Vec::new()));
    store.set_password(&ann, "2").expect("a store");
    store.set_role(&ann, Role::User).expect("a store");
    store.remove_account(&ann).expect("a store");
    let versions: Vec<u64> = (last + 2..last + 5).collect();
    let seen = watcher.changes_after(last).expect("a store");
    assert_eq!(seen.iter().map(|change| change.version).collect::<Vec<_>>(), versions);
    assert!(seen.iter().all(|change| change.name == "ann"));
}

// Keys and numbers.

#[test]
fn keys_are_kept_until_they_are_forgotten() {
    let directory = Directory::new("keys");
    let mut store = Store::create(&directory.0).expect("a store");
    store.add_ticket_key([1; 32], 100, 0).expect("a store");
    store.add_ticket_key([2; 32], 200, 100).expect("a store");
    let kept =
        |store: &Store| store.ticket_keys().expect("a store").iter().map(|key| key.secret[0]).collect::<Vec<_>>();
    assert_eq!(kept(&store), [1, 2]);
    store.add_ticket_key([3; 32], 300, 101).expect("a store");
    assert_eq!(kept(&store), [2, 3]);
    let ids: Vec<u64> = store.ticket_keys().expect("a store").iter().map(|key| key.id).collect();
    assert_eq!(ids, [2, 3], "an id is never used twice");
}

#[test]
fn the_bound_of_login_numbers_only_rises() {
    let directory = Directory::new("numbers");
    let mut store = Store::create(&directory.0).expect("a store");
    assert_eq!(store.login_numbers_below(), Ok(0));
    for (set, is) in [(500, 500), (400, 500), (600, 600)] {
        store.set_login_numbers_below(set).expect("a store");
        assert_eq!(store.login_numbers_below(), Ok(is));
    }
}

// What a commit is worth.

#[test]
fn a_commit_is_on_the_disk_when_it_returns() {
    let directory = Directory::new("durable");
    let store = Store::create(&directory.0).expect("a store");
    let pragma =
        |name: &str| store.connection.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0));
    assert_eq!(pragma("journal_mode"), Ok("wal".to_owned().into()));
    assert_eq!(pragma("synchronous"), Ok(2.into()), "FULL");
}

#[cfg(unix)]
#[test]
fn nobody_else_may_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = Directory::new("private");
    let _lock = ServerLock::take(&directory.0).expect("a lock");
    let mut store = Store::create(&directory.0).expect("a store");
    store.add_account(&name("ann"), "hash", Role::User).expect("a store");
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&directory.0), 0o700);
    for entry in fs::read_dir(&directory.0).expect("a directory") {
        let path = entry.expect("a file").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

// Bad stores.

#[test]
fn a_directory_is_one_servers() {
    let directory = Directory::new("lock");
    let lock = ServerLock::take(&directory.0).expect("a lock");
    let problem = ServerLock::take(&directory.0).expect_err("it is taken");
    assert_eq!(problem.trouble(), Trouble::InUse);
    assert!(problem.to_string().contains(&format!("process {}", std::process::id())), "{problem}");
    drop(lock);
    ServerLock::take(&directory.0).expect("it is free again");
}

#[test]
fn a_store_that_is_missing_is_not_made_by_opening_it() {
    let directory = Directory::new("missing");
    assert_eq!(trouble(Store::open(&directory.0)), Trouble::Missing);
    assert!(!directory.0.exists());
}

#[test]
fn what_is_no_store_is_left_as_it_is() {
    let directory = Directory::new("corrupt");
    fs::create_dir_all(&directory.0).expect("a directory");
    let (file, junk) = (directory.0.join(FILE), vec![b'x'; 10_000]);
    fs::write(&file, &junk).expect("a file");
    assert_eq!(trouble(Store::create(&directory.0)), Trouble::Corrupt);
    assert_eq!(fs::read(&file).expect("a file"), junk);
    fs::remove_file(&file).expect("a file");
    let other = Connection::open(&file).expect("a database");
    other.execute_batch("CREATE TABLE birds (name TEXT)").expect("a table");
    assert_eq!(trouble(Store::create(&directory.0)), Trouble::Corrupt);
}

#[test]
fn a_store_that_is_full_says_so_and_loses_nothing() {
    let directory = Directory::new("full");
    let mut store = Store::create(&directory.0).expect("a store");
    store.add_account(&name("ann"), "hash", Role::User).expect("a store");
    let pages: i64 = store.connection.pragma_query_value(None, "page_count", |row| row.get(0)).expect("a count");
    store.connection.pragma_update(None, "max_page_count", pages).expect("a limit");
    let long = "x".repeat(100_000);
    let problem = store.add_account(&name("bob"), &long, Role::User).expect_err("no space");
    assert_eq!(problem.trouble(), Trouble::Full);
    assert!(problem.to_string().contains("make room on that disk"), "{problem}");
    assert_eq!(store.accounts().expect("a store").len(), 1);
    store.connection.pragma_update(None, "max_page_count", pages + 100).expect("a limit");
    assert_eq!(store.add_account(&name("bob"), &long, Role::User), Ok(true));
}

#[test]
fn a_store_that_may_not_be_written_says_so() {
    let directory = Directory::new("read-only");
    let mut store = Store::create(&directory.0).expect("a store");
    store.connection.pragma_update(None, "query_only", true).expect("a switch");
    assert_eq!(trouble(store.add_account(&name("ann"), "hash", Role::User)), Trouble::ReadOnly);
    let error = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
    let problem = Problem::of_io(&directory.0, &error);
    assert_eq!(problem.trouble(), Trouble::ReadOnly);
    assert!(problem.to_string().contains("let this user write"), "{problem}");
}

#[test]
fn a_store_that_another_one_locks_says_so() {
    let directory = Directory::new("locked");
    let mut store = Store::create(&directory.0).expect("a store");
    store.connection.busy_timeout(Duration::from_millis(10)).expect("a limit");
    let other = Connection::open(directory.0.join(FILE)).expect("a database");
    other.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    assert_eq!(trouble(store.add_account(&name("ann"), "hash", Role::User)), Trouble::Locked);
    // Reading goes on meanwhile.
    assert_eq!(store.account(&name("ann")), Ok(None));
}

// Versions.

#[test]
fn an_older_store_gets_the_steps_that_it_lacks() {
    let directory = Directory::new("older");
    fs::create_dir_all(&directory.0).expect("a directory");
    let path = directory.0.join(FILE);
    let mut connection = Connection::open(&path).expect("a database");
    let first = "CREATE TABLE one (n INTEGER) STRICT; INSERT INTO one VALUES (7);";
    let second = "ALTER TABLE one ADD COLUMN m INTEGER; UPDATE one SET m = n + 1;";
    prepare_by(&[first], &mut connection, &path).expect("one step");
    prepare_by(&[first, second], &mut connection, &path).expect("another step");
    prepare_by(&[first, second], &mut connection, &path).expect("nothing to do");
    let row = connection.query_row("SELECT n, m FROM one", [], |row| Ok((row.get(0)?, row.get(1)?)));
    assert_eq!(row, Ok((7, 8)));
    assert_eq!(trouble(prepare_by(&[first], &mut connection, &path)), Trouble::Newer);
}

#[test]
fn a_step_that_fails_changes_nothing() {
    let directory = Directory::new("step");
    fs::create_dir_all(&directory.0).expect("a directory");
    let path = directory.0.join(FILE);
    let mut connection = Connection::open(&path).expect("a database");
    let first = "CREATE TABLE one (n INTEGER) STRICT;";
    prepare_by(&[first], &mut connection, &path).expect("one step");
    let half = "ALTER TABLE one ADD COLUMN m INTEGER; UPDATE nothing SET m = 1;";
    prepare_by(&[first, half], &mut connection, &path).expect_err("a bad step");
    connection.execute("INSERT INTO one (n) VALUES (1)", []).expect("the table of the first step");
    connection.execute("INSERT INTO one (n, m) VALUES (1, 2)", []).expect_err("nothing of the second");
    prepare_by(&[first], &mut connection, &path).expect("it is that of the first step");
}

// On a thread of its own.

#[tokio::test]
async fn jobs_are_done_one_after_the_other_and_more_than_wait_are_refused() {
    let directory = Directory::new("worker");
    let worker = Worker::start(Store::create(&directory.0).expect("a store")).expect("a thread");
    let (hold, held) = std::sync::mpsc::channel::<()>();
    worker.start_job(move |_| assert!(held.recv().is_err(), "it is dropped below")).expect("a place");
    let mut refused = None;
    for _ in 0..5000 {
        if let Err(problem) = worker.start_job(|_| {}) {
            refused = Some(problem.trouble());
            break;
        }
    }
    assert_eq!(refused, Some(Trouble::Busy));
    drop(hold);
    let added = worker.run(|store| store.add_account(&name("ann"), "hash", Role::User));
    // The queue may still be full for a moment.
    if added.await.is_err() {
        tokio::time::sleep(Duration::from_millis(200)).await;
        worker.run(|store| store.add_account(&name("ann"), "hash", Role::User)).await.expect("a place");
    }
    assert_eq!(worker.run(|store| store.has_accounts()).await, Ok(true));
}
