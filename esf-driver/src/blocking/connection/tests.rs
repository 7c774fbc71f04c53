use std::{collections::VecDeque, thread, time::Duration};

use super::*;
use crate::{
    blocking::testing::{PATIENCE, Plain, until},
    sync::Condvar,
};

/// A stream of which the test is the other end.
#[derive(Default)]
struct Pipe {
    state: Mutex<PipeState>,
    changed: Condvar,
}

#[derive(Default)]
struct PipeState {
    incoming: VecDeque<u8>,
    ended: bool,
    shut: bool,
    /// It takes nothing.
    full: bool,
    broken: bool,
    written: Vec<u8>,
    reads: u32,
    finishes: u32,
}

impl Pipe {
    fn with<T>(&self, change: impl FnOnce(&mut PipeState) -> T) -> T {
        let result = change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
        result
    }

    fn push(&self, bytes: &[u8]) {
        self.with(|state| state.incoming.extend(bytes));
    }
}

impl Stream for Pipe {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state.lock().unwrap();
        state.reads += 1;
        let nothing = |state: &mut PipeState| state.incoming.is_empty() && !state.ended && !state.shut;
        state = self.changed.wait_while(state, nothing).unwrap();
        let count = buffer.len().min(state.incoming.len());
        buffer.iter_mut().zip(state.incoming.drain(..count)).for_each(|(place, byte)| *place = byte);
        Ok(count)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let state = self.state.lock().unwrap();
        let waits = |state: &mut PipeState| state.full && !state.shut && !state.broken;
        let patience = Duration::from_millis(10);
        let (mut state, _) = self.changed.wait_timeout_while(state, patience, waits).unwrap();
        if state.broken || state.shut {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if state.full {
            return Err(ErrorKind::WouldBlock.into());
        }
        // Not all at once, as with a socket whose buffer is nearly full.
        let taken = bytes.len().min(3);
        state.written.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn finish(&self) {
        self.with(|state| state.finishes += 1);
    }

    fn shut_down(&self) {
        self.with(|state| state.shut = true);
    }
}

/// What a conversation saw and what it has to say, shared with the test.
#[derive(Default)]
struct Script {
    came: Vec<u8>,
    /// Whether it says what it hears.
    echoes: bool,
    out: VecDeque<Vec<u8>>,
    taken: bool,
    written: u32,
    looks: u32,
    timeout: Option<Instant>,
    timed_out: Vec<Instant>,
    finished: bool,
    ended: u32,
    over: bool,
    waker: Option<Waker>,
}

#[derive(Clone, Default)]
struct Scripted(Arc<Mutex<Script>>);

impl Scripted {
    fn with<T>(&self, look: impl FnOnce(&mut Script) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    /// Changes it as another thread would.
    fn say(&self, what: impl FnOnce(&mut Script)) {
        let waker = self.with(|script| {
            what(script);
            script.waker.take()
        });
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Conversation for Scripted {
    fn register(&mut self, waker: &Waker) {
        self.with(|script| script.waker = Some(waker.clone()));
    }
    fn handle_bytes(&mut self, _: Instant, bytes: &[u8]) {
        self.with(|script| {
            script.came.extend_from_slice(bytes);
            if script.echoes {
                script.out.push_back(bytes.to_vec());
            }
        });
    }
    fn handle_end(&mut self, _: Instant) {
        self.with(|script| {
            script.ended += 1;
            script.over = true;
        });
    }
    fn handle_written(&mut self, _: Instant) {
        self.with(|script| {
            assert!(std::mem::take(&mut script.taken), "nothing was taken out");
            script.written += 1;
        });
    }
    fn handle_timeout(&mut self, now: Instant) {
        self.with(|script| {
            script.looks += 1;
            if script.timeout.is_some_and(|at| at <= now) {
                script.timeout = None;
                script.timed_out.push(now);
            }
        });
    }
    fn poll_bytes(&mut self, buffer: &mut Vec<u8>) -> bool {
        self.with(|script| {
            let Some(bytes) = script.out.pop_front() else { return false };
            *buffer = bytes;
            script.taken = true;
            true
        })
    }
    fn has_bytes(&mut self) -> bool {
        self.with(|script| !script.out.is_empty())
    }
    fn poll_timeout(&self) -> Option<Instant> {
        self.with(|script| script.timeout)
    }
    fn is_finished(&self) -> bool {
        self.with(|script| script.finished)
    }
    fn is_over(&self) -> bool {
        self.with(|script| script.over)
    }
}

/// A connection that runs on threads of its own.
struct Running {
    tasks: Arc<dyn Tasks>,
    pipe: Arc<Pipe>,
    script: Scripted,
    thread: thread::JoinHandle<()>,
}

impl Running {
    /// One whose conversation begins as `prepare` leaves it.
    fn start(prepare: impl FnOnce(&mut Script, &Pipe)) -> Self {
        let tasks: Arc<dyn Tasks> = Arc::new(Plain::default());
        let (pipe, script) = (Arc::new(Pipe::default()), Scripted::default());
        script.with(|script| prepare(script, &pipe));
        let (threads, stream, conversation) = (tasks.clone(), pipe.clone(), script.clone());
        let thread = thread::spawn(move || converse(&threads, stream, conversation, Arc::default()));
        let running = Self { tasks, pipe, script, thread };
        until("the writer waits or writes", || running.script.with(|script| script.looks > 0));
        running
    }

    fn written(&self) -> Vec<u8> {
        self.pipe.with(|state| state.written.clone())
    }

    /// Both threads end by themselves, and nothing of it is held any more.
    fn ends(self) {
        let held = Arc::downgrade(&self.script.0);
        self.thread.join().expect("no panic");
        assert!(self.pipe.with(|state| state.shut), "the stream is shut down");
        let (pipe, script) = (self.pipe, self.script);
        drop((pipe, script));
        until("the reader let go", || held.strong_count() == 0);
    }
}

#[test]
fn bytes_go_out_while_the_reader_blocks() {
    let running = Running::start(|_, _| {});
    until("it reads", || running.pipe.with(|state| state.reads == 1));
    running.script.say(|script| script.out.extend([b"hello".to_vec(), b" world".to_vec()]));
    until("all is written", || running.written() == b"hello world");
    until("it is told so", || running.script.with(|script| script.written == 2));
    assert_eq!(running.pipe.with(|state| state.reads), 1, "it still blocks in its first read");
    running.pipe.with(|state| state.ended = true);
    running.ends();
}

#[test]
fn nobody_looks_while_nothing_happens() {
    let running = Running::start(|_, _| {});
    until("it reads", || running.pipe.with(|state| state.reads == 1));
    let looks = running.script.with(|script| script.looks);
    // Longer than a write may block.
    thread::sleep(super::super::WRITE_PATIENCE * 2);
    assert_eq!(running.script.with(|script| script.looks), looks);
    assert_eq!(running.pipe.with(|state| state.reads), 1);
    // What comes and makes no work for the writer does not wake it either.
    running.pipe.push(b"just information");
    until("it came", || running.script.with(|script| script.came == b"just information"));
    assert_eq!(running.script.with(|script| script.looks), looks);
    running.pipe.with(|state| state.ended = true);
    running.ends();
}

#[test]
fn what_comes_may_make_work_for_the_writer() {
    let running = Running::start(|script, _| script.echoes = true);
    for _ in 0..50 {
        running.pipe.push(b"echo");
    }
    until("it is answered", || running.written().len() == 200);
    running.pipe.with(|state| state.ended = true);
    running.ends();
}

#[test]
fn timeouts_are_kept_also_earlier_ones_that_come_later() {
    let running = Running::start(|_, _| {});
    let at = running.tasks.now() + Duration::from_millis(30);
    running.script.say(|script| script.timeout = Some(running.tasks.now() + PATIENCE));
    running.script.say(|script| script.timeout = Some(at));
    until("it is time", || running.script.with(|script| script.timed_out.len() == 1));
    assert!(running.script.with(|script| script.timed_out[0] >= at));
    running.pipe.with(|state| state.ended = true);
    running.ends();
}

#[test]
fn time_passes_while_the_stream_takes_nothing() {
    let running = Running::start(|script, pipe| {
        pipe.with(|state| state.full = true);
        script.out.push_back(b"stuck".to_vec());
    });
    let at = running.tasks.now() + Duration::from_millis(30);
    running.script.with(|script| script.timeout = Some(at));
    until("it is time", || running.script.with(|script| script.timed_out.len() == 1));
    assert_eq!(running.script.with(|script| script.written), 0);
    running.pipe.with(|state| state.full = false);
    until("it went out", || running.written() == b"stuck");
    running.pipe.with(|state| state.ended = true);
    running.ends();
}

#[test]
fn the_end_is_not_held_up_by_a_full_stream() {
    let running = Running::start(|script, pipe| {
        pipe.with(|state| state.full = true);
        script.out.push_back(b"stuck".to_vec());
    });
    running.script.say(|script| script.over = true);
    running.ends();
}

#[test]
fn last_words_go_out_and_then_it_ends() {
    let running = Running::start(|_, _| {});
    let pipe = running.pipe.clone();
    running.script.say(|script| {
        script.out.push_back(b"goodbye".to_vec());
        script.over = true;
    });
    running.ends();
    assert_eq!(pipe.with(|state| state.written.clone()), b"goodbye");
}

#[test]
fn the_other_side_ends_it() {
    let running = Running::start(|_, _| {});
    let script = running.script.0.clone();
    running.pipe.with(|state| {
        state.incoming.extend(b"last");
        state.ended = true;
    });
    running.thread.join().expect("no panic");
    let script = script.lock().unwrap();
    assert_eq!((script.came.as_slice(), script.ended), (&b"last"[..], 1));
}

#[test]
fn a_stream_that_breaks_in_writing_is_an_end() {
    let running = Running::start(|_, pipe| pipe.with(|state| state.broken = true));
    let script = running.script.0.clone();
    running.script.say(|script| script.out.push_back(b"lost".to_vec()));
    running.thread.join().expect("no panic");
    until("the reader ended too", || script.lock().unwrap().ended >= 1);
    assert_eq!(script.lock().unwrap().written, 0);
}

#[test]
fn a_stream_is_finished_once_and_still_read() {
    let running = Running::start(|_, _| {});
    running.script.say(|script| script.finished = true);
    until("it is finished", || running.pipe.with(|state| state.finishes == 1));
    running.pipe.push(b"still");
    until("it is read", || running.script.with(|script| script.came == b"still"));
    running.script.say(|_| {});
    running.pipe.with(|state| state.ended = true);
    let pipe = running.pipe.clone();
    running.ends();
    assert_eq!(pipe.with(|state| state.finishes), 1);
}
