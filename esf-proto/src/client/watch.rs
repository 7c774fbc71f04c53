//! Whether the bytes of a link move.

use core::time::Duration;

use super::Transport;
use crate::time::Instant;

/// Sees a link whose bytes stand still, in either direction.
#[derive(Debug, Default, Clone)]
pub(super) struct TransportWatch {
    last: Transport,
    still_since: Option<Instant>,
}

impl TransportWatch {
    /// Takes the totals and says whether bytes came in since the last time.
    pub(super) fn observe(&mut self, now: Instant, transport: Transport) -> bool {
        let heard = transport.read != self.last.read;
        if !transport.unflushed {
            self.still_since = None;
        } else if transport.written != self.last.written || self.still_since.is_none() {
            self.still_since = Some(now);
        }
        self.last = transport;
        heard
    }

    /// Begins to wait anew, if bytes wait to be written: this side slept.
    pub(super) fn restart(&mut self, now: Instant) {
        if self.still_since.is_some() {
            self.still_since = Some(now);
        }
    }

    /// When the link is to be closed with `ChannelOverflow` (ESF-512), if bytes wait to be written.
    pub(super) fn overflow_at(&self, limit: Duration) -> Option<Instant> {
        self.still_since.map(|since| since + limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn bytes_that_move_put_the_overflow_off() {
        let mut watch = TransportWatch::default();
        let still = Transport { read: 0, written: 5, unflushed: true };
        watch.observe(at(1), still);
        assert_eq!(watch.overflow_at(LIMIT), Some(at(31)));
        watch.observe(at(20), still);
        assert_eq!(watch.overflow_at(LIMIT), Some(at(31)));
        watch.observe(at(21), Transport { written: 6, ..still });
        assert_eq!(watch.overflow_at(LIMIT), Some(at(51)));
        watch.restart(at(40));
        assert_eq!(watch.overflow_at(LIMIT), Some(at(70)));
        watch.observe(at(22), Transport { written: 7, unflushed: false, ..still });
        assert_eq!(watch.overflow_at(LIMIT), None);
    }

    #[test]
    fn only_new_bytes_are_heard() {
        let mut watch = TransportWatch::default();
        let read = |read| Transport { read, ..Transport::default() };
        assert!(!watch.observe(at(1), read(0)));
        assert!(watch.observe(at(2), read(1)));
        assert!(!watch.observe(at(3), read(1)));
    }
}
