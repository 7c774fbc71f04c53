//! Blobs on their way: offers, fragments and what is held of them. Shared access only.

use alloc::{boxed::Box, vec::Vec};
use core::time::Duration;

use super::{Fanout, Hub, Login, Missed, Party, Passing, Progress, Reach, Sender, Targets, Whose, fanout::ToGroup};
use crate::{
    failure::Failure,
    ids::{Engine, GroupId, SessionId, Source, UserId},
    server::{Copies, HubEvent, Open, Passage},
    session::blob::{GROUP_RECEIVERS, MAX_BLOB_NAME},
    time::Instant,
    wire::{Address, Envelope, Frame, Header, Hop, Kind, RawFrame},
};

/// A blob takes as long as it takes: its receivers' progress is watched instead (ESF-346).
const NO_END: Duration = Duration::from_secs(1 << 40);

/// Who sends a blob.
#[derive(Debug)]
pub(crate) struct BlobSender<'a> {
    pub(crate) session: SessionId,
    pub(crate) origin: SessionId,
    pub(crate) source: &'a Source,
}

/// A receiver that made no progress, as its sender's session found it.
#[derive(Debug)]
pub(super) struct SlowReceiver {
    pub(super) stream: u64,
    pub(super) id: u64,
    pub(super) session: SessionId,
    pub(super) engine: Engine,
    pub(super) only: bool,
}

impl<H: Clone> Hub<H> {
    /// Somebody sends a blob: an entry for its outcome, a stream at the sender, a place at every receiver.
    pub(super) fn relay_offer(
        &self,
        now: Instant,
        sender: &Sender<'_, H>,
        passing: &Passing<'_>,
        reach: &impl Reach<H>,
    ) {
        let source = match sender.engine {
            Some(engine) => Source::Engine(engine.clone()),
            None => Source::Server(self.server),
        };
        let by = BlobSender { session: sender.session, origin: sender.origin, source: &source };
        let &Passing { frame, kind, to, id } = passing;
        let Ok(Frame::BlobOffer { stream, total, name, .. }) = frame.decode() else { return };
        let refused = |failure| {
            self.refuse(sender, passing, failure, reach);
        };
        if name.len() > MAX_BLOB_NAME {
            return refused(Failure::TooLarge);
        }
        let logins: Vec<&Login<H>> = match self.targets(&to) {
            Targets::None => return refused(Failure::Offline),
            Targets::One(login) => alloc::vec![login],
            // Not to the device that sends it.
            Targets::Many(logins) => logins.into_iter().filter(|login| login.origin != sender.origin).collect(),
        };
        let asked = reach.visit(sender.outbox, |outbox| {
            if !outbox.streams_out.admits(stream, id) {
                return Err(Failure::Busy);
            }
            let room = outbox.answer_room(&to);
            let copies = match logins.as_slice() {
                [one] => Copies::One(one.origin),
                many => Copies::Many(many.iter().map(|login| login.origin).collect()),
            };
            outbox.ask(Open::new(id, kind, copies, now + NO_END, room, 0))?;
            let receivers = logins.iter().filter_map(|login| Some((login.origin, engine_of(&to, login)?)));
            outbox.streams_out.open(now, stream, id, total, receivers);
            Ok(())
        });
        if let Err(failure) = asked {
            return refused(failure);
        }
        for login in logins {
            let taken =
                reach.visit(Whose::Session(&login.handle), |outbox| outbox.offer_blob(now, frame, stream, id, &by));
            match taken {
                Ok(()) => self.counters.relayed.add(1),
                Err(failure) => {
                    reach.visit(sender.outbox, |outbox| outbox.copy_failed(id, login.origin, failure, false));
                }
            }
        }
    }

    /// Somebody sends a blob to a group: an entry for its outcome and a stream. Who receives it is known when it is
    /// carried on (ESF-349).
    pub(super) fn offer_to_group(
        &self,
        now: Instant,
        sender: &Sender<'_, H>,
        frame: &RawFrame,
        reach: &impl Reach<H>,
    ) -> Option<HubEvent> {
        let Ok(Frame::BlobOffer { envelope, stream, total, name, .. }) = frame.decode() else { return None };
        let Address::Group { group } = envelope.to else { return None };
        let (group, id, to) = (GroupId::parse(group).ok()?, envelope.id, envelope.to);
        let passing = Passing { frame, kind: Kind::BlobOffer, to, id };
        if name.len() > MAX_BLOB_NAME {
            self.refuse(sender, &passing, Failure::TooLarge, reach);
            return None;
        }
        let asked = reach.visit(sender.outbox, |outbox| {
            if !outbox.streams_out.admits(stream, id) {
                return Err(Failure::Busy);
            }
            let room = outbox.answer_room(&to);
            outbox.ask(Open::new(id, Kind::BlobOffer, Copies::Group { whole: false }, now + NO_END, room, 0))?;
            outbox.streams_out.open_to_group(stream, id, group, total);
            Ok(())
        });
        if let Err(failure) = asked {
            self.refuse(sender, &passing, failure, reach);
            return None;
        }
        let blob = Fanout::blob(frame, id, stream, sender.session, sender.origin, sender.engine.cloned())?;
        Some(HubEvent::Broadcast(Box::new(blob)))
    }

