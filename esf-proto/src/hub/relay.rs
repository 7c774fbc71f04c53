//! Where a frame goes, and who is told when it goes nowhere. Shared access only.

use alloc::{boxed::Box, vec::Vec};

use super::{Fanout, Hub, Login, Missed, Party, Reach, Sender, Whose, streams::SlowReceiver};
use crate::{
    failure::Failure,
    ids::{DeviceKind, InstanceId, Source, UserId},
    server::{Copies, HubCommand, HubEvent, Open, Repeat, SERVER, Session},
    session::inbound::{IncomingQuery, QueryToken},
    time::{Instant, UnixMillis},
    wire::{Address, Flags, Frame, Kind, Method, RawFrame, Route},
};

/// Whom a frame is for.
pub(super) enum Targets<'a, H> {
    None,
    One(&'a Login<H>),
    Many(Vec<&'a Login<H>>),
}

/// A frame on its way, with what was read of it.
pub(super) struct Passing<'a> {
    pub(super) frame: &'a RawFrame,
    pub(super) kind: Kind,
    pub(super) to: Address<'a>,
    pub(super) id: u64,
}

impl<H: Clone> Hub<H> {
    /// Does all that a session wants, for a server whose application does not watch: see [`carry_out`](Self::carry_out).
    /// `handle` is the session's own.
    pub fn settle(&self, now: Instant, session: &mut Session, handle: &H, reach: &impl Reach<H>) {
        let (id, origin, engine) = (session.id(), session.origin(), session.engine().clone());
        let party = Party { session: id, origin, engine: &engine, rights: session.rights(), handle };
        while let Some(command) = session.poll_hub() {
            match self.carry_out(now, &party, command, reach) {
                Some(HubEvent::Broadcast(fanout)) => self.carry_out_all(now, *fanout, reach),
                Some(event) => session.handle_hub(event),
                None => {}
            }
        }
    }

    /// Does what a session wants, now, and says what the session is to hear of it. Called under the session's lock;
    /// outboxes are locked one at a time.
    pub fn carry_out(
        &self,
        now: Instant,
        party: &Party<'_, H>,
        command: HubCommand,
        reach: &impl Reach<H>,
    ) -> Option<HubEvent> {
        match command {
            HubCommand::Fragment(frame) => self.fragment(now, &party.sender(), &frame, reach),
            HubCommand::Credit { stream, offset } => self.credit(now, party, stream, offset, reach),
            HubCommand::TooSlow { stream, id, session, engine, only } => {
                self.too_slow(&party.sender(), SlowReceiver { stream, id, session, engine, only }, reach)
            }
            HubCommand::SenderGone { stream, id, failure, receivers } => {
                self.cut(&party.sender(), stream, id, failure, receivers, reach);
                None
            }
            HubCommand::Relay { frame, .. } if frame.kind() == Some(Kind::BlobEnd) => {
                self.relay_end(&party.sender(), &frame, reach);
                None
            }
            HubCommand::Relay { frame, .. } if frame.kind() == Some(Kind::BlobCancel) => {
                self.relay_cancel(&party.sender(), &frame, reach);
                None
            }
            HubCommand::Relay { frame, route } => match self.relay(now, &party.sender(), &frame, &route, reach) {
                Ok(missed) => missed.map(HubEvent::Missed),
                Err(failure) => failed(frame, failure),
            },
            HubCommand::Judge { ticket, frame } => Some(HubEvent::Judge { ticket, frame }),
            HubCommand::LookUp { ticket, frame } => self.look_up(now, party, ticket, &frame, reach),
            HubCommand::Withdraw => {
                self.withdraw(now, party, reach);
                None
            }
            HubCommand::TailDrained => {
                reach.mail(|mail| mail.tail_drained(now, &party.engine.user, party.session));
                None
            }
            HubCommand::Confirm(id) => {
                reach.mail(|mail| mail.confirm(now, &party.engine.user, party.session, id));
                None
            }
            HubCommand::Echo(frame) => {
                self.echo(now, &party.sender(), &frame, reach);
                None
            }
            HubCommand::Broadcast(frame) if frame.kind() == Some(Kind::BlobOffer) => {
                self.offer_to_group(now, &party.sender(), &frame, reach)
            }
            HubCommand::Broadcast(frame) => Fanout::broadcast(&frame, party.session, Some(party.engine.clone()))
                .map(|fanout| HubEvent::Broadcast(Box::new(fanout))),
            HubCommand::Ask(frame) => self.ask(now, party, &frame, reach),
            HubCommand::Tell { frame, charged } => {
                reach.visit(Whose::Session(party.handle), |outbox| outbox.tell(frame, charged));
                None
            }
            HubCommand::TellOfBlob(frame) => {
                reach.visit(Whose::Session(party.handle), |outbox| outbox.tell_of_blob(frame));
                None
            }
            HubCommand::Refuse { id, failure } => {
                reach.visit(Whose::Session(party.handle), |outbox| outbox.copy_failed(id, SERVER, failure, false));
                None
            }
            HubCommand::Lost { frame, failure } => {
                self.tell_sender(&frame, failure, reach);
                Some(HubEvent::TransmitFailed { frame, failure })
            }
            HubCommand::CopyFailed { asker, id, failure, handed_out } => {
                let whose = self.find(&asker)?;
                self.copy_failed(whose, id, party.origin, failure, handed_out, reach).map(HubEvent::Missed)
            }
        }
    }

