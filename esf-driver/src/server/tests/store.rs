use bytes::Bytes;
use esf_proto::{failure::Failure, ids::GroupId};

use super::*;
use crate::{
    client::{CallError, Cursor, Event, MemberPage},
    store::{Callbacks, MemoryStore, Store, StoreAnswer, StoreLimits, StoreRequest, StoreResponse},
};

const SECOND: Duration = Duration::from_secs(1);

fn user(name: &str) -> UserId {
    UserId::parse(name, 64).unwrap()
}

fn group(id: &str) -> GroupId {
    GroupId::parse(id).unwrap()
}

fn serve(runtime: &Arc<Virtual>, store: impl Store) -> Server {
    ServerBuilder::new(runtime.clone()).open().store(store).start().unwrap()
}

fn contacts(runtime: &Virtual, client: &Client) -> Result<Vec<(String, bool)>, CallError> {
    names(runtime.block_on(client.contacts(Cursor::START)))
}

fn names(page: Result<MemberPage, CallError>) -> Result<Vec<(String, bool)>, CallError> {
    page.map(|page| page.members.into_iter().map(|one| (one.user, one.online)).collect())
}

const INTERNAL: CallError = CallError::Failed(Failure::Internal);

/// What a client heard after its login.
fn heard(runtime: &Virtual, client: &Client) -> Vec<Event> {
    let mut events = client.events();
    runtime.block_on(client.log_off());
    let mut heard = Vec::new();
    while let Some(event) = runtime.block_on(events.next()) {
        heard.push(event);
    }
    heard.retain(|event| !matches!(event, Event::LoginCompleted { .. } | Event::Closed { .. }));
    heard
}

#[test]
fn a_server_asks_its_store_who_belongs_together() {
    let runtime = Virtual::new();
    let store = MemoryStore::open(StoreLimits::default());
    store.add_contact(&user("alice"), &user("bob"));
    store.create_group(&group("red"));
    for member in ["alice", "bob"] {
        store.add_member(&group("red"), &user(member));
    }
    let server = serve(&runtime, store.clone());
    let alice = connect(&runtime, &server, "alice");
    assert_eq!(contacts(&runtime, &alice), Ok(vec![("bob".to_owned(), false)]));
    let seen: Arc<Mutex<Vec<Bytes>>> = Arc::default();
    let log = seen.clone();
    let handler = Handlers::new().broadcast(move |_: Context, _: GroupId, _: u32, body: Bytes| {
        log.lock().unwrap().push(body);
        async {}
    });
    let bob = runtime.block_on(client(&runtime, &server, "bob").handler(handler).connect()).unwrap();
    runtime.advance(2 * SECOND);
    assert_eq!(contacts(&runtime, &alice), Ok(vec![("bob".to_owned(), true)]));
    alice.broadcast(&group("red"), 1, "hello", Default::default()).unwrap();
    runtime.run();
    assert_eq!(*seen.lock().unwrap(), ["hello"]);
    runtime.block_on(bob.log_off());
    runtime.advance(2 * SECOND);
    let bob = user("bob");
    let connected = [Event::ContactConnected { user: bob.clone() }, Event::ContactOffline { user: bob }];
    let mut heard = heard(&runtime, &alice);
    heard.retain(|event| matches!(event, Event::ContactConnected { .. } | Event::ContactOffline { .. }));
    assert_eq!(heard, connected);
    assert_eq!(server.stats().counter("store_failed"), 0);
}

#[test]
fn functions_of_the_application_are_a_store_and_are_asked_again_when_it_says_so() {
    let runtime = Virtual::new();
    let groups: Arc<Mutex<Vec<GroupId>>> = Arc::default();
    let now = groups.clone();
    let callbacks = Callbacks::new().groups_of(move |_| {
        let groups = now.lock().unwrap().clone();
        async move { Ok(groups) }
    });
    let server = serve(&runtime, callbacks.on(runtime.clone(), 4));
    let alice = connect(&runtime, &server, "alice");
    let count = || {
        let page = runtime.block_on(alice.my_groups(Cursor::START)).unwrap();
        page.groups.into_iter().map(|one| one.group).collect::<Vec<_>>()
    };
    assert!(count().is_empty());
    groups.lock().unwrap().push(group("red"));
    assert!(count().is_empty(), "what was told at the login holds");
    server.relations_changed(&user("alice"));
    server.relations_changed(&user("nobody"));
    runtime.run();
    assert_eq!(count(), ["red"]);
    groups.lock().unwrap().clear();
    server.relations_changed(&user("alice"));
    runtime.run();
    assert!(count().is_empty());
}

/// Keeps every answer for the test to give.
#[derive(Clone, Default)]
struct Slow(Arc<Mutex<Vec<(StoreRequest, StoreAnswer)>>>);

impl Slow {
    /// The answer to the oldest request that waits.
    fn answer(&self, response: StoreResponse) {
        self.0.lock().unwrap().remove(0).1.done(response);
    }

