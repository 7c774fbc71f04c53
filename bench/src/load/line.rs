//! One connection of the generator.

use std::io::{ErrorKind, Read as _, Write as _};

use esf_proto::wire::{HEADER_LEN, Kind};
use mio::net::TcpStream;

use crate::{
    Problem,
    wire::{self, MAX_HEAD},
};

/// Frames and bytes after which a client says what it has (ESF-207).
const COUNT_FRAMES: u32 = 128;
const COUNT_BYTES: u32 = 64 * 1024;

/// A connection, what goes out on it, and how what comes in is read.
pub(super) struct Line {
    pub(super) stream: TcpStream,
    /// Whose messages these are: it may send one for each that arrives here.
    pub(super) partner: usize,
    out: Batch,
    incoming: Incoming,
    /// The beginning of a message whose end has not come.
    partial: Vec<u8>,
    /// What the socket did not take.
    backlog: Vec<u8>,
}

/// Messages that are all alike, one behind the other, of which any number goes out.
pub(super) enum Batch {
    /// Nothing is ever sent.
    Nothing,
    /// Each a whole message on the wire.
    Whole { bytes: Vec<u8>, each: usize },
    /// As many as go, in one WebSocket message, for whose head there is room in front.
    Coalesced { bytes: Vec<u8>, each: usize },
}

/// How messages that arrive are counted.
pub(super) enum Incoming {
    /// Bytes without any form, this many a message; `over` belong to one that is not whole.
    Bytes { size: usize, over: usize },
    /// All have this size and begin with this byte, but for a sign of life that is asked for and given.
    Alike { size: usize, first: u8, alive: Option<(&'static [u8], &'static [u8])> },
    /// Whatever it is.
    Ignored,
    /// WebSocket messages of ESF frames.
    Esf(EsfReader),
}

/// Reads what an ESF server sends and says what a client has to.
#[derive(Default)]
pub(super) struct EsfReader {
    received: u32,
    taken: u32,
    told: (u32, u32),
}

/// What was read.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) messages: usize,
    /// What has to be answered for the connection's sake.
    pub(super) answer: Vec<u8>,
}

impl Batch {
    /// As many as `most` messages of these bytes.
    pub(super) fn whole(message: &[u8], most: usize) -> Self {
        Self::Whole { bytes: message.repeat(most), each: message.len() }
    }

    /// As many as `most` frames of these bytes, in one WebSocket message.
    pub(super) fn coalesced(frame: &[u8], most: usize) -> Self {
        let mut bytes = vec![0; MAX_HEAD];
        bytes.extend(frame.repeat(most));
        Self::Coalesced { bytes, each: frame.len() }
    }

    fn take(&mut self, messages: usize) -> &[u8] {
        match self {
            Self::Nothing => &[],
            Self::Whole { bytes, each } => &bytes[..messages * *each],
            Self::Coalesced { bytes, each } => {
                let payload = messages * *each;
                let (head, len) = wire::head(payload);
                bytes[MAX_HEAD - len..MAX_HEAD].copy_from_slice(&head[..len]);
                &bytes[MAX_HEAD - len..MAX_HEAD + payload]
            }
        }
    }
}

impl Line {
    pub(super) fn new(
        stream: std::net::TcpStream,
        partner: usize,
        out: Batch,
        incoming: Incoming,
    ) -> Result<Self, Problem> {
        stream.set_nonblocking(true)?;
        let stream = TcpStream::from_std(stream);
        Ok(Self { stream, partner, out, incoming, partial: Vec::new(), backlog: Vec::new() })
    }

    pub(super) fn sends(&self) -> bool {
        !matches!(self.out, Batch::Nothing)
    }

    /// Sends so many messages.
    pub(super) fn send(&mut self, messages: usize) -> Result<(), Problem> {
        let bytes = self.out.take(messages);
        write(&mut self.stream, &mut self.backlog, bytes)
    }

    /// Sends these bytes.
    pub(super) fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        write(&mut self.stream, &mut self.backlog, bytes)
    }

    /// Sends what the socket did not take before.
    pub(super) fn flush(&mut self) -> Result<(), Problem> {
        if self.backlog.is_empty() {
            return Ok(());
        }
        let waiting = std::mem::take(&mut self.backlog);
        write(&mut self.stream, &mut self.backlog, &waiting)
    }

    /// Reads all that is there; how many messages that were.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Problem> {
        let mut tally = Tally::default();
        loop {
            let kept = self.partial.len();
            buffer[..kept].copy_from_slice(&self.partial);
            self.partial.clear();
            let end = match self.stream.read(&mut buffer[kept..]) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(read) => kept + read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => kept,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            let used = self.incoming.read(&buffer[..end], &mut tally)?;
            self.partial.extend_from_slice(&buffer[used..end]);
            // A read that did not fill the buffer has emptied the socket.
            if end < buffer.len() {
                break;
            }
        }
        if !tally.answer.is_empty() {
            self.send_bytes(&tally.answer)?;
        }
        Ok(tally.messages)
    }

    /// Says at once what has arrived and was not told, as a client does some time after the first such frame.
    pub(super) fn count_now(&mut self) -> Vec<u8> {
        let mut tally = Tally::default();
        if let Incoming::Esf(reader) = &mut self.incoming {
            reader.count(1, &mut tally);
        }
        tally.answer
    }
}

