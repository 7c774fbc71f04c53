//! Where the threads go. Alone in its process, so that it counts no others.
#![cfg(target_os = "linux")]

mod support;

use std::{fs, time::Duration};

use esf_sync::{Bytes, Handlers, To};
use support::*;

/// The threads of this crate.
fn threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux says so");
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "esf").count()
}

#[test]
fn threads_come_with_work_and_all_go_with_it() {
    assert_eq!(threads(), 0);
    let (server, url) = listen(esf_sync::server().open().handler(Handlers::new().query(|_, _, body| Ok(body))));
    let clients: Vec<_> = (0..10).map(|number| connect(&url, &format!("user{number}"))).collect();
    for client in &clients {
        assert_eq!(client.query(To::Server, 1, "x").unwrap(), "x");
        client.send_blob(To::Server, 1, "", Bytes::from_static(b"refused")).unwrap().outcome().unwrap_err();
    }
    // One that accepts, one that keeps house, two a connection on either side; for a moment those of handlers.
    let lasting = 2 + 10 * 4;
    assert!(threads() >= lasting, "{}", threads());
    until(|| threads() == lasting);
    drop(clients);
    until(|| server.stats().connections == 0);
    until(|| threads() == 2);

    let client = connect(&url, "alice");
    server.shut_down(Duration::ZERO);
    drop(server);
    client.log_off();
    drop(client);
    until(|| threads() == 0);

    // A server and a client that are dropped at work.
    let (server, url) = open_server();
    let client = connect(&url, "alice");
    drop(server);
    drop(client);
    until(|| threads() == 0);
}
