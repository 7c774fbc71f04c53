//! One direction of one connection: how long bytes take, how many fit, and what becomes of them.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use esf_proto::{session::transport::Transport, time::Instant};

/// What the kernel of the sender takes without sending it.
const KERNEL: u64 = 32 * 1024;
/// What the WebSocket layer takes beyond that.
const WEBSOCKET: u64 = 64 * 1024;
/// What the kernel of the receiver keeps for a program that does not read.
const UNREAD: u64 = 128 * 1024;

/// How a line is.
#[derive(Debug, Clone, Copy)]
pub struct Manners {
    /// How long each item takes at least.
    pub latency: Duration,
    /// How much longer it may take.
    pub jitter: Duration,
    /// Bytes a second; 0 is no limit.
    pub bandwidth: u64,
}

/// What is under way.
#[derive(Debug, Clone)]
pub enum Item {
    /// Some bytes of a WebSocket.
    Bytes(Bytes),
    /// A binary WebSocket message.
    Message(Bytes),
    /// A text message.
    Text,
    /// A WebSocket ping.
    Ping,
    /// The answer to it.
    Pong,
    /// A WebSocket close, with its code.
    Close(Option<u16>),
    /// The end of the connection without a word.
    End,
    /// Bytes that no honest end sends.
    Wrong(String),
}

/// One direction.
#[derive(Debug)]
pub struct Line {
    pub(super) manners: Manners,
    items: VecDeque<(Instant, Item)>,
    /// When the sender's interface has sent everything.
    free_at: Instant,
    last_at: Instant,
    fed: u64,
    read: u64,
    /// It is cut: nothing that is put in now arrives any more.
    cut: bool,
    /// Nothing arrives, and nobody is told.
    pub(super) still: bool,
    /// When it moved again.
    moved_at: Instant,
    /// The receiving program reads nothing until then.
    pub(super) unread_until: Instant,
    /// An arrival is planned.
    pub(super) planned: bool,
}

impl Line {
    /// An empty line.
    #[must_use]
    pub const fn new(manners: Manners) -> Self {
        Self {
            manners,
            items: VecDeque::new(),
            free_at: Instant::ZERO,
            last_at: Instant::ZERO,
            fed: 0,
            read: 0,
            cut: false,
            still: false,
            moved_at: Instant::ZERO,
            unread_until: Instant::ZERO,
            planned: false,
        }
    }

    /// Puts something in; `chance` is for the jitter. Returns when it arrives.
    pub fn feed(&mut self, now: Instant, item: Item, chance: u64) -> Instant {
        let bytes = size(&item);
        self.fed += bytes;
        let mut at = now;
        if let Some(micros) = bytes.saturating_mul(1_000_000).checked_div(self.manners.bandwidth) {
            self.free_at = self.free_at.max(now) + Duration::from_micros(micros);
            at = self.free_at;
        }
        let jitter = u64::try_from(self.manners.jitter.as_micros()).unwrap_or(0);
        at = at + self.manners.latency + Duration::from_micros(chance.checked_rem(jitter).unwrap_or(0));
        self.last_at = self.last_at.max(at);
        if !self.cut {
            self.items.push_back((self.last_at, item));
        }
        self.last_at
    }

    /// When the next item arrives.
    #[must_use]
    pub fn next_arrival(&self) -> Option<Instant> {
        if self.still {
            return None;
        }
        self.items.front().map(|(at, _)| (*at).max(self.unread_until))
    }

    /// The next item, if it is here by now.
    pub fn arrive(&mut self, now: Instant) -> Option<Item> {
        self.next_arrival().filter(|at| *at <= now)?;
        let (_, item) = self.items.pop_front()?;
        self.read += size(&item);
        Some(item)
    }

    /// Bytes that were read at its end.
    #[must_use]
    pub const fn read(&self) -> u64 {
        self.read
    }

    /// Items under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.items.len()
    }

    /// Is cut: what is under way but the first `kept` items is lost, and so is all that comes after it.
    pub fn lose(&mut self, kept: usize) {
        self.cut = true;
        self.items.truncate(kept);
    }

    /// It moves again, if it stood still.
    pub fn moves(&mut self, now: Instant) {
        if std::mem::take(&mut self.still) {
            self.moved_at = now;
        }
    }

    /// Whether something other than its length and width kept bytes back since then.
    #[must_use]
    pub fn was_ill(&self, since: Instant) -> bool {
        self.cut || self.still || self.moved_at >= since || self.unread_until >= since
    }

    /// Bytes that its sender's kernel and WebSocket hold.
    #[must_use]
    pub fn unsent(&self, now: Instant) -> u64 {
        let unread = (self.fed - self.read).saturating_sub(UNREAD);
        if self.manners.bandwidth == 0 {
            return unread;
        }
        let micros = u64::try_from(self.free_at.since(now).as_micros()).unwrap_or(0);
        unread.max(micros.saturating_mul(self.manners.bandwidth) / 1_000_000)
    }

    /// Whether the WebSocket of its sender takes another message.
    #[must_use]
    pub fn can_write(&self, now: Instant) -> bool {
        self.unsent(now) < KERNEL + WEBSOCKET
    }

    /// What its sender sees of it; `read` is what came the other way.
    #[must_use]
    pub fn transport(&self, now: Instant, read: u64) -> Transport {
        let unsent = self.unsent(now);
        let waiting = unsent.saturating_sub(KERNEL);
        Transport { read, written: self.fed - waiting, unflushed: waiting > 0 }
    }

    /// When its sender sees more room, if that does not depend on somebody who reads.
    #[must_use]
    pub fn room_at(&self, now: Instant) -> Option<Instant> {
        let unsent = self.unsent(now);
        if self.manners.bandwidth == 0 || unsent <= KERNEL {
            return None;
        }
        let micros = (unsent - KERNEL).saturating_mul(1_000_000) / self.manners.bandwidth;
        Some(now + Duration::from_micros(micros.max(1_000)))
    }
}

/// Bytes of an item on the wire, with the header of its WebSocket message.
fn size(item: &Item) -> u64 {
    match item {
        Item::Bytes(bytes) => bytes.len() as u64,
        Item::Message(message) => message.len() as u64 + 6,
        Item::Text => 8,
        Item::Ping | Item::Pong => 2,
        Item::Close(_) => 4,
        Item::End | Item::Wrong(_) => 0,
    }
}
