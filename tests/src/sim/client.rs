//! A client's process: its session, the loop that drives it, and its application.

use std::{
    collections::{BTreeMap, VecDeque},
    task::Waker,
    time::Duration,
};

use bytes::Bytes;
use esf_driver::endpoint::{Endpoint, LinkAction, Transport};
use esf_proto::{
    client::{Action, Config, Event as Told, Seed, Session, State},
    close::CloseReason,
    failure::Failure,
    ids::{InstanceId, LinkId, MessageId, Source, UserId},
    login::Mode,
    session::inbound::{IncomingQuery, Message, MessageKind, QueryToken},
    time::Instant,
};

use super::{
    Event, Sim,
    clock::Clock,
    counts::Book,
    judge::Fate,
    ledger::{Kind, Ordered, Outcome, Party, body_of, number_in},
    people::Seen,
    plan::{PLACES, USERS},
    server::answering,
    trouble::Trouble,
};
use crate::blobs::{Blobs, Reads};

/// One life of a client's process.
#[derive(Debug)]
pub struct Engine {
    pub(super) name: String,
    pub(super) place: usize,
    pub(super) session: Session,
    pub(super) clock: Clock,
    /// The link that its loop runs at present.
    pub(super) link: Option<usize>,
    /// The link that it waits for.
    pub(super) attempt: Option<LinkId>,
    actions: VecDeque<Action>,
    pub(super) armed: Option<Instant>,
    /// The transport took nothing more.
    pub(super) blocked: bool,
    /// Its process is gone.
    pub(super) dead: bool,
    /// Its session is over.
    pub(super) over: Option<CloseReason>,
    pub(super) logs_off: bool,
    /// It cannot connect until then.
    pub(super) away_until: Instant,
    /// Its process does nothing until then.
    pub(super) asleep_until: Instant,
    /// Its application takes no message until then.
    pub(super) stopped_until: Instant,
    /// What it has sent that waits for an outcome, by the session's id.
    pub(super) asked: BTreeMap<MessageId, u32>,
    /// Requests that wait for their response.
    pub(super) requests: BTreeMap<MessageId, &'static str>,
    pub(super) blobs: Blobs,
    pub(super) blob_sources: BTreeMap<esf_proto::client::BlobId, Source>,
    /// Its sessions as the wire shows them.
    pub(super) books: Vec<Book>,
    pub(super) session_of_client: Option<usize>,
    pub(super) session_of_server: Option<usize>,
    /// The link that the server has given the session to.
    pub(super) attached: Option<usize>,
    /// When the server lost that link.
    pub(super) detached_at: Option<Instant>,
    /// Its last link brought a reason for its end.
    pub(super) was_told_why: bool,
    /// The server has closed a link of it because somebody kicks its user. It reads that when it can.
    pub(super) was_told_kicked: bool,
    /// Its last login said that it wants to go on with the session that it knows.
    pub(super) resumes: bool,
    pub(super) trouble: Trouble,
    /// When it had to begin a new session, and when its last one ended.
    pub(super) fresh: Vec<Instant>,
    pub(super) started: Instant,
    /// When the server began its present session.
    pub(super) began: Instant,
    /// What it was told of others in that.
    pub(super) seen: Seen,
    /// The place of its last interactive login among all that the server took.
    pub(super) placed: Option<u64>,
    pub(super) online: bool,
}

impl Engine {
    /// Whether nothing more can come of it.
    #[must_use]
    pub const fn is_gone(&self) -> bool {
        self.dead || self.over.is_some()
    }
}

/// One link of a session, as the loop sees it.
struct Near<'a> {
    session: &'a mut Session,
    actions: &'a mut VecDeque<Action>,
    link: LinkId,
}