fn write(stream: &mut TcpStream, backlog: &mut Vec<u8>, mut bytes: &[u8]) -> Result<(), Problem> {
    while backlog.is_empty() && !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error.into()),
        }
    }
    backlog.extend_from_slice(bytes);
    Ok(())
}

impl Incoming {
    /// Counts what is whole and returns how many bytes that was.
    fn read(&mut self, bytes: &[u8], tally: &mut Tally) -> Result<usize, Problem> {
        match self {
            Self::Bytes { size, over } => {
                let whole = *over + bytes.len();
                tally.messages += whole / *size;
                *over = whole % *size;
                Ok(bytes.len())
            }
            Self::Alike { size, first, alive } => {
                let mut at = 0;
                while let Some(next) = bytes.get(at) {
                    let rest = &bytes[at..];
                    if let Some((asked, answer)) = alive.filter(|(asked, _)| rest.starts_with(asked)) {
                        tally.answer.extend(answer);
                        at += asked.len();
                    } else if next == first && rest.len() >= *size {
                        tally.messages += 1;
                        at += *size;
                    } else if next == first || alive.is_some_and(|(asked, _)| asked.starts_with(rest)) {
                        break;
                    } else {
                        let strange = rest.iter().take(200).copied().collect::<Vec<u8>>();
                        return Err(format!("unexpected: {}", strange.escape_ascii()).into());
                    }
                }
                Ok(at)
            }
            Self::Ignored => Ok(bytes.len()),
            Self::Esf(reader) => reader.read(bytes, tally),
        }
    }
}

impl EsfReader {
    /// For a connection that has had so many frames that count, and no message.
    pub(super) fn after(received: u32) -> Self {
        Self { received, ..Self::default() }
    }

    fn read(&mut self, bytes: &[u8], tally: &mut Tally) -> Result<usize, Problem> {
        let mut at = 0;
        while let Some((opcode, head, len)) = head_of(&bytes[at..]) {
            let Some(payload) = bytes.get(at + head..at + head + len) else { break };
            match opcode {
                0x82 => self.frames(payload, tally)?,
                // A ping, which any WebSocket answers.
                0x89 => {
                    let mut pong = wire::message(payload);
                    pong[0] = 0x8A;
                    tally.answer.extend(pong);
                }
                0x8A => {}
                other => return Err(format!("a WebSocket frame {other:#04x}: {}", payload.escape_ascii()).into()),
            }
            at += head + len;
        }
        self.count(COUNT_FRAMES, tally);
        Ok(at)
    }

    fn frames(&mut self, mut payload: &[u8], tally: &mut Tally) -> Result<(), Problem> {
        const SEND: u8 = Kind::Send as u8;
        const BROADCAST: u8 = Kind::Broadcast as u8;
        const REPLY: u8 = Kind::Reply as u8;
        const ACCEPTED: u8 = Kind::Accepted as u8;
        const GROUP_EVENT: u8 = Kind::GroupEvent as u8;
        const PRESENCE: u8 = Kind::Presence as u8;
        const COUNT: u8 = Kind::Count as u8;
        const HEARTBEAT_ACK: u8 = Kind::HeartbeatAck as u8;
        while payload.len() >= HEADER_LEN {
            let len = 4 + u32::from_le_bytes([payload[0], payload[1], payload[2], payload[3]]) as usize;
            let kind = payload[4];
            match kind {
                SEND | BROADCAST | REPLY | ACCEPTED => {
                    tally.messages += 1;
                    self.received = self.received.wrapping_add(1);
                    // Messages are windowed; answers are not.
                    if kind != REPLY && kind != ACCEPTED {
                        self.taken = self.taken.wrapping_add(len as u32);
                    }
                }
                GROUP_EVENT | PRESENCE => self.received = self.received.wrapping_add(1),
                COUNT | HEARTBEAT_ACK => {}
                _ => return Err(format!("the server says {}", payload.escape_ascii()).into()),
            }
            payload = payload.get(len..).ok_or("a torn frame")?;
        }
        if payload.is_empty() { Ok(()) } else { Err("a torn frame".into()) }
    }

    /// Says what has arrived if it is so many frames, or many bytes.
    fn count(&mut self, frames: u32, tally: &mut Tally) {
        let (received, taken) = self.told;
        if self.received.wrapping_sub(received) >= frames || self.taken.wrapping_sub(taken) >= COUNT_BYTES {
            self.told = (self.received, self.taken);
            tally.answer.extend(wire::message(&wire::count(self.received, self.taken)));
        }
    }
}

/// The first byte of a WebSocket frame of a server, the bytes of its head, and those of its payload.
fn head_of(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (&opcode, &short) = (bytes.first()?, bytes.get(1)?);
    Some(match short {
        126 => (opcode, 4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (opcode, 10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        short => (opcode, 2, usize::from(short)),
    })
}

#[cfg(test)]
mod tests;
