//! The server's process: its node, the loops of its links, and its application.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use esf_driver::{
    endpoint::Endpoint as _,
    node::{Cell, Inputs, Node, ServerEvent},
};
use esf_proto::{
    ids::{InstanceId, MessageId},
    server::{AppRequest, AppResponse, Config, DeskEvent, LinkState},
    session::inbound::QueryToken,
    time::{Instant, UnixMillis},
};

use super::{
    Event, Ready, Sim, Waking,
    clock::Clock,
    judge::Judges,
    ledger::{Kind, Outcome, Party, body_of, number_in},
    links::Far,
    plan::Plan,
    random::Random,
    store::STORE,
    trouble::Trouble,
};
use crate::{accounts::Accounts, blobs::ServerBlobs};

/// Who is woken when it is no link.
pub(super) const NODE: usize = usize::MAX;
/// Lives of the server are instances from here on.
const FIRST_LIFE: u64 = 0x5E00;
/// The wall clock when a world begins, in ms.
const WALL: u64 = 1_700_000_000_000;

/// The server's process, over its lives.
pub struct Server {
    pub(super) node: Option<Arc<Node>>,
    pub(super) life: u64,
    pub(super) clock: Clock,
    pub(super) armed: Option<Instant>,
    /// What it keeps on disk: keys of tickets and accounts, and the bound of login numbers.
    accounts: Arc<Accounts>,
    numbers_below: u64,
    pub(super) wall: Arc<AtomicU64>,
    /// By how much the wall clock is wrong, in ms.
    pub(super) wall_is_off: i64,
    pub(super) apps: Vec<App>,
    /// What its application has sent and waits for.
    pub(super) asked: BTreeMap<MessageId, u32>,
    pub(super) trouble: Trouble,
    /// When it started or ended.
    pub(super) fresh: Vec<Instant>,
    /// Its application takes nothing until then.
    pub(super) stopped_until: Instant,
    /// How long an answer to a login takes at most, and how often it is "later".
    pub(super) slow_logins: Duration,
    pub(super) refused_logins: u64,
    ready: Arc<Ready>,
}

/// The server's application as far as one session goes.
#[derive(Debug)]
pub struct App {
    cell: Arc<Cell>,
    life: u64,
    blobs: ServerBlobs,
    whole: usize,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("life", &self.life).finish_non_exhaustive()
    }
}

impl Server {
    pub(super) fn new(random: &Random, plan: &Plan, ready: &Arc<Ready>, judges: &Judges) -> Self {
        let mut random = random.apart(3);
        let accounts = Arc::<Accounts>::default();
        accounts.gives_tickets.store(plan.tickets, Relaxed);
        let mut server = Self {
            node: None,
            life: 0,
            clock: Clock::new(random.between(0, 1 << 40), 0),
            armed: None,
            accounts,
            numbers_below: 0,
            wall: Arc::new(AtomicU64::new(WALL)),
            wall_is_off: 0,
            apps: Vec::new(),
            asked: BTreeMap::new(),
            trouble: Trouble::default(),
            fresh: Vec::new(),
            stopped_until: Instant::ZERO,
            slow_logins: Duration::ZERO,
            refused_logins: 0,
            ready: ready.clone(),
        };
        server.start(&plan.server, judges);
        server
    }

    fn start(&mut self, config: &Config, judges: &Judges) {
        self.life += 1;
        let life = self.life;
        let mut secret = u128::from(life) << 64;
        let wall = self.wall.clone();
        let node = Node::new(
            config.clone(),
            Inputs {
                instance: InstanceId(FIRST_LIFE + life),
                keys: (life, 2),
                secrets: Box::new(move || {
                    secret += 1;
                    secret.to_le_bytes()
                }),
                wall: Box::new(move || UnixMillis(wall.load(Relaxed))),
                tickets: Box::new(self.accounts.clone()),
            },
        );
        let from = self.numbers_below;
        self.reserve();
        node.reserve_login_numbers(from, self.numbers_below);
        node.register(&Waking::waker(NODE, &self.ready));
        node.register_events(&Waking::waker(NODE, &self.ready));
        node.register_outcomes(&Waking::waker(NODE, &self.ready));
        node.register_store(&Waking::waker(STORE, &self.ready));
        judges.sit(&node, &self.ready);
        self.node = Some(node);
    }

    /// What its authenticator says.
    pub(super) fn decide(&self, request: AppRequest) -> AppResponse {
        self.accounts.answer(request)
    }

    /// Raises the bound that is kept on disk, as the real server does.
    fn reserve(&mut self) {
        self.numbers_below = (self.numbers_below + 60_000).max(self.wall.load(Relaxed) + 600_000);
    }

