//! What the two ends of a hop may hand out, kept apart from the code that is tested: a second, much simpler book of
//! frames, counts and windows, by PROTOCOL.md's text alone.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use esf_proto::wire::RawFrame;

use super::trace::fingerprint;

/// Where the kind, the flags and the payload of a frame are.
const KIND: usize = 4;
const FLAGS: usize = 5;
const HOP: usize = 6;
const HEADER: usize = 7;
const EXTENSIONS: u8 = 0x02;
const VOLATILE: u8 = 0x04;
/// In the flags of a hop: it was sent before.
const AGAIN: u8 = 0x01;

/// Kinds that this book knows by number.
const COUNT: u8 = 0x06;
const CERTAIN: u8 = 0x11;
const CREDIT: u8 = 0x0A;
const FRAGMENT: u8 = 0x0B;
const WINDOWED: [u8; 5] = [0x10, 0x11, 0x12, 0x13, 0x1A];

/// What the header of a frame says.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// The kind's number.
    pub kind: u8,
    /// Whether both ends count it.
    pub counted: bool,
    /// Whether it takes room in the window.
    pub windowed: bool,
    frame: &'a [u8],
}

impl<'a> Head<'a> {
    /// Reads the header of a whole frame.
    #[must_use]
    pub fn of(frame: &'a [u8]) -> Self {
        let kind = frame.get(KIND).copied().unwrap_or_default();
        let volatile = frame.get(FLAGS).is_some_and(|flags| flags & VOLATILE != 0);
        let counted = (0x10..0x80).contains(&kind) && !volatile;
        Self { kind, counted, windowed: counted && WINDOWED.contains(&kind), frame }
    }

    fn number(&self, at: usize) -> u32 {
        let bytes = self.frame.get(HEADER + at..HEADER + at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_le_bytes)
    }

    fn long(&self, at: usize) -> u64 {
        let bytes = self.frame.get(HEADER + at..HEADER + at + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_le_bytes)
    }

    fn is_plain(&self) -> bool {
        self.frame.get(FLAGS).is_some_and(|flags| flags & EXTENSIONS == 0)
    }

    fn is_again(&self) -> bool {
        self.frame.get(HOP).is_some_and(|hop| hop & AGAIN != 0)
    }

    /// The id that a message has.
    fn id(&self) -> Option<u64> {
        let raw = RawFrame::parse(Bytes::copy_from_slice(self.frame)).ok()?;
        Some(raw.decode().ok()?.envelope()?.id)
    }

    /// The two numbers of a count.
    fn counts(&self) -> Option<(u32, u32)> {
        (self.kind == COUNT && self.is_plain()).then(|| (self.number(0), self.number(4)))
    }

    /// Stream and offset of a credit.
    fn credit(&self) -> Option<(u64, u64)> {
        (self.kind == CREDIT && self.is_plain()).then(|| (self.long(0), self.long(8)))
    }

    /// Stream and end of a fragment.
    fn fragment(&self) -> Option<(u64, u64)> {
        let data = self.frame.len().saturating_sub(HEADER + 17) as u64;
        (self.kind == FRAGMENT && self.is_plain()).then(|| (self.long(0), self.long(8) + data))
    }
}

/// One direction of one session.
#[derive(Debug, Default)]
struct Way {
    /// What was handed out and is not at the other end, as fingerprints.
    kept: VecDeque<u64>,
    /// The lengths of what was handed out and is not counted by an arrived count, and their sum.
    uncounted: VecDeque<usize>,
    uncounted_bytes: usize,
    acked: u32,
    /// Frames handed out for the first time.
    sent: u32,
    /// The next frame to go out on the present link, of all that were ever sent.
    next: u32,
    /// Frames at the other end.
    received: u32,
    /// What the other end stated last.
    told: u32,
    /// Bytes of windowed frames handed out, and of those that arrived.
    windowed: u32,
    windowed_in: u32,
    /// What the sender has heard of them.
    taken: u32,
}

