//! What logins, relogins, kicks and resumes mean, in as few words as possible: who has a session, who is told what, who
//! gets which message. Nothing here counts frames, draws jitter or knows of links.

use std::{collections::BTreeMap, fmt};

use esf_proto::close::CloseReason;
use proptest::{prelude::*, sample::select};
use proptest_state_machine::ReferenceStateMachine;

use super::{Kind, able};

/// Where the time to resume ends is never a whole tenth of a second, when everything else happens.
pub(crate) const WINDOW: u64 = 10_050;
/// Everybody who can connect is connected after this time, …
pub(crate) const SETTLES: u64 = 100;
/// … or after this one, where an older login is asked for a sign of life.
pub(crate) const PROBES: u64 = 2_000;

/// Clients beside those of the model, whose logins count.
const ALWAYS_THERE: u64 = 2;

/// Places that a login can take: a user with a device.
pub(crate) const PLACES: [Place; 3] = [Place::AnnaPhone, Place::AnnaDesktop, Place::BenPhone];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    AnnaPhone,
    AnnaDesktop,
    BenPhone,
}

impl Place {
    pub(crate) const fn user(self) -> &'static str {
        match self {
            Self::AnnaPhone | Self::AnnaDesktop => "anna",
            Self::BenPhone => "ben",
        }
    }
}

/// One thing that happens. A number is an engine, in the order in which they joined.
#[derive(Clone, Copy)]
pub(crate) enum Happens {
    /// Somebody logs in with a new engine.
    Join(Place),
    /// Both ends lose the link; the client can connect at once.
    Cut(usize),
    /// Only the client gives the link up; it can connect at once.
    GiveUp(usize),
    /// Both ends lose the link, and the client cannot connect.
    Away(usize),
    /// Only the client loses the link, and cannot connect.
    Vanish(usize),
    /// The process of the client dies, and the server does not know.
    Die(usize),
    /// The server notices that a link is dead.
    Notice(usize),
    /// The client can connect again.
    Back(usize),
    LogOff(usize),
    /// Somebody who may kick does so.
    Kick(&'static str),
    /// Somebody who may not kick tries to.
    KickWithoutRight(&'static str),
    /// Somebody else sends a user a plain message.
    Say(&'static str),
    RestartServer,
    /// So many milliseconds.
    Pass(u64),
}

/// A line of a failure.
impl fmt::Debug for Happens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Join(Place::AnnaPhone) => write!(f, "anna joins with a phone"),
            Self::Join(Place::AnnaDesktop) => write!(f, "anna joins with a desktop"),
            Self::Join(Place::BenPhone) => write!(f, "ben joins with a phone"),
            Self::Cut(who) => write!(f, "the link of engine {who} is cut"),
            Self::GiveUp(who) => write!(f, "engine {who} gives its link up"),
            Self::Away(who) => write!(f, "engine {who} goes away"),
            Self::Vanish(who) => write!(f, "engine {who} goes away unnoticed"),
            Self::Die(who) => write!(f, "engine {who} dies unnoticed"),
            Self::Notice(who) => write!(f, "the server notices that the link of engine {who} is dead"),
            Self::Back(who) => write!(f, "engine {who} comes back"),
            Self::LogOff(who) => write!(f, "engine {who} logs off"),
            Self::Kick(user) => write!(f, "{user} is kicked out"),
            Self::KickWithoutRight(user) => write!(f, "somebody without the right tries to kick {user} out"),
            Self::Say(user) => write!(f, "somebody sends {user} a message"),
            Self::RestartServer => write!(f, "the server is restarted"),
            Self::Pass(ms) => write!(f, "{ms} ms pass"),
        }
    }
}

/// What an application is told of its login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    LoggedIn,
    Refused(CloseReason),
    Interrupted,
    Rebuilding,
    Resumed,
    Fresh,
    RelogonRefused,
    PushedOut,
    KickedOut,
    Closed(CloseReason),
}

/// A client.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    pub(crate) place: Place,
    pub(crate) life: Life,
    /// Everything that its application was told.
    pub(crate) told: Vec<Told>,
    /// Every message that it took, by number.
    pub(crate) inbox: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Online,
    /// It has no link and cannot get one.
    Offline,
    Dead,
    Over(CloseReason),
}

/// A login as the server knows it.
#[derive(Debug, Clone, Default)]
struct Session {
    /// When it ends, once the server knows that the link is dead.
    ends: Option<u64>,
    /// Messages that its client has not got.
    waiting: Vec<usize>,
}

