//! Blobs at a client: sent from what the application gives, taken whole or as a stream (ESF-340 to ESF-348).

use bytes::Bytes;

use super::{Event, SendError, Session, State, commands::address_of};
use crate::{
    failure::Failure,
    ids::{GroupId, MessageId, Source, To},
    session::{
        blob::{BlobId, BlobNeed, BlobRead, MAX_BLOB_NAME, OutgoingBlob, TakeBlob},
        lanes::{Lane, Queued},
        receiving::{Answer, Offer, Piece},
        sending::{Credited, Outgoing, Target},
    },
    time::{Instant, UnixMillis},
    wire::{Address, EncodeError, Envelope, Frame, Header, Hop, RawFrame},
};

impl Session {
    // Sending.

    /// Sends a blob: its bytes are asked for by [`poll_blob_need`](Self::poll_blob_need) as the receivers take them, and
    /// it ends in exactly one of [`Event::Acked`], when the first device has it whole, and [`Event::Failed`].
    ///
    /// # Errors
    /// It is not taken: `Busy` with 8 blobs under way, `TooLong` for its name. The body in the error is empty.
    pub fn send_blob(&mut self, now: Instant, to: &To, blob: &OutgoingBlob) -> Result<MessageId, SendError> {
        self.offer_blob(now, Target::To(to.clone()), blob)
    }

    /// Sends a blob to the members of a group that are online, 256 devices at most. Only a member may. It ends in
    /// [`Event::Acked`] when everybody who is still there has it whole (ESF-349).
    ///
    /// # Errors
    /// Those of [`send_blob`](Self::send_blob).
    pub fn broadcast_blob(
        &mut self,
        now: Instant,
        group: &GroupId,
        blob: &OutgoingBlob,
    ) -> Result<MessageId, SendError> {
        self.offer_blob(now, Target::Group(group.clone()), blob)
    }

    fn offer_blob(&mut self, now: Instant, to: Target, blob: &OutgoingBlob) -> Result<MessageId, SendError> {
        self.tick(now);
        if self.is_closed() || self.state == State::LoggingOff {
            return Err(SendError::Closed(Bytes::new()));
        }
        if blob.name.len() > MAX_BLOB_NAME {
            return Err(SendError::TooLong(Bytes::new()));
        }
        let id = self.pending.next_id();
        let stream = self.stream_ids.next();
        let envelope = Envelope::new(address(&to), Address::of_engine(&self.me), id.0);
        let &OutgoingBlob { info_type, ref name, total, .. } = blob;
        let offer = Frame::BlobOffer { envelope, stream, total, info_type, name };
        let len = offer.encoded_len();
        if !self.sending.admits() || !self.budget.charge(len) {
            self.stats.busy += 1;
            return Err(SendError::Busy(Bytes::new()));
        }
        let Ok(frame) = offer.to_bytes(Header::default()) else {
            self.budget.release(len);
            return Err(SendError::TooLong(Bytes::new()));
        };
        self.stats.operations += 1;
        self.pending.take_id();
        self.sending.open(id, stream, to, blob, frame.clone());
        self.lanes.push(Lane::Interactive, Queued { frame, deadline: None, cost: len, tag: id.0 });
        Ok(id)
    }

    /// What a source is to give next, by [`give_blob`](Self::give_blob).
    #[must_use]
    pub fn poll_blob_need(&mut self) -> Option<BlobNeed> {
        if self.state == State::Online { self.sending.poll_need() } else { None }
    }

    /// Gives the bytes of a blob from `offset` on, as they were asked for: no more than that; `last` if it ends with
    /// them. What was not asked for, or not any more, is ignored. A blob that has not the length that it announced ends
    /// with `Malformed`.
    pub fn give_blob(&mut self, now: Instant, id: MessageId, offset: u64, data: Bytes, last: bool) {
        self.tick(now);
        if let Err(failure) = self.sending.give(id, offset, data, last) {
            self.end_blob(id, failure);
        }
    }

    /// Takes a blob back: it ends with `Cancelled`, here and at its receivers. Ignored when it has ended.
    pub fn cancel_blob(&mut self, now: Instant, id: MessageId) {
        self.tick(now);
        self.end_blob(id, Failure::Cancelled);
    }

    /// Ends a blob from this side.
    fn end_blob(&mut self, id: MessageId, failure: Failure) {
        let Some(outgoing) = self.sending.take(id) else { return };
        if outgoing.may_have_arrived() {
            self.cancel_at_receivers(&outgoing, failure);
        } else {
            let budget = &self.budget;
            self.lanes.take_out(|queued| queued.tag == id.0, |queued| budget.release(queued.cost));
        }
        self.tell(Event::Failed { id, failure });
    }

