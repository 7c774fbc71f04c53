//! What becomes of certain sends, exactly: where each message and each answer is, what it means that a link or a session
//! ends there, and so which outcome each send has and which messages each application gets, in order. There are no counts
//! here, no replay windows and no acknowledged frames, only "is it there yet".

use std::{collections::BTreeMap, fmt};

use esf_proto::failure::Failure;
use proptest::{prelude::*, sample::select};
use proptest_state_machine::ReferenceStateMachine;

use super::{Kind, able};

/// How long a session waits for its client. It ends between two tenths of a second; everything else happens on one, and
/// what a client does because it can connect again happens within 40 ms.
pub(crate) const WINDOW: u64 = 10_050;
/// What a send may take: it ends between two tenths of a second as well, later than a client needs to connect, also when
/// the server counts from when it has it.
pub(crate) const TTLS: [u64; 2] = [2_445, 290_045];
/// Everybody who can connect is connected after this time, and everything that was received is counted.
pub(crate) const SETTLES: u64 = 300;
/// No heartbeat is due until then.
const NO_LONGER: u64 = 270_000;

/// Who may be sent to and by whom; the server only gets.
pub(crate) const NAMES: [&str; 3] = ["anna", "ben", "cara"];

/// One thing that happens. The number is a place in [`NAMES`].
#[derive(Clone, Copy)]
pub(crate) enum Happens {
    /// From whom, to whom (`None` is the server), and how long it may take.
    Send(usize, Option<usize>, u64),
    /// Both ends lose the link; the client can connect at once.
    Cut(usize),
    /// Only the client gives the link up; it can connect at once.
    GiveUp(usize),
    /// Both ends lose the link, and the client cannot connect.
    Away(usize),
    /// Only the client loses the link, and cannot connect.
    Vanish(usize),
    /// The server notices that a link is dead.
    Notice(usize),
    /// What was under way on a link that its client gave up arrives.
    Late(usize),
    Back(usize),
    /// Nothing of what the client sends arrives for now.
    HoldUp(usize),
    /// Nothing arrives at the client for now.
    HoldDown(usize),
    /// Everything that was held arrives.
    Release(usize),
    /// The application takes messages, or not.
    Takes(usize, bool),
    /// The process of a client dies and starts again, as another engine.
    Reborn(usize),
    RestartServer,
    Pass(u64),
}

/// Names an engine; those that died keep theirs.
pub(crate) type Number = usize;

/// What became of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Acked,
    Failed(Failure),
}

/// A certain send.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) from: Number,
    to: Option<usize>,
    ttl: u64,
    deadline: u64,
    resent: bool,
    pub(crate) outcome: Option<Outcome>,
}

/// Something between a client and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    /// A message, and until when the server hands it out.
    Message(usize, u64),
    Answer(usize, Outcome),
}

#[derive(Debug, Clone)]
pub(crate) struct Engine {
    name: usize,
    pub(crate) alive: bool,
    online: bool,
    takes: bool,
    /// Not handed out yet.
    queue: Vec<Item>,
    /// Every message that it ever accepted.
    accepted: Vec<usize>,
    /// How many of these its application has taken.
    taken: usize,
}

/// A login as the server knows it, and what is under way on its link.
#[derive(Debug, Clone, Default)]
struct Session {
    ends: Option<u64>,
    holds_up: bool,
    holds_down: bool,
    /// Handed out by the client; the server does not have it.
    going_up: Vec<Item>,
    /// For the client; not handed out, since there is no link.
    waiting: Vec<Item>,
    /// Handed out by the server; the client does not have it.
    going_down: Vec<Item>,
}

#[derive(Clone)]
pub(crate) struct Model {
    now: u64,
    pub(crate) engines: Vec<Engine>,
    /// The living engine of each name.
    pub(crate) alive: [Number; NAMES.len()],
    sessions: BTreeMap<Number, Session>,
    pub(crate) sent: Vec<Sent>,
    /// What the server's application got in all its lives.
    pub(crate) served: Vec<usize>,
    /// What it got in this life.
    served_now: Vec<usize>,
}

impl Model {
    fn new() -> Self {
        let mut model = Self {
            now: 0,
            engines: Vec::new(),
            alive: [0; NAMES.len()],
            sessions: BTreeMap::new(),
            sent: Vec::new(),
            served: Vec::new(),
            served_now: Vec::new(),
        };
        (0..NAMES.len()).for_each(|name| model.is_born(name));
        model
    }

