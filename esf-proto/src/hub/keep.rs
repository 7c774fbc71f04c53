//! Messages that nobody takes now and that are to be kept: from a sender or from the outbox of somebody who is gone into
//! the mail, and the outcome back (ESF-331, ESF-351, ESF-352).

use super::{Hub, Party, Passing, Reach, Sender, mail::Letter};
use crate::{
    failure::Failure,
    ids::{Engine, InstanceId, SessionId, Source, UserId},
    server::{Copies, HubEvent, Open, Outbox, SERVER, Ticket},
    store::STORED_ROOM,
    time::Instant,
    wire::{Address, Envelope, Flags, Kind, RawFrame},
};

impl<H: Clone> Hub<H> {
    /// Whether a message is to be kept if nobody takes it.
    pub(super) fn is_storable(&self, passing: &Passing<'_>) -> bool {
        passing.kind == Kind::Certain
            && passing.frame.flags().contains(Flags::STORE)
            && self.config.keeps_messages
            && matches!(passing.to, Address::User { .. } | Address::Device { .. })
    }

    /// Whether it is too large to come out of the store again.
    pub(super) fn is_too_large_to_keep(&self, frame: &RawFrame) -> bool {
        let limit = usize::try_from(self.config.max_frame).unwrap_or(usize::MAX);
        frame.len().saturating_add(STORED_ROOM) > limit
    }

    /// Nobody is there to take a message: it is kept.
    pub(super) fn keep(
        &self,
        now: Instant,
        sender: &Sender<'_, H>,
        passing: &Passing<'_>,
        deadline: Instant,
        reach: &impl Reach<H>,
    ) -> Result<(), Failure> {
        let frame = passing.frame;
        let letter = frame.envelope().ok().and_then(|of| Letter::new(&of, frame.kept().into_bytes()));
        let letter = letter.ok_or(Failure::Offline)?;
        let source = match sender.engine {
            Some(engine) => Source::Engine(engine.clone()),
            None => Source::Server(self.server),
        };
        // The entry is there first: the answer may come from another thread at once.
        reach.visit(sender.outbox, |outbox| {
            let room = outbox.answer_room(&passing.to);
            outbox.ask(Open::new(passing.id, Kind::Certain, Copies::One(SERVER), deadline, room, 0))
        })?;
        let kept = reach.mail(|mail| mail.put(now, Some(source), letter)).unwrap_or(Err(Failure::Offline));
        if let Err(failure) = kept {
            reach.visit(sender.outbox, |outbox| outbox.copy_failed(passing.id, SERVER, failure, false));
        }
        Ok(())
    }

    /// The copy that a session held of a message comes to nothing. If it was the last, the message is kept; if its sender
    /// is gone too, it is kept in any case, since nobody knows, and under its key it is there once.
    pub(super) fn keep_copy(
        &self,
        now: Instant,
        frame: &RawFrame,
        holder: SessionId,
        handed_out: bool,
        reach: &impl Reach<H>,
    ) {
        let Ok(envelope) = frame.envelope() else { return };
        let (Some(letter), Some(source)) = (Letter::new(&envelope, frame.kept().into_bytes()), source_of(&envelope))
        else {
            return;
        };
        let asker = self.find(&source);
        let is_last =
            asker.is_none_or(|asker| reach.visit(asker, |outbox| outbox.keep_copy(envelope.id, holder, handed_out)));
        if !is_last {
            return;
        }
        let kept = reach.mail(|mail| mail.put(now, Some(source.clone()), letter)).unwrap_or(Err(Failure::Offline));
        if let (Err(failure), Some(asker)) = (kept, asker) {
            reach.visit(asker, |outbox| outbox.copy_failed(envelope.id, SERVER, failure, handed_out));
        }
    }

    /// Stores what was taken back from the outbox of a session.
    pub(super) fn withdraw(&self, now: Instant, party: &Party<'_, H>, reach: &impl Reach<H>) {
        let own = || super::Whose::Session(party.handle);
        while let Some(withdrawn) = reach.visit(own(), Outbox::pop_withdrawn) {
            if let Ok(frame) = RawFrame::parse(withdrawn.frame) {
                self.keep_copy(now, &frame, party.origin, withdrawn.handed_out, reach);
            }
        }
        let (turn, watch) = reach.visit(own(), |outbox| (outbox.withdrawals(), outbox.take_watch()));
        reach.mail(|mail| {
            if let Some(turn) = turn {
                mail.refetch(now, &party.engine.user, party.session, turn);
            }
            if let Some(at) = watch {
                mail.watch(at, party.session, party.handle.clone());
            }
        });
    }

    /// A session waits whether the store has a message of its client already.
    pub(super) fn look_up(
        &self,
        now: Instant,
        party: &Party<'_, H>,
        ticket: Ticket,
        frame: &RawFrame,
        reach: &impl Reach<H>,
    ) -> Option<HubEvent> {
        let envelope = frame.envelope().ok()?;
        let id = envelope.id;
        let Some(sought) = Letter::new(&envelope, frame.kept().into_bytes()) else {
            return Some(HubEvent::LookedUp { ticket, id, found: Some(false) });
        };
        match reach.mail(|mail| mail.find(now, party.handle.clone(), ticket, sought)) {
            Some(true) => None,
            // Too much is under way: as if the store had failed.
            Some(false) => Some(HubEvent::LookedUp { ticket, id, found: None }),
            None => Some(HubEvent::LookedUp { ticket, id, found: Some(false) }),
        }
    }

    /// The store has said what became of a message: its sender hears it, if it still waits.
    pub fn tell_kept(&self, asker: &Source, id: u64, outcome: Result<(), Failure>, reach: &impl Reach<H>) {
        let Some(whose) = self.find(asker) else { return };
        reach.visit(whose, |outbox| match outcome {
            Ok(()) => outbox.accepted(id),
            Err(failure) => {
                outbox.copy_failed(id, SERVER, failure, false);
            }
        });
    }

    /// Whether this session of a user takes messages and is still there.
    #[must_use]
    pub fn has_device(&self, engine: &Engine, session: SessionId) -> bool {
        let person = self.people.get(&*engine.user);
        person.is_some_and(|person| person.devices.iter().any(|login| login.session == session))
    }
}

/// Who sent a frame of this envelope.
fn source_of(envelope: &Envelope<'_>) -> Option<Source> {
    match envelope.from {
        Address::Engine { user, device, instance } => {
            let user = UserId::parse(user, u8::MAX).ok()?;
            Some(Source::Engine(Engine { user, device, instance }))
        }
        Address::Server { instance } => Some(Source::Server(InstanceId(instance))),
        _ => None,
    }
}
