//! The bytes of an input as decisions.

use std::time::Duration;

use arbitrary::Unstructured;

/// Numbers at which something may turn.
const EDGES: [u64; 16] = [
    0,
    1,
    2,
    127,
    128,
    255,
    256,
    u16::MAX as u64,
    1 << 16,
    (1 << 20) - 1,
    1 << 20,
    u32::MAX as u64,
    1 << 32,
    1 << 53,
    u64::MAX - 1,
    u64::MAX,
];

/// Decisions, a byte each where that is enough, so that a change of one byte changes one decision. When they are used up
/// every decision is the first.
#[derive(Debug)]
pub struct Input<'a>(Unstructured<'a>);

impl<'a> Input<'a> {
    /// The decisions in these bytes.
    #[must_use]
    pub fn new(data: &'a [u8]) -> Self {
        Self(Unstructured::new(data))
    }

    /// Whether all were used.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0.int_in_range(0..=limit.max(1) - 1).unwrap_or(0)
    }

    /// Yes or no.
    pub fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    /// One in so many.
    pub fn rarely(&mut self, of: usize) -> bool {
        self.below(of) == of - 1
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        self.0.arbitrary().unwrap_or(0)
    }

    /// One of these.
    ///
    /// # Panics
    /// If there is none.
    pub fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// A number: mostly a small one, else one at which something may turn, else any.
    pub fn number(&mut self) -> u64 {
        match self.byte() {
            small @ 0..=223 => small.into(),
            edge @ 224..=239 => EDGES[usize::from(edge - 224)],
            near @ 240..=251 => EDGES[usize::from(near - 240)].wrapping_add(self.byte().into()),
            _ => self.0.arbitrary().unwrap_or(0),
        }
    }

    /// The same of 32 bits.
    pub fn number32(&mut self) -> u32 {
        self.number().try_into().unwrap_or(u32::MAX)
    }

    /// Up to 31 bytes of the input itself, or rarely up to 255.
    pub fn bytes(&mut self) -> &'a [u8] {
        let len = match self.byte() {
            short @ 0..=247 => usize::from(short % 32),
            _ => usize::from(self.byte()),
        };
        self.0.bytes(len.min(self.0.len())).unwrap_or_default()
    }

    /// The same as text, as far as it is some.
    pub fn text(&mut self) -> &'a str {
        let bytes = self.bytes();
        std::str::from_utf8(bytes).unwrap_or_else(|error| {
            let (good, _) = bytes.split_at(error.valid_up_to());
            std::str::from_utf8(good).unwrap_or_default()
        })
    }

    /// All that is left.
    #[must_use]
    pub fn rest(self) -> &'a [u8] {
        self.0.take_rest()
    }

    /// A span of time: mostly short, at times as long as a timer of the protocol, at times longer than all of them.
    pub fn duration(&mut self) -> Duration {
        let ms = match self.byte() {
            ms @ 0..=63 => u64::from(ms),
            tenths @ 64..=159 => u64::from(tenths - 63) * 100,
            seconds @ 160..=247 => u64::from(seconds - 159) * 1_000,
            _ => 400_000,
        };
        Duration::from_millis(ms)
    }
}
