use std::sync::mpsc;

use super::*;

type Heard = mpsc::Receiver<Result<StoreResponse, StoreFailed>>;

fn answer() -> (StoreAnswer, Heard) {
    let (told, heard) = mpsc::channel();
    (StoreAnswer::new(move |answer| drop(told.send(answer))), heard)
}

#[test]
fn an_answer_is_heard_once() {
    let (answer, heard) = answer();
    answer.done(StoreResponse::Stored);
    assert_eq!(heard.iter().collect::<Vec<_>>(), [Ok(StoreResponse::Stored)]);
}

#[test]
fn an_answer_that_is_dropped_is_a_failure() {
    let (answer, heard) = answer();
    drop(answer);
    assert_eq!(heard.iter().collect::<Vec<_>>(), [Err(StoreFailed::new("the store gave no answer"))]);
}

#[test]
fn an_answer_crosses_threads() {
    let (answer, heard) = answer();
    std::thread::spawn(move || answer.failed("the disk is full")).join().unwrap();
    assert_eq!(heard.recv().unwrap().unwrap_err().to_string(), "the store failed: the disk is full");
}
