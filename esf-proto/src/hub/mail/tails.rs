//! What waits in the store for somebody who is online: page by page into the outbox, until nothing is left (ESF-353 to
//! ESF-355).

use alloc::{collections::BTreeSet, vec::Vec};
use core::time::Duration;

use super::{Mail, Purpose, Receiver, Told};
use crate::{
    ids::{DeviceKind, SessionId, UserId},
    store::{JobId, StoreId, StoreRequest, StoreResponse, StoredMessage},
    time::Instant,
    wire::{Address, RawFrame},
};

/// Messages of a page.
const PAGE: usize = 256;
/// Messages that a session may have and not have confirmed. An honest client has no more of them than the window and
/// its own queue hold.
const UNCONFIRMED: usize = 8192;
/// Confirms of a session that may wait for the one before.
const CONFIRMS: usize = 8192;
/// How long until a store that failed is asked again.
const RETRY: Duration = Duration::from_secs(30);

/// What waits in the store for one session.
#[derive(Debug)]
pub(super) struct Tail<H> {
    session: SessionId,
    device: DeviceKind,
    handle: H,
    /// Messages up to this one were fetched.
    after: StoreId,
    /// The page that was asked for is of no use: it begins behind what is to be fetched again.
    restarts: bool,
    state: State,
    /// What the outbox got and the client has not confirmed.
    unconfirmed: BTreeSet<StoreId>,
    /// What it has confirmed and the store was not told yet.
    confirms: Vec<StoreId>,
    /// The store is being told of others.
    confirming: bool,
    retry: Option<Instant>,
    /// How often messages were taken back from its outbox.
    turn: u32,
}

/// How far the tail of a session is. Whatever else the session gets waits until it is through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// To be fetched when the store has done what it was asked for this user up to this job.
    Wanted(JobId),
    /// A page was asked for.
    Fetching {
        /// Others came meanwhile.
        again: bool,
    },
    /// A page waits in the outbox.
    Handing {
        /// There may be others behind it.
        more: bool,
    },
    /// There is nothing that this session has not had.
    Through,
}

impl<H: Clone> Mail<H> {
    /// A session that takes messages is on; everything that was put for its user before is put. Its outbox holds its
    /// messages back until a [`Told::Page`] without messages comes.
    pub fn open_tail(&mut self, now: Instant, receiver: &Receiver<'_, H>) {
        let Receiver { session, engine, handle } = *receiver;
        let user = &engine.user;
        // Of one device there is one session; the end of the other may be told later.
        let older: Vec<SessionId> = self
            .users
            .get(user)
            .into_iter()
            .flat_map(|postbox| &postbox.tails)
            .filter(|tail| tail.device == engine.device)
            .map(|tail| tail.session)
            .collect();
        for older in older {
            self.close_tail(now, user, older, &[]);
        }
        let tail = Tail {
            session,
            device: engine.device,
            handle: handle.clone(),
            after: StoreId(0),
            restarts: false,
            state: State::Through,
            unconfirmed: BTreeSet::new(),
            confirms: Vec::new(),
            confirming: false,
            retry: None,
            turn: 0,
        };
        self.users.entry(user.clone()).or_default().tails.push(tail);
        self.want(user, session);
        self.advance(now, user);
    }

    /// A session ended; of what it had these were never handed out. Another one of the user goes on.
    pub fn close_tail(&mut self, now: Instant, user: &UserId, session: SessionId, unsent: &[StoreId]) {
        let Some(postbox) = self.users.get_mut(user) else { return };
        let Some(at) = postbox.tails.iter().position(|tail| tail.session == session) else { return };
        let mut tail = postbox.tails.remove(at);
        if let Some(retry) = tail.retry {
            self.retries.remove(&(retry, session));
        }
        for id in unsent {
            tail.unconfirmed.remove(id);
        }
        self.ask_confirm(now, user, session, core::mem::take(&mut tail.confirms));
        if !tail.unconfirmed.is_empty() {
            let request =
                StoreRequest::Tried { user: user.clone(), messages: tail.unconfirmed.iter().copied().collect() };
            self.ask_about(now, user, Purpose::Tried { user: user.clone() }, request);
        }
        if at == 0 && !broken!(TailNotPassedOn) {
            // What the owner had and did not confirm is for the next one.
            let next = self.users.get_mut(user).and_then(|postbox| postbox.tails.first_mut());
            if let Some(next) = next {
                next.after = StoreId(0);
                next.restarts = matches!(next.state, State::Fetching { .. });
                let next = next.session;
                self.want(user, next);
            }
        }
        self.advance(now, user);
        self.forget_if_idle(user);
    }

