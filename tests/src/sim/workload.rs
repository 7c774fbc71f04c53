//! What is said: one table. Each work is done by somebody who is there, whether online or not.

use std::time::Duration;

use esf_proto::{
    client::{CertainOptions, MessageOptions, OutgoingBlob, Policy, SendError, SendOptions},
    failure::Failure,
    ids::{MessageId, To, UserId},
};

use super::{
    Event, Sim,
    ledger::{Kind, Outcome, Party, Sent, Target, body_of},
    people::{DYNAMIC, GROUPS, group},
    plan::{PLACES, USERS},
    random::Random,
};

/// The longest that something may take to its receiver.
const MINUTES: Duration = Duration::from_secs(200);

/// One kind of work.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// Its name.
    pub name: &'static str,
    /// How often it is chosen, beside the others.
    pub weight: u64,
    act: fn(&mut Sim, &mut Random),
}

/// All of them.
pub const WORKS: [Work; 16] = [
    Work { name: "plain sends", weight: 20, act: plain },
    Work { name: "certain sends", weight: 30, act: certain },
    Work { name: "queries", weight: 12, act: query },
    Work { name: "volatile sends", weight: 8, act: volatile },
    Work { name: "engine messages", weight: 4, act: engine_message },
    Work { name: "bursts", weight: 3, act: burst },
    Work { name: "blobs", weight: 3, act: blob },
    Work { name: "requests", weight: 3, act: request },
    Work { name: "sends of the server", weight: 6, act: server_sends },
    Work { name: "logins elsewhere", weight: 1, act: login_elsewhere },
    Work { name: "kicks", weight: 1, act: kick },
    Work { name: "log-offs", weight: 1, act: log_off },
    Work { name: "broadcasts", weight: 8, act: broadcast },
    Work { name: "dynamic groups", weight: 6, act: change_group },
    Work { name: "broadcasts of the server", weight: 2, act: server_broadcasts },
    Work { name: "sends for those who are away", weight: 24, act: stored },
];

/// Does one work and plans the next.
pub(super) fn work(sim: &mut Sim) {
    if sim.quiet {
        return;
    }
    let mut random = Random::new(sim.random.number());
    let all: u64 = sim.plan.weights.iter().sum();
    let mut at = random.below(all);
    for (work, weight) in WORKS.iter().zip(sim.plan.weights.clone()) {
        if at < weight {
            (work.act)(sim, &mut random);
            break;
        }
        at -= weight;
    }
    let pause = u64::try_from(sim.plan.pause.as_millis()).unwrap_or(100);
    let next = random.millis(0, pause * 2);
    sim.plan_in(next, Event::Work);
}

fn plain(sim: &mut Sim, random: &mut Random) {
    let tell = random.percent(40);
    say(sim, random, Kind::Plain, tell);
}

fn certain(sim: &mut Sim, random: &mut Random) {
    say(sim, random, Kind::Certain, false);
}

fn query(sim: &mut Sim, random: &mut Random) {
    say(sim, random, Kind::Query, false);
}

fn volatile(sim: &mut Sim, random: &mut Random) {
    let tell = random.percent(20);
    say(sim, random, Kind::Volatile, tell);
}

/// Many things at once, by one to one: queues fill.
fn burst(sim: &mut Sim, random: &mut Random) {
    let Some(engine) = someone(sim, random) else { return };
    let to = some_target(sim, random);
    let kind = *random.one_of(&[Kind::Plain, Kind::Certain, Kind::Certain]);
    let mut bytes = 0;
    for _ in 0..random.between(10, 80) {
        let len = random.between(4, sim.plan.body * 2) as usize;
        bytes += len as u64;
        client_sends(sim, random, engine, to, kind, false, len);
    }
    // What waits goes out a window at a time, on both hops.
    let rounds = bytes / u64::from(sim.plan.server.window) * 2;
    let round = sim.plan.manners.latency * 2 + sim.plan.manners.jitter * 2 + Duration::from_millis(150);
    let until = sim.now + round * u32::try_from(rounds).unwrap_or(u32::MAX);
    let now = sim.now;
    sim.engines[engine].trouble.span(now, until);
    for receiver in sim.targets_of(to) {
        sim.engines[receiver].trouble.span(now, until);
    }
    sim.turn_client(engine);
}

