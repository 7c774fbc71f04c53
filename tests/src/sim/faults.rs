//! What goes wrong: one table. A seed has some of these, each with numbers of its own.

use std::time::Duration;

use super::{
    Event, Sim,
    plan::{PLACES, Plan},
    random::Random,
    store::Manner,
};

/// One kind of fault.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// Its name, for people and for `--without`.
    pub name: &'static str,
    /// How many seeds of a hundred have it.
    pub percent: u64,
    /// Sets the world up for it; how long until it strikes first, if it strikes.
    begin: fn(&mut Sim, &mut Random) -> Option<Duration>,
    /// Does it; how long until the next time.
    strike: fn(&mut Sim, &mut Random) -> Duration,
}

/// All of them.
pub const FAULTS: [Fault; 21] = [
    Fault { name: "cuts", percent: 100, begin: soon, strike: cut },
    Fault { name: "half-open at the server", percent: 40, begin: soon, strike: server_learns_late },
    Fault { name: "half-open at the client", percent: 30, begin: soon, strike: client_learns_late },
    Fault { name: "lines that stand still", percent: 35, begin: soon, strike: stand_still },
    Fault { name: "nowhere to connect", percent: 35, begin: soon, strike: away },
    Fault { name: "latency and jitter", percent: 50, begin: latency, strike: never },
    Fault { name: "narrow lines", percent: 30, begin: narrow, strike: never },
    Fault { name: "readers that stop", percent: 30, begin: soon, strike: stop_reading },
    Fault { name: "applications that stop", percent: 30, begin: soon, strike: stop_taking },
    Fault { name: "slow handlers", percent: 40, begin: slow_handlers, strike: never },
    Fault { name: "the server restarts", percent: 30, begin: seldom, strike: restart },
    Fault { name: "clients die", percent: 35, begin: seldom, strike: die },
    Fault { name: "clients sleep", percent: 25, begin: soon, strike: sleep },
    Fault { name: "skewed clocks", percent: 40, begin: skew, strike: never },
    Fault { name: "slow logins", percent: 35, begin: slow_logins, strike: gives_up_waiting },
    Fault { name: "logins put off", percent: 20, begin: put_off, strike: never },
    Fault { name: "several frames a message", percent: 50, begin: coalesce, strike: never },
    Fault { name: "a wall clock that jumps", percent: 20, begin: seldom, strike: jump },
    Fault { name: "a malicious client", percent: 30, begin: malice, strike: attack },
    Fault { name: "people who stay away", percent: 60, begin: soon, strike: stay_away },
    Fault { name: "a store that is slow or fails", percent: 35, begin: soon, strike: store_misbehaves },
];

/// A fault of this seed.
#[derive(Debug)]
pub struct Active {
    fault: usize,
    random: Random,
}

impl Active {
    pub(super) fn of(random: &Random, plan: &Plan) -> Vec<Self> {
        let there = plan.faults.iter().enumerate().filter(|(_, there)| **there);
        there.map(|(fault, _)| Self { fault, random: random.apart(100 + fault as u64) }).collect()
    }
}

pub(super) fn begin(sim: &mut Sim, active: usize) {
    let Active { fault, ref random } = sim.faults[active];
    let mut random = random.clone();
    if let Some(after) = (FAULTS[fault].begin)(sim, &mut random) {
        sim.plan_in(after, Event::Fault(active));
    }
    sim.faults[active].random = random;
}

pub(super) fn strike(sim: &mut Sim, active: usize) {
    if sim.quiet {
        return;
    }
    let Active { fault, ref random } = sim.faults[active];
    let mut random = random.clone();
    let next = (FAULTS[fault].strike)(sim, &mut random);
    sim.faults[active].random = random;
    sim.plan_in(next, Event::Fault(active));
}