    /// The outbox of a session has handed out all that it got.
    pub fn tail_drained(&mut self, now: Instant, user: &UserId, session: SessionId) {
        let Some(tail) = self.tail(user, session) else { return };
        if let State::Handing { more } = tail.state {
            tail.state = State::Through;
            if more {
                self.want(user, session);
                self.advance(now, user);
            } else {
                self.through(user, session);
            }
        }
    }

    /// Messages were taken back from the outbox of a session, which holds its other messages back until what becomes of
    /// these is known.
    pub(in crate::hub) fn refetch(&mut self, now: Instant, user: &UserId, session: SessionId, turn: u32) {
        let Some(tail) = self.tail(user, session) else { return };
        tail.turn = turn;
        self.want(user, session);
        self.advance(now, user);
    }

    /// A client has handled a message. Twice, or one that is not there or not its own, is no harm: the store knows.
    pub(in crate::hub) fn confirm(&mut self, now: Instant, user: &UserId, session: SessionId, id: StoreId) {
        let Some(tail) = self.tail(user, session) else { return };
        if broken!(ConfirmsAllBefore) {
            tail.confirms.extend(tail.unconfirmed.range(..id));
        }
        tail.unconfirmed.remove(&id);
        if tail.confirms.len() >= CONFIRMS {
            self.counters.confirms_dropped.add(1);
            return;
        }
        tail.confirms.push(id);
        if !tail.confirming {
            let confirms = core::mem::take(&mut tail.confirms);
            self.ask_confirm(now, user, session, confirms);
        }
        self.advance(now, user);
    }

    /// The store was told of confirms.
    pub(super) fn confirmed(
        &mut self,
        now: Instant,
        user: &UserId,
        session: SessionId,
        messages: Vec<StoreId>,
        ok: bool,
    ) {
        let Some(tail) = self.tail(user, session) else { return };
        // One that failed is delivered again some time, and confirmed again.
        let handle = tail.handle.clone();
        let next = core::mem::take(&mut tail.confirms);
        tail.confirming = false;
        if ok {
            self.told.push_back(Told::Confirmed { handle, messages });
        }
        self.ask_confirm(now, user, session, next);
    }

    /// A message for this user came into the store.
    pub(super) fn came(&mut self, user: &UserId, device: Option<DeviceKind>) {
        let tails = self.users.get(user).into_iter().flat_map(|postbox| &postbox.tails);
        let mut of_it = tails.filter(|tail| device.is_none_or(|device| tail.device == device));
        if let Some(session) = of_it.next().map(|tail| tail.session) {
            // It is there: what is under way now need not be waited for.
            self.want_after(user, session, JobId(0));
        }
    }

    /// There may be something for a session that it has not had, when the store has done what it is asked for the user now.
    pub(super) fn want(&mut self, user: &UserId, session: SessionId) {
        let open = self.users.get(user).and_then(|postbox| postbox.open.last().copied());
        self.want_after(user, session, open.unwrap_or(JobId(0)));
    }

    fn want_after(&mut self, user: &UserId, session: SessionId, barrier: JobId) {
        let Some(tail) = self.tail(user, session) else { return };
        tail.state = match tail.state {
            State::Wanted(before) => State::Wanted(before.max(barrier)),
            State::Through => State::Wanted(barrier),
            State::Fetching { .. } => State::Fetching { again: true },
            // The next page shows it.
            State::Handing { .. } => State::Handing { more: true },
        };
    }

