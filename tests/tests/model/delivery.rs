//! Certain delivery, against [`Model`]: after each step every send has the outcome that it has there, and every application
//! has the messages that it has there, in that order.

use std::time::Duration;

use esf_proto::{
    client::{Config as ClientConfig, Retry},
    ids::MessageId,
    server::Config as ServerConfig,
};
use esf_tests::world::{self, Who, World, client_config, user};
use proptest_state_machine::{StateMachineTest, prop_state_machine};

use super::{
    delivery_model::{Happens, Model, NAMES, Outcome, SETTLES, WINDOW},
    lives,
};

struct Delivery {
    world: World,
    /// By the model's numbers.
    engines: Vec<Who>,
    /// By name.
    alive: [Who; NAMES.len()],
    /// By the model's numbers.
    sent: Vec<(Who, MessageId)>,
}

prop_state_machine! {
    #![proptest_config(lives(192))]

    #[test]
    fn certain_sends_end_as_the_model_says(sequential 1..60 => Delivery);
}

impl StateMachineTest for Delivery {
    type SystemUnderTest = Self;
    type Reference = Model;

    fn init_test(_: &Model) -> Self {
        // What is noticed is noticed because the model says so, and by no timer.
        let mut world = World::with(ServerConfig {
            liveness: Duration::ZERO,
            ping_after: Duration::ZERO,
            overflow: Duration::from_secs(3_600),
            resume_window: Duration::from_millis(WINDOW),
            ..ServerConfig::default()
        });
        let alive = NAMES.map(|name| world.join_with(quick(name)));
        Self { world, engines: alive.to_vec(), alive, sent: Vec::new() }
    }

    fn apply(mut delivery: Self, _: &Model, transition: Happens) -> Self {
        let alive = delivery.alive;
        let who = |name: usize| alive[name];
        let world = &mut delivery.world;
        match transition {
            Happens::Send(from, to, ttl) => {
                let to = user(to.map_or("", |to| NAMES[to]));
                let text = delivery.sent.len().to_string();
                let id = world.send_certainly_to(who(from), &to, &text, Duration::from_millis(ttl));
                delivery.sent.push((who(from), id));
            }
            Happens::Cut(name) => world.cut(who(name)),
            Happens::GiveUp(name) => {
                // The older link has not learnt of the newer one when what was sent on it arrives.
                world.link(who(name)).asleep = true;
                world.give_up(who(name));
            }
            Happens::Away(name) => world.away(who(name)),
            Happens::Vanish(name) => {
                world.engine(who(name)).network = false;
                world.give_up(who(name));
            }
            Happens::Notice(name) => world.server_learns(who(name)),
            Happens::Late(name) => world.late_arrives(who(name)),
            Happens::Back(name) => world.back(who(name)),
            Happens::HoldUp(name) => world.link(who(name)).hold_up = true,
            Happens::HoldDown(name) => world.link(who(name)).hold_down = true,
            Happens::Release(name) => {
                let link = world.link(who(name));
                (link.hold_up, link.hold_down) = (false, false);
            }
            Happens::Takes(name, takes) => world.engine(who(name)).takes = takes,
            Happens::Reborn(name) => {
                world.die(who(name));
                delivery.alive[name] = world.join_with(quick(NAMES[name]));
                delivery.engines.push(delivery.alive[name]);
            }
            Happens::RestartServer => {
                let present: Vec<Who> = alive.into_iter().filter(|who| world.engine(*who).network).collect();
                for who in &present {
                    world.engine(*who).network = false;
                }
                world.restart_server();
                for who in present {
                    world.back(who);
                    world.advance(Duration::from_millis(SETTLES));
                }
                return delivery;
            }
            Happens::Pass(ms) => world.advance(Duration::from_millis(ms)),
        }
        delivery.world.advance(Duration::from_millis(SETTLES));
        delivery
    }

    fn check_invariants(delivery: &Self, model: &Model) {
        let world = &delivery.world;
        for (number, ((who, id), sent)) in delivery.sent.iter().zip(&model.sent).enumerate() {
            let outcome = match world.outcome(*who, *id) {
                Some(world::Outcome::Acked) => Some(Outcome::Acked),
                Some(world::Outcome::Failed(failure)) => Some(Outcome::Failed(failure)),
                Some(other) => panic!("message {number} ends as {other:?}"),
                None => None,
            };
            if model.engines[sent.from].alive {
                assert_eq!(outcome, sent.outcome, "what becomes of message {number}");
            }
        }
        let text = |number: &usize| number.to_string();
        for (number, who) in delivery.engines.iter().enumerate() {
            let expected: Vec<String> = model.inbox(number).iter().map(text).collect();
            assert_eq!(world.texts(*who), expected, "what engine {number} has got");
        }
        let served = world.inbox.iter().map(|message| String::from_utf8_lossy(&message.body).into_owned());
        assert_eq!(served.collect::<Vec<_>>(), model.served.iter().map(text).collect::<Vec<_>>(), "at the server");
        for (name, engine) in model.alive.iter().enumerate() {
            assert_eq!(world.is_online(delivery.engines[*engine]), model.is_online(name), "{} is online", NAMES[name]);
        }
    }
}

/// Settings with which whoever can connect does so at once, and heartbeats do not matter.
fn quick(name: &str) -> ClientConfig {
    let soon = Duration::from_millis(40);
    let retry = Retry { base: soon, cap_resume: soon, cap: soon };
    ClientConfig { retry, heartbeat: Duration::from_secs(300), ..client_config(name) }
}
