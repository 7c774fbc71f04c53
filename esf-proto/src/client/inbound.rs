//! What arrives on the present link.

use core::time::Duration;

use bytes::Bytes;

use super::{Event, IncomingQuery, Message, MessageKind, QueryToken, Session, State, inbox::tag, link::Stage};
use crate::{
    close::CloseReason,
    failure::{Failure, Status},
    ids::{DeviceKind, Engine, GroupId, InstanceId, MessageId, Source, To, UserId},
    session::{
        dedupe::Verdict,
        hop::Counts,
        lanes::{Lane, Queued},
        pending::{Open, Pending},
    },
    time::{Instant, UnixMillis},
    wire::{Address, DecodeError, Envelope, Flags, Frame, Frames, Header, Hop, Kind, LastRoute, Method, RawFrame},
};

/// What answers may hold beyond the budget, so that a full outbox never keeps an ack back.
const ANSWER_ROOM: usize = 256 * 1024;

/// What becomes of a routed frame's bytes in the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The application has yet to take them.
    Held,
    /// They are done with.
    Done,
}

/// An answer, without the envelope.
pub(super) enum Answer<'a> {
    Ack,
    Confirm,
    Failure { about: Kind, code: Failure },
    Reply(&'a [u8]),
    Response(Status),
}

impl Session {
    /// One WebSocket message. What a frame of it ends also ends the rest.
    pub(super) fn receive(&mut self, message: Bytes) {
        let Some(id) = self.link.as_ref().map(|link| link.id) else { return };
        for frame in Frames::new(message, self.limits.max_frame) {
            match frame {
                Ok(frame) => self.on_frame(&frame),
                Err(error) => self.violated(error.close_reason()),
            }
            if self.link.as_ref().is_none_or(|link| link.id != id) {
                return;
            }
        }
    }

    fn on_frame(&mut self, frame: &RawFrame) {
        self.stats.frames_in += 1;
        self.stats.bytes_in += frame.len() as u64;
        if frame.is_routed() {
            return self.on_routed(frame);
        }
        let Some(link) = &self.link else { return };
        let (stage, refused) = (link.stage, link.refusal.is_some());
        let logging_in = self.state == State::LoggingIn && !refused;
        match frame.decode() {
            Ok(Frame::Close { reason, .. }) => self.closed_by_server(reason),
            Ok(Frame::GoAway { retry_after_ms }) if self.state != State::LoggingOff && !refused => {
                self.go_away(Duration::from_millis(retry_after_ms.into()));
            }
            Ok(Frame::LoginResult(result)) if logging_in && stage == Stage::LoginSent => self.on_login_result(&result),
            Ok(Frame::PreReply { status, body }) if logging_in && stage == Stage::Asked => {
                let body = self.arena.keep(frame, body);
                self.on_pre_reply(status, body);
            }
            Ok(Frame::Count { received, taken }) if self.is_logged_in() => self.on_count(Counts { received, taken }),
            Ok(Frame::HeartbeatAck { .. }) if self.is_logged_in() => {}
            Ok(Frame::Fragment { stream, offset, data, .. }) if self.state == State::Online => {
                self.on_fragment(frame, stream, offset, data);
            }
            Ok(Frame::Credit { stream, offset }) if self.state == State::Online => self.on_credit(stream, offset),
            Ok(_) if refused || self.state == State::LoggingOff => {}
            // What only a client says, or what has no place here now.
            Ok(_) | Err(DecodeError::Version(_) | DecodeError::UserId) => self.violated(CloseReason::InvalidMessage),
            Err(error) if error.is_skippable() => self.stats.skipped += 1,
            Err(error) => self.violated(error.close_reason()),
        }
    }

    fn on_pre_reply(&mut self, status: Status, body: Bytes) {
        self.config.pre_query = None;
        if let Some(link) = &mut self.link {
            link.stage = Stage::LogIn;
        }
        self.tell(Event::PreReply { status, body });
    }

    fn on_count(&mut self, counts: Counts) {
        let mut freed = 0;
        let counted = self.hop.on_count(counts, |cost| freed += cost);
        self.budget.release(freed);
        if counted.is_err() {
            self.violated(CloseReason::InvalidMessage);
        }
    }

