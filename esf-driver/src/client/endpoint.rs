//! The client's end of one link.

use std::{
    sync::{Arc, atomic::Ordering},
    task::Waker,
};

use bytes::Bytes;
use esf_proto::{
    client::{Action, Session},
    ids::LinkId,
    session::frames::FrameBytes,
    time::Instant,
};

use super::core::{Core, Post, Shared};
use crate::{
    dispatch::Dispatch,
    endpoint::{Endpoint, LinkAction, Transport},
};

/// Frames that are fetched under one lock.
const BATCH_FRAMES: usize = 32;

/// One link of a client's session.
pub struct ClientEndpoint {
    shared: Arc<Shared>,
    dispatch: Arc<Dispatch<Post>>,
    link: LinkId,
    max_message: usize,
    /// Something arrived in this turn that may be for a handler.
    arrived: bool,
}

impl ClientEndpoint {
    pub(super) fn new(shared: Arc<Shared>, dispatch: Arc<Dispatch<Post>>, link: LinkId) -> Self {
        let max_message = shared.look(|core| core.session.max_message());
        Self { shared, dispatch, link, max_message, arrived: false }
    }
}

impl std::fmt::Debug for ClientEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientEndpoint").field("link", &self.link).finish_non_exhaustive()
    }
}

impl Endpoint for ClientEndpoint {
    fn handle_message(&mut self, _: Instant, message: Bytes) {
        self.arrived = true;
        self.max_message = self.shared.input(|session, now| {
            session.handle_message(now, self.link, message);
            session.max_message()
        });
    }

    fn handle_text(&mut self, _: Instant) {
        self.shared.input(|session, now| session.handle_text(now, self.link));
    }

    fn handle_transport(&mut self, _: Instant, transport: Transport) {
        self.shared.input(|session, now| session.handle_transport(now, self.link, transport));
        if std::mem::take(&mut self.arrived) {
            self.shared.task_pulls.store(true, Ordering::Relaxed);
            self.dispatch.pump();
            self.shared.task_pulls.store(false, Ordering::Relaxed);
        }
    }

    fn handle_closed(&mut self, _: Instant, code: Option<u16>) {
        self.shared.input(|session, now| session.handle_link_closed(now, self.link, code));
        self.dispatch.pump();
    }

    fn wants_flush(&self) -> bool {
        self.shared.look(|core| core.session.wants_flush())
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<Bytes> {
        let mut next = None;
        self.shared.transmit(now, self.link, 1, |frame| next = Some(frame.clone().into_bytes()));
        next
    }

    fn transmit(&mut self, now: Instant, feed: impl FnMut(&FrameBytes<'_>)) -> usize {
        self.shared.transmit(now, self.link, BATCH_FRAMES, feed)
    }

    fn poll_action(&mut self) -> Option<LinkAction> {
        self.shared.set_aside(|core| match *core.actions.front()? {
            Action::Close { link, reason } if link == self.link => {
                core.actions.pop_front();
                Some(LinkAction::Close { reason })
            }
            Action::Drop { link } if link == self.link => {
                core.actions.pop_front();
                Some(LinkAction::Drop)
            }
            // The session is about to have another link; this one is over, and the task goes on with that.
            Action::Connect { .. } => Some(LinkAction::Drop),
            Action::Close { .. } | Action::Drop { .. } => {
                core.actions.pop_front();
                None
            }
        })
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.shared.look(Core::poll_timeout)
    }

    fn handle_timeout(&mut self, _: Instant) {
        self.shared.input(Session::handle_timeout);
        // A blob may have run out of time.
        self.dispatch.pump();
    }

    fn register(&mut self, waker: &Waker) {
        self.shared.task.register(waker);
    }

    fn max_message(&self) -> usize {
        self.max_message
    }
}
