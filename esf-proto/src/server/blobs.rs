//! Blobs at a server: the streams in a session's outbox, and those that its own application receives.

use alloc::{boxed::Box, vec::Vec};

use bytes::Bytes;

use super::{
    Generation, Outbox, Session, SessionState,
    command::HubCommand,
    outbox::ANSWER,
    streams::{Passage, Slow},
    waiting::CreditViolation,
};
use crate::{
    close::CloseReason,
    failure::Failure,
    hub::{BlobSender, Missed},
    ids::{Engine, SessionId, Source},
    session::{
        blob::{BlobEvent, BlobId, BlobRead, FRAGMENT, MAX_BLOB_NAME, STREAM_WINDOW, TakeBlob},
        lanes::{Lane, Queued, cost},
        receiving::{Answer, Offer, Piece, Receiving},
    },
    time::{Instant, UnixMillis},
    wire::{Address, Envelope, Frame, Header, Hop, Kind, RawFrame},
};

/// What one stream may hold.
#[expect(clippy::cast_possible_truncation, reason = "256 KiB")]
const WINDOW: usize = STREAM_WINDOW as usize;

impl Outbox {
    /// Whether this number is that of a blob which the client sends.
    pub(crate) fn is_blob(&self, id: u64) -> bool {
        !self.streams_out.is_empty() && self.streams_out.has(id)
    }

    /// A blob of another session is offered to this client: a place for its stream, then the offer.
    pub(crate) fn offer_blob(
        &mut self,
        now: Instant,
        frame: &RawFrame,
        stream: u64,
        id: u64,
        sender: &BlobSender<'_>,
    ) -> Result<(), Failure> {
        self.room_for_stream()?;
        let before = self.streams_in.cost();
        let place = self.streams_in.offer(stream, id, sender.source, sender.origin);
        self.account(before);
        place?;
        let offered = self.offer(now, frame, Kind::BlobOffer, sender.session, None);
        if offered.is_err() {
            self.drop_stream(sender.origin, id);
        }
        offered
    }

    pub(crate) fn push_fragment(&mut self, stream: u64, sender: SessionId, frame: &RawFrame, shared: bool) {
        let before = self.streams_in.cost();
        self.wake |= self.streams_in.push(stream, sender, frame, shared);
        self.account(before);
    }

    /// The client holds everything of a stream below `offset`: who is to hear of it.
    pub(crate) fn credit(&mut self, stream: u64, offset: u64) -> Result<Option<Source>, CreditViolation> {
        let before = self.streams_in.cost();
        let heard = self.streams_in.credit(stream, offset);
        self.account(before);
        self.wake |= self.streams_in.has_fragment();
        heard
    }

    /// A receiver of a stream that the client sends holds everything below `offset`.
    pub(crate) fn progress(&mut self, now: Instant, stream: u64, receiver: SessionId, offset: u64) {
        self.wake |= self.streams_out.progress(now, stream, receiver, offset);
        self.account_shared();
    }

    /// A stream is over for this client; says whether it was there.
    pub(crate) fn drop_stream(&mut self, sender: SessionId, id: u64) -> bool {
        let before = self.streams_in.cost();
        let there = self.streams_in.end(sender, id);
        self.account(before);
        there
    }

    /// The client has answered a blob of `to` that nobody waits for any more.
    pub(crate) fn drop_answered(&mut self, to: &Address<'_>, id: u64) {
        let before = self.streams_in.cost();
        self.streams_in.answered(|source| is(source, to), id);
        self.account(before);
    }

    /// A receiver of a blob that the client sends has all of it, or is gone; says whether it is a blob.
    pub(super) fn leave_stream(&mut self, id: u64, receiver: SessionId) -> bool {
        let is_blob = self.is_blob(id);
        if is_blob {
            self.wake |= self.streams_out.leave(id, receiver);
        }
        is_blob
    }

    // Blobs that the client sends to groups.

    /// A fragment of the client: what to do with it.
    pub(crate) fn pass(&mut self, now: Instant, stream: u64, offset: u64, len: usize) -> Passage {
        let passage = self.streams_out.pass(now, stream, offset, len);
        self.account_shared();
        passage
    }

