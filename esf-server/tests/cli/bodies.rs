//! What is printed of bodies that strangers choose, and to whom.

use esf_tokio::{Bytes, Config, MessageOptions, To, UserId};
use serde_json::{Value, json};

use crate::esf::{Esf, Server};

#[test]
fn json_lines_are_objects() {
    let server = Server::start("");
    let mut alice = server.user("alice", "listen --json --echo");
    let mut next = || alice.line().parse::<Value>().unwrap();
    assert_eq!(next(), json!({"event": "ready"}));
    server.run("bob", "send --to alice --type 1 \"quoted\"").fine();
    assert_eq!(next(), json!({"event": "message", "from": "bob", "type": 1, "text": "\"quoted\""}));
    server.run("bob", "query --to alice --type 2 what?").fine();
    assert_eq!(next(), json!({"event": "query", "from": "bob", "type": 2, "text": "what?"}));
}

#[test]
fn a_body_cannot_forge_a_line_or_steer_a_terminal() {
    let server = Server::start("");
    let mut alice = server.listener("alice", "");
    let forged = "x\nmessage from root, type 1: \u{1b}[2J";
    let more = ["--url", &server.url, "--user", "bob", forged];
    Esf::run("send --to alice --type 1 --certainly", &more).fine();
    assert_eq!(alice.line(), "message from bob, type 1: x\\nmessage from root, type 1: \\u{1b}[2J");
}

#[test]
fn an_output_that_nobody_reads_ends_the_listener_quietly() {
    let server = Server::start("");
    let mut alice = server.listener("alice", "");
    alice.close_stdout();
    // The thread that reads notices with the first of these lines, `esf` with one of the next.
    let mut sent = 0;
    while server.run("bob", "send --to alice --type 1 --certainly x").code == Some(0) {
        sent += 1;
        assert!(sent < 20, "alice goes on after {sent} lines that nobody reads");
    }
    let ended = alice.ended();
    assert_eq!(ended.code, Some(15), "{ended:#?}");
    assert!(ended.stderr.is_empty(), "{ended:#?}");
}

#[test]
fn tags_and_bytes_are_printed() {
    let server = Server::start("");
    let mut people = server.listener("alice", "");
    let mut programs = server.listener("alice", "--json --device service");
    let name = |name: &str| UserId::parse(name, 64).unwrap();
    let to = || To::User(name("alice"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let bob = esf_tokio::connect(&server.url, Config::new(name("bob"))).await.unwrap();
        bob.send_message(to(), 9, "extra", "news", MessageOptions::default()).unwrap();
        bob.send_certainly(to(), 9, Bytes::from_static(&[0xff, 0])).await.unwrap();
        bob.log_off().await;
    });
    assert_eq!(people.line(), "engine message from bob, type 9 [news]: extra");
    assert_eq!(people.line(), "message from bob, type 9: base64 /wA=");
    let objects = [
        json!({"event": "engine_message", "from": "bob", "type": 9, "tag": "news", "text": "extra"}),
        json!({"event": "message", "from": "bob", "type": 9, "base64": "/wA="}),
    ];
    for object in objects {
        assert_eq!(programs.line().parse::<Value>().unwrap(), object);
    }
}
