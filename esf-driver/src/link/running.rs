//! The one link loop of asynchronous runtimes.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use super::{Link, LinkEnd, Next};
use crate::{
    bridge::Bridge,
    endpoint::Endpoint,
    socket::Socket,
    tasks::{Alarm, BoxFuture, Tasks},
};

/// Turns at once, when a timer is due right after a turn.
const TURNS_A_POLL: usize = 4;

/// A link that runs as a future.
pub(crate) struct RunningLink<E> {
    link: Link<Bridge, E>,
    runtime: Arc<dyn Tasks>,
    alarm: Alarm,
}

impl<E: Endpoint> RunningLink<E> {
    pub(crate) fn new(socket: Socket<Bridge>, endpoint: E, runtime: Arc<dyn Tasks>, coalesce: bool) -> Self {
        let alarm = Alarm::new(&*runtime);
        Self { link: Link::new(socket, endpoint, coalesce), runtime, alarm }
    }

    /// Runs until the link is over. On the heap: a future that has it by value is a multiple of its size, for as long as
    /// the connection lasts.
    pub(crate) fn run(mut self) -> BoxFuture<'static, LinkEnd>
    where
        E: Send + 'static,
    {
        Box::pin(std::future::poll_fn(move |cx| self.poll(cx)))
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<LinkEnd> {
        self.link.socket.stream_mut().set_waker(cx.waker());
        for _ in 0..TURNS_A_POLL {
            self.link.endpoint.register(cx.waker());
            let now = self.runtime.now();
            match self.link.turn(now) {
                Ok(Next::Wait(at)) => ready!(self.alarm.poll(cx, self.runtime.now(), at)),
                Ok(Next::Again) => break,
                Err(end) => {
                    self.link.endpoint.handle_closed(now, end.code);
                    return Poll::Ready(end);
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
