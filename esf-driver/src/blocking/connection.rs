//! The two threads of a connection.

use std::{
    io::{self, ErrorKind},
    task::{Wake as _, Waker},
    time::Instant as StdInstant,
};

use esf_proto::time::Instant;

use super::{Stream, conversation::Conversation, wait::Signal};
use crate::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    tasks::Tasks,
};

/// What is read at once.
const READ: usize = 8 * 1024;

/// A connection: one thread reads and blocks there, with no lock held; the other writes, and waits for work or for the
/// next timeout.
struct Connection<C> {
    tasks: Arc<dyn Tasks>,
    stream: Arc<dyn Stream>,
    state: Mutex<State<C>>,
    writer: Arc<Signal>,
}

struct State<C> {
    conversation: C,
    /// Until when the writer waits, if it does.
    planned: Option<Option<Instant>>,
}

/// Carries a conversation on `stream` to its end, on this thread and one more.
pub(super) fn converse(
    tasks: &Arc<dyn Tasks>,
    stream: Arc<dyn Stream>,
    conversation: impl Conversation + 'static,
    writer: Arc<Signal>,
) {
    let state = Mutex::new(State { conversation, planned: None });
    let connection = Arc::new(Connection { tasks: tasks.clone(), stream, state, writer });
    let reading = connection.clone();
    tasks.spawn(Box::pin(async move { reading.read() }));
    let ended = connection.write();
    if ended.is_err() {
        connection.lock().conversation.handle_end(connection.tasks.now());
    }
    // The reader comes back from where it blocks.
    connection.stream.shut_down();
}

impl<C: Conversation> Connection<C> {
    fn read(&self) {
        let mut buffer = [0; READ];
        loop {
            let read = self.stream.read(&mut buffer);
            let mut state = self.lock();
            // Under the lock, so that time never goes back.
            let now = self.tasks.now();
            match read {
                Ok(count @ 1..) => state.conversation.handle_bytes(now, buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => {
                    state.conversation.handle_end(now);
                    drop(state);
                    return self.writer.wake_by_ref();
                }
            }
            let over = state.conversation.is_over();
            let wake = over || state.writer_has_work();
            drop(state);
            if wake {
                self.writer.wake_by_ref();
            }
            if over {
                return;
            }
        }
    }

    fn write(&self) -> io::Result<()> {
        let waker = Waker::from(self.writer.clone());
        let (mut buffer, mut written, mut finished) = (Vec::new(), false, false);
        loop {
            let (mut state, now) = self.look(&waker, std::mem::take(&mut written));
            if state.conversation.is_over() {
                let last = state.conversation.poll_bytes(&mut buffer);
                drop(state);
                // It is not waited for.
                return if last { self.write_all(&buffer, &waker).map(drop) } else { Ok(()) };
            }
            let some = state.conversation.poll_bytes(&mut buffer);
            let at = state.conversation.poll_timeout();
            state.planned = (!some).then_some(at);
            let finish = !finished && state.conversation.is_finished();
            drop(state);
            if some {
                if !self.write_all(&buffer, &waker)? {
                    return Ok(());
                }
                written = true;
            } else if finish {
                finished = true;
                self.stream.finish();
            } else {
                self.writer.wait_until(at.map(|at| StdInstant::now() + at.since(now)));
            }
        }
    }

    /// Writes the bytes, and looks after the time where that takes long; `false` if the conversation ended meanwhile.
    fn write_all(&self, bytes: &[u8], waker: &Waker) -> io::Result<bool> {
        let mut left = bytes;
        while !left.is_empty() {
            match self.stream.write(left) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => left = left.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if self.look(waker, false).0.conversation.is_over() {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Lets the conversation do what there is to do, after what was taken out was written, say.
    fn look(&self, waker: &Waker, written: bool) -> (MutexGuard<'_, State<C>>, Instant) {
        let mut state = self.lock();
        let now = self.tasks.now();
        state.conversation.register(waker);
        if written {
            state.conversation.handle_written(now);
        } else {
            state.conversation.handle_timeout(now);
        }
        (state, now)
    }

    /// A conversation is whole after every step, so a panic elsewhere leaves nothing half done in it.
    fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Conversation> State<C> {
    /// Whether what was just read is something for the writer, who waits.
    fn writer_has_work(&mut self) -> bool {
        let Some(planned) = self.planned else { return false };
        let at = self.conversation.poll_timeout();
        let earlier = at.is_some_and(|at| planned.is_none_or(|planned| at < planned));
        earlier || self.conversation.has_bytes() || self.conversation.is_finished()
    }
}

#[cfg(test)]
mod tests;