    /// Offers a blob to the members of its group that are online. They are no more than one slice.
    pub(super) fn offer_to_members(
        &self,
        now: Instant,
        blob: &ToGroup,
        reach: &impl Reach<H>,
        missed: &mut impl FnMut(Missed),
    ) -> Progress {
        let ToGroup { group, frame, id, stream, by, origin, from } = blob;
        let source = from.as_ref().map_or(Source::Server(self.server), |from| Source::Engine(from.clone()));
        let Some(whose) = self.find(&source) else { return Progress::Done };
        let ended = |outcome| {
            reach.visit(whose, |outbox| outbox.end_group_blob(*id, outcome));
            Progress::Done
        };
        if let Some(engine) = from {
            let person = self.people.get(&engine.user);
            if person.and_then(|person| person.social.as_ref()).is_some_and(|social| social.is_awaited()) {
                return Progress::Waits;
            }
            if !self.is_in(&engine.user, group) {
                self.counters.not_allowed.add(1);
                return ended(Err(Failure::NotAllowed));
            }
        }
        let sender = from.as_ref().map(|engine| &engine.user);
        let seats = self.groups.get(group).into_iter().flat_map(|group| group.seats.keys());
        let seats = seats.filter(|(user, _)| Some(user) != sender).take(GROUP_RECEIVERS + 1);
        let members = seats.filter_map(|(user, session)| {
            let mut devices = self.people.get(user)?.devices.iter();
            Some((user, devices.find(|login| login.session == *session)?))
        });
        let members: Vec<(&UserId, &Login<H>)> = members.collect();
        if members.len() > GROUP_RECEIVERS {
            return ended(Err(Failure::TooLarge));
        }
        if members.is_empty() {
            // Those who had a part of it may be back soon.
            let again = frame.hop().contains(Hop::AGAIN);
            return ended(if again { Err(Failure::Offline) } else { Ok(()) });
        }
        let receivers = members.iter().map(|(user, login)| {
            let engine = Engine { user: (*user).clone(), device: login.device, instance: login.instance };
            (login.origin, engine)
        });
        let receivers = receivers.collect();
        if !reach.visit(whose, |outbox| outbox.streams_out.receivers(now, *id, receivers)) {
            // It was taken back.
            return Progress::Done;
        }
        self.counters.broadcasts.add(1);
        let sender = BlobSender { session: *by, origin: *origin, source: &source };
        for (_, login) in members {
            let taken = reach
                .visit(Whose::Session(&login.handle), |outbox| outbox.offer_blob(now, frame, *stream, *id, &sender));
            match taken {
                Ok(()) => self.counters.relayed.add(1),
                Err(failure) => {
                    if let Some(one) = self.copy_failed(whose, *id, login.origin, failure, false, reach) {
                        missed(*one);
                    }
                }
            }
        }
        Progress::Done
    }

    /// A receiver came to nothing with what somebody sent: who missed it, if it is a member of a group and a blob.
    pub(super) fn copy_failed(
        &self,
        whose: Whose<'_, H>,
        id: u64,
        receiver: SessionId,
        failure: Failure,
        handed_out: bool,
        reach: &impl Reach<H>,
    ) -> Option<Box<Missed>> {
        let missed = reach.visit(whose, |outbox| {
            outbox.copy_failed(id, receiver, failure, handed_out);
            outbox.take_missed()
        });
        self.counters.broadcasts_missed.add(missed.is_some().into());
        missed
    }

    /// A fragment of a stream that this session's client sends.
    pub(super) fn fragment(
        &self,
        now: Instant,
        sender: &Sender<'_, H>,
        frame: &RawFrame,
        reach: &impl Reach<H>,
    ) -> Option<HubEvent> {
        let Ok(Frame::Fragment { stream, offset, data, .. }) = frame.decode() else { return None };
        let own = sender.outbox;
        match reach.visit(own, |outbox| outbox.pass(now, stream, offset, data.len())) {
            Passage::To { engines, shared } => {
                self.counters.fragments.add(1);
                let alone = if shared { frame.kept() } else { frame.clone() };
                for engine in engines {
                    self.visit_engine(&engine, reach, |outbox| {
                        outbox.push_fragment(stream, sender.origin, &alone, shared);
                    });
                }
            }
            Passage::Nothing => self.counters.fragments_ignored.add(1),
            Passage::Violation => return Some(HubEvent::Violation),
            Passage::PastEnd(id) => self.break_off(sender, stream, id, Failure::Malformed, reach),
        }
        None
    }

