//! What waits to go out to one client, and what that client waits for. Other sessions reach a session only here.

mod many;

use alloc::{boxed::Box, collections::VecDeque, sync::Arc, vec::Vec};

use bytes::Bytes;

use super::{
    Config, Counters, Generation, SERVER,
    counters::Cause,
    open::{CopyEnd, Open, OpenTable},
    presence::{EVENT, News},
    shares::Shares,
    stored::StoredOut,
    streams::StreamsOut,
    waiting::StreamsIn,
};
use crate::{
    failure::{Failure, Status},
    hub::Missed,
    ids::{InstanceId, SessionId, Source},
    session::{
        blob::STREAMS,
        budget::Budget,
        frames::FrameBytes,
        inbound::QueryToken,
        lanes::{Lane, Lanes, Queued, STORABLE, VOLATILE_LIMIT, Waiting, cost},
    },
    time::Instant,
    wire::{Address, EncodeError, Envelope, Flags, Frame, Header, Kind, RawFrame},
};

/// Marks a frame that answers the client: its room was kept, and it is in nobody's share.
pub(super) const ANSWER: u64 = u64::MAX;
/// What a tag says beside the session that a frame is of.
const MARKS: u64 = EVENT | STORABLE;

/// The outbox of one session. It outlives the session's links: while the client is away it keeps filling, within its
/// budget, until the resume window ends.
///
/// What goes to thousands finds each of them in no cache, so what every visit looks at lies together, in this order.
#[derive(Debug)]
#[repr(C)]
pub struct Outbox {
    pub(super) ended: bool,
    pub(super) wake: bool,
    /// The last message of the store went out.
    pub(super) drained: bool,
    pub(super) budget: Arc<Budget>,
    shares: Shares,
    pub(crate) lanes: Lanes,
    config: Arc<Config>,
    /// What it has to do with the store, if there is one.
    pub(super) stored: Option<Box<StoredOut>>,
    pub(super) news: Option<Box<News>>,
    /// The link that the streams know.
    pub(super) linked: Option<Generation>,
    pub(crate) streams_out: StreamsOut,
    pub(super) streams_in: StreamsIn,
    /// What became of blobs that the client sends, as long as there is no room to say so.
    untold: VecDeque<Bytes>,
    pub(super) counters: Arc<Counters>,

    pub(crate) open: OpenTable,
    /// What `streams_in` holds, beside the session's budget: bounded by its streams and their windows.
    pub(super) bulk: Budget,
    pub(super) owner: Source,
    server: InstanceId,
    queued_queries: usize,
    queued_query_bytes: usize,
    /// What of the bulk is that of blobs to groups which the client sends.
    pub(super) shared: usize,
    /// The member of a group that has just come to nothing with a blob of the client.
    pub(super) missed: Option<Box<Missed>>,
}

impl Outbox {
    pub(crate) fn new(
        config: &Arc<Config>,
        counters: &Arc<Counters>,
        budget: &Arc<Budget>,
        owner: Source,
        server: InstanceId,
    ) -> Self {
        Self {
            lanes: Lanes::default(),
            open: OpenTable::default(),
            streams_out: StreamsOut::default(),
            streams_in: StreamsIn::default(),
            bulk: budget.beside(usize::MAX),
            linked: None,
            news: None,
            stored: None,
            drained: false,
            shares: Shares::default(),
            budget: budget.clone(),
            config: config.clone(),
            counters: counters.clone(),
            owner,
            server,
            queued_queries: 0,
            queued_query_bytes: 0,
            untold: VecDeque::new(),
            shared: 0,
            missed: None,
            ended: false,
            wake: false,
        }
    }

    /// Whether something came in since the last call, so that the session's link must be woken.
    #[must_use]
    pub fn take_wake(&mut self) -> bool {
        core::mem::take(&mut self.wake)
    }

