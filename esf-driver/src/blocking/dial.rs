//! The thread that makes a client's connections, and writes on them.

use std::{
    io,
    task::{Wake as _, Waker},
    time::Instant as StdInstant,
};

use esf_proto::{ids::LinkId, time::Instant};

use super::{Stream, connection::converse, conversation::Outgoing, wait::Signal};
use crate::{
    client::{Dial, Dialer, Dialing},
    sync::{Arc, Mutex, PoisonError},
    tasks::Tasks,
};

/// Makes the connections of a client. It may block for as long as connecting takes.
pub(super) type Connect = dyn Fn() -> io::Result<Arc<dyn Stream>> + Send + Sync;

/// Makes the connections that a client wants and carries each to its end, until the client is over.
pub(super) fn dial(tasks: &Arc<dyn Tasks>, dialer: Dialer, connect: &Arc<Connect>) {
    let dialing = Arc::new(dialer);
    // Also when a thread that reads holds on to it.
    let _end = End(dialing.clone());
    let signal = Arc::new(Signal::default());
    let waker = Waker::from(signal.clone());
    loop {
        dialing.register(&waker);
        match dialing.next() {
            Dial::Connect(link) => {
                if let Some(stream) = open(tasks, &dialing, link, connect, &signal) {
                    converse(tasks, stream, Outgoing::new(dialing.clone(), link), signal.clone());
                }
            }
            Dial::Wait(at) => wait(&signal, &**tasks, at),
            Dial::Over => return,
        }
    }
}

/// A stream for `link`. Another thread waits for it, which is left to itself when nobody wants the stream any more.
fn open(
    tasks: &Arc<dyn Tasks>,
    dialer: &Dialer,
    link: LinkId,
    connect: &Arc<Connect>,
    signal: &Arc<Signal>,
) -> Option<Arc<dyn Stream>> {
    let opened = Arc::new(Mutex::new(None));
    let (opening, connect, tell) = (opened.clone(), connect.clone(), signal.clone());
    tasks.spawn(Box::pin(async move {
        let result = connect();
        *opening.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        tell.wake();
    }));
    loop {
        dialer.register(&Waker::from(signal.clone()));
        let Dialing::Wait(at) = dialer.dialing(link) else { return None };
        match opened.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(Ok(stream)) => return Some(stream),
            Some(Err(error)) => {
                dialer.handle_failed(link, &error);
                return None;
            }
            None => {}
        }
        wait(signal, &**tasks, at);
    }
}

fn wait(signal: &Signal, tasks: &dyn Tasks, at: Option<Instant>) {
    signal.wait_until(at.map(|at| StdInstant::now() + at.since(tasks.now())));
}

struct End(Arc<Dialer>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.end();
    }
}
