//! What a session does with the routed frames of its client: validates them, keeps what is for the server, hands the
//! rest to the hub.

use super::{Session, command::HubCommand, counters::Cause, parked::Step};
use crate::{
    close::CloseReason,
    failure::Failure,
    ids::{MessageId, Source},
    session::{
        dedupe::Verdict,
        inbound::{Message, MessageKind},
        lanes::cost,
    },
    store::StoreId,
    time::UnixMillis,
    wire::{Address, Envelope, Flags, Frame, Hop, Kind, RawFrame, Route},
};

/// What a message for the server's application takes beside its bytes.
const MESSAGE_COST: usize = 128;

impl Session {
    /// A routed frame: a wrong `from` closes the link, whatever the kind (ESF-501).
    pub(super) fn routed(&mut self, frame: RawFrame, step: Step) -> Result<(), CloseReason> {
        let decoded = match frame.decode() {
            Ok(decoded) => decoded,
            Err(error) if error.is_skippable() => return self.refuse_unknown(&frame),
            Err(error) => return Err(error.close_reason()),
        };
        let Some(envelope) = decoded.envelope() else { return Err(CloseReason::InvalidMessage) };
        self.check_from(envelope)?;
        if self.config.intercepts && step < Step::Judged && is_judged(decoded.kind()) {
            let ticket = self.park(&frame, Step::Judged);
            self.commands.push_back(HubCommand::Judge { ticket, frame });
            return Ok(());
        }
        if step < Step::LookedUp && self.is_looked_up(&frame, envelope) {
            let ticket = self.park(&frame, Step::LookedUp);
            self.commands.push_back(HubCommand::LookUp { ticket, frame });
            return Ok(());
        }
        let route = Route::of(envelope);
        let to_server = |envelope: &Envelope<'_>| matches!(envelope.to, Address::Server { .. });
        match decoded {
            Frame::Send { envelope, info_type, body } if to_server(&envelope) => {
                let message = self.message(&frame, MessageKind::Information, info_type, body, None);
                if self.accept(message, frame.len()).is_err() && frame.flags().contains(Flags::TELL) {
                    self.fail(envelope.id, Kind::Send, Failure::Busy);
                }
            }
            Frame::EngineMessage { envelope, info_type, tag, body } if to_server(&envelope) => {
                if frame.flags().contains(Flags::ECHO) {
                    self.commands.push_back(HubCommand::Echo(frame.clone()));
                }
                let kind = MessageKind::EngineMessage { tag: tag.into() };
                let message = self.message(&frame, kind, info_type, body, None);
                if self.accept(message, frame.len()).is_err() && frame.flags().contains(Flags::TELL) {
                    self.fail(envelope.id, Kind::EngineMessage, Failure::Busy);
                }
            }
            Frame::Certain { envelope, .. } if to_server(&envelope) && frame.flags().contains(Flags::STORE) => {
                self.counters.not_allowed.add(1);
                self.fail(envelope.id, Kind::Certain, Failure::NotAllowed);
            }
            Frame::Certain { envelope, ttl_ms, info_type, body } if to_server(&envelope) => {
                self.certain_to_server(&frame, envelope.id, ttl_ms, info_type, body);
            }
            Frame::BlobOffer { envelope, .. }
            | Frame::BlobEnd { envelope, .. }
            | Frame::BlobCancel { envelope, .. }
                if to_server(&envelope) =>
            {
                self.blob_to_server(&frame, &decoded)?;
            }
            Frame::BlobOffer { envelope, .. } if matches!(envelope.to, Address::Group { .. }) => {
                self.commands.push_back(HubCommand::Broadcast(frame));
            }
            Frame::Broadcast { .. } => self.commands.push_back(HubCommand::Broadcast(frame)),
            // Only a server says them.
            Frame::Presence { .. } | Frame::GroupEvent { .. } | Frame::Stored { .. } | Frame::Accepted { .. } => {
                return Err(CloseReason::InvalidMessage);
            }
            Frame::Confirm { envelope } if to_server(&envelope) => {
                self.commands.push_back(HubCommand::Confirm(StoreId(envelope.id)));
            }
            Frame::Confirm { .. } => return Err(CloseReason::InvalidMessage),
            Frame::Query { envelope, .. } | Frame::Request { envelope, .. } if to_server(&envelope) => {
                self.commands.push_back(HubCommand::Ask(frame));
            }
            _ => {
                if let Frame::Send { envelope, .. } | Frame::Certain { envelope, .. } = decoded {
                    self.last_route.keep(&envelope, frame.payload());
                }
                self.commands.push_back(HubCommand::Relay { frame, route });
            }
        }
        Ok(())
    }

    /// The route of a message to whom the last one went, if the rest of it can be nothing but sound: a body may be any
    /// bytes.
    pub(super) fn known_route(&self, frame: &RawFrame) -> Option<(Route, u32)> {
        const SEND: u8 = Kind::Send as u8;
        const CERTAIN: u8 = Kind::Certain as u8;
        let fields = match frame.kind_byte() {
            SEND => 4,
            // One that may be stored is looked at more closely.
            CERTAIN if !frame.flags().contains(Flags::STORE) => 8,
            _ => return None,
        };
        let (route, rest) = self.last_route.of(frame.payload())?;
        (rest.len() >= fields).then_some((route, self.last_route.turn()))
    }

