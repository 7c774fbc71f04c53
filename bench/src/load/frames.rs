//! ESF frames in a stream of WebSocket frames, however either is cut; the insides of large ones are passed over.

use esf_proto::wire::HEADER_LEN;

use crate::{Problem, wire};

/// What is kept of a frame: enough of every kind that is looked at.
const PREFIX: usize = 64;

/// Finds the frames that a server sends.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    head: Vec<u8>,
    /// Bytes that are left of the present WebSocket frame, and whether they are data.
    left: usize,
    data: bool,
    control: Vec<u8>,
    prefix: Vec<u8>,
    /// Bytes of the present ESF frame so far.
    seen: usize,
}

/// One frame: its first bytes, and how many it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen<'a> {
    pub(super) prefix: &'a [u8],
    pub(super) len: usize,
}

impl Seen<'_> {
    pub(super) fn kind(&self) -> u8 {
        self.prefix.get(4).copied().unwrap_or_default()
    }
}

impl FrameReader {
    /// Reads what has arrived. Returns what has to be answered for the WebSocket's sake.
    pub(super) fn read(
        &mut self,
        mut bytes: &[u8],
        mut found: impl FnMut(Seen<'_>) -> Result<(), Problem>,
    ) -> Result<Vec<u8>, Problem> {
        let mut answer = Vec::new();
        while !bytes.is_empty() {
            if self.left == 0 {
                self.head.push(bytes[0]);
                bytes = &bytes[1..];
                self.begin(&mut answer)?;
                continue;
            }
            let (part, rest) = bytes.split_at(self.left.min(bytes.len()));
            (bytes, self.left) = (rest, self.left - part.len());
            if self.data {
                self.frames(part, &mut found)?;
            } else {
                self.control.extend(part);
                self.end_control(&mut answer)?;
            }
        }
        Ok(answer)
    }

    /// Looks at the head of a WebSocket frame once it is whole.
    fn begin(&mut self, answer: &mut Vec<u8>) -> Result<(), Problem> {
        let len = match (self.head.get(1), self.head.len()) {
            (Some(126), 4) => usize::from(u16::from_be_bytes([self.head[2], self.head[3]])),
            (Some(127), 10) => usize::try_from(u64::from_be_bytes(self.head[2..].try_into()?))?,
            (Some(short @ 0..=125), _) => usize::from(*short),
            _ => return Ok(()),
        };
        // A message may go on in frames of its own.
        self.data = matches!(self.head[0] & 0x0F, 0 | 2);
        self.left = len;
        if len == 0 && !self.data {
            self.end_control(answer)?;
        }
        if self.data || len == 0 {
            self.head.clear();
        }
        Ok(())
    }

    fn end_control(&mut self, answer: &mut Vec<u8>) -> Result<(), Problem> {
        if self.left > 0 {
            return Ok(());
        }
        let opcode = self.head.first().copied().unwrap_or_default();
        match opcode {
            0x89 => {
                let mut pong = wire::message(&self.control);
                pong[0] = 0x8A;
                answer.extend(pong);
            }
            0x8A => {}
            _ => return Err(format!("a WebSocket frame {opcode:#04x}: {}", self.control.escape_ascii()).into()),
        }
        self.control.clear();
        self.head.clear();
        Ok(())
    }

    fn frames(
        &mut self,
        mut part: &[u8],
        found: &mut impl FnMut(Seen<'_>) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        while !part.is_empty() {
            let wanted =
                if self.prefix.len() < HEADER_LEN { HEADER_LEN - self.prefix.len() } else { self.len() - self.seen };
            let (now, rest) = part.split_at(wanted.min(part.len()));
            let room = PREFIX.saturating_sub(self.prefix.len()).min(now.len());
            self.prefix.extend(&now[..room]);
            self.seen += now.len();
            part = rest;
            if self.prefix.len() >= HEADER_LEN && self.seen >= self.len() {
                found(Seen { prefix: &self.prefix, len: self.seen })?;
                self.prefix.clear();
                self.seen = 0;
            }
        }
        Ok(())
    }

    /// Bytes of the present frame, whose header is here.
    fn len(&self) -> usize {
        4 + u32::from_le_bytes([self.prefix[0], self.prefix[1], self.prefix[2], self.prefix[3]]) as usize
    }
}

#[cfg(test)]
mod tests;