    /// What the application of an engine has got.
    pub(crate) fn inbox(&self, engine: Number) -> &[usize] {
        let engine = &self.engines[engine];
        &engine.accepted[..engine.taken]
    }

    /// Whether the client of this name is online.
    pub(crate) fn is_online(&self, name: usize) -> bool {
        self.engines[self.alive[name]].online
    }

    fn happens(&mut self, what: Happens) {
        let alive = self.alive;
        let mut over = self.now + SETTLES;
        match what {
            Happens::Send(from, to, ttl) => self.sends(alive[from], to, ttl),
            Happens::Cut(name) | Happens::GiveUp(name) => {
                self.engines[alive[name]].online = false;
                self.comes_online(alive[name]);
            }
            Happens::Away(name) => {
                self.engines[alive[name]].online = false;
                self.notices(alive[name]);
            }
            Happens::Vanish(name) => self.engines[alive[name]].online = false,
            Happens::Notice(name) => self.notices(alive[name]),
            Happens::Late(name) => {
                if let Some(session) = self.sessions.get_mut(&alive[name]) {
                    // The newer link of somebody who is online again fences the older one.
                    if session.ends.is_none() && !self.engines[alive[name]].online {
                        self.release_up(alive[name]);
                    }
                }
            }
            Happens::Back(name) => self.comes_online(alive[name]),
            Happens::HoldUp(name) => self.session(alive[name]).holds_up = true,
            Happens::HoldDown(name) => self.session(alive[name]).holds_down = true,
            Happens::Release(name) => {
                self.release_up(alive[name]);
                self.release_down(alive[name]);
            }
            Happens::Takes(name, takes) => {
                self.engines[alive[name]].takes = takes;
                self.take(alive[name]);
            }
            Happens::Reborn(name) => {
                self.engines[alive[name]].alive = false;
                self.engines[alive[name]].online = false;
                self.session_ends(alive[name]);
                self.is_born(name);
            }
            Happens::RestartServer => {
                self.served_now.clear();
                let were_online: Vec<Number> = alive.into_iter().filter(|who| self.engines[*who].online).collect();
                let old = std::mem::take(&mut self.sessions);
                // They come back one after the other, so that it is clear who finds whom.
                for who in &were_online {
                    self.engines[*who].online = false;
                }
                drop(old);
                for who in were_online {
                    self.comes_online(who);
                    self.pass_to(self.now + SETTLES);
                }
                over = self.now;
            }
            Happens::Pass(ms) => over += ms,
        }
        self.pass_to(over);
    }

    fn sends(&mut self, from: Number, to: Option<usize>, ttl: u64) {
        let id = self.sent.len();
        self.sent.push(Sent { from, to, ttl, deadline: self.now + ttl, resent: false, outcome: None });
        self.hands_out(from, Item::Message(id, 0));
    }

    // The way up.

    fn hands_out(&mut self, who: Number, item: Item) {
        if !self.engines[who].online {
            self.engines[who].queue.push(item);
        } else if self.session(who).holds_up {
            self.session(who).going_up.push(item);
        } else {
            self.reaches_server(who, item);
        }
    }

    fn reaches_server(&mut self, who: Number, item: Item) {
        match item {
            Item::Message(id, _) => {
                let item = Item::Message(id, self.now + self.sent[id].ttl);
                match self.sent[id].to {
                    None => {
                        if !self.served_now.contains(&id) {
                            self.served_now.push(id);
                            self.served.push(id);
                        }
                        self.goes_down(who, Item::Answer(id, Outcome::Acked));
                    }
                    Some(name) => match self.session_of(name) {
                        Some(target) => self.goes_down(target, item),
                        None => self.goes_down(who, Item::Answer(id, Outcome::Failed(Failure::Offline))),
                    },
                }
            }
            Item::Answer(id, _) => self.goes_down(self.sent[id].from, item),
        }
    }

    // The way down.

    fn goes_down(&mut self, who: Number, item: Item) {
        let online = self.engines[who].online;
        let Some(session) = self.sessions.get_mut(&who) else { return };
        if session.ends.is_some() {
            session.waiting.push(item);
        } else if !online || session.holds_down {
            session.going_down.push(item);
        } else {
            self.reaches_client(who, item);
        }
    }

