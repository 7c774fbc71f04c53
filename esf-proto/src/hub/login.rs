//! Which place a login gets: takeover, push-out, refusal (ESF-101 to ESF-119).

use alloc::vec::Vec;

use super::{Hub, Login, Person};
use crate::{
    ids::{InstanceId, SessionId, UserId},
    login::ResumeSecret,
    server::{LoginClaim, NewSession, Relogin},
    session::dedupe::Dedupe,
    time::{Instant, UnixMillis},
};

/// Login numbers above this are not believed; JavaScript counts no further.
const MAX_NUMBER: u64 = 1 << 53;

/// What becomes of a login.
#[derive(Debug)]
pub enum Place<H> {
    /// The same engine's session is there: try to go on with it.
    Same {
        /// Its cell.
        handle: H,
    },
    /// An attempt that is not above the last one: close the link, change nothing.
    Stale,
    /// A newer interactive login was made, or this one was pushed out: it stops (`HadLoggedOn`, close reason 4).
    PushedOut,
    /// The older login may stay: probe its link first.
    Probe {
        /// Its cell.
        handle: H,
        /// Its session, to be named as silent if it shows no life.
        session: SessionId,
    },
    /// The user has as many logins that take no messages as there may be.
    TooMany,
    /// A new session was entered.
    New {
        /// Its cell, as `make` made it.
        handle: H,
        /// Sessions that it has replaced in the directory. Each is to be ended as `PushedOut` before the login is
        /// answered.
        replaced: Vec<H>,
    },
}

/// What a new session is made with.
#[derive(Debug)]
pub struct Entry {
    /// Its id.
    pub session: SessionId,
    /// The first session of its engine that is remembered: its own id if there is none.
    pub origin: SessionId,
    /// Its login number.
    pub number: u64,
    /// What the engine has sent to the server before.
    pub dedupe: Dedupe,
}

impl Entry {
    /// The session that is to be made for this login. `secret` is random.
    #[must_use]
    pub fn session(self, claim: &LoginClaim, secret: ResumeSecret, server: InstanceId) -> NewSession {
        NewSession {
            id: self.session,
            origin: self.origin,
            engine: claim.engine.clone(),
            attempt: claim.attempt,
            rights: claim.rights,
            credential_version: claim.credential_version,
            takes_messages: claim.takes_messages,
            login_number: self.number,
            secret,
            server,
            dedupe: self.dedupe,
        }
    }
}

/// How far a login has come when it asks for its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It asks for the first time.
    First,
    /// Its engine's own older session could not be resumed and has been ended.
    Fresh,
    /// It has waited for an older login of another engine to show life.
    Waited,
}

/// Login numbers that a clock which runs ahead leaves to those who log in.
const NUMBERS_LEFT: u64 = 30_000;

impl<H: Clone> Hub<H> {
    /// Finds the place of a login whose credential is good. `wall` is the wall clock, for the login number. A new
    /// session's cell is made by `make`. `silent` are the older logins that were probed and showed no life.
    pub fn login(
        &mut self,
        now: Instant,
        wall: UnixMillis,
        claim: &LoginClaim,
        stage: Stage,
        silent: &[SessionId],
        make: impl FnOnce(Entry) -> H,
    ) -> Place<H> {
        let engine = &claim.engine;
        let config = self.config.clone();
        let person = self.people.get_mut(&*engine.user);
        let mut logins = person.into_iter().flat_map(|person| person.devices.iter_mut().chain(&mut person.commands));
        let same = logins.find(|login| login.device == engine.device && login.instance == engine.instance);

        let seen = same.as_ref().map(|login| login.attempt).or_else(|| self.memory.attempt(engine));
        let stale =
            seen.is_some_and(|seen| if stage == Stage::First { claim.attempt <= seen } else { claim.attempt < seen });
        if stale && !broken!(AttemptIgnored) {
            self.counters.attempts_stale.add(1);
            return Place::Stale;
        }
        if let Some(login) = same {
            login.attempt = claim.attempt;
            return Place::Same { handle: login.handle.clone() };
        }
        self.memory.note_attempt(engine, claim.attempt);
        if self.memory.was_pushed_out(now, engine) {
            self.counters.logins_superseded.add(1);
            return Place::PushedOut;
        }
        if claim.takes_messages {
            self.enter_device(now, wall, claim, silent, make)
        } else {
            self.enter_command(now, claim, config.max_commands, make)
        }
    }

