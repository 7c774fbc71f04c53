//! Where a scenario runs: a server, its clients and their lines.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use serde_json::{Value, json};

use super::scenario::{Act, File, Scenario, Scene, Step, fits, numbered};
use crate::kit::{
    Host, Peer, Pending, Runtime,
    inbox::Inbox,
    line::Line,
    raw::open_websocket,
    spec::{Call, ClientSpec, Elsewhere},
    until,
};

const FILES: &[&str] = &[
    include_str!("../../../scenarios/login.json"),
    include_str!("../../../scenarios/messages.json"),
    include_str!("../../../scenarios/queries.json"),
    include_str!("../../../scenarios/connection.json"),
    include_str!("../../../scenarios/blobs.json"),
    include_str!("../../../scenarios/limits.json"),
    include_str!("../../../scenarios/hooks.json"),
    include_str!("../../../scenarios/groups.json"),
    include_str!("../../../scenarios/stored.json"),
];

/// Every scenario, by the name of its test.
pub(super) fn scenarios() -> BTreeMap<String, Scenario> {
    let mut all = BTreeMap::new();
    for file in FILES {
        let file: File = serde_json::from_str(file).expect("a file of scenarios");
        for scenario in file.scenarios {
            let name = test_name(&scenario.name);
            assert!(all.insert(name.clone(), scenario).is_none(), "two scenarios are called {name}");
        }
    }
    all
}

/// The words of a sentence, joined by `_`.
fn test_name(sentence: &str) -> String {
    let letters = sentence.chars().filter(|c| c.is_alphanumeric() || *c == ' ');
    letters.map(|c| if c == ' ' { '_' } else { c.to_ascii_lowercase() }).collect()
}

/// Runs the scenario with this name.
pub(super) fn run(name: &str, clients: &'static dyn Runtime, servers: &'static dyn Runtime) {
    let scenario = scenarios().remove(name).unwrap_or_else(|| panic!("no scenario is called {name}"));
    let mut stage = Stage::new(&scenario, clients, servers);
    stage.play(&scenario.steps);
    stage.end();
}

/// Where a scenario runs.
struct Stage<'a> {
    scenario: &'a Scenario,
    clients: &'static dyn Runtime,
    servers: &'static dyn Runtime,
    server: Arc<dyn Host>,
    url: String,
    doorkeeper: Option<Doorkeeper>,
    peers: BTreeMap<String, Box<dyn Peer>>,
    inboxes: BTreeMap<String, Arc<Inbox>>,
    lines: BTreeMap<String, Line>,
    pending: BTreeMap<String, Pending>,
}

impl<'a> Stage<'a> {
    fn new(scenario: &'a Scenario, clients: &'static dyn Runtime, servers: &'static dyn Runtime) -> Self {
        let inbox = Arc::new(Inbox::new());
        let address = scenario.server.elsewhere.is_none().then_some("127.0.0.1:0");
        let server: Arc<dyn Host> = servers.serve(address, &scenario.server, inbox.clone()).into();
        let doorkeeper = scenario.server.elsewhere.map(|what| Doorkeeper::of(&server, what));
        let url = doorkeeper.as_ref().map_or_else(|| server.url(), |doorkeeper| doorkeeper.url.clone());
        Self {
            scenario,
            clients,
            servers,
            server,
            url,
            doorkeeper,
            peers: BTreeMap::new(),
            inboxes: BTreeMap::from([("server".to_owned(), inbox)]),
            lines: BTreeMap::new(),
            pending: BTreeMap::new(),
        }
    }

    fn play(&mut self, steps: &[Value]) {
        for (number, step) in steps.iter().enumerate() {
            let place = format!("step {} of \"{}\", {step}", number + 1, self.scenario.name);
            let step = Step::read(step).unwrap_or_else(|error| panic!("{place}: {error}"));
            self.step(step, &place);
        }
    }

    fn step(&mut self, step: Step, place: &str) {
        let Step { on, later, abandon, expect, act } = step;
        match act {
            Act::Call(call) if abandon => self.peer(&on, place).abandon(&call),
            Act::Call(call) => {
                let pending = match on.as_str() {
                    "server" => self.server.call(&call),
                    _ => self.peer(&on, place).call(&call),
                };
                match later {
                    Some(name) => drop(self.pending.insert(name, pending)),
                    None => check(&expect, &pending.wait(), place),
                }
            }
            Act::Scene(scene) => self.scene(&on, scene, &expect, place),
        }
    }