impl Endpoint for Near<'_> {
    fn handle_message(&mut self, now: Instant, message: Bytes) {
        self.session.handle_message(now, self.link, message);
    }

    fn handle_text(&mut self, now: Instant) {
        self.session.handle_text(now, self.link);
    }

    fn handle_transport(&mut self, now: Instant, transport: Transport) {
        self.session.handle_transport(now, self.link, transport);
    }

    fn handle_closed(&mut self, now: Instant, code: Option<u16>) {
        self.session.handle_link_closed(now, self.link, code);
    }

    fn wants_flush(&self) -> bool {
        self.session.wants_flush()
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<Bytes> {
        loop {
            let transmit = self.session.poll_transmit(now)?;
            if transmit.link == self.link {
                return Some(transmit.frame);
            }
        }
    }

    fn poll_action(&mut self) -> Option<LinkAction> {
        while let Some(action) = self.session.poll_action() {
            self.actions.push_back(action);
        }
        match *self.actions.front()? {
            Action::Close { link, reason } if link == self.link => {
                self.actions.pop_front();
                Some(LinkAction::Close { reason })
            }
            Action::Drop { link } if link == self.link => {
                self.actions.pop_front();
                Some(LinkAction::Drop)
            }
            Action::Connect { .. } => Some(LinkAction::Drop),
            Action::Close { .. } | Action::Drop { .. } => {
                self.actions.pop_front();
                None
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.session.poll_timeout().map(|(at, _)| at)
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.session.handle_timeout(now);
    }

    fn register(&mut self, _: &Waker) {}

    fn max_message(&self) -> usize {
        self.session.max_message()
    }
}

impl Sim {
    /// A new process logs in at a place, whoever is there already.
    pub(super) fn start(&mut self, place: usize) {
        let number = self.engines.len();
        let user = USERS[PLACES[place].user];
        let config = Config {
            device: PLACES[place].device,
            heartbeat: self.chance.millis(1_000, 6_000),
            budget: self.plan.client_budget,
            queue: 64 << 10,
            ..Config::new(UserId::parse(user, 64).expect("a name"))
        };
        let clock = self.client_clock();
        let seed = Seed { instance: InstanceId(0xE0_0000 + number as u64), jitter: self.chance.number() };
        let mut trouble = Trouble::default();
        trouble.begins(Instant::ZERO);
        self.engines.push(Engine {
            name: format!("{user}/{}.{number}", PLACES[place].device),
            place,
            session: Session::new(config, seed, clock.shows(self.now)),
            clock,
            link: None,
            attempt: None,
            actions: VecDeque::new(),
            armed: None,
            blocked: false,
            dead: false,
            over: None,
            logs_off: false,
            away_until: Instant::ZERO,
            asleep_until: Instant::ZERO,
            stopped_until: Instant::ZERO,
            asked: BTreeMap::new(),
            requests: BTreeMap::new(),
            blobs: Blobs::default(),
            blob_sources: BTreeMap::new(),
            books: Vec::new(),
            session_of_client: None,
            session_of_server: None,
            attached: None,
            detached_at: None,
            was_told_why: false,
            was_told_kicked: false,
            resumes: false,
            trouble,
            fresh: Vec::new(),
            started: self.now,
            began: self.now,
            seen: Seen::default(),
            placed: None,
            online: false,
        });
        self.at_place[place] = Some(number);
        let now = self.now;
        for other in self.engines.iter_mut().take(number).filter(|other| other.place == place) {
            // One of the two will have to go.
            other.trouble.begins(now);
        }
        self.tell(number, || "starts".into());
        self.turn_client(number);
    }

    fn client_clock(&mut self) -> Clock {
        let skewed = self.has_fault("skewed clocks");
        let offset = self.chance.between(0, 1 << 40);
        let drift = if skewed { self.chance.between(0, 20_000) as i64 - 10_000 } else { 0 };
        Clock::new(offset, drift)
    }

    /// The engine that a source names.
    pub(super) fn party_of(&self, source: &Source) -> Option<Party> {
        match source {
            Source::Server(instance) => self.server.life_of(*instance).map(Party::Server),
            Source::Engine(engine) => {
                let number = usize::try_from(engine.instance.0.checked_sub(0xE0_0000)?).ok()?;
                let known = self.engines.get(number)?;
                (known.session.engine() == engine).then_some(Party::Engine(number))
            }
        }
    }

    /// Everything that a client's process does now.
    pub(super) fn turn_client(&mut self, engine: usize) {
        let of = &self.engines[engine];
        if of.is_gone() && of.link.is_none() || of.dead {
            return;
        }
        if of.asleep_until > self.now {
            let at = of.asleep_until;
            return self.arm_client(engine, Some(at));
        }
        let mut wait = None;
        for round in 0.. {
            let (moved, at) = match self.engines[engine].link {
                Some(link) => self.turn_of_link(engine, link),
                None => self.turn_without_link(engine),
            };
            wait = at;
            let moved = moved | self.application(engine);
            if self.violation.is_some() || !moved {
                break;
            }
            if round > 1_000 {
                return self.violate("9 timers", format!("{} does not come to rest", self.engines[engine].name));
            }
        }
        self.check_client(engine);
        let clock = self.engines[engine].clock;
        let at = wait.map(|at| clock.reaches(at));
        self.arm_client(engine, at);
    }

    fn arm_client(&mut self, engine: usize, at: Option<Instant>) {
        let Some(at) = at else { return };
        let at = at.max(self.now);
        if self.engines[engine].armed.is_none_or(|armed| at < armed) {
            self.engines[engine].armed = Some(at);
            self.plan_at(at, Event::Client(engine));
        }
    }

    fn turn_of_link(&mut self, engine: usize, link: usize) -> (bool, Option<Instant>) {
        let now = self.now;
        let chance = self.chance.number();
        let mut out = std::mem::take(&mut self.out);
        let of = &mut self.engines[engine];
        let local = of.clock.shows(now);
        let wire = &mut self.links[link];
        let Some(end) = &mut wire.client else {
            of.link = None;
            return (true, None);
        };
        let mut near = Near { session: &mut of.session, actions: &mut of.actions, link: wire.id };
        let turn = end.turn((now, local), &mut near, &mut wire.up, wire.down.read(), chance, &mut out);
        of.blocked = !wire.up.can_write(now) || wire.up.transport(now, 0).unflushed || of.session.wants_flush();
        let room = if of.blocked { wire.up.room_at(now) } else { None };
        self.calls += turn.calls;
        self.went_up(link, &out);
        out.clear();
        self.out = out;
        if let Some(at) = room {
            self.arm_client(engine, Some(at));
        }
        if turn.spins {
            self.violate("9 timers", format!("{} has a timer that is due again at once", self.engines[engine].name));
        }
        if turn.bulk_ahead {
            self.violate("5 bulk", format!("{} hands out a fragment behind unsent bytes", self.engines[engine].name));
        }
        if let Some(reason) = turn.closing {
            self.client_closes(link, reason);
        }
        if turn.over {
            let of = &mut self.engines[engine];
            of.session.handle_link_closed(local, self.links[link].id, None);
            self.client_end_is_over(link);
            return (true, None);
        }
        (turn.moved, turn.wait)
    }

    fn turn_without_link(&mut self, engine: usize) -> (bool, Option<Instant>) {
        let now = self.now;
        let of = &mut self.engines[engine];
        let local = of.clock.shows(now);
        let mut moved = false;
        if of.session.poll_timeout().is_some_and(|(at, _)| at <= local) {
            of.session.handle_timeout(local);
            self.calls += 1;
            moved = true;
            if of.session.poll_timeout().is_some_and(|(at, _)| at <= local) {
                let name = of.name.clone();
                self.violate("9 timers", format!("{name} has a timer that is due again at once"));
                return (false, None);
            }
        }
        let of = &mut self.engines[engine];
        // The last word of a link that is gone.
        while of.session.poll_transmit(local).is_some() {}
        while let Some(action) = of.session.poll_action() {
            of.actions.push_back(action);
        }
        while let Some(action) = self.engines[engine].actions.pop_front() {
            moved = true;
            if let Action::Connect { link } = action {
                self.connects(engine, link);
            }
        }
        let of = &self.engines[engine];
        (moved, of.session.poll_timeout().map(|(at, _)| at))
    }

    fn connects(&mut self, engine: usize, id: LinkId) {
        let takes = self.plan.manners.latency * 2 + self.chance.millis(1, 20);
        let of = &mut self.engines[engine];
        of.attempt = Some(id);
        let there = of.away_until <= self.now && self.server.node.is_some();
        self.plan_in(takes, Event::Connected(engine, id, there));
    }

    /// What the application does with what there is. Says whether it did something.
    fn application(&mut self, engine: usize) -> bool {
        let mut moved = false;
        let now = self.now;
        {
            let of = &mut self.engines[engine];
            let local = of.clock.shows(now);
            moved |= of.blobs.give(local, &mut of.session);
        }
        let ends = matches!(self.engines[engine].session.state(), State::Closed(_));
        while ends || self.engines[engine].stopped_until <= now {
            let Some(message) = self.engines[engine].session.poll_message() else { break };
            moved = true;
            if self.engines[engine].stopped_until > now {
                self.held(Party::Engine(engine), number_in(&message.body));
            } else {
                self.message_runs(Party::Engine(engine), &message);
            }
        }
        while let Some(event) = self.engines[engine].session.poll_event() {
            moved = true;
            self.hears(engine, event);
            if self.violation.is_some() {
                return false;
            }
        }
        moved
    }

    /// A handler of messages runs, unless it is not for any.
    pub(super) fn message_runs(&mut self, by: Party, message: &Message) {
        if let Party::Engine(engine) = by
            && !self.letter_comes(engine, message)
        {
            return;
        }
        let number = number_in(&message.body).filter(|number| *number == message.info_type);
        let kind = match (number.and_then(|number| self.ledger.sent(number)), &message.kind, message.id) {
            (Some(sent), MessageKind::Information, None) if sent.kind == Kind::Volatile => Kind::Volatile,
            (_, _, Some(_)) => Kind::Certain,
            (_, MessageKind::Broadcast { .. }, _) => Kind::Broadcast,
            _ => Kind::Plain,
        };
        let stored = message.stored.is_some();
        self.runs(by, number.unwrap_or(u32::MAX), kind, &message.source, &message.body, stored);
        if let MessageKind::Broadcast { group } = &message.kind
            && self.violation.is_none()
        {
            self.broadcast_comes(by, number.unwrap_or(u32::MAX), group);
        }
    }

    /// Some handler runs what was sent, or what the store brought.
    pub(super) fn runs(&mut self, by: Party, number: u32, kind: Kind, source: &Source, body: &[u8], stored: bool) {
        let from = self.party_of(source);
        if from.is_none() && self.is_stranger(source) {
            return;
        }
        let fresh = match from {
            Some(Party::Engine(engine)) => self.engines[engine].fresh.last().copied(),
            _ => None,
        };
        self.trace.mix(u64::from(number));
        if self.trace.is_written() {
            let name = self.party_name(by);
            self.say(&name, || format!("runs #{number}, {kind:?}"));
        }
        let fate = self.fate(number);
        if fate != Fate::Passes {
            let name = self.party_name(by);
            return self.violate("12 judged", format!("{name} runs #{number}, which is {fate:?} at the server"));
        }
        // What waited for its verdict longer than its session lived goes on behind what the next one sends.
        let sent_at = self.ledger.sent(number).map(|sent| sent.at);
        let late = self.plan.server.intercepts && fresh.is_some() && fresh >= sent_at;
        let holds = !(late && kind == Kind::Plain) && self.keeps_order(number, by, stored);
        let order = Ordered { fresh, holds, stored };
        if let Some((invariant, text)) = self.ledger.runs(number, kind, from, by, body, order) {
            self.violate(invariant, text);
        }
        if let Some(sent) = self.ledger.sent_mut(number) {
            sent.ran_at.get_or_insert(self.now);
        }
    }

    /// Somebody who ends has something that no handler will see.
    pub(super) fn held(&mut self, by: Party, number: Option<u32>) {
        if let Some(sent) = number.and_then(|number| self.ledger.sent_mut(number)) {
            sent.held.push(by);
        }
    }

    pub(super) fn party_name(&self, party: Party) -> String {
        match party {
            Party::Engine(engine) => self.engines[engine].name.clone(),
            Party::Server(life) => format!("server.{life}"),
        }
    }

    fn hears(&mut self, engine: usize, event: Told) {
        if self.trace.is_written() && !matches!(event, Told::Query(_) | Told::Blob(_) | Told::BlobProgress { .. }) {
            let text = format!("{event:?}");
            self.tell(engine, || format!("hears {}", &text[..text.len().min(120)]));
        }
        match event {
            Told::LoginCompleted { .. } => {
                self.comes_online(engine);
                self.begins_to_look(engine);
            }
            Told::RelogonCompleted { mode, .. } => {
                if mode == Some(Mode::Fresh) {
                    let now = self.now;
                    self.engines[engine].fresh.push(now);
                }
                if mode.is_some() {
                    self.comes_online(engine);
                }
                match mode {
                    Some(Mode::Fresh) => self.begins_to_look(engine),
                    Some(Mode::Resumed) => self.looks(engine),
                    None => {}
                }
            }
            Told::ConnectionInterrupted { .. } => {
                let now = self.now;
                self.engines[engine].online = false;
                self.engines[engine].trouble.begins(now);
            }
            Told::Acked { id } => self.ends(engine, id, Outcome::Acked),
            Told::Stored { id } => self.ends(engine, id, Outcome::Stored),
            Told::Replied { id, body } => self.is_answered(engine, id, &body),
            Told::Failed { id, failure } => {
                self.list_failed(engine, id, failure);
                self.ends(engine, id, Outcome::Failed(failure));
            }
            Told::Responded { id, status, body, .. } => {
                match status {
                    Ok(()) => self.list_comes(engine, id, &body),
                    Err(failure) => self.list_failed(engine, id, failure),
                }
                self.responded(engine, id, status);
            }
            Told::ContactConnected { user } => self.is_told(engine, &user, None, false, true),
            Told::ContactOffline { user } => self.is_told(engine, &user, None, false, false),
            Told::ContactDeviceConnected { user, device } => self.is_told(engine, &user, Some(device), false, true),
            Told::ContactDeviceOffline { user, device } => self.is_told(engine, &user, Some(device), false, false),
            Told::GroupmateConnected { user } => self.is_told(engine, &user, None, true, true),
            Told::GroupmateOffline { user } => self.is_told(engine, &user, None, true, false),
            Told::Undeliverable { note, failure } => self.undeliverable(engine, note, failure),
            Told::Query(query) => self.is_asked(engine, &query),
            Told::Blob(event) => self.blob_event(engine, &event),
            Told::Closed { reason } => self.is_closed(engine, reason),
            _ => {}
        }
    }

    fn comes_online(&mut self, engine: usize) {
        let until = self.now + Duration::from_secs(2);
        let of = &mut self.engines[engine];
        of.online = true;
        // The welcome may be that of a server that is gone by now.
        if of.session_of_server.is_some() {
            of.trouble.ends(until);
        }
    }

    fn ends(&mut self, engine: usize, id: MessageId, outcome: Outcome) {
        if self.engines[engine].requests.remove(&id).is_some() {
            return;
        }
        let Some(number) = self.engines[engine].asked.remove(&id) else {
            let name = &self.engines[engine].name;
            return self
                .violate("1 once", format!("{name} hears {outcome:?} of {id:?}, which has its outcome already"));
        };
        self.outcome(number, outcome);
    }

    /// A sender hears how something ended: exactly once, and with a reason.
    pub(super) fn outcome(&mut self, number: u32, outcome: Outcome) {
        let now = self.now;
        self.trace.mix(u64::from(number) << 8);
        if let Some((invariant, text)) = self.ledger.ended(now, number, outcome) {
            return self.violate(invariant, text);
        }
        self.check_outcome(number, outcome);
    }

    fn is_answered(&mut self, engine: usize, id: MessageId, body: &[u8]) {
        let number = self.engines[engine].asked.get(&id).copied();
        if let Some(number) = number.filter(|number| number_in(body) != Some(*number)) {
            return self.violate("10 from", format!("#{number} gets the answer to another"));
        }
        self.ends(engine, id, Outcome::Replied);
    }

    fn responded(&mut self, engine: usize, id: MessageId, status: Result<(), Failure>) {
        let Some(method) = self.engines[engine].requests.remove(&id) else {
            return self.violate("1 once", format!("{} hears twice of {id:?}", self.engines[engine].name));
        };
        let admin = PLACES[self.engines[engine].place].user == 0;
        if method == "kick" && status.is_ok() && !admin {
            self.violate("10 from", format!("{} kicks somebody without the right to", self.engines[engine].name));
        }
    }

    fn undeliverable(&mut self, engine: usize, note: u64, failure: Failure) {
        let number = u32::try_from(note).unwrap_or(u32::MAX);
        let Some(sent) = self.ledger.sent_mut(number).filter(|sent| sent.from == Party::Engine(engine) && sent.tell)
        else {
            return self.violate("1 once", format!("#{note} is told undeliverable to somebody who did not ask"));
        };
        sent.heard.push(failure);
        let (told, runs) = (sent.heard.len(), !sent.runs.is_empty());
        // Each device of a user whose session ends with a copy says so, and so does a new session of the sender in which
        // the answer of an older one is not remembered.
        if told > 1 && failure != Failure::ConnectionLost {
            return self.violate("1 once", format!("#{note} is told undeliverable {told} times"));
        }
        if runs && !matches!(failure, Failure::ConnectionLost | Failure::TimedOut) {
            self.violate("1 once", format!("#{note} ran, and its sender hears: {failure}"));
        }
    }

    fn is_asked(&mut self, engine: usize, query: &IncomingQuery) {
        let number = number_in(&query.body).unwrap_or(u32::MAX);
        self.runs(Party::Engine(engine), number, Kind::Query, &query.source, &query.body, false);
        if let Some(after) = answering(&self.plan, number) {
            if after.is_zero() {
                self.reply_now(engine, query.token, number);
            } else {
                self.plan_in(after, Event::Reply(engine, query.token, number));
            }
        }
    }

    /// A handler that took its time answers.
    pub(super) fn reply(&mut self, engine: usize, token: QueryToken, number: u32) {
        if !self.engines[engine].is_gone() {
            self.reply_now(engine, token, number);
            self.turn_client(engine);
        }
    }

    fn reply_now(&mut self, engine: usize, token: QueryToken, number: u32) {
        let len = self.ledger.sent(number).map_or(8, |sent| sent.len);
        let of = &mut self.engines[engine];
        let local = of.clock.shows(self.now);
        of.session.reply(local, token, Ok(body_of(number, len)));
    }

    fn is_closed(&mut self, engine: usize, reason: CloseReason) {
        let now = self.now;
        let of = &mut self.engines[engine];
        of.over = Some(reason);
        of.trouble.begins(now);
        of.online = false;
        of.fresh.push(now);
        of.blobs.reads = Reads::No;
        let (place, asked) = (of.place, of.asked.len() + of.requests.len());
        if asked > 0 {
            return self
                .violate("1 once", format!("{} ended, and {asked} things have no outcome", self.engines[engine].name));
        }
        self.check_end(engine, reason);
        let until = now + Duration::from_secs(2);
        // One whose server is gone without its knowing is still in trouble.
        let well = |other: &&mut Engine| other.online && other.session_of_server.is_some();
        for other in self.engines.iter_mut().filter(|other| other.place == place).filter(well) {
            other.trouble.ends(until);
        }
        if self.at_place[place] == Some(engine) && !self.quiet {
            // Its person comes back after a while.
            let soon = self.chance.millis(500, 5_000);
            let later = self.away_for[place].take().unwrap_or(soon);
            self.at_place[place] = None;
            self.plan_in(later, Event::Start(place));
        }
    }

    /// The process dies without a word.
    pub(super) fn kill(&mut self, engine: usize) {
        let now = self.now;
        let of = &mut self.engines[engine];
        of.dead = true;
        of.online = false;
        of.trouble.begins(now);
        of.fresh.push(now);
        let place = of.place;
        while let Some(message) = self.engines[engine].session.poll_message() {
            self.held(Party::Engine(engine), number_in(&message.body));
        }
        self.ledger.abandon(Party::Engine(engine));
        self.engines[engine].requests.clear();
        if self.at_place[place] == Some(engine) {
            self.at_place[place] = None;
        }
        self.tell(engine, || "dies".into());
    }
}
