//! What the one link loop drives: either end of a link, client or server.

use std::task::Waker;

use bytes::Bytes;
use esf_proto::{close::CloseReason, session::frames::FrameBytes, time::Instant};

pub use esf_proto::session::transport::Transport;

/// One end of one link, as the link loop sees it.
///
/// The loop takes `now` once a turn, hands everything in that arrived, then drains the outputs in the order that
/// [`Drain`](crate::step::Drain) fixes, and sleeps until [`poll_timeout`](Self::poll_timeout) or until the waker that
/// it registered is woken.
pub trait Endpoint {
    /// One binary WebSocket message arrived: one or more whole frames.
    fn handle_message(&mut self, now: Instant, message: Bytes);

    /// Messages that arrived together, in order; takes them all out. One lock for all of them instead of one for each
    /// is what an endpoint may gain here.
    fn handle_batch(&mut self, now: Instant, messages: &mut Vec<Bytes>) {
        messages.drain(..).for_each(|message| self.handle_message(now, message));
    }

    /// Whether messages may be handed in together: not while one of them may change what the next one may be.
    fn takes_batches(&self) -> bool {
        false
    }

    /// A text message arrived, which has no place in this protocol.
    fn handle_text(&mut self, now: Instant);

    /// How far the transport is; called once a turn, after everything that arrived was handed in.
    fn handle_transport(&mut self, now: Instant, transport: Transport);

    /// The link is gone, with this WebSocket close code if there was one. The last input.
    fn handle_closed(&mut self, now: Instant, code: Option<u16>);

    /// Whether it has frames that it hands out only to a transport that has taken everything else: then it wants to
    /// hear of the transport as soon as a flush took all bytes, and not only with the next turn.
    fn wants_flush(&self) -> bool {
        false
    }

    /// The next frame to send, whole. Called only while the WebSocket can take more.
    fn poll_transmit(&mut self, now: Instant) -> Option<Bytes>;

    /// The same for a few frames at a time, whose bytes are there while `feed` runs; says how many bytes they had, 0
    /// when there was none. One lock for all of them is what an endpoint may gain here.
    fn transmit(&mut self, now: Instant, mut feed: impl FnMut(&FrameBytes<'_>)) -> usize {
        let Some(frame) = self.poll_transmit(now) else { return 0 };
        let len = frame.len();
        feed(&FrameBytes::Shared(frame));
        len
    }

    /// What else is to be done with the link.
    fn poll_action(&mut self) -> Option<LinkAction>;

    /// Nothing has moved on the link for a while: memory that is kept only so that the next burst finds it may go.
    fn rest(&mut self) {}

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Time has passed.
    fn handle_timeout(&mut self, now: Instant);

    /// Keeps `waker` and wakes it when another thread made work for this link.
    fn register(&mut self, waker: &Waker);

    /// The largest WebSocket message to accept from now on, in bytes: 8 KiB before login, the largest frame and
    /// 64 KiB after it.
    fn max_message(&self) -> usize;
}

/// What an endpoint wants done with its link beside sending frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkAction {
    /// Send a WebSocket ping.
    Ping,
    /// Hand out what [`Endpoint::poll_transmit`] still has, then close the WebSocket: with code 4000 + n for a
    /// reason, 1000 without one.
    Close {
        /// Why, if it can be told.
        reason: Option<CloseReason>,
    },
    /// Drop the connection without a word.
    Drop,
}
