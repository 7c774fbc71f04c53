//! A server that dies and comes back.

use crate::esf::Server;

#[test]
fn a_listener_comes_back_after_the_server_was_killed() {
    let server = Server::start("");
    let mut alice = server.listener("alice", "");
    let address = server.address().to_owned();
    server.process.kill();
    let note = alice.note_with("interrupted");
    assert!(note.contains("connecting again"), "{note}");

    let server = Server::start_on(&address, "--log off");
    alice.note_with("connected again");
    server.run("bob", "send --to alice --type 1 --certainly hello").fine();
    assert_eq!(alice.line(), "message from bob, type 1: hello");
}

#[test]
fn a_chat_delivers_after_the_restart_what_was_typed_without_a_server() {
    let server = Server::start("");
    let mut bob = server.listener("bob", "");
    let mut alice = server.user("alice", "chat --with bob");
    alice.note_with("connected as");
    let address = server.address().to_owned();
    server.process.kill();
    alice.note_with("interrupted");
    bob.note_with("interrupted");
    alice.type_line("are you there?");

    let _server = Server::start_on(&address, "--log off");
    bob.note_with("connected again");
    alice.note_with("connected again");
    // If alice is back before bob, bob is offline for the new server: the line then ends with that, and only with that.
    alice.end_of_input();
    let ended = alice.ended();
    match ended.code {
        Some(0) => assert_eq!(bob.line(), "message from alice, type 1: are you there?"),
        Some(5) => assert!(ended.refused(5).contains("not delivered: bob is offline"), "{ended:#?}"),
        _ => panic!("{ended:#?}"),
    }
}
