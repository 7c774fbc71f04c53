//! What must hold, beside the two books: one table of what is looked at when everything is quiet, and the checks after
//! each step.

use std::time::Duration;

use esf_proto::{close::CloseReason, failure::Failure, server::Relogin, time::Instant};

use super::{
    Sim,
    client::Engine,
    gatherings,
    judge::Fate,
    ledger::{Kind, Outcome, Party, Sent, Target},
    letters,
    links::Far,
    plan::{PLACES, Place},
    trouble::Trouble,
};

/// Something that must hold when nothing is under way any more.
#[derive(Debug, Clone, Copy)]
pub struct Invariant {
    /// Its number in the list of invariants, and its name.
    pub name: &'static str,
    holds: fn(&Sim) -> Result<(), String>,
}

/// All of them.
pub const INVARIANTS: [Invariant; 10] = [
    Invariant { name: "1 once", holds: everything_has_an_outcome },
    Invariant { name: "1 acked", holds: what_was_acked_was_run },
    Invariant { name: "3 loss", holds: nothing_was_lost_in_silence },
    Invariant { name: "3 counts", holds: everything_is_counted },
    Invariant { name: "6 budget", holds: nothing_is_left_over },
    Invariant { name: "7 presence", holds: gatherings::presence_is_true },
    Invariant { name: "3 broadcasts", holds: gatherings::no_broadcast_is_lost },
    Invariant { name: "10 groups", holds: gatherings::groups_are_true },
    Invariant { name: "11 stored", holds: letters::nothing_stored_is_lost },
    Invariant { name: "11 delivered", holds: letters::what_is_stored_is_delivered },
];

pub(super) fn at_rest(sim: &mut Sim) {
    for invariant in INVARIANTS {
        if let Err(text) = (invariant.holds)(sim) {
            return sim.violate(invariant.name, text);
        }
    }
}

fn everything_has_an_outcome(sim: &Sim) -> Result<(), String> {
    if let Some(number) = sim.ledger.open().first() {
        return Err(format!("#{number} has no outcome: {:?}", sim.ledger.sent(*number)));
    }
    let waiting = sim.engines.iter().find(|engine| !engine.requests.is_empty());
    waiting.map_or(Ok(()), |engine| Err(format!("{} has requests without a response", engine.name)))
}

fn what_was_acked_was_run(sim: &Sim) -> Result<(), String> {
    for (number, sent) in sim.ledger.all() {
        let acked = matches!(sent.outcome, Some((Outcome::Acked, _)));
        if acked && sent.runs.is_empty() && sent.held.is_empty() {
            return Err(format!("#{number} was acknowledged, and nobody ran it: {sent:?}"));
        }
    }
    Ok(())
}

/// A plain message between parties whose sessions lived on arrives, or somebody hears why not.
fn nothing_was_lost_in_silence(sim: &Sim) -> Result<(), String> {
    for (number, sent) in sim.ledger.all() {
        let plain = sent.kind == Kind::Plain && !sent.refused && sent.told.is_empty() && sent.heard.is_empty();
        let plain = plain && sim.fate(number) == Fate::Passes;
        if !plain || !sent.runs.is_empty() || !sent.held.is_empty() {
            continue;
        }
        let sender_lived = match sent.from {
            Party::Engine(engine) => sim.engines[engine].fresh.iter().all(|fresh| *fresh < sent.at),
            Party::Server(_) => sim.server.fresh.iter().all(|fresh| *fresh < sent.at),
        };
        let receiver_lived = match sent.to {
            // Of what its own queue did not take the server's application sees a counter.
            Target::Server => !sim.server.was_busy() && sim.server.fresh.iter().all(|fresh| *fresh < sent.at),
            _ => sim.targets(sent).iter().any(|engine| {
                let of = &sim.engines[*engine];
                of.online
                    && of.started < sent.at
                    && of.trouble.none(sent.at, sent.at)
                    && of.fresh.iter().all(|fresh| *fresh < sent.at)
            }),
        };
        if sender_lived && receiver_lived {
            return Err(format!("#{number} is gone, and nobody was told: {sent:?}"));
        }
    }
    Ok(())
}