    // Routed frames.

    fn on_routed(&mut self, frame: &RawFrame) {
        match self.state {
            State::Online => {}
            // The session ends: what arrives now is not held, so it is not counted either.
            State::LoggingOff => return self.on_last_answer(frame),
            _ => return self.violated(CloseReason::InvalidMessage),
        }
        let len = frame.len();
        if frame.is_windowed() && !self.has_room(len) {
            return;
        }
        if frame.is_counted() {
            self.hop.on_frame(self.now, len);
        }
        if self.hold_known(frame).is_some() {
            return;
        }
        let fate = match frame.decode() {
            Ok(decoded) => self.on_decoded(frame, &decoded),
            Err(error) if error.is_skippable() => {
                self.stats.skipped += 1;
                Fate::Done
            }
            Err(error) if frame.must_understand() && frame.kind().is_none_or(|kind| !kind.is_built()) => {
                return self.violated(error.close_reason());
            }
            // Another user wrote it, so it is not the link's fault.
            Err(_) => {
                self.stats.malformed += 1;
                Fate::Done
            }
        };
        if frame.is_windowed() && fate == Fate::Done {
            self.hop.take(self.now, len);
        }
    }

    /// Whether a message can be held. The server keeps to the window; when messages of earlier sessions were not taken
    /// for so long that there is no room beside them, the link goes, and the frame comes again on the next.
    fn has_room(&mut self, len: usize) -> bool {
        let window = usize::try_from(self.limits.window).unwrap_or(usize::MAX);
        if !self.inbox.within_window(len, window) {
            self.violated(CloseReason::InvalidMessage);
            return false;
        }
        let limit = self.config.queue.saturating_add(window.saturating_mul(2)).saturating_add(self.limits.max_frame);
        if self.inbox.windowed_bytes().saturating_add(len) > limit {
            self.stats.overflows += 1;
            self.abandon(Some(CloseReason::ChannelOverflow), CloseReason::ChannelOverflow);
            return false;
        }
        true
    }

    fn on_decoded(&mut self, frame: &RawFrame, decoded: &Frame<'_>) -> Fate {
        let Some(envelope) = decoded.envelope() else { return Fate::Done };
        if !self.is_for_me(frame, envelope) {
            self.stats.misaddressed += 1;
            return Fate::Done;
        }
        if decoded.kind().is_answer() {
            self.on_answer(frame, decoded);
            return Fate::Done;
        }
        let Some(source) = self.source_of(envelope) else {
            self.stats.malformed += 1;
            return Fate::Done;
        };
        match *decoded {
            Frame::Send { info_type, body, .. } => {
                self.last_heard.keep(envelope, frame.payload(), &source);
                self.hold(frame, source, MessageKind::Information, info_type, body, None)
            }
            Frame::Broadcast { envelope, info_type, body } => {
                let Some(group) = envelope.to.name().and_then(|group| GroupId::parse(group).ok()) else {
                    return Fate::Done;
                };
                self.hold(frame, source, MessageKind::Broadcast { group }, info_type, body, None)
            }
            Frame::Presence { .. } | Frame::GroupEvent { .. } | Frame::Stored { .. }
                if !matches!(source, Source::Server(_)) =>
            {
                self.stats.malformed += 1;
                Fate::Done
            }
            Frame::Stored { ref envelope, accepted_at_ms, tries, frame: inner } => {
                self.on_stored(frame, envelope, accepted_at_ms, tries, inner)
            }
            Frame::Presence { events, .. } => {
                self.on_presence(&events);
                Fate::Done
            }
            Frame::GroupEvent { event, group, detail, .. } => {
                self.on_group_event(event, group, detail);
                Fate::Done
            }
            Frame::EngineMessage { info_type, tag: word, body, .. } => {
                let kind = MessageKind::EngineMessage { tag: tag(word) };
                self.hold(frame, source, kind, info_type, body, None)
            }
            Frame::Certain { envelope, info_type, body, .. } => {
                self.on_certain(frame, source, envelope.id, info_type, body)
            }
            Frame::Query { envelope, ttl_ms, info_type, body } => {
                self.on_query(frame, source, envelope.id, ttl_ms, info_type, body);
                Fate::Done
            }
            Frame::BlobOffer { .. } | Frame::BlobEnd { .. } | Frame::BlobCancel { .. } => {
                self.on_blob_frame(frame, source, decoded);
                Fate::Done
            }
            Frame::Request { envelope, method, .. } => {
                let known = method == Method::Ping as u16;
                let status = if known { Ok(()) } else { Err(Failure::Unsupported) };
                self.answer(&source, envelope.id, &Answer::Response(status));
                Fate::Done
            }
            _ => Fate::Done,
        }
    }