    /// A plain message that a [`Way`](super::Way) did not bring anywhere: tells its sender if that wants to know.
    pub fn refused(
        &self,
        party: &Party<'_, H>,
        message: Repeat,
        failure: Failure,
        reach: &impl Reach<H>,
    ) -> Option<HubEvent> {
        let Repeat { frame, route, .. } = message;
        let passing = Passing { frame: &frame, kind: Kind::Send, to: frame.address(&route)?, id: route.id };
        self.refuse(&party.sender(), &passing, failure, reach);
        failed(frame, failure)
    }

    /// Sends a frame of the server itself. What its application asks is answered in the server's own outbox.
    ///
    /// # Errors
    /// Why a plain message went nowhere.
    pub fn send(&self, now: Instant, frame: &RawFrame, reach: &impl Reach<H>) -> Result<(), Failure> {
        let server = Sender { session: SERVER, origin: SERVER, engine: None, outbox: Whose::Server };
        let envelope = frame.envelope().map_err(|_| Failure::Malformed)?;
        self.relay(now, &server, frame, &Route::of(&envelope), reach).map(drop)
    }

    /// Does what the server's own end wants for the blobs that it sends.
    pub fn carry_out_of_server(&self, now: Instant, command: HubCommand, reach: &impl Reach<H>) -> Option<HubEvent> {
        let server = Sender { session: SERVER, origin: SERVER, engine: None, outbox: Whose::Server };
        match command {
            HubCommand::Broadcast(frame) => return self.offer_to_group(now, &server, &frame, reach),
            HubCommand::Fragment(frame) => return self.fragment(now, &server, &frame, reach),
            HubCommand::TooSlow { stream, id, session, engine, only } => {
                return self.too_slow(&server, SlowReceiver { stream, id, session, engine, only }, reach);
            }
            HubCommand::Relay { frame, .. } if frame.kind() == Some(Kind::BlobEnd) => {
                self.relay_end(&server, &frame, reach);
            }
            HubCommand::Relay { frame, .. } if frame.kind() == Some(Kind::BlobCancel) => {
                self.relay_cancel(&server, &frame, reach);
            }
            _ => {}
        }
        None
    }

    /// A frame for clients. Fails for a plain message that went nowhere; says who missed a blob to a group, if that is
    /// what it tells.
    fn relay(
        &self,
        now: Instant,
        sender: &Sender<'_, H>,
        frame: &RawFrame,
        route: &Route,
        reach: &impl Reach<H>,
    ) -> Result<Option<Box<Missed>>, Failure> {
        // The session has validated the frame; what does not fit here is dropped.
        let (Some(kind), Some(to)) = (frame.kind(), frame.address(route)) else { return Ok(None) };
        let passing = Passing { frame, kind, to, id: route.id };
        match kind {
            Kind::Ack | Kind::Reply | Kind::Response | Kind::Failure => {
                return Ok(self.relay_answer(sender, &passing, reach));
            }
            Kind::BlobOffer => self.relay_offer(now, sender, &passing, reach),
            Kind::Certain | Kind::Query | Kind::Request => {
                let told = self.relay_open(now, sender, &passing, reach);
                // A client has a timer of its own; the server's application learns what it has to learn here.
                if sender.session == SERVER {
                    told?;
                }
            }
            _ => self.relay_plain(now, sender, &passing, reach)?,
        }
        Ok(None)
    }