    fn scene(&mut self, on: &str, scene: Scene, expect: &Value, place: &str) {
        match scene {
            Scene::Connect { line, with } => check(expect, &self.connect(on, line, with), place),
            Scene::Drop => drop(self.peers.remove(on)),
            Scene::Gets => check(expect, &self.inbox(on, place).next(), place),
            Scene::GetsAll => {
                let mut wanted = expect.as_array().unwrap_or_else(|| panic!("{place}: a list is expected")).clone();
                while !wanted.is_empty() {
                    let next = self.inbox(on, place).next();
                    let found = wanted.iter().position(|wanted| fits(wanted, &next));
                    wanted.remove(found.unwrap_or_else(|| panic!("{place}: not among them: {next}")));
                }
            }
            Scene::GetsPast => {
                let mut passed = 0;
                loop {
                    let next = self.inbox(on, place).next();
                    if fits(expect, &next) {
                        return;
                    }
                    assert!(next.is_object(), "{place}: it did not come, but {passed} others");
                    passed += 1;
                }
            }
            Scene::GetsNoMore => assert_eq!(self.inbox(on, place).rest(), [] as [Value; 0], "{place}"),
            Scene::Event => {
                let mut passed = Vec::new();
                loop {
                    let event = self.event(on, place);
                    if fits(expect, &event) {
                        return;
                    }
                    assert!(event.is_object(), "{place}: it did not come before the end, but {passed:?}, {event}");
                    passed.push(event);
                }
            }
            Scene::NextEvent => check(expect, &self.event(on, place), place),
            Scene::Look => check(expect, &self.look(on, place), place),
            Scene::Until => until(place, || {
                let look = self.look(on, place);
                if fits(expect, &look) { Ok(()) } else { Err(format!("it shows {look}")) }
            }),
            Scene::Keeps => {
                let keeper = self.scenario.server.store().unwrap_or_else(|| panic!("{place}: there is no store"));
                until(place, || {
                    let waiting = keeper.memory.waiting();
                    if *expect == json!(waiting) { Ok(()) } else { Err(format!("it keeps {waiting}")) }
                });
            }
            Scene::Release => self.inbox(on, place).released.open(),
            Scene::End { of } => {
                let pending = self.pending.remove(&of).unwrap_or_else(|| panic!("{place}: nothing is called {of}"));
                check(expect, &pending.wait(), place);
            }
            Scene::Cut => self.line(on, place).cut(),
            Scene::Down => self.line(on, place).down(),
            Scene::Up => self.line(on, place).up(),
            Scene::Hush => self.line(on, place).hush(),
            Scene::Repeat { times, steps } => {
                for n in 0..times {
                    let round: Vec<Value> = steps.iter().map(|step| numbered(step, n)).collect();
                    self.play(&round);
                }
            }
            Scene::Restart => {
                let address = self.url.trim_start_matches("ws://").to_owned();
                check(&json!("ok"), &self.server.call(&Call::ShutDown { grace_ms: 2000 }).wait(), place);
                let inbox = self.inbox("server", place).clone();
                self.server = self.servers.serve(Some(&address), &self.scenario.server, inbox).into();
            }
        }
    }

    /// A client, or why there is none.
    fn connect(&mut self, name: &str, line: bool, mut spec: ClientSpec) -> Value {
        if spec.user.is_empty() {
            name.clone_into(&mut spec.user);
        }
        let mut url = self.url.clone();
        if line {
            let line = Line::to(&url);
            url = line.url();
            self.lines.insert(name.to_owned(), line);
        }
        let inbox = Arc::new(Inbox::new());
        match self.clients.connect(&url, &spec, inbox.clone()) {
            Ok(peer) => {
                self.peers.insert(name.to_owned(), peer);
                self.inboxes.insert(name.to_owned(), inbox);
                json!("ok")
            }
            Err(cause) => cause,
        }
    }

    fn peer(&self, name: &str, place: &str) -> &dyn Peer {
        &**self.peers.get(name).unwrap_or_else(|| panic!("{place}: nobody is called {name:?}"))
    }

    fn inbox(&self, name: &str, place: &str) -> &Arc<Inbox> {
        self.inboxes.get(name).unwrap_or_else(|| panic!("{place}: nobody is called {name:?}"))
    }

    fn line(&self, name: &str, place: &str) -> &Line {
        self.lines.get(name).unwrap_or_else(|| panic!("{place}: {name:?} has no line"))
    }

    fn event(&self, name: &str, place: &str) -> Value {
        if name == "server" { self.server.event() } else { self.peer(name, place).event() }
    }

    fn look(&self, name: &str, place: &str) -> Value {
        if name == "server" { self.server.look() } else { self.peer(name, place).look() }
    }

    /// Whatever came was expected, and nothing hangs.
    fn end(mut self) {
        self.peers.clear();
        check(&json!("ok"), &self.server.call(&Call::ShutDown { grace_ms: 2000 }).wait(), "the end");
        for (name, inbox) in &self.inboxes {
            assert_eq!(inbox.rest(), [] as [Value; 0], "{name} got more than \"{}\" says", self.scenario.name);
        }
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        for inbox in self.inboxes.values() {
            inbox.over.open();
            inbox.released.open();
        }
        self.doorkeeper.take();
    }
}

/// Accepts for a server that does not listen.
struct Doorkeeper {
    url: String,
    over: Arc<AtomicBool>,
}

impl Doorkeeper {
    fn of(server: &Arc<dyn Host>, what: Elsewhere) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("ws://{}", listener.local_addr().expect("an address"));
        let (over, server) = (Arc::new(AtomicBool::new(false)), server.clone());
        let ends = over.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                if matches!(what, Elsewhere::Websocket) {
                    open_websocket(&stream);
                }
                server.serve(stream, what);
            }
        });
        Self { url, over }
    }
}

impl Drop for Doorkeeper {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = std::net::TcpStream::connect(self.url.trim_start_matches("ws://"));
    }
}

fn check(expected: &Value, found: &Value, place: &str) {
    assert!(fits(expected, found), "{place}: it was {found}");
}