    /// Whether a message is sent again that the store may have already (ESF-351).
    fn is_looked_up(&self, frame: &RawFrame, envelope: &Envelope<'_>) -> bool {
        frame.kind_byte() == Kind::Certain as u8
            && frame.flags().contains(Flags::STORE)
            && frame.hop().contains(Hop::AGAIN)
            && !broken!(LookUpSkipped)
            && self.config.keeps_messages
            && matches!(envelope.to, Address::User { .. } | Address::Device { .. })
    }

    fn certain_to_server(&mut self, frame: &RawFrame, id: u64, ttl_ms: u32, info_type: u32, body: &[u8]) {
        let verdict = self.dedupe.check(id);
        if ttl_ms == 0 && verdict == Verdict::Run {
            self.counters.expired.add(1);
            return self.fail(id, Kind::Certain, Failure::TimedOut);
        }
        if verdict == Verdict::Late {
            return self.fail(id, Kind::Certain, Failure::ConnectionLost);
        }
        let (to, from) = self.answer_addresses();
        let ack = Frame::Ack { envelope: Envelope::new(to, from, id) };
        let bytes = cost(ack.encoded_len());
        // Room for the ack first: a message is not run that could not be acknowledged.
        if let Err(full) = self.budget.try_charge(bytes) {
            self.counters.busy(full.into());
            return self.fail(id, Kind::Certain, Failure::Busy);
        }
        if verdict == Verdict::Run {
            let message = self.message(frame, MessageKind::Information, info_type, body, Some(MessageId(id)));
            if self.accept(message, frame.len()).is_err() {
                self.budget.release(bytes);
                return self.fail(id, Kind::Certain, Failure::Busy);
            }
            self.dedupe.accept(id);
        }
        let engine = self.engine.clone();
        let to = Address::of_engine(&engine);
        let from = Address::Server { instance: self.server.0 };
        self.tell(&Frame::Ack { envelope: Envelope::new(to, from, id) }, true);
    }

    fn message(
        &self,
        frame: &RawFrame,
        kind: MessageKind,
        info_type: u32,
        body: &[u8],
        id: Option<MessageId>,
    ) -> Message {
        let source = Source::Engine(self.engine.clone());
        let sent_at = frame.sender_time().map(UnixMillis);
        // A small body is copied, so that it does not pin the buffer that it was read into.
        Message { source, kind, info_type, body: frame.keep(body), id, sent_at, echo_of: None, stored: None }
    }

    /// Queues a message for the server's application, or refuses it.
    fn accept(&mut self, message: Message, len: usize) -> Result<(), Failure> {
        let cost = MESSAGE_COST + len;
        let room = self.inbox.is_empty() || self.inbox_bytes + cost <= self.config.queue;
        let charged = if room { self.budget.try_charge(cost).map_err(Cause::from) } else { Err(Cause::Application) };
        if let Err(cause) = charged {
            self.counters.busy(cause);
            return Err(Failure::Busy);
        }
        self.inbox_bytes += cost;
        self.inbox.push_back((message, cost));
        self.arrived = true;
        Ok(())
    }

    /// A routed frame of a kind that is not spoken: its sender is told, nobody else is bothered (ESF-012).
    fn refuse_unknown(&mut self, frame: &RawFrame) -> Result<(), CloseReason> {
        let envelope = frame.envelope().map_err(|error| error.close_reason())?;
        self.check_from(&envelope)?;
        self.counters.unknown_refused.add(1);
        self.fail_kind(envelope.id, frame.kind_byte(), Failure::Unsupported);
        Ok(())
    }

    /// The only `from` that a session's client may use is its own engine (ESF-501).
    fn check_from(&self, envelope: &Envelope<'_>) -> Result<(), CloseReason> {
        let own = Address::of_engine(&self.engine);
        if envelope.from == own || broken!(FromUnchecked) { Ok(()) } else { Err(CloseReason::WrongUserId) }
    }

    pub(super) fn fail(&mut self, id: u64, about: Kind, failure: Failure) {
        self.fail_kind(id, about as u8, failure);
    }

    fn fail_kind(&mut self, id: u64, about: u8, code: Failure) {
        let engine = self.engine.clone();
        let from = Address::Server { instance: self.server.0 };
        let envelope = Envelope::new(Address::of_engine(&engine), from, id);
        self.tell(&Frame::Failure { envelope, about, code }, false);
    }

    pub(super) fn answer_addresses(&self) -> (Address<'_>, Address<'static>) {
        (Address::of_engine(&self.engine), Address::Server { instance: self.server.0 })
    }
}

/// Whether the server's application may see frames of this kind before they go on: what people say, not the protocol's
/// own.
const fn is_judged(kind: Kind) -> bool {
    matches!(kind, Kind::Send | Kind::Certain | Kind::Broadcast | Kind::EngineMessage | Kind::Query | Kind::BlobOffer)
}