    /// Frames that wait.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty() && !self.has_news() && !self.has_stored()
    }

    /// A frame of another session, for this client (ESF-506, ESF-507).
    #[inline]
    pub(crate) fn offer(
        &mut self,
        now: Instant,
        frame: &RawFrame,
        kind: Kind,
        source: SessionId,
        deadline: Option<Instant>,
    ) -> Result<(), Failure> {
        let storable = kind == Kind::Certain && frame.flags().contains(Flags::STORE) && self.stores();
        if self.ended {
            return if storable && self.withdraw_too(frame) { Ok(()) } else { Err(Failure::Offline) };
        }
        let len = frame.len();
        if kind.is_windowed() && frame.is_volatile() {
            return self.offer_volatile(frame, source);
        }
        // An offer of a blob waits like a question: the window does not hold it back.
        let is_query = matches!(kind, Kind::Query | Kind::Request | Kind::BlobOffer);
        self.admit_or_expire(now, source, is_query, len)?;
        let lane = if is_query { Lane::Interactive } else { Lane::Message };
        if is_query {
            self.queued_queries += 1;
            self.queued_query_bytes += len;
        }
        let (tag, deadline) = match deadline {
            Some(deadline) if storable => {
                let (tag, at) = self.mark_storable(now, source, deadline);
                (tag, Some(at))
            }
            deadline => (source.0, deadline),
        };
        self.push_copy(lane, frame.bytes(), deadline, cost(len), tag);
        Ok(())
    }

    /// A frame that the server makes for this client without having kept room for it: dropped and counted when full.
    /// Unless its room was charged before.
    pub(crate) fn tell(&mut self, frame: Bytes, charged: bool) -> bool {
        let cost = cost(frame.len());
        if !(charged || self.budget.charge(cost)) {
            self.counters.answers_dropped.add(1);
            return false;
        }
        if self.ended {
            self.budget.release(cost);
            self.counters.answers_dropped.add(1);
            return false;
        }
        self.push(Lane::Interactive, Queued { frame, deadline: None, cost, tag: ANSWER });
        true
    }

    /// A broadcast of this client came to nothing: says so if it asked for that (ESF-330).
    pub(crate) fn refuse_broadcast(&mut self, frame: &RawFrame, failure: Failure) {
        if let (true, Ok(envelope)) = (frame.flags().contains(Flags::TELL), frame.envelope()) {
            self.tell_failure(envelope.id, Kind::Broadcast, failure);
        }
    }

    /// The same for whatever goes to many: a blob always has an outcome.
    pub fn refuse_fanout(&mut self, frame: &RawFrame, failure: Failure) {
        match frame.envelope() {
            Ok(envelope) if frame.kind() == Some(Kind::BlobOffer) => self.end_group_blob(envelope.id, Err(failure)),
            _ => self.refuse_broadcast(frame, failure),
        }
    }

    /// A failure of something that no entry is kept for; says whether there was room for it.
    pub(crate) fn tell_failure(&mut self, id: u64, about: Kind, failure: Failure) -> bool {
        let Some(frame) = self.failure(id, about, failure) else { return false };
        if about == Kind::BlobOffer { self.tell_of_blob(frame) } else { self.tell(frame, false) }
    }

    /// What became of a blob that the client sends; says whether the client will hear it. The sender of a blob keeps no
    /// time of its own, so what finds no room waits for it, for as many blobs as may be under way (ESF-509).
    pub(crate) fn tell_of_blob(&mut self, frame: Bytes) -> bool {
        self.tell_untold();
        let waits = !self.untold.is_empty() || !self.budget.charge(cost(frame.len()));
        if !waits || self.ended || self.untold.len() >= STREAMS {
            return self.tell(frame, !waits);
        }
        self.untold.push_back(frame);
        true
    }

    fn tell_untold(&mut self) {
        while self.untold.front().is_some_and(|frame| self.budget.charge(cost(frame.len()))) {
            if let Some(frame) = self.untold.pop_front() {
                self.tell(frame, true);
            }
        }
    }

    /// Keeps an entry, and room for its answer, for what this client asks now.
    pub(crate) fn ask(&mut self, open: Open) -> Result<(), Failure> {
        if self.ended {
            return Err(Failure::Offline);
        }
        let (queries, bytes) = self.open.queries();
        let too_many_queries = matches!(open.about, Kind::Query | Kind::Request)
            && (queries >= self.config.max_open_queries
                || bytes + open.bytes > self.config.max_open_query_bytes.max(open.bytes));
        if self.open.len() >= self.config.max_open || too_many_queries {
            return Err(self.busy(Cause::Open));
        }
        self.budget.try_charge(open.room).map_err(|full| self.busy(full.into()))?;
        if let Some(old) = self.open.insert(open) {
            self.budget.release(old.room);
        }
        Ok(())
    }

    /// The room that an answer to `frame` of this client can need: an answer names both ends and carries two bytes.
    pub(crate) fn answer_room(&self, to: &Address<'_>) -> usize {
        cost(64) + self.owner.user().map_or(0, |user| user.len()) + to.name().map_or(0, str::len)
    }

    /// The receiver `from` answers: `frame` goes out if this client asked `from` for it, else it is dropped. Says
    /// whether it asked.
    pub(crate) fn answer(&mut self, frame: &RawFrame, kind: Kind, id: u64, from: SessionId) -> bool {
        let fits = |about: Kind| match kind {
            Kind::Ack => matches!(about, Kind::Certain | Kind::BlobOffer),
            Kind::Accepted => about == Kind::Certain,
            Kind::Reply => about == Kind::Query,
            Kind::Response => about == Kind::Request,
            _ => false,
        };
        let of_member = if kind == Kind::Ack { Ok(()) } else { Err(Failure::Malformed) };
        if let Some(told) = self.member_done(id, from, of_member, false) {
            return told;
        }
        self.leave_stream(id, from);
        let Some(open) = self.open.answered(id, from, fits) else { return false };
        let more = cost(frame.len()).saturating_sub(open.room);
        let charged = if more > 0 { self.budget.try_charge(more) } else { Ok(()) };
        if let Err(full) = charged {
            self.counters.busy(full.into());
            self.fail(&open, Failure::Busy);
            return true;
        }
        let cost = open.room + more;
        self.push_copy(Lane::Interactive, frame.bytes(), None, cost, ANSWER);
        true
    }

    /// The server's application answers a query of this client. Ignored when nobody waits for it any more.
    pub fn reply(&mut self, token: QueryToken, answer: Result<&[u8], Failure>) {
        match answer {
            Ok(body) => {
                let frame = Frame::Reply { envelope: self.envelope(token.0), body }.to_bytes(Header::default());
                self.answer_by_server(token.0, Kind::Reply, frame);
            }
            Err(failure) => {
                self.copy_failed(token.0, SERVER, failure, false);
            }
        }
    }

    /// The server answers a request of this client.
    pub fn respond(&mut self, id: u64, status: Status, cursor: &[u8], body: &[u8]) {
        let frame = Frame::Response { envelope: self.envelope(id), status, cursor, body }.to_bytes(Header::default());
        self.answer_by_server(id, Kind::Response, frame);
    }

    /// A certain message of this client is in the store.
    pub(crate) fn accepted(&mut self, id: u64) {
        let frame = Frame::Accepted { envelope: self.envelope(id) }.to_bytes(Header::default());
        self.answer_by_server(id, Kind::Accepted, frame);
    }

    /// The copy of a certain message that session `from` held comes to nothing. Says whether it was the last: then the
    /// store holds it from here on.
    pub(crate) fn keep_copy(&mut self, id: u64, from: SessionId, handed_out: bool) -> bool {
        self.open.keep_copy(id, from, handed_out)
    }

    fn answer_by_server(&mut self, id: u64, kind: Kind, frame: Result<Bytes, EncodeError>) {
        let frame = frame.ok().filter(|frame| frame.len() <= self.config.max_frame as usize);
        match frame.map(RawFrame::parse) {
            Some(Ok(frame)) => {
                if !self.answer(&frame, kind, id, SERVER) {
                    self.counters.answers_unasked.add(1);
                }
            }
            _ => {
                self.copy_failed(id, SERVER, Failure::TooLarge, false);
            }
        }
    }

    /// The copy that session `from` held came to nothing; says so to this client if it was the last.
    pub(crate) fn copy_failed(&mut self, id: u64, from: SessionId, failure: Failure, handed_out: bool) -> bool {
        if let Some(told) = self.member_done(id, from, Err(failure), handed_out) {
            return told;
        }
        self.leave_stream(id, from);
        let (end, open) = self.open.copy_failed(id, from, failure, handed_out);
        if let (CopyEnd::Failed(failure), Some(open)) = (end, &open) {
            self.fail(open, failure);
        }
        open.is_some()
    }

    /// Ends every entry whose time is over.
    pub fn expire(&mut self, now: Instant) {
        while let Some(open) = self.open.pop_expired(now) {
            self.counters.expired.add(1);
            self.fail(&open, Failure::TimedOut);
        }
    }

    /// The lane of the next frame for the client, if the window admits it. Messages whose time is over are left out.
    pub(crate) fn next(&mut self, now: Instant, room: impl Fn(usize) -> bool) -> Option<Lane> {
        self.tell_untold();
        let closed = self.is_closed();
        loop {
            let (lane, waiting) = if closed { self.lanes.next_but_messages()? } else { self.lanes.next(&room)? };
            if waiting.deadline.is_none_or(|at| at > now || waiting.tag & STORABLE != 0) {
                return Some(lane);
            }
            // Its asker was told when the time was over.
            self.pop_with(lane, |_, _| ());
            self.budget.release(waiting.cost);
        }
    }

    /// Takes the first frame of a lane; its bytes are there while `take` runs.
    #[inline]
    pub(crate) fn pop_with<R>(&mut self, lane: Lane, take: impl FnOnce(FrameBytes<'_>, Waiting) -> R) -> Option<R> {
        let (waiting, taken) = self.lanes.pop_with(lane, |frame, waiting| (waiting, take(frame, waiting)))?;
        self.left(lane, waiting);
        Some(taken)
    }

    /// The next frame for whoever has no hop to count it on: the server itself.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Bytes> {
        let lane = self.next(now, |_| true)?;
        let (frame, cost) = self.pop_with(lane, |frame, waiting| (frame.into_bytes(), waiting.cost))?;
        self.budget.release(cost);
        Some(frame)
    }

    /// Gives the room of an idle session back.
    pub(super) fn rest(&mut self) {
        self.lanes.rest();
        self.open.rest();
        self.untold.shrink_to_fit();
    }

    /// When [`Outbox::expire`], or whoever looks after the streams that go out, has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.open.first_deadline().into_iter().chain(self.streams_out.poll_timeout()).min()
    }

    /// The session ends: everything that waits, and nothing comes in any more.
    pub(crate) fn end(&mut self) -> impl Iterator<Item = (Lane, Queued)> + use<> {
        self.ended = true;
        self.untold.clear();
        self.drop_news();
        for open in self.open.drain() {
            self.budget.release(open.room);
        }
        self.lanes.drain()
    }

    #[inline]
    fn admit_or_expire(&mut self, now: Instant, source: SessionId, is_query: bool, len: usize) -> Result<(), Failure> {
        if self.admit(source, is_query, len).is_err() {
            // What expired here, while the client was away or slow, makes room.
            self.withdraw_expired(now);
            self.admit(source, is_query, len).map_err(|cause| self.busy(cause))?;
        }
        Ok(())
    }

    fn offer_volatile(&mut self, frame: &RawFrame, source: SessionId) -> Result<(), Failure> {
        let (len, cost) = (frame.len(), cost(frame.len()));
        let refused = self.lanes.refuses_volatile(len) || self.has_half_of_volatile(source, len);
        if refused || !self.budget.charge(cost) {
            self.counters.volatile_dropped.add(1);
            return Err(Failure::Busy);
        }
        self.push_copy(Lane::Volatile, frame.bytes(), None, cost, source.0);
        Ok(())
    }

    /// Whether this frame would give its source more than half of the volatile lane.
    fn has_half_of_volatile(&self, source: SessionId, len: usize) -> bool {
        const HALF: usize = VOLATILE_LIMIT / 2;
        let of_source = || self.lanes.iter(Lane::Volatile).filter(|waiting| waiting.tag == source.0);
        self.lanes.volatile_bytes() + len > HALF
            && of_source().map(|waiting| waiting.len).sum::<usize>() + len > HALF.max(len)
    }

    /// Charges for a frame of another source if there is room for it.
    pub(super) fn admit(&mut self, source: SessionId, is_query: bool, len: usize) -> Result<(), Cause> {
        let query_bytes = self.config.max_open_query_bytes.max(len);
        if is_query
            && (self.queued_queries >= self.config.max_open_queries || self.queued_query_bytes + len > query_bytes)
        {
            return Err(Cause::Queries);
        }
        self.charge(source, cost(len))
    }

    /// Charges for what another source puts in.
    #[inline]
    fn charge(&mut self, source: SessionId, cost: usize) -> Result<(), Cause> {
        let lanes = &self.lanes;
        let entries = || {
            let waiting = lanes.iter(Lane::Interactive).chain(lanes.iter(Lane::Message));
            let of_others = waiting.filter(|waiting| waiting.tag != ANSWER);
            of_others.map(|waiting| (SessionId(waiting.tag & !MARKS), waiting.cost))
        };
        let queued = self.budget.used();
        if !self.shares.admit(source, cost, queued, self.budget.limit(), entries) {
            return Err(Cause::Share);
        }
        if broken!(BudgetNotCharged) {
            return Ok(());
        }
        let granted = self.budget.try_charge(cost);
        if granted.is_err() {
            self.shares.remove(source, cost);
        }
        granted.map_err(Cause::from)
    }

    fn withdraw_expired(&mut self, now: Instant) {
        let mut expired = Vec::new();
        self.lanes.expire(now, |lane, queued| expired.push((lane, queued.waiting())));
        for (lane, waiting) in expired {
            // Its asker was told when the time was over.
            self.budget.release(waiting.cost);
            self.left(lane, waiting);
        }
    }

    pub(super) fn fail(&mut self, open: &Open, failure: Failure) {
        match self.failure(open.id, open.about, failure) {
            Some(frame) => {
                self.push(Lane::Interactive, Queued { frame, deadline: None, cost: open.room, tag: ANSWER });
            }
            None => self.budget.release(open.room),
        }
    }

    fn failure(&self, id: u64, about: Kind, code: Failure) -> Option<Bytes> {
        let frame = Frame::Failure { envelope: self.envelope(id), about: about as u8, code };
        frame.to_bytes(Header::default()).ok()
    }

    pub(super) fn envelope(&self, id: u64) -> Envelope<'_> {
        let owner = match &self.owner {
            Source::Engine(engine) => Address::of_engine(engine),
            Source::Server(instance) => Address::Server { instance: instance.0 },
        };
        Envelope::new(owner, Address::Server { instance: self.server.0 }, id)
    }

    /// A frame whose memory nobody else shares.
    pub(super) fn push(&mut self, lane: Lane, queued: Queued) {
        self.lanes.push(lane, queued);
        self.wake = true;
    }

    /// A frame of somebody else.
    pub(super) fn push_copy(&mut self, lane: Lane, frame: &Bytes, deadline: Option<Instant>, cost: usize, tag: u64) {
        self.lanes.push_copy(lane, frame, deadline, cost, tag);
        self.wake = true;
    }

    /// The largest frame, its header included.
    pub(super) fn max_frame(&self) -> usize {
        usize::try_from(self.config.max_frame).unwrap_or(usize::MAX)
    }

    #[inline]
    pub(super) fn left(&mut self, lane: Lane, waiting: Waiting) {
        if waiting.tag == ANSWER || lane == Lane::Volatile {
            return;
        }
        self.shares.remove(SessionId(waiting.tag & !MARKS), waiting.cost);
        if lane == Lane::Interactive && waiting.tag & EVENT == 0 {
            self.queued_queries = self.queued_queries.saturating_sub(1);
            self.queued_query_bytes = self.queued_query_bytes.saturating_sub(waiting.len);
        }
    }

    pub(super) fn busy(&self, cause: Cause) -> Failure {
        self.counters.busy(cause);
        Failure::Busy
    }
}

#[cfg(test)]
mod tests;
