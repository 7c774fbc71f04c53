//! Lives of a few clients that talk, lose their links, sleep and die, and of a server that restarts; and what is promised
//! of them, which is told beside them by a list of what was sent.
//!
//! Property tests and the fuzzer choose what happens; the promises are checked here, once everything is quiet.

use std::{collections::BTreeMap, time::Duration};

use esf_driver::store::StoreLimits;
use esf_proto::{
    client::{Config as ClientConfig, Event},
    failure::Failure,
    ids::{DeviceKind, MessageId},
    server::Config as ServerConfig,
};

use crate::world::{Outcome, Who, World, client_config, user};

/// Ben has two devices; so a message to him is a message to several.
pub const PEOPLE: [(&str, DeviceKind); 3] =
    [("anna", DeviceKind::SERVICE), ("ben", DeviceKind::DESKTOP), ("ben", DeviceKind::PHONE)];
/// Whom messages are for; nobody is the server.
pub const TARGETS: [&str; 3] = ["anna", "ben", ""];

/// One thing that happens. The first number is who does it, as a place in [`PEOPLE`].
#[derive(Debug, Clone)]
pub enum Step {
    /// A plain message to a place in [`TARGETS`].
    Send(usize, usize),
    /// A certain one, with so many seconds to live.
    Certain(usize, usize, u64),
    /// A certain one that is stored if nobody is there.
    Stored(usize, usize, u64),
    /// A query, with so many seconds to live.
    Query(usize, usize, u64),
    /// Both ends learn that the link is gone.
    Cut(usize),
    /// Only the client gives it up; what is under way may still arrive.
    GiveUp(usize),
    /// Only the server gives it up.
    ServerGivesUp(usize),
    /// What was under way on links that the client gave up arrives.
    Late(usize),
    /// So many items pass, up and down, then the link stands still.
    Stall(usize, usize, usize),
    /// There is no network for it.
    Away(usize),
    /// There is one again, and nothing stands still.
    Back(usize),
    /// The application takes messages, or not.
    Takes(usize, bool),
    /// The process dies and starts again as another engine.
    Die(usize),
    /// The server dies without a word and starts again.
    RestartServer,
    /// So many milliseconds pass.
    Pass(u64),
}

/// What was sent, and what is to be found out about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Plain,
    Certain,
    Stored,
    Query,
}

struct Sent {
    kind: Kind,
    from: Who,
    to: &'static str,
    id: Option<MessageId>,
}

/// A life that was lived, and everything in it.
pub struct Life {
    world: World,
    /// Who is alive, by place.
    alive: Vec<Who>,
    /// Every engine that ever was, with its name.
    engines: Vec<(Who, &'static str)>,
    /// Everything that was sent; its number is its body.
    sent: Vec<Sent>,
    died: Vec<&'static str>,
    restarts: usize,
}

impl Life {
    fn start(window: u64) -> Self {
        let settings = ServerConfig { resume_window: Duration::from_secs(window), ..ServerConfig::default() };
        let mut limits = StoreLimits::default();
        // Nothing becomes a dead letter.
        limits.max_tries = u8::MAX;
        let mut world = World::with_store_and(limits, settings);
        let alive: Vec<Who> = PEOPLE.iter().map(|person| world.join_with(config(person))).collect();
        let engines = alive.iter().zip(PEOPLE).map(|(who, (name, _))| (*who, name)).collect();
        Self { world, alive, engines, sent: Vec::new(), died: Vec::new(), restarts: 0 }
    }

