use super::*;

/// Brings what one side has to the other, and says how many bytes that were.
fn carry(from: &mut Pump, to: &mut Pump) -> usize {
    let (mut wire, mut count) = (Vec::new(), 0);
    while from.poll_bytes(&mut wire).unwrap() {
        count += wire.len();
        to.handle_bytes(&wire);
        from.handle_written();
    }
    count
}

fn pair() -> (Pump, Pump) {
    (Pump::client(8192), Pump::server(8192))
}

#[test]
fn messages_cross_wherever_the_bytes_are_cut() {
    let (mut client, mut server) = pair();
    let sizes = [0, 1, 125, 126, 5000, 8192];
    for size in sizes {
        client.feed(vec![7; size].into()).unwrap();
    }
    let (mut wire, mut whole) = (Vec::new(), Vec::new());
    while client.poll_bytes(&mut wire).unwrap() {
        whole.extend_from_slice(&wire);
        client.handle_written();
    }
    let mut came = Vec::new();
    for byte in whole {
        server.handle_bytes(&[byte]);
        while let Some(incoming) = server.poll_incoming().unwrap() {
            let Incoming::Message(message) = incoming else { panic!("{incoming:?}") };
            came.push(message.len());
        }
    }
    assert_eq!(came, sizes);
}

#[test]
fn what_was_taken_out_is_unflushed_until_it_was_written() {
    let (mut client, mut server) = pair();
    client.feed("one".into()).unwrap();
    let mut wire = Vec::new();
    assert!(client.poll_bytes(&mut wire).unwrap());
    assert!(client.transport().unflushed && !client.can_write());
    let mut more = Vec::new();
    assert!(!client.poll_bytes(&mut more).unwrap(), "one load at a time");
    client.handle_written();
    assert!(!client.transport().unflushed && client.can_write());
    server.handle_bytes(&wire);
    assert_eq!(server.poll_incoming(), Ok(Some(Incoming::Message("one".into()))));
    assert_eq!(server.transport().read, client.transport().written);
}

#[test]
fn no_more_than_the_room_waits_and_nothing_is_lost() {
    let (mut client, mut server) = (Pump::client(1 << 20), Pump::server(1 << 20));
    let mut fed = 0;
    while client.can_write() {
        client.feed(vec![7; 1000].into()).unwrap();
        fed += 1;
    }
    assert!(fed * 1000 < 2 * ROOM, "{fed} messages");
    client.handle_written();
    client.feed(vec![7; 500_000].into()).unwrap();
    let mut wire = Vec::new();
    while client.poll_bytes(&mut wire).unwrap() {
        assert!(wire.len() <= ROOM);
        server.handle_bytes(&wire);
        client.handle_written();
    }
    let mut came = Vec::new();
    while let Some(Incoming::Message(message)) = server.poll_incoming().unwrap() {
        came.push(message.len());
    }
    assert_eq!((came.len(), came.last()), (fed + 1, Some(&500_000)));
}

#[test]
fn the_limit_is_exact_and_a_close_still_goes_out() {
    let (mut client, mut server) = (Pump::client(1 << 20), Pump::server(8192));
    client.feed(vec![7; 8193].into()).unwrap();
    carry(&mut client, &mut server);
    assert_eq!(server.poll_incoming(), Err(SocketError::TooLarge));
    server.feed_close(Some(CloseReason::TooLarge)).unwrap();
    assert!(carry(&mut server, &mut client) > 0);
    assert_eq!(client.poll_incoming(), Ok(Some(Incoming::Close(Some(CloseReason::TooLarge.websocket_code())))));
}

#[test]
fn a_close_is_answered_and_both_know_its_code() {
    let (mut client, mut server) = pair();
    client.feed_close(None).unwrap();
    carry(&mut client, &mut server);
    assert_eq!(server.poll_incoming(), Ok(Some(Incoming::Close(Some(1000)))));
    carry(&mut server, &mut client);
    assert_eq!(client.poll_incoming(), Ok(Some(Incoming::Close(Some(1000)))));
}

#[test]
fn an_end_is_read_after_what_came_before_it() {
    let (mut client, mut server) = pair();
    client.feed("last".into()).unwrap();
    carry(&mut client, &mut server);
    server.handle_end();
    assert_eq!(server.poll_incoming(), Ok(Some(Incoming::Message("last".into()))));
    assert_eq!(server.poll_incoming(), Err(SocketError::Ended));
}

#[test]
fn bytes_that_are_no_websocket_are_a_violation() {
    let mut server = Pump::server(8192);
    server.handle_bytes(&[0x82, 1, 7]);
    assert!(matches!(server.poll_incoming(), Err(SocketError::Violation(_))), "a client masks");
}
