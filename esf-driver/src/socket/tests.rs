use std::{cell::RefCell, collections::VecDeque, io, rc::Rc};

use super::*;

/// One direction of a pipe with room for so many bytes.
#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    room: usize,
    closed: bool,
}

struct End {
    incoming: Rc<RefCell<Pipe>>,
    outgoing: Rc<RefCell<Pipe>>,
}

impl Read for End {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut pipe = self.incoming.borrow_mut();
        if pipe.bytes.is_empty() && !pipe.closed {
            return Err(ErrorKind::WouldBlock.into());
        }
        pipe.bytes.read(buffer)
    }
}

impl Write for End {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut pipe = self.outgoing.borrow_mut();
        let count = bytes.len().min(pipe.room - pipe.bytes.len());
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        pipe.bytes.extend(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const LIMIT: usize = 8192;

fn pair(room: usize) -> (Socket<End>, Socket<End>) {
    let up = Rc::new(RefCell::new(Pipe { room, ..Pipe::default() }));
    let down = Rc::new(RefCell::new(Pipe { room, ..Pipe::default() }));
    let client = End { incoming: down.clone(), outgoing: up.clone() };
    let server = End { incoming: up, outgoing: down };
    (Socket::new(client, Vec::new(), Role::Client, LIMIT), Socket::new(server, Vec::new(), Role::Server, LIMIT))
}

fn message(len: usize) -> Bytes {
    vec![7; len].into()
}

#[test]
fn messages_arrive_after_one_flush() {
    let (mut client, mut server) = pair(1 << 20);
    client.feed(message(10)).unwrap();
    client.feed(message(20)).unwrap();
    assert_eq!(server.read(), Ok(None), "nothing is written before the flush");
    assert!(client.transport().unflushed);
    assert_eq!(client.flush(), Ok(true));
    assert_eq!(server.read(), Ok(Some(Incoming::Message(message(10)))));
    assert_eq!(server.read(), Ok(Some(Incoming::Message(message(20)))));
    assert_eq!(server.read(), Ok(None));
    assert_eq!(server.transport().read, client.transport().written);
    assert!(!client.transport().unflushed);
}

#[test]
fn a_full_pipe_stops_the_feeding_and_loses_nothing() {
    let (mut client, mut server) = pair(100);
    client.feed(message(BUFFER + 1)).unwrap();
    assert!(!client.can_write(), "more than the pipe takes waits inside");
    let mut came = None;
    for _ in 0..100 {
        came = server.read().unwrap();
        if came.is_some() {
            break;
        }
        client.flush().unwrap();
    }
    assert_eq!(came, Some(Incoming::Message(message(BUFFER + 1))));
    assert_eq!(client.flush(), Ok(true));
    assert!(client.can_write());
}

#[test]
fn the_limit_is_exact_and_may_be_raised() {
    let (mut client, mut server) = pair(1 << 20);
    let mut send = |len| {
        client.feed(message(len)).unwrap();
        client.flush().unwrap();
    };
    send(LIMIT);
    assert_eq!(server.read(), Ok(Some(Incoming::Message(message(LIMIT)))));
    server.set_max_message(LIMIT * 2);
    send(LIMIT * 2);
    assert_eq!(server.read(), Ok(Some(Incoming::Message(message(LIMIT * 2)))));
    send(LIMIT * 2 + 1);
    assert_eq!(server.read(), Err(SocketError::TooLarge));
    server.feed_close(Some(CloseReason::TooLarge)).unwrap();
    server.flush().unwrap();
    assert_eq!(client.read(), Ok(Some(Incoming::Close(Some(4015)))), "the close still goes out");
}

#[test]
fn a_larger_limit_lets_as_much_out() {
    let (mut client, mut server) = pair(16);
    client.set_max_message(1 << 20);
    server.set_max_message(1 << 20);
    client.feed(message(BUFFER)).unwrap();
    client.feed(message(1 << 20)).unwrap();
    assert!(!client.can_write());
}

#[test]
fn a_close_is_answered_and_both_ends_know_its_code() {
    let (mut client, mut server) = pair(1 << 20);
    server.feed_close(Some(CloseReason::Kicked)).unwrap();
    assert!(!server.can_write(), "nothing goes out after a close");
    server.flush().unwrap();
    assert_eq!(client.read(), Ok(Some(Incoming::Close(Some(4009)))));
    assert!(client.needs_flush());
    assert_eq!(client.flush(), Ok(true));
    assert_eq!(server.read(), Ok(Some(Incoming::Close(Some(4009)))));

    let (mut client, mut server) = pair(1 << 20);
    client.feed_close(None).unwrap();
    client.flush().unwrap();
    assert_eq!(server.read(), Ok(Some(Incoming::Close(Some(1000)))));
    assert_eq!(server.flush(), Ok(true));
    assert_eq!(client.read(), Ok(Some(Incoming::Close(Some(1000)))));
}

#[test]
fn pings_are_answered_by_themselves() {
    let (mut client, mut server) = pair(1 << 20);
    server.feed_ping().unwrap();
    server.flush().unwrap();
    assert_eq!(client.read(), Ok(Some(Incoming::Control)));
    assert_eq!(client.flush(), Ok(true));
    assert_eq!(server.read(), Ok(Some(Incoming::Control)), "the pong");
}

#[test]
fn text_is_told_apart_and_an_end_is_an_end() {
    let (mut client, mut server) = pair(1 << 20);
    client.websocket.send(Message::text("hello")).unwrap();
    assert_eq!(server.read(), Ok(Some(Incoming::Text)));
    client.stream_mut().outgoing.borrow_mut().closed = true;
    assert_eq!(server.read(), Err(SocketError::Ended));
}

#[test]
fn bytes_that_are_no_websocket_are_a_violation() {
    let (mut client, mut server) = pair(1 << 20);
    client.stream_mut().write_all(&[0xf2, 0x80, 0, 0, 0, 0]).unwrap();
    assert!(matches!(server.read(), Err(SocketError::Violation(_))));
    let (mut client, mut server) = pair(1 << 20);
    client.stream_mut().write_all(&[0x82, 1, 7]).unwrap();
    assert!(matches!(server.read(), Err(SocketError::Violation(_))), "a frame that is not masked");
}