pub(super) fn everything_is_counted(sim: &Sim) -> Result<(), String> {
    for engine in sim.engines.iter().filter(|engine| !engine.is_gone() && engine.online) {
        let uncounted = engine.session.uncounted_frames();
        if uncounted > 0 {
            return Err(format!("{} still has {uncounted} frames that the server has not counted", engine.name));
        }
        let Some(session) = engine.session_of_client else { continue };
        let (up, down) = engine.books[session].untold();
        if (up, down) != (0, 0) {
            return Err(format!("{}: {up} frames up and {down} down were never counted", engine.name));
        }
    }
    Ok(())
}

fn nothing_is_left_over(sim: &Sim) -> Result<(), String> {
    for engine in sim.engines.iter().filter(|engine| !engine.is_gone()) {
        let (open, bytes) = (engine.session.open_operations(), engine.session.queued_bytes());
        if engine.online && (open, bytes) != (0, 0) {
            return Err(format!("{} holds {open} operations and {bytes} bytes", engine.name));
        }
        if !engine.online {
            return Err(format!("{} is not online: {:?}", engine.name, engine.session.state()));
        }
    }
    let held = sim.server.node.as_ref().map_or(0, |node| node.held_bytes());
    if held == 0 {
        return Ok(());
    }
    let sessions = sim.server.sessions().filter(|cell| cell.held_bytes() > 0);
    let whose: Vec<String> = sessions.map(|cell| format!("{} for {:?}", cell.held_bytes(), cell.engine())).collect();
    Err(format!("the server holds {held} bytes for nobody: {}", whose.join(", ")))
}

/// How long all must have been well before time may not run out any more.
const LATE: Duration = Duration::from_secs(12);
/// Room beside a budget: what must be kept and is bounded elsewhere.
pub(super) const BESIDE: usize = 192 * 1024;

/// The moment so long before.
fn before(now: Instant, time: Duration) -> Instant {
    Instant::from_micros(now.as_micros().saturating_sub(time.as_micros() as u64))
}

impl Sim {
    /// After each turn of a client.
    pub(super) fn check_client(&mut self, engine: usize) {
        let of = &self.engines[engine];
        let held = of.session.queued_bytes();
        // Before the first welcome the largest frame is 1 MiB, and two of them have to fit.
        let most = self.plan.client_budget.max(2 << 20) + BESIDE;
        if held > most {
            let text = format!("{} holds {held} bytes, its budget is {}", of.name, self.plan.client_budget);
            return self.violate("6 budget", text);
        }
        if of.session.stats().violations > 0 {
            let text = format!("{} takes the server for a liar", of.name);
            self.violate("4 links", text);
        }
    }

    /// After each turn of a server's link.
    pub(super) fn check_session(&mut self, link: usize) {
        let Some(Far { conn, .. }) = &self.links[link].server else { return };
        let Some(cell) = conn.cell().filter(|cell| !cell.is_over()) else { return };
        let held = cell.held_bytes();
        let engine = self.links[link].engine;
        // A page of the store is let in as it is, and so is what waits for a verdict.
        let window = usize::try_from(self.plan.server.window).unwrap_or(0);
        let page = window * (usize::from(self.plan.server.store) + usize::from(self.plan.server.intercepts));
        let most = self.plan.server.session_budget() + page + BESIDE;
        if held > most {
            let text = format!("the session of {} holds {held} bytes of {most}", self.engines[engine].name);
            return self.violate("6 budget", text);
        }
        if self.engines[engine].attached != Some(link) {
            return;
        }
        // What may have to go out again is paid for.
        let Some(book) = self.engines[engine].session_of_server else { return };
        let least = self.engines[engine].books[book].kept_bytes();
        if held < least {
            let name = &self.engines[engine].name;
            let text = format!("the session of {name} accounts for {held} bytes, and keeps {least}");
            self.violate("6 budget", text);
        }
    }

    /// The engines that something was for.
    pub(super) fn targets(&self, sent: &Sent) -> Vec<usize> {
        self.targets_of(sent.to)
    }

    pub(super) fn targets_of(&self, to: Target) -> Vec<usize> {
        let is_target = |place: &Place| match to {
            Target::Server | Target::Group(_) => false,
            Target::User(user) => place.user == user,
            Target::Device(of) => PLACES[of] == *place,
        };
        let of = |engine: &usize| is_target(&PLACES[self.engines[*engine].place]);
        (0..self.engines.len()).filter(of).collect()
    }