    fn reaches_client(&mut self, who: Number, item: Item) {
        match item {
            Item::Message(id, _) => {
                if !self.engines[who].accepted.contains(&id) {
                    self.engines[who].accepted.push(id);
                    self.take(who);
                }
                self.hands_out(who, Item::Answer(id, Outcome::Acked));
            }
            Item::Answer(id, outcome) => {
                let resent = self.sent[id].resent && outcome != Outcome::Acked;
                let outcome = if resent { Outcome::Failed(Failure::ConnectionLost) } else { outcome };
                self.sent[id].outcome.get_or_insert(outcome);
            }
        }
    }

    fn take(&mut self, who: Number) {
        if self.engines[who].takes {
            self.engines[who].taken = self.engines[who].accepted.len();
        }
    }

    // Links and sessions.

    /// The client has a link and logs in: its session goes on, or it gets a new one.
    fn comes_online(&mut self, who: Number) {
        self.engines[who].online = true;
        let queue = std::mem::take(&mut self.engines[who].queue);
        let now = self.now;
        if let Some(session) = self.sessions.get_mut(&who) {
            session.ends = None;
            let in_time = |item: &Item| !matches!(item, Item::Message(_, until) if *until <= now);
            session.going_down.extend(session.waiting.drain(..).filter(in_time));
            // What comes of what goes up is behind all that.
            session.holds_down = true;
            self.release_up(who);
            self.release_down(who);
        } else {
            self.sessions.insert(who, Session::default());
            let is_queued =
                |id: usize| queue.iter().any(|item| matches!(item, Item::Message(queued, _) if *queued == id));
            let open = |id: &usize| self.sent[*id].from == who && self.sent[*id].outcome.is_none() && !is_queued(*id);
            let lost: Vec<usize> = (0..self.sent.len()).filter(open).collect();
            for id in lost {
                self.sent[id].resent = true;
                self.hands_out(who, Item::Message(id, 0));
            }
        }
        for item in queue {
            self.hands_out(who, item);
        }
    }

    fn release_up(&mut self, who: Number) {
        self.session(who).holds_up = false;
        for item in std::mem::take(&mut self.session(who).going_up) {
            self.reaches_server(who, item);
        }
    }

    fn release_down(&mut self, who: Number) {
        self.session(who).holds_down = false;
        for item in std::mem::take(&mut self.session(who).going_down) {
            self.reaches_client(who, item);
        }
    }

    fn notices(&mut self, who: Number) {
        let ends = self.now + WINDOW;
        if let Some(session) = self.sessions.get_mut(&who) {
            session.ends.get_or_insert(ends);
        }
    }

    fn session_ends(&mut self, who: Number) {
        let Some(session) = self.sessions.remove(&who) else { return };
        let now = self.now;
        // What the client has and has acknowledged, but the server has not heard of it, is as lost as what is under way.
        let unheard = session.going_up.into_iter().filter_map(|item| match item {
            Item::Answer(id, _) => Some(Item::Message(id, u64::MAX)),
            Item::Message(..) => None,
        });
        let lost = unheard.chain(session.going_down).map(|item| (item, Failure::ConnectionLost));
        let unsent = session.waiting.into_iter().map(|item| (item, Failure::Offline));
        let unsent = unsent.filter(|(item, _)| !matches!(item, Item::Message(_, until) if *until <= now));
        for (item, failure) in lost.chain(unsent) {
            if let Item::Message(id, _) = item {
                self.goes_down(self.sent[id].from, Item::Answer(id, Outcome::Failed(failure)));
            }
        }
    }

    fn is_born(&mut self, name: usize) {
        self.alive[name] = self.engines.len();
        self.sessions.insert(self.engines.len(), Session::default());
        self.engines.push(Engine {
            name,
            alive: true,
            online: true,
            takes: true,
            queue: Vec::new(),
            accepted: Vec::new(),
            taken: 0,
        });
    }

    // Time.

    fn pass_to(&mut self, end: u64) {
        let ending = |(who, session): (&Number, &Session)| session.ends.map(|at| (at, *who));
        while let Some((at, who)) = self.sessions.iter().filter_map(ending).min().filter(|(at, _)| *at <= end) {
            self.time_out(at);
            self.now = at;
            self.session_ends(who);
        }
        self.time_out(end);
        self.now = end;
    }

    fn time_out(&mut self, now: u64) {
        for (id, sent) in self.sent.iter_mut().enumerate() {
            if sent.deadline <= now && sent.outcome.is_none() {
                sent.outcome = Some(Outcome::Failed(Failure::TimedOut));
                self.engines[sent.from].queue.retain(|item| !matches!(item, Item::Message(queued, _) if *queued == id));
            }
        }
    }

