//! What bad input gets: every row of the table in docs/PROTOCOL.md, with two bystanders whose links must stay up.

mod blobs;
mod client;
mod frames;
mod garbage;
mod identity;
mod login;
mod pace;
mod resume;

use bytes::Bytes;
use esf_proto::{close::CloseReason, server::Config};
use esf_tests::{
    bystanders::Bystanders,
    raw::{LoginWith, RawLink},
    world::World,
};

/// A server, one who misbehaves, and two bystanders.
struct Scene {
    world: World,
    mallory: RawLink,
    others: Bystanders,
}

impl Scene {
    /// Mallory is logged in.
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        let mut scene = Self::before_login_with(config);
        scene.mallory.login(&mut scene.world, LoginWith::default()).expect("a welcome");
        scene.mallory.take_received();
        scene
    }

    /// Mallory's link is open and nothing was sent on it.
    fn before_login() -> Self {
        Self::before_login_with(Config::default())
    }

    fn before_login_with(config: Config) -> Self {
        let mut world = World::with(config);
        let others = Bystanders::join(&mut world);
        let mallory = RawLink::open(&world, "mallory", 66);
        Self { world, mallory, others }
    }

    fn send(&mut self, message: Bytes) {
        self.mallory.push(&mut self.world, message);
    }

    /// Mallory sends `message` and is closed for `reason`, told as a frame and as a code and counted once; nobody else
    /// feels it.
    fn closes(mut self, what: &str, message: Bytes, reason: CloseReason) {
        let before = self.world.closes(reason);
        self.send(message);
        self.was_closed(what, before, reason);
    }

    fn was_closed(mut self, what: &str, before: u64, reason: CloseReason) {
        assert_eq!(self.mallory.closed(), Some(reason), "{what}");
        assert_eq!(self.mallory.told(), Some(reason), "{what}");
        assert_eq!(self.world.closes(reason), before + 1, "{what} is counted");
        assert!(!self.world.node.is_online("mallory"), "{what} ends the session");
        self.others.are_unharmed(&mut self.world, what);
    }

    /// Mallory sends `message` and keeps its link; `counter` counts it, and nobody else feels it.
    fn lets_off(&mut self, what: &str, message: Bytes, counter: &str) {
        let before = self.world.counter(counter);
        self.send(message);
        assert!(self.mallory.is_open(), "{what}: {:?}", self.mallory.closed());
        assert_eq!(self.world.counter(counter), before + 1, "{what} is counted");
        self.others.are_unharmed(&mut self.world, what);
    }
}