fn say(sim: &mut Sim, random: &mut Random, kind: Kind, tell: bool) {
    let Some(engine) = someone(sim, random) else { return };
    let to = some_target(sim, random);
    let large = random.percent(2);
    let len = if large { random.between(4, 50_000) } else { random.between(4, sim.plan.body) } as usize;
    client_sends(sim, random, engine, to, kind, tell, len);
    if random.percent(80) {
        sim.turn_client(engine);
    } else {
        // It waits for whatever happens next.
        sim.plan_in(Duration::from_millis(5), Event::Application(engine));
    }
}

fn someone(sim: &Sim, random: &mut Random) -> Option<usize> {
    let living: Vec<usize> = sim.at_place.iter().flatten().copied().filter(|at| !sim.engines[*at].is_gone()).collect();
    (!living.is_empty()).then(|| *random.one_of(&living))
}

fn some_target(sim: &Sim, random: &mut Random) -> Target {
    match random.below(10) {
        0..2 => Target::Server,
        2..4 => Target::Device(random.place(sim.plan.places)),
        _ => Target::User(PLACES[random.place(sim.plan.places)].user),
    }
}

pub(super) fn address(to: Target) -> To {
    let user = |user: usize| UserId::parse(USERS[user], 64).expect("a name");
    match to {
        // Broadcasts have an address of their own.
        Target::Server | Target::Group(_) => To::Server,
        Target::User(of) => To::User(user(of)),
        Target::Device(place) => To::Device(user(PLACES[place].user), PLACES[place].device),
    }
}

fn client_sends(sim: &mut Sim, random: &mut Random, engine: usize, to: Target, kind: Kind, tell: bool, len: usize) {
    let number = sim.ledger.next();
    let body = body_of(number, len);
    let len = body.len();
    let address = address(to);
    let ttl = *random.one_of(&[random.clone().millis(500, 10_000), Duration::from_secs(30), Duration::from_secs(60)]);
    let local = sim.engines[engine].clock.shows(sim.now);
    let session = &mut sim.engines[engine].session;
    let policy = if kind == Kind::Volatile { Policy::Discard } else { Policy::Queue };
    let options = SendOptions { policy, tell: tell.then_some(u64::from(number)) };
    let taken: Result<Option<MessageId>, SendError> = match kind {
        Kind::Certain => session.send_certainly(local, &address, number, body, Some(ttl)).map(Some),
        Kind::Query => session.query(local, &address, number, body, Some(ttl)).map(Some),
        _ => session.send(local, &address, number, body, options).map(|()| None),
    };
    entered(sim, engine, Sent { tell, ..new_sent(sim, kind, engine, to, ttl, len) }, taken);
}

fn new_sent(sim: &Sim, kind: Kind, engine: usize, to: Target, ttl: Duration, len: usize) -> Sent {
    Sent {
        kind,
        from: Party::Engine(engine),
        to,
        at: sim.now,
        ttl,
        len,
        tell: false,
        echo: false,
        storable: false,
        handed: false,
        outcome: None,
        runs: Vec::new(),
        ran_at: None,
        held: Vec::new(),
        heard: Vec::new(),
        told: Vec::new(),
        refused: false,
    }
}

/// Keeps what was sent, and under which id its outcome comes.
fn entered(sim: &mut Sim, engine: usize, mut sent: Sent, taken: Result<Option<MessageId>, SendError>) {
    let number = sim.ledger.next();
    match taken {
        Ok(id) => {
            if let Some(id) = id {
                sim.engines[engine].asked.insert(id, number);
            }
        }
        Err(error) => {
            sent.refused = true;
            sent.outcome = Some((Outcome::Failed(Failure::Busy), sim.now));
            sim.tell(engine, || format!("may not send: {error}"));
        }
    }
    let (kind, to, len) = (sent.kind, sent.to, sent.len);
    sim.ledger.enter(sent);
    sim.tell(engine, || format!("sends #{number}, {kind:?} to {to:?}, {len} B"));
}