/// The faults are over: every line moves, everybody may connect, wakes and takes.
pub(super) fn heal(sim: &mut Sim) {
    let now = sim.now;
    sim.attacker_leaves();
    sim.server.stopped_until = now;
    sim.store.manner_until = now;
    sim.judges.are_free_from(sim.ledger.next());
    sim.server.slow_logins = Duration::ZERO;
    for link in 0..sim.links.len() {
        let wire = &mut sim.links[link];
        for line in [&mut wire.up, &mut wire.down] {
            line.unread_until = line.unread_until.min(now);
            line.planned = false;
        }
        sim.moves(link);
    }
    for engine in 0..sim.engines.len() {
        let of = &mut sim.engines[engine];
        of.away_until = now;
        of.asleep_until = of.asleep_until.min(now);
        of.stopped_until = of.stopped_until.min(now);
        of.trouble.span(now, now + Duration::from_secs(10));
        sim.turn_client(engine);
    }
    sim.turn_applications();
    for place in 0..sim.plan.places {
        // Some never come back.
        if sim.at_place[place].is_none() && sim.chance.percent(70) {
            sim.start(place);
        }
    }
}

impl Sim {
    pub(super) fn has_fault(&self, name: &str) -> bool {
        FAULTS.iter().zip(&self.plan.faults).any(|(fault, there)| *there && fault.name == name)
    }

    /// A link that both ends still use.
    fn some_link(&self, random: &mut Random) -> Option<usize> {
        let living = self.living_links();
        (!living.is_empty()).then(|| *random.one_of(&living))
    }

    fn some_engine(&self, random: &mut Random) -> Option<usize> {
        let living: Vec<usize> = self.at_place.iter().flatten().copied().collect();
        let living: Vec<usize> = living.into_iter().filter(|engine| !self.engines[*engine].is_gone()).collect();
        (!living.is_empty()).then(|| *random.one_of(&living))
    }

    fn trouble_of_link(&mut self, link: usize, until: Duration) {
        let (now, engine) = (self.now, self.links[link].engine);
        self.engines[engine].trouble.span(now, now + until);
    }

    /// Loses what is under way on a link, but as much as still arrives.
    fn lose_some(&mut self, link: usize, random: &mut Random) {
        let wire = &mut self.links[link];
        for line in [&mut wire.up, &mut wire.down] {
            let kept = random.place(line.under_way() + 1);
            line.lose(kept);
        }
    }

    fn is_cut(&mut self, link: usize, what: &'static str) {
        self.cuts += 1;
        let name = self.link_name(link);
        self.say(&name, || what.into());
        self.trouble_of_link(link, Duration::from_secs(2));
    }
}

fn soon(_: &mut Sim, random: &mut Random) -> Option<Duration> {
    Some(random.millis(1_000, 8_000))
}

fn seldom(_: &mut Sim, random: &mut Random) -> Option<Duration> {
    Some(random.millis(5_000, 50_000))
}

fn never(_: &mut Sim, _: &mut Random) -> Duration {
    Duration::from_secs(1_000_000)
}

fn cut(sim: &mut Sim, random: &mut Random) -> Duration {
    if let Some(link) = sim.some_link(random) {
        sim.is_cut(link, "is cut");
        // What is left arrives before the end is seen.
        sim.lose_some(link, random);
        let late = random.millis(0, 30);
        sim.plan_in(late, Event::ServerLearns(link));
        let late = random.millis(0, 30);
        sim.plan_in(late, Event::ClientLearns(link));
    }
    random.millis(500, 8_000)
}

fn server_learns_late(sim: &mut Sim, random: &mut Random) -> Duration {
    if let Some(link) = sim.some_link(random) {
        sim.is_cut(link, "dies; the server learns late");
        if random.percent(50) {
            sim.lose_some(link, random);
        }
        // What was sent before may take longer than a new link.
        let wire = &mut sim.links[link];
        wire.up.unread_until = sim.now + random.millis(0, 1_500);
        wire.down.lose(0);
        sim.plan_in(Duration::ZERO, Event::ClientLearns(link));
        let late = random.millis(100, 40_000);
        sim.plan_in(late, Event::ServerLearns(link));
    }
    random.millis(1_000, 12_000)
}

fn client_learns_late(sim: &mut Sim, random: &mut Random) -> Duration {
    if let Some(link) = sim.some_link(random) {
        sim.is_cut(link, "dies; the client learns late");
        sim.links[link].down.still = true;
        sim.links[link].up.lose(0);
        sim.links[link].up.still = true;
        sim.plan_in(Duration::ZERO, Event::ServerLearns(link));
        let late = random.millis(100, 20_000);
        sim.trouble_of_link(link, late);
        sim.plan_in(late, Event::ClientLearns(link));
    }
    random.millis(1_000, 12_000)
}