    /// What its application keeps of a session.
    pub(super) fn app_of(&mut self, cell: &Arc<Cell>) -> usize {
        let known = self.apps.iter().rposition(|app| Arc::ptr_eq(&app.cell, cell));
        known.unwrap_or_else(|| {
            let (cell, life) = (cell.clone(), self.life);
            self.apps.push(App { cell, life, blobs: ServerBlobs::default(), whole: 0 });
            self.apps.len() - 1
        })
    }

    /// Whether its own queue ever took something not.
    pub(super) fn was_busy(&self) -> bool {
        self.node.as_ref().is_some_and(|node| node.counters().busy.get() > 0)
    }

    /// The sessions of this life.
    pub(super) fn sessions(&self) -> impl Iterator<Item = &Cell> {
        self.apps.iter().filter(|app| app.life == self.life).map(|app| &*app.cell)
    }

    /// Which life of it has this instance.
    pub(super) fn life_of(&self, instance: InstanceId) -> Option<u64> {
        let life = instance.0.checked_sub(FIRST_LIFE)?;
        (1..=self.life).contains(&life).then_some(life)
    }
}

/// How long a handler takes for the query with this number; `None` if it never answers.
#[must_use]
pub fn answering(plan: &Plan, number: u32) -> Option<Duration> {
    let mut random = Random::new(u64::from(number) ^ 0xA5A5);
    if random.percent(plan.handlers.never) {
        return None;
    }
    let slowest = u64::try_from(plan.handlers.slowest.as_millis()).unwrap_or(0);
    Some(if random.percent(50) { Duration::ZERO } else { random.millis(0, slowest) })
}

impl Sim {
    pub(super) fn wall_passes(&mut self) {
        let now = i64::try_from(self.now.as_micros() / 1_000).unwrap_or(i64::MAX);
        let wall = i64::try_from(WALL).unwrap_or(0) + now + self.server.wall_is_off;
        self.server.wall.store(u64::try_from(wall).unwrap_or(1), Relaxed);
    }

    /// One turn of the loop of a server's link.
    pub(super) fn turn_server(&mut self, link: usize) {
        let now = self.now;
        let local = self.server.clock.shows(now);
        let waker = self.waker(link);
        let Some(Far { conn, .. }) = &mut self.links[link].server else { return };
        conn.register(&waker);
        let mut wait = None;
        for round in 0.. {
            self.ask_application(link);
            let chance = self.chance.number();
            let mut out = std::mem::take(&mut self.out);
            let wire = &mut self.links[link];
            let Some(Far { conn, end }) = &mut wire.server else { break };
            let turn = end.turn((now, local), conn, &mut wire.down, wire.up.read(), chance, &mut out);
            self.calls += turn.calls;
            self.went_down(link, &out);
            out.clear();
            self.out = out;
            if turn.spins {
                let name = self.link_name(link);
                self.violate("9 timers", format!("the server's end of {name} has a timer that is due again at once"));
            }
            if turn.bulk_ahead {
                let name = self.link_name(link);
                self.violate("5 bulk", format!("the server hands out a fragment behind unsent bytes on {name}"));
            }
            if let Some(reason) = turn.closing {
                self.server_closes(link, reason);
            }
            wait = turn.wait;
            self.link_may_be_detached(link);
            self.meet_application(link);
            if turn.over {
                let Some(Far { conn, .. }) = &mut self.links[link].server else { break };
                conn.handle_closed(local, None);
                self.server_end_is_over(link);
                return;
            }
            if !turn.moved || self.violation.is_some() {
                break;
            }
            if round > 1_000 {
                let name = self.link_name(link);
                return self.violate("9 timers", format!("the server's end of {name} does not come to rest"));
            }
        }
        self.check_session(link);
        let at = wait.map(|at| self.server.clock.reaches(at));
        self.arm_conn(link, at);
        let room = self.links[link].down.room_at(now);
        self.arm_conn(link, room);
    }

    /// The resume window opens when the session lets its link go, which may be long before its end is seen on the line.
    fn link_may_be_detached(&mut self, link: usize) {
        let now = self.now;
        let engine = self.links[link].engine;
        let of = &mut self.engines[engine];
        let Some(Far { conn, .. }) = &self.links[link].server else { return };
        if of.attached == Some(link) && conn.state() != LinkState::Attached {
            of.detached_at.get_or_insert(now);
        }
    }