/// A certain send to somebody who may be away, with as long a time to live as one likes.
fn stored(sim: &mut Sim, random: &mut Random) {
    let Some(engine) = someone(sim, random) else { return };
    let to = loop {
        match some_target(sim, random) {
            // Nothing is stored for the server.
            Target::Server => {}
            to => break to,
        }
    };
    let many = random.percent(10);
    for _ in 0..if many { random.between(2, 30) } else { 1 } {
        let ttl = *random.one_of(&[random.clone().millis(500, 10_000), Duration::from_secs(30), MINUTES]);
        sends_to_store(sim, random, engine, to, ttl);
    }
    sim.turn_client(engine);
}

/// Somebody writes what is to be stored to a user who has just gone.
pub(super) fn writes_to(sim: &mut Sim, user: usize) {
    let mut random = Random::new(sim.chance.number());
    let Some(engine) = someone(sim, &mut random).filter(|_| !sim.quiet) else { return };
    for _ in 0..random.between(1, 4) {
        sends_to_store(sim, &mut random, engine, Target::User(user), MINUTES);
    }
    sim.turn_client(engine);
}

fn sends_to_store(sim: &mut Sim, random: &mut Random, engine: usize, to: Target, ttl: Duration) {
    let number = sim.ledger.next();
    let body = body_of(number, random.between(4, sim.plan.body) as usize);
    let len = body.len();
    let local = sim.engines[engine].clock.shows(sim.now);
    let options = CertainOptions { ttl: Some(ttl), store_if_offline: true };
    let taken = sim.engines[engine].session.send_certainly_with(local, &address(to), number, body, options);
    let sent = Sent { storable: true, ..new_sent(sim, Kind::Certain, engine, to, ttl, len) };
    entered(sim, engine, sent, taken.map(Some));
}

/// Somebody who has written to a user who was away writes again.
pub(super) fn writes_again(sim: &mut Sim, user: usize) {
    let mut random = Random::new(sim.chance.number());
    let is_to = |to: Target| match to {
        Target::User(of) => of == user,
        Target::Device(place) => PLACES[place].user == user,
        Target::Server | Target::Group(_) => false,
    };
    let of = |sent: &Sent| if let Party::Engine(engine) = sent.from { Some((engine, sent.to)) } else { None };
    let written = sim.ledger.all().filter(|(_, sent)| sent.storable && is_to(sent.to)).filter_map(|(_, sent)| of(sent));
    let written: Vec<_> = written.filter(|(engine, _)| !sim.engines[*engine].is_gone()).collect();
    let Some((engine, to)) = written.last().copied().filter(|_| !sim.quiet) else { return };
    for _ in 0..random.between(1, 3) {
        let kind = *random.one_of(&[Kind::Certain, Kind::Certain, Kind::Plain]);
        let len = random.between(4, sim.plan.body) as usize;
        client_sends(sim, &mut random, engine, to, kind, false, len);
    }
    sim.turn_client(engine);
}

fn engine_message(sim: &mut Sim, random: &mut Random) {
    let Some(engine) = someone(sim, random) else { return };
    let to = some_target(sim, random);
    let number = sim.ledger.next();
    let body = body_of(number, random.between(4, sim.plan.body) as usize);
    let len = body.len();
    let local = sim.engines[engine].clock.shows(sim.now);
    let options = MessageOptions { policy: Policy::Queue, echo: false, tell: None };
    let taken = sim.engines[engine].session.send_message(local, &address(to), number, body, "tag", options);
    let sent = new_sent(sim, Kind::Plain, engine, to, Duration::ZERO, len);
    entered(sim, engine, sent, taken.map(|()| None));
    sim.turn_client(engine);
}

