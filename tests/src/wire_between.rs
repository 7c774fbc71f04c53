//! The simulated transport between one client and the server.

use std::collections::VecDeque;

use bytes::Bytes;
use esf_driver::node::Conn;
use esf_proto::session::transport::Transport;

/// What a transport takes while nobody reads it.
const SOCKET_BUFFER: usize = 64 * 1024;

/// What is under way to the server.
#[derive(Debug)]
pub enum Up {
    /// A binary WebSocket message.
    Message(Bytes),
    /// A text message.
    Text,
    /// The answer to a ping.
    Pong,
    /// The end of the connection, with a code if one was told.
    Close(Option<u16>),
}

/// What is under way to the client.
#[derive(Debug)]
pub enum Down {
    /// A binary WebSocket message.
    Message(Bytes),
    /// A WebSocket ping.
    Ping,
    /// The end of the connection, with a code if one was told.
    Close(Option<u16>),
}

/// One link. A test may hold either direction, or look at what is under way.
#[derive(Debug)]
pub struct Wire {
    /// The server's end; `None` once the server knows that it is over.
    pub conn: Option<Conn>,
    /// Under way to the server.
    pub up: VecDeque<Up>,
    /// Under way to the client.
    pub down: VecDeque<Down>,
    /// Nothing reaches the server.
    pub hold_up: bool,
    /// Nothing reaches the client: it stopped reading.
    pub hold_down: bool,
    /// So many more items reach the server, then none; `None` for all.
    pub pass_up: Option<usize>,
    /// So many more items reach the client, then none; `None` for all.
    pub pass_down: Option<usize>,
    /// The server's task of this link does not get its turn.
    pub asleep: bool,
    /// The client has done with this link.
    pub client_gone: bool,
    /// What the server sees of the transport.
    pub transport: Transport,
    /// What the client sees of it.
    pub client: Transport,
}

impl Wire {
    pub(crate) fn new(conn: Conn) -> Self {
        Self {
            conn: Some(conn),
            up: VecDeque::new(),
            down: VecDeque::new(),
            hold_up: false,
            hold_down: false,
            pass_up: None,
            pass_down: None,
            asleep: false,
            client_gone: false,
            transport: Transport::default(),
            client: Transport::default(),
        }
    }

    pub(crate) fn next_up(&mut self) -> Option<Up> {
        if self.hold_up { None } else { next(&mut self.up, &mut self.pass_up) }
    }

    pub(crate) fn next_down(&mut self) -> Option<Down> {
        if self.hold_down { None } else { next(&mut self.down, &mut self.pass_down) }
    }

    pub(crate) fn has_room(&self) -> bool {
        let waiting = self.down.iter().map(|down| if let Down::Message(message) = down { message.len() } else { 0 });
        waiting.sum::<usize>() < SOCKET_BUFFER
    }

    pub(crate) fn push_down(&mut self, frame: Bytes) {
        self.down.push_back(Down::Message(frame));
    }
}

fn next<T>(queue: &mut VecDeque<T>, pass: &mut Option<usize>) -> Option<T> {
    match pass {
        Some(0) => None,
        Some(left) => {
            let item = queue.pop_front()?;
            *left -= 1;
            Some(item)
        }
        None => queue.pop_front(),
    }
}
