//! What a server allows, with its defaults.

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use crate::{ids::DeviceKind, session::lanes::cost};

/// What happens when a user logs in with a device kind that is logged on already, from another engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Relogin {
    /// The newer login takes the place; the older one is pushed out.
    #[default]
    ReplaceOld,
    /// The older login stays if its link answers a probe within 2 s; else it is replaced.
    IgnoreNew,
}

/// The settings of a server's protocol core. Sizes are bytes.
#[derive(Debug, Clone)]
pub struct Config {
    /// The largest frame, its header included. 1 MiB; 8 KiB, which a login may have, to 1 GiB.
    pub max_frame: u32,
    /// How much of messages may be out to a client that it has not taken. 256 KiB.
    pub window: u32,
    /// What one session may hold in queues and replay. 2 MiB; at least twice `max_frame` counts, whatever is said.
    pub budget: usize,
    /// What all sessions together may hold. 1 GiB here; a driver that knows the machine's memory sets a quarter of it.
    pub global_budget: usize,
    /// What waits of one session for the server's own application. 256 KiB.
    pub queue: usize,
    /// How long a session waits for its client to come back. 60 s.
    pub resume_window: Duration,
    /// How long a link may take until its login is in. 15 s.
    pub login_timeout: Duration,
    /// The longest user name, 1 to 255 bytes. 64.
    pub max_user_id: u8,
    /// The device kinds that may log in; all but the reserved ones (6 to 15).
    pub devices: Vec<DeviceKind>,
    /// What a second login of the same user and device kind does.
    pub relogin: Relogin,
    /// Sets of device kinds of which a user may be on with one only. A kind always excludes itself.
    pub exclusive: Vec<Vec<DeviceKind>>,
    /// The server pings after so long a silence. 10 s, zero to never ping.
    pub ping_after: Duration,
    /// The least time without a byte after which a link is given up; three heartbeat intervals if that is more. 30 s,
    /// zero to never give up.
    pub liveness: Duration,
    /// How long bytes handed to the transport may stand still. 30 s.
    pub overflow: Duration,
    /// The longest time to live that a message or query may ask for; more is cut to it. 5 min.
    pub max_ttl: Duration,
    /// The largest blob that is delivered whole; announced at login. 64 MiB.
    pub max_blob: u64,
    /// Logins of one user that take no messages, at the same time. 64.
    pub max_commands: usize,
    /// Certain sends, queries and requests of one session that may be open. 1,024.
    pub max_open: usize,
    /// Queries and requests among them. 256 …
    pub max_open_queries: usize,
    /// … and their bytes. 256 KiB.
    pub max_open_query_bytes: usize,
    /// Whether there is a store to ask about people: without one nobody has contacts, and no groups but dynamic ones.
    pub store: bool,
    /// Whether the store keeps messages for who is not online. Whoever drives the hub then drives its
    /// [`Mail`](crate::hub::Mail) too. No.
    pub keeps_messages: bool,
    /// How long a store has to answer. 15 s.
    pub store_timeout: Duration,
    /// How long a change of presence waits to be told, so that a flap is silent. 1 s.
    pub presence_window: Duration,
    /// Contacts of a user that are told of its presence. 10,000.
    pub max_contacts: usize,
    /// Groups of a user, dynamic ones aside. 256.
    pub max_groups: usize,
    /// Whether a user whose last device is gone leaves its dynamic groups. Yes.
    pub quit_on_offline: bool,
    /// Dynamic groups on the server. 100,000.
    pub max_dynamic_groups: usize,
    /// Members of a dynamic group. 1,000.
    pub max_group_members: usize,
    /// Whether the server's application is shown each message, query and offer of a blob of a client before it goes on, and
    /// may refuse it. No.
    pub intercepts: bool,
    /// How long the application may take with one of these; then it is refused as `Internal`. 5 s.
    pub intercept_limit: Duration,
    /// Name and version of the server, told at login; at most 255 bytes.
    pub product: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_frame: 1 << 20,
            window: 256 << 10,
            budget: 2 << 20,
            global_budget: 1 << 30,
            queue: 256 << 10,
            resume_window: Duration::from_secs(60),
            login_timeout: Duration::from_secs(15),
            max_user_id: 64,
            devices: (0..=u8::MAX).map(DeviceKind).filter(|device| !device.is_reserved()).collect(),
            relogin: Relogin::ReplaceOld,
            exclusive: Vec::new(),
            ping_after: Duration::from_secs(10),
            liveness: Duration::from_secs(30),
            overflow: Duration::from_secs(30),
            max_ttl: Duration::from_secs(300),
            max_blob: 64 << 20,
            max_commands: 64,
            max_open: 1024,
            max_open_queries: 256,
            max_open_query_bytes: 256 << 10,
            store: false,
            keeps_messages: false,
            store_timeout: Duration::from_secs(15),
            presence_window: Duration::from_secs(1),
            max_contacts: 10_000,
            max_groups: 256,
            quit_on_offline: true,
            max_dynamic_groups: 100_000,
            max_group_members: 1_000,
            intercepts: false,
            intercept_limit: Duration::from_secs(5),
            product: String::from(concat!("esf/", env!("CARGO_PKG_VERSION"))),
        }
    }
}

impl Config {
    /// What a session may hold: the setting, but never less than two of the largest frames.
    #[must_use]
    pub fn session_budget(&self) -> usize {
        self.budget.max(2 * cost(self.max_frame as usize))
    }

    /// Whether two logins of one user with these device kinds cannot be on together.
    #[must_use]
    pub fn excludes(&self, a: DeviceKind, b: DeviceKind) -> bool {
        a == b || self.exclusive.iter().any(|set| set.contains(&a) && set.contains(&b))
    }

    /// How long a link with this heartbeat interval may be silent; `None` for ever.
    #[must_use]
    pub fn liveness_of(&self, heartbeat: Duration) -> Option<Duration> {
        (!self.liveness.is_zero()).then(|| self.liveness.max(heartbeat.saturating_mul(3)))
    }
}