    fn step(&mut self, step: &Step) {
        let world = &mut self.world;
        match *step {
            Step::Send(who, to) => self.sends(Kind::Plain, who, to, 0),
            Step::Certain(who, to, ttl) => self.sends(Kind::Certain, who, to, ttl),
            Step::Stored(who, to, ttl) => self.sends(Kind::Stored, who, to, ttl),
            Step::Query(who, to, ttl) => self.sends(Kind::Query, who, to, ttl),
            Step::Cut(who) => world.cut(self.alive[who]),
            Step::GiveUp(who) => world.give_up(self.alive[who]),
            Step::Late(who) => world.late_arrives(self.alive[who]),
            Step::ServerGivesUp(who) => world.server_gives_up(self.alive[who]),
            Step::Stall(who, up, down) if world.is_online(self.alive[who]) => {
                let link = world.link(self.alive[who]);
                (link.pass_up, link.pass_down) = (Some(up), Some(down));
            }
            Step::Stall(who, up, down) => world.engine(self.alive[who]).next_pass = Some((up, down)),
            Step::Away(who) => world.away(self.alive[who]),
            Step::Back(who) => self.heal(who),
            Step::Takes(who, takes) => world.engine(self.alive[who]).takes = takes,
            Step::Die(who) => {
                let person = PEOPLE[who];
                world.die(self.alive[who]);
                self.alive[who] = world.start(config(&person));
                self.engines.push((self.alive[who], person.0));
                self.died.push(person.0);
            }
            Step::RestartServer => {
                world.restart_server();
                self.restarts += 1;
            }
            Step::Pass(ms) => world.advance(Duration::from_millis(ms)),
        }
    }

    fn sends(&mut self, kind: Kind, who: usize, to: usize, ttl: u64) {
        let (world, from, to) = (&mut self.world, self.alive[who], TARGETS[to]);
        let text = self.sent.len().to_string();
        let ttl = Duration::from_secs(ttl);
        let id = match kind {
            Kind::Plain => {
                world.send(from, to, &text);
                None
            }
            Kind::Certain => Some(world.send_certainly_to(from, &user(to), &text, ttl)),
            Kind::Stored => Some(world.send_stored(from, &user(to), &text, ttl)),
            Kind::Query => Some(world.query_to(from, &user(to), &text, ttl)),
        };
        self.sent.push(Sent { kind, from, to, id });
        if [1, 2].contains(&(self.sent.len() % 3)) {
            // Some commands wait in the queue for the next thing that happens.
            world.run();
        }
    }

    fn heal(&mut self, who: usize) {
        let (world, who) = (&mut self.world, self.alive[who]);
        world.back(who);
        world.engine(who).next_pass = None;
        if world.is_online(who) || world.is_logging_in(who) {
            let link = world.link(who);
            (link.pass_up, link.pass_down) = (None, None);
        }
    }

    /// Everything works again, and stays so for longer than any time to live.
    fn quiet(&mut self) {
        for place in 0..PEOPLE.len() {
            self.heal(place);
            self.world.engine(self.alive[place]).takes = true;
        }
        for who in &self.alive {
            self.world.until_online(*who);
        }
        self.world.advance(Duration::from_secs(320));
        assert_eq!(self.world.store().waiting(), 0, "what was stored waits, and everybody is there");
    }

    /// How often a message with this number came to each engine of its target, or to the server.
    fn runs(&mut self, number: usize) -> Vec<usize> {
        let Sent { kind, to, .. } = self.sent[number];
        let text = number.to_string();
        let world = &mut self.world;
        if to.is_empty() {
            return vec![world.inbox.iter().filter(|message| message.body == text).count()];
        }
        let queried = |event: &&Event| matches!(event, Event::Query(query) if query.body == text);
        let engines = self.engines.iter().filter(|(_, name)| *name == to).map(|(who, _)| *who);
        let count = |who: Who| match kind {
            Kind::Query => world.engine(who).events.iter().filter(queried).count(),
            _ => world.engine(who).messages.iter().filter(|m| m.body == text).count(),
        };
        engines.map(count).collect()
    }