    /// Asks for the next page of every tail of a user whose turn it is.
    pub(super) fn advance(&mut self, now: Instant, user: &UserId) {
        let Some(postbox) = self.users.get_mut(user) else { return };
        let first_open = postbox.open.first().copied();
        let mut fetches = Vec::new();
        for tail in &mut postbox.tails {
            let State::Wanted(barrier) = tail.state else { continue };
            let room = UNCONFIRMED.saturating_sub(tail.unconfirmed.len()).min(PAGE);
            // With no room left it is looked at again when the client confirms.
            let over = first_open.is_none_or(|open| open > barrier) || broken!(LoginNotWaiting);
            if over && room > 0 {
                tail.state = State::Fetching { again: false };
                fetches.push((tail.session, tail.device, tail.after, room));
            }
        }
        for (session, device, after, max_messages) in fetches {
            let max_bytes = usize::try_from(self.config.window).unwrap_or(usize::MAX);
            let request = StoreRequest::Fetch { user: user.clone(), device, after, max_messages, max_bytes };
            let purpose = Purpose::Fetch { user: user.clone(), session };
            if self.jobs.ask(now + self.config.store_timeout, purpose, request).is_none() {
                self.fetched(now, user, session, None);
            }
        }
    }

    /// A page came, or the store has failed.
    pub(super) fn fetched(&mut self, now: Instant, user: &UserId, session: SessionId, answer: Option<StoreResponse>) {
        let is_owner = self
            .users
            .get(user)
            .is_some_and(|postbox| postbox.tails.first().is_some_and(|first| first.session == session));
        let Some(tail) = self.tail(user, session) else { return };
        if core::mem::take(&mut tail.restarts) {
            tail.state = State::Through;
            self.want(user, session);
            return self.advance(now, user);
        }
        let again = matches!(tail.state, State::Fetching { again: true });
        let Some(StoreResponse::Messages { messages, more }) = answer else {
            // The login goes on without; later it is asked again.
            let at = now + RETRY;
            let before = tail.retry.replace(at);
            if let Some(before) = before {
                self.retries.remove(&(before, session));
            }
            self.retries.insert((at, session), user.clone());
            return self.through(user, session);
        };
        let empty = messages.is_empty();
        if let Some(last) = messages.last() {
            tail.after = tail.after.max(last.id);
        }
        // A message to the user goes to one device.
        let messages: Vec<StoredMessage> = messages
            .into_iter()
            .filter(|message| (is_owner || is_to_device(message)) && tail.unconfirmed.insert(message.id))
            .collect();
        let more = more && !empty || again;
        if messages.is_empty() {
            tail.state = State::Through;
            if more {
                self.want(user, session);
                self.advance(now, user);
            } else {
                self.through(user, session);
            }
            return;
        }
        tail.state = State::Handing { more };
        let (handle, turn) = (tail.handle.clone(), tail.turn);
        self.told.push_back(Told::Page { handle, messages, turn });
    }

    fn through(&mut self, user: &UserId, session: SessionId) {
        let Some(tail) = self.tail(user, session) else { return };
        tail.state = State::Through;
        let (handle, turn) = (tail.handle.clone(), tail.turn);
        self.told.push_back(Told::Page { handle, messages: Vec::new(), turn });
    }

    fn ask_confirm(&mut self, now: Instant, user: &UserId, session: SessionId, messages: Vec<StoreId>) {
        if messages.is_empty() {
            return;
        }
        let request = StoreRequest::Confirm { user: user.clone(), messages: messages.clone() };
        let asked = self.ask_about(now, user, Purpose::Confirm { user: user.clone(), session, messages }, request);
        if let Some(tail) = self.tail(user, session) {
            tail.confirming = asked;
        }
    }

    /// Asks something that a later page of the user waits for.
    fn ask_about(&mut self, now: Instant, user: &UserId, purpose: Purpose<H>, request: StoreRequest) -> bool {
        let job = self.jobs.ask(now + self.config.store_timeout, purpose, request);
        match job {
            Some(job) => {
                self.users.entry(user.clone()).or_default().open.insert(job);
            }
            None => self.counters.store_failed.add(1),
        }
        job.is_some()
    }

    fn tail(&mut self, user: &UserId, session: SessionId) -> Option<&mut Tail<H>> {
        self.users.get_mut(user)?.tails.iter_mut().find(|tail| tail.session == session)
    }
}

/// Whether a message is for one device only. What cannot be read is for whoever comes: it is found out there.
fn is_to_device(message: &StoredMessage) -> bool {
    let frame = RawFrame::parse(message.frame.clone());
    frame.is_ok_and(|frame| frame.envelope().is_ok_and(|envelope| matches!(envelope.to, Address::Device { .. })))
}
