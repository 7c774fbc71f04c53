//! Who is online with which device, and where a frame goes.
//!
//! Routing a frame reads the directory; a login, a log-off and a resume write it, O(log n) each. The hub reaches a
//! session only through its [`Outbox`], by a handle that the caller chooses and a [`Reach`] that knows how to lock it.

mod fanout;
mod group_requests;
mod groups;
mod jobs;
mod keep;
mod login;
mod mail;
mod memory;
mod names;
mod people;
mod relay;
mod requests;
mod streams;
mod way;

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
    sync::Arc,
    vec::Vec,
};
use core::{cell::RefCell, hash::BuildHasher};

use hashbrown::HashMap;
use siphasher::sip::SipHasher13;

pub use fanout::{Fanout, Fanouts, Missed, Progress};
use groups::Groups;
use jobs::{Jobs, Purpose};
pub use login::{Entry, Place, Stage};
pub use mail::{Mail, Receiver, Told};
use memory::{Left, Memory};
use names::Names;
pub use people::Reply;
use people::Social;
use relay::{Passing, Targets};
pub(crate) use streams::BlobSender;
pub use way::{Carried, Edition, Ended, Way};

use crate::{
    close::CloseReason,
    ids::{DeviceKind, Engine, InstanceId, SessionId, UserId},
    login::Rights,
    server::{Config, Counters, Outbox},
    time::Instant,
};

/// How to get at an outbox. The closure runs under the outbox's lock and does not call out.
pub trait Reach<H> {
    /// Runs `visit` on somebody's outbox, and wakes whoever empties it if [`Outbox::take_wake`] says so.
    fn visit<R>(&self, whose: Whose<'_, H>, visit: impl FnOnce(&mut Outbox) -> R) -> R;

    /// Runs `visit` on the mail, and wakes whoever carries its requests out if it has some; `None` if nothing is stored
    /// here. Not called from within a visit of an outbox, nor the other way round.
    fn mail<R>(&self, visit: impl FnOnce(&mut Mail<H>) -> R) -> Option<R> {
        let _ = visit;
        None
    }
}

/// Everything on one thread: sessions have their outboxes in such cells, and this one is the server's own.
impl Reach<Rc<RefCell<Outbox>>> for RefCell<Outbox> {
    fn visit<R>(&self, whose: Whose<'_, Rc<RefCell<Outbox>>>, visit: impl FnOnce(&mut Outbox) -> R) -> R {
        match whose {
            Whose::Session(outbox) => visit(&mut outbox.borrow_mut()),
            Whose::Server => visit(&mut self.borrow_mut()),
        }
    }
}

/// Whose outbox.
#[derive(Debug)]
pub enum Whose<'a, H> {
    /// That of the session behind this handle.
    Session(&'a H),
    /// The server's own, where what its application asked is answered.
    Server,
}

impl<H> Clone for Whose<'_, H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for Whose<'_, H> {}

/// One session as the hub's callers name it: its id, its engine, its handle.
#[derive(Debug)]
pub struct Party<'a, H> {
    /// The session.
    pub session: SessionId,
    /// The first session of its engine: what one of them was asked, any later one may answer.
    pub origin: SessionId,
    /// Whose it is.
    pub engine: &'a Engine,
    /// What its login may do.
    pub rights: Rights,
    /// The way to its outbox.
    pub handle: &'a H,
}

/// Who sends a frame: a session, or the server itself.
#[derive(Debug)]
struct Sender<'a, H> {
    session: SessionId,
    origin: SessionId,
    engine: Option<&'a Engine>,
    outbox: Whose<'a, H>,
}

impl<'a, H> Party<'a, H> {
    fn sender(&self) -> Sender<'a, H> {
        let (session, origin) = (self.session, self.origin);
        Sender { session, origin, engine: Some(self.engine), outbox: Whose::Session(self.handle) }
    }
}

/// The directory of one server. `H` is the handle of a session's cell, cheap to clone.
#[derive(Debug)]
pub struct Hub<H> {
    config: Arc<Config>,
    counters: Arc<Counters>,
    server: InstanceId,
    people: HashMap<UserId, Person<H>, SipKeys>,
    edition: Edition,
    /// The names of who takes messages, in order, for paged lists.
    online: BTreeSet<UserId>,
    memory: Memory,
    groups: Groups<H>,
    names: Names,
    jobs: Jobs<Purpose<H>>,
    /// Whose presence is to be looked at when.
    due: BTreeSet<(Instant, UserId)>,
    fanouts: VecDeque<Fanout>,
    replies: VecDeque<Reply<H>>,
    /// There is something to fetch, or a time has become earlier.
    changed: bool,
    /// Counts how often the store has said, or failed to say, who somebody is.
    judged: u64,
    windows: BTreeMap<(Instant, SessionId), H>,
    next_session: u64,
    sessions: usize,
    /// The last login number that was drawn from the clock.
    last_number: u64,
    /// The clock is followed no further than to this.
    clock_below: u64,
}

#[derive(Debug)]
struct Person<H> {
    /// Logins that take messages: at most one a device kind.
    devices: Vec<Login<H>>,
    /// Logins that take none: nobody's target.
    commands: Vec<Login<H>>,
    social: Option<Box<Social<H>>>,
}

#[derive(Debug)]
struct Login<H> {
    session: SessionId,
    origin: SessionId,
    device: DeviceKind,
    instance: InstanceId,
    attempt: u32,
    number: u64,
    handle: H,
    /// `None` while it has a link.
    window: Option<Instant>,
    /// Which change of `window` was the last.
    turn: u64,
}

