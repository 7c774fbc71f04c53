//! Load in both directions at the same time.

mod support;

use std::{sync::mpsc, thread};

use esf_sync::{Bytes, Client, Handlers, SendError};
use support::*;

const MESSAGES: u32 = 5_000;

/// Sends all numbers, and waits where the client is full.
fn send_all(client: &Client, name: &'static str, body: &Bytes) {
    for number in 0..MESSAGES {
        loop {
            match client.send(to(name), number, body.clone()) {
                Ok(()) => break,
                Err(SendError::Busy(_)) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
        if number % 50 == 0 {
            // Plain sends that a receiver has no room for are dropped at the server.
            client.settled().expect("it goes on");
        }
    }
}

#[test]
fn two_clients_flood_each_other_and_every_message_arrives_in_order() {
    let (_server, url) = open_server();
    let body = Bytes::from(vec![7; 1_000]);
    let client = |name: &str| {
        let (tell, told) = mpsc::channel();
        let handler = Handlers::new().information(move |_, number, body| {
            assert_eq!(body.len(), 1_000);
            tell.send(number).expect("the test waits");
        });
        (esf_sync::client(&url, config(name)).handler(handler).connect().unwrap(), told)
    };
    let (alice, to_alice) = client("alice");
    let (bob, to_bob) = client("bob");
    let senders = [(alice.clone(), "bob"), (bob.clone(), "alice")].map(|(client, name)| {
        let body = body.clone();
        thread::spawn(move || send_all(&client, name, &body))
    });
    for inbox in [to_alice, to_bob] {
        for expected in 0..MESSAGES {
            assert_eq!(inbox.recv_timeout(PATIENCE), Ok(expected));
        }
    }
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    assert_eq!((alice.stats().handlers_panicked, bob.stats().handlers_panicked), (0, 0));
}

#[test]
fn many_threads_ask_over_one_connection() {
    let (_server, url) = listen(esf_sync::server().open().handler(Handlers::new().query(|_, _, body| Ok(body))));
    let alice = connect(&url, "alice");
    let asking: Vec<_> = (0..16)
        .map(|thread| {
            let alice = alice.clone();
            thread::spawn(move || {
                for number in 0..50 {
                    let body = format!("{thread} {number}");
                    assert_eq!(alice.query(esf_sync::To::Server, 1, body.clone()).unwrap(), body);
                }
            })
        })
        .collect();
    asking.into_iter().for_each(|thread| thread.join().unwrap());
}