    fn relay_plain(
        &self,
        now: Instant,
        sender: &Sender<'_, H>,
        passing: &Passing<'_>,
        reach: &impl Reach<H>,
    ) -> Result<(), Failure> {
        let &Passing { frame, kind, to, .. } = passing;
        let offer = |login: &Login<H>| {
            reach.visit(Whose::Session(&login.handle), |outbox| outbox.offer(now, frame, kind, sender.session, None))
        };
        let outcome = match self.targets(&to) {
            Targets::None if matches!(to, Address::Group { .. }) => Err(Failure::NotAllowed),
            Targets::None => Err(Failure::Offline),
            Targets::One(login) => offer(login),
            // It fails when nobody's outbox took it.
            Targets::Many(logins) => logins.into_iter().map(offer).fold(Err(Failure::Offline), Result::or),
        };
        match outcome {
            Ok(()) => self.counters.relayed.add(1),
            Err(failure) => {
                self.refuse(sender, passing, failure, reach);
            }
        }
        if kind == Kind::EngineMessage && frame.flags().contains(Flags::ECHO) {
            self.echo(now, sender, frame, reach);
        }
        outcome
    }

    /// A copy for each device of the sender that is not a target anyway. Nobody is told what becomes of it (ESF-305).
    fn echo(&self, now: Instant, sender: &Sender<'_, H>, frame: &RawFrame, reach: &impl Reach<H>) {
        let (Some(engine), Ok(envelope)) = (sender.engine, frame.envelope()) else { return };
        let own = self.people.get(&*engine.user).into_iter().flat_map(|person| &person.devices);
        let others = own.filter(|login| login.session != sender.session);
        for login in others.filter(|login| !login.is_named(&engine.user, &envelope.to)) {
            let _ = reach.visit(Whose::Session(&login.handle), |outbox| {
                outbox.offer(now, frame, Kind::EngineMessage, sender.session, None)
            });
        }
    }

    /// Tells the sender of a plain message that was held for somebody, if it asked for that.
    fn tell_sender(&self, frame: &RawFrame, failure: Failure, reach: &impl Reach<H>) {
        let (Some(kind), Ok(envelope)) = (frame.kind(), frame.envelope()) else { return };
        let Address::Engine { user, device, instance } = envelope.from else { return };
        if frame.flags().contains(Flags::TELL) {
            if let Some(whose) = self.find_instance(user, device, instance) {
                reach.visit(whose, |outbox| outbox.tell_failure(envelope.id, kind, failure));
            }
        }
    }

