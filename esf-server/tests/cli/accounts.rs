//! Accounts: `esf user`, logins with passwords, and what a bad store gets.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use rusqlite::Connection;

use crate::esf::{Ended, Esf};

/// A data directory of the test's own, which goes with it.
pub(crate) struct Data(pub(crate) PathBuf);

impl Data {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("esf-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    /// One with accounts of these names, whose passwords are their names and an exclamation mark.
    pub(crate) fn with(name: &str, people: &[&str]) -> Self {
        let data = Self::new(name);
        for person in people {
            data.user(&format!("add {person}"), &format!("{person}!")).fine();
        }
        data
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("esf.sqlite")
    }

    /// `esf user` on it, with this password on standard input if it is not empty.
    pub(crate) fn user(&self, line: &str, password: &str) -> Ended {
        let stdin = if password.is_empty() { "" } else { "--password-stdin" };
        let mut user = Esf::start(&format!("user {line} {stdin}"), &["--data", self.path()]);
        if !password.is_empty() {
            user.offer_line(password);
        }
        user.end_of_input();
        user.ended()
    }

    fn serve(&self) -> Server {
        self.serve_on("127.0.0.1:0")
    }

    fn serve_on(&self, address: &str) -> Server {
        let line = format!("serve --log info --listen {address} --limits-connections 1000");
        let mut process = Esf::start(&line, &["--data", self.path()]);
        let mut before = Vec::new();
        loop {
            let line = process.line();
            match line.strip_prefix("listening on ") {
                Some(url) => break Server { url: url.to_owned(), before, process },
                None => before.push(line),
            }
        }
    }

    /// A server that does not start.
    fn refused(&self) -> String {
        let ended = Esf::run("serve --log error --listen 127.0.0.1:0", &["--data", self.path()]);
        assert!(ended.stdout.is_empty(), "{ended:?}");
        ended.refused(19).to_owned()
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Server {
    process: Esf,
    url: String,
    /// What it said before it listened.
    before: Vec<String>,
}

impl Server {
    fn start(&self, user: &str, password: &str, line: &str) -> Esf {
        let mut command = Esf::command(line);
        command.args(["--url", &self.url, "--user", user]).env("ESF_PASSWORD", password);
        Esf::spawn(command, format!("esf {line}"))
    }

    fn ping(&self, user: &str, password: &str) -> Ended {
        self.start(user, password, "ping").ended()
    }

    fn listener(&self, user: &str, password: &str) -> Esf {
        let mut listener = self.start(user, password, "listen");
        assert_eq!(listener.line(), "ready");
        listener
    }

    fn address(&self) -> &str {
        self.url.strip_prefix("ws://").unwrap()
    }
}

#[test]
fn two_accounts_talk_and_nobody_else() {
    let data = Data::with("two", &["alice", "bob"]);
    let server = data.serve();
    let mut alice = server.listener("alice", "alice!");
    server.start("bob", "bob!", "send --to alice --type 7 --certainly hello").ended().fine();
    assert_eq!(alice.line(), "message from bob, type 7: hello");

    let wrong = server.ping("alice", "bob!").refused(4).to_owned();
    let unknown = server.ping("carol", "bob!").refused(4).to_owned();
    assert_eq!(wrong, unknown);
    assert!(wrong.contains("the name or the password is wrong"), "{wrong}");
    let none = Esf::run("ping", &["--url", &server.url, "--user", "alice"]);
    assert!(none.refused(4).contains("wants a password"), "{none:?}");
    // Rights come with the role.
    server.start("bob", "bob!", "kick alice").ended().refused(7);
}

#[test]
fn the_first_start_makes_an_admin_and_says_its_password_once() {
    let data = Data::new("first");
    let server = data.serve();
    let [made, again] = server.before.as_slice() else { panic!("{:?}", server.before) };
    let password = made.strip_prefix("made the account admin, with the password ").unwrap().to_owned();
    assert!(password.len() >= 20 && again.contains("esf user passwd admin"), "{made} {again}");
    server.start("admin", &password, "online").ended().fine();
    server.process.signal("TERM");
    server.process.ended();
    let server = data.serve();
    assert!(server.before.is_empty(), "{:?}", server.before);
    server.ping("admin", &password).fine();
}

#[test]
fn a_new_password_logs_off_who_came_with_the_old_one() {
    let data = Data::with("passwd", &["alice", "bob"]);
    let server = data.serve();
    let (alice, mut bob) = (server.listener("alice", "alice!"), server.listener("bob", "bob!"));
    let changed = Instant::now();
    data.user("passwd alice", "other").fine();
    let ended = alice.ended();
    assert!(ended.refused(4).contains("no longer good"), "{ended:?}");
    assert!(changed.elapsed() < Duration::from_secs(5));
    server.ping("alice", "alice!").refused(4);
    server.start("alice", "other", "send --to bob --type 1 --certainly back").ended().fine();
    assert_eq!(bob.line(), "message from alice, type 1: back");
}

#[test]
fn who_is_removed_is_logged_off_and_comes_back_only_as_somebody_new() {
    let data = Data::with("remove", &["alice"]);
    let server = data.serve();
    let alice = server.listener("alice", "alice!");
    data.user("remove alice", "").fine();
    assert!(alice.ended().refused(4).contains("no longer good"));
    server.ping("alice", "alice!").refused(4);
    data.user("add alice", "alice!").fine();
    server.ping("alice", "alice!").fine();
}

#[test]
fn a_role_gives_rights_and_takes_them() {
    let data = Data::with("grant", &["alice", "bob"]);
    let server = data.serve();
    server.start("alice", "alice!", "online").ended().refused(7);
    assert_eq!(data.user("grant alice admin", "").fine(), ["alice is an admin now"]);
    server.start("alice", "alice!", "online").ended().fine();
    let alice = server.listener("alice", "alice!");
    let bob = server.listener("bob", "bob!");
    server.start("alice", "alice!", "kick bob").ended().fine();
    bob.ended().refused(10);
    assert_eq!(data.user("grant alice user", "").fine(), ["alice is a user now"]);
    alice.ended().refused(4);
    server.start("alice", "alice!", "online").ended().refused(7);
}

#[test]
fn a_kick_makes_the_tickets_worthless() {
    let data = Data::with("kick", &["bob"]);
    data.user("add root --role admin", "secret").fine();
    let server = data.serve();
    let store = Connection::open(data.file()).unwrap();
    let version =
        || -> u64 { store.query_row("SELECT version FROM account WHERE name = 'bob'", [], |row| row.get(0)).unwrap() };
    let before = version();
    let bob = server.listener("bob", "bob!");
    server.start("root", "secret", "kick bob").ended().fine();
    bob.ended().refused(10);
    let kicked = Instant::now();
    while version() == before {
        assert!(kicked.elapsed() < Duration::from_secs(10), "the version of bob's credential does not rise");
        std::thread::sleep(Duration::from_millis(10));
    }
    // By the password he may come back, and stays.
    let bob = server.listener("bob", "bob!");
    std::thread::sleep(Duration::from_millis(1500));
    server.start("root", "secret", "ping --to bob").ended().fine();
    drop(bob);
}

#[test]
fn a_ticket_opens_the_login_after_a_restart_without_a_costly_check() {
    let data = Data::with("restart", &["alice"]);
    let server = data.serve();
    let address = server.address().to_owned();
    let mut alice = server.listener("alice", "alice!");
    server.process.kill();
    alice.note_with("connection interrupted");
    // What no password opens any more, only the ticket does.
    let store = Connection::open(data.file()).unwrap();
    assert_eq!(store.execute("UPDATE account SET password = 'none'", []).unwrap(), 1);
    let mut server = data.serve_on(&address);
    alice.note_with("connected again");
    assert!(server.process.note_with("logged in").contains("user=alice"));
    server.ping("alice", "alice!").refused(4);

    // And it is good no more when the password was changed meanwhile.
    server.process.kill();
    alice.note_with("connection interrupted");
    data.user("passwd alice", "other").fine();
    let server = data.serve_on(&address);
    assert!(alice.ended().code == Some(4));
    server.ping("alice", "other").fine();
}

#[test]
fn accounts_are_listed_for_people_and_for_programs() {
    let data = Data::with("list", &["bob", "alice"]);
    data.user("add root --role admin", "secret").fine();
    assert_eq!(data.user("list", "").fine(), ["alice\tuser", "bob\tuser", "root\tadmin"]);
    let rows = data.user("list --json", "").fine();
    let row: serde_json::Value = rows[2].parse().unwrap();
    assert_eq!((row["name"].as_str(), row["role"].as_str()), (Some("root"), Some("admin")));
    assert!(row["made_at_ms"].as_u64() > Some(1_700_000_000_000));
    assert!(!rows.concat().contains("argon2"));
}

#[test]
fn an_account_that_is_there_or_is_not_has_a_code_of_its_own() {
    let data = Data::with("codes", &["alice"]);
    assert!(data.user("add alice", "other").refused(21).contains("esf user passwd"));
    for line in ["remove bob", "grant bob admin"] {
        assert!(data.user(line, "").refused(20).contains("there is no account bob"), "{line}");
    }
    data.user("passwd bob", "secret").refused(20);
    let server = data.serve();
    server.ping("alice", "alice!").fine();
}

#[test]
fn a_password_that_cannot_be_one_is_told_so_and_changes_nothing() {
    let data = Data::with("passwords", &["alice"]);
    let long = "x".repeat(1 << 20);
    for (password, reason) in [("\n", "empty"), (long.as_str(), "longer than 1024 bytes")] {
        for line in ["add carol", "passwd alice"] {
            let ended = data.user(line, password);
            assert!(ended.refused(2).contains(reason), "{line}: {ended:?}");
        }
    }
    // Nobody is asked where there is no terminal.
    let ended = data.user("add carol", "");
    assert!(ended.refused(2).contains("ESF_PASSWORD"), "{ended:?}");
    assert_eq!(data.user("list", "").fine(), ["alice\tuser"]);

    let server = data.serve();
    for password in ["", &long[..2000]] {
        server.ping("alice", password).refused(2);
    }
    server.ping("alice", "alice!").fine();
}

#[cfg(unix)]
#[test]
fn a_password_that_is_not_utf8_is_told_so() {
    use std::os::unix::ffi::OsStrExt as _;
    let mut command = Esf::command("ping --user alice --url ws://127.0.0.1:1");
    command.env("ESF_PASSWORD", std::ffi::OsStr::from_bytes(b"caf\xe9"));
    let ended = Esf::spawn(command, "ping".into()).ended();
    assert!(ended.refused(2).contains("not UTF-8"), "{ended:?}");
}

#[test]
fn the_first_line_of_standard_input_is_the_password_and_the_rest_is_the_chat() {
    let data = Data::with("stdin", &["alice", "bob"]);
    let server = data.serve();
    let mut alice = server.listener("alice", "alice!");
    let line = "chat --user bob --with alice --password-stdin";
    let mut bob = Esf::start(line, &["--url", &server.url]);
    bob.type_line("bob!");
    bob.note_with("connected as");
    bob.type_line("hello");
    assert_eq!(alice.line(), "message from bob, type 1: hello");
    bob.end_of_input();
    assert_eq!(bob.ended().code, Some(0));
}

// A store that cannot be used.

#[test]
fn a_second_server_on_the_same_directory_is_told_who_has_it() {
    let data = Data::with("second", &["alice"]);
    let server = data.serve();
    let line = data.refused();
    assert!(line.contains("another server uses it (process ") && line.contains("--data"), "{line}");
    // `esf user` may work there meanwhile.
    data.user("list", "").fine();
    server.ping("alice", "alice!").fine();
    server.process.kill();
    data.serve();
}

#[test]
fn a_store_that_is_missing_damaged_foreign_or_newer_is_told_apart() {
    let data = Data::new("missing");
    assert!(data.user("list", "").refused(19).contains("`esf user add NAME` makes one"));

    let data = Data::new("corrupt");
    fs::create_dir_all(data.path()).unwrap();
    fs::write(data.file(), "what is this? ".repeat(1000)).unwrap();
    let line = data.refused();
    assert!(line.contains("esf.sqlite") && line.contains("no database") && line.contains("backup"), "{line}");
    data.user("add alice", "secret").refused(19);

    let data = Data::new("foreign");
    fs::create_dir_all(data.path()).unwrap();
    Connection::open(data.file()).unwrap().execute_batch("CREATE TABLE birds (name TEXT)").unwrap();
    let line = data.refused();
    assert!(line.contains("the database of something else"), "{line}");

    let data = Data::with("newer", &["alice"]);
    Connection::open(data.file()).unwrap().pragma_update(None, "user_version", 1000).unwrap();
    let line = data.refused();
    assert!(line.contains("version 1000") && line.contains("use an esf of that version"), "{line}");
}

#[test]
fn a_page_that_is_damaged_is_found_at_the_start() {
    let data = Data::with("page", &["alice"]);
    {
        let store = Connection::open(data.file()).unwrap();
        store.pragma_update(None, "journal_mode", "DELETE").unwrap();
    }
    let mut bytes = fs::read(data.file()).unwrap();
    let half = bytes.len() / 2;
    bytes[half..].fill(0xa5);
    fs::write(data.file(), bytes).unwrap();
    let line = data.refused();
    assert!(line.contains("esf.sqlite") && line.contains("backup"), "{line}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let ended = Esf::run("serve --log error --listen 127.0.0.1:0 --data /proc/esf", &[]);
    let line = ended.refused(19);
    assert!(line.contains("/proc/esf") && line.contains("--data"), "{line}");
}

#[test]
fn a_store_that_is_locked_refuses_who_asks_and_harms_nobody_else() {
    let data = Data::with("locked", &["alice", "bob"]);
    let mut server = data.serve();
    let mut alice = server.listener("alice", "alice!");
    let store = Connection::open(data.file()).unwrap();
    // Readers too are kept out only by a lock on the whole, which is had once the journal is an old one; so this takes
    // away what is read instead.
    store.execute_batch("ALTER TABLE account RENAME TO hidden").unwrap();
    let ended = server.ping("bob", "bob!");
    assert!(ended.refused(4).contains("cannot read its accounts at present"), "{ended:?}");
    server.process.note_with("nobody can be logged in by the store");
    store.execute_batch("ALTER TABLE hidden RENAME TO account").unwrap();
    let mut again = server.start("bob", "bob!", "send --to alice --type 1 --certainly still");
    again.end_of_input();
    again.ended().fine();
    assert_eq!(alice.line(), "message from bob, type 1: still");
}

#[test]
fn a_store_that_another_program_writes_is_waited_for_and_then_told() {
    let data = Data::with("busy", &["alice"]);
    let store = Connection::open(data.file()).unwrap();
    store.execute_batch("BEGIN IMMEDIATE").unwrap();
    let ended = data.user("remove alice", "");
    let line = ended.refused(19);
    assert!(line.contains("another program has locked it") && line.contains("esf.sqlite"), "{line}");
    store.execute_batch("ROLLBACK").unwrap();
    data.user("remove alice", "").fine();
}

#[test]
fn a_program_that_writes_the_store_keeps_no_login_waiting() {
    let data = Data::with("writes", &["alice", "bob"]);
    data.user("grant bob admin", "").fine();
    let server = data.serve();
    let store = Connection::open(data.file()).unwrap();
    store.execute_batch("BEGIN IMMEDIATE").unwrap();
    let began = Instant::now();
    let alice = server.listener("alice", "alice!");
    // What is to be written waits by itself.
    server.start("bob", "bob!", "kick alice").ended().fine();
    alice.ended().refused(10);
    server.ping("alice", "alice!").fine();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    store.execute_batch("ROLLBACK").unwrap();
}

#[test]
fn an_open_server_keeps_everything_in_memory_unless_it_is_told_where() {
    let data = Data::new("open");
    fs::create_dir(&data.0).unwrap();
    let mut here = Esf::command("serve --open --log off --listen 127.0.0.1:0");
    here.current_dir(&data.0);
    let mut here = Esf::spawn(here, "esf serve --open, here".into());
    let told = std::iter::repeat_with(|| here.line()).find(|line| line.contains("--data") || line.contains("Ctrl-C"));
    assert!(told.unwrap().contains("in memory"));
    assert_eq!(fs::read_dir(&data.0).unwrap().count(), 0);

    let mut there = Esf::start("serve --open --log off --listen 127.0.0.1:0", &["--data", data.path()]);
    assert!(there.line().starts_with("listening"));
    let told = std::iter::repeat_with(|| there.line()).find(|line| line.contains("--data") || line.contains("Ctrl-C"));
    assert!(told.unwrap().contains("Ctrl-C"));
    assert!(data.file().exists());
    let second = Esf::run("serve --open --log off --listen 127.0.0.1:0", &["--data", data.path()]);
    assert!(second.refused(19).contains("another server uses it"));
}
