//! Messages that the server had in its store: run once, confirmed after their handler, and remembered until the server
//! says that they are gone (ESF-354).

use alloc::{boxed::Box, collections::BTreeMap};

use super::{Message, MessageKind, Session};
use crate::{
    ids::{DeviceKind, InstanceId, MessageId, Source},
    session::inbound::Stored,
    store::StoreId,
    time::{Instant, UnixMillis},
    wire::{Address, Envelope, Frame, RawFrame},
};

use super::inbound::{Answer, Fate};

/// Stored messages that are remembered until the server says that they are gone. A server has no more of them under way.
const REMEMBERED: usize = 16_384;

/// The stored messages that this engine has, or has confirmed.
#[derive(Debug, Default)]
pub(super) struct StoredIn {
    known: BTreeMap<StoreId, Known>,
}

#[derive(Debug)]
struct Known {
    source: Source,
    id: MessageId,
    /// Its handler has returned.
    handled: bool,
}

impl StoredIn {
    /// Makes room for one more: of those that were handled the oldest goes. `false` if none was.
    fn has_room(&mut self) -> bool {
        if self.known.len() < REMEMBERED {
            return true;
        }
        let oldest = self.known.iter().find(|(_, known)| known.handled).map(|(id, _)| *id);
        oldest.is_some_and(|oldest| self.known.remove(&oldest).is_some())
    }
}

impl Session {
    /// A stored message was handled: the server is told, which then lets it go. To be called when the handler of this
    /// message has returned, and of one of the kind [`MessageKind::Repeated`] when everything that came from its source
    /// before it was handled. Of a message that this engine does not have, or has confirmed, it changes nothing.
    pub fn confirm(&mut self, now: Instant, id: StoreId) {
        self.tick(now);
        if self.is_closed() {
            // Nothing goes out any more: the store brings it again.
            return;
        }
        let Some(known) = self.stored.known.get_mut(&id).filter(|known| !known.handled) else { return };
        known.handled = true;
        self.say_confirm(id);
    }

    /// Stored messages that are remembered.
    #[must_use]
    pub fn remembered_stored(&self) -> usize {
        self.stored.known.len()
    }

    pub(super) fn on_stored(
        &mut self,
        frame: &RawFrame,
        envelope: &Envelope<'_>,
        accepted_at: u64,
        tries: u8,
        inner: &[u8],
    ) -> Fate {
        let store_id = StoreId(envelope.id);
        let Ok(inner) = RawFrame::parse(frame.share(inner)) else {
            self.stats.malformed += 1;
            return Fate::Done;
        };
        // What is in the store was written by somebody else: what cannot be read stays there, for an operator to see.
        let Ok(Frame::Certain { envelope: of, info_type, body, .. }) = inner.decode() else {
            self.stats.malformed += 1;
            return Fate::Done;
        };
        let Some(source) = self.source_of(&of).filter(|_| self.is_my_address(&of.to)) else {
            self.stats.malformed += 1;
            return Fate::Done;
        };
        let id = MessageId(of.id);
        if let Some(known) = self.stored.known.get(&store_id) {
            // Another life of a store that forgets may use a number again.
            if known.id == id && known.source == source {
                self.stats.duplicates += 1;
                if known.handled {
                    self.say_confirm(store_id);
                }
                return Fate::Done;
            }
        }
        if !self.stored.has_room() {
            self.stats.malformed += 1;
            return Fate::Done;
        }
        let is_new = match &source {
            Source::Server(instance) => self.senders.accept_stored(None, DeviceKind::SERVICE, *instance, id.0),
            Source::Engine(from) => self.senders.accept_stored(Some(&from.user), from.device, from.instance, id.0),
        };
        self.stored.known.insert(store_id, Known { source: source.clone(), id, handled: false });
        self.stats.duplicates += u64::from(!is_new);
        let (kind, body) = if is_new {
            (MessageKind::Information, self.arena.keep(&inner, body))
        } else {
            // It came live before. It is confirmed in its turn, since its handler may not have returned yet.
            (MessageKind::Repeated, bytes::Bytes::new())
        };
        let stored = Some(Box::new(Stored { id: store_id, accepted_at: UnixMillis(accepted_at), tries }));
        let sent_at = inner.sender_time().map(UnixMillis);
        let message = Message { source, kind, info_type, body, id: Some(id), sent_at, echo_of: None, stored };
        self.inbox.push(message, frame.len(), false);
        if broken!(ConfirmedUnhandled) {
            self.say_confirm(store_id);
        }
        Fate::Held
    }

    /// The server says that a message is gone from its store.
    pub(super) fn on_confirmed(&mut self, envelope: &Envelope<'_>) {
        let of_server = matches!(envelope.from, Address::Server { .. });
        let id = StoreId(envelope.id);
        if of_server && self.stored.known.get(&id).is_some_and(|known| known.handled) {
            self.stored.known.remove(&id);
        } else {
            self.stats.answers_unasked += 1;
        }
    }

    fn say_confirm(&mut self, id: StoreId) {
        // Whichever server runs.
        self.answer(&Source::Server(InstanceId(0)), id.0, &Answer::Confirm);
    }
}