fn stand_still(sim: &mut Sim, random: &mut Random) -> Duration {
    if let Some(link) = sim.some_link(random) {
        sim.is_cut(link, "stands still");
        let wire = &mut sim.links[link];
        (wire.up.still, wire.down.still) = *random.one_of(&[(true, true), (true, false), (false, true)]);
        let moves = random.millis(200, 45_000);
        sim.trouble_of_link(link, moves);
        sim.plan_in(moves, Event::Moves(link));
    }
    random.millis(2_000, 20_000)
}

fn away(sim: &mut Sim, random: &mut Random) -> Duration {
    if let Some(engine) = sim.some_engine(random) {
        let until = sim.now + random.millis(500, 45_000);
        sim.engines[engine].away_until = until;
        let now = sim.now;
        sim.engines[engine].trouble.span(now, until);
        if let Some(link) = sim.engines[engine].link {
            sim.is_cut(link, "is gone with the network");
            sim.lose_some(link, random);
            sim.plan_in(Duration::ZERO, Event::ServerLearns(link));
            sim.plan_in(Duration::ZERO, Event::ClientLearns(link));
        }
    }
    random.millis(5_000, 25_000)
}

fn latency(sim: &mut Sim, random: &mut Random) -> Option<Duration> {
    sim.plan.manners.latency = random.millis(0, 150);
    sim.plan.manners.jitter = random.millis(0, 100);
    None
}

fn narrow(sim: &mut Sim, random: &mut Random) -> Option<Duration> {
    sim.plan.manners.bandwidth = random.between(40_000, 2_000_000);
    None
}

fn stop_reading(sim: &mut Sim, random: &mut Random) -> Duration {
    if let Some(link) = sim.some_link(random) {
        let until = random.millis(200, 34_000);
        let now = sim.now;
        let wire = &mut sim.links[link];
        if random.percent(70) {
            wire.down.unread_until = now + until;
        } else {
            wire.up.unread_until = now + until;
        }
        sim.trouble_of_link(link, until);
        let name = sim.link_name(link);
        sim.say(&name, || "is not read for a while".into());
    }
    random.millis(2_000, 20_000)
}

fn stop_taking(sim: &mut Sim, random: &mut Random) -> Duration {
    let until = sim.now + random.millis(200, 20_000);
    let now = sim.now;
    if random.percent(25) {
        sim.server.stopped_until = until;
        sim.server.trouble.span(now, until);
        sim.plan_at(until, Event::Desk);
    } else if let Some(engine) = sim.some_engine(random) {
        sim.engines[engine].stopped_until = until;
        sim.engines[engine].trouble.span(now, until);
        sim.plan_at(until, Event::Application(engine));
    }
    random.millis(2_000, 20_000)
}

fn slow_handlers(sim: &mut Sim, random: &mut Random) -> Option<Duration> {
    sim.plan.handlers.slowest = random.millis(1, 20_000);
    sim.plan.handlers.never = random.between(0, 10);
    None
}

fn restart(sim: &mut Sim, random: &mut Random) -> Duration {
    if sim.server.node.is_some() {
        sim.cuts += 1;
        let down = random.millis(1, 8_000);
        sim.server_dies(down);
    }
    random.millis(10_000, 60_000)
}

fn die(sim: &mut Sim, random: &mut Random) -> Duration {
    if let Some(engine) = sim.some_engine(random) {
        let place = sim.engines[engine].place;
        loses_its_process(sim, random, engine);
        let later = random.millis(10, 3_000);
        sim.plan_in(later, Event::Start(place));
    }
    random.millis(5_000, 30_000)
}

fn loses_its_process(sim: &mut Sim, random: &mut Random, engine: usize) {
    if let Some(link) = sim.engines[engine].link {
        sim.is_cut(link, "loses its process");
        sim.lose_some(link, random);
        sim.links[link].client = None;
        let late = random.millis(0, 5_000);
        sim.plan_in(late, Event::ServerLearns(link));
    }
    sim.engines[engine].link = None;
    sim.kill(engine);
}

fn sleep(sim: &mut Sim, random: &mut Random) -> Duration {
    if let Some(engine) = sim.some_engine(random) {
        let until = sim.now + random.millis(500, 50_000);
        let now = sim.now;
        let of = &mut sim.engines[engine];
        of.asleep_until = until;
        of.trouble.span(now, until + Duration::from_secs(5));
        if let Some(link) = of.link {
            sim.links[link].down.unread_until = until;
        }
        sim.tell(engine, || "sleeps".into());
        sim.plan_at(until, Event::Application(engine));
    }
    random.millis(5_000, 30_000)
}

