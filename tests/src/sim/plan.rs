//! What a seed decides before anything happens: who is there, how the world is, what goes wrong and how much is said.

use std::time::Duration;

use esf_proto::{
    ids::DeviceKind,
    server::{Config, Relogin},
};

use super::{faults::FAULTS, line::Manners, random::Random, workload::WORKS};

/// Users by name; the first may kick.
pub const USERS: [&str; 5] = ["admin", "anna", "ben", "cleo", "dora"];

/// One place where somebody logs in: a user's device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The user, as a place in [`USERS`].
    pub user: usize,
    /// The device.
    pub device: DeviceKind,
}

/// Every place that there may be; the first five are always taken.
pub const PLACES: [Place; 8] = [
    Place { user: 0, device: DeviceKind::SERVICE },
    Place { user: 1, device: DeviceKind::SERVICE },
    Place { user: 2, device: DeviceKind::DESKTOP },
    Place { user: 2, device: DeviceKind::PHONE },
    Place { user: 3, device: DeviceKind::BROWSER },
    Place { user: 4, device: DeviceKind::SERVICE },
    Place { user: 3, device: DeviceKind::PHONE },
    Place { user: 1, device: DeviceKind::DESKTOP },
];

/// How the server's application and the clients' treat what comes.
#[derive(Debug, Clone, Copy)]
pub struct Handlers {
    /// The longest that a handler of queries takes.
    pub slowest: Duration,
    /// So many queries in a hundred are never answered.
    pub never: u64,
}

/// The plan of one seed.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How long things are said and go wrong. After that comes a quiet time.
    pub length: Duration,
    /// How many places of [`PLACES`] are taken.
    pub places: usize,
    /// How often something is said, on average.
    pub pause: Duration,
    /// How often each work is chosen.
    pub weights: Vec<u64>,
    /// Which faults there are.
    pub faults: Vec<bool>,
    /// How each line is, unless a fault changes it.
    pub manners: Manners,
    /// The largest ordinary body.
    pub body: u64,
    /// Handlers.
    pub handlers: Handlers,
    /// How many frames go into one message at most.
    pub coalesce: usize,
    /// The server's settings.
    pub server: Config,
    /// Whether the server gives tickets.
    pub tickets: bool,
    /// What a client's queues may hold.
    pub client_budget: usize,
}

impl Plan {
    /// The plan of this seed, without the faults whose names are left out.
    #[must_use]
    pub fn of(random: &Random, left_out: &[String]) -> Self {
        let mut random = random.apart(1);
        let length = random.millis(62_000, 95_000);
        let said = random.between(260, 700);
        let weights = WORKS.iter().map(|work| if random.percent(80) { work.weight * random.between(1, 4) } else { 0 });
        let mut weights: Vec<u64> = weights.collect();
        // The first three are what everything else is about.
        for (weight, work) in weights.iter_mut().zip(WORKS).take(3) {
            *weight = (*weight).max(work.weight);
        }
        let faults = FAULTS.iter().map(|fault| {
            let there = random.percent(fault.percent);
            there && !left_out.iter().any(|name| name == fault.name)
        });
        let faults = faults.collect();
        let server = Config {
            max_frame: 64 << 10,
            budget: *random.one_of(&[256 << 10, 512 << 10, 2 << 20]),
            window: *random.one_of(&[16 << 10, 64 << 10, 256 << 10]),
            queue: *random.one_of(&[32 << 10, 256 << 10]),
            resume_window: random.millis(2_000, 30_000),
            relogin: if random.percent(20) { Relogin::IgnoreNew } else { Relogin::ReplaceOld },
            ..Config::default()
        };
        let server = Config { store: random.percent(75), quit_on_offline: random.percent(70), ..server };
        let server = Config { intercepts: random.percent(25), ..server };
        Self {
            length,
            places: random.between(5, PLACES.len() as u64) as usize,
            pause: length / u32::try_from(said).unwrap_or(u32::MAX),
            weights,
            faults,
            manners: Manners { latency: random.millis(0, 20), jitter: Duration::ZERO, bandwidth: 0 },
            body: *random.one_of(&[64, 300, 2_000, 6_000]),
            handlers: Handlers { slowest: Duration::ZERO, never: 0 },
            coalesce: 1,
            server,
            tickets: random.percent(50),
            client_budget: *random.one_of(&[128 << 10, 2 << 20]),
        }
    }
}
