//! Messages that arrived and that the application has not taken yet.

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};

use crate::{ids::UserId, session::inbound::Message};

/// Held messages in the order of their arrival.
///
/// The session never stops reading: a server may send one window of messages that the application has not taken, and
/// for that there is always room here. What volatile messages hold is bounded apart; they are dropped beyond it.
#[derive(Debug)]
pub(super) struct Inbox {
    held: VecDeque<Held>,
    windowed: usize,
    /// Bytes of `windowed` that came in the present session.
    present: usize,
    volatile: usize,
    volatile_limit: usize,
    session: u32,
    names: Names,
}

#[derive(Debug)]
struct Held {
    message: Message,
    len: usize,
    session: u32,
    volatile: bool,
}

/// Messages for which there is room without an allocation, once so many came together.
const BATCH: usize = 256;

impl Inbox {
    pub(super) fn new(volatile_limit: usize) -> Self {
        Self {
            held: VecDeque::new(),
            windowed: 0,
            present: 0,
            volatile: 0,
            volatile_limit,
            session: 0,
            names: Names::default(),
        }
    }

    /// A new session begins: the server's window counts anew.
    pub(super) fn begin_session(&mut self) {
        self.session = self.session.wrapping_add(1);
        self.present = 0;
    }

    /// Whether the server may have sent a message of `len` bytes, with a window of `window` bytes.
    pub(super) const fn within_window(&self, len: usize, window: usize) -> bool {
        self.present == 0 || self.present.saturating_add(len) <= window
    }

    /// Bytes of held messages, those of earlier sessions among them.
    pub(super) const fn windowed_bytes(&self) -> usize {
        self.windowed
    }

    /// Holds a message whose frame had `len` bytes. `false`: it was volatile and there was no room.
    pub(super) fn push(&mut self, message: Message, len: usize, volatile: bool) -> bool {
        if volatile {
            if self.volatile.saturating_add(len) > self.volatile_limit {
                return false;
            }
            self.volatile += len;
        } else {
            self.windowed += len;
            self.present += len;
        }
        self.held.push_back(Held { message, len, session: self.session, volatile });
        true
    }

    /// The next message, and how many bytes of the present window it gives back.
    pub(super) fn pop(&mut self) -> Option<(Message, usize)> {
        let Held { message, len, session, volatile } = self.held.pop_front()?;
        if self.held.is_empty() && self.held.capacity() > BATCH {
            self.held.shrink_to(BATCH);
        }
        if volatile {
            self.volatile -= len;
            return Some((message, 0));
        }
        self.windowed -= len;
        let present = session == self.session;
        if present {
            self.present -= len;
        }
        Some((message, if present { len } else { 0 }))
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.volatile_limit);
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// `name` as a user's name, without an allocation if it was seen lately; `None` if it is none.
    pub(super) fn name(&mut self, name: &str) -> Option<UserId> {
        self.names.of(name)
    }
}

/// Names seen lately, so that a message costs no allocation for the name of its sender.
#[derive(Debug, Default)]
struct Names(Vec<Option<UserId>>);

const NAMES: usize = 64;

impl Names {
    fn of(&mut self, name: &str) -> Option<UserId> {
        if self.0.is_empty() {
            self.0.resize(NAMES, None);
        }
        let hash = name.bytes().fold(5381u32, |hash, byte| hash.wrapping_mul(33) ^ u32::from(byte));
        let slot = self.0.get_mut(usize::try_from(hash).unwrap_or(0) % NAMES)?;
        if slot.as_deref() != Some(name) {
            *slot = Some(UserId::parse(name, u8::MAX).ok()?);
        }
        slot.clone()
    }
}

/// The sender's tag as the application gets it.
pub(super) fn tag(tag: &str) -> Box<str> {
    tag.into()
}