fn skew(sim: &mut Sim, random: &mut Random) -> Option<Duration> {
    let drift = random.between(0, 20_000) as i64 - 10_000;
    sim.server.clock = super::clock::Clock::new(random.between(0, 1 << 40), drift);
    None
}

fn slow_logins(sim: &mut Sim, random: &mut Random) -> Option<Duration> {
    sim.server.slow_logins = *random.one_of(&[random.clone().millis(1, 500), random.clone().millis(500, 6_000)]);
    soon(sim, random)
}

/// The link of somebody whose login is being looked at dies, and the server learns late: the answer finds a newer link.
fn gives_up_waiting(sim: &mut Sim, random: &mut Random) -> Duration {
    let waiting: Vec<usize> = sim.living_links();
    let waiting: Vec<usize> = waiting.into_iter().filter(|link| sim.links[*link].answer.is_some()).collect();
    if waiting.is_empty() {
        return random.millis(100, 1_000);
    }
    let link = *random.one_of(&waiting);
    sim.is_cut(link, "dies while its login is looked at; the server learns late");
    sim.links[link].down.lose(0);
    sim.plan_in(Duration::ZERO, Event::ClientLearns(link));
    let late = random.millis(100, 40_000);
    sim.plan_in(late, Event::ServerLearns(link));
    random.millis(1_000, 8_000)
}

fn put_off(sim: &mut Sim, random: &mut Random) -> Option<Duration> {
    sim.server.refused_logins = random.between(5, 40);
    None
}

fn coalesce(sim: &mut Sim, random: &mut Random) -> Option<Duration> {
    sim.plan.coalesce = random.between(2, 40) as usize;
    None
}

fn jump(sim: &mut Sim, random: &mut Random) -> Duration {
    sim.server.wall_is_off += random.between(0, 20_000_000) as i64 - 10_000_000;
    random.millis(5_000, 30_000)
}

fn malice(sim: &mut Sim, random: &mut Random) -> Option<Duration> {
    sim.has_attacker = true;
    Some(random.millis(1_500, 4_000))
}

fn attack(sim: &mut Sim, random: &mut Random) -> Duration {
    sim.attack(random);
    random.millis(20, 600)
}

/// Somebody logs off, or is lost with the process, often on all devices, and comes back after a long while.
fn stay_away(sim: &mut Sim, random: &mut Random) -> Duration {
    if let Some(engine) = sim.some_engine(random) {
        let (user, all) = (PLACES[sim.engines[engine].place].user, random.percent(60));
        let there: Vec<usize> = sim.at_place.iter().flatten().copied().collect();
        let of_user = |other: &usize| {
            let of = &sim.engines[*other];
            !of.is_gone() && (*other == engine || all && PLACES[of.place].user == user)
        };
        for engine in there.into_iter().filter(of_user).collect::<Vec<_>>() {
            goes_for_long(sim, random, engine);
        }
        let soon = random.millis(100, 2_000);
        sim.plan_in(soon, Event::WritesTo(user));
    }
    random.millis(2_000, 20_000)
}

fn goes_for_long(sim: &mut Sim, random: &mut Random, engine: usize) {
    let (place, away) = (sim.engines[engine].place, random.millis(3_000, 45_000));
    if random.percent(70) {
        sim.away_for[place] = Some(away);
        super::workload::logs_off(sim, engine);
    } else {
        loses_its_process(sim, random, engine);
        sim.plan_in(away, Event::Start(place));
    }
}

/// For a while; what it was asked meanwhile it answers late, badly, twice or never.
fn store_misbehaves(sim: &mut Sim, random: &mut Random) -> Duration {
    let slow = Manner::Slow(random.millis(100, 25_000));
    let manner = *random.one_of(&[slow, slow, Manner::Silent, Manner::Fails, Manner::Twice]);
    let until = sim.now + random.millis(1_000, 30_000);
    sim.store.misbehaves(manner, until);
    sim.say("store", || format!("is {manner:?} for a while"));
    random.millis(5_000, 30_000)
}
