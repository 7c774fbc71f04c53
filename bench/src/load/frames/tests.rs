use super::{FrameReader, Seen};
use crate::wire;

/// A WebSocket frame of a server.
fn part(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![opcode];
    if payload.len() < 126 {
        bytes.push(payload.len() as u8);
    } else {
        bytes.push(126);
        bytes.extend((payload.len() as u16).to_be_bytes());
    }
    [bytes, payload.to_vec()].concat()
}

#[test]
fn frames_are_found_however_the_bytes_are_cut() {
    let (small, large) = (wire::count(1, 2), wire::plain(("anna", 1), "ben", 5000));
    let stream = [
        part(0x82, &small),
        part(0x89, b"hi"),
        // A large message in parts, with a ping between them, and a small one behind it in the same message.
        part(0x02, &large[..4000]),
        part(0x89, b""),
        part(0x80, &[&large[4000..], &small].concat()),
        part(0x82, &small),
    ]
    .concat();
    let pongs = [[0x8A, 0x82, 0, 0, 0, 0, b'h', b'i'].to_vec(), [0x8A, 0x80, 0, 0, 0, 0].to_vec()].concat();
    for step in [1, 3, 7, 64, 1000, stream.len()] {
        let (mut reader, mut lengths, mut answer) = (FrameReader::default(), Vec::new(), Vec::new());
        for bytes in stream.chunks(step) {
            let found = |seen: Seen<'_>| {
                assert_eq!(seen.kind(), if seen.len > 100 { large[4] } else { small[4] });
                lengths.push(seen.len);
                Ok(())
            };
            answer.extend(reader.read(bytes, found).unwrap());
        }
        assert_eq!(lengths, [small.len(), large.len(), small.len(), small.len()], "in steps of {step}");
        assert_eq!(answer, pongs, "in steps of {step}");
    }
}

#[test]
fn a_close_is_a_problem() {
    assert!(FrameReader::default().read(&part(0x88, &[0x03, 0xE8]), |_| Ok(())).is_err());
}
