//! Messages, queries and pings between commands.

use crate::esf::{Esf, Server};

#[test]
fn a_message_is_printed_where_it_is_sent_to() {
    let server = Server::start("");
    let mut alice = server.listener("alice", "--count 1");
    server.run("bob", "send --to alice --type 7 hello").fine();
    assert_eq!(alice.line(), "message from bob, type 7: hello");
    assert!(alice.ended().fine().is_empty());
}

#[test]
fn what_has_no_type_has_that_of_a_chat() {
    let server = Server::start("");
    let mut alice = server.listener("alice", "--echo");
    server.run("bob", "send --to alice --certainly hello").fine();
    assert_eq!(alice.line(), "message from bob, type 1: hello");
    server.run("bob", "query --to alice what?").fine();
    assert_eq!(alice.line(), "query from bob, type 1: what?");
}

#[test]
fn a_certain_message_is_acknowledged() {
    let server = Server::start("");
    let mut alice = server.listener("alice", "");
    server.run("bob", "send --to alice --type 7 --certainly hello").fine();
    assert_eq!(alice.line(), "message from bob, type 7: hello");
}

#[test]
fn a_certain_message_to_nobody_is_refused() {
    let server = Server::start("");
    let ended = server.run("bob", "send --to nobody --type 7 --certainly hello");
    let line = ended.refused(5);
    assert!(line.contains("nobody is offline"), "{line}");
}

#[test]
fn a_plain_message_to_nobody_is_taken_by_the_server() {
    let server = Server::start("");
    server.run("bob", "send --to nobody --type 7 hello").fine();
}

#[test]
fn a_name_that_is_too_long_for_the_server_is_refused() {
    let server = Server::start("");
    let ended = server.run(&"n".repeat(65), "ping");
    assert!(ended.refused(4).contains("login refused"), "{ended:#?}");
}

#[test]
fn a_query_prints_its_answer() {
    let server = Server::start("");
    let mut alice = server.listener("alice", "--echo");
    assert_eq!(server.run("bob", "query --to alice --type 3 what?").fine(), ["what?"]);
    assert_eq!(alice.line(), "query from bob, type 3: what?");
}

#[test]
fn the_last_thing_that_is_counted_is_still_answered() {
    let server = Server::start("");
    let alice = server.listener("alice", "--echo --count 1");
    assert_eq!(server.run("bob", "query --to alice --type 3 what?").fine(), ["what?"]);
    assert_eq!(alice.ended().fine(), ["query from bob, type 3: what?"]);
}

#[test]
fn a_query_that_nobody_answers_says_so() {
    let server = Server::start("");
    let _alice = server.listener("alice", "");
    let ended = server.run("bob", "query --to alice --type 3 what?");
    assert!(ended.stdout.is_empty());
    let line = ended.refused(13);
    assert!(line.contains("alice has no answer"), "{line}");
}

#[test]
fn a_query_to_nobody_says_so() {
    let server = Server::start("");
    server.run("bob", "query --to nobody --type 3 what?").refused(5);
}

#[test]
fn a_ping_reaches_the_server_and_users() {
    let server = Server::start("");
    let _alice = server.listener("alice", "");
    for (to, who) in [("", "the server"), ("--to alice", "alice")] {
        let lines = server.run("bob", &format!("ping {to}")).fine();
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        let time = line.strip_prefix(&format!("{who} answered in ")).and_then(|rest| rest.strip_suffix(" ms"));
        assert!(time.is_some_and(|time| time.parse::<f64>().unwrap() > 0.0), "{line}");
    }
}

#[test]
fn a_ping_to_nobody_says_so() {
    let server = Server::start("");
    let ended = server.run("bob", "ping --to nobody");
    assert!(ended.stdout.is_empty());
    ended.refused(5);
}

#[test]
fn without_a_server_every_command_ends_at_once() {
    // A port that is taken, and that nobody listens on.
    let taken = tokio::net::TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("ws://{}", taken.local_addr().unwrap());
    let commands = [
        "listen",
        "send --to bob --type 1 x",
        "query --to bob --type 1 x",
        "ping",
        "online",
        "kick bob",
        "chat --with bob",
    ];
    for command in commands {
        let ended = Esf::run(command, &["--user", "alice", "--url", &url]);
        assert!(ended.stdout.is_empty(), "{command}: {ended:#?}");
        let line = ended.refused(3);
        assert!(line.contains(&url) && line.contains("esf serve`"), "{line}");
    }
}

#[test]
fn the_environment_names_server_and_user() {
    let server = Server::start("");
    let mut alice = server.listener("alice", "");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_esf"));
    command.args(["send", "--to", "alice", "--type", "1", "--certainly", "hello"]);
    command.env("ESF_URL", &server.url).env("ESF_USER", "bob");
    Esf::spawn(command, "esf send by environment".into()).ended().fine();
    assert_eq!(alice.line(), "message from bob, type 1: hello");
}