fn blob(sim: &mut Sim, random: &mut Random) {
    let Some(engine) = someone(sim, random) else { return };
    let to = some_target(sim, random);
    let number = sim.ledger.next();
    let len = *random.one_of(&[random.clone().between(4, 40_000), random.clone().between(4, 600_000)]) as usize;
    let body = body_of(number, len);
    let (fragment, known) = (random.between(500, 20_000) as usize, random.percent(70));
    let local = sim.engines[engine].clock.shows(sim.now);
    let of = &mut sim.engines[engine];
    let outgoing = OutgoingBlob { fragment, ..OutgoingBlob::new(number, known.then_some(body.len() as u64)) };
    let taken = of.session.send_blob(local, &address(to), &outgoing);
    if let Ok(id) = taken {
        of.blobs.keep(id, body);
    }
    let sent = new_sent(sim, Kind::Blob, engine, to, Duration::from_secs(400), len);
    entered(sim, engine, sent, taken.map(Some));
    sim.turn_client(engine);
}

fn request(sim: &mut Sim, random: &mut Random) {
    let Some(engine) = someone(sim, random) else { return };
    let to = address(some_target(sim, random));
    let local = sim.engines[engine].clock.shows(sim.now);
    let session = &mut sim.engines[engine].session;
    let (name, taken) = match random.below(3) {
        0 => ("ping", session.ping(local, &to)),
        1 => ("devices", session.my_devices(local)),
        _ => ("online", session.is_online(local, &[UserId::parse("anna", 64).expect("a name")])),
    };
    if let Ok(id) = taken {
        sim.engines[engine].requests.insert(id, name);
    }
    sim.turn_client(engine);
}

fn server_sends(sim: &mut Sim, random: &mut Random) {
    let Some(node) = sim.server.node.clone() else { return };
    let to = match some_target(sim, random) {
        Target::Server => return,
        to => to,
    };
    let number = sim.ledger.next();
    let body = body_of(number, random.between(4, sim.plan.body) as usize);
    let ttl = random.millis(1_000, 30_000);
    let local = sim.server.clock.shows(sim.now);
    let kind = *random.one_of(&[Kind::Plain, Kind::Certain, Kind::Query]);
    let storable = kind == Kind::Certain && random.percent(50);
    let from = Party::Server(sim.server.life);
    let mut sent = Sent { from, storable, ..new_sent(sim, kind, 0, to, ttl, body.len()) };
    let taken = match kind {
        Kind::Certain if storable => node.send_storable(local, &address(to), number, &body, ttl).map(Some),
        Kind::Certain => node.send_certainly(local, &address(to), number, &body, ttl).map(Some),
        Kind::Query => node.query(local, &address(to), number, &body, ttl).map(Some),
        _ => node.send(local, &address(to), number, &body).map(|()| None),
    };
    match taken {
        Ok(Some(id)) => {
            sim.server.asked.insert(id, number);
        }
        Ok(None) => {}
        Err(failure) => {
            sent.refused = true;
            sent.outcome = Some((Outcome::Failed(failure), sim.now));
        }
    }
    sim.ledger.enter(sent);
    sim.say("server", || format!("sends #{number}, {kind:?} to {to:?}"));
}

/// Another process logs in at a place that is taken.
fn login_elsewhere(sim: &mut Sim, random: &mut Random) {
    let place = random.place(sim.plan.places);
    sim.start(place);
}

fn kick(sim: &mut Sim, random: &mut Random) {
    let Some(engine) = someone(sim, random) else { return };
    let victim = random.between(1, USERS.len() as u64 - 1) as usize;
    let local = sim.engines[engine].clock.shows(sim.now);
    let name = UserId::parse(USERS[victim], 64).expect("a name");
    if let Ok(id) = sim.engines[engine].session.kick_out(local, &name) {
        sim.engines[engine].requests.insert(id, "kick");
        if PLACES[sim.engines[engine].place].user == 0 {
            // The request lives as long as any.
            let until = sim.now + Duration::from_secs(40);
            sim.kicked_until[victim] = sim.kicked_until[victim].max(until);
        }
        sim.tell(engine, || format!("kicks {name}"));
    }
    sim.turn_client(engine);
}