    fn waiting(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl Store for Slow {
    fn submit(&self, request: StoreRequest, answer: StoreAnswer) {
        self.0.lock().unwrap().push((request, answer));
    }
}

#[test]
fn a_store_that_is_late_fails_whoever_asked_and_nobody_else() {
    let runtime = Virtual::new();
    let store = Slow::default();
    let server = serve(&runtime, store.clone());
    let alice = connect(&runtime, &server, "alice");
    let bob = connect(&runtime, &server, "bob");
    let began = runtime.now();
    // They wait for what the store says of them first, and then for the page.
    assert_eq!(contacts(&runtime, &alice), Err(INTERNAL));
    assert!(runtime.now().since(began) <= Duration::from_secs(31), "{:?}", runtime.now().since(began));
    runtime.block_on(bob.send_certainly(To::User(user("alice")), 1, "are you there?")).unwrap();
    let failed = server.stats().counter("store_failed");
    assert!(failed >= 3, "{failed}");
    let late = store.waiting();
    for _ in 0..late {
        store.answer(StoreResponse::Names(vec![user("carol")]));
    }
    runtime.run();
    // What is asked again by then is open, the others are not.
    let unasked = server.stats().counter("store_unasked");
    assert!(unasked >= 3 && unasked <= late as u64, "{unasked} of {late}");
    assert!(alice.is_connected() && bob.is_connected());
}

#[test]
fn an_answer_may_come_at_any_time_before() {
    let runtime = Virtual::new();
    let store = Slow::default();
    let server = serve(&runtime, store.clone());
    let alice = connect(&runtime, &server, "alice");
    store.answer(StoreResponse::Person(Default::default()));
    store.answer(StoreResponse::Messages { messages: Vec::new(), more: false });
    runtime.run();
    let page = Arc::new(Mutex::new(None));
    let (told, asker) = (page.clone(), alice.clone());
    runtime.spawn(Box::pin(async move {
        let answer = asker.contacts(Cursor::START).await;
        *told.lock().unwrap() = Some(answer);
    }));
    runtime.advance(14 * SECOND);
    assert!(page.lock().unwrap().is_none());
    store.answer(StoreResponse::Names(vec![user("alice"), user("carol")]));
    runtime.run();
    let page = page.lock().unwrap().take().expect("an answer");
    assert_eq!(names(page), Ok(vec![("alice".to_owned(), true), ("carol".to_owned(), false)]));
    assert_eq!(server.stats().counter("store_failed"), 0);
}

/// Answers what is no answer to anything, fails, drops the answer, or panics.
struct Broken(&'static str);

impl Store for Broken {
    fn submit(&self, _: StoreRequest, answer: StoreAnswer) {
        match self.0 {
            "odd" => answer.done(StoreResponse::Found(true)),
            "failing" => answer.failed("the disk is gone"),
            "silent" => drop(answer),
            _ => panic!("it is to panic"),
        }
    }
}

#[test]
fn a_store_that_is_broken_keeps_nobody_out() {
    for how in ["odd", "failing", "silent", "panicking"] {
        let runtime = Virtual::new();
        let server = serve(&runtime, Broken(how));
        let alice = connect(&runtime, &server, "alice");
        let bob = connect(&runtime, &server, "bob");
        assert_eq!(contacts(&runtime, &alice), Err(INTERNAL), "{how}");
        runtime.block_on(bob.send_certainly(To::User(user("alice")), 1, "are you there?")).unwrap();
        runtime.advance(Duration::from_secs(100));
        assert!(alice.is_connected() && bob.is_connected(), "{how}");
        let stats = server.stats();
        assert_eq!(stats.counter("stores_panicked") > 0, how == "panicking", "{how}");
        assert_eq!(stats.counter("store_failed") > 0, how != "odd", "{how}");
        for client in [alice, bob] {
            runtime.block_on(client.log_off());
        }
        runtime.block_on(server.shut_down(SHUT_DOWN_GRACE));
        runtime.advance(2 * SECOND);
        assert_eq!(runtime.running(), 0, "{how}: nobody carries to the store any more");
    }
}

#[test]
fn a_store_that_keeps_its_answers_does_not_keep_the_server() {
    let runtime = Virtual::new();
    let store = Slow::default();
    let server = serve(&runtime, store.clone());
    let alice = connect(&runtime, &server, "alice");
    runtime.block_on(server.shut_down(SHUT_DOWN_GRACE));
    drop(alice);
    runtime.advance(60 * SECOND);
    let gone = Arc::downgrade(&server.0);
    drop(server);
    assert!(gone.upgrade().is_none());
    assert!(store.waiting() > 0);
    store.answer(StoreResponse::Done);
}

#[test]
fn without_a_store_nobody_has_contacts() {
    let runtime = Virtual::new();
    let server = ServerBuilder::new(runtime.clone()).open().configure(|config| config.store = true).start().unwrap();
    let alice = connect(&runtime, &server, "alice");
    assert_eq!(contacts(&runtime, &alice), Ok(Vec::new()));
}