    /// A stream that the client sends is over: those who receive it.
    pub(crate) fn remove_stream(&mut self, stream: u64) -> Vec<Engine> {
        let engines = self.streams_out.remove(stream);
        self.account_shared();
        engines
    }

    /// A member of a group has done with a blob of the client; says whether that is what it was, and whether the client
    /// waited for it. `None` for any other blob.
    pub(super) fn member_done(
        &mut self,
        id: u64,
        member: SessionId,
        outcome: Result<(), Failure>,
        handed_out: bool,
    ) -> Option<bool> {
        if self.streams_out.is_empty() || !self.streams_out.is_of_group(id) {
            return None;
        }
        let Some(left) = self.streams_out.leave_group(id, member) else { return Some(false) };
        self.account_shared();
        self.wake |= left.tells;
        match outcome {
            Ok(()) => self.open.member_has_it(id),
            Err(failure) => {
                if handed_out || failure == Failure::ConnectionLost {
                    self.open.member_may_have_it(id);
                }
                let (group, from, to) = (left.group, self.owner.clone(), left.engine.user);
                self.missed = Some(Box::new(Missed { group, from, to, failure }));
            }
        }
        if left.last {
            self.end_open_group(id, outcome.err().unwrap_or(Failure::Internal));
        }
        Some(true)
    }

    /// The member that came to nothing just now, for the server's application.
    pub(crate) fn take_missed(&mut self) -> Option<Box<Missed>> {
        self.missed.take()
    }

    /// A blob of the client to a group goes to nobody: it has this outcome.
    pub(crate) fn end_group_blob(&mut self, id: u64, outcome: Result<(), Failure>) {
        self.streams_out.drop_group(id);
        if outcome.is_ok() {
            self.open.member_has_it(id);
        }
        self.end_open_group(id, outcome.err().unwrap_or(Failure::Internal));
    }

    fn end_open_group(&mut self, id: u64, last: Failure) {
        let Some(open) = self.open.take(id) else { return };
        match open.of_group(last) {
            Err(failure) => self.fail(&open, failure),
            Ok(()) => match (Frame::Ack { envelope: self.envelope(id) }).to_bytes(Header::default()) {
                Ok(frame) => {
                    self.push(Lane::Interactive, Queued { frame, deadline: None, cost: open.room, tag: ANSWER });
                }
                Err(_) => self.budget.release(open.room),
            },
        }
    }

    /// Keeps the account of what those of a group share.
    fn account_shared(&mut self) {
        let (before, after) = (self.shared, self.streams_out.shared_bytes());
        self.shared = after;
        self.bulk.force(after.saturating_sub(before));
        self.bulk.release(before.saturating_sub(after));
    }

    /// A frame of which there is a bounded number for each stream.
    pub(crate) fn tell_beyond_budget(&mut self, frame: Bytes) {
        if self.ended {
            return;
        }
        let cost = cost(frame.len());
        self.budget.force(cost);
        self.push(Lane::Interactive, Queued { frame, deadline: None, cost, tag: ANSWER });
    }

    /// Nobody waits for the outcome of this any more.
    pub(crate) fn forget(&mut self, id: u64) {
        if let Some(open) = self.open.take(id) {
            self.budget.release(open.room);
        }
    }

    /// Ends this with a failure.
    pub(crate) fn fail_open(&mut self, id: u64, failure: Failure) {
        if let Some(open) = self.open.take(id) {
            self.fail(&open, failure);
        }
    }

    /// A new link is a new beginning for every stream.
    pub(super) fn link_streams(&mut self, now: Instant, generation: Generation) {
        if self.linked != Some(generation) {
            self.linked = Some(generation);
            self.streams_out.on_link(now);
            self.streams_in.on_link();
        }
    }

    /// What the client is to hear of the streams that it sends.
    pub(super) fn next_credit(&mut self, now: Instant) -> Option<Bytes> {
        let (stream, offset) = self.streams_out.poll_credit(now)?;
        Frame::Credit { stream, offset }.to_bytes(Header::default()).ok()
    }