    fn trouble_of(&self, party: Party) -> &Trouble {
        match party {
            Party::Engine(engine) => &self.engines[engine].trouble,
            Party::Server(_) => &self.server.trouble,
        }
    }

    /// Whether another engine wanted this one's place since then, who may have pushed it out at any time.
    fn is_contested(&self, engine: usize, since: Instant) -> bool {
        let place = self.engines[engine].place;
        let there = |of: &Engine| !of.is_gone() || of.fresh.last().is_some_and(|end| *end >= since);
        let mut others = self.engines.iter().enumerate().filter(|(at, of)| *at != engine && of.place == place);
        others.any(|(_, of)| there(of))
    }

    /// Whether more waits for its line, in either direction, than one window takes: then time may run out for what is at
    /// the end of that.
    fn is_backlogged(&self, engine: usize) -> bool {
        let of = &self.engines[engine];
        let far = of.attached.and_then(|link| self.links[link].server.as_ref());
        let down = far.and_then(|far| far.conn.cell()).map_or(0, |cell| cell.held_bytes());
        let window = usize::try_from(self.plan.server.window).unwrap_or(usize::MAX);
        of.session.queued_bytes().max(down) > window
    }

    /// Whether somebody whom it was for was there, in order and at rest, all the time.
    fn receiver_was_well(&self, sent: &Sent, since: Instant, until: Instant) -> bool {
        match sent.to {
            Target::Server => self.server.trouble.none(since, until),
            _ => {
                let targets = self.targets(sent);
                let well = |engine: &&usize| {
                    let of = &self.engines[**engine];
                    let kicked = self.kicked_until[PLACES[of.place].user] >= since;
                    let stays = !kicked && !self.is_contested(**engine, since);
                    // Another device may have been gone when it came, and has nothing to answer.
                    let has_it = sent.runs.is_empty() || sent.runs.contains(&Party::Engine(**engine));
                    // A session that the server began afresh, also one whose beginning the client never heard of, has lost what
                    // the one before it was handed.
                    let knows = of.started.max(of.began) < sent.at && of.fresh.iter().all(|fresh| *fresh < sent.at);
                    of.online && stays && has_it && knows && of.trouble.none(since, until)
                };
                // A question goes to one device, whichever logged on last.
                let there = targets.iter().filter(|engine| {
                    let of = &self.engines[**engine];
                    !of.is_gone() || !of.trouble.none(since, until)
                });
                let well_ones = targets.iter().filter(well).count();
                if sent.kind == Kind::Query { well_ones > 0 && well_ones == there.count() } else { well_ones > 0 }
            }
        }
    }

    /// Whether something that was never handed out to anybody should have been stored instead of failing so.
    fn is_to_be_stored(&self, sent: &Sent, failure: Failure) -> bool {
        let (now, user) = (self.now, |engine: usize| PLACES[self.engines[engine].place].user);
        // The server has no window and no line to itself.
        let sender = if let Party::Engine(sender) = sent.from { Some(sender) } else { None };
        let receiver = match sent.to {
            Target::User(user) => user,
            Target::Device(place) => PLACES[place].user,
            Target::Server | Target::Group(_) => return false,
        };
        let narrow = sender.is_some_and(|sender| self.plan.manners.bandwidth > 0 || self.is_backlogged(sender));
        let in_time = failure != Failure::TimedOut || sent.ttl >= Duration::from_secs(5) && !narrow;
        let told = matches!(failure, Failure::Offline | Failure::ConnectionLost | Failure::TimedOut);
        let well = self.trouble_of(sent.from).none(sent.at, now)
            && sender.is_none_or(|sender| {
                let kicked = self.kicked_until[user(sender)] >= sent.at;
                self.engines[sender].online && !kicked && !self.is_contested(sender, sent.at)
            });
        let asks = sender.map(user).into_iter().chain([receiver]);
        let store = asks.into_iter().all(|of| !self.store.failed(of, sent.at, now));
        self.plan.server.store && told && in_time && !sent.handed && well && store
    }