    /// Holds a plain message with the very addresses of the last one: nothing is left to check.
    fn hold_known(&mut self, frame: &RawFrame) -> Option<()> {
        if frame.kind_byte() != Kind::Send as u8 {
            return None;
        }
        let (source, fields) = self.last_heard.of(frame.payload())?;
        let (info_type, body) = fields.split_first_chunk()?;
        self.hold(frame, source, MessageKind::Information, u32::from_le_bytes(*info_type), body, None);
        Some(())
    }

    /// Whether a frame is for this engine. A copy of what another device of this user sent goes to somebody else.
    fn is_for_me(&self, frame: &RawFrame, envelope: &Envelope<'_>) -> bool {
        let echoed = frame.kind() == Some(Kind::EngineMessage)
            && frame.flags().contains(Flags::ECHO)
            && envelope.from.user() == Some(self.me.user.as_str());
        // Who is in a group is for the server to know.
        let to_many = matches!(
            frame.kind(),
            Some(Kind::Broadcast | Kind::GroupEvent | Kind::BlobOffer | Kind::BlobEnd | Kind::BlobCancel)
        );
        let of_group = to_many && matches!(envelope.to, Address::Group { .. });
        echoed || of_group || self.is_my_address(&envelope.to)
    }

    pub(super) fn is_my_address(&self, to: &Address<'_>) -> bool {
        let me = &self.me;
        match *to {
            Address::User { user } => user == me.user.as_str(),
            Address::Device { user, device } => user == me.user.as_str() && device == me.device,
            to @ Address::Engine { .. } => to == Address::of_engine(me),
            Address::Server { .. } | Address::Group { .. } => false,
        }
    }

    /// To whom a message for this engine went in truth, if it is an echo.
    fn echo_of(&self, frame: &RawFrame) -> Option<To> {
        if !frame.flags().contains(Flags::ECHO) || frame.kind() != Some(Kind::EngineMessage) {
            return None;
        }
        let to = frame.envelope().ok()?.to;
        if self.is_my_address(&to) {
            return None;
        }
        let user = |name| UserId::parse(name, u8::MAX).ok();
        match to {
            Address::Server { .. } => Some(To::Server),
            Address::User { user: name } => Some(To::User(user(name)?)),
            Address::Device { user: name, device } | Address::Engine { user: name, device, .. } => {
                Some(To::Device(user(name)?, device))
            }
            Address::Group { .. } => None,
        }
    }

    pub(super) fn source_of(&mut self, envelope: &Envelope<'_>) -> Option<Source> {
        match envelope.from {
            Address::Server { instance } => Some(Source::Server(InstanceId(instance))),
            Address::Engine { user, device, instance } => {
                Some(Source::Engine(Engine { user: self.inbox.name(user)?, device, instance }))
            }
            _ => None,
        }
    }

    // What others send.

    fn hold(
        &mut self,
        frame: &RawFrame,
        source: Source,
        kind: MessageKind,
        info_type: u32,
        body: &[u8],
        id: Option<MessageId>,
    ) -> Fate {
        let body = self.arena.keep(frame, body);
        let sent_at = frame.sender_time().map(UnixMillis);
        let message =
            Message { source, kind, info_type, body, id, sent_at, echo_of: self.echo_of(frame), stored: None };
        if !self.inbox.push(message, frame.len(), frame.is_volatile()) {
            self.stats.volatile_dropped_in += 1;
        }
        Fate::Held
    }

