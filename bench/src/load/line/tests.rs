use super::{Batch, EsfReader, Incoming, Tally};
use crate::wire;

fn from_server(frame: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x82];
    match frame.len() {
        short @ 0..=125 => bytes.push(short as u8),
        long => {
            bytes.push(126);
            bytes.extend((long as u16).to_be_bytes());
        }
    }
    bytes.extend(frame);
    bytes
}

/// Reads as a line does: what is not used comes again, with more behind it.
fn read_cut(reader: &mut Incoming, stream: &[u8], cut: usize) -> Tally {
    let mut tally = Tally::default();
    let used = reader.read(&stream[..cut], &mut tally).unwrap();
    assert_eq!(reader.read(&stream[used..], &mut tally).unwrap(), stream.len() - used);
    tally
}

#[test]
fn messages_that_are_alike_are_counted_however_the_bytes_are_cut() {
    let stream = [b"m123456".repeat(3), b"PING".to_vec(), b"m123456".repeat(2)].concat();
    for cut in 0..stream.len() {
        let mut reader = Incoming::Alike { size: 7, first: b'm', alive: Some((b"PING", b"PONG")) };
        let tally = read_cut(&mut reader, &stream, cut);
        assert_eq!((tally.messages, &tally.answer[..]), (5, &b"PONG"[..]), "cut at {cut}");
        let mut reader = Incoming::Bytes { size: 3, over: 0 };
        assert_eq!(read_cut(&mut reader, &stream, cut).messages, 13, "cut at {cut}");
    }
    let mut reader = Incoming::Alike { size: 7, first: b'm', alive: None };
    assert!(reader.read(b"m123456x", &mut Tally::default()).is_err());
}

#[test]
fn a_client_says_what_it_has_after_128_frames() {
    let frame = wire::plain(("anna", 1), "ben", 64);
    let one = from_server(&frame);
    let (mut reader, mut tally) = (EsfReader::default(), Tally::default());
    assert_eq!(reader.read(&one.repeat(127), &mut tally).unwrap(), one.len() * 127);
    assert_eq!((tally.messages, tally.answer.len()), (127, 0));
    // The last byte is missing: it is not read yet.
    let torn = one.repeat(2);
    assert_eq!(reader.read(&torn[..torn.len() - 1], &mut tally).unwrap(), one.len());
    assert_eq!((tally.messages, &tally.answer), (128, &wire::message(&wire::count(128, 128 * frame.len() as u32))));
}

#[test]
fn what_the_server_refuses_is_not_counted() {
    let close = [3, 0, 0, 0, 5, 0, 0];
    assert!(EsfReader::default().read(&from_server(&close), &mut Tally::default()).is_err());
}

#[test]
fn frames_in_one_message_have_one_head() {
    let mut batch = Batch::coalesced(&[7; 100], 16);
    assert_eq!(batch.take(1), wire::message(&[7; 100]));
    assert_eq!(batch.take(3), wire::message(&[7; 300]));
    let mut batch = Batch::whole(&[7; 100], 16);
    assert_eq!(batch.take(2), [7; 200]);
}
