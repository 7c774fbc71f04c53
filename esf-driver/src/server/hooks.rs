//! What happens at a server, told to its application by calls.

use std::net::IpAddr;

use esf_proto::{
    close::CloseReason,
    failure::Failure,
    ids::{Engine, GroupId, Source, To, UserId},
};

use super::{ServerEvent, Shared};
use crate::{
    events::Next,
    sync::{Arc, atomic::Ordering},
    tasks::{BoxFuture, catch_panic, within},
};

/// Hears what happens at a server: the same as [`ServerEvents`](super::ServerEvents), by a call for each event, whether or
/// not somebody takes those as well.
///
/// The calls come one after the other, in the order of what happened, in a task of their own. One that is slow delays the
/// next ones and nobody else; one that panics or takes longer than the limit of handlers is dropped. Up to 1,024 events
/// wait; of more the oldest are dropped, and [`lagged`](Self::lagged) says so.
///
/// None of them can change what happened. Who may log in is the [`Authenticator`](super::Authenticator)'s to say, which
/// message goes on the [`Interceptor`](super::Interceptor)'s, and who belongs together the
/// [`Store`](crate::store::Store)'s.
pub trait Hooks: Send + Sync + 'static {
    /// Somebody logged in afresh; a resume is no login. `takes_messages` says whether messages may be addressed to it.
    fn connected(
        &self,
        engine: Engine,
        takes_messages: bool,
        address: Option<IpAddr>,
    ) -> impl Future<Output = ()> + Send {
        let _ = (engine, takes_messages, address);
        std::future::ready(())
    }

    /// A session ended: `NetworkInterrupted` if its resume window ran out.
    fn disconnected(&self, engine: Engine, reason: CloseReason) -> impl Future<Output = ()> + Send {
        let _ = (engine, reason);
        std::future::ready(())
    }

    /// A newer login took the place of a session, which ends: its [`disconnected`](Self::disconnected) follows.
    fn pushed_out(&self, engine: Engine, by: Engine) -> impl Future<Output = ()> + Send {
        let _ = (engine, by);
        std::future::ready(())
    }

    /// A plain message went nowhere: at once, or when the session ended that held it. `ConnectionLost` if it may have
    /// arrived.
    fn transmit_failed(
        &self,
        from: Source,
        to: To,
        info_type: u32,
        failure: Failure,
    ) -> impl Future<Output = ()> + Send {
        let _ = (from, to, info_type, failure);
        std::future::ready(())
    }

    /// A member of a group that is online missed a broadcast, or a blob to the group.
    fn broadcast_failed(
        &self,
        group: GroupId,
        from: Source,
        to: UserId,
        failure: Failure,
    ) -> impl Future<Output = ()> + Send {
        let _ = (group, from, to, failure);
        std::future::ready(())
    }

    /// So many events were dropped since the call before, because these calls took too long.
    fn lagged(&self, events: u64) -> impl Future<Output = ()> + Send {
        let _ = events;
        std::future::ready(())
    }
}

/// [`Hooks`] behind a pointer.
pub(crate) trait AnyHooks: Send + Sync {
    fn call(&self, next: Next<ServerEvent>) -> BoxFuture<'_, ()>;
}

impl<H: Hooks> AnyHooks for H {
    fn call(&self, next: Next<ServerEvent>) -> BoxFuture<'_, ()> {
        let event = match next {
            Next::Event(event) => event,
            Next::Lagged(events) => return Box::pin(self.lagged(events)),
            Next::Ended => return Box::pin(std::future::ready(())),
        };
        match event {
            ServerEvent::Connected { engine, takes_messages, address } => {
                Box::pin(self.connected(engine, takes_messages, address))
            }
            ServerEvent::Disconnected { engine, reason } => Box::pin(self.disconnected(engine, reason)),
            ServerEvent::PushedOut { engine, by } => Box::pin(self.pushed_out(engine, by)),
            ServerEvent::TransmitFailed { from, to, info_type, failure } => {
                Box::pin(self.transmit_failed(from, to, info_type, failure))
            }
            ServerEvent::BroadcastFailed { group, from, to, failure } => {
                Box::pin(self.broadcast_failed(group, from, to, failure))
            }
        }
    }
}

impl Shared {
    /// Calls the hooks until the server is over.
    pub(super) async fn call_hooks(self: Arc<Self>, hooks: Arc<dyn AnyHooks>) {
        loop {
            let next = std::future::poll_fn(|cx| self.state.hooked.poll_next(cx)).await;
            if next == Next::Ended {
                return;
            }
            // Also where the call is made.
            let call = catch_panic(async { hooks.call(next).await });
            match within(&*self.runtime, self.handling.limit, call).await {
                Some(Ok(())) => {}
                Some(Err(_)) => {
                    tracing::error!("a hook panicked");
                    self.handling.counters.panicked.fetch_add(1, Ordering::Relaxed);
                }
                None => {
                    tracing::error!("a hook took too long");
                    self.handling.counters.cut_off.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}