/// The whole.
#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) ignores_new: bool,
    now: u64,
    pub(crate) engines: Vec<Engine>,
    /// By engine.
    sessions: BTreeMap<usize, Session>,
    /// Engines that were pushed out, and until when that is remembered.
    pushed_out: BTreeMap<usize, u64>,
    pub(crate) said: usize,
    /// Logins and resumes in this life of the server, those of two who are always there included.
    pub(crate) logins: u64,
    pub(crate) resumes: u64,
    /// What the last kick came to.
    pub(crate) kicked: bool,
}

impl Model {
    fn new(ignores_new: bool) -> Self {
        Self {
            ignores_new,
            now: 0,
            engines: Vec::new(),
            sessions: BTreeMap::new(),
            pushed_out: BTreeMap::new(),
            said: 0,
            logins: ALWAYS_THERE,
            resumes: 0,
            kicked: false,
        }
    }

    /// Whether others see the user online.
    pub(crate) fn is_online(&self, user: &str) -> bool {
        self.sessions.keys().any(|engine| self.engines[*engine].place.user() == user)
    }

    /// How much time each transition is given.
    pub(crate) fn settles(&self) -> u64 {
        if self.ignores_new { PROBES + SETTLES } else { SETTLES }
    }

    fn happens(&mut self, what: Happens) {
        let over = self.now + self.settles() + if let Happens::Pass(ms) = what { ms } else { 0 };
        match what {
            Happens::Join(place) => {
                let life = Life::Offline;
                self.engines.push(Engine { place, life, told: Vec::new(), inbox: Vec::new() });
                self.log_in(self.engines.len() - 1, true);
            }
            Happens::Cut(who) | Happens::GiveUp(who) => {
                self.tell(who, &[Told::Interrupted, Told::Rebuilding]);
                self.log_in(who, false);
            }
            Happens::Away(who) => {
                self.loses_link(who);
                self.notices(who);
            }
            Happens::Vanish(who) => self.loses_link(who),
            Happens::Die(who) => self.engines[who].life = Life::Dead,
            Happens::Notice(who) => self.notices(who),
            Happens::Back(who) => self.log_in(who, false),
            Happens::LogOff(who) => {
                if self.engines[who].life == Life::Online {
                    self.sessions.remove(&who);
                }
                self.ends(who, CloseReason::LoggedOff);
            }
            Happens::Kick(user) => {
                self.kicked = self.is_online(user);
                for who in self.engines_of(user) {
                    if self.sessions.remove(&who).is_some() && self.engines[who].life == Life::Online {
                        self.tell(who, &[Told::KickedOut]);
                        self.ends(who, CloseReason::Kicked);
                    }
                }
            }
            Happens::KickWithoutRight(_) => {}
            Happens::Say(user) => self.say(user),
            Happens::RestartServer => {
                (self.sessions, self.pushed_out) = Default::default();
                (self.logins, self.resumes) = (ALWAYS_THERE, 0);
                for who in 0..self.engines.len() {
                    if self.engines[who].life == Life::Online {
                        self.tell(who, &[Told::Interrupted, Told::Rebuilding]);
                        self.log_in(who, false);
                    }
                }
            }
            Happens::Pass(_) => {}
        }
        self.pass_to(over);
    }

    /// An engine that can connect does so: its session goes on, or it takes the place, or somebody else has it.
    fn log_in(&mut self, who: usize, interactive: bool) {
        if let Some(session) = self.sessions.get_mut(&who) {
            session.ends = None;
            self.engines[who].inbox.append(&mut session.waiting);
            self.engines[who].life = Life::Online;
            self.resumes += 1;
            return self.tell(who, &[Told::Resumed]);
        }
        if self.pushed_out.get(&who).is_some_and(|until| *until > self.now) {
            return self.refuse(who, interactive, CloseReason::PushedOut);
        }
        let place = self.engines[who].place;
        let rival = self.sessions.keys().copied().find(|other| self.engines[*other].place == place);
        if let Some(rival) = rival {
            // Engines join in the order in which they log in by hand: the later one is the newer login.
            if !interactive && who < rival {
                return self.refuse(who, interactive, CloseReason::PushedOut);
            }
            let is_linked = self.sessions[&rival].ends.is_none();
            if self.ignores_new && is_linked && self.engines[rival].life == Life::Online {
                return self.refuse(who, interactive, CloseReason::NewConnectionIgnored);
            }
            if self.ignores_new && is_linked {
                self.pass_to(self.now + PROBES);
            }
            self.sessions.remove(&rival);
            self.pushed_out.insert(rival, self.now + WINDOW);
            if self.engines[rival].life == Life::Online {
                self.tell(rival, &[Told::PushedOut]);
                self.ends(rival, CloseReason::PushedOut);
            }
        }
        self.sessions.insert(who, Session::default());
        self.engines[who].life = Life::Online;
        self.logins += 1;
        self.tell(who, &[if interactive { Told::LoggedIn } else { Told::Fresh }]);
    }

