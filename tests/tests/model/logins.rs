//! Login, relogin, kick and resume, against [`Model`].

use std::time::Duration;

use esf_proto::{
    client::{Config as ClientConfig, Event, Retry},
    failure::Failure,
    ids::{DeviceKind, UserId},
    login::Mode,
    server::{Config as ServerConfig, Relogin},
};
use esf_tests::world::{Outcome, Who, World, client_config};
use proptest_state_machine::{StateMachineTest, prop_state_machine};

use super::{
    lives,
    logins_model::{Happens, Life, Model, Place, Told, WINDOW},
};

/// A server, its clients, and two that are always there.
struct Logins {
    world: World,
    /// By the model's numbers.
    engines: Vec<Who>,
    /// May kick.
    admin: Who,
    /// May not.
    eve: Who,
}

prop_state_machine! {
    #![proptest_config(lives(128))]

    #[test]
    fn logins_relogins_kicks_and_resumes_are_what_the_model_says(sequential 1..40 => Logins);
}

impl StateMachineTest for Logins {
    type SystemUnderTest = Self;
    type Reference = Model;

    fn init_test(model: &Model) -> Self {
        let relogin = if model.ignores_new { Relogin::IgnoreNew } else { Relogin::ReplaceOld };
        // The server finds out that a link is dead when the model says so, and by no timer.
        let (liveness, overflow) = (Duration::ZERO, Duration::from_secs(3_600));
        let resume_window = Duration::from_millis(WINDOW);
        let mut world =
            World::with(ServerConfig { relogin, liveness, overflow, resume_window, ..ServerConfig::default() });
        let admin = world.join_with(quick("admin", DeviceKind::SERVICE));
        let eve = world.join_with(quick("eve", DeviceKind::SERVICE));
        Self { world, engines: Vec::new(), admin, eve }
    }

    fn apply(mut logins: Self, model: &Model, transition: Happens) -> Self {
        let world = &mut logins.world;
        match transition {
            Happens::Join(place) => logins.engines.push(world.join_with(quick(place.user(), device(place)))),
            Happens::Cut(who) => world.cut(logins.engines[who]),
            Happens::GiveUp(who) => world.give_up(logins.engines[who]),
            Happens::Away(who) => world.away(logins.engines[who]),
            Happens::Vanish(who) => {
                world.engine(logins.engines[who]).network = false;
                world.give_up(logins.engines[who]);
            }
            Happens::Die(who) => world.die(logins.engines[who]),
            Happens::Notice(who) => world.server_learns(logins.engines[who]),
            Happens::Back(who) => world.back(logins.engines[who]),
            Happens::LogOff(who) => {
                let now = world.now;
                world.session(logins.engines[who]).log_off(now);
            }
            Happens::Kick(user) => {
                let outcome = if model.kicked { Ok(()) } else { Err(Failure::Offline) };
                logins.kick(logins.admin, user, outcome);
            }
            Happens::KickWithoutRight(user) => logins.kick(logins.eve, user, Err(Failure::NotAllowed)),
            Happens::Say(user) => world.send(logins.eve, user, &(model.said - 1).to_string()),
            Happens::RestartServer => world.restart_server(),
            Happens::Pass(ms) => world.advance(Duration::from_millis(ms)),
        }
        logins.world.advance(Duration::from_millis(model.settles()));
        logins
    }

    fn check_invariants(logins: &Self, model: &Model) {
        for (number, (who, engine)) in logins.engines.iter().zip(&model.engines).enumerate() {
            if engine.life != Life::Dead {
                assert_eq!(told(logins.world.events(*who)), engine.told, "what engine {number} is told");
                assert_eq!(logins.world.is_online(*who), engine.life == Life::Online, "engine {number} is online");
                let over = if let Life::Over(reason) = engine.life { Some(reason) } else { None };
                assert_eq!(logins.world.closed(*who), over, "engine {number} is over");
            }
            let inbox: Vec<String> = engine.inbox.iter().map(usize::to_string).collect();
            assert_eq!(logins.world.texts(*who), inbox, "what engine {number} has got");
        }
        for user in ["anna", "ben"] {
            assert_eq!(logins.world.node.is_online(user), model.is_online(user), "{user} is online");
        }
        let counted = (logins.world.counter("logins"), logins.world.counter("resumes"));
        assert_eq!(counted, (model.logins, model.resumes), "logins and resumes");
    }
}

impl Logins {
    fn kick(&mut self, by: Who, user: &str, expected: Result<(), Failure>) {
        let (now, name) = (self.world.now, UserId::parse(user, 64).expect("a name"));
        let id = self.world.session(by).kick_out(now, &name).expect("room for a request");
        self.world.run();
        let Some(Outcome::Responded(outcome, ..)) = self.world.outcome(by, id) else { panic!("no response") };
        assert_eq!(outcome, expected, "a kick of {user}");
    }
}

/// Settings with which whoever can connect does so at once.
fn quick(user: &str, device: DeviceKind) -> ClientConfig {
    let soon = Duration::from_millis(40);
    let retry = Retry { base: soon, cap_resume: soon, cap: soon };
    ClientConfig { device, retry, ..client_config(user) }
}

fn device(place: Place) -> DeviceKind {
    match place {
        Place::AnnaPhone | Place::BenPhone => DeviceKind::PHONE,
        Place::AnnaDesktop => DeviceKind::DESKTOP,
    }
}

/// The events that are about the login.
fn told(events: &[Event]) -> Vec<Told> {
    let told = events.iter().filter_map(|event| {
        Some(match event {
            Event::LoginCompleted { .. } => Told::LoggedIn,
            Event::LoginRefused { reason, .. } => Told::Refused(*reason),
            Event::ConnectionInterrupted { .. } => Told::Interrupted,
            Event::ConnectionRebuildStart => Told::Rebuilding,
            Event::RelogonCompleted { mode: Some(Mode::Resumed), .. } => Told::Resumed,
            Event::RelogonCompleted { mode: Some(Mode::Fresh), .. } => Told::Fresh,
            Event::RelogonCompleted { mode: None, .. } => Told::RelogonRefused,
            Event::BeingPushedOut => Told::PushedOut,
            Event::BeingKickedOut => Told::KickedOut,
            Event::Closed { reason } => Told::Closed(*reason),
            _ => return None,
        })
    });
    told.collect()
}
