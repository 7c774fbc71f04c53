//! What a session says for itself on its link: counts, and answers to heartbeats.

use alloc::{collections::VecDeque, vec::Vec};

use crate::{
    session::{frames::FrameBytes, hop::Hop},
    wire::{Frame, Header},
};

/// Heartbeats whose answers may wait. An honest client has one under way.
const BEATS: usize = 16;

/// What waits to be said. It stays small whatever a client sends that does not read: one count stands for all before
/// it, and of many heartbeats the last ones are answered.
#[derive(Debug, Default)]
pub(super) struct Control {
    count: bool,
    beats: VecDeque<u32>,
    /// What is said, while it goes out.
    frame: Vec<u8>,
}

impl Control {
    /// A count is to be told.
    pub(super) fn count(&mut self) {
        self.count = true;
    }

    /// A heartbeat is to be answered (ESF-402). `false`: the answer to an older one is given up for it.
    pub(super) fn beat(&mut self, nonce: u32) -> bool {
        let room = self.beats.len() < BEATS;
        if !room {
            self.beats.pop_front();
        }
        if !broken!(HeartbeatUnanswered) {
            self.beats.push_back(nonce);
        }
        room
    }

    /// Gives the room of an idle session back.
    pub(super) fn rest(&mut self) {
        self.beats.shrink_to_fit();
        self.frame = Vec::new();
    }

    /// The next frame, a count first: after a resume nothing stands before it (ESF-211).
    pub(super) fn pop(&mut self, hop: &mut Hop) -> Option<FrameBytes<'_>> {
        let frame = if core::mem::take(&mut self.count) {
            let counts = hop.tell_count();
            Frame::Count { received: counts.received, taken: counts.taken }
        } else {
            Frame::HeartbeatAck { nonce: self.beats.pop_front()? }
        };
        self.frame.clear();
        frame.encode_measured(Header::default(), frame.encoded_len(), &mut self.frame);
        Some(FrameBytes::Slice(&self.frame))
    }
}
