//! `esf store`: backups, and messages that nobody takes.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rusqlite::{Connection, params};

use crate::{accounts::Data, esf::Server};

/// Puts a message into a store, as a server would have.
fn add_message(store: &Connection, number: i64, receiver: &str, sender: &str, dead: bool) {
    let sql = "INSERT INTO message (receiver, sender, instance, number, accepted_at, tries, dead, frame)
               VALUES (?1, ?2, 7, ?3, 1700000000000, 5, ?4, zeroblob(100))";
    assert_eq!(store.execute(sql, params![receiver, sender, number, dead]).unwrap(), 1);
}

#[test]
fn a_backup_is_whole_while_others_write_and_can_be_put_back() {
    let data = Data::with("backup", &["alice"]);
    let store = Connection::open(data.file()).unwrap();
    store.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
    for number in 0..2000 {
        add_message(&store, number, "alice", "bob", false);
    }
    // Somebody writes all the time.
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let writer = std::thread::spawn(move || {
        let mut number = 10_000;
        while !stopped.load(Ordering::SeqCst) {
            add_message(&store, number, "alice", "bob", false);
            number += 1;
        }
    });
    let copy = data.0.join("copy");
    let ended = data.run(&format!("store backup {}", copy.display()));
    stop.store(true, Ordering::SeqCst);
    writer.join().unwrap();
    assert!(ended.stdout[0].contains("has all of it"), "{ended:?}");
    ended.fine();
    assert!(!data.0.join("copy.part").exists() && !data.0.join("copy-wal").exists());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert!(data.run(&format!("store backup {}", copy.display())).refused(22).contains("it is there already"));

    // As docs/CLI.md says.
    for file in ["esf.sqlite", "esf.sqlite-wal", "esf.sqlite-shm"] {
        let _ = fs::remove_file(data.0.join(file));
    }
    fs::rename(&copy, data.file()).unwrap();
    assert_eq!(data.user("list", "").fine(), ["alice\tuser"]);
    let restored = Connection::open(data.file()).unwrap();
    let count = |sql: &str| -> u64 { restored.query_row(sql, [], |row| row.get(0)).unwrap() };
    assert_eq!(count("SELECT count(*) FROM message WHERE number < 2000"), 2000);
}

#[test]
fn a_backup_that_cannot_be_written_says_where_and_why() {
    let data = Data::with("no-backup", &["alice"]);
    let nowhere = data.0.join("nowhere").join("copy");
    let line = data.run(&format!("store backup {}", nowhere.display())).refused(22).to_owned();
    assert!(line.contains("nowhere/copy.part"), "{line}");
    Data::new("no-store").run("store backup copy").refused(19);
}

#[test]
fn dead_letters_are_listed_tried_again_and_dropped() {
    let data = Data::with("dead", &["alice"]);
    let store = Connection::open(data.file()).unwrap();
    assert_eq!(data.run("store dead list").fine(), [""; 0]);
    add_message(&store, 1, "alice", "bob", true);
    add_message(&store, 2, "alice", "", true);
    add_message(&store, 3, "alice", "b\nob", true);
    add_message(&store, 4, "alice", "bob", false);
    let lines = data.run("store dead list").fine();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0], "1\tfrom bob\tto alice\t100 bytes\taccepted_at_ms 1700000000000");
    assert!(lines[1].contains("from the server") && lines[2].contains("from b\\nob"), "{lines:?}");
    let row: serde_json::Value = data.run("store dead list --json").fine()[1].parse().unwrap();
    assert!(row["from"].is_null() && row["device"].is_null() && row["to"] == "alice" && row["id"] == 2, "{row}");

    assert_eq!(data.run("store dead retry").code, Some(2));
    assert_eq!(data.run("store dead drop 1 --all").code, Some(2));
    assert_eq!(data.run("store dead drop 1").fine(), ["dead letter 1 is gone"]);
    assert!(data.run("store dead drop 1").refused(20).contains("esf store dead list"));
    data.run("store dead retry 4").refused(20);
    assert_eq!(data.run("store dead retry --all").fine().len(), 2);
    assert_eq!(data.run("store dead list").fine(), [""; 0]);
    let waiting = "SELECT count(*) FROM message WHERE dead = 0 AND (tries = 0 OR number = 4)";
    let waiting: u64 = store.query_row(waiting, [], |row| row.get(0)).unwrap();
    assert_eq!(waiting, 3);
}

#[test]
fn a_message_to_somebody_offline_is_stored_survives_kill_and_arrives_with_its_time() {
    let data = Data::new("kept");
    let flags = format!("--data {}", data.path());
    let server = Server::start(&flags);
    let stored = server.run("bob", "send --to alice --type 1 --certainly --store hello").fine();
    assert_eq!(stored, ["stored for alice, who is offline"]);
    server.process.kill();
    let server = Server::start(&flags);
    let mut alice = server.user("alice", "listen");
    let lines = [alice.line(), alice.line()];
    let line = lines.iter().find(|line| *line != "ready").unwrap();
    assert!(line.starts_with("message from bob, type 1, stored at 20") && line.ends_with("Z: hello"), "{line}");
    // Whoever is online gets it at once, and is told no time.
    assert!(server.run("bob", "send --to alice --type 1 --certainly --store again").fine().is_empty());
    assert_eq!(alice.line(), "message from bob, type 1: again");
    assert_eq!(server.run("bob", "send --to alice --type 1 --store hello").code, Some(2));
}