    fn enter_device(
        &mut self,
        now: Instant,
        wall: UnixMillis,
        claim: &LoginClaim,
        silent: &[SessionId],
        make: impl FnOnce(Entry) -> H,
    ) -> Place<H> {
        let engine = &claim.engine;
        let config = self.config.clone();
        let person = self.people.get(&*engine.user);
        let rivals = person.into_iter().flat_map(|person| &person.devices);
        let rivals: Vec<&Login<H>> = rivals.filter(|login| config.excludes(login.device, engine.device)).collect();

        let gone: Vec<SessionId> = rivals.iter().map(|login| login.session).collect();
        let known = rivals.iter().map(|login| login.number).max().unwrap_or(0);
        let told = believed(claim.login_number);
        // An automatic login with an older number replaces nobody.
        if !claim.interactive && told < known && !broken!(AutomaticReplaces) {
            self.counters.logins_superseded.add(1);
            return Place::PushedOut;
        }
        if config.relogin == Relogin::IgnoreNew {
            let linked = rivals.iter().filter(|login| login.window.is_none());
            if let Some(rival) = linked.into_iter().find(|login| !silent.contains(&login.session)) {
                return Place::Probe { handle: rival.handle.clone(), session: rival.session };
            }
        }
        let number = if claim.interactive || told == 0 { self.next_number(wall, known.max(told)) } else { told };
        let entry = self.entry(claim, number);
        let (session, origin) = (entry.session, entry.origin);
        let handle = make(entry);
        self.edition.change();
        let mut replaced = Vec::new();
        let person = self.person(&engine.user);
        person.devices.retain(|login| {
            let goes = gone.contains(&login.session);
            if goes {
                replaced.push((login.handle.clone(), login.session, login.window));
            }
            !goes
        });
        // Most have one device.
        person.devices.reserve_exact(1);
        person.devices.push(login_of(claim, session, origin, number, handle.clone()));
        self.sessions += 1;
        self.sessions -= replaced.len();
        for (_, session, window) in &replaced {
            if let Some(until) = *window {
                self.windows.remove(&(until, *session));
            }
            self.leave_all_seats(&engine.user, *session);
        }
        self.online.insert(engine.user.clone());
        self.came(now, &engine.user);
        Place::New { handle, replaced: replaced.into_iter().map(|(handle, ..)| handle).collect() }
    }

    /// Draws login numbers from `from` on, and none from `below` on: a server that keeps `below` durably, ahead of what
    /// it draws, begins its next life there and so stays above all that it ever drew, also when its clock steps back
    /// (ESF-112). The clock is followed until 30,000 numbers are left, or half of them, for who logs in before the next
    /// reservation; nobody is turned away when those are used up. Without this the clock alone counts.
    pub fn reserve_numbers(&mut self, from: u64, below: u64) {
        self.last_number = self.last_number.max(from.saturating_sub(1));
        let left = below.saturating_sub(self.last_number) / 2;
        self.clock_below = below - left.min(NUMBERS_LEFT);
    }

    /// A login number above `known` and above all that this server drew from its clock, should that step back.
    fn next_number(&mut self, wall: UnixMillis, known: u64) -> u64 {
        let clock = wall.0.min(self.clock_below.saturating_sub(1));
        self.last_number = clock.max(self.last_number.saturating_add(1));
        known.saturating_add(1).max(self.last_number).min(MAX_NUMBER)
    }

    fn enter_command(
        &mut self,
        now: Instant,
        claim: &LoginClaim,
        limit: usize,
        make: impl FnOnce(Entry) -> H,
    ) -> Place<H> {
        let person = self.people.get(&*claim.engine.user);
        if person.is_some_and(|person| person.commands.len() >= limit) {
            return Place::TooMany;
        }
        let entry = self.entry(claim, believed(claim.login_number));
        let login = (entry.session, entry.origin, entry.number);
        let handle = make(entry);
        let login = login_of(claim, login.0, login.1, login.2, handle.clone());
        self.person(&claim.engine.user).commands.push(login);
        self.sessions += 1;
        self.came(now, &claim.engine.user);
        Place::New { handle, replaced: Vec::new() }
    }

    fn entry(&mut self, claim: &LoginClaim, number: u64) -> Entry {
        let session = SessionId(self.next_session);
        self.next_session += 1;
        let (origin, dedupe) = self.memory.take(&claim.engine).unwrap_or((session, Dedupe::default()));
        Entry { session, origin, number, dedupe }
    }

    fn person(&mut self, user: &UserId) -> &mut Person<H> {
        let empty = || Person { devices: Vec::new(), commands: Vec::new(), social: None };
        self.people.entry(user.clone()).or_insert_with(empty)
    }
}

fn believed(number: u64) -> u64 {
    if number <= MAX_NUMBER { number } else { 0 }
}

fn login_of<H>(claim: &LoginClaim, session: SessionId, origin: SessionId, number: u64, handle: H) -> Login<H> {
    Login {
        session,
        origin,
        device: claim.engine.device,
        instance: claim.engine.instance,
        attempt: claim.attempt,
        number,
        handle,
        window: None,
        turn: 0,
    }
}
