use std::{
    future::pending,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, TryRecvError, channel},
    },
};

use esf_proto::ids::DeviceKind;

use super::*;
use crate::testing::Virtual;

type Answer = Result<StoreResponse, StoreFailed>;

fn user(name: &str) -> UserId {
    UserId::parse(name, 64).unwrap()
}

fn group(id: &str) -> GroupId {
    GroupId::parse(id).unwrap()
}

fn submit(store: &CallbackStore, request: StoreRequest) -> Receiver<Answer> {
    let (told, heard) = channel();
    store.submit(request, StoreAnswer::new(move |answer| drop(told.send(answer))));
    heard
}

fn ask(runtime: &Virtual, store: &CallbackStore, request: StoreRequest) -> Answer {
    let heard = submit(store, request);
    runtime.run();
    heard.try_recv().expect("an answer")
}

fn person(name: &str) -> StoreRequest {
    StoreRequest::Person { user: user(name), device: DeviceKind::PHONE, max_contacts: 3, max_groups: 1 }
}

#[test]
fn lists_of_the_application_are_put_in_order_and_cut() {
    let runtime = Virtual::new();
    let callbacks = Callbacks::new()
        .contacts_of(async |user: UserId| {
            let names = ["dave", "carol", "erin", "carol", "bob"];
            Ok(names.into_iter().map(self::user).chain([user]).collect())
        })
        .groups_of(async |_: UserId| Ok(vec![group("b"), group("a")]))
        .members_of(async |id: GroupId| Ok((&*id == "a").then(|| vec![user("zoe"), user("alice"), user("bob")])));
    let store = callbacks.on(runtime.clone(), 1);

    let Ok(StoreResponse::Person(alice)) = ask(&runtime, &store, person("alice")) else { panic!("a person") };
    assert_eq!(alice.contacts, [user("bob"), user("carol"), user("dave")]);
    assert_eq!(alice.groups, [group("a")]);
    assert!(alice.cut && !alice.stored && !alice.exists);

    let page = StoreRequest::Contacts { user: user("erin"), after: Some(user("bob")), limit: 9 };
    assert_eq!(ask(&runtime, &store, page), Ok(StoreResponse::Names(vec![user("carol"), user("dave")])));
    let page = StoreRequest::Members { group: group("a"), after: None, limit: 2 };
    assert_eq!(ask(&runtime, &store, page), Ok(StoreResponse::Names(vec![user("alice"), user("bob")])));
    let page = StoreRequest::Members { group: group("b"), after: None, limit: 2 };
    assert_eq!(ask(&runtime, &store, page), Ok(StoreResponse::NotFound));
}

#[test]
fn what_is_not_given_is_empty_and_no_message_is_kept() {
    let runtime = Virtual::new();
    let store = Callbacks::new().on(runtime.clone(), 1);
    assert_eq!(ask(&runtime, &store, person("alice")), Ok(StoreResponse::Person(Person::default())));
    let fetch = StoreRequest::Fetch {
        user: user("alice"),
        device: DeviceKind::PHONE,
        after: super::super::StoreId(0),
        max_messages: 1,
        max_bytes: 1,
    };
    assert_eq!(ask(&runtime, &store, fetch), Ok(StoreResponse::Messages { messages: Vec::new(), more: false }));
}

#[test]
fn so_many_are_asked_at_the_same_time_and_the_others_wait() {
    let runtime = Virtual::new();
    let most = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let counted = most.clone();
    let tasks = runtime.clone();
    let store = Callbacks::new()
        .contacts_of(move |_| {
            let (counted, tasks) = (counted.clone(), tasks.clone());
            async move {
                let now = counted.0.fetch_add(1, Ordering::SeqCst) + 1;
                counted.1.fetch_max(now, Ordering::SeqCst);
                let at = tasks.now() + Duration::from_secs(1);
                crate::tasks::sleep_until(&*tasks, at).await;
                counted.0.fetch_sub(1, Ordering::SeqCst);
                Ok(Vec::new())
            }
        })
        .on(runtime.clone(), 2);
    let heard: Vec<_> = (0..5).map(|_| submit(&store, person("alice"))).collect();
    runtime.advance(Duration::from_secs(3));
    assert!(heard.iter().all(|heard| matches!(heard.try_recv(), Ok(Ok(_)))));
    assert_eq!(most.1.load(Ordering::SeqCst), 2);
    assert_eq!(runtime.running(), 0, "a task that has nothing to do ends");
}

#[test]
fn a_function_that_fails_panics_or_never_ends_fails_for_the_one_who_asked() {
    let runtime = Virtual::new();
    let store = Callbacks::new()
        .contacts_of(|user: UserId| async move {
            match &*user {
                "fails" => Err(StoreFailed::new("no database")),
                "panics" => panic!("an application's fault"),
                "hangs" => pending().await,
                _ => Ok(Vec::new()),
            }
        })
        .on(runtime.clone(), 2);
    let hangs = submit(&store, person("hangs"));
    assert_eq!(ask(&runtime, &store, person("fails")), Err(StoreFailed::new("no database")));
    assert_eq!(ask(&runtime, &store, person("panics")), Err(StoreFailed::new("the application panicked")));
    assert!(ask(&runtime, &store, person("bob")).is_ok());
    runtime.advance(Duration::from_millis(14_999));
    assert_eq!(hangs.try_recv(), Err(TryRecvError::Empty));
    runtime.advance(Duration::from_millis(1));
    assert_eq!(hangs.try_recv(), Ok(Err(StoreFailed::new("the application took too long"))));
    assert!(ask(&runtime, &store, person("bob")).is_ok());
}
