use std::sync::mpsc;

use super::*;

#[test]
fn it_answers_before_submit_returns() {
    let store = MemoryStore::new(StoreLimits::default());
    let (told, heard) = mpsc::channel();
    let alice = UserId::parse("alice", 64).unwrap();
    let request = StoreRequest::Contacts { user: alice, after: None, limit: 10 };
    store.submit(request, StoreAnswer::new(move |answer| drop(told.send(answer))));
    assert_eq!(heard.try_recv(), Ok(Ok(StoreResponse::Names(Vec::new()))));
}

#[test]
fn clones_are_the_same_store() {
    let store = MemoryStore::new(StoreLimits::default());
    let alice = UserId::parse("alice", 64).unwrap();
    assert!(store.clone().add_user(&alice));
    assert!(!store.add_user(&alice));
}