    /// Fails if there is nobody to ask and no room to tell so.
    fn relay_open(
        &self,
        now: Instant,
        sender: &Sender<'_, H>,
        passing: &Passing<'_>,
        reach: &impl Reach<H>,
    ) -> Result<(), Failure> {
        let &Passing { frame, kind, to, id } = passing;
        let refused = |failure| match self.refuse(sender, passing, failure, reach) {
            true => Ok(()),
            false => Err(failure),
        };
        let (ttl_ms, allowed) = match frame.decode() {
            Ok(Frame::Certain { ttl_ms, .. } | Frame::Query { ttl_ms, .. }) => (ttl_ms, true),
            Ok(Frame::Request { ttl_ms, method, .. }) => (ttl_ms, method == Method::Ping as u16),
            _ => return Ok(()),
        };
        if !allowed || matches!(to, Address::Group { .. }) {
            return refused(Failure::NotAllowed);
        }
        if ttl_ms == 0 {
            return refused(Failure::TimedOut);
        }
        let storable = self.is_storable(passing);
        if storable && self.is_too_large_to_keep(frame) {
            return refused(Failure::TooLarge);
        }
        let targets = match self.targets(&to) {
            Targets::Many(mut logins) if kind != Kind::Certain && !broken!(QueryToAll) => {
                // A question goes to one device: the one that logged on last.
                logins.pop().map_or(Targets::None, Targets::One)
            }
            targets => targets,
        };
        let deadline = self.deadline(now, ttl_ms);
        let bytes = if kind == Kind::Certain { 0 } else { frame.len() };
        let entry = |copies| {
            reach.visit(sender.outbox, |outbox| {
                let room = outbox.answer_room(&to);
                outbox.ask(Open::new(id, kind, copies, deadline, room, bytes))
            })
        };
        // The entry is there before any copy is, since the answer may come from another thread at once.
        let give = |login: &Login<H>| {
            let source = sender.session;
            let (taken, watch) = reach.visit(Whose::Session(&login.handle), |outbox| {
                let taken = outbox.offer(now, frame, kind, source, Some(deadline));
                (taken, if storable { outbox.take_watch() } else { None })
            });
            if let Some(at) = watch {
                reach.mail(|mail| mail.watch(at, login.session, login.handle.clone()));
            }
            match taken {
                Ok(()) => self.counters.relayed.add(1),
                // Its session is about to go.
                Err(Failure::Offline) if storable => self.keep_copy(now, frame, login.origin, false, reach),
                Err(failure) => {
                    reach.visit(sender.outbox, |outbox| {
                        outbox.copy_failed(id, login.origin, failure, false);
                    });
                }
            }
        };
        match targets {
            Targets::None if storable => {
                if let Err(failure) = self.keep(now, sender, passing, deadline, reach) {
                    return refused(failure);
                }
            }
            Targets::None => return refused(Failure::Offline),
            Targets::One(login) => match entry(Copies::One(login.origin)) {
                Ok(()) => give(login),
                Err(failure) => return refused(failure),
            },
            Targets::Many(logins) => match entry(Copies::Many(logins.iter().map(|login| login.origin).collect())) {
                Ok(()) => logins.into_iter().for_each(give),
                Err(failure) => return refused(failure),
            },
        }
        Ok(())
    }

    /// An ack, reply, response or failure goes to the engine that asked; its outbox knows whether it did.
    fn relay_answer(
        &self,
        sender: &Sender<'_, H>,
        passing: &Passing<'_>,
        reach: &impl Reach<H>,
    ) -> Option<Box<Missed>> {
        let &Passing { frame, kind, to, id } = passing;
        let asker = match to {
            Address::Engine { user, device, instance } => self.find_instance(user, device, instance),
            Address::Server { instance } if instance == self.server.0 => Some(Whose::Server),
            _ => None,
        };
        let (told, missed) = asker.map_or((false, None), |asker| {
            reach.visit(asker, |outbox| {
                let of_blob = outbox.is_blob(id);
                let told = match frame.decode() {
                    Ok(Frame::Failure { code, .. }) => outbox.copy_failed(id, sender.origin, code, false),
                    _ => outbox.answer(frame, kind, id, sender.origin),
                };
                if !told && !of_blob {
                    self.counters.answers_unasked.add(1);
                }
                (told && !of_blob, outbox.take_missed())
            })
        });
        if !told {
            // It may be about a blob, of which it has what it wanted, or about one that nobody waits for any more.
            reach.visit(sender.outbox, |outbox| outbox.drop_answered(&to, id));
        }
        if asker.is_none() {
            self.counters.answers_unasked.add(1);
        }
        self.counters.broadcasts_missed.add(missed.is_some().into());
        missed
    }

    /// A query for the server's application, or a request to the server.
    fn ask(&self, now: Instant, party: &Party<'_, H>, frame: &RawFrame, reach: &impl Reach<H>) -> Option<HubEvent> {
        let (kind, envelope) = (frame.kind()?, frame.envelope().ok()?);
        let decoded = frame.decode().ok()?;
        let ttl_ms = match decoded {
            Frame::Query { ttl_ms, .. } | Frame::Request { ttl_ms, .. } => ttl_ms,
            _ => return None,
        };
        let passing = Passing { frame, kind, to: envelope.to, id: envelope.id };
        if ttl_ms == 0 {
            self.refuse(&party.sender(), &passing, Failure::TimedOut, reach);
            return None;
        }
        let asked = reach.visit(Whose::Session(party.handle), |outbox| {
            let room = outbox.answer_room(&envelope.to);
            let copies = Copies::One(SERVER);
            let deadline = self.deadline(now, ttl_ms);
            outbox.ask(Open::new(envelope.id, kind, copies, deadline, room, frame.len()))
        });
        if let Err(failure) = asked {
            self.refuse(&party.sender(), &passing, failure, reach);
            return None;
        }
        match decoded {
            Frame::Query { info_type, body, .. } => Some(HubEvent::Query(IncomingQuery {
                token: QueryToken(envelope.id),
                source: Source::Engine(party.engine.clone()),
                info_type,
                body: frame.keep(body),
                sent_at: frame.sender_time().map(UnixMillis),
            })),
            Frame::Request { method, cursor, body, .. } => {
                self.request(party, envelope.id, method, cursor, body, reach)
            }
            _ => None,
        }
    }

