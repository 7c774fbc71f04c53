//! `esf chat`: two terminals.

use crate::esf::{Esf, Server};

fn chat(server: &Server, user: &str, with: &str) -> Esf {
    let mut chat = server.user(user, &format!("chat --with {with}"));
    chat.note_with("connected as");
    chat
}

#[test]
fn two_people_talk() {
    let server = Server::start("");
    let mut alice = chat(&server, "alice", "bob");
    let mut bob = chat(&server, "bob", "alice");
    alice.type_line("hello bob");
    assert_eq!(bob.line(), "alice: hello bob");
    bob.type_line("hello alice");
    bob.type_line("");
    bob.type_line("how are you?");
    assert_eq!(alice.line(), "bob: hello alice");
    assert_eq!(alice.line(), "bob: how are you?");
    alice.end_of_input();
    alice.ended().fine();
    bob.end_of_input();
    bob.ended().fine();
}

#[test]
fn lines_arrive_in_the_order_in_which_they_were_typed() {
    let server = Server::start("");
    let mut bob = server.listener("bob", "");
    let mut alice = chat(&server, "alice", "bob");
    for number in 0..200 {
        alice.type_line(&format!("line {number}"));
    }
    alice.end_of_input();
    for number in 0..200 {
        assert_eq!(bob.line(), format!("message from alice, type 1: line {number}"));
    }
    alice.ended().fine();
}

#[test]
fn a_line_that_is_not_delivered_says_why() {
    let server = Server::start("");
    let mut alice = chat(&server, "alice", "bob");
    alice.type_line("hello?");
    let note = alice.note();
    assert!(note.contains("not delivered: bob is offline"), "{note}");
    let mut bob = chat(&server, "bob", "alice");
    alice.type_line("there you are");
    assert_eq!(bob.line(), "alice: there you are");
    alice.end_of_input();
    let ended = alice.ended();
    assert_eq!((ended.code, ended.stderr.len()), (Some(5), 0), "{ended:#?}");
}

#[test]
fn a_line_that_is_too_large_says_so() {
    let server = Server::start("");
    let _bob = server.listener("bob", "");
    let mut alice = chat(&server, "alice", "bob");
    alice.type_line(&"x".repeat(1 << 20));
    assert!(alice.note().contains("not delivered: too large"));
    alice.end_of_input();
    assert_eq!(alice.ended().code, Some(12));
}

#[test]
fn a_chat_is_pushed_out_by_another_of_the_same_user() {
    let server = Server::start("");
    let first = chat(&server, "alice", "bob");
    let _second = chat(&server, "alice", "bob");
    let ended = first.ended();
    assert!(ended.refused(9).contains("pushed out"), "{ended:#?}");
}
