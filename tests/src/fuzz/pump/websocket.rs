//! Frames of a WebSocket, sound and otherwise.

use crate::fuzz::Input;

const TEXT: u8 = 1;
const BINARY: u8 = 2;

/// Appends a frame with `payload`, or with bytes of the input if that is empty, as a client sends it: masked, with zeros,
/// so that the payload stays readable.
pub(super) fn frame(input: &mut Input<'_>, payload: &[u8], out: &mut Vec<u8>) {
    let payload = if payload.is_empty() { input.bytes() } else { payload };
    match input.byte() {
        0..=127 => plain(0x80 | BINARY, payload, out),
        128..=159 => {
            // In pieces, with something between them.
            let (first, rest) = payload.split_at(payload.len() / 2);
            plain(BINARY, first, out);
            if input.flag() {
                plain(0x89, b"ping", out);
            }
            plain(0x80, rest, out);
        }
        160..=175 => plain(0x80 | TEXT, payload, out),
        176..=191 => plain(0x80 | input.of(&[8, 9, 10]), &payload[..payload.len().min(125)], out),
        192..=223 => {
            // Any head.
            out.extend([input.byte(), input.byte()]);
            out.extend_from_slice(payload);
        }
        224..=239 => {
            // A length in more bytes than it needs, or one that is not true.
            let length = input.number();
            out.extend([0x80 | BINARY, 0x80 | 127]);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(&[0; 4]);
            out.extend_from_slice(payload);
        }
        _ => out.extend_from_slice(payload),
    }
}

fn plain(first: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(first);
    match u16::try_from(payload.len()) {
        Ok(len @ 0..=125) => out.push(0x80 | len.to_le_bytes()[0]),
        Ok(len) => {
            out.push(0x80 | 126);
            out.extend_from_slice(&len.to_be_bytes());
        }
        Err(_) => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}
