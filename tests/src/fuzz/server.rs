//! A server under strangers who say anything, with two people beside them who must not notice.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use esf_driver::{
    endpoint::Endpoint,
    node::{Asked, Judge, Judged},
    store::{Store, StoreAnswer, StoreLimits},
};
use esf_proto::{
    failure::Failure,
    ids::{DeviceKind, InstanceId, UserId},
    login::{CredentialKind, ResumeSecret},
    server::{Config, Verdict},
    session::inbound::MessageKind,
    store::{JobId, StoreId, StoreRequest, StoreResponse},
    time::Instant,
    wire::{Address, Credential, Direction, Flags, Frame, Header, Hop, Login, LoginResult, Resume},
};

use super::{
    Input,
    frames::{Cast, encoded, spoiled},
};
use crate::{
    bystanders::Bystanders,
    people::{group, name},
    raw::RawLink,
    world::{Who, World},
};

const STEPS: usize = 300;
const LINKS: usize = 4;
const BUDGET: usize = 64 << 10;
const MAX_FRAME: u32 = 16 << 10;
/// What may pass in one run, so that a run has an end.
const TIME: Duration = Duration::from_secs(900);
const AGES: Duration = Duration::from_secs(400);
const STORE_TIMEOUT: Duration = Duration::from_secs(15);
const KEEP_KEYS: Duration = Duration::from_secs(60);

/// Runs a server, two bystanders and some links of strangers.
///
/// # Panics
/// If the server says what no server may, if something is left of the strangers, or if the bystanders noticed.
pub fn server_inputs(data: &[u8]) {
    let mut input = Input::new(data);
    let choices = input.byte();
    let config = Config {
        max_frame: MAX_FRAME,
        window: 8 << 10,
        budget: BUDGET,
        queue: 8 << 10,
        resume_window: Duration::from_secs(15),
        max_commands: 2,
        max_open: 16,
        max_open_queries: 8,
        store_timeout: STORE_TIMEOUT,
        intercepts: choices & 1 != 0,
        max_dynamic_groups: 2,
        max_group_members: 3,
        ..Config::default()
    };
    let session_budget = config.session_budget();
    let mut limits = StoreLimits::default();
    (limits.max_messages, limits.max_tries, limits.keep_keys) = (6, 3, KEEP_KEYS);
    let mut world = World::with_store_and(limits, config);
    let store = world.store();
    store.add_contact(&name("ann"), &name("mallory"));
    store.add_contact(&name("mallory"), &name("eve"));
    for (of, members) in [("red", ["ann", "mallory"]), ("blue", ["eve", "ben"])] {
        store.create_group(&group(of));
        for member in members {
            store.add_member(&group(of), &name(member));
        }
    }
    let verdicts = Verdicts::default();
    world.node.set_judge(Box::new(verdicts.clone()));
    let bystanders = Bystanders::join(&mut world);
    world.accounts.guarded.lock().expect("nobody panicked").extend(["ann".into(), "ben".into()]);
    let mut strangers = Strangers { links: Vec::new(), secret: None, passed: Duration::ZERO, verdicts };
    for _ in 0..STEPS {
        if input.is_over() {
            break;
        }
        strangers.step(&mut world, &mut input);
        strangers.look(&mut world);
        // The desk, the bystanders, and every login of a stranger.
        assert!(world.node.held_bytes() <= 16 * session_budget, "sessions hold more than they may");
    }
    strangers.leave(&mut world);
    assert_eq!(world.node.links(), 2, "links are left");
    assert_eq!(world.node.held_bytes(), 0, "bytes are left");
    assert_eq!(world.node.online(), 2, "logins are left");
    for who in [bystanders.ann, bystanders.ben] {
        for message in &world.engine(who).messages {
            let from = message.source.user().map_or("", |user| user.as_str());
            assert!(["mallory", "eve"].contains(&from), "a message in the name of `{from}`");
            if let MessageKind::Broadcast { group } = &message.kind {
                let own = if who == bystanders.ann { "red" } else { "blue" };
                assert!(group.is_dynamic() || group.as_str() == own, "a broadcast to {group} came to {who:?}");
            }
        }
    }
    for user in ["ann", "ben"] {
        assert_eq!(waits_for(&world, user), 0, "{user} was there all the while");
    }
    bystanders.are_unharmed(&mut world, "after all that");
}

/// How much the store has for somebody who is there.
fn waits_for(world: &World, user: &str) -> usize {
    let (told, answer) = std::sync::mpsc::channel();
    let fetch = StoreRequest::Fetch {
        user: name(user),
        device: DeviceKind::SERVICE,
        after: StoreId(0),
        max_messages: usize::MAX,
        max_bytes: usize::MAX,
    };
    world.store().submit(fetch, StoreAnswer::new(move |answer| told.send(answer).expect("it is waited for")));
    match answer.try_recv() {
        Ok(Ok(StoreResponse::Messages { messages, .. })) => messages.len(),
        other => panic!("{other:?}"),
    }
}

