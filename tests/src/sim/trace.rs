//! What happened, as a number that tells two runs apart and, if wanted, as text for a person.

use std::fmt::Write as _;

use bytes::Bytes;
use esf_proto::{
    time::Instant,
    wire::{Frame, LoginResult, RawFrame},
};

/// The record of one run.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// A record; `written` keeps the text as well.
    #[must_use]
    pub fn new(written: bool) -> Self {
        Self { hash: 0xCBF2_9CE4_8422_2325, lines: written.then(Vec::new) }
    }

    /// The number of everything so far.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// The text so far.
    #[must_use]
    pub fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }

    /// Whether text is kept: else nobody needs to make it.
    #[must_use]
    pub const fn is_written(&self) -> bool {
        self.lines.is_some()
    }

    /// Counts something into the number.
    pub fn mix(&mut self, what: u64) {
        self.hash = (self.hash.rotate_left(5) ^ what).wrapping_mul(0x517C_C1B7_2722_0A95);
    }

    /// One line: when, who, what.
    pub fn line(&mut self, now: Instant, who: &str, what: &str) {
        let Some(lines) = &mut self.lines else { return };
        let micros = now.as_micros();
        lines.push(format!("{:>6}.{:06}  {who:<20} {what}", micros / 1_000_000, micros % 1_000_000));
    }
}

/// A number that stands for these bytes.
#[must_use]
pub fn fingerprint(bytes: &[u8]) -> u64 {
    let mut hash = bytes.len() as u64;
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let word = u64::from_le_bytes(word.try_into().unwrap_or_default());
        hash = (hash.rotate_left(5) ^ word).wrapping_mul(0x517C_C1B7_2722_0A95);
    }
    for byte in words.remainder() {
        hash = (hash.rotate_left(5) ^ u64::from(*byte)).wrapping_mul(0x517C_C1B7_2722_0A95);
    }
    hash
}

/// A frame in words.
#[must_use]
pub fn words(frame: &Bytes) -> String {
    let Ok(raw) = RawFrame::parse(frame.clone()) else { return format!("{} bytes that are no frame", frame.len()) };
    let Some(kind) = raw.kind() else { return format!("kind {:#04x}, {} B", raw.kind_byte(), raw.len()) };
    let mut text = kind.name().to_owned();
    match raw.decode() {
        Ok(Frame::Login(login)) => {
            let _ = write!(text, " attempt {} of {}", login.attempt, login.user);
            if let Some(resume) = login.resume {
                let _ = write!(text, ", resume from {}", resume.received);
            }
        }
        Ok(Frame::LoginResult(LoginResult::Succeed(welcome))) => {
            let _ = write!(text, " {:?}, received {}, number {}", welcome.mode, welcome.received, welcome.login_number);
        }
        Ok(Frame::LoginResult(LoginResult::Refused { result, cause })) => {
            let _ = write!(text, " {result:?}: {cause}");
        }
        Ok(Frame::Close { reason, .. }) => {
            let _ = write!(text, ": {}", reason.text());
        }
        Ok(Frame::Count { received, taken }) => {
            let _ = write!(text, " received {received}, taken {taken}");
        }
        Ok(Frame::Credit { stream, offset }) => {
            let _ = write!(text, " {:04x} up to {offset}", stream & 0xFFFF);
        }
        Ok(Frame::Fragment { stream, offset, last, data }) => {
            let end = if last { ", the last" } else { "" };
            let _ = write!(text, " {:04x} {offset} + {}{end}", stream & 0xFFFF, data.len());
        }
        Ok(frame) => {
            if let Some(envelope) = frame.envelope() {
                let _ = write!(text, " id {}", envelope.id);
                if let Some(user) = envelope.to.user() {
                    let _ = write!(text, " to {user}");
                }
                if let Some(user) = envelope.from.user() {
                    let _ = write!(text, " from {user}");
                }
            }
            if let Some(number) = number_of(&frame) {
                let _ = write!(text, " #{number}");
            }
            if let Frame::Failure { code, .. } = frame {
                let _ = write!(text, ": {code}");
            }
        }
        Err(error) => {
            let _ = write!(text, ", {error}");
        }
    }
    let _ = write!(text, ", {} B", raw.len());
    text
}

fn number_of(frame: &Frame<'_>) -> Option<u32> {
    match frame {
        Frame::Send { info_type, .. }
        | Frame::Certain { info_type, .. }
        | Frame::EngineMessage { info_type, .. }
        | Frame::Query { info_type, .. }
        | Frame::BlobOffer { info_type, .. } => Some(*info_type),
        _ => None,
    }
}