    /// An outcome that is not the best needs a reason.
    pub(super) fn check_outcome(&mut self, number: u32, outcome: Outcome) {
        let Some(sent) = self.ledger.sent(number) else { return };
        let failure = match outcome {
            Outcome::Failed(failure) => failure,
            Outcome::Stored if !self.store.letters.was_stored(number) => {
                return self.violate("11 stored", format!("#{number} is told stored before it is durable: {sent:?}"));
            }
            _ => return,
        };
        let (now, fate) = (self.now, self.fate(number));
        let said = match failure {
            Failure::Offline | Failure::Busy | Failure::ConnectionLost | Failure::TimedOut | Failure::TooSlow => true,
            Failure::QuotaFull => sent.storable,
            Failure::Internal => sent.storable && self.store.misbehaved || fate == Fate::Undecided,
            Failure::NotAllowed => fate == Fate::Refused,
            _ => false,
        };
        if !said {
            return self
                .violate("10 from", format!("#{number} ends with: {failure}, which nobody here says: {sent:?}"));
        }
        if fate != Fate::Passes {
            return;
        }
        if sent.storable && self.is_to_be_stored(sent, failure) {
            let text = format!("#{number} ends with: {failure}, though it could be stored: {sent:?}");
            return self.violate("11 kept", text);
        }
        if sent.kind == Kind::Blob || self.plan.manners.bandwidth > 0 {
            return;
        }
        // What was lost before is sent again as soon as both are there: when time runs out, the trouble is of late.
        let late = before(now, LATE);
        // For one whose own budget was full a failure may have had no room (ESF-509).
        let all_answered = self.server.node.as_ref().is_some_and(|node| node.counters().answers_dropped.get() == 0);
        let of_late = failure == Failure::TimedOut && all_answered;
        let since = if of_late { sent.at.max(late) } else { sent.at };
        let sender_was_well = match sent.from {
            Party::Engine(engine) => {
                let of = &self.engines[engine];
                let kicked = self.kicked_until[PLACES[of.place].user] >= since;
                of.online && !kicked && !self.is_contested(engine, since) && of.trouble.none(since, now)
            }
            Party::Server(_) => self.trouble_of(sent.from).none(since, now),
        };
        let well = sender_was_well && self.receiver_was_well(sent, since, now);
        if !well {
            return;
        }
        // Its handler needs longer than was left of its time when it came.
        let left = sent.ttl.saturating_sub(sent.ran_at.unwrap_or(sent.at).since(sent.at));
        let slow =
            super::server::answering(&self.plan, number).is_none_or(|takes| takes + Duration::from_secs(2) > left);
        // Its messages wait until the store has said what it has for the user.
        let held = |engine: &usize| {
            let user = PLACES[self.engines[*engine].place].user;
            sent.kind != Kind::Query && self.store.held_mail(user, since, now)
        };
        let excused = match failure {
            Failure::TimedOut => {
                let ends = self.targets(sent).into_iter().chain(match sent.from {
                    Party::Engine(engine) => Some(engine),
                    Party::Server(_) => None,
                });
                let backlog = ends.into_iter().any(|engine| self.is_backlogged(engine));
                let held = self.targets(sent).iter().any(held);
                sent.ttl < Duration::from_secs(5) || sent.kind == Kind::Query && slow || backlog || held
            }
            // Room is not the subject here.
            Failure::Busy | Failure::QuotaFull => true,
            Failure::Internal => {
                let receivers = self.targets(sent).into_iter().map(|engine| self.engines[engine].place);
                let places = receivers.chain(if let Party::Engine(sender) = sent.from {
                    Some(self.engines[sender].place)
                } else {
                    None
                });
                places.into_iter().any(|place| self.store.failed(PLACES[place].user, sent.at, now))
            }
            // The device whose messages were held may have had no room, when the one that had a copy went.
            Failure::ConnectionLost | Failure::Offline => self.targets(sent).iter().any(held),
            _ => false,
        };
        if !excused {
            let text = format!("#{number} ends with: {failure}, though all were well: {sent:?}");
            self.violate("1 reason", text);
        }
    }

