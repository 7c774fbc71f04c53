//! Messages for those who are not there, at a node: what they ask of its store, and what comes back.

use esf_proto::{
    hub::{Mail, Receiver, Told},
    store::{JobId, StoreFailed, StoreId, StoreRequest, StoreResponse},
    time::Instant,
};

use super::{
    Node,
    cell::{Cell, Outboxes},
    lock,
};
use crate::sync::{Arc, MutexGuard};

impl Node {
    /// A session that takes messages got its place, and those that it replaced have ended.
    pub(super) fn open_tail(&self, now: Instant, cell: &Arc<Cell>) {
        // While the directory stands still: what ends later is told later.
        let hub = self.hub();
        if hub.has_device(cell.engine(), cell.session_id()) {
            let receiver = Receiver { session: cell.session_id(), engine: cell.engine(), handle: cell };
            self.with_mail(|mail| mail.open_tail(now, &receiver));
        }
        drop(hub);
        self.do_told(now);
    }

    /// A session has ended and is in the directory no more.
    pub(super) fn close_tail(&self, now: Instant, cell: &Cell, unsent: &[StoreId]) {
        let closed = self.with_mail(|mail| mail.close_tail(now, &cell.engine().user, cell.session_id(), unsent));
        if closed.is_some() {
            self.do_told(now);
        }
    }

    /// Runs `visit` on the mail, and wakes whoever has to do something then. The caller does what it has for others.
    fn with_mail<R>(&self, visit: impl FnOnce(&mut Mail<Arc<Cell>>) -> R) -> Option<R> {
        self.visit_mail(visit, false)
    }

    /// The same where locks are held: the housekeeper does what is to be done.
    pub(super) fn with_mail_locked<R>(&self, visit: impl FnOnce(&mut Mail<Arc<Cell>>) -> R) -> Option<R> {
        self.visit_mail(visit, true)
    }

    fn visit_mail<R>(&self, visit: impl FnOnce(&mut Mail<Arc<Cell>>) -> R, locked: bool) -> Option<R> {
        let mut mail = lock(self.mail.as_ref()?);
        let result = visit(&mut mail);
        let asks = mail.has_request();
        let changed = mail.take_changed() | (locked && mail.has_told());
        drop(mail);
        if asks {
            self.wake_store();
        }
        if changed {
            self.wake_housekeeper();
        }
        Some(result)
    }

    pub(super) fn poll_mail_request(&self) -> Option<(JobId, StoreRequest)> {
        self.lock_mail()?.poll_request()
    }

    pub(super) fn handle_mail_response(&self, now: Instant, job: JobId, answer: Result<StoreResponse, StoreFailed>) {
        self.with_mail(|mail| mail.handle_response(now, job, answer));
        self.do_told(now);
    }

    pub(super) fn mail_timeout(&self) -> Option<Instant> {
        let mail = self.lock_mail()?;
        if mail.has_told() { Some(Instant::ZERO) } else { mail.poll_timeout() }
    }

    pub(super) fn mail_timed_out(&self, now: Instant) {
        if self.lock_mail().is_some_and(|mail| mail.has_told() || mail.poll_timeout().is_some_and(|at| at <= now)) {
            self.with_mail(|mail| mail.handle_timeout(now));
            self.do_told(now);
        }
    }

    /// Does what the mail has for others; called with no lock held.
    fn do_told(&self, now: Instant) {
        while let Some(told) = self.lock_mail().and_then(|mut mail| mail.poll_told()) {
            match told {
                Told::Kept { asker, id, outcome } => self.hub().tell_kept(&asker, id, outcome, &Outboxes(self)),
                Told::Found { handle, ticket, id, found } => {
                    handle.with_session(self, now, |session| session.looked_up(now, ticket, id, found));
                }
                Told::Page { handle, messages, turn } => handle.visit(|outbox| outbox.put_stored(&messages, turn)),
                Told::Confirmed { handle, messages } => handle.visit(|outbox| outbox.tell_confirmed(&messages)),
                Told::Withdraw { handle } => {
                    handle.with(self, now, |session, outbox| session.withdraw(now, outbox));
                }
            }
        }
    }

    fn lock_mail(&self) -> Option<MutexGuard<'_, Mail<Arc<Cell>>>> {
        self.mail.as_ref().map(lock)
    }
}
