//! What handlers of the scenarios wait at.

use std::{
    sync::Mutex,
    task::{Poll, Waker},
};

/// Shut until it is opened, once and for all.
#[derive(Default)]
pub(crate) struct Gate(Mutex<(bool, Vec<Waker>)>);

impl Gate {
    /// Lets everybody through, now and later.
    pub(crate) fn open(&self) {
        let mut state = self.0.lock().expect("nobody panics here");
        state.0 = true;
        state.1.drain(..).for_each(Waker::wake);
    }

    /// Blocks until it is open.
    pub(crate) fn wait(&self) {
        esf_driver::blocking::run(self.pass());
    }

    /// Ready once it is open.
    pub(crate) async fn pass(&self) {
        std::future::poll_fn(|cx| {
            let mut state = self.0.lock().expect("nobody panics here");
            if state.0 {
                return Poll::Ready(());
            }
            state.1.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