impl<H: Clone> Hub<H> {
    /// An empty directory of this life of the server. `keys` are random: users choose their names themselves, and must
    /// not be able to choose them so that they collide.
    #[must_use]
    pub fn new(config: &Arc<Config>, counters: &Arc<Counters>, server: InstanceId, keys: (u64, u64)) -> Self {
        Self {
            config: config.clone(),
            counters: counters.clone(),
            server,
            people: HashMap::with_hasher(SipKeys(keys.0, keys.1)),
            edition: Edition::default(),
            online: BTreeSet::new(),
            memory: Memory::default(),
            groups: Groups::new(SipKeys(keys.0, keys.1)),
            names: Names::new(SipKeys(keys.0, keys.1)),
            jobs: Jobs::above(0),
            due: BTreeSet::new(),
            fanouts: VecDeque::new(),
            replies: VecDeque::new(),
            changed: false,
            judged: 0,
            windows: BTreeMap::new(),
            next_session: 1,
            sessions: 0,
            last_number: 0,
            clock_below: u64::MAX,
        }
    }

    /// Whether somebody of this name takes messages. A user whose link is gone stays online for the resume window.
    #[must_use]
    pub fn is_online(&self, user: &str) -> bool {
        self.people.get(user).is_some_and(|person| !person.devices.is_empty())
    }

    /// How many users are online.
    #[must_use]
    pub fn online(&self) -> usize {
        self.online.len()
    }

    /// How many sessions there are, those that wait for their client included.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions
    }

    /// Every session of a user.
    #[must_use]
    pub fn sessions_of(&self, user: &str) -> Vec<H> {
        let person = self.people.get(user);
        let logins = person.into_iter().flat_map(|person| person.devices.iter().chain(&person.commands));
        logins.map(|login| login.handle.clone()).collect()
    }

    /// The session has a link, or has lost it and waits until then. `turn` counts these changes of the session, since
    /// two links may bring them out of order; an older one is ignored.
    pub fn set_window(&mut self, party: &Party<'_, H>, turn: u64, window: Option<Instant>) {
        let Some(login) = self.login_mut(party.engine, party.session).filter(|login| login.turn < turn) else {
            return;
        };
        login.turn = turn;
        let before = core::mem::replace(&mut login.window, window);
        let handle = login.handle.clone();
        if let Some(before) = before {
            self.windows.remove(&(before, party.session));
        }
        if let Some(until) = window {
            self.windows.insert((until, party.session), handle);
        }
    }

    /// The session ended: nobody reaches it any more. What is remembered of its engine keeps a late login of it from
    /// doing harm, and a message that it sent to the server from running twice.
    pub fn remove(
        &mut self,
        now: Instant,
        party: &Party<'_, H>,
        reason: CloseReason,
        attempt: u32,
        dedupe: crate::session::dedupe::Dedupe,
    ) {
        let pushed_out = reason == CloseReason::PushedOut;
        let left = Left { origin: party.origin, attempt, pushed_out, dedupe };
        self.memory.remember(now, party.engine, left, &self.config);
        self.edition.change();
        let Some(person) = self.people.get_mut(&*party.engine.user) else { return };
        let mut window = None;
        for logins in [&mut person.devices, &mut person.commands] {
            logins.retain(|login| {
                let stays = login.session != party.session;
                if !stays {
                    window = login.window;
                    self.sessions -= 1;
                }
                stays
            });
        }
        if let Some(until) = window {
            self.windows.remove(&(until, party.session));
        }
        if person.devices.is_empty() {
            self.online.remove(&*party.engine.user);
        }
        // One that may be back at once, as after a fresh login of the same engine, is looked at later.
        let at_once = !matches!(reason, CloseReason::NetworkInterrupted | CloseReason::Superseded);
        self.went(now, &party.engine.user, party.session, at_once);
        self.forget_if_gone(&party.engine.user);
    }

    /// Whether there is something to fetch, or [`Hub::poll_timeout`] has become earlier, since this was asked last.
    #[must_use]
    pub fn take_changed(&mut self) -> bool {
        core::mem::take(&mut self.changed)
    }

    /// Changes when broadcasts that wait for their sender to be known are to be looked at again.
    #[must_use]
    pub const fn judged(&self) -> u64 {
        self.judged
    }

    /// The next session whose resume window has ended; its `handle_timeout` is to be called.
    #[must_use]
    pub fn poll_due(&mut self, now: Instant) -> Option<H> {
        self.memory.forget(now);
        let entry = self.windows.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }

    /// When [`Hub::poll_due`] or [`Hub::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let window = self.windows.first_key_value().map(|((until, _), _)| *until);
        let due = self.due.first().map(|(at, _)| *at);
        let times = [window, due, self.memory.poll_timeout(), self.jobs.poll_timeout()];
        times.into_iter().flatten().min()
    }

    fn login_mut(&mut self, engine: &Engine, session: SessionId) -> Option<&mut Login<H>> {
        let person = self.people.get_mut(&*engine.user)?;
        let mut logins = person.devices.iter_mut().chain(&mut person.commands);
        logins.find(|login| login.session == session)
    }
}

/// The secret half of the directory's hash.
#[derive(Debug, Clone)]
struct SipKeys(u64, u64);

impl BuildHasher for SipKeys {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}

#[cfg(test)]
mod tests;
