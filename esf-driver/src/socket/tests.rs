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
    server.set_max_message(2 * COLLECTED);
    client.feed(message(COLLECTED + 1)).unwrap();
    assert!(!client.can_write(), "more than the pipe takes waits inside");
    let mut came = None;
    for _ in 0..300 {
        came = server.read().unwrap();
        if came.is_some() {
            break;
        }
        client.flush().unwrap();
    }
    assert_eq!(came, Some(Incoming::Message(message(COLLECTED + 1))));
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
    client.write(Message::text("hello")).unwrap();
    client.flush().unwrap();
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

/// A frame of a client, whole or a fragment, with a mask of zeros.
fn masked(head: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![head];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// A server that gets these bytes in pieces of such sizes and gives its memory back whenever it may: what came out, and
/// how often it rested.
fn with_rests(bytes: &[u8], sizes: &[usize]) -> (Vec<usize>, usize) {
    let (mut client, mut server) = pair(1 << 22);
    server.set_max_message(1 << 20);
    let (mut came, mut rests, mut left, mut sizes) = (Vec::new(), 0, bytes, sizes.iter().cycle());
    while !left.is_empty() {
        let (piece, after) = left.split_at(left.len().min(*sizes.next().unwrap()));
        left = after;
        client.stream_mut().write_all(piece).unwrap();
        while let Some(incoming) = server.read().unwrap() {
            if let Incoming::Message(message) = incoming {
                came.push(message.len());
            }
        }
        server.flush().unwrap();
        let awake = server.is_awake();
        server.rest();
        rests += usize::from(awake && !server.is_awake());
    }
    (came, rests)
}

#[test]
fn memory_is_given_back_wherever_the_stream_is_cut_and_no_message_is_lost() {
    let mut bytes = Vec::new();
    let lens = [10, 70_000, 0, 5_000, 125, 126, 65_535, 65_536, 4_097];
    for len in lens {
        bytes.extend(masked(0x82, &message(len)));
        bytes.extend(masked(0x89, b"ping"));
    }
    for sizes in [&[1][..], &[7, 1, 4096], &[13, 70_014], &[1 << 20], &[4_000], &[65_536, 3, 2, 14]] {
        let (came, rests) = with_rests(&bytes, sizes);
        assert_eq!(came, lens, "{sizes:?}");
        assert!(rests > 0, "{sizes:?}");
    }
}

#[test]
fn fragments_are_never_taken_for_less_than_they_are() {
    // The fewest bytes that a message can be sent in are what is counted; whoever needs more keeps the memory.
    for cut in [1, 125, 126, 300, 65_535] {
        let mut bytes = Vec::new();
        for _ in 0..3 {
            let body = message(65_536);
            bytes.extend(masked(0x02, &body[..cut]));
            bytes.extend(masked(0x80, &body[cut..]));
            bytes.extend(masked(0x82, &message(20)));
        }
        for sizes in [&[1][..], &[5_000, 1], &[65_550, 2]] {
            let (came, _) = with_rests(&bytes, sizes);
            assert_eq!(came, [65_536, 20, 65_536, 20, 65_536, 20], "{cut} {sizes:?}");
        }
    }
}

#[test]
fn what_rests_holds_no_buffer_and_wakes_for_what_comes_and_for_what_is_fed() {
    let (mut client, mut server) = pair(1 << 20);
    client.feed(message(10)).unwrap();
    client.flush().unwrap();
    assert_eq!(server.read(), Ok(Some(Incoming::Message(message(10)))));
    server.rest();
    assert!(!server.is_awake());
    assert!(server.can_write());
    assert_eq!(server.read(), Ok(None), "nothing came");
    assert_eq!(server.flush(), Ok(true), "nothing is to be flushed");
    assert!(!server.is_awake());

    server.set_max_message(LIMIT * 2);
    client.feed(message(LIMIT * 2)).unwrap();
    client.flush().unwrap();
    assert_eq!(server.read(), Ok(Some(Incoming::Message(message(LIMIT * 2)))), "by the limit that was set meanwhile");
    assert_eq!(server.read(), Ok(None));
    server.rest();
    server.feed(message(20)).unwrap();
    server.rest();
    assert!(server.is_awake(), "something is to be flushed");
    server.flush().unwrap();
    assert_eq!(client.read(), Ok(Some(Incoming::Message(message(20)))));

    server.rest();
    client.stream_mut().outgoing.borrow_mut().closed = true;
    assert_eq!(server.read(), Err(SocketError::Ended));
    assert_eq!(server.read(), Err(SocketError::Ended));
}

#[test]
fn half_of_a_message_keeps_it_awake() {
    let (mut client, mut server) = pair(1 << 20);
    let bytes = masked(0x82, &message(100));
    client.stream_mut().write_all(&bytes[..50]).unwrap();
    assert_eq!(server.read(), Ok(None));
    server.rest();
    assert!(server.is_awake());
    client.stream_mut().write_all(&bytes[50..]).unwrap();
    assert_eq!(server.read(), Ok(Some(Incoming::Message(message(100)))));
}
