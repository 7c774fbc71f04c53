//! One server and its clients in memory, under a virtual clock.
//!
//! The server side is the very [`Node`] and [`Conn`](esf_driver::node::Conn)s that a real server runs; the clients are
//! client sessions. What is simulated is the transport between them: it holds whole messages, and a test may hold, cut
//! or lose them. Nothing here sleeps.

mod network;
mod time;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use esf_driver::{
    node::{Cell, Inputs, Node, ServerEvent},
    store::{MemoryStore, StoreLimits},
};
use esf_proto::{
    client::{CertainOptions, Config as ClientConfig, Event, OutgoingBlob, SendOptions, Session, State},
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
    wire_between::Wire,
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