    fn assert_outcomes(&mut self) {
        for number in 0..self.sent.len() {
            let runs = self.runs(number);
            let Sent { kind, from, to, id } = self.sent[number];
            let died = self.died.contains(&to) || to.is_empty() && self.restarts > 0;
            let case = format!("{kind:?} {number} from {from:?} to {to:?}: {runs:?}");
            if !(to.is_empty() && self.restarts > 0) {
                assert!(runs.iter().all(|runs| *runs <= 1), "twice at one engine: {case}");
            }
            if kind == Kind::Query && !to.is_empty() {
                assert!(runs.iter().sum::<usize>() <= 1, "a query runs at one engine: {case}");
            }
            let from_is_dead = !self.alive.contains(&from);
            let Some(id) = id.filter(|_| !from_is_dead) else { continue };
            let outcome = self.world.outcome(from, id);
            let Some(outcome) = outcome else { panic!("no outcome: {case}") };
            match outcome {
                Outcome::Acked => {
                    assert!(died || runs.iter().any(|runs| *runs > 0), "acked and not run: {case}");
                }
                // Its receivers have been there since.
                Outcome::Stored => {
                    assert!(kind == Kind::Stored && runs.iter().any(|runs| *runs > 0), "stored and not run: {case}");
                }
                Outcome::Replied(_) => {
                    assert!(to.is_empty() || runs.iter().any(|runs| *runs > 0), "answered by nobody: {case}");
                }
                Outcome::Failed(Failure::ConnectionLost | Failure::TimedOut) => {}
                failed => {
                    let ran = kind == Kind::Query && to.is_empty() || runs.iter().any(|runs| *runs > 0);
                    assert!(to.is_empty() || !ran, "{failed:?}, and yet it ran: {case}");
                }
            }
        }
    }

    /// What one engine sent came to each other engine in the order in which it was sent: each kind for itself always,
    /// and all together as long as every session lived on.
    fn assert_order(&mut self) {
        let fresh = self.restarts > 0 || !self.died.is_empty() || self.world.counter("logins") > PEOPLE.len() as u64;
        let engines = self.engines.clone();
        let mut inboxes: Vec<Vec<usize>> = Vec::new();
        let number = |body: &[u8]| std::str::from_utf8(body).ok()?.parse::<usize>().ok();
        for (who, _) in engines {
            let bodies = self.world.engine(who).messages.iter().filter_map(|message| number(&message.body));
            inboxes.push(bodies.collect());
        }
        if self.restarts == 0 {
            inboxes.push(self.world.inbox.iter().filter_map(|message| number(&message.body)).collect());
        }
        for inbox in inboxes {
            let mut last: BTreeMap<(Who, Option<Kind>), usize> = BTreeMap::new();
            for number in inbox {
                let Sent { from, kind, .. } = self.sent[number];
                if kind == Kind::Stored {
                    // In the order of the store, which took each when its time was over.
                    continue;
                }
                let class = fresh.then_some(kind);
                if let Some(before) = last.insert((from, class), number) {
                    assert!(before < number, "{number} of {from:?} came after {before}");
                }
            }
        }
    }

    /// What became of each thing that was sent, in order: `None` for a plain message, which has no outcome.
    ///
    /// # Panics
    /// If something that is to have an outcome has none.
    #[must_use]
    pub fn outcomes(&self) -> Vec<Option<Outcome>> {
        let outcome = |sent: &Sent| Some(self.world.outcome(sent.from, sent.id?).expect("an outcome"));
        self.sent.iter().map(outcome).collect()
    }

    /// Nothing is left over, and nobody took anybody for a liar.
    fn assert_clean(&mut self) {
        assert_eq!(self.world.node.held_bytes(), 0);
        assert_eq!(self.world.counter("closed_invalid_message"), 0);
        for who in &self.alive {
            let session = self.world.session(*who);
            assert_eq!((session.open_operations(), session.queued_bytes(), session.stats().violations), (0, 0, 0));
            assert_eq!(self.world.closed(*who), None);
        }
    }
}

fn config((name, device): &(&str, DeviceKind)) -> ClientConfig {
    ClientConfig { device: *device, ..client_config(name) }
}

/// Lives through these steps with a resume window of so many seconds, then waits until everything is quiet.
///
/// # Panics
/// If one of the promises was not kept.
pub fn live(window: u64, steps: &[Step]) -> Life {
    let mut life = Life::start(window);
    for step in steps {
        life.step(step);
    }
    life.quiet();
    life.assert_outcomes();
    life.assert_order();
    life.assert_clean();
    life
}
