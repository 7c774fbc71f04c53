//! `esf serve`: what it refuses, what it says, how it ends.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::esf::{Esf, Server};

#[test]
fn open_to_all_is_for_this_machine_only() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:4540"] {
        let ended = Esf::run(&format!("serve --open --listen {address}"), &[]);
        assert!(ended.stdout.is_empty());
        let line = ended.refused(16);
        assert!(line.contains("under any name") && line.contains("--listen 127.0.0.1:4540"), "{line}");
    }
}

#[test]
fn an_address_that_is_taken_is_named() {
    let server = Server::start("");
    let ended = Esf::run(&format!("serve --open --log off --listen {}", server.address()), &[]);
    let line = ended.refused(17);
    assert!(line.contains(server.address()), "{line}");
}

#[test]
fn a_wrong_command_line_is_told_from_everything_else() {
    for line in ["serve --open --listen nowhere", "serve --open --log loud", "send --user a", "dance", "ping --user _a"]
    {
        let ended = Esf::run(line, &[]);
        assert_eq!(ended.code, Some(2), "{line}: {ended:#?}");
    }
}

#[test]
fn what_it_says_to_type_next_works() {
    let mut server = Server::start("");
    let chats = std::iter::repeat_with(|| server.process.line()).filter(|line| line.contains(" chat "));
    let chats: Vec<String> = chats.take(2).collect();
    let mut people = chats.iter().map(|line| {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &format!("exec {}", line.trim())]);
        let mut chat = Esf::spawn(shell, line.clone());
        chat.note_with("connected as");
        chat
    });
    let (mut first, mut second) = (people.next().unwrap(), people.next().unwrap());
    first.type_line("hello");
    assert_eq!(second.line(), "alice: hello");
}

#[test]
fn the_log_is_lines_for_people_or_objects_for_programs() {
    let mut server = Server::start_on("127.0.0.1:0", "--log info --log-format text");
    let _alice = server.listener("alice", "");
    assert!(server.process.note_with("logged in").contains("user=alice"));

    let mut server = Server::start_on("127.0.0.1:0", "--log info --log-format json");
    let _alice = server.listener("alice", "");
    let event: serde_json::Value = server.process.note_with("logged in").parse().unwrap();
    assert_eq!(event["fields"]["message"], "logged in");
    assert_eq!(event["fields"]["user"], "alice");
}

#[test]
fn a_server_goes_on_when_nobody_reads_what_it_says() {
    let mut server = Server::start_on("127.0.0.1:0", "--log trace");
    server.process.close_stdout();
    server.process.close_stderr();
    for round in 0..3 {
        let mut alice = server.listener("alice", "");
        server.run("bob", "send --to alice --type 1 --certainly hello").fine();
        assert_eq!(alice.line(), "message from bob, type 1: hello", "round {round}");
    }
    server.process.signal("TERM");
    assert_eq!(server.process.ended().code, Some(0));
}

#[test]
fn the_first_signal_drains_and_tells_what_was_counted() {
    let server = Server::start("");
    // Another's name in `from` and the like would be counted; a request for a page that is not there is the simplest.
    let mut stranger = TcpStream::connect(server.address()).unwrap();
    stranger.write_all(&upgrade("/nowhere", &server)).unwrap();
    let mut answer = String::new();
    stranger.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");

    let mut alice = server.listener("alice", "");
    server.process.signal("TERM");
    let note = alice.note_with("going away");
    assert!(note.contains("tried again"), "{note}");
    let ended = server.process.ended();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let counted: Vec<&String> = ended.stdout.iter().skip_while(|line| !line.starts_with("drained")).skip(1).collect();
    for line in &counted {
        let (name, count) = line.trim().split_once(' ').unwrap();
        assert!(!name.is_empty() && count.parse::<u64>().unwrap() > 0, "{line}");
    }
    assert!(!counted.is_empty(), "{ended:#?}");
}

#[test]
fn a_second_signal_stops_at_once() {
    let server = Server::start("");
    // Somebody who opened a WebSocket and does not go away by himself.
    let mut stranger = TcpStream::connect(server.address()).unwrap();
    stranger.write_all(&upgrade("/", &server)).unwrap();
    let mut status = [0; 12];
    stranger.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 101");

    let alice = server.listener("alice", "");
    let mut alice = alice;
    server.process.signal("TERM");
    // It drains: alice was asked to leave.
    alice.note_with("going away");
    let asked = Instant::now();
    server.process.signal("INT");
    let ended = server.process.ended();
    assert!(asked.elapsed() < Duration::from_secs(3), "it took {:?}", asked.elapsed());
    assert_eq!(ended.refused(130), "esf: stopped before all clients had left");
}

fn upgrade(path: &str, server: &Server) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: esf.v1\r\n\r\n",
        server.address()
    )
    .into_bytes()
}