/// The messages of a session in the order in which its client handed them out.
#[derive(Debug, Default)]
struct Order {
    /// The id of the last certain one.
    certain: u64,
    /// One went out that was not sent before this session.
    new: bool,
}

impl Order {
    /// Certain messages go out in the order of their ids, and those that were sent in an older session before all others
    /// (ESF-218).
    fn goes_out(&mut self, head: &Head<'_>) -> Wrong {
        let (is_certain, again) = (head.kind == CERTAIN, head.is_again());
        if is_certain && again && self.new {
            return Some("what was sent in an older session goes again behind what was not".into());
        }
        self.new |= !again;
        let id = head.id().filter(|_| is_certain)?;
        let before = std::mem::replace(&mut self.certain, id);
        (id <= before).then(|| format!("the certain message {id} goes out after {before}"))
    }
}

/// One session as its wire shows it.
#[derive(Debug, Default)]
pub struct Book {
    up: Way,
    down: Way,
    /// The window, as the welcome announced it.
    window: u32,
    messages: Order,
    /// The client gave a link up in the middle of a message, so nobody outside knows what it has counted.
    pub(super) unsure: bool,
}

/// What fragments may go out on one link.
#[derive(Debug, Default)]
pub struct Credits {
    up: BTreeMap<u64, u64>,
    down: BTreeMap<u64, u64>,
}

/// Which way a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Going {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// What is wrong, in words.
pub type Wrong = Option<String>;

impl Way {
    /// The sender hears how many frames are at the other end.
    fn is_counted(&mut self, received: u32) {
        let news = received.wrapping_sub(self.acked) as usize;
        if news <= self.uncounted.len() {
            self.uncounted_bytes -= self.uncounted.drain(..news).sum::<usize>();
            self.acked = received;
        }
    }
}

impl Book {
    /// A new session whose welcome announced this window.
    #[must_use]
    pub fn new(window: u32) -> Self {
        Self { window, ..Self::default() }
    }

    fn way(&mut self, going: Going) -> &mut Way {
        match going {
            Going::Up => &mut self.up,
            Going::Down => &mut self.down,
        }
    }

    /// A new link carries the session on: both ends begin where the other one is.
    pub fn resumed(&mut self, going: Going) {
        let way = self.way(going);
        way.next = way.received;
        way.is_counted(way.received);
    }

    /// What the server says that it has: exactly what arrived.
    #[must_use]
    pub fn stated_by_server(&self, received: u32) -> Wrong {
        let there = self.up.received;
        (received != there).then(|| format!("the server states {received} received frames, {there} arrived"))
    }

    /// What the client says that it has.
    pub fn stated_by_client(&mut self, received: u32) -> Wrong {
        let there = self.down.received;
        if self.unsure && received <= there {
            let gone = there - received;
            if gone > 0 {
                return Some(format!("the client forgot {gone} frames that it gave up in the middle of a message"));
            }
            self.unsure = false;
        }
        (received != there).then(|| format!("the client states {received} received frames, {there} arrived"))
    }

    /// A frame goes out on the session's link.
    pub fn goes_out(&mut self, going: Going, frame: &[u8]) -> Wrong {
        let head = Head::of(frame);
        if let Some((received, taken)) = head.counts() {
            return self.count_goes_out(going, received, taken);
        }
        if !head.counted {
            return None;
        }
        let window = self.window;
        let way = self.way(going);
        let print = fingerprint(frame);
        if way.next != way.sent {
            let at = way.next.wrapping_sub(way.received) as usize;
            way.next = way.next.wrapping_add(1);
            let same = way.kept.get(at) == Some(&print);
            return (!same).then(|| format!("frame {} goes out again as another one", way.next.wrapping_sub(1)));
        }
        way.kept.push_back(print);
        way.uncounted.push_back(frame.len());
        way.uncounted_bytes += frame.len();
        way.sent = way.sent.wrapping_add(1);
        way.next = way.sent;
        if !head.windowed {
            return None;
        }
        let wrong = if going == Going::Up { self.messages.goes_out(&head) } else { None };
        let way = self.way(going);
        let out = way.windowed.wrapping_sub(way.taken);
        let len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        way.windowed = way.windowed.wrapping_add(len);
        let fits = out == 0 || out.saturating_add(len) <= window;
        wrong.or_else(|| {
            (!fits).then(|| format!("{len} bytes go out while {out} of a window of {window} are not taken"))
        })
    }