    fn cancel_at_receivers(&mut self, outgoing: &Outgoing, code: Failure) {
        let envelope = Envelope::new(address(&outgoing.to), Address::of_engine(&self.me), outgoing.id.0);
        let cancel = Frame::BlobCancel { envelope, stream: outgoing.stream, code }.to_bytes(Header::default());
        self.queue_beyond_budget(cancel);
    }

    /// Queues a frame that ends a blob. There are two such frames a blob at most, so they have room beyond the budget.
    fn queue_beyond_budget(&mut self, frame: Result<Bytes, EncodeError>) {
        let Ok(frame) = frame else { return };
        let cost = frame.len();
        self.budget.force(cost);
        self.lanes.push(Lane::Interactive, Queued { frame, deadline: None, cost, tag: 0 });
    }

    // Receiving.

    /// Takes a blob that was offered: whole, or as a stream to be [read](Self::read_blob). Ignored when it is over.
    pub fn accept_blob(&mut self, now: Instant, blob: BlobId, take: TakeBlob) {
        self.tick(now);
        self.receiving.accept(self.now, blob, take, self.limits.max_blob);
        self.answer_blobs();
    }

    /// The next bytes of a blob that is taken as a stream. To read is to make room for more.
    #[must_use]
    pub fn read_blob(&mut self, now: Instant, blob: BlobId) -> BlobRead {
        self.tick(now);
        self.receiving.read(self.now, blob)
    }

    /// Has done with a blob, and frees its place. A stream that was read to its end and is good is whole for its sender
    /// by `Ok`; one that was offered is refused, and one that is under way is cut off, by `Err`. One that came whole, or
    /// is over, has told its sender already.
    pub fn finish_blob(&mut self, now: Instant, blob: BlobId, outcome: Result<(), Failure>) {
        self.tick(now);
        self.receiving.finish(blob, outcome);
        self.answer_blobs();
    }

    /// Blobs that arrive, or came whole and have not been finished.
    #[must_use]
    pub fn incoming_blobs(&self) -> usize {
        self.receiving.len()
    }

    /// Blobs that this engine sends.
    #[must_use]
    pub fn outgoing_blobs(&self) -> usize {
        self.sending.len()
    }

    /// Bytes of blobs that are held here, of both directions.
    #[must_use]
    pub fn blob_bytes(&self) -> usize {
        self.receiving.held_bytes() + self.sending.held_bytes()
    }

    // What arrives.

    pub(super) fn on_blob_frame(&mut self, frame: &RawFrame, source: Source, decoded: &Frame<'_>) {
        match *decoded {
            Frame::BlobOffer { envelope, stream, total, info_type, name } => {
                if name.len() > MAX_BLOB_NAME {
                    self.stats.malformed += 1;
                    return;
                }
                let again = frame.hop().contains(Hop::AGAIN);
                let sent_at = frame.sender_time().map(UnixMillis);
                let group = group_of(&envelope.to);
                let offer = Offer { source, group, id: envelope.id, again, stream, total, info_type, name, sent_at };
                self.receiving.on_offer(self.now, offer);
            }
            Frame::BlobEnd { stream, total, .. } => self.receiving.on_end(&source, stream, total),
            Frame::BlobCancel { stream, code, .. } => {
                let server = matches!(source, Source::Server(_));
                self.receiving.on_cancel(self.now, &source, server, stream, code);
            }
            _ => {}
        }
        self.answer_blobs();
    }

    pub(super) fn on_fragment(&mut self, frame: &RawFrame, stream: u64, offset: u64, data: &[u8]) {
        // A small one must not hold the buffer that it was read into.
        let data = frame.keep(data);
        let piece = self.receiving.on_fragment(self.now, stream, offset, &data, self.limits.max_blob);
        if piece != Piece::Taken {
            // Another user may have sent it, so it is not the link's fault.
            self.stats.fragments_ignored += 1;
        }
        self.answer_blobs();
    }

    pub(super) fn on_credit(&mut self, stream: u64, offset: u64) {
        match self.sending.on_credit(stream, offset) {
            Credited::Ahead => {}
            Credited::Ignored => self.stats.credits_ignored += 1,
            Credited::Failed(id, failure) => self.end_blob(id, failure),
        }
    }