    /// The next fragment for the client. What goes out is kept, and small ones are joined in that.
    fn next_fragment(&mut self) -> Option<Bytes> {
        let before = self.streams_in.cost();
        let fragment = self.streams_in.pop();
        self.account(before);
        fragment
    }

    /// What a stream may hold is not part of the session's budget, but of that of all sessions.
    fn room_for_stream(&self) -> Result<(), Failure> {
        self.bulk.try_charge(WINDOW).map_err(|full| self.busy(full.into()))?;
        self.bulk.release(WINDOW);
        Ok(())
    }

    /// Keeps the account of what streams hold.
    fn account(&self, before: usize) {
        let after = self.streams_in.cost();
        self.bulk.force(after.saturating_sub(before));
        self.bulk.release(before.saturating_sub(after));
    }
}

/// Whether an answer to this address is one to this source.
fn is(source: &Source, address: &Address<'_>) -> bool {
    match (source, address) {
        (Source::Engine(engine), Address::Engine { user, device, instance }) => {
            engine.user.as_str() == *user && engine.device == *device && engine.instance == *instance
        }
        (Source::Server(server), Address::Server { instance }) => server.0 == *instance,
        _ => false,
    }
}

impl Session {
    /// The next fragment for the link of this generation; to be pulled when the transport has taken everything else.
    #[must_use]
    pub fn poll_fragment(&mut self, generation: Generation, outbox: &mut Outbox) -> Option<Bytes> {
        let linked = self.is_held_by(generation) && outbox.linked == Some(generation);
        if linked { outbox.next_fragment() } else { None }
    }

    /// Whether [`Session::poll_fragment`] has something.
    #[must_use]
    pub fn has_fragment(&self, generation: Generation, outbox: &Outbox) -> bool {
        self.is_held_by(generation) && outbox.linked == Some(generation) && outbox.streams_in.has_fragment()
    }

    // Blobs to the server's application.

    /// The next event of a blob that the client sends to the server's application.
    #[must_use]
    pub fn poll_blob_event(&mut self) -> Option<BlobEvent> {
        self.receiving.as_mut()?.poll_event()
    }

    /// Takes a blob that was offered. Ignored when it is over.
    pub fn accept_blob(&mut self, now: Instant, blob: BlobId, take: TakeBlob) {
        let largest = self.config.max_blob;
        self.with_receiving(|receiving| receiving.accept(now, blob, take, largest));
    }

    /// The next bytes of a blob that is taken as a stream.
    #[must_use]
    pub fn read_blob(&mut self, now: Instant, blob: BlobId) -> BlobRead {
        self.receiving.as_mut().map_or(BlobRead::Gone, |receiving| receiving.read(now, blob))
    }

    /// Has done with a blob: see [`client::Session::finish_blob`](crate::client::Session::finish_blob).
    pub fn finish_blob(&mut self, blob: BlobId, outcome: Result<(), Failure>) {
        self.with_receiving(|receiving| receiving.finish(blob, outcome));
    }

    pub(super) fn blob_to_server(&mut self, frame: &RawFrame, decoded: &Frame<'_>) -> Result<(), CloseReason> {
        let source = Source::Engine(self.engine.clone());
        let (now, largest) = (self.now, MAX_BLOB_NAME);
        let receiving = self.receiving.get_or_insert_with(Box::default);
        match *decoded {
            Frame::BlobOffer { envelope, name, .. } if name.len() > largest => {
                let (to, id) = (Source::Engine(self.engine.clone()), envelope.id);
                self.answer_blob(&Answer { to, id, outcome: Err(Failure::TooLarge) });
            }
            // It was whole in an earlier session of the engine, and the answer got lost with that.
            Frame::BlobOffer { envelope, .. } if self.dedupe.has_blob(envelope.id) => {
                let (to, id) = (Source::Engine(self.engine.clone()), envelope.id);
                self.answer_blob(&Answer { to, id, outcome: Ok(()) });
            }
            Frame::BlobOffer { envelope, stream, total, info_type, name } => {
                let again = frame.hop().contains(Hop::AGAIN);
                let sent_at = frame.sender_time().map(UnixMillis);
                let group = None;
                let offer = Offer { source, group, id: envelope.id, again, stream, total, info_type, name, sent_at };
                receiving.on_offer(now, offer);
            }
            Frame::BlobEnd { stream, total, .. } => receiving.on_end(&source, stream, total),
            Frame::BlobCancel { stream, code, .. } => receiving.on_cancel(now, &source, false, stream, code),
            _ => {}
        }
        self.with_receiving(|_| {});
        Ok(())
    }