    fn on_certain(&mut self, frame: &RawFrame, source: Source, id: u64, info_type: u32, body: &[u8]) -> Fate {
        let again = frame.hop().contains(Hop::AGAIN);
        let verdict = match &source {
            Source::Server(instance) => self.senders.accept(None, DeviceKind::SERVICE, *instance, id, again),
            Source::Engine(from) => self.senders.accept(Some(&from.user), from.device, from.instance, id, again),
        };
        match verdict {
            Verdict::Run => {
                if !(broken!(AckDropped) && id % 5 == 0) {
                    self.answer(&source, id, &Answer::Ack);
                }
                self.hold(frame, source, MessageKind::Information, info_type, body, Some(MessageId(id)))
            }
            Verdict::Again => {
                self.stats.duplicates += 1;
                self.answer(&source, id, &Answer::Ack);
                Fate::Done
            }
            Verdict::Late => {
                self.stats.late += 1;
                self.answer(&source, id, &failure(Kind::Certain, Failure::ConnectionLost));
                Fate::Done
            }
        }
    }

    fn on_query(&mut self, frame: &RawFrame, source: Source, id: u64, ttl_ms: u32, info_type: u32, body: &[u8]) {
        if ttl_ms == 0 {
            return self.answer(&source, id, &failure(Kind::Query, Failure::TimedOut));
        }
        if !self.incoming.admits(frame.len()) {
            self.stats.queries_refused += 1;
            return self.answer(&source, id, &failure(Kind::Query, Failure::Busy));
        }
        let body = self.arena.keep(frame, body);
        let deadline = self.now + Duration::from_millis(ttl_ms.into());
        let token = self.incoming.open(source.clone(), id, frame.len(), deadline);
        let sent_at = frame.sender_time().map(UnixMillis);
        self.tell(Event::Query(IncomingQuery { token, source, info_type, body, sent_at }));
    }

    // What answers this engine.

    fn on_last_answer(&mut self, frame: &RawFrame) {
        if let Ok(decoded) = frame.decode() {
            let mine = decoded.envelope().is_some_and(|envelope| self.is_for_me(frame, envelope));
            if mine && decoded.kind().is_answer() {
                self.on_answer(frame, &decoded);
            }
        }
    }

    fn on_answer(&mut self, frame: &RawFrame, answer: &Frame<'_>) {
        let event = match *answer {
            Frame::Ack { envelope } => self
                .close_operation(&envelope, Kind::Certain, false)
                .map(|(id, _)| Event::Acked { id })
                .or_else(|| self.on_blob_answer(&envelope, Ok(()))),
            Frame::Confirm { envelope } => return self.on_confirmed(&envelope),
            Frame::Accepted { envelope } if matches!(envelope.from, Address::Server { .. }) => {
                self.close_operation(&envelope, Kind::Certain, true).map(|(id, _)| Event::Stored { id })
            }
            Frame::Reply { envelope, body } => self
                .close_operation(&envelope, Kind::Query, false)
                .map(|(id, _)| Event::Replied { id, body: self.arena.keep(frame, body) }),
            Frame::Response { envelope, status, cursor, body } => {
                self.close_operation(&envelope, Kind::Request, status.is_err()).map(|(id, open)| Event::Responded {
                    id,
                    status,
                    cursor: self.arena.keep(frame, cursor),
                    body: self.arena.keep(frame, body),
                    round_trip: Pending::round_trip(&open, self.now),
                })
            }
            Frame::Failure { envelope, about, code } => match Kind::from_u8(about) {
                Some(Kind::Send | Kind::EngineMessage | Kind::Broadcast)
                    if matches!(envelope.from, Address::Server { .. }) =>
                {
                    return self.tell_if_room(Event::Undeliverable { note: envelope.id, failure: code });
                }
                Some(Kind::BlobOffer) => self.on_blob_answer(&envelope, Err(code)),
                Some(kind) => self
                    .close_operation(&envelope, kind, true)
                    .map(|(id, open)| Event::Failed { id, failure: open.told_as(code) }),
                None => None,
            },
            _ => None,
        };
        match event {
            Some(event) => {
                if broken!(OutcomeTwice) {
                    self.tell(event.clone());
                }
                self.tell(event);
            }
            None => self.stats.answers_unasked += 1,
        }
    }