    fn session(&mut self, who: Number) -> &mut Session {
        self.sessions.get_mut(&who).expect("whoever has a link has a session")
    }

    fn session_of(&self, name: usize) -> Option<Number> {
        self.sessions.keys().copied().find(|who| self.engines[*who].name == name)
    }
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Happens;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::new()).boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Happens> {
        let name = || 0..NAMES.len();
        let to = prop_oneof![4 => name().prop_map(Some), 1 => Just(None)];
        let ttl = prop_oneof![1 => Just(TTLS[0]), 4 => Just(TTLS[1])];
        let mut weighted = vec![
            (24, (name(), to, ttl).prop_map(|(from, to, ttl)| Happens::Send(from, to, ttl)).boxed()),
            (2, (name(), any::<bool>()).prop_map(|(name, takes)| Happens::Takes(name, takes)).boxed()),
            (1, name().prop_map(Happens::Reborn).boxed()),
            (1, Just(Happens::RestartServer).boxed()),
        ];
        if state.now < NO_LONGER - 12_000 {
            weighted.push((5, select(vec![1_000, 4_000, 11_000]).prop_map(Happens::Pass).boxed()));
        }
        let kinds: [(u32, Kind<Happens>); 10] = [
            (3, Happens::Cut),
            (3, Happens::GiveUp),
            (3, Happens::Away),
            (3, Happens::Vanish),
            (2, Happens::Notice),
            (3, Happens::Late),
            (8, Happens::Back),
            (4, Happens::HoldUp),
            (4, Happens::HoldDown),
            (4, Happens::Release),
        ];
        weighted.extend(able(&kinds, NAMES.len(), |happens| Self::preconditions(state, happens)));
        proptest::strategy::Union::new_weighted(weighted).boxed()
    }

    fn preconditions(state: &Self, transition: &Happens) -> bool {
        let session = |name: usize| state.sessions.get(&state.alive[name]);
        match *transition {
            Happens::Cut(name) | Happens::GiveUp(name) | Happens::Away(name) | Happens::Vanish(name) => {
                state.is_online(name)
            }
            Happens::HoldUp(name) => state.is_online(name) && session(name).is_some_and(|session| !session.holds_up),
            Happens::HoldDown(name) => {
                state.is_online(name) && session(name).is_some_and(|session| !session.holds_down)
            }
            Happens::Release(name) => {
                state.is_online(name) && session(name).is_some_and(|session| session.holds_up || session.holds_down)
            }
            Happens::Notice(name) => {
                !state.is_online(name) && session(name).is_some_and(|session| session.ends.is_none())
            }
            Happens::Back(name) => !state.is_online(name),
            Happens::Pass(ms) => state.now + ms < NO_LONGER,
            _ => true,
        }
    }

    fn apply(mut state: Self, transition: &Happens) -> Self {
        state.happens(*transition);
        state
    }
}

/// Everybody begins alike.
impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anna, ben and cara are logged in")
    }
}

/// A line of a failure.
impl fmt::Debug for Happens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = |name: &usize| NAMES[*name];
        match self {
            Self::Send(from, to, ttl) => {
                write!(f, "{} sends {} a message, for {ttl} ms", n(from), to.map_or("the server", |to| NAMES[to]))
            }
            Self::Cut(name) => write!(f, "the link of {} is cut", n(name)),
            Self::GiveUp(name) => write!(f, "{} gives the link up", n(name)),
            Self::Away(name) => write!(f, "{} goes away", n(name)),
            Self::Vanish(name) => write!(f, "{} goes away unnoticed", n(name)),
            Self::Notice(name) => write!(f, "the server notices that the link of {} is dead", n(name)),
            Self::Late(name) => write!(f, "what {} has sent on links that were given up arrives", n(name)),
            Self::Back(name) => write!(f, "{} comes back", n(name)),
            Self::HoldUp(name) => write!(f, "nothing arrives from {}", n(name)),
            Self::HoldDown(name) => write!(f, "nothing arrives at {}", n(name)),
            Self::Release(name) => write!(f, "everything arrives from and at {} again", n(name)),
            Self::Takes(name, true) => write!(f, "the application of {} takes messages", n(name)),
            Self::Takes(name, false) => write!(f, "the application of {} takes no messages", n(name)),
            Self::Reborn(name) => write!(f, "{} dies and starts again", n(name)),
            Self::RestartServer => write!(f, "the server is restarted"),
            Self::Pass(ms) => write!(f, "{ms} ms pass"),
        }
    }
}
