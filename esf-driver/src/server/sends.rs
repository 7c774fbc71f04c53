//! What the server's application sends to people.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use esf_proto::{
    failure::Failure,
    ids::{GroupId, MessageId, To, UserId},
    server::DeskEvent,
};

use super::{Server, lock};
use crate::{
    client::{CertainOptions, Delivered},
    completion::{Teller, completion},
    sync::Mutex,
};

/// How long the server's application waits for an outcome, unless it says otherwise.
const TTL: Duration = Duration::from_secs(30);

/// Who waits for which outcome; nobody any more once the server is over.
pub(super) struct Calls(Mutex<Option<HashMap<MessageId, Teller<Outcome>>>>);

impl Default for Calls {
    fn default() -> Self {
        Self(Mutex::new(Some(HashMap::new())))
    }
}

type Outcome = Result<Done, Failure>;

/// How what was sent has ended well.
enum Done {
    Delivered(Delivered),
    Replied(Bytes),
}

impl Calls {
    pub(super) fn complete(&self, event: DeskEvent) {
        let (id, outcome) = match event {
            DeskEvent::Acked { id } => (id, Ok(Done::Delivered(Delivered::Acked))),
            DeskEvent::Stored { id } => (id, Ok(Done::Delivered(Delivered::Stored))),
            DeskEvent::Replied { id, body } => (id, Ok(Done::Replied(body))),
            DeskEvent::Failed { id, failure } => (id, Err(failure)),
        };
        if let Some(caller) = lock(&self.0).as_mut().and_then(|callers| callers.remove(&id)) {
            caller.tell(outcome);
        }
    }

    /// The server is over: whoever still waits hears that the connection is lost.
    pub(super) fn end(&self) {
        *lock(&self.0) = None;
    }

    async fn wait(&self, call: impl FnOnce() -> Result<MessageId, Failure>) -> Outcome {
        let (caller, outcome) = completion();
        {
            // The outcome may come from another thread before this one is back; it finds the caller all the same.
            let mut callers = lock(&self.0);
            let Some(callers) = callers.as_mut() else { return Err(Failure::ConnectionLost) };
            callers.insert(call()?, caller);
        }
        outcome.await.unwrap_or(Err(Failure::ConnectionLost))
    }
}

impl Server {
    /// Sends a message to a user, on every device or one. `Ok` says that it was queued there.
    ///
    /// # Errors
    /// `Offline`, `Busy`, `TooLarge`; `NotAllowed` to the server itself.
    #[expect(clippy::needless_pass_by_value, reason = "the same shape as the client's call")]
    pub fn send(&self, to: To, info_type: u32, body: impl Into<Bytes>) -> Result<(), Failure> {
        self.0.node.send(self.0.runtime.now(), &to, info_type, &body.into())
    }

    /// Sends a message to the members of a group that are online. Who of them misses it is told as
    /// [`ServerEvent::BroadcastFailed`](super::ServerEvent::BroadcastFailed).
    ///
    /// # Errors
    /// `TooLarge`; `Busy` if too many broadcasts of the application wait.
    pub fn broadcast(&self, group: &GroupId, info_type: u32, body: impl Into<Bytes>) -> Result<(), Failure> {
        self.0.node.broadcast(group, info_type, &body.into())
    }

    /// The contacts or groups of a user are others than before: the store is asked for them again, if the user is
    /// online. Of two who become contacts, or are contacts no more, each has changed; they are told of each other once the
    /// store has said it of both.
    pub fn relations_changed(&self, user: &UserId) {
        self.0.node.relations_changed(self.0.runtime.now(), user);
    }

    /// Sends a message that the receiving engine acknowledges, within 30 s.
    ///
    /// Dropping the future cancels nothing.
    ///
    /// # Errors
    /// Why it did not arrive. `ConnectionLost` and `TimedOut` mean that it may have.
    pub async fn send_certainly(&self, to: To, info_type: u32, body: impl Into<Bytes>) -> Result<(), Failure> {
        self.send_certainly_with(to, info_type, body, CertainOptions::default()).await.map(drop)
    }

    /// [`send_certainly`](Self::send_certainly) as the options say: with
    /// [`store_if_offline`](CertainOptions::store_if_offline) the message is kept for a user who is offline, and delivered
    /// at the next login. Then this returns [`Delivered::Stored`] once it is durable.
    ///
    /// Dropping the future cancels nothing.
    ///
    /// # Errors
    /// As there. Of one that was to be stored: `QuotaFull`, `NoSuchUser`, or `Offline` if the server has no store of
    /// messages.
    pub async fn send_certainly_with(
        &self,
        to: To,
        info_type: u32,
        body: impl Into<Bytes>,
        options: CertainOptions,
    ) -> Result<Delivered, Failure> {
        let (body, ttl) = (body.into(), options.ttl.unwrap_or(TTL));
        let (node, now) = (&self.0.node, self.0.runtime.now());
        let call = || match options.store_if_offline {
            true => node.send_storable(now, &to, info_type, &body, ttl),
            false => node.send_certainly(now, &to, info_type, &body, ttl),
        };
        match self.0.state.calls.wait(call).await? {
            Done::Delivered(delivered) => Ok(delivered),
            // Answers are matched by kind; another kind would be the core's fault.
            Done::Replied(_) => Err(Failure::Internal),
        }
    }

    /// Asks one device of a user, and waits for the answer of its handler, 30 s at most.
    ///
    /// Dropping the future cancels nothing.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn query(&self, to: To, info_type: u32, body: impl Into<Bytes>) -> Result<Bytes, Failure> {
        let body = body.into();
        let now = self.0.runtime.now();
        match self.0.state.calls.wait(|| self.0.node.query(now, &to, info_type, &body, TTL)).await? {
            Done::Replied(body) => Ok(body),
            Done::Delivered(_) => Err(Failure::Internal),
        }
    }
}