    /// This session's client holds a part of a stream that somebody sends to it.
    pub(super) fn credit(
        &self,
        now: Instant,
        party: &Party<'_, H>,
        stream: u64,
        offset: u64,
        reach: &impl Reach<H>,
    ) -> Option<HubEvent> {
        let heard = reach.visit(Whose::Session(party.handle), |outbox| outbox.credit(stream, offset));
        match heard {
            Ok(Some(source)) => {
                if let Some(whose) = self.find(&source) {
                    reach.visit(whose, |outbox| outbox.progress(now, stream, party.origin, offset));
                }
                None
            }
            Ok(None) => {
                self.counters.credits_ignored.add(1);
                None
            }
            Err(_) => Some(HubEvent::Violation),
        }
    }

    /// The sender says that everything was sent: whoever receives it hears it.
    pub(super) fn relay_end(&self, sender: &Sender<'_, H>, frame: &RawFrame, reach: &impl Reach<H>) {
        let Ok(Frame::BlobEnd { stream, total, .. }) = frame.decode() else { return };
        match reach.visit(sender.outbox, |outbox| outbox.streams_out.end(stream, total)) {
            Ok(engines) => {
                for engine in engines {
                    self.visit_engine(&engine, reach, |outbox| outbox.tell_beyond_budget(frame.bytes().clone()));
                }
            }
            Err(Some(id)) => self.break_off(sender, stream, id, Failure::Malformed, reach),
            Err(None) => self.counters.fragments_ignored.add(1),
        }
    }

    /// The sender takes a blob back: whoever receives it hears it, and nobody waits for its outcome.
    pub(super) fn relay_cancel(&self, sender: &Sender<'_, H>, frame: &RawFrame, reach: &impl Reach<H>) {
        let Ok(Frame::BlobCancel { envelope, stream, .. }) = frame.decode() else { return };
        let engines = reach.visit(sender.outbox, |outbox| {
            // Those who receive the stream know it by the id of its offer: under another one nobody would let go of it.
            if outbox.streams_out.is_of_another(stream, envelope.id) {
                return None;
            }
            outbox.forget(envelope.id);
            Some(outbox.remove_stream(stream))
        });
        let Some(engines) = engines else { return self.counters.fragments_ignored.add(1) };
        for engine in engines {
            self.visit_engine(&engine, reach, |outbox| {
                outbox.drop_stream(sender.origin, envelope.id);
                outbox.tell_beyond_budget(frame.bytes().clone());
            });
        }
    }

    /// A receiver made no progress: it is cut out, unless it is the only one and away.
    pub(super) fn too_slow(
        &self,
        sender: &Sender<'_, H>,
        slow: SlowReceiver,
        reach: &impl Reach<H>,
    ) -> Option<HubEvent> {
        let SlowReceiver { stream, id, session, engine, only } = slow;
        if only && self.is_away(&engine) {
            return None;
        }
        self.counters.streams_too_slow.add(1);
        self.cut(sender, stream, id, Failure::TooSlow, alloc::vec![engine], reach);
        let own = sender.outbox;
        self.copy_failed(own, id, session, Failure::TooSlow, false, reach).map(HubEvent::Missed)
    }

    /// Ends a blob for what its sender did.
    fn break_off(&self, sender: &Sender<'_, H>, stream: u64, id: u64, failure: Failure, reach: &impl Reach<H>) {
        let engines = reach.visit(sender.outbox, |outbox| {
            outbox.fail_open(id, failure);
            outbox.remove_stream(stream)
        });
        self.cut(sender, stream, id, failure, engines, reach);
    }

    /// Takes a stream from those who receive it, and says why in the server's name.
    pub(super) fn cut(
        &self,
        sender: &Sender<'_, H>,
        stream: u64,
        id: u64,
        code: Failure,
        receivers: Vec<Engine>,
        reach: &impl Reach<H>,
    ) {
        for engine in receivers {
            let envelope = Envelope::new(Address::of_engine(&engine), Address::Server { instance: self.server.0 }, id);
            let frame = Frame::BlobCancel { envelope, stream, code }.to_bytes(Header::default());
            self.visit_engine(&engine, reach, |outbox| {
                if outbox.drop_stream(sender.origin, id) {
                    if let Ok(frame) = frame {
                        outbox.tell_beyond_budget(frame);
                    }
                }
            });
        }
    }

    fn visit_engine(&self, engine: &Engine, reach: &impl Reach<H>, visit: impl FnOnce(&mut crate::server::Outbox)) {
        if let Some(whose) = self.find_instance(&engine.user, engine.device, engine.instance) {
            reach.visit(whose, visit);
        }
    }

    /// Whether an engine has no link now.
    fn is_away(&self, engine: &Engine) -> bool {
        let person = self.people.get(&*engine.user);
        let mut logins = person.into_iter().flat_map(|person| &person.devices);
        let login = logins.find(|login| login.device == engine.device && login.instance == engine.instance);
        login.is_some_and(|login| login.window.is_some())
    }
}

fn engine_of<H>(to: &Address<'_>, login: &Login<H>) -> Option<Engine> {
    let user = UserId::parse(to.user()?, u8::MAX).ok()?;
    Some(Engine { user, device: login.device, instance: login.instance })
}

#[cfg(test)]
mod tests;
