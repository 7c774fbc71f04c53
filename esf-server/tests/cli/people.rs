//! Who is online, who is pushed out, who is kicked.

use crate::esf::Server;

#[test]
fn online_needs_the_right() {
    let server = Server::start("--admin root");
    let ended = server.run("bob", "online");
    assert!(ended.stdout.is_empty());
    let line = ended.refused(7);
    assert!(line.contains("--admin"), "{line}");
}

#[test]
fn online_lists_users_with_their_devices() {
    let server = Server::start("--admin root");
    let _alice = server.listener("alice", "");
    let _phone = server.listener("alice", "--device phone");
    let _bob = server.listener("bob", "--device 200");
    let mut lines = server.run("root", "online").fine();
    lines.sort();
    assert_eq!(lines, ["alice\tphone cli", "bob\t200"]);
}

#[test]
fn kick_needs_the_right() {
    let server = Server::start("--admin root");
    let mut alice = server.listener("alice", "");
    server.run("bob", "kick alice").refused(7);
    server.run("bob", "send --to alice --type 1 --certainly still-here").fine();
    assert_eq!(alice.line(), "message from bob, type 1: still-here");
}

#[test]
fn whoever_is_kicked_says_so_and_stays_out() {
    let server = Server::start("--admin root");
    let alice = server.listener("alice", "");
    assert_eq!(server.run("root", "kick alice").fine(), ["kicked out alice"]);
    let ended = alice.ended();
    assert!(ended.refused(10).contains("kicked out"), "{ended:#?}");
    server.run("bob", "ping --to alice").refused(5);
}

#[test]
fn nobody_cannot_be_kicked() {
    let server = Server::start("--admin root");
    server.run("root", "kick nobody").refused(5);
}

#[test]
fn a_second_login_pushes_out_the_first() {
    let server = Server::start("");
    let first = server.listener("alice", "");
    let mut second = server.listener("alice", "");
    let ended = first.ended();
    assert!(ended.refused(9).contains("pushed out"), "{ended:#?}");
    // The first stays out: the second gets what is sent.
    server.run("bob", "send --to alice --type 1 --certainly hello").fine();
    assert_eq!(second.line(), "message from bob, type 1: hello");
}

#[test]
fn another_device_and_a_command_push_nobody_out() {
    let server = Server::start("");
    let mut cli = server.listener("alice", "");
    let mut phone = server.listener("alice", "--device phone");
    server.run("alice", "send --to alice --type 1 --certainly me").fine();
    assert_eq!(cli.line(), "message from alice, type 1: me");
    assert_eq!(phone.line(), "message from alice, type 1: me");
}

#[test]
fn a_device_kind_that_is_reserved_is_refused() {
    let server = Server::start("");
    let ended = server.run("alice", "ping --device 6");
    assert!(ended.refused(4).contains("--device"), "{ended:#?}");
}