    /// Tells the sender of a frame that it went nowhere, if the frame is one that waits for an outcome; says whether
    /// it was told.
    pub(super) fn refuse(
        &self,
        sender: &Sender<'_, H>,
        passing: &Passing<'_>,
        failure: Failure,
        reach: &impl Reach<H>,
    ) -> bool {
        let &Passing { frame, kind, id, .. } = passing;
        match failure {
            Failure::Offline => self.counters.offline.add(1),
            Failure::NotAllowed => self.counters.not_allowed.add(1),
            Failure::TimedOut => self.counters.expired.add(1),
            _ => {}
        }
        let waits = matches!(kind, Kind::Certain | Kind::Query | Kind::Request | Kind::BlobOffer);
        let told = waits || frame.flags().contains(Flags::TELL);
        told && reach.visit(sender.outbox, |outbox| outbox.tell_failure(id, kind, failure))
    }

    /// The logins that an address names. A user who is on with several devices is all of them.
    pub(super) fn targets(&self, to: &Address<'_>) -> Targets<'_, H> {
        let Some(person) = to.user().and_then(|user| self.people.get(user)) else { return Targets::None };
        let found = match *to {
            Address::User { .. } => match person.devices.as_slice() {
                [] => None,
                [one] => Some(one),
                [.., last] if broken!(LastDeviceOnly) => Some(last),
                many => return Targets::Many(many.iter().collect()),
            },
            Address::Device { device, .. } => person.devices.iter().find(|login| login.device == device),
            Address::Engine { device, instance, .. } => {
                person.devices.iter().find(|login| login.device == device && login.instance == instance)
            }
            Address::Server { .. } | Address::Group { .. } => None,
        };
        found.map_or(Targets::None, Targets::One)
    }

    /// The outbox of whoever sent something.
    pub(super) fn find(&self, source: &Source) -> Option<Whose<'_, H>> {
        match source {
            Source::Engine(engine) => self.find_instance(&engine.user, engine.device, engine.instance),
            Source::Server(instance) => (*instance == self.server).then_some(Whose::Server),
        }
    }

    /// The outbox of an engine, whether it takes messages or not: where answers go.
    pub(super) fn find_instance(&self, user: &str, device: DeviceKind, instance: InstanceId) -> Option<Whose<'_, H>> {
        let person = self.people.get(user)?;
        let mut logins = person.devices.iter().chain(&person.commands);
        let login = logins.find(|login| login.device == device && login.instance == instance)?;
        Some(Whose::Session(&login.handle))
    }

    fn deadline(&self, now: Instant, ttl_ms: u32) -> Instant {
        now + core::time::Duration::from_millis(ttl_ms.into()).min(self.config.max_ttl)
    }
}

/// What is to be heard of a plain message that went nowhere.
fn failed(frame: RawFrame, failure: Failure) -> Option<HubEvent> {
    // A volatile message that found a queue busy is counted there, and that is all (ESF-326).
    let dropped = frame.is_volatile() && failure == Failure::Busy;
    (!dropped).then_some(HubEvent::TransmitFailed { frame, failure })
}

impl<H> Login<H> {
    /// Whether this login of `user` is a target of a message to `to`.
    fn is_named(&self, user: &UserId, to: &Address<'_>) -> bool {
        to.user() == Some(user)
            && match *to {
                Address::User { .. } => true,
                Address::Device { device, .. } => device == self.device,
                Address::Engine { device, instance, .. } => (device, instance) == (self.device, self.instance),
                Address::Server { .. } | Address::Group { .. } => false,
            }
    }
}

#[cfg(test)]
mod tests;
