//! What both ends hear of the transport under a link.

/// What the transport has done: totals of one link, in bytes of the wire, WebSocket headers included.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Transport {
    /// Bytes read since the link began. Any growth is a sign of life.
    pub read: u64,
    /// Bytes that the transport took since the link began.
    pub written: u64,
    /// Whether bytes that were handed out still wait for the transport.
    pub unflushed: bool,
}
