//! Groups and contacts on a running server: `esf broadcast`, `esf watch`, `--group` and `--join`.

use std::time::{Duration, Instant};

use crate::{
    accounts::Data,
    esf::{Esf, Server},
};

/// An open server with a directory of its own.
fn serve(data: &Data) -> Server {
    Server::start(&format!("--data {}", data.path()))
}

/// Somebody who talks with a group, and is in it.
fn chat(server: &Server, user: &str, group: &str) -> Esf {
    let mut chat = server.user(user, &format!("chat --group {group}"));
    chat.note_with("connected as");
    chat
}

#[test]
fn a_broadcast_is_seen_by_the_other_members_only() {
    let data = Data::new("broadcast");
    data.run("group create red").fine();
    data.run("group add red alice bob carol").fine();
    let server = serve(&data);
    let (mut bob, mut carol) = (server.listener("bob", "--join red"), server.listener("carol", "--json"));
    let mut dan = server.listener("dan", "");
    server.run("alice", "broadcast --group red hello").fine();
    server.run("alice", "broadcast --group red --type 7 again").fine();
    assert_eq!(bob.line(), "broadcast in red from alice, type 1: hello");
    assert_eq!(bob.line(), "broadcast in red from alice, type 7: again");
    assert_eq!(carol.line(), r#"{"event":"broadcast","group":"red","from":"alice","type":1,"text":"hello"}"#);
    server.run("alice", "send --to dan --type 1 --certainly you").fine();
    assert_eq!(dan.line(), "message from alice, type 1: you", "a stranger sees no broadcast");
}

#[test]
fn who_is_no_member_is_told_so() {
    let data = Data::new("strangers");
    data.run("group create red").fine();
    let server = serve(&data);
    for line in ["broadcast --group red hello", "listen --join red", "chat --group red", "broadcast --group blue hello"]
    {
        let ended = server.run("dan", line);
        let line = ended.refused(7);
        assert!(line.contains("you are not in the group") && line.contains("esf group add"), "{line}");
    }
    let ended = server.run("dan", "broadcast --group ~dance hello");
    assert!(ended.refused(7).contains("esf chat --group '~dance'"));
    for line in ["chat", "chat --group red --with bob", "broadcast hello", "listen --join"] {
        assert_eq!(server.run("dan", line).code, Some(2), "{line}");
    }
}

#[test]
fn a_dynamic_group_is_made_joined_and_left() {
    let server = Server::start("");
    let mut alice = chat(&server, "alice", "~dance");
    let mut bob = chat(&server, "bob", "~dance");
    assert_eq!(alice.note(), "esf: bob joined ~dance");
    alice.type_line("shall we?");
    assert_eq!(bob.line(), "alice: shall we?");
    let mut carol = server.listener("carol", "--join ~dance --join ~sing");
    assert_eq!(alice.note(), "esf: carol joined ~dance");
    bob.type_line("yes");
    assert_eq!(alice.line(), "bob: yes");
    assert_eq!(carol.line(), "broadcast in ~dance from bob, type 1: yes");
    // A member's other command may send as well.
    server.run("carol", "broadcast --group ~dance me-too").fine();
    assert_eq!(bob.line(), "carol: me-too");
    server.run("carol", "send --to bob --type 1 --certainly only-you").fine();
    assert_eq!(bob.line(), "carol to you: only-you");
    // He leaves with the command that entered, though he is online with another one.
    let _bob = server.listener("bob", "--device phone");
    bob.end_of_input();
    bob.ended();
    assert_eq!(alice.note(), "esf: bob left ~dance");
    server.run("bob", "broadcast --group ~dance and-now").refused(7);
}

#[test]
fn who_is_gone_without_a_word_leaves_dynamic_groups_unless_a_setting_keeps_them() {
    for quits in [true, false] {
        let flags = format!("--protocol-resume-window 1s --protocol-quit-on-offline={quits}");
        let server = Server::start(&flags);
        let mut alice = chat(&server, "alice", "~dance");
        let bob = chat(&server, "bob", "~dance");
        assert_eq!(alice.note(), "esf: bob joined ~dance");
        bob.kill();
        let began = Instant::now();
        while server.run("alice", "ping --to bob").code == Some(0) {
            assert!(began.elapsed() < Duration::from_secs(30), "his window ends");
        }
        if quits {
            assert_eq!(alice.note(), "esf: bob left ~dance");
            server.run("bob", "broadcast --group ~dance hello").refused(7);
        } else {
            server.run("bob", "broadcast --group ~dance hello").fine();
            assert_eq!(alice.line(), "bob: hello");
        }
    }
}

#[cfg(unix)]
#[test]
fn a_dynamic_group_is_entered_again_when_the_server_was_started_anew() {
    let server = Server::start("");
    let mut alice = server.listener("alice", "--join ~dance");
    let address = server.address().to_owned();
    server.process.kill();
    let server = Server::start_on(&address, "--log off");
    alice.note_with("as a new session");
    let began = Instant::now();
    loop {
        let mut bob = chat(&server, "bob", "~dance");
        bob.type_line("there?");
        bob.end_of_input();
        bob.ended();
        // It may have been faster than alice.
        if let Some(line) = alice.line_within(Duration::from_millis(300)) {
            assert_eq!(line, "broadcast in ~dance from bob, type 1: there?");
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(20));
    }
}

#[test]
fn whoever_watches_sees_contacts_and_groupmates_come_and_go_within_a_second() {
    let data = Data::new("watch");
    data.run("contact add alice bob").fine();
    data.run("group create red").fine();
    data.run("group add red alice bob carol").fine();
    let server = serve(&data);
    let mut watch = server.user("alice", "watch");
    assert_eq!(watch.line(), "bob\toffline\tcontact, red");
    assert_eq!(watch.line(), "carol\toffline\tred");
    let bob = server.listener("bob", "");
    let began = Instant::now();
    assert_eq!(watch.line(), "bob\tonline\tcontact, red");
    let mut took = began.elapsed();
    let carol = server.listener("carol", "");
    assert_eq!(watch.line(), "carol\tonline\tred");
    bob.signal("TERM");
    bob.ended().fine();
    let began = Instant::now();
    assert_eq!(watch.line(), "bob\toffline\tcontact, red");
    took = took.max(began.elapsed());
    assert!(took < Duration::from_secs(5), "about half a second, on a machine that is not busy: {took:?}");
    // What is changed in the store is seen while both are online.
    data.run("contact add alice dan").fine();
    data.run("group remove red carol").fine();
    let mut changed = [watch.line(), watch.line()];
    changed.sort();
    assert_eq!(changed, ["carol\tgone\t", "dan\toffline\tcontact"]);
    drop(carol);
    let mut json = server.user("alice", "watch --json");
    assert_eq!(json.line(), r#"{"name":"bob","online":false,"contact":true,"groups":["red"]}"#);
    // Nobody sees that alice looks, and she is nobody's target.
    server.run("bob", "send --to alice --type 1 --certainly hello").refused(5);
    watch.signal("TERM");
    watch.ended().fine_with_notes();
}

#[test]
fn whoever_is_added_to_a_group_while_online_is_in_it_soon() {
    let data = Data::new("befriend");
    data.run("group create red").fine();
    data.run("group add red bob").fine();
    let server = serve(&data);
    let (mut alice, mut bob) = (server.listener("alice", ""), server.listener("bob", ""));
    server.run("alice", "broadcast --group red hello").refused(7);
    data.run("group add red alice").fine();
    let began = Instant::now();
    while server.run("alice", "broadcast --group red hello").code != Some(0) {
        assert!(began.elapsed() < Duration::from_secs(20), "the server notices");
    }
    assert_eq!(bob.line(), "broadcast in red from alice, type 1: hello");
    server.run("bob", "broadcast --group red welcome").fine();
    assert_eq!(alice.line(), "broadcast in red from bob, type 1: welcome");
}
