//! One server and its clients in memory, under a virtual clock.
//!
//! The server side is the very [`Node`] and [`Conn`]s that a real server runs; the clients are client sessions. What is
//! simulated is the transport between them: it holds whole messages, and a test may hold, cut or lose them. Nothing
//! here sleeps.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::Waker,
    time::Duration,
};

use bytes::Bytes;
use esf_driver::{
    endpoint::Endpoint,
    node::{Cell, Conn, Inputs, Node, ServerEvent},
    store::{MemoryStore, StoreLimits},
};
use esf_proto::{
    client::{Action, CertainOptions, Config as ClientConfig, Event, OutgoingBlob, SendOptions, Session, State},
    close::CloseReason,
    failure::Failure,
    ids::{DeviceKind, GroupId, InstanceId, LinkId, MessageId, To, UserId},
    server::Config as ServerConfig,
    session::inbound::{IncomingQuery, Message},
    time::{Instant, UnixMillis},
};

use crate::{
    accounts::Accounts,
    blobs::{Blobs, ServerBlobs},
    people::People,
    wire_between::{Down, Up, Wire},
};

/// The wall clock when a world begins, in ms. It passes with the virtual time, also over a restart of the server.
const WALL_AT_START: u64 = 1_700_000_000_000;

/// Names a client of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Who(pub usize);

/// What the server's application answers to a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answering {
    /// The query's own body.
    Echo,
    /// Nothing, ever.
    Never,
    /// That it failed.
    Fails,
}

/// One client and what it has seen.
pub struct Engine {
    /// The machine itself, for what the world has no shorthand for.
    pub session: Session,
    /// Every event so far.
    pub events: Vec<Event>,
    /// Every message that its application took.
    pub messages: Vec<Message>,
    /// Queries that wait for [`World::reply`].
    pub queries: Vec<IncomingQuery>,
    /// Whether its application takes messages; a handler that never returns does not.
    pub takes: bool,
    /// Whether its handlers return, so that stored messages are confirmed.
    pub confirms: bool,
    /// What its application does with a query.
    pub answering: Answering,
    /// Whether it may connect at present.
    pub network: bool,
    /// How many items pass on its next link, up and down, before both directions stand still.
    pub next_pass: Option<(usize, usize)>,
    /// The blobs that it sends and gets.
    pub blobs: Blobs,
    dead: bool,
}

/// The whole.
pub struct World {
    /// The time, the same for everybody.
    pub now: Instant,
    /// The server.
    pub node: Arc<Node>,
    /// What the server's application has taken, with who sent it.
    pub inbox: Vec<Message>,
    /// What the server's application does with a query.
    pub answering: Answering,
    /// Whether the authenticator answers; while it does not, it is not lost what it was asked.
    pub authenticates: bool,
    /// What its application knows of credentials and tickets.
    pub accounts: Arc<Accounts>,
    /// What its store knows, if its settings say that there is one.
    pub people: People,
    /// The blobs that the server's application got.
    pub server_blobs: ServerBlobs,
    /// The server's events so far.
    pub server_events: Vec<ServerEvent>,
    pub(crate) cells: Vec<Arc<Cell>>,
    engines: Vec<Engine>,
    links: BTreeMap<(Who, LinkId), Wire>,
    config: ServerConfig,
    lives: u64,
    wall: Arc<AtomicU64>,
}