/// The server's application judges what strangers say: now, later, or too late.
#[derive(Clone, Default)]
struct Verdicts(Arc<Mutex<Judgement>>);

#[derive(Default)]
struct Judgement {
    /// What it says at once; `None`: nothing yet.
    at_once: Option<Verdict>,
    later: Vec<Asked>,
}

impl Judge for Verdicts {
    fn judge(&self, _: Instant, asked: &Asked) -> Judged {
        if ["ann", "ben"].contains(&asked.engine().user.as_str()) {
            return Judged::Now(Verdict::Pass);
        }
        let mut judgement = self.0.lock().expect("nobody panicked");
        if let Some(verdict) = judgement.at_once {
            return Judged::Now(verdict);
        }
        judgement.later.push(asked.clone());
        Judged::Later(Box::new(|| ()))
    }
}

struct Strangers {
    links: Vec<RawLink>,
    /// What resumes somebody's session.
    secret: Option<ResumeSecret>,
    passed: Duration,
    verdicts: Verdicts,
}

impl Strangers {
    fn step<'a>(&mut self, world: &mut World, input: &mut Input<'a>) {
        let what = input.below(18);
        if what == 0 || self.links.is_empty() {
            return self.open(world, input);
        }
        let place = input.below(self.links.len());
        let own = self.links[place].engine.clone();
        let cast = cast(input, &own);
        match what {
            1 | 2 => self.log_in(world, place, input),
            3..=5 => self.send(world, place, &cast.frame(input), input),
            6 | 7 => self.send(world, place, &cast.routed(input), input),
            8 => {
                if let Some(bytes) = encoded(&cast.frame(input), input) {
                    let bytes = spoiled(bytes, input);
                    self.links[place].push(world, bytes);
                }
            }
            9 => self.links[place].push(world, Bytes::copy_from_slice(input.bytes())),
            10 => self.together(world, place, &cast, input),
            11 => self.links[place].push_text(world),
            12 => self.links.swap_remove(place).drop_link(world),
            13 => self.links[place].reads = !self.links[place].reads,
            14 => world.engine(Who(0)).takes = input.flag(),
            15 => self.behind(world, place, &cast, input),
            16 if input.flag() => self.send(world, place, &cast.broadcast(input), input),
            16 => self.send(world, place, &cast.group_request(input), input),
            _ => self.pass(world, input.duration()),
        }
    }

    /// What happens behind the server: the store is silent, fails, answers what nobody asked, keeps what is for those who are
    /// not there, or has others in its groups; the server's application judges.
    fn behind<'a>(&mut self, world: &mut World, place: usize, cast: &Cast<'a>, input: &mut Input<'a>) {
        let now = world.now;
        match input.below(12) {
            0 => world.people.silent = !world.people.silent,
            1 => world.people.fails = !world.people.fails,
            2 => {
                let answer = if input.flag() { StoreResponse::NotFound } else { StoreResponse::Stored };
                world.node.handle_response(now, JobId(input.number()), Ok(answer));
            }
            3 => {
                let red = group("red");
                let changed = match input.below(3) {
                    0 => world.store().add_member(&red, &name("mallory")),
                    1 => world.store().remove_member(&red, &name("mallory")),
                    _ => world.store().add_member(&red, &name("eve")),
                };
                let _ = changed;
            }
            4 => {
                let user = UserId::parse(input.of(&["ann", "mallory", "eve"]), 255).expect("a name");
                world.node.relations_changed(now, &user);
            }
            5 => {
                const PUTS: fn(&StoreRequest) -> bool = |request| matches!(request, StoreRequest::Put { .. });
                world.people.holds = if input.flag() { None } else { Some(PUTS) };
            }
            6 => {
                let at_once = match input.below(5) {
                    0 => Some(Verdict::Refuse(input.of(Failure::ALL))),
                    1 => Some(Verdict::Drop),
                    2 | 3 => None,
                    _ => Some(Verdict::Pass),
                };
                self.verdicts.0.lock().expect("nobody panicked").at_once = at_once;
            }
            7 => {
                let later = &mut self.verdicts.0.lock().expect("nobody panicked").later;
                let next = (!later.is_empty()).then(|| later.remove(input.below(later.len())));
                if let Some(asked) = next {
                    let verdict = if input.flag() { Verdict::Drop } else { Verdict::Pass };
                    world.node.judged(now, &asked, verdict);
                    if input.rarely(4) {
                        world.node.judged(now, &asked, verdict);
                    }
                }
            }
            8 => {
                let id = input.number();
                self.links[place].send(world, &cast.confirm(id));
            }
            _ => {
                let hop = if input.rarely(4) { Hop::AGAIN } else { Hop::default() };
                if let Ok(bytes) = cast.storable(input).to_bytes(Header { flags: Flags::STORE, hop }) {
                    self.links[place].push(world, bytes);
                }
            }
        }
        world.run();
    }

    fn open(&mut self, world: &mut World, input: &mut Input<'_>) {
        if self.links.len() == LINKS {
            self.links.remove(0).drop_link(world);
        }
        let name = input.of(&["mallory", "mallory", "eve"]);
        let mut link = RawLink::open(world, name, 60 + input.below(3) as u64);
        link.engine.device = DeviceKind(input.below(3) as u8);
        self.links.push(link);
    }

    fn log_in(&mut self, world: &mut World, place: usize, input: &mut Input<'_>) {
        let link = &mut self.links[place];
        let bits = input.byte();
        let resume = self.secret.filter(|_| bits & 4 == 4).map(|secret| Resume { secret, received: input.number32() });
        let login = Login {
            instance: link.engine.instance,
            attempt: input.number32(),
            interactive: bits & 1 == 0,
            takes_messages: bits & 2 == 0,
            device: link.engine.device,
            heartbeat_ms: if bits & 8 == 0 { 5_000 } else { input.number32() },
            login_number: if bits & 16 == 0 { 0 } else { input.number() },
            user: &link.engine.user,
            credential: Credential { kind: CredentialKind::Password, bytes: if bits < 240 { b"" } else { b"wrong" } },
            system_token: b"",
            ticket: input.bytes(),
            resume,
        };
        if let Ok(bytes) = Frame::Login(login).to_bytes(Header::default()) {
            link.push(world, bytes);
        }
    }

    fn send<'a>(&mut self, world: &mut World, place: usize, frame: &Frame<'a>, input: &mut Input<'a>) {
        if let Some(bytes) = encoded(frame, input) {
            self.links[place].push(world, bytes.freeze());
        }
    }

    /// Several frames in one message, in the name of whoever sends them.
    fn together<'a>(&mut self, world: &mut World, place: usize, cast: &Cast<'a>, input: &mut Input<'a>) {
        let mut message = BytesMut::new();
        for _ in 0..=input.below(8) {
            if let Some(bytes) = encoded(&cast.frame(input), input) {
                message.extend_from_slice(&bytes);
            }
        }
        self.links[place].push(world, message.freeze());
    }

    /// Lets time pass for everybody, from timer to timer.
    fn pass(&mut self, world: &mut World, duration: Duration) {
        self.passed += duration;
        if self.passed > TIME {
            return;
        }
        let end = world.now + duration;
        while world.now < end {
            let due = self.links.iter().filter_map(|link| link.conn.poll_timeout()).min();
            let next = due.map_or(end, |due| due.clamp(world.now, end));
            world.advance(next.since(world.now));
            for link in &mut self.links {
                if link.conn.poll_timeout().is_some_and(|at| at <= world.now) {
                    link.conn.handle_timeout(world.now);
                    let next = link.conn.poll_timeout();
                    link.pump(world);
                    assert!(next.is_none_or(|next| next > world.now), "a timer is due again at once");
                }
            }
            world.run();
            self.links.iter_mut().for_each(|link| link.pump(world));
        }
    }

    /// What the server said is what a server may say.
    fn look(&mut self, world: &mut World) {
        for link in &mut self.links {
            link.pump(world);
            let mut closed = false;
            for frame in link.take_received() {
                assert!(!closed, "{frame:?} after the last frame");
                assert!(frame.len() <= MAX_FRAME as usize);
                let decoded = frame.decode().unwrap_or_else(|error| panic!("{frame:?} of the server: {error}"));
                assert!(decoded.kind().direction() != Direction::ToServer, "{decoded:?} is no frame of a server");

                match decoded {
                    Frame::LoginResult(LoginResult::Succeed(welcome)) => self.secret = Some(welcome.secret),
                    Frame::Close { .. } => closed = true,
                    _ => {}
                }
            }
        }
    }

    /// Everybody leaves, and enough time passes for all of it to be forgotten.
    fn leave(mut self, world: &mut World) {
        world.engine(Who(0)).takes = true;
        (world.people.silent, world.people.fails, world.people.holds) = (false, false, None);
        for link in self.links.drain(..) {
            link.drop_link(world);
        }
        world.advance(AGES);
    }
}

/// Who frames are between: somebody who says who he is, mostly, to those who are there.
fn cast<'a>(input: &mut Input<'a>, own: &esf_proto::ids::Engine) -> Cast<'a> {
    const NAMES: [&str; 2] = ["mallory", "eve"];
    let user = NAMES.iter().copied().find(|name| *name == own.user.as_str()).expect("one of them");
    let own = Address::Engine { user, device: own.device, instance: own.instance };
    let ann = InstanceId(0xE0_0001);
    let to = vec![
        Address::User { user: "ann" },
        Address::Engine { user: "ann", device: DeviceKind::SERVICE, instance: ann },
        Address::Server { instance: 0 },
        Address::User { user: "mallory" },
        Address::Group { group: "red" },
        Address::Group { group: "blue" },
        Address::Group { group: "~g" },
        Address::Device { user: "eve", device: DeviceKind(input.below(3) as u8) },
    ];
    let mut from = vec![own; 7];
    from.push(Address::Engine { user: "ann", device: DeviceKind::SERVICE, instance: ann });
    Cast { from, to, ids: (1..6).collect(), streams: vec![1, 2] }
}