fn log_off(sim: &mut Sim, random: &mut Random) {
    if let Some(engine) = someone(sim, random) {
        logs_off(sim, engine);
    }
}

pub(super) fn logs_off(sim: &mut Sim, engine: usize) {
    let local = sim.engines[engine].clock.shows(sim.now);
    let of = &mut sim.engines[engine];
    of.logs_off = true;
    let now = sim.now;
    of.trouble.begins(now);
    of.session.log_off(local);
    sim.tell(engine, || "logs off".into());
    sim.turn_client(engine);
}

fn broadcast(sim: &mut Sim, random: &mut Random) {
    let Some(engine) = someone(sim, random) else { return };
    let of = random.place(GROUPS.len());
    let len = random.between(4, sim.plan.body) as usize;
    let (many, tell, echo) = (random.percent(10), random.percent(60), random.percent(20));
    for _ in 0..if many { random.between(2, 80) } else { 1 } {
        broadcasts_to(sim, engine, of, len, tell, echo);
    }
    sim.turn_client(engine);
}

/// One broadcast; gives its number.
pub(super) fn broadcasts_to(sim: &mut Sim, engine: usize, of: usize, len: usize, tell: bool, echo: bool) -> u32 {
    let number = sim.ledger.next();
    let body = body_of(number, len);
    let len = body.len();
    let local = sim.engines[engine].clock.shows(sim.now);
    let options = MessageOptions { policy: Policy::Queue, echo, tell: tell.then_some(u64::from(number)) };
    let taken = sim.engines[engine].session.broadcast(local, &group(of), number, body, options);
    let sent = new_sent(sim, Kind::Broadcast, engine, Target::Group(of), Duration::ZERO, len);
    entered(sim, engine, Sent { tell, echo, ..sent }, taken.map(|()| None));
    number
}

fn server_broadcasts(sim: &mut Sim, random: &mut Random) {
    let Some(node) = sim.server.node.clone() else { return };
    let of = random.place(GROUPS.len());
    let number = sim.ledger.next();
    let body = body_of(number, random.between(4, sim.plan.body) as usize);
    let mut sent = new_sent(sim, Kind::Broadcast, 0, Target::Group(of), Duration::ZERO, body.len());
    sent.from = Party::Server(sim.server.life);
    if let Err(failure) = node.broadcast(&group(of), number, &body) {
        sent.refused = true;
        sent.outcome = Some((Outcome::Failed(failure), sim.now));
    }
    sim.ledger.enter(sent);
    sim.say("server", || format!("sends #{number}, Broadcast to {}", GROUPS[of]));
}

/// Somebody joins, quits, or says who else is in a group.
fn change_group(sim: &mut Sim, random: &mut Random) {
    let Some(engine) = someone(sim, random) else { return };
    let of = random.between(*DYNAMIC.start() as u64, *DYNAMIC.end() as u64) as usize;
    let (group, whom) = (group(of), random.place(USERS.len()));
    let other = UserId::parse(USERS[whom], 64).expect("a name");
    let user = PLACES[sim.engines[engine].place].user;
    let local = sim.engines[engine].clock.shows(sim.now);
    let session = &mut sim.engines[engine].session;
    let (name, taken) = match random.below(9) {
        0..3 => ("join", session.join_group(local, &group)),
        3..5 => ("quit", session.quit_group(local, &group)),
        5 => ("invite", session.invite(local, &group, &other)),
        6 => ("pull in", session.pull_in(local, &group, &other)),
        7 => ("remove", session.remove_member(local, &group, &other)),
        _ => ("tag", session.tag_group(local, &group, "tag")),
    };
    if let Ok(id) = taken {
        sim.engines[engine].requests.insert(id, name);
        match name {
            "join" => sim.people.may_enter(user, of),
            "pull in" => sim.people.may_enter(whom, of),
            _ => {}
        }
        sim.tell(engine, || format!("asks to {name} {} ({other})", GROUPS[of]));
    }
    sim.turn_client(engine);
}