    /// A fragment of the client: for the server's application, or for whoever receives its stream.
    pub(super) fn fragment(&mut self, frame: RawFrame) -> Result<(), CloseReason> {
        let Ok(Frame::Fragment { stream, offset, data, .. }) = frame.decode() else { return Ok(()) };
        if data.is_empty() || data.len() > FRAGMENT {
            return Err(CloseReason::InvalidMessage);
        }
        let (now, largest) = (self.now, self.config.max_blob);
        let piece = match &mut self.receiving {
            Some(receiving) => {
                // A small fragment must not pin the buffer that it was read into.
                let data = frame.keep(data);
                let piece = receiving.on_fragment(now, stream, offset, &data, largest);
                self.with_receiving(|_| {});
                piece
            }
            None => Piece::Unknown,
        };
        match piece {
            Piece::Taken => {}
            Piece::Again => self.counters.fragments_ignored.add(1),
            Piece::Wrong => return Err(CloseReason::InvalidMessage),
            Piece::Unknown => self.commands.push_back(HubCommand::Fragment(frame)),
        }
        Ok(())
    }

    /// What the server's application holds of a stream, when it is time to say so.
    pub(super) fn next_own_credit(&mut self) -> Option<Bytes> {
        let (stream, offset) = self.receiving.as_mut()?.poll_credit()?;
        Frame::Credit { stream, offset }.to_bytes(Header::default()).ok()
    }

    /// Receivers that made no progress, for the hub to look after.
    pub(super) fn find_slow(&mut self, now: Instant, outbox: &mut Outbox) {
        while let Some(Slow { stream, id, session, engine, only }) = outbox.streams_out.poll_slow(now) {
            self.commands.push_back(HubCommand::TooSlow { stream, id, session, engine, only });
        }
    }

    /// The session ends: whoever sends to it, or receives from it, hears of that.
    pub(super) fn end_streams(&mut self, reason: CloseReason, outbox: &mut Outbox) {
        for (asker, id) in outbox.streams_in.drain() {
            let failure = Failure::ConnectionLost;
            self.commands.push_back(HubCommand::CopyFailed { asker, id, failure, handed_out: true });
        }
        outbox.bulk.release(outbox.bulk.used());
        let for_good = matches!(reason, CloseReason::LoggedOff | CloseReason::Kicked | CloseReason::PushedOut);
        let failure = if for_good { Failure::Offline } else { Failure::ConnectionLost };
        for (stream, id, receivers) in outbox.streams_out.drain() {
            self.commands.push_back(HubCommand::SenderGone { stream, id, failure, receivers });
        }
        if let Some(receiving) = &mut self.receiving {
            receiving.sender_gone(failure);
        }
    }

    pub(super) fn with_receiving(&mut self, visit: impl FnOnce(&mut Receiving)) {
        let Some(receiving) = &mut self.receiving else { return };
        visit(receiving);
        while let Some(answer) = self.receiving.as_mut().and_then(|receiving| receiving.poll_answer()) {
            if self.state() != SessionState::Ended {
                self.answer_blob(&answer);
            }
        }
    }

    fn answer_blob(&mut self, answer: &Answer) {
        let engine = self.engine.clone();
        let from = Address::Server { instance: self.server.0 };
        let envelope = Envelope::new(Address::of_engine(&engine), from, answer.id);
        let frame = match answer.outcome {
            Ok(()) => Frame::Ack { envelope },
            Err(code) => Frame::Failure { envelope, about: Kind::BlobOffer as u8, code },
        };
        if let Ok(frame) = frame.to_bytes(Header::default()) {
            self.commands.push_back(HubCommand::TellOfBlob(frame));
        }
        if answer.outcome.is_ok() {
            self.dedupe.keep_blob(answer.id);
        }
    }
}
