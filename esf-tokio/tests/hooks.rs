//! The example of a server that uses every hook does what it says.

mod support;

#[path = "../examples/hooks.rs"]
#[expect(dead_code, reason = "its `main` waits for ever")]
mod example;

use std::sync::{Arc, Mutex};

use esf_tokio::{
    Bytes, CallError, Client, Config, Credential, CredentialKind, Cursor, Failure, GroupId, MessageOptions, To,
};
use support::{PATIENCE, soon, to, until, user};

async fn connect(url: &str, name: &'static str) -> Client {
    let mut config = Config::new(user(name));
    config.credential = Credential { kind: CredentialKind::Password, bytes: Bytes::from_static(name.as_bytes()) };
    esf_tokio::connect(url, config).await.expect("logs in")
}

#[tokio::test]
async fn the_example_uses_every_hook() {
    let heard = Arc::new(Mutex::new(Vec::<String>::new()));
    let lines = heard.clone();
    let say = Arc::new(move |line| lines.lock().expect("whole").push(line));
    let server = example::serve("127.0.0.1:0", say).await.expect("a free port");
    let url = format!("ws://{}", server.local_addr().expect("an address"));
    let hears = async |what: &'static str| {
        until(|| heard.lock().expect("whole").iter().any(|line| line.contains(what))).await;
    };

    let wrong = esf_tokio::connect(&url, Config::new(user("alice"))).await;
    assert!(wrong.is_err(), "no password");
    let (alice, bob) = (connect(&url, "alice").await, connect(&url, "bob").await);
    hears("alice connected from 127.0.0.1").await;
    let answer = soon(alice.query(To::Server, 1, "who am I?")).await;
    assert_eq!(answer.expect("an answer"), "hello alice, you asked: who am I?");
    alice.send(To::Server, 7, "good day").expect("room");
    hears("alice tells 7: good day").await;
    alice.send_message(To::Server, 7, "?", "the weather", MessageOptions::default()).expect("room");
    hears("alice tells something about the weather").await;
    let blob = alice.send_blob(To::Server, 1, "photo.jpg", Bytes::from(vec![0; 100_000])).expect("room");
    soon(blob.outcome()).await.expect("arrives");
    hears("alice sends \"photo.jpg\" of 100000 bytes").await;

    let spam = soon(alice.send_certainly(to("bob"), 1, "spam, spam")).await;
    assert_eq!(spam, Err(CallError::Failed(Failure::NotAllowed)));
    let large = alice.send_blob(to("bob"), 1, "film", Bytes::from(vec![0; 2 << 20])).expect("room");
    soon(large.outcome()).await.expect_err("too large for the house");
    soon(alice.send_certainly(to("bob"), 1, "fine")).await.expect("passes");

    let contacts = soon(alice.contacts(Cursor::START)).await.expect("a page");
    assert_eq!(contacts.members.iter().map(|one| one.user.as_str()).collect::<Vec<_>>(), ["bob"]);
    alice.send(to("nobody"), 3, "?").expect("room");
    hears("a message of alice to").await;
    // Bob handles nothing, so he refuses blobs.
    let staff = GroupId::parse("staff").expect("an id");
    let missed = alice.broadcast_blob(&staff, 1, "plan", Bytes::from_static(b"a plan")).expect("room");
    soon(missed.outcome()).await.expect_err("nobody took it");
    hears("bob missed what alice sent to staff: rejected").await;

    let newer = connect(&url, "bob").await;
    hears("bob pushed out by").await;
    hears("bob disconnected: ").await;
    drop(bob);
    soon(newer.log_off()).await;
    soon(server.shut_down(PATIENCE)).await;
}