    /// A session ends for good only for a reason that it was given.
    pub(super) fn check_end(&mut self, engine: usize, reason: CloseReason) {
        let of = &self.engines[engine];
        let user = PLACES[of.place].user;
        let rivals = self.engines.iter().enumerate().filter(|(at, other)| *at != engine && other.place == of.place);
        let newer = |of: &Engine, other: &Engine| of.placed.is_some() && other.placed > of.placed;
        let rival = rivals.clone().any(|(_, other)| newer(of, other));
        let any = rivals.count() > 0;
        let expected = match reason {
            CloseReason::LoggedOff => of.logs_off,
            CloseReason::PushedOut => rival,
            // So ends whoever was refused as logged on elsewhere, when the reason behind that is lost with the link.
            CloseReason::NewConnectionIgnored if rival && !of.was_told_why => true,
            CloseReason::NewConnectionIgnored => self.plan.server.relogin == Relogin::IgnoreNew && any,
            // Its machine may have slept since the server said so.
            CloseReason::Kicked => self.kicked_until[user] >= self.now || of.was_told_kicked,
            _ => false,
        };
        if !expected {
            let text = format!("{} ends for no reason that it gave: {}", of.name, reason.text());
            self.violate("4 links", text);
        }
    }

    /// The server closes a link: it needs a reason.
    pub(super) fn server_closes(&mut self, link: usize, reason: Option<CloseReason>) {
        let name = self.link_name(link);
        self.say(&name, || format!("the server closes: {}", reason.map_or("no reason", |reason| reason.text())));
        if reason == Some(CloseReason::Kicked) {
            // Its session is over, also where the client does not hear of it.
            let engine = self.links[link].engine;
            self.engines[engine].session_of_server = None;
        }
        let wire = &self.links[link];
        let of = &self.engines[wire.engine];
        let silent = wire.up_heard.silence(self.now);
        let clock_error = Duration::from_millis(700);
        let user = PLACES[of.place].user;
        let rivals = self.engines.iter().filter(|other| other.place == of.place).count() > 1;
        let expected = match reason {
            // It says again what the client said.
            _ if wire.closed_by_client == Some(reason) => true,
            Some(CloseReason::HeartbeatTimeout) => {
                // A client says something in time, unless something keeps it from that.
                self.was_ill(link, before(self.now, silent)) && silent + clock_error >= self.plan.server.liveness
            }
            Some(CloseReason::ChannelOverflow) => {
                !of.trouble.none(self.now, self.now) || self.plan.manners.bandwidth > 0
            }
            Some(CloseReason::Superseded) => of.link != Some(link) || of.attempt.is_some(),
            Some(CloseReason::PushedOut | CloseReason::NewConnectionIgnored) => rivals,
            Some(CloseReason::Kicked) => self.kicked_until[user] >= self.now,
            Some(CloseReason::LoggedOff) => of.logs_off,
            Some(CloseReason::LoginTimeout) => {
                let since = wire.asked_at.unwrap_or(Instant::ZERO);
                self.now.since(since) + clock_error >= self.plan.server.login_timeout
            }
            Some(CloseReason::GoingAway) => self.server.refused_logins > 0,
            _ => false,
        };
        if reason == Some(CloseReason::Kicked) {
            let engine = wire.engine;
            self.engines[engine].was_told_kicked = true;
        }
        if !expected {
            let text = format!("the server closes {name} for no reason: {reason:?}, {silent:?} after the last byte");
            self.violate("4 links", text);
        }
    }

    /// A client closes a link: it needs a reason.
    pub(super) fn client_closes(&mut self, link: usize, reason: Option<CloseReason>) {
        let name = self.link_name(link);
        self.say(&name, || format!("the client closes: {}", reason.map_or("no reason", |reason| reason.text())));
        self.links[link].closed_by_client = Some(reason);
        let wire = &self.links[link];
        let of = &self.engines[wire.engine];
        let silent = wire.down_heard.silence(self.now);
        let expected = match reason {
            // A server that is there answers each heartbeat, unless something keeps the two apart.
            Some(CloseReason::HeartbeatTimeout) => {
                let patience = Duration::from_millis(9_300);
                self.was_ill(link, before(self.now, silent)) && silent >= patience
            }
            Some(CloseReason::LoggedOff) => of.logs_off,
            Some(CloseReason::ChannelOverflow | CloseReason::LoginTimeout) => {
                !of.trouble.none(self.now, self.now) || self.plan.manners.bandwidth > 0
            }
            Some(CloseReason::GoingAway) => self.server.refused_logins > 0,
            Some(_) => false,
            None => true,
        };
        if !expected {
            let text = format!("the client closes {name} for no reason: {reason:?}, {silent:?} after the last byte");
            self.violate("5 alive", text);
        }
    }
}
