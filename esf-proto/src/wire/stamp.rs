//! The addresses of an engine's plain messages to somebody, written once.

use alloc::vec::Vec;

use super::{
    Address, EncodeError, Flags, HEADER_LEN, Header, Kind,
    codec::{Fill, Sink as _},
    frame::write_header,
};

/// What the plain messages of one engine to one address have in common.
#[derive(Debug, Default)]
pub(crate) struct Stamp {
    addresses: Vec<u8>,
}

impl Stamp {
    /// The stamp of messages between these two.
    pub(crate) fn new(to: &Address<'_>, from: &Address<'_>) -> Result<Self, EncodeError> {
        let mut addresses = Vec::new();
        to.write(&mut addresses)?;
        from.write(&mut addresses)?;
        Ok(Self { addresses })
    }

    /// Bytes of a [`Frame::Send`](super::Frame::Send) with this body.
    pub(crate) fn send_len(&self, body: &[u8]) -> usize {
        HEADER_LEN + self.addresses.len() + FIELDS + body.len()
    }

    /// Appends the bytes of a [`Frame::Send`](super::Frame::Send).
    pub(crate) fn write_send(&self, header: Header, id: u64, info_type: u32, body: &[u8], out: &mut Vec<u8>) {
        let (mut head, mut fields) = ([0; HEADER_LEN], [0; FIELDS]);
        // A frame has less than 4 GiB.
        let length = u32::try_from(self.send_len(body) - 4).unwrap_or(u32::MAX);
        let header = Header { flags: header.flags.without(Flags::EXTENSIONS), ..header };
        write_header(length, Kind::Send, header, &mut Fill(&mut head));
        let mut room = Fill(&mut fields);
        room.u64(id);
        room.u32(info_type);
        for part in [&head, &*self.addresses, &fields, body] {
            out.extend_from_slice(part);
        }
    }
}

/// The number of a message and what it means.
const FIELDS: usize = 8 + 4;
