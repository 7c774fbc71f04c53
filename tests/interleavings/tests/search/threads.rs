//! A whole client and a whole server of threads, over a stream in memory: every thread comes to its end, and every call
//! returns. Time stands still, so nothing here may need it.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use esf_interleavings::{
    blocking::{self, Client, ClientBuilder, Handlers, Listener, Server, ServerBuilder, Stream, run},
    client::Config,
    scenarios::Threads as Still,
    tasks::{BoxFuture, Tasks, Timer},
};
use esf_proto::{
    ids::{To, UserId},
    time::Instant,
};
use shuttle::{
    sync::{Condvar, Mutex},
    thread,
};

#[derive(Clone, Copy)]
struct Threads;

impl Tasks for Threads {
    fn now(&self) -> Instant {
        Still.now()
    }

    fn timer(&self) -> Box<dyn Timer> {
        Still.timer()
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        thread::spawn(move || run(task));
    }
}

impl blocking::Threads for Threads {
    fn connect(&self, _: &str, _: u16, _: Duration) -> io::Result<Arc<dyn Stream>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn listen(&self, _: &str) -> io::Result<Arc<dyn Listener>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Bytes on their way in one direction.
#[derive(Default)]
struct Pipe {
    state: Mutex<(VecDeque<u8>, bool)>,
    changed: Condvar,
}

impl Pipe {
    fn read(&self, buffer: &mut [u8]) -> usize {
        let mut state = self.state.lock().unwrap();
        while state.0.is_empty() && !state.1 {
            state = self.changed.wait(state).unwrap();
        }
        let count = buffer.len().min(state.0.len());
        buffer.iter_mut().zip(state.0.drain(..count)).for_each(|(to, from)| *to = from);
        count
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.state.lock().unwrap();
        if state.1 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        state.0.extend(bytes);
        self.changed.notify_all();
        Ok(bytes.len())
    }

    fn end(&self) {
        self.state.lock().unwrap().1 = true;
        self.changed.notify_all();
    }
}

/// One end of a stream: what is read and what is written.
struct End(Arc<Pipe>, Arc<Pipe>);

fn stream() -> (Arc<dyn Stream>, Arc<dyn Stream>) {
    let (up, down) = (Arc::<Pipe>::default(), Arc::<Pipe>::default());
    (Arc::new(End(up.clone(), down.clone())), Arc::new(End(down, up)))
}

impl Drop for End {
    fn drop(&mut self) {
        self.shut_down();
    }
}

impl Stream for End {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.0.read(buffer))
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.1.write(bytes)
    }

    fn finish(&self) {
        self.1.end();
    }

    fn shut_down(&self) {
        self.0.end();
        self.1.end();
    }
}

fn server() -> Server {
    let answers = Handlers::new().query(|_, _, body| Ok(body));
    ServerBuilder::new(Arc::new(Threads)).open().handler(answers).start().expect("a server")
}

fn anna() -> UserId {
    UserId::parse("anna", 64).expect("a name")
}

/// A client that is connected to the server the first time; later there is nobody.
fn client(server: &Server, handlers: Handlers) -> ClientBuilder {
    let (near, far) = stream();
    server.serve_stream(far);
    let near = Mutex::new(Some(near));
    let connect = move || near.lock().unwrap().take().ok_or_else(|| io::ErrorKind::ConnectionRefused.into());
    let builder = ClientBuilder::new(Arc::new(Threads), "ws://in.memory", Config::new(anna()));
    builder.handler(handlers).connector(connect)
}

/// Login, a query, a message that is acknowledged, log-off, shutdown.
pub(crate) fn a_session_on_threads_ends() {
    let server = server();
    let got = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
    let noted = got.clone();
    let handlers = Handlers::new().information(move |_, _, body| {
        noted.0.lock().unwrap().push(body);
        noted.1.notify_all();
    });
    let client: Client = client(&server, handlers).connect().expect("a login");
    let asking = client.clone();
    let asked = thread::spawn(move || assert_eq!(asking.query(To::Server, 1, "?"), Ok("?".into())));
    assert_eq!(server.send_certainly(To::User(anna()), 1, "!"), Ok(()));
    asked.join().unwrap();
    client.log_off();
    server.shut_down(Duration::from_secs(5));
    let mut handled = got.0.lock().unwrap();
    while handled.is_empty() {
        handled = got.1.wait(handled).unwrap();
    }
    assert_eq!(*handled, ["!"]);
}

/// Both handles are dropped while the login is under way or over.
pub(crate) fn a_client_and_a_server_that_are_dropped_at_once_end() {
    let server = server();
    let client = client(&server, Handlers::new()).start().expect("a client");
    let leaving = thread::spawn(move || drop(client));
    drop(server);
    leaving.join().unwrap();
}