    /// The outcome of a blob that this engine sends, if the answer is one.
    pub(super) fn on_blob_answer(&mut self, envelope: &Envelope<'_>, outcome: Result<(), Failure>) -> Option<Event> {
        let id = MessageId(envelope.id);
        let by_server = matches!(envelope.from, Address::Server { .. });
        if outcome == Err(Failure::Offline) && by_server && self.sending.awaits(self.now, id) {
            return None;
        }
        let outgoing = self.sending.answered(id, &envelope.from, outcome.is_err())?;
        // An offer that still waits, as one that is to go again does, would be of a blob that nobody sends.
        let budget = &self.budget;
        self.lanes.take_out(|queued| queued.tag == id.0, |queued| budget.release(queued.cost));
        if outcome.is_ok() && !outgoing.is_sent() && !outgoing.to.is_group() {
            // Somebody had all of it already; whoever has not gets no more.
            self.cancel_at_receivers(&outgoing, Failure::Cancelled);
        }
        Some(match outcome {
            Ok(()) => Event::Acked { id },
            // As for a certain message (ESF-316).
            Err(Failure::Offline) if outgoing.was_offered_again() => {
                Event::Failed { id, failure: Failure::ConnectionLost }
            }
            Err(failure) => Event::Failed { id, failure },
        })
    }

    pub(super) fn answer_blobs(&mut self) {
        while let Some(Answer { to, id, outcome }) = self.receiving.poll_answer() {
            self.answer_blob(&to, id, outcome);
        }
    }

    // What goes out.

    /// What this side holds of a stream, when it is time to say so.
    pub(super) fn next_credit(&mut self) -> Option<Bytes> {
        let (stream, offset) = self.receiving.poll_credit()?;
        self.arena.encode(&Frame::Credit { stream, offset }, Header::default()).ok()
    }

    /// Queues the end of each blob that went out whole.
    pub(super) fn tell_blob_ends(&mut self) {
        while let Some((outgoing, total)) = self.sending.poll_end() {
            let envelope = Envelope::new(address(&outgoing.to), Address::of_engine(&self.me), outgoing.id.0);
            let end = Frame::BlobEnd { envelope, stream: outgoing.stream, total };
            let end = end.to_bytes(Header::default());
            self.queue_beyond_budget(end);
        }
    }

    /// A fragment, if the transport has nothing else to do: whatever comes after it waits for one at most (ESF-347).
    pub(super) fn next_fragment(&mut self) -> Option<Bytes> {
        let link = self
            .link
            .as_mut()
            .filter(|link| (link.bulk || broken!(HeartbeatBehindBulk)) && self.state == State::Online)?;
        let piece = self.sending.poll_fragment()?;
        link.bulk = false;
        let frame = Frame::Fragment { stream: piece.stream, offset: piece.offset, last: piece.last, data: &piece.data };
        frame.to_bytes(Header::default()).ok()
    }

    /// Whether a fragment waits for the transport to have nothing else to do: tell
    /// [`handle_transport`](Self::handle_transport) as soon as all bytes are flushed.
    #[must_use]
    pub fn wants_flush(&self) -> bool {
        self.state == State::Online && self.sending.has_fragment()
    }

    /// In a new session blobs are offered again under their old ids and streams.
    pub(super) fn offer_again(&mut self) {
        for (id, offer) in self.sending.after_fresh(self.now).into_iter().rev() {
            if let Some(queued) = self.again(id, offer) {
                self.lanes.push_front(Lane::Interactive, queued);
            }
        }
    }

    /// Offers blobs whose receivers were not back yet.
    pub(super) fn offer_later(&mut self) {
        while let Some((id, offer)) = self.sending.poll_offer(self.now) {
            if let Some(queued) = self.again(id, offer) {
                self.lanes.push(Lane::Interactive, queued);
            }
        }
    }

    fn again(&mut self, id: MessageId, offer: Bytes) -> Option<Queued> {
        let frame = RawFrame::parse(offer).ok()?.again();
        let cost = frame.len();
        self.budget.force(cost);
        self.stats.resent += 1;
        Some(Queued { frame, deadline: None, cost, tag: id.0 })
    }

    /// The session ends: every blob that is under way comes to nothing.
    pub(super) fn end_blobs(&mut self) {
        while let Some(outgoing) = self.sending.pop_first() {
            let failure = if outgoing.may_have_arrived() { Failure::ConnectionLost } else { Failure::Offline };
            self.tell(Event::Failed { id: outgoing.id, failure });
        }
        self.receiving.clear();
    }
}

fn address(to: &Target) -> Address<'_> {
    match to {
        Target::To(to) => address_of(to),
        Target::Group(group) => Address::Group { group },
    }
}

fn group_of(to: &Address<'_>) -> Option<GroupId> {
    match to {
        Address::Group { group } => GroupId::parse(group).ok(),
        _ => None,
    }
}