    /// Takes out the operation that is answered. What still waits of it, a resend, is withdrawn.
    fn close_operation(&mut self, envelope: &Envelope<'_>, kind: Kind, server_may: bool) -> Option<(MessageId, Open)> {
        let id = MessageId(envelope.id);
        let open = self.pending.end(id, kind, &envelope.from, server_may)?;
        if open.handed_out.is_none() {
            let budget = &self.budget;
            self.lanes.take_out(|place| place.tag == id.0, |queued| budget.release(queued.cost));
        }
        Some((id, open))
    }

    // What this engine answers.

    /// Answers a query, once. A token whose query is over, or was answered, is ignored.
    pub fn reply(&mut self, now: Instant, token: QueryToken, answer: Result<Bytes, Failure>) {
        self.tick(now);
        let Some(asked) = self.incoming.take(token) else {
            self.stats.replies_unasked += 1;
            return;
        };
        match answer {
            Ok(body) => self.answer(&asked.source, asked.id, &Answer::Reply(&body)),
            Err(code) => self.answer(&asked.source, asked.id, &failure(Kind::Query, code)),
        }
    }

    /// Answers a blob.
    pub(super) fn answer_blob(&mut self, to: &Source, id: u64, outcome: Result<(), Failure>) {
        match outcome {
            Ok(()) => self.answer(to, id, &Answer::Ack),
            Err(code) => self.answer(to, id, &failure(Kind::BlobOffer, code)),
        }
    }

    /// Queues an answer. A reply takes its room from the budget, and becomes a failure if it has none; the others are
    /// small and have room of their own beyond it.
    pub(super) fn answer(&mut self, to: &Source, id: u64, answer: &Answer<'_>) {
        let to_address = match to {
            Source::Server(instance) => Address::Server { instance: instance.0 },
            Source::Engine(engine) => Address::of_engine(engine),
        };
        let envelope = Envelope::new(to_address, Address::of_engine(&self.me), id);
        let frame = match *answer {
            Answer::Ack => Frame::Ack { envelope },
            Answer::Confirm => Frame::Confirm { envelope },
            Answer::Failure { about, code } => Frame::Failure { envelope, about: about as u8, code },
            Answer::Reply(body) => Frame::Reply { envelope, body },
            Answer::Response(status) => Frame::Response { envelope, status, cursor: &[], body: &[] },
        };
        let cost = frame.encoded_len();
        if let Answer::Reply(_) = answer {
            if cost > self.limits.max_frame {
                return self.answer(to, id, &failure(Kind::Query, Failure::TooLarge));
            }
            if !self.budget.charge(cost) {
                self.stats.busy += 1;
                return self.answer(to, id, &failure(Kind::Query, Failure::Busy));
            }
        } else if self.budget.used().saturating_add(cost) > self.budget.limit().saturating_add(ANSWER_ROOM) {
            self.stats.answers_dropped += 1;
            return;
        } else {
            self.budget.force(cost);
        }
        match self.arena.encode(&frame, Header::default()) {
            Ok(frame) => self.lanes.push(Lane::Interactive, Queued { frame, deadline: None, cost, tag: 0 }),
            Err(_) => self.budget.release(cost),
        }
    }
}

/// Whose plain message came last, by the addresses in it.
#[derive(Debug, Default)]
pub(super) struct LastHeard {
    route: LastRoute,
    source: Option<Source>,
}

impl LastHeard {
    fn of<'a>(&self, payload: &'a [u8]) -> Option<(Source, &'a [u8])> {
        let (_, fields) = self.route.of(payload)?;
        Some((self.source.clone()?, fields))
    }

    fn keep(&mut self, envelope: &Envelope<'_>, payload: &[u8], source: &Source) {
        self.route.keep(envelope, payload);
        self.source = Some(source.clone());
    }
}

const fn failure(about: Kind, code: Failure) -> Answer<'static> {
    Answer::Failure { about, code }
}