    fn ask_application(&mut self, link: usize) {
        if self.links[link].answer.is_some() {
            return;
        }
        let Some(Far { conn, .. }) = &mut self.links[link].server else { return };
        let Some(request) = conn.poll_request() else { return };
        self.links[link].asked_at = Some(self.now);
        let slow = u64::try_from(self.server.slow_logins.as_millis()).unwrap_or(0);
        let takes = self.chance.millis(0, slow);
        let later = !self.quiet && self.chance.percent(self.server.refused_logins);
        self.wall_passes();
        let answer = match request {
            AppRequest::Authenticate(_) if later => AppResponse::Later { retry_after: Duration::from_millis(700) },
            request => self.server.decide(request),
        };
        self.links[link].answer = Some(answer);
        if takes.is_zero() {
            self.answer_login(link);
        } else {
            self.plan_in(takes, Event::Answered(link));
        }
    }

    /// The application has decided about a login.
    pub(super) fn answered(&mut self, link: usize) {
        self.answer_login(link);
        self.turn_server(link);
    }

    fn answer_login(&mut self, link: usize) {
        self.wall_passes();
        let local = self.server.clock.shows(self.now);
        let Some(answer) = self.links[link].answer.take() else { return };
        if let Some(Far { conn, .. }) = &mut self.links[link].server {
            conn.handle_response(local, answer);
            self.calls += 1;
        }
    }

    /// The application looks at the session of a link; it goes on doing so when the link has let the session go.
    pub(super) fn meet_application(&mut self, link: usize) {
        let Some(Far { conn, .. }) = &self.links[link].server else { return };
        if let Some(cell) = conn.cell().filter(|_| self.links[link].app.is_none()).cloned() {
            self.links[link].app = Some(self.server.app_of(&cell));
        }
        if let Some(app) = self.links[link].app {
            self.turn_application(app);
        }
    }

    /// The server's application takes what there is, of older sessions first.
    pub(super) fn turn_applications(&mut self) {
        for app in 0..self.server.apps.len() {
            self.turn_application(app);
        }
    }

    /// The server's application takes what there is of one session.
    pub(super) fn turn_application(&mut self, app: usize) {
        let now = self.now;
        if self.server.stopped_until > now || self.server.apps[app].life != self.server.life {
            return;
        }
        let local = self.server.clock.shows(now);
        let cell = self.server.apps[app].cell.clone();
        let me = Party::Server(self.server.life);
        while let Some(message) = cell.poll_message() {
            self.message_runs(me, &message);
        }
        while let Some(query) = cell.poll_query() {
            let number = number_in(&query.body).unwrap_or(u32::MAX);
            self.runs(me, number, Kind::Query, &query.source, &query.body, false);
            match answering(&self.plan, number) {
                Some(after) if after.is_zero() => self.answer_query(app, query.token, number),
                Some(after) => self.plan_in(after, Event::DeskReply(app, query.token, number)),
                None => {}
            }
        }
        let Some(node) = self.server.node.clone() else { return };
        let of = &mut self.server.apps[app];
        of.blobs.take(local, &node, &cell);
        if of.whole < of.blobs.whole.len() {
            let body = std::mem::take(&mut of.blobs.whole[of.whole]);
            of.whole += 1;
            let engine = cell.engine().clone();
            self.blob_runs(me, &esf_proto::ids::Source::Engine(engine), &body);
            if self.violation.is_none() {
                self.turn_application(app);
            }
        }
    }

    fn answer_query(&mut self, app: usize, token: QueryToken, number: u32) {
        let len = self.ledger.sent(number).map_or(8, |sent| sent.len);
        self.server.apps[app].cell.reply(token, Ok(&body_of(number, len)));
    }

    /// A handler of the server that took its time answers.
    pub(super) fn reply_of_server(&mut self, app: usize, token: QueryToken, number: u32) {
        if self.server.apps[app].life == self.server.life {
            self.answer_query(app, token, number);
        }
    }

