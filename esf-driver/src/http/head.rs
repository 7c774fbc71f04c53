//! Reads the head of an HTTP message from bytes that come in pieces.

use super::{HeadEnd, MAX_HEAD};

/// What came of reading a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// The head, and what came behind it at once.
    Whole {
        /// The head, with its empty line.
        head: Vec<u8>,
        /// What is no part of it.
        rest: Vec<u8>,
    },
    /// More than [`MAX_HEAD`] without an end.
    TooLarge,
    /// The first bytes are none of such a message.
    Hopeless,
}

/// Collects a head.
#[derive(Debug)]
pub struct HeadReader {
    came: Vec<u8>,
    end: HeadEnd,
    hopeful: fn(&[u8]) -> bool,
}

impl HeadReader {
    /// Nothing came yet. `hopeful` looks at the first bytes, so that somebody who speaks something else hears of it at
    /// once and not when the time is over.
    #[must_use]
    pub fn new(hopeful: fn(&[u8]) -> bool) -> Self {
        Self { came: Vec::new(), end: HeadEnd::default(), hopeful }
    }

    /// Bytes came; once the head is whole, or cannot become so, it says so.
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> Option<Head> {
        self.came.extend_from_slice(bytes);
        if !(self.hopeful)(&self.came) {
            return Some(Head::Hopeless);
        }
        match self.end.find(&self.came) {
            Some(len) if len <= MAX_HEAD => {
                let rest = self.came.split_off(len);
                Some(Head::Whole { head: std::mem::take(&mut self.came), rest })
            }
            None if self.came.len() <= MAX_HEAD => None,
            _ => Some(Head::TooLarge),
        }
    }
}
