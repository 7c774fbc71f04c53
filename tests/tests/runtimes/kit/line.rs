//! A TCP proxy between a client and its server, which the scenario cuts.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// The line of one client.
pub(crate) struct Line {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    down: AtomicBool,
    over: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
    /// What tells the connections that are open to carry nothing any more.
    hushed: Mutex<Arc<AtomicBool>>,
}

impl Line {
    pub(crate) fn to(url: &str) -> Self {
        let target = url.trim_start_matches("ws://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State::default());
        let own = state.clone();
        thread::spawn(move || {
            for here in listener.incoming() {
                if own.over.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(here) = here else { continue };
                if !own.down.load(Ordering::SeqCst) {
                    // A server that is away takes no connection, which the client sees as a cut.
                    let _ = own.join(&here, &target);
                }
            }
        });
        Self { address, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Breaks every connection, without a word to either end.
    pub(crate) fn cut(&self) {
        for stream in self.state.open.lock().expect("nobody panics here").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Carries nothing any more on the connections that are open, and tells nobody.
    pub(crate) fn hush(&self) {
        std::mem::take(&mut *self.state.hushed.lock().expect("nobody panics here")).store(true, Ordering::SeqCst);
    }

    /// Breaks every connection, and takes none until it is up again.
    pub(crate) fn down(&self) {
        self.state.down.store(true, Ordering::SeqCst);
        self.cut();
    }

    pub(crate) fn up(&self) {
        self.state.down.store(false, Ordering::SeqCst);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::SeqCst);
        self.cut();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    fn join(&self, here: &TcpStream, target: &str) -> std::io::Result<()> {
        let there = TcpStream::connect(target)?;
        let mut open = self.open.lock().expect("nobody panics here");
        let hushed = self.hushed.lock().expect("nobody panics here").clone();
        for (from, to) in [(here, &there), (&there, here)] {
            from.set_nodelay(true)?;
            open.push(from.try_clone()?);
            let (mut from, mut to, hushed) = (from.try_clone()?, to.try_clone()?, hushed.clone());
            thread::spawn(move || {
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(count @ 1..) = from.read(&mut buffer) {
                    if !hushed.load(Ordering::SeqCst) && to.write_all(&buffer[..count]).is_err() {
                        break;
                    }
                }
                let _ = from.shutdown(Shutdown::Both);
                // Who hears nothing does not hear of the end either.
                if !hushed.load(Ordering::SeqCst) {
                    let _ = to.shutdown(Shutdown::Both);
                }
            });
        }
        Ok(())
    }
}