    /// The server's housekeeper.
    pub(super) fn turn_node(&mut self) {
        let Some(node) = self.server.node.clone() else { return };
        let local = self.server.clock.shows(self.now);
        self.wall_passes();
        node.register(&Waking::waker(NODE, &self.ready));
        node.register_events(&Waking::waker(NODE, &self.ready));
        node.register_outcomes(&Waking::waker(NODE, &self.ready));
        for round in 0.. {
            if node.poll_timeout().is_none_or(|at| at > local) {
                break;
            }
            // What goes to many is carried on slice by slice, at once.
            let carries_on = round == 0 || node.poll_timeout() == Some(Instant::ZERO);
            if !carries_on || round > 1_000 {
                self.violate("9 timers", "the node has a timer that is due again at once".into());
                break;
            }
            node.handle_timeout(local);
            self.calls += 1;
        }
        if self.plan.server.intercepts {
            // What nobody has judged in time lets go of what came behind it.
            self.turn_applications();
        }
        while let Some(event) = node.poll_event() {
            match event {
                ServerEvent::TransmitFailed { info_type, failure, .. } => {
                    if let Some(sent) = self.ledger.sent_mut(info_type) {
                        sent.told.push(failure);
                    }
                }
                ServerEvent::BroadcastFailed { group, from, to, .. } => {
                    let (from, now) = (self.party_of(&from), self.now);
                    self.people.note_missed(group, from, to, now);
                }
                _ => {}
            }
        }
        while let Some(event) = node.poll_outcome(local) {
            let (id, outcome) = match event {
                DeskEvent::Acked { id } => (id, Outcome::Acked),
                DeskEvent::Stored { id } => (id, Outcome::Stored),
                DeskEvent::Replied { id, body } => {
                    let number = self.server.asked.get(&id).copied();
                    if number_in(&body) != number {
                        self.violate("10 from", format!("{id:?} of the server gets the answer to another"));
                    }
                    (id, Outcome::Replied)
                }
                DeskEvent::Failed { id, failure } => (id, Outcome::Failed(failure)),
            };
            match self.server.asked.remove(&id) {
                Some(number) => self.outcome(number, outcome),
                None => self.violate("1 once", format!("the server hears {outcome:?} of {id:?}, which is over")),
            }
        }
        let at = node.poll_timeout().map(|at| self.server.clock.reaches(at).max(self.now));
        if let Some(at) = at.filter(|at| self.server.armed.is_none_or(|armed| *at < armed)) {
            self.server.armed = Some(at);
            self.plan_at(at, Event::Node);
        }
    }

    pub(super) fn upkeep(&mut self) {
        self.wall_passes();
        self.server.reserve();
        if let Some(node) = &self.server.node {
            node.reserve_login_numbers(0, self.server.numbers_below);
        }
        self.plan_in(Duration::from_secs(60), Event::Upkeep);
    }

    /// What the sessions have for the application no handler will see any more.
    fn application_ends(&mut self, party: Party) {
        let Some(node) = self.server.node.clone() else { return };
        let local = self.server.clock.shows(self.now);
        for app in 0..self.server.apps.len() {
            if self.server.apps[app].life != self.server.life {
                continue;
            }
            let cell = self.server.apps[app].cell.clone();
            while let Some(message) = cell.poll_message() {
                self.held(party, number_in(&message.body));
            }
            // Those that came whole; no more bytes come of the others.
            let of = &mut self.server.apps[app];
            of.blobs.take(local, &node, &cell);
            let whole: Vec<Option<u32>> = of.blobs.whole[of.whole..].iter().map(|body| number_in(body)).collect();
            for number in whole {
                self.held(party, number);
            }
        }
    }

    /// The server dies without a word, and starts again after a while.
    pub(super) fn server_dies(&mut self, down_for: Duration) {
        self.say("server", || "dies".into());
        let now = self.now;
        let party = Party::Server(self.server.life);
        self.application_ends(party);
        for link in 0..self.links.len() {
            self.links[link].app = None;
            self.links[link].answer = None;
            let Some(far) = self.links[link].server.take() else { continue };
            drop(far);
            let wire = &mut self.links[link];
            wire.up.lose(0);
            // What the kernel has may still arrive; then a client learns at once, or late.
            let kept = self.chance.place(wire.down.under_way() + 1);
            wire.down.lose(kept);
            let late = if self.chance.percent(70) { self.chance.millis(1, 50) } else { self.chance.millis(50, 20_000) };
            self.plan_in(late, Event::ClientLearns(link));
        }
        for engine in &mut self.engines {
            engine.attached = None;
            engine.session_of_server = None;
            engine.fresh.push(now);
            // Until it is back, which it may be late to see.
            engine.trouble.begins(now);
        }
        self.attacker.conn_is_gone();
        self.people.server_is_gone();
        self.store.server_is_gone(now);
        self.ledger.abandon(party);
        self.server.asked.clear();
        self.server.node = None;
        self.server.trouble.span(now, now + down_for);
        self.server.fresh.push(now);
        self.plan_in(down_for, Event::Restart);
    }

    pub(super) fn server_starts(&mut self) {
        self.wall_passes();
        let config = self.plan.server.clone();
        self.server.start(&config, &self.judges);
        self.say("server", || "starts again".into());
        self.turn_node();
    }
}