    fn refuse(&mut self, who: usize, interactive: bool, reason: CloseReason) {
        self.tell(who, &[if interactive { Told::Refused(reason) } else { Told::RelogonRefused }]);
        if reason == CloseReason::PushedOut {
            self.tell(who, &[Told::PushedOut]);
        }
        self.ends(who, reason);
    }

    fn loses_link(&mut self, who: usize) {
        self.tell(who, &[Told::Interrupted, Told::Rebuilding]);
        self.engines[who].life = Life::Offline;
    }

    fn notices(&mut self, who: usize) {
        let ends = self.now + WINDOW;
        if let Some(session) = self.sessions.get_mut(&who) {
            session.ends.get_or_insert(ends);
        }
    }

    fn say(&mut self, user: &str) {
        let number = self.said;
        self.said += 1;
        for who in self.engines_of(user) {
            let Some(session) = self.sessions.get_mut(&who) else { continue };
            if self.engines[who].life == Life::Online {
                self.engines[who].inbox.push(number);
            } else {
                session.waiting.push(number);
            }
        }
    }

    fn pass_to(&mut self, now: u64) {
        self.now = now;
        self.sessions.retain(|_, session| session.ends.is_none_or(|ends| ends > self.now));
    }

    fn ends(&mut self, who: usize, reason: CloseReason) {
        self.engines[who].life = Life::Over(reason);
        self.tell(who, &[Told::Closed(reason)]);
    }

    fn tell(&mut self, who: usize, what: &[Told]) {
        self.engines[who].told.extend(what);
    }

    fn engines_of(&self, user: &str) -> Vec<usize> {
        (0..self.engines.len()).filter(|who| self.engines[*who].place.user() == user).collect()
    }

    fn is(&self, who: usize, lives: &[Life]) -> bool {
        self.engines.get(who).is_some_and(|engine| lives.contains(&engine.life))
    }

    /// Whether the server believes in a link that is dead.
    fn believes_in(&self, who: usize) -> bool {
        self.sessions.get(&who).is_some_and(|session| session.ends.is_none()) && self.engines[who].life != Life::Online
    }
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Happens;

    fn init_state() -> BoxedStrategy<Self> {
        any::<bool>().prop_map(Self::new).boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Happens> {
        let users = || select(vec!["anna", "ben"]);
        let mut weighted = vec![
            (4, select(PLACES.to_vec()).prop_map(Happens::Join).boxed()),
            (2, users().prop_map(Happens::Kick).boxed()),
            (1, users().prop_map(Happens::KickWithoutRight).boxed()),
            (6, users().prop_map(Happens::Say).boxed()),
            (1, Just(Happens::RestartServer).boxed()),
            (3, select(vec![1_000, 4_000, 11_000]).prop_map(Happens::Pass).boxed()),
        ];
        let kinds: [(u32, Kind<Happens>); 8] = [
            (3, Happens::Cut),
            (3, Happens::GiveUp),
            (6, Happens::Away),
            (4, Happens::Vanish),
            (1, Happens::Die),
            (4, Happens::Notice),
            (6, Happens::Back),
            (4, Happens::LogOff),
        ];
        weighted.extend(able(&kinds, state.engines.len(), |happens| Self::preconditions(state, happens)));
        proptest::strategy::Union::new_weighted(weighted).boxed()
    }

    fn preconditions(state: &Self, transition: &Happens) -> bool {
        match *transition {
            Happens::Cut(who) | Happens::GiveUp(who) | Happens::Away(who) | Happens::Vanish(who) => {
                state.is(who, &[Life::Online])
            }
            Happens::Back(who) => state.is(who, &[Life::Offline]),
            Happens::Die(who) | Happens::LogOff(who) => state.is(who, &[Life::Online, Life::Offline]),
            Happens::Notice(who) => state.believes_in(who),
            _ => true,
        }
    }

    fn apply(mut state: Self, transition: &Happens) -> Self {
        state.happens(*transition);
        state
    }
}

/// The beginning is all that somebody who reads a failure needs to know.
impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.ignores_new {
            "a server that ignores new logins"
        } else {
            "a server that replaces old logins"
        })
    }
}
