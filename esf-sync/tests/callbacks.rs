//! Functions of the application that block, as a store.

mod support;

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use esf_driver::tasks::Tasks;
use esf_sync::{
    Callbacks, Cursor, Event, GroupId, Threads, UserId,
    store::{Store as _, StoreAnswer, StoreFailed, StoreRequest, StoreResponse},
};

fn user(name: &str) -> UserId {
    UserId::parse(name, 64).unwrap()
}

#[test]
fn a_function_that_blocks_delays_neither_the_server_nor_the_others() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let callbacks = Callbacks::new()
        .contacts_of(move |asked: UserId| {
            if *asked == *"slow" {
                wait.lock().unwrap().recv().map_err(|_| StoreFailed::new("nobody says go"))?;
            }
            Ok(vec![user("bob")])
        })
        .groups_of(|_| Ok(vec![GroupId::parse("staff").unwrap()]))
        .members_of(|_| Ok(None));
    let threads: Arc<dyn Tasks> = Arc::new(Threads::new());
    let store = callbacks.on(threads, 2);
    let ask = |request: StoreRequest| {
        let (told, heard) = mpsc::channel();
        store.submit(request, StoreAnswer::new(move |answer| drop(told.send(answer))));
        heard
    };
    let contacts = |name: &str| StoreRequest::Contacts { user: user(name), after: None, limit: 10 };
    let slow = ask(contacts("slow"));
    let patience = Duration::from_secs(20);
    let quick = ask(contacts("alice")).recv_timeout(patience).unwrap();
    assert_eq!(quick, Ok(StoreResponse::Names(vec![user("bob")])));
    let nobody = StoreRequest::Members { group: GroupId::parse("staff").unwrap(), after: None, limit: 10 };
    assert_eq!(ask(nobody).recv_timeout(patience).unwrap(), Ok(StoreResponse::NotFound));
    assert!(slow.try_recv().is_err(), "it still waits");
    thread::spawn(move || go.send(()).unwrap());
    assert!(slow.recv_timeout(patience).unwrap().is_ok());
}

/// The answers come from threads of the store's own, while links are served on others.
#[test]
fn a_server_on_threads_asks_functions_that_block() {
    let both = |asked: UserId| Ok(vec![user(if *asked == *"alice" { "bob" } else { "alice" })]);
    let store = Callbacks::new().contacts_of(both).on(Arc::new(Threads::new()), 2);
    let (server, url) = support::listen(esf_sync::server().open().store(store));
    let alice = support::connect(&url, "alice");
    let mut events = alice.events();
    let bob = support::connect(&url, "bob");
    support::event(&mut events, |event| (event == Event::ContactConnected { user: user("bob") }).then_some(()));
    let page = alice.contacts(Cursor::START).unwrap();
    assert_eq!(page.members.iter().map(|one| (one.user.as_str(), one.online)).collect::<Vec<_>>(), [("bob", true)]);
    bob.log_off();
    support::event(&mut events, |event| (event == Event::ContactOffline { user: user("bob") }).then_some(()));
    assert_eq!(server.stats().counter("store_failed"), 0);
}
