use super::*;
use crate::{ids::UserId, server::testing::SERVER_ID};

fn desk() -> Desk {
    let (config, counters) = (Arc::new(Config { max_frame: 4096, ..Config::default() }), Arc::new(Counters::default()));
    Desk::new(&config, &counters, &Arc::new(Budget::new(1 << 20)), SERVER_ID).0
}

#[test]
fn what_is_larger_than_a_frame_may_be_is_refused_and_takes_no_number() {
    let mut desk = desk();
    let to = To::User(UserId::parse("ann", 64).unwrap());
    let (large, ttl) = ([0; 4096], Duration::from_secs(1));
    assert_eq!(desk.send(&to, 1, &large).err(), Some(Failure::TooLarge));
    assert_eq!(desk.send_certainly(&to, 1, &large, ttl).err(), Some(Failure::TooLarge));
    assert_eq!(desk.query(&to, 1, &large, ttl).err(), Some(Failure::TooLarge));
    let (_, stored) = desk.send_storable(&to, 1, &large[..3500], ttl).unwrap();
    assert!(stored.flags().contains(Flags::STORE));
    assert_eq!(
        desk.send_storable(&to, 1, &large[..3700], ttl).err(),
        Some(Failure::TooLarge),
        "it comes in an envelope"
    );
    let (id, live) = desk.send_certainly(&to, 1, &large[..3700], ttl).unwrap();
    assert_eq!((id, live.flags()), (MessageId(2), Flags::NONE));
    let (id, _) = desk.query(&to, 1, b"?", ttl).unwrap();
    assert_eq!(id, MessageId(3), "numbers count up without a gap");
}

#[test]
fn the_server_sends_nothing_to_itself() {
    let mut desk = desk();
    assert_eq!(desk.send(&To::Server, 1, b"").err(), Some(Failure::NotAllowed));
    assert_eq!(desk.query(&To::Server, 1, b"", Duration::from_secs(1)).err(), Some(Failure::NotAllowed));
}