    fn count_goes_out(&mut self, going: Going, received: u32, taken: u32) -> Wrong {
        // It speaks of the other way.
        let unsure = self.unsure;
        let way = match going {
            Going::Up => &mut self.down,
            Going::Down => &mut self.up,
        };
        let (told, there) = (way.told, way.received);
        let (news, most) = (received.wrapping_sub(told), there.wrapping_sub(told));
        if news > most || (going == Going::Up && news < most && !unsure) {
            return Some(format!("a count of {received} frames goes out after {told}, while {there} are there"));
        }
        way.told = received;
        let in_flight = way.windowed_in.wrapping_sub(taken);
        (in_flight > u32::MAX / 2)
            .then(|| format!("a count says that {taken} bytes are taken, while only {} are there", way.windowed_in))
    }

    /// A frame is at the other end, which holds the session.
    pub fn arrives(&mut self, going: Going, frame: &[u8]) -> Wrong {
        let head = Head::of(frame);
        if let Some((received, taken)) = head.counts() {
            let way = match going {
                Going::Up => &mut self.down,
                Going::Down => &mut self.up,
            };
            way.taken = taken;
            way.is_counted(received);
            return None;
        }
        if !head.counted {
            return None;
        }
        let way = self.way(going);
        if head.windowed {
            way.windowed_in = way.windowed_in.wrapping_add(u32::try_from(frame.len()).unwrap_or(u32::MAX));
        }
        way.received = way.received.wrapping_add(1);
        let expected = way.kept.pop_front();
        (expected != Some(fingerprint(frame))).then(|| {
            let behind = if expected.is_none() { "after everything that was sent" } else { "out of its place" };
            format!("frame {} arrives {behind}", way.received.wrapping_sub(1))
        })
    }

    /// Frames that one end handed out and the other end did not state.
    #[must_use]
    pub fn untold(&self) -> (u32, u32) {
        (self.up.sent.wrapping_sub(self.up.told), self.down.sent.wrapping_sub(self.down.told))
    }

    /// Bytes of the frames that the server may have to send again.
    #[must_use]
    pub const fn kept_bytes(&self) -> usize {
        self.down.uncounted_bytes
    }
}

impl Credits {
    fn way(&mut self, going: Going) -> &mut BTreeMap<u64, u64> {
        match going {
            Going::Up => &mut self.up,
            Going::Down => &mut self.down,
        }
    }

    /// A frame goes out on this link: a fragment only as far as the credit that came on it.
    pub fn goes_out(&mut self, going: Going, frame: &[u8]) -> Wrong {
        let (stream, end) = Head::of(frame).fragment()?;
        // A credit says what is held; a window more may be under way.
        let held = self.way(going).get(&stream).copied();
        let Some(held) = held else {
            return Some(format!("a fragment of stream {stream:x} goes out without a credit"));
        };
        let most = held + esf_proto::session::blob::STREAM_WINDOW;
        (end > most).then(|| format!("a fragment of stream {stream:x} ends at {end}, the credit at {most}"))
    }

    /// A frame arrived on this link.
    pub fn arrives(&mut self, going: Going, frame: &[u8]) {
        if let Some((stream, offset)) = Head::of(frame).credit() {
            let other = if going == Going::Up { Going::Down } else { Going::Up };
            let held = self.way(other).entry(stream).or_default();
            *held = (*held).max(offset);
        }
    }
}