impl World {
    /// A server with its defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::with(ServerConfig::default())
    }

    /// A server with these settings.
    #[must_use]
    pub fn with(config: ServerConfig) -> Self {
        let wall = Arc::new(AtomicU64::new(WALL_AT_START));
        let accounts = Arc::<Accounts>::default();
        Self {
            now: Instant::from_micros(1_000_000),
            node: node(config.clone(), 1, &wall, &accounts),
            inbox: Vec::new(),
            answering: Answering::Echo,
            authenticates: true,
            accounts,
            people: People::default(),
            server_blobs: ServerBlobs::default(),
            server_events: Vec::new(),
            cells: Vec::new(),
            engines: Vec::new(),
            links: BTreeMap::new(),
            config,
            lives: 1,
            wall,
        }
    }

    /// A server whose sessions wait only so long for their clients, so that a test comes to a fresh login before the
    /// times to live of what it sends are over.
    #[must_use]
    pub fn with_resume_window(window: Duration) -> Self {
        Self::with(ServerConfig { resume_window: window, ..ServerConfig::default() })
    }

    /// A server with a store that knows these people.
    #[must_use]
    pub fn with_people(people: People) -> Self {
        let mut world = Self::with(ServerConfig { store: true, ..ServerConfig::default() });
        world.people = people;
        world
    }

    /// A server with a store of messages, in which every name is a user's, and what it allows.
    #[must_use]
    pub fn with_store(limits: StoreLimits) -> Self {
        Self::with_store_and(limits, ServerConfig::default())
    }

    /// The same with other settings.
    #[must_use]
    pub fn with_store_and(limits: StoreLimits, config: ServerConfig) -> Self {
        let mut world = Self::with(ServerConfig { store: true, ..config });
        let wall = world.wall.clone();
        let store = MemoryStore::open(limits).with_clock(move || UnixMillis(wall.load(Relaxed)));
        world.people.keeps = Some(store);
        world
    }

    /// Where messages are kept.
    ///
    /// # Panics
    /// If they are not.
    #[must_use]
    pub fn store(&self) -> &MemoryStore {
        self.people.keeps.as_ref().expect("a store of messages")
    }

    /// A certain send that is stored if its target is offline.
    pub fn send_stored(&mut self, from: Who, to: &To, text: &str, ttl: Duration) -> MessageId {
        let (now, body) = (self.now, Bytes::copy_from_slice(text.as_bytes()));
        let options = CertainOptions { ttl: Some(ttl), store_if_offline: true };
        self.session(from).send_certainly_with(now, to, 1, body, options).expect("room for a certain send")
    }

    /// The same of the server's application; [`Node::poll_outcome`] tells what became of it.
    pub fn store_by_server(&mut self, to: &To, text: &str, ttl: Duration) -> MessageId {
        self.node.send_storable(self.now, to, 1, text.as_bytes(), ttl).expect("room for a certain send")
    }

    // Clients.

    /// A client of this name that takes messages, logged in.
    pub fn join(&mut self, name: &str) -> Who {
        self.join_with(client_config(name))
    }

    /// The same on a device of this kind.
    pub fn join_on(&mut self, name: &str, device: DeviceKind) -> Who {
        self.join_with(ClientConfig { device, ..client_config(name) })
    }

    /// A client with these settings, logged in if the server lets it.
    pub fn join_with(&mut self, config: ClientConfig) -> Who {
        let who = self.start(config);
        self.run();
        who
    }

    /// A client that has not connected yet.
    pub fn start(&mut self, config: ClientConfig) -> Who {
        let number = self.engines.len() as u64 + 1;
        let seed = esf_proto::client::Seed { instance: InstanceId(0xE0_0000 + number), jitter: number };
        self.engines.push(Engine {
            session: Session::new(config, seed, self.now),
            events: Vec::new(),
            messages: Vec::new(),
            queries: Vec::new(),
            takes: true,
            confirms: true,
            answering: Answering::Echo,
            network: true,
            next_pass: None,
            blobs: Blobs::default(),
            dead: false,
        });
        Who(self.engines.len() - 1)
    }

    /// A client and what it has seen.
    pub fn engine(&mut self, who: Who) -> &mut Engine {
        &mut self.engines[who.0]
    }

    /// The machine of a client.
    pub fn session(&mut self, who: Who) -> &mut Session {
        &mut self.engines[who.0].session
    }

    /// Every event of a client so far.
    #[must_use]
    pub fn events(&self, who: Who) -> &[Event] {
        &self.engines[who.0].events
    }

    /// Whether the client is logged in.
    #[must_use]
    pub fn is_online(&self, who: Who) -> bool {
        matches!(self.engines[who.0].session.state(), State::Online)
    }

    /// Whether the client has a link and waits for the answer to its login.
    #[must_use]
    pub fn is_logging_in(&self, who: Who) -> bool {
        matches!(self.engines[who.0].session.state(), State::LoggingIn)
    }

    /// Whether the client has ended, and why.
    #[must_use]
    pub fn closed(&self, who: Who) -> Option<CloseReason> {
        self.engines[who.0].events.iter().find_map(|event| match event {
            Event::Closed { reason } => Some(*reason),
            _ => None,
        })
    }

    /// What became of a certain send, query or request: exactly one terminal event.
    ///
    /// # Panics
    /// If there is more than one.
    #[must_use]
    pub fn outcome(&self, who: Who, id: MessageId) -> Option<Outcome> {
        let outcomes = self.engines[who.0].events.iter().filter_map(|event| match event {
            Event::Acked { id: of } if *of == id => Some(Outcome::Acked),
            Event::Stored { id: of } if *of == id => Some(Outcome::Stored),
            Event::Replied { id: of, body } if *of == id => Some(Outcome::Replied(body.clone())),
            Event::Responded { id: of, status, body, cursor, .. } if *of == id => {
                Some(Outcome::Responded(*status, body.clone(), cursor.clone()))
            }
            Event::Failed { id: of, failure } if *of == id => Some(Outcome::Failed(*failure)),
            _ => None,
        });
        let outcomes: Vec<Outcome> = outcomes.collect();
        assert!(outcomes.len() <= 1, "{id:?} has more than one outcome: {outcomes:?}");
        outcomes.into_iter().next()
    }

    /// The bodies of the messages that a client's application took, as text.
    #[must_use]
    pub fn texts(&self, who: Who) -> Vec<String> {
        let text = |message: &Message| String::from_utf8_lossy(&message.body).into_owned();
        self.engines[who.0].messages.iter().map(text).collect()
    }

    /// A blob of these bytes, its length told and its source able to seek.
    pub fn send_blob(&mut self, from: Who, to: &To, body: &Bytes) -> MessageId {
        self.send_blob_with(from, to, body, |_| {})
    }

    /// The same, changed before it is sent.
    pub fn send_blob_with(
        &mut self,
        from: Who,
        to: &To,
        body: &Bytes,
        change: impl FnOnce(&mut OutgoingBlob),
    ) -> MessageId {
        let now = self.now;
        let Engine { session, blobs, .. } = self.engine(from);
        blobs.send(now, session, to, body.clone(), change)
    }

    /// A blob of these bytes to a group.
    pub fn broadcast_blob(&mut self, from: Who, group: &GroupId, body: &Bytes) -> MessageId {
        let now = self.now;
        let Engine { session, blobs, .. } = self.engine(from);
        blobs.broadcast(now, session, group, body.clone())
    }

    /// A plain send that queues.
    pub fn send(&mut self, from: Who, to: &str, text: &str) {
        let (now, body) = (self.now, Bytes::copy_from_slice(text.as_bytes()));
        self.session(from).send(now, &user(to), 1, body, SendOptions::default()).expect("room for a send");
    }

    /// A certain send with the default time to live.
    pub fn send_certainly(&mut self, from: Who, to: &str, text: &str) -> MessageId {
        let (now, body) = (self.now, Bytes::copy_from_slice(text.as_bytes()));
        self.session(from).send_certainly(now, &user(to), 1, body, None).expect("room for a certain send")
    }

    /// A certain send with a time to live of its own.
    pub fn send_certainly_to(&mut self, from: Who, to: &To, text: &str, ttl: Duration) -> MessageId {
        let (now, body) = (self.now, Bytes::copy_from_slice(text.as_bytes()));
        self.session(from).send_certainly(now, to, 1, body, Some(ttl)).expect("room for a certain send")
    }

    /// A plain send as the options say.
    pub fn send_to(&mut self, from: Who, to: &To, text: &str, options: SendOptions) {
        let (now, body) = (self.now, Bytes::copy_from_slice(text.as_bytes()));
        self.session(from).send(now, to, 1, body, options).expect("room for a send");
    }

    /// A query with a time to live of its own.
    pub fn query_to(&mut self, from: Who, to: &To, text: &str, ttl: Duration) -> MessageId {
        let (now, body) = (self.now, Bytes::copy_from_slice(text.as_bytes()));
        self.session(from).query(now, to, 1, body, Some(ttl)).expect("room for a query")
    }

    /// A query with the default time to live.
    pub fn query(&mut self, from: Who, to: &str, text: &str) -> MessageId {
        let (now, body) = (self.now, Bytes::copy_from_slice(text.as_bytes()));
        self.session(from).query(now, &user(to), 1, body, None).expect("room for a query")
    }

    /// Answers the oldest query that waits at a client.
    ///
    /// # Panics
    /// If none does.
    pub fn reply(&mut self, who: Who, answer: Result<&'static str, Failure>) {
        let now = self.now;
        let engine = &mut self.engines[who.0];
        let query = engine.queries.remove(0);
        engine.session.reply(now, query.token, answer.map(|text| Bytes::from_static(text.as_bytes())));
    }

    // The network.

    /// The present link of a client.
    ///
    /// # Panics
    /// If it has none.
    pub fn link(&mut self, who: Who) -> &mut Wire {
        let mut of = self.links.range_mut((who, LinkId(0))..=(who, LinkId(u64::MAX)));
        of.next_back().expect("the client has a link").1
    }

    /// The first link of a client, whatever became of it.
    ///
    /// # Panics
    /// If it never had one.
    pub fn first_link(&mut self, who: Who) -> &mut Wire {
        let mut of = self.links.range_mut((who, LinkId(0))..=(who, LinkId(u64::MAX)));
        of.next().expect("the client had a link").1
    }

    /// The link before the present one.
    ///
    /// # Panics
    /// If there is none.
    pub fn older_link(&mut self, who: Who) -> &mut Wire {
        let mut of = self.links.range_mut((who, LinkId(0))..=(who, LinkId(u64::MAX)));
        of.next_back();
        of.next_back().expect("the client had an older link").1
    }

    /// Cuts a client's link: what is under way is lost in both directions and both ends learn of it at once.
    pub fn cut(&mut self, who: Who) {
        self.give_up(who);
        self.server_learns(who);
    }

    /// The client gives its link up; the server does not know yet, and what is under way to it may still arrive.
    pub fn give_up(&mut self, who: Who) {
        let now = self.now;
        let Some((id, wire)) = self.present(who) else { return };
        wire.client_gone = true;
        wire.down.clear();
        self.engines[who.0].session.handle_link_closed(now, id, None);
    }

    /// What is under way on links that the client gave up arrives.
    pub fn late_arrives(&mut self, who: Who) {
        for wire in self.links.iter_mut().filter(|((of, _), wire)| *of == who && wire.client_gone).map(|(_, wire)| wire)
        {
            (wire.hold_up, wire.pass_up, wire.asleep) = (false, None, false);
        }
        self.run();
    }

    /// The server learns that the client's newest given-up link is dead; what was under way on it is lost.
    pub fn server_learns(&mut self, who: Who) {
        let now = self.now;
        for wire in self.links.iter_mut().filter(|((of, _), wire)| *of == who && wire.client_gone).map(|(_, wire)| wire)
        {
            wire.up.clear();
            if let Some(mut conn) = wire.conn.take() {
                conn.handle_closed(now, None);
            }
        }
    }

    /// The server dies without a word and starts again, with nothing in its memory.
    pub fn restart_server(&mut self) {
        let now = self.now;
        for ((who, id), wire) in &mut self.links {
            wire.up.clear();
            wire.down.clear();
            if wire.conn.take().is_some() && !wire.client_gone {
                wire.client_gone = true;
                self.engines[who.0].session.handle_link_closed(now, *id, None);
            }
        }
        // A link that the server had given up before stays silent, and its client does not know.
        self.links.retain(|_, wire| !wire.client_gone);
        self.cells.clear();
        self.lives += 1;
        self.node = node(self.config.clone(), self.lives, &self.wall, &self.accounts);
    }

    /// The network between a client and the server is gone: both ends know, and attempts to connect fail until
    /// [`World::back`].
    pub fn away(&mut self, who: Who) {
        self.engine(who).network = false;
        self.cut(who);
    }

    /// The network is there again; the client's next attempt succeeds.
    pub fn back(&mut self, who: Who) {
        self.engine(who).network = true;
    }

    /// The server gives the client's link up; the client does not know, and nothing that it sends arrives.
    pub fn server_gives_up(&mut self, who: Who) {
        let now = self.now;
        let Some((_, wire)) = self.present(who) else { return };
        wire.down.clear();
        if let Some(mut conn) = wire.conn.take() {
            conn.handle_closed(now, None);
        }
    }

    /// The client's process dies: nothing of the engine is left, and the server does not know.
    pub fn die(&mut self, who: Who) {
        if let Some((_, wire)) = self.present(who) {
            wire.client_gone = true;
            wire.down.clear();
        }
        self.engines[who.0].dead = true;
    }

    /// Sets the wall clock, in ms since the epoch; it goes on from there.
    pub fn set_wall(&mut self, ms: u64) {
        self.wall.store(ms, Relaxed);
    }

    fn present(&mut self, who: Who) -> Option<(LinkId, &mut Wire)> {
        let of = self.links.range_mut((who, LinkId(0))..=(who, LinkId(u64::MAX)));
        of.rev().find(|(_, wire)| !wire.client_gone).map(|((_, id), wire)| (*id, wire))
    }

    // Time.

    /// Lets everything happen that happens without time passing.
    ///
    /// # Panics
    /// If it never ends.
    pub fn run(&mut self) {
        for _ in 0..100_000 {
            if self.turn() {
                continue;
            }
            if self.next_timeout().is_none_or(|next| next > self.now) {
                return;
            }
            self.fire();
        }
        panic!("the world does not come to rest: {:?}", self.who_is_next());
    }

    /// Lets time pass, from timer to timer.
    pub fn advance(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.run();
        while let Some(next) = self.next_timeout().filter(|next| *next <= end) {
            self.pass_to(self.now.max(next));
            self.fire();
            self.run();
        }
        self.pass_to(end);
        self.run();
    }

    /// Time jumps, as in a process that slept: every timer fires as late as that.
    pub fn jump(&mut self, duration: Duration) {
        self.pass_to(self.now + duration);
        self.fire();
        self.run();
    }

    /// Lets time pass until the client is logged in.
    ///
    /// # Panics
    /// If that takes over two minutes.
    pub fn until_online(&mut self, who: Who) {
        for _ in 0..1_200 {
            self.run();
            if self.is_online(who) {
                return;
            }
            self.advance(Duration::from_millis(100));
        }
        panic!("the client does not come online: {:?}", self.session(who).state());
    }

    fn pass_to(&mut self, now: Instant) {
        let passed = now.since(self.now).as_millis();
        self.wall.fetch_add(u64::try_from(passed).expect("a time of day"), Relaxed);
        self.now = now;
    }

    fn next_timeout(&self) -> Option<Instant> {
        let living = self.engines.iter().filter(|engine| !engine.dead);
        let engines = living.filter_map(|engine| engine.session.poll_timeout()).map(|(at, _)| at);
        let conns = self.links.values().filter_map(|wire| wire.conn.as_ref()).filter_map(Endpoint::poll_timeout);
        engines.chain(conns).chain(self.node.poll_timeout()).min()
    }

    fn who_is_next(&self) -> Vec<String> {
        let engines = self.engines.iter().map(|engine| format!("client {:?}", engine.session.poll_timeout()));
        let conns = self
            .links
            .iter()
            .map(|(key, wire)| format!("link {key:?} {:?}", wire.conn.as_ref().and_then(Endpoint::poll_timeout)));
        engines.chain(conns).chain([format!("node {:?}", self.node.poll_timeout())]).collect()
    }

    fn fire(&mut self) {
        let now = self.now;
        for wire in self.links.values_mut() {
            if let Some(conn) = wire.conn.as_mut().filter(|conn| conn.poll_timeout().is_some_and(|at| at <= now)) {
                conn.handle_timeout(now);
            }
        }
        for engine in self.engines.iter_mut().filter(|engine| !engine.dead) {
            if engine.session.poll_timeout().is_some_and(|(at, _)| at <= now) {
                engine.session.handle_timeout(now);
            }
        }
        self.node.handle_timeout(now);
    }

    /// One round of everybody; says whether anything moved.
    fn turn(&mut self) -> bool {
        let mut moved = false;
        for who in (0..self.engines.len()).map(Who) {
            moved |= self.turn_of_client(who);
        }
        let keys: Vec<(Who, LinkId)> = self.links.keys().copied().collect();
        for key in keys {
            moved |= self.turn_of_server(key);
            moved |= self.deliver_down(key);
        }
        moved |= self.turn_of_application();
        moved |= self.turn_of_store();
        moved
    }

    fn turn_of_client(&mut self, who: Who) -> bool {
        let now = self.now;
        let engine = &mut self.engines[who.0];
        if engine.dead {
            return false;
        }
        let mut moved = false;
        moved |= engine.blobs.give(now, &mut engine.session);
        while let Some(transmit) = engine.session.poll_transmit(now) {
            moved = true;
            let key = (who, transmit.link);
            if let Some(wire) = self.links.get_mut(&key).filter(|wire| !wire.client_gone) {
                wire.up.push_back(Up::Message(transmit.frame));
                if engine.session.wants_flush() {
                    engine.session.handle_transport(now, transmit.link, wire.client);
                }
            }
        }
        while let Some(action) = engine.session.poll_action() {
            moved = true;
            match action {
                Action::Connect { link } if engine.network => {
                    let conn = Conn::accept(&self.node, now);
                    let mut wire = Wire::new(conn);
                    if let Some((up, down)) = engine.next_pass.take() {
                        (wire.pass_up, wire.pass_down) = (Some(up), Some(down));
                    }
                    self.links.insert((who, link), wire);
                    engine.session.handle_connected(now, link);
                }
                Action::Connect { link } => engine.session.handle_connect_failed(now, link),
                Action::Close { link, reason } => {
                    if let Some(wire) = self.links.get_mut(&(who, link)).filter(|wire| !wire.client_gone) {
                        wire.client_gone = true;
                        wire.up.push_back(Up::Close(Some(reason.map_or(1000, CloseReason::websocket_code))));
                    }
                }
                Action::Drop { link } => {
                    if let Some(wire) = self.links.get_mut(&(who, link)).filter(|wire| !wire.client_gone) {
                        wire.client_gone = true;
                        wire.up.push_back(Up::Close(None));
                    }
                }
            }
        }
        while let Some(event) = engine.session.poll_event() {
            moved = true;
            if let Event::Query(query) = &event {
                match engine.answering {
                    Answering::Echo => engine.session.reply(now, query.token, Ok(query.body.clone())),
                    Answering::Fails => engine.session.reply(now, query.token, Err(Failure::HandlerFailed)),
                    Answering::Never => engine.queries.push(query.clone()),
                }
            }
            if let Event::Blob(event) = &event {
                engine.blobs.on_event(now, &mut engine.session, event);
            }
            engine.events.push(event);
        }
        while engine.takes {
            let Some(message) = engine.session.poll_message() else { break };
            moved = true;
            if let Some(stored) = message.stored.as_ref().filter(|_| engine.confirms) {
                engine.session.confirm(now, stored.id);
            }
            engine.messages.push(message);
        }
        moved
    }

    fn turn_of_server(&mut self, key: (Who, LinkId)) -> bool {
        let now = self.now;
        let Some(wire) = self.links.get_mut(&key).filter(|wire| !wire.asleep) else { return false };
        let Some(mut conn) = wire.conn.take() else { return false };
        let mut moved = false;
        conn.register(Waker::noop());
        while let Some(up) = wire.next_up() {
            moved = true;
            match up {
                Up::Message(message) => {
                    wire.transport.read += message.len() as u64;
                    conn.handle_message(now, message);
                }
                Up::Text => conn.handle_text(now),
                Up::Pong => wire.transport.read += 2,
                Up::Close(code) => {
                    conn.handle_closed(now, code);
                    return true;
                }
            }
        }
        conn.handle_transport(now, wire.transport);
        while let Some(request) = self.authenticates.then(|| conn.poll_request()).flatten() {
            moved = true;
            conn.handle_response(now, self.accounts.answer(request));
        }
        // A transport that nobody reads takes so much and no more.
        while wire.has_room() {
            let Some(frame) = conn.poll_transmit(now) else { break };
            moved = true;
            wire.push_down(frame);
        }
        wire.transport.unflushed = !wire.has_room();
        let mut closed = false;
        while let Some(action) = conn.poll_action() {
            moved = true;
            match action {
                esf_driver::endpoint::LinkAction::Ping => wire.down.push_back(Down::Ping),
                esf_driver::endpoint::LinkAction::Close { reason } => {
                    wire.down.push_back(Down::Close(reason.map(CloseReason::websocket_code)));
                    closed = true;
                }
                esf_driver::endpoint::LinkAction::Drop => {
                    wire.down.push_back(Down::Close(None));
                    closed = true;
                }
            }
        }
        meet(&mut self.cells, conn.cell());
        if closed {
            conn.handle_closed(now, None);
        } else {
            wire.conn = Some(conn);
        }
        moved
    }

    fn deliver_down(&mut self, (who, id): (Who, LinkId)) -> bool {
        let now = self.now;
        let engine = &mut self.engines[who.0];
        let Some(wire) = self.links.get_mut(&(who, id)) else { return false };
        if wire.client_gone {
            return false;
        }
        let mut moved = false;
        while let Some(down) = wire.next_down() {
            moved = true;
            match down {
                Down::Message(message) => {
                    wire.transport.written += message.len() as u64;
                    wire.client.read += message.len() as u64;
                    engine.session.handle_transport(now, id, wire.client);
                    engine.session.handle_message(now, id, message);
                }
                Down::Ping => {
                    wire.client.read += 2;
                    engine.session.handle_transport(now, id, wire.client);
                    wire.up.push_back(Up::Pong);
                }
                Down::Close(code) => {
                    wire.client_gone = true;
                    engine.session.handle_link_closed(now, id, code);
                    break;
                }
            }
        }
        moved
    }

    fn turn_of_application(&mut self) -> bool {
        let mut moved = false;
        for cell in &self.cells {
            if self.answering != Answering::Never {
                while let Some(message) = cell.poll_message() {
                    moved = true;
                    self.inbox.push(message);
                }
            }
            moved |= self.server_blobs.take(self.now, &self.node, cell);
            while let Some(query) = cell.poll_query() {
                moved = true;
                match self.answering {
                    Answering::Echo => cell.reply(query.token, Ok(&query.body)),
                    Answering::Fails => cell.reply(query.token, Err(Failure::HandlerFailed)),
                    Answering::Never => {}
                }
            }
        }
        while let Some(event) = self.node.poll_event() {
            moved = true;
            self.server_events.push(event);
        }
        moved
    }

    fn turn_of_store(&mut self) -> bool {
        let mut moved = false;
        loop {
            let asked = self.node.poll_request();
            let nothing = asked.is_none();
            moved |= !nothing;
            let answer = self.people.take(asked);
            if let Some((job, answer)) = answer {
                moved = true;
                self.node.handle_response(self.now, job, answer);
            } else if nothing {
                return moved;
            }
        }
    }

    /// The server's application hears of a session.
    pub(crate) fn meet(&mut self, cell: Option<&Arc<Cell>>) {
        meet(&mut self.cells, cell);
    }

    // Looks at the server.

    /// A counter of the server by its name.
    ///
    /// # Panics
    /// If there is none of that name.
    #[must_use]
    pub fn counter(&self, name: &str) -> u64 {
        let found = self.node.counters().iter().find(|(of, _)| *of == name);
        found.unwrap_or_else(|| panic!("there is no counter {name}")).1
    }

    /// Links that the server has closed for this reason.
    #[must_use]
    pub fn closes(&self, reason: CloseReason) -> u64 {
        self.node.counters().closed[reason as usize].get()
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

fn meet(cells: &mut Vec<Arc<Cell>>, cell: Option<&Arc<Cell>>) {
    cells.extend(cell.filter(|cell| !cells.iter().any(|known| Arc::ptr_eq(known, cell))).cloned());
}

/// A terminal event of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The receiving engine has it.
    Acked,
    /// The store has it.
    Stored,
    /// The answer to a query.
    Replied(Bytes),
    /// The response to a request: status, body, cursor.
    Responded(Result<(), Failure>, Bytes, Bytes),
    /// Nothing came of it.
    Failed(Failure),
}

/// A user as a target; the empty name is the server.
///
/// # Panics
/// If it is no name.
#[must_use]
pub fn user(name: &str) -> To {
    if name.is_empty() { To::Server } else { To::User(UserId::parse(name, 255).expect("a user name")) }
}

/// A client's settings with the defaults.
///
/// # Panics
/// If it is no name.
#[must_use]
pub fn client_config(name: &str) -> ClientConfig {
    ClientConfig::new(UserId::parse(name, 255).expect("a user name"))
}

fn node(config: ServerConfig, life: u64, wall: &Arc<AtomicU64>, accounts: &Arc<Accounts>) -> Arc<Node> {
    let mut secret = u128::from(life) << 64;
    let wall = wall.clone();
    Node::new(
        config,
        Inputs {
            instance: InstanceId(0x5E00 + life),
            keys: (life, 2),
            secrets: Box::new(move || {
                secret += 1;
                secret.to_le_bytes()
            }),
            wall: Box::new(move || UnixMillis(wall.load(Relaxed))),
            tickets: Box::new(accounts.clone()),
        },
    )
}
