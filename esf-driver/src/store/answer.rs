//! The way back of an answer.

use std::fmt;

use super::{StoreFailed, StoreResponse};

type Hear = Box<dyn FnOnce(Result<StoreResponse, StoreFailed>) + Send>;

/// Takes the answer to one request, once. Dropped without one it says that the store failed, so that whoever asked always
/// hears something.
pub struct StoreAnswer(Option<Hear>);

impl StoreAnswer {
    /// An answer that `hear` will be told, on the thread that gives it. It is told while the store is at work, so it is
    /// quick.
    pub fn new(hear: impl FnOnce(Result<StoreResponse, StoreFailed>) + Send + 'static) -> Self {
        Self(Some(Box::new(hear)))
    }

    /// Gives the answer.
    pub fn give(mut self, answer: Result<StoreResponse, StoreFailed>) {
        self.tell(answer);
    }

    /// The request was carried out.
    pub fn done(self, response: StoreResponse) {
        self.give(Ok(response));
    }

    /// The request could not be carried out, for this reason.
    pub fn failed(self, reason: impl Into<Box<str>>) {
        self.give(Err(StoreFailed::new(reason)));
    }

    /// The store does not do what was asked.
    pub fn refuse(self) {
        self.failed("the store does not do this");
    }

    fn tell(&mut self, answer: Result<StoreResponse, StoreFailed>) {
        if let Some(hear) = self.0.take() {
            hear(answer);
        }
    }
}

impl Drop for StoreAnswer {
    fn drop(&mut self) {
        self.tell(Err(StoreFailed::new("the store gave no answer")));
    }
}

impl fmt::Debug for StoreAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreAnswer")
    }
}

#[cfg(test)]
mod tests;
